// Package memory is the room of what the agent keeps beyond a conversation:
// memory and skills, of a project or for all of them.
//
// Calls enter by its two gRPC services; turns get tools and a part of the system
// prompt from it. The surface is files that people edit: memory is Markdown in
// .anton/memory of a project and memory/ of the data directory, a skill is a
// folder with a SKILL.md beside them. They are read anew each time, so that an
// edit by hand counts at once. What cannot be read is kept as it is and reported,
// and never reaches a model; nor does anything that looks like a secret.
package memory

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
)

// Project is what this room needs to know of one.
type Project struct{ ID, Name, Path string }

// Projects finds projects and their folders.
type Projects interface {
	// Resolve finds one by name; the empty name is the active one.
	Resolve(ctx context.Context, name string) (Project, error)
	ByID(ctx context.Context, id string) (Project, error)
	List(ctx context.Context) ([]Project, error)
	// Folder opens one's folder, which the caller closes.
	Folder(ctx context.Context, id string) (*workspace.Folder, error)
}

// Past finds what was said before.
type Past interface {
	// Find returns passages in which all words of a query are, the best first.
	// partial says that there may be more.
	Find(ctx context.Context, q Question) (found []Passage, partial bool, err error)
}

// Question is what Past is asked.
type Question struct {
	Text    string
	Project string    // name: of conversations only those in it
	Since   time.Time // zero: ever
	Limit   int
}

// Passage is something that was said.
type Passage struct {
	Source  string // conversation or room
	Session string // its id
	ID      string // of the turn or message
	Role    string
	Text    string
	At      time.Time
}

// Modes say what may be remembered.
type Modes struct {
	Memory bool // entries
	Past   bool // what was said in conversations and rooms
}

// Options open the room.
type Options struct {
	DB       store.DB
	Dir      string // the data directory; memory, skills and backups/memory are in it
	Projects Projects
	Modes    func() Modes
	Secrets  func() []string // such as keys of providers: never kept, never shown
	Now      func() time.Time
	NewID    func(prefix string) string
	Log      *slog.Logger
}

// Room serves MemoryService and SkillsService. Safe for concurrent use.
type Room struct {
	opt Options

	writing sync.Mutex // held by whoever changes a file or a skill

	mu   sync.Mutex
	past Past
	told map[string]string // problems that the log has, by path
}

// Open makes nothing: folders are made with the first file in them.
func Open(o Options) *Room { return &Room{opt: o, told: map[string]string{}} }

// Join tells the room who finds what was said. Until then there is nothing.
func (r *Room) Join(p Past) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past = p
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antonv1.RegisterMemoryServiceServer(s, memoryService{room: r})
	antonv1.RegisterSkillsServiceServer(s, skillsService{room: r})
}

// Turn is who uses the tools of this room.
type Turn struct {
	ProjectID      string
	ConversationID string // empty: nothing of the turn is kept, and nothing is remembered
	TurnID         string
}

// Tools are those of one turn: memorize, recall and recall_skill.
func (r *Room) Tools(t Turn) []agent.Tool {
	var list []agent.Tool
	m := r.opt.Modes()
	if m.Memory && t.ConversationID != "" {
		list = append(list, memorize{r, t})
	}
	if m.Memory || m.Past {
		list = append(list, recall{r, t})
	}
	return append(list, recallSkill{r, t})
}

// tell logs a problem of a file once, and again when it is another one.
func (r *Room) tell(path, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[path] == problem {
		return
	}
	if len(r.told) >= 1000 {
		clear(r.told)
	}
	if r.told[path] = problem; problem != "" {
		r.opt.Log.Warn("a file is left out of memory", "path", path, "problem", problem)
	} else {
		delete(r.told, path)
	}
}
