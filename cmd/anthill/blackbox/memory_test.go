package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

func (e *everyRoute) memoryRoutes(t *testing.T) {
	p, err := e.memory.PutMemoryEntry(e.s.call(), &antonv1.PutMemoryEntryRequest{Name: "by grpc", Content: "One."})
	alike(e, e.call("POST /v1/memory", object{"name": "by rest", "content": "Two."}), p, err)
	w, err := e.memory.WriteMemoryFile(e.s.call(), &antonv1.WriteMemoryFileRequest{RelativePath: "a.md", Content: proto.String("- A.\n")})
	alike(e, e.call("POST /v1/memory", object{"relativePath": "b.md", "content": "- B.\n"}), w, err)
	for _, query := range []string{"", "?project=general", "?project=all", "?project_path=/nowhere"} {
		_, value, _ := strings.Cut(query, "=")
		q := &antonv1.ListMemoryRequest{}
		if strings.HasPrefix(query, "?project_path") {
			q.ProjectPath = value
		} else {
			q.Project = value
		}
		l, err := e.memory.ListMemory(e.s.call(), q)
		same(e, e.call("GET /v1/memory", nil, query), l, err)
	}
	d, err := e.memory.DeleteMemory(e.s.call(), &antonv1.DeleteMemoryRequest{Name: "by grpc"})
	alike(e, e.call("DELETE /v1/memory", nil, "?name=by+rest"), d, err)
	d, err = e.memory.DeleteMemory(e.s.call(), &antonv1.DeleteMemoryRequest{RelativePath: "a.md"})
	alike(e, e.call("DELETE /v1/memory", object{"relative_path": "b.md"}), d, err)
}

// memory is GET /v1/memory.
type memoryList struct {
	Sections []struct {
		Scope, Root, ProjectName string
		Files                    []struct{ RelativePath, Path, Content, Problem string }
	}
	Entries []struct {
		ID, Name, Description, Type, Content, Scope, Project, RelativePath, CreatedAt string
		Source                                                                        struct{ By, ConversationID, TurnID string }
	}
	Problems []struct{ Scope, Project, RelativePath, Problem string }
}

func (s *server) memory(query string) memoryList {
	s.t.Helper()
	a := s.get("/v1/memory" + query)
	a.ok()
	return decode[memoryList](s.t, a.body)
}

// texts are the contents of entries, in their order.
func (m memoryList) texts() (list []string) {
	for _, e := range m.Entries {
		list = append(list, e.Content)
	}
	return list
}

// globalMemory is a file of memory for all projects, projectMemory one of general.
func (s *server) globalMemory(rel string) string { return filepath.Join(s.home, "memory", rel) }
func (s *server) projectMemory(rel string) string {
	return filepath.Join(s.projects(), "general", ".anton", "memory", rel)
}

