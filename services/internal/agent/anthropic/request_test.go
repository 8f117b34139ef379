package anthropic

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
	"anthill/services/internal/agent/wire/wiretest"
)

func ptr[T any](v T) *T { return &v }

var answered = wiretest.Stream(subject.Says("ok", true))

const keep = `"cache_control":{"type":"ephemeral"}`

func TestBodies(t *testing.T) {
	const head = `"model":"m","stream":true,"max_tokens":8192`
	const hi = `"messages":[{"role":"user","content":[{"type":"text","text":"hi",` + keep + `}]}]`
	const toolSent = `"tools":[{"name":"t","input_schema":{"type":"object"},` + keep + `}]`
	user := func(text string) agent.Message { return agent.Message{Role: agent.RoleUser, Text: text} }
	parts := func(parts ...agent.Part) []agent.Message {
		return []agent.Message{{Role: agent.RoleUser, Parts: parts}}
	}
	assistant := func(text string, calls ...agent.ToolCall) agent.Message {
		return agent.Message{Role: agent.RoleAssistant, Text: text, Calls: calls}
	}
	call := func(id, input string) agent.ToolCall { return agent.ToolCall{ID: id, Name: "t", Input: input} }
	results := func(r ...agent.ToolResult) agent.Message { return agent.Message{Role: agent.RoleTool, Results: r} }
	tool := []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{"type":"object"}`)}}
	for name, c := range map[string]struct {
		req  agent.Request
		want string
	}{
		"plain": {agent.Request{}, `{` + head + `,` + hi + `}`},
		"options": {agent.Request{System: "sys", MaxTokens: 99, Temperature: ptr(1.5), TopP: ptr(0.5), Verbosity: "low", User: "u", Parallel: ptr(false)},
			`{"model":"m","stream":true,"max_tokens":99,` + hi + `,"system":[{"type":"text","text":"sys",` + keep + `}],"temperature":1,"top_p":0.5,"metadata":{"user_id":"u"}}`},
		"history": {agent.Request{Messages: []agent.Message{
			user("q <&>"), assistant("a", call("1", `{"x":1}`), call("a b", `{"x`)),
			results(agent.ToolResult{ID: "1", Content: "r"}, agent.ToolResult{ID: "a b", Content: "cut", IsError: true}),
		}}, `{` + head + `,"messages":[
			{"role":"user","content":[{"type":"text","text":"q <&>"}]},
			{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"1","name":"t","input":{"x":1}},{"type":"tool_use","id":"` + wire.CallID("a b") + `","name":"t","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r"}]},
				{"type":"tool_result","tool_use_id":"` + wire.CallID("a b") + `","is_error":true,"content":[{"type":"text","text":"cut"}],` + keep + `}]}]}`},
		"neighbours": {agent.Request{Messages: []agent.Message{
			user("a"), user(" "), user("b"), assistant("c"), assistant(" ", call("1", "{}")), assistant("d", call("2", `[]`)),
			results(agent.ToolResult{ID: "1"}), results(agent.ToolResult{ID: "2", IsError: true}), user("e"),
		}}, `{` + head + `,"messages":[
			{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
			{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"tool_use","id":"1","name":"t","input":{}},{"type":"text","text":"d"},{"type":"tool_use","id":"2","name":"t","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"},{"type":"tool_result","tool_use_id":"2","is_error":true,"content":[{"type":"text","text":"Error"}]},{"type":"text","text":"e",` + keep + `}]}]}`},
		"results go first": {agent.Request{Messages: []agent.Message{user("q"), assistant("", call("1", "{}")), user("wait"), results(agent.ToolResult{ID: "1", Content: "r"})}},
			`{` + head + `,"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"t","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r"}]},{"type":"text","text":"wait",` + keep + `}]}]}`},
		"assistant first and last": {agent.Request{Messages: []agent.Message{assistant("a"), user("b"), assistant("c ")}},
			`{` + head + `,"messages":[{"role":"user","content":[{"type":"text","text":"(continue)"}]},{"role":"assistant","content":[{"type":"text","text":"a"}]},{"role":"user","content":[{"type":"text","text":"b"}]},
			{"role":"assistant","content":[{"type":"text","text":"c "}]},{"role":"user","content":[{"type":"text","text":"(continue)",` + keep + `}]}]}`},
		"nothing": {agent.Request{Messages: []agent.Message{user(" ")}}, `{` + head + `,"messages":[{"role":"user","content":[{"type":"text","text":"(continue)",` + keep + `}]}]}`},
		"parts": {agent.Request{Messages: parts(
			agent.Part{Image: &agent.Image{MIME: "image/png", Data: []byte("\x00\xff?"), Detail: "low"}},
			agent.Part{Image: &agent.Image{URL: "https://h/x.png?a=1&b=2"}},
			agent.Part{File: &agent.File{Name: "a.pdf", MIME: "application/pdf", Data: []byte("%PDF")}},
			agent.Part{File: &agent.File{Name: "n.txt", MIME: "text/plain", Data: []byte("note")}},
			agent.Part{Text: " "}, agent.Part{File: &agent.File{URL: "https://h/b.pdf"}},
		)}, `{` + head + `,"messages":[{"role":"user","content":[
			{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AP8/"}},
			{"type":"image","source":{"type":"url","url":"https://h/x.png?a=1&b=2"}},
			{"type":"document","title":"a.pdf","source":{"type":"base64","media_type":"application/pdf","data":"JVBERg=="}},
			{"type":"document","title":"n.txt","source":{"type":"text","media_type":"text/plain","data":"note"}},
			{"type":"document","source":{"type":"url","url":"https://h/b.pdf"},` + keep + `}]}]}`},
		"JSON object": {agent.Request{System: "sys", Format: &agent.Format{}}, `{` + head + `,` + hi + `,"system":[{"type":"text","text":"sys"},
			{"type":"text","text":"Answer with one JSON object and nothing else: no other words, no code fence.",` + keep + `}]}`},
		"JSON schema": {agent.Request{Format: &agent.Format{Name: "n", Schema: json.RawMessage(`{"b":1,"a":2}`), Strict: ptr(true)}},
			`{` + head + `,` + hi + `,"output_config":{"format":{"type":"json_schema","schema":{"b":1,"a":2}}}}`},
		"tool":           {agent.Request{Tools: tool, Parallel: ptr(true)}, `{` + head + `,` + hi + `,` + toolSent + `}`},
		"one at a time":  {agent.Request{Tools: tool, Parallel: ptr(false)}, `{` + head + `,` + hi + `,` + toolSent + `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`},
		"no tool":        {agent.Request{Tools: tool, Parallel: ptr(false), ToolChoice: agent.ToolChoice{Mode: "none"}}, `{` + head + `,` + hi + `,` + toolSent + `,"tool_choice":{"type":"none"}}`},
		"any tool":       {agent.Request{Tools: tool, Parallel: ptr(false), ToolChoice: agent.ToolChoice{Mode: "required"}}, `{` + head + `,` + hi + `,` + toolSent + `,"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`},
		"this tool":      {agent.Request{Tools: tool, ToolChoice: agent.ToolChoice{Mode: "tool", Name: "t"}}, `{` + head + `,` + hi + `,` + toolSent + `,"tool_choice":{"type":"tool","name":"t"}}`},
		"choice of none": {agent.Request{ToolChoice: agent.ToolChoice{Mode: "required"}}, `{` + head + `,` + hi + `}`},
		"tools": {agent.Request{Tools: []agent.ToolSpec{{Name: "s", Description: "d", Schema: json.RawMessage(` { "properties" : {"x":{}} } `), Strict: ptr(true)}, tool[0]}},
			`{` + head + `,` + hi + `,"tools":[{"name":"s","description":"d","strict":true,"input_schema":{"type":"object","properties":{"x":{}}}},{"name":"t","input_schema":{"type":"object"},` + keep + `}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.req.Messages == nil {
				c.req.Messages = []agent.Message{user("hi")}
			}
			wiretest.Same(t, sent(t, c.req), c.want)
		})
	}
}

// sent is the body that a request makes.
func sent(t *testing.T, req agent.Request) map[string]any {
	t.Helper()
	var body map[string]any
	req.Model = "m"
	if _, _, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Body(t, &body, answered)), req); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestThinking(t *testing.T) {
	tool := []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{"type":"object"}`)}}
	user := agent.Message{Role: agent.RoleUser, Text: "q"}
	called := agent.Message{Role: agent.RoleAssistant, Calls: []agent.ToolCall{{ID: "1", Name: "t", Input: "{}"}}}
	result := agent.Message{Role: agent.RoleTool, Results: []agent.ToolResult{{ID: "1", Content: "r"}}}
	thought := called
	thought.Trace = trace{{Thinking: json.RawMessage(`{"type":"thinking","thinking":"x","signature":"s"}`)}, {Call: "1"}}.sealed("m")
	for name, c := range map[string]struct {
		req      agent.Request
		thinking string // "" for none
		most     float64
	}{
		"default":                  {agent.Request{}, "", 8192},
		"none":                     {agent.Request{Effort: "none"}, "", 8192},
		"minimal":                  {agent.Request{Effort: "minimal"}, "", 8192},
		"unknown":                  {agent.Request{Effort: "heroic"}, "", 8192},
		"low":                      {agent.Request{Effort: "low"}, "1024", 8192 + 1024},
		"medium":                   {agent.Request{Effort: "medium"}, "4096", 8192 + 4096},
		"high":                     {agent.Request{Effort: "high"}, "16384", 8192 + 16384},
		"xhigh":                    {agent.Request{Effort: "xhigh"}, "32768", 8192 + 32768},
		"within the client's":      {agent.Request{Effort: "high", MaxTokens: 8192}, "6144", 8192},
		"well within the client's": {agent.Request{Effort: "low", MaxTokens: 8192}, "1024", 8192},
		"no room":                  {agent.Request{Effort: "high", MaxTokens: 1200}, "", 1200},
		"forced":                   {agent.Request{Effort: "high", Tools: tool, ToolChoice: agent.ToolChoice{Mode: "required"}}, "", 8192},
		"forced to one":            {agent.Request{Effort: "high", Tools: tool, ToolChoice: agent.ToolChoice{Mode: "tool", Name: "t"}}, "", 8192},
		"not forced":               {agent.Request{Effort: "low", Tools: tool, ToolChoice: agent.ToolChoice{Mode: "none"}}, "1024", 8192 + 1024},
		"turn began without":       {agent.Request{Effort: "low", Messages: []agent.Message{user, called, result}}, "", 8192},
		"turn began with":          {agent.Request{Effort: "low", Messages: []agent.Message{user, thought, result, called, result}}, "1024", 8192 + 1024},
		"last turn without":        {agent.Request{Effort: "low", Messages: []agent.Message{user, called, result, user}}, "1024", 8192 + 1024},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.Temperature, c.req.TopP = ptr(0.5), ptr(0.5)
			body := sent(t, c.req)
			got := ""
			if th, ok := body["thinking"].(map[string]any); ok {
				got = fmt.Sprint(th["budget_tokens"])
				if th["type"] != "enabled" {
					t.Errorf("thinking %v", th)
				}
			}
			_, warm := body["temperature"]
			_, top := body["top_p"]
			if got != c.thinking || body["max_tokens"] != c.most || warm != (got == "") || top != (got == "") {
				t.Errorf("thinking %q, max_tokens %v, temperature %v, top_p %v", got, body["max_tokens"], warm, top)
			}
		})
	}
}

