package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	antonv1 "anthill/gen/anton/v1"
)

// A turn calls tools of a server that its project configures, over stdio: results
// of all kinds are in the next request to the model, and in the frames.
func TestMCPTools(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	b.configure("general", object{"fake": b.fake("")})
	if s := b.mcpServers(""); s["fake"].State != "idle" || s["fake"].Transport != "stdio" || s["fake"].Project != "general" || len(s["fake"].Tools) != 0 {
		t.Errorf("before a turn: %+v", s)
	}
	names, result, tn := b.use("c", "mcp__fake__echo", `{"text":"hällo"}`)
	if result != "you said hällo" {
		t.Errorf("%q", result)
	}
	if !slices.Contains(names, "mcp__fake__add_up_") || !slices.IsSorted(names) {
		t.Errorf("offered %q", names)
	}
	if calls := tn.calls(); len(calls) != 1 || calls[0].Name != "mcp__fake__echo" || calls[0].Arguments != `{"text":"hällo"}` || calls[0].Output == nil || *calls[0].Output != result {
		t.Errorf("%+v", calls)
	}
	var roles []string
	for _, f := range tn.frames {
		if strings.Contains(string(f.data), `"tool_name":"mcp__fake__echo"`) {
			roles = append(roles, f.ThoughtRole+" "+f.Content)
		}
	}
	if want := []string{"thought.progress mcp__fake__echo", `thought.progress {"text":"hällo"}`}; !slices.Equal(roles, want) {
		t.Errorf("frames %q", roles)
	}
	for _, tc := range []struct{ tool, want string }{
		{"add_up_", `{"said":["a","b"],"sum":42}`},
		{"fail", "Error: it did not work"}, // as this provider is told of failures
		{"picture", "look:\n(a picture, image/png)"},
		{"slowly", "slowly done"},
	} {
		_, got, tn := b.use("c", "mcp__fake__"+tc.tool, `{}`)
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %q", tc.tool, clip([]byte(got)))
		}
		failed := tn.calls()[0].Status == "failed"
		if failed != (tc.tool == "fail") {
			t.Errorf("%s: status %s", tc.tool, tn.calls()[0].Status)
		}
		all := ""
		for _, f := range tn.frames {
			all += string(f.data)
		}
		if strings.Contains(all, entrySecret) || tc.tool == "slowly" != strings.Contains(all, "half with [redacted] (1 of 2)") {
			t.Errorf("%s: progress is wrong: %s", tc.tool, all)
		}
	}
	if body := string(b.p.about(t, "use mcp__fake__picture {}").body); body == "" {
		t.Error("no request")
	}
	b.p.mu.Lock()
	pictures := 0
	for _, c := range b.p.seen {
		if strings.Contains(string(c.body), "data:image/png;base64,iVBORw0KGgo") {
			pictures++
		}
	}
	b.p.mu.Unlock()
	if pictures == 0 {
		t.Error("no request shows the picture")
	}
	_, got, _ := b.use("c", "mcp__fake__huge", `{}`)
	if len(got) > 110<<10 || !strings.HasPrefix(got, "FIRST0123") || !strings.HasSuffix(got, "LAST") || !strings.Contains(got, "bytes of the result are left out") {
		t.Errorf("%d bytes: %q", len(got), clip([]byte(got)))
	}
	s := b.mcpServers("")["fake"]
	if s.State != "connected" || s.Problem != "" || len(s.Tools) != len(names) || filepath.Base(s.Command) != "fakemcp" {
		t.Errorf("%+v", s)
	}
	for _, tool := range s.Tools {
		if tool.Name == "mcp__fake__echo" && (tool.Tool != "echo" || tool.Title != "Fake echo" || tool.Description != "Does echo with [redacted]" || !tool.Allowed) {
			t.Errorf("%+v", tool)
		}
	}
	if starts := b.noted("start", 1); len(starts) != 1 {
		t.Errorf("started %d times", len(starts))
	}
	b.quiet()
	pid := b.noted("start", 1)[0]
	b.stop()
	b.gone(pid)
	b.noted("end", 1) // it was told by the end of its input, not killed
}

