package rooms

import (
	"fmt"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/wire"
)

// view is a message as the published API shows it.
func (m *message) view() *antv1.Message {
	return &antv1.Message{Id: m.ID, SessionId: m.Room, Role: m.Role, Content: m.Content, Format: m.Format,
		Status: "complete", SenderId: wire.OrNull(m.Sender), Target: wire.OrNull(m.Target), ReplyTo: wire.OrNull(m.ReplyTo),
		MsgType: m.Type, Meta: m.Meta, CreatedAt: wire.Time(m.At), Pinned: wire.Flag(m.Pinned),
		BroadcastState: m.broadcast(), BroadcastAttempts: int32(m.Attempts), Seq: float64(m.Seq)}
}

// event is a message as streams show it.
func (m *message) event() *antv1.MessageCreated {
	return &antv1.MessageCreated{Id: m.ID, Role: m.Role, Content: m.Content, Format: m.Format, Status: "complete",
		SenderId: wire.OrNull(m.Sender), Target: wire.OrNull(m.Target), ReplyTo: wire.OrNull(m.ReplyTo), MsgType: m.Type,
		Meta: m.Meta, CreatedAt: wire.Time(m.At)}
}

func (m *message) broadcast() string {
	if m.Owed > 0 {
		return "pending"
	}
	return "done"
}

func (p *posted) view() *antv1.PostMessageResponse {
	m := p.m
	v := &antv1.PostMessageResponse{Id: m.ID, SessionId: m.Room, Role: m.Role, Content: m.Content, Format: m.Format,
		Status: "complete", SenderId: wire.OrNull(m.Sender), Target: wire.OrNull(m.Target), ReplyTo: wire.OrNull(m.ReplyTo),
		MsgType: m.Type, Meta: m.Meta, CreatedAt: wire.Time(m.At), BroadcastState: "pending", Seq: float64(m.Seq),
		Pinned: wire.Flag(m.Pinned), FirstPost: p.first, DryRun: p.dry, Replayed: p.replayed,
		Deliveries: viewDeliveries(m, p.deliveries), Asks: p.asks.views()}
	if len(v.Asks) > 0 {
		v.Ask = v.Asks[0]
	}
	if p.first {
		hint := firstPostHint
		v.Hint = &hint
	}
	if p.dry {
		v.Status, v.BroadcastState, v.Deliveries[0].Delivered, v.Deliveries[0].State = statePlanned, statePlanned, false, statePlanned
		for _, d := range v.Deliveries {
			would := wouldBe(d)
			d.Would, d.Id = &would, ""
		}
	}
	return v
}

// wouldBe is what a dry run says of an attempt.
func wouldBe(d *antv1.Delivery) string {
	switch {
	case d.State == stateRetained, d.State == statePlanned && d.Adapter == viaFocus:
		return "queue"
	case d.State == statePlanned:
		return "deliver"
	}
	return "skip"
}

// viewDeliveries begins with what is true of every message: whoever watches the
// room got it.
func viewDeliveries(m *message, list []delivery) []*antv1.Delivery {
	at := wire.Time(m.At)
	out := []*antv1.Delivery{{Id: m.ID + ".0", Adapter: viaRoom, TargetId: m.Room, Delivered: true, State: stateDelivered,
		Attempt: 1, Attempts: 1, AttemptedAt: at, CreatedAt: at, UpdatedAt: at}}
	for i, d := range list {
		at := wire.Time(d.At)
		out = append(out, &antv1.Delivery{Id: fmt.Sprintf("%s.%d", m.ID, i+1), Adapter: d.Adapter, TargetId: d.Target, Delivered: d.Delivered,
			Error: wire.OrNull(d.Words), State: d.State, Reason: d.Reason, Handle: wire.OrNull(d.Handle),
			Attempt: int32(d.Attempt), Attempts: int32(d.Attempt), AttemptedAt: at, CreatedAt: at, UpdatedAt: at, ExpiresAt: wire.TimeOrNull(d.Expires)})
	}
	return out
}
