package scratchpads

import (
	"cmp"
	"context"
	"slices"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// listMost bounds the cells of one answer, in bytes: clients of gRPC receive
// 4 MiB unless told to take more.
const listMost = 3 << 20

// ListCells implements antonv1.ScratchpadsServiceServer.
func (r *Room) ListCells(ctx context.Context, q *antonv1.ListCellsRequest) (*antonv1.ListCellsResponse, error) {
	if q.Limit < 0 || q.Before < 0 {
		field := "limit"
		if q.Before < 0 {
			field = "before"
		}
		return nil, fault.BadField("greater_than_equal", "Input should be greater than or equal to 0", field)
	}
	_, rec, err := r.known(ctx, q)
	if err != nil {
		return nil, err
	}
	from, to := window(rec, int(q.Before), int(q.Limit))
	cells, err := r.cells(ctx, rec, from, to)
	if err != nil {
		return nil, err
	}
	return &antonv1.ListCellsResponse{Cells: cells, Earlier: int32(from - rec.First)}, nil
}

// window is which cells one answer has: the newest before one that fit into it.
func window(rec *record, before, limit int) (from, to int) {
	to = rec.next()
	if before > 0 {
		to = max(min(to, before), rec.First)
	}
	size := 0
	for from = to; from > rec.First && (limit == 0 || to-from < limit); from-- {
		if size += rec.Sizes[from-1-rec.First]; size > listMost && from < to {
			break
		}
	}
	return from, to
}

// cells reads cells of a scratchpad; one that runs has what it did until now.
func (r *Room) cells(ctx context.Context, rec *record, from, to int) ([]*antonv1.Cell, error) {
	var x *run
	if p := r.present(rec.ID); p != nil {
		x = p.current() // before the store is read: what ended since is there whole
	}
	list, err := r.readCells(ctx, rec.Series, from, to)
	for _, c := range list {
		if x != nil && c.Number == x.number && c.Status == statusRunning {
			x.soFar(c)
		}
	}
	return list, err
}

// allCells is every cell that a scratchpad keeps.
func (r *Room) allCells(ctx context.Context, q address) (*record, []*antonv1.Cell, error) {
	_, rec, err := r.known(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	list, err := r.cells(ctx, rec, rec.First, rec.next())
	return rec, list, err
}

// ListScratchpads implements antonv1.ScratchpadsServiceServer.
func (r *Room) ListScratchpads(ctx context.Context, q *antonv1.ListScratchpadsRequest) (*antonv1.ListScratchpadsResponse, error) {
	proj, err := r.opt.Projects.Resolve(ctx, q.Project)
	if err != nil {
		return nil, err
	}
	list, err := r.opened(ctx, proj.ID, q.Conversation)
	if err != nil {
		return nil, err
	}
	out := &antonv1.ListScratchpadsResponse{}
	for _, rec := range list {
		pad := &antonv1.Scratchpad{Name: rec.Name, Project: proj.Name, Conversation: rec.Owner, LastUsed: timeText(rec.Used),
			Created: timeText(rec.Created), Cells: int32(len(rec.Sizes))}
		if p := r.present(rec.ID); p != nil {
			pad.Live, pad.Running = p.kernel.Live(), p.current() != nil
		}
		out.Pads = append(out.Pads, pad)
		out.Names = append(out.Names, rec.Name)
	}
	return out, nil
}

// opened are the open scratchpads of an owner in a project, by name.
func (r *Room) opened(ctx context.Context, projectID, owner string) (list []*record, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		list, err = ofProject(rd, projectID)
		return err
	})
	list = slices.DeleteFunc(list, func(rec *record) bool { return !rec.Open || rec.Owner != owner })
	slices.SortFunc(list, func(a, b *record) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}
