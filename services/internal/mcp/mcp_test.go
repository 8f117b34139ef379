package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"anthill/services/internal/agent"
	"anthill/services/internal/dial"
	"anthill/services/internal/workspace"
)

// The test program is a server itself, when it is told so.
const playing = "ANTHILL_TEST_MCP_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(playing) == "" {
		os.Exit(m.Run())
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "test"}, nil)
	type in struct{}
	sdk.AddTool(s, &sdk.Tool{Name: "pid"}, func(context.Context, *sdk.CallToolRequest, in) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprint(os.Getpid())}}}, nil, nil
	})
	_ = s.Run(context.Background(), &sdk.StdioTransport{}) // its input has ended
	os.Exit(0)
}

type bench struct {
	*testing.T
	engine *Engine
	at     Project
}

func newBench(t *testing.T, o Options) *bench {
	dir := t.TempDir()
	folder, err := workspace.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Getenv, o.Log, o.Policy = os.LookupEnv, slog.New(slog.DiscardHandler), dial.Policy{Private: true}
	b := &bench{T: t, engine: New(o), at: Project{ID: "p", Folder: folder}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := b.engine.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		_ = folder.Close()
	})
	return b
}

func (b *bench) file(content string) {
	b.Helper()
	if err := b.at.Folder.WriteFile(File, []byte(content)); err != nil {
		b.Fatal(err)
	}
}

// itself is a file with this program as the server s.
func (b *bench) itself() {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"s": map[string]any{"command": program, "env": map[string]string{playing: "1"}}}})
	if err != nil {
		b.Fatal(err)
	}
	b.file(string(raw))
}

// becomes waits until a server is in a state.
func (b *bench) becomes(state string) Status {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		l := b.engine.List(b.at, Rule{})
		if len(l.Servers) == 1 && l.Servers[0].State == state {
			return l.Servers[0]
		}
		if time.Now().After(deadline) {
			b.Fatalf("it does not become %s: %+v", state, l)
		}
	}
}

func (b *bench) pid(l *Lease) string {
	b.Helper()
	if len(l.Tools) != 1 {
		b.Fatalf("%d tools: %+v", len(l.Tools), b.engine.List(b.at, Rule{}))
	}
	text, err := l.Tools[0].Run(b.Context(), json.RawMessage(`{}`))
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// Turns of a project share a server; it is let go of when nobody uses it for a
// while, with its tools remembered, and comes back for the next turn.
func TestShared(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{Patience: 20 * time.Second, Idle: time.Millisecond})
	b.itself()
	one := b.engine.Open(t.Context(), b.at, Rule{})
	two := b.engine.Open(t.Context(), b.at, Rule{})
	first := b.pid(one)
	if again := b.pid(two); again != first {
		t.Errorf("%s and %s", first, again)
	}
	one.Close()
	if s := b.becomes(Connected); b.pid(two) != first || len(s.Tools) != 1 {
		t.Errorf("%+v", s)
	}
	two.Close()
	if s := b.becomes(Idle); len(s.Tools) != 1 || s.Problem != "" {
		t.Errorf("%+v", s)
	}
	three := b.engine.Open(t.Context(), b.at, Rule{})
	defer three.Close()
	if again := b.pid(three); again == first {
		t.Error("it never ended")
	}
	// A turn keeps what it has when the file is another by then.
	b.file(`{}`)
	if l := b.engine.Open(t.Context(), b.at, Rule{}); len(l.Tools) != 0 || b.pid(three) == "" {
		t.Errorf("%d tools", len(l.Tools))
	}
}

// A server that does not answer is waited for once, and given up.
func TestSlow(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{Start: 50 * time.Millisecond, Patience: time.Millisecond})
	b.file(`{"mcpServers":{"s":{"command":"sleep","args":["600"]}}}`)
	l := b.engine.Open(t.Context(), b.at, Rule{})
	defer l.Close()
	if len(l.Tools) != 0 {
		t.Error("it has tools")
	}
	if s := b.becomes(Failed); s.Problem != "it did not answer in time" {
		t.Errorf("%q", s.Problem)
	}
	if wait := l.servers[0].want(); wait != nil {
		t.Error("it is waited for again")
	}
}

