package rooms

import (
	"context"
	"encoding/json"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

const (
	answerMax    = 4 << 10 // bytes
	titleMax     = 120     // characters of a question's title
	asksPageMax  = 200     // questions that end a page
	asksPage     = 100     // if no number is given
	asksScanMax  = 1000    // sets that are looked through for a page
	asksAtOnce   = 8       // events that fit into a message's transaction
	asksOfABatch = 16      // events of a transaction of their own
	askEvents    = 2       // of a new question: for its room, and for the attention list
)

// Status of a question.
const (
	askOpen      = "open"
	askAnswered  = "answered"
	askDismissed = "dismissed"
)

// CreateAsk implements antv1.AsksServiceServer.
func (r *Room) CreateAsk(ctx context.Context, q *antv1.CreateAskRequest) (*antv1.AskResponse, error) {
	a := ask{Text: strings.TrimSpace(orElse(q.Body, orElse(q.Question, q.Title))), For: q.AssignedTo,
		By: caller.From(ctx).As(q.CreatedBy), Status: askOpen}
	switch {
	case a.Text == "":
		return nil, fault.BadField("missing", "body required", "body")
	case len(a.Text) > askMax:
		return nil, fault.BadField("value_error", "body is too long: 2 KiB at most", "body")
	}
	if title := titleOf(q.Title); title != titleOf(a.Text) {
		a.Title = title
	}
	if err := checkName("assigned_to", a.For, nameMax); err != nil {
		return nil, err
	}
	if err := checkName("created_by", a.By, nameMax); err != nil {
		return nil, err
	}
	chance := newChance()
	var out *antv1.AskResponse
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		now := r.opt.Now()
		a.Created, a.Updated = now.UnixNano(), now.UnixNano()
		_, head := tx.Log(feed.Topic, 0, 0)
		set := &askSet{Order: head.Last + 1, Chance: chance[:askChance], Room: room.ID, Asks: []ask{a}}
		if err := askSets.Put(tx, set); err != nil {
			return err
		}
		if err := r.tellAsks(tx, set, 0, 1); err != nil {
			return err
		}
		out = &antv1.AskResponse{Ask: set.view(0)}
		return r.opt.Sessions.Touch(tx, room.ID, now)
	})
	return out, err
}

// GetAsk implements antv1.AsksServiceServer.
func (r *Room) GetAsk(ctx context.Context, q *antv1.GetAskRequest) (*antv1.AskResponse, error) {
	out := &antv1.AskResponse{}
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		set, n, err := r.findAsk(rd, q.SessionId, q.AskId)
		if err == nil {
			out.Ask = set.view(n)
		}
		return err
	})
	return out, err
}

// ListAsks implements antv1.AsksServiceServer.
func (r *Room) ListAsks(ctx context.Context, q *antv1.ListAsksRequest) (*antv1.ListAsksResponse, error) {
	p, err := readAskPage(q.Status, q.Limit, q.Cursor)
	if err != nil {
		return nil, err
	}
	var out *antv1.ListAsksResponse
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		index := "room"
		if p.status == askOpen {
			index = "room_open"
		}
		out, err = p.read(func(o store.ScanOptions) askScan {
			o.Prefix = key.Key(nil).Str(room.ID)
			if o.After != nil {
				o.After = o.Prefix.Join(o.After)
			}
			return askSets.ScanIndex(rd, index, o)
		}, func(string) (bool, error) { return true, nil })
		return err
	})
	return out, err
}

// ListAllAsks implements antv1.AsksServiceServer. Those of rooms that are archived
// or deleted are left out: nobody can answer them.
func (r *Room) ListAllAsks(ctx context.Context, q *antv1.ListAllAsksRequest) (*antv1.ListAsksResponse, error) {
	p, err := readAskPage(q.Status, q.Limit, q.Cursor)
	if err != nil {
		return nil, err
	}
	var out *antv1.ListAsksResponse
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		known := map[string]bool{}
		out, err = p.read(func(o store.ScanOptions) askScan {
			if p.status != askOpen {
				return askSets.Scan(rd, o)
			}
			o.Prefix = key.Key(nil).Str("")
			if o.After != nil {
				o.After = o.Prefix.Join(o.After)
			}
			return askSets.ScanIndex(rd, "open", o)
		}, func(room string) (bool, error) {
			shown, looked := known[room]
			if looked {
				return shown, nil
			}
			s, err := r.opt.Sessions.Find(rd, room)
			known[room] = s.active()
			return known[room], err
		})
		return err
	})
	return out, err
}

// askPage is what a page of questions is asked for.
type askPage struct {
	status string // empty: any
	limit  int
	before uint64 // order; 0: from the newest on
}

// askScan yields sets of questions, the newest first.
type askScan = func(yield func(*askSet, error) bool)

func readAskPage(status string, limit *int32, cursor string) (p askPage, err error) {
	switch status {
	case "", askOpen, askAnswered, askDismissed:
		p.status = status
	default:
		return p, fault.BadField("value_error", "status is open, answered or dismissed", "status")
	}
	if p.limit, err = pageLimit(limit, asksPage, asksPageMax); err != nil || cursor == "" {
		return p, err
	}
	w := window{}
	if err := w.fromCursor(cursor, 1<<63); err != nil || w.up || w.high == 0 {
		return p, fault.BadField("value_error", "cursor is none of this list", "cursor")
	}
	p.before = w.high
	return p, nil
}

