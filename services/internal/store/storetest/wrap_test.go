package storetest_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

func open(t *testing.T) store.DB {
	t.Helper()
	d, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "store.db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func appendTo(db store.DB, seq *uint64) error {
	return db.Update(context.Background(), func(tx store.Tx) error {
		*seq = tx.Append("log", nil)
		return nil
	})
}

func TestRunTwice(t *testing.T) {
	db := storetest.RunTwice(open(t))
	runs := 0
	if err := db.Update(context.Background(), func(tx store.Tx) error {
		runs++
		tx.Append("log", nil)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var seq uint64
	if err := appendTo(db, &seq); err != nil {
		t.Fatal(err)
	}
	if runs != 2 || seq != 2 {
		t.Errorf("%d runs, then seq %d: want 2 runs and one entry", runs, seq)
	}
}

func TestFailFirstCommit(t *testing.T) {
	db := storetest.FailFirstCommit(open(t), store.ErrFull)
	var seq uint64
	if err := appendTo(db, &seq); !errors.Is(err, store.ErrFull) || seq != 1 {
		t.Errorf("first: seq %d, %v", seq, err)
	}
	if err := appendTo(db, &seq); err != nil || seq != 1 {
		t.Errorf("second: seq %d, %v", seq, err)
	}
}

func TestDropWakeups(t *testing.T) {
	inner := open(t)
	db := storetest.DropWakeups(inner)
	real, cancelReal := inner.Watch("log")
	defer cancelReal()
	wake, cancel := db.Watch("log")
	defer cancel()
	var seq uint64
	if err := appendTo(db, &seq); err != nil {
		t.Fatal(err)
	}
	<-real
	select {
	case <-wake:
		t.Error("a wake-up got through")
	default:
	}
}
