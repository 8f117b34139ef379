package conversations

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

var errNoResponse = fault.Missing("RESPONSE_NOT_FOUND", "Response not found")

// turnOf finds the turn of a response; nil if there is none.
func (r *Room) turnOf(ctx context.Context, responseID string) (*turnRecord, error) {
	rest, ok := strings.CutPrefix(responseID, responsePrefix)
	if !ok {
		return nil, nil
	}
	t, err := r.turnByID(ctx, turnPrefix+rest)
	if t != nil && (t.ResponseID != responseID || t.Given) {
		t = nil
	}
	return t, err
}

// turnByID finds a turn whose conversation is there; nil if there is none.
func (r *Room) turnByID(ctx context.Context, id string) (t *turnRecord, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		if t, err = turns.Lookup(rd, "id", key.Key(nil).Str(id)); err != nil || t == nil {
			return err
		}
		c, err := conversationByID(rd, t.ConvID)
		if err != nil {
			return err
		}
		if c == nil || c.Key != t.ConvKey {
			t = nil
			return nil
		}
		v, err := r.view(rd, c)
		if v == nil {
			t = nil
		}
		return err
	})
	return t, err
}

func (r *Room) mustTurnOf(ctx context.Context, responseID string) (*turnRecord, error) {
	t, err := r.turnOf(ctx, responseID)
	if err == nil && t == nil {
		err = errNoResponse
	}
	return t, err
}

// GetResponse implements antonv1.ResponsesServiceServer.
func (r *Room) GetResponse(ctx context.Context, q *antonv1.GetResponseRequest) (*antonv1.Response, error) {
	e, err := r.queuedAs(ctx, q.ResponseId) // first, since it becomes a turn
	if err != nil {
		return nil, err
	}
	t, err := r.turnOf(ctx, q.ResponseId)
	switch {
	case err != nil:
		return nil, err
	case t == nil && e != nil:
		return queuedResponse(e), nil
	case t == nil:
		return nil, errNoResponse
	}
	return r.response(ctx, t)
}

// response is a turn as it is now; a running one with what it has said so far.
func (r *Room) response(ctx context.Context, rec *turnRecord) (*antonv1.Response, error) {
	f, err := r.folded(ctx, rec)
	if err != nil {
		return nil, err
	}
	return f.snapshot(), nil
}

// folded is what the events of a turn add up to by now.
func (r *Room) folded(ctx context.Context, rec *turnRecord) (*fold, error) {
	f := newFold(rec)
	live := r.liveTurn(rec.ID)
	for next := uint64(0); ; {
		entries, done, err := r.readTurn(ctx, rec, live, next)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			ev, err := decodeEvent(e)
			if err != nil {
				return nil, err
			}
			f.apply(ev)
			next = e.Seq + 1
		}
		if !f.ended && !done && len(entries) > 0 {
			continue
		}
		if !f.ended && live == nil {
			if gone, err := r.isGone(ctx, rec.ID); err != nil {
				return nil, err
			} else if gone {
				return nil, errNoResponse
			}
		}
		return f, nil
	}
}

// StreamResponse implements antonv1.ResponsesServiceServer.
func (r *Room) StreamResponse(q *antonv1.StreamResponseRequest, s grpc.ServerStreamingServer[antonv1.ResponseEvent]) error {
	if q.StartingAfter != nil && *q.StartingAfter < 0 {
		return fault.BadField("greater_than_equal", "Input should be greater than or equal to 0", "starting_after")
	}
	t, err := r.turnOrQueued(s.Context(), q.ResponseId)
	if err != nil {
		return err
	}
	return r.follow(s.Context(), t, r.liveTurn(t.ID), 0, func(ev *antonv1.ResponseEvent) error {
		if q.StartingAfter != nil && ev.SequenceNumber <= *q.StartingAfter {
			return nil
		}
		return s.Send(ev)
	})
}

// StopResponse implements antonv1.ResponsesServiceServer.
func (r *Room) StopResponse(ctx context.Context, q *antonv1.StopResponseRequest) (*antonv1.Response, error) {
	e, err := r.withdraw(ctx, q.ResponseId)
	if err != nil {
		return nil, err
	}
	if e != nil {
		gone := queuedResponse(e)
		gone.Status = statusCancelled
		return gone, nil
	}
	rec, err := r.mustTurnOf(ctx, q.ResponseId)
	if err != nil {
		return nil, err
	}
	if t := r.liveTurn(rec.ID); t != nil {
		if err := t.halt(ctx); err != nil {
			return nil, err
		}
	}
	return r.GetResponse(ctx, &antonv1.GetResponseRequest{ResponseId: q.ResponseId})
}

// halt stops a turn and waits until it is sealed.
func (t *turn) halt(ctx context.Context) error {
	t.cancel(errCancelled)
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// DeleteResponse implements antonv1.ResponsesServiceServer.
func (r *Room) DeleteResponse(ctx context.Context, q *antonv1.DeleteResponseRequest) (*antonv1.DeleteResponseResponse, error) {
	e, err := r.withdraw(ctx, q.ResponseId)
	if err != nil {
		return nil, err
	}
	if e != nil {
		return &antonv1.DeleteResponseResponse{Id: q.ResponseId, Object: "response", Deleted: true}, nil
	}
	rec, err := r.mustTurnOf(ctx, q.ResponseId)
	if err != nil {
		return nil, err
	}
	if t := r.liveTurn(rec.ID); t != nil {
		if err := t.halt(ctx); err != nil {
			return nil, err
		}
	}
	// A conversation without turns is nothing but a title, which says what was asked.
	if _, err := r.dropTurn(ctx, rec.ConvID, rec.ID, true); err != nil {
		return nil, err
	}
	return &antonv1.DeleteResponseResponse{Id: q.ResponseId, Object: "response", Deleted: true}, nil
}

// ListInputItems implements antonv1.ResponsesServiceServer.
func (r *Room) ListInputItems(ctx context.Context, q *antonv1.ListInputItemsRequest) (*antonv1.ListItemsResponse, error) {
	p, err := readPage(q.After, q.Limit, q.Order)
	if err != nil {
		return nil, err
	}
	t, err := r.mustTurnOf(ctx, q.ResponseId)
	if err != nil {
		return nil, err
	}
	items, err := r.givenItems(ctx, t)
	if err != nil {
		return nil, err
	}
	if p.desc {
		slices.Reverse(items)
	}
	out, found := p.cut(items)
	if !found {
		return nil, p.noSuchItem()
	}
	return out, nil
}
