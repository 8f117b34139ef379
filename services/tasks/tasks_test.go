package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/tasks"
)

// office is a room over a real store, with a clock and ids that the test decides about.
type office struct {
	t    *testing.T
	room *tasks.Room
	now  time.Time
	ids  int
}

// Find implements tasks.Sessions: every name that begins with "room" is one.
func (o *office) Find(_ store.Reader, ref string) (*tasks.Session, error) {
	if !strings.HasPrefix(ref, "room") {
		return nil, nil
	}
	return &tasks.Session{ID: ref}, nil
}

func newOffice(t *testing.T) *office {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "main.db"), Limits: store.MainLimits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &office{t: t, now: time.Date(2026, 5, 1, 12, 0, 0, 1, time.UTC)}
	o.room = tasks.Open(tasks.Options{DB: db, Sessions: o, Now: func() time.Time { return o.now },
		NewID: func() string { o.ids++; return fmt.Sprintf("task-%04d", o.ids) }})
	return o
}

func (o *office) create(room string) string {
	o.t.Helper()
	v, err := o.room.CreateTask(context.Background(), &antv1.CreateTaskRequest{SessionId: room, Title: "t"})
	if err != nil {
		o.t.Fatal(err)
	}
	return v.Task.Id
}

func (o *office) claim(id, by string) (*antv1.Task, string) {
	o.t.Helper()
	v, err := o.room.ClaimTask(context.Background(), &antv1.ClaimTaskRequest{SessionId: "room", TaskId: id, By: by, LeaseSeconds: proto.Int32(10)})
	return v.GetTask(), reason(err)
}

func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Reason
	}
	return ""
}

func TestALeaseRunsOutWhenItSays(t *testing.T) {
	o := newOffice(t)
	id := o.create("room")
	first, _ := o.claim(id, "@a")
	if first.GetClaimedUntil() != "2026-05-01 12:00:11" || first.Claim != 1 { // not before ten seconds are over
		t.Fatalf("%v", first)
	}
	o.now = time.Date(2026, 5, 1, 12, 0, 10, 999_999_999, time.UTC)
	if _, why := o.claim(id, "@b"); why != "TASK_CLAIMED" {
		t.Errorf("in its last moment: %q", why)
	}
	o.now = o.now.Add(1)
	got, err := o.room.GetTask(t.Context(), &antv1.GetTaskRequest{SessionId: "room", TaskId: id})
	if err != nil || got.Task.ClaimedBy != nil || got.Task.ClaimedUntil != nil || got.Task.Claim != 1 {
		t.Errorf("run out: %v %v", got, err)
	}
	_, err = o.room.UpdateTask(t.Context(), &antv1.UpdateTaskRequest{SessionId: "room", TaskId: id, Status: proto.String("review"), Claim: proto.Int32(1)})
	if reason(err) != "CLAIM_LOST" {
		t.Errorf("a change by a lease that has run out: %v", err)
	}
	if second, why := o.claim(id, "@b"); second.GetClaimedBy() != "@b" || second.Claim != 2 {
		t.Errorf("%v %s", second, why)
	}
	// Whoever comes back late is told, and gets a new number when it is free again.
	if _, why := o.claim(id, "@a"); why != "TASK_CLAIMED" {
		t.Errorf("%q", why)
	}
	o.now = o.now.Add(5 * time.Second)
	if longer, _ := o.claim(id, "@b"); longer.Claim != 2 || longer.GetClaimedUntil() != "2026-05-01 12:00:26" {
		t.Errorf("%v", longer)
	}
	o.now = o.now.Add(time.Hour)
	if again, _ := o.claim(id, "@b"); again.Claim != 3 {
		t.Errorf("%v", again)
	}
}

func TestDeletingARoomKeepsOthers(t *testing.T) {
	o := newOffice(t)
	for range 45 {
		o.create("room")
	}
	kept := o.create("room2")
	for range 2 {
		if err := o.room.DeleteSession(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
	}
	for room, want := range map[string]int{"room": 0, "room2": 1} {
		list, err := o.room.ListTasks(t.Context(), &antv1.ListTasksRequest{SessionId: room})
		if err != nil || len(list.Tasks) != want {
			t.Errorf("%s: %d %v", room, len(list.Tasks), err)
		}
	}
	if _, err := o.room.GetTask(t.Context(), &antv1.GetTaskRequest{SessionId: "room2", TaskId: kept}); err != nil {
		t.Error(err)
	}
}

func TestALongTitleAmongMatchesIsCut(t *testing.T) {
	o := newOffice(t)
	for range 12 {
		if _, err := o.room.CreateTask(t.Context(), &antv1.CreateTaskRequest{SessionId: "room", Title: strings.Repeat("ü", 500)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := o.room.GetTask(t.Context(), &antv1.GetTaskRequest{SessionId: "room", TaskId: "task-"})
	var f *fault.Error
	if !errors.As(err, &f) || f.Reason != "TASK_AMBIGUOUS" || len(f.Meta["matches"]) > 4<<10 || strings.Count(f.Meta["matches"], `"id"`) != 10 {
		t.Errorf("%v", err)
	}
}

// A page has an end in bytes, too, and the next one begins behind it.
func TestPagesOfLongTasks(t *testing.T) {
	o := newOffice(t)
	const n = 220
	for range n {
		if _, err := o.room.CreateTask(t.Context(), &antv1.CreateTaskRequest{SessionId: "room", Title: "t", Description: strings.Repeat("x", 16<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	q, pages := &antv1.ListTasksRequest{SessionId: "room"}, 0
	for more := true; more; pages++ {
		page, err := o.room.ListTasks(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range page.Tasks {
			ids = append(ids, task.Id)
		}
		q.Cursor, more = page.Newer, page.HasMore
	}
	if len(ids) != n || ids[0] != "task-0001" || ids[n-1] != "task-0220" || pages < 2 {
		t.Errorf("%d tasks on %d pages", len(ids), pages)
	}
}
