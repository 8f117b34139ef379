package chat

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	"github.com/openai/openai-go/v3"
	"github.com/tidwall/gjson"
)

// answer puts a completion together from its chunks.
type answer struct {
	wire.Draft
	quick  quick
	calls  []*call
	reason string
	done   bool // the stream said that it is over
}

// call is a tool call whose input is still coming in.
type call struct {
	agent.ToolCall
	index  int64
	wireID string
	input  strings.Builder
}

func newAnswer(req agent.Request, emit func(agent.Delta) error) *answer {
	return &answer{Draft: wire.NewDraft(req, emit)}
}

func (a *answer) Finished() bool { return a.reason != "" }
func (a *answer) Done() bool     { return a.done }

// Event implements wire.Answer.
func (a *answer) Event(e wire.Event) error {
	if p, ok := a.quick.read(e.Data); ok {
		return a.say(p)
	}
	if bytes.Equal(bytes.TrimSpace(e.Data), []byte("[DONE]")) {
		a.done = true
		return nil
	}
	return a.chunk(e)
}

func (a *answer) chunk(e wire.Event) error {
	obj, err := e.JSON()
	if err != nil || !obj.Exists() {
		return err
	}
	if e := obj.Get("error"); e.Exists() && e.Type != gjson.Null {
		return wire.ParseFailure([]byte(obj.Raw))
	}
	var c openai.ChatCompletionChunk
	if err := json.Unmarshal(e.Data, &c); err != nil {
		return &wire.Failure{Text: err.Error()}
	}
	if c.JSON.Usage.Valid() {
		a.count(c.Usage)
	}
	for _, choice := range c.Choices {
		if choice.Index != 0 {
			continue
		}
		if err := a.delta(choice.Delta); err != nil {
			return err
		}
		if choice.FinishReason != "" {
			a.reason = choice.FinishReason
		}
	}
	return nil
}

func (a *answer) delta(d openai.ChatCompletionChunkChoiceDelta) error {
	raw := gjson.Parse(d.RawJSON())
	thought := raw.Get("reasoning_content").String()
	if thought == "" && raw.Get("reasoning").Type == gjson.String {
		thought = raw.Get("reasoning").String()
	}
	if err := a.say(piece{reasoning: wire.Valid(thought)}); err != nil {
		return err
	}
	// A refusal is what the model says, in a field of its own.
	if err := a.say(piece{text: wire.Valid(d.Content + d.Refusal)}); err != nil {
		return err
	}
	for _, tc := range d.ToolCalls {
		if err := a.toolDelta(tc); err != nil {
			return err
		}
	}
	return nil
}

func (a *answer) say(p piece) error {
	if p.reasoning != "" {
		return a.Think(p.reasoning)
	}
	return a.Say(p.text)
}

func (a *answer) toolDelta(d openai.ChatCompletionChunkChoiceDeltaToolCall) error {
	c := a.callAt(d)
	input := d.Function.Arguments
	if raw := d.Function.JSON.Arguments.Raw(); strings.HasPrefix(raw, "{") {
		input = raw // some servers send the object instead of its text
	}
	c.input.WriteString(wire.Valid(input))
	if c.Name != "" || d.Function.Name == "" {
		return nil
	}
	var err error
	c.ToolCall, err = a.Begin(c.wireID, d.Function.Name)
	return err
}

// callAt finds the call that a delta belongs to. The index decides, but some
// servers give every call the index 0; then a new id with a name tells.
func (a *answer) callAt(d openai.ChatCompletionChunkChoiceDeltaToolCall) *call {
	for i := len(a.calls) - 1; i >= 0; i-- {
		c := a.calls[i]
		if c.index != d.Index {
			continue
		}
		if d.ID != "" && c.wireID != "" && d.ID != c.wireID && d.Function.Name != "" {
			break
		}
		if c.wireID == "" {
			c.wireID = d.ID
		}
		return c
	}
	c := &call{index: d.Index, wireID: d.ID}
	a.calls = append(a.calls, c)
	return c
}

func (a *answer) count(u openai.CompletionUsage) {
	a.Usage = agent.Usage{
		InputTokens:     int(u.PromptTokens),
		CachedTokens:    int(u.PromptTokensDetails.CachedTokens),
		OutputTokens:    int(u.CompletionTokens),
		ReasoningTokens: int(u.CompletionTokensDetails.ReasoningTokens),
	}
}

// Whole implements wire.Answer.
func (a *answer) Whole(obj gjson.Result) error {
	var c openai.ChatCompletion
	if err := json.Unmarshal([]byte(obj.Raw), &c); err != nil || len(c.Choices) == 0 {
		return &wire.Failure{Status: http.StatusNotFound, Text: "the answer is JSON, but no chat completion"}
	}
	a.count(c.Usage)
	choice := c.Choices[0]
	a.reason, a.done = choice.FinishReason, true
	if err := a.Think(wire.Valid(obj.Get("choices.0.message.reasoning_content").String())); err != nil {
		return err
	}
	if err := a.say(piece{text: wire.Valid(choice.Message.Content + choice.Message.Refusal)}); err != nil {
		return err
	}
	for i, tc := range choice.Message.ToolCalls {
		err := a.toolDelta(openai.ChatCompletionChunkChoiceDeltaToolCall{Index: int64(i), ID: tc.ID,
			Function: openai.ChatCompletionChunkChoiceDeltaToolCallFunction{Name: tc.Function.Name, Arguments: tc.Function.Arguments}})
		if err != nil {
			return err
		}
	}
	return nil
}

// completion is what arrived so far.
func (a *answer) completion() agent.Completion {
	out := agent.Completion{Text: a.Text(), Usage: a.Usage, Finish: a.finish()}
	for _, c := range a.calls {
		c.Input = c.input.String()
		if strings.TrimSpace(c.Input) == "" && out.Finish == agent.FinishTools {
			c.Input = "{}" // how a call without parameters comes from some servers
		}
		if c.Name != "" {
			out.Calls = append(out.Calls, c.ToolCall)
		}
	}
	return out
}

func (a *answer) finish() agent.Finish {
	switch {
	case a.reason == "" && !a.done:
		return agent.FinishCut
	case a.reason == "length":
		return agent.FinishLength
	case a.reason == "content_filter":
		return agent.FinishFilter
	case len(a.calls) > 0:
		return agent.FinishTools // some servers say "stop" all the same
	}
	return agent.FinishStop
}
