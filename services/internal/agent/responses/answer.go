package responses

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	"github.com/tidwall/gjson"
)

// answer puts a completion together from the events of a response. They are
// read with gjson, not with the SDK's types, which cost many times as much and
// fail on what other servers leave out.
type answer struct {
	wire.Draft
	model  string
	calls  []*call
	byKey  map[string]*call // by item
	byID   map[string]*call // as the server calls it
	heard  map[string]bool  // items, and parts of them, that came as deltas
	voice  string           // the item that spoke last
	mind   string           // the piece of reasoning that was thought last
	trace  trace
	finish agent.Finish // empty until the response ends
	done   bool
}

// call is a tool call whose input is still coming in.
type call struct {
	agent.ToolCall
	wireID string
	input  strings.Builder
	whole  bool // nothing is missing from the input
}

func newAnswer(req agent.Request, emit func(agent.Delta) error) *answer {
	return &answer{Draft: wire.NewDraft(req, emit), model: req.Model, byKey: map[string]*call{},
		byID: map[string]*call{}, heard: map[string]bool{}}
}

func (a *answer) Finished() bool { return a.finish != "" }
func (a *answer) Done() bool     { return a.done }

// Event implements wire.Answer.
func (a *answer) Event(e wire.Event) error {
	if bytes.Equal(bytes.TrimSpace(e.Data), []byte("[DONE]")) {
		a.done = true // how some servers end; it does not make an answer whole
		return nil
	}
	obj, err := e.JSON()
	if err != nil {
		return err
	}
	switch kind := obj.Get("type").String(); kind {
	case "response.output_text.delta", "response.refusal.delta":
		return a.hear(obj, text(obj.Get("delta")))
	case "response.output_text.done", "response.refusal.done":
		if !a.heard[part(key(obj), obj)] {
			return a.hear(obj, text(obj.Get("text"))+text(obj.Get("refusal")))
		}
	case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
		return a.muse(obj)
	case "response.output_item.added":
		if item := obj.Get("item"); item.Get("type").String() == "function_call" {
			_, err := a.callOf(key(obj), item, true)
			return err
		}
	case "response.function_call_arguments.delta":
		if c := a.byKey[key(obj)]; c != nil && !c.whole {
			c.input.WriteString(text(obj.Get("delta")))
		}
	case "response.function_call_arguments.done":
		if c := a.byKey[key(obj)]; c != nil {
			c.fill(obj.Get("arguments"))
		}
	case "response.output_item.done":
		return a.itemDone(key(obj), obj.Get("item"))
	case "response.completed", "response.incomplete", "response.failed":
		return a.end(strings.TrimPrefix(kind, "response."), obj.Get("response"))
	case "error":
		return wire.ParseFailure([]byte(obj.Raw))
	}
	return nil
}

// Whole implements wire.Answer.
func (a *answer) Whole(obj gjson.Result) error {
	if !obj.Get("output").IsArray() {
		return &wire.Failure{Status: http.StatusNotFound, Text: "the answer is JSON, but no response"}
	}
	status := obj.Get("status").String()
	if status == "" {
		status = "completed"
	}
	return a.end(status, obj)
}

// key names the item that an event belongs to. The index decides: some servers
// give an item another id in every event.
func key(event gjson.Result) string {
	if i := event.Get("output_index"); i.Exists() {
		return i.Raw
	}
	if id := event.Get("item_id"); id.Exists() {
		return id.Raw
	}
	return event.Get("item.id").Raw
}

func part(item string, event gjson.Result) string { return item + "/" + event.Get("content_index").Raw }

// text is a string as it may be shown, whatever the value is.
func text(v gjson.Result) string {
	if v.Type != gjson.String {
		return ""
	}
	return wire.Valid(v.Str)
}

func (a *answer) hear(event gjson.Result, said string) error {
	if said == "" {
		return nil
	}
	item := key(event)
	a.heard[part(item, event)] = true
	return a.speak(item, said)
}

// speak says something of an item; two messages are two paragraphs.
func (a *answer) speak(item, said string) error {
	if said == "" {
		return nil
	}
	if a.voice != item && a.Text() != "" {
		said = "\n\n" + said
	}
	a.voice = item
	a.heard[item] = true
	return a.Say(said)
}

// muse passes reasoning on; its pieces are paragraphs.
func (a *answer) muse(event gjson.Result) error {
	item := key(event)
	return a.think(item, item+"/"+event.Get("summary_index").Raw+"/"+event.Get("content_index").Raw, text(event.Get("delta")))
}

func (a *answer) think(item, piece, thought string) error {
	if thought == "" {
		return nil
	}
	if a.mind != "" && a.mind != piece {
		thought = "\n\n" + thought
	}
	a.mind = piece
	a.heard[item] = true
	return a.Think(thought)
}

