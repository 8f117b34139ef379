package scratchpads

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/kernel"
)

const (
	codeMost        = 256 << 10 // bytes
	descriptionMost = 2000      // characters
	packagesMost    = 50
)

// ExecuteCell implements antonv1.ScratchpadsServiceServer.
func (r *Room) ExecuteCell(ctx context.Context, q *antonv1.ExecuteCellRequest) (*antonv1.ExecuteCellResponse, error) {
	x, err := r.execute(ctx, q, q)
	if err != nil {
		return nil, err
	}
	c, err := x.cell(ctx)
	if err != nil {
		return nil, err
	}
	return &antonv1.ExecuteCellResponse{Cell: c}, nil
}

// StreamCell implements antonv1.ScratchpadsServiceServer.
func (r *Room) StreamCell(q *antonv1.StreamCellRequest, s grpc.ServerStreamingServer[antonv1.CellEvent]) error {
	x, err := r.execute(s.Context(), q, &antonv1.ExecuteCellRequest{Name: q.Name, Code: q.Code, Description: q.Description,
		EstimatedTime: q.EstimatedTime, EstimatedSeconds: q.EstimatedSeconds, Project: q.Project, Conversation: q.Conversation,
		Packages: q.Packages})
	if err != nil {
		return err
	}
	return x.follow(s.Context(), s.Send)
}

// execute begins a cell. It returns once the cell is in the store and runs.
func (r *Room) execute(ctx context.Context, at address, q *antonv1.ExecuteCellRequest) (*run, error) {
	if err := checkCell(q); err != nil {
		return nil, err
	}
	_, rec, err := r.open(ctx, at)
	if err != nil {
		return nil, err
	}
	p, err := r.enter(ctx, rec)
	if err != nil {
		return nil, err
	}
	x, err := r.begin(ctx, p, q)
	if err != nil {
		p.leave()
	}
	return x, err
}

func checkCell(q *antonv1.ExecuteCellRequest) error {
	switch {
	case len(q.GetCode()) > codeMost:
		return fault.BadField("string_too_long", "A cell has at most 256 KiB of code", "code")
	case utf8.RuneCountInString(q.Description) > descriptionMost:
		return fault.BadField("string_too_long", "String should have at most 2000 characters", "description")
	case utf8.RuneCountInString(q.EstimatedTime) > descriptionMost:
		return fault.BadField("string_too_long", "String should have at most 2000 characters", "estimated_time")
	case !(q.EstimatedSeconds >= 0) || math.IsInf(q.EstimatedSeconds, 0):
		return fault.BadField("greater_than_equal", "Input should be greater than or equal to 0", "estimated_seconds")
	}
	return checkPackages(q.Packages)
}

func checkPackages(packages []string) error {
	if len(packages) > packagesMost {
		return fault.BadField("too_long", "At most 50 packages at a time", "packages")
	}
	for i, name := range packages {
		if !kernel.ValidPackage(name) {
			return fault.BadField("value_error", "Input should be the name of a package, such as numpy or pandas>=2: no address, path or option",
				"packages", strconv.Itoa(i))
		}
	}
	return nil
}

// begin notes a cell and runs it. The caller holds the turn of p, which from
// here on is the cell's if there is no error.
func (r *Room) begin(ctx context.Context, p *pad, q *antonv1.ExecuteCellRequest) (*run, error) {
	proj, err := r.opt.Projects.ByID(ctx, p.projectID) // it may have another name by now
	if err != nil {
		return nil, err
	}
	// What a process needs is missing before there is a cell, or not at all.
	if _, err := p.kernel.Start(ctx, place(proj, p.name)); err != nil {
		return nil, told(err)
	}
	if err := r.admit(p); err != nil {
		return nil, err
	}
	rec, c, err := r.noteBegin(context.WithoutCancel(ctx), p, q)
	if err != nil {
		r.runs.Done()
		return nil, err
	}
	run, cancel := context.WithCancelCause(r.base)
	x := newRun(c, cancel)
	p.runs(x)
	go func() {
		defer r.runs.Done()
		defer cancel(nil)
		res, err := p.kernel.Run(run, place(proj, p.name), kernel.Cell{Number: int(c.Number), Code: c.Code,
			Estimate: time.Duration(min(q.EstimatedSeconds, 1e6) * float64(time.Second)), Packages: q.Packages}, x.event)
		if err != nil {
			res = kernel.Result{Status: kernel.StatusError, Error: r.untried(run, err)}
		}
		fill(c, res)
		err = r.noteEnd(context.WithoutCancel(run), p, rec, c)
		p.runs(nil)
		p.leave()
		x.end(c, err)
	}()
	return x, nil
}

