package services

import (
	"context"
	"time"

	"anthill/services/conversations"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
	"anthill/services/memory"
	"anthill/services/projects"
	"anthill/services/search"
	"anthill/services/settings"
)

// openMemory opens the room of memory and skills over the data directory and the
// projects.
func openMemory(c Config, main store.DB, p *projects.Room, set *settings.Room) *memory.Room {
	return memory.Open(memory.Options{DB: main, Dir: c.Home, Projects: memoryProjects{p}, Secrets: set.Secrets,
		Modes: func() memory.Modes {
			m, past := set.Remembering()
			return memory.Modes{Memory: m, Past: past}
		}, Now: time.Now, NewID: newID, Log: c.Log})
}

// memoryProjects shows projects to the room of memory.
type memoryProjects struct{ room *projects.Room }

// Resolve implements memory.Projects.
func (p memoryProjects) Resolve(ctx context.Context, name string) (memory.Project, error) {
	found, err := p.room.Resolve(ctx, name)
	return memory.Project{ID: found.ID, Name: found.Name, Path: found.Path}, err
}

// ByID implements memory.Projects.
func (p memoryProjects) ByID(ctx context.Context, id string) (memory.Project, error) {
	found, ok, err := p.room.ByID(ctx, id)
	if err == nil && !ok {
		err = fault.Missing("PROJECT_NOT_FOUND", "Project not found")
	}
	return memory.Project{ID: found.ID, Name: found.Name, Path: found.Path}, err
}

// List implements memory.Projects.
func (p memoryProjects) List(ctx context.Context) ([]memory.Project, error) {
	list, err := p.room.List(ctx)
	out := make([]memory.Project, len(list))
	for i, f := range list {
		out[i] = memory.Project{ID: f.ID, Name: f.Name, Path: f.Path}
	}
	return out, err
}

// Folder implements memory.Projects.
func (p memoryProjects) Folder(ctx context.Context, id string) (*workspace.Folder, error) {
	return p.room.Folder(ctx, id)
}

// pastFor finds for the memory what was said.
type pastFor struct{ room *search.Room }

// Find implements memory.Past.
func (p pastFor) Find(ctx context.Context, q memory.Question) ([]memory.Passage, bool, error) {
	list, partial, err := p.room.Past(ctx, search.Question(q))
	out := make([]memory.Passage, len(list))
	for i, f := range list {
		out[i] = memory.Passage(f)
	}
	return out, partial, err
}

// lessonsFor takes what turns teach into memory.
type lessonsFor struct{ room *memory.Room }

// Learn implements conversations.Memory.
func (l lessonsFor) Learn(ctx context.Context, t conversations.Learned) error {
	return l.room.Learn(ctx, memory.Turn{ProjectID: t.ProjectID, ConversationID: t.ConversationID, TurnID: t.TurnID}, t.Lessons)
}
