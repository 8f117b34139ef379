package blackbox

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
)

func antSessionRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewSessionsServiceClient(conn)
	made, err := c.CreateSession(e.s.call(), &antv1.CreateSessionRequest{Name: "by grpc", Type: "chat"})
	row := e.call("POST /api/sessions", object{"name": "by rest", "type": "chat"})
	alike(e, row, made, err)
	id, other := made.GetId(), str(row.created(), "id")
	got, err := c.GetSession(e.s.call(), &antv1.GetSessionRequest{Id: id})
	same(e, e.call("GET /api/sessions/{id}", nil, id), got, err)
	upd, err := c.UpdateSession(e.s.call(), &antv1.UpdateSessionRequest{Id: id, Status: proto.String("busy"), LongMemory: structpb.NewBoolValue(true)})
	alike(e, e.call("PATCH /api/sessions/{id}", object{"status": "idle", "long_memory": 1}, other), upd, err)
	h, err := c.SetHandle(e.s.call(), &antv1.SetHandleRequest{Id: id, Handle: structpb.NewStringValue("grpc"), DisplayName: "G"})
	alike(e, e.call("PATCH /api/sessions/{id}/handle", object{"handle": "@rest", "display_name": "R"}, other), h, err)
	f, err := c.SetCliFlag(e.s.call(), &antv1.SetCliFlagRequest{Id: "@grpc", CliFlag: structpb.NewStringValue("pi")})
	alike(e, e.call("PATCH /api/sessions/{id}/cli-flag", object{"cli_flag": "pi"}, "@rest"), f, err)
	o, err := c.OrderSessions(e.s.call(), &antv1.OrderSessionsRequest{Ids: []string{id, other}})
	same(e, e.call("PATCH /api/sessions/order", object{"ids": []string{id, other}}), o, err)
	l, err := c.ListSessions(e.s.call(), &antv1.ListSessionsRequest{})
	same(e, e.call("GET /api/sessions", nil), l, err)
	if _, err := c.DeleteSession(e.s.call(), &antv1.DeleteSessionRequest{Id: id}); err != nil {
		e.t.Error(err)
	}
	if a := e.call("DELETE /api/sessions/{id}", nil, other); a.status != http.StatusNoContent || len(a.body) != 0 {
		e.t.Errorf("%v, want 204 and nothing", a)
	}
	back, err := c.RestoreSession(e.s.call(), &antv1.RestoreSessionRequest{Id: id})
	alike(e, e.call("POST /api/sessions/{id}/restore", nil, other), back, err)
}

// newSession creates one and returns its row.
func (s *server) newSession(name, typ string) object {
	s.t.Helper()
	return s.post("/api/sessions", object{"name": name, "type": typ}).created()
}

// sessions are the names in the list: live ones and recoverable ones.
func (s *server) sessions() (live, gone []string) {
	s.t.Helper()
	o := s.get("/api/sessions").ok()
	names := func(list any) (out []string) {
		for _, row := range list.([]any) {
			out = append(out, str(row.(object), "name"))
		}
		return out
	}
	return names(o["sessions"]), names(o["recoverable"])
}

// sessionKeys are the keys of a row, and those that only a list has values for.
var sessionKeys = strings.Fields("id name type workspace_id root_dir status archived ttl deleted_at last_activity sort_index long_memory meta " +
	"created_at updated_at handle display_name cli_flag alias tmux_id kill_timer is_aon linked_chat_id auto_forward_chat " +
	"attention_state attention_reason attention_set_by attention_expires_at focus_room_id focus_room_name focus_queue_count")

var (
	rowID   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{20}$`)
	rowTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`)
)

