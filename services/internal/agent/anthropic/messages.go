package anthropic

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/packages/param"
	"github.com/tidwall/gjson"
)

// goOn stands where the API wants a word of the user and the history has none:
// before an answer that opens it, and behind one that is to be carried on.
const goOn = "(continue)"

type block = sdk.ContentBlockParamUnion

// conversation is the history as the API has it: user and assistant in turn, the
// user first and last, and the results of calls at the head of a message.
func conversation(req agent.Request, d *dialect, v *wire.Verbatim) ([]sdk.MessageParam, error) {
	var out []sdk.MessageParam
	add := func(role sdk.MessageParamRole, blocks []block) {
		if n := len(out); len(blocks) > 0 && n > 0 && out[n-1].Role == role {
			out[n-1].Content = append(out[n-1].Content, blocks...)
		} else if len(blocks) > 0 {
			out = append(out, sdk.MessageParam{Role: role, Content: blocks})
		}
	}
	for _, m := range req.Messages {
		switch m.Role {
		case agent.RoleUser:
			blocks, err := question(m, v)
			if err != nil {
				return nil, err
			}
			add(sdk.MessageParamRoleUser, blocks)
		case agent.RoleTool:
			add(sdk.MessageParamRoleUser, results(m))
		case agent.RoleAssistant:
			if len(out) == 0 {
				add(sdk.MessageParamRoleUser, []block{sdk.NewTextBlock(goOn)})
			}
			var t trace
			if !d.noTrace {
				t = readTrace(m.Trace, req.Model)
			}
			add(sdk.MessageParamRoleAssistant, retell(m, t, v))
		}
	}
	if n := len(out); n == 0 || out[n-1].Role == sdk.MessageParamRoleAssistant {
		add(sdk.MessageParamRoleUser, []block{sdk.NewTextBlock(goOn)})
	}
	for _, m := range out {
		slices.SortStableFunc(m.Content, func(a, b block) int { return rank(a) - rank(b) })
	}
	return out, nil
}

func rank(b block) int {
	if b.OfToolResult != nil {
		return -1
	}
	return 0
}

func question(m agent.Message, v *wire.Verbatim) ([]block, error) {
	var out []block
	for _, c := range m.Content() {
		switch {
		case c.Image != nil:
			out = append(out, picture(c.Image, v))
		case c.File != nil:
			doc, err := document(c.File, v)
			if err != nil {
				return nil, err
			}
			out = append(out, doc)
		case !blank(c.Text):
			out = append(out, sdk.NewTextBlock(c.Text))
		}
	}
	return out, nil
}

func picture(img *agent.Image, v *wire.Verbatim) block {
	if img.Data != nil {
		return sdk.NewImageBlockBase64(img.MIME, v.Base64("", img.Data))
	}
	return sdk.NewImageBlock(sdk.URLImageSourceParam{URL: img.URL})
}

func document(f *agent.File, v *wire.Verbatim) (block, error) {
	doc := &sdk.DocumentBlockParam{}
	switch {
	case f.Data == nil:
		doc.Source.OfURL = &sdk.URLPDFSourceParam{URL: f.URL}
	case f.MIME == "" || f.MIME == "application/pdf":
		doc.Source.OfBase64 = &sdk.Base64PDFSourceParam{Data: v.Base64("", f.Data)}
	case strings.HasPrefix(f.MIME, "text/") && utf8.Valid(f.Data):
		doc.Source.OfText = &sdk.PlainTextSourceParam{Data: string(f.Data)}
	default:
		return block{}, agent.NewError(agent.Error{Code: agent.CodeUnsupported}, errors.New("anthropic: a document is a PDF or text"))
	}
	if f.Name != "" {
		doc.Title = sdk.String(f.Name)
	}
	return block{OfDocument: doc}, nil
}

func results(m agent.Message) []block {
	var out []block
	for _, r := range m.Results {
		res := &sdk.ToolResultBlockParam{ToolUseID: wire.CallID(r.ID)}
		if !blank(r.Content) {
			res.Content = []sdk.ToolResultBlockParamContentUnion{{OfText: &sdk.TextBlockParam{Text: r.Content}}}
		}
		if r.IsError {
			if res.Content == nil {
				res.Content = []sdk.ToolResultBlockParamContentUnion{{OfText: &sdk.TextBlockParam{Text: "Error"}}} // it may not be empty
			}
			res.IsError = sdk.Bool(true)
		}
		out = append(out, block{OfToolResult: res})
	}
	return out
}

// retell is an assistant's message with its thinking in place. Text that is not
// the one of the trace stands before the calls.
func retell(m agent.Message, t trace, v *wire.Verbatim) []block {
	var out []block
	text, exact := m.Text, t.size() == len(m.Text)
	say := func(n int) {
		if !blank(text[:n]) {
			out = append(out, sdk.NewTextBlock(text[:n]))
		}
		text = text[n:]
	}
	left := map[string]agent.ToolCall{}
	for _, c := range m.Calls {
		left[c.ID] = c
	}
	call := func(id string) {
		if c, ok := left[id]; ok {
			out = append(out, sdk.NewToolUseBlock(wire.CallID(c.ID), v.Mark(input(c)), c.Name))
			delete(left, id)
		}
	}
	for _, s := range t {
		switch {
		case s.Thinking != nil:
			out = append(out, param.Override[block](v.Mark(s.Thinking)))
		case s.Call != "":
			if !exact {
				say(len(text))
			}
			call(s.Call)
		case exact:
			say(s.Text)
		}
	}
	say(len(text))
	for _, c := range m.Calls {
		call(c.ID)
	}
	return out
}

// input is the object that a call is sent back with; a call that was cut off has none.
func input(c agent.ToolCall) json.RawMessage {
	raw := json.RawMessage(c.Input)
	if !json.Valid(raw) || !gjson.ParseBytes(raw).IsObject() {
		return json.RawMessage("{}")
	}
	return raw
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }
