package rooms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// errandsMax is how many questions wait for the coworker of one room.
const errandsMax = 50

// errand is a message that the coworker of its room has to answer. It is stored with
// the message, and goes in the transaction that posts the answer: so each is asked
// once and answered once, whatever ends in between.
type errand struct {
	Room  string `json:"-"`
	Event uint64 `json:"-"` // of the message: its place among those of the room

	ID      string `json:"id"`
	Seq     uint64 `json:"seq"` // of the message
	Message string `json:"message"`
	After   uint64 `json:"after,omitempty"` // messages up to this seq the coworker was shown before
	Asker   string `json:"asker,omitempty"` // the terminal that asks: it hears the answer
	Handed  bool   `json:"handed,omitempty"`
	Waits   string `json:"waits,omitempty"` // the reason why it has to wait, as recorded
}

func errandsOf(room string) key.Key { return key.Of("ant_errand").Str(room) }

func (e *errand) key() key.Key { return errandsOf(e.Room).Uint(e.Event) }

// newErrandID names the turn that an errand becomes.
func newErrandID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return hex.EncodeToString(b[:])
}

// addErrand stores that a message is to be answered.
func (r *Room) addErrand(tx store.Tx, m *message, from speaker) (full bool, err error) {
	n := 0
	for range tx.Scan(store.Prefix(errandsOf(m.Room))) {
		n++
	}
	if n >= errandsMax {
		return true, nil
	}
	c, err := load[coworker](tx, coworkerKey(m.Room))
	if err != nil {
		return false, err
	}
	if c == nil {
		if c, err = r.comeIn(tx, m.Room, nil); err != nil {
			return false, err
		}
	}
	e := &errand{Room: m.Room, Event: m.Event, ID: newErrandID(), Seq: m.Seq, Message: m.ID, After: c.Shown}
	if from.session != nil && from.session.Type == typeTerminal {
		e.Asker = from.session.ID
	}
	c.Shown = m.Seq
	if err := save(tx, coworkerKey(m.Room), c); err != nil {
		return false, err
	}
	return false, save(tx, e.key(), e)
}

// oweCoworker stores that the coworker has to answer a message, and says so in the record
// of its delivery.
func (r *Room) oweCoworker(tx store.Tx, p *posted, t *delivery, from speaker) error {
	full, err := r.addErrand(tx, p.m, from)
	if err != nil {
		return err
	}
	if full {
		t.State, t.Reason = stateFailed, "QUEUE_FULL"
		t.Words = fmt.Sprintf("not asked: %d messages wait for %s already", errandsMax, coworkerHandle)
		return nil
	}
	t.State, p.asksOne = stateRetained, true
	p.m.Owed++
	return nil
}

// nextErrand is the oldest errand of a room behind another, 0 for none: of those
// that were handed over, or of the others.
func (r *Room) nextErrand(ctx context.Context, room string, after uint64, handed bool) (next *errand, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		next = nil
		all := store.Prefix(errandsOf(room))
		for k := range rd.Scan(store.Range{Start: errandsOf(room).Uint(after + 1), End: all.End}) {
			event, err := lastPart(k, 2)
			if err != nil {
				return err
			}
			e, err := load[errand](rd, k)
			if err != nil {
				return err
			}
			if e.Room, e.Event = room, event; e.Handed == handed {
				next = e
				return nil
			}
		}
		return nil
	})
	return next, err
}

// runErrands sees to the errands of all rooms. It does not wait for them.
func (r *Room) runErrands(ctx context.Context) error {
	if r.coworkers.Load() == nil {
		return nil
	}
	var rooms []string
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		rooms = nil
		all := store.Prefix(key.Of("ant_errand"))
		for start := all.Start; ; {
			room := ""
			for k := range rd.Scan(store.Range{Start: start, End: all.End}) {
				p := key.Parse(k)
				p.Str()
				room = p.Str()
				if err := p.Err(); err != nil {
					return err
				}
				break
			}
			if room == "" {
				return nil
			}
			rooms = append(rooms, room)
			start = store.Prefix(errandsOf(room)).End
		}
	})
	for _, room := range rooms {
		r.handOverSoon(room)
		r.answerSoon(room)
	}
	return err
}

func (r *Room) handOverSoon(room string) {
	r.soon("hand over/"+room, func(ctx context.Context) error { return r.handOver(ctx, room) })
}

func (r *Room) answerSoon(room string) {
	r.soon("answer/"+room, func(ctx context.Context) error { return r.bringAnswers(ctx, room) })
}

// handOver gives the coworker of a room what it is asked, in the order of the messages,
// until nothing is left or something has to wait.
func (r *Room) handOver(ctx context.Context, room string) error {
	for {
		e, err := r.nextErrand(ctx, room, 0, false)
		if err != nil || e == nil {
			return err
		}
		q, err := r.inquiry(ctx, e)
		if err != nil {
			return err
		}
		if q == nil { // its message is gone, or the coworker is
			if err := r.dropErrand(ctx, e); err != nil {
				return err
			}
			continue
		}
		err = (*r.coworkers.Load()).Ask(ctx, *q)
		u := new(Undelivered)
		switch {
		case err == nil:
			e.Handed = true
			err = r.noteErrand(ctx, e, outcome{over: true, delivery: delivery{State: stateDelivered, Delivered: true}})
		case !errors.As(err, &u):
			return err
		case u.Waits:
			return r.noteErrand(ctx, e, outcome{waits: true, delivery: delivery{State: stateRetained, Reason: u.Reason, Words: u.Words}})
		default:
			if err = r.noteErrand(ctx, e, outcome{over: true, delivery: delivery{State: stateFailed, Reason: u.Reason, Words: u.Words}}); err == nil {
				err = r.tell(ctx, e, &Reply{Conversation: q.Conversation, Status: stateFailed, Problem: u.Words})
			}
		}
		if err != nil {
			return err
		}
		r.answerSoon(room)
	}
}

