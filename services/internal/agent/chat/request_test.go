package chat

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
	"anthill/services/internal/agent/wire/wiretest"
)

func ptr[T any](v T) *T { return &v }

var answered = wiretest.Stream(content("ok") + finish("stop") + done)

// sent is the body that a request makes.
func sent(t *testing.T, req agent.Request) map[string]any {
	t.Helper()
	var body map[string]any
	_, _, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Body(t, &body, answered)), req)
	if err != nil {
		t.Fatal(err)
	}
	delete(body, "stream")
	delete(body, "stream_options")
	delete(body, "model")
	return body
}

func TestBodies(t *testing.T) {
	user := func(parts ...agent.Part) []agent.Message {
		return []agent.Message{{Role: agent.RoleUser, Parts: parts}}
	}
	tool := []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{}`)}}
	const toolSent = `"messages":null,"tools":[{"type":"function","function":{"name":"t","description":"","parameters":{}}}]`
	for name, c := range map[string]struct {
		req  agent.Request
		want string
	}{
		"text": {agent.Request{Messages: []agent.Message{{Role: agent.RoleUser, Text: "hi"}}}, `{"messages":[{"role":"user","content":"hi"}]}`},
		"texts": {agent.Request{Messages: user(agent.Part{Text: "a"}, agent.Part{Text: "b"})},
			`{"messages":[{"role":"user","content":"a\n\nb"}]}`},
		"image": {agent.Request{Messages: user(agent.Part{Text: "what?"}, agent.Part{Image: &agent.Image{MIME: "image/png", Data: []byte("\x00\xff?"), Detail: "low"}})},
			`{"messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AP8/","detail":"low"}}]}]}`},
		"image URL": {agent.Request{Messages: user(agent.Part{Image: &agent.Image{URL: "https://h/x.png?a=1&b=2", Detail: "original"}})},
			`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://h/x.png?a=1&b=2","detail":"high"}}]}]}`},
		"file": {agent.Request{Messages: user(agent.Part{File: &agent.File{Name: "a.pdf", MIME: "application/pdf", Data: []byte("%PDF")}})},
			`{"messages":[{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="}}]}]}`},
		"options": {agent.Request{Effort: "high", Verbosity: "low", User: "u1", TopP: ptr(0.5), Parallel: ptr(true)},
			`{"messages":null,"reasoning_effort":"high","verbosity":"low","user":"u1","top_p":0.5}`},
		"JSON object": {agent.Request{Format: &agent.Format{}}, `{"messages":null,"response_format":{"type":"json_object"}}`},
		"JSON schema": {agent.Request{Format: &agent.Format{Name: "n", Description: "d", Schema: json.RawMessage(`{"b":1,"a":2}`), Strict: ptr(true)}},
			`{"messages":null,"response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"b":1,"a":2},"strict":true}}}`},
		"tool":           {agent.Request{Tools: tool, Parallel: ptr(false)}, `{` + toolSent + `,"parallel_tool_calls":false}`},
		"no tool":        {agent.Request{Tools: tool, ToolChoice: agent.ToolChoice{Mode: "none"}}, `{` + toolSent + `,"tool_choice":"none"}`},
		"any tool":       {agent.Request{Tools: tool, ToolChoice: agent.ToolChoice{Mode: "required"}}, `{` + toolSent + `,"tool_choice":"required"}`},
		"this tool":      {agent.Request{Tools: tool, ToolChoice: agent.ToolChoice{Mode: "tool", Name: "t"}}, `{` + toolSent + `,"tool_choice":{"type":"function","function":{"name":"t"}}}`},
		"choice of none": {agent.Request{ToolChoice: agent.ToolChoice{Mode: "required"}}, `{"messages":null}`},
		"strict tool": {agent.Request{Tools: []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{}`), Strict: ptr(true)}}},
			`{"messages":null,"tools":[{"type":"function","function":{"name":"t","description":"","parameters":{},"strict":true}}]}`},
	} {
		t.Run(name, func(t *testing.T) { wiretest.Same(t, sent(t, c.req), c.want) })
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

func TestWhatCannotBeSent(t *testing.T) {
	p := subject.Provider(t, wire.Options{}, func(http.ResponseWriter, *http.Request) { t.Error("the provider was called") })
	for code, req := range map[string]agent.Request{
		agent.CodeUnsupported: {Messages: []agent.Message{{Role: agent.RoleUser, Parts: []agent.Part{{File: &agent.File{URL: "https://h/a.pdf"}}}}}},
		agent.CodeInvalid:     {Tools: []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{`)}}},
	} {
		wiretest.Failed(t, ask(p, req), code)
	}
}

func ask(p agent.Provider, req agent.Request) error {
	_, _, err := wiretest.Collect(p, req)
	return err
}

// What a server does not take is left out, if the answer can do without.
func TestConcessions(t *testing.T) {
	req := agent.Request{
		Model: "m", Effort: "high", Verbosity: "low", User: "u", MaxTokens: 9, Temperature: ptr(1.5), TopP: ptr(0.1), Parallel: ptr(false),
		Tools: []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{}`)}},
	}
	wiretest.Concedes(t, subject, req, []wiretest.Dislike{
		{Field: "reasoning_effort", Says: `"qwen" does not support thinking`},
		{Field: "parallel_tool_calls", Says: "parallel_tool_calls: no"},
		{Field: "verbosity", Says: "Unknown parameter: 'verbosity'."},
		{Field: "user", Says: "Unrecognized request argument supplied: 'user'", Kept: true},
		{Field: "temperature", Says: "Unsupported value: 'temperature' does not support 1.5 with this model."},
		{Field: "top_p", Says: "Unsupported parameter: 'top_p'"},
		{Field: "max_tokens", Says: "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", Kept: true},
		{Field: "stream_options", Says: "stream_options: Extra inputs are not permitted", Kept: true},
	})
	// The format, an image and a file are what the answer is about.
	for field, req := range map[string]agent.Request{
		"response_format": {Format: &agent.Format{}},
		"image_url":       {Messages: []agent.Message{{Role: agent.RoleUser, Parts: []agent.Part{{Image: &agent.Image{URL: "https://h/x"}}}}}},
	} {
		n := 0
		p := subject.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
			n++
			http.Error(w, `{"error":{"message":"`+field+` is only supported by certain models"}}`, http.StatusBadRequest)
		})
		wiretest.Failed(t, ask(p, req), agent.CodeUnsupported)
		if n != 1 {
			t.Errorf("%s: %d calls", field, n)
		}
	}
}

func TestLargeImage(t *testing.T) {
	data := make([]byte, 4<<20)
	req := agent.Request{Messages: []agent.Message{{Role: agent.RoleUser, Parts: []agent.Part{{Image: &agent.Image{MIME: "image/png", Data: data}}}}}}
	got := sent(t, req)["messages"].([]any)[0].(map[string]any)["content"].([]any)[0].(map[string]any)["image_url"].(map[string]any)["url"].(string)
	if want := len("data:image/png;base64,") + (len(data)+2)/3*4; len(got) != want {
		t.Errorf("%d bytes, want %d", len(got), want)
	}
}
