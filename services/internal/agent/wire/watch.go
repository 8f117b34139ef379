package wire

import (
	"context"
	"errors"
	"io"
	"time"
)

const (
	lingering = 20 * time.Millisecond // after the last event, for the body to end
	leftover  = 5 * time.Second       // after the answer, for the usage and the end mark
)

var errStalled = errors.New("wire: the provider sent nothing for too long")

// watch reads a body and cancels the call when the provider is silent: until
// the first byte, counted from the request, or between two bytes later. Time
// that our side takes to handle what it read does not count.
type watch struct {
	body  io.Reader
	timer *time.Timer
	idle  time.Duration
	begun bool
}

func newWatch(cancel context.CancelCauseFunc, firstByte, idle time.Duration) *watch {
	return &watch{timer: time.AfterFunc(firstByte, func() { cancel(errStalled) }), idle: idle}
}

func (w *watch) Read(p []byte) (int, error) {
	if w.begun {
		w.timer.Reset(w.idle)
	}
	n, err := w.body.Read(p)
	if n > 0 || err != nil {
		w.begun = true
		w.timer.Stop()
	}
	return n, err
}

func (w *watch) stop() { w.timer.Stop() }

// hurry shortens the wait for what is not part of the answer any more.
func (w *watch) hurry() { w.idle = min(w.idle, leftover) }

// linger waits a moment for the body to end after its last event: only then can
// the connection serve the next call. How that goes does not change the answer.
func (w *watch) linger() {
	w.idle = lingering
	_, _ = io.CopyN(io.Discard, w, 4<<10)
}