// What a process gets of the server's environment is no secret, and what its
// entry gives it no model sees, whichever tool shows it.
func TestMCPSecrets(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t, withKey("ant-key-for-this-test"))
	entry := b.fake("")
	entry["env"] = object{"FAKE_TOKEN": entrySecret, "PLAIN": "/a/plain/path"}
	b.configure("general", object{"fake": entry})
	_, env, tn := b.use("c", "mcp__fake__recall_environ", `{}`)
	for _, f := range tn.thoughts {
		if strings.Contains(f.ThoughtRole, "recall") {
			t.Errorf("a tool of a server passes for the agent's own memory: %s", f.data)
		}
	}
	for _, secret := range []string{serverSecret, b.p.key, entrySecret, "ant-key-for-this-test", "ANTON_", "ANT_API_KEY", "ANTHILL_"} {
		if strings.Contains(env, secret) {
			t.Errorf("the process has %q", secret)
		}
	}
	folder, err := filepath.EvalSymlinks(filepath.Join(b.projects(), "general"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"HOME=" + b.user, "PATH=", "TERM=dumb", "FAKE_TOKEN=[redacted]", "PLAIN=/a/plain/path", "cwd=" + folder} {
		if !strings.Contains(env, want) {
			t.Errorf("the process lacks %q:\n%s", want, env)
		}
	}
	if _, file, _ := b.use("c", "read_file", `{"path":".anton/mcp.json"}`); !strings.Contains(file, "mcpServers") || strings.Contains(file, entrySecret) {
		t.Errorf("the file shows as %q", file)
	}
	for _, m := range b.get("/v1/conversations/c/messages").ok()["messages"].([]any) {
		if raw, err := json.Marshal(m); err != nil || strings.Contains(string(raw), entrySecret) {
			t.Errorf("a message shows the secret: %s %v", raw, err)
		}
	}
	b.quiet()
}

// Servers that hang, talk nonsense, end or are not there fail no turn; the list
// says why, and an entry that is wrong does not keep the others from working.
func TestMCPBroken(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	b.configure("general", object{
		"fake": b.fake(""), "hang": b.fake("hang"), "garbage": b.fake("garbage"), "exit": b.fake("exit"),
		"absent": object{"command": "no-such-program-of-this-name"}, "both": object{"command": "x", "url": "http://127.0.0.1:1/"},
		"args": object{"command": "x", "args": "y"}, "sse": object{"type": "sse", "url": "http://127.0.0.1:1/"}, "none": 7,
		"refused": object{"url": "http://127.0.0.1:1/mcp"}, "metadata": object{"url": "http://169.254.169.254/mcp"},
		"itself": object{"url": b.url + "/mcp"}, "off": object{"command": "x", "disabled": true}, "bad/name": object{"command": "x"},
	})
	names, result, _ := b.use("c", "mcp__fake__echo", `{"text":"all the same"}`)
	if result != "you said all the same" {
		t.Errorf("%q of %q", result, names)
	}
	// The next one waits for nobody.
	if _, result, _ = b.use("c", "mcp__fake__echo", `{"text":"again"}`); result != "you said again" {
		t.Errorf("%q", result)
	}
	list := b.mcpServers("")
	for name, want := range map[string][2]string{
		"fake": {"connected", ""}, "hang": {"starting", ""}, "garbage": {"failed", "invalid character"}, "exit": {"failed", "it ended with exit status 3; it printed: no database at [redacted]"},
		"absent": {"failed", `no program "no-such-program-of-this-name"`}, "both": {"failed", "both a command and a url"}, "args": {"failed", "its args is of the wrong type"},
		"sse": {"failed", "sse is not supported"}, "none": {"failed", "not an object"}, "refused": {"failed", "cannot be reached"},
		"metadata": {"failed", "address is not allowed"}, "itself": {"failed", "address is not allowed"}, "off": {"disabled", ""}, "bad/name": {"failed", "its name has a slash"},
	} {
		if s := list[name]; s.State != want[0] || !strings.Contains(s.Problem, want[1]) || want[1] == "" && s.Problem != "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	// The file as a whole.
	for content, want := range map[string]string{
		"{\n\"mcpServers\": {\n":     "not valid JSON: see line 3",
		`[]`:                         "not a JSON object",
		`{"mcpServers":[]}`:          "its mcpServers is not an object",
		strings.Repeat(" ", 300<<10): "larger than 256 KiB",
	} {
		path := filepath.Join(b.projects(), "general", ".anton", "mcp.json")
		handWritten(t, path, content)
		o := b.get("/v1/settings/mcp").ok()
		problems := o["problems"].([]any)
		if len(problems) != 1 || len(o["servers"].([]any)) != 0 || !strings.Contains(str(problems[0].(object), "problem"), want) || str(problems[0].(object), "path") != path {
			t.Errorf("%.20q: %v", content, o)
		}
		if names, _, tn := b.use("c", "list_files", `{}`); len(names) != 0 || tn.end.Type != "response.completed" {
			t.Errorf("%.20q: %q, %s", content, names, tn.end.Type)
		}
	}
	// A link out of the project is not followed.
	outside := filepath.Join(t.TempDir(), "mcp.json")
	handWritten(t, outside, `{"mcpServers":{"x":{"command":"x"}}}`)
	path := filepath.Join(b.projects(), "general", ".anton", "mcp.json")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, path); err != nil {
		t.Fatal(err)
	}
	if o := b.get("/v1/settings/mcp").ok(); len(o["servers"].([]any)) != 0 || !strings.Contains(fmt.Sprint(o["problems"]), "no plain file inside the project") {
		t.Errorf("%v", o)
	}
	b.quiet()
	// The one that hangs obeys nothing, and is ended nevertheless.
	pids := b.noted("start", 4)
	b.stop()
	for _, pid := range pids {
		b.gone(pid)
	}
}

