package anton

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"anthill/gateway/rest"
	antonv1 "anthill/gen/anton/v1"
)

// reader collects the field errors of a body that is read by hand, because its
// fields take several shapes (openai-responses.md 6).
type reader struct {
	members map[string]json.RawMessage
	bad     []rest.FieldError
}

func (d *reader) fail(typ, msg string, loc ...any) {
	d.bad = append(d.bad, rest.FieldError{Type: typ, Loc: append([]any{"body"}, loc...), Msg: msg})
}

// has says whether a member is given and not null.
func (d *reader) has(name string) bool {
	v, ok := d.members[name]
	return ok && string(v) != "null"
}

// read decodes an optional member; typ and msg say what it should have been.
func (d *reader) read(name string, into any, typ, msg string) {
	if d.has(name) && json.Unmarshal(d.members[name], into) != nil {
		d.fail(typ, msg, name)
	}
}

func (d *reader) str(name string) (s string) {
	d.read(name, &s, "string_type", "Input should be a valid string")
	return s
}

// openBody splits a JSON object into its members.
func openBody(body []byte) (*reader, []rest.FieldError) {
	if f := rest.CheckText(body); f != nil {
		return nil, []rest.FieldError{*f}
	}
	members, err := rest.SplitObject(body)
	switch {
	case errors.Is(err, rest.ErrNotObject):
		return nil, []rest.FieldError{{Type: "model_attributes_type", Loc: []any{"body"},
			Msg: "Input should be a valid dictionary or object to extract fields from"}}
	case err != nil:
		return nil, []rest.FieldError{rest.NotJSON(0, "JSON decode error")}
	}
	return &reader{members: members}, nil
}

// decodeCreate reads the body of POST /v1/responses. What this version cannot
// do is refused by name; only kinds of tools that it does not know are ignored.
func decodeCreate(body []byte) (q *antonv1.CreateResponseRequest, stream *bool, bad []rest.FieldError) {
	d, bad := openBody(body)
	if len(bad) > 0 {
		return nil, nil, bad
	}
	q = &antonv1.CreateResponseRequest{
		Model: d.str("model"), Instructions: d.str("instructions"), Project: d.str("project"),
		Conversation: d.conversation(), Input: d.input(), Options: d.options(),
	}
	d.read("stream", &stream, "bool_type", "Input should be a valid boolean")
	d.read("max_output_tokens", &q.MaxOutputTokens, "int_type", "Input should be a valid integer")
	d.sampling(q)
	if d.has("disabled_connections") {
		q.HasDisabledConnections = true
		d.read("disabled_connections", &q.DisabledConnections, "list_type",
			"Input should be a list of {engine, name}")
		if slices.Contains(q.DisabledConnections, nil) {
			d.fail("model_attributes_type", "Input should be a valid object", "disabled_connections")
		}
	}
	q.WhenBusy = d.str("when_busy")
	d.read("ephemeral", &q.Ephemeral, "bool_type", "Input should be a valid boolean")
	d.read("attachment_ids", &q.AttachmentIds, "list_type", "Input should be a valid list of strings")
	d.refuse("prompt", "A stored prompt is")
	d.refuse("top_logprobs", "Log probabilities are", "0")
	d.refuse("max_tool_calls", "A limit of tool calls is")
	var include []string
	d.read("include", &include, "list_type", "Input should be a valid list of strings")
	if slices.Contains(include, "message.output_text.logprobs") {
		d.fail("unsupported", "Log probabilities are not supported by this version", "include")
	}
	return q, stream, d.bad
}

// sampling reads what responses and chat completions have under one name.
func (d *reader) sampling(q *antonv1.CreateResponseRequest) {
	d.read("temperature", &q.Temperature, "float_type", "Input should be a valid number")
	d.read("top_p", &q.TopP, "float_type", "Input should be a valid number")
	d.read("metadata", &q.Metadata, "dict_type", "Input should be a dictionary of strings")
}

// refuse names a member that asks for more than this version can do.
func (d *reader) refuse(name, what string, harmless ...string) {
	if d.has(name) && !slices.Contains(harmless, string(d.members[name])) {
		d.fail("unsupported", what+" not supported by this version", name)
	}
}

func (d *reader) conversation() string {
	if !d.has("conversation") {
		return ""
	}
	var id string
	if json.Unmarshal(d.members["conversation"], &id) == nil {
		return id
	}
	var object struct {
		ID *string `json:"id"`
	}
	if json.Unmarshal(d.members["conversation"], &object) != nil {
		d.fail("string_type", "Input should be a valid string or an object with an id", "conversation")
	} else if object.ID == nil {
		d.fail("missing", "Field required", "conversation", "id")
	} else {
		return *object.ID
	}
	return ""
}

