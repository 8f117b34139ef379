package chat

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"anthill/services/internal/agent"
)

func TestFailures(t *testing.T) {
	openAI := func(typ, code, msg string) string {
		return `{"error":{"message":"` + msg + `","type":"` + typ + `","param":null,"code":"` + code + `"}}`
	}
	for name, c := range map[string]struct {
		status int
		header string
		body   string
		code   string
		after  time.Duration
	}{
		"bad key":             {401, "", openAI("invalid_request_error", "invalid_api_key", "Incorrect API key provided: "+key), agent.CodeAuth, 0},
		"bad key, plain":      {401, "", "who are you, " + key, agent.CodeAuth, 0},
		"out of quota":        {429, "", openAI("insufficient_quota", "insufficient_quota", "You exceeded your current quota"), agent.CodeTokenLimit, 0},
		"payment":             {402, "", `{"error":"pay"}`, agent.CodeTokenLimit, 0},
		"credit":              {400, "", openAI("invalid_request_error", "", "Your credit balance is too low"), agent.CodeTokenLimit, 0},
		"no access":           {403, "", openAI("invalid_request_error", "", "Project does not have access to model"), agent.CodeModelAccess, 0},
		"unknown model":       {404, "", openAI("invalid_request_error", "model_not_found", "The model `x` does not exist"), agent.CodeUnknownModel, 0},
		"unknown model, 400":  {400, "", `{"message":"model x not found"}`, agent.CodeUnknownModel, 0},
		"wrong address":       {404, "", "404 page not found", agent.CodeUnreachable, 0},
		"wrong method":        {405, "", "", agent.CodeUnreachable, 0},
		"overflow":            {400, "", openAI("invalid_request_error", "context_length_exceeded", "This model's maximum context length is 8192 tokens"), agent.CodeContext, 0},
		"overflow, llama.cpp": {400, "", `{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}`, agent.CodeContext, 0},
		"too large":           {413, "", "", agent.CodeContext, 0},
		"rate":                {429, "7", openAI("requests", "rate_limit_exceeded", "Rate limit reached"), agent.CodeRateLimited, 7 * time.Second},
		"overloaded":          {503, "1.5", "", agent.CodeOverloaded, 1500 * time.Millisecond},
		"overloaded, 529":     {529, "", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, agent.CodeOverloaded, 0},
		"broken":              {500, "", "<html>oops " + key + "</html>", agent.CodeUnreachable, 0},
		"gateway":             {502, "", "", agent.CodeUnreachable, 0},
		"timeout":             {408, "", "", agent.CodeTimeout, 0},
		"nonsense":            {418, "", strings.Repeat(key+" ", 20000), agent.CodeUnexpected, 0},
		"bad request":         {400, "", openAI("invalid_request_error", "", "messages: tool_use ids were found without tool_result"), agent.CodeInvalid, 0},
		"web page":            {200, "", "", agent.CodeUnreachable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				if c.status == 200 {
					w.Header().Set("Content-Type", "text/html")
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			_, _, err := collect(p, agent.Request{Model: "gpt-x"})
			e, ok := errors.AsType[*agent.Error](err)
			if !ok || e.Code != c.code || e.RetryAfter != c.after || c.status != 200 && e.Status != c.status {
				t.Fatalf("got %#v", err)
			}
			checkQuiet(t, e)
		})
	}
}

// checkQuiet looks for words of the provider where people would see them, and
// for the key anywhere.
func checkQuiet(t *testing.T, e *agent.Error) {
	t.Helper()
	for _, word := range []string{"canary", "oops", "quota\"", "tool_use", "<html>", "8192"} {
		if strings.Contains(e.Error(), word) {
			t.Errorf("the message has %q: %s", word, e.Error())
		}
	}
	if cause := errors.Unwrap(e); cause == nil || strings.Contains(cause.Error(), "canary") || len(cause.Error()) > 1000 {
		t.Errorf("cause %.300v", cause)
	}
}

func TestErrorsInsideAStream(t *testing.T) {
	for name, c := range map[string]struct{ event, code string }{
		"object":       {`data: {"error":{"message":"` + key + `","type":"server_error","code":null}}`, agent.CodeUnreachable},
		"with choices": {`data: {"id":"x","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":429,"message":"slow down"}}`, agent.CodeRateLimited},
		"text":         {`data: {"error":"overloaded"}`, agent.CodeOverloaded},
		"event":        {"event: error\ndata: {\"message\":\"context_length_exceeded\"}", agent.CodeContext},
		"not JSON":     {"data: {nope}", agent.CodeUnexpected},
		"deep":         {"data: " + strings.Repeat("[", 200000) + strings.Repeat("]", 200000), agent.CodeUnexpected},
	} {
		t.Run(name, func(t *testing.T) {
			got, out, err := collect(serve(t, Options{}, stream(content("Hi")+c.event+"\n\n"+finish("stop")+done)), agent.Request{})
			e, ok := errors.AsType[*agent.Error](err)
			if !ok || e.Code != c.code || got != "Hi" || out.Text != "Hi" || out.Finish != agent.FinishCut {
				t.Fatalf("%q, %+v, %v", got, out, err)
			}
			checkQuiet(t, e)
		})
	}
}

func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	p, err := New(Options{BaseURL: srv.URL, APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = collect(p, agent.Request{})
	e, ok := errors.AsType[*agent.Error](err)
	if !ok || e.Code != agent.CodeUnreachable || !e.Temporary() || strings.Contains(e.Error(), srv.URL) {
		t.Errorf("got %v", err)
	}
}

func TestStalls(t *testing.T) {
	for name, c := range map[string]struct {
		opts   Options
		before string // what arrives before the silence; "-" is not even the header
		code   string
		text   string
	}{
		"before the header":      {Options{FirstByte: 50 * time.Millisecond}, "-", agent.CodeTimeout, ""},
		"before the first event": {Options{FirstByte: 50 * time.Millisecond}, "", agent.CodeTimeout, ""},
		"inside":                 {Options{Idle: 50 * time.Millisecond}, content("half"), agent.CodeTimeout, "half"},
		"after the finish":       {Options{Idle: 50 * time.Millisecond}, content("whole") + finish("stop"), "", "whole"},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, c.opts, func(w http.ResponseWriter, r *http.Request) {
				// Unless the body is read, the server does not notice that the client left.
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
				if c.before != "-" {
					stream(c.before)(w, r)
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			})
			_, out, err := collect(p, agent.Request{})
			code := ""
			if e, ok := errors.AsType[*agent.Error](err); ok {
				code = e.Code
			}
			if code != c.code || out.Text != c.text {
				t.Errorf("%v, %+v", err, out)
			}
		})
	}
}
