package sessions

import (
	"context"

	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// change is an UpdateSessionRequest that was checked; nil: not given.
type change struct {
	name, ttl, status, meta *string
	rootDir, chat           *string // empty: none
	archived, longMemory    *bool
}

// UpdateSession implements antv1.SessionsServiceServer.
func (r *Room) UpdateSession(ctx context.Context, q *antv1.UpdateSessionRequest) (out *antv1.Session, err error) {
	c, err := checkChange(q)
	if err != nil {
		return nil, err
	}
	var gone []string
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		rec, err := changeable(tx, q.Id)
		if err != nil {
			return err
		}
		if gone, err = r.apply(tx, rec, c); err != nil {
			return err
		}
		if err := r.listChanged(tx, gone...); err != nil {
			return err
		}
		out, err = show(tx, rec)
		return err
	})
	if err == nil {
		err = r.endAll(ctx, gone)
	}
	return out, err
}

func checkChange(q *antv1.UpdateSessionRequest) (c change, err error) {
	c = change{ttl: q.Ttl, status: q.Status}
	if q.Name != nil {
		name, err := checkName(*q.Name)
		if err != nil {
			return c, err
		}
		c.name = &name
	}
	if q.Ttl != nil {
		if err := checkTTL(*q.Ttl); err != nil {
			return c, err
		}
	}
	if q.Status != nil {
		if err := checkStatus(*q.Status); err != nil {
			return c, err
		}
	}
	if c.rootDir, err = clearable("root_dir", q.RootDir); err != nil {
		return c, err
	}
	if c.rootDir != nil {
		if err := checkText("root_dir", *c.rootDir, rootMax); err != nil {
			return c, err
		}
	}
	if c.chat, err = clearable("linked_chat_id", q.LinkedChatId); err != nil {
		return c, err
	}
	if q.Meta != nil {
		meta, err := checkMeta(q.Meta)
		if err != nil {
			return c, err
		}
		c.meta = &meta
	}
	if c.archived, err = optionalFlag("archived", q.Archived); err != nil {
		return c, err
	}
	c.longMemory, err = optionalFlag("long_memory", q.LongMemory)
	return c, err
}

// clearable is a text, empty for null; nil if it was not given.
func clearable(field string, v *structpb.Value) (*string, error) {
	if v == nil {
		return nil, nil
	}
	text, _, err := textOf(field, v)
	return &text, err
}

func optionalFlag(field string, v *structpb.Value) (*bool, error) {
	if v == nil {
		return nil, nil
	}
	on, err := flagOf(field, v)
	return &on, err
}

// apply changes a session as asked, and what goes with it. It returns the ids of
// sessions that are no longer live.
func (r *Room) apply(tx store.Tx, rec *record, c change) (gone []string, err error) {
	now := r.opt.Now().UnixNano()
	rec.Updated = now
	set(&rec.TTL, c.ttl)
	set(&rec.Status, c.status)
	set(&rec.Meta, c.meta)
	set(&rec.RootDir, c.rootDir)
	set(&rec.LongMemory, c.longMemory)
	if c.name != nil && *c.name != rec.Name {
		if err := rename(tx, rec, *c.name); err != nil {
			return nil, err
		}
	}
	if c.chat != nil {
		if gone, err = relink(tx, rec, *c.chat, now); err != nil {
			return nil, err
		}
	}
	switch {
	case c.archived == nil || *c.archived == rec.Archived:
		return gone, put(tx, rec)
	case *c.archived:
		with, err := leave(tx, rec, now, func(rec *record) { rec.Archived = true })
		return append(gone, with...), err
	default:
		return gone, bringBack(tx, rec, now)
	}
}

func set[T any](field *T, to *T) {
	if to != nil {
		*field = *to
	}
}

// rename gives a session another name, and the chat that was named after it too.
// A session without such a chat is left to the caller to store.
func rename(tx store.Tx, rec *record, name string) error {
	rec.Name = name
	if rec.AutoFor != "" {
		rec.AutoNamed = false // it has a name of its own now
	}
	chat, err := ownChat(tx, rec)
	if err != nil || chat == nil || !chat.AutoNamed {
		return err
	}
	first, second := rec, chat
	if fold(chat.Name) == fold(name) {
		first, second = chat, rec // the chat lets go of the name
	}
	chat.Name, chat.Updated = chatName(name), rec.Updated
	if err := put(tx, first); err != nil {
		return err
	}
	return put(tx, second)
}

// ownChat is the chat that was made for a terminal, while it is linked with it;
// nil: there is none.
func ownChat(rd store.Reader, rec *record) (*record, error) {
	if rec.Type != Terminal {
		return nil, nil
	}
	chat, err := byID(rd, rec.LinkedChat)
	if err != nil || chat == nil || chat.AutoFor != rec.ID {
		return nil, err
	}
	return chat, nil
}

// relink links a terminal with another chat, or with none. The chat that was made
// for it is archived.
func relink(tx store.Tx, rec *record, ref string, now int64) (gone []string, err error) {
	if rec.Type != Terminal {
		return nil, fault.New(fault.Invalid, "NOT_A_TERMINAL", "Only a terminal can be linked with a chat")
	}
	id := ""
	if ref != "" {
		chat, err := find(tx, ref)
		switch {
		case err != nil:
			return nil, fault.New(fault.Invalid, "NO_SUCH_CHAT", "linked_chat_id must be the id of a chat").Because(err)
		case chat.Type != Chat || !chat.live():
			return nil, fault.New(fault.Invalid, "NO_SUCH_CHAT", "linked_chat_id must be the id of a chat that is neither archived nor deleted")
		}
		id = chat.ID
	}
	old, err := ownChat(tx, rec)
	if err != nil || id == rec.LinkedChat {
		return nil, err
	}
	rec.LinkedChat = id
	if old == nil || !old.live() {
		return nil, nil
	}
	old.Archived, old.Gone, old.Updated = true, now, now
	return []string{old.ID}, put(tx, old)
}
