package responses

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
	"anthill/services/internal/agent/wire/wiretest"

	"github.com/tidwall/gjson"
)

func ptr[T any](v T) *T { return &v }

var answered = wiretest.Stream(subject.Says("ok", true))

func TestBodies(t *testing.T) {
	const head = `"model":"m","stream":true,"store":false,"include":["reasoning.encrypted_content"]`
	const hi = `"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]`
	const toolSent = `"tools":[{"type":"function","name":"t","parameters":{},"strict":false}]`
	user := func(parts ...agent.Part) []agent.Message {
		return []agent.Message{{Role: agent.RoleUser, Parts: parts}}
	}
	tool := []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{}`)}}
	for name, c := range map[string]struct {
		req  agent.Request
		want string
	}{
		"plain": {agent.Request{}, `{` + head + `,` + hi + `}`},
		"all": {agent.Request{System: "sys", MaxTokens: 99, Temperature: ptr(0.0), TopP: ptr(0.5), Effort: "high", Verbosity: "low", User: "u", Parallel: ptr(true)},
			`{` + head + `,` + hi + `,"instructions":"sys","max_output_tokens":99,"temperature":0,"top_p":0.5,
			"reasoning":{"effort":"high","summary":"auto"},"text":{"verbosity":"low"},"user":"u"}`},
		"no effort": {agent.Request{Effort: "none"}, `{` + head + `,` + hi + `,"reasoning":{"effort":"none"}}`},
		"history": {agent.Request{Messages: []agent.Message{
			{Role: agent.RoleUser, Text: "q <&>"},
			{Role: agent.RoleAssistant, Text: "a", Calls: []agent.ToolCall{{ID: "1", Name: "t", Input: `{"x":1}`}, {ID: "a b", Name: "t", Input: `{"x`}}},
			{Role: agent.RoleTool, Results: []agent.ToolResult{{ID: "1", Content: "r"}, {ID: "a b", Content: "cut", IsError: true}}},
		}}, `{` + head + `,"input":[
			{"type":"message","role":"user","content":[{"type":"input_text","text":"q <&>"}]},
			{"type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"a","annotations":[]}]},
			{"type":"function_call","call_id":"1","name":"t","arguments":"{\"x\":1}"},
			{"type":"function_call","call_id":"` + wire.CallID("a b") + `","name":"t","arguments":"{}"},
			{"type":"function_call_output","call_id":"1","output":"r"},
			{"type":"function_call_output","call_id":"` + wire.CallID("a b") + `","output":"Error: cut"}]}`},
		"parts": {agent.Request{Messages: user(
			agent.Part{Text: "what?"},
			agent.Part{Image: &agent.Image{MIME: "image/png", Data: []byte("\x00\xff?"), Detail: "low"}},
			agent.Part{Image: &agent.Image{URL: "https://h/x.png?a=1&b=2"}},
			agent.Part{File: &agent.File{Name: "a.pdf", MIME: "application/pdf", Data: []byte("%PDF")}},
			agent.Part{File: &agent.File{Name: "b.pdf", URL: "https://h/b.pdf"}},
		)}, `{` + head + `,"input":[{"type":"message","role":"user","content":[
			{"type":"input_text","text":"what?"},
			{"type":"input_image","image_url":"data:image/png;base64,AP8/","detail":"low"},
			{"type":"input_image","image_url":"https://h/x.png?a=1&b=2","detail":"auto"},
			{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="},
			{"type":"input_file","file_url":"https://h/b.pdf"}]}]}`},
		"JSON object": {agent.Request{Format: &agent.Format{}}, `{` + head + `,` + hi + `,"text":{"format":{"type":"json_object"}}}`},
		"JSON schema": {agent.Request{Format: &agent.Format{Name: "n", Description: "d", Schema: json.RawMessage(`{"b":1,"a":2}`), Strict: ptr(true)}},
			`{` + head + `,` + hi + `,"text":{"format":{"type":"json_schema","name":"n","description":"d","schema":{"b":1,"a":2},"strict":true}}}`},
		"tool":           {agent.Request{Tools: tool, Parallel: ptr(false)}, `{` + head + `,` + hi + `,` + toolSent + `,"parallel_tool_calls":false}`},
		"no tool":        {agent.Request{Tools: tool, ToolChoice: agent.ToolChoice{Mode: "none"}}, `{` + head + `,` + hi + `,` + toolSent + `,"tool_choice":"none"}`},
		"any tool":       {agent.Request{Tools: tool, ToolChoice: agent.ToolChoice{Mode: "required"}}, `{` + head + `,` + hi + `,` + toolSent + `,"tool_choice":"required"}`},
		"this tool":      {agent.Request{Tools: tool, ToolChoice: agent.ToolChoice{Mode: "tool", Name: "t"}}, `{` + head + `,` + hi + `,` + toolSent + `,"tool_choice":{"type":"function","name":"t"}}`},
		"choice of none": {agent.Request{ToolChoice: agent.ToolChoice{Mode: "required"}}, `{` + head + `,` + hi + `}`},
		"strict tool": {agent.Request{Tools: []agent.ToolSpec{{Name: "t", Description: "d", Schema: json.RawMessage(`{}`), Strict: ptr(true)}}},
			`{` + head + `,` + hi + `,"tools":[{"type":"function","name":"t","description":"d","parameters":{},"strict":true}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			var body map[string]any
			c.req.Model = "m"
			if c.req.Messages == nil {
				c.req.Messages = []agent.Message{{Role: agent.RoleUser, Text: "hi"}}
			}
			_, _, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Body(t, &body, answered)), c.req)
			if err != nil {
				t.Fatal(err)
			}
			wiretest.Same(t, body, c.want)
		})
	}
}

// Schemas arrive byte for byte: models read them in the order they are given.
func TestSchemasAreSentAsTheyAre(t *testing.T) {
	const tool, format = "{ \"z\": \"<a & b>\u2028\",\n\t\"a\": 1.0e2 }", `{"z" : {"y":"é", "b":10000000000000000000000}, "a":[ ]}`
	p := subject.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(raw) || !strings.Contains(string(raw), `"parameters":`+tool) || !strings.Contains(string(raw), `"schema":`+format) {
			t.Errorf("%s, %v", raw, err)
		}
		answered(w, r)
	})
	_, _, err := wiretest.Collect(p, agent.Request{
		Tools: []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(tool)}}, Format: &agent.Format{Schema: json.RawMessage(format)},
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConcessions(t *testing.T) {
	wiretest.Concedes(t, subject, agent.Request{
		Model: "m", Effort: "high", Verbosity: "low", User: "u", Temperature: ptr(1.5), TopP: ptr(0.1), Parallel: ptr(false),
		Tools: []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{}`)}},
	}, []wiretest.Dislike{
		{Field: "include", Says: "Encrypted content is not supported with this model.", Kept: true},
		{Field: "reasoning.summary", Says: "Your organization must be verified to generate reasoning summaries. 'reasoning.summary'", Kept: true},
		{Field: "reasoning", Says: "Unsupported parameter: 'reasoning.effort' is not supported with this model."},
		{Field: "parallel_tool_calls", Says: "parallel_tool_calls: no"},
		{Field: "text.verbosity", Says: "Unsupported parameter: 'text.verbosity'"},
		{Field: "user", Says: "Unknown parameter: 'user'.", Kept: true},
		{Field: "temperature", Says: "Unsupported parameter: 'temperature' is not supported with this model."},
		{Field: "top_p", Says: "Unsupported parameter: 'top_p'"},
	})
}

// Reasoning that a server cannot read any more is left out.
func TestRefusedTrace(t *testing.T) {
	kept := trace{{Reasoning: thoughtOf(t, reasoned("rs0", "x"))}, {Message: true}}.sealed("m")
	for _, refusal := range []string{
		`The encrypted content for item rs0 could not be verified.`,
		`Item 'rs0' of type 'reasoning' was provided without its required following item.`,
	} {
		n := 0
		p := subject.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
			raw, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			if n++; strings.Contains(string(raw), "sealed-rs0") {
				http.Error(w, `{"error":{"message":"`+refusal+`"}}`, http.StatusBadRequest)
				return
			}
			answered(w, r)
		})
		_, out, err := wiretest.Collect(p, agent.Request{Model: "m", Messages: []agent.Message{{Role: agent.RoleAssistant, Text: "hi", Trace: kept}}})
		if err != nil || out.Text != "ok" || n != 2 {
			t.Errorf("%+v, %v, %d calls", out, err, n)
		}
	}
}

func thoughtOf(t *testing.T, item string) json.RawMessage {
	t.Helper()
	return thought(gjson.Parse(item))
}
