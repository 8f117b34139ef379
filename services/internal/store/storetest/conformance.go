// Package storetest holds what every engine of the store must pass, and
// wrappers that make a store misbehave in ways it is allowed to, for the tests
// of whatever is built on it. Only tests import it.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"anthill/services/internal/store"
)

// Conformance checks that an engine keeps the promises of package store. open
// returns a new empty store with store.MainLimits each time; Conformance closes
// it.
func Conformance(t *testing.T, open func(t *testing.T) store.DB) {
	for _, tc := range []struct {
		name string
		test func(t *testing.T, db store.DB)
	}{
		{"rows", testRows},
		{"own writes", testOwnWrites},
		{"scans", testScans},
		{"scan while writing", testScanWhileWriting},
		{"snapshots", testSnapshots},
		{"failed updates", testFailedUpdates},
		{"panics", testPanics},
		{"limits", testLimits},
		{"failures stay alone", testFailuresStayAlone},
		{"log", testLog},
		{"log paging", testLogPaging},
		{"logs under load", testLogsUnderLoad},
		{"trim", testTrim},
		{"watch", testWatch},
		{"context", testContext},
		{"close", testClose},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := open(t)
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			tc.test(t, db)
		})
	}
}

var errRefused = errors.New("refused by the test")

func testRows(t *testing.T, db store.DB) {
	if err := db.Err(); err != nil {
		t.Fatalf("Err = %v", err)
	}
	key, value := []byte("k\x00\xff"), []byte("value")
	update(t, db, func(tx store.Tx) {
		k, v := bytes.Clone(key), bytes.Clone(value)
		tx.Put(k, v)
		clear(k) // the engine must have its own copies
		clear(v)
		tx.Put([]byte("empty"), nil)
		tx.Put([]byte("gone"), value)
		tx.Delete([]byte("never there"))
	})
	update(t, db, func(tx store.Tx) { tx.Delete([]byte("gone")) })
	view(t, db, func(r store.Reader) {
		if got := r.Get(key); !bytes.Equal(got, value) {
			t.Errorf("Get = %q, want %q", got, value)
		}
		if got := r.Get([]byte("empty")); got == nil || len(got) != 0 {
			t.Errorf("an empty value reads as %#v", got)
		}
		for _, k := range []string{"gone", "never there", "k", "k\x00\xff\x00"} {
			if got := r.Get([]byte(k)); got != nil {
				t.Errorf("Get(%q) = %q, want nil", k, got)
			}
		}
	})
	update(t, db, func(tx store.Tx) { tx.Put(key, []byte("second")) })
	if got := get(t, db, string(key)); got != "second" {
		t.Errorf("after replacing: %q", got)
	}
}

func testOwnWrites(t *testing.T, db store.DB) {
	update(t, db, func(tx store.Tx) {
		put(tx, "a", "1", "b", "1", "d", "1")
		tx.Append("log", []byte("first"))
	})
	update(t, db, func(tx store.Tx) {
		put(tx, "b", "2", "c", "2")
		tx.Delete([]byte("d"))
		if seq := tx.Append("log", []byte("second")); seq != 2 {
			t.Errorf("seq = %d, want 2", seq)
		}
		if b, d := tx.Get([]byte("b")), tx.Get([]byte("d")); string(b) != "2" || d != nil {
			t.Errorf("b = %q, d = %q", b, d)
		}
		if got, want := scan(tx, store.Range{}), "a=1 b=2 c=2"; got != want {
			t.Errorf("scan: %s, want %s", got, want)
		}
		if got, want := scan(tx, store.Range{Reverse: true}), "c=2 b=2 a=1"; got != want {
			t.Errorf("reverse scan: %s, want %s", got, want)
		}
		list, head := tx.Log("log", 0, 10)
		if got, want := events(list), "1:first 2:second"; got != want || head.Last != 2 {
			t.Errorf("log: %s up to %d, want %s", got, head.Last, want)
		}
		put(tx, "d", "3") // a deleted key can come back
		tx.Delete([]byte("a"))
		tx.Delete([]byte("a"))
	})
	view(t, db, func(r store.Reader) {
		if got, want := scan(r, store.Range{}), "b=2 c=2 d=3"; got != want {
			t.Errorf("committed: %s, want %s", got, want)
		}
	})
}

