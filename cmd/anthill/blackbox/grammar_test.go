package blackbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// response is the object that events and JSON answers carry.
type response struct {
	ID             string          `json:"id"`
	Object         string          `json:"object"`
	Status         string          `json:"status"`
	Model          string          `json:"model"`
	Output         []item          `json:"output"`
	OutputText     string          `json:"output_text"`
	ConversationID string          `json:"conversation_id"`
	Background     bool            `json:"background"`
	Store          *bool           `json:"store"`
	PreviousID     *string         `json:"previous_response_id"`
	Usage          *map[string]any `json:"usage"`
	Error          *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	IncompleteDetails *struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
}

// reason is why the response is incomplete, or nothing.
func (r response) reason() string {
	if r.IncompleteDetails == nil {
		return ""
	}
	return r.IncompleteDetails.Reason
}

type item struct {
	ID          string  `json:"id"`
	Type        string  `json:"type"`
	Status      string  `json:"status"`
	Role        string  `json:"role"`
	Content     []part  `json:"content"`
	Summary     []part  `json:"summary"`
	CallID      string  `json:"call_id"`
	Name        string  `json:"name"`
	Arguments   string  `json:"arguments"`
	Output      *string `json:"output"`
	Error       *string `json:"error"`
	ServerLabel string  `json:"server_label"`
}

type part struct {
	Type        string `json:"type"`
	Text        string `json:"text"`
	Annotations *[]any `json:"annotations"`
	Logprobs    *[]any `json:"logprobs"`
}

func (i item) text() string {
	var b strings.Builder
	for _, p := range append(slices.Clone(i.Content), i.Summary...) {
		b.WriteString(p.Text)
	}
	return b.String()
}

// turn is a whole stream that keeps the grammar.
type turn struct {
	frames         []frame
	conversation   string
	text           string // all deltas
	items          []item // as done
	final          response
	end            frame
	thoughts       []frame
	responseID     string
	first, closing int64 // sequence numbers
}

// kinds of items, and the parts that they stream.
var partKeys = map[string]string{"message": "content_part", "reasoning": "reasoning_summary_part"}

var responseKeys = []string{"id", "object", "created_at", "status", "model", "output", "parallel_tool_calls", "tool_choice", "tools",
	"temperature", "top_p", "error", "incomplete_details", "instructions", "metadata", "background", "completed_at", "conversation",
	"max_output_tokens", "previous_response_id", "reasoning", "service_tier", "store", "text", "top_logprobs", "truncation", "user", "usage"}

// checkTurn holds the frames of a whole turn against the stream grammar of
// openai-responses.md 1.
func checkTurn(t *testing.T, frames []frame) *turn {
	t.Helper()
	g := &grammar{turn: turn{frames: frames}}
	for i, f := range frames {
		if err := g.step(i, f); err != nil {
			t.Fatalf("stream grammar: event %d (%s): %v\n%s", i, f.Type, err, outline(frames[:i+1]))
		}
	}
	if g.end.Type == "" {
		t.Fatalf("stream grammar: no terminal event\n%s", outline(frames))
	}
	return &g.turn
}

func outline(frames []frame) string {
	s := stream{seen: frames}
	return s.outline()
}

type grammar struct {
	turn
	open *openItem
}

type openItem struct {
	step int // of a cell
	item
	index           int
	part, partDone  bool
	text            string
	paragraph       string // may stand before its first delta
	textDone        bool
	arguments       string
	started, argued bool
	ended           string // completed or failed, of a tool
}

