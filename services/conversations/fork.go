package conversations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// ForkConversation implements antonv1.ConversationsServiceServer.
func (r *Room) ForkConversation(ctx context.Context, q *antonv1.ForkConversationRequest) (*antonv1.Conversation, error) {
	return r.forkInto(ctx, q, r)
}

// forkInto copies a conversation up to a turn into another room, or its own, for
// all to see.
func (r *Room) forkInto(ctx context.Context, q *antonv1.ForkConversationRequest, to *Room) (*antonv1.Conversation, error) {
	if q.Turn != nil && *q.Turn < 0 {
		return nil, fault.BadField("greater_than_equal", "Input should be greater than or equal to 0", "turn")
	}
	last, err := r.turnAt(ctx, q.Id, q.Turn)
	if err != nil {
		return nil, err
	}
	if last.Status == statusRunning {
		return nil, busy(q.Id)
	}
	id, err := r.fork(ctx, last, to)
	if err == nil {
		err = to.publish(ctx, r, last, id)
	}
	if err != nil {
		if id != "" {
			err = errors.Join(err, to.dropCopy(context.WithoutCancel(ctx), id))
		}
		return nil, err
	}
	return to.GetConversation(ctx, &antonv1.GetConversationRequest{Id: id})
}

// turnAt is the turn at a 0-based place, or the newest.
func (r *Room) turnAt(ctx context.Context, convID string, place *int32) (last *turnRecord, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		last = nil
		c, err := conversationByID(rd, convID)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		recs, err := turnsOf(rd, c)
		switch {
		case err != nil:
			return err
		case place == nil && len(recs) > 0:
			last = recs[len(recs)-1]
		case place != nil && int(*place) < len(recs):
			last = recs[*place]
		default:
			return errNoTurn
		}
		return nil
	})
	return last, err
}

// publish makes a copy that is whole a conversation like any other. It begins
// with the short form of the original, if that is of turns which it has.
func (r *Room) publish(ctx context.Context, from *Room, last *turnRecord, id string) error {
	var short *compaction
	err := from.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		short, err = compactions.Get(rd, key.Key(nil).Str(last.ConvKey))
		return err
	})
	if err != nil {
		return err
	}
	said, err := from.messagesUpTo(ctx, last.ConvKey, last.Ordinal)
	if err != nil {
		return err
	}
	return r.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversations.Get(tx, key.Key(nil).Str(id))
		if err != nil {
			return err
		}
		if c == nil || !c.Copied {
			return errNoConversation
		}
		c.Copied = false
		c.Activity = changed(tx, id)
		if short != nil && max(short.Messages, short.Clipped) <= len(said) {
			own := *short
			own.ConvKey = c.Key
			if err := compactions.Put(tx, &own); err != nil {
				return err
			}
		}
		return conversations.Put(tx, c)
	})
}

// fork copies a conversation up to and with one of its turns into a new one of
// a room, turns, history and events, and returns the id of the copy. The copy is
// marked as under way, so that nobody sees it before it is published or a turn
// begins in it, and so that a crash leaves nothing: see dropCopies. With an error
// the id is that of what is to be dropped, if any.
func (r *Room) fork(ctx context.Context, last *turnRecord, to *Room) (id string, err error) {
	newKey := r.opt.NewID("")
	c, recs, err := r.upTo(ctx, last)
	if err != nil {
		return "", err
	}
	id, err = to.minted(func(id string) error {
		return to.opt.Main.Update(ctx, func(tx store.Tx) error {
			if err := free(tx, id); err != nil {
				return err
			}
			return conversations.Put(tx, &conversation{ID: id, Key: newKey, ProjectID: c.ProjectID, Title: c.Title,
				Preview: c.Preview, Created: r.now(), Updated: r.now(), Activity: c.Activity, Muted: c.Muted, MCP: c.MCP,
				Metadata: c.Metadata, Copied: true, Forked: &forkOrigin{ConvID: c.ID, Turn: len(recs) - 1, TurnID: last.ID}})
		})
	})
	if err != nil {
		return "", err
	}
	for _, t := range recs {
		if err := r.copyTurn(ctx, t, to, id, newKey); err != nil {
			return id, fmt.Errorf("copy turn: %w", err)
		}
		// A deletion takes what a turn holds after the turn itself: if that is
		// still there, all of it was.
		if gone, err := r.isGone(ctx, t.ID); err != nil {
			return id, err
		} else if gone {
			return id, errNoConversation
		}
	}
	return id, nil
}

