package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// What main refers to is in bulk, whatever is written and pruned meanwhile.
func TestTogetherShowsOneMoment(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	open := func(dir, name string) *DB {
		db, err := Open(Options{Path: filepath.Join(dir, name), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	dir := t.TempDir()
	main, bulk := open(dir, "main.db"), open(dir, "bulk.db")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	started := make(chan struct{}, 4)
	for n := range 4 {
		writers.Go(func() {
			put := func(db *DB, k key.Key, there bool) bool {
				err := db.Update(ctx, func(tx store.Tx) error {
					if there {
						tx.Put(k, []byte("x"))
					} else {
						tx.Delete(k)
					}
					return nil
				})
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return err == nil
			}
			for i := 0; ; i++ {
				// As the rooms do: written to bulk first, forgotten in main first.
				k, old := key.Of("row").Str(fmt.Sprint(n)).Uint(uint64(i)), key.Of("row").Str(fmt.Sprint(n)).Uint(uint64(i-3))
				if !put(bulk, k, true) || !put(main, k, true) {
					return
				}
				if i >= 3 && (!put(main, old, false) || !put(bulk, old, false)) {
					return
				}
				if i == 5 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	for round := range 40 {
		m, b, err := Together(main, bulk)
		if err != nil {
			t.Fatal(err)
		}
		copies := t.TempDir()
		for name, s := range map[string]*Snapshot{"main.db": m, "bulk.db": b} {
			f, err := os.Create(filepath.Join(copies, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Copy(t.Context(), f), s.Close(), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		mainCopy, bulkCopy := open(copies, "main.db"), open(copies, "bulk.db")
		rows, missing := compare(t, mainCopy, bulkCopy)
		if err := errors.Join(mainCopy.Close(), bulkCopy.Close()); err != nil {
			t.Error(err)
		}
		if rows == 0 || len(missing) > 0 {
			t.Errorf("round %d: of %d rows in main, bulk lacks %q", round, rows, missing)
			break
		}
	}
	stop()
	writers.Wait()
	if err := main.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Together(main, bulk); !errors.Is(err, store.ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
}

// compare says which rows of main are not in bulk.
func compare(t *testing.T, main, bulk *DB) (rows int, missing []string) {
	t.Helper()
	err := main.View(t.Context(), func(m store.Reader) error {
		return bulk.View(t.Context(), func(b store.Reader) error {
			for k := range m.Scan(store.Range{}) {
				if rows++; b.Get(k) == nil {
					missing = append(missing, string(k))
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, missing
}
