package ant

import (
	"context"
	"io"
	"sync"
)

const (
	actsMost = 1 << 20  // bytes that wait in one queue; a socket with more is not read meanwhile
	actCost  = 1 << 10  // what one counts for at least
	joinMost = 64 << 10 // bytes of input that are handed over at once
)

// act is one thing that a client wants of a terminal.
type act struct {
	frame
	data       []byte
	cols, rows int32
	done       chan struct{} // closed when it is done; nil: nobody waits
}

func (a act) cost() int { return max(len(a.data), actCost) }

// typed says whether it is for the stream that types.
func (a act) typed() bool { return a.Type == "terminal_input" || a.Type == "terminal_resize" }

// acts is a queue with one reader, bounded in bytes. What is typed in a row is joined.
type acts struct {
	wake chan struct{}

	mu    sync.Mutex
	list  []act
	bytes int
	room  chan struct{} // closed once there is room again; nil: nobody waits
	over  bool          // nothing more comes
}

func newActs() *acts { return &acts{wake: make(chan struct{}, 1)} }

// end lets the reader come to an end once all is taken.
func (q *acts) end() {
	q.mu.Lock()
	q.over = true
	q.mu.Unlock()
	q.wakeUp()
}

func (q *acts) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// post queues an act by offer. It waits while that says that there is no room, and is false when it is too late by then.
func post(a act, offer func(act) (room <-chan struct{}), tooLate <-chan struct{}) bool {
	for {
		room := offer(a)
		if room == nil {
			return true
		}
		select {
		case <-room:
		case <-tooLate:
			return false
		}
	}
}

// offer queues an act, or returns what is closed once there is room for it.
func (q *acts) offer(a act) (room <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes > 0 && q.bytes+a.cost() > actsMost {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		return q.room
	}
	defer q.wakeUp()
	if n := len(q.list); n > 0 && a.Type == "terminal_input" && q.list[n-1].Type == a.Type && len(q.list[n-1].data)+len(a.data) <= joinMost {
		last := &q.list[n-1]
		q.bytes -= last.cost()
		last.data = append(last.data, a.data...)
		q.bytes += last.cost()
		return nil
	}
	q.list = append(q.list, a)
	q.bytes += a.cost()
	return nil
}

// take takes the oldest act, if there is one.
func (q *acts) take() (act, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return act{}, false
	}
	a := q.list[0]
	q.list = q.list[1:]
	q.bytes -= a.cost()
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return a, true
}

// next waits for an act and takes it; [io.EOF]: there is none, and none comes.
func (q *acts) next(ctx context.Context) (act, error) {
	for {
		q.mu.Lock()
		over := q.over // before we look: then that is all
		q.mu.Unlock()
		if a, ok := q.take(); ok {
			return a, nil
		}
		if over {
			return act{}, io.EOF
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return act{}, context.Cause(ctx)
		}
	}
}
