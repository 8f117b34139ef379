package anthropic

import (
	"encoding/json"

	"anthill/services/internal/agent"
)

// traceName marks the traces that are ours.
const traceName = "anthropic"

// trace is an answer's thinking in its place among what the model said and
// called: the API takes it back only unchanged and in that order.
type trace []step

// step is one content block of an answer. Exactly one field is set.
type step struct {
	Thinking json.RawMessage `json:"thinking,omitempty"` // a block as it is sent back: thinking or redacted_thinking
	Text     int             `json:"text,omitempty"`     // bytes of the message's text
	Call     string          `json:"call,omitempty"`     // id
}

// thinks says that there is something to give back.
func (t trace) thinks() bool {
	for _, s := range t {
		if s.Thinking != nil {
			return true
		}
	}
	return false
}

// size is the length of the text that it knows of; -1 if that makes no sense.
func (t trace) size() int {
	n := 0
	for _, s := range t {
		if s.Text < 0 {
			return -1
		}
		n += s.Text
	}
	return n
}

// sealed is the trace to keep, nil if nothing is to be given back.
func (t trace) sealed(model string) *agent.Trace {
	if !t.thinks() {
		return nil
	}
	data, err := json.Marshal(t)
	if err != nil {
		return nil
	}
	return &agent.Trace{Provider: traceName, Model: model, Data: data}
}

func readTrace(kept *agent.Trace, model string) trace {
	var t trace
	if kept == nil || kept.Provider != traceName || kept.Model != model || json.Unmarshal(kept.Data, &t) != nil {
		return nil
	}
	return t
}
