package conversations

import (
	"encoding/json"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
)

// recallFamily is what tools are that look something up.
const recallFamily = "thought.recall"

// Bounds of a frame with hits.
const (
	hitsMax = 50
	hitMax  = 1 << 10 // bytes of one's content
)

// recalled ends the thought of a call that looked something up, with what the
// tool shows: a JSON list of hits. Callers hold mu.
func (c *recorder) recalled(call agent.ToolCall, r agent.ToolResult) error {
	t := toolThought(call, "end", call.Input)
	var hits []*antonv1.RecallHit
	if json.Unmarshal([]byte(r.View), &hits) == nil { // a call that failed shows none
		for _, h := range hits[:min(len(hits), hitsMax)] {
			if h != nil {
				h.Content = clip(h.Content, hitMax)
				t.Hits = append(t.Hits, h)
			}
		}
	}
	return c.think(t)
}
