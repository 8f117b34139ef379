package memory

import (
	"context"

	"anthill/services/internal/agent"
	"anthill/services/memory/notes"
)

// Writers of entries.
const (
	byAgent    = "agent"
	byLearning = "learning"
	byUser     = "user"
	byHand     = "hand"
)

// Learn keeps what a look back at a turn found. What holds a secret is left out.
func (r *Room) Learn(ctx context.Context, t Turn, lessons []agent.Lesson) error {
	if !r.opt.Modes().Memory {
		return nil
	}
	for _, l := range lessons {
		if r.tells(l.Text + "\n" + l.Topic) {
			continue
		}
		if _, _, err := r.learn(ctx, t, l, byLearning); err != nil {
			return err
		}
	}
	return nil
}

// learn keeps one lesson of a turn.
func (r *Room) learn(ctx context.Context, t Turn, l agent.Lesson, by string) (e entry, known bool, err error) {
	text, err := notes.Normalize(l.Text)
	if err != nil {
		return e, false, err
	}
	at := place{}
	if l.Scope == "project" && l.Kind != profile {
		p, err := r.opt.Projects.ByID(ctx, t.ProjectID)
		if err != nil {
			return e, false, err
		}
		at = place{&p}
	}
	return r.add(ctx, at, note{text: text, kind: l.Kind, topic: clip(l.Topic, 60), meta: notes.Meta{ID: r.opt.NewID("mem_"), By: by,
		Conversation: t.ConversationID, Turn: t.TurnID, At: iso(r.opt.Now())}})
}
