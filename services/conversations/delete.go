package conversations

import (
	"context"
	"errors"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// deleteBatch keeps a cascade's transactions well under the store's limits.
const deleteBatch = 50

// DeleteConversation implements antonv1.ConversationsServiceServer. It answers
// once the conversation reads as gone and its turn has stopped; what it held is
// removed behind it, also across a restart.
func (r *Room) DeleteConversation(ctx context.Context, q *antonv1.DeleteConversationRequest) (*antonv1.DeleteConversationResponse, error) {
	found, err := r.remove(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoConversation
	}
	return &antonv1.DeleteConversationResponse{Status: "deleted", Id: q.Id}, nil
}

func (r *Room) remove(ctx context.Context, id string) (found bool, err error) {
	job := r.opt.NewID("del_")
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversations.Get(tx, key.Key(nil).Str(id)) // also a copy under way
		found = c != nil
		if err != nil || c == nil {
			return err
		}
		return dropConversation(tx, c, job)
	})
	if err != nil || !found {
		return found, err
	}
	if _, err := r.cancelTurn(ctx, id); err != nil {
		return true, err
	}
	r.wakeWorker()
	return true, nil
}

// dropConversation makes a conversation read as gone, and leaves the rest to
// the deletion of that id.
func dropConversation(tx store.Tx, c *conversation, job string) error {
	if err := deletions.Put(tx, &deletion{ID: job, ConvKey: c.Key, ConvID: c.ID}); err != nil {
		return err
	}
	if !c.Copied {
		appendEvent(tx, &antonv1.ConversationEvent{Event: &antonv1.ConversationEvent_Deleted{
			Deleted: &antonv1.ConversationDeleted{ConversationId: c.ID}}})
	}
	_, err := conversations.Delete(tx, key.Key(nil).Str(c.ID))
	return err
}

// DeleteProject deletes all conversations of a project. The project reads as
// gone already, so none can be added meanwhile. Idempotent.
func (r *Room) DeleteProject(ctx context.Context, projectID string) error {
	for {
		var ids []string
		err := r.opt.Main.View(ctx, func(rd store.Reader) error {
			ids = nil
			for c, err := range conversations.ScanIndex(rd, "project",
				store.ScanOptions{Prefix: key.Key(nil).Str(projectID), Limit: deleteBatch}) {
				if err != nil {
					return err
				}
				ids = append(ids, c.ID)
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if _, err := r.remove(ctx, id); err != nil {
				return err
			}
		}
	}
}

func (r *Room) wakeWorker() {
	select {
	case r.work <- struct{}{}:
	default:
	}
}

// deleteLoop carries out deletions, oldest first, until the room closes.
func (r *Room) deleteLoop() {
	defer r.workers.Done()
	if err := r.sweepBulk(r.base); err != nil && r.base.Err() == nil {
		r.opt.Log.Warn("sweep of orphaned bodies failed", "error", err)
	}
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-r.base.Done():
			return
		case <-r.work:
		case <-retry.C:
		}
		for what, do := range map[string]func(context.Context) error{"move": r.moveAll, "deletion": r.deleteAll} {
			if err := do(r.base); err != nil && r.base.Err() == nil {
				r.opt.Log.Warn(what+" failed, will be tried again", "error", err)
				retry.Reset(10 * time.Second)
			}
		}
	}
}

func (r *Room) deleteAll(ctx context.Context) error {
	for {
		var d *deletion
		err := r.opt.Main.View(ctx, func(rd store.Reader) error {
			d = nil
			for job, err := range deletions.Scan(rd, store.ScanOptions{Limit: 1}) {
				if err != nil {
					return err
				}
				d = job
			}
			return nil
		})
		if err != nil || d == nil {
			return err
		}
		if err := r.carryOut(ctx, d); err != nil {
			return err
		}
		err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
			_, err := deletions.Delete(tx, key.Key(nil).Str(d.ID))
			return err
		})
		if err != nil {
			return err
		}
	}
}

// carryOut removes what a deletion names: bulk first, so that as long as bytes
// are left something still leads to them.
func (r *Room) carryOut(ctx context.Context, d *deletion) error {
	if d.TurnID != "" {
		if err := r.dropBulk(ctx, d.TurnID); err != nil {
			return err
		}
		return store.DeleteRange(ctx, r.opt.Main, store.Prefix(rowPrefix(d.ConvKey).Uint(d.Ordinal)))
	}
	for {
		var rec *turnRecord
		err := r.opt.Main.View(ctx, func(rd store.Reader) error {
			rec = nil
			for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: key.Key(nil).Str(d.ConvKey), Limit: 1}) {
				if err != nil {
					return err
				}
				rec = t
			}
			return nil
		})
		if err != nil {
			return err
		}
		if rec == nil {
			if err := store.DeleteRange(ctx, r.opt.Main, store.Prefix(rowPrefix(d.ConvKey))); err != nil {
				return err
			}
			return r.deleteDependents(ctx, d)
		}
		if t := r.liveTurn(rec.ID); t != nil { // it was told to stop; its last writes come first
			t.cancel(errCancelled)
			select {
			case <-t.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := r.dropBulk(ctx, rec.ID); err != nil {
			return err
		}
		err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
			_, err := turns.Delete(tx, turnKey(rec.ConvKey, rec.Ordinal))
			return err
		})
		if err != nil {
			return err
		}
	}
}

// deleteDependents removes what other rooms have of a conversation, unless there
// is another one by that id now.
func (r *Room) deleteDependents(ctx context.Context, d *deletion) error {
	if d.ConvID == "" || r.opt.Dependents == nil {
		return nil
	}
	again := false
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversations.Get(rd, key.Key(nil).Str(d.ConvID))
		again = c != nil
		return err
	})
	if err != nil || again {
		return err
	}
	return r.opt.Dependents.DeleteConversation(ctx, d.ConvID)
}

// dropBulk removes everything a turn has in the bulk store.
func (r *Room) dropBulk(ctx context.Context, turnID string) error {
	if err := store.DeleteRange(ctx, r.opt.Bulk, store.Prefix(bodiesOf(turnID))); err != nil {
		return err
	}
	return store.DeleteRange(ctx, r.opt.Bulk, store.Prefix(logPrefix(turnID)))
}

// hold keeps the sweep from taking what is written for a turn for an orphan,
// until release.
func (r *Room) hold(turnID string) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[turnID] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.held, turnID)
	}
}

func (r *Room) isHeld(turnID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[turnID]
}

// sweepBulk removes the bodies that a crash left between writing one and storing
// the turn that refers to it. (A log begins only after its turn is stored.)
func (r *Room) sweepBulk(ctx context.Context) error {
	all := store.Prefix(key.Of("turn_body"))
	for start := all.Start; ; {
		var turnID string
		err := r.opt.Bulk.View(ctx, func(rd store.Reader) error {
			turnID = ""
			for k := range rd.Scan(store.Range{Start: start, End: all.End}) {
				p := key.Parse(k)
				p.Str()
				turnID = p.Str()
				return p.Err()
			}
			return nil
		})
		if err != nil || turnID == "" {
			return err
		}
		start = store.Prefix(bodiesOf(turnID)).End
		known := r.liveTurn(turnID) != nil || r.isHeld(turnID)
		err = r.opt.Main.View(ctx, func(rd store.Reader) error {
			rec, err := turns.Lookup(rd, "id", key.Key(nil).Str(turnID))
			known = known || rec != nil
			return err
		})
		if err != nil {
			return err
		}
		if known {
			continue
		}
		if err := r.dropBulk(ctx, turnID); err != nil && !errors.Is(err, store.ErrFull) {
			return err
		}
	}
}
