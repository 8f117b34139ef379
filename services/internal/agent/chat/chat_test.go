package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anthill/services/internal/agent"
)

const key = "sk-canary-0123456789abcdef"

// serve answers every request with the handler and remembers the bodies.
func serve(t *testing.T, opts Options, handler http.HandlerFunc) *Provider {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	opts.BaseURL, opts.APIKey = srv.URL, key
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func stream(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, body)
	}
}

// collect runs one call and returns what was emitted, joined.
func collect(p *Provider, req agent.Request) (got string, out agent.Completion, err error) {
	var b strings.Builder
	out, err = p.Stream(context.Background(), req, func(d agent.Delta) error {
		switch {
		case d.CallStart != nil:
			fmt.Fprintf(&b, "<%s %s>", d.CallStart.ID, d.CallStart.Name)
		case d.Reasoning != "":
			fmt.Fprintf(&b, "(%s)", d.Reasoning)
		default:
			b.WriteString(d.Text)
		}
		return nil
	})
	return b.String(), out, err
}

func content(s string) string {
	return `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"` + s + `"},"finish_reason":null}]}` + "\n\n"
}

func delta(s string) string {
	return `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":` + s + `,"finish_reason":null}]}` + "\n\n"
}

func finish(reason string) string {
	return `data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}` + "\n\n"
}

const (
	usage = `data: {"id":"c1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}` + "\n\n"
	done  = "data: [DONE]\n\n"
)

