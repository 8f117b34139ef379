package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
)

// What a provider says and what it was sent must stay between it and the
// program. %s is filled with the key.
const (
	providerCanary = "PROVIDER-CANARY-7f3a"
	echo           = `{"error":{"message":"` + providerCanary + ` your key %s is not welcome","type":"` + providerCanary + `-type","code":"%s"}}`
)

// later keeps the program from trying again by itself.
var later = headers("Retry-After", "3600")

// Done when (8): a failed turn has a stable code and a curated text; no
// provider's words and no key come out anywhere.
func TestProviderFailure(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	p.key = "sk-KEYCANARY-0123456789abcdefghij"
	s := start(t, withModel(p))
	fail := func(status int, code string) func(*call) {
		return func(c *call) { c.fail(status, fmt.Sprintf(echo, p.key, code), later) }
	}
	for name, tc := range map[string]struct {
		answer func(*call)
		code   string
		status int    // of the JSON form
		text   string // said before
	}{
		"401":         {fail(401, "invalid_api_key"), "provider_auth", 400, ""},
		"402":         {fail(402, "x"), "token_limit", 400, ""},
		"403":         {fail(403, "x"), "model_access_denied", 400, ""},
		"404 model":   {fail(404, "model_not_found"), "unknown_model", 400, ""},
		"429":         {fail(429, "rate_limit_exceeded"), "rate_limited", 429, ""},
		"429 quota":   {fail(429, "insufficient_quota"), "token_limit", 400, ""},
		"400 context": {fail(400, "context_length_exceeded"), "context_overflow", 400, ""},
		"400":         {fail(400, "x"), "provider_rejected", 400, ""},
		"500":         {fail(500, "x"), "provider_unreachable", 502, ""},
		"503":         {fail(503, "x"), "provider_overloaded", 503, ""},
		"no JSON":     {func(c *call) { c.fail(500, providerCanary+" "+p.key, later) }, "provider_unreachable", 502, ""},
		"error object": {func(c *call) {
			c.text("so far ").raw("data: " + fmt.Sprintf(echo, p.key, "server_error") + "\n\n").end()
		}, "provider_unreachable", 502, "so far "},
		"error object at once": {func(c *call) { c.raw("data: " + fmt.Sprintf(echo, p.key, "x") + "\n\n").end() }, "anton_error", 502, ""},
		"error event": {func(c *call) {
			c.text("so far ").raw("event: error\ndata: " + fmt.Sprintf(echo, p.key, "x") + "\n\n").end()
		}, "anton_error", 502, "so far "},
		"nonsense": {func(c *call) { c.text("so far ").raw("data: <" + providerCanary + ">\n\n").end() }, "anton_error", 502, "so far "},
		"empty":    {func(c *call) { c.finish("stop") }, "anton_error", 502, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			st := s.ask(object{"input": "try"})
			tc.answer(p.nextFor(t))
			tn := st.turn()
			if tn.end.Type != "response.failed" || tn.end.Code != tc.code || tn.text != tc.text {
				t.Errorf("streamed: %q, then %s, want %s", tn.text, tn.end.data, tc.code)
			}
			top := decode[object](t, tn.end.data)
			if top["error"] != top["message"] || top["status"] != float64(tc.status) {
				t.Errorf("failed event: %s", tn.end.data)
			}
			curated(t, s, tn.end.Message)
			ms := messages(t, s, tn.conversation)
			if len(ms) != 2 || ms[1].Status != "failed" || ms[1].Content != tc.text {
				t.Errorf("stored %+v", ms)
			}
			for _, f := range tn.frames {
				canaries(t, "an event", f.data, p.key)
			}

			whole := make(chan answer, 1)
			go func() {
				a, err := s.try(http.MethodPost, "/v1/responses", object{"input": "try", "stream": false})
				if err != nil {
					t.Error(err)
				}
				whole <- a
			}()
			tc.answer(p.nextFor(t))
			a := <-whole
			if a.t == nil {
				t.FailNow()
			}
			o := a.refused(tc.status, tn.end.Message)
			if str(o, "error", "code") != tc.code || a.header.Get("X-Should-Retry") != "false" {
				t.Errorf("%v, x-should-retry %q", a, a.header.Get("X-Should-Retry"))
			}
			canaries(t, "the JSON answer", a.body, p.key)

			rpc, err := antonv1.NewResponsesServiceClient(s.dial()).CreateResponse(s.call(),
				&antonv1.CreateResponseRequest{Input: []*antonv1.InputItem{{Role: "user", Text: "try"}}})
			if err != nil {
				t.Fatal(err)
			}
			tc.answer(p.nextFor(t))
			all, err := receive(rpc)
			if err != nil || all[len(all)-1].GetFailed().GetError().GetCode() != tc.code {
				t.Errorf("gRPC: %v, %v", err, all[len(all)-1])
			}
		})
	}
	for _, path := range []string{"/health", "/v1/settings", "/v1/conversations?project=all"} {
		canaries(t, path, s.get(path).body, p.key)
	}
	s.stop()
	canaries(t, "stderr", []byte(s.stderr.String()), p.key)
	canaries(t, "stdout", []byte(s.stdout.String()), p.key)
	searchFiles(t, s.home, p.key)
	searchFiles(t, s.user, p.key)
}

