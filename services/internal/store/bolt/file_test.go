package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"

	"go.etcd.io/bbolt"
)

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	defer syscall.Umask(syscall.Umask(0))
	var epoch uint32
	for round := range 3 {
		d := mustOpen(t, path)
		update(t, d, func(tx store.Tx) {
			tx.Put(fmt.Append(nil, "round", round), nil)
			if seq := tx.Append("log", nil); seq != uint64(round+1) {
				t.Errorf("round %d: seq %d", round, seq)
			}
			_, head := tx.Log("log", 0, 0)
			if round == 0 {
				epoch = head.Epoch
			} else if head.Epoch != epoch {
				t.Error("the epoch changed by opening the store again")
			}
		})
		mustClose(t, d)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil { // as a careless restore does
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, path))
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode after opening a readable file: %v", info.Mode())
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := bolt.Open(bolt.Options{Path: filepath.Join(dir, "no", "folder")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}

	path := filepath.Join(dir, "store.db")
	d := mustOpen(t, path)
	start := time.Now()
	_, err := bolt.Open(bolt.Options{Path: path})
	if !errors.Is(err, store.ErrInUse) || time.Since(start) > 2*time.Second {
		t.Errorf("second opening: %v after %v", err, time.Since(start))
	}
	update(t, d, func(tx store.Tx) { tx.Put([]byte("k"), nil) }) // the first is not disturbed
	mustClose(t, d)

	raw, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 99})
	}); err != nil {
		t.Fatal(err)
	}
	raw.Close()
	if _, err := bolt.Open(bolt.Options{Path: path}); !errors.Is(err, store.ErrNewer) {
		t.Errorf("newer format: %v", err)
	}

	foreign := filepath.Join(dir, "foreign.db")
	if raw, err = bbolt.Open(foreign, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	if err := raw.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("other"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	raw.Close()
	if _, err := bolt.Open(bolt.Options{Path: foreign}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("another program's file: %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	sound := filled(t)
	page := os.Getpagesize()
	for name, damage := range map[string]func([]byte) []byte{
		"a text":             func([]byte) []byte { return bytes.Repeat([]byte("no store at all\n"), 1000) },
		"a few bytes":        func([]byte) []byte { return []byte("x") },
		"zeros":              func(b []byte) []byte { return make([]byte, len(b)) },
		"one page left":      func(b []byte) []byte { return b[:page] },
		"three pages left":   func(b []byte) []byte { return b[:3*page] },
		"cut in half":        func(b []byte) []byte { return b[:used(t, b)/2] },
		"a page is missing":  func(b []byte) []byte { return b[:used(t, b)-page] },
		"both meta pages":    func(b []byte) []byte { clear(b[:2*page]); return b },
		"all but meta pages": func(b []byte) []byte { clear(b[2*page:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			content := damage(bytes.Clone(sound))
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := bolt.Open(bolt.Options{Path: path})
			if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("Open = %v", err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, content) {
				t.Error("the damaged file was changed")
			}
			// The lock is given up: a restored backup opens at once.
			if err := os.WriteFile(path, sound, 0o600); err != nil {
				t.Fatal(err)
			}
			mustClose(t, mustOpen(t, path))
		})
	}
}

// TestFlippedBytes damages a store in many places. Open may refuse it, and
// where it cannot know, reads and writes may fail: but nothing may panic.
func TestFlippedBytes(t *testing.T) {
	sound := filled(t)
	sound = sound[:used(t, sound)]
	path := filepath.Join(t.TempDir(), "store.db")
	rnd := rand.New(rand.NewPCG(3, 4))
	page, end := os.Getpagesize(), len(sound)
	refused, survived := 0, 0
	for i := range 400 {
		content := bytes.Clone(sound)
		at := rnd.IntN(end)
		if i%2 == 0 { // the headers and first elements of pages matter most
			at = at/page*page + rnd.IntN(128)
		}
		content[at] ^= byte(1 + rnd.IntN(255))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := bolt.Open(bolt.Options{Path: path, Logger: silent})
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer) {
				t.Errorf("byte %d: %v", at, err)
			}
			refused++
			continue
		}
		survived++
		d.View(context.Background(), func(r store.Reader) error {
			for range r.Scan(store.Range{}) {
			}
			for range r.Scan(store.Range{Reverse: true}) {
			}
			r.Log("log", 0, math.MaxInt)
			return nil
		})
		d.Update(context.Background(), func(tx store.Tx) error {
			for i := range 20 {
				tx.Put(fmt.Append(nil, "more", i), make([]byte, 3000))
				tx.Delete(fmt.Append(nil, "key", i*10))
			}
			tx.Append("log", nil)
			return nil
		})
		d.Close()
	}
	t.Logf("%d refused, %d opened", refused, survived)
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

// TestCutWhileOpen takes away the mapped file under an open store.
func TestCutWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, filled(t), 0o600); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, path)
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	err := d.View(context.Background(), func(r store.Reader) error {
		for range r.Scan(store.Range{}) {
		}
		return nil
	})
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("View = %v", err)
	}
	err = d.Update(context.Background(), func(tx store.Tx) error {
		tx.Put([]byte("key1"), nil)
		return nil
	})
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Update = %v", err)
	}
	d.Close()
}

