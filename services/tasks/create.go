package tasks

import (
	"context"
	"strings"
	"unicode/utf8"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// Limits of what callers give.
const (
	titleMax       = 500 // characters
	descriptionMax = 16 << 10
	nameMax        = 256
	fileRefsMax    = 100
	fileRefsBytes  = 16 << 10
)

// CreateTask implements antv1.TasksServiceServer.
func (r *Room) CreateTask(ctx context.Context, q *antv1.CreateTaskRequest) (*antv1.TaskResponse, error) {
	by := caller.From(ctx)
	t := &task{ID: r.opt.NewID(), Guest: by.Scoped(), Source: q.CreatedSource, Description: q.Description, Status: proposed, FileRefs: noRefs,
		Plan: q.PlanId, Milestone: q.MilestoneId, Acceptance: q.AcceptanceId}
	if t.Source == "" {
		t.Source = "api"
	}
	var err error
	if t.Title, err = checkTitle(q.Title); err != nil {
		return nil, err
	}
	if err := checkSize("description", q.Description, descriptionMax); err != nil {
		return nil, err
	}
	for field, text := range map[string]string{"created_by": q.CreatedBy, "created_source": q.CreatedSource,
		"plan_id": q.PlanId, "milestone_id": q.MilestoneId, "acceptance_id": q.AcceptanceId} {
		if err := checkSize(field, text, nameMax); err != nil {
			return nil, err
		}
	}
	var out *antv1.TaskResponse
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		maker, err := r.who(tx, by, q.CreatedBy)
		if err != nil {
			return err
		}
		now := r.opt.Now()
		_, head := tx.Log(feed.Topic, 0, 0)
		t.Room, t.Order, t.By, t.Created, t.Updated = room.ID, head.Last+1, maker.name, now.UnixNano(), now.UnixNano()
		if err := tasks.Put(tx, t); err != nil {
			return err
		}
		out = &antv1.TaskResponse{Task: t.view(now)}
		return tell(tx, t, now, &antv1.Event{Event: &antv1.Event_TaskCreated{TaskCreated: &antv1.TaskCreated{Task: out.Task}}})
	})
	return out, err
}

func checkTitle(title string) (string, error) {
	title = strings.TrimSpace(title)
	switch {
	case title == "":
		return "", fault.BadField("missing", "title required", "title")
	case utf8.RuneCountInString(title) > titleMax:
		return "", fault.BadField("value_error", "title is too long: 500 characters at most", "title")
	}
	return title, nil
}

func checkSize(field, text string, most int) error {
	if len(text) <= most {
		return nil
	}
	size := "256 bytes"
	if most == descriptionMax {
		size = "16 KiB"
	}
	return fault.BadField("value_error", field+" is too long: "+size+" at most", field)
}
