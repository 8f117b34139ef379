package search

import (
	"context"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/index"
)

const (
	messagesDefault = 50
	messagesMax     = 500
	// messagesRead are messages that are read at once.
	messagesRead = 25
	// messagesSeen bounds those that are read to answer one search.
	messagesSeen = 5000
	// contentMax bounds the content of an answer, so that every client takes it.
	contentMax = 3 << 20
)

type roomsService struct {
	antv1.UnimplementedSearchServiceServer
	room *Room
}

// SearchMessages implements antv1.SearchServiceServer.
func (s roomsService) SearchMessages(ctx context.Context, q *antv1.SearchMessagesRequest) (*antv1.SearchMessagesResponse, error) {
	return s.search(ctx, "", q.Q, q.Limit)
}

// SearchRoom implements antv1.SearchServiceServer.
func (s roomsService) SearchRoom(ctx context.Context, q *antv1.SearchRoomRequest) (*antv1.SearchMessagesResponse, error) {
	id, err := s.room.opt.Messages.Room(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, fault.Missing("SEARCHED_SESSION_NOT_FOUND", "Session not found")
	}
	return s.search(ctx, id, q.Q, q.Limit)
}

func (s roomsService) search(ctx context.Context, room, text string, limit *int32) (*antv1.SearchMessagesResponse, error) {
	q, err := parse(index.Parts, text)
	if err != nil || q.Terms() == 0 {
		return &antv1.SearchMessagesResponse{}, err
	}
	// compat: ant.md 1.2, where every limit is taken.
	m := &messageSearch{room: s.room, query: q, scope: room, limit: messagesDefault, out: &antv1.SearchMessagesResponse{}}
	if limit != nil {
		m.limit = min(max(int(*limit), 1), messagesMax)
	}
	current, err := s.room.messages.ready(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if err := m.run(ctx); err != nil {
		return nil, err
	}
	if !current {
		m.partial("The index is being brought up to date: ask again in a moment.")
	}
	return m.out, nil
}

// messageSearch is one search under way.
type messageSearch struct {
	room  *Room
	query index.Query
	scope string
	limit int
	bytes int // of content in out
	out   *antv1.SearchMessagesResponse
}

// partial says why there may be more; the first reason stays.
func (m *messageSearch) partial(why string) {
	if !m.out.Partial {
		m.out.Partial, m.out.Note = true, why
	}
}

// run pages through the hits until there are enough.
func (m *messageSearch) run(ctx context.Context) error {
	p := index.Page{Scope: m.scope, Limit: m.limit}
	if !m.query.Exact() {
		p.Limit = messagesSeen
	}
	for seen := 0; seen < messagesSeen; {
		hits, complete, err := m.room.messages.find(ctx, m.query, p)
		if err != nil {
			return err
		}
		full, err := m.show(ctx, hits)
		switch {
		case err != nil:
			return err
		case full:
			return nil
		case !complete:
			m.partial("The search took too long: look for longer terms.")
			return nil
		case len(hits) < p.Limit:
			return nil
		}
		seen += len(hits)
		p.Below = hits[len(hits)-1].Order
	}
	if m.query.Indexed() {
		m.partial("Only the newest messages were looked through.")
	} else {
		m.partial("Only the newest messages were looked through: give a term of three characters or more to find older ones.")
	}
	return nil
}

// show adds what the hits are now, and says whether there is enough.
func (m *messageSearch) show(ctx context.Context, hits []index.Hit) (full bool, err error) {
	for len(hits) > 0 {
		some := hits[:min(messagesRead, len(hits))]
		hits = hits[len(some):]
		refs := make([]index.Ref, len(some))
		for i, h := range some {
			refs[i] = h.Ref
		}
		rows, err := m.room.opt.Messages.Read(ctx, refs)
		if err != nil {
			if ctx.Err() != nil {
				m.partial("The search took too long: look for longer terms.")
				return true, nil
			}
			return false, err
		}
		for _, row := range rows {
			if row == nil || !m.query.Exact() && !m.query.Match(row.Content) {
				continue
			}
			if m.bytes += len(row.Content); m.bytes > contentMax && len(m.out.Results) > 0 {
				m.partial("The messages found are too large for one answer.")
				return true, nil
			}
			row.Snippet = m.query.Snippet(row.Content)
			if m.out.Results = append(m.out.Results, row); len(m.out.Results) == m.limit {
				return true, nil
			}
		}
	}
	return false, nil
}
