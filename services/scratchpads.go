package services

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"anthill/services/internal/fault"
	"anthill/services/internal/kernel"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/projects"
	"anthill/services/scratchpads"
)

// maxPads names how many scratchpads have a process at once.
const maxPads = "ANTON_SERVER_MAX_PADS"

// openScratchpads opens the room of scratchpads with its engine.
func openScratchpads(ctx context.Context, c Config, main, bulk *bolt.DB, in *projects.Room, m *models) (*scratchpads.Room, error) {
	most := kernel.MaxLive
	if s, ok := c.Getenv(maxPads); ok && strings.TrimSpace(s) != "" {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > 1000 {
			return nil, fmt.Errorf("%s must be a number from 1 to 1000, not %q", maxPads, s)
		}
		most = n
	}
	engine, err := kernel.Open(kernel.Options{Dir: filepath.Join(c.Home, "kernels"), Getenv: c.Getenv, Max: most, Log: c.Log})
	if err != nil {
		return nil, err
	}
	return scratchpads.Open(ctx, scratchpads.Options{Main: main, Bulk: bulk, Engine: engine, Projects: padProjects{in},
		Model: m.coding, Now: time.Now, NewID: newID, Log: c.Log})
}

// padProjects shows projects to the scratchpads.
type padProjects struct{ room *projects.Room }

// Resolve implements scratchpads.Projects.
func (p padProjects) Resolve(ctx context.Context, name string) (scratchpads.Project, error) {
	found, err := p.room.Resolve(ctx, name)
	if err != nil {
		return scratchpads.Project{}, err
	}
	return p.withFolder(ctx, found)
}

// ByID implements scratchpads.Projects.
func (p padProjects) ByID(ctx context.Context, id string) (scratchpads.Project, error) {
	found, ok, err := p.room.ByID(ctx, id)
	if err != nil {
		return scratchpads.Project{}, err
	}
	if !ok {
		return scratchpads.Project{}, fault.Missing("PROJECT_NOT_FOUND", "Project not found")
	}
	return p.withFolder(ctx, found)
}

// withFolder makes sure that a project has its folder.
func (p padProjects) withFolder(ctx context.Context, found projects.Project) (scratchpads.Project, error) {
	folder, err := p.room.Folder(ctx, found.ID)
	if err == nil {
		err = folder.Close()
	}
	return scratchpads.Project{ID: found.ID, Name: found.Name, Path: found.Path}, err
}

// Exists implements scratchpads.Projects.
func (p padProjects) Exists(r store.Reader, id string) (bool, error) { return p.room.Exists(r, id) }

// projectParts are what goes with a project.
type projectParts []interface {
	DeleteProject(ctx context.Context, projectID string) error
}

// DeleteProject implements projects.Conversations.
func (p projectParts) DeleteProject(ctx context.Context, projectID string) error {
	var failed []error
	for _, part := range p {
		failed = append(failed, part.DeleteProject(ctx, projectID))
	}
	return errors.Join(failed...)
}

// defaultBases are where providers are asked that a caller names without an address.
var defaultBases = map[string]string{"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com/v1"}

// coding returns who answers the code of scratchpads: the configured coding model,
// or what a caller chose instead. A configured key goes to the configured address only.
func (m *models) coding(ctx context.Context, chosen scratchpads.Coding) (scratchpads.Model, error) {
	set, err := m.settings.CodingModel(ctx)
	if err != nil {
		return scratchpads.Model{}, err
	}
	at := place{engine: set.Provider, base: set.BaseURL, key: set.APIKey, insecure: set.Insecure, firstByte: set.FirstByte, idle: set.Idle}
	own := chosen.Provider != "" && chosen.Provider != set.Provider || chosen.BaseURL != "" || chosen.APIKey != ""
	switch {
	case own:
		at = place{engine: cmp.Or(chosen.Provider, set.Provider), base: chosen.BaseURL, key: chosen.APIKey, firstByte: set.FirstByte, idle: set.Idle}
		if at.base == "" && at.engine == set.Provider {
			at.base, at.insecure = set.BaseURL, set.Insecure
		}
		at.base = cmp.Or(at.base, defaultBases[at.engine])
	case !set.Ready:
		return scratchpads.Model{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "%s", set.Problem)
	}
	if at.engine == "offline" { // its words are for people: code would take them for an answer
		return scratchpads.Model{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "No model is configured. Choose one in the settings.")
	}
	p, err := m.provider(at)
	return scratchpads.Model{Provider: p, Name: cmp.Or(chosen.Model, set.Model), Secrets: m.settings.Secrets()}, err
}
