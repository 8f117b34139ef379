package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// States of a delivery (messages.proto).
const (
	stateDelivered = "delivered"
	stateQueued    = "queued"
	stateRetained  = "retained"
	stateHeld      = "held"
	stateWorking   = "working"
	stateExpired   = "expired"
	stateFailed    = "failed"
	statePlanned   = "planned"
)

const (
	attemptsMax = 5               // to type a message into a live terminal
	retryAfter  = 5 * time.Second // the first time; twice as long each further time
	owedMax     = 1000            // messages that one terminal is owed
	deliverWait = 2 * time.Second
)

// delivery is one attempt to bring a message to a terminal, as it went.
type delivery struct {
	Adapter   string `json:"adapter"`
	Target    string `json:"target"`
	Handle    string `json:"handle,omitempty"`
	Delivered bool   `json:"delivered,omitempty"`
	State     string `json:"state"`
	Reason    string `json:"reason,omitempty"`
	Words     string `json:"words,omitempty"`
	Attempt   int    `json:"attempt"`
	At        int64  `json:"at"`                // ns
	Expires   int64  `json:"expires,omitempty"` // ns
}

// deliveryList are the attempts of one message. (That it reached the room is a
// fact of every message, and not stored.)
type deliveryList struct {
	List []delivery `json:"list"`
}

func loadDeliveries(rd store.Reader, room string, seq uint64) ([]delivery, error) {
	l, err := load[deliveryList](rd, deliveriesOf(room).Uint(seq))
	if l == nil {
		return nil, err
	}
	return l.List, err
}

func saveDeliveries(tx store.Tx, room string, seq uint64, list []delivery) error {
	return save(tx, deliveriesOf(room).Uint(seq), &deliveryList{List: list})
}

// delivery is the record of a step that needs no terminal, or found none.
func (s step) delivery(now time.Time, retain time.Duration) delivery {
	d := delivery{Adapter: s.adapter, Target: s.session.ID, Handle: s.session.Handle, State: s.state,
		Delivered: s.state == stateDelivered || s.state == stateQueued,
		Reason:    s.reason, Words: s.words, Attempt: 1, At: now.UnixNano()}
	if s.state == stateRetained && retain > 0 {
		d.Expires = now.Add(retain).UnixNano()
	}
	return d
}

// owed is something that a terminal is to get. Those of a terminal are kept in
// the order in which they arose.
type owed struct {
	Terminal string `json:"-"`
	Event    uint64 `json:"-"`

	Room     string `json:"room"`
	Seq      uint64 `json:"seq,omitempty"` // of the message; 0: Text is all
	Adapter  string `json:"adapter"`
	Raw      bool   `json:"raw,omitempty"`
	Named    bool   `json:"named,omitempty"`
	Text     string `json:"text,omitempty"`
	Expires  int64  `json:"expires"` // ns
	Attempts int    `json:"attempts,omitempty"`
	Next     int64  `json:"next,omitempty"`  // ns; not to be tried before
	Waits    string `json:"waits,omitempty"` // the reason why it has to wait, as recorded
}

// due says whether something is to be done about it: an attempt, or giving it up.
func (o *owed) due(now int64, live bool) bool {
	return now >= o.Expires || live && now >= o.Next
}

// owedCount bounds what a terminal is owed without counting it.
type owedCount struct {
	N int `json:"n"`
}

func owedTo(terminal string) key.Key   { return key.Of("ant_owed").Str(terminal) }
func countKey(terminal string) key.Key { return key.Of("ant_owed_count").Str(terminal) }

