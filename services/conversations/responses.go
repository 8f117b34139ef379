package conversations

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// CreateResponse implements antonv1.ResponsesServiceServer.
func (r *Room) CreateResponse(q *antonv1.CreateResponseRequest, s grpc.ServerStreamingServer[antonv1.ResponseEvent]) error {
	a, err := r.check(s.Context(), q)
	if err != nil {
		return err
	}
	if !stored(a.options) {
		return r.answerUnstored(s.Context(), a, s.Send)
	}
	for {
		t, err := r.begin(s.Context(), a)
		waits, before := new(waits), new(repeated)
		switch {
		case err == nil:
			return r.follow(s.Context(), t.rec, t, 0, s.Send)
		case errors.As(err, &waits):
			return r.await(waits.entry, waits.until, s, a.options.Background)
		case errors.As(err, &before) && before.entry != nil:
			until, err := r.awaitedAgain(s.Context(), before.entry)
			if err != nil {
				return err
			}
			if until != nil {
				return r.await(before.entry, until, s, a.options.Background)
			}
		case errors.As(err, &before):
			return r.follow(s.Context(), before.turn, r.liveTurn(before.turn.ID), 0, s.Send)
		default:
			return err
		}
	}
}

// TailResponse implements antonv1.ResponsesServiceServer.
func (r *Room) TailResponse(q *antonv1.TailResponseRequest, s grpc.ServerStreamingServer[antonv1.ResponseEvent]) error {
	if q.FromSeq < 0 {
		return fault.BadField("greater_than_equal", "Input should be greater than or equal to 0", "from_seq")
	}
	rec, _, err := r.newestTurn(s.Context(), q.ConversationId)
	if err != nil {
		return err
	}
	if rec == nil {
		return fault.Missing("NO_BUFFER", "No in-flight buffer for this conversation.")
	}
	return r.follow(s.Context(), rec, r.liveTurn(rec.ID), q.FromSeq, s.Send)
}

// follow sends the events of a turn from seq from on, after its created event,
// until its last. t is nil for a turn that no longer runs.
func (r *Room) follow(ctx context.Context, rec *turnRecord, t *turn, from int32, send func(*antonv1.ResponseEvent) error) error {
	var wake <-chan struct{}
	if t != nil {
		var stop func()
		wake, stop = t.log.Watch()
		defer stop()
	}
	f := newFold(rec)
	for next := uint64(0); ; {
		entries, done, err := r.readTurn(ctx, rec, t, next)
		if err != nil {
			return err
		}
		for _, e := range entries {
			ev, err := decodeEvent(e)
			if err != nil {
				return err
			}
			f.apply(ev)
			next = e.Seq + 1
			if ev.SequenceNumber < from && ev.GetCreated() == nil {
				continue
			}
			if err := send(ev); err != nil {
				return err
			}
		}
		switch {
		case f.ended:
			return nil
		case done:
			if gone, err := r.isGone(ctx, rec.ID); err != nil {
				return err
			} else if gone {
				return errNoResponse
			}
			// The store refused the end of this turn; it is sealed at the next start.
			return fault.New(fault.Unavailable, "TURN_LOST", "The turn could not be stored to its end.")
		case len(entries) > 0:
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readTurn reads on in a turn's log, live or stored.
func (r *Room) readTurn(ctx context.Context, rec *turnRecord, t *turn, next uint64) ([]store.Entry, bool, error) {
	if t != nil {
		return t.log.Read(ctx, next)
	}
	entries, _, err := events.ReadChunk(ctx, r.opt.Bulk, logPrefix(rec.ID), next)
	return entries, len(entries) == 0, err
}

// newestTurn finds the last turn of a conversation that was asked and its 0-based index; both
// nil if there is none.
func (r *Room) newestTurn(ctx context.Context, convID string) (rec *turnRecord, index *int32, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		rec, index = nil, nil
		c, err := conversationByID(rd, convID)
		if err != nil || c == nil {
			return err
		}
		i := int32(c.Turns)
		for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: convPrefix(c), Reverse: true}) {
			if err != nil {
				return err
			}
			if i--; !t.Given {
				rec, index = t, &i
				return nil
			}
		}
		return nil
	})
	return rec, index, err
}

// GetInFlight implements antonv1.ResponsesServiceServer.
func (r *Room) GetInFlight(ctx context.Context, q *antonv1.GetInFlightRequest) (*antonv1.GetInFlightResponse, error) {
	rec, index, err := r.newestTurn(ctx, q.ConversationId)
	if err != nil || rec == nil {
		return &antonv1.GetInFlightResponse{}, err
	}
	out := &antonv1.GetInFlightResponse{HasBuffer: true, LatestSeq: rec.LastSeq, TurnId: index}
	if t := r.liveTurn(rec.ID); t != nil && rec.Status == statusRunning {
		out.InFlight, out.LatestSeq = true, latestSeq(t)
	}
	return out, nil
}

// ListInFlight implements antonv1.ResponsesServiceServer.
func (r *Room) ListInFlight(ctx context.Context, _ *antonv1.ListInFlightRequest) (*antonv1.ListInFlightResponse, error) {
	out := &antonv1.ListInFlightResponse{}
	for _, id := range r.Running() {
		rec, index, err := r.newestTurn(ctx, id)
		if err != nil {
			return nil, err
		}
		if rec == nil || rec.Status != statusRunning {
			continue
		}
		if t := r.liveTurn(rec.ID); t != nil {
			out.InFlight = append(out.InFlight, &antonv1.InFlightTurn{
				ConversationId: id, TurnId: *index, LatestSeq: latestSeq(t)})
		}
	}
	return out, nil
}

func latestSeq(t *turn) int32 { return max(0, int32(t.log.Next())-1) }

// CancelResponse implements antonv1.ResponsesServiceServer.
func (r *Room) CancelResponse(ctx context.Context, q *antonv1.CancelResponseRequest) (*antonv1.CancelResponseResponse, error) {
	stopped, err := r.cancelTurn(ctx, q.ConversationId)
	return &antonv1.CancelResponseResponse{Cancelled: stopped, ConversationId: q.ConversationId}, err
}

// cancelTurn stops what runs in a conversation and waits until it is sealed.
func (r *Room) cancelTurn(ctx context.Context, convID string) (bool, error) {
	r.mu.Lock()
	var t *turn
	for _, l := range r.live {
		if l.started && l.rec.ConvID == convID {
			t = l
		}
	}
	r.mu.Unlock()
	if t == nil {
		return false, nil
	}
	t.cancel(errCancelled)
	select {
	case <-t.done:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}
