// Package conversations is the room of the CoWork API where the agent answers:
// responses, the turns they run as, and the conversations that keep them.
//
// Calls enter by its two gRPC services. A turn belongs to the room, not to the
// call that began it: who hangs up stops nothing. The user's message is on disk
// before a model sees it, every event is recorded by the turn itself, and no
// stream is ever pushed to. The room never reads a file and never speaks HTTP.
package conversations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/mcp"
	"anthill/services/internal/store"
)

// Project is what this room needs to know of one.
type Project struct{ ID, Name, Path string }

// Projects answers from inside a transaction, so that a check and the write
// that depends on it are one.
type Projects interface {
	// ByName finds a project; the empty name is the active one. Nil: none.
	ByName(r store.Reader, name string) (*Project, error)
	// ByID finds a project that is not deleted. Nil: none.
	ByID(r store.Reader, id string) (*Project, error)
	// Open prepares a project's folder for a turn; close, which is called when
	// the turn has said all, frees what it took.
	Open(ctx context.Context, o Opening) (w Workspace, close func(), err error)
}

// Opening says what a workspace is for.
type Opening struct {
	ProjectID      string
	ConversationID string // empty: none, nothing of the turn is kept
	TurnID         string // empty where nothing of the turn is kept
	Title          string // of the conversation
	Turn           int    // 0-based place of the turn in it
	Question       string // what was asked
	Bare           bool   // the turn gets none of the tools
	MCP            mcp.Rule
}

// Attachments hands over the files that a request names.
type Attachments interface {
	// Attached returns them in the order of ids. What is still being read, or
	// cannot be, comes with the reason.
	Attached(ctx context.Context, projectID, conversationID string, ids []string) ([]Attached, error)
}

// Attached is one of them.
type Attached struct {
	Name, Path string // the path is relative to the project's folder
	Problem    string // why there is no text, in words for people; empty if there is
	Text       string
	Truncated  bool // the file says more
	Image      []byte
	MIME       string // of Image
}

// Dependents hold what belongs to a conversation elsewhere.
type Dependents interface {
	// DeleteConversation forgets it. Idempotent.
	DeleteConversation(ctx context.Context, conversationID string) error
	// MoveConversation takes it along to another project. Idempotent.
	MoveConversation(ctx context.Context, conversationID, projectID string) error
}

// Memory keeps what turns teach.
type Memory interface {
	// Learn takes lessons of a turn, in the background.
	Learn(ctx context.Context, l Learned) error
}

// Learned is what one turn taught, and where.
type Learned struct {
	ProjectID      string
	ConversationID string
	TurnID         string
	Lessons        []agent.Lesson
}

// Workspace is what a turn can reach of its project.
type Workspace struct {
	Tools        []agent.Tool
	Instructions string   // the project's own, for the system prompt
	Secrets      []string // of the project: no model sees them, whatever tool shows them
}

// Model is who answers a turn.
type Model struct {
	Provider agent.Provider
	Name     string
	Secrets  []string // such as its key: never shown, whoever sends them
	// Limits of the turn. Continuations are for turns whose request has no limit
	// of its own.
	Limits agent.Limits
	// Compaction of long histories; Used and Earlier are the room's.
	Compaction agent.Compaction
	Verify     bool // ask whether the work is done before a turn ends
	Learn      bool // look for what a turn teaches once it has ended
	MaxTokens  int  // of one answer, if the request does not say; 0: the provider's own limit
}

// Options open the room.
type Options struct {
	Main, Bulk store.DB
	Projects   Projects
	// Attachments may be nil: then there are none.
	Attachments Attachments
	// Dependents may be nil.
	Dependents Dependents
	// Memory may be nil: then nothing is learnt.
	Memory Memory
	// Model chooses who answers, at the time of the turn. requested may be empty.
	Model func(ctx context.Context, requested string) (Model, error)
	Now   func() time.Time
	NewID func(prefix string) string
	Log   *slog.Logger
	// Ephemeral says that the stores are in memory: nothing is to be left elsewhere.
	Ephemeral bool
	// MaxTurns bounds the turns that run at once; 0 means 256.
	MaxTurns int
}

// Room serves ResponsesService and ConversationsService.
type Room struct {
	antonv1.UnimplementedResponsesServiceServer
	antonv1.UnimplementedConversationsServiceServer

	opt       Options
	ephemeral *Room // what is in memory alone; nil in that room itself

	base context.Context // of all turns; ends with the room
	stop context.CancelCauseFunc

	mu      sync.Mutex
	live    map[string]*turn // by turn id
	held    map[string]bool  // turns that are being written: no orphans
	closing bool
	turns   sync.WaitGroup

	waiting map[string]*waiting // callers of what is in the queue, by its id

	work      chan struct{} // wakes the deletion worker
	queueWork chan struct{} // wakes the worker of the queue
	workers   sync.WaitGroup
	lessons   int // turns that are looked back at; guarded by mu
}

// Causes with which a turn is stopped.
var (
	errCancelled   = errors.New("conversations: cancelled")
	errInterrupted = errors.New("conversations: interrupted")
)

// Open seals the turns that a crash left running, so that every stored turn
// has an end, and takes up unfinished deletions.
func Open(ctx context.Context, o Options) (*Room, error) {
	if o.MaxTurns == 0 {
		o.MaxTurns = 256
	}
	r := &Room{opt: o, live: map[string]*turn{}, held: map[string]bool{}, waiting: map[string]*waiting{},
		work: make(chan struct{}, 1), queueWork: make(chan struct{}, 1)}
	r.base, r.stop = context.WithCancelCause(context.Background())
	if err := r.sealAll(ctx); err != nil {
		return nil, fmt.Errorf("seal interrupted turns: %w", err)
	}
	if err := r.dropCopies(ctx); err != nil {
		return nil, fmt.Errorf("drop unfinished copies: %w", err)
	}
	if !o.Ephemeral {
		var err error
		if r.ephemeral, err = openEphemeral(ctx, o); err != nil {
			return nil, err
		}
	}
	r.workers.Add(2)
	go r.deleteLoop()
	go r.queueLoop()
	return r, nil
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antonv1.RegisterResponsesServiceServer(s, front{r})
	antonv1.RegisterConversationsServiceServer(s, front{r})
}

// Drain refuses new turns and waits for running ones until ctx ends; what runs
// then is interrupted and sealed. When it returns, no turn runs.
func (r *Room) Drain(ctx context.Context) {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	r.settleAll(errStopping)
	if r.ephemeral != nil {
		defer r.ephemeral.Drain(ctx)
	}
	idle := make(chan struct{})
	go func() { r.turns.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		r.stop(errInterrupted)
		<-idle
	}
}

// Close drains and stops the room's workers.
func (r *Room) Close(ctx context.Context) error {
	r.Drain(ctx)
	r.stop(errInterrupted)
	r.workers.Wait()
	if r.ephemeral != nil {
		return r.ephemeral.Close(ctx)
	}
	return nil
}

// Running lists the conversations with a running turn.
func (r *Room) Running() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]string, 0, len(r.live))
	for _, t := range r.live {
		if t.started {
			ids = append(ids, t.rec.ConvID)
		}
	}
	return ids
}

func (r *Room) now() int64 { return r.opt.Now().UnixMilli() }

var (
	errNoConversation = fault.Missing("CONVERSATION_NOT_FOUND", "Conversation not found")
	errNoTurn         = fault.Missing("TURN_NOT_FOUND", "Turn not found")
)

func noProject(name string) error {
	return fault.Missing("PROJECT_NOT_FOUND", "Project not found: %s", name)
}