func TestBackup(t *testing.T) {
	d := openStore(t)
	update(t, d, func(tx store.Tx) {
		tx.Put([]byte("k"), []byte("saved"))
		tx.Append("log", []byte("saved"))
	})
	path := filepath.Join(t.TempDir(), "copy.db")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Backup(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	update(t, d, func(tx store.Tx) { tx.Append("log", []byte("not saved")) })
	var before, after store.Head
	view(t, d, func(r store.Reader) { _, before = r.Log("log", 0, 0) })

	restored := mustOpen(t, path)
	defer restored.Close()
	if err := restored.RenewEpochs(context.Background()); err != nil {
		t.Fatal(err)
	}
	view(t, restored, func(r store.Reader) {
		var list []store.Entry
		list, after = r.Log("log", 0, 10)
		if len(list) != 1 || string(list[0].Event) != "saved" || string(r.Get([]byte("k"))) != "saved" {
			t.Errorf("restored: %d events, k = %q", len(list), r.Get([]byte("k")))
		}
	})
	if after.Epoch == before.Epoch || after.Epoch == 0 {
		t.Errorf("epochs before and after restoring: %d, %d", before.Epoch, after.Epoch)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Backup(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup with an ended context = %v", err)
	}
}

// TestLongReader holds a View open while the store grows: writers must not wait
// for it, and the space that they free meanwhile must be used again afterwards.
func TestLongReader(t *testing.T) {
	d, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "store.db"), Limits: store.BulkLimits, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, d)
	blob := make([]byte, store.BulkLimits.Value)
	replace := func() {
		for range 20 {
			update(t, d, func(tx store.Tx) { tx.Put([]byte("k"), blob) })
		}
	}
	update(t, d, func(tx store.Tx) { tx.Put([]byte("k"), []byte("old")) })
	view(t, d, func(r store.Reader) {
		replace()
		if string(r.Get([]byte("k"))) != "old" {
			t.Error("the reader lost its row")
		}
	})
	grown := d.Stats().Bytes
	replace()
	if now := d.Stats().Bytes; now > grown {
		t.Errorf("free space is not used: the file went from %d to %d bytes", grown, now)
	}
}

func TestUseAfterEnd(t *testing.T) {
	d := openStore(t)
	var r store.Reader
	var tx store.Tx
	view(t, d, func(x store.Reader) { r = x })
	update(t, d, func(x store.Tx) { tx = x })
	for name, use := range map[string]func(){
		"Get":    func() { r.Get([]byte("k")) },
		"Scan":   func() { r.Scan(store.Range{})(func([]byte, []byte) bool { return true }) },
		"Put":    func() { tx.Put([]byte("k"), nil) },
		"Append": func() { tx.Append("log", nil) },
		"Trim":   func() { tx.Trim("log", 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s works after the transaction", name)
				}
			}()
			use()
		}()
	}
}

// filled returns the content of a store with rows and entries on many pages.
func filled(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "filled.db")
	d := mustOpen(t, path)
	for i := range 30 {
		update(t, d, func(tx store.Tx) {
			for j := range 10 {
				tx.Put(fmt.Append(nil, "key", i*10+j), bytes.Repeat([]byte{byte(j)}, 500))
				tx.Append("log", bytes.Repeat([]byte{byte(i)}, 300))
			}
		})
	}
	mustClose(t, d)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// used returns how many bytes of a sound store are in use.
func used(t *testing.T, content []byte) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "used.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, path)
	defer mustClose(t, d)
	return int(d.Stats().Bytes)
}
