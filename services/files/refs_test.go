package files

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

type oneSession struct{}

func (oneSession) Find(_ store.Reader, ref string) (*Session, error) { return &Session{ID: ref}, nil }

// Two ids that begin alike cannot be had from outside.
func TestAmbiguousRef(t *testing.T) {
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "main.db"), Limits: store.MainLimits, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing is left to lose
	ids := []string{"12345678-one", "12345678-two"}
	r, err := Open(t.Context(), Options{DB: db, Dir: filepath.Join(t.TempDir(), "uploads"), Sessions: oneSession{}, Now: time.Now,
		NewID: func() (id string) { id, ids = ids[0], ids[1:]; return id }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.CreateFileRef(t.Context(), &antv1.CreateFileRefRequest{SessionId: "room", FilePath: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	left := func(want int) {
		t.Helper()
		if v, err := r.ListFileRefs(t.Context(), &antv1.ListFileRefsRequest{SessionId: "room"}); err != nil || len(v.Refs) != want {
			t.Errorf("%v %v, want %d", v, err, want)
		}
	}
	var f *fault.Error
	_, err = r.DeleteFileRef(t.Context(), &antv1.DeleteFileRefRequest{SessionId: "room", RefId: "12345678"})
	if !errors.As(err, &f) || f.Reason != "FILE_REF_AMBIGUOUS" {
		t.Errorf("%v", err)
	}
	left(2)
	if _, err := r.DeleteFileRef(t.Context(), &antv1.DeleteFileRefRequest{SessionId: "room", RefId: "12345678-o"}); err != nil {
		t.Error(err)
	}
	left(1)
	if err := r.DeleteSession(t.Context(), "room"); err != nil {
		t.Error(err)
	}
	left(0)
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
