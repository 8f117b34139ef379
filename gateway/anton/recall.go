package anton

import antonv1 "anthill/gen/anton/v1"

// wireHit is something that the agent has looked up (anton.md 3).
type wireHit struct {
	Source  string `json:"source"`
	TS      string `json:"ts"`
	Role    string `json:"role"`
	Content string `json:"content"`
	Session string `json:"session"`
	ID      string `json:"id"`
}

// viewHits are those of a thought that ends a look-up; nil of any other.
func viewHits(t *antonv1.Thought) *[]wireHit {
	if t.ThoughtRole != "thought.recall.end" {
		return nil
	}
	hits := make([]wireHit, len(t.Hits))
	for i, h := range t.Hits {
		hits[i] = wireHit{Source: h.Source, TS: h.Ts, Role: h.Role, Content: h.Content, Session: h.Session, ID: h.Id}
	}
	return &hits
}
