package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
)

func antEvidenceRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	room := str(e.s.newSession("evidence", "terminal"), "id")
	h, err := antv1.NewHooksServiceClient(conn).PostHook(e.s.call(), &antv1.PostHookRequest{AntSessionId: room, HookEventName: "Stop", Payload: `{"a": 1}`})
	if err != nil || !h.Ok || h.Event.Payload != `{"a":1}` {
		e.t.Fatalf("%v %v", h, err)
	}
	o := e.call("POST /api/hooks", object{"hook_event_name": "Stop", "ant_session_id": room}).ok()
	if !slices.Equal(sorted(keys(o)), []string{"duplicate", "event", "ok"}) || o["ok"] != true {
		e.t.Errorf("the answer is %v", o)
	}
	l, err := antv1.NewRunEventsServiceClient(conn).ListRunEvents(e.s.call(), &antv1.ListRunEventsRequest{SessionId: room, Since: "0"})
	if err != nil {
		e.t.Fatal(err)
	}
	rest := e.call("GET /api/sessions/{session_id}/run-events", nil, room, "?since=0").ok()
	if l.Count != 2 || rest["count"] != 2.0 || rest["terminal_id"] != l.TerminalId || rest["newer"] != float64(l.Newer) {
		e.t.Errorf("REST says %v, gRPC %v", rest, l)
	}
	for i, row := range rest["events"].([]any) {
		if row := row.(object); row["id"] != float64(l.Events[i].Id) || row["ts_ms"] != l.Events[i].TsMs || row["ts"] != l.Events[i].Ts {
			e.t.Errorf("REST says %v, gRPC %v", row, l.Events[i])
		}
	}
}

