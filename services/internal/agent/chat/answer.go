package chat

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"anthill/services/internal/agent"

	"github.com/openai/openai-go/v3"
	"github.com/tidwall/gjson"
)

// emitError marks an error as the caller's own, to be handed back as it is.
type emitError struct{ error }

// answer puts a completion together from its chunks.
type answer struct {
	emit   func(agent.Delta) error
	quick  quick
	text   strings.Builder
	calls  []*call
	taken  map[string]bool // ids of calls in the history and here
	reason string
	usage  agent.Usage
	begun  bool // some event arrived
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
	a := &answer{taken: map[string]bool{}}
	a.emit = func(d agent.Delta) error {
		if err := emit(d); err != nil {
			return emitError{err}
		}
		return nil
	}
	for _, m := range req.Messages {
		for _, c := range m.Calls {
			a.taken[c.ID] = true
		}
	}
	return a
}

// brokenError is a connection that failed, as opposed to a provider that did.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

// readStream reads to the end of the stream. Its error is a brokenError, a
// *failure for what the provider reports or for nonsense, or emit's.
func (a *answer) readStream(body *watch) error {
	ev := newEvents(body)
	for !a.done {
		data, err := ev.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errEventSize):
			return &failure{text: err.Error()}
		case err != nil:
			return brokenError{err}
		case bytes.Equal(bytes.TrimSpace(data), []byte("[DONE]")):
			a.done = true
		case bytes.Equal(ev.name, []byte("error")):
			return parseFailure(data)
		default:
			if err := a.chunk(data, ev.torn); err != nil {
				return err
			}
		}
		a.begun = true
		if a.reason != "" {
			body.hurry()
		}
	}
	return nil
}

// settle decides what a broken connection is: nothing to speak of once the
// answer is whole, a cut inside of it, and a failed call before it.
func (a *answer) settle(err, cause error) error {
	if _, broken := errors.AsType[brokenError](err); !broken {
		return err
	}
	switch {
	case a.reason != "" && (cause == nil || errors.Is(cause, errStalled)):
		return nil
	case cause == nil && (a.begun || errors.Is(err, io.ErrUnexpectedEOF)):
		return nil
	}
	return err
}

func (a *answer) chunk(data []byte, torn bool) error {
	if p, ok := a.quick.read(data); ok {
		return a.say(p)
	}
	if !json.Valid(data) {
		if torn {
			return nil // the cut is told by the missing finish reason
		}
		return &failure{text: "a chunk of the stream is not JSON"}
	}
	if e := gjson.GetBytes(data, "error"); e.Exists() && e.Type != gjson.Null {
		return parseFailure(data)
	}
	var c openai.ChatCompletionChunk
	if err := json.Unmarshal(data, &c); err != nil {
		return &failure{text: err.Error()}
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
	if err := a.say(piece{reasoning: valid(thought)}); err != nil {
		return err
	}
	// A refusal is what the model says, in a field of its own.
	if err := a.say(piece{text: valid(d.Content + d.Refusal)}); err != nil {
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
		return a.emit(agent.Delta{Reasoning: p.reasoning})
	}
	if p.text == "" {
		return nil
	}
	a.text.WriteString(p.text)
	return a.emit(agent.Delta{Text: p.text})
}

func (a *answer) toolDelta(d openai.ChatCompletionChunkChoiceDeltaToolCall) error {
	c := a.callAt(d)
	input := d.Function.Arguments
	if raw := d.Function.JSON.Arguments.Raw(); strings.HasPrefix(raw, "{") {
		input = raw // some servers send the object instead of its text
	}
	c.input.WriteString(valid(input))
	if c.Name != "" || d.Function.Name == "" {
		return nil
	}
	c.Name = valid(d.Function.Name)
	c.ID = valid(c.wireID)
	if c.ID == "" || a.taken[c.ID] {
		c.ID = "call_" + strings.ToLower(rand.Text())
	}
	a.taken[c.ID] = true
	return a.emit(agent.Delta{CallStart: &agent.ToolCall{ID: c.ID, Name: c.Name}})
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
	a.usage = agent.Usage{
		InputTokens:     int(u.PromptTokens),
		CachedTokens:    int(u.PromptTokensDetails.CachedTokens),
		OutputTokens:    int(u.CompletionTokens),
		ReasoningTokens: int(u.CompletionTokensDetails.ReasoningTokens),
	}
}

// readJSON takes the answer of a server that does not stream.
func (a *answer) readJSON(body io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(body, maxJSONAnswer))
	if err != nil {
		return err
	}
	if !json.Valid(data) {
		return &failure{text: "the answer is not JSON"}
	}
	if e := gjson.GetBytes(data, "error"); e.Exists() && e.Type != gjson.Null {
		return parseFailure(data)
	}
	var c openai.ChatCompletion
	if err := json.Unmarshal(data, &c); err != nil || len(c.Choices) == 0 {
		return &failure{status: http.StatusNotFound, text: "the answer is JSON, but no chat completion"}
	}
	a.count(c.Usage)
	choice := c.Choices[0]
	a.reason, a.done = choice.FinishReason, true
	if err := a.say(piece{text: valid(choice.Message.Content + choice.Message.Refusal)}); err != nil {
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
	out := agent.Completion{Text: a.text.String(), Usage: a.usage, Finish: a.finish()}
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

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
