package anton

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	antonv1 "anthill/gen/anton/v1"
)

// reader collects the field errors of a body that is read by hand, because its
// fields take several shapes (openai-responses.md 6).
type reader struct {
	members map[string]json.RawMessage
	bad     []fieldError
}

func (d *reader) fail(typ, msg string, loc ...any) {
	d.bad = append(d.bad, fieldError{Type: typ, Loc: append([]any{"body"}, loc...), Msg: msg})
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

// decodeCreate reads the body of POST /v1/responses. What this version cannot
// do is refused by name, never ignored.
func decodeCreate(body []byte) (q *antonv1.CreateResponseRequest, stream *bool, bad []fieldError) {
	if f := checkText(body); f != nil {
		return nil, nil, []fieldError{*f}
	}
	members, err := splitObject(body)
	switch {
	case errors.Is(err, errNotObject):
		return nil, nil, []fieldError{{Type: "model_attributes_type", Loc: []any{"body"},
			Msg: "Input should be a valid dictionary or object to extract fields from"}}
	case err != nil:
		return nil, nil, []fieldError{notJSON(0, "JSON decode error")}
	}
	d := &reader{members: members}
	q = &antonv1.CreateResponseRequest{
		Model: d.str("model"), Instructions: d.str("instructions"), Project: d.str("project"),
		Conversation: d.conversation(), Input: d.input(),
	}
	d.read("stream", &stream, "bool_type", "Input should be a valid boolean")
	d.read("max_output_tokens", &q.MaxOutputTokens, "int_type", "Input should be a valid integer")
	d.read("temperature", &q.Temperature, "float_type", "Input should be a valid number")
	d.read("top_p", &q.TopP, "float_type", "Input should be a valid number")
	d.read("metadata", &q.Metadata, "dict_type", "Input should be a dictionary of strings")
	if d.has("disabled_connections") {
		q.HasDisabledConnections = true
		d.read("disabled_connections", &q.DisabledConnections, "list_type",
			"Input should be a list of {engine, name}")
		if slices.Contains(q.DisabledConnections, nil) {
			d.fail("model_attributes_type", "Input should be a valid object", "disabled_connections")
		}
	}
	d.refuseUnsupported()
	return q, stream, d.bad
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
	var items []json.RawMessage
	if json.Unmarshal(d.members["input"], &items) != nil {
		d.fail("string_type", "Input should be a valid string or a list of items", "input")
		return nil
	}
	var out []*antonv1.InputItem
	for i, raw := range items {
		var item struct {
			Type    *string         `json:"type"`
			Role    *string         `json:"role"`
			Content json.RawMessage `json:"content"`
		}
		switch {
		case json.Unmarshal(raw, &item) != nil || string(raw) == "null":
			d.fail("model_attributes_type", "Input should be a valid object", "input", i)
		case item.Type != nil && *item.Type != "message":
			d.fail("unsupported", fmt.Sprintf("Items of type '%s' are not supported by this version", *item.Type), "input", i, "type")
		case item.Role == nil:
			d.fail("missing", "Field required", "input", i, "role")
		case len(item.Content) == 0 || string(item.Content) == "null":
			d.fail("missing", "Field required", "input", i, "content")
		default:
			out = append(out, &antonv1.InputItem{Role: *item.Role, Text: d.content(item.Content, i)})
		}
	}
	return out
}

// content is text, or a list of text parts.
func (d *reader) content(raw json.RawMessage, i int) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		d.fail("string_type", "Input should be a valid string or a list of parts", "input", i, "content")
		return ""
	}
	for n, p := range parts {
		switch {
		case p.Type != "input_text" && p.Type != "output_text" && p.Type != "text":
			d.fail("unsupported", fmt.Sprintf("Content of type '%s' is not supported by this version", p.Type),
				"input", i, "content", n, "type")
		case p.Text == nil:
			d.fail("missing", "Field required", "input", i, "content", n, "text")
		default:
			text += *p.Text
		}
	}
	return text
}

// refuseUnsupported names what the request asks for beyond this version.
func (d *reader) refuseUnsupported() {
	no := func(name, what string) {
		d.fail("unsupported", what+" not supported by this version", name)
	}
	given := func(name string, empty ...string) bool {
		return d.has(name) && !slices.Contains(empty, string(d.members[name]))
	}
	if given("attachment_ids", "[]") {
		no("attachment_ids", "Attachments are")
	}
	if given("tools", "[]") {
		no("tools", "Tools declared by the client are")
	}
	if given("tool_choice", `"auto"`, `"none"`) {
		no("tool_choice", "A forced tool is")
	}
	if given("previous_response_id") {
		no("previous_response_id", "Continuing by response id is (name the conversation instead)")
	}
	if given("background", "false") {
		no("background", "Background mode is")
	}
	if given("store", "true") {
		no("store", "An answer that is not stored is")
	}
	if given("prompt") {
		no("prompt", "A stored prompt is")
	}
	if given("top_logprobs", "0") {
		no("top_logprobs", "Log probabilities are")
	}
	if d.has("text") {
		var t struct {
			Format *struct {
				Type string `json:"type"`
			} `json:"format"`
		}
		if json.Unmarshal(d.members["text"], &t) != nil {
			d.fail("dict_type", "Input should be a valid dictionary", "text")
		} else if t.Format != nil && t.Format.Type != "text" {
			no("text", "A text format other than 'text' is")
		}
	}
}