func keys(o object) (names []string) {
	for name := range o {
		names = append(names, name)
	}
	return names
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// hook reports something of a session.
func (s *server) hook(session, name string, more object) object {
	s.t.Helper()
	o := object{"hook_event_name": name, "ant_session_id": session}
	for k, v := range more {
		o[k] = v
	}
	return s.post("/api/hooks", o).ok()["event"].(object)
}

// runEvents asks for events and returns their ids as "1 2 3".
func (s *server) runEvents(session, query string) (ids string, o object) {
	s.t.Helper()
	o = s.get("/api/sessions/" + session + "/run-events" + query).ok()
	var list []string
	for _, e := range o["events"].([]any) {
		list = append(list, fmt.Sprint(e.(object)["id"]))
	}
	if o["count"] != float64(len(list)) {
		s.t.Errorf("%s has count %v of %d", query, o["count"], len(list))
	}
	return strings.Join(list, " "), o
}

// The shape of ant.md 1.6, to the key.
func TestAntRunEventShape(t *testing.T) {
	t.Parallel()
	s := start(t)
	term := s.newSession("codex", "terminal")
	id, chat := str(term, "id"), str(term, "linked_chat_id")
	before := time.Now().Add(-time.Minute).UnixMilli()
	s.hook(id, "UserPromptSubmit", object{"prompt": "build it"})
	_, o := s.runEvents(id, "")
	if got := sorted(keys(o)); !slices.Equal(got, []string{"count", "events", "has_more", "limit", "newer", "older", "session_id", "since_ms", "terminal_id"}) {
		t.Errorf("the answer has %v", got)
	}
	since := o["since_ms"].(float64)
	if ago := float64(time.Now().UnixMilli()) - since; ago < 3_600_000 || ago > 3_660_000 || o["limit"] != 200.0 || o["session_id"] != id || o["terminal_id"] != id {
		t.Errorf("the answer says %v", o)
	}
	e := o["events"].([]any)[0].(object)
	if got := sorted(keys(e)); !slices.Equal(got, []string{"created_at", "id", "kind", "payload", "raw_ref", "session_id", "source", "text", "trust", "ts", "ts_ms"}) {
		t.Errorf("an event has %v", got)
	}
	at := time.UnixMilli(int64(e["ts_ms"].(float64))).UTC()
	if e["id"] != 1.0 || e["session_id"] != id || e["source"] != "hook" || e["trust"] != "high" || e["kind"] != "prompt" || e["text"] != "build it" ||
		e["raw_ref"] != nil || e["ts"] != at.Format("2006-01-02T15:04:05.000Z") || e["created_at"] != at.Format(time.DateTime) || at.UnixMilli() < before {
		t.Errorf("the event is %v", e)
	}
	if p := e["payload"].(object); p["prompt"] != "build it" || p["ant_session_id"] != id || len(p) != 3 {
		t.Errorf("the payload is %v", p)
	}
	// The terminal's chat answers for it, and so does its handle.
	for _, ref := range []string{chat, "@codex"} {
		ids, o := s.runEvents(ref, "?since=1d")
		if ids != "1" || o["terminal_id"] != id || ref == chat && o["session_id"] != chat {
			t.Errorf("%s answers %v", ref, o)
		}
	}
	if got := s.hook(chat, "Stop", nil); got["session_id"] != id || got["id"] != 2.0 {
		t.Errorf("a report of the chat is %v", got)
	}
	if ids, o := s.runEvents(str(s.newSession("plain", "chat"), "id"), ""); ids != "" || o["older"] != 1.0 || o["newer"] != 0.0 {
		t.Errorf("a room without events answers %v", o)
	}
}

func TestAntRunEventFilters(t *testing.T) {
	t.Parallel()
	s := start(t)
	id, other := str(s.newSession("codex", "terminal"), "id"), str(s.newSession("other", "terminal"), "id")
	s.hook(id, "UserPromptSubmit", object{"prompt": "100% of _ALL_ Größen"})
	s.hook(id, "PreToolUse", object{"tool_name": "Bash", "tool_input": object{"command": "ls"}})
	s.hook(other, "Stop", nil)
	s.hook(id, "PostToolUse", object{"tool_name": "Bash", "tool_response": object{"stdout": "100 files"}})
	s.hook(id, "Mystery", object{"needle": "in the payload"})
	s.hook(id, "UserPromptSubmit", object{"prompt": "again"})
	soon := fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())
	for query, want := range map[string]string{
		"": "1 2 3 4 5", "?since=30s": "1 2 3 4 5", "?since=0": "1 2 3 4 5", "?since=" + soon: "", "?since=2001-01-01T00:00:00Z": "1 2 3 4 5",
		"?since=2001-01-01%2000:00:00": "1 2 3 4 5", "?since=2090-01-01T00:00:00.5%2B02:00": "",
		"?source=hook": "1 2 3 4 5", "?source=tmux": "", "?kind=prompt": "1 5", "?kind=hook": "4", "?kind=none": "",
		"?kind=prompt&limit=1": "5", "?q=%25": "1", "?q=_all_": "1", "?q=GR%C3%96SSEN": "", "?q=gr%C3%B6%C3%9Fen": "1", "?q=NEEDLE": "4", "?q=10_": "",
		"?q=100": "1 3", "?q=100&kind=tool_result": "3",
		"?limit=2": "4 5", "?limit=2&before=4": "2 3", "?limit=2&before=2": "1", "?before=1": "", "?before=0": "",
		"?after=0&limit=2": "1 2", "?after=2&limit=2": "3 4", "?after=4": "5", "?after=5": "", "?after=99": "", "?after=1&before=4": "2 3",
		"?after=0&since=" + soon: "", "?after=4294967295": "", "?before=4294967295&limit=1": "5",
	} {
		if got, o := s.runEvents(id, query); got != want {
			t.Errorf("%q finds %q, want %q: %v", query, got, want, o)
		}
	}
	_, o := s.runEvents(id, "?limit=2")
	if o["has_more"] != true || o["older"] != 4.0 || o["newer"] != 5.0 {
		t.Errorf("the newest page says %v", o)
	}
	_, o = s.runEvents(id, "?limit=2&after=0")
	if o["has_more"] != true || o["older"] != 1.0 || o["newer"] != 2.0 {
		t.Errorf("the first page says %v", o)
	}
	_, o = s.runEvents(id, "?kind=none&after=0")
	if o["has_more"] != false || o["newer"] != 5.0 {
		t.Errorf("nothing found says %v", o)
	}
}

func TestAntRunEventsBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("codex", "terminal"), "id")
	path := "/api/sessions/" + id + "/run-events"
	for _, query := range []string{"?limit=0", "?limit=-1", "?limit=1001", "?limit=x", "?limit=1.5", "?limit=99999999999", "?since=yesterday", "?since=5w", "?since=-5m",
		"?since=5", "?since=1e3", "?since=99999999999999999999", "?since=999999999999999999d", "?since=2026-13-01T00:00:00Z", "?since=%20", "?source=hooks", "?source=HOOK",
		"?after=x", "?after=-1", "?after=4294967296", "?before=", "?before=1.0", "?kind=" + strings.Repeat("k", 65), "?q=" + strings.Repeat("q", 1001)} {
		a := s.get(path + query)
		if query == "?since=5" || query == "?before=" {
			a.ok() // 5 ms after the beginning of 1970; an empty parameter is none
			continue
		}
		a.refused(http.StatusBadRequest, "")
	}
	s.get("/api/sessions/unknown/run-events").refused(http.StatusNotFound, "Session not found")
	s.get("/api/sessions/@nobody/run-events?limit=1").refused(http.StatusNotFound, "Session not found")
	c := antv1.NewRunEventsServiceClient(s.dial())
	for what, q := range map[string]*antv1.ListRunEventsRequest{
		"limit": {SessionId: id, Limit: proto.Int32(0)}, "since": {SessionId: id, Since: "x"}, "source": {SessionId: id, Source: "x"}, "none": {},
	} {
		_, err := c.ListRunEvents(s.call(), q)
		wantCode(t, what, err, codes.InvalidArgument)
	}
	_, err := c.ListRunEvents(s.call(), &antv1.ListRunEventsRequest{SessionId: "unknown"})
	wantCode(t, "unknown", err, codes.NotFound)
}

// Pages are exact, also where their bytes end them.
func TestAntRunEventPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("codex", "terminal"), "id")
	const n = 130 // of 40 KiB: two pages of 3 MiB
	for i := range n {
		s.hook(id, "Stop", object{"n": i, "a": strings.Repeat("x", 40<<10)})
	}
	var up []string
	for after := "0"; ; {
		ids, o := s.runEvents(id, "?limit=1000&after="+after)
		up = append(up, strings.Fields(ids)...)
		after = fmt.Sprint(o["newer"])
		if o["has_more"] != true {
			break
		}
	}
	down := []string{}
	for query := "?limit=50"; ; {
		ids, o := s.runEvents(id, query)
		down = append(strings.Fields(ids), down...)
		if o["has_more"] != true {
			break
		}
		query = fmt.Sprintf("?limit=50&before=%v", o["older"])
	}
	if len(up) != n || !slices.Equal(up, down) || up[0] != "1" || up[n-1] != fmt.Sprint(n) {
		t.Errorf("upwards %d, downwards %d: %v %v", len(up), len(down), up, down)
	}
	if _, err := antv1.NewRunEventsServiceClient(s.dial()).ListRunEvents(s.call(), &antv1.ListRunEventsRequest{SessionId: id, Limit: proto.Int32(1000)}); err != nil {
		t.Errorf("a page over gRPC: %v", err)
	}
}

// Payloads are what was given, to the byte.
func TestAntRunEventPayloadIsExact(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("codex", "terminal"), "id")
	payload := `{"z":12345678901234567890.10,"hook_event_name":"Stop","a":1e400,"ant_session_id":"` + id +
		`","html":"<b>&\u2028 \u00fc ü","e":{},"l":[ ],"n":null,"neg":-0.0}`
	want := strings.ReplaceAll(payload, "[ ]", "[]")
	live := s.socket()
	live.join(id)
	a := s.do(http.MethodPost, "/api/hooks", strings.ReplaceAll(payload, ",\"", " ,\n\t\""))
	if a.status != http.StatusOK {
		t.Fatal(a)
	}
	list := s.get("/api/sessions/" + id + "/run-events")
	seen := ""
	for seen == "" {
		if b := string(live.nextBytes()); strings.Contains(b, `"run_event_created"`) {
			seen = b
		}
	}
	for what, body := range map[string]string{"hook": string(a.body), "list": string(list.body), "socket": seen} {
		if !strings.Contains(body, `"payload":`+want+`,`) || !json.Valid([]byte(body)) {
			t.Errorf("%s: %s\nlacks %s", what, body, want)
		}
	}
	l, err := antv1.NewRunEventsServiceClient(s.dial()).ListRunEvents(s.call(), &antv1.ListRunEventsRequest{SessionId: id})
	if err != nil || l.Events[0].Payload != want {
		t.Errorf("gRPC: %v %v", l, err)
	}
}

