package conversations

import (
	"context"
	"fmt"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// move says that what other rooms have of a conversation is still to follow it
// to another project.
type move struct {
	ConvID    string `json:"conv_id"`
	ProjectID string `json:"project_id"`
}

var moves = store.NewTable(store.TableOptions[move]{
	Name: "conversation_move",
	Key:  func(m *move) key.Key { return key.Key(nil).Str(m.ConvID) },
})

// moveTo puts a conversation into a project. While a turn works in the folder of
// the old one, it stays there.
func (r *Room) moveTo(tx store.Tx, c *conversation, projectID string) error {
	if c.ProjectID == projectID {
		return nil
	}
	if c.Running != "" {
		return busy(c.ID)
	}
	c.ProjectID = projectID
	if r.opt.Dependents == nil {
		return nil
	}
	return moves.Put(tx, &move{ConvID: c.ID, ProjectID: projectID})
}

// carryAlong lets what belongs to a conversation follow it. What fails is tried
// again by the worker, also after a restart.
func (r *Room) carryAlong(ctx context.Context, convID string) {
	var m *move
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		m, err = moves.Get(rd, key.Key(nil).Str(convID))
		return err
	})
	if err == nil && m != nil {
		err = r.carryOver(ctx, m)
	}
	if err != nil {
		r.opt.Log.Warn("what belongs to a conversation has not followed it yet", "conversation", convID, "error", err)
		r.wakeWorker()
	}
}

// moveAll finishes the moves that are under way.
func (r *Room) moveAll(ctx context.Context) error {
	var list []*move
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		list = nil
		for m, err := range moves.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range list {
		if err := r.carryOver(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// carryOver does one move; done twice it is done once.
func (r *Room) carryOver(ctx context.Context, m *move) error {
	if err := r.opt.Dependents.MoveConversation(ctx, m.ConvID, m.ProjectID); err != nil {
		return fmt.Errorf("conversations: move what belongs to %s: %w", m.ConvID, err)
	}
	return r.opt.Main.Update(ctx, func(tx store.Tx) error {
		now, err := moves.Get(tx, key.Key(nil).Str(m.ConvID))
		if err != nil || now == nil || *now != *m { // it went on to a third project meanwhile
			return err
		}
		_, err = moves.Delete(tx, key.Key(nil).Str(m.ConvID))
		return err
	})
}
