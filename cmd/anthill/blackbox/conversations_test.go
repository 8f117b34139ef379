package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// answering is a model that answers every question by naming it.
func answering(t *testing.T) *provider {
	return newProvider(t, func(c *call) { c.say("About ", c.asked()) })
}

// Done when (6): a conversation moves between projects, and the agent with it.
func TestMove(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for _, name := range []string{"here", "there"} {
		s.post("/v1/projects", object{"name": name}).ok()
		s.put("/v1/projects/"+name+"/files/where.txt", object{"content": "this is " + name}).ok()
	}
	where := func(want string) {
		t.Helper()
		st := s.ask(object{"input": "where?", "conversation": "c", "project": "here"})
		p.next().tool(0, "call_1", "read_file", `{"path":"where.txt"}`).finish("tool_calls")
		c := p.next()
		last := c.Messages[len(c.Messages)-1]
		if last.Role != "tool" || !strings.Contains(last.text(), "this is "+want) {
			t.Errorf("the agent reads %+v, want the file of %s", last, want)
		}
		c.say("seen")
		st.turn()
	}
	where("here")
	for _, same := range []bool{false, true} {
		if o := s.patch("/v1/conversations/c", object{"project": "there"}).ok(); o["project"] != "there" || o["id"] != "c" ||
			o["project_path"] != filepath.Join(s.projects(), "there") {
			t.Errorf("moved (again: %v): %v", same, o)
		}
	}
	if here, there := conversations(t, s, "?project=here"), conversations(t, s, "?project=there"); len(here) != 0 || !slices.Equal(there, []string{"c"}) {
		t.Errorf("lists: %v, %v", here, there)
	}
	where("there") // the request still says "here": an existing conversation stays where it is
	s.patch("/v1/conversations/c", object{"project": "nowhere"}).refused(http.StatusNotFound, "Project not found: nowhere")
	s.patch("/v1/conversations/unknown", object{"project": "there"}).refused(http.StatusNotFound, "Conversation not found")
	s.patch("/v1/conversations/c", object{}).refused(http.StatusBadRequest, "No valid fields to update")
	if o := s.get("/v1/conversations/c").ok(); o["project"] != "there" || o["turns"] != 2.0 {
		t.Errorf("conversation %v", o)
	}

	// A rename takes folder and conversations along, and resolves at once.
	if o := s.patch("/v1/projects/there", object{"name": "elsewhere"}).ok(); o["name"] != "elsewhere" || o["renamed"] != false {
		t.Errorf("rename: %v", o)
	}
	if o := s.get("/v1/conversations/c").ok(); o["project"] != "elsewhere" {
		t.Errorf("after the rename: %v", o)
	}
	where("there")
	s.stop()
	s.restart()
	if got := conversations(t, s, "?project=elsewhere"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("after a restart: %v", got)
	}
}

// Done when (6): title and preview.
func TestTitle(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	long := strings.Repeat("wörter und ", 20)
	s.ask(object{"input": "  " + long + "\nmehr", "conversation": "c"}).turn()
	o := s.get("/v1/conversations/c").ok()
	oneLine := []rune(strings.Join(strings.Fields(long), " "))
	if o["preview"] != string(oneLine[:60]) || o["title"] != string(oneLine[:50])+"..." {
		t.Errorf("seeded: preview %q, title %q", o["preview"], o["title"])
	}
	for _, tc := range []struct{ set, want string }{
		{"  A  new\n\ttitle ", "A new title"},
		{"   ", "A new title"},
		{"", "A new title"},
		{strings.Repeat("ü", 161), strings.Repeat("ü", 160)},
	} {
		if o := s.patch("/v1/conversations/c", object{"title": tc.set}).ok(); o["title"] != tc.want {
			t.Errorf("title %q becomes %q, want %q", tc.set, o["title"], tc.want)
		}
	}
	s.ask(object{"input": "another question", "conversation": "c"}).turn()
	if o := s.get("/v1/conversations/c").ok(); o["title"] != strings.Repeat("ü", 160) || o["preview"] != string(oneLine[:60]) || o["turns"] != 2.0 {
		t.Errorf("after another turn: %v", o)
	}
	muted := []any{object{"engine": "postgres", "name": "sales"}}
	if o := s.patch("/v1/conversations/c", object{"disabled_connections": muted}).ok(); fmt.Sprint(o["disabled_connections"]) != fmt.Sprint(muted) {
		t.Errorf("muted %v", o)
	}
	if o := s.patch("/v1/conversations/c", object{"disabled_connections": []any{}}).ok(); len(o["disabled_connections"].([]any)) != 0 {
		t.Errorf("unmuted %v", o)
	}
}

var mintedID = regexp.MustCompile(`^\d{8}_\d{6}_[0-9a-f]{6}$`)

