// Package sessions is the room of sessions: terminals, chats and agents, their
// names and handles, and what links them.
//
// Calls enter by SessionsService and HealthService; other rooms ask it, inside
// their own transactions, which session an id or a handle means. Names and
// handles are unique among live sessions by the store's indexes, so that of two
// who want one, one gets it. What a session holds belongs to other rooms
// ([Dependents]): a session that is deleted for good reads as gone at once, and
// is cleared away behind that, also across a restart. Nothing is ever cleared
// away that can be restored, unless a retention is configured.
package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
)

// Dependents is who keeps what belongs to sessions.
type Dependents interface {
	// DeleteSession removes all that belongs to a session that is deleted for
	// good. It is asked again after a failure or a restart.
	DeleteSession(ctx context.Context, id string) error
}

// Attention is what a session is occupied with.
type Attention struct {
	State, Reason, SetBy string
	Expires              time.Time
	RoomID               string
	Queue                int // messages that wait
}

// Focus knows what sessions are occupied with.
type Focus interface {
	// Attention returns nil for a session that is free.
	Attention(rd store.Reader, id string) (*Attention, error)
}

// Process is what runs in a session's terminal.
type Process struct {
	PID     int
	CPU     float64 // per cent of one processor
	RSS     uint64  // bytes
	Stalled bool    // it works hard and has been silent for long
}

// Terminals run the programs of sessions.
type Terminals interface {
	// Check says why a terminal could not be started now.
	Check(cols, rows *int32) error
	// Start runs a terminal. Errors are for callers.
	Start(ctx context.Context, id string, cols, rows *int32) error
	// End returns when nothing runs in a session; none need.
	End(ctx context.Context, id string) error
	// Processes returns what runs, by session.
	Processes() map[string]Process
}

// Options open the room.
type Options struct {
	DB        store.DB
	Now       func() time.Time
	NewID     func() string // 21 characters fit for a path
	Version   string
	MaxActive int           // shown by GetHealth; 0: no limit
	Retention time.Duration // how long a deleted session can be restored; 0: for ever
	Log       *slog.Logger

	retry time.Duration // between attempts at clearing away; 0: 10 s
}

// Room serves SessionsService and HealthService. Safe for concurrent use.
type Room struct {
	antv1.UnimplementedSessionsServiceServer
	antv1.UnimplementedHealthServiceServer

	opt     Options
	meter   *meter
	base    context.Context // of the room's goroutines
	stop    context.CancelFunc
	work    chan struct{} // receives when something is to be cleared away
	workers sync.WaitGroup

	mu         sync.Mutex
	dependents Dependents // nil until Join
	focus      Focus      // may be nil
	terminals  Terminals  // nil: nothing runs
}

// Open makes the room. What was being cleared away goes on after Join.
func Open(o Options) *Room {
	if o.retry == 0 {
		o.retry = 10 * time.Second
	}
	r := &Room{opt: o, meter: newMeter(o.Now), work: make(chan struct{}, 1)}
	r.base, r.stop = context.WithCancel(context.Background())
	return r
}

// Join tells the room who keeps what belongs to sessions, and what they are
// occupied with (nil: nobody knows). It is called once.
func (r *Room) Join(d Dependents, f Focus) {
	r.mu.Lock()
	r.dependents, r.focus = d, f
	r.mu.Unlock()
	r.workers.Go(r.clearLoop)
	if r.opt.Retention > 0 {
		r.workers.Go(r.expireLoop)
	}
}

// JoinTerminals gives the room what runs its terminals.
func (r *Room) JoinTerminals(t Terminals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.terminals = t
}

// running is what runs terminals; nil: nothing does.
func (r *Room) running() Terminals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.terminals
}

// endAll ends the terminals of sessions that are no longer live.
func (r *Room) endAll(ctx context.Context, ids []string) error {
	t := r.running()
	if t == nil {
		return nil
	}
	var all []error
	for _, id := range ids {
		all = append(all, t.End(context.WithoutCancel(ctx), id))
	}
	return errors.Join(all...)
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antv1.RegisterSessionsServiceServer(s, r)
	antv1.RegisterHealthServiceServer(s, r)
}

// Close stops the room's goroutines and waits for them until ctx ends. What is
// unfinished is taken up when the room is opened again.
func (r *Room) Close(ctx context.Context) error {
	r.stop()
	idle := make(chan struct{})
	go func() { r.workers.Wait(); close(idle) }()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sessions: close: %w", ctx.Err())
	}
}

func (r *Room) joined() (Dependents, Focus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dependents, r.focus
}
