package terminals

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// eventsKept are the events of a terminal that are kept.
const eventsKept = 10_000

// event is one thing that happened to a terminal.
type event struct {
	At   int64           `json:"at"` // ms
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

func eventsOf(id string) key.Key  { return key.Of("terminal_event").Str(id) }
func eventNext(id string) key.Key { return key.Of("terminal_event_next").Str(id) }

// happened keeps an event. It must not hold up what it tells of.
func (r *Room) happened(id, kind string, data map[string]any) {
	b, err := json.Marshal(data)
	if err == nil {
		var row []byte
		if row, err = json.Marshal(event{r.opt.Now().UnixMilli(), kind, b}); err == nil {
			err = r.opt.DB.Update(context.WithoutCancel(r.base), func(tx store.Tx) error { return r.keepEvent(tx, id, row) })
		}
	}
	if err != nil {
		r.opt.Log.Warn("an event of a terminal is not kept", "terminal", id, "kind", kind, "error", err)
	}
}

func (r *Room) keepEvent(tx store.Tx, id string, row []byte) error {
	if s, err := r.opt.Sessions.Find(tx, id); err != nil || s == nil {
		return err // it is being deleted, and its events with it
	}
	next := uint64(1)
	if b := tx.Get(eventNext(id)); b != nil {
		n, err := strconv.ParseUint(string(b), 10, 64)
		if err != nil {
			return fmt.Errorf("%w: events of terminal %s: %w", store.ErrCorrupt, id, err)
		}
		next = n
	}
	tx.Put(eventsOf(id).Uint(next), row)
	tx.Put(eventNext(id), strconv.AppendUint(nil, next+1, 10))
	if next > eventsKept {
		tx.Delete(eventsOf(id).Uint(next - eventsKept))
	}
	return nil
}

func forgetEvents(ctx context.Context, db store.DB, id string) error {
	if err := store.DeleteRange(ctx, db, store.Prefix(eventsOf(id))); err != nil {
		return err
	}
	return db.Update(ctx, func(tx store.Tx) error { tx.Delete(eventNext(id)); return nil })
}

// ListTerminalEvents implements antv1.TerminalsServiceServer.
func (r *Room) ListTerminalEvents(ctx context.Context, q *antv1.ListTerminalEventsRequest) (*antv1.ListTerminalEventsResponse, error) {
	limit, err := limitOf(q.Limit)
	if err != nil {
		return nil, err
	}
	if len(q.Kind) > nameMax {
		return nil, fault.BadField("value_error", "kind must be 256 bytes at most", "kind")
	}
	since, err := r.sinceOf(q.Since)
	if err != nil {
		return nil, err
	}
	s, err := r.find(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	v := &antv1.ListTerminalEventsResponse{SessionId: s.ID, SinceMs: float64(since), Limit: int32(limit)}
	if q.Kind != "" {
		v.Kind = proto.String(q.Kind)
	}
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		v.Rows = nil
		rng := store.Prefix(eventsOf(s.ID))
		rng.Reverse = true
		for k, b := range rd.Scan(rng) {
			row, err := eventRow(k, b)
			if err != nil || row.TsMs < float64(since) || len(v.Rows) == limit {
				return err
			}
			if q.Kind == "" || q.Kind == row.Kind {
				v.Rows = append(v.Rows, row)
			}
		}
		return nil
	})
	v.Count = int32(len(v.Rows))
	return v, err
}

func eventRow(k, b []byte) (*antv1.TerminalEvent, error) {
	p := key.Parse(k)
	_, _ = p.Str(), p.Str()
	n := p.Uint()
	var e event
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("%w: an event of a terminal: %w", store.ErrCorrupt, err)
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("%w: an event of a terminal: %w", store.ErrCorrupt, err)
	}
	return &antv1.TerminalEvent{Id: float64(n), TsMs: float64(e.At), Kind: e.Kind, Data: string(e.Data)}, nil
}