func handWritten(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryEntries(t *testing.T) {
	t.Parallel()
	s := start(t)
	content := "  Deploys are on **Tuesday**:\n\n\t1. <!-- anthill: {} -->\n- two\n   \n```sh\nmake\n```  "
	o := s.post("/v1/memory", object{"name": "deploys", "description": "when", "type": "reference", "content": content, "project": "general"}).ok()
	want := "Deploys are on **Tuesday**:\n\n\t1. <!-- anthill: {} -->\n- two\n\n```sh\nmake\n```"
	if got := str(o, "entry", "content"); got != want || str(o, "status") != "ok" {
		t.Fatalf("%q", got)
	}
	e := s.memory("").Entries
	if len(e) != 1 || e[0].Content != want || e[0].Name != "deploys" || e[0].Description != "when" || e[0].Type != "reference" || e[0].Scope != "Project" ||
		e[0].Project != "general" || e[0].Source.By != "user" || e[0].RelativePath != "topics/reference.md" || e[0].CreatedAt == "" {
		t.Fatalf("%+v", e)
	}
	if data, err := os.ReadFile(s.projectMemory("topics/reference.md")); err != nil || !strings.HasPrefix(string(data), "# reference\n\n- Deploys are on **Tuesday**:\n") {
		t.Errorf("%q, %v", data, err)
	}
	// By name, then by id; the id stays.
	s.post("/v1/memory", object{"name": "deploys", "content": "On Monday."}).ok()
	s.post("/v1/memory", object{"id": e[0].ID, "content": "On Friday.", "type": "always"}).ok()
	s.post("/v1/memory", object{"content": "Be brief.", "type": "always", "scope": "global"}).ok()
	s.post("/v1/memory", object{"content": "Is called Ann.", "type": "profile"}).ok()
	m := s.memory("?project=general")
	got := m.texts()
	slices.Sort(got)
	if fmt.Sprint(got) != "[Be brief. Is called Ann. On Friday.]" {
		t.Errorf("%q", got)
	}
	for _, now := range m.Entries {
		if now.Name == "deploys" && (now.ID != e[0].ID || now.RelativePath != "rules.md" || now.Type != "always") {
			t.Errorf("%+v", now)
		}
	}
	if len(m.Sections) != 2 || m.Sections[0].Scope != "Global" || m.Sections[1].ProjectName != "general" || len(m.Sections[0].Files) != 2 {
		t.Errorf("%+v", m.Sections)
	}
	if data, err := os.ReadFile(s.globalMemory("rules.md")); err != nil || !strings.HasPrefix(string(data), "# Rules\n\n## Always\n\n- Be brief. <!-- anthill: {") {
		t.Errorf("%q, %v", data, err)
	}
	// Another project has its own.
	s.post("/v1/projects", object{"name": "other"}).ok()
	if got := s.memory("?project=other").texts(); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if got := s.memory("?project=all").texts(); len(got) != 3 {
		t.Errorf("%q", got)
	}
	if got := s.memory("?project_path=" + filepath.Join(s.projects(), "general")).texts(); len(got) != 3 {
		t.Errorf("%q", got)
	}
	s.delete("/v1/memory?id=" + e[0].ID).ok()
	s.do(http.MethodDelete, "/v1/memory", object{"name": "Be brief."}).ok()
	s.do(http.MethodDelete, "/v1/memory", object{"name": "Be brief."}).refused(http.StatusNotFound, "Memory entry not found")
	s.stop()
	s.restart()
	if got := s.memory("").texts(); fmt.Sprint(got) != "[Is called Ann.]" {
		t.Errorf("%q", got)
	}
	// What was forgotten is nowhere.
	for _, rel := range []string{s.globalMemory("rules.md"), s.projectMemory("rules.md")} {
		if data, err := os.ReadFile(rel); err != nil || strings.Contains(string(data), "brief") || strings.Contains(string(data), "Friday") {
			t.Errorf("%q, %v", data, err)
		}
	}
}

func TestMemoryFiles(t *testing.T) {
	t.Parallel()
	s := start(t)
	const first, second = "# Profile\n\nAnn, from Naxos.\n", "- Ann.\n- Sails.\n"
	o := s.post("/v1/memory", object{"relativePath": "profile.md", "content": first}).ok()
	if str(o, "file", "content") != first || str(o, "file", "scope") != "Global" || str(o, "file", "path") != s.globalMemory("profile.md") {
		t.Errorf("%v", o)
	}
	s.post("/v1/memory", object{"relativePath": "topics/boats.md", "content": "- Ketch.", "projectPath": filepath.Join(s.projects(), "general")}).ok()
	s.post("/v1/memory", object{"scope": "Global", "relativePath": "profile.md", "content": second}).ok()
	m := s.memory("")
	if got := m.texts(); len(got) != 3 || len(m.Sections[1].Files) != 1 || m.Sections[1].Files[0].Content != "- Ketch." {
		t.Errorf("%+v", m)
	}
	for _, e := range m.Entries {
		if e.Source.By != "hand" || e.ID == "" {
			t.Errorf("%+v", e)
		}
	}
	// An entry that has no id of its own is forgotten, too, and the others stay.
	s.delete("/v1/memory?name=Ann.").ok()
	if data, err := os.ReadFile(s.globalMemory("profile.md")); err != nil || string(data) != "- Sails.\n" {
		t.Errorf("%q, %v", data, err)
	}
	d := s.delete("/v1/memory?scope=Global&relative_path=profile.md").ok()
	if str(d, "deleted") != "profile.md" || str(d, "root") != filepath.Join(s.home, "memory") {
		t.Errorf("%v", d)
	}
	s.delete("/v1/memory?scope=Global&relative_path=profile.md").refused(http.StatusNotFound, "Memory file not found")
	kept, err := filepath.Glob(filepath.Join(s.home, "backups", "memory", "*"))
	if err != nil || len(kept) != 2 {
		t.Fatalf("%q, %v", kept, err)
	}
	if data, err := os.ReadFile(kept[0]); err != nil || string(data) != first {
		t.Errorf("%q, %v", data, err)
	}
	general := object{"projectPath": filepath.Join(s.projects(), "general"), "content": "x"}
	for _, tc := range []struct {
		with   object
		status int
		detail string
	}{
		{object{"relativePath": "a.txt"}, http.StatusUnsupportedMediaType, ""}, {object{"relativePath": "../a.md"}, 400, "Invalid memory path"},
		{object{"relativePath": "/etc/a.md"}, 400, ""}, {object{"relativePath": "a\x00.md"}, 422, ""}, {object{"relativePath": "x/.md"}, 400, ""},
		{object{"relativePath": "a.md", "scope": "Galaxy"}, 400, "Scope must be Global or Project"}, {object{"relativePath": ""}, 422, ""},
		{object{"relativePath": "profile.md", "projectPath": general["projectPath"]}, 400, ""},
		{object{"relativePath": "a.md", "projectPath": "/etc"}, 404, "Project not found"},
		{object{"relativePath": "a.md", "content": strings.Repeat("x", 129<<10)}, 413, ""}, {object{"relativePath": "a.md", "content": "```\nopen"}, 422, ""},
		{object{"relativePath": "a.md", "content": "x\x1b[0m"}, 422, ""}, {object{"relativePath": "a.md", "content": nil}, 422, ""},
		{object{"relativePath": "a.md", "content": "the key is sk-abcdefghijklmnopqrstuv"}, 400, ""}, {object{"relativePath": 7}, 422, ""},
	} {
		body := object{"content": "x"}
		for k, v := range tc.with {
			body[k] = v
		}
		s.post("/v1/memory", body).refused(tc.status, tc.detail)
	}
	for _, query := range []string{"", "?relative_path=a.txt", "?relative_path=../x.md", "?id=a&name=b", "?relative_path=a.md&scope=x", "?project=none&id=x", "?name=%ff", "?relative_path=topics.md%2f..%2f..%2fx.md"} {
		s.delete("/v1/memory" + query).unacceptable(query)
	}
	for _, body := range []string{"{", "[]", `{"id":7}`, `{"id":"a","name":"b"}`, "nul"} {
		s.do(http.MethodDelete, "/v1/memory", body).unacceptable(body)
	}
}

func TestMemoryRefusesEntries(t *testing.T) {
	t.Parallel()
	s := start(t)
	secret := "AKIA" + strings.Repeat("Z", 16)
	for what, body := range map[string]object{
		"blank": {"content": " \n"}, "long": {"content": strings.Repeat("x", 16<<10+1)}, "long name": {"content": "x", "name": strings.Repeat("x", 201)},
		"long description": {"content": "x", "description": strings.Repeat("x", 1001)}, "control": {"content": "x\x07"}, "control in the name": {"content": "x", "name": "a\nb"},
		"unknown project": {"content": "x", "project": "none"}, "traversal": {"content": "x", "project": "../data"}, "scope": {"content": "x", "scope": "x"},
		"unknown id": {"content": "x", "id": "mem_none"}, "secret": {"content": "use " + secret}, "secret name": {"content": "x", "name": secret}, "long type": {"content": "x", "type": strings.Repeat("x", 41)},
	} {
		s.post("/v1/memory", body).unacceptable(what)
	}
	c := antonv1.NewMemoryServiceClient(s.dial())
	for what, err := range map[string]error{
		"no content":   second(c.PutMemoryEntry(s.call(), &antonv1.PutMemoryEntryRequest{Name: "x"})),
		"nothing":      second(c.DeleteMemory(s.call(), &antonv1.DeleteMemoryRequest{})),
		"control":      second(c.PutMemoryEntry(s.call(), &antonv1.PutMemoryEntryRequest{Content: "a\x00b"})),
		"outside":      second(c.WriteMemoryFile(s.call(), &antonv1.WriteMemoryFileRequest{RelativePath: "../../x.md", Content: proto.String("x")})),
		"outside gone": second(c.DeleteMemory(s.call(), &antonv1.DeleteMemoryRequest{RelativePath: "../../x.md"})),
	} {
		wantCode(t, what, err, codes.InvalidArgument)
	}
	wantCode(t, "unknown", second(c.DeleteMemory(s.call(), &antonv1.DeleteMemoryRequest{Id: "x"})), codes.NotFound)
	wantCode(t, "project", second(c.ListMemory(s.call(), &antonv1.ListMemoryRequest{Project: "none"})), codes.NotFound)
	if m := s.memory("?project=all"); len(m.Entries) != 0 || len(m.Sections[0].Files) != 0 {
		t.Errorf("%+v", m)
	}
}

// Many writers at once, some of them with an editor: no entry is lost, and the
// file is whole each time it is read.
func TestMemoryConcurrentWriters(t *testing.T) {
	t.Parallel()
	s := start(t)
	const writers, each = 8, 10
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if a, err := s.try(http.MethodPost, "/v1/memory", object{"content": fmt.Sprintf("fact %d of %d", i, w)}); err != nil || a.status != http.StatusOK {
					t.Errorf("%v %v", a, err)
				}
				if a, err := s.try(http.MethodGet, "/v1/memory", nil); err != nil || strings.Contains(string(a.body), `"problems":[{`) {
					t.Errorf("%v %v", a, err)
				}
			}
		})
	}
	all.Wait()
	if got := len(s.memory("").Entries); got != writers*each {
		t.Errorf("%d entries", got)
	}
}

