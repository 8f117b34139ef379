// Package rooms is where humans and agents talk: the messages of a session, who
// takes part, whom a message wakes, who has read it and what it asks; and how
// rooms are linked.
//
// Calls enter by its gRPC services. A message is one transaction: its row,
// its event, its sender, what is owed to terminals and the coworker, all or nothing.
// What a terminal is owed is kept until it was delivered or has expired, what the
// coworker is asked until it was answered; the room tries again by itself, also after
// a restart. The room never speaks to either inside a transaction, and never says
// "delivered" before somebody took it.
package rooms

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// Session is what this room needs to know of one. A session is a room, too.
type Session struct {
	ID, Name, Type string // Type: terminal, chat or agent
	Handle         string // with its @; may be empty
	Alias          string
	Status         string
	CLIFlag        string
	LinkedChatID   string // of a terminal: its private chat
	Archived       bool
	Deleted        bool // softly
	AutoForward    bool // of a terminal: what a user says in its chat is typed
	LongMemory     bool // breaks do not hide what is before them
}

const (
	typeTerminal = "terminal"
	typeChat     = "chat"
	typeAgent    = "agent"
)

func (s *Session) active() bool { return s != nil && !s.Archived && !s.Deleted }

// isAgent says whether a session speaks for a machine.
func (s *Session) isAgent() bool { return s.Type == typeTerminal || s.Type == typeAgent }

// Sessions answers from inside a transaction, so that a check and the write that
// depends on it are one.
type Sessions interface {
	// Find looks a session up by id, handle or alias; by id also archived and
	// softly deleted ones. Nil: there is none, or it is deleted for good.
	Find(r store.Reader, ref string) (*Session, error)
	// LinkedTerminals are the active terminals whose private chat this is.
	LinkedTerminals(r store.Reader, chatID string) ([]*Session, error)
	// Touch notes that something happens in a session.
	Touch(tx store.Tx, id string, at time.Time) error
	// SpawnChat makes a chat that belongs to a room, and tells of it. A name that
	// is taken gets a number. It is about ten writes of the transaction.
	SpawnChat(tx store.Tx, c Spawn) (*Session, error)
}

// Spawn is a chat to be made for a room.
type Spawn struct{ ID, Name, Parent string }

// Terminals takes what is typed into live terminals.
type Terminals interface {
	// Live says whether a terminal can take text now. It answers from memory.
	Live(id string) bool
	// Working says whether its agent is busy. It answers from memory.
	Working(id string) bool
	// Deliver returns once the live process has taken the text; an *Undelivered says
	// what is to be done if it has not. After an error, or a crash, the same ID may
	// come again. Never called in a transaction.
	Deliver(ctx context.Context, i Injection) error
}

// Announcer passes on what is not worth keeping.
type Announcer interface{ Announce(*antv1.Event) }

// Options open the room.
type Options struct {
	Main, Bulk store.DB
	Sessions   Sessions
	Now        func() time.Time
	NewID      func() string // 21 characters fit for a path
	Address    func() string // a URL at which the server can be reached, without a path
	Log        *slog.Logger
	// Retain is how long a message waits for a terminal that is not live; 0: an hour.
	Retain time.Duration
}

// Room serves MessagesService, ParticipantsService, ReadsService, LinksService,
// DigestService, AsksService and ShareService.
type Room struct {
	antv1.UnimplementedMessagesServiceServer
	antv1.UnimplementedParticipantsServiceServer
	antv1.UnimplementedReadsServiceServer
	antv1.UnimplementedLinksServiceServer
	antv1.UnimplementedDigestServiceServer
	antv1.UnimplementedAsksServiceServer
	antv1.UnimplementedShareServiceServer

	opt       Options
	terminals atomic.Pointer[Terminals] // nil: there are none
	announcer atomic.Pointer[Announcer] // nil: nobody listens
	answers   atomic.Pointer[Answers]   // nil: no agent asks anything
	coworkers atomic.Pointer[Coworkers] // nil: there are none
	present   presence
	lines     lines // one delivery at a time for each terminal

	base    context.Context // of the workers; ends with the room
	stop    context.CancelFunc
	wake    chan struct{}
	workers sync.WaitGroup

	mu   sync.Mutex
	held map[string]bool // bodies that are being written: not to be removed

	// jobs are what is done behind any request, such as giving a terminal what it is owed;
	// true: there is a reason to look again afterwards.
	jobs map[string]bool
}

// Open takes up deliveries and removals that a crash or a stop left unfinished.
func Open(o Options) *Room {
	if o.Retain == 0 {
		o.Retain = time.Hour
	}
	r := &Room{opt: o, wake: make(chan struct{}, 1), held: map[string]bool{}, jobs: map[string]bool{}}
	r.base, r.stop = context.WithCancel(context.Background())
	r.workers.Add(1)
	go r.work()
	return r
}

// JoinFeed gives the room its listeners.
func (r *Room) JoinFeed(a Announcer) { r.announcer.Store(&a) }

// JoinTerminals gives the room terminals, which get what they are owed.
func (r *Room) JoinTerminals(t Terminals) {
	r.terminals.Store(&t)
	r.Wake()
}

// live says whether a terminal can take text now.
func (r *Room) live(terminal string) bool {
	t := r.terminals.Load()
	return t != nil && (*t).Live(terminal)
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antv1.RegisterMessagesServiceServer(s, r)
	antv1.RegisterParticipantsServiceServer(s, r)
	antv1.RegisterReadsServiceServer(s, r)
	antv1.RegisterLinksServiceServer(s, r)
	antv1.RegisterDigestServiceServer(s, r)
	antv1.RegisterAsksServiceServer(s, r)
	antv1.RegisterShareServiceServer(s, r)
}

// Close stops the workers. What is still owed is kept.
func (r *Room) Close(ctx context.Context) error {
	r.stop()
	done := make(chan struct{})
	go func() { r.workers.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wake makes the room look at what it owes, such as when a terminal has become live.
func (r *Room) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Room) announce(e *antv1.Event) {
	if a := r.announcer.Load(); a != nil {
		(*a).Announce(e)
	}
}

var errNoMessage = fault.Missing("MESSAGE_NOT_FOUND", "message not found")

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

// nameMax bounds names of senders, roles and the like, in bytes.
const nameMax = 256

func checkName(field, value string, most int) error {
	if len(value) > most {
		return fault.BadField("value_error", field+" is too long: use "+itoa(most)+" bytes at most", field)
	}
	return nil
}
