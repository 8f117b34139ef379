package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"anthill/services/internal/store"
)

// swapFile puts another file behind the store's descriptor, so that bbolt's
// writes go wrong, and returns how to put the right one back.
func swapFile(t *testing.T, d *DB, other *os.File) (restore func()) {
	t.Helper()
	fd := int(d.file.Fd())
	saved, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Dup3(int(other.Fd()), fd, 0); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Dup3(saved, fd, 0); err != nil {
			t.Fatal(err)
		}
		syscall.Close(saved)
	}
}

func put(d *DB, key string) error {
	return d.Update(context.Background(), func(tx store.Tx) error {
		tx.Put([]byte(key), []byte(key))
		tx.Append("log", []byte(key))
		return nil
	})
}

func has(t *testing.T, d *DB, key string) (found bool) {
	t.Helper()
	if err := d.View(context.Background(), func(r store.Reader) error {
		found = r.Get([]byte(key)) != nil
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestFailedWrite makes a commit fail for good: nothing is acknowledged from
// then on, reads go on, and a restart finds what was acknowledged.
func TestFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	d := open(t, path)
	if err := put(d, "before"); err != nil {
		t.Fatal(err)
	}
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	refused := errors.New("refused")
	restore := swapFile(t, d, readOnly)
	errs := together(t, d,
		func(tx store.Tx) error { tx.Put([]byte("lost"), nil); return nil },
		func(tx store.Tx) error { return refused },
		func(tx store.Tx) error { return nil },
	)
	restore()
	if !errors.Is(errs[0], store.ErrReadOnly) || !errors.Is(errs[0], syscall.EBADF) || errs[1] != refused || !errors.Is(errs[2], store.ErrReadOnly) {
		t.Errorf("errors: %v", errs)
	}
	if err := put(d, "after"); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a later write: %v", err)
	}
	if err := d.Err(); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Err = %v", err)
	}
	if !has(t, d, "before") || has(t, d, "lost") {
		t.Error("reads do not show what was acknowledged")
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	d = open(t, path)
	if !has(t, d, "before") || has(t, d, "lost") {
		t.Error("a restart does not show what was acknowledged")
	}
	if err := put(d, "after"); err != nil {
		t.Errorf("writing after a restart: %v", err)
	}
}

// TestFullDisk fills a real small file system.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	path := filepath.Join(dir, "store.db")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	stored := 0
	write := func() error {
		err := d.Update(context.Background(), func(tx store.Tx) error {
			tx.Put(fmt.Appendf(nil, "key%d", stored), make([]byte, 10<<10))
			tx.Append("log", nil)
			return nil
		})
		if err == nil {
			stored++
		}
		return err
	}
	check := func(when string) {
		t.Helper()
		if !has(t, d, fmt.Sprintf("key%d", stored-1)) || has(t, d, fmt.Sprintf("key%d", stored)) {
			t.Errorf("%s: reads do not show what was acknowledged", when)
		}
		if list, head := logOf(t, d); len(list) != stored || head.Last != uint64(stored) {
			t.Errorf("%s: %d events, %+v, want %d", when, len(list), head, stored)
		}
		if err := d.Err(); err != nil {
			t.Errorf("%s: Err = %v", when, err)
		}
	}
	var err error
	for err == nil {
		err = write()
	}
	if !errors.Is(err, store.ErrFull) || stored == 0 {
		t.Fatalf("after %d writes: %v", stored, err)
	}
	for range 3 {
		if err := write(); !errors.Is(err, store.ErrFull) {
			t.Errorf("writing to the full disk: %v", err)
		}
	}
	check("full")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := write(); err != nil {
			t.Fatalf("after making space: %v", err)
		}
	}
	check("with space again")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, path)
	check("reopened")
}
