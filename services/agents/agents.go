// Package agents knows the agent programs that run in terminals: which one it is,
// what it is doing, what it asks, and how a message is put into its screen.
//
// Calls enter by StatusService, PromptsService, AttentionService and SendsService;
// rooms hand over what terminals are owed ([Room.Deliver]). What it knows comes
// from the emulated screen, by drivers that are data. Keys are pressed only for a
// prompt that is on the screen now and that nobody has answered; a message is
// typed only where a driver sees that it arrives whole, unless its sender asked
// for raw text.
package agents

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal/driver"
)

// Session is what this room needs to know of one.
type Session struct {
	ID, Name, Type      string // Type: terminal, chat or agent
	Handle, DisplayName string
	Status, TTL         string
	CLIFlag             string
	LinkedChat          string // of a terminal
	AutoForward         bool
	Archived            bool
	Deleted             bool // softly
	Active              time.Time
}

// Sessions answers from inside a transaction.
type Sessions interface {
	// Find looks a session up by id, handle or alias; by id also archived and
	// softly deleted ones. Nil: there is none, or it is deleted for good.
	Find(r store.Reader, ref string) (*Session, error)
	// LinkedTerminals are the active terminals whose private chat this is.
	LinkedTerminals(r store.Reader, chatID string) ([]*Session, error)
	// SetCLIFlag notes which agent runs in a terminal, unless one is noted, and tells
	// of it.
	SetCLIFlag(tx store.Tx, id, flag string) error
}

// Focus is the room that holds a terminal's attention.
type Focus struct {
	Room, RoomName, Reason, SetBy string
	Expires                       time.Time
	Queue                         int
}

// Rooms is where agents are spoken of.
type Rooms interface {
	// Post posts a card into a room, such as what an agent asks, in the transaction
	// of what it tells of, and routes it nowhere. It returns the message's id.
	Post(tx store.Tx, c Card) (string, error)
	// Settle replaces the metadata of a card, and tells of it.
	Settle(tx store.Tx, room, message string, meta map[string]any) error
	// Focus returns nil for a terminal that is free.
	Focus(rd store.Reader, terminal string) (*Focus, error)
	// Wake makes the rooms look at what they owe to terminals.
	Wake()
}

// Card is a message of a terminal.
type Card struct {
	Room, Sender, Type, Format, Content string // Type: agent_event or prompt_detected
	Meta                                map[string]any
}

// Evidence takes what is known of the work in a terminal.
type Evidence interface {
	AppendTx(tx store.Tx, e Event) (*antv1.RunEvent, error)
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

// Asks are the questions of rooms.
type Asks interface {
	// Open lists those that are open behind a place, the oldest first; of one room,
	// or of all where somebody can answer.
	Open(ctx context.Context, room string, after Place, limit int) ([]Ask, error)
	// Get returns an ask in any state; nil: there is none.
	Get(ctx context.Context, id string) (*antv1.AttentionItem, error)
	// Answer answers it, once.
	Answer(ctx context.Context, q *antv1.AnswerAttentionRequest) (*antv1.AttentionItem, error)
}

// Ask is an open question, and its place in the order in which things were asked.
type Ask struct {
	Place
	Item *antv1.AttentionItem
}

// Place orders what waits for a person: by the feed's seq of the change that asked
// it, then by its number in that.
type Place struct {
	Order uint64
	N     int
}

// Hooks posts to addresses that somebody configured.
type Hooks interface {
	// Post returns once the receiver has taken the body.
	Post(ctx context.Context, url string, body []byte) error
}

// Options open the room.
type Options struct {
	DB       store.DB
	Drivers  *driver.Set
	Folder   string // where messages go that cannot be pasted; made with mode 0700
	Sessions Sessions
	Rooms    Rooms
	Evidence Evidence
	Asks     Asks
	Hooks    Hooks
	Now      func() time.Time
	NewID    func() string // 21 characters fit for a path
	Log      *slog.Logger

	after func(time.Duration) <-chan time.Time // nil: time.After
}

// Room serves StatusService, PromptsService, AttentionService and SendsService.
// Safe for concurrent use.
type Room struct {
	antv1.UnimplementedStatusServiceServer
	antv1.UnimplementedPromptsServiceServer
	antv1.UnimplementedAttentionServiceServer
	antv1.UnimplementedSendsServiceServer

	opt     Options
	base    context.Context // of the room's goroutines
	stop    context.CancelFunc
	workers sync.WaitGroup

	sends    sends
	drivers  atomic.Pointer[driver.Set]
	patterns atomic.Pointer[patterns] // nil: the bridge is off
	expiring chan struct{}            // receives when something is to expire
	posting  chan struct{}            // receives when something is to be posted to a hook

	mu        sync.Mutex
	closed    bool
	announcer Announcer         // nil: nobody listens
	agents    map[string]*agent // by the id of the terminal, while it runs
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antv1.RegisterStatusServiceServer(s, r)
	antv1.RegisterPromptsServiceServer(s, r)
	antv1.RegisterAttentionServiceServer(s, r)
	antv1.RegisterSendsServiceServer(s, r)
}
