package sse

import (
	"context"
	"errors"
	"io"
	"time"
)

const (
	// pumpQueue is how many messages may wait for a slow client before the
	// source is held back.
	pumpQueue = 64

	// maxLinger is how long a written event may wait for others to share its
	// flush while messages keep coming.
	maxLinger = 5 * time.Millisecond
)

type received[T any] struct {
	msg T
	err error
}

// Pump writes what recv yields until recv returns io.EOF, and then returns nil.
// It ends early with the error of the connection, of ctx, of recv or of write,
// in this order of precedence. What was written before the end is flushed.
//
// recv is called from one goroutine of Pump's own; write is called on the
// caller's, and should only call methods of w. Events are flushed as soon as no
// message is waiting, and under constant load at most 5 ms (plus one call of
// write) after the first of them. A stream that stays silent for
// [Options.KeepAlive] gets a ping comment.
//
// recv must return once ctx is cancelled, as the Recv of a gRPC stream opened
// with ctx does, and the caller must cancel ctx after Pump has returned, as a
// server does with the context of a request. That, and nothing else, ends a recv
// that is still waiting when the client goes away first.
func Pump[T any](ctx context.Context, w *Writer, recv func() (T, error), write func(T) error) (err error) {
	defer func() { err = errors.Join(err, w.End()) }()
	if err := w.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	queue := make(chan received[T], pumpQueue)
	go func() {
		for {
			msg, err := recv()
			select {
			case queue <- received[T]{msg, err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()

	idle := newIdleTimer(w.opts.KeepAlive)
	defer idle.stop()
	for {
		r, err := next(ctx, w, queue, idle)
		switch {
		case err != nil:
			return w.finish(ctx, err)
		case errors.Is(r.err, io.EOF):
			return w.Flush()
		case r.err != nil:
			return w.finish(ctx, r.err)
		}
		if err := write(r.msg); err != nil {
			return w.finish(ctx, err)
		}
		if len(w.buf) > 0 && time.Since(w.since) >= maxLinger {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		// Messages that write nothing must not starve the keep-alive.
		if err := w.keepAlive(); err != nil {
			return err
		}
	}
}

// next returns the next message. Before it waits for one, it flushes.
func next[T any](ctx context.Context, w *Writer, queue <-chan received[T], idle *idleTimer) (received[T], error) {
	select {
	case r := <-queue:
		return r, nil
	default:
	}
	if len(w.buf) > 0 {
		if err := w.Flush(); err != nil {
			return received[T]{}, err
		}
	}
	for {
		idle.reset(w.flushed)
		select {
		case r := <-queue:
			return r, nil
		case <-ctx.Done():
			return received[T]{}, ctx.Err()
		case <-idle.fired():
			if err := w.keepAlive(); err != nil {
				return received[T]{}, err
			}
		}
	}
}

// finish flushes what the end of a stream left behind and says how it ended. A
// lost connection explains more than what it led to, and ctx more than the words
// in which recv reports its end.
func (w *Writer) finish(ctx context.Context, err error) error {
	if err := w.Flush(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// keepAlive pings a client that has heard nothing for too long.
func (w *Writer) keepAlive() error {
	if w.opts.KeepAlive < 0 || len(w.buf) > 0 || time.Since(w.flushed) < w.opts.KeepAlive {
		return nil
	}
	if err := w.Comment("ping"); err != nil {
		return err
	}
	return w.Flush()
}

// idleTimer fires when a keep-alive is due, or never.
type idleTimer struct {
	after time.Duration
	timer *time.Timer
}

func newIdleTimer(after time.Duration) *idleTimer {
	t := &idleTimer{after: after}
	if after > 0 {
		t.timer = time.NewTimer(after)
	}
	return t
}

// reset makes the timer count from the time of the last flush.
func (t *idleTimer) reset(last time.Time) {
	if t.timer != nil {
		t.timer.Reset(t.after - time.Since(last))
	}
}

func (t *idleTimer) fired() <-chan time.Time {
	if t.timer == nil {
		return nil
	}
	return t.timer.C
}

func (t *idleTimer) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}
