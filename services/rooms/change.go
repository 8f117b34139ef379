package rooms

import (
	"context"
	"maps"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

var errNoMsgID = fault.New(fault.Invalid, "MSG_ID_REQUIRED", "msgId required")

// change alters one message of a room that takes changes, and appends the event
// that tells of it. fn returns nil for none.
func (r *Room) change(ctx context.Context, room, id string, fn func(store.Tx, *message) (*antv1.Event, error)) error {
	return r.opt.Main.Update(ctx, func(tx store.Tx) error {
		s, err := r.writable(tx, room)
		if err != nil {
			return err
		}
		m, err := loadMessage(tx, s.ID, id)
		if err != nil {
			return err
		}
		if m == nil {
			return errNoMessage
		}
		e, err := fn(tx, m)
		if err != nil || e == nil {
			return err
		}
		e.SessionId, e.AtMs = s.ID, float64(r.opt.Now().UnixMilli())
		return feed.Append(tx, e)
	})
}

// UpdateMessage implements antv1.MessagesServiceServer.
func (r *Room) UpdateMessage(ctx context.Context, q *antv1.UpdateMessageRequest) (*antv1.UpdateMessageResponse, error) {
	if q.MsgId == "" {
		return nil, errNoMsgID
	}
	if q.GetMeta() == "" {
		return nil, fault.BadField("missing", "meta required", "meta")
	}
	given, err := metaObject(*q.Meta)
	if err != nil {
		return nil, err
	}
	out := &antv1.UpdateMessageResponse{MsgId: q.MsgId}
	var changed *message
	err = r.change(ctx, q.SessionId, q.MsgId, func(tx store.Tx, m *message) (*antv1.Event, error) {
		changed = m
		all, err := storedMeta(m)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, given)
		if m.Meta, err = metaText(all); err != nil {
			return nil, err
		}
		out.Meta = m.Meta
		return &antv1.Event{Event: &antv1.Event_MessageUpdated{
			MessageUpdated: &antv1.MessageUpdated{Id: m.ID, Meta: m.Meta}}}, putMessage(tx, m)
	})
	if err == nil {
		err = r.dismissed(ctx, changed)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PinMessage implements antv1.MessagesServiceServer.
func (r *Room) PinMessage(ctx context.Context, q *antv1.PinMessageRequest) (*antv1.PinMessageResponse, error) {
	if q.Pinned == nil {
		return nil, fault.BadField("missing", "pinned (boolean) required", "pinned")
	}
	err := r.change(ctx, q.SessionId, q.MsgId, func(tx store.Tx, m *message) (*antv1.Event, error) {
		if m.Pinned == *q.Pinned {
			return nil, nil
		}
		m.Pinned = *q.Pinned
		return &antv1.Event{Event: &antv1.Event_MessagePinned{
			MessagePinned: &antv1.MessagePinned{Id: m.ID, Pinned: m.Pinned}}}, putMessage(tx, m)
	})
	if err != nil {
		return nil, err
	}
	return &antv1.PinMessageResponse{MsgId: q.MsgId, Pinned: *q.Pinned}, nil
}

// DeleteMessage implements antv1.MessagesServiceServer. What it waited for in
// terminals finds it gone.
func (r *Room) DeleteMessage(ctx context.Context, q *antv1.DeleteMessageRequest) (*antv1.DeleteMessageResponse, error) {
	if q.MsgId == "" {
		return nil, errNoMsgID
	}
	out := &antv1.DeleteMessageResponse{Ok: true}
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		out.Deleted = false
		s, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		m, err := loadMessage(tx, s.ID, q.MsgId)
		if err != nil || m == nil {
			return err
		}
		out.Deleted = true
		tx.Delete(messageKey(m.Room, m.Seq))
		tx.Delete(deliveriesOf(m.Room).Uint(m.Seq))
		if m.Type == typeBreak {
			tx.Delete(breaksOf(m.Room).Uint(m.Seq))
		}
		if m.Body != "" {
			tx.Put(doomedKey(m.Room, m.Body), []byte{})
		}
		forgetReads(tx, m)
		if err := dropAsks(tx, m.Event); err != nil {
			return err
		}
		if err := uncount(tx, m); err != nil {
			return err
		}
		return feed.Append(tx, &antv1.Event{AtMs: float64(r.opt.Now().UnixMilli()), SessionId: m.Room,
			Event: &antv1.Event_MessageDeleted{MessageDeleted: &antv1.MessageDeleted{Id: m.ID}}})
	})
	if err != nil {
		return nil, err
	}
	if out.Deleted {
		r.Wake()
	}
	return out, nil
}

// uncount takes a message out of what its sender has posted.
func uncount(tx store.Tx, m *message) error {
	name := orElse(m.Session, m.Sender)
	if name == "" {
		return nil
	}
	who, err := loadPoster(tx, m.Room, name)
	if err != nil || who == nil || who.Count == 0 {
		return err
	}
	who.Count--
	return save(tx, postersOf(m.Room).Str(name), who)
}
