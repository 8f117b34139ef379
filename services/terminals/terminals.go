// Package terminals is where the programs of sessions run: it starts and ends
// terminals, passes on what is typed, shows what is printed, and keeps its history.
//
// Calls enter by TerminalsService; sessions that are archived or deleted end
// theirs here. Every live terminal has a seat: the engine's terminal, the emulated
// screen that follows its output, and the viewers that share its size. The room
// knows nothing of agents: who does is told of each seat ([Watcher]).
// Nothing that a program prints is ever typed back, and nothing is typed that
// nobody asked for.
package terminals

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/screen"
)

// Session is what this room needs to know of one.
type Session struct {
	ID, Name string
	Terminal bool
	RootDir  string
	Archived bool
	Deleted  bool // softly
}

func (s *Session) active() bool { return !s.Archived && !s.Deleted }

// Sessions answers from inside a transaction.
type Sessions interface {
	// Find looks a session up by id, handle or alias; by id also archived and
	// softly deleted ones. Nil: there is none, or it is deleted for good.
	Find(r store.Reader, ref string) (*Session, error)
	// Touch notes that something happens in a session.
	Touch(tx store.Tx, id string, at time.Time) error
}

// Evidence takes what is known of the work in a terminal.
type Evidence interface {
	// Append notes an event and returns it, or the earlier one with its key.
	Append(ctx context.Context, e Event) (*antv1.RunEvent, error)
}

// Event is one thing to be noted (ant.md 4.4).
type Event struct {
	Session             string
	At                  time.Time // zero: now
	Source, Trust, Kind string
	Text                string
	Payload, RawRef     any    // encoded as JSON; nil: none
	Key                 string // an event with the key of an earlier one is not noted again
}

// Announcer passes on what is not worth keeping.
type Announcer interface{ Announce(*antv1.Event) }

// Watcher is told of each terminal that runs, also of those that a former process
// left, before anybody types into it. It must not block; it is over when the
// terminal's Done is closed.
type Watcher interface {
	Watch(t *terminal.Terminal, s *screen.Screen)
}

// Options open the room.
type Options struct {
	DB       store.DB
	Engine   terminal.Options // Tell and Log are the room's
	Sessions Sessions
	Evidence Evidence
	Now      func() time.Time
	Address  func() string // a URL at which the server can be reached, without a path
	Max      int           // terminals that run at once; 0: no limit
	Log      *slog.Logger
}

// Room serves TerminalsService. Safe for concurrent use.
type Room struct {
	antv1.UnimplementedTerminalsServiceServer

	opt    Options
	engine *terminal.Engine

	base    context.Context // of the room's goroutines
	stop    context.CancelFunc
	workers sync.WaitGroup

	told      chan terminal.Event // by the engine, to be noted
	audiences audiences

	mu        sync.Mutex
	seats     map[string]*seat         // of terminals that run, by session
	starting  map[string]chan struct{} // closed when the start is over
	announcer Announcer                // nil: nobody listens
	watcher   Watcher                  // nil: nobody watches
	typed     map[string]typed         // what was noted last, by session
	loads     map[string]load          // by session, as measured last
	measured  time.Time
}

// Register adds the room's service to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antv1.RegisterTerminalsServiceServer(s, r) }

var (
	errNoTerminal = fault.Missing("TERMINAL_NOT_FOUND", "terminal session not found")
	errInactive   = fault.New(fault.Precondition, "TERMINAL_INACTIVE", "terminal session is inactive")
)