// callOf finds the call of an item, or takes note of a new one; nil if the item
// names no tool. Calls may share an index, or an id, on servers that do not care.
func (a *answer) callOf(key string, item gjson.Result, added bool) (*call, error) {
	id, name := item.Get("call_id").String(), text(item.Get("name"))
	if c := a.byKey[key]; c != nil && (id == "" || c.wireID == "" || c.wireID == id) {
		return c, nil
	}
	if c := a.byID[id]; c != nil && id != "" && !added {
		return c, nil
	}
	if name == "" {
		return nil, nil
	}
	c := &call{wireID: id}
	a.calls = append(a.calls, c)
	a.byKey[key], a.byID[id] = c, c
	var err error
	c.ToolCall, err = a.Begin(id, name)
	return c, err
}

// fill takes the whole input of a call. Some servers send the object instead of
// its text.
func (c *call) fill(arguments gjson.Result) {
	whole := text(arguments)
	if arguments.IsObject() {
		whole = wire.Valid(arguments.Raw)
	}
	if whole != "" && !c.whole {
		c.input.Reset()
		c.input.WriteString(whole)
	}
	c.whole = true
}

// itemDone takes an item that is complete: what its deltas left out, and its
// place in the trace.
func (a *answer) itemDone(key string, item gjson.Result) error {
	return a.take(key, item, !a.heard[key], !a.heard[key])
}

// end takes the last event, which has the whole response in it.
func (a *answer) end(status string, response gjson.Result) error {
	a.count(response.Get("usage"))
	if status == "failed" {
		return wire.ParseFailure([]byte(response.Raw))
	}
	if err := a.catchUp(response.Get("output")); err != nil {
		return err
	}
	a.done = true
	switch reason := response.Get("incomplete_details.reason").String(); {
	case status == "completed" && len(a.calls) > 0:
		a.finish = agent.FinishTools
	case status == "completed":
		a.finish = agent.FinishStop
	case status == "incomplete" && reason == "content_filter":
		a.finish = agent.FinishFilter
	case status == "incomplete" && strings.HasPrefix(reason, "max_"):
		a.finish = agent.FinishLength
	}
	return nil
}

// catchUp takes from the whole response what no event brought. Its items may go
// by other keys than in the events, so that what was heard counts as one.
func (a *answer) catchUp(output gjson.Result) error {
	mute, blank, before := a.Text() == "", a.mind == "", a.trace
	a.trace = nil
	for i, item := range output.Array() {
		if err := a.take(strconv.Itoa(i), item, mute, blank); err != nil {
			return err
		}
	}
	if before.sealed(a.model) != nil {
		a.trace = before
	}
	return nil
}

// take takes a complete item. mute says that none of its text was heard yet,
// blank that none of its reasoning was.
func (a *answer) take(key string, item gjson.Result, mute, blank bool) error {
	switch item.Get("type").String() {
	case "message":
		a.trace = append(a.trace, step{Message: true})
		if mute {
			return a.speak(key, wording(item))
		}
	case "function_call":
		c, err := a.callOf(key, item, false)
		if c == nil || err != nil {
			return err
		}
		a.trace = append(a.trace, step{Call: c.ID})
		if item.Get("status").String() != "incomplete" {
			c.fill(item.Get("arguments"))
		}
	case "reasoning":
		if raw := thought(item); raw != nil {
			a.trace = append(a.trace, step{Reasoning: raw})
		}
		if !blank {
			return nil
		}
		for i, p := range append(item.Get("summary").Array(), item.Get("content").Array()...) {
			if err := a.think(key, key+"/"+strconv.Itoa(i), text(p.Get("text"))); err != nil {
				return err
			}
		}
	}
	return nil
}

// wording is all that a message item says.
func wording(item gjson.Result) string {
	var b strings.Builder
	for _, p := range item.Get("content").Array() {
		b.WriteString(text(p.Get("text")))
		b.WriteString(text(p.Get("refusal")))
	}
	return b.String()
}

func (a *answer) count(u gjson.Result) {
	if !u.IsObject() {
		return
	}
	a.Usage = agent.Usage{
		InputTokens:     int(u.Get("input_tokens").Int()),
		CachedTokens:    int(u.Get("input_tokens_details.cached_tokens").Int()),
		OutputTokens:    int(u.Get("output_tokens").Int()),
		ReasoningTokens: int(u.Get("output_tokens_details.reasoning_tokens").Int()),
	}
}

// completion is what arrived so far.
func (a *answer) completion() agent.Completion {
	out := agent.Completion{Text: a.Text(), Usage: a.Usage, Finish: a.finish, Trace: a.trace.sealed(a.model)}
	if out.Finish == "" {
		out.Finish = agent.FinishCut
	}
	for _, c := range a.calls {
		c.Input = c.input.String()
		if strings.TrimSpace(c.Input) == "" && out.Finish == agent.FinishTools {
			c.Input = "{}" // how a call without parameters comes from some servers
		}
		out.Calls = append(out.Calls, c.ToolCall)
	}
	return out
}