// A server that dies fails the call and comes back for the next one; what it
// leaves behind does not outlive it.
func TestMCPDies(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	b.configure("general", object{"fake": b.fake("family")})
	_, result, tn := b.use("c", "mcp__fake__die", `{}`)
	if want := "it ended with exit status 7; it printed: out of cheese [redacted]"; !strings.Contains(result, want) || tn.calls()[0].Status != "failed" || tn.end.Type != "response.completed" {
		t.Errorf("%q", result)
	}
	b.gone(b.noted("child", 1)[0])
	b.eventually("its end is told", func() bool {
		s := b.mcpServers("")["fake"]
		return s.State == "failed" && strings.Contains(s.Problem, "exit status 7")
	})
	if _, result, _ = b.use("c", "mcp__fake__echo", `{"text":"I am back"}`); result != "you said I am back" {
		t.Errorf("%q", result)
	}
	// A message beyond all measure ends the connection, not the server.
	if _, result, tn = b.use("c", "mcp__fake__flood", `{}`); tn.calls()[0].Status != "failed" || len(result) > 4<<10 {
		t.Errorf("%.200q", result)
	}
	if _, result, _ = b.use("c", "mcp__fake__echo", `{"text":"still there"}`); result != "you said still there" {
		t.Errorf("%q", result)
	}
	pids := append(b.noted("start", 3), b.noted("child", 3)...)
	b.stop()
	for _, pid := range pids {
		b.gone(pid)
	}
	b.quiet()
}

// Whoever stops a turn stops the call, and the server of the tool is told.
func TestMCPCancel(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	b.configure("general", object{"fake": b.fake("")})
	st := b.ask(object{"input": "use mcp__fake__wait {}", "conversation": "c"})
	b.noted("waits", 1)
	if o := b.post("/v1/responses/cancel", object{"conversation_id": "c"}).ok(); o["cancelled"] != true {
		t.Errorf("%v", o)
	}
	if tn := st.turn(); tn.end.Type != "response.incomplete" || tn.final.reason() != "cancelled" {
		t.Errorf("it ends in %s", tn.end.data)
	}
	b.noted("cancelled", 1)
	if _, result, _ := b.use("c", "mcp__fake__echo", `{"text":"go on"}`); result != "you said go on" {
		t.Errorf("%q", result)
	}
	if n := len(b.noted("start", 1)); n != 1 {
		t.Errorf("started %d times", n)
	}
}

// Of a thousand tools a turn gets as many as providers take, with a word about
// it; the conversation says which ones matter.
func TestMCPMany(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	b.configure("general", object{"many": b.fake("many"), "fake": b.fake("")})
	names, result, _ := b.use("c", "mcp__many__tool_003", `{}`)
	if result != "this is 3" || len(names) != 100 || !slices.Contains(names, "mcp__fake__wait") {
		t.Errorf("%q, offered %d", result, len(names))
	}
	if s := b.mcpServers("")["many"]; len(s.Tools) != 1000 || !strings.Contains(s.Problem, "1000 tools, and a turn gets 100 at most") {
		t.Errorf("%d tools, %q", len(s.Tools), s.Problem)
	}
	b.patch("/v1/conversations/c", object{"mcp": object{"allow": []string{"many/tool_99*"}}}).ok()
	if names, result, _ = b.use("c", "mcp__many__tool_999", `{}`); result != "this is 999" || len(names) != 10 {
		t.Errorf("%q, offered %q", result, names)
	}
}