// read takes a page of those that scan yields from rooms that are shown.
func (p askPage) read(scan func(store.ScanOptions) askScan, shown func(room string) (bool, error)) (*antv1.ListAsksResponse, error) {
	o := store.ScanOptions{Reverse: true}
	if p.before != 0 {
		o.After = askKey(p.before)
	}
	out := &antv1.ListAsksResponse{}
	scanned, last := 0, uint64(0)
	for set, err := range scan(o) {
		if err != nil {
			return nil, err
		}
		if scanned == asksScanMax || len(out.Asks) >= p.limit {
			out.HasMore, out.Older = true, olderCursor(last)
			break
		}
		scanned++
		last = set.Order
		ok, err := shown(set.Room)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		for n := range set.Asks {
			if p.status == "" || set.Asks[n].Status == p.status {
				out.Asks = append(out.Asks, set.view(n))
			}
		}
	}
	return out, nil
}

// UpdateAsk implements antv1.AsksServiceServer.
func (r *Room) UpdateAsk(ctx context.Context, q *antv1.UpdateAskRequest) (*antv1.AskResponse, error) {
	want, err := readDecision(q, caller.From(ctx))
	if err != nil {
		return nil, err
	}
	var out *antv1.AskResponse
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		set, n, err := r.findAsk(tx, q.SessionId, q.AskId)
		if err != nil {
			return err
		}
		if _, err := r.writable(tx, set.Room); err != nil {
			return err
		}
		changed, err := want.apply(&set.Asks[n], r.opt.Now().UnixNano())
		if err != nil {
			return err
		}
		out = &antv1.AskResponse{Ask: set.view(n)}
		if !changed {
			return nil
		}
		if err := askSets.Put(tx, set); err != nil {
			return err
		}
		if err := r.askEvent(tx, set, &antv1.Event{Event: &antv1.Event_AskUpdated{AskUpdated: &antv1.AskUpdated{Ask: out.Ask}}}); err != nil {
			return err
		}
		if err := r.tellItem(tx, set, n); err != nil {
			return err
		}
		return r.resolveInMeta(tx, set)
	})
	return out, err
}

// decision is what somebody says about a question.
type decision struct {
	status   string // empty: only who is to answer changes
	answer   *string
	by       string
	assigned string
}

func readDecision(q *antv1.UpdateAskRequest, by caller.Caller) (d decision, err error) {
	d = decision{status: q.Status, answer: q.Answer, by: by.As(q.AnsweredBy), assigned: q.AssignedTo}
	if d.status == "" && d.answer != nil {
		d.status = askAnswered
	}
	switch {
	case d.status != "" && d.status != askOpen && d.status != askAnswered && d.status != askDismissed:
		err = fault.BadField("value_error", "status is answered, dismissed or open", "status")
	case d.status == "" && d.assigned == "":
		err = fault.BadField("missing", "status, answer or assigned_to required", "status")
	case d.status == askOpen && d.answer != nil:
		err = fault.BadField("value_error", "answer does not go with a question that is opened again", "answer")
	case d.answer != nil && len(*d.answer) > answerMax:
		err = fault.BadField("value_error", "answer is too long: 4 KiB at most", "answer")
	}
	if err == nil {
		err = checkName("answered_by", d.by, nameMax)
	}
	if err == nil {
		err = checkName("assigned_to", d.assigned, nameMax)
	}
	return d, err
}

// apply does what was decided, unless somebody else was first.
func (d decision) apply(a *ask, now int64) (changed bool, err error) {
	if d.assigned != "" && d.assigned != orElse(a.For, "room") {
		a.For, changed = d.assigned, true
	}
	switch {
	case d.status == "" || d.status == a.Status && d.status == askOpen:
	case d.status == askOpen:
		a.Status, a.Answer, a.EndedBy, a.Ended, changed = askOpen, nil, "", 0, true
	case a.Status == askOpen:
		a.Status, a.Answer, a.EndedBy, a.Ended, changed = d.status, d.answer, d.by, now, true
	case a.Status != d.status || a.EndedBy != d.by || !sameText(a.Answer, d.answer):
		who := orElse(a.EndedBy, "somebody")
		return false, fault.New(fault.Conflict, "ASK_DECIDED", "%s has %s this question already, at %s (UTC): open it again first",
			who, a.Status, wire.Time(a.Ended)).With("status", a.Status).With("answered_by", a.EndedBy).With("answered_at", wire.Time(a.Ended))
	}
	if changed {
		a.Updated = now
	}
	return changed, nil
}

func sameText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// resolveInMeta says in the metadata of the message which of its questions are
// settled, by their places (compat: ant.md 1.2).
func (r *Room) resolveInMeta(tx store.Tx, set *askSet) error {
	if set.Seq == 0 {
		return nil
	}
	m, err := messageAt(tx, set.Room, set.Seq)
	if err != nil || m == nil {
		return err
	}
	meta, err := storedMeta(m)
	if err != nil {
		return err
	}
	settled := []int{}
	for n, a := range set.Asks {
		if a.Status != askOpen {
			settled = append(settled, n)
		}
	}
	list, err := json.Marshal(settled)
	if err != nil || string(list) == string(meta["asks_resolved"]) {
		return err
	}
	meta["asks_resolved"] = list
	if m.Meta, err = encodeMeta(meta); err != nil {
		return err
	}
	if err := putMessage(tx, m); err != nil {
		return err
	}
	return r.askEvent(tx, set, &antv1.Event{Event: &antv1.Event_MessageUpdated{MessageUpdated: &antv1.MessageUpdated{Id: m.ID, Meta: m.Meta}}})
}
