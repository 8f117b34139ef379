package rooms

import (
	"encoding/json"

	"anthill/services/internal/fault"
)

// answer is the content of a message that answers what an agent asked (ant.md 3.6).
type answer struct {
	Event    string `json:"event_id"`
	Content  any    `json:"event_content"`
	Terminal string `json:"terminal_session_id"`
}

// readAnswer reads it; either the event's message is named, or the terminal and
// what it said.
func readAnswer(d *draft) (answer, error) {
	var a answer
	if json.Unmarshal([]byte(d.content), &a) != nil {
		return a, fault.BadField("value_error", "the content of an agent_response is a JSON object", "content")
	}
	if a.Event == "" && (a.Terminal == "" || a.Content == nil) {
		return a, fault.New(fault.Invalid, "EVENT_REQUIRED",
			"agent_response requires an event_id or terminal_session_id/event_content")
	}
	return a, nil
}
