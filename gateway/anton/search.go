package anton

import antonv1 "anthill/gen/anton/v1"

type wireSearch struct {
	Results []wireResult `json:"results"`
	Partial bool         `json:"partial"`
}

// wireResult has the client's names (anton.md 7), and what it does not know.
type wireResult struct {
	Type      string  `json:"type"`
	ID        string  `json:"id"`
	Title     string  `json:"title"`
	Subtitle  string  `json:"subtitle"`
	Route     string  `json:"route"`
	Score     float64 `json:"score"`
	SessionID string  `json:"sessionId,omitempty"`
	Snippet   string  `json:"snippet"`
	TurnID    string  `json:"turnId,omitempty"`
	UpdatedAt string  `json:"updatedAt,omitempty"`
	Project   string  `json:"project"`
}

func viewSearch(s *antonv1.SearchResponse) wireSearch {
	v := wireSearch{Results: make([]wireResult, 0, len(s.Results)), Partial: s.Partial}
	for _, r := range s.Results {
		v.Results = append(v.Results, wireResult{Type: r.Type, ID: r.Id, Title: r.Title, Subtitle: r.Subtitle, Route: r.Route,
			Score: r.Score, SessionID: r.SessionId, Snippet: r.Snippet, TurnID: r.TurnId, UpdatedAt: r.UpdatedAt, Project: r.Project})
	}
	return v
}
