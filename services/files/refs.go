package files

import (
	"context"
	"strings"
	"unicode"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

const (
	pathMax   = 4 << 10 // bytes
	noteMax   = 4 << 10
	pageBytes = 3 << 20 // of text
	shortID   = 8       // characters that clients show of an id
	idMax     = 64
)

// ListFileRefs implements antv1.FilesServiceServer.
func (r *Room) ListFileRefs(ctx context.Context, q *antv1.ListFileRefsRequest) (*antv1.ListFileRefsResponse, error) {
	limit, err := pageLimit(q.Limit)
	if err != nil {
		return nil, err
	}
	var out *antv1.ListFileRefsResponse
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antv1.ListFileRefsResponse{}
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		o, err := pageOf(room.ID, q.Cursor, limit)
		if err != nil {
			return err
		}
		size, last := 0, uint64(0)
		for f, err := range refs.ScanIndex(rd, byOrder, o) {
			if err != nil {
				return err
			}
			size += len(f.Path) + len(f.Note)
			if len(out.Refs) == limit || size > pageBytes {
				out.Newer, out.HasMore = cursor(last), true
				return nil
			}
			out.Refs, last = append(out.Refs, f.view()), f.Order
		}
		return nil
	})
	return out, err
}

// CreateFileRef implements antv1.FilesServiceServer.
func (r *Room) CreateFileRef(ctx context.Context, q *antv1.CreateFileRefRequest) (*antv1.CreateFileRefResponse, error) {
	by := caller.From(ctx).As(q.FlaggedBy)
	if err := checkWho("flagged_by", by); err != nil {
		return nil, err
	}
	switch {
	case strings.TrimSpace(q.FilePath) == "":
		return nil, fault.BadField("missing", "file_path required", "file_path")
	case len(q.FilePath) > pathMax || strings.ContainsFunc(q.FilePath, unicode.IsControl):
		return nil, fault.BadField("value_error", "file_path has 4096 bytes at most, none of them a control character", "file_path")
	case len(q.Note) > noteMax:
		return nil, fault.BadField("value_error", "note is too long: use 4 KiB at most", "note")
	}
	id := r.opt.NewID()
	var out *antv1.CreateFileRefResponse
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		t, err := totalOf(tx, room.ID)
		if err != nil {
			return err
		}
		if t.Refs >= refsMax {
			return fault.New(fault.Precondition, "FILE_REFS_FULL", "A room has %d file references at most: remove some first.", refsMax)
		}
		f := &fileRef{ID: id, Room: room.ID, By: by, Path: q.FilePath, Note: q.Note, At: r.opt.Now().UnixNano()}
		out = &antv1.CreateFileRefResponse{Ref: f.view()}
		f.Order, err = r.tell(tx, room.ID, &antv1.Event{Event: &antv1.Event_FileRefCreated{FileRefCreated: &antv1.FileRefCreated{Ref: out.Ref}}})
		if err != nil {
			return err
		}
		if err := refs.Put(tx, f); err != nil {
			return err
		}
		t.Refs++
		return totals.Put(tx, t)
	})
	return out, err
}

// tell adds an event and returns its seq.
func (r *Room) tell(tx store.Tx, room string, e *antv1.Event) (uint64, error) {
	e.SessionId, e.AtMs = room, float64(r.opt.Now().UnixMilli())
	err := feed.Append(tx, e)
	return e.Seq, err
}

// DeleteFileRef implements antv1.FilesServiceServer.
func (r *Room) DeleteFileRef(ctx context.Context, q *antv1.DeleteFileRefRequest) (*antv1.DeleteFileRefResponse, error) {
	if q.RefId == "" {
		return nil, fault.BadField("missing", "refId required", "refId")
	}
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		f, err := findRef(tx, room.ID, q.RefId)
		if err != nil || f == nil { // compat: ant.md 1.7, one that is not there is fine
			return err
		}
		t, err := totalOf(tx, room.ID)
		if err != nil {
			return err
		}
		if _, err := refs.Delete(tx, rowKey(room.ID, f.ID)); err != nil {
			return err
		}
		t.Refs--
		if err := totals.Put(tx, t); err != nil {
			return err
		}
		_, err = r.tell(tx, room.ID, &antv1.Event{Event: &antv1.Event_FileRefDeleted{FileRefDeleted: &antv1.FileRefDeleted{Id: f.ID}}})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &antv1.DeleteFileRefResponse{Ok: true}, nil
}

// findRef looks a reference of a room up by its id, or by what no other id begins
// with. Nil: there is none.
func findRef(rd store.Reader, room, id string) (*fileRef, error) {
	if len(id) > idMax {
		return nil, nil
	}
	if f, err := refs.Get(rd, rowKey(room, id)); err != nil || f != nil || len(id) < shortID {
		return f, err
	}
	begins := rowKey(room, id)
	begins = begins[:len(begins)-1] // without the end of the id
	var found *fileRef
	for f, err := range refs.Scan(rd, store.ScanOptions{Prefix: begins, Limit: 2}) {
		if err != nil {
			return nil, err
		}
		if found != nil {
			return nil, fault.New(fault.Precondition, "FILE_REF_AMBIGUOUS", "ambiguous file reference id prefix")
		}
		found = f
	}
	return found, nil
}

func (r *Room) deleteRefs(ctx context.Context, room string) error {
	for n := deleteBatch; n == deleteBatch; {
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			n = 0
			for f, err := range refs.Scan(tx, store.ScanOptions{Prefix: roomKey(room), Limit: deleteBatch}) {
				if err != nil {
					return err
				}
				if _, err := refs.Delete(tx, rowKey(room, f.ID)); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