// Done when: a memory file edited by hand is in the next prompt; a broken one is
// kept and reported.
func TestMemoryByHandIsInThePrompt(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("ok") })
	s := start(t, withModel(p))
	handWritten(t, s.projectMemory("rules.md"), "# Rules\n\n## Never\n\n- Touch prod-7.\n")
	handWritten(t, s.globalMemory("profile.md"), "Ann sails.\n")
	s.ask(object{"input": "one", "conversation": "c"}).turn()
	sys := p.about(t, "one").system()
	if !strings.Contains(sys, "- Never: Touch prod-7.\n") || !strings.Contains(sys, "- profile: Ann sails.") || strings.Index(sys, "prod-7") > strings.Index(sys, "sails") {
		t.Errorf("%s", sys)
	}
	handWritten(t, s.projectMemory("rules.md"), "## Never\n- Touch prod-8.\n")
	const broken = "## Never\n- Touch prod-9. <!-- anthill: {\"id\":\n"
	handWritten(t, s.projectMemory("topics/broken.md"), broken)
	handWritten(t, s.projectMemory("lessons.md"), "\xff\xfe")
	s.ask(object{"input": "two", "conversation": "c"}).turn()
	if sys := p.about(t, "two").system(); strings.Contains(sys, "prod-7") || !strings.Contains(sys, "Touch prod-8.") || strings.Contains(sys, "prod-9") || strings.Contains(sys, "broken") {
		t.Errorf("%s", sys)
	}
	m := s.memory("")
	if len(m.Problems) != 2 || m.Problems[1].RelativePath != "topics/broken.md" || !strings.Contains(m.Problems[1].Problem, "line 2") || m.Problems[0].RelativePath != "lessons.md" {
		t.Errorf("%+v", m.Problems)
	}
	if text := s.stderr.String(); strings.Count(text, "topics/broken.md") != 1 {
		t.Errorf("the log tells of it %d times", strings.Count(text, "topics/broken.md"))
	}
	// What is new goes elsewhere; what is broken stays as it is.
	s.post("/v1/memory", object{"content": "New lesson."}).ok()
	for rel, want := range map[string]string{"topics/broken.md": broken, "lessons.md": "\xff\xfe"} {
		if data, err := os.ReadFile(s.projectMemory(rel)); err != nil || string(data) != want {
			t.Errorf("%q, %v", data, err)
		}
	}
	if e := s.memory("").Entries; len(e) != 3 || e[0].RelativePath != "lessons-2.md" {
		t.Errorf("%+v", e)
	}
}

func TestMemoryLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("ok") })
	s := start(t, withModel(p))
	outside := filepath.Join(t.TempDir(), "outside.md")
	handWritten(t, outside, "- CANARY outside\n")
	handWritten(t, s.projectMemory("own.md"), "- own\n")
	if err := os.Symlink(outside, s.projectMemory("rules.md")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(outside, s.projectMemory("hard.md")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), s.projectMemory("topics")); err != nil {
		t.Fatal(err)
	}
	s.ask(object{"input": "q", "conversation": "c"}).turn()
	if sys := p.about(t, "q").system(); strings.Contains(sys, "CANARY") || !strings.Contains(sys, "- own") {
		t.Errorf("%s", sys)
	}
	if got := s.memory("").texts(); fmt.Sprint(got) != "[own]" {
		t.Errorf("%q", got)
	}
	s.post("/v1/memory", object{"content": "x", "type": "always"}).ok() // beside the link
	s.post("/v1/memory", object{"content": "x", "type": "fact"}).unacceptable("a folder that leads out")
	if data, err := os.ReadFile(outside); err != nil || string(data) != "- CANARY outside\n" {
		t.Errorf("%q, %v", data, err)
	}
}

// hits are what the thoughts of a turn found, by the call.
func hits(t *testing.T, frames []frame) (all map[string][]object) {
	t.Helper()
	all = map[string][]object{}
	for _, f := range frames {
		if f.ThoughtRole == "thought.recall.end" {
			var v struct {
				Hits      *[]object `json:"hits"`
				ToolUseID string    `json:"tool_use_id"`
			}
			decodeInto(t, f.data, &v)
			if v.Hits == nil {
				t.Errorf("no hits in %s", f.data)
				continue
			}
			all[v.ToolUseID] = *v.Hits
		}
	}
	return all
}