// Done when (6, 7): which project a request is about, and which conversation.
func TestStaleAndUnknownNames(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	s.post("/v1/projects", object{"name": "side"}).ok()
	s.ask(object{"input": "q", "conversation": "c", "project": "side"}).turn()
	for _, stale := range []string{"general", "never-existed"} {
		s.ask(object{"input": "again", "conversation": "c", "project": stale}).turn()
	}
	if o := s.get("/v1/conversations/c").ok(); o["project"] != "side" || o["turns"] != 3.0 {
		t.Errorf("conversation %v", o)
	}
	if got := conversations(t, s, "?project=all"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("conversations %v", got)
	}
	for _, stream := range []bool{true, false} {
		s.post("/v1/responses", object{"input": "q", "conversation": "new", "project": "never-existed", "stream": stream}).
			refused(http.StatusNotFound, "Project not found: never-existed")
	}
	s.get("/v1/conversations/new").refused(http.StatusNotFound, "Conversation not found")

	minted := map[string]bool{}
	for _, given := range []any{"tmp-123", nil, "", "tmp-123"} {
		id := s.ask(object{"input": "q", "conversation": given}).turn().conversation
		if !mintedID.MatchString(id) || minted[id] {
			t.Errorf("conversation %v gets id %q", given, id)
		}
		minted[id] = true
	}
	s.get("/v1/conversations/tmp-123").refused(http.StatusNotFound, "Conversation not found")
	const own = "20260101_120000_abcdef"
	if id := s.ask(object{"input": "q", "conversation": own}).turn().conversation; id != own {
		t.Errorf("an id of the client's choice becomes %q", id)
	}
}

// Done when (6): lists, newest first, by project and of all.
func TestListsOfConversations(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	s.post("/v1/projects", object{"name": "side"}).ok()
	for i, project := range []string{"general", "side", "general", "side"} {
		s.ask(object{"input": "q", "conversation": fmt.Sprintf("c%d", i), "project": project}).turn()
	}
	s.ask(object{"input": "q", "conversation": "c0"}).turn() // now the newest
	for query, want := range map[string][]string{
		"?project=all":            {"c0", "c3", "c2", "c1"},
		"?project=all&limit=2":    {"c0", "c3"},
		"":                        {"c0", "c2"},
		"?project=general":        {"c0", "c2"},
		"?project=side":           {"c3", "c1"},
		"?project=side&limit=1":   {"c3"},
		"?project=unknown":        nil,
		"?limit=1":                {"c0"},
		"?project=all&limit=1000": {"c0", "c3", "c2", "c1"},
	} {
		if got := conversations(t, s, query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for name, want := range map[string]string{"side": "[c3 c1]", "unknown": "[]"} {
		o := s.get("/v1/projects/" + name + "/conversations").ok()
		var ids []string
		for _, c := range o["conversations"].([]any) {
			ids = append(ids, str(c.(object), "id"))
		}
		if o["project"] != name || fmt.Sprint(ids) != want {
			t.Errorf("conversations of %s: %v", name, o)
		}
	}
	for _, c := range s.get("/v1/conversations?project=all").ok()["conversations"].([]any) {
		c := c.(object)
		for _, k := range []string{"id", "title", "turns", "preview", "created_at", "updated_at", "project", "disabled_connections"} {
			if _, ok := c[k]; !ok {
				t.Errorf("a conversation lacks %s: %v", k, c)
			}
		}
		for _, k := range []string{"created_at", "updated_at"} {
			at, err := time.Parse(time.RFC3339Nano, str(c, k))
			if err != nil || !strings.HasSuffix(str(c, k), "+00:00") || time.Since(at).Abs() > time.Hour {
				t.Errorf("%s is %q", k, c[k])
			}
		}
	}
	s.put("/v1/projects/active", object{"name": "side"}).ok()
	if got := conversations(t, s, ""); !slices.Equal(got, []string{"c3", "c1"}) {
		t.Errorf("of the active project: %v", got)
	}
}

// Done when (6): projects are real folders.
func TestProjectsAreFolders(t *testing.T) {
	t.Parallel()
	s := start(t)
	folder := func(name string) string { return filepath.Join(s.projects(), name) }
	isDir := func(name string) bool {
		info, err := os.Stat(folder(name))
		return err == nil && info.IsDir()
	}
	for _, tc := range []struct{ requested, name string }{
		{"Plan 9", "Plan-9"}, {"Plan 9", "Plan-9-2"}, {"../../etc", "etc"}, {"", "untitled-project"},
		{"CON", "CON-x"}, {"..", "untitled-project-2"}, {strings.Repeat("n", 100), strings.Repeat("n", 48)}, {"a/b\\c", "a-b-c"},
	} {
		o := s.post("/v1/projects", object{"name": tc.requested}).ok()
		if o["name"] != tc.name || o["requested"] != tc.requested || o["renamed"] != (tc.name != tc.requested) ||
			o["path"] != folder(tc.name) || !isDir(tc.name) {
			t.Errorf("project %q: %v, want %q", tc.requested, o, tc.name)
		}
	}
	names := func() string {
		var out []string
		for _, p := range s.get("/v1/projects").ok()["projects"].([]any) {
			out = append(out, str(p.(object), "name"))
		}
		return strings.Join(out, " ")
	}
	if err := os.MkdirAll(filepath.Join(folder("by-hand"), "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder(".hidden"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := "a-b-c by-hand CON-x etc general " + strings.Repeat("n", 48) + " Plan-9 Plan-9-2 untitled-project untitled-project-2"
	if got := names(); got != want {
		t.Errorf("projects %q, want %q", got, want)
	}
	if o := s.put("/v1/projects/active", object{"name": "by-hand"}).ok(); o["name"] != "by-hand" {
		t.Errorf("active %v", o)
	}
	if err := os.RemoveAll(folder("by-hand")); err != nil {
		t.Fatal(err)
	}
	if o := s.get("/v1/projects/active").ok(); o["name"] != "general" {
		t.Errorf("the active project's folder vanished, active is %v", o)
	}
	s.put("/v1/projects/active", object{"name": "unknown"}).refused(http.StatusNotFound, "Project not found")
	s.patch("/v1/projects/unknown", object{"name": "x"}).refused(http.StatusNotFound, "Project not found")
}
