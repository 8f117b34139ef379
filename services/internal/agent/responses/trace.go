package responses

import (
	"encoding/json"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/tidwall/gjson"
)

// traceName marks the traces that are ours.
const traceName = "openai-responses"

// trace is an answer's reasoning, encrypted, in its place among what the model
// said and called: the API wants it back in that order.
type trace []step

// step is one item of an answer. Exactly one field is set.
type step struct {
	Reasoning json.RawMessage `json:"reasoning,omitempty"` // an item as the server gave it
	Message   bool            `json:"message,omitempty"`
	Call      string          `json:"call,omitempty"` // id
}

// thought is the item as it is to be sent back; nil for one without anything to
// go on from.
func thought(item gjson.Result) json.RawMessage {
	if item.Get("encrypted_content").String() == "" {
		return nil
	}
	back := struct {
		ID        string          `json:"id,omitempty"`
		Type      string          `json:"type"`
		Summary   json.RawMessage `json:"summary"`
		Encrypted string          `json:"encrypted_content"`
	}{item.Get("id").String(), "reasoning", json.RawMessage("[]"), item.Get("encrypted_content").String()}
	if s := item.Get("summary"); s.IsArray() {
		back.Summary = json.RawMessage(s.Raw)
	}
	raw, err := json.Marshal(back)
	if err != nil {
		return nil
	}
	return raw
}

// sealed is the trace to keep; nil if there is nothing in it to give back.
func (t trace) sealed(model string) *agent.Trace {
	for _, s := range t {
		if s.Reasoning != nil {
			data, err := json.Marshal(t)
			if err != nil {
				return nil
			}
			return &agent.Trace{Provider: traceName, Model: model, Data: data}
		}
	}
	return nil
}

func readTrace(kept *agent.Trace, model string) trace {
	var t trace
	if kept == nil || kept.Provider != traceName || kept.Model != model || json.Unmarshal(kept.Data, &t) != nil {
		return nil
	}
	return t
}

// retell is an assistant's message with its reasoning in place. Reasoning whose
// message or call is gone is left out: the API refuses it alone.
func retell(m agent.Message, t trace, v *wire.Verbatim) []responses.ResponseInputItemUnionParam {
	var out, pending []responses.ResponseInputItemUnionParam
	add := func(item responses.ResponseInputItemUnionParam) {
		out = append(append(out, pending...), item)
		pending = nil
	}
	text := m.Text
	speak := func() {
		if text != "" {
			add(said(text))
			text = ""
		}
	}
	calls := map[string]agent.ToolCall{}
	for _, c := range m.Calls {
		calls[c.ID] = c
	}
	for _, s := range t {
		c, present := calls[s.Call]
		switch {
		case s.Reasoning != nil:
			pending = append(pending, param.Override[responses.ResponseInputItemUnionParam](v.Mark(s.Reasoning)))
		case s.Message:
			speak()
		case present:
			add(called(c))
			delete(calls, s.Call)
		}
	}
	pending = nil
	speak()
	for _, c := range m.Calls {
		if _, left := calls[c.ID]; left {
			add(called(c))
		}
	}
	return out
}