// One over HTTP that takes requests and never answers, likewise; and nothing of
// it is left.
func TestSilent(t *testing.T) {
	t.Parallel()
	left := make(chan struct{}, 10)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // then it is seen that the caller hangs up
		<-r.Context().Done()
		left <- struct{}{}
	}))
	t.Cleanup(web.Close)
	b := newBench(t, Options{Start: 50 * time.Millisecond, Patience: time.Millisecond})
	b.file(`{"mcpServers":{"s":{"url":"` + web.URL + `"}}}`)
	l := b.engine.Open(t.Context(), b.at, Rule{})
	defer l.Close()
	if s := b.becomes(Failed); len(l.Tools) != 0 || s.Problem != "it did not answer in time" {
		t.Errorf("%d tools, %q", len(l.Tools), s.Problem)
	}
	<-left
}

// A server that reads nothing holds up nobody.
func TestDeaf(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{Patience: 20 * time.Second})
	b.itself()
	l := b.engine.Open(t.Context(), b.at, Rule{})
	defer l.Close()
	b.pid(l)
	s := l.servers[0]
	c, err := s.connection(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.process.signal(syscall.SIGSTOP)
	defer c.process.signal(syscall.SIGCONT)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := l.Tools[0].Run(ctx, json.RawMessage(`{"text":"`+strings.Repeat("x", 1<<20)+`"}`))
		done <- err
	}()
	cancel(context.Canceled)
	if err := <-done; err == nil {
		t.Error("it answered")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	c := parse([]byte("\xef\xbb\xbf" + `{"other":1,"mcpServers":{
		"b":{"command":"npx","args":["-y","pkg"],"env":{"API_KEY":"abcdefgh"},"cwd":"sub","timeout":5},
		"a":{"type":"streamable-http","url":"https://user:password1@example.com/x/0123456789abcdef/y?k=v#f","headers":{"Authorization":"Bearer tokentoken"}}}}`))
	if c.problem != "" || len(c.entries) != 2 || c.entries[0].name != "a" {
		t.Fatalf("%+v", c)
	}
	a, b := c.entries[0], c.entries[1]
	if a.transport != web || a.problem != "" || shown(a.url) != "https://example.com/x/***/y?***" {
		t.Errorf("%+v %s", a, shown(a.url))
	}
	if b.transport != stdio || b.problem != "" || b.dir != "sub" || fmt.Sprint(b.args) != "[-y pkg]" {
		t.Errorf("%+v", b)
	}
	for _, want := range []string{"abcdefgh", "password1", "0123456789abcdef", "Bearer tokentoken", "tokentoken"} {
		if !slices.Contains(c.secrets, want) {
			t.Errorf("%q is no secret: %q", want, c.secrets)
		}
	}
	for entry, want := range map[string]string{
		`{}`: "no command", `{"command":" "}`: "no command", `{"command":"x","env":{"A=B":"c"}}`: "env is not valid", `{"command":"x\u0000"}`: "zero byte",
		`{"url":"ftp://x"}`: "http or https", `{"url":"http://"}`: "http or https", `{"url":"http://x","headers":{"A B":"c"}}`: "headers is not valid",
		`{"url":"http://x","headers":{"A":"b\nc"}}`: "headers is not valid", `{"url":"http://x","headers":{"host":"y"}}`: "Host cannot be set",
		`{"type":"ws","url":"ws://x"}`: "neither stdio nor http", `null`: "not an object", `[]`: "not an object", `{"command":{}}`: "command is of the wrong type",
		`{"command":"x","disabled":"yes"}`: "disabled is of the wrong type",
	} {
		if c := parse([]byte(`{"mcpServers":{"x":` + entry + `}}`)); len(c.entries) != 1 || !strings.Contains(c.entries[0].problem, want) {
			t.Errorf("%s: %+v", entry, c)
		}
	}
	for _, name := range []string{"", " ", "a/b", `a\u0007`, strings.Repeat("x", 101)} {
		if c := parse([]byte(`{"mcpServers":{"` + name + `":{"command":"x"}}}`)); len(c.entries) != 1 || c.entries[0].problem == "" {
			t.Errorf("%q: %+v", name, c)
		}
	}
	many := make(map[string]any)
	for i := range serversMax + 5 {
		many[fmt.Sprint(i)] = map[string]any{"command": "x", "env": map[string]string{"K": fmt.Sprintf("secret-%02d-secret", i)}}
	}
	raw, _ := json.Marshal(map[string]any{"mcpServers": many})
	if c := parse(raw); len(c.entries) != serversMax || len(c.secrets) != serversMax+5 || !strings.Contains(c.problem, "more than 32") {
		t.Errorf("%d entries, %d secrets, %q", len(c.entries), len(c.secrets), c.problem)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"env":{"LOG_LEVEL":"verbosely","ROOT":"/home/ann/data","PORT":"12345678","URL":"https://example.com/path"}}`:   "[]",
		`{"env":{"PASSWORD":"correcthorse","KEY_FILE":"/etc/keys/one","API_TOKEN":"/looks/like/path","X":"a1b2c3d4e5"}}`: "[/looks/like/path correcthorse a1b2c3d4e5]",
		`{"args":["--api-key","longsecret","--token=another1","-v","harmless1"]}`:                                        "[longsecret another1]",
		`{"env":{"DB":"postgres://u:pw@host/db"},"headers":7,"args":{},"url":[]}`:                                        "[postgres://u:pw@host/db]",
		`7`: "[]",
	} {
		if got := fmt.Sprint(secretsOf(json.RawMessage(raw))); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
	if got := redact("a b abcdefgh-more abcdefgh", longestFirst([]string{"abcdefgh", "abcdefgh-more", "b"})); got != "a b [redacted] [redacted]" {
		t.Errorf("%q", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 80)
	at := func(name string, tools ...string) *server {
		s := &server{entry: entry{name: name}}
		for _, own := range tools {
			s.tools = append(s.tools, tool{name: own})
		}
		return s
	}
	servers := []*server{at("a", "plain", "get.it", "get it", long+"1", long+"2", "b__c"), at("a__b", "c"), at("Ä ö", "ü")}
	names := namesOf(servers)
	seen := map[string]bool{}
	for o, name := range names {
		if seen[name] || len(name) > nameLongest || clean(name) != name || !strings.HasPrefix(name, "mcp__") {
			t.Errorf("%v: %q", o, name)
		}
		seen[name] = true
	}
	if names[of{"a", "plain"}] != "mcp__a__plain" || names[of{"Ä ö", "ü"}] != "mcp________" || len(names) != 8 {
		t.Errorf("%v", names)
	}
	if again := namesOf([]*server{servers[2], servers[1], servers[0]}); fmt.Sprint(again) != fmt.Sprint(names) {
		t.Error("names hang on the order")
	}
}

func TestRule(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule Rule
		want string // allowed of s/get, s/put, other/get
	}{
		{Rule{}, "yyy"}, {Rule{Deny: []string{"s"}}, "nny"}, {Rule{Deny: []string{"s/get"}}, "nyy"}, {Rule{Deny: []string{"*/get"}}, "nyn"},
		{Rule{Allow: []string{"s"}}, "yyn"}, {Rule{Allow: []string{"s"}, Deny: []string{"mcp__s__p*"}}, "ynn"}, {Rule{Deny: []string{"*"}}, "nnn"},
		{Rule{Allow: []string{"*e*"}}, "yny"}, {Rule{Allow: []string{"get"}}, "nnn"}, {Rule{Allow: []string{"**t"}}, "yyy"}, {Rule{Deny: []string{"s*/get"}}, "nyy"},
	} {
		got := ""
		for _, o := range []of{{"s", "get"}, {"s", "put"}, {"other", "get"}} {
			got += map[bool]string{true: "y", false: "n"}[tc.rule.allows(o.server, o.tool, bare(o.server, o.tool))]
		}
		if got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.rule, got, tc.want)
		}
	}
	if !matches("a*a", "aa") || matches("a*a", "a") || matches("a*b*a", "aba0") || !matches("*", "") {
		t.Error("matching is wrong")
	}
}

// What a server says of its tools may be anything.
func TestTool(t *testing.T) {
	t.Parallel()
	s := &server{entry: entry{secrets: []string{"very-secret"}}}
	for _, tc := range []struct {
		tool sdk.Tool
		want string // schema; empty: left out
	}{
		{sdk.Tool{Name: "x"}, `{"type":"object"}`},
		{sdk.Tool{Name: "x", InputSchema: map[string]any{"properties": map[string]any{}}}, `{"properties":{},"type":"object"}`},
		{sdk.Tool{Name: "x", InputSchema: map[string]any{"type": "object", "title": "very-secret"}}, `{"title":"[redacted]","type":"object"}`},
		{sdk.Tool{Name: "x", InputSchema: "nonsense"}, ""},
		{sdk.Tool{Name: "x", InputSchema: map[string]any{"type": "string"}}, ""},
		{sdk.Tool{Name: "x", InputSchema: map[string]any{"type": "object", "x": strings.Repeat("x", schemaMax)}}, ""},
		{sdk.Tool{Name: ""}, ""}, {sdk.Tool{Name: "very-secret"}, ""},
	} {
		got, ok := s.tool(&tc.tool)
		if ok != (tc.want != "") || ok && string(got.schema) != tc.want {
			t.Errorf("%+v: %v %s", tc.tool, ok, got.schema)
		}
	}
	long, _ := s.tool(&sdk.Tool{Name: "x", Title: "a\nb\x1b[31m very-secret", Description: strings.Repeat("é", descriptionMax)})
	if long.title != "a b[31m [redacted]" || len(long.description) > descriptionMax || !strings.HasSuffix(long.description, "é…") {
		t.Errorf("%q, %d bytes", long.title, len(long.description))
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	on := offered{server: &server{engine: New(Options{}), entry: entry{secrets: []string{"very-secret"}}}}
	for _, tc := range []struct {
		result sdk.CallToolResult
		want   string
	}{
		{sdk.CallToolResult{}, "(no output)"},
		{sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "a"}, &sdk.TextContent{Text: "the very-secret"}}}, "a\nthe [redacted]"},
		{sdk.CallToolResult{StructuredContent: map[string]any{"b": 1, "a": 2}}, `{"a":2,"b":1}`},
		{sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: `{ "b": 1, "a": 2 }`}}, StructuredContent: map[string]any{"b": 1, "a": 2}}, `{ "b": 1, "a": 2 }`},
		{sdk.CallToolResult{Content: []sdk.Content{&sdk.ImageContent{MIMEType: "image/png", Data: []byte("no png")}}}, "(a picture of 6 bytes that cannot be shown)"},
		{sdk.CallToolResult{Content: []sdk.Content{&sdk.AudioContent{Data: []byte("xyz")}, nil}}, "(a sound of 3 bytes that cannot be played)"},
		{sdk.CallToolResult{Content: []sdk.Content{&sdk.ResourceLink{Name: "n", URI: "file:///x"}, &sdk.EmbeddedResource{}}}, "n: file:///x"},
		{sdk.CallToolResult{IsError: true}, "error: the tool failed and did not say why"},
		{sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: "bad\xff"}}}, "error: bad\uFFFD"},
	} {
		got, err := on.result(t.Context(), &tc.result)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
	var _ agent.Tool = on
}

func TestLookup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"runs": 0o755, "text": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for command, want := range map[string]string{"runs": filepath.Join(dir, "runs"), "./runs": filepath.Join(dir, "runs"), filepath.Join(dir, "runs"): filepath.Join(dir, "runs"),
		"text": "", "./text": "", "none": "", "./": ""} {
		if got, err := lookup(command, dir, "relative:"+dir); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v", command, got, err)
		}
	}
}
