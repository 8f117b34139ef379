package feed

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/store"
)

// Limits of one page.
const (
	defaultPage = 256     // entries of the log
	fillStep    = 16      // messages that are looked up at once
	pageBytes   = 1 << 20 // a page ends behind the event that exceeds it
)

// item is an event and about how many bytes it is.
type item struct {
	event *antv1.Event
	size  int
}

func measured(e *antv1.Event) item { return item{e, proto.Size(e) + 64} }

// Page is a piece of the log.
type Page struct {
	Events []*antv1.Event
	At     events.Cursor // everything up to here has been looked at
	End    bool          // and there was nothing behind it
}

// Read returns events behind a cursor, oldest first, looking through at most
// limit entries of the log (0: 256). If the cursor does not hold, the page begins
// with "resync" and then the oldest event. An epoch of 0 is not checked.
func (f *Feed) Read(ctx context.Context, after events.Cursor, filter Filter, limit int) (Page, error) {
	if limit <= 0 {
		limit = defaultPage
	}
	entries, head, lost, err := f.entries(ctx, after, limit)
	if err != nil {
		return Page{}, err
	}
	page := Page{At: events.Cursor{Seq: after.Seq, Epoch: head.Epoch}}
	if lost {
		oldest := max(head.First, 1)
		page.At.Seq = oldest - 1
		page.Events = append(page.Events, &antv1.Event{Seq: oldest - 1, Epoch: head.Epoch,
			Event: &antv1.Event_Resync{Resync: &antv1.Resync{OldestSeq: oldest}}})
	}
	for size := 0; len(entries) > 0 && size < pageBytes; {
		batch, n, err := f.decode(ctx, head.Epoch, entries, &filter)
		if err != nil {
			return Page{}, err
		}
		page.At.Seq = entries[n-1].Seq
		entries = entries[n:]
		for _, it := range batch {
			page.Events = append(page.Events, it.event)
			if size += it.size; size >= pageBytes {
				page.At.Seq = it.event.Seq
				break
			}
		}
	}
	page.End = page.At.Seq >= head.Last
	return page, nil
}

// entries reads the log behind a cursor, or from its beginning if the cursor
// does not hold.
func (f *Feed) entries(ctx context.Context, after events.Cursor, limit int) (list []store.Entry, head store.Head, lost bool, err error) {
	err = f.opt.DB.View(ctx, func(r store.Reader) error {
		var read []store.Entry
		read, head = r.Log(Topic, after.Seq, limit)
		lost = after.Epoch != 0 && after.Epoch != head.Epoch || after.Seq > head.Last || after.Seq+1 < head.First
		if lost {
			read, head = r.Log(Topic, 0, limit)
		}
		list = make([]store.Entry, 0, len(read))
		for _, e := range read {
			list = append(list, store.Entry{Seq: e.Seq, Event: append([]byte(nil), e.Event...)})
		}
		return nil
	})
	return list, head, lost, err
}

// Head is the cursor of the newest event.
func (f *Feed) Head(ctx context.Context) (at events.Cursor, err error) {
	err = f.opt.DB.View(ctx, func(r store.Reader) error {
		_, head := r.Log(Topic, 0, 0)
		at = events.Cursor{Seq: head.Last, Epoch: head.Epoch}
		return nil
	})
	return at, err
}

// decode turns the first n entries into events, those that filter wants (nil:
// all) and whose message still exists. n is bounded by what there is to look up.
func (f *Feed) decode(ctx context.Context, epoch uint32, entries []store.Entry, filter *Filter) (batch []item, n int, err error) {
	list := make([]*antv1.Event, 0, min(len(entries), defaultPage))
	var refs []Ref
	var runs []RunRef
	for n < len(entries) && len(refs)+len(runs) < fillStep {
		e := &antv1.Event{}
		if err := proto.Unmarshal(entries[n].Event, e); err != nil {
			return nil, 0, fmt.Errorf("%w: event %d: %w", store.ErrCorrupt, entries[n].Seq, err)
		}
		e.Seq, e.Epoch = entries[n].Seq, epoch
		n++
		if filter != nil && !filter.wants(e) {
			continue
		}
		list = append(list, e)
		if id := messageOf(e); id != "" {
			refs = append(refs, Ref{Room: e.SessionId, ID: id})
		}
		if v, ok := e.Event.(*antv1.Event_RunEventCreated); ok {
			runs = append(runs, RunRef{Room: e.SessionId, ID: v.RunEventCreated.GetEvent().GetId()})
		}
	}
	if list, err = f.fill(ctx, list, refs); err != nil {
		return nil, 0, err
	}
	if list, err = f.fillRuns(ctx, list, runs); err != nil {
		return nil, 0, err
	}
	for _, e := range list {
		batch = append(batch, measured(e))
	}
	return batch, n, nil
}

// messageOf is the id of the message that an event has to be filled in from, or
// whose text it repeats.
func messageOf(e *antv1.Event) string {
	switch v := e.Event.(type) {
	case *antv1.Event_MessageCreated:
		return v.MessageCreated.GetId()
	case *antv1.Event_MessageUpdated:
		return v.MessageUpdated.GetId()
	case *antv1.Event_AskCreated:
		return v.AskCreated.GetAsk().GetMessageId()
	case *antv1.Event_AskUpdated:
		return v.AskUpdated.GetAsk().GetMessageId()
	}
	return ""
}

// fill completes the events of messages and drops those of messages that are gone.
func (f *Feed) fill(ctx context.Context, list []*antv1.Event, refs []Ref) ([]*antv1.Event, error) {
	if len(refs) == 0 {
		return list, nil
	}
	found, err := f.opt.Messages.Messages(ctx, refs)
	if err != nil {
		return nil, err
	}
	if len(found) != len(refs) {
		return nil, fmt.Errorf("feed: %d messages for %d refs", len(found), len(refs))
	}
	out := list[:0]
	for _, e := range list {
		if messageOf(e) == "" {
			out = append(out, e)
			continue
		}
		m := found[0]
		found = found[1:]
		if m == nil {
			continue
		}
		switch v := e.Event.(type) {
		case *antv1.Event_MessageCreated:
			v.MessageCreated = m
		case *antv1.Event_MessageUpdated:
			v.MessageUpdated.Meta = m.Meta
		}
		out = append(out, e)
	}
	return out, nil
}

// fillRuns completes the events of evidence and drops those whose evidence is gone.
func (f *Feed) fillRuns(ctx context.Context, list []*antv1.Event, refs []RunRef) ([]*antv1.Event, error) {
	if len(refs) == 0 {
		return list, nil
	}
	found, err := f.opt.RunEvents.RunEvents(ctx, refs)
	if err != nil {
		return nil, err
	}
	if len(found) != len(refs) {
		return nil, fmt.Errorf("feed: %d run events for %d refs", len(found), len(refs))
	}
	out := list[:0]
	for _, e := range list {
		if v, ok := e.Event.(*antv1.Event_RunEventCreated); ok {
			v.RunEventCreated.Event = found[0]
			found = found[1:]
			if v.RunEventCreated.Event == nil {
				continue
			}
		}
		out = append(out, e)
	}
	return out, nil
}
