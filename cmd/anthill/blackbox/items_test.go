package blackbox

import (
	"net/http"
	"strings"
	"testing"
)

// Two calls of one answer keep their own arguments and results.
func TestStreamKeepsTwoCallsApart(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.put("/v1/projects/general/files/a.txt", object{"content": "content of a"}).ok()
	s.put("/v1/projects/general/files/b.txt", object{"content": "content of b"}).ok()
	st := s.ask(object{"input": "read both", "conversation": "two"})
	c := p.next()
	c.text("Reading. ").tool(0, "call_a", "read_file", `{"path":"a.txt"}`).tool(1, "call_b", "read_file", `{"path":"b.txt"}`)
	c.finish("tool_calls")
	c = p.next()
	if err := c.paired(); err != nil {
		t.Error(err)
	}
	for _, m := range c.Messages {
		if m.Role == "tool" && !strings.Contains(m.text(), "content of "+strings.TrimPrefix(m.ToolCallID, "call_")) {
			t.Errorf("the model sees %q as the result of %s", m.text(), m.ToolCallID)
		}
	}
	c.say("Both read.")
	tn := st.turn()
	calls := tn.calls()
	if len(calls) != 2 {
		t.Fatalf("%d calls: %+v", len(calls), calls)
	}
	for i, name := range []string{"a", "b"} {
		it := calls[i]
		if it.Status != "completed" || it.Output == nil || !strings.Contains(*it.Output, "content of "+name) ||
			!strings.Contains(it.Arguments, name+".txt") {
			t.Errorf("call %d: %+v", i, it)
		}
	}
	if tn.text != "Reading. Both read." {
		t.Errorf("text %q", tn.text)
	}
}

// What a model calls wrongly is told to it, and shown as failed.
func TestStreamShowsFailedCalls(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for name, tc := range map[string]struct{ tool, arguments string }{
		"missing file": {"read_file", `{"path":"missing.txt"}`},
		"traversal":    {"read_file", `{"path":"../../../../../../etc/passwd"}`},
		"absolute":     {"read_file", `{"path":"/etc/passwd"}`},
		"unknown tool": {"launch_rocket", `{}`},
		"cut off":      {"read_file", `{"path":"notes`},
		"no object":    {"read_file", `[]`},
		"wrong type":   {"read_file", `{"path":7}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			st := s.ask(object{"input": "go"})
			p.nextFor(t).tool(0, "call_1", tc.tool, tc.arguments).finish("tool_calls")
			c := p.nextFor(t)
			if err := c.paired(); err != nil {
				t.Error(err)
			}
			last := c.Messages[len(c.Messages)-1]
			if last.Role != "tool" || last.text() == "" || strings.Contains(last.text(), "root:") || strings.Contains(last.text(), s.home) {
				t.Errorf("the model is told %+v", last)
			}
			c.say("sorry")
			tn := st.turn()
			if tn.text != "sorry" || tn.end.Type != "response.completed" {
				t.Errorf("%s %q", tn.end.Type, tn.text)
			}
			for _, it := range tn.calls() {
				if it.Status != "failed" || it.Error == nil || *it.Error == "" {
					t.Errorf("call %+v", it)
				}
			}
		})
	}
}

// An OpenAI SDK never sees a key named error at the top of an event; everybody
// else gets what the page promises.
func TestStreamForSDKs(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.fail(http.StatusUnauthorized, `{"error":{"message":"no"}}`, nil) })
	s := start(t, withModel(p))
	for name, tc := range map[string]struct {
		header http.Header
		sdk    bool
	}{
		"anybody":       {nil, false},
		"openai-js":     {headers("X-Stainless-Lang", "js", "User-Agent", "OpenAI/JS 6.49.0"), true},
		"by user agent": {headers("User-Agent", "ai-sdk/openai/3.0"), true},
	} {
		t.Run(name, func(t *testing.T) {
			tn := s.with(t).ask(object{"input": "q"}, tc.header).turn()
			o := decode[object](t, tn.end.data)
			_, has := o["error"]
			if has == tc.sdk || o["message"] == "" || o["code"] != "provider_auth" || o["status"] == nil {
				t.Errorf("failed event: %s", tn.end.data)
			}
		})
	}
}

// What a request sets reaches the model, and stands in the answer.
func TestStreamEchoesTheRequest(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": []object{{"role": "system", "content": "Be brief."}, {"role": "user", "content": "first"},
		{"role": "assistant", "content": "yes?"}, {"role": "user", "content": []object{{"type": "input_text", "text": "sec"}, {"type": "input_text", "text": "ond"}}}},
		"instructions": "Speak Greek.", "temperature": 0.5, "top_p": 0.25, "max_output_tokens": 77, "metadata": object{"k": "v"}, "model": "special",
		"conversation": "echo"})
	c := p.next()
	sent := decode[object](t, c.body)
	if c.Model != "special" || sent["temperature"] != 0.5 || sent["top_p"] != 0.25 || sent["max_tokens"] != 77.0 || sent["stream"] != true {
		t.Errorf("the model is sent %s", clip(c.body))
	}
	system := c.Messages[0].text()
	if c.Messages[0].Role != "system" || !strings.Contains(system, "Speak Greek.") || !strings.Contains(system, "Be brief.") {
		t.Errorf("system prompt: %q", system)
	}
	if got := strings.Join(c.transcript(), "|"); got != "user: first|assistant: yes?|user: second" {
		t.Errorf("the model sees %s", got)
	}
	c.say("done")
	tn := st.turn()
	var full struct {
		Instructions    string
		Temperature     float64
		TopP            float64           `json:"top_p"`
		MaxOutputTokens int               `json:"max_output_tokens"`
		Metadata        map[string]string `json:"metadata"`
		Model           string
	}
	decodeInto(t, tn.end.Response, &full)
	if !strings.Contains(full.Instructions, "Speak Greek.") || full.Temperature != 0.5 || full.TopP != 0.25 || full.MaxOutputTokens != 77 ||
		full.Metadata["k"] != "v" || full.Model != "special" {
		t.Errorf("the response says %+v", full)
	}
	if ms := messages(t, s, "echo"); ms[0].Content != "second" {
		t.Errorf("the user's message is kept as %q", ms[0].Content)
	}
	// Instructions are for their turn only.
	st = s.ask(object{"input": "third", "conversation": "echo"})
	c = p.next()
	if strings.Contains(c.Messages[0].text(), "Greek") {
		t.Errorf("system prompt of the next turn: %q", c.Messages[0].text())
	}
	c.say("done")
	st.turn()
	s.put("/v1/projects/general/files/.anton/anton.md", object{"content": "Always mention ants."}).ok()
	st = s.ask(object{"input": "fourth", "conversation": "echo"})
	c = p.next()
	if !strings.Contains(c.Messages[0].text(), "Always mention ants.") {
		t.Errorf("the project's instructions are not in %q", c.Messages[0].text())
	}
	c.say("done")
	st.turn()
}