// Schemas arrive byte for byte: models read them in the order they are given.
func TestSchemasAreSentAsTheyAre(t *testing.T) {
	const tool, format = "{ \"z\": \"<a & b>\u2028\",\n\t\"type\": \"object\", \"a\": 1.0e2 }", `{"z" : {"y":"é", "b":10000000000000000000000}, "a":[ ]}`
	p := subject.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(raw) || !strings.Contains(string(raw), `"input_schema":`+tool) || !strings.Contains(string(raw), `"schema":`+format) {
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
		agent.CodeUnsupported: {Messages: []agent.Message{{Role: agent.RoleUser, Parts: []agent.Part{{File: &agent.File{MIME: "application/zip", Data: []byte("PK")}}}}}},
		agent.CodeInvalid:     {Tools: []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`[]`)}}},
	} {
		_, _, err := wiretest.Collect(p, req)
		wiretest.Failed(t, err, code)
	}
}

func TestConcessions(t *testing.T) {
	wiretest.Concedes(t, subject, agent.Request{
		Model: "m", System: "sys", User: "u", Temperature: ptr(0.5), TopP: ptr(0.1), Parallel: ptr(false),
		Tools:  []agent.ToolSpec{{Name: "t", Schema: json.RawMessage(`{}`)}},
		Format: &agent.Format{Schema: json.RawMessage(`{}`)},
	}, []wiretest.Dislike{
		{Field: "top_p", Says: "`temperature` and `top_p` cannot both be specified for this model. Please use only one.", Kept: true},
		{Field: "temperature", Says: "temperature: not supported by this model", Kept: true},
		{Field: "tool_choice.disable_parallel_tool_use", Says: "tool_choice.disable_parallel_tool_use: Extra inputs are not permitted"},
		{Field: "output_config", Says: "output_config.format: this model does not support structured outputs"},
		{Field: "metadata", Says: "metadata.user_id: no", Kept: true},
	})
	wiretest.Concedes(t, subject, agent.Request{Model: "m", Effort: "high"}, []wiretest.Dislike{
		{Field: "thinking.budget_tokens", Says: `"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort".`, Kept: true},
		{Field: "thinking", Says: "adaptive thinking is not supported on this model", Kept: true},
	})
	wiretest.Concedes(t, subject, agent.Request{Model: "m", Effort: "high"}, []wiretest.Dislike{
		{Field: "thinking", Says: "`max_tokens` must be greater than `thinking.budget_tokens`"},
	})
}

