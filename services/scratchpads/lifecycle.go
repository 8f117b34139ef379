package scratchpads

import (
	"cmp"
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/kernel"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// seizeAgain is how often a call that wants to end what runs looks again.
const seizeAgain = 50 * time.Millisecond

// StartScratchpad implements antonv1.ScratchpadsServiceServer.
func (r *Room) StartScratchpad(ctx context.Context, q *antonv1.StartScratchpadRequest) (*antonv1.ScratchpadStatus, error) {
	q = proto.CloneOf(q)
	q.Name = cmp.Or(q.Name, defaultName)
	proj, rec, err := r.start(ctx, q)
	if err != nil {
		return nil, err
	}
	p, err := r.padOf(rec)
	if err != nil {
		return nil, err
	}
	python := p.kernel.Python()
	if python == "" { // else a cell may be running, and is not waited for
		if p, err = r.enter(ctx, rec); err != nil {
			return nil, err
		}
		defer p.leave()
		if python, err = p.kernel.Start(ctx, place(proj, p.name)); err != nil {
			return nil, told(err)
		}
	}
	p.mu.Lock()
	p.coding = Coding{Provider: q.CodingProvider, Model: q.CodingModel, APIKey: q.CodingApiKey, BaseURL: q.CodingBaseUrl}
	p.mu.Unlock()
	return &antonv1.ScratchpadStatus{Status: "started", Name: p.name, Project: proj.Name, Python: python}, nil
}

// told is an error of a kernel as a fault: why it was stopped is no secret.
func told(err error) error {
	if cause, ok := errors.AsType[*kernel.Cause](err); ok {
		return fault.New(fault.Precondition, "SCRATCHPAD_CLOSED", "%s", cause.Text)
	}
	return err
}

// start opens a scratchpad, which is made if there is none.
func (r *Room) start(ctx context.Context, q address) (proj Project, rec *record, err error) {
	if proj, _, err = r.find(ctx, q); err != nil {
		return Project{}, nil, err
	}
	id, series, now := r.opt.NewID("pad_"), r.opt.NewID("cells_"), r.now()
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		if exists, err := r.opt.Projects.Exists(tx, proj.ID); err != nil || !exists {
			return errors.Join(err, fault.Missing("PROJECT_NOT_FOUND", "Project not found"))
		}
		var err error
		rec, err = records.Lookup(tx, byName, nameKey(proj.ID, q.GetConversation(), q.GetName()))
		if err != nil {
			return err
		}
		if rec == nil {
			rec = &record{ID: id, ProjectID: proj.ID, Owner: q.GetConversation(), Name: q.GetName(), Created: now, Series: series, First: 1}
		}
		rec.Open, rec.Used = true, now
		return records.Put(tx, rec)
	})
	return proj, rec, err
}

// CancelCell implements antonv1.ScratchpadsServiceServer. It returns once the
// cell has ended.
func (r *Room) CancelCell(ctx context.Context, q *antonv1.CancelCellRequest) (*antonv1.ScratchpadStatus, error) {
	proj, rec, err := r.open(ctx, q)
	if err != nil {
		return nil, err
	}
	if p := r.present(rec.ID); p != nil {
		if x := p.current(); x != nil {
			x.cancel(cancelled)
			if err := x.over(ctx); err != nil {
				return nil, err
			}
		}
	}
	return &antonv1.ScratchpadStatus{Status: "cancelled", Name: rec.Name, Project: proj.Name}, nil
}

// cancelled is why a cell ends that somebody stopped.
// compat: the words of anton.md 9.
var cancelled = &kernel.Cause{Status: kernel.StatusCancelled, Text: "Cancelled by user.", Lost: lostToCancel}

// ResetScratchpad implements antonv1.ScratchpadsServiceServer.
func (r *Room) ResetScratchpad(ctx context.Context, q *antonv1.ResetScratchpadRequest) (*antonv1.ScratchpadStatus, error) {
	proj, rec, err := r.open(ctx, q)
	if err == nil {
		err = r.reset(ctx, rec)
	}
	if err != nil {
		return nil, err
	}
	return &antonv1.ScratchpadStatus{Status: "reset", Name: rec.Name, Project: proj.Name}, nil
}