// The file counts as it is when a turn begins, and a server that has new tools is
// asked for them.
func TestMCPChanges(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	b.configure("general", object{"fake": b.fake("")})
	names, _, _ := b.use("c", "mcp__fake__grow", `{}`)
	if slices.Contains(names, "mcp__fake__late") {
		t.Errorf("%q", names)
	}
	b.eventually("the new tool is listed", func() bool {
		return slices.ContainsFunc(b.mcpServers("")["fake"].Tools, func(t struct {
			Name, Tool, Title, Description string
			Allowed                        bool
		}) bool {
			return t.Tool == "late"
		})
	})
	if _, result, _ := b.use("c", "mcp__fake__late", `{}`); result != "late but here" {
		t.Errorf("%q", result)
	}
	first := b.noted("start", 1)[0]
	entry := b.fake("")
	entry["env"] = object{"FAKE_TOKEN": "another-secret-99"}
	b.configure("general", object{"fake": entry, "second": b.fake("")})
	names, result, _ := b.use("c", "mcp__second__echo", `{"text":"2"}`)
	if result != "you said 2" || !slices.Contains(names, "mcp__fake__echo") || slices.Contains(names, "mcp__fake__late") {
		t.Errorf("%q of %q", result, names)
	}
	b.gone(first)
	b.configure("general", object{})
	if names, result, _ = b.use("c", "mcp__second__echo", `{"text":"3"}`); len(names) != 0 || !strings.Contains(result, "there is no tool named") {
		t.Errorf("%q of %q", result, names)
	}
	for _, pid := range b.noted("start", 3) {
		b.gone(pid)
	}
	// Another project has its own.
	b.post("/v1/projects", object{"name": "other"}).ok()
	b.configure("other", object{"theirs": b.fake("")})
	if s := b.mcpServers("?project=all"); len(s) != 1 || s["theirs"].Project != "other" {
		t.Errorf("%+v", s)
	}
	if s := b.mcpServers("?project=general"); len(s) != 0 {
		t.Errorf("%+v", s)
	}
	b.get("/v1/settings/mcp?project=none").refused(http.StatusNotFound, "Project not found: none")
	b.get("/v1/settings/mcp?conversation=none").refused(http.StatusNotFound, "Conversation not found")
}

// A conversation says which tools its turns may use. What is denied is neither
// offered nor callable; a fork takes that along.
func TestMCPDeny(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	b.configure("general", object{"one": b.fake(""), "two": b.fake("")})
	names, _, _ := b.use("c", "mcp__one__echo", `{"text":"1"}`)
	if !slices.Contains(names, "mcp__two__echo") || b.get("/v1/conversations/c").ok()["mcp"] != nil {
		t.Errorf("%q", names)
	}
	o := b.patch("/v1/conversations/c", object{"mcp": object{"deny": []string{"two", "one/ech*", "mcp__one__fail"}}}).ok()
	if fmt.Sprint(o["mcp"]) != "map[allow:[] deny:[two one/ech* mcp__one__fail]]" {
		t.Errorf("%v", o["mcp"])
	}
	names, result, tn := b.use("c", "mcp__one__echo", `{"text":"1"}`)
	if !strings.Contains(result, "there is no tool named") || len(tn.calls()) != 1 || tn.calls()[0].Status != "failed" {
		t.Errorf("%q", result)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "mcp__two__") || name == "mcp__one__echo" || name == "mcp__one__fail" {
			t.Errorf("%s is offered", name)
		}
	}
	if len(names) == 0 {
		t.Error("nothing is offered")
	}
	fork := str(b.post("/v1/conversations/c/fork", object{}).ok(), "id")
	gone := str(b.post("/v1/conversations/c/fork", object{"ephemeral": true}).ok(), "id")
	if again, _, _ := b.use(gone, "mcp__one__echo", `{"text":"1"}`); !slices.Equal(again, names) {
		t.Errorf("in memory: %q", again)
	}
	b.again()
	for _, id := range []string{"c", fork} {
		if o := b.get("/v1/conversations/" + id).ok(); fmt.Sprint(o["mcp"]) != "map[allow:[] deny:[two one/ech* mcp__one__fail]]" {
			t.Errorf("%s: %v", id, o["mcp"])
		}
		if again, _, _ := b.use(id, "mcp__one__echo", `{"text":"1"}`); !slices.Equal(again, names) {
			t.Errorf("%s: %q", id, again)
		}
	}
	for _, tool := range b.mcpServers("?conversation=" + fork)["one"].Tools {
		if tool.Allowed != (tool.Tool != "echo" && tool.Tool != "fail") {
			t.Errorf("%+v", tool)
		}
	}
	b.patch("/v1/conversations/c", object{"mcp": object{}}).ok()
	if _, result, _ = b.use("c", "mcp__two__echo", `{"text":"2"}`); result != "you said 2" {
		t.Errorf("%q", result)
	}
	for _, wrong := range []any{7, "x", []any{}, object{"deny": "x"}, object{"deny": []any{7}}, object{"allow": []any{""}}, object{"allow": []string{strings.Repeat("x", 201)}},
		object{"deny": strings.Split(strings.Repeat("x ", 100)+"x", " ")}} {
		if a := b.patch("/v1/conversations/c", object{"mcp": wrong}); a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest {
			t.Errorf("%v: %v", wrong, a)
		}
	}
}