// Done when: each change raises its event with the documented keys, exactly once
// per socket.
func TestAntRunEventsAreToldOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	term := s.newSession("codex", "terminal")
	id, chat := str(term, "id"), str(term, "linked_chat_id")
	quiet := s.socket()
	quiet.join(chat)
	live := s.socket()
	live.join(id)
	live.join(chat) // a socket of both rooms, too
	s.hook(id, "UserPromptSubmit", object{"prompt": "one"})
	twice := object{"event_id": "e1", "prompt": "two"}
	s.hook(id, "UserPromptSubmit", twice)
	s.hook(id, "UserPromptSubmit", twice)
	s.hook(id, "Stop", nil)
	s.speak(id, "end")
	s.speak(chat, "end")
	var got []string
	for ends := 0; ends < 2; {
		switch m := live.next(); m["type"] {
		case "run_event_created":
			e := m["event"].(object)
			got = append(got, fmt.Sprint(e["id"], " ", e["text"]))
			if want := []string{"epoch", "event", "room", "seq", "sessionId", "type"}; !slices.Equal(sorted(keys(m)), want) || m["sessionId"] != id {
				t.Errorf("the event has %v", m)
			}
			if want := []string{"created_at", "id", "kind", "payload", "raw_ref", "session_id", "source", "text", "trust", "ts", "ts_ms"}; !slices.Equal(sorted(keys(e)), want) {
				t.Errorf("its row has %v", sorted(keys(e)))
			}
		case "message_created":
			ends++
		}
	}
	if want := []string{"1 one", "2 two", "3 Stop"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	for m := quiet.next(); m["type"] != "message_created"; m = quiet.next() {
		if m["type"] == "run_event_created" {
			t.Errorf("the chat was told of %v", m)
		}
	}
	// Who comes later reads the same from the log.
	page, err := antv1.NewEventsServiceClient(s.dial()).ListEvents(s.call(), &antv1.ListEventsRequest{SessionIds: []string{id}, Since: proto.Uint64(0)})
	if err != nil {
		t.Fatal(err)
	}
	var again []string
	for _, e := range page.Events {
		if r := e.GetRunEventCreated().GetEvent(); r != nil {
			again = append(again, fmt.Sprint(r.Id, " ", r.Text))
			if r.Payload == "" || r.SessionId != id || r.Kind == "" {
				t.Errorf("the log shows %v", r)
			}
		}
	}
	if !slices.Equal(again, got) {
		t.Errorf("the log has %q, want %q", again, got)
	}
}

// Evidence goes with its session, also what the feed has told of it.
func TestAntRunEventsGoWithTheirSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("codex", "terminal"), "id")
	for i := range 120 {
		s.hook(id, "Stop", object{"event_id": fmt.Sprint(i), "mark": "to-be-forgotten"})
	}
	s.discard("/api/sessions/" + id)
	s.post("/api/hooks", object{"hook_event_name": "Stop", "ant_session_id": id}).refused(http.StatusConflict, "The session is deleted: restore it to write to it.")
	if ids, _ := s.runEvents(id, "?limit=1"); ids != "120" {
		t.Errorf("a deleted session that can be restored shows %q", ids)
	}
	s.post("/api/sessions/"+id+"/restore", nil).ok()
	s.patch("/api/sessions/"+id, object{"archived": true}).ok()
	s.post("/api/hooks", object{"hook_event_name": "Stop", "ant_session_id": id}).refused(http.StatusConflict, "The session is archived: restore it to write to it.")
	s.discard("/api/sessions/" + id + "?hard=true")
	s.get("/api/sessions/"+id+"/run-events").refused(http.StatusNotFound, "Session not found")
	s.post("/api/hooks", object{"hook_event_name": "Stop", "ant_session_id": id}).refused(http.StatusNotFound, "Session not found")
	page, err := antv1.NewEventsServiceClient(s.dial()).ListEvents(s.call(), &antv1.ListEventsRequest{All: true, Since: proto.Uint64(0), Limit: 1000})
	if err != nil || len(page.Events) == 0 {
		t.Fatalf("the log has %v, %v", page, err)
	}
	for _, e := range page.Events {
		if e.GetRunEventCreated() != nil {
			t.Errorf("the log still tells of %v", e)
		}
	}
	fresh := str(s.newSession("codex", "terminal"), "id")
	if ids, _ := s.runEvents(fresh, "?since=0"); ids != "" {
		t.Errorf("a new session of the name has %q", ids)
	}
}
