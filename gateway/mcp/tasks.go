package mcp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
)

const (
	tasksMax   = 100
	tasksUsual = 50
	briefMax   = 500 // bytes of a description in a list
	leaseMax   = 86400
	leaseUsual = 1800
)

// statuses are those that a task can be given.
var statuses = []any{"proposed", "accepted", "to-be-assigned", "assigned", "review", "complete", "open"}

type listTasksIn struct {
	Room   string `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	Task   string `json:"task,omitempty" jsonschema:"id of one task, or the beginning of it: that one alone, with its whole description"`
	Status string `json:"status,omitempty" jsonschema:"only those with this status"`
	Limit  int    `json:"limit,omitempty" jsonschema:"how many tasks at most"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next of the answer before"`
}

type listTasksOut struct {
	Room  string `json:"room" jsonschema:"id of the room"`
	Tasks []task `json:"tasks" jsonschema:"oldest first"`
	Next  string `json:"next,omitempty" jsonschema:"there are more: pass this as cursor"`
}

type taskOut struct {
	Task task `json:"task"`
}

type task struct {
	ID           string `json:"id"`
	Title        string `json:"title"`
	Description  string `json:"description,omitempty"`
	Cut          bool   `json:"cut,omitempty" jsonschema:"the description is longer: name the task to see it whole"`
	Status       string `json:"status"`
	CreatedBy    string `json:"created_by,omitempty"`
	AssignedTo   string `json:"assigned_to,omitempty"`
	ClaimedBy    string `json:"claimed_by,omitempty" jsonschema:"who holds it now"`
	ClaimedUntil string `json:"claimed_until,omitempty" jsonschema:"RFC 3339"`
	Claim        int32  `json:"claim" jsonschema:"number of the lease, for update_task and release_task"`
	Updated      string `json:"updated" jsonschema:"RFC 3339"`
}

type createTaskIn struct {
	Room        string `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	Title       string `json:"title" jsonschema:"one line, at most 500 characters"`
	Description string `json:"description,omitempty" jsonschema:"at most 16 KiB"`
	As          string `json:"as,omitempty" jsonschema:"who you are, such as @claude; may be left out if your connection says it"`
}

type claimTaskIn struct {
	Room  string `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	Task  string `json:"task" jsonschema:"id of the task, or the beginning of it"`
	Lease int    `json:"lease_seconds,omitempty" jsonschema:"how long you hold it unless you claim it again"`
	As    string `json:"as,omitempty" jsonschema:"who you are, such as @claude; may be left out if your connection says it"`
}

type releaseTaskIn struct {
	Room  string `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	Task  string `json:"task" jsonschema:"id of the task, or the beginning of it"`
	Claim *int32 `json:"claim,omitempty" jsonschema:"only while this is the number of its lease"`
	As    string `json:"as,omitempty" jsonschema:"who you are, such as @claude; may be left out if your connection says it"`
}

type updateTaskIn struct {
	Room        string  `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	Task        string  `json:"task" jsonschema:"id of the task, or the beginning of it"`
	Status      string  `json:"status,omitempty" jsonschema:"complete ends the lease"`
	AssignedTo  *string `json:"assigned_to,omitempty" jsonschema:"who is to do it, such as @codex; empty for nobody"`
	Title       *string `json:"title,omitempty" jsonschema:"one line, at most 500 characters"`
	Description *string `json:"description,omitempty" jsonschema:"at most 16 KiB; empty for none"`
	Claim       *int32  `json:"claim,omitempty" jsonschema:"only while this is the number of its lease, and it has not run out"`
}

func addTasks(t *tools, s *sdk.Server, o offer) {
	addTool(s, tool{name: "list_tasks", title: "List tasks", reads: true,
		description: "Lists the tasks of a room, with who holds them; or shows one task whole.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			oneOf(in, "status", append([]any{"deleted"}, statuses...)...)
			between(in, "limit", 1, tasksMax, tasksUsual)
		}}, t.listTasks)
	if !o.write {
		return
	}
	addTool(s, tool{name: "create_task", title: "Create a task",
		description: "Makes a task in a room, with the status proposed.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			filled(in, "title")
		}}, func(ctx context.Context, _ request, in createTaskIn) (taskOut, string, error) {
		as, err := whoami(ctx, o, in.As)
		if err != nil {
			return taskOut{}, "", err
		}
		return t.inRoom(ctx, in.Room, func(room string) (*antv1.TaskResponse, error) {
			return t.tasks.CreateTask(ctx, &antv1.CreateTaskRequest{SessionId: room, Title: in.Title, Description: in.Description, CreatedBy: as, CreatedSource: "mcp"})
		})
	})
	addTool(s, tool{name: "claim_task", title: "Claim a task",
		description: "Takes the lease of a task, so that nobody else works on it, or makes yours longer. Of all who claim it at once one gets it; the others are told who.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			filled(in, "task")
			between(in, "lease_seconds", 1, leaseMax, leaseUsual)
		}}, func(ctx context.Context, _ request, in claimTaskIn) (taskOut, string, error) {
		as, err := whoami(ctx, o, in.As)
		if err != nil {
			return taskOut{}, "", err
		}
		lease := int32(in.Lease)
		return t.inRoom(ctx, in.Room, func(room string) (*antv1.TaskResponse, error) {
			return t.tasks.ClaimTask(ctx, &antv1.ClaimTaskRequest{SessionId: room, TaskId: in.Task, By: as, LeaseSeconds: &lease})
		})
	})
	addTool(s, tool{name: "release_task", title: "Release a task",
		description: "Gives the lease of a task back, so that others can claim it.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			filled(in, "task")
		}}, func(ctx context.Context, _ request, in releaseTaskIn) (taskOut, string, error) {
		as, err := whoami(ctx, o, in.As)
		if err != nil {
			return taskOut{}, "", err
		}
		return t.inRoom(ctx, in.Room, func(room string) (*antv1.TaskResponse, error) {
			return t.tasks.ReleaseTask(ctx, &antv1.ReleaseTaskRequest{SessionId: room, TaskId: in.Task, By: as, Claim: in.Claim})
		})
	})
	addTool(s, tool{name: "update_task", title: "Update a task",
		description: "Changes a task's status, assignee, title or description; what is not given stays.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			filled(in, "task")
			oneOf(in, "status", statuses...)
		}}, func(ctx context.Context, _ request, in updateTaskIn) (taskOut, string, error) {
		return t.updateTask(ctx, in)
	})
}

