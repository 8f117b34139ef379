package conversations

import (
	"context"
	"fmt"
	"strings"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// fork copies a conversation up to and with one of its turns into a new one,
// turns, history and events, and returns the id of the copy. The copy is marked
// as under way, so that nobody sees it before a turn begins in it, and so that a
// crash leaves nothing: see dropCopies. With an error the id is that of what is
// to be dropped, if any.
func (r *Room) fork(ctx context.Context, last *turnRecord) (id string, err error) {
	newKey := r.opt.NewID("")
	var recs []*turnRecord
	id, err = r.minted(func(id string) error {
		return r.opt.Main.Update(ctx, func(tx store.Tx) error {
			recs = nil
			if err := free(tx, id); err != nil {
				return err
			}
			c, err := conversationByID(tx, last.ConvID)
			if err != nil {
				return err
			}
			if c == nil || c.Key != last.ConvKey {
				return errNoConversation
			}
			for t, err := range turns.Scan(tx, store.ScanOptions{Prefix: convPrefix(c)}) {
				if err != nil {
					return err
				}
				if t.Ordinal <= last.Ordinal {
					recs = append(recs, t)
				}
			}
			if len(recs) == 0 || recs[len(recs)-1].ID != last.ID {
				return errNoConversation // deleted meanwhile
			}
			return conversations.Put(tx, &conversation{ID: id, Key: newKey, ProjectID: c.ProjectID, Title: c.Title,
				Preview: c.Preview, Created: r.now(), Updated: r.now(), Activity: c.Activity, Muted: c.Muted,
				Metadata: c.Metadata, Copied: true})
		})
	})
	if err != nil {
		return "", err
	}
	for _, t := range recs {
		if err := r.copyTurn(ctx, t, id, newKey); err != nil {
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

// copyTurn copies one turn behind those that a copy of a conversation has
// already. Its record comes first, so that all that follows is known to belong
// to something; nobody reads it before the copy is whole.
func (r *Room) copyTurn(ctx context.Context, from *turnRecord, convID, convKey string) error {
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
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
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
		w, err := r.stage(ctx, &to, old.N, old.Messages)
		if err != nil {
			return err
		}
		if err := r.opt.Main.Update(ctx, func(tx store.Tx) error { return putRow(tx, w) }); err != nil {
			return err
		}
	}
	return r.copyLog(ctx, from.ID, to.ID)
}

// copyLog copies the events of a turn, which do not name it.
func (r *Room) copyLog(ctx context.Context, from, to string) error {
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
		if err := r.opt.Bulk.Update(ctx, func(tx store.Tx) error { tx.Put(at, v); return nil }); err != nil {
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
