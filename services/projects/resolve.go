package projects

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
)

func (r *Room) project(rec *record) Project {
	return Project{ID: rec.ID, Name: rec.Name, Path: r.path(rec.Name)}
}

// path needs no cleaning: the directory is absolute and a name has no separators.
func (r *Room) path(name string) string { return r.opt.Dir + string(filepath.Separator) + name }

// Lookup finds a project by its exact name inside a transaction; the empty name
// means the active one. Unlike Resolve it does not see a folder that was made
// by hand since the last listing.
func (r *Room) Lookup(rd store.Reader, name string) (Project, error) {
	find := func() (*record, error) { return byName(rd, name) }
	if name == "" {
		find = func() (*record, error) { return active(rd) }
	}
	rec, err := find()
	if err != nil {
		return Project{}, err
	}
	if rec == nil {
		return Project{}, errNoProjectNamed(name)
	}
	return r.project(rec), nil
}

// LookupID finds a project inside a transaction. It is false for one that is
// deleted, even while its rest is being cleared away: whoever checks it in the
// transaction that writes can never write into a deleted project.
func (r *Room) LookupID(rd store.Reader, id string) (Project, bool, error) {
	rec, err := byID(rd, id)
	if err != nil || rec == nil {
		return Project{}, false, err
	}
	return r.project(rec), true, nil
}

// Exists is LookupID for those who only ask.
func (r *Room) Exists(rd store.Reader, id string) (bool, error) {
	rec, err := byID(rd, id)
	return rec != nil, err
}

// ByID is LookupID in a transaction of its own.
func (r *Room) ByID(ctx context.Context, id string) (p Project, ok bool, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		p, ok, err = r.LookupID(rd, id)
		return err
	})
	return p, ok, err
}

// Resolve finds a project by its exact name, the active one if it is empty. A
// folder of that name made by hand is adopted. NotFound: PROJECT_NOT_FOUND.
func (r *Room) Resolve(ctx context.Context, name string) (Project, error) {
	if name == "" {
		return r.Active(ctx)
	}
	rec, err := r.find(ctx, name)
	if err != nil {
		return Project{}, err
	}
	if rec == nil && adoptable(name) && isDir(r.path(name)) {
		r.folders.Lock()
		defer r.folders.Unlock()
		if rec, err = r.findOrAdopt(ctx, name); err != nil {
			return Project{}, err
		}
	}
	if rec == nil {
		return Project{}, errNoProjectNamed(name)
	}
	return r.project(rec), nil
}

// find reads one record; nil: none.
func (r *Room) find(ctx context.Context, name string) (rec *record, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		rec, err = byName(rd, name)
		return err
	})
	return rec, err
}

// findOrAdopt is find under the lock, which also sees what was made by hand.
func (r *Room) findOrAdopt(ctx context.Context, name string) (*record, error) {
	rec, err := r.find(ctx, name)
	if err != nil || rec != nil || !adoptable(name) || !isDir(r.path(name)) {
		return rec, err
	}
	if err := r.adopt(ctx); err != nil {
		return nil, err
	}
	return r.find(ctx, name)
}

// Active returns the active project. If its folder was removed by hand general
// becomes active.
func (r *Room) Active(ctx context.Context) (Project, error) {
	p, err := r.activeFolder(ctx)
	if err != nil || p.Name == general || isDir(p.Path) {
		return p, err
	}
	r.folders.Lock()
	defer r.folders.Unlock()
	// Again, now that no rename is under way.
	if p, err = r.readActive(ctx); err != nil || p.Name == general || isDir(p.Path) {
		return p, err
	}
	err = r.update(ctx, func(tx store.Tx) error {
		_, err := pointers.Delete(tx, pointerKey)
		return err
	})
	if err != nil { // a full disk must not keep anyone from reading
		r.opt.Log.WarnContext(ctx, "active project not reset", "error", err)
		return r.Resolve(ctx, general)
	}
	return r.readActive(ctx)
}

func (r *Room) activeFolder(ctx context.Context) (Project, error) {
	r.folders.RLock()
	defer r.folders.RUnlock()
	return r.readActive(ctx)
}

func (r *Room) readActive(ctx context.Context) (p Project, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		p, err = r.Lookup(rd, "")
		return err
	})
	return p, err
}

// List returns the projects whose folder exists, by lowercase name. Folders
// made by hand are adopted.
func (r *Room) List(ctx context.Context) ([]Project, error) {
	list, complete, err := r.readList(ctx)
	if err != nil || complete {
		return list, err
	}
	r.folders.Lock()
	err = errors.Join(r.ensureGeneral(ctx), r.adopt(ctx))
	r.folders.Unlock()
	if err != nil { // a full disk must not keep anyone from reading
		r.opt.Log.WarnContext(ctx, "folders made by hand not adopted", "error", err)
	}
	list, _, err = r.readList(ctx)
	return list, err
}

// readList is what List says without changing anything. It is complete if no
// folder waits to be adopted and general has its folder.
func (r *Room) readList(ctx context.Context) (list []Project, complete bool, err error) {
	r.folders.RLock()
	defer r.folders.RUnlock()
	d, err := r.scan()
	if err != nil {
		return nil, false, err
	}
	known, err := r.known(ctx)
	if err != nil {
		return nil, false, err
	}
	complete = len(d.unknown(known)) == 0
	for name, rec := range known {
		if !rec.live() || rec.Name != name {
			continue
		}
		if _, ok := d.dirs[name]; !ok && name != general {
			continue
		} else if !ok {
			complete = false
		}
		list = append(list, r.project(rec))
	}
	slices.SortFunc(list, func(a, b Project) int {
		return cmp.Or(cmp.Compare(fold(a.Name), fold(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return list, complete, nil
}

// Folder opens a project's folder; one that vanished is made again. The caller
// closes it. It stays usable, and the same folder, while the project is renamed.
func (r *Room) Folder(ctx context.Context, id string) (*workspace.Folder, error) {
	f, err := r.openFolder(ctx, id)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	r.folders.Lock()
	defer r.folders.Unlock()
	r.settle(ctx)
	p, ok, err := r.ByID(ctx, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNoProject()
	}
	if err := r.makeDir(p.Name); err != nil {
		return nil, folderFault(err)
	}
	return workspace.Open(p.Path)
}

func (r *Room) openFolder(ctx context.Context, id string) (*workspace.Folder, error) {
	r.folders.RLock()
	defer r.folders.RUnlock()
	p, ok, err := r.ByID(ctx, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNoProject()
	}
	info, err := os.Lstat(p.Path)
	if err != nil {
		return nil, fmt.Errorf("projects: folder of %s: %w", id, err)
	}
	if !info.IsDir() {
		return nil, folderFault(errOccupied)
	}
	return workspace.Open(p.Path)
}