func (t *tools) listTasks(ctx context.Context, _ request, in listTasksIn) (out listTasksOut, text string, err error) {
	s, err := t.find(ctx, in.Room)
	if err != nil {
		return out, "", err
	}
	out = listTasksOut{Room: s.Id, Tasks: []task{}}
	if in.Task != "" {
		one, err := t.tasks.GetTask(ctx, &antv1.GetTaskRequest{SessionId: s.Id, TaskId: in.Task})
		if err != nil {
			return out, "", err
		}
		out.Tasks = append(out.Tasks, taskRow(one.Task, rowMax))
		return out, tellTasks(s.Name, out), nil
	}
	limit := int32(in.Limit)
	q := &antv1.ListTasksRequest{SessionId: s.Id, Status: in.Status, Cursor: in.Cursor, Limit: &limit}
	if in.Status == "" {
		q.Deleted = new(false)
	}
	for {
		page, err := t.tasks.ListTasks(ctx, q)
		if err != nil {
			return out, "", err
		}
		out.Tasks = out.Tasks[:0]
		for _, one := range page.Tasks {
			out.Tasks = append(out.Tasks, taskRow(one, briefMax))
		}
		if n := fit(out.Tasks); n < len(out.Tasks) {
			limit = int32(n) // a cursor stands behind a page as it was read
			continue
		}
		if page.HasMore {
			out.Next = page.Newer
		}
		return out, tellTasks(s.Name, out), nil
	}
}

func taskRow(v *antv1.Task, most int) task {
	row := task{ID: v.Id, Title: v.Title, Description: clip(v.GetDescription(), most), Status: v.Status, CreatedBy: v.GetCreatedBy(),
		AssignedTo: v.GetAssignedTo(), ClaimedBy: v.GetClaimedBy(), Claim: v.Claim, Updated: isoTime(v.UpdatedAt)}
	row.Cut = len(row.Description) < len(v.GetDescription())
	if v.ClaimedUntil != nil {
		row.ClaimedUntil = isoTime(*v.ClaimedUntil)
	}
	return row
}

func tellTasks(name string, out listTasksOut) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Tasks of %s: %d", oneLine(name, 200), len(out.Tasks))
	if out.Next != "" {
		b.WriteString("; there are more")
	}
	for _, v := range out.Tasks {
		b.WriteString("\n" + tellTask(v))
		if v.Description != "" {
			b.WriteString("\n  " + indent(v.Description))
		}
	}
	return b.String()
}

func tellTask(v task) string {
	text := fmt.Sprintf("%s  %s  %s", v.ID, v.Status, oneLine(v.Title, 2000))
	if v.AssignedTo != "" {
		text += ", assigned to " + oneLine(v.AssignedTo, 200)
	}
	if v.ClaimedBy != "" {
		text += fmt.Sprintf(", held by %s until %s (claim %d)", oneLine(v.ClaimedBy, 200), v.ClaimedUntil, v.Claim)
	}
	return text
}

// inRoom does something to a task of a room, and answers with the task.
func (t *tools) inRoom(ctx context.Context, ref string, do func(room string) (*antv1.TaskResponse, error)) (out taskOut, text string, err error) {
	s, err := t.find(ctx, ref)
	if err != nil {
		return out, "", err
	}
	got, err := do(s.Id)
	if err != nil {
		return out, "", err
	}
	out.Task = taskRow(got.Task, rowMax)
	return out, tellTask(out.Task), nil
}

func (t *tools) updateTask(ctx context.Context, in updateTaskIn) (taskOut, string, error) {
	q := &antv1.UpdateTaskRequest{TaskId: in.Task, Claim: in.Claim}
	if in.Status != "" {
		q.Status = &in.Status
	}
	if in.AssignedTo != nil {
		q.AssignedTo = orNull(*in.AssignedTo)
	}
	if in.Title != nil {
		q.Title = structpb.NewStringValue(*in.Title)
	}
	if in.Description != nil {
		q.Description = orNull(*in.Description)
	}
	if q.Status == nil && q.AssignedTo == nil && q.Title == nil && q.Description == nil {
		return taskOut{}, "", errors.New("say what to change: status, assigned_to, title or description")
	}
	return t.inRoom(ctx, in.Room, func(room string) (*antv1.TaskResponse, error) {
		q.SessionId = room
		return t.tasks.UpdateTask(ctx, q)
	})
}

// orNull is a text, or null for an empty one.
func orNull(s string) *structpb.Value {
	if s == "" {
		return structpb.NewNullValue()
	}
	return structpb.NewStringValue(s)
}