// bringAnswers posts what the coworker of a room answers, in the order of the questions.
// One that does not run by itself keeps no other waiting.
func (r *Room) bringAnswers(ctx context.Context, room string) error {
	for after := uint64(0); ; {
		e, err := r.nextErrand(ctx, room, after, true)
		if err != nil || e == nil {
			return err
		}
		after = e.Event
		works := false
		reply, err := (*r.coworkers.Load()).Answer(ctx, e.ID, func() { works = true; r.sayTyping(room, true) })
		if works {
			r.sayTyping(room, false)
		}
		u := new(Undelivered)
		switch {
		case errors.As(err, &u) && u.Waits:
			err = r.noteErrand(ctx, e, outcome{waits: true, delivery: delivery{State: stateRetained, Reason: u.Reason, Words: u.Words}})
		case errors.As(err, &u):
			err = r.tell(ctx, e, &Reply{Status: stateFailed, Problem: u.Words})
		case err == nil:
			err = r.tell(ctx, e, reply)
		}
		if err != nil {
			return err
		}
		r.handOverSoon(room) // there is room in the queue of its conversation
	}
}

// sayTyping tells the room whether its coworker is at work.
func (r *Room) sayTyping(room string, on bool) {
	r.announce(&antv1.Event{AtMs: float64(r.opt.Now().UnixMilli()), SessionId: room,
		Event: &antv1.Event_Typing{Typing: &antv1.Typing{Handle: coworkerHandle, Typing: on}}})
}

// noteErrand records how far an errand is, with its message. That it still waits for
// the same reason is not recorded again.
func (r *Room) noteErrand(ctx context.Context, e *errand, end outcome) error {
	if end.waits && e.Waits == end.Reason {
		return nil
	}
	return r.opt.Main.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		if tx.Get(e.key()) == nil {
			return nil // its room was deleted meanwhile
		}
		now := *e
		if now.Waits = ""; end.waits {
			now.Waits = end.Reason
		}
		if err := save(tx, now.key(), &now); err != nil {
			return err
		}
		return r.recordAttempt(tx, &owed{Room: e.Room, Seq: e.Seq, Adapter: viaCoworker, Terminal: coworkerHandle}, end)
	})
}

// dropErrand gives up an errand that nobody wants an answer to any more.
func (r *Room) dropErrand(ctx context.Context, e *errand) error {
	return r.opt.Main.Update(ctx, func(tx store.Tx) error {
		if tx.Get(e.key()) == nil {
			return nil
		}
		tx.Delete(e.key())
		if e.Handed {
			return nil
		}
		return r.recordAttempt(tx, &owed{Room: e.Room, Seq: e.Seq, Adapter: viaCoworker, Terminal: coworkerHandle},
			outcome{over: true, delivery: delivery{State: stateFailed, Reason: "COWORKER_GONE", Words: "given up: " + coworkerHandle + " is not in the room any more"}})
	})
}

// errDone says that an errand is over already.
var errDone = errors.New("rooms: the errand is done")

// tell posts the answer to an errand, once.
func (r *Room) tell(ctx context.Context, e *errand, reply *Reply) error {
	d, err := r.answerTo(e, reply)
	if err != nil {
		return err
	}
	_, err = r.post(context.WithoutCancel(ctx), d)
	f := new(fault.Error)
	switch {
	case errors.Is(err, errDone):
		return nil
	case errors.As(err, &f) && (f.Kind == fault.NotFound || f.Kind == fault.Precondition): // the room takes no messages any more
		return r.dropErrand(ctx, e)
	case err != nil:
		return fmt.Errorf("post the answer to %s: %w", e.Message, err)
	}
	return nil
}

// finish ends an errand in the transaction of its answer.
func (r *Room) finish(tx store.Tx, e *errand) error {
	c, err := load[coworker](tx, coworkerKey(e.Room))
	if err != nil {
		return err
	}
	if c == nil || c.Out {
		return errNoCoworker
	}
	if tx.Get(e.key()) == nil {
		return errDone
	}
	tx.Delete(e.key())
	return nil
}

var errNoCoworker = fault.New(fault.Precondition, "COWORKER_GONE", "%s is not in the room any more", coworkerHandle)

// deleteErrands forgets what a room that is deleted asked of its coworker.
func (r *Room) deleteErrands(ctx context.Context, room string) error {
	for _, all := range []key.Key{errandsOf(room), coworkerKey(room)} {
		if err := store.DeleteRange(ctx, r.opt.Main, store.Prefix(all)); err != nil {
			return err
		}
	}
	return nil
}
