package sessions

import (
	"context"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// A terminal and the chat that was made for it are archived and deleted
// together, and come back together (better: clients of the reference had to
// clean up after either, and a name stayed taken).

// leave archives or deletes a session, as how says, and its partner with it. It
// returns the ids of both, as far as they were live.
func leave(tx store.Tx, rec *record, now int64, how func(*record)) (gone []string, err error) {
	with, err := partner(tx, rec)
	if err != nil {
		return nil, err
	}
	if rec.live() {
		gone = append(gone, rec.ID)
	}
	rec.Gone, rec.Updated, rec.Took = now, now, ""
	how(rec)
	if err := put(tx, rec); err != nil {
		return nil, err
	}
	if with == nil || !with.live() && with.Took != rec.ID {
		return gone, nil
	}
	if with.live() {
		gone = append(gone, with.ID)
	}
	with.Gone, with.Updated, with.Took = now, now, rec.ID
	how(with)
	return gone, put(tx, with)
}

// partner is the other half of a terminal and the chat that was made for it,
// while they are linked; nil: there is none.
func partner(rd store.Reader, rec *record) (*record, error) {
	if rec.AutoFor == "" {
		return ownChat(rd, rec)
	}
	terminal, err := byID(rd, rec.AutoFor)
	if err != nil || terminal == nil || terminal.LinkedChat != rec.ID {
		return nil, err
	}
	return terminal, nil
}

// RestoreSession implements antv1.SessionsServiceServer.
func (r *Room) RestoreSession(ctx context.Context, q *antv1.RestoreSessionRequest) (out *antv1.Session, err error) {
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		rec, err := find(tx, q.Id)
		if err != nil {
			return err
		}
		if rec.live() {
			return fault.New(fault.Precondition, "SESSION_NOT_GONE", "Session is not deleted or archived")
		}
		if err := bringBack(tx, rec, r.opt.Now().UnixNano()); err != nil {
			return err
		}
		if err := r.listChanged(tx); err != nil {
			return err
		}
		out, err = show(tx, rec)
		return err
	})
	return out, err
}

// bringBack makes a session live again, and the partner that went with it. What
// somebody else has by now they get with a number.
func bringBack(tx store.Tx, rec *record, now int64) error {
	with, err := partner(tx, rec)
	if err != nil {
		return err
	}
	if err := revive(tx, rec, now); err != nil {
		return err
	}
	if with == nil || with.Took != rec.ID {
		return nil
	}
	if with.AutoNamed {
		with.Name = chatName(rec.Name)
	}
	return revive(tx, with, now)
}

func revive(tx store.Tx, rec *record, now int64) (err error) {
	rec.Archived, rec.Deleted, rec.Gone, rec.Took, rec.Updated = false, 0, 0, "", now
	if chat, err := byID(tx, rec.LinkedChat); err != nil {
		return err
	} else if chat == nil {
		rec.LinkedChat = "" // it was deleted for good
	}
	if rec.Name, err = freeName(tx, rec.Name, rec.ID); err != nil {
		return err
	}
	if rec.Handle != "" {
		handle, err := freeHandle(tx, rec.Handle[1:], rec.ID)
		if err != nil {
			return err
		}
		rec.Handle = "@" + handle
	}
	return put(tx, rec)
}
