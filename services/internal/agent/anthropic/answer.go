package anthropic

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	"github.com/tidwall/gjson"
)

// answer puts a completion together from the events of a message. They are read
// with gjson, not with the SDK's types, which cost many times as much.
type answer struct {
	wire.Draft
	model   string
	blocks  map[string]*content // by index
	order   []*content
	mused   bool // some reasoning was passed on
	fresh   int  // input tokens that no cache had
	written int  // input tokens that a cache has now
	reason  string
	done    bool
}

// content is one content block that is coming in.
type content struct {
	kind string // text, tool_use, thinking, redacted_thinking, or another
	text int    // bytes said
	call agent.ToolCall
	// what came in pieces: the input of a call, or thinking
	pieces    strings.Builder
	signature strings.Builder // of thinking; of redacted_thinking all there is
	over      bool
}

func newAnswer(req agent.Request, emit func(agent.Delta) error) *answer {
	return &answer{Draft: wire.NewDraft(req, emit), model: req.Model, blocks: map[string]*content{}}
}

func (a *answer) Finished() bool { return a.reason != "" || a.done }
func (a *answer) Done() bool     { return a.done }

// Event implements wire.Answer.
func (a *answer) Event(e wire.Event) error {
	obj, err := e.JSON()
	if err != nil {
		return err
	}
	switch obj.Get("type").String() {
	case "message_start":
		a.count(obj.Get("message.usage"))
	case "content_block_start":
		return a.start(obj.Get("index").Raw, obj.Get("content_block"))
	case "content_block_delta":
		if b := a.blocks[obj.Get("index").Raw]; b != nil {
			return a.delta(b, obj.Get("delta"))
		}
	case "content_block_stop":
		if b := a.blocks[obj.Get("index").Raw]; b != nil {
			b.over = true
		}
	case "message_delta":
		a.count(obj.Get("usage"))
		return a.end(obj.Get("delta"))
	case "message_stop":
		a.done = true
	case "error":
		return wire.ParseFailure([]byte(obj.Raw))
	}
	return nil
}

// Whole implements wire.Answer.
func (a *answer) Whole(obj gjson.Result) error {
	blocks := obj.Get("content")
	if !blocks.IsArray() {
		return &wire.Failure{Status: http.StatusNotFound, Text: "the answer is JSON, but no message"}
	}
	a.count(obj.Get("usage"))
	for i, b := range blocks.Array() {
		index := strconv.Itoa(i)
		if err := a.start(index, b); err != nil {
			return err
		}
		a.blocks[index].over = true
	}
	a.done = true
	return a.end(obj)
}

func (a *answer) start(index string, b gjson.Result) error {
	c := &content{kind: b.Get("type").String()}
	a.blocks[index] = c
	a.order = append(a.order, c)
	switch c.kind {
	case "text":
		return a.say(c, b.Get("text"))
	case "thinking":
		c.signature.WriteString(text(b.Get("signature")))
		return a.muse(c, b.Get("thinking"))
	case "redacted_thinking":
		c.signature.WriteString(text(b.Get("data")))
	case "tool_use":
		if in := b.Get("input"); in.IsObject() && in.Raw != "{}" {
			c.pieces.WriteString(wire.Valid(in.Raw)) // whole at once
		}
		name := text(b.Get("name"))
		if name == "" {
			c.kind = ""
			return nil
		}
		var err error
		c.call, err = a.Begin(b.Get("id").String(), name)
		return err
	}
	return nil
}

func (a *answer) delta(b *content, d gjson.Result) error {
	switch d.Get("type").String() {
	case "text_delta":
		return a.say(b, d.Get("text"))
	case "thinking_delta":
		return a.muse(b, d.Get("thinking"))
	case "signature_delta":
		b.signature.WriteString(text(d.Get("signature")))
	case "input_json_delta":
		if b.kind == "tool_use" {
			b.pieces.WriteString(text(d.Get("partial_json")))
		}
	}
	return nil
}

func (a *answer) say(b *content, v gjson.Result) error {
	s := text(v)
	b.text += len(s)
	return a.Say(s)
}

// muse passes reasoning on; blocks of it are paragraphs.
func (a *answer) muse(b *content, v gjson.Result) error {
	s := text(v)
	if s == "" {
		return nil
	}
	first := b.pieces.Len() == 0
	b.pieces.WriteString(s)
	if first && a.mused {
		s = "\n\n" + s
	}
	a.mused = true
	return a.Think(s)
}

// text is a string as it may be shown, whatever the value is.
func text(v gjson.Result) string {
	if v.Type != gjson.String {
		return ""
	}
	return wire.Valid(v.Str)
}

// end takes the reason why the model stopped.
func (a *answer) end(message gjson.Result) error {
	reason := text(message.Get("stop_reason"))
	if reason == "" {
		return nil
	}
	a.reason = reason
	if reason == "model_context_window_exceeded" && a.Text() == "" && !a.called() {
		return &wire.Failure{Code: reason}
	}
	return nil
}

// count takes the usage so far. It only grows, and not every event has all of it.
func (a *answer) count(u gjson.Result) {
	for name, n := range map[string]*int{
		"input_tokens": &a.fresh, "cache_creation_input_tokens": &a.written, "cache_read_input_tokens": &a.Usage.CachedTokens,
		"output_tokens": &a.Usage.OutputTokens, "output_tokens_details.thinking_tokens": &a.Usage.ReasoningTokens,
	} {
		*n = max(*n, int(u.Get(name).Int()))
	}
	a.Usage.InputTokens = a.fresh + a.written + a.Usage.CachedTokens
}

// completion is what arrived so far.
func (a *answer) completion() agent.Completion {
	out := agent.Completion{Text: a.Text(), Usage: a.Usage, Finish: a.finish()}
	var t trace
	for _, b := range a.order {
		switch {
		case b.kind == "tool_use":
			b.call.Input = b.pieces.String()
			if blank(b.call.Input) && (b.over || out.Finish == agent.FinishTools) {
				b.call.Input = "{}" // how a call without parameters comes
			}
			out.Calls = append(out.Calls, b.call)
			t = append(t, step{Call: b.call.ID})
		case b.text > 0:
			t = append(t, step{Text: b.text})
		case b.over && b.signature.Len() > 0:
			if raw := b.sealed(); raw != nil {
				t = append(t, step{Thinking: raw})
			}
		}
	}
	out.Trace = t.sealed(a.model)
	return out
}

func (a *answer) finish() agent.Finish {
	switch {
	case !a.Finished():
		return agent.FinishCut
	case a.reason == "max_tokens" || a.reason == "model_context_window_exceeded":
		return agent.FinishLength
	case a.reason == "refusal":
		return agent.FinishFilter
	case a.called():
		return agent.FinishTools
	}
	return agent.FinishStop
}

func (a *answer) called() bool {
	return slices.ContainsFunc(a.order, func(b *content) bool { return b.kind == "tool_use" })
}

// sealed is a block of thinking as it is to be sent back; nil for one that is
// not of that kind.
func (b *content) sealed() json.RawMessage {
	var back any
	switch b.kind {
	case "thinking":
		back = struct {
			Type      string `json:"type"`
			Thinking  string `json:"thinking"`
			Signature string `json:"signature"`
		}{b.kind, b.pieces.String(), b.signature.String()}
	case "redacted_thinking":
		back = struct {
			Type string `json:"type"`
			Data string `json:"data"`
		}{b.kind, b.signature.String()}
	default:
		return nil
	}
	raw, err := json.Marshal(back)
	if err != nil {
		return nil
	}
	return raw
}
