package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"

	"anthill/services/internal/store"
)

func open(t *testing.T, path string) *DB {
	t.Helper()
	d, err := Open(Options{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// together queues updates while the writer is busy, so that they form one batch
// in the given order, and returns their errors.
func together(t *testing.T, d *DB, fns ...func(store.Tx) error) []error {
	t.Helper()
	started, release := make(chan struct{}), make(chan struct{})
	busy := make(chan error)
	go func() {
		busy <- d.Update(context.Background(), func(store.Tx) error {
			close(started)
			<-release
			return nil
		})
	}()
	<-started
	errs := make([]error, len(fns))
	done := make(chan struct{})
	for i, fn := range fns {
		go func() {
			defer func() { done <- struct{}{} }()
			errs[i] = d.Update(context.Background(), fn)
		}()
		for queueLen(d) != i+1 {
			runtime.Gosched()
		}
	}
	close(release)
	if err := <-busy; err != nil {
		t.Fatal(err)
	}
	for range fns {
		<-done
	}
	return errs
}

func queueLen(d *DB) int {
	d.writer.mu.Lock()
	defer d.writer.mu.Unlock()
	return len(d.writer.queue)
}

func TestBatch(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "store.db"))
	refused := errors.New("refused")
	before := d.Stats()
	errs := together(t, d,
		func(tx store.Tx) error { tx.Put([]byte("a"), []byte("1")); return nil },
		func(tx store.Tx) error { tx.Put([]byte("b"), []byte("1")); tx.Append("log", nil); return refused },
		func(tx store.Tx) error {
			if tx.Get([]byte("a")) == nil || tx.Get([]byte("b")) != nil {
				t.Error("a job must see the good jobs before it and nothing of the bad ones")
			}
			if seq := tx.Append("log", nil); seq != 1 {
				t.Errorf("seq = %d", seq)
			}
			return nil
		},
		func(tx store.Tx) error { tx.Put(nil, nil); return nil },
	)
	if errs[0] != nil || errs[1] != refused || errs[2] != nil || !errors.Is(errs[3], store.ErrLimit) {
		t.Errorf("errors: %v", errs)
	}
	after := d.Stats()
	if after.Commits-before.Commits != 1 {
		t.Errorf("%d commits for one batch", after.Commits-before.Commits)
	}
}

// TestEmptiedPages scans behind a job of the same batch that emptied whole pages.
func TestEmptiedPages(t *testing.T) {
	const n = 600
	d := open(t, filepath.Join(t.TempDir(), "store.db"))
	for from := 0; from < n; from += 100 {
		if err := d.Update(context.Background(), func(tx store.Tx) error {
			for i := from; i < from+100; i++ {
				tx.Put(fmt.Appendf(nil, "key%04d", i), make([]byte, 200))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(from, to int) func(store.Tx) error {
		return func(tx store.Tx) error {
			for i := from; i < to; i++ {
				tx.Delete(fmt.Appendf(nil, "key%04d", i))
			}
			return nil
		}
	}
	count := func(r store.Range, want int) func(store.Tx) error {
		return func(tx store.Tx) error {
			got := 0
			for range tx.Scan(r) {
				got++
			}
			if got != want {
				return fmt.Errorf("%+v: %d rows, want %d", r, got, want)
			}
			return nil
		}
	}
	for _, err := range together(t, d,
		remove(200, 300), remove(300, 400), // in the middle
		count(store.Range{}, n-200),
		count(store.Range{Reverse: true}, n-200),
		count(store.Range{Reverse: true, End: []byte("key0350")}, 200),
		count(store.Range{Start: []byte("key0250")}, 200),
		remove(0, 100), // the first ones
		count(store.Range{}, n-300),
		count(store.Range{Reverse: true}, n-300),
		remove(500, 600), // the last ones
		count(store.Range{}, n-400),
		count(store.Range{Reverse: true}, n-400),
		remove(100, 200), remove(400, 500), // all that is left
		count(store.Range{}, 0),
		count(store.Range{Reverse: true}, 0),
	) {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestLargeBatch queues more than one commit should carry.
func TestLargeBatch(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "store.db"))
	const size = 200 << 10
	per := store.MainLimits.TxBytes / size
	jobs := make([]func(store.Tx) error, 3*batchBytes/store.MainLimits.TxBytes)
	for i := range jobs {
		jobs[i] = func(tx store.Tx) error {
			for j := range per {
				tx.Put(fmt.Append(nil, i, "/", j), make([]byte, size))
			}
			return nil
		}
	}
	before := d.Stats()
	for _, err := range together(t, d, jobs...) {
		if err != nil {
			t.Error(err)
		}
	}
	if commits := d.Stats().Commits - before.Commits; commits < 3 {
		t.Errorf("%d jobs of 1 MiB went into %d commits", len(jobs), commits)
	}
	if err := d.View(context.Background(), func(r store.Reader) error {
		n := 0
		for range r.Scan(store.Range{}) {
			n++
		}
		if n != per*len(jobs) {
			t.Errorf("%d rows, want %d", n, per*len(jobs))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestExitInBatch lets one job of a batch end the writer's goroutine.
func TestExitInBatch(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "store.db"))
	count := func(tx store.Tx) error {
		tx.Append("log", nil)
		return nil
	}
	errs := together(t, d, count, func(tx store.Tx) error {
		count(tx)
		runtime.Goexit()
		return nil
	}, count)
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if _, head := logOf(t, d); head.Last != 2 {
		t.Errorf("log: %+v", head)
	}
}

// TestCloseFinishesQueue closes a store with updates in its queue.
func TestCloseFinishesQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	d := open(t, path)
	const n = 10
	started, release := make(chan struct{}), make(chan struct{})
	errs := make(chan error, n+1)
	go func() {
		errs <- d.Update(context.Background(), func(store.Tx) error {
			close(started)
			<-release
			return nil
		})
	}()
	<-started
	for i := range n {
		go func() {
			errs <- d.Update(context.Background(), func(tx store.Tx) error {
				tx.Append("log", nil)
				return nil
			})
		}()
		for queueLen(d) != i+1 {
			runtime.Gosched()
		}
	}
	closed := make(chan error)
	go func() { closed <- d.Close() }()
	for !d.writer.isClosed() {
		runtime.Gosched()
	}
	close(release)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for range n + 1 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, head := logOf(t, open(t, path)); head.Last != n {
		t.Errorf("%d of %d queued updates were stored", head.Last, n)
	}
}

// TestSingleCallerNeverWaits gives a store so long a wait that it would show.
func TestSingleCallerNeverWaits(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "store.db"))
	d.writer.gather = 1 << 62
	for range 20 {
		if err := d.Update(context.Background(), func(tx store.Tx) error {
			tx.Append("log", nil)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func logOf(t *testing.T, d *DB) (list []store.Entry, head store.Head) {
	t.Helper()
	if err := d.View(context.Background(), func(r store.Reader) error {
		list, head = r.Log("log", 0, 1<<20)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list, head
}