// A format that the API does not take becomes an instruction, so that it is not lost.
func TestFormatAsInstruction(t *testing.T) {
	var body map[string]any
	p := subject.Provider(t, wire.Options{}, wiretest.Body(t, &body, func(w http.ResponseWriter, r *http.Request) {
		if _, asked := body["output_config"]; asked {
			http.Error(w, `{"type":"error","error":{"type":"invalid_request_error","message":"output_config: Extra inputs are not permitted"}}`, http.StatusBadRequest)
			return
		}
		if sys := fmt.Sprint(body["system"]); !strings.Contains(sys, `{"properties":{"a":{}}}`) || !strings.Contains(sys, "JSON") {
			t.Errorf("system %s", sys)
		}
		answered(w, r)
	}))
	if _, _, err := wiretest.Collect(p, agent.Request{Format: &agent.Format{Schema: json.RawMessage(`{"properties":{"a":{}}}`)}}); err != nil {
		t.Error(err)
	}
}

func TestRefusedTraceAndLimits(t *testing.T) {
	kept := trace{{Thinking: json.RawMessage(`{"type":"thinking","thinking":"x","signature":"s"}`)}, {Text: 2}}.sealed("m")
	var body map[string]any
	n := 0
	p := subject.Provider(t, wire.Options{}, wiretest.Body(t, &body, func(w http.ResponseWriter, r *http.Request) {
		refuse := func(text string) {
			http.Error(w, `{"type":"error","error":{"type":"invalid_request_error","message":"`+text+`"}}`, http.StatusBadRequest)
		}
		switch n++; {
		case strings.Contains(fmt.Sprint(body["messages"]), "signature"):
			refuse("messages.1.content.0: Invalid `signature` in `thinking` block")
		case body["max_tokens"].(float64) > 4096:
			refuse("max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for m")
		case strings.Contains(fmt.Sprint(body), "cache_control"):
			refuse("cache_control: Extra inputs are not permitted")
		default:
			answered(w, r)
		}
	}))
	_, out, err := wiretest.Collect(p, agent.Request{Model: "m", System: "s", Messages: []agent.Message{
		{Role: agent.RoleUser, Text: "q"}, {Role: agent.RoleAssistant, Text: "hi", Trace: kept}, {Role: agent.RoleUser, Text: "q"},
	}})
	if err != nil || out.Text != "ok" || n != 4 {
		t.Errorf("%+v, %v, %d calls", out, err, n)
	}
}
