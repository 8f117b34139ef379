package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/index"
)

const (
	resultsDefault = 25
	resultsMax     = 100
	// textsRead are texts that are read for each result wanted: the newest that
	// match compete for the places.
	textsRead = 4
)

// Kinds of results. compat: anton.md 7, the client's names.
const (
	kindTask    = "task"
	kindProject = "project"
)

var kinds = []string{kindTask, kindProject}

type coworkService struct {
	antonv1.UnimplementedSearchServiceServer
	room *Room
}

// Search implements antonv1.SearchServiceServer.
func (s coworkService) Search(ctx context.Context, r *antonv1.SearchRequest) (*antonv1.SearchResponse, error) {
	limit := resultsDefault
	if r.Limit != nil {
		limit = int(*r.Limit)
	}
	if limit < 1 || limit > resultsMax {
		return nil, fault.BadField("value_error", fmt.Sprintf("Input should be between 1 and %d", resultsMax), "limit")
	}
	for i, k := range r.Kinds {
		if !slices.Contains(kinds, k) {
			return nil, fault.BadField("literal_error", "Input should be '"+strings.Join(kinds, "' or '")+"'", "kinds", fmt.Sprint(i))
		}
	}
	q, err := parse(index.Words, r.Q)
	out := &antonv1.SearchResponse{}
	if err != nil || q.Terms() == 0 {
		return out, err
	}
	wanted := func(kind string) bool { return len(r.Kinds) == 0 || slices.Contains(r.Kinds, kind) }
	if wanted(kindProject) {
		if err := s.projects(ctx, q, out); err != nil {
			return nil, err
		}
	}
	if wanted(kindTask) {
		if err := s.tasks(ctx, q, limit, out); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out.Results, func(a, b *antonv1.SearchResult) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.UpdatedAt, a.UpdatedAt))
	})
	out.Results = out.Results[:min(limit, len(out.Results))]
	return out, nil
}

func (s coworkService) projects(ctx context.Context, q index.Query, out *antonv1.SearchResponse) error {
	list, err := s.room.opt.Projects.List(ctx)
	for _, p := range list {
		if q.Match(p.Name) {
			out.Results = append(out.Results, &antonv1.SearchResult{Type: kindProject, Id: p.ID, Title: p.Name, Subtitle: p.Path,
				Route: kindProject, Score: score(q, p.Name, ""), Snippet: q.Snippet(p.Name), Project: p.Name})
		}
	}
	return err
}

// tasks adds conversations, each once, with the text that has most.
func (s coworkService) tasks(ctx context.Context, q index.Query, limit int, out *antonv1.SearchResponse) error {
	current, err := s.room.conversations.ready(ctx)
	if err != nil {
		return err
	}
	out.Partial = !current
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	best := map[string]*antonv1.SearchResult{}
	p := index.Page{Limit: textsRead * limit}
	// One more time for each page of texts that were deleted, or are of few conversations.
	for range textsRead {
		hits, complete, err := s.room.conversations.find(ctx, q, p)
		if err != nil {
			return err
		}
		if err := s.read(ctx, q, hits, best); err != nil && ctx.Err() == nil {
			return err
		}
		if out.Partial = out.Partial || !complete || ctx.Err() != nil; out.Partial || len(hits) < p.Limit {
			break
		}
		if len(best) >= limit {
			break
		}
		p.Below = hits[len(hits)-1].Order
	}
	for _, r := range best {
		out.Results = append(out.Results, r)
	}
	slices.SortFunc(out.Results, func(a, b *antonv1.SearchResult) int { return cmp.Compare(a.Id, b.Id) })
	return nil
}

// read scores what the hits are now.
func (s coworkService) read(ctx context.Context, q index.Query, hits []index.Hit, best map[string]*antonv1.SearchResult) error {
	refs := make([]index.Ref, len(hits))
	for i, h := range hits {
		refs[i] = h.Ref
	}
	for some := range slices.Chunk(refs, messagesRead) {
		said, err := s.room.opt.Conversations.Read(ctx, some)
		if err != nil {
			return err
		}
		for _, t := range said {
			if t == nil || !q.Match(t.Text) { // cut off meanwhile
				continue
			}
			c := t.Conversation
			n := score(q, c.Title, t.Text)
			if had := best[c.Id]; had != nil && had.Score >= n {
				continue
			}
			best[c.Id] = &antonv1.SearchResult{Type: kindTask, Id: c.Id, Title: c.Title, Subtitle: c.Project, Route: kindTask,
				Score: n, SessionId: c.Id, Snippet: q.Snippet(t.Text), TurnId: t.TurnID, UpdatedAt: c.UpdatedAt, Project: c.Project}
		}
	}
	return nil
}

// score is 10 for each term, 10 more for each that the title has, and 1 for each
// further place in the text, up to 9.
func score(q index.Query, title, text string) float64 {
	n := q.Terms()
	return float64(10*n + 10*q.Having(title) + min(max(q.Count(text, n+9)-n, 0), 9))
}
