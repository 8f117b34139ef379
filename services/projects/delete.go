package projects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// cascadeWait bounds how long a caller waits for the conversations to go. They
// read as gone from the tombstone on; waiting only makes it plain to see.
const cascadeWait = 5 * time.Second

// remove deletes a project: from the commit on it is gone for every reader and
// its name is free. Folder and conversations are cleared away by a job.
// General stays, so the last project is never deleted (contract 1.4).
// better: the conversations are deleted, too.
func (r *Room) remove(ctx context.Context, name string) error {
	if name == general {
		return fault.New(fault.Invalid, "PROJECT_PROTECTED", "Cannot delete the General project")
	}
	id, err := r.tombstone(ctx, name)
	if err != nil {
		return err
	}
	first := r.purgeLater(id)
	timer := time.NewTimer(cascadeWait)
	defer timer.Stop()
	select {
	case <-first:
	case <-timer.C:
	case <-ctx.Done(): // it is deleted all the same
	}
	return nil
}

func (r *Room) tombstone(ctx context.Context, name string) (string, error) {
	r.folders.Lock()
	defer r.folders.Unlock()
	r.settle(ctx)
	rec, err := r.findOrAdopt(ctx, name)
	if err != nil {
		return "", err
	}
	if rec == nil {
		return "", errNoProject()
	}
	id := rec.ID
	err = r.update(ctx, func(tx store.Tx) error {
		var err error
		if rec, err = atRest(tx, id); err != nil {
			return err
		}
		rec.Intent = &intent{Act: actDelete}
		if err := records.Put(tx, rec); err != nil {
			return err
		}
		p, err := pointers.Get(tx, pointerKey)
		if err != nil || p == nil || p.ID != id {
			return err
		}
		_, err = pointers.Delete(tx, pointerKey)
		return err
	})
	if err != nil {
		return "", err
	}
	if _, err := r.finish(context.WithoutCancel(ctx), rec); err != nil {
		r.opt.Log.WarnContext(ctx, "folder of a deleted project not moved yet", "project", id, "error", err)
	}
	return id, nil
}

// purgeLater clears a deleted project away in the background, again and again
// until it is done. first is closed after the first attempt at its
// conversations, or if there will be none for now.
func (r *Room) purgeLater(id string) (first <-chan struct{}) {
	done := make(chan struct{})
	attempted := sync.OnceFunc(func() { close(done) })
	started := r.spawn(func(ctx context.Context) {
		defer attempted()
		select {
		case <-r.joined:
		default:
			attempted() // nobody to wait for
			select {
			case <-r.joined:
			case <-ctx.Done():
				return
			}
		}
		for attempt := 0; ; attempt++ {
			err := r.purge(ctx, id, attempted)
			if err == nil || ctx.Err() != nil {
				return
			}
			r.opt.Log.WarnContext(ctx, "deleted project not cleared away yet", "project", id, "error", err)
			timer := time.NewTimer(r.opt.retry(attempt))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	})
	if !started {
		attempted()
	}
	return done
}

func backoff(attempt int) time.Duration {
	return min(time.Second<<min(attempt, 10), time.Minute)
}

// purge is one attempt. Every step may have been done before.
func (r *Room) purge(ctx context.Context, id string, attempted func()) error {
	err := r.cascade(ctx, id)
	attempted()
	if err != nil {
		return fmt.Errorf("conversations: %w", err)
	}
	if err := r.dropAttachments(ctx, id); err != nil {
		return fmt.Errorf("attachments: %w", err)
	}
	if err := r.movedAside(ctx, id); err != nil {
		return fmt.Errorf("move folder: %w", err)
	}
	err = r.within(func(root *os.Root) error { return removeTree(ctx, root, trashPrefix+id) })
	if err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	return r.drop(ctx, id)
}

func (r *Room) cascade(ctx context.Context, id string) error {
	r.mu.Lock()
	c := r.conversations
	r.mu.Unlock()
	return c.DeleteProject(ctx, id)
}

// movedAside repeats the move if it failed when the project was deleted.
func (r *Room) movedAside(ctx context.Context, id string) error {
	r.folders.Lock()
	defer r.folders.Unlock()
	var rec *record
	err := r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		rec, err = records.Get(rd, key.Of(id))
		return err
	})
	if err != nil || rec == nil || !rec.unsettled() {
		return err
	}
	_, err = r.finish(ctx, rec)
	return err
}

// removeTree deletes a folder, also one whose parts are read-only, as package
// caches make them.
func removeTree(ctx context.Context, root *os.Root, name string) error {
	err := removeParts(ctx, root, name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := unlock(ctx, root, name); err != nil {
		return err
	}
	return removeParts(ctx, root, name)
}

// removeParts goes part by part, so that ctx can end it.
func removeParts(ctx context.Context, root *os.Root, name string) error {
	entries, err := fs.ReadDir(root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := root.RemoveAll(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return root.RemoveAll(name)
}

// unlock lets the owner change every folder of a tree.
func unlock(ctx context.Context, root *os.Root, name string) error {
	return fs.WalkDir(root.FS(), name, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || !d.IsDir() {
			return err
		}
		return root.Chmod(name, 0o700)
	})
}