func (r *Room) reset(ctx context.Context, rec *record) error {
	cause := &kernel.Cause{Status: kernel.StatusCancelled, Text: "The scratchpad was reset."}
	return r.alone(ctx, rec, cause, func(p *pad) error {
		if err := p.kernel.Stop(ctx, cause); err != nil {
			return err
		}
		series, now := r.opt.NewID("cells_"), r.now()
		var old record
		_, err := r.change(ctx, rec.ID, rec.Name, func(rec *record) {
			old = *rec
			rec.Series, rec.First, rec.Sizes, rec.Running, rec.Lost, rec.Used = series, 1, nil, false, "", now
		})
		if err == nil {
			r.dropCells(ctx, old.Series, old.First, old.next())
		}
		return err
	})
}

// CloseScratchpad implements antonv1.ScratchpadsServiceServer.
func (r *Room) CloseScratchpad(ctx context.Context, q *antonv1.CloseScratchpadRequest) (*antonv1.ScratchpadStatus, error) {
	proj, rec, err := r.open(ctx, q)
	if err != nil {
		return nil, err
	}
	// The record goes first: who begins anew meanwhile waits for the turn, and then looks.
	err = r.alone(ctx, rec, closed, func(p *pad) error {
		now := r.now()
		_, err := r.change(ctx, rec.ID, rec.Name, func(rec *record) {
			rec.Open, rec.Lost, rec.Used = false, lostToClosing, now
		})
		return errors.Join(err, r.forget(ctx, p, closed))
	})
	if err != nil {
		return nil, err
	}
	return &antonv1.ScratchpadStatus{Status: "closed", Name: rec.Name, Project: proj.Name}, nil
}

// CleanupScratchpad implements antonv1.ScratchpadsServiceServer.
func (r *Room) CleanupScratchpad(ctx context.Context, q *antonv1.CleanupScratchpadRequest) (*antonv1.ScratchpadStatus, error) {
	proj, rec, err := r.known(ctx, q)
	if err == nil {
		err = r.cleanup(ctx, proj, rec)
	}
	if err != nil {
		return nil, err
	}
	return &antonv1.ScratchpadStatus{Status: "cleaned", Name: rec.Name, Project: proj.Name}, nil
}

func (r *Room) cleanup(ctx context.Context, proj Project, rec *record) error {
	if err := r.remove(ctx, rec, "The scratchpad was removed."); err != nil {
		return err
	}
	shared, err := r.sharesPackages(ctx, rec)
	if err != nil || shared {
		return err
	}
	return r.opt.Engine.Remove(ctx, place(proj, rec.Name))
}

// sharesPackages says whether another scratchpad has the packages of one that is
// gone: an agent's, in another conversation.
func (r *Room) sharesPackages(ctx context.Context, gone *record) (shared bool, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		list, err := ofProject(rd, gone.ProjectID)
		shared = false
		for _, rec := range list {
			shared = shared || rec.Open && envName(rec.Name) == envName(gone.Name)
		}
		return err
	})
	return shared, err
}

// alone runs fn while nothing else happens in a scratchpad; a cell that runs is
// ended with cause.
func (r *Room) alone(ctx context.Context, rec *record, cause *kernel.Cause, fn func(p *pad) error) error {
	for {
		p, err := r.padOf(rec)
		if err != nil {
			return err
		}
		if err := p.seize(ctx, cause); err != nil {
			return err
		}
		if r.present(p.id) == p {
			defer p.leave()
			return fn(p)
		}
		p.leave() // forgotten meanwhile: another may have its place
	}
}

// forget gives up the kernel of a scratchpad, also when ctx has ended. The caller
// holds its turn.
func (r *Room) forget(ctx context.Context, p *pad, cause *kernel.Cause) error {
	if err := p.kernel.Forget(context.WithoutCancel(ctx), cause); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pads[p.id] == p {
		delete(r.pads, p.id)
	}
	return nil
}

// remove ends and forgets a scratchpad with its cells.
func (r *Room) remove(ctx context.Context, rec *record, why string) error {
	cause := &kernel.Cause{Status: kernel.StatusCancelled, Text: why, Now: true}
	return r.alone(ctx, rec, cause, func(p *pad) error {
		var old *record
		err := r.opt.Main.Update(ctx, func(tx store.Tx) (err error) {
			k := key.Key(nil).Str(rec.ID)
			if old, err = records.Get(tx, k); err != nil || old == nil {
				return err
			}
			_, err = records.Delete(tx, k)
			return err
		})
		if err == nil && old != nil {
			r.dropCells(ctx, old.Series, old.First, old.next())
		}
		return errors.Join(err, r.forget(ctx, p, cause))
	})
}
