package blackbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// provider plays a model: a server of OpenAI's chat completions whose every
// answer is written by the test, chunk by chunk, when the test says so.
type provider struct {
	t       *testing.T
	url     string
	key     string
	calls   chan *call
	auto    func(*call) // answers at once instead of the test; may be nil
	mu      sync.Mutex
	seen    []*call // all of them, oldest first
	stopped chan struct{}
	stop    sync.Once
}

// newProvider starts one. auto may be nil: then each call waits for next.
func newProvider(t *testing.T, auto func(*call)) *provider {
	p := &provider{t: t, key: "sk-test-provider-key", calls: make(chan *call), auto: auto, stopped: make(chan struct{})}
	srv := httptest.NewServer(p)
	p.url = srv.URL
	t.Cleanup(func() {
		p.abort()
		srv.CloseClientConnections()
		srv.Close()
	})
	return p
}

// env points a program at it.
func (p *provider) env() []string {
	return []string{"ANTON_PLANNING_PROVIDER=openai-compatible", "ANTON_OPENAI_BASE_URL=" + p.url,
		"ANTON_OPENAI_API_KEY=" + p.key, "ANTON_PLANNING_MODEL=scripted",
		"ANTON_CONTEXT_WINDOW=10000000"} // tests of compaction say how long is too long
}

// abort ends all calls and refuses further ones, so that nothing waits for them.
func (p *provider) abort() { p.stop.Do(func() { close(p.stopped) }) }

// call is one request for a completion.
type call struct {
	t        *testing.T
	header   http.Header
	body     []byte
	Model    string           `json:"model"`
	Messages []chatMessage    `json:"messages"`
	Tools    []map[string]any `json:"tools"`

	steps chan func(http.ResponseWriter) bool
	over  chan struct{} // closed when the handler has returned
	gone  chan struct{} // closed when the caller hung up
	w     http.ResponseWriter
}

type chatMessage struct {
	Role       string `json:"role"`
	Content    any    `json:"content"`
	ToolCallID string `json:"tool_call_id"`
	ToolCalls  []struct {
		ID       string `json:"id"`
		Function struct {
			Name, Arguments string
		} `json:"function"`
	} `json:"tool_calls"`
}

// text is the content, however it is written.
func (m chatMessage) text() string {
	switch c := m.Content.(type) {
	case string:
		return c
	case []any:
		all := ""
		for _, part := range c {
			part, _ := part.(object)
			s, _ := part["text"].(string)
			all += s
		}
		return all
	}
	return ""
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller hung up
	}
	if r.Method == http.MethodGet && r.URL.Path == "/v1/models" { // asked whether it works
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"scripted"}]}`)
		return
	}
	c := &call{t: p.t, header: r.Header.Clone(), body: body, steps: make(chan func(http.ResponseWriter) bool),
		over: make(chan struct{}), gone: make(chan struct{})}
	defer close(c.over)
	if r.Method == http.MethodGet && r.URL.Path == "/v1/models" { // how it is asked whether it is there
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"scripted","object":"model","created":1,"owned_by":"test"}]}`) // as above
		return
	}
	if err := json.Unmarshal(body, c); err != nil || r.URL.Path != "/v1/chat/completions" {
		p.t.Errorf("provider: %s %s: %v", r.Method, r.URL.Path, err)
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.seen = append(p.seen, c)
	p.mu.Unlock()
	select {
	case <-p.stopped:
		http.Error(w, "over", http.StatusUnauthorized)
		return
	default:
	}
	if p.auto != nil {
		c.w = w
		p.auto(c)
		return
	}
	select {
	case p.calls <- c:
	case <-p.stopped:
		http.Error(w, "over", http.StatusUnauthorized)
		return
	case <-r.Context().Done():
		close(c.gone)
		return
	}
	for {
		select {
		case step := <-c.steps:
			if !step(w) {
				return
			}
		case <-r.Context().Done():
			close(c.gone)
			return
		case <-p.stopped:
			panic(http.ErrAbortHandler)
		}
	}
}

// next is the next call; the test writes its answer.
func (p *provider) next() *call {
	p.t.Helper()
	return p.nextFor(p.t)
}

func (p *provider) nextFor(t *testing.T) *call {
	t.Helper()
	select {
	case c := <-p.calls:
		c.t = t
		return c
	case <-time.After(patience):
		t.Fatal("the provider was not called")
		return nil
	}
}

// about is the newest call in which this is what the user says last.
func (p *provider) about(t *testing.T, question string) *call {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Backward(p.seen) {
		if c.asked() == question {
			return c
		}
	}
	t.Fatalf("the provider was not asked %q", question)
	return nil
}

// do runs a step of the answer in the handler; false ends the answer.
func (c *call) do(step func(http.ResponseWriter) bool) {
	c.t.Helper()
	if !c.try(step) {
		c.t.Error("the caller did not wait for the answer")
	}
}

// try is do, unless the caller has hung up.
func (c *call) try(step func(http.ResponseWriter) bool) bool {
	if c.w != nil {
		step(c.w)
		return true
	}
	select {
	case c.steps <- step:
		return true
	case <-c.over:
	case <-time.After(patience): // the caller reads nothing
	}
	return false
}