// Done when: scripted turns memorise, and recall with hits after a restart.
func TestMemorizeAndRecall(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p), withEnv("ANTON_OPENAI_API_KEY="+newKey))
	room := str(s.post("/api/sessions", object{"name": "harbour", "type": "chat"}).created(), "id")
	s.post("/api/sessions/"+room+"/messages", object{"sender_id": "@ann", "content": "The zephyr ferry is late."}).created()
	st := s.ask(object{"input": "I like the zephyr best.", "conversation": "c"})
	entry := func(text, kind, scope string) string {
		return fmt.Sprintf(`{"text":%q,"kind":%q,"scope":%q}`, text, kind, scope)
	}
	p.next().tool(0, "call_m", "memorize", `{"entries":[`+strings.Join([]string{entry("Prefers the zephyr ferry.", "profile", "global"),
		entry("Book the zephyr early.", "always", "project"), entry("The API key is hunter2hunter2", "lesson", "project"),
		entry("uses "+newKey, "lesson", "project"), entry("x", "sometimes", "project")}, ",")+`]}`).finish("tool_calls")
	c := p.next()
	got := c.results()["call_m"]
	if strings.Count(got, "Remembered (") != 2 || strings.Count(got, "keeps no secrets") != 2 || !strings.Contains(got, "kind must be one of") {
		t.Errorf("%s", got)
	}
	c.say("Noted.")
	tn := st.turn()
	turnID := tn.responseID
	m := s.memory("")
	if len(m.Entries) != 2 {
		t.Fatalf("%+v", m.Entries)
	}
	for _, e := range m.Entries {
		if e.Source.By != "agent" || e.Source.ConversationID != "c" || !strings.HasPrefix(e.Source.TurnID, "turn_") {
			t.Errorf("%+v of %s", e, turnID)
		}
	}
	var roles []string
	for _, f := range tn.frames {
		if strings.HasPrefix(f.ThoughtRole, "thought.memorize") {
			roles = append(roles, f.ThoughtRole)
		}
	}
	if fmt.Sprint(roles) != "[thought.memorize.start thought.memorize.end]" {
		t.Errorf("%q", roles)
	}
	// Again, it is known.
	s.stop()
	s.restart()
	st = s.ask(object{"input": "Which one?", "conversation": "d"})
	c = p.next()
	if sys := c.system(); !strings.Contains(sys, "- Always: Book the zephyr early.") || !strings.Contains(sys, "Prefers the zephyr ferry.") {
		t.Errorf("%s", sys)
	}
	c.tool(0, "call_m2", "memorize", `{"entries":[`+entry("book the  zephyr EARLY.", "always", "project")+`]}`).tool(1, "call_r", "recall", `{"query":"which zephyr?"}`).
		tool(2, "call_n", "recall", `{"query":"quetzal"}`).tool(3, "call_x", "recall", `{"query":""}`).finish("tool_calls")
	c = p.next()
	if got := c.results(); !strings.HasPrefix(got["call_m2"], "Known already") || !strings.Contains(got["call_r"], "zephyr ferry is late") ||
		!strings.Contains(got["call_n"], "Nothing was found") || !strings.Contains(got["call_x"], "the query is empty") {
		t.Errorf("%q", got)
	}
	c.say("The zephyr.")
	tn = st.turn()
	found := hits(t, tn.frames)
	var seen []string
	for _, h := range found["call_r"] {
		seen = append(seen, fmt.Sprintf("%v %v %v %v", h["source"], h["role"], h["session"], h["content"]))
		if str(h, "ts") == "" || str(h, "id") == "" {
			t.Errorf("%v", h)
		}
	}
	slices.Sort(seen)
	want := []string{"conversation user c I like the zephyr best.", "memory agent c Book the zephyr early.", "memory agent c Prefers the zephyr ferry.", "room @ann " + room + " The zephyr ferry is late."}
	if !slices.Equal(seen, want) || len(found["call_n"]) != 0 || len(found) != 3 {
		t.Errorf("%q", found)
	}
	sameFrames(t, "tail", s.tail("d", 0).rest(), tn.frames)
	// Of another project only what is global, and rooms.
	s.post("/v1/projects", object{"name": "other"}).ok()
	st = s.ask(object{"input": "And here?", "conversation": "e", "project": "other"})
	c = p.next()
	if sys := c.system(); strings.Contains(sys, "Book the zephyr") || !strings.Contains(sys, "Prefers the zephyr") {
		t.Errorf("%s", sys)
	}
	c.tool(0, "call_o", "recall", `{"query":"zephyr"}`).finish("tool_calls")
	c = p.next()
	c.say("ok")
	if got := hits(t, st.turn().frames)["call_o"]; len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// newKey is a provider's key that no pattern knows.