// again stops the server and starts it again.
func (b *mcpBench) again() {
	b.t.Helper()
	b.stop()
	b.restart()
}

// Servers at an address: their headers go to them alone, a redirect to somewhere
// else is not followed, and one that comes back with another session is greeted again.
func TestMCPOverHTTP(t *testing.T) {
	t.Parallel()
	b := newMCPBench(t)
	var mu sync.Mutex
	var seen []string
	impl := func() http.Handler {
		s := mcp.NewServer(&mcp.Implementation{Name: "web", Version: "1"}, nil)
		type in struct {
			Text string `json:"text,omitempty"`
		}
		mcp.AddTool(s, &mcp.Tool{Name: "echo", Description: "Echo"}, func(_ context.Context, q *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "web says " + a.Text + " to " + q.Extra.Header.Get("X-Secret")}}}, nil, nil
		})
		return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
	}
	now := impl()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := now
		seen = append(seen, r.Method+" "+r.Header.Get("X-Secret"))
		mu.Unlock()
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/mcp/here", http.StatusTemporaryRedirect)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(web.CloseClientConnections)
	t.Cleanup(web.Close)
	stolen := make(chan string, 100)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("X-Secret") }))
	t.Cleanup(elsewhere.Close)
	sends := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/mcp", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(sends.Close)
	headers := object{"X-Secret": entrySecret}
	b.configure("general", object{
		"web":   object{"type": "http", "url": web.URL + "/mcp?key=abcdefgh12345678", "headers": headers},
		"moved": object{"url": web.URL + "/moved", "headers": headers},
		"sends": object{"url": sends.URL, "headers": headers},
		"error": object{"url": web.URL + "/\x7f"},
	})
	names, result, _ := b.use("c", "mcp__web__echo", `{"text":"hi"}`)
	if result != "web says hi to [redacted]" || !slices.Contains(names, "mcp__moved__echo") || slices.Contains(names, "mcp__sends__echo") {
		t.Errorf("%q of %q", result, names)
	}
	list := b.mcpServers("")
	if s := list["web"]; s.State != "connected" || s.Transport != "http" || s.URL != web.URL+"/mcp?***" {
		t.Errorf("%+v", s)
	}
	if s := list["sends"]; s.State != "failed" || !strings.Contains(s.Problem, "Temporary Redirect") {
		t.Errorf("%+v", s)
	}
	if s := list["error"]; s.State != "failed" || !strings.Contains(s.Problem, "not an http or https address") {
		t.Errorf("%+v", s)
	}
	select {
	case s := <-stolen:
		t.Errorf("a redirect was followed, with %q", s)
	default:
	}
	mu.Lock()
	for _, r := range seen {
		if !strings.HasSuffix(r, " "+entrySecret) {
			t.Errorf("a request had no header: %q", r)
		}
	}
	now = impl() // which knows no session
	mu.Unlock()
	if _, result, _ = b.use("c", "mcp__web__echo", `{"text":"again"}`); result != "web says again to [redacted]" {
		t.Errorf("%q", result)
	}
	web.CloseClientConnections()
	web.Close()
	if _, result, tn := b.use("c", "mcp__web__echo", `{"text":"nobody"}`); tn.end.Type != "response.completed" || !strings.Contains(result, "cannot be reached") && !strings.Contains(result, "there is no tool") {
		t.Errorf("%q", result)
	}
	b.quiet()
}

// The server's own door is one for its agent, too, if the entry has a key for it.
func TestMCPOwnDoor(t *testing.T) {
	t.Parallel()
	const key = "ant-key-for-this-test"
	b := newMCPBench(t, withKey(key))
	b.configure("general", object{"rooms": object{"url": b.url + "/mcp", "headers": object{"Authorization": "Bearer " + key}}})
	names, _, _ := b.use("c", "list_files", `{}`)
	if len(names) == 0 {
		t.Errorf("nothing is offered: %+v", b.mcpServers(""))
	}
	b.quiet()
}

func (e *everyRoute) mcpRoutes(t *testing.T) {
	for _, query := range []string{"", "?project=general", "?project=all"} {
		_, value, _ := strings.Cut(query, "=")
		l, err := e.mcp.ListMcpServers(e.s.call(), &antonv1.ListMcpServersRequest{Project: value})
		same(e, e.call("GET /v1/settings/mcp", nil, query), l, err)
	}
}
