package tasks

import (
	"context"
	"slices"
	"strconv"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

const (
	pageMax   = 1000
	pageBytes = 3 << 20 // of text
)

// GetTask implements antv1.TasksServiceServer.
func (r *Room) GetTask(ctx context.Context, q *antv1.GetTaskRequest) (*antv1.TaskResponse, error) {
	out := &antv1.TaskResponse{}
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		t, err := find(rd, room.ID, q.TaskId)
		if err == nil {
			out.Task = t.view(r.opt.Now())
		}
		return err
	})
	return out, err
}

// ListTasks implements antv1.TasksServiceServer.
func (r *Room) ListTasks(ctx context.Context, q *antv1.ListTasksRequest) (*antv1.ListTasksResponse, error) {
	limit := pageMax
	if q.Limit != nil {
		if limit = int(*q.Limit); limit < 1 || limit > pageMax {
			return nil, fault.BadField("value_error", "limit is 1 to 1000", "limit")
		}
	}
	if q.Status != "" {
		if err := checkStatus(q.Status); err != nil {
			return nil, err
		}
	}
	after, err := readCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	var out *antv1.ListTasksResponse
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antv1.ListTasksResponse{}
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		without := q.Deleted != nil && !*q.Deleted
		if without && q.Status == deleted {
			return nil
		}
		index, prefix := byOrder, roomKey(room.ID)
		switch {
		case q.Status != "":
			index, prefix = byStatus, prefix.Str(q.Status)
		case without:
			index = byLive
		}
		o := store.ScanOptions{Prefix: prefix, Limit: limit + 1}
		if after != 0 {
			o.After = prefix.Uint(after)
		}
		return r.page(rd, index, o, out)
	})
	return out, err
}

// page adds the tasks of a scan to a page, as many as it holds.
func (r *Room) page(rd store.Reader, index string, o store.ScanOptions, out *antv1.ListTasksResponse) error {
	now, size, last := r.opt.Now(), 0, uint64(0)
	for t, err := range tasks.ScanIndex(rd, index, o) {
		if err != nil {
			return err
		}
		size += len(t.Title) + len(t.Description) + len(t.FileRefs)
		if len(out.Tasks) == o.Limit-1 || size > pageBytes && len(out.Tasks) > 0 {
			out.HasMore, out.Newer = true, cursor(last)
			return nil
		}
		out.Tasks, last = append(out.Tasks, t.view(now)), t.Order
	}
	return nil
}

// cursor is the place behind a task.
func cursor(order uint64) string { return "t" + strconv.FormatUint(order, 36) }

// readCursor is 0 for the beginning.
func readCursor(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(text, "t")
	order, err := strconv.ParseUint(digits, 36, 64)
	if !ok || err != nil || order == 0 {
		return 0, fault.BadField("value_error", "cursor is none of this list", "cursor")
	}
	return order, nil
}

func checkStatus(status string) error {
	if slices.Contains(statuses, status) {
		return nil
	}
	return fault.BadField("value_error", "status is one of "+strings.Join(statuses, ", "), "status")
}
