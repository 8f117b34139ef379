package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// change is an UpdateTaskRequest that was checked; nil: not given.
type change struct {
	status, assigned, title, description, refs *string
	claim                                      *int32
}

// UpdateTask implements antv1.TasksServiceServer.
func (r *Room) UpdateTask(ctx context.Context, q *antv1.UpdateTaskRequest) (*antv1.TaskResponse, error) {
	c, err := checkChange(q)
	if err != nil {
		return nil, err
	}
	by := caller.From(ctx)
	return r.change(ctx, q.SessionId, q.TaskId, func(_ store.Tx, t *task, now time.Time) (bool, error) {
		if c.claim != nil && (!t.held(now) || t.Claim != *c.claim) {
			return false, t.lost(*c.claim, now)
		}
		if by.Scoped() {
			if err := c.byGuest(by.Handle, t, now); err != nil {
				return false, err
			}
		}
		return c.apply(t), nil
	})
}

// DeleteTask implements antv1.TasksServiceServer.
func (r *Room) DeleteTask(ctx context.Context, q *antv1.DeleteTaskRequest) (*antv1.DeleteTaskResponse, error) {
	gone := deleted
	_, err := r.change(ctx, q.SessionId, q.TaskId, func(_ store.Tx, t *task, _ time.Time) (bool, error) {
		return change{status: &gone}.apply(t), nil
	})
	if err != nil {
		return nil, err
	}
	return &antv1.DeleteTaskResponse{Ok: true}, nil
}

func checkChange(q *antv1.UpdateTaskRequest) (c change, err error) {
	c = change{status: q.Status, claim: q.Claim}
	if c.status != nil {
		if err := checkStatus(*c.status); err != nil {
			return c, err
		}
	}
	if c.title, err = clearable("title", q.Title); err != nil {
		return c, err
	}
	if c.title != nil {
		if *c.title, err = checkTitle(*c.title); err != nil {
			return c, err
		}
	}
	if c.assigned, err = clearable("assigned_to", q.AssignedTo); err != nil {
		return c, err
	}
	if c.assigned != nil {
		if err := checkSize("assigned_to", *c.assigned, nameMax); err != nil {
			return c, err
		}
	}
	if c.description, err = clearable("description", q.Description); err != nil {
		return c, err
	}
	if c.description != nil {
		if err := checkSize("description", *c.description, descriptionMax); err != nil {
			return c, err
		}
	}
	c.refs, err = checkRefs(q.FileRefs)
	return c, err
}

// byGuest says whether a guest may make a change: not one that destroys what others did.
func (c change) byGuest(handle string, t *task, now time.Time) error {
	own := t.Guest && t.By == handle
	switch {
	case t.Status == deleted || c.status != nil && *c.status == deleted:
		return errAdminOnly
	case !own && (c.title != nil || c.description != nil || c.refs != nil):
		return fault.New(fault.Denied, "NOT_YOUR_TASK", "A guest can change the status and the assignment of tasks that others made, nothing else")
	case c.status != nil && *c.status == complete && t.held(now) && t.Lease.Key != nameKey(handle):
		return t.taken()
	}
	return nil
}

// apply makes a change, and says whether it was one.
func (c change) apply(t *task) (changed bool) {
	for field, to := range map[*string]*string{&t.Status: c.status, &t.Assigned: c.assigned, &t.Title: c.title,
		&t.Description: c.description, &t.FileRefs: c.refs} {
		if to != nil && *to != *field {
			*field, changed = *to, true
		}
	}
	if changed && (t.Status == complete || t.Status == deleted) {
		t.Lease = lease{}
	}
	return changed
}

// clearable is a text, empty for null; nil if it was not given.
func clearable(field string, v *structpb.Value) (*string, error) {
	var text string
	switch k := v.GetKind().(type) {
	case nil:
		return nil, nil
	case *structpb.Value_NullValue:
	case *structpb.Value_StringValue:
		text = k.StringValue
	default:
		return nil, fault.BadField("value_error", field+" must be a text, or null", field)
	}
	return &text, nil
}

// checkRefs takes an array, or its JSON as a text; nil if it was not given.
func checkRefs(v *structpb.Value) (*string, error) {
	wrong := fault.BadField("value_error", "file_refs must be an array of texts or objects, up to 100 and 16 KiB, or null", "file_refs")
	text := noRefs
	switch k := v.GetKind().(type) {
	case nil:
		return nil, nil
	case *structpb.Value_NullValue:
	case *structpb.Value_ListValue:
		b, err := plain(k.ListValue.AsSlice())
		if err != nil {
			return nil, wrong
		}
		text = string(b)
	case *structpb.Value_StringValue:
		text = k.StringValue
	default:
		return nil, wrong
	}
	var list []json.RawMessage
	if len(text) > fileRefsBytes || json.Unmarshal([]byte(text), &list) != nil || list == nil || len(list) > fileRefsMax {
		return nil, wrong
	}
	for _, ref := range list {
		if ref[0] != '"' && ref[0] != '{' {
			return nil, wrong
		}
	}
	return &text, nil
}

// plain is JSON whose texts are as they were given.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
