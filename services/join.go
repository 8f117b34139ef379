package services

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"anthill/services/conversations"
	"anthill/services/internal/agent"
	"anthill/services/internal/agent/chat"
	"anthill/services/internal/agent/files"
	"anthill/services/internal/agent/offline"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/projects"
	"anthill/services/settings"
)

// projectsFor shows projects to the conversations.
type projectsFor struct {
	room *projects.Room
	log  *slog.Logger
}

// ByName implements conversations.Projects.
func (p projectsFor) ByName(r store.Reader, name string) (*conversations.Project, error) {
	found, err := p.room.Lookup(r, name)
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &conversations.Project{ID: found.ID, Name: found.Name, Path: found.Path}, nil
}

// ByID implements conversations.Projects.
func (p projectsFor) ByID(r store.Reader, id string) (*conversations.Project, error) {
	found, ok, err := p.room.LookupID(r, id)
	if err != nil || !ok {
		return nil, err
	}
	return &conversations.Project{ID: found.ID, Name: found.Name, Path: found.Path}, nil
}

// instructionsMax bounds what a project's own instructions take of a prompt.
const instructionsMax = 64 << 10

// Open implements conversations.Projects.
func (p projectsFor) Open(ctx context.Context, id string) (conversations.Workspace, func(), error) {
	folder, err := p.room.Folder(ctx, id)
	if err != nil {
		return conversations.Workspace{}, nil, err
	}
	w := conversations.Workspace{Tools: files.Tools(folder)}
	text, err := folder.ReadFile(".anton/anton.md", instructionsMax)
	switch {
	case err == nil:
		w.Instructions = string(text)
	case !errors.Is(err, fs.ErrNotExist):
		// The turn can do without; the user sees the reason in the log.
		p.log.Warn("project instructions could not be read", "project", id, "error", err)
	}
	return w, func() {
		if err := folder.Close(); err != nil {
			p.log.Warn("close project folder", "project", id, "error", err)
		}
	}, nil
}

// models chooses who answers a turn, at the time of the turn.
type models struct {
	settings *settings.Room

	mu   sync.Mutex
	last settings.Model // the provider is kept as long as its settings stay
	chat *chat.Provider
}

// choose returns the configured model, or requested instead of it.
func (m *models) choose(ctx context.Context, requested string) (conversations.Model, error) {
	set, err := m.settings.Model(ctx)
	if err != nil {
		return conversations.Model{}, err
	}
	if !set.Ready {
		return conversations.Model{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "%s", set.Problem)
	}
	if set.Provider == "offline" {
		return conversations.Model{Provider: offline.New(), Name: set.Model}, nil
	}
	p, err := m.provider(set)
	if err != nil {
		return conversations.Model{}, fault.New(fault.Invalid, "CONFIG_REQUIRED",
			"The base URL of the model provider is not valid: set ANTON_OPENAI_BASE_URL to an http or https address.").Because(err)
	}
	name := set.Model
	if requested != "" && requested != "anton" {
		name = requested
	}
	return conversations.Model{Provider: p, Name: name}, nil
}

func (m *models) provider(set settings.Model) (agent.Provider, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chat != nil && m.last.BaseURL == set.BaseURL && m.last.APIKey == set.APIKey {
		return m.chat, nil
	}
	p, err := chat.New(chat.Options{BaseURL: set.BaseURL, APIKey: set.APIKey})
	if err != nil {
		return nil, fmt.Errorf("model provider: %w", err)
	}
	m.last, m.chat = set, p
	return p, nil
}
