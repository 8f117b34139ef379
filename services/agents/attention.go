package agents

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	attentionPage = 200
	attentionMost = 1000
	nameMax       = 256  // bytes
	reasonMax     = 2000 // characters of a justification
)

// ListAttention implements antv1.AttentionServiceServer. Guests see their room.
func (r *Room) ListAttention(ctx context.Context, q *antv1.ListAttentionRequest) (*antv1.ListAttentionResponse, error) {
	limit := attentionPage
	if q.Limit != nil {
		limit = int(*q.Limit)
	}
	if limit < 1 || limit > attentionMost {
		return nil, fault.BadField("value_error", fmt.Sprintf("limit is from 1 to %d", attentionMost), "limit")
	}
	after, err := readPlace(q.Cursor)
	if err != nil {
		return nil, err
	}
	room := q.SessionId
	if by := caller.From(ctx); by.Scoped() {
		if room != "" && room != by.Room {
			return nil, reach(ctx, room)
		}
		room = by.Room
	}
	list, err := r.openPrompts(ctx, room, after, limit+1)
	if err != nil {
		return nil, err
	}
	asks, err := r.opt.Asks.Open(ctx, room, after, limit+1)
	if err != nil {
		return nil, err
	}
	list = append(list, asks...)
	slices.SortFunc(list, func(a, b Ask) int { return a.compare(b.Place) })
	out := &antv1.ListAttentionResponse{}
	for i, a := range list {
		if i == limit {
			out.Next = list[i-1].String()
			break
		}
		out.Items = append(out.Items, a.Item)
	}
	return out, nil
}

// openPrompts are the prompts that wait behind a place, of a terminal or a terminal's
// chat; of all if none is named.
func (r *Room) openPrompts(ctx context.Context, room string, after Place, limit int) (list []Ask, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		list = nil
		of, err := r.terminalsOf(rd, room)
		if err != nil {
			return err
		}
		o := store.ScanOptions{}
		if after.Order > 0 {
			o.After = key.Key(nil).Uint(after.Order)
		}
		for p, err := range prompts.ScanIndex(rd, byOpen, o) {
			if err != nil {
				return err
			}
			if room != "" && !slices.Contains(of, p.Terminal) {
				continue
			}
			list = append(list, Ask{Place{Order: p.Order}, p.item()})
			if len(list) == limit {
				return nil
			}
		}
		return nil
	})
	return list, err
}

// terminalsOf are the terminals that a session stands for: itself, and those whose
// chat it is.
func (r *Room) terminalsOf(rd store.Reader, ref string) ([]string, error) {
	if ref == "" {
		return nil, nil
	}
	s, err := r.opt.Sessions.Find(rd, ref)
	if err != nil || s == nil {
		return nil, err
	}
	of := []string{s.ID}
	linked, err := r.opt.Sessions.LinkedTerminals(rd, s.ID)
	for _, t := range linked {
		of = append(of, t.ID)
	}
	return of, err
}

func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Order, q.Order), cmp.Compare(p.N, q.N))
}

// String is the place as a cursor.
func (p Place) String() string { return fmt.Sprintf("%d.%d", p.Order, p.N) }

// readPlace reads a cursor; an empty one is the beginning.
func readPlace(cursor string) (p Place, err error) {
	if cursor == "" {
		return p, nil
	}
	if n, err := fmt.Sscanf(cursor, "%d.%d", &p.Order, &p.N); err != nil || n != 2 || p.String() != cursor || p.N < 0 {
		return p, fault.BadField("value_error", "cursor is none of this list", "cursor")
	}
	return p, nil
}

// isPrompt tells a prompt's id from that of a question in a room.
func isPrompt(id string) bool { return strings.HasPrefix(id, promptPrefix) }

// GetAttention implements antv1.AttentionServiceServer.
func (r *Room) GetAttention(ctx context.Context, q *antv1.GetAttentionRequest) (*antv1.AttentionItem, error) {
	if isPrompt(q.Id) {
		p, err := r.visible(ctx, q.Id)
		if err != nil {
			return nil, err
		}
		return p.item(), nil
	}
	return r.ask1(ctx, q.Id)
}

// visible is a prompt that the caller may see.
func (r *Room) visible(ctx context.Context, id string) (p *prompt, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		if p, err = loadPrompt(rd, id); err != nil {
			return err
		}
		if p == nil || reach(ctx, p.Terminal) != nil {
			return errNoPrompt // of another room: as if it were not there
		}
		s, err := r.opt.Sessions.Find(rd, p.Terminal)
		if err == nil && s == nil {
			err = errNoPrompt
		}
		return err
	})
	return p, err
}

// reach says why a caller has nothing to do with a terminal; nil: they have. Guests
// know the room that their token is of, and a chat is not its terminal.
func reach(ctx context.Context, terminal string) error {
	if by := caller.From(ctx); by.Scoped() && by.Room != terminal {
		return fault.New(fault.Denied, "WRONG_ROOM", "Token does not authorise this room")
	}
	return nil
}

// ask1 is a question of a room that the caller may see.
func (r *Room) ask1(ctx context.Context, id string) (*antv1.AttentionItem, error) {
	item, err := r.opt.Asks.Get(ctx, id)
	switch by := caller.From(ctx); {
	case err != nil:
		return nil, err
	case item == nil, by.Scoped() && item.SessionId != by.Room:
		return nil, errNoPrompt
	}
	return item, nil
}

// AnswerAttention implements antv1.AttentionServiceServer.
func (r *Room) AnswerAttention(ctx context.Context, q *antv1.AnswerAttentionRequest) (*antv1.AttentionItem, error) {
	switch {
	case len(q.AnsweredBy) > nameMax:
		return nil, fault.BadField("value_error", "answered_by is too long: use 256 bytes at most", "answered_by")
	case utf8.RuneCountInString(q.Justification) > reasonMax:
		return nil, fault.BadField("value_error", "justification is too long: use 2000 characters at most", "justification")
	}
	if !isPrompt(q.Id) {
		if _, err := r.ask1(ctx, q.Id); err != nil {
			return nil, err
		}
		return r.opt.Asks.Answer(ctx, q)
	}
	if _, err := r.visible(ctx, q.Id); err != nil {
		return nil, err
	}
	if err := mayType(ctx); err != nil {
		return nil, err
	}
	p, err := r.answer(ctx, q.Id, answerer{by: caller.From(ctx).As(q.AnsweredBy), source: sourceAttention, justification: q.Justification,
		choose: func(p *prompt) (decision, error) { return p.choose(q.Choice, q.Text) }})
	if err != nil {
		return nil, err
	}
	return p.item(), nil
}

// mayType says why a caller may not press keys; nil: they may.
func mayType(ctx context.Context) error {
	if by := caller.From(ctx); by.Scoped() && !by.Has(caller.Terminal) {
		return fault.New(fault.Denied, "MISSING_SCOPE", "your token does not let you type into terminals")
	}
	return nil
}
