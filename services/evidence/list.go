package evidence

import (
	"context"
	"math"
	"slices"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/since"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Limits of a page, and of one look at the store, so that none is long.
const (
	limitDefault = 200
	limitMax     = 1000
	pageBytes    = 3 << 20 // gRPC clients take 4 MiB
	queryMax     = 1000
	lookRows     = 2000
	lookBytes    = 4 << 20
)

// search is what is looked for, and how far it has come: events with low < id <
// high, from the high end unless up is set.
type search struct {
	session   string
	low, high uint32
	up        bool
	since     int64 // ms
	source    string
	kind      string
	q         string // in lower case
	limit     int

	found []*row
	size  int
	more  bool // some that fit were left
	done  bool
}

// ListRunEvents implements antv1.RunEventsServiceServer.
func (r *Room) ListRunEvents(ctx context.Context, q *antv1.ListRunEventsRequest) (*antv1.ListRunEventsResponse, error) {
	w, err := r.readSearch(q)
	if err != nil {
		return nil, err
	}
	out := &antv1.ListRunEventsResponse{SinceMs: float64(w.since), Limit: int32(w.limit)}
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		asked, owner, err := r.find(rd, q.SessionId, caller.From(ctx))
		if err != nil {
			return err
		}
		st, err := loadState(rd, owner.ID)
		out.SessionId, out.TerminalId, w.session = asked.ID, owner.ID, owner.ID
		w.high = min(w.high, st.Next) // what comes meanwhile is of the next page
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Older, out.Newer = w.high, max(w.low, w.high-1)
	if w.up {
		out.Older = w.low + 1
	}
	for !w.done {
		if err := r.opt.DB.View(ctx, w.look); err != nil {
			return nil, err
		}
	}
	if !w.up {
		slices.Reverse(w.found)
	}
	for _, e := range w.found {
		out.Events = append(out.Events, e.view())
	}
	out.Count, out.HasMore = int32(len(w.found)), w.more
	if n := len(w.found); n > 0 {
		out.Older = w.found[0].ID
		if w.up && w.more {
			out.Newer = w.found[n-1].ID
		}
	}
	return out, nil
}

// readSearch checks a request as far as it can be checked by itself.
func (r *Room) readSearch(q *antv1.ListRunEventsRequest) (*search, error) {
	w := &search{high: math.MaxUint32, source: q.Source, kind: q.Kind, q: strings.ToLower(q.Q), limit: limitDefault}
	if q.Limit != nil {
		w.limit = int(*q.Limit)
	}
	if w.limit < 1 || w.limit > limitMax {
		return nil, fault.BadField("value_error", "limit is a number from 1 to 1000", "limit")
	}
	if q.Source != "" && !slices.Contains(sources, q.Source) {
		return nil, fault.BadField("value_error", "source is "+strings.Join(sources, ", "), "source")
	}
	if len(q.Kind) > kindMax {
		return nil, fault.BadField("value_error", "kind is too long: 64 bytes at most", "kind")
	}
	if len(q.Q) > queryMax {
		return nil, fault.BadField("value_error", "q is too long: 1000 bytes at most", "q")
	}
	if q.After != nil {
		w.low, w.up = *q.After, true
	}
	if q.Before != nil {
		w.high = max(*q.Before, 1)
	}
	switch now := r.opt.Now(); {
	case q.Since != "":
		var ok bool
		if w.since, ok = since.Parse(q.Since, now); !ok {
			return nil, fault.BadField("value_error",
				"since is a span such as 5m, 1h or 1d, milliseconds since 1970, or a time such as 2026-01-31T12:00:00Z", "since")
		}
	case q.After == nil && q.Before == nil:
		w.since = now.Add(-since.LastHour).UnixMilli()
	}
	return w, nil
}

// look goes through some more events.
func (w *search) look(rd store.Reader) error {
	if w.low >= w.high || w.low+1 == w.high {
		w.done = true
		return nil
	}
	rows, size := 0, 0
	for k, b := range rd.Scan(store.Range{Start: rowKey(w.session, w.low+1), End: rowKey(w.session, w.high), Reverse: !w.up}) {
		if rows == lookRows || size >= lookBytes {
			return nil
		}
		id, err := idOf(k)
		if err != nil {
			return err
		}
		e, err := decodeRow(w.session, id, b)
		if err != nil {
			return err
		}
		if w.take(e, len(b)); w.done {
			return nil
		}
		if w.up {
			w.low = id
		} else {
			w.high = id
		}
		rows, size = rows+1, size+len(b)
	}
	w.done = true
	return nil
}

// take adds an event to the page if it fits, and says when there is enough.
func (w *search) take(e *row, size int) {
	switch {
	case e.At < w.since:
		w.done = !w.up // all others are older
	case !w.fits(e):
	case len(w.found) == w.limit || len(w.found) > 0 && w.size+size > pageBytes:
		w.more, w.done = true, true
	default:
		w.found = append(w.found, e)
		w.size += size
	}
}

func (w *search) fits(e *row) bool {
	return (w.source == "" || e.Source == w.source) && (w.kind == "" || e.Kind == w.kind) &&
		(w.q == "" || strings.Contains(strings.ToLower(e.Text), w.q) || strings.Contains(strings.ToLower(string(e.Payload)), w.q))
}

// idOf is the number at the end of a row's key.
func idOf(k []byte) (uint32, error) {
	p := key.Parse(k)
	p.Str()
	p.Str()
	id := p.Uint()
	return uint32(id), p.Err()
}
