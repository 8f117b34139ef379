package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"anthill/services/internal/events"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/store/storetest"
)

var prefix = key.Of("live").Str("x")

func write(t *testing.T, l *events.Live, text string) {
	t.Helper()
	if err := l.Append(t.Context(), func(seq uint64) []byte { return fmt.Appendf(nil, "%d:%s", seq, text) }); err != nil {
		t.Fatal(err)
	}
}

func seal(t *testing.T, l *events.Live) {
	t.Helper()
	err := l.Seal(t.Context(), func(seq uint64) []byte { return fmt.Appendf(nil, "%d:end", seq) },
		func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
}

// drain reads a log from a seq to its end, waiting where it must.
func drain(t *testing.T, l *events.Live, from uint64) []store.Entry {
	t.Helper()
	wake, stop := l.Watch()
	defer stop()
	var out []store.Entry
	for {
		entries, done, err := l.Read(t.Context(), from)
		if err != nil {
			t.Error(err)
			return out
		}
		for _, e := range entries {
			out = append(out, e)
			from = e.Seq + 1
		}
		if done {
			return out
		}
		if len(entries) == 0 {
			select {
			case <-wake:
			case <-t.Context().Done():
				t.Error("the log has no end")
				return out
			}
		}
	}
}

func check(t *testing.T, who string, got []store.Entry, from, n uint64) {
	t.Helper()
	if uint64(len(got)) != n-from {
		t.Errorf("%s: %d entries, want %d", who, len(got), n-from)
		return
	}
	for i, e := range got {
		seq := from + uint64(i)
		if e.Seq != seq || !bytes.HasPrefix(e.Event, fmt.Appendf(nil, "%d:", seq)) {
			t.Errorf("%s: entry %d is %d %.20q", who, seq, e.Seq, e.Event)
			return
		}
	}
}

// TestEveryReaderSeesTheSame has readers early, late and slow on a log that
// outgrows its memory.
func TestEveryReaderSeesTheSame(t *testing.T) {
	db := storetest.RunTwice(open(t, store.BulkLimits))
	l := events.NewLive(db, prefix, 0, 1024)
	const n = 6000
	var readers sync.WaitGroup
	for i := range uint64(4) {
		readers.Go(func() { check(t, fmt.Sprint("early reader ", i), drain(t, l, i*7), i*7, n) })
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range n - 1 {
		write(t, l, strings.Repeat("x", rng.IntN(300)))
		if i == n/2 {
			readers.Go(func() { check(t, "late reader", drain(t, l, 0), 0, n) })
		}
	}
	seal(t, l)
	readers.Wait()
	check(t, "reader after the end", drain(t, l, 0), 0, n)

	var stored []store.Entry
	for from := uint64(0); ; {
		entries, _, err := events.ReadChunk(t.Context(), db, prefix, from)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		stored = append(stored, entries...)
		from = entries[len(entries)-1].Seq + 1
	}
	check(t, "the store", stored, 0, n)
}

// TestReservationCoversWhatWasShown never lets a seq be seen that a later
// opening could use again.
func TestReservationCoversWhatWasShown(t *testing.T) {
	db := open(t, store.BulkLimits)
	const first = 10
	l := events.NewLive(db, prefix, 0, first)
	for i := range 9000 {
		write(t, l, "x")
		if i%13 != 0 && i > 2*first {
			continue
		}
		if reserved := max(first, lastReserved(t, db)); reserved < l.Next() {
			t.Fatalf("seq %d was shown, %d are reserved", l.Next()-1, reserved)
		}
	}
}

// lastReserved reads the newest chunk's reservation.
func lastReserved(t *testing.T, db store.DB) (reserved uint64) {
	t.Helper()
	for from := uint64(0); ; {
		entries, res, err := events.ReadChunk(t.Context(), db, prefix, from)
		if err != nil {
			t.Fatal(err)
		}
		reserved = max(reserved, res)
		if len(entries) == 0 {
			return reserved
		}
		from = entries[len(entries)-1].Seq + 1
	}
}

func TestSealShowsTheEndOnlyOnceItIsCommitted(t *testing.T) {
	db := open(t, store.BulkLimits)
	l := events.NewLive(db, prefix, 0, 1024)
	write(t, l, "a")
	refused := errors.New("refused")
	err := l.Seal(t.Context(), func(uint64) []byte { return []byte("1:end") }, func(ctx context.Context) error {
		entries, done, err := l.Read(ctx, 0)
		if err != nil || done || len(entries) != 1 {
			t.Errorf("while committing: %d entries, done %t, %v", len(entries), done, err)
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatalf("seal: %v", err)
	}
	write(t, l, "still open")
	seal(t, l)
	check(t, "reader", drain(t, l, 0), 0, 3)
	if err := l.Append(t.Context(), func(uint64) []byte { return nil }); !errors.Is(err, events.ErrSealed) {
		t.Fatalf("append after the end: %v", err)
	}
}

func TestRefusedFlushIsTriedAgain(t *testing.T) {
	db := storetest.FailFirstCommit(open(t, store.BulkLimits), store.ErrFull)
	l := events.NewLive(db, prefix, 0, 1024)
	write(t, l, "a")
	if err := l.Flush(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Fatalf("first flush: %v", err)
	}
	for l.Flush(t.Context()) != nil {
	}
	entries, _, err := events.ReadChunk(t.Context(), db, prefix, 0)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "the store", entries, 0, 1)
}
