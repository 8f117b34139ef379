package rooms

import (
	"context"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// Messages implements feed.Messages: one for each ref, nil for those that do not
// exist.
func (r *Room) Messages(ctx context.Context, refs []feed.Ref) ([]*antv1.MessageCreated, error) {
	found := make([]*message, len(refs))
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		for i, ref := range refs {
			m, err := loadMessage(rd, ref.Room, ref.ID)
			if err != nil {
				return err
			}
			found[i] = m
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]*antv1.MessageCreated, len(refs))
	for i, m := range found {
		if m == nil {
			continue
		}
		text, ok, err := r.content(ctx, m)
		if err != nil {
			return nil, err
		}
		if ok {
			m.Content = text
			out[i] = m.event()
		}
	}
	return out, nil
}