// raw writes bytes of the event stream.
func (c *call) raw(s string) *call {
	c.t.Helper()
	c.do(func(w http.ResponseWriter) bool { write(w, s); return true })
	return c
}

func write(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/event-stream")
	// Whether the caller still reads is told by the request's context.
	if _, err := io.WriteString(w, s); err == nil {
		w.(http.Flusher).Flush()
	}
}

func chunk(delta object, finish any) string {
	b, err := json.Marshal(object{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
		"choices": []object{{"index": 0, "delta": delta, "finish_reason": finish}}})
	if err != nil {
		panic(err) // maps of strings
	}
	return "data: " + string(b) + "\n\n"
}

// text sends a piece of the answer.
func (c *call) text(s string) *call { c.t.Helper(); return c.raw(chunk(object{"content": s}, nil)) }

// tool sends a whole tool call.
func (c *call) tool(index int, id, name, arguments string) *call {
	c.t.Helper()
	return c.raw(chunk(object{"tool_calls": []object{{"index": index, "id": id, "type": "function",
		"function": object{"name": name, "arguments": arguments}}}}, nil))
}

const usage = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"scripted","choices":[],` +
	`"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}` + "\n\n"

// finish ends the answer properly.
func (c *call) finish(reason string) {
	c.t.Helper()
	c.do(func(w http.ResponseWriter) bool {
		write(w, chunk(object{}, reason)+usage+"data: [DONE]\n\n")
		return false
	})
}

// say is a whole answer.
func (c *call) say(pieces ...string) {
	c.t.Helper()
	for _, p := range pieces {
		c.text(p)
	}
	c.finish("stop")
}

// end ends the body without a finish marker, if the caller still reads.
func (c *call) end() { c.try(func(http.ResponseWriter) bool { return false }) }

// cut breaks the connection.
func (c *call) cut() {
	c.t.Helper()
	c.do(func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) })
}

// fail answers with an HTTP error.
func (c *call) fail(status int, body string, h http.Header) {
	c.t.Helper()
	c.do(func(w http.ResponseWriter) bool {
		for k, v := range h {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // a caller that hangs up shows in the test
		return false
	})
}

// left waits until the caller has hung up.
func (c *call) left() {
	c.t.Helper()
	select {
	case <-c.gone:
	case <-time.After(patience):
		c.t.Fatal("the call to the provider was not given up")
	}
}

// asked is what the user says last in the request.
func (c *call) asked() string {
	for i := len(c.Messages) - 1; i >= 0; i-- {
		if c.Messages[i].Role == "user" {
			return c.Messages[i].text()
		}
	}
	return ""
}

// system is the request's system prompt.
func (c *call) system() string {
	all := ""
	for _, m := range c.Messages {
		if m.Role == "system" || m.Role == "developer" {
			all += m.text() + "\n"
		}
	}
	return all
}

// results are the answers to calls that the request holds, by the call's id.
func (c *call) results() map[string]string {
	out := map[string]string{}
	for _, m := range c.Messages {
		if m.Role == "tool" {
			out[m.ToolCallID] = m.text()
		}
	}
	return out
}

// toolNames are the tools that the model is offered, in order.
func (c *call) toolNames() (names []string) {
	for _, tool := range c.Tools {
		f, _ := tool["function"].(object)
		names = append(names, str(f, "name"))
	}
	return names
}

// transcript is the request's history without the system prompt, one entry a message.
func (c *call) transcript() []string {
	var out []string
	for _, m := range c.Messages {
		switch {
		case m.Role == "system" || m.Role == "developer":
		case len(m.ToolCalls) > 0:
			ids := ""
			for _, tc := range m.ToolCalls {
				ids += " " + tc.ID
			}
			out = append(out, "calls"+ids)
		case m.Role == "tool":
			out = append(out, "result "+m.ToolCallID)
		default:
			out = append(out, m.Role+": "+m.text())
		}
	}
	return out
}

// spoken is the transcript with what is said beside calls, as an entry of its own.
func (c *call) spoken() []string {
	var out []string
	entries := c.transcript()
	for _, m := range c.Messages {
		if m.Role == "system" || m.Role == "developer" {
			continue
		}
		if text := m.text(); text != "" && len(m.ToolCalls) > 0 {
			out = append(out, m.Role+": "+text)
		}
		out, entries = append(out, entries[0]), entries[1:]
	}
	return out
}

// paired says what is wrong with the order of calls and results, which
// providers refuse, or nothing.
func (c *call) paired() error {
	var open []string
	for i, m := range c.Messages {
		if m.Role == "tool" {
			if len(open) == 0 || open[0] != m.ToolCallID {
				return fmt.Errorf("message %d answers %q, open are %v", i, m.ToolCallID, open)
			}
			open = open[1:]
			continue
		}
		if len(open) > 0 {
			return fmt.Errorf("message %d (%s) comes before the answers to %v", i, m.Role, open)
		}
		for _, tc := range m.ToolCalls {
			open = append(open, tc.ID)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("no answers to %v", open)
	}
	return nil
}
