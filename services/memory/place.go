package memory

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"anthill/services/internal/fault"
	"anthill/services/internal/workspace"
)

// Scopes, as the API calls them.
const (
	global  = "Global"
	project = "Project"
)

// place is where memory and skills are: the data directory, or a project.
type place struct{ project *Project } // nil: the data directory

// everyProject names all of them.
const everyProject = "all"

func (p place) scope() string {
	if p.project == nil {
		return global
	}
	return project
}

func (p place) projectID() string {
	if p.project == nil {
		return ""
	}
	return p.project.ID
}

func (p place) projectName() string {
	if p.project == nil {
		return ""
	}
	return p.project.Name
}

func (p place) projectPath() string {
	if p.project == nil {
		return ""
	}
	return p.project.Path
}

// memoryDir and skillsDir are relative to the folder of the place.
func (p place) memoryDir() string { return p.under("memory") }
func (p place) skillsDir() string { return p.under("skills") }

func (p place) under(name string) string {
	if p.project == nil {
		return name
	}
	return ".anton/" + name
}

// absolute is the path of something in the place.
func (r *Room) absolute(p place, rel string) string {
	root := r.opt.Dir
	if p.project != nil {
		root = p.project.Path
	}
	return filepath.Join(root, filepath.FromSlash(rel))
}

// within runs fn on the folder of a place.
func (r *Room) within(ctx context.Context, p place, fn func(*workspace.Folder) error) error {
	var f *workspace.Folder
	var err error
	if p.project == nil {
		f, err = workspace.Open(r.opt.Dir)
	} else {
		f, err = r.opt.Projects.Folder(ctx, p.project.ID)
	}
	if err != nil {
		return err
	}
	return errors.Join(fn(f), f.Close())
}

// wanted is what a request says about where.
type wanted struct{ scope, project, path string }

// one is the place that a request means for what it writes.
func (r *Room) one(ctx context.Context, w wanted, without string) (place, error) {
	scope := w.scope
	if scope == "" {
		if scope = without; w.project != "" || w.path != "" {
			scope = project
		}
	}
	switch {
	case strings.EqualFold(scope, global):
		return place{}, nil
	case !strings.EqualFold(scope, project):
		return place{}, fault.New(fault.Invalid, "INVALID_SCOPE", "Scope must be Global or Project")
	}
	p, err := r.named(ctx, w)
	return place{&p}, err
}

// named is one project.
func (r *Room) named(ctx context.Context, w wanted) (Project, error) {
	if w.path == "" {
		return r.opt.Projects.Resolve(ctx, w.project)
	}
	list, err := r.opt.Projects.List(ctx)
	if err != nil {
		return Project{}, err
	}
	i := slices.IndexFunc(list, func(p Project) bool { return p.Path == filepath.Clean(w.path) })
	if i < 0 {
		return Project{}, fault.Missing("PROJECT_NOT_FOUND", "Project not found")
	}
	return list[i], nil
}

// all are the places that a request shows: the projects that it means, and the
// data directory last. A path that is no project's shows none.
func (r *Room) all(ctx context.Context, name, path string) ([]place, error) {
	var projects []Project
	var err error
	switch {
	case path != "":
		if projects, err = r.opt.Projects.List(ctx); err == nil {
			projects = slices.DeleteFunc(projects, func(p Project) bool { return p.Path != filepath.Clean(path) })
		}
	case name == everyProject:
		projects, err = r.opt.Projects.List(ctx)
	default:
		projects = make([]Project, 1)
		projects[0], err = r.opt.Projects.Resolve(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	var out []place
	for _, p := range projects {
		out = append(out, place{&p})
	}
	return append(out, place{}), nil
}

// turnPlaces are those of a turn in a project.
func (r *Room) turnPlaces(ctx context.Context, projectID string) ([]place, error) {
	p, err := r.opt.Projects.ByID(ctx, projectID)
	if err != nil {
		return nil, err
	}
	return []place{{&p}, {}}, nil
}

// absent says that nothing is there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// diskFault says what a caller can do about a failure of the disk.
func diskFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Exhausted, "DISK_FULL", "No space left on the disk: free some and try again.").Because(err)
	case errors.Is(err, workspace.ErrPath), errors.Is(err, workspace.ErrSpecial), errors.Is(err, workspace.ErrIsDir), errors.Is(err, workspace.ErrNotEmpty):
		return fault.New(fault.Invalid, "INVALID_PATH", "Invalid path").Because(err)
	case errors.Is(err, workspace.ErrTooLarge):
		return fault.New(fault.Exhausted, "FILE_TOO_LARGE", "The file is too large").Because(err)
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Denied, "FILE_DENIED", "The server may not use this file").Because(err)
	case absent(err):
		return fault.Missing("FILE_NOT_FOUND", "File not found").Because(err)
	}
	return err
}
