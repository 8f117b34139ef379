// Package feed is the stream of events of the ANT API: one log for all rooms,
// read once for all who follow it.
//
// Rooms append to it in the transaction of each change ([Append]) and announce
// what is not worth keeping ([Feed.Announce]). Whoever follows ([Feed.Follow])
// reads the log in pages from a cursor until it reaches the hub, and is then fed
// by the hub, which reads and decodes every event once. One that lags behind the
// hub goes back to the log: it costs its position and no memory, and misses
// nothing but announcements.
//
// Nothing here decides who may follow what.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/store"
)

// Limits of a follower's queue, in bytes of events.
const (
	queueMax    = 4 << 20   // more than this, and it goes back to the log
	ephemeraMax = 256 << 10 // with this much waiting, announcements are dropped
)

// retry is how long the hub rests after a failure of the store.
const retry = time.Second

// Ref names a message.
type Ref struct{ Room, ID string }

// Messages finds what message events name. Both rows and bodies may be read; it
// is never called in a transaction.
type Messages interface {
	// Messages returns one message for each ref, complete, in their order; nil
	// for one that does not exist.
	Messages(ctx context.Context, refs []Ref) ([]*antv1.MessageCreated, error)
}

// RunRef names a run event.
type RunRef struct {
	Room string
	ID   uint32
}

// RunEvents finds what events of evidence name. It is never called in a transaction.
type RunEvents interface {
	// RunEvents returns one event for each ref, complete, in their order; nil for
	// one that does not exist.
	RunEvents(ctx context.Context, refs []RunRef) ([]*antv1.RunEvent, error)
}

// Options for Open.
type Options struct {
	DB        store.DB
	Messages  Messages
	RunEvents RunEvents
	Log       *slog.Logger
}

// Feed is safe for concurrent use.
type Feed struct {
	opt  Options
	stop context.CancelFunc
	done chan struct{} // closed when the hub has ended for good

	mu        sync.Mutex
	followers map[*follower]struct{} // those that the hub feeds
	at        events.Cursor          // where the hub is, while it is up
	up        chan struct{}          // closed while the hub is up
	isUp      bool
}

// Open starts the hub.
func Open(o Options) *Feed {
	ctx, stop := context.WithCancel(context.Background())
	f := &Feed{opt: o, stop: stop, done: make(chan struct{}), followers: map[*follower]struct{}{}, up: make(chan struct{})}
	go f.run(ctx)
	return f
}

// Close ends the hub and everything that follows it. It waits for the hub.
func (f *Feed) Close(ctx context.Context) error {
	f.stop()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Announce tells live followers of an event that is not kept. It does not
// block; the event must not be changed afterwards.
func (f *Feed) Announce(e *antv1.Event) {
	it := measured(e)
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.followers {
		if s.bytes+it.size <= ephemeraMax && s.filter.wants(e) {
			s.take(it)
			s.wakeUp()
		}
	}
}

// run keeps the hub at the end of the log.
func (f *Feed) run(ctx context.Context) {
	defer close(f.done)
	for {
		err := events.Follow(ctx, f.opt.DB, Topic, events.Cursor{}, &hub{feed: f})
		f.down()
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return
		}
		f.opt.Log.Error("reading events", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// down sends all followers back to the log.
func (f *Feed) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isUp {
		f.isUp, f.up = false, make(chan struct{})
	}
	for s := range f.followers {
		f.detach(s)
	}
}

// reset puts the hub at a place in the log that it has not read up to.
func (f *Feed) reset(at events.Cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.followers {
		f.detach(s)
	}
	f.at = at
	if !f.isUp {
		f.isUp = true
		close(f.up)
	}
}

// publish hands on events that end at a cursor.
func (f *Feed) publish(batch []item, at events.Cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = at
	for s := range f.followers {
		took := false
		for _, it := range batch {
			if it.event.Seq <= s.at.Seq || !s.filter.wants(it.event) {
				continue
			}
			if s.bytes+it.size > queueMax && s.bytes > 0 {
				f.detach(s)
				break
			}
			s.take(it)
			took = true
		}
		if took {
			s.wakeUp()
		}
	}
}

// skip passes over events that end at a cursor, if nobody is fed.
func (f *Feed) skip(at events.Cursor) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.followers) > 0 {
		return false
	}
	f.at = at
	return true
}

// attach lets the hub feed s, which has seen everything up to s.at, unless the
// hub is further than that.
func (f *Feed) attach(s *follower) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isUp || f.at.Seq > s.at.Seq {
		return false
	}
	s.lost = false
	f.followers[s] = struct{}{}
	return true
}

// detach is called with mu held.
func (f *Feed) detach(s *follower) {
	delete(f.followers, s)
	s.queue, s.bytes, s.lost = nil, 0, true
	s.wakeUp()
}

// drain returns what waits for s; lost says that it has to go back to the log.
func (f *Feed) drain(s *follower) (queue []*antv1.Event, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.lost {
		return nil, true
	}
	queue = s.queue
	s.queue, s.bytes = nil, 0
	if f.at.Seq > s.at.Seq {
		s.at = f.at
	}
	return queue, false
}

// leave ends what attach began.
func (f *Feed) leave(s *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.followers, s)
}

// ready returns a channel that is closed while the hub is up.
func (f *Feed) ready() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up
}

// hub is the reader at the end of the log.
type hub struct{ feed *Feed }

// Snapshot implements events.Subscriber.
func (h *hub) Snapshot(_ store.Reader, at events.Cursor, _ bool) error {
	h.feed.reset(at)
	return nil
}

// Ready implements events.Subscriber.
func (h *hub) Ready(context.Context) error { return nil }

// Events implements events.Subscriber.
func (h *hub) Events(ctx context.Context, epoch uint32, entries []store.Entry) error {
	for len(entries) > 0 {
		if h.feed.skip(events.Cursor{Seq: entries[len(entries)-1].Seq, Epoch: epoch}) {
			return nil
		}
		batch, n, err := h.feed.decode(ctx, epoch, entries, nil)
		if err != nil {
			return err
		}
		h.feed.publish(batch, events.Cursor{Seq: entries[n-1].Seq, Epoch: epoch})
		entries = entries[n:]
	}
	return nil
}
