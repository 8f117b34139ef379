package rooms

import (
	"context"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// DeleteSession removes all that a session had here: its messages as a room with
// readers, questions and links, its part in other rooms, what it was owed as a
// terminal. The session reads as gone
// already, so nothing is added meanwhile. Idempotent; it may be called again after
// a failure or a restart.
func (r *Room) DeleteSession(ctx context.Context, id string) error {
	r.present.drop(id)
	if err := r.giveUp(ctx, id); err != nil {
		return err
	}
	// Bodies first: as long as some are left, the rows that lead to them are, too.
	if err := store.DeleteRange(ctx, r.opt.Bulk, store.Prefix(bodiesOf(id))); err != nil {
		return err
	}
	for _, all := range []key.Key{messagesOf(id), deliveriesOf(id), breaksOf(id), onceOf(id), onceRingOf(id),
		postersOf(id), readsOf(id), unreadOf(id), copyKey(id), key.Of("ant_focus").Str(id), stateKey(id)} {
		if err := store.DeleteRange(ctx, r.opt.Main, store.Prefix(all)); err != nil {
			return err
		}
	}
	if err := r.deleteErrands(ctx, id); err != nil {
		return err
	}
	if err := r.deleteAsks(ctx, id); err != nil {
		return err
	}
	if err := r.deleteLinks(ctx, id); err != nil {
		return err
	}
	if err := r.deleteMembers(ctx, func(rd store.Reader) ([]*member, error) {
		return collect(members.Scan(rd, store.ScanOptions{Prefix: key.Key(nil).Str(id), Limit: memberBatch}))
	}); err != nil {
		return err
	}
	return r.deleteMembers(ctx, func(rd store.Reader) ([]*member, error) {
		return collect(members.ScanIndex(rd, "session", store.ScanOptions{Prefix: key.Key(nil).Str(id), Limit: memberBatch}))
	})
}

// giveUp ends what a terminal is still owed.
func (r *Room) giveUp(ctx context.Context, terminal string) error {
	for {
		o, err := r.nextOwed(ctx, terminal, 0, false)
		if err != nil || o == nil {
			return err
		}
		err = r.settle(ctx, o, outcome{over: true, delivery: delivery{State: stateFailed, Reason: "TERMINAL_GONE", Words: "given up: the terminal was deleted"}})
		if err != nil {
			return err
		}
	}
}

// memberBatch members, with their index entries and queues, fit into a transaction.
const memberBatch = 10

func (r *Room) deleteMembers(ctx context.Context, next func(store.Reader) ([]*member, error)) error {
	for {
		n := 0
		err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
			list, err := next(tx)
			if err != nil {
				return err
			}
			n = len(list)
			for _, m := range list {
				tx.Delete(queueKey(m.Room, m.Session))
				if _, err := members.Delete(tx, memberKey(m.Room, m.Session)); err != nil {
					return err
				}
				if err := leaveCount(tx, m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n < memberBatch {
			return err
		}
	}
}

// leaveCount takes a member out of its room's count.
func leaveCount(tx store.Tx, m *member) error {
	st, err := load[roomState](tx, stateKey(m.Room))
	if err != nil || st == nil || st.Members == 0 {
		return err
	}
	st.Members--
	return save(tx, stateKey(m.Room), st)
}
