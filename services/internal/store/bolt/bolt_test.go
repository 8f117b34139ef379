package bolt_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		storetest.Conformance(t, func(t *testing.T) store.DB { return openStore(t) })
	})
	t.Run("run twice", func(t *testing.T) {
		storetest.Conformance(t, func(t *testing.T) store.DB { return storetest.RunTwice(openStore(t)) })
	})
}

var silent = slog.New(slog.DiscardHandler)

// openStore opens a new store that is closed with the test.
func openStore(tb testing.TB) *bolt.DB {
	tb.Helper()
	d := mustOpen(tb, filepath.Join(tb.TempDir(), "store.db"))
	tb.Cleanup(func() { d.Close() })
	return d
}

func mustOpen(tb testing.TB, path string) *bolt.DB {
	tb.Helper()
	d, err := bolt.Open(bolt.Options{Path: path, Logger: silent})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func mustClose(tb testing.TB, d *bolt.DB) {
	tb.Helper()
	if err := d.Close(); err != nil {
		tb.Fatal(err)
	}
}

func update(tb testing.TB, db store.DB, fn func(store.Tx)) {
	tb.Helper()
	if err := db.Update(context.Background(), func(tx store.Tx) error { fn(tx); return nil }); err != nil {
		tb.Fatalf("update: %v", err)
	}
}

func view(tb testing.TB, db store.DB, fn func(store.Reader)) {
	tb.Helper()
	if err := db.View(context.Background(), func(r store.Reader) error { fn(r); return nil }); err != nil {
		tb.Fatalf("view: %v", err)
	}
}