// owe stores what a message's targets are to get, and the records of those that
// are done with already.
func (r *Room) owe(tx store.Tx, p *posted, plan []step, d *draft, from speaker) error {
	p.deliveries, p.waking, p.asksOne = nil, nil, false
	for _, s := range plan {
		t := s.delivery(d.now, r.opt.Retain)
		full := false
		var err error
		if s.adapter == viaCoworker && s.state == statePlanned {
			if err := r.oweCoworker(tx, p, &t, from); err != nil {
				return err
			}
			p.deliveries = append(p.deliveries, t)
			continue
		}
		switch s.state {
		case stateQueued:
			full, err = enqueueFocus(tx, p.m, s.session.ID)
		case stateRetained, statePlanned:
			p.bypassed = p.bypassed || d.flags.urgent && s.member != nil && s.member.focused(d.now)
			full, err = addOwed(tx, &owed{Terminal: s.session.ID, Event: p.m.Event, Room: p.m.Room, Seq: p.m.Seq, Adapter: s.adapter,
				Raw: s.raw, Named: d.target != "", Expires: d.now.Add(r.opt.Retain).UnixNano()})
			if !full {
				p.m.Owed++
			}
		}
		if err != nil {
			return err
		}
		if full {
			t.State, t.Delivered, t.Reason, t.Expires = stateFailed, false, "QUEUE_FULL", 0
			t.Words = fmt.Sprintf("not kept: %d messages wait for this terminal already", owedMax)
		}
		if t.State == statePlanned {
			p.waking = append(p.waking, s.session.ID)
			continue // its record is made by the attempt
		}
		p.deliveries = append(p.deliveries, t)
	}
	p.m.Attempts = len(p.deliveries)
	if len(p.deliveries) == 0 {
		return nil
	}
	return saveDeliveries(tx, p.m.Room, p.m.Seq, p.deliveries)
}

func addOwed(tx store.Tx, o *owed) (full bool, err error) {
	n, err := load[owedCount](tx, countKey(o.Terminal))
	if err != nil {
		return false, err
	}
	if n == nil {
		n = &owedCount{}
	}
	if n.N >= owedMax {
		return true, nil
	}
	n.N++
	if err := save(tx, countKey(o.Terminal), n); err != nil {
		return false, err
	}
	return false, save(tx, owedTo(o.Terminal).Uint(o.Event), o)
}

func dropOwed(tx store.Tx, o *owed) error {
	tx.Delete(owedTo(o.Terminal).Uint(o.Event))
	n, err := load[owedCount](tx, countKey(o.Terminal))
	if err != nil || n == nil {
		return err
	}
	if n.N--; n.N <= 0 {
		tx.Delete(countKey(o.Terminal))
		return nil
	}
	return save(tx, countKey(o.Terminal), n)
}

// lines let one delivery at a time into a terminal.
type lines struct {
	mu sync.Mutex
	by map[string]*line
}

type line struct {
	busy  chan struct{} // holds one token while somebody is in
	users int
}

// enter waits for its turn; leave must be called afterwards.
func (l *lines) enter(ctx context.Context, terminal string) (leave func(), err error) {
	l.mu.Lock()
	if l.by == nil {
		l.by = map[string]*line{}
	}
	at := l.by[terminal]
	if at == nil {
		at = &line{busy: make(chan struct{}, 1)}
		l.by[terminal] = at
	}
	at.users++
	l.mu.Unlock()
	done := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if at.users--; at.users == 0 {
			delete(l.by, terminal)
		}
	}
	select {
	case at.busy <- struct{}{}:
		return func() { <-at.busy; done() }, nil
	case <-ctx.Done():
		done()
		return nil, ctx.Err()
	}
}

// deliverNow brings a message to the terminals that were live when it was posted,
// and puts what came of it into p. What takes longer goes on without the caller.
func (r *Room) deliverNow(ctx context.Context, p *posted) error {
	ctx, cancel := context.WithTimeout(ctx, deliverWait)
	defer cancel()
	var all sync.WaitGroup
	for _, terminal := range p.waking {
		all.Go(func() {
			if err := r.deliver(ctx, terminal); err != nil && ctx.Err() == nil {
				r.opt.Log.Warn("delivery failed, will be tried again", "terminal", terminal, "error", err)
			}
		})
	}
	all.Wait()
	r.Wake()
	return r.opt.Main.View(context.WithoutCancel(ctx), func(rd store.Reader) error {
		list, err := loadDeliveries(rd, p.m.Room, p.m.Seq)
		p.deliveries = list
		for _, terminal := range p.waking {
			if !recorded(list, terminal) {
				p.deliveries = append(p.deliveries, delivery{Adapter: viaInput, Target: terminal, State: stateRetained,
					Reason: "TERMINAL_BUSY", Words: "the terminal has not taken it yet: it is next", Attempt: 1, At: p.m.At})
			}
		}
		return err
	})
}