func (d *reader) input() []*antonv1.InputItem {
	if !d.has("input") {
		d.fail("missing", "Field required", "input")
		return nil
	}
	var text string
	if json.Unmarshal(d.members["input"], &text) == nil {
		return []*antonv1.InputItem{{Role: "user", Text: text}}
	}
	return d.items("input")
}

// options reads the parameters that a response repeats.
func (d *reader) options() *antonv1.RequestOptions {
	o := &antonv1.RequestOptions{PreviousResponseId: d.str("previous_response_id"), Tools: d.tools(), ToolChoice: d.toolChoice(),
		Truncation: d.str("truncation"),
		User:       cmp.Or(d.str("user"), d.str("safety_identifier"))}
	d.read("parallel_tool_calls", &o.ParallelToolCalls, "bool_type", "Input should be a valid boolean")
	d.read("background", &o.Background, "bool_type", "Input should be a valid boolean")
	d.read("store", &o.Store, "bool_type", "Input should be a valid boolean")
	if d.has("reasoning") {
		o.Reasoning = &antonv1.Reasoning{}
		d.read("reasoning", o.Reasoning, "dict_type", "Input should be an object with effort and summary")
	}
	if d.has("text") {
		var t struct {
			Verbosity string          `json:"verbosity"`
			Format    json.RawMessage `json:"format"`
		}
		d.read("text", &t, "dict_type", "Input should be a valid dictionary")
		o.Verbosity = t.Verbosity
		o.TextFormat = d.format(t.Format, "text", "format")
	}
	return o
}

// formatIn is the shape of the answer, as responses give it.
type formatIn struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Strict      *bool           `json:"strict"`
}

func (d *reader) format(raw json.RawMessage, at ...any) *antonv1.TextFormat {
	if !given(raw) {
		return nil
	}
	var f formatIn
	if json.Unmarshal(raw, &f) != nil {
		d.fail("dict_type", "Input should be a valid dictionary", at...)
		return nil
	}
	d.required(at, "type", f.Type)
	return f.message()
}

func (f formatIn) message() *antonv1.TextFormat {
	return &antonv1.TextFormat{Type: f.Type, Name: f.Name, Description: f.Description, Schema: string(f.Schema), Strict: f.Strict}
}

// functionIn is a tool that a client declares.
type functionIn struct {
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"`
}

// tools reads the functions among the tools: other kinds are somebody else's.
func (d *reader) tools() []*antonv1.FunctionTool {
	if !d.has("tools") {
		return nil
	}
	var list []struct {
		functionIn
		Type     string      `json:"type"`
		Function *functionIn `json:"function"` // of chat completions
	}
	if json.Unmarshal(d.members["tools"], &list) != nil {
		d.fail("list_type", "Input should be a valid list of tools", "tools")
		return nil
	}
	var out []*antonv1.FunctionTool
	for i, t := range list {
		if t.Type != "function" {
			continue
		}
		f := t.functionIn
		if t.Function != nil {
			f = *t.Function
		}
		d.required([]any{"tools", i}, "name", f.Name)
		tool := &antonv1.FunctionTool{Name: f.Name, Strict: f.Strict}
		if f.Description != nil {
			tool.Description = *f.Description
		}
		if given(f.Parameters) {
			tool.Parameters = string(f.Parameters)
		}
		out = append(out, tool)
	}
	return out
}

func (d *reader) toolChoice() *antonv1.ToolChoice {
	if !d.has("tool_choice") {
		return nil
	}
	raw := d.members["tool_choice"]
	var mode string
	if json.Unmarshal(raw, &mode) == nil {
		return &antonv1.ToolChoice{Mode: mode}
	}
	type named struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Function *struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	type several struct {
		Mode  string  `json:"mode"`
		Tools []named `json:"tools"`
	}
	var c struct {
		named
		several
		Allowed *several `json:"allowed_tools"` // of chat completions
	}
	if json.Unmarshal(raw, &c) != nil {
		d.fail("string_type", "Input should be 'auto', 'none', 'required' or an object", "tool_choice")
		return nil
	}
	nameOf := func(n named) string {
		if n.Function != nil {
			return n.Function.Name
		}
		return n.Name
	}
	switch c.Type {
	case "function":
		return &antonv1.ToolChoice{Mode: "function", Name: nameOf(c.named)}
	case "allowed_tools":
		if c.Allowed != nil {
			c.several = *c.Allowed
		}
		out := &antonv1.ToolChoice{Mode: c.Mode}
		for _, t := range c.Tools {
			if t.Type == "function" {
				out.Allowed = append(out.Allowed, nameOf(t))
			}
		}
		return out
	}
	d.fail("unsupported", fmt.Sprintf("A tool choice of type '%s' is not supported by this version", c.Type), "tool_choice", "type")
	return nil
}
