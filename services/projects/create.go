package projects

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/workspace"
)

const (
	idPrefix    = "proj_"
	nameMax     = 48 // runes, as workspace.FolderName has it
	createTries = 3
)

// create makes a project. It never fails on the name; a taken one gets a number.
func (r *Room) create(ctx context.Context, requested string) (Project, error) {
	want := workspace.FolderName(requested)
	r.folders.Lock()
	defer r.folders.Unlock()
	r.settle(ctx)
	for try := 1; ; try++ {
		rec, err := r.createOnce(ctx, want)
		if err == nil {
			return r.project(rec), nil
		}
		// Somebody took the name by hand after the scan, or the index by another process.
		if again := errors.Is(err, errOccupied) || errors.Is(err, store.ErrUnique); !again || try == createTries {
			return Project{}, err
		}
	}
}

func (r *Room) createOnce(ctx context.Context, want string) (*record, error) {
	d, err := r.scan()
	if err != nil {
		return nil, err
	}
	rec := &record{ID: r.opt.NewID(idPrefix), Created: r.opt.Now().UnixMilli(), Intent: &intent{Act: actCreate}}
	err = r.update(ctx, func(tx store.Tx) (err error) {
		if rec.Name, err = freeName(tx, d, want, nil); err != nil {
			return err
		}
		rec.Slot = fold(rec.Name)
		return records.Put(tx, rec)
	})
	if err != nil {
		return nil, err
	}
	return r.finish(context.WithoutCancel(ctx), rec)
}

// freeName is want, or want with the first number that is free both in the
// store and on disk. What self holds itself counts as free; self may be nil.
func freeName(rd store.Reader, d disk, want string, self *record) (string, error) {
	for n := 1; ; n++ {
		name := numbered(want, n)
		holder, err := records.Lookup(rd, bySlot, key.Of(fold(name)))
		if err != nil {
			return "", err
		}
		if holder != nil && (self == nil || holder.ID != self.ID) {
			continue
		}
		if onDisk(d.names[fold(name)], self) {
			continue
		}
		return name, nil
	}
}

// onDisk says whether any of the names is somebody else's.
func onDisk(names []string, self *record) bool {
	for _, name := range names {
		if self == nil || name != self.Name {
			return true
		}
	}
	return false
}

func numbered(base string, n int) string {
	if n == 1 {
		return base
	}
	suffix := "-" + strconv.Itoa(n)
	if runes := []rune(base); len(runes)+len(suffix) > nameMax {
		base = strings.TrimRight(string(runes[:nameMax-len(suffix)]), "-._")
	}
	return base + suffix
}

// ensureGeneral makes the project that always exists, and its folder. The
// caller holds the lock.
func (r *Room) ensureGeneral(ctx context.Context) error {
	rec, err := r.find(ctx, general)
	if err != nil {
		return err
	}
	if rec != nil {
		return folderFault(r.makeDir(general))
	}
	rec = &record{ID: r.opt.NewID(idPrefix), Name: general, Created: r.opt.Now().UnixMilli(), Intent: &intent{Act: actCreate}}
	err = r.update(ctx, func(tx store.Tx) (err error) {
		if rec.Slot, err = slotFor(tx, rec.ID, general); err != nil {
			return err
		}
		return records.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	_, err = r.finish(context.WithoutCancel(ctx), rec)
	return err
}
