package rooms

import (
	"context"
	"errors"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// OpenAsk is an open question as the attention list has it, and its place in the
// order in which things were asked.
type OpenAsk struct {
	Order uint64 // seq of its event in the feed
	N     int    // of that message's questions, from 0
	Item  *antv1.AttentionItem
}

// OpenAsks lists open questions behind a place, the oldest first: of one room, or of
// all rooms where somebody can answer.
func (r *Room) OpenAsks(ctx context.Context, ref string, order uint64, n, limit int) (list []OpenAsk, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		list = nil
		o := store.ScanOptions{Prefix: key.Key(nil).Str("")}
		index := "open"
		if ref != "" {
			room, err := r.opt.Sessions.Find(rd, ref)
			if err != nil || room == nil {
				return err
			}
			index, o.Prefix = "room_open", key.Key(nil).Str(room.ID)
		}
		if order > 1 {
			o.After = o.Prefix.Join(askKey(order - 1))
		}
		known := map[string]bool{}
		for set, err := range askSets.ScanIndex(rd, index, o) {
			if err != nil {
				return err
			}
			shown, looked := known[set.Room]
			if !looked && ref == "" {
				s, err := r.opt.Sessions.Find(rd, set.Room)
				if err != nil {
					return err
				}
				shown = s.active()
				known[set.Room] = shown
			}
			if !shown && ref == "" {
				continue
			}
			for i := range set.Asks {
				if set.Asks[i].Status != askOpen || set.Order == order && i <= n {
					continue
				}
				if list = append(list, OpenAsk{set.Order, i, set.item(i)}); len(list) == limit {
					return nil
				}
			}
		}
		return nil
	})
	return list, err
}

// AskItem is a question in any state as the attention list has it; nil: there is none.
func (r *Room) AskItem(ctx context.Context, id string) (item *antv1.AttentionItem, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		item = nil
		set, n, err := r.findAsk(rd, "", id)
		if err == nil {
			item = set.item(n)
		}
		return err
	})
	if f := (*fault.Error)(nil); errors.As(err, &f) && f.Kind == fault.NotFound {
		return nil, nil
	}
	return item, err
}

// dismissChoice is what is given as choice instead of an answer.
const dismissChoice = "dismiss"

// AnswerAsk answers a question of the attention list, or dismisses it, once.
func (r *Room) AnswerAsk(ctx context.Context, q *antv1.AnswerAttentionRequest) (*antv1.AttentionItem, error) {
	u := &antv1.UpdateAskRequest{AskId: q.Id, Status: askAnswered, AnsweredBy: q.AnsweredBy}
	text := orElse(q.Text, q.Choice)
	switch {
	case q.Choice == dismissChoice && q.Text == "":
		u.Status = askDismissed
	case text == "":
		return nil, fault.BadField("missing", "text required: the answer; or the choice dismiss", "text")
	default:
		u.Answer = &text
	}
	if _, err := r.UpdateAsk(ctx, u); err != nil {
		return nil, r.decided(ctx, q.Id, err)
	}
	return r.AskItem(ctx, q.Id)
}

// decided says who was first in the words of the attention list.
func (r *Room) decided(ctx context.Context, id string, err error) error {
	if f := (*fault.Error)(nil); !errors.As(err, &f) || f.Reason != "ASK_DECIDED" {
		return err
	}
	item, look := r.AskItem(ctx, id)
	if look != nil || item == nil || item.AnsweredAt == nil {
		return err
	}
	return fault.New(fault.Precondition, "PROMPT_ANSWERED", "%s has answered this already, at %s", item.GetAnsweredBy(), *item.AnsweredAt).
		With("answered_by", item.GetAnsweredBy()).With("answered_at", *item.AnsweredAt)
}

// item is one of the questions as the attention list has it.
func (s *askSet) item(n int) *antv1.AttentionItem {
	a := s.Asks[n]
	v := &antv1.AttentionItem{Id: s.id(n), Kind: "ask", SessionId: s.Room, Summary: orElse(a.Title, titleOf(a.Text)), Class: "ask", Text: a.Text,
		CreatedAt: stamp(a.Created), Default: "leave", Status: "pending", Options: []*antv1.AttentionOption{{Choice: dismissChoice, Label: "Dismiss"}}}
	if s.Message != "" {
		v.EventId, v.EventChatId = new(s.Message), new(s.Room)
	}
	if a.Status != askOpen {
		v.Status, v.AnsweredBy, v.AnsweredAt, v.Answer = "answered", new(orElse(a.EndedBy, "somebody")), new(stamp(a.Ended)), new(a.Status)
		if a.Answer != nil {
			v.Answer = new(*a.Answer)
		}
	}
	return v
}

// stamp is RFC 3339 in UTC with milliseconds.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z07:00") }