// upTo is a conversation and its turns up to and with the last one.
func (r *Room) upTo(ctx context.Context, last *turnRecord) (c *conversation, recs []*turnRecord, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		recs = nil
		if c, err = conversationByID(rd, last.ConvID); err != nil {
			return err
		}
		if c == nil || c.Key != last.ConvKey {
			return errNoConversation
		}
		all, err := turnsOf(rd, c)
		if err != nil {
			return err
		}
		for _, t := range all {
			if t.Ordinal <= last.Ordinal {
				recs = append(recs, t)
			}
		}
		if len(recs) == 0 || recs[len(recs)-1].ID != last.ID {
			return errNoConversation // deleted meanwhile
		}
		return nil
	})
	return c, recs, err
}

// copyTurn copies one turn behind those that a copy of a conversation has
// already. Its record comes first, so that all that follows is known to belong
// to something; nobody reads it before the copy is whole.
func (r *Room) copyTurn(ctx context.Context, from *turnRecord, dest *Room, convID, convKey string) error {
	rows, err := r.rowsOf(ctx, from.ConvKey, &from.Ordinal)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return errNoConversation // deleted meanwhile
	}
	to := *from
	id := r.opt.NewID("")
	to.ID, to.ResponseID, to.ConvID, to.ConvKey, to.Cut = turnPrefix+id, responsePrefix+id, convID, convKey, nil
	for _, c := range from.Cut {
		c.ID = strings.Replace(c.ID, strings.TrimPrefix(from.ID, turnPrefix), id, 1)
		to.Cut = append(to.Cut, c)
	}
	err = dest.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversations.Get(tx, key.Key(nil).Str(convID))
		if err != nil {
			return err
		}
		if c == nil || !c.Copied {
			return errNoConversation
		}
		c.NextTurn = to.Ordinal + 1
		c.Turns++
		if err := turns.Put(tx, &to); err != nil {
			return err
		}
		return conversations.Put(tx, c)
	})
	if err != nil {
		return err
	}
	for _, old := range rows {
		w, err := dest.stage(ctx, &to, old.N, old.Messages)
		if err != nil {
			return err
		}
		if err := dest.opt.Main.Update(ctx, func(tx store.Tx) error { return putRow(tx, w) }); err != nil {
			return err
		}
	}
	return r.copyLog(ctx, from.ID, dest, to.ID)
}

// copyLog copies the events of a turn, which do not name it.
func (r *Room) copyLog(ctx context.Context, from string, dest *Room, to string) error {
	old, fresh := logPrefix(from), logPrefix(to)
	rg := store.Prefix(old)
	for {
		var k, v []byte
		err := r.opt.Bulk.View(ctx, func(rd store.Reader) error {
			k, v = nil, nil
			for a, b := range rd.Scan(rg) {
				k, v = append([]byte(nil), a...), append([]byte(nil), b...)
				break
			}
			return nil
		})
		if err != nil || k == nil {
			return err
		}
		at := append(append([]byte(nil), fresh...), k[len(old):]...)
		if err := dest.opt.Bulk.Update(ctx, func(tx store.Tx) error { tx.Put(at, v); return nil }); err != nil {
			return err
		}
		rg.Start = append(k, 0)
	}
}

// dropCopy removes a copy that was given up.
func (r *Room) dropCopy(ctx context.Context, id string) error {
	_, err := r.remove(ctx, id)
	return err
}

// dropCopies removes the copies that a crash left under way.
func (r *Room) dropCopies(ctx context.Context) error {
	var ids []string
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		ids = nil
		for c, err := range conversations.ScanIndex(rd, "copied", store.ScanOptions{}) {
			if err != nil {
				return err
			}
			ids = append(ids, c.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.dropCopy(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
