package conversations

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/events"
	"anthill/services/internal/store"
)

// sealAll ends every turn that no process runs any more. Call it before any
// turn can begin.
func (r *Room) sealAll(ctx context.Context) error {
	var orphans []*turnRecord
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		orphans = nil
		for t, err := range turns.ScanIndex(rd, "running", store.ScanOptions{}) {
			if err != nil {
				return err
			}
			orphans = append(orphans, t)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range orphans {
		if err := r.sealOrphan(ctx, t); err != nil {
			return fmt.Errorf("turn %s: %w", t.ID, err)
		}
		r.opt.Log.Info("sealed an interrupted turn", "turn", t.ID, "conversation", t.ConvID)
	}
	return nil
}

// ending is the end that a log already has.
func (f *fold) ending() ending {
	end := ending{status: f.resp.Status, reason: f.resp.IncompleteReason}
	if end.status == statusCancelled {
		end.hold = heldCancelled
	}
	return end
}

// sealOrphan ends a turn that a crash cut: what its log holds is kept, what is
// open is closed, and its end says interrupted. If the crash came between log
// and record, the record is given the end that the log has.
func (r *Room) sealOrphan(ctx context.Context, t *turnRecord) error {
	f := newFold(t)
	next, reserved := uint64(0), uint64(firstReserve)
	for {
		entries, res, err := events.ReadChunk(ctx, r.opt.Bulk, logPrefix(t.ID), next)
		if err != nil {
			return err
		}
		reserved = max(reserved, res)
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			ev, err := decodeEvent(e)
			if err != nil {
				return err
			}
			f.apply(ev)
			next = e.Seq + 1
		}
	}
	if f.ended {
		return r.endRecord(ctx, t, f.ending(), int32(next-1))
	}
	past, err := r.history(ctx, t.ConvKey, &t.Ordinal)
	if err != nil {
		return err
	}
	// Seqs up to the reservation may have been shown without being on disk.
	log := events.NewLive(r.opt.Bulk, logPrefix(t.ID), reserved, reserved)
	if next == 0 {
		// The created event follows from the record, so writing it again is not a new one.
		if err := r.writeCreated(ctx, t); err != nil {
			return err
		}
	}
	rec := newRecorder(ctx, r, t, log)
	rec.fold = f
	for _, p := range past {
		rec.rows += uint64(len(p.messages))
		for _, m := range p.messages {
			if m.Role == agent.RoleAssistant {
				rec.said += len(m.Text)
			}
		}
	}
	return r.seal(ctx, rec, incomplete(reasonInterrupted, nil))
}

func (r *Room) writeCreated(ctx context.Context, t *turnRecord) error {
	log := events.NewLive(r.opt.Bulk, logPrefix(t.ID), 0, firstReserve)
	options := &antonv1.RequestOptions{}
	if err := proto.Unmarshal(t.Options, options); err != nil {
		return fmt.Errorf("options of the turn: %w", err)
	}
	ev := createdEvent(t, options)
	if err := log.Append(ctx, func(seq uint64) []byte { return encodeEvent(ev, seq) }); err != nil {
		return err
	}
	return log.Flush(ctx)
}

func decodeEvent(e store.Entry) (*antonv1.ResponseEvent, error) {
	ev := &antonv1.ResponseEvent{}
	if err := proto.Unmarshal(e.Event, ev); err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Seq, err)
	}
	return ev, nil
}
