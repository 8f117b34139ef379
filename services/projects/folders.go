package projects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/workspace"
)

const (
	dirMode     = 0o755
	trashPrefix = ".trash-" // and the project's id: the folder of a deleted project
	adoptBatch  = 20        // records in one transaction
)

// errOccupied: something that is not a folder has the name of one.
var errOccupied = errors.New("projects: the name is taken by something that is not a folder")

// disk is what the projects folder holds.
type disk struct {
	dirs  map[string]struct{} // fit to be projects
	names map[string][]string // everything, by folded name
}

// adoptable says whether a folder of that name is shown as a project.
func adoptable(name string) bool {
	clean, err := workspace.Clean(name)
	return err == nil && clean == name && !strings.HasPrefix(name, ".") && !strings.Contains(name, "/")
}

func (r *Room) scan() (disk, error) {
	d := disk{dirs: map[string]struct{}{}, names: map[string][]string{}}
	entries, err := os.ReadDir(r.opt.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d, fmt.Errorf("projects: list folder: %w", err)
	}
	for _, e := range entries {
		d.names[fold(e.Name())] = append(d.names[fold(e.Name())], e.Name())
		if e.IsDir() && adoptable(e.Name()) {
			d.dirs[e.Name()] = struct{}{}
		}
	}
	return d, nil
}

// unknown lists the folders that belong to no record, in order.
func (d disk) unknown(known map[string]*record) []string {
	var names []string
	for name := range d.dirs {
		if known[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// known maps every name that a record lays claim to.
func (r *Room) known(ctx context.Context) (known map[string]*record, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		known = map[string]*record{}
		for rec, err := range records.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if rec.Intent != nil && rec.Intent.Moved {
				continue
			}
			if rec.Intent != nil && rec.Intent.To != "" {
				known[rec.Intent.To] = rec
			}
			// A name that was freed by a deletion may have a new owner already.
			if old := known[rec.Name]; old == nil || rec.live() {
				known[rec.Name] = rec
			}
		}
		return nil
	})
	return known, err
}

