// Package mcp is the engine that connects projects with servers of the Model
// Context Protocol: what they offer becomes tools of the agent's turns.
//
// Turns enter by Open, settings by List. Which servers there are stands in
// .anton/mcp.json of a project's folder, which is read each time, so that an edit
// counts from the next turn on. A server is connected to when a turn needs it,
// shared by the turns of its project, and let go of when nobody used it for a
// while. Whatever is wrong with one is told by List and never fails a turn. A
// server's process gets nothing of this program's environment that could hold a
// key, and no value of env or headers leaves this package but to the server.
package mcp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"anthill/services/internal/agent"
	"anthill/services/internal/dial"
	"anthill/services/internal/workspace"
)

// Options open the engine.
type Options struct {
	// Getenv reads this program's environment, of which servers get a part.
	Getenv  func(name string) (string, bool)
	Policy  dial.Policy     // of addresses that servers may have
	Secrets func() []string // of this program; may be nil
	Version string          // of this program, as servers are told
	Log     *slog.Logger
	// Start is how long a server may take to be there, and Patience how long a
	// turn waits for it; Idle is how long it is kept when no turn uses it. Zero:
	// 30 s, 5 s, 5 min.
	Start, Patience, Idle time.Duration
}

// Project is whose servers are meant.
type Project struct {
	ID     string
	Folder *workspace.Folder // stays the caller's
}

// Engine holds the connections of all projects. Safe for concurrent use.
type Engine struct {
	opt  Options
	base context.Context // ends with the engine
	stop context.CancelFunc
	work sync.WaitGroup // all goroutines of this package

	others, itself *http.Client // for servers elsewhere, and for this one

	mu      sync.Mutex
	closed  bool
	servers map[string]map[string]*server // by project and name
}

// New makes an engine. It connects to nothing yet.
func New(o Options) *Engine {
	if o.Start == 0 {
		o.Start = 30 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Idle == 0 {
		o.Idle = 5 * time.Minute
	}
	if o.Secrets == nil {
		o.Secrets = func() []string { return nil }
	}
	e := &Engine{opt: o, servers: map[string]map[string]*server{}}
	e.base, e.stop = context.WithCancel(context.Background())
	e.others = dial.Client(dial.Options{Policy: o.Policy})
	own := o.Policy
	own.Own = nil
	e.itself = dial.Client(dial.Options{Policy: own})
	return e
}

// Close ends all connections and the processes behind them, and waits for that
// until ctx ends. No turn may use the engine any more.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	for _, of := range e.servers {
		for _, s := range of {
			s.retire()
		}
	}
	clear(e.servers)
	e.mu.Unlock()
	e.stop()
	done := make(chan struct{})
	go func() { e.work.Wait(); close(done) }()
	select {
	case <-done:
		e.others.CloseIdleConnections()
		e.itself.CloseIdleConnections()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// DeleteProject lets go of a project's servers. Idempotent.
func (e *Engine) DeleteProject(_ context.Context, projectID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.servers[projectID] {
		s.retire()
	}
	delete(e.servers, projectID)
	return nil
}

// run starts a goroutine that Close waits for; false once the engine is closed.
func (e *Engine) run(fn func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.work.Go(fn)
	return true
}

// Lease is what a turn has of its project's servers, until Close.
type Lease struct {
	Tools []agent.Tool // by name; names differ
	// Secrets are those of the file: tools that read files would show them.
	Secrets []string
	servers []*server
}

// Close gives the servers back.
func (l *Lease) Close() {
	for _, s := range l.servers {
		s.release()
	}
	l.servers = nil
}

// Open returns the tools of a project's servers that a rule allows. It waits for
// servers that are only starting, but not for long; the tools of one that is not
// there by then, or does not work, are left out.
func (e *Engine) Open(ctx context.Context, p Project, r Rule) *Lease {
	c := read(p.Folder)
	l := &Lease{Secrets: c.secrets, servers: e.hold(p, c)}
	var waits []<-chan struct{}
	for _, s := range l.servers {
		if over := s.want(); over != nil {
			waits = append(waits, over)
		}
	}
	patience := time.NewTimer(e.opt.Patience)
	defer patience.Stop()
	for _, over := range waits {
		select {
		case <-over:
			continue
		case <-patience.C:
		case <-ctx.Done():
		}
		break
	}
	l.Tools = offer(l.servers, r)
	return l
}

// hold brings the servers of a project in line with its file, and returns those
// that are usable, by name, held for a turn.
func (e *Engine) hold(p Project, c config) []*server {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	var held []*server
	for _, s := range e.align(p, c) {
		if s.usable() {
			s.acquire()
			held = append(held, s)
		}
	}
	return held
}

// align lets go of servers that the file has no longer, or differently, and adds
// those that are new. They come by name. The lock is held.
func (e *Engine) align(p Project, c config) []*server {
	old, now := e.servers[p.ID], map[string]*server{}
	var list []*server
	for _, entry := range c.entries {
		s := old[entry.name]
		if s == nil || !s.is(entry, p.Folder.Dir()) {
			s = newServer(e, p, entry)
		}
		now[entry.name] = s
		list = append(list, s)
	}
	for name, s := range old {
		if now[name] != s {
			s.retire()
		}
	}
	if e.servers[p.ID] = now; len(now) == 0 {
		delete(e.servers, p.ID)
	}
	slices.SortFunc(list, func(a, b *server) int { return strings.Compare(a.entry.name, b.entry.name) })
	return list
}

// Listing is what there is to tell of a project's servers.
type Listing struct {
	Problem string // of the file as a whole; empty if it is fine, or not there
	Servers []Status
}

// States of a server.
const (
	Connected = "connected"
	Starting  = "starting"
	Idle      = "idle" // no turn needs it
	Failed    = "failed"
	Disabled  = "disabled"
)

// Status is how a server is. It holds no secret.
type Status struct {
	Name, Transport string // stdio or http
	Command, URL    string
	State, Problem  string // the problem is in words for people
	Tools           []ToolStatus
}

// ToolStatus is a tool as it was when its server was last asked.
type ToolStatus struct {
	Name        string // as models know it
	Own         string // as its server knows it
	Title       string
	Description string
	Allowed     bool
}

// List tells of a project's servers, by name, without starting any.
func (e *Engine) List(p Project, r Rule) Listing {
	c := read(p.Folder)
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return Listing{}
	}
	servers := e.align(p, c)
	e.mu.Unlock()
	l := Listing{Problem: c.problem}
	names := namesOf(servers)
	for _, s := range servers {
		st := s.status()
		for _, t := range s.known() {
			name := names[of{s.entry.name, t.name}]
			st.Tools = append(st.Tools, ToolStatus{Name: name, Own: t.name, Title: t.title, Description: t.description,
				Allowed: r.allows(s.entry.name, t.name, name)})
		}
		l.Servers = append(l.Servers, st)
	}
	return l
}

var errClosed = errors.New("the server is shutting down")