func recorded(list []delivery, terminal string) bool {
	for _, d := range list {
		if d.Target == terminal {
			return true
		}
	}
	return false
}

// Undelivered is an error of [Terminals.Deliver] that says what is to be done.
type Undelivered struct {
	Reason string // stable, UPPER_SNAKE_CASE
	Words  string // for people
	Final  bool   // it must not be tried again
	Waits  bool   // nothing was tried: it waits for the terminal, which is no attempt
}

func (u *Undelivered) Error() string { return u.Words }

// noAgent is the reason why a notice waits that no program would understand. A user's
// own text goes past it: that is for whatever runs there.
const noAgent = "NO_AGENT"

// deliver types what a terminal is owed, in order, until nothing is left, the
// terminal is not live or not ready, or an attempt fails.
func (r *Room) deliver(ctx context.Context, terminal string) error {
	leave, err := r.lines.enter(ctx, terminal)
	if err != nil {
		return err
	}
	defer leave()
	rawOnly := false
	for after := uint64(0); ; {
		o, err := r.nextOwed(ctx, terminal, after, rawOnly)
		if err != nil || o == nil {
			return err
		}
		if now := r.opt.Now().UnixNano(); !o.due(now, r.live(terminal)) {
			return nil
		}
		end, err := r.attempt(ctx, o)
		if err != nil {
			return err
		}
		// The terminal has it, or has not: that is noted whoever has hung up.
		if err := r.settle(context.WithoutCancel(ctx), o, end); err != nil {
			return err
		}
		switch {
		case end.over:
		case end.waits && end.Reason == noAgent:
			after, rawOnly = o.Event, true
		case end.waits:
			return nil
		default:
			return errors.New(end.Words)
		}
	}
}

// outcome is what became of something owed.
type outcome struct {
	delivery      // no State: there is nothing to record
	over     bool // it is not owed any more
	waits    bool // nothing was tried
}

// attempt tries to deliver what is due. An error says that nothing is known of it.
func (r *Room) attempt(ctx context.Context, o *owed) (outcome, error) {
	if r.opt.Now().UnixNano() >= o.Expires {
		return outcome{over: true, delivery: delivery{State: stateExpired, Reason: "EXPIRED",
			Words: "given up: the terminal did not take it in time"}}, nil
	}
	i, err := r.injection(ctx, o)
	if err != nil {
		return outcome{}, err
	}
	if i == nil { // its message is gone
		return outcome{over: true}, nil
	}
	failed := (*r.terminals.Load()).Deliver(ctx, *i)
	var u *Undelivered
	switch errors.As(failed, &u); {
	case failed == nil:
		return outcome{over: true, delivery: delivery{State: stateDelivered, Delivered: true}}, nil
	case u == nil && ctx.Err() != nil:
		return outcome{}, ctx.Err()
	case u == nil:
		u = &Undelivered{Reason: "TERMINAL_FAILED", Words: failed.Error()}
	}
	end := outcome{delivery: delivery{State: stateRetained, Reason: u.Reason, Words: u.Words}, waits: u.Waits,
		over: u.Final || !u.Waits && o.Attempts+1 >= attemptsMax}
	if end.over {
		end.State = stateFailed
	}
	return end, nil
}

// nextOwed is the oldest thing that a terminal is owed behind another, 0 for none; rawOnly:
// of those that are a user's own text.
func (r *Room) nextOwed(ctx context.Context, terminal string, after uint64, rawOnly bool) (o *owed, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		o, err = firstOwed(rd, terminal, after, rawOnly)
		return err
	})
	return o, err
}

