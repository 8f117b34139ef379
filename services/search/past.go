package search

import (
	"context"
	"time"

	"anthill/services/internal/index"
)

// Passage is what one side said in a conversation, or a message of a room.
type Passage struct {
	Source  string // conversation or room
	Session string // id of the conversation or room
	ID      string // of the turn or message
	Role    string
	Text    string
	At      time.Time
}

// Question is what Past looks for.
type Question struct {
	Text    string
	Project string    // name; of conversations only those in it
	Since   time.Time // zero: ever
	Limit   int       // of each source
}

// pastPages bounds the pages of hits that are read for one question.
const pastPages = 4

// Past finds what was said in conversations and rooms, newest first in each: the
// lines of turns that have all words, or any of them if none has all, and
// messages that have all. partial says that there may be more.
func (r *Room) Past(ctx context.Context, q Question) (found []Passage, partial bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+budget)
	defer cancel()
	for _, look := range []func(context.Context, Question) ([]Passage, bool, error){r.pastTurns, r.pastMessages} {
		some, less, err := look(ctx, q)
		if err != nil {
			return nil, false, err
		}
		found, partial = append(found, some...), partial || less
	}
	return found, partial, nil
}

// pages hands the hits of a query to take, page by page, until it has enough.
func (f *follower) pages(ctx context.Context, q index.Query, limit int, take func([]index.Ref) (enough bool, err error)) (partial bool, err error) {
	current, err := f.ready(ctx)
	if err != nil {
		return false, err
	}
	p := index.Page{Limit: textsRead * limit}
	for range pastPages {
		hits, complete, err := f.find(ctx, q, p)
		if err != nil {
			return false, err
		}
		refs := make([]index.Ref, len(hits))
		for i, h := range hits {
			refs[i] = h.Ref
		}
		enough, err := take(refs)
		if ctx.Err() != nil {
			return true, nil
		}
		if err != nil || enough || !complete || len(hits) < p.Limit {
			return !current || !complete || enough, err
		}
		p.Below = hits[len(hits)-1].Order
	}
	return true, nil
}

func (r *Room) pastTurns(ctx context.Context, q Question) (found []Passage, partial bool, err error) {
	query, err := parse(index.Words, q.Text)
	if err != nil || query.Terms() == 0 {
		return nil, false, err
	}
	partial, err = r.conversations.pages(ctx, query, q.Limit, func(refs []index.Ref) (bool, error) {
		turns, err := r.opt.Conversations.Read(ctx, refs)
		if err != nil {
			return false, err
		}
		for _, t := range turns {
			if t == nil || t.TurnID == "" || q.Project != "" && t.Conversation.Project != q.Project || t.At.Before(q.Since) {
				continue
			}
			for _, line := range linesWith(query, t.Lines) {
				found = append(found, Passage{Source: "conversation", Session: t.Conversation.Id, ID: t.TurnID, Role: line.Role, Text: line.Text, At: t.At})
			}
		}
		return len(found) >= q.Limit, nil
	})
	return found, partial, err
}

// linesWith are the lines that have all words, or else any.
func linesWith(q index.Query, lines []Line) (with []Line) {
	best := 1
	for _, l := range lines {
		switch n := q.Having(l.Text); {
		case n > best:
			best, with = n, []Line{l}
		case n == best:
			with = append(with, l)
		}
	}
	return with
}

func (r *Room) pastMessages(ctx context.Context, q Question) (found []Passage, partial bool, err error) {
	query, err := parse(index.Parts, q.Text)
	if err != nil || query.Terms() == 0 {
		return nil, false, err
	}
	partial, err = r.messages.pages(ctx, query, q.Limit, func(refs []index.Ref) (bool, error) {
		rows, err := r.opt.Messages.Read(ctx, refs)
		if err != nil {
			return false, err
		}
		for _, m := range rows {
			if m == nil || !query.Match(m.Content) {
				continue
			}
			at, err := time.Parse(time.DateTime, m.CreatedAt)
			if err != nil {
				return false, err
			}
			if at.Before(q.Since) {
				continue
			}
			role := m.GetSenderId()
			if role == "" {
				role = m.Role
			}
			found = append(found, Passage{Source: "room", Session: m.SessionId, ID: m.Id, Role: role, Text: m.Content, At: at})
		}
		return len(found) >= q.Limit, nil
	})
	return found, partial, err
}
