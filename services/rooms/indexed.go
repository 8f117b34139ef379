package rooms

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/feed"
	"anthill/services/internal/index"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// Texts are the messages as the search index takes them: a room is a scope, and
// the order is that in which they were posted, over all rooms.
type Texts struct{ room *Room }

// Texts of the messages of all rooms.
func (r *Room) Texts() Texts { return Texts{r} }

// Topic is the log that says what changes.
func (Texts) Topic() string { return feed.Topic }

// Changed says which messages events of the topic are about.
func (Texts) Changed(entries []store.Entry) ([]index.Change, error) {
	var out []index.Change
	for _, e := range entries {
		ev := &antv1.Event{}
		if err := proto.Unmarshal(e.Event, ev); err != nil {
			return nil, fmt.Errorf("event %d: %w", e.Seq, err)
		}
		one := func(id string) {
			out = append(out, index.Change{Ref: index.Ref{Scope: ev.SessionId, Name: id}})
		}
		switch v := ev.Event.(type) {
		case *antv1.Event_MessageCreated:
			one(v.MessageCreated.GetId())
		case *antv1.Event_MessageDeleted:
			one(v.MessageDeleted.GetId())
		case *antv1.Event_SessionDeleted:
			if v.SessionDeleted.GetHard() {
				out = append(out, index.Change{Ref: index.Ref{Scope: ev.SessionId}, Whole: true})
			}
		}
	}
	return out, nil
}

// Room is the id of a room by id, handle or alias, by id also of a deleted one
// that can be restored; "": there is none.
func (t Texts) Room(ctx context.Context, ref string) (id string, err error) {
	err = t.room.opt.Main.View(ctx, func(rd store.Reader) error {
		s, err := t.room.opt.Sessions.Find(rd, ref)
		id = ""
		if s != nil {
			id = s.ID
		}
		return err
	})
	return id, err
}

// Names are the messages of a room; none if it is gone.
func (t Texts) Names(ctx context.Context, room string) (map[string]uint64, error) {
	var names map[string]uint64
	err := t.room.opt.Main.View(ctx, func(rd store.Reader) error {
		names = map[string]uint64{}
		s, err := t.room.opt.Sessions.Find(rd, room)
		if err != nil || s == nil {
			return err
		}
		for k, row := range rd.Scan(store.Prefix(messagesOf(room))) {
			_, seq, err := parseMessageKey(k)
			if err != nil {
				return err
			}
			m, err := decodeMessage(room, seq, row)
			if err != nil {
				return err
			}
			names[m.ID] = 0
		}
		return nil
	})
	return names, err
}

// Load reads messages; those that are gone are left out.
func (t Texts) Load(ctx context.Context, refs []index.Ref) ([]index.Document, error) {
	found, err := t.find(ctx, refs)
	if err != nil {
		return nil, err
	}
	return t.documents(ctx, found)
}

// Read reads messages in the order of refs, all but the snippet; nil for those
// that are gone.
func (t Texts) Read(ctx context.Context, refs []index.Ref) ([]*antv1.FoundMessage, error) {
	found, err := t.find(ctx, refs)
	if err != nil {
		return nil, err
	}
	out := make([]*antv1.FoundMessage, len(refs))
	for i, m := range found {
		if m == nil {
			continue
		}
		text, ok, err := t.room.content(ctx, m)
		if err != nil {
			return nil, err
		}
		if ok {
			out[i] = &antv1.FoundMessage{Id: m.ID, SessionId: m.Room, Role: m.Role, Content: text, CreatedAt: wire.Time(m.At),
				SenderId: wire.OrNull(m.Sender), Target: wire.OrNull(m.Target), MsgType: m.Type}
		}
	}
	return out, nil
}

// find looks messages up; nil for those that are gone, alone or with their room.
func (t Texts) find(ctx context.Context, refs []index.Ref) ([]*message, error) {
	out := make([]*message, len(refs))
	err := t.room.opt.Main.View(ctx, func(rd store.Reader) error {
		there := map[string]bool{}
		for i, ref := range refs {
			out[i] = nil
			exists, err := t.exists(rd, there, ref.Scope)
			if err != nil {
				return err
			}
			if !exists {
				continue
			}
			if out[i], err = loadMessage(rd, ref.Scope, ref.Name); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// exists says whether there is a room, and remembers it in there.
func (t Texts) exists(rd store.Reader, there map[string]bool, room string) (bool, error) {
	if exists, known := there[room]; known {
		return exists, nil
	}
	s, err := t.room.opt.Sessions.Find(rd, room)
	there[room] = s != nil
	return s != nil, err
}

func (t Texts) documents(ctx context.Context, found []*message) ([]index.Document, error) {
	out := make([]index.Document, 0, len(found))
	for _, m := range found {
		if m == nil {
			continue
		}
		text, ok, err := t.room.content(ctx, m)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, index.Document{Ref: index.Ref{Scope: m.Room, Name: m.ID}, Order: m.Event, Text: text})
		}
	}
	return out, nil
}

// A step of Walk ends behind this many messages, or bytes of content.
const (
	walkMessages = 20_000
	walkBytes    = 2 << 20
)

// Walk returns the messages behind a place, room by room, and the place where to
// go on; "" at the end.
func (t Texts) Walk(ctx context.Context, after string) (docs []index.Document, next string, err error) {
	all := store.Prefix(messagesTable)
	if after != "" {
		number, room, _ := strings.Cut(after, " ")
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return nil, "", errors.New("rooms: not a place of a walk")
		}
		all.Start = append(messageKey(room, seq), 0)
	}
	var found []*message
	err = t.room.opt.Main.View(ctx, func(rd store.Reader) error {
		found, next = nil, ""
		there := map[string]bool{}
		size := 0
		for k, row := range rd.Scan(all) {
			room, seq, err := parseMessageKey(k)
			if err != nil {
				return err
			}
			if exists, err := t.exists(rd, there, room); err != nil {
				return err
			} else if !exists {
				continue // its messages are being removed
			}
			m, err := decodeMessage(room, seq, row)
			if err != nil {
				return err
			}
			found = append(found, m)
			if size += m.Size; len(found) == walkMessages || size >= walkBytes {
				next = strconv.FormatUint(seq, 10) + " " + room
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	docs, err = t.documents(ctx, found)
	return docs, next, err
}