func (g *grammar) step(i int, f frame) error {
	kind := strings.TrimPrefix(f.Type, "response.")
	switch {
	case i == 0 && kind != "created", i > 0 && kind == "created":
		return fmt.Errorf("created is the first event and only that")
	case g.end.Type != "":
		return fmt.Errorf("comes after the terminal event")
	}
	g.closing = f.seq()
	switch kind {
	case "created":
		g.first, g.conversation = f.seq(), f.ConversationID
		r, err := g.snapshot(f)
		g.responseID = r.ID
		if err == nil && (f.ConversationID != r.ConversationID || len(r.Output) > 0 || r.Status != "in_progress" || r.Store == nil ||
			*r.Store && f.ConversationID == "") {
			err = fmt.Errorf("a turn does not begin like this: %s", f.data)
		}
		return err
	case "in_progress":
		if f.ThoughtRole != "" {
			g.thoughts = append(g.thoughts, f)
		}
		_, err := g.snapshot(f)
		return err
	case "output_item.added":
		return g.added(f)
	case "output_item.done":
		return g.done(f)
	case "completed", "incomplete", "failed":
		return g.terminal(f)
	}
	return g.within(kind, f)
}

// snapshot checks a response object against what was streamed so far.
func (g *grammar) snapshot(f frame) (r response, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(f.Response, &keys); err != nil {
		return r, fmt.Errorf("no response object: %w", err)
	}
	for _, k := range responseKeys {
		if _, ok := keys[k]; !ok {
			return r, fmt.Errorf("response lacks %s", k)
		}
	}
	if err := json.Unmarshal(f.Response, &r); err != nil {
		return r, err
	}
	if r.Object != "response" || r.ID == "" || g.responseID != "" && r.ID != g.responseID {
		return r, fmt.Errorf("response is %q %q, was %q", r.Object, r.ID, g.responseID)
	}
	if f.ThoughtRole != "" && len(r.Output) == 0 && r.OutputText == "" {
		return r, nil // as callers that are no SDK get it
	}
	want := len(g.items)
	if g.open != nil {
		want++
	}
	if len(r.Output) != want {
		return r, fmt.Errorf("response has %d items, %d were streamed", len(r.Output), want)
	}
	for i, it := range g.items {
		if !sameJSON(it, r.Output[i]) {
			return r, fmt.Errorf("item %d is %+v in the response, was %+v", i, r.Output[i], it)
		}
	}
	if o := g.open; o != nil {
		it := r.Output[want-1]
		parts := 0
		if o.part {
			parts = 1
		}
		if it.ID != o.ID || it.text() != o.text || it.Arguments != o.arguments ||
			o.Type == "message" && len(it.Content) != parts || o.Type == "reasoning" && len(it.Summary) != parts {
			return r, fmt.Errorf("open item is %+v in the response, text so far %q, parts %d", it, o.text, parts)
		}
	}
	return r, nil
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func (g *grammar) added(f frame) error {
	var it item
	if err := json.Unmarshal(f.Item, &it); err != nil {
		return err
	}
	switch {
	case g.open != nil:
		return fmt.Errorf("item %s is still open", g.open.ID)
	case f.OutputIndex == nil || *f.OutputIndex != len(g.items):
		return fmt.Errorf("output_index %v, want %d", f.OutputIndex, len(g.items))
	case it.ID == "" || it.Status != "in_progress" || it.text() != "" || it.Arguments != "":
		return fmt.Errorf("an item does not begin like this: %s", f.Item)
	case !slices.Contains([]string{"message", "reasoning", "mcp_call", "function_call", "code_interpreter_call"}, it.Type):
		return fmt.Errorf("item of type %q", it.Type)
	case it.Type == "message" && (it.Role != "assistant" || it.Content == nil):
		return fmt.Errorf("message without role or content: %s", f.Item)
	case it.Type == "mcp_call" && (it.Name == "" || it.ServerLabel != "anton"):
		return fmt.Errorf("call without name or server_label: %s", f.Item)
	case it.Type == "function_call" && (it.Name == "" || it.CallID == ""):
		return fmt.Errorf("call without name or call_id: %s", f.Item)
	}
	for _, other := range g.items {
		if other.ID == it.ID {
			return fmt.Errorf("item id %s twice", it.ID)
		}
	}
	g.open = &openItem{item: it, index: *f.OutputIndex}
	if slices.ContainsFunc(g.items, func(it item) bool { return it.text() != "" && it.Type == "message" }) {
		g.open.paragraph = "\n\n"
	}
	return nil
}

// within takes the events of the open item.
func (g *grammar) within(kind string, f frame) error {
	o := g.open
	if o == nil {
		return fmt.Errorf("no item is open")
	}
	if f.OutputIndex == nil || *f.OutputIndex != o.index || f.ItemID != o.ID {
		return fmt.Errorf("belongs to item %q, open is %d %q", f.ItemID, o.index, o.ID)
	}
	switch o.Type {
	case "message":
		if f.ContentIndex == nil || *f.ContentIndex != 0 {
			return fmt.Errorf("content_index is not 0")
		}
	case "reasoning":
		if f.SummaryIndex == nil || *f.SummaryIndex != 0 {
			return fmt.Errorf("summary_index is not 0")
		}
	}
	prefix, isText := partKeys[o.Type]
	switch {
	case isText && kind == prefix+".added":
		return o.beginPart(f)
	case kind == "output_text.delta" && o.Type == "message", kind == "reasoning_summary_text.delta" && o.Type == "reasoning":
		return o.delta(f, kind)
	case kind == "output_text.done" && o.Type == "message", kind == "reasoning_summary_text.done" && o.Type == "reasoning":
		if !o.part || o.textDone || f.Text == nil || *f.Text != o.text {
			return fmt.Errorf("text of done is not what was streamed: %s", f.data)
		}
		o.textDone = true
	case isText && kind == prefix+".done":
		if !o.textDone || o.partDone || f.Part == nil || f.Part.Text != o.text {
			return fmt.Errorf("part of done is not what was streamed: %s", f.data)
		}
		o.partDone = true
	case o.Type == "mcp_call":
		return o.toolStep(kind, f)
	case o.Type == "function_call":
		return o.functionStep(kind, f)
	case o.Type == "code_interpreter_call":
		return o.codeStep(kind)
	default:
		return fmt.Errorf("does not belong into an item of type %s", o.Type)
	}
	return nil
}

// cellSteps are the events of a cell, in order; the code may come in pieces.
var cellSteps = []string{"code_interpreter_call.in_progress", "code_interpreter_call_code.delta", "code_interpreter_call_code.done",
	"code_interpreter_call.interpreting", "code_interpreter_call.completed"}

func (o *openItem) codeStep(kind string) error {
	again := kind == "code_interpreter_call_code.delta" && o.step == 2
	if i := slices.Index(cellSteps, kind); i < 0 || i != o.step && !again {
		return fmt.Errorf("%s is not step %d of a cell", kind, o.step)
	}
	if !again {
		o.step++
	}
	return nil
}

func (o *openItem) beginPart(f frame) error {
	if o.part || f.Part == nil || f.Part.Text != "" ||
		o.Type == "message" && (f.Part.Type != "output_text" || f.Part.Annotations == nil || f.Part.Logprobs == nil) {
		return fmt.Errorf("a part does not begin like this: %s", f.data)
	}
	o.part = true
	return nil
}

func (o *openItem) delta(f frame, kind string) error {
	if !o.part || o.textDone || f.Delta == nil || *f.Delta == "" || kind == "output_text.delta" && f.Logprobs == nil {
		return fmt.Errorf("a delta does not look like this, or not here: %s", f.data)
	}
	if o.text == "" {
		o.text = strings.TrimPrefix(*f.Delta, o.paragraph)
		return nil
	}
	o.text += *f.Delta
	return nil
}

func (o *openItem) toolStep(kind string, f frame) error {
	switch kind {
	case "mcp_call.in_progress":
		if o.started {
			return fmt.Errorf("begins twice")
		}
		o.started = true
	case "mcp_call_arguments.delta":
		if !o.started || o.argued || f.Delta == nil {
			return fmt.Errorf("arguments not here: %s", f.data)
		}
		o.arguments += *f.Delta
	case "mcp_call_arguments.done":
		if o.argued || f.Arguments == nil || *f.Arguments != o.arguments {
			return fmt.Errorf("arguments of done are not what was streamed: %s", f.data)
		}
		o.argued = true
	case "mcp_call.completed", "mcp_call.failed":
		if !o.argued || o.ended != "" {
			return fmt.Errorf("ends before its arguments, or twice")
		}
		o.ended = strings.TrimPrefix(kind, "mcp_call.")
	default:
		return fmt.Errorf("does not belong into a call")
	}
	return nil
}

// functionStep takes the events of a call that the client is to carry out.
func (o *openItem) functionStep(kind string, f frame) error {
	switch {
	case kind == "function_call_arguments.delta" && !o.argued && f.Delta != nil && *f.Delta != "":
		o.arguments += *f.Delta
	case kind == "function_call_arguments.done" && !o.argued && f.Arguments != nil && *f.Arguments == o.arguments && f.Name == o.Name:
		o.argued = true
	default:
		return fmt.Errorf("does not belong into a call of a function, or not here: %s", f.data)
	}
	return nil
}

func (g *grammar) done(f frame) error {
	var it item
	if err := json.Unmarshal(f.Item, &it); err != nil {
		return err
	}
	o := g.open
	switch {
	case o == nil || it.ID != o.ID || f.OutputIndex == nil || *f.OutputIndex != o.index || it.Type != o.Type:
		return fmt.Errorf("is not the open item: %s", f.Item)
	case partKeys[it.Type] != "" && (!o.partDone || it.text() != o.text):
		return fmt.Errorf("item is not what was streamed (%q): %s", o.text, f.Item)
	case it.Type == "function_call" && (!o.argued || it.Arguments != o.arguments || it.Name != o.Name || it.CallID != o.CallID):
		return fmt.Errorf("call is not what was streamed (%q): %s", o.arguments, f.Item)
	case it.Type == "mcp_call" && (o.ended == "" || it.Arguments != o.arguments):
		return fmt.Errorf("a call is done without its end: %s", f.Item)
	case it.Type == "mcp_call" && (it.Error == nil) != (o.ended == "completed"):
		return fmt.Errorf("a call that %s has error %v", o.ended, it.Error)
	case it.Status != "completed" && it.Status != "incomplete" && it.Status != "failed":
		return fmt.Errorf("item ends in status %q", it.Status)
	}
	g.items, g.open = append(g.items, it), nil
	return nil
}

func (g *grammar) terminal(f frame) error {
	if g.open != nil {
		return fmt.Errorf("item %s is still open", g.open.ID)
	}
	r, err := g.snapshot(f)
	if err != nil {
		return err
	}
	kind := strings.TrimPrefix(f.Type, "response.")
	if r.Status != kind && !(kind == "incomplete" && r.Status == "cancelled" && r.reason() == "cancelled") {
		return fmt.Errorf("status %q", r.Status)
	}
	if (kind == "failed") != (r.Error != nil) || (kind == "incomplete") != (r.reason() != "") {
		return fmt.Errorf("error %v, incomplete_details %q", r.Error, r.reason())
	}
	if kind == "failed" && (f.Code == "" || f.Message == "" || f.Code != r.Error.Code) {
		return fmt.Errorf("failed without code or message: %s", f.data)
	}
	var texts []string
	for _, it := range g.items {
		if it.Type == "message" {
			texts = append(texts, it.text())
		}
	}
	g.text = strings.Join(texts, "")
	if r.OutputText != g.text && r.OutputText != strings.Join(texts, "\n\n") || kind != "failed" && f.OutputText != r.OutputText {
		return fmt.Errorf("output_text %q of %q", r.OutputText, texts)
	}
	g.final, g.end = r, f
	return nil
}

// calls are the items of tools that the server ran.
func (tn *turn) calls() []item { return tn.final.of("mcp_call") }

// of are the items of one type.
func (r response) of(kind string) []item {
	var out []item
	for _, it := range r.Output {
		if it.Type == kind {
			out = append(out, it)
		}
	}
	return out
}