func TestAntSessionRow(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.post("/api/sessions", object{"name": " codex ", "type": "terminal", "root_dir": "/path/to/workspace", "workspace_id": "w",
		"meta": object{"project": "ant"}, "unknown": 1}).created()
	var keys []string
	for k := range made {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	want := slices.Clone(sessionKeys)
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		t.Errorf("keys %v", keys)
	}
	for k, v := range map[string]any{"name": "codex", "type": "terminal", "root_dir": "/path/to/workspace", "workspace_id": "w", "meta": `{"project":"ant"}`,
		"status": "idle", "ttl": "15m", "archived": 0.0, "long_memory": 0.0, "is_aon": 0.0, "auto_forward_chat": 1.0, "handle": "@codex", "alias": "codex",
		"display_name": "codex", "deleted_at": nil, "last_activity": nil, "sort_index": nil, "cli_flag": nil, "tmux_id": nil, "kill_timer": nil, "focus_room_id": nil} {
		if made[k] != v {
			t.Errorf("%s is %v, want %v", k, made[k], v)
		}
	}
	if !rowID.MatchString(str(made, "id")) || !rowTime.MatchString(str(made, "created_at")) || made["created_at"] != made["updated_at"] {
		t.Errorf("%v", made)
	}
	chat := s.get("/api/sessions/" + str(made, "linked_chat_id")).ok()
	if chat["name"] != "codex-Chat" || chat["type"] != "chat" || chat["ttl"] != "15m" || chat["root_dir"] != made["root_dir"] || chat["handle"] != "@codex-chat" {
		t.Errorf("%v", chat)
	}
	if meta := decode[object](t, []byte(str(chat, "meta"))); meta["auto_linked_terminal_id"] != made["id"] || meta["auto_named"] != true {
		t.Errorf("%v", meta)
	}
	for _, ref := range []string{"@codex", "%40codex", str(made, "id")} {
		if got := s.get("/api/sessions/" + ref).ok(); !reflect.DeepEqual(got, made) {
			t.Errorf("%s: %v", ref, got)
		}
	}
	s.get("/api/sessions/codex").refused(http.StatusNotFound, "Session not found")
	if plain := s.newSession("room", "chat"); plain["handle"] != nil || plain["meta"] != "{}" || plain["linked_chat_id"] != nil {
		t.Errorf("%v", plain)
	}
	if text := s.post("/api/sessions", object{"name": "m", "type": "agent", "meta": `{"a": 1}`, "ttl": "forever"}).created(); text["meta"] != `{"a": 1}` || text["ttl"] != "forever" {
		t.Errorf("%v", text)
	}
}