func firstOwed(rd store.Reader, terminal string, after uint64, rawOnly bool) (*owed, error) {
	all := store.Prefix(owedTo(terminal))
	for k := range rd.Scan(store.Range{Start: owedTo(terminal).Uint(after + 1), End: all.End}) {
		event, err := lastPart(k, 2)
		if err != nil {
			return nil, err
		}
		o, err := load[owed](rd, k)
		if err != nil {
			return nil, err
		}
		if o != nil && (o.Raw || !rawOnly) {
			o.Terminal, o.Event = terminal, event
			return o, nil
		}
	}
	return nil, nil
}

// settle records what became of an attempt. That it still waits for the same reason is not recorded again.
func (r *Room) settle(ctx context.Context, o *owed, end outcome) error {
	if end.waits && o.Waits == end.Reason {
		return nil
	}
	return r.opt.Main.Update(ctx, func(tx store.Tx) error {
		if tx.Get(owedTo(o.Terminal).Uint(o.Event)) == nil {
			return nil // its session was deleted meanwhile
		}
		now := *o
		if now.Waits = ""; end.waits {
			now.Waits = end.Reason
		} else {
			now.Next = r.opt.Now().Add(retryAfter << o.Attempts).UnixNano()
			now.Attempts++
		}
		if end.over {
			if err := dropOwed(tx, o); err != nil {
				return err
			}
		} else if err := save(tx, owedTo(o.Terminal).Uint(o.Event), &now); err != nil {
			return err
		}
		if o.Seq == 0 || end.State == "" {
			return nil
		}
		return r.recordAttempt(tx, o, end)
	})
}

// recordAttempt adds to the deliveries of a message.
func (r *Room) recordAttempt(tx store.Tx, o *owed, end outcome) error {
	m, err := messageAt(tx, o.Room, o.Seq)
	if err != nil || m == nil {
		return err
	}
	list, err := loadDeliveries(tx, o.Room, o.Seq)
	if err != nil {
		return err
	}
	d := end.delivery
	d.Adapter, d.Target, d.At, d.Attempt = o.Adapter, o.Terminal, r.opt.Now().UnixNano(), 1
	for _, earlier := range list {
		if earlier.Target == o.Terminal {
			d.Attempt, d.Handle = earlier.Attempt+1, earlier.Handle
		}
	}
	if !end.over {
		d.Expires = o.Expires
	} else if m.Owed > 0 {
		m.Owed--
	}
	if s, err := r.opt.Sessions.Find(tx, o.Terminal); err != nil {
		return err
	} else if s != nil {
		d.Handle = s.Handle
	}
	m.Attempts++
	if err := putMessage(tx, m); err != nil {
		return err
	}
	if d.Delivered {
		if _, _, err := r.noteRead(tx, m, reading{Reader: o.Terminal, Session: o.Adapter != viaCoworker}); err != nil {
			return err
		}
	}
	return saveDeliveries(tx, o.Room, o.Seq, bounded(append(list, d), o.Terminal))
}

// attemptsKept is how many records of one terminal a message keeps: one that waits
// for an hour, now for this and now for that, would have more.
const attemptsKept = 20

// bounded drops the second record of a terminal that has too many: the first says how it
// began, the newest how it is.
func bounded(list []delivery, terminal string) []delivery {
	n, second := 0, -1
	for i, d := range list {
		if d.Target == terminal {
			if n++; n == 2 {
				second = i
			}
		}
	}
	if n > attemptsKept {
		return slices.Delete(list, second, second+1)
	}
	return list
}

// ListDeliveries implements antv1.MessagesServiceServer.
func (r *Room) ListDeliveries(ctx context.Context, q *antv1.ListDeliveriesRequest) (*antv1.ListDeliveriesResponse, error) {
	out := &antv1.ListDeliveriesResponse{}
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		s, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		m, err := loadMessage(rd, s.ID, q.MsgId)
		if err != nil {
			return err
		}
		if m == nil {
			return errNoMessage
		}
		list, err := loadDeliveries(rd, s.ID, m.Seq)
		out.Deliveries = viewDeliveries(m, list)
		return err
	})
	return out, err
}
