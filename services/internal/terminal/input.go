package terminal

import (
	"context"
	"errors"
	"sync"
)

// Input is the turn to type into a terminal: nobody else's input comes between two
// writes of its holder. Safe for concurrent use.
type Input struct {
	terminal *Terminal

	mu       sync.Mutex
	released bool
}

// ErrReleased is that of a Write after Release.
var ErrReleased = errors.New("terminal: the turn to type is over")

// Input waits for the turn to type, in the order of the calls, and takes it: all other
// input waits until it is released. It ends with ctx; ErrGone.
func (t *Terminal) Input(ctx context.Context) (*Input, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if t.gone() {
		return nil, ErrGone
	}
	select {
	case t.input <- struct{}{}: // who waits for a channel is served in order
	case <-t.proc.Done():
		return nil, ErrGone
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	i := &Input{terminal: t}
	if err := ctx.Err(); err != nil { // both came true: nothing is begun
		i.Release()
		return nil, context.Cause(ctx)
	}
	return i, nil
}

// Write hands input to the terminal, whole and byte for byte. Nil: the terminal took it, which
// does not say that the program has read it. A PTY may have taken a part when ctx ends.
// ErrGone, ErrReleased, ErrInvalid (more than 16 MiB).
func (i *Input) Write(ctx context.Context, p []byte) error {
	if len(p) > inputMost {
		return invalid("input has more than %d MiB", inputMost>>20)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.released:
		return ErrReleased
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(p) == 0:
		return nil
	}
	if i.terminal.engine.host.Persistent() {
		ctx = context.WithoutCancel(ctx) // tmux takes it all, at once
	}
	return i.terminal.proc.Write(ctx, p)
}

// Release gives the turn to who waits for it, once the write that goes on is over.
func (i *Input) Release() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.released {
		i.released = true
		<-i.terminal.input
	}
}

// Write is one write with a turn of its own: what is written stays in one piece, in the order
// of the calls. It is not begun when ctx ends while it waits.
func (t *Terminal) Write(ctx context.Context, p []byte) error {
	if len(p) > inputMost {
		return invalid("input has more than %d MiB", inputMost>>20)
	}
	i, err := t.Input(ctx)
	if err != nil {
		return err
	}
	defer i.Release()
	return i.Write(ctx, p)
}
