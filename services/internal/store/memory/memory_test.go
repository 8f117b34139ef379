package memory_test

import (
	"errors"
	"testing"

	"anthill/services/internal/store"
	"anthill/services/internal/store/memory"
	"anthill/services/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		storetest.Conformance(t, func(*testing.T) store.DB { return memory.Open(memory.Options{}) })
	})
	t.Run("run twice", func(t *testing.T) {
		storetest.Conformance(t, func(*testing.T) store.DB { return storetest.RunTwice(memory.Open(memory.Options{})) })
	})
}

// A full store refuses to grow, and lets go of what is deleted.
func TestFull(t *testing.T) {
	db := memory.Open(memory.Options{Most: 1000})
	put := func(key string, size int) error {
		return db.Update(t.Context(), func(tx store.Tx) error { tx.Put([]byte(key), make([]byte, size)); return nil })
	}
	if err := put("a", 900); err != nil {
		t.Fatal(err)
	}
	if err := put("b", 200); !errors.Is(err, store.ErrFull) {
		t.Fatalf("beyond its bound: %v", err)
	}
	if err := db.Update(t.Context(), func(tx store.Tx) error { tx.Delete([]byte("a")); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := put("b", 200); err != nil {
		t.Fatalf("after a deletion: %v", err)
	}
}
