package projects

import (
	"context"
	"time"

	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
)

// rename gives a project another name, as free as create would find it. What it
// is called already changes nothing.
func (r *Room) rename(ctx context.Context, name, requested string) (Project, error) {
	if name == general {
		return Project{}, fault.New(fault.Invalid, "PROJECT_PROTECTED", "Cannot rename the General project")
	}
	r.folders.Lock()
	defer r.folders.Unlock()
	r.settle(ctx)
	rec, err := r.findOrAdopt(ctx, name)
	if err != nil {
		return Project{}, err
	}
	if rec == nil {
		return Project{}, errNoProject()
	}
	want := workspace.FolderName(requested)
	// A folder made by hand may have a name that FolderName would not give.
	if requested == rec.Name || want == rec.Name {
		return r.project(rec), nil
	}
	d, err := r.scan()
	if err != nil {
		return Project{}, err
	}
	id := rec.ID
	err = r.update(ctx, func(tx store.Tx) error {
		var err error
		if rec, err = atRest(tx, id); err != nil {
			return err
		}
		to, err := freeName(tx, d, want, rec)
		if err != nil || to == rec.Name {
			return err
		}
		rec.Intent = &intent{Act: actRename, To: to, ToSlot: fold(to)}
		return records.Put(tx, rec)
	})
	if err != nil {
		return Project{}, err
	}
	if rec.Intent == nil {
		return r.project(rec), nil
	}
	if rec, err = r.finish(context.WithoutCancel(ctx), rec); err != nil {
		return Project{}, err
	}
	return r.project(rec), nil
}

// atRest reads a live project that no unfinished act stands in the way of.
func atRest(rd store.Reader, id string) (*record, error) {
	rec, err := byID(rd, id)
	switch {
	case err != nil:
		return nil, err
	case rec == nil:
		return nil, errNoProject()
	case rec.Intent != nil:
		return nil, fault.New(fault.Unavailable, "PROJECT_BUSY",
			"A rename of this project could not be finished yet: try again.").RetryAfter(time.Second)
	}
	return rec, nil
}
