package conversations

import (
	"context"

	"anthill/services/internal/agent"
	"anthill/services/internal/store"
)

// learning bounds the turns that are looked back at, at once; those above it
// teach nothing.
const learning = 4

// learn looks back at a turn that has ended, behind everything else.
func (r *Room) learn(t *turn, m Model) {
	if r.opt.Memory == nil || r.opt.Ephemeral {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing || r.lessons >= learning {
		return
	}
	r.lessons++
	r.workers.Add(1)
	go func() {
		defer r.workers.Done()
		if err := r.lookBack(r.base, t.rec, m); err != nil && r.base.Err() == nil {
			r.opt.Log.Warn("nothing was learnt from a turn", "turn", t.rec.ID, "error", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lessons--
	}()
}

func (r *Room) lookBack(ctx context.Context, rec *turnRecord, m Model) error {
	past, err := r.history(ctx, rec.ConvKey, &rec.Ordinal)
	if err != nil {
		return err
	}
	var messages []agent.Message
	for _, p := range past {
		messages = append(append(messages, p.input...), p.messages...)
	}
	lessons, err := agent.Learn(ctx, m.Provider, m.Name, messages, m.Secrets)
	if err != nil || len(lessons) == 0 {
		return err
	}
	l := Learned{ConversationID: rec.ConvID, TurnID: rec.ID, Lessons: lessons}
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, rec.ConvID)
		if c != nil && c.Key == rec.ConvKey {
			l.ProjectID = c.ProjectID
		}
		return err
	})
	if err != nil || l.ProjectID == "" { // deleted meanwhile
		return err
	}
	return r.opt.Memory.Learn(ctx, l)
}
