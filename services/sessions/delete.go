package sessions

import (
	"context"
	"fmt"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// DeleteSession implements antv1.SessionsServiceServer. Deleting what is softly
// deleted already changes nothing.
func (r *Room) DeleteSession(ctx context.Context, q *antv1.DeleteSessionRequest) (*antv1.DeleteSessionResponse, error) {
	var gone []string
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		gone = nil
		rec, err := find(tx, q.Id)
		switch {
		case err != nil:
			return err
		case q.Hard:
			gone, err = r.purgeBoth(tx, rec)
			return err
		case rec.Deleted != 0:
			return nil
		}
		now := r.opt.Now().UnixNano()
		gone, err = leave(tx, rec, now, func(rec *record) { rec.Deleted = now })
		if err != nil {
			return err
		}
		for _, id := range gone {
			if err := r.deleted(tx, id, false); err != nil {
				return err
			}
		}
		return r.listChanged(tx, gone...)
	})
	if err != nil {
		return nil, err
	}
	if q.Hard {
		r.clearSoon()
	}
	if err := r.endAll(ctx, gone); err != nil {
		return nil, err
	}
	return &antv1.DeleteSessionResponse{}, nil
}

// purgeBoth is purge for a session and the partner that it was made with.
func (r *Room) purgeBoth(tx store.Tx, rec *record) (gone []string, err error) {
	with, err := partner(tx, rec)
	if err != nil {
		return nil, err
	}
	gone = []string{rec.ID}
	if with != nil {
		gone = append(gone, with.ID)
	}
	return gone, r.purge(tx, gone...)
}

// purge deletes sessions for good: from the commit on they are gone for every
// reader.
func (r *Room) purge(tx store.Tx, ids ...string) error {
	for _, id := range ids {
		if err := records.Put(tx, &record{ID: id, Purged: true}); err != nil {
			return err
		}
		if err := r.deleted(tx, id, true); err != nil {
			return err
		}
	}
	return r.listChanged(tx, ids...)
}

func (r *Room) clearSoon() {
	select {
	case r.work <- struct{}{}:
	default:
	}
}

// clearLoop clears away what was deleted for good until the room closes.
func (r *Room) clearLoop() {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-r.base.Done():
			return
		case <-r.work:
		case <-again.C:
		}
		if err := r.clearAll(r.base); err != nil && r.base.Err() == nil {
			r.opt.Log.Warn("deleted sessions are not cleared away yet", "error", err)
			again.Reset(r.opt.retry)
		}
	}
}

func (r *Room) clearAll(ctx context.Context) error {
	for {
		id := ""
		err := r.opt.DB.View(ctx, func(rd store.Reader) error {
			id = ""
			for rec, err := range records.ScanIndex(rd, byPurged, store.ScanOptions{Limit: 1}) {
				if err != nil {
					return err
				}
				id = rec.ID
			}
			return nil
		})
		if err != nil || id == "" {
			return err
		}
		if err := r.clear(ctx, id); err != nil {
			return fmt.Errorf("session %s: %w", id, err)
		}
	}
}

// clear is one attempt. Every step may have been done before.
func (r *Room) clear(ctx context.Context, id string) error {
	if err := r.unlink(ctx, id); err != nil {
		return err
	}
	dependents, _ := r.joined()
	if err := dependents.DeleteSession(ctx, id); err != nil {
		return err
	}
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		if _, err := activities.Delete(tx, key.Of(id)); err != nil {
			return err
		}
		_, err := records.Delete(tx, key.Of(id))
		return err
	})
}

// unlinkBatch keeps the transactions of unlink under the store's limits, in keys
// and, as records may be large, in bytes.
const unlinkBatch = 8

// unlink takes the link to a chat from the live terminals that have it. Those
// that are not live may keep one that leads nowhere.
func (r *Room) unlink(ctx context.Context, chatID string) error {
	for n := unlinkBatch; n == unlinkBatch; {
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			n = 0
			for rec, err := range records.ScanIndex(tx, byLinked, store.ScanOptions{Prefix: key.Of(chatID), Limit: unlinkBatch}) {
				if err != nil {
					return err
				}
				n++
				rec.LinkedChat = ""
				if err := records.Put(tx, rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// expireLoop deletes for good what has been softly deleted for longer than the
// configured retention.
func (r *Room) expireLoop() {
	every := min(max(r.opt.Retention/10, time.Second), time.Hour)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := r.expire(r.base); err != nil && r.base.Err() == nil {
			r.opt.Log.Warn("sessions past their retention stay for now", "error", err)
		}
		select {
		case <-r.base.Done():
			return
		case <-tick.C:
		}
	}
}

// expire is one pass of expireLoop.
func (r *Room) expire(ctx context.Context) error {
	for found := true; found; {
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			found = false
			before := r.opt.Now().Add(-r.opt.Retention).UnixNano()
			for rec, err := range records.ScanIndex(tx, byDeleted, store.ScanOptions{Limit: 1}) {
				if err != nil {
					return err
				}
				if found = rec.Deleted < before; found {
					return r.purge(tx, rec.ID) // its partner may live
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if found {
			r.clearSoon()
		}
	}
	return nil
}