func TestAntSessionRefusals(t *testing.T) {
	t.Parallel()
	s, unchanged := antPrepared(t)
	defer unchanged()
	for _, tc := range []struct {
		method, path, body string
		status             int
		message            string // empty: any
	}{
		{"POST", "/api/sessions", `{}`, 400, "Session name is required"},
		{"POST", "/api/sessions", `{"name":"  ","type":"chat"}`, 400, "Session name is required"},
		{"POST", "/api/sessions", `{"name":null,"type":"chat"}`, 400, "Session name is required"},
		{"POST", "/api/sessions", `{"name":"x"}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"x","type":"robot"}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"x","type":7}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"C","type":"chat"}`, 409, `"C" already exists`},
		{"POST", "/api/sessions", `{"name":"TERM","type":"terminal"}`, 409, `"TERM" already exists`},
		{"POST", "/api/sessions", `{"name":"term-chat","type":"agent"}`, 409, `"term-chat" already exists`},
		{"POST", "/api/sessions", `{"name":"x","type":"chat","ttl":"soon"}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"x","type":"chat","meta":[]}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"x","type":"chat","meta":"{"}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"x","type":"chat","meta":{"a":"` + strings.Repeat("x", 65<<10) + `"}}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"` + strings.Repeat("x", 201) + `","type":"chat"}`, 400, ""},
		{"POST", "/api/sessions", `{"name":"a\u001b[2Jb","type":"chat"}`, 400, ""},
		{"GET", "/api/sessions/nope", "", 404, "Session not found"},
		{"PATCH", "/api/sessions/nope", `{"name":"x"}`, 404, "Session not found"},
		{"DELETE", "/api/sessions/nope", "", 404, "Session not found"},
		{"DELETE", "/api/sessions/nope?hard=true", "", 404, "Session not found"},
		{"DELETE", "/api/sessions/@c?hard=perhaps", "", 400, ""},
		{"POST", "/api/sessions/nope/restore", "", 404, "Session not found"},
		{"POST", "/api/sessions/@c/restore", "", 400, "Session is not deleted or archived"},
		{"PATCH", "/api/sessions/@c", `{"name":""}`, 400, "Session name is required"},
		{"PATCH", "/api/sessions/@c", `{"name":"Term"}`, 409, `"Term" already exists`},
		{"PATCH", "/api/sessions/@c", `{"archived":"maybe"}`, 400, ""},
		{"PATCH", "/api/sessions/@c", `{"archived":2}`, 400, ""},
		{"PATCH", "/api/sessions/@c", `{"meta":7}`, 400, ""},
		{"PATCH", "/api/sessions/@c", `{"linked_chat_id":"@c"}`, 400, ""},
		{"PATCH", "/api/sessions/@term", `{"linked_chat_id":"nope"}`, 400, ""},
		{"PATCH", "/api/sessions/@term", `{"linked_chat_id":"@term"}`, 400, ""},
		{"PATCH", "/api/sessions/nope/handle", `{"handle":"@x"}`, 404, "Session not found"},
		{"PATCH", "/api/sessions/@c/handle", `{"handle":"@term"}`, 409, "@term is already taken"},
		{"PATCH", "/api/sessions/@c/handle", `{"handle":"two words"}`, 400, ""},
		{"PATCH", "/api/sessions/@c/handle", `{"handle":"@everyone"}`, 400, ""},
		{"PATCH", "/api/sessions/@c/handle", `{"handle":7}`, 400, ""},
		{"PATCH", "/api/sessions/nope/cli-flag", `{"cli_flag":"vim"}`, 400, `Invalid cli_flag: "vim"`},
		{"PATCH", "/api/sessions/nope/cli-flag", `{"cli_flag":"pi"}`, 404, "Session not found"},
		{"PATCH", "/api/sessions/@c/cli-flag", `{"cli_flag":7}`, 400, ""},
		{"PATCH", "/api/sessions/order", `{}`, 400, ""},
		{"PATCH", "/api/sessions/order", `{"ids":"x"}`, 400, ""},
		{"PATCH", "/api/sessions/order", `{"ids":["x"],"reset":true}`, 400, ""},
		{"PATCH", "/api/sessions/order", `{"ids":["nope"]}`, 400, ""},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		a := s.do(tc.method, tc.path, body)
		if a.status != tc.status {
			t.Errorf("%s: %v, want %d", clip([]byte(tc.body)), a, tc.status)
			continue
		}
		a.refused(tc.status, tc.message)
	}
	if bad := s.patch("/api/sessions/order", object{"ids": []string{"nope", "x\"y"}}).object()["invalidIds"]; fmt.Sprint(bad) != `[nope x"y]` {
		t.Errorf("invalidIds %v", bad)
	}
}