// testScans compares scans with a plain sorted map, over committed rows and
// over rows that the transaction itself has changed.
func testScans(t *testing.T, db store.DB) {
	rnd := rand.New(rand.NewPCG(1, 2))
	randomKey := func() string { return fmt.Sprintf("%03x", rnd.IntN(1500)) }
	model := map[string]string{}
	change := func(tx store.Tx, model map[string]string, n int) {
		for i := range n {
			k := randomKey()
			if rnd.IntN(3) == 0 {
				tx.Delete([]byte(k))
				delete(model, k)
			} else {
				v := fmt.Sprint(k, i)
				tx.Put([]byte(k), []byte(v))
				model[k] = v
			}
		}
	}
	compare := func(r store.Reader, model map[string]string, where string) {
		for range 20 {
			rg := store.Range{Start: []byte(randomKey()), End: []byte(randomKey()), Reverse: rnd.IntN(2) == 0}
			if rnd.IntN(4) == 0 {
				rg.Start = nil
			}
			if rnd.IntN(4) == 0 {
				rg.End = nil
			}
			if got, want := scan(r, rg), scanModel(model, rg); got != want {
				t.Fatalf("%s, scan of %q to %q (reverse %v):\n got %s\nwant %s", where, rg.Start, rg.End, rg.Reverse, got, want)
			}
		}
	}
	for range 30 {
		seed := rnd.Uint64()
		var next map[string]string
		update(t, db, func(tx store.Tx) {
			rnd = rand.New(rand.NewPCG(seed, 0)) // the same on every run
			next = maps.Clone(model)
			change(tx, next, 60)
			compare(tx, next, "inside the transaction")
		})
		model = next
		view(t, db, func(r store.Reader) { compare(r, model, "committed") })
	}
	view(t, db, func(r store.Reader) {
		for _, reverse := range []bool{false, true} {
			n := 0
			for range r.Scan(store.Range{Reverse: reverse}) {
				if n++; n == 3 {
					break // an iterator may be left early, and the Reader used on
				}
			}
		}
		compare(r, model, "after breaking off")
	})
}

func scanModel(model map[string]string, r store.Range) string {
	var out [][2]string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= string(r.Start) && (r.End == nil || k < string(r.End)) {
			out = append(out, [2]string{k, model[k]})
		}
	}
	if r.Reverse {
		slices.Reverse(out)
	}
	return pairs(out)
}

