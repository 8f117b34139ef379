package agents

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/paste"
)

// Bounds of what waits for one terminal.
const (
	waitingMax      = 100
	waitingBytesMax = 16 << 20
)

// order is a text to be sent.
type order struct {
	Terminal, Key         string // Key may be empty
	Message, Room, Sender string // may be empty
	Text                  string
	Raw                   bool   // typed into whatever runs
	Personal              bool   // typed into whatever runs, but where an agent does it is a message
	Again                 bool   // one that failed with nothing submitted is tried again
	Source                string // for the evidence
}

// sends are the queues of terminals. The zero value is ready.
type sends struct {
	mu    sync.Mutex
	queue map[string]*sendQueue // by terminal
}

// sendQueue is what waits for one terminal, in the order of the calls. Its lock is that of sends.
type sendQueue struct {
	door    chan struct{} // held by whose order is stored; waiting is in order
	users   int           // at the door
	waiting []*job        // the first is under way, if running
	left    []*send       // by an earlier run, to be looked at before anything is sent
	running bool
}

// job is an order under way.
type job struct {
	order
	row  send          // the worker's, until done
	done chan struct{} // closed when it is over
}

// wait returns how it ended.
func (j *job) wait(ctx context.Context) (*send, error) {
	select {
	case <-j.done:
		return &j.row, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// of returns the queue of a terminal, and is called with mu held.
func (s *sends) of(terminal string) *sendQueue {
	if s.queue == nil {
		s.queue = map[string]*sendQueue{}
	}
	q := s.queue[terminal]
	if q == nil {
		q = &sendQueue{door: make(chan struct{}, 1)}
		s.queue[terminal] = q
	}
	return q
}

// drop forgets a queue that is empty, and is called with mu held.
func (s *sends) drop(terminal string) {
	if q := s.queue[terminal]; q != nil && q.users == 0 && len(q.waiting) == 0 && len(q.left) == 0 && !q.running {
		delete(s.queue, terminal)
	}
}

// enter waits for the turn to store an order for a terminal.
func (s *sends) enter(ctx context.Context, terminal string) (q *sendQueue, leave func(), err error) {
	s.mu.Lock()
	q = s.of(terminal)
	q.users++
	s.mu.Unlock()
	gone := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		q.users--
		s.drop(terminal)
	}
	select {
	case q.door <- struct{}{}:
		return q, func() { <-q.door; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, nil, context.Cause(ctx)
	}
}

// enqueue stores an order and puts it into its queue. If there is one with its key
// already, it returns that, with its job while it is under way.
func (r *Room) enqueue(ctx context.Context, o order) (*send, *job, error) {
	q, leave, err := r.sends.enter(ctx, o.Terminal)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	old, err := r.sendByKey(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if old != nil && (!old.over() || !o.Again || !old.repeatable()) {
		return old, r.sends.job(q, old.ID), nil
	}
	if r.agent(o.Terminal) == nil {
		return nil, nil, errNotLive
	}
	if !r.sends.room(q, len(o.Text)) {
		return nil, nil, errSendsQueued
	}
	j := &job{order: o, done: make(chan struct{})}
	id := r.opt.NewID()
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		if old != nil {
			freed := *old
			freed.Key = ""
			if err := sendRows.Put(tx, &freed); err != nil {
				return err
			}
		}
		row, err := r.newSend(tx, o, id)
		if err == nil {
			j.row = *row
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	r.sends.mu.Lock()
	q.waiting = append(q.waiting, j)
	r.sends.mu.Unlock()
	r.runSends(o.Terminal)
	return nil, j, nil
}

// sendByKey finds the newest send with an order's key.
func (r *Room) sendByKey(ctx context.Context, o order) (old *send, err error) {
	if o.Key == "" {
		return nil, nil
	}
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		old, err = sendRows.Lookup(rd, "key", ofTerminal(o.Terminal).Str(o.Key))
		return err
	})
	return old, err
}

// job is the one under way with an id; nil: there is none.
func (s *sends) job(q *sendQueue, id string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range q.waiting {
		if j.row.ID == id { // an id never changes
			return j
		}
	}
	return nil
}

// room says whether one more text may wait.
func (s *sends) room(q *sendQueue, size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range q.waiting {
		size += len(j.Text)
	}
	return len(q.waiting) < waitingMax && (size <= waitingBytesMax || len(q.waiting) == 0)
}

// runSends sees to it that somebody carries out what waits for a terminal.
func (r *Room) runSends(terminal string) {
	r.sends.mu.Lock()
	defer r.sends.mu.Unlock()
	if q := r.sends.of(terminal); !q.running {
		q.running = r.begin(func() { r.carrySends(terminal, q) })
	}
}

// carrySends carries out one order after the other until none is left.
func (r *Room) carrySends(terminal string, q *sendQueue) {
	for {
		r.sends.mu.Lock()
		left := q.left
		var j *job
		if len(q.waiting) > 0 {
			j = q.waiting[0]
		}
		if len(left) == 0 && j == nil || r.base.Err() != nil {
			q.running = false
			r.sends.drop(terminal)
			r.sends.mu.Unlock()
			return
		}
		r.sends.mu.Unlock()
		if len(left) > 0 {
			r.recoverLeft(terminal, left)
			r.sends.mu.Lock()
			q.left = nil
			r.sends.mu.Unlock()
			continue
		}
		r.carry(j)
		r.sends.mu.Lock()
		q.waiting = slices.Delete(q.waiting, 0, 1)
		r.sends.mu.Unlock()
		if j.row.over() {
			close(j.done)
		}
	}
}

// carry sends one text. The whole of it happens in one turn to type, so that what
// people type, and answers, wait.
func (r *Room) carry(j *job) {
	s := &j.row
	a := r.agent(s.Terminal)
	if a == nil {
		s.fail(paste.Dead, r.opt.Now())
		r.insist(j)
		return
	}
	input, err := a.terminal.Input(r.base)
	switch {
	case errors.Is(err, terminal.ErrGone):
		s.fail(paste.Dead, r.opt.Now())
		r.insist(j)
		return
	case err != nil:
		return // the room closes: the next start finds it queued
	}
	defer input.Release()
	d := a.present()
	if s.Raw = j.Raw || j.Personal && d == nil; d != nil {
		s.Driver = d.Name
	}
	refused := error(nil)
	receipt := r.typist(a, input).Send(r.base, d, paste.Message{Text: j.Text, Raw: s.Raw}, func(p paste.Receipt) error {
		if state := p.State(); state == paste.Queued || state == paste.Failed {
			return nil // queued was told before; of a failure the whole receipt is
		}
		s.receive(p)
		if s.over() {
			return nil
		}
		refused = r.keepSend(*s, "")
		return refused
	})
	input.Release()
	if refused != nil {
		r.opt.Log.Error("a send cannot be recorded, and was given up", "terminal", s.Terminal, "error", refused)
	}
	s.receive(receipt)
	r.insist(j)
}

// typist types into an agent whose turn to type is held.
func (r *Room) typist(a *agent, input *terminal.Input) *paste.Sender {
	return paste.New(paste.Options{Terminal: held{input, a.terminal}, Screen: a.screen, Clock: clock{r.opt}, Folder: r.opt.Folder})
}

// held is a terminal whose turn is held.
type held struct {
	*terminal.Input
	terminal *terminal.Terminal
}

// Done implements paste.Terminal.
func (h held) Done() <-chan struct{} { return h.terminal.Done() }

// clock tells the room's time.
type clock struct{ opt Options }

// Now implements paste.Clock.
func (c clock) Now() time.Time { return c.opt.Now() }

// After implements paste.Clock.
func (c clock) After(d time.Duration) <-chan time.Time { return c.opt.after(d) }

// insistAfter is how long the store is left alone after it refused the end of a send.
const insistAfter = time.Second

// insist records how a send ended, again and again until it is on disk: what is
// not recorded would be looked at as if it were unfinished.
func (r *Room) insist(j *job) {
	for failed := false; ; failed = true {
		err := r.keepSend(j.row, j.Text)
		if err == nil {
			return
		}
		if errors.Is(err, store.ErrClosed) {
			return
		}
		if !failed {
			r.opt.Log.Error("the end of a send cannot be recorded, it is tried again", "terminal", j.Terminal, "error", err)
		}
		select {
		case <-r.opt.after(insistAfter):
		case <-r.base.Done():
			return
		}
	}
}