// Done when: of two who create a session of one name at once, one wins.
func TestAntNamesAreUniqueAmongWhoRaces(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, typ := range []string{"terminal", "chat"} {
		var wg sync.WaitGroup
		answers := make([]answer, 64)
		for i := range answers {
			name := "racer " + typ
			if i%2 == 1 {
				name = strings.ToUpper(name)
			}
			wg.Go(func() {
				var err error
				if answers[i], err = s.try(http.MethodPost, "/api/sessions", object{"name": name, "type": typ}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		won := 0
		for _, a := range answers {
			if a.status == http.StatusCreated {
				won++
			} else {
				a.refused(http.StatusConflict, "")
			}
		}
		if won != 1 {
			t.Errorf("%d of 64 got the name", won)
		}
	}
	// The same for handles.
	var ids []string
	for i := range 16 {
		ids = append(ids, str(s.newSession(fmt.Sprint("h", i), "chat"), "id"))
	}
	var wg sync.WaitGroup
	statuses := make([]int, len(ids))
	for i, id := range ids {
		wg.Go(func() {
			a, err := s.try(http.MethodPatch, "/api/sessions/"+id+"/handle", object{"handle": "me"})
			if err != nil {
				t.Error(err)
			}
			statuses[i] = a.status
		})
	}
	wg.Wait()
	slices.Sort(statuses)
	if statuses[0] != 200 || statuses[1] != 409 || statuses[15] != 409 {
		t.Errorf("%v", statuses)
	}
	s.get("/api/sessions/@me").ok()
	if live, _ := s.sessions(); len(live) != 2+1+16 {
		t.Errorf("%v", live)
	}
}

func TestAntSessionLife(t *testing.T) {
	t.Parallel()
	s := start(t)
	term := s.newSession("build", "terminal")
	id, chat := str(term, "id"), str(term, "linked_chat_id")
	at := func(id string) object { t.Helper(); return s.get("/api/sessions/" + id).ok() }
	names := func(live, gone string) {
		t.Helper()
		l, g := s.sessions()
		slices.Sort(l)
		slices.Sort(g)
		if strings.Join(l, ",") != live || strings.Join(g, ",") != gone {
			t.Errorf("live %q, recoverable %q; want %q and %q", l, g, live, gone)
		}
	}
	// Rename: the chat follows, the handle stays.
	if row := s.patch("/api/sessions/"+id, object{"name": "make"}).ok(); row["name"] != "make" || row["handle"] != "@build" || at(chat)["name"] != "make-Chat" {
		t.Errorf("%v", row)
	}
	// Metadata is replaced as a whole.
	s.patch("/api/sessions/"+id, object{"meta": object{"a": 1}}).ok()
	if row := s.patch("/api/sessions/"+id, object{"meta": object{"b": 2}, "ttl": "3h", "root_dir": nil}).ok(); row["meta"] != `{"b":2}` || row["ttl"] != "3h" {
		t.Errorf("%v", row)
	}
	// Archive and restore go together, and free the names meanwhile.
	for _, yes := range []any{true, 1, "yes"} {
		if row := s.patch("/api/sessions/"+id, object{"archived": yes}).ok(); row["archived"] != 1.0 || row["deleted_at"] != nil {
			t.Errorf("%v", row)
		}
		names("", "make,make-Chat")
		s.patch("/api/sessions/"+id, object{"archived": 0}).ok()
		names("make,make-Chat", "")
	}
	// Relink: the chat that was made for the terminal is archived.
	room := str(s.newSession("war room", "chat"), "id")
	if row := s.patch("/api/sessions/"+id, object{"linked_chat_id": room}).ok(); row["linked_chat_id"] != room || at(chat)["archived"] != 1.0 {
		t.Errorf("%v", row)
	}
	names("make,war room", "make-Chat")
	s.post("/api/sessions/"+chat+"/restore", nil).ok()
	s.patch("/api/sessions/"+id, object{"linked_chat_id": chat}).ok()
	// A softly deleted session frees its names and can be had back under others.
	for range 2 {
		if a := s.delete("/api/sessions/" + id); a.status != http.StatusNoContent {
			t.Errorf("%v", a)
		}
	}
	names("war room", "make,make-Chat")
	if row := at(id); !rowTime.MatchString(str(row, "deleted_at")) {
		t.Errorf("%v", row)
	}
	for path, body := range map[string]object{"": {"name": "x"}, "/handle": {"handle": "x"}, "/cli-flag": {"cli_flag": "pi"}} {
		s.patch("/api/sessions/"+id+path, body).refused(http.StatusConflict, "")
	}
	s.post("/api/sessions/"+chat+"/messages", object{"content": "too late"}).refused(http.StatusConflict, "")
	twin := s.newSession("Make", "terminal")
	s.patch("/api/sessions/"+str(twin, "id")+"/handle", object{"handle": "build"}).ok()
	if row := s.post("/api/sessions/"+id+"/restore", nil).ok(); row["name"] != "make (2)" || row["handle"] != "@build-2" || at(chat)["name"] != "make (2)-Chat" {
		t.Errorf("%v", row)
	}
	s.stop()
	s.restart()
	names("Make,Make-Chat,make (2),make (2)-Chat,war room", "")
	if at("@build-2")["id"] != id {
		t.Error("not found by its handle after a restart")
	}
	// For good: both halves, at once.
	if a := s.delete("/api/sessions/" + chat + "?hard=true"); a.status != http.StatusNoContent {
		t.Errorf("%v", a)
	}
	for _, gone := range []string{id, chat, "@build-2"} {
		s.get("/api/sessions/"+gone).refused(http.StatusNotFound, "Session not found")
		s.post("/api/sessions/"+gone+"/restore", nil).refused(http.StatusNotFound, "Session not found")
		s.post("/api/sessions/"+gone+"/messages", object{"content": "too late"}).refused(http.StatusNotFound, "Session not found")
	}
	names("Make,Make-Chat,war room", "")
}

func TestAntSessionOrderAndFlags(t *testing.T) {
	t.Parallel()
	s := start(t)
	var ids []string
	for _, name := range []string{"a", "b", "c", "d"} {
		ids = append(ids, str(s.newSession(name, "chat"), "id"))
	}
	order := func(want string) {
		t.Helper()
		if live, _ := s.sessions(); strings.Join(live, "") != want {
			t.Errorf("%v, want %s", live, want)
		}
	}
	order("dcba") // newest first
	o := s.patch("/api/sessions/order", object{"ids": []string{ids[1], ids[3]}}).ok()
	if o["ok"] != true || fmt.Sprint(o["ids"]) != fmt.Sprint([]string{ids[1], ids[3]}) {
		t.Errorf("%v", o)
	}
	order("bdca")
	if row := s.get("/api/sessions/" + ids[3]).ok(); row["sort_index"] != 1.0 {
		t.Errorf("%v", row)
	}
	s.post("/api/sessions/"+ids[0]+"/messages", object{"content": "to the front"}).created()
	order("bdac")
	if o := s.patch("/api/sessions/order", object{"reset": true}).ok(); o["reset"] != true {
		t.Errorf("%v", o)
	}
	order("adcb")
	path := "/api/sessions/" + ids[0]
	if o := s.patch(path+"/handle", object{"handle": "james", "display_name": "James"}).ok(); !reflect.DeepEqual(o, object{"handle": "@james", "display_name": "James"}) {
		t.Errorf("%v", o)
	}
	if o := s.patch(path+"/handle", object{"handle": nil}).ok(); !reflect.DeepEqual(o, object{"handle": nil, "display_name": nil}) {
		t.Errorf("%v", o)
	}
	if o := s.patch(path+"/cli-flag", object{"cli_flag": "copilot"}).ok(); !reflect.DeepEqual(o, object{"id": ids[0], "cli_flag": "copilot-cli"}) {
		t.Errorf("%v", o)
	}
	if row := s.get(path).ok(); row["cli_flag"] != "copilot-cli" || row["meta"] != `{"agent_driver":"copilot-cli"}` {
		t.Errorf("%v", row)
	}
	if o := s.patch(path+"/cli-flag", object{"cli_flag": nil}).ok(); o["cli_flag"] != nil || s.get(path).ok()["meta"] != "{}" {
		t.Errorf("%v", o)
	}
}

// Done when: a hard delete that a kill cut off is finished by the next start, and
// nothing of it is ever seen again.
func TestAntHardDeleteSurvivesKill(t *testing.T) {
	t.Parallel()
	s := start(t)
	rounds := 3
	if soak {
		rounds = 30
	}
	kept := str(s.newSession("kept", "chat"), "id")
	s.post("/api/sessions/"+kept+"/messages", object{"content": "stays whole"}).created()
	for round := range rounds {
		name := fmt.Sprint("doomed ", round)
		term := s.newSession(name, "terminal")
		id, chat := str(term, "id"), str(term, "linked_chat_id")
		for i := range 150 {
			s.post("/api/sessions/"+chat+"/messages", object{"content": fmt.Sprintf("canary%d number %d", round, i), "sender_id": id}).created()
		}
		if a := s.delete("/api/sessions/" + id + "?hard=true"); a.status != http.StatusNoContent {
			t.Fatalf("%v", a)
		}
		s.kill() // acknowledged, and not yet cleared away
		s.restart()
		for _, gone := range []string{id, chat} {
			s.get("/api/sessions/"+gone).refused(http.StatusNotFound, "Session not found")
			s.get("/api/sessions/"+gone+"/messages").refused(http.StatusNotFound, "Session not found")
		}
		if found := s.get("/api/search?q=" + url.QueryEscape(fmt.Sprintf("canary%d", round))).ok()["results"]; len(found.([]any)) != 0 {
			t.Errorf("found again: %v", found)
		}
		if live, gone := s.sessions(); strings.Join(live, ",") != "kept" || len(gone) != 0 {
			t.Errorf("live %v, recoverable %v", live, gone)
		}
		s.newSession(name, "terminal") // the name is free
		s.delete("/api/sessions/@doomed-" + fmt.Sprint(round) + "?hard=1")
	}
	if list := s.get("/api/sessions/" + kept + "/messages").ok()["messages"].([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

// Nothing is cleared away that can be restored, unless it is configured.
func TestAntRetention(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("old", "chat"), "id")
	s.delete("/api/sessions/" + id)
	s.stop()
	s.restart()
	s.post("/api/sessions/"+id+"/restore", nil).ok()
	for _, bad := range []string{"30", "1s", "-1h", "soon"} {
		if _, errs, code := command(t, append(s.environ(), "ANTHILL_RETENTION="+bad), "", "config"); code == 0 || !strings.Contains(errs, "retention") {
			t.Errorf("a retention of %q is taken: %s", bad, errs)
		}
	}
	if out, _, _ := command(t, append(s.environ(), "ANTHILL_RETENTION=720h"), "", "config"); !strings.Contains(out, "retention: 720h0m0s") {
		t.Errorf("%s", out)
	}
}

// The command line knows rooms too.
func TestAntRoomsCommand(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	run := func(args ...string) string {
		t.Helper()
		out, errs, code := command(t, s.environ(), "", append([]string{"rooms", "--server", s.addr}, args...)...)
		if code != 0 {
			t.Fatalf("rooms %q: %d %s", args, code, errs)
		}
		return strings.TrimSpace(out)
	}
	if out := run(); out != "" {
		t.Errorf("no rooms: %q", out)
	}
	id := run("new", "planning")
	if row := s.get("/api/sessions/" + id).ok(); row["name"] != "planning" || row["type"] != "chat" {
		t.Errorf("%v", row)
	}
	term := decode[object](t, []byte(run("new", "--json", "--type", "terminal", "--root-dir", "/src", "build")))
	if !reflect.DeepEqual(term, s.get("/api/sessions/@build").ok()) {
		t.Errorf("%v", term)
	}
	s.delete("/api/sessions/" + id)
	if out := run(); !strings.Contains(out, str(term, "id")) || !strings.Contains(out, "@build-chat") || strings.Contains(out, "planning") {
		t.Errorf("%s", out)
	}
	if out := run("--all"); !regexp.MustCompile(id + ` +planning +chat .* deleted`).MatchString(out) {
		t.Errorf("%s", out)
	}
	if lines := strings.Split(run("--all", "--json"), "\n"); len(lines) != 3 || decode[object](t, []byte(lines[2]))["id"] != id {
		t.Errorf("%q", lines)
	}
	for what, args := range map[string][]string{`"build" already exists`: {"new", "build"}, "type must be": {"new", "x", "--type", "robot"}, "unknown command": {"old", "x"}} {
		if _, errs, code := command(t, s.environ(), "", append([]string{"rooms", "--server", s.addr}, args...)...); code != 1 || !strings.Contains(errs, what) {
			t.Errorf("rooms %q: %d %s", args, code, errs)
		}
	}
	if _, errs, code := command(t, append(s.environ(), "ANT_API_KEY="), "", "rooms", "--server", s.addr); code != 1 || !strings.Contains(errs, "ANT_API_KEY") {
		t.Errorf("without the key: %d %s", code, errs)
	}
}
