package scratchpads

import (
	"context"
	"errors"

	"anthill/services/internal/kernel"
	"anthill/services/internal/store"
)

// lostToMoving is why variables are gone of a scratchpad whose conversation went
// to another project: its process worked in the folder of the old one.
const lostToMoving = "the conversation was moved to another project"

// MoveConversation takes the scratchpads of an agent along to another project;
// their cells stay. Idempotent.
func (r *Room) MoveConversation(ctx context.Context, conversationID, projectID string) error {
	var found []*record
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		found, err = ofOwner(rd, conversationID)
		return err
	})
	for _, rec := range found {
		if rec.ProjectID != projectID {
			err = errors.Join(err, r.move(ctx, rec, projectID))
		}
	}
	return err
}

func (r *Room) move(ctx context.Context, rec *record, projectID string) error {
	taken := false
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		there, err := records.Lookup(rd, byName, nameKey(projectID, rec.Owner, rec.Name))
		taken = there != nil
		return err
	})
	if err != nil {
		return err
	}
	if taken { // a turn in the new project was faster than a move that a crash cut off
		return r.remove(ctx, rec, "The conversation was moved to another project.")
	}
	cause := &kernel.Cause{Status: kernel.StatusCancelled, Text: "The conversation was moved to another project."}
	return r.alone(ctx, rec, cause, func(p *pad) error {
		now := r.now()
		_, err := r.change(ctx, rec.ID, rec.Name, func(rec *record) {
			rec.ProjectID, rec.Used = projectID, now
			if len(rec.Sizes) > 0 {
				rec.Lost = lostToMoving
			}
		})
		return errors.Join(err, r.forget(ctx, p, cause))
	})
}
