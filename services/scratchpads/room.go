// Package scratchpads is the room of the CoWork API where Python runs: named
// scratchpads, their cells, and what can be made of these.
//
// Calls enter by its gRPC service, agents by the tool that Tool returns. A cell
// belongs to its scratchpad, not to the call that began it: who hangs up stops
// nothing. A cell is in the store before it runs, and once more with all that it
// left before anybody is told so; variables live in a process and end with it,
// which is said. No code is looked into here, none runs in this process, and no
// key of a model reaches the code that asks for it.
package scratchpads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/kernel"
	"anthill/services/internal/store"
)

// Project is what this room needs to know of one.
type Project struct{ ID, Name, Path string }

// Projects knows them.
type Projects interface {
	// Resolve finds a project by name, the active one if it is empty, and makes
	// sure of its folder. A fault if there is none.
	Resolve(ctx context.Context, name string) (Project, error)
	// ByID finds one that is not deleted, and makes sure of its folder. A fault
	// if there is none.
	ByID(ctx context.Context, id string) (Project, error)
	// Exists says, inside a transaction, whether one is not deleted.
	Exists(r store.Reader, id string) (bool, error)
}

// Coding is who answers the code of a scratchpad. What is empty is as configured.
type Coding struct{ Provider, Model, APIKey, BaseURL string }

// Model is a model, ready to be asked.
type Model struct {
	Provider agent.Provider
	Name     string
	Secrets  []string // such as its key: never shown, whoever sends them
}

// Options open the room.
type Options struct {
	Main, Bulk store.DB
	Engine     *kernel.Engine // closed by the room
	Projects   Projects
	// Model chooses who answers code, at the time of its question. Nil: nobody does.
	Model func(ctx context.Context, c Coding) (Model, error)
	Now   func() time.Time
	NewID func(prefix string) string
	Log   *slog.Logger
	Keep  Keep // zero: the defaults
}

// Keep bounds what a scratchpad keeps of its cells: what is older is dropped.
type Keep struct {
	Cells int // 200
	Bytes int // of all cells; 32 MiB
}

// Room serves ScratchpadsService. Safe for concurrent use.
type Room struct {
	antonv1.UnimplementedScratchpadsServiceServer

	opt  Options
	base context.Context // of all cells; ends with the room
	stop context.CancelCauseFunc

	mu      sync.Mutex
	closing bool
	pads    map[string]*pad // by id: those with a kernel
	runs    sync.WaitGroup  // cells that run
}

// stopped is why cells end when the server does.
var stopped = &kernel.Cause{Status: statusInterrupted, Text: "The server was stopped while the cell ran.",
	Lost: lostToRestart, Now: true}

// Open ends the cells that a crash left running and removes what belongs to no
// scratchpad.
func Open(ctx context.Context, o Options) (*Room, error) {
	if o.Keep.Cells == 0 {
		o.Keep.Cells = 200
	}
	if o.Keep.Bytes == 0 {
		o.Keep.Bytes = 32 << 20
	}
	r := &Room{opt: o, pads: map[string]*pad{}}
	r.base, r.stop = context.WithCancelCause(context.Background())
	if err := r.sealAll(ctx); err != nil {
		return nil, fmt.Errorf("scratchpads: end interrupted cells: %w", err)
	}
	if err := r.sweep(ctx); err != nil {
		return nil, fmt.Errorf("scratchpads: remove leftovers: %w", err)
	}
	return r, nil
}

// Register adds the room's service to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antonv1.RegisterScratchpadsServiceServer(s, r) }

// Live are the names of the scratchpads that have a process.
func (r *Room) Live() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := []string{}
	for _, p := range r.pads {
		if p.kernel.Live() {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return names
}

// Drain refuses new cells and waits for running ones until ctx ends; what runs
// then is stopped. When it returns, no cell runs.
func (r *Room) Drain(ctx context.Context) {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	idle := make(chan struct{})
	go func() { r.runs.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		r.stop(stopped)
		<-idle
	}
}

// Close stops what runs and ends all processes, until ctx ends at most.
func (r *Room) Close(ctx context.Context) error {
	r.stop(stopped)
	r.Drain(ctx)
	return r.opt.Engine.Close(ctx, stopped)
}

// DeleteProject ends and forgets the scratchpads of a project; its folder is not
// touched. It may be asked again.
func (r *Room) DeleteProject(ctx context.Context, projectID string) error {
	return r.deleteAll(ctx, func(rd store.Reader) ([]*record, error) { return ofProject(rd, projectID) })
}

// DeleteConversation is DeleteProject for the scratchpads of an agent.
func (r *Room) DeleteConversation(ctx context.Context, conversationID string) error {
	return r.deleteAll(ctx, func(rd store.Reader) ([]*record, error) { return ofOwner(rd, conversationID) })
}

func (r *Room) deleteAll(ctx context.Context, find func(store.Reader) ([]*record, error)) error {
	var found []*record
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		found, err = find(rd)
		return err
	})
	for _, rec := range found {
		err = errors.Join(err, r.remove(ctx, rec, "The scratchpad was deleted."))
	}
	return err
}

func (r *Room) now() int64 { return r.opt.Now().UnixMilli() }

// errNoPad is what routes say of a scratchpad that is not open.
// compat: the words of anton.md 9.
func errNoPad(name string) error {
	return fault.Missing("SCRATCHPAD_NOT_FOUND", "Scratchpad '%s' not found. Call /v1/scratchpad/start first.", name)
}

func errStopping() error {
	return fault.New(fault.Unavailable, "STOPPING", "The server is stopping.").RetryAfter(2 * time.Second)
}
