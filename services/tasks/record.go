package tasks

import (
	"encoding/json"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

// Statuses that mean something here.
const (
	proposed = "proposed"
	complete = "complete"
	deleted  = "deleted"
)

// statuses are all there are.
var statuses = []string{proposed, "accepted", "to-be-assigned", "assigned", "review", complete, deleted, "open"}

const noRefs = "[]"

// task is a row of the store. An empty text is null on the wire.
type task struct {
	ID   string `json:"id"`
	Room string `json:"room"`
	// Order is the seq of the event that tells of the task: no other has it, and
	// later ones have higher ones.
	Order       uint64 `json:"order"`
	By          string `json:"by,omitempty"`
	Guest       bool   `json:"guest,omitempty"` // By is the handle of a guest
	Source      string `json:"source"`
	Assigned    string `json:"assigned,omitempty"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Status      string `json:"status"`
	FileRefs    string `json:"file_refs"` // a JSON array
	Plan        string `json:"plan,omitempty"`
	Milestone   string `json:"milestone,omitempty"`
	Acceptance  string `json:"acceptance,omitempty"`
	Created     int64  `json:"created"` // ns, as all times here
	Updated     int64  `json:"updated"`
	Lease       lease  `json:"lease,omitzero"`
	Claim       int32  `json:"claim,omitempty"` // number of the lease, or of the last one
}

// lease says who holds a task, and until when.
type lease struct {
	Key   string `json:"key"` // of a person
	Name  string `json:"name"`
	Until int64  `json:"until"` // ns; whole seconds, so that it ends when it says
}

// held says whether somebody holds the task.
func (t *task) held(now time.Time) bool { return t.Lease.Until > now.UnixNano() }

// Indexes of the table.
const (
	byOrder  = "order"
	byLive   = "live" // those that are not deleted, in their order
	byStatus = "status"
)

var tasks = store.NewTable(store.TableOptions[task]{
	Name: "ant_task",
	Key:  func(t *task) key.Key { return taskKey(t.Room, t.ID) },
	Indexes: []store.Index[task]{
		{Name: byOrder, Keys: func(t *task) []key.Key { return []key.Key{roomKey(t.Room).Uint(t.Order)} }},
		{Name: byLive, Keys: func(t *task) []key.Key {
			if t.Status == deleted {
				return nil
			}
			return []key.Key{roomKey(t.Room).Uint(t.Order)}
		}},
		{Name: byStatus, Keys: func(t *task) []key.Key { return []key.Key{roomKey(t.Room).Str(t.Status).Uint(t.Order)} }},
	},
})

func roomKey(room string) key.Key     { return key.Key(nil).Str(room) }
func taskKey(room, id string) key.Key { return roomKey(room).Str(id) }

const (
	refMax     = 64  // bytes of what may name a task
	matchesMax = 10  // tasks that are named when an id could be several
	matchTitle = 100 // characters of their titles
)

// find looks a task of a room up by its id, or by what no other id begins with.
func find(rd store.Reader, room, ref string) (*task, error) {
	missing := fault.Missing("TASK_NOT_FOUND", "not found")
	if ref == "" || len(ref) > refMax {
		return nil, missing
	}
	if t, err := tasks.Get(rd, taskKey(room, ref)); err != nil || t != nil {
		return t, err
	}
	begins := taskKey(room, ref)
	begins = begins[:len(begins)-1] // without the end of the id
	var list []*task
	for t, err := range tasks.Scan(rd, store.ScanOptions{Prefix: begins, Limit: matchesMax}) {
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	switch len(list) {
	case 0:
		return nil, missing
	case 1:
		return list[0], nil
	}
	return nil, ambiguous(list)
}

// ambiguous names the tasks that an id could mean.
func ambiguous(list []*task) error {
	type match struct {
		ID     string `json:"id"`
		Title  string `json:"title"`
		Status string `json:"status"`
	}
	var matches []match
	for _, t := range list {
		title := []rune(t.Title)
		if len(title) > matchTitle {
			title = append(title[:matchTitle-1], '…')
		}
		matches = append(matches, match{t.ID, string(title), t.Status})
	}
	text, err := json.Marshal(matches)
	if err != nil {
		return err
	}
	return fault.New(fault.Precondition, "TASK_AMBIGUOUS", "ambiguous task id prefix").With("matches", string(text))
}

// view is a task as the published API shows it.
func (t *task) view(now time.Time) *antv1.Task {
	v := &antv1.Task{Id: t.ID, SessionId: t.Room, CreatedBy: wire.OrNull(t.By), CreatedSource: t.Source, AssignedTo: wire.OrNull(t.Assigned),
		Title: t.Title, Description: wire.OrNull(t.Description), Status: t.Status, FileRefs: t.FileRefs,
		PlanId: wire.OrNull(t.Plan), MilestoneId: wire.OrNull(t.Milestone), AcceptanceId: wire.OrNull(t.Acceptance),
		CreatedAt: wire.Time(t.Created), UpdatedAt: wire.Time(t.Updated), Claim: t.Claim}
	if t.held(now) {
		v.ClaimedBy, v.ClaimedUntil = &t.Lease.Name, new(wire.Time(t.Lease.Until))
	}
	return v
}
