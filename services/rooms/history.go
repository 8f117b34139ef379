package rooms

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

const (
	pageMax      = 1000    // messages of a page
	pageDefault  = 50      // beside since, before and cursor
	contextLimit = 200     // beside agent_context
	pageBytes    = 3 << 20 // of content and metadata: gRPC clients take 4 MiB
)

// window is what a page is asked for: messages with low < seq < high, from the
// high end unless up is set.
type window struct {
	low, high uint64
	up        bool
	limit     int
}

// ListMessages implements antv1.MessagesServiceServer.
func (r *Room) ListMessages(ctx context.Context, q *antv1.ListMessagesRequest) (*antv1.ListMessagesResponse, error) {
	out := &antv1.ListMessagesResponse{}
	var page []*message
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		w, err := readWindow(rd, room, q)
		if err != nil {
			return err
		}
		var more bool
		if page, more, err = w.read(rd, room.ID); err != nil {
			return err
		}
		first, last := w.edges(page)
		out.HasMore, out.Newer, out.Older = more, newerCursor(last), ""
		if w.up && anyBefore(rd, room.ID, first) || !w.up && more {
			out.Older = olderCursor(first)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if page, err = r.fill(ctx, page); err != nil {
		return nil, err
	}
	for _, m := range page {
		out.Messages = append(out.Messages, m.view())
	}
	return out, nil
}

// readWindow finds the place in the room that a request speaks of.
func readWindow(rd store.Reader, room *Session, q *antv1.ListMessagesRequest) (w window, err error) {
	st, err := loadState(rd, room.ID)
	if err != nil {
		return w, err
	}
	w = window{high: st.LastSeq + 1, limit: pageMax}
	agent := truth(q.AgentContext) || q.Context == "agent"
	switch {
	case q.Cursor != "":
		w.limit = pageDefault
		err = w.fromCursor(q.Cursor, st.LastSeq)
	case q.GetBefore() != "":
		w.limit = pageDefault
		w.high, err = placeOf(rd, room.ID, st.LastSeq, "before", *q.Before)
	case q.GetSince() != "":
		w.limit, w.up = pageDefault, true
		w.low, err = placeOf(rd, room.ID, st.LastSeq, "since", *q.Since)
	case agent:
		w.limit = contextLimit
	}
	if err != nil {
		return w, err
	}
	if q.Limit != nil {
		if *q.Limit < 1 {
			return w, fault.BadField("value_error", "limit is a number of 1 or more", "limit")
		}
		w.limit = min(int(*q.Limit), pageMax)
	}
	if agent && !room.LongMemory {
		w.low = max(w.low, lastBreak(rd, room.ID))
	}
	return w, nil
}

func truth(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

// placeOf is the seq that since or before stands for: that of a message, or of
// the border that a time draws. A time without fractions means its whole second,
// for that is what rows show.
func placeOf(rd store.Reader, room string, last uint64, field, value string) (uint64, error) {
	if seq, ok := parseID(room, value); ok && seq <= last {
		return seq, nil
	}
	at, whole, ok := parseTime(value)
	if !ok {
		return 0, fault.BadField("value_error",
			field+" is the id of a message of this room, or a time such as 2026-01-31 12:00:00", field)
	}
	if field == "before" {
		return firstFrom(rd, room, last, at), nil
	}
	step := time.Nanosecond
	if whole {
		step = time.Second
	}
	return firstFrom(rd, room, last, at.Add(step)) - 1, nil
}

var timeLayouts = []string{time.DateTime, time.RFC3339, "2006-01-02T15:04:05", time.DateOnly}

// parseTime reads a time; whole says that it names a second and no part of one.
func parseTime(s string) (at time.Time, whole, ok bool) {
	for _, layout := range timeLayouts {
		t, err := time.Parse(layout, s) // fractions are read wherever seconds are
		if err == nil {
			return t, !strings.Contains(s, "."), t.Year() > 0 && t.Year() < 2262
		}
	}
	return time.Time{}, false, false
}

// firstFrom is the seq of the first message at or after a time, or the one behind
// the last message. Times never go back in a room, so it looks at a few only.
func firstFrom(rd store.Reader, room string, last uint64, at time.Time) uint64 {
	bound := at.UnixNano()
	if at.Year() < 1970 {
		bound = 0
	}
	low, high := uint64(1), last+1
	for low < high {
		mid := low + (high-low)/2
		seq, ns, ok := messageFrom(rd, room, mid)
		if !ok || ns >= bound {
			high = mid
		} else {
			low = seq + 1
		}
	}
	return low
}

// messageFrom is the first message with a seq of from or more.
func messageFrom(rd store.Reader, room string, from uint64) (seq uint64, ns int64, ok bool) {
	all := store.Prefix(messagesOf(room))
	for k, row := range rd.Scan(store.Range{Start: messageKey(room, from), End: all.End}) {
		seq, err := lastPart(k, 2)
		return seq, messageTime(row), err == nil
	}
	return 0, 0, false
}

// lastBreak is the seq of the newest break of a room, 0 if there is none.
func lastBreak(rd store.Reader, room string) uint64 {
	breaks := store.Prefix(breaksOf(room))
	breaks.Reverse = true
	for k := range rd.Scan(breaks) {
		seq, err := lastPart(k, 2)
		if err == nil {
			return seq
		}
	}
	return 0
}

func anyBefore(rd store.Reader, room string, seq uint64) bool {
	for range rd.Scan(store.Range{Start: messageKey(room, 0), End: messageKey(room, seq)}) {
		return true
	}
	return false
}

// read takes the messages of a window, oldest first, and says whether there are
// more in the direction it goes. Contents in the bulk store are not read.
func (w window) read(rd store.Reader, room string) (page []*message, more bool, err error) {
	if w.low+1 >= w.high {
		return nil, false, nil
	}
	size := 0
	for k, row := range rd.Scan(store.Range{Start: messageKey(room, w.low+1), End: messageKey(room, w.high), Reverse: !w.up}) {
		size += len(row) + messageSize(row)
		if len(page) == w.limit || len(page) > 0 && size > pageBytes {
			more = true
			break
		}
		seq, err := lastPart(k, 2)
		if err != nil {
			return nil, false, err
		}
		m, err := decodeMessage(room, seq, row)
		if err != nil {
			return nil, false, err
		}
		page = append(page, m)
	}
	if !w.up {
		slices.Reverse(page)
	}
	return page, more, nil
}

// edges are the seqs between which the page lies, also when it is empty.
func (w window) edges(page []*message) (first, last uint64) {
	switch {
	case len(page) > 0:
		return page[0].Seq, page[len(page)-1].Seq
	case w.up:
		return w.low + 1, w.low
	}
	return w.high, w.high - 1
}

// A cursor is a direction and the seq of the message it starts behind.
func olderCursor(seq uint64) string { return "o" + strconv.FormatUint(seq, 36) }
func newerCursor(seq uint64) string { return "n" + strconv.FormatUint(seq, 36) }

func (w *window) fromCursor(c string, last uint64) error {
	seq, err := strconv.ParseUint(c[1:], 36, 64)
	switch {
	case err == nil && c[0] == 'o' && seq <= last+1:
		w.high = seq
	case err == nil && c[0] == 'n' && seq <= last:
		w.low, w.up = seq, true
	default:
		return fault.BadField("value_error", "cursor is none of this room", "cursor")
	}
	return nil
}