// curated text is for people: a sentence, without addresses.
func curated(t *testing.T, s *server, message string) {
	t.Helper()
	if len(message) < 10 || strings.Contains(message, s.opts.model.url) || strings.Contains(message, "127.0.0.1") {
		t.Errorf("message %q", message)
	}
}

func canaries(t *testing.T, where string, data []byte, key string) {
	t.Helper()
	for _, c := range []string{providerCanary, key} {
		if bytes.Contains(data, []byte(c)) {
			t.Errorf("%s contains %q", where, c)
		}
	}
}

// searchFiles looks for canaries in every file below dir but the settings file.
func searchFiles(t *testing.T, dir, key string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.HasSuffix(path, filepath.Join(".anton", ".env")) {
			data = bytes.ReplaceAll(data, []byte(key), nil)
		}
		canaries(t, path, data, key)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A stream that is cut is an incomplete answer: kept, marked, and gone on from.
func TestProviderFailureCutStream(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for name, tc := range map[string]struct {
		answer func(*call)
		reason string
		text   string
	}{
		"end without finish": {func(c *call) { c.text("half an ").end() }, "stream_cut", "half an "},
		"connection broken":  {func(c *call) { c.text("half an ").cut() }, "stream_cut", "half an "},
		"in an event":        {func(c *call) { c.text("half an ").raw(`data: {"choices":[{"index":0,"delta":{"content":"ans`).end() }, "stream_cut", "half an "},
		"in a character": {func(c *call) {
			c.text("half an ").raw("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xc3").cut()
		}, "stream_cut", "half an "},
		"in a tool call":         {func(c *call) { c.text("half an ").tool(0, "call_1", "list_files", `{"pa`).end() }, "stream_cut", "half an "},
		"behind a tool call":     {func(c *call) { c.text("half an ").tool(0, "call_1", "list_files", `{}`).end() }, "stream_cut", "half an "},
		"length":                 {func(c *call) { c.text("half an ").finish("length") }, "max_output_tokens", "half an "},
		"content filter":         {func(c *call) { c.text("half an ").finish("content_filter") }, "content_filter", "half an "},
		"filter before any text": {func(c *call) { c.finish("content_filter") }, "content_filter", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			st := s.ask(object{"input": "try", "max_output_tokens": 100})
			tc.answer(p.nextFor(t))
			tn := st.turn()
			if tn.end.Type != "response.incomplete" || tn.final.reason() != tc.reason || tn.text != tc.text {
				t.Errorf("%q, then %s", tn.text, tn.end.data)
			}
			if calls := tn.calls(); len(calls) != 0 {
				t.Errorf("a call that was cut off was run: %+v", calls)
			}
			ms := messages(t, s, tn.conversation)
			if len(ms) != 2 || ms[1].Status != "incomplete" || ms[1].Content != tc.text {
				t.Errorf("stored %+v", ms)
			}
			st = s.ask(object{"input": "go on", "conversation": tn.conversation})
			c := p.nextFor(t)
			if err := c.paired(); err != nil {
				t.Error(err)
			}
			want := "[user: try assistant: " + tc.text + " user: go on]"
			if tc.text == "" {
				want = "[user: try user: go on]"
			}
			if got := fmt.Sprint(c.transcript()); got != want {
				t.Errorf("the model sees %s, want %s", got, want)
			}
			c.say("answer")
			st.turn()
		})
	}
}

// A short trouble is waited out, and said while it lasts.
func TestProviderFailureThatPasses(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "try"})
	p.next().fail(http.StatusServiceUnavailable, "{}", headers("Retry-After-Ms", "1"))
	p.next().say("now")
	tn := st.turn()
	if tn.text != "now" || tn.end.Type != "response.completed" {
		t.Errorf("%s %q", tn.end.Type, tn.text)
	}
	told := false
	for _, f := range tn.thoughts {
		told = told || strings.Contains(f.Content, "trying again")
	}
	if !told {
		t.Error("nothing was said about the wait")
	}
}

// Reasoning of a model is shown as such and never part of the answer.
func TestStreamShowsReasoning(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "think"})
	c := p.next()
	c.raw(chunk(object{"reasoning_content": "Let me "}, nil)).raw(chunk(object{"reasoning_content": "think."}, nil))
	c.say("Thought.")
	tn := st.turn()
	if len(tn.items) != 2 || tn.items[0].Type != "reasoning" || tn.items[0].text() != "Let me think." || tn.text != "Thought." {
		t.Errorf("items %+v", tn.items)
	}
	if ms := messages(t, s, tn.conversation); ms[1].Content != "Thought." {
		t.Errorf("stored %q", ms[1].Content)
	}
	if tn.final.Usage == nil || fmt.Sprint((*tn.final.Usage)["input_tokens"], (*tn.final.Usage)["output_tokens"]) != "11 7" {
		t.Errorf("usage %v", tn.final.Usage)
	}
}