const newKey = "plain-key-of-the-provider-42"

func TestMemorySwitches(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("ok") })
	s := start(t, withModel(p))
	s.post("/v1/memory", object{"content": "CANARY", "scope": "global"}).ok()
	tools := func(body object, question string) []string {
		body["input"] = question
		s.ask(body).turn()
		return p.about(t, question).toolNames()
	}
	has := func(list []string, names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(list, n) })
	}
	if got := tools(object{"conversation": "c"}, "one"); !has(got, "memorize", "recall", "recall_skill") {
		t.Errorf("%q", got)
	}
	if got := tools(object{"conversation": "g", "ephemeral": true}, "ghost"); has(got, "memorize") || !has(got, "recall") {
		t.Errorf("nothing of an ephemeral conversation is kept, and its tools are %q", got)
	}
	s.put("/v1/settings", object{"memoryMode": "off"}).ok()
	if got := tools(object{"conversation": "c"}, "two"); has(got, "memorize") || !has(got, "recall") || strings.Contains(p.about(t, "two").system(), "CANARY") {
		t.Errorf("%q", got)
	}
	s.put("/v1/settings", object{"episodicMemory": false}).ok()
	if got := tools(object{"conversation": "c"}, "three"); has(got, "recall") || !has(got, "recall_skill") {
		t.Errorf("%q", got)
	}
}

// The offline provider remembers and recalls as well, and says only what it did.
func TestMemoryOffline(t *testing.T) {
	t.Parallel()
	s := start(t)
	tn := s.ask(object{"input": "Remember that the ferry to Naxos is called Zephyr.", "conversation": "a"}).turn()
	if e := s.memory("").Entries; len(e) != 1 || e[0].Content != "The ferry to Naxos is called Zephyr." || e[0].Source.ConversationID != "a" || !strings.Contains(tn.text, "rules.md") && !strings.Contains(tn.text, "lessons.md") {
		t.Fatalf("%+v, %s", e, tn.text)
	}
	s.stop()
	s.restart()
	tn = s.ask(object{"input": "What do you remember about the ferry?", "conversation": "b"}).turn()
	if !strings.Contains(tn.text, "Zephyr") || len(hits(t, tn.frames)) != 1 {
		t.Errorf("%s", tn.text)
	}
	tn = s.ask(object{"input": "What do you remember about submarines?", "conversation": "b"}).turn()
	if strings.Contains(tn.text, "Zephyr") {
		t.Errorf("%s", tn.text)
	}
	tn = s.ask(object{"input": "Remember that my password is hunter2hunter2", "conversation": "a"}).turn()
	if len(s.memory("").Entries) != 1 || !strings.Contains(tn.text, "no secrets") {
		t.Errorf("%s", tn.text)
	}
}
