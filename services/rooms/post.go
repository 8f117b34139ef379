package rooms

import (
	"context"
	"slices"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// posted is what a post has led to.
type posted struct {
	m          *message
	who        *poster // as they were before; nil: they had not posted
	deliveries []delivery
	first      bool
	replayed   bool
	dry        bool
	asks       *askSet  // what it asks; nil: nothing
	untold     bool     // they are to be told of behind it
	bypassed   bool     // it got past somebody's focus
	asksOne    bool     // the coworker is to answer it
	waking     []string // terminals that are owed something and are live
}

const firstPostHint = "tip: you are new in this room. @handle speaks to one participant, @everyone to all; " +
	"GET /api/sessions/ROOM/participants says who is here."

// PostMessage implements antv1.MessagesServiceServer. It returns once the message
// is on disk and live terminals have taken it, or were given a moment to.
func (r *Room) PostMessage(ctx context.Context, q *antv1.PostMessageRequest) (*antv1.PostMessageResponse, error) {
	if q.IdempotencyKey == "" && q.ClientId == "" {
		q.IdempotencyKey = onceFrom(ctx)
	}
	d, err := r.readDraft(q, caller.From(ctx))
	if err != nil {
		return nil, err
	}
	var p *posted
	switch {
	case d.msgType == typeAgentResponse:
		return r.answerAgent(ctx, d, q)
	case q.DryRun:
		p, err = r.rehearse(ctx, d)
	default:
		p, err = r.post(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	return p.view(), nil
}

func (r *Room) post(ctx context.Context, d *draft) (*posted, error) {
	if len(d.content) > inlineMax {
		id, err := r.roomID(ctx, d.ref)
		if err != nil {
			return nil, err
		}
		body, release, err := r.writeBody(ctx, id, d.content)
		if err != nil {
			return nil, err
		}
		defer release()
		d.ref, d.body = id, body
	}
	var p *posted
	err := r.opt.Main.Update(ctx, func(tx store.Tx) (err error) {
		p, err = r.store(tx, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.replayed {
		list, err := r.fill(ctx, []*message{p.m})
		if err == nil && len(list) == 0 {
			err = errNoMessage
		}
		return p, err
	}
	p.m.Content = d.content
	if p.untold {
		if err := r.tellUntold(ctx, p.asks.Order); err != nil {
			r.Wake() // it is stored; the room tells of it by itself
		}
	}
	if p.asksOne {
		r.handOverSoon(p.m.Room)
	}
	if len(p.waking) > 0 {
		return p, r.deliverNow(ctx, p)
	}
	return p, nil
}

// roomID finds the room that a content is for, before it is written.
func (r *Room) roomID(ctx context.Context, ref string) (id string, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		s, err := r.writable(rd, ref)
		if err == nil {
			id = s.ID
		}
		return err
	})
	return id, err
}

// store is the transaction of a post.
func (r *Room) store(tx store.Tx, d *draft) (*posted, error) {
	room, err := r.writable(tx, d.ref)
	if err != nil {
		return nil, err
	}
	if d.once != nil {
		m, used, err := r.repeated(tx, room.ID, d.once)
		if err != nil {
			return nil, err
		}
		if m != nil {
			list, err := loadDeliveries(tx, m.Room, m.Seq)
			if err != nil {
				return nil, err
			}
			set, err := askSets.Get(tx, askKey(m.Event))
			return &posted{m: m, first: used.First, deliveries: list, asks: set, replayed: true}, err
		}
	}
	if d.errand != nil {
		if err := r.finish(tx, d.errand); err != nil {
			return nil, err
		}
	}
	st, err := loadState(tx, room.ID)
	if err != nil {
		return nil, err
	}
	p, from, plan, err := r.plan(tx, room, st, d)
	if err != nil {
		return nil, err
	}
	m := p.m
	if m.Event, err = created(tx, m); err != nil {
		return nil, err
	}
	if p.asks, p.untold, err = r.putAsks(tx, m, d, len(plan)); err != nil {
		return nil, err
	}
	if err := r.owe(tx, p, plan, d, from); err != nil {
		return nil, err
	}
	if err := putMessage(tx, m); err != nil {
		return nil, err
	}
	if m.Type == typeBreak {
		tx.Put(breaksOf(room.ID).Uint(m.Seq), []byte{})
	}
	if d.body != "" {
		tx.Delete(doomedKey(room.ID, d.body))
	}
	if d.once != nil {
		if err := r.claim(tx, st, m, d.once, p.first); err != nil {
			return nil, err
		}
	}
	if err := r.admit(tx, room, st, from, p); err != nil {
		return nil, err
	}
	if p.bypassed {
		if err := sayBypass(tx, st, d, m, from); err != nil {
			return nil, err
		}
	}
	if err := save(tx, stateKey(room.ID), st); err != nil {
		return nil, err
	}
	return p, r.opt.Sessions.Touch(tx, room.ID, time.Unix(0, m.At))
}

// created tells the feed of a message; the seq is that of the event.
func created(tx store.Tx, m *message) (seq uint64, err error) {
	e := &antv1.Event{AtMs: float64(m.At / int64(time.Millisecond)), SessionId: m.Room,
		Event: &antv1.Event_MessageCreated{MessageCreated: &antv1.MessageCreated{Id: m.ID}}}
	err = feed.Append(tx, e)
	return e.Seq, err
}

// plan decides everything about a post without writing: the row, whom it wakes,
// and what the brakes say. st is changed as the post changes it.
func (r *Room) plan(rd store.Reader, room *Session, st *roomState, d *draft) (*posted, speaker, []step, error) {
	from, err := r.speakerOf(rd, d)
	if err != nil {
		return nil, from, nil, err
	}
	replyTo := d.replyTo
	if d.replyTo != "" {
		if m, err := loadMessage(rd, room.ID, d.replyTo); err != nil {
			return nil, from, nil, err
		} else if m == nil && d.errand != nil {
			replyTo = "" // what was asked is deleted by now
		} else if m == nil {
			return nil, from, nil, fault.New(fault.Invalid, "BAD_REPLY_TO", "reply_to must reference a message in this session")
		}
	}
	st.LastSeq++
	st.LastAt = max(st.LastAt, d.now.UnixNano())
	m := &message{Room: room.ID, Seq: st.LastSeq, At: st.LastAt, Size: len(d.content),
		ID: makeID(d.chance, room.ID, st.LastSeq), Role: d.role, Content: d.content, Format: d.format,
		Sender: d.sender, Session: from.id(), Target: d.target, ReplyTo: replyTo, Type: d.msgType, Meta: d.meta, Body: d.body}
	if d.body != "" {
		m.Content = ""
	}
	p := &posted{m: m}
	who, err := loadPoster(rd, room.ID, posterName(d.sender, from))
	if err != nil {
		return nil, from, nil, err
	}
	p.who, p.first = who, d.sender != "" && who == nil && m.Type != typeBreak
	targets, err := r.route(rd, room, d, from)
	if err != nil {
		return nil, from, nil, err
	}
	return p, from, r.steps(st, who, targets, d, from), nil
}

// step is what is to be done for one target.
type step struct {
	target
	state  string
	reason string
	words  string
}

// steps says what becomes of each target: brakes, then focus, then whether it is live.
func (r *Room) steps(st *roomState, who *poster, targets []target, d *draft, from speaker) []step {
	if from.human {
		st.Brakes.release()
	}
	var brake *held
	wakes := slices.ContainsFunc(targets, func(t target) bool { return !t.busy && !t.silent && !t.forbidden })
	if from.agent && wakes {
		brake = st.Brakes.pull(orElse(from.id(), d.sender), d.now.UnixMilli())
	}
	past := d.mentions.Everyone || d.flags.urgent && who.mayBypass(d.now)
	var list []step
	for _, t := range targets {
		s := step{target: t}
		switch {
		case t.silent:
			s.state = stateDelivered
		case t.forbidden && t.adapter == viaCoworker:
			s.state, s.reason, s.words = stateHeld, "COWORKER_GUEST", "not asked: this room does not let guests ask "+coworkerHandle
		case t.forbidden:
			s.state, s.reason, s.words = stateHeld, "TERMINAL_SCOPE", "not typed: your token does not let you type into terminals"
		case t.busy:
			s.state, s.reason, s.words = stateWorking, "AGENT_WORKING",
				"not typed: its agent is working and the message does not name it"
		case brake != nil:
			s.state, s.reason, s.words = stateHeld, brake.reason, brake.words
		case t.member != nil && t.member.focused(d.now) && !past:
			s.adapter, s.state = viaFocus, stateQueued
			if d.flags.urgent {
				s.words = "queued all the same: three urgent messages within ten minutes are the most that get past focus"
			}
		case t.adapter == viaCoworker:
			s.state = statePlanned
		case !r.live(t.session.ID):
			s.state, s.reason = stateRetained, "TERMINAL_NOT_LIVE"
			s.words = "the terminal is not live: the message is kept for it until " + wire.Time(d.now.Add(r.opt.Retain).UnixNano())
		default:
			s.state = statePlanned
		}
		list = append(list, s)
	}
	return list
}

// rehearse says whom a message would wake, and changes nothing.
func (r *Room) rehearse(ctx context.Context, d *draft) (*posted, error) {
	var p *posted
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		room, err := r.writable(rd, d.ref)
		if err != nil {
			return err
		}
		st, err := loadState(rd, room.ID)
		if err != nil {
			return err
		}
		var plan []step
		if p, _, plan, err = r.plan(rd, room, st, d); err != nil {
			return err
		}
		p.dry = true
		p.deliveries = nil
		for _, s := range plan {
			t := s.delivery(d.now, 0)
			if t.State == stateDelivered || t.State == stateQueued {
				t.State, t.Delivered = statePlanned, false
			}
			p.deliveries = append(p.deliveries, t)
		}
		return nil
	})
	if err == nil {
		p.m.Content, p.m.ID, p.m.Seq = d.content, "", 0
	}
	return p, err
}

// admit notes who posted: as one of the room's posters and, if it is a session,
// as a member. A member that had left is back.
func (r *Room) admit(tx store.Tx, room *Session, st *roomState, from speaker, p *posted) error {
	m := p.m
	if m.Sender == "" {
		return nil
	}
	who := p.who
	if who == nil {
		who = &poster{First: m.At, Session: from.session != nil}
	}
	who.Last = m.At
	who.Count++
	if p.bypassed {
		who.Bypass = append(who.Bypass[max(0, len(who.Bypass)-bypassMost+1):], m.At)
	}
	if err := save(tx, postersOf(room.ID).Str(posterName(m.Sender, from)), who); err != nil {
		return err
	}
	if from.session == nil || room.Type != typeChat || from.session.ID == room.ID {
		return nil
	}
	return r.rejoin(tx, room, st, from.session, m.At)
}

func posterName(sender string, from speaker) string {
	if from.session != nil {
		return from.session.ID
	}
	return sender
}

func loadPoster(rd store.Reader, room, name string) (*poster, error) {
	return load[poster](rd, postersOf(room).Str(name))
}

// How often somebody gets past focus.
const (
	bypassMost = 3
	bypassSpan = 10 * time.Minute
)

// mayBypass says whether somebody may get past focus once more. A nil poster may.
func (p *poster) mayBypass(now time.Time) bool {
	if p == nil {
		return true
	}
	n := 0
	for _, at := range p.Bypass {
		if now.UnixNano()-at < int64(bypassSpan) {
			n++
		}
	}
	return n < bypassMost
}