// admit counts one more cell, unless there are to be no more.
func (r *Room) admit(p *pad) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closing:
		return errStopping()
	case r.pads[p.id] != p: // closed while this call waited
		return errNoPad(p.name)
	}
	r.runs.Add(1)
	return nil
}

// untried says why a cell did not run at all.
func (r *Room) untried(ctx context.Context, err error) string {
	var told *fault.Error
	var cause *kernel.Cause
	switch {
	case errors.As(err, &told):
		return told.Message
	case errors.As(err, &cause):
		return cause.Text
	}
	id := r.opt.NewID("err_")
	r.opt.Log.ErrorContext(ctx, "a cell could not be run", "id", id, "error", err)
	return "Internal error " + id
}

// noteBegin puts a new cell into the store.
func (r *Room) noteBegin(ctx context.Context, p *pad, q *antonv1.ExecuteCellRequest) (record, *antonv1.Cell, error) {
	now := r.now()
	c := &antonv1.Cell{Code: q.GetCode(), Description: q.Description, EstimatedTime: q.EstimatedTime, Status: statusRunning, Started: timeText(now)}
	if c.EstimatedTime == "" && q.EstimatedSeconds > 0 {
		c.EstimatedTime = fmt.Sprintf("%g seconds", q.EstimatedSeconds)
	}
	rec, err := r.load(ctx, p.id, p.name)
	if err != nil {
		return record{}, nil, err
	}
	c.Number = int32(rec.next())
	size, err := r.writeCell(ctx, rec.Series, c)
	if err != nil {
		return record{}, nil, err
	}
	rec, err = r.change(ctx, p.id, p.name, func(rec *record) {
		rec.Sizes = append(rec.Sizes, size)
		rec.Running, rec.Used, rec.Lost = true, now, ""
	})
	return rec, c, err
}

// noteEnd puts the end of a cell into the store, and drops what is too old to keep.
func (r *Room) noteEnd(ctx context.Context, p *pad, rec record, c *antonv1.Cell) error {
	size, err := r.writeCell(ctx, rec.Series, c)
	if err != nil {
		return err
	}
	now, first := r.now(), rec.First
	rec, err = r.change(ctx, p.id, p.name, func(rec *record) {
		rec.Sizes[len(rec.Sizes)-1] = size
		rec.Running, rec.Used = false, now
		for len(rec.Sizes) > 1 && (len(rec.Sizes) > r.opt.Keep.Cells || sum(rec.Sizes) > r.opt.Keep.Bytes) {
			rec.Sizes = rec.Sizes[1:]
			rec.First++
		}
	})
	if err == nil {
		r.dropCells(ctx, rec.Series, first, rec.First)
	}
	return err
}

func sum(list []int) (n int) {
	for _, v := range list {
		n += v
	}
	return n
}

// InstallPackages implements antonv1.ScratchpadsServiceServer.
func (r *Room) InstallPackages(ctx context.Context, q *antonv1.InstallPackagesRequest) (*antonv1.InstallPackagesResponse, error) {
	if err := checkPackages(q.Packages); err != nil {
		return nil, err
	}
	text, ok, err := r.install(ctx, q, q.Packages)
	if err != nil {
		return nil, err
	}
	return &antonv1.InstallPackagesResponse{Result: text, Ok: ok}, nil
}

// install installs packages into an open scratchpad. text says what happened.
func (r *Room) install(ctx context.Context, at address, packages []string) (text string, ok bool, err error) {
	_, rec, err := r.open(ctx, at)
	if err != nil {
		return "", false, err
	}
	p, err := r.enter(ctx, rec)
	if err != nil {
		return "", false, err
	}
	defer p.leave()
	proj, err := r.opt.Projects.ByID(ctx, p.projectID)
	if err != nil {
		return "", false, err
	}
	if text, ok, err = p.kernel.Install(ctx, place(proj, p.name), packages); err != nil {
		return "", false, told(err)
	}
	now := r.now()
	_, err = r.change(ctx, p.id, p.name, func(rec *record) { rec.Used = now })
	return text, ok, err
}
