package anton

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	antonv1 "anthill/gen/anton/v1"
)

// recordItems are items of OpenAI's own tools and of reasoning, which clients
// send back with a history. A model of another kind has no use for them.
var recordItems = []string{"reasoning", "compaction", "web_search_call", "file_search_call", "image_generation_call",
	"mcp_list_tools", "mcp_approval_request"}

// itemIn is an item of a request in all of its shapes.
type itemIn struct {
	Type      *string         `json:"type"`
	ID        string          `json:"id"`
	Role      *string         `json:"role"`
	Content   json.RawMessage `json:"content"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments string          `json:"arguments"`
	Output    json.RawMessage `json:"output"`
	Error     *string         `json:"error"`
	Code      string          `json:"code"`
	Container string          `json:"container_id"`
	Outputs   []wireLogs      `json:"outputs"`
}

// items reads a list of input items.
func (d *reader) items(name string) []*antonv1.InputItem {
	var raws []json.RawMessage
	if json.Unmarshal(d.members[name], &raws) != nil {
		d.fail("list_type", "Input should be a valid list of items", name)
		return nil
	}
	var out []*antonv1.InputItem
	for i, raw := range raws {
		var it itemIn
		if json.Unmarshal(raw, &it) != nil || string(raw) == "null" {
			d.fail("model_attributes_type", "Input should be a valid object", name, i)
			continue
		}
		out = append(out, d.item(it, name, i)...)
	}
	return out
}

func (d *reader) item(it itemIn, at ...any) []*antonv1.InputItem {
	kind := "message"
	if it.Type != nil {
		kind = *it.Type
	} else if it.Role == nil && it.ID != "" {
		kind = "item_reference" // its type may be left out
	}
	switch kind {
	case "message":
		return d.messageItem(it, at...)
	case "item_reference":
		if it.ID == "" {
			d.missing(at, "id")
		}
		return []*antonv1.InputItem{{ItemReference: it.ID}}
	case "function_call":
		d.required(at, "call_id", it.CallID)
		d.required(at, "name", it.Name)
		return []*antonv1.InputItem{{FunctionCall: &antonv1.FunctionCallItem{CallId: it.CallID, Name: it.Name, Arguments: it.Arguments}}}
	case "function_call_output":
		d.required(at, "call_id", it.CallID)
		return []*antonv1.InputItem{{FunctionCallOutput: &antonv1.FunctionCallOutput{CallId: it.CallID, Output: d.output(it.Output, at)}}}
	case "mcp_call": // a tool of the server, in an output that the client sends back
		d.required(at, "id", it.ID)
		d.required(at, "name", it.Name)
		var output string
		if given(it.Output) && json.Unmarshal(it.Output, &output) != nil {
			d.wrongText(at, "output")
		}
		if it.Error != nil {
			output = "Error: " + *it.Error
		}
		return []*antonv1.InputItem{
			{FunctionCall: &antonv1.FunctionCallItem{CallId: it.ID, Name: it.Name, Arguments: it.Arguments}},
			{FunctionCallOutput: &antonv1.FunctionCallOutput{CallId: it.ID, Output: output}}}
	}
	if kind == "code_interpreter_call" { // a cell, likewise
		d.required(at, "id", it.ID)
		return cellItems(it)
	}
	if !slices.Contains(recordItems, kind) {
		d.fail("unsupported", fmt.Sprintf("Items of type '%s' are not supported by this version", kind), append(at, "type")...)
	}
	return nil
}

// cellItems is a cell of a scratchpad as the call that it was.
func cellItems(it itemIn) []*antonv1.InputItem {
	input, err := json.Marshal(map[string]string{"action": "exec", "code": it.Code,
		"name": strings.TrimPrefix(it.Container, "scratchpad:")})
	if err != nil {
		return nil // strings always encode
	}
	var logs string
	for _, o := range it.Outputs {
		logs += o.Logs
	}
	return []*antonv1.InputItem{
		{FunctionCall: &antonv1.FunctionCallItem{CallId: it.ID, Name: "scratchpad", Arguments: string(input)}},
		{FunctionCallOutput: &antonv1.FunctionCallOutput{CallId: it.ID, Output: logs}}}
}

func (d *reader) missing(at []any, name string) {
	d.fail("missing", "Field required", append(slices.Clone(at), name)...)
}

func (d *reader) required(at []any, name, value string) {
	if value == "" {
		d.missing(at, name)
	}
}

func (d *reader) wrongText(at []any, name string) {
	d.fail("string_type", "Input should be a valid string", append(slices.Clone(at), name)...)
}

func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (d *reader) messageItem(it itemIn, at ...any) []*antonv1.InputItem {
	switch {
	case it.Role == nil:
		d.missing(at, "role")
	case !given(it.Content):
		d.missing(at, "content")
	default:
		m := &antonv1.InputItem{Role: *it.Role}
		var text string
		if json.Unmarshal(it.Content, &text) == nil {
			m.Text = text
		} else {
			m.Content = d.parts(it.Content, append(slices.Clone(at), "content"))
		}
		return []*antonv1.InputItem{m}
	}
	return nil
}

// partIn is a piece of content in the shapes of Responses and chat completions.
type partIn struct {
	Type     string          `json:"type"`
	Text     *string         `json:"text"`
	Refusal  *string         `json:"refusal"`
	ImageURL json.RawMessage `json:"image_url"`
	Detail   string          `json:"detail"`
	FileID   string          `json:"file_id"`
	Filename string          `json:"filename"`
	FileData string          `json:"file_data"`
	FileURL  string          `json:"file_url"`
	File     *struct {
		Filename string `json:"filename"`
		FileData string `json:"file_data"`
		FileID   string `json:"file_id"`
	} `json:"file"`
}

func (d *reader) parts(raw json.RawMessage, at []any) []*antonv1.ContentPart {
	var list []partIn
	if json.Unmarshal(raw, &list) != nil {
		d.fail("string_type", "Input should be a valid string or a list of parts", at...)
		return nil
	}
	var out []*antonv1.ContentPart
	for i, p := range list {
		if part := d.part(p, append(slices.Clone(at), i)); part != nil {
			out = append(out, part)
		}
	}
	return out
}

func (d *reader) part(p partIn, at []any) *antonv1.ContentPart {
	switch p.Type {
	case "input_text", "output_text", "text":
		if p.Text == nil {
			d.missing(at, "text")
			return nil
		}
		return &antonv1.ContentPart{Text: *p.Text}
	case "refusal":
		if p.Refusal == nil {
			d.missing(at, "refusal")
			return nil
		}
		return &antonv1.ContentPart{Text: *p.Refusal}
	case "input_image", "image_url":
		return d.image(p, at)
	case "input_file", "file":
		f := &antonv1.InputFile{Filename: p.Filename, Data: p.FileData, Url: p.FileURL}
		if p.File != nil {
			f.Filename, f.Data, p.FileID = p.File.Filename, p.File.FileData, p.File.FileID
		}
		if p.FileID != "" {
			d.fail("unsupported", "Files by id are not supported by this version: send file_data", append(at, "file_id")...)
			return nil
		}
		return &antonv1.ContentPart{File: f}
	}
	d.fail("unsupported", fmt.Sprintf("Content of type '%s' is not supported by this version", p.Type), append(at, "type")...)
	return nil
}

// image is a URL, by itself or in an object.
func (d *reader) image(p partIn, at []any) *antonv1.ContentPart {
	if p.FileID != "" {
		d.fail("unsupported", "Files by id are not supported by this version: send image_url", append(at, "file_id")...)
		return nil
	}
	img := &antonv1.InputImage{Detail: p.Detail}
	if !given(p.ImageURL) {
		d.missing(at, "image_url")
		return nil
	}
	if json.Unmarshal(p.ImageURL, &img.Url) != nil {
		var object struct {
			URL    string `json:"url"`
			Detail string `json:"detail"`
		}
		if json.Unmarshal(p.ImageURL, &object) != nil {
			d.wrongText(at, "image_url")
			return nil
		}
		img.Url, img.Detail = object.URL, object.Detail
	}
	return &antonv1.ContentPart{Image: img}
}

// output is what a client's tool gave: text, or parts of text.
func (d *reader) output(raw json.RawMessage, at []any) (text string) {
	at = append(slices.Clone(at), "output")
	if !given(raw) {
		d.fail("missing", "Field required", at...)
		return ""
	}
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	for _, p := range d.parts(raw, at) {
		if p.Image != nil || p.File != nil {
			d.fail("unsupported", "Images and files in the output of a tool are not supported by this version", at...)
			return ""
		}
		text += p.Text
	}
	return text
}