func TestStreams(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for name, c := range map[string]struct {
		body   string
		emits  string
		finish agent.Finish
		calls  []agent.ToolCall
	}{
		"plain":                {delta(`{"role":"assistant","content":""}`) + content("Hel") + content("lo") + finish("stop") + usage + done, "Hello", agent.FinishStop, nil},
		"escapes":              {content("a") + content(`\n\"\u00e9\ud83d\ude00`) + content("b\\\\") + finish("stop") + done, "a\n\"é😀b\\", agent.FinishStop, nil},
		"CRLF and comments":    {": ping\r\n\r\n" + strings.ReplaceAll(content("Hi"), "\n", "\r\n") + ": ping\r\n\r\nid: 7\r\nretry: 5\r\n" + strings.ReplaceAll(finish("stop")+done, "\n", "\r\n"), "Hi", agent.FinishStop, nil},
		"no blank after :":     {strings.ReplaceAll(content("Hi")+finish("stop")+done, "data: ", "data:"), "Hi", agent.FinishStop, nil},
		"long line":            {content(long) + content(long) + finish("stop") + done, long + long, agent.FinishStop, nil},
		"data in two lines":    {"data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"Hi\"}}]}\n\n" + finish("stop") + done, "Hi", agent.FinishStop, nil},
		"no DONE":              {content("Hi") + finish("stop"), "Hi", agent.FinishStop, nil},
		"DONE only":            {content("Hi") + done, "Hi", agent.FinishStop, nil},
		"no end of the last":   {content("Hi") + strings.TrimRight(finish("stop"), "\n"), "Hi", agent.FinishStop, nil},
		"nothing":              {"", "", agent.FinishCut, nil},
		"no finish":            {content("Hi"), "Hi", agent.FinishCut, nil},
		"cut in an event":      {content("Hi") + `data: {"choices":[{"delta":{"conte`, "Hi", agent.FinishCut, nil},
		"length":               {content("Hi") + finish("length") + done, "Hi", agent.FinishLength, nil},
		"filter":               {content("Hi") + finish("content_filter") + done, "Hi", agent.FinishFilter, nil},
		"refusal":              {delta(`{"refusal":"I will not."}`) + finish("stop") + done, "I will not.", agent.FinishStop, nil},
		"reasoning":            {delta(`{"reasoning_content":"hm"}`) + delta(`{"reasoning":"m","content":null}`) + delta(`{"reasoning":"!","content":"Hi"}`) + finish("stop") + done, "(hm)(m)(!)Hi", agent.FinishStop, nil},
		"other choices":        {strings.Replace(content("no"), `"index":0`, `"index":1`, 1) + content("Hi") + finish("stop") + done, "Hi", agent.FinishStop, nil},
		"bad UTF-8":            {content("a\xffb") + content("a\xffb") + finish("stop") + done, "a\uFFFDba\uFFFDb", agent.FinishStop, nil},
		"same shape, then not": {content("a") + content("b") + strings.Replace(content("c"), `null}]}`, `"stop"}]}`, 1) + done, "abc", agent.FinishStop, nil},
		"tool call": {
			delta(`{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"read","arguments":""}}]}`) +
				delta(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}`) +
				delta(`{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`) + finish("tool_calls") + done,
			"<t1 read>", agent.FinishTools, []agent.ToolCall{{ID: "t1", Name: "read", Input: `{"a":1}`}}},
		"two calls interleaved, finish says stop": {
			delta(`{"tool_calls":[{"index":0,"id":"t1","function":{"name":"a","arguments":"{"}},{"index":1,"id":"t2","function":{"name":"b","arguments":"{"}}]}`) +
				delta(`{"tool_calls":[{"index":1,"function":{"arguments":"\"x\":2}"}},{"index":0,"function":{"arguments":"}"}}]}`) + finish("stop") + done,
			"<t1 a><t2 b>", agent.FinishTools, []agent.ToolCall{{ID: "t1", Name: "a", Input: `{}`}, {ID: "t2", Name: "b", Input: `{"x":2}`}}},
		"all at index 0": {
			delta(`{"tool_calls":[{"index":0,"id":"t1","function":{"name":"a","arguments":"{}"}}]}`) +
				delta(`{"tool_calls":[{"index":0,"id":"t2","function":{"name":"b","arguments":"{}"}}]}`) + finish("tool_calls") + done,
			"<t1 a><t2 b>", agent.FinishTools, []agent.ToolCall{{ID: "t1", Name: "a", Input: `{}`}, {ID: "t2", Name: "b", Input: `{}`}}},
		"no arguments": {
			delta(`{"tool_calls":[{"index":0,"id":"t1","function":{"name":"a"}}]}`) + finish("tool_calls") + done,
			"<t1 a>", agent.FinishTools, []agent.ToolCall{{ID: "t1", Name: "a", Input: `{}`}}},
		"an object for arguments": {
			delta(`{"tool_calls":[{"index":0,"id":"t1","function":{"name":"a","arguments":{"x":[1]}}}]}`) + finish("tool_calls") + done,
			"<t1 a>", agent.FinishTools, []agent.ToolCall{{ID: "t1", Name: "a", Input: `{"x":[1]}`}}},
		"cut tool call": {
			delta(`{"tool_calls":[{"index":0,"id":"t1","function":{"name":"a","arguments":"{\"x\":"}}]}`),
			"<t1 a>", agent.FinishCut, []agent.ToolCall{{ID: "t1", Name: "a", Input: `{"x":`}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, out, err := collect(serve(t, Options{}, stream(c.body)), agent.Request{Model: "m"})
			if err != nil {
				t.Fatal(err)
			}
			if got != c.emits || out.Finish != c.finish || !reflect.DeepEqual(out.Calls, c.calls) {
				t.Errorf("emitted %.80q, %.200v", got, out)
			}
			if name == "plain" && out.Usage != (agent.Usage{InputTokens: 12, CachedTokens: 4, OutputTokens: 5, ReasoningTokens: 2}) {
				t.Errorf("usage %+v", out.Usage)
			}
			if !strings.Contains(got, out.Text) && name != "reasoning" {
				t.Errorf("text %.80q", out.Text)
			}
		})
	}
}

func TestMintedIDs(t *testing.T) {
	body := delta(`{"tool_calls":[{"index":0,"function":{"name":"a","arguments":"{}"}},{"index":1,"id":"used","function":{"name":"b","arguments":"{}"}}]}`) + finish("tool_calls") + done
	req := agent.Request{Messages: []agent.Message{{Role: agent.RoleAssistant, Calls: []agent.ToolCall{{ID: "used", Name: "b", Input: "{}"}}}}}
	got, out, err := collect(serve(t, Options{}, stream(body)), req)
	if err != nil || len(out.Calls) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, c := range out.Calls {
		if len(c.ID) < 20 || !strings.Contains(got, "<"+c.ID+" "+c.Name+">") {
			t.Errorf("call %+v was announced as %s", c, got)
		}
	}
}

func TestAnswerWithoutStream(t *testing.T) {
	p := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":"Hi","tool_calls":[{"id":"t","type":"function","function":{"name":"a","arguments":"{}"}}]}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`)
	})
	got, out, err := collect(p, agent.Request{Model: "m"})
	if err != nil || got != "Hi<t a>" || out.Finish != agent.FinishTools || out.Usage.OutputTokens != 2 {
		t.Errorf("%q, %+v, %v", got, out, err)
	}
}

func TestRequest(t *testing.T) {
	var path, auth string
	var body map[string]any
	p := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		path, auth = r.URL.Path, r.Header.Get("Authorization")
		raw, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(raw, &body) != nil {
			t.Errorf("body %q, %v", raw, err)
		}
		if !strings.Contains(string(raw), `{"z":1,"a":2}`) {
			t.Errorf("the schema was not sent as it is: %s", raw)
		}
		stream(content("ok")+finish("stop")+done)(w, r)
	})
	zero := 0.0
	_, _, err := collect(p, agent.Request{
		Model: "m", System: "sys", MaxTokens: 7, Temperature: &zero,
		Tools: []agent.ToolSpec{{Name: "t", Description: "d", Schema: json.RawMessage(`{"z":1,"a":2}`)}},
		Messages: []agent.Message{
			{Role: agent.RoleUser, Text: "q <&>"},
			{Role: agent.RoleAssistant, Calls: []agent.ToolCall{{ID: "1", Name: "t", Input: `{"x":1}`}, {ID: "2", Name: "t", Input: `{"x`}}},
			{Role: agent.RoleTool, Results: []agent.ToolResult{{ID: "1", Content: "r"}, {ID: "2", Content: "cut", IsError: true}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"max_tokens":7,"messages":[{"content":"sys","role":"system"},{"content":"q \u003c\u0026\u003e","role":"user"},` +
		`{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"x\":1}","name":"t"},"id":"1","type":"function"},{"function":{"arguments":"{}","name":"t"},"id":"2","type":"function"}]},` +
		`{"content":"r","role":"tool","tool_call_id":"1"},{"content":"Error: cut","role":"tool","tool_call_id":"2"}],` +
		`"model":"m","stream":true,"stream_options":{"include_usage":true},"temperature":0,"tools":[{"function":{"description":"d","name":"t","parameters":{"a":2,"z":1}},"type":"function"}]}`
	got, err := json.Marshal(body)
	if err != nil || string(got) != want || path != "/v1/chat/completions" || auth != "Bearer "+key {
		t.Errorf("%s with %q:\n%s\nwant:\n%s", path, auth, got, want)
	}
}

func TestParametersThatAServerRefuses(t *testing.T) {
	var tries atomic.Int32
	p := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch s := string(body); {
		case strings.Contains(s, "stream_options"):
			http.Error(w, `{"detail":[{"msg":"Extra inputs are not permitted","loc":["body","stream_options"]}]}`, http.StatusUnprocessableEntity)
		case strings.Contains(s, `"max_tokens"`):
			http.Error(w, `{"error":{"code":"unsupported_parameter","message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}`, 400)
		default:
			stream(content("ok")+finish("stop")+done)(w, r)
		}
	})
	got, _, err := collect(p, agent.Request{Model: "m", MaxTokens: 5})
	if err != nil || got != "ok" || tries.Load() != 3 {
		t.Errorf("%q, %v, %d tries", got, err, tries.Load())
	}
}

func TestEmitErrorEndsTheCall(t *testing.T) {
	p := serve(t, Options{}, stream(strings.Repeat(content("x"), 100)+finish("stop")+done))
	want := errors.New("stop here")
	n := 0
	out, err := p.Stream(context.Background(), agent.Request{}, func(agent.Delta) error {
		if n++; n == 3 {
			return want
		}
		return nil
	})
	if err != want || n != 3 || out.Text != "xxx" {
		t.Errorf("%v after %d, %+v", err, n, out)
	}
}

func TestCancel(t *testing.T) {
	gone := make(chan struct{})
	p := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		stream(content("so far"))(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	out, err := p.Stream(ctx, agent.Request{}, func(agent.Delta) error { cancel(stop); return nil })
	if !errors.Is(err, stop) || out.Text != "so far" {
		t.Errorf("%v, %+v", err, out)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the provider was not told")
	}
}

func TestConnectionIsReused(t *testing.T) {
	addrs := map[string]bool{}
	p := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		addrs[r.RemoteAddr] = true
		stream(content("ok")+finish("stop")+done)(w, r)
	})
	for range 3 {
		if _, _, err := collect(p, agent.Request{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(addrs) != 1 {
		t.Errorf("%d connections", len(addrs))
	}
}
