// Package tasks is what is to be done in a room, and who is doing it.
//
// Calls enter by TasksService. Whoever works on a task holds its lease: it is
// given, made longer, taken over and given back in one transaction each, which
// compares who holds it and stores who does from then on; so two never hold one
// task, and what was acknowledged outlives a crash. Nothing here runs by itself:
// a lease that has run out is seen to have when the task is looked at.
package tasks

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// Session is what this room needs to know of one.
type Session struct {
	ID, Handle        string // Handle: with its @; may be empty
	Archived, Deleted bool
}

// Sessions answers from inside a transaction.
type Sessions interface {
	// Find looks a session up by id or handle; by id also archived and softly
	// deleted ones. Nil: there is none.
	Find(r store.Reader, ref string) (*Session, error)
}

// Options open the room.
type Options struct {
	DB       store.DB
	Sessions Sessions
	Now      func() time.Time
	NewID    func() string // 21 characters fit for a path
}

// Room serves TasksService. Safe for concurrent use.
type Room struct {
	antv1.UnimplementedTasksServiceServer
	opt Options
}

// Open makes the room. There is nothing to close.
func Open(o Options) *Room { return &Room{opt: o} }

// Register adds the room's service to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antv1.RegisterTasksServiceServer(s, r) }

// readable finds a room that exists, whatever its state.
func (r *Room) readable(rd store.Reader, ref string) (*Session, error) {
	s, err := r.opt.Sessions.Find(rd, ref)
	if err == nil && s == nil {
		err = wire.ErrNoSession
	}
	return s, err
}

// writable finds a room that takes changes.
func (r *Room) writable(rd store.Reader, ref string) (*Session, error) {
	s, err := r.readable(rd, ref)
	if err == nil {
		err = wire.Writable(s.Deleted, s.Archived)
	}
	return s, err
}

// person is somebody who makes tasks or holds them.
type person struct {
	name string // as rows show it
	key  string // by which they are known again
}

// who finds out whom a name means. A session is one person under each of its
// names, and is shown by its handle; a guest is never a session.
func (r *Room) who(rd store.Reader, c caller.Caller, name string) (person, error) {
	name = strings.TrimSpace(c.As(name))
	p := person{name: name, key: nameKey(name)}
	if c.Scoped() || name == "" {
		return p, nil
	}
	s, err := r.opt.Sessions.Find(rd, name)
	if err != nil || s == nil {
		return p, err
	}
	p.key = "session:" + s.ID
	if s.Handle != "" {
		p.name = s.Handle
	}
	return p, nil
}

// nameKey is how somebody is known again who is no session.
func nameKey(name string) string { return "name:" + strings.TrimPrefix(name, "@") }

// change does something to a task, and tells of it if that changed it. The
// function may run again and must set nothing but the task.
func (r *Room) change(ctx context.Context, session, ref string,
	do func(tx store.Tx, t *task, now time.Time) (changed bool, err error)) (*antv1.TaskResponse, error) {
	var out *antv1.TaskResponse
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, session)
		if err != nil {
			return err
		}
		t, err := find(tx, room.ID, ref)
		if err != nil {
			return err
		}
		now := r.opt.Now()
		changed, err := do(tx, t, now)
		if err != nil {
			return err
		}
		if changed {
			t.Updated = now.UnixNano()
		}
		out = &antv1.TaskResponse{Task: t.view(now)}
		if !changed {
			return nil
		}
		if err := tasks.Put(tx, t); err != nil {
			return err
		}
		e := &antv1.Event{Event: &antv1.Event_TaskUpdated{TaskUpdated: &antv1.TaskUpdated{Task: out.Task}}}
		if t.Status == deleted {
			e.Event = &antv1.Event_TaskDeleted{TaskDeleted: &antv1.TaskDeleted{Id: t.ID}}
		}
		return tell(tx, t, now, e)
	})
	return out, err
}

func tell(tx store.Tx, t *task, now time.Time, e *antv1.Event) error {
	e.SessionId, e.AtMs = t.Room, float64(now.UnixMilli())
	return feed.Append(tx, e)
}

// batch tasks, with their index entries, fit into a transaction.
const batch = 20

// DeleteSession removes the tasks of a room, which reads as gone already.
// Idempotent; it may be called again after a failure or a restart.
func (r *Room) DeleteSession(ctx context.Context, id string) error {
	for n := batch; n == batch; {
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			var list []*task
			for t, err := range tasks.Scan(tx, store.ScanOptions{Prefix: roomKey(id), Limit: batch}) {
				if err != nil {
					return err
				}
				list = append(list, t)
			}
			n = len(list)
			for _, t := range list {
				if _, err := tasks.Delete(tx, taskKey(t.Room, t.ID)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
