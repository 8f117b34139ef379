package scratchpads

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/kernel"
)

// run is a cell that runs: what it has done so far, for those who follow it.
// They read at their own pace, and nobody waits for them.
type run struct {
	number int32
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	events []*antonv1.CellEvent
	read   int           // events before this one were handed out and stay as they are
	change chan struct{} // closed when there is more
	done   bool
	err    error // why its end could not be stored
}

// newRun is a run that has begun; cancel ends it.
func newRun(c *antonv1.Cell, cancel context.CancelCauseFunc) *run {
	x := &run{number: c.Number, cancel: cancel, change: make(chan struct{})}
	x.add(&antonv1.CellEvent{Event: &antonv1.CellEvent_Started{Started: &antonv1.CellStarted{Number: c.Number, Started: c.Started}}})
	return x
}

// linger is how long a follower lets text gather: print writes a line and its end
// one by one.
const linger = 3 * time.Millisecond

// joined is how much text is gathered in one event that nobody has read yet.
const joined = 16 << 10

// event takes what the kernel tells.
func (x *run) event(e kernel.Event) {
	switch {
	case e.Stdout != "":
		x.text(e.Stdout, false)
	case e.Stderr != "":
		x.text(e.Stderr, true)
	case e.Progress != nil:
		x.add(&antonv1.CellEvent{Event: &antonv1.CellEvent_Progress{
			Progress: &antonv1.CellProgress{Message: e.Progress.Message, Percent: e.Progress.Percent}}})
	case e.Display != nil:
		x.add(&antonv1.CellEvent{Event: &antonv1.CellEvent_Display{Display: outputOf(*e.Display)}})
	}
}

// text adds to the newest event if it is of the same stream and was not read yet:
// a cell that prints much in small pieces makes few events.
func (x *run) text(s string, stderr bool) {
	x.mu.Lock()
	if n := len(x.events); n > x.read {
		switch e := x.events[n-1].Event.(type) {
		case *antonv1.CellEvent_Stdout:
			if !stderr && len(e.Stdout) < joined {
				e.Stdout += s
				s = ""
			}
		case *antonv1.CellEvent_Stderr:
			if stderr && len(e.Stderr) < joined {
				e.Stderr += s
				s = ""
			}
		}
	}
	x.mu.Unlock()
	switch {
	case s == "":
	case stderr:
		x.add(&antonv1.CellEvent{Event: &antonv1.CellEvent_Stderr{Stderr: s}})
	default:
		x.add(&antonv1.CellEvent{Event: &antonv1.CellEvent_Stdout{Stdout: s}})
	}
}

func (x *run) add(e *antonv1.CellEvent) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.Sequence = int32(len(x.events))
	x.events = append(x.events, e)
	close(x.change)
	x.change = make(chan struct{})
}

// end is the last event. err: the end could not be stored, and is told to nobody.
func (x *run) end(c *antonv1.Cell, err error) {
	if err == nil {
		x.add(&antonv1.CellEvent{Event: &antonv1.CellEvent_Cell{Cell: c}})
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done, x.err = true, err
	close(x.change)
	x.change = make(chan struct{})
}

// next returns the events from i on; none: wait for change, or it is over.
func (x *run) next(i int) (list []*antonv1.CellEvent, change <-chan struct{}, done bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.read = max(x.read, len(x.events))
	return x.events[i:], x.change, x.done, x.err
}

// follow sends everything from the beginning to the end.
func (x *run) follow(ctx context.Context, send func(*antonv1.CellEvent) error) error {
	for i := 0; ; {
		list, change, done, err := x.next(i)
		for _, e := range list {
			if err := send(e); err != nil {
				return err
			}
		}
		i += len(list)
		if done {
			return err
		}
		select {
		case <-change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !x.ended() {
			time.Sleep(linger)
		}
	}
}

func (x *run) ended() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done
}

// over waits for the end.
func (x *run) over(ctx context.Context) error {
	for {
		x.mu.Lock()
		change, done := x.change, x.done
		x.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// cell waits for the end and returns what the cell left.
func (x *run) cell(ctx context.Context) (*antonv1.Cell, error) {
	if err := x.over(ctx); err != nil {
		return nil, err
	}
	if _, _, _, err := x.next(0); err != nil {
		return nil, err
	}
	return x.last(), nil
}

// last is what the cell left, once it has ended.
func (x *run) last() *antonv1.Cell {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.events[len(x.events)-1].GetCell()
}

// soFar adds to a cell what it has done until now.
func (x *run) soFar(c *antonv1.Cell) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.events {
		switch e := e.Event.(type) {
		case *antonv1.CellEvent_Stdout:
			c.Stdout += e.Stdout
		case *antonv1.CellEvent_Stderr:
			c.Stderr += e.Stderr
		case *antonv1.CellEvent_Display:
			c.Outputs = append(c.Outputs, e.Display)
		case *antonv1.CellEvent_Cell:
			proto.Reset(c)
			proto.Merge(c, e.Cell)
		}
	}
}
