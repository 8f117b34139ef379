package feed

import (
	"context"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/store"
)

// follower is one who follows, as the hub sees it. The hub's lock guards it.
type follower struct {
	filter Filter
	wake   chan struct{}
	queue  []*antv1.Event
	bytes  int
	at     events.Cursor // everything up to here has been handed on
	lost   bool          // detached by the hub
}

func (s *follower) take(it item) {
	s.queue = append(s.queue, it.event)
	s.bytes += it.size
}

func (s *follower) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Follow hands on the events that filter wants, those behind the cursor since
// first (nil: only new ones), until ctx or the feed ends or emit fails; it
// returns why. The first event is "ready". Events are shared: emit must not
// change them. While emit blocks, memory is bounded; announcements get lost then,
// other events do not.
func (f *Feed) Follow(ctx context.Context, since *events.Cursor, filter Filter, emit func([]*antv1.Event) error) error {
	s := &follower{filter: filter, wake: make(chan struct{}, 1)}
	if since != nil {
		s.at = *since
	} else {
		at, err := f.Head(ctx)
		if err != nil {
			return err
		}
		s.at = at
	}
	ready := &antv1.Event{Seq: s.at.Seq, Epoch: s.at.Epoch, Event: &antv1.Event_Ready{Ready: &antv1.Ready{}}}
	if err := emit([]*antv1.Event{ready}); err != nil {
		return err
	}
	defer f.leave(s)
	for {
		if err := f.catchUp(ctx, s, emit); err != nil {
			return err
		}
		if err := f.live(ctx, s, emit); err != nil {
			return err
		}
	}
}

// catchUp reads the log until it meets the hub.
func (f *Feed) catchUp(ctx context.Context, s *follower, emit func([]*antv1.Event) error) error {
	for {
		page, err := f.Read(ctx, s.at, s.filter, 0)
		if err != nil {
			return err
		}
		if len(page.Events) > 0 {
			if err := emit(page.Events); err != nil {
				return err
			}
		}
		s.at = page.At
		if !page.End {
			continue
		}
		if f.attach(s) {
			return nil
		}
		// The hub is ahead, so there is more to read; or it is not up yet.
		select {
		case <-f.ready():
		case <-ctx.Done():
			return ctx.Err()
		case <-f.done:
			return store.ErrClosed
		}
	}
}

// live hands on what the hub has for s, until it has to go back to the log.
func (f *Feed) live(ctx context.Context, s *follower, emit func([]*antv1.Event) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.done:
			return store.ErrClosed
		case <-s.wake:
		}
		queue, lost := f.drain(s)
		if lost {
			return nil
		}
		if len(queue) == 0 {
			continue
		}
		if err := emit(queue); err != nil {
			return err
		}
	}
}
