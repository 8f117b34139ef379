// Package events turns logs into subscriptions.
//
// A subscriber holds a cursor and reads the log; nobody pushes to it. So live,
// late, slow and reconnecting readers share one code path, a slow one costs
// nothing but its own position, and a reader that lost its place is told so.
// Nothing here knows what an event means.
package events

import (
	"context"
	"time"

	"anthill/services/internal/store"
)

// poll bounds how long a lost wake-up can delay a reader.
const poll = time.Second

// page is how many entries are read in one transaction.
const page = 256

// Cursor is a place in a topic's log: the last event seen. The zero Cursor
// means that nothing was seen.
type Cursor struct {
	Seq   uint64
	Epoch uint32
}

// Subscriber receives a topic. Its methods are called from one goroutine.
type Subscriber interface {
	// Snapshot reads the present state as of cursor at. truncated says that the
	// subscriber's own cursor no longer holds and events were skipped. It runs
	// inside a transaction and must not block; what it read is sent by Ready.
	Snapshot(r store.Reader, at Cursor, truncated bool) error
	// Ready follows every Snapshot, outside the transaction.
	Ready(ctx context.Context) error
	// Events are those after the cursor, in order, without gaps.
	Events(ctx context.Context, epoch uint32, entries []store.Entry) error
}

// Follow feeds sub from the topic until ctx ends or sub fails; it returns why.
// With a cursor that holds it goes on right after it; without one, or with one
// that no longer holds, it begins with a snapshot.
func Follow(ctx context.Context, db store.DB, topic string, since Cursor, sub Subscriber) error {
	wake, stop := db.Watch(topic)
	defer stop()
	timer := time.NewTimer(poll)
	defer timer.Stop()

	at := since
	for first := true; ; first = false {
		entries, snapped, err := next(ctx, db, topic, &at, first, sub)
		if err != nil {
			return err
		}
		if snapped {
			if err := sub.Ready(ctx); err != nil {
				return err
			}
		}
		if len(entries) > 0 {
			if err := sub.Events(ctx, at.Epoch, entries); err != nil {
				return err
			}
		}
		if len(entries) == page {
			continue
		}
		timer.Reset(poll)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-timer.C:
		}
	}
}

// next reads what follows the cursor, or a snapshot when the cursor does not hold.
func next(ctx context.Context, db store.DB, topic string, at *Cursor, first bool, sub Subscriber) (
	entries []store.Entry, snapped bool, err error,
) {
	start := *at
	err = db.View(ctx, func(r store.Reader) error {
		read, head := r.Log(topic, start.Seq, page)
		fresh := first && start == Cursor{}
		if fresh || !holds(start, head) {
			snapped = true
			*at = Cursor{Seq: head.Last, Epoch: head.Epoch}
			return sub.Snapshot(r, *at, !fresh)
		}
		for _, e := range read {
			entries = append(entries, store.Entry{Seq: e.Seq, Event: append([]byte(nil), e.Event...)})
			at.Seq = e.Seq
		}
		at.Epoch = head.Epoch
		return nil
	})
	return entries, snapped, err
}

// holds says whether every event after c is still in the log.
func holds(c Cursor, head store.Head) bool {
	if c.Seq == 0 && c.Epoch == 0 {
		return head.First <= 1 // an empty topic that has been followed from its start
	}
	return c.Epoch == head.Epoch && c.Seq <= head.Last && c.Seq+1 >= head.First
}