func testScanWhileWriting(t *testing.T, db store.DB) {
	update(t, db, func(tx store.Tx) { put(tx, "a", "1", "b", "1", "c", "1") })
	update(t, db, func(tx store.Tx) {
		n := 0
		for k := range tx.Scan(store.Range{}) {
			if n++; n > 3 {
				t.Error("a scan ran into rows written after it began")
				return
			}
			tx.Delete(k)
			tx.Put(append([]byte("x"), k...), nil)
		}
	})
	view(t, db, func(r store.Reader) {
		if got, want := scan(r, store.Range{}), "xa= xb= xc="; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func testSnapshots(t *testing.T, db store.DB) {
	update(t, db, func(tx store.Tx) {
		put(tx, "k", "old")
		tx.Append("log", []byte("one"))
	})
	view(t, db, func(r store.Reader) {
		update(t, db, func(tx store.Tx) { // from another goroutine, and the View does not block it
			put(tx, "k", "new", "l", "new")
			tx.Append("log", []byte("two"))
		})
		if got, want := scan(r, store.Range{}), "k=old"; got != want {
			t.Errorf("an open view sees %s, want %s", got, want)
		}
		if list, head := r.Log("log", 0, 10); events(list) != "1:one" || head.Last != 1 {
			t.Errorf("an open view sees the log as %s", events(list))
		}
	})
	view(t, db, func(r store.Reader) {
		if got, want := scan(r, store.Range{}), "k=new l=new"; got != want {
			t.Errorf("a new view sees %s, want %s", got, want)
		}
	})
}

func testFailedUpdates(t *testing.T, db store.DB) {
	update(t, db, func(tx store.Tx) { put(tx, "k", "before") })
	err := db.Update(context.Background(), func(tx store.Tx) error {
		put(tx, "k", "after", "l", "after")
		tx.Append("log", []byte("event"))
		return errRefused
	})
	if err != errRefused {
		t.Errorf("Update = %v, want the function's own error", err)
	}
	if err := db.View(context.Background(), func(store.Reader) error { return errRefused }); err != errRefused {
		t.Errorf("View = %v, want the function's own error", err)
	}
	update(t, db, func(tx store.Tx) {
		if seq := tx.Append("log", []byte("event")); seq != 1 {
			t.Errorf("a failed append used up a seq: next is %d", seq)
		}
	})
	view(t, db, func(r store.Reader) {
		if got, want := scan(r, store.Range{}), "k=before"; got != want {
			t.Errorf("after a failed update: %s, want %s", got, want)
		}
	})
}

func testPanics(t *testing.T, db store.DB) {
	func() {
		defer func() {
			if r := recover(); r == nil {
				t.Error("a panic in Update did not reach the caller")
			}
		}()
		db.Update(context.Background(), func(tx store.Tx) error {
			put(tx, "panic", "1")
			panic("by the test")
		})
	}()
	func() {
		defer func() {
			if r := recover(); r != "by the test" {
				t.Errorf("a panic in View arrived as %v", r)
			}
		}()
		db.View(context.Background(), func(store.Reader) error { panic("by the test") })
	}()
	exited := make(chan struct{})
	go func() { // what t.Fatal does inside a function given to Update
		defer close(exited)
		db.Update(context.Background(), func(tx store.Tx) error {
			put(tx, "exit", "1")
			runtime.Goexit()
			return nil
		})
		t.Error("Update returned although its function ended the goroutine")
	}()
	<-exited
	update(t, db, func(tx store.Tx) { put(tx, "k", "1") })
	view(t, db, func(r store.Reader) {
		if got, want := scan(r, store.Range{}), "k=1"; got != want {
			t.Errorf("after panics: %s, want %s", got, want)
		}
	})
}

func testLimits(t *testing.T, db store.DB) {
	limits := store.MainLimits
	puts := func(tx store.Tx, n int) {
		for i := range n {
			tx.Put(fmt.Appendf(nil, "key%d", i), nil)
		}
	}
	big := make([]byte, limits.Value)
	half := make([]byte, limits.Value/2)
	for _, tc := range []struct {
		name string
		fits bool
		fn   func(tx store.Tx)
	}{
		{"keys", true, func(tx store.Tx) { puts(tx, limits.Keys) }},
		{"one key too many", false, func(tx store.Tx) { puts(tx, limits.Keys+1) }},
		{"deletes count", false, func(tx store.Tx) { puts(tx, limits.Keys); tx.Delete([]byte("a")) }},
		{"appends count", false, func(tx store.Tx) { puts(tx, limits.Keys); tx.Append("log", nil) }},
		{"value", true, func(tx store.Tx) { tx.Put([]byte("k"), big) }},
		{"large value", false, func(tx store.Tx) { tx.Put([]byte("k"), append(big, 0)) }},
		{"event", true, func(tx store.Tx) { tx.Append("log", big) }},
		{"large event", false, func(tx store.Tx) { tx.Append("log", append(big, 0)) }},
		{"bytes", true, func(tx store.Tx) {
			for i := range limits.TxBytes/len(half) - 1 {
				tx.Put(fmt.Append(nil, i), half)
			}
		}},
		{"too many bytes", false, func(tx store.Tx) {
			for i := range limits.TxBytes / len(half) {
				tx.Put(fmt.Append(nil, i), half)
			}
		}},
		{"no key", false, func(tx store.Tx) { tx.Put(nil, half) }},
		{"no key to delete", false, func(tx store.Tx) { tx.Delete(nil) }},
		{"no topic", false, func(tx store.Tx) { tx.Append("", nil) }},
		{"huge key", false, func(tx store.Tx) { tx.Put(big, nil) }},
	} {
		err := db.Update(context.Background(), func(tx store.Tx) error {
			tc.fn(tx)
			return nil
		})
		if tc.fits && err != nil || !tc.fits && !errors.Is(err, store.ErrLimit) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	err := db.Update(context.Background(), func(tx store.Tx) error {
		put(tx, "first", "1")
		tx.Put(nil, nil)
		put(tx, "second", "1")
		if seq := tx.Append("other", nil); seq != 0 {
			t.Errorf("Append after a failed write = %d, want 0", seq)
		}
		return nil
	})
	if !errors.Is(err, store.ErrLimit) || get(t, db, "first") != "" || get(t, db, "second") != "" {
		t.Errorf("a failed write must fail the whole transaction: %v", err)
	}
}

// testFailuresStayAlone runs good and bad updates at the same time: all the
// good ones and nothing else may be stored, and each sees the ones before it.
func testFailuresStayAlone(t *testing.T, db store.DB) {
	const callers, calls = 24, 30
	var good atomic.Int64
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for call := range calls {
				bad := (caller+call)%4 == 0
				func() {
					defer func() {
						if r := recover(); r != nil && !bad {
							t.Errorf("panic in the wrong place: %v", r)
						}
					}()
					err := db.Update(context.Background(), func(tx store.Tx) error {
						n := number(tx.Get([]byte("counter"))) + 1
						tx.Put([]byte("counter"), fmt.Append(nil, n))
						tx.Put(fmt.Appendf(nil, "n/%06d", n), nil)
						if !bad {
							return nil
						}
						switch call % 3 {
						case 0:
							return errRefused
						case 1:
							panic("by the test")
						default:
							tx.Put(nil, nil)
							return nil
						}
					})
					if (err != nil) != bad {
						t.Errorf("bad = %v, err = %v", bad, err)
					}
					if err == nil {
						good.Add(1)
					}
				}()
			}
		})
	}
	wg.Wait()
	view(t, db, func(r store.Reader) {
		if got := int64(number(r.Get([]byte("counter")))); got != good.Load() {
			t.Errorf("counter = %d, want %d", got, good.Load())
		}
		n := 0
		for k := range r.Scan(store.Prefix([]byte("n/"))) {
			if n++; string(k) != fmt.Sprintf("n/%06d", n) {
				t.Fatalf("row %d is %s", n, k)
			}
		}
		if int64(n) != good.Load() {
			t.Errorf("%d rows, want %d", n, good.Load())
		}
	})
}
