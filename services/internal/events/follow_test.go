package events_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"anthill/services/internal/events"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

func open(t *testing.T, limits store.Limits) store.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "test.db"), Limits: limits})
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

func add(t *testing.T, db store.DB, keep uint64, names ...string) {
	t.Helper()
	for _, n := range names {
		err := db.Update(context.Background(), func(tx store.Tx) error {
			tx.Append("topic", []byte(n))
			tx.Trim("topic", keep)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// tape is a subscriber that hands on what it gets.
type tape struct {
	snap chan string
	got  chan string
	last events.Cursor
}

func newTape() *tape { return &tape{snap: make(chan string, 100), got: make(chan string, 10_000)} }

func (s *tape) Snapshot(_ store.Reader, at events.Cursor, truncated bool) error {
	s.last = at
	s.snap <- fmt.Sprintf("%d %t", at.Seq, truncated)
	return nil
}

func (s *tape) Ready(context.Context) error { return nil }

func (s *tape) Events(_ context.Context, epoch uint32, entries []store.Entry) error {
	for _, e := range entries {
		s.last = events.Cursor{Seq: e.Seq, Epoch: epoch}
		s.got <- fmt.Sprintf("%d %s", e.Seq, e.Event)
	}
	return nil
}

func (s *tape) want(t *testing.T, from chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-from:
			if got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		case <-t.Context().Done():
			t.Fatalf("waiting for %q", w)
		}
	}
}

// follow starts a subscription; stop ends it and waits.
func follow(t *testing.T, db store.DB, since events.Cursor, s *tape) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- events.Follow(ctx, db, "topic", since, s) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("follow ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestFollowBeginsWithTheStateAndGoesOnWithoutAGap(t *testing.T) {
	db := open(t, store.MainLimits)
	s := newTape()
	follow(t, db, events.Cursor{}, s)
	s.want(t, s.snap, "0 false")
	add(t, db, 1000, "a", "b")
	s.want(t, s.got, "1 a", "2 b")

	late := newTape()
	stop := follow(t, db, events.Cursor{}, late)
	late.want(t, late.snap, "2 false")
	add(t, db, 1000, "c")
	late.want(t, late.got, "3 c")
	stop()

	again := newTape()
	follow(t, db, events.Cursor{Seq: 1, Epoch: late.last.Epoch}, again)
	again.want(t, again.got, "2 b", "3 c")
	if len(again.snap) != 0 {
		t.Error("a cursor that holds was answered with a snapshot")
	}
}

func TestFollowUnderConcurrentWriters(t *testing.T) {
	db := open(t, store.MainLimits)
	s := newTape()
	follow(t, db, events.Cursor{}, s)
	s.want(t, s.snap, "0 false")
	const writers, each = 8, 100
	for range writers {
		go func() {
			for range each {
				add(t, db, 1000, "x")
			}
		}()
	}
	for i := range writers * each {
		s.want(t, s.got, fmt.Sprintf("%d x", i+1))
	}
}

func TestFollowSaysWhenACursorIsGone(t *testing.T) {
	db := open(t, store.MainLimits)
	s := newTape()
	stop := follow(t, db, events.Cursor{}, s)
	s.want(t, s.snap, "0 false")
	add(t, db, 3, "a", "b", "c", "d", "e", "f")
	s.want(t, s.got, "1 a")
	stop()
	epoch := s.last.Epoch
	for name, c := range map[string]events.Cursor{
		"trimmed": {Seq: 1, Epoch: epoch}, "other epoch": {Seq: 5, Epoch: epoch + 1}, "ahead of the log": {Seq: 99, Epoch: epoch},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTape()
			follow(t, db, c, s)
			s.want(t, s.snap, "6 true")
		})
	}
}

func TestFollowSurvivesLostWakeUps(t *testing.T) {
	db := storetest.DropWakeups(open(t, store.MainLimits))
	s := newTape()
	follow(t, db, events.Cursor{}, s)
	s.want(t, s.snap, "0 false")
	add(t, db, 1000, "a")
	s.want(t, s.got, "1 a")
}