// adopt makes projects of folders that have no record. The caller holds the lock.
func (r *Room) adopt(ctx context.Context) error {
	d, err := r.scan()
	if err != nil {
		return err
	}
	known, err := r.known(ctx)
	if err != nil {
		return err
	}
	folded := map[string]*record{}
	for name, rec := range known {
		folded[fold(name)] = rec
	}
	var found []*record
	for _, name := range d.unknown(known) {
		// Where case is ignored the folder may be listed in another case than
		// the record has it.
		if rec := folded[fold(name)]; rec != nil && sameFile(r.path(rec.Name), r.path(name)) {
			continue
		}
		found = append(found, &record{ID: r.opt.NewID(idPrefix), Name: name, Created: r.opt.Now().UnixMilli()})
	}
	for batch := range slices.Chunk(found, adoptBatch) {
		err := r.update(ctx, func(tx store.Tx) error {
			for _, rec := range batch {
				slot, err := slotFor(tx, rec.ID, rec.Name)
				if err != nil {
					return err
				}
				adopted := *rec
				adopted.Slot = slot
				if err := records.Put(tx, &adopted); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settle finishes folder acts that were begun and not resolved: by a process
// that died, or before the store failed. The caller holds the lock. What cannot
// be finished is logged and waits for the next call.
func (r *Room) settle(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	var open []*record
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		open = nil
		for rec, err := range records.ScanIndex(rd, byPending, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if rec.unsettled() {
				open = append(open, rec)
			}
		}
		return nil
	})
	for _, rec := range open {
		if _, one := r.finish(ctx, rec); one != nil {
			err = errors.Join(err, fmt.Errorf("%s %s: %w", rec.Intent.Act, rec.ID, one))
		}
	}
	if err != nil {
		r.opt.Log.WarnContext(ctx, "unfinished folder acts", "error", err)
	}
}

// finish does what rec's intent says, if it is not done yet, and resolves it. A
// creation or rename that fails is taken back, so that store and folder agree
// either way. The caller holds the lock and passes a ctx that is not cancelled.
func (r *Room) finish(ctx context.Context, rec *record) (*record, error) {
	switch rec.Intent.Act {
	case actCreate:
		if err := r.makeDir(rec.Name); err != nil {
			return nil, errors.Join(folderFault(err), r.drop(ctx, rec.ID))
		}
		return r.resolve(ctx, rec.ID, func(rec *record) { rec.Intent = nil })
	case actRename:
		return r.finishRename(ctx, rec)
	case actDelete:
		if err := r.moveAside(rec); err != nil {
			return nil, folderFault(err)
		}
		return r.resolve(ctx, rec.ID, func(rec *record) { rec.Intent.Moved = true })
	}
	return nil, fmt.Errorf("projects: unknown intent %q", rec.Intent.Act)
}

func (r *Room) finishRename(ctx context.Context, rec *record) (*record, error) {
	from, to := rec.Name, rec.Intent.To
	undo := func(rec *record) { rec.Intent = nil }
	moved, err := r.moveDir(from, to)
	if err != nil {
		_, back := r.resolve(ctx, rec.ID, undo)
		return nil, errors.Join(folderFault(err), back)
	}
	done, err := r.resolve(ctx, rec.ID, func(rec *record) {
		rec.Name, rec.Slot, rec.Intent = rec.Intent.To, rec.Intent.ToSlot, nil
	})
	if err != nil && moved {
		// The store still has the old name: let its readers find the folder.
		if _, back := r.moveDir(to, from); back != nil {
			err = errors.Join(err, back)
		}
	}
	return done, err
}

// resolve commits the outcome of an act.
func (r *Room) resolve(ctx context.Context, id string, change func(*record)) (done *record, err error) {
	err = r.update(ctx, func(tx store.Tx) error {
		rec, err := records.Get(tx, key.Of(id))
		if err != nil {
			return err
		}
		if rec == nil || rec.Intent == nil {
			return fmt.Errorf("projects: %s has nothing to resolve", id)
		}
		change(rec)
		done = rec
		return records.Put(tx, rec)
	})
	return done, err
}

func (r *Room) drop(ctx context.Context, id string) error {
	return r.update(ctx, func(tx store.Tx) error {
		_, err := records.Delete(tx, key.Of(id))
		return err
	})
}

// makeDir creates a project's folder unless it exists.
func (r *Room) makeDir(name string) error {
	return r.within(func(root *os.Root) error {
		err := root.Mkdir(name, dirMode)
		if errors.Is(err, fs.ErrExist) {
			info, err := root.Lstat(name)
			if err == nil && !info.IsDir() {
				err = errOccupied
			}
			return err
		}
		return err
	})
}

// moveDir renames a folder if that is not done yet; moved says that it did. A
// folder that vanished stays so. One that has the new name already is not
// touched, and errOccupied is returned.
func (r *Room) moveDir(from, to string) (moved bool, err error) {
	err = r.within(func(root *os.Root) error {
		old, err := root.Lstat(from)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !old.IsDir() {
			return nil
		} else if err != nil {
			return err
		}
		present, err := root.Lstat(to)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !os.SameFile(old, present): // the same: only the case changes
			return errOccupied
		}
		moved = true
		return root.Rename(from, to)
	})
	return moved && err == nil, err
}

// moveAside takes the folder of a deleted project out of sight. What has its
// name after that was made by somebody else.
func (r *Room) moveAside(rec *record) error {
	return r.within(func(root *os.Root) error {
		if _, err := root.Lstat(trashPrefix + rec.ID); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		info, err := root.Lstat(rec.Name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			return nil
		} else if err != nil {
			return err
		}
		return root.Rename(rec.Name, trashPrefix+rec.ID)
	})
}

// within runs fn on the projects folder and makes what it did last.
func (r *Room) within(fn func(*os.Root) error) (err error) {
	if err := os.MkdirAll(r.opt.Dir, dirMode); err != nil {
		return err
	}
	root, err := os.OpenRoot(r.opt.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := fn(root); err != nil {
		return err
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

func sameFile(a, b string) bool {
	x, errX := os.Lstat(a)
	y, errY := os.Lstat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// update is DB.Update that tells a full disk to the caller.
func (r *Room) update(ctx context.Context, fn func(store.Tx) error) error {
	if err := r.opt.DB.Update(ctx, fn); err != nil {
		if full := diskFull(err); full != nil {
			return full
		}
		return err
	}
	return nil
}

// diskFull is the fault for err if it comes from a full disk, else nil.
func diskFull(err error) error {
	if errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Exhausted, "DISK_FULL", "No space left on the disk: free some and try again.").
			Because(err)
	}
	return nil
}

// isFull says that err comes from a full disk, whether or not a caller was told.
func isFull(err error) bool {
	f, told := errors.AsType[*fault.Error](err)
	return told && f.Reason == "DISK_FULL" || diskFull(err) != nil
}

// folderFault says what the user can do about a folder act that failed.
func folderFault(err error) error {
	if full := diskFull(err); full != nil {
		return full
	}
	switch {
	case errors.Is(err, errOccupied):
		return fault.New(fault.Precondition, "PROJECT_FOLDER_OCCUPIED",
			"The project's folder cannot be used: something else has its name.").Because(err)
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Denied, "PROJECT_FOLDER_DENIED",
			"The server may not change the projects folder.").Because(err)
	}
	return err
}
