package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
)

func antParticipantRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewParticipantsServiceClient(conn)
	id := str(e.s.newSession("participants of both", "chat"), "id")
	one, two := str(e.s.newSession("p one", "terminal"), "id"), str(e.s.newSession("p two", "terminal"), "id")
	const path = "/api/sessions/{room_id}/participants"
	added, err := c.AddParticipant(e.s.call(), &antv1.AddParticipantRequest{RoomId: id, SessionId: one})
	alike(e, e.call("POST "+path, object{"session_id": two}, id), added, err)
	up, err := c.UpdateParticipant(e.s.call(), &antv1.UpdateParticipantRequest{RoomId: id, SessionId: one, AttentionState: "focus", Ttl: "30m"})
	alike(e, e.call("PATCH "+path, object{"session_id": two, "attention_state": "focus", "ttl": 1800}, id), up, err)
	list, err := c.ListParticipants(e.s.call(), &antv1.ListParticipantsRequest{RoomId: id, IncludeCounts: "1"})
	same(e, e.call("GET "+path, nil, id, "?include_counts=1"), list, err)
	left, err := c.RemoveParticipant(e.s.call(), &antv1.RemoveParticipantRequest{RoomId: id, SessionId: one})
	alike(e, e.call("DELETE "+path, nil, id, "?session_id="+two), left, err)
	if _, err := c.SetPresence(e.s.call(), &antv1.SetPresenceRequest{SessionId: id, Handle: "ann", Connection: "c"}); err != nil {
		e.t.Error(err)
	}
	p, err := c.GetPresence(e.s.call(), &antv1.GetPresenceRequest{SessionId: id})
	same(e, e.call("GET /api/presence/{session_id}", nil, id), p, err)
	ty, err := c.SetTyping(e.s.call(), &antv1.SetTypingRequest{SessionId: id, Handle: "@ann", Typing: true})
	same(e, e.call("POST /api/sessions/{session_id}/typing", object{"handle": "@ann", "typing": true}, id), ty, err)
}

// people are the names of a list of participants.
func people(o object, list string) (names []string) {
	for _, p := range o[list].([]any) {
		names = append(names, str(p.(object), "name"))
	}
	slices.Sort(names)
	return names
}

// Done when: participants are listed with posters, added, and leave.
func TestAntParticipants(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	path := room + "/participants"
	codex := s.newSession("codex", "terminal")
	who := func(query string) string {
		t.Helper()
		o := s.get(path + query).ok()
		return fmt.Sprint(people(o, "participants"), people(o, "postsFrom"), people(o, "all"))
	}
	if got := who(""); got != "[] [] []" {
		t.Errorf("a new room: %s", got)
	}
	s.postAs(room, "@james", "1")
	if got := who(""); got != "[@james] [@james] [@james]" {
		t.Errorf("without members: %s", got)
	}
	added := s.post(path, object{"handle": "codex", "alias": "cx"}).created()
	for k, want := range map[string]any{"id": codex["id"], "name": "codex", "handle": "@codex", "alias": "cx", "session_type": "terminal", "role": "participant",
		"cli_flag": nil, "attention_state": "available", "attention_reason": nil, "focus_queue_count": 0.0} {
		if added[k] != want {
			t.Errorf("%s is %v, want %v", k, added[k], want)
		}
	}
	if again := s.post(path, object{"session_id": codex["id"]}).created(); again["joined_at"] != added["joined_at"] || again["alias"] != "cx" {
		t.Errorf("added again: %v", again)
	}
	s.postAs(room, "codex", "2")
	if got := who(""); got != "[codex] [@james] [@james codex]" {
		t.Errorf("with a member: %s", got)
	}
	p := s.get(path + "?include_counts=1").ok()["participants"].([]any)[0].(object)
	if p["message_count"] != 1.0 || !rowTime.MatchString(str(p, "first_seen")) || !rowTime.MatchString(str(p, "last_seen")) {
		t.Errorf("counts: %v", p)
	}
	if p := s.get(path).ok()["participants"].([]any)[0].(object); p["message_count"] != 0.0 || p["first_seen"] != nil {
		t.Errorf("without counts: %v", p)
	}
	for _, body := range []any{nil, object{"handle": "@codex"}} {
		query := ""
		if body == nil {
			query = "?session_id=" + str(codex, "id")
		}
		o := s.do(http.MethodDelete, path+query, body).ok()
		if o["ok"] != true || o["removed"] != (body == nil) || o["id"] != codex["id"] {
			t.Errorf("leaving: %v", o)
		}
	}
	if got := who(""); got != "[@james] [@james] [@james]" {
		t.Errorf("after leaving: %s", got)
	}
	s.postAs(room, "@codex", "back")
	if got := who(""); got != "[codex] [@james] [@james codex]" {
		t.Errorf("back: %s", got)
	}
	// A member that is deleted for good is in no room any more.
	s.discard("/api/sessions/" + str(codex, "id") + "?hard=true")
	if got := who(""); strings.Contains(got, "codex]") && strings.HasPrefix(got, "[codex]") {
		t.Errorf("deleted for good: %s", got)
	}
}

func TestAntParticipantsBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, term := s.chat("plan"), "/api/sessions/"+str(s.newSession("codex", "terminal"), "id")
	s.post(room+"/participants", object{"handle": "@codex"}).created()
	before := string(s.get(room + "/participants").body)
	for _, tc := range []struct {
		method, path string
		body         any
		status       int
		words        string
	}{
		{"GET", "/api/sessions/nothing/participants", nil, 404, "not found"},
		{"POST", "/api/sessions/nothing/participants", object{"handle": "@codex"}, 404, "Session not found"},
		{"POST", room + "/participants", object{"handle": "@nobody"}, 404, "member session not found"},
		{"POST", room + "/participants", object{}, 400, "session_id or handle required"},
		{"POST", room + "/participants", "", 400, "session_id or handle required"},
		{"POST", room + "/participants", object{"handle": "@codex", "role": "boss"}, 400, "role is participant or external"},
		{"POST", room + "/participants", object{"handle": "@codex", "alias": strings.Repeat("a", 65)}, 400, ""},
		{"POST", term + "/participants", object{"handle": "@codex"}, 400, "room must be a chat session"},
		{"PATCH", room + "/participants", object{"handle": "@codex"}, 400, "attention_state required"},
		{"PATCH", room + "/participants", object{"handle": "@codex", "attention_state": "focus", "ttl": "soon"}, 400, "ttl is a time such as 90s, 30m or 2h"},
		{"PATCH", room + "/participants", object{"handle": "@codex", "attention_state": "focus", "ttl": []int{}}, 400, ""},
		{"PATCH", room + "/participants", object{"handle": "@codex", "attention_state": "focus", "set_by": "@boss"}, 400, "setting somebody else's attention requires a reason"},
		{"PATCH", room + "/participants", "[]", 400, ""},
		{"DELETE", room + "/participants", nil, 400, "session_id or handle required"},
		{"DELETE", room + "/participants?handle=@nobody", nil, 404, "member session not found"},
		{"DELETE", room + "/participants", "{", 400, ""},
		{"GET", "/api/presence/nothing", nil, 404, "Session not found"},
		{"POST", "/api/sessions/nothing/typing", object{"handle": "@a"}, 404, "Session not found"},
		{"POST", room + "/typing", object{}, 400, "handle required"},
		{"POST", room + "/typing", object{"handle": "@a", "typing": "yes"}, 400, "typing: Input should be a valid boolean"},
		{"POST", room + "/typing", object{"handle": strings.Repeat("a", 300)}, 400, ""},
	} {
		s.do(tc.method, tc.path, tc.body).refused(tc.status, tc.words)
	}
	if after := string(s.get(room + "/participants").body); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

// Done when: messages wait for who is in focus, and come as one digest.
func TestAntFocus(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	codex := s.newSession("codex", "terminal")
	s.post(room+"/participants", object{"handle": "@codex"}).created()
	o := s.patch(room+"/participants", object{"handle": "@codex", "attention_state": "focus", "reason": "release", "set_by": "@james", "ttl": "10m"}).ok()
	if o["ok"] != true || o["id"] != codex["id"] || o["attention_state"] != "focus" || o["attention_reason"] != "release" ||
		o["attention_set_by"] != "@james" || !rowTime.MatchString(str(o, "attention_expires_at")) || o["digest"] != nil {
		t.Errorf("%v", o)
	}
	for i := range 3 {
		posted := s.postAs(room, "@james", fmt.Sprint("@codex ", i))
		d := posted["deliveries"].([]any)[1].(object)
		if d["adapter"] != "focus-queue" || d["delivered"] != true || d["state"] != "queued" || d["targetId"] != codex["id"] {
			t.Errorf("%v", d)
		}
	}
	s.kill()
	s.restart()
	row := s.get("/api/sessions").ok()["sessions"].([]any)
	found := false
	for _, r := range row {
		if r := r.(object); r["id"] == codex["id"] {
			found = true
			if r["attention_state"] != "focus" || r["focus_room_name"] != "plan" || r["focus_queue_count"] != 3.0 {
				t.Errorf("in the list: %v", r)
			}
		}
	}
	if !found {
		t.Error("the list lacks it")
	}
	end := s.patch(room+"/participants", object{"handle": "@codex", "attention_state": "available"}).ok()
	digest, _ := end["digest"].(object)
	if end["attention_state"] != "available" || digest["count"] != 3.0 || !strings.Contains(str(digest, "text"), "@james: @codex 2") {
		t.Errorf("%v", end)
	}
	if d := s.postAs(room, "@james", "@codex x")["deliveries"].([]any)[1].(object); d["adapter"] != "pty-injection" {
		t.Errorf("after focus: %v", d)
	}
}

// Done when: presence is of persons, by handle.
func TestAntPresenceByHandle(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	id := strings.TrimPrefix(room, "/api/sessions/")
	c := antv1.NewParticipantsServiceClient(s.dial())
	if o := s.get("/api/presence/" + id).ok(); len(o["presence"].(object)) != 0 {
		t.Errorf("%v", o)
	}
	for _, q := range []*antv1.SetPresenceRequest{{Handle: "ann", Connection: "1"}, {Handle: "@bob", Connection: "2"}, {Handle: "@bob", Connection: "2", Left: true}} {
		q.SessionId = id
		if _, err := c.SetPresence(s.call(), q); err != nil {
			t.Fatal(err)
		}
	}
	o := s.get("/api/presence/" + id).ok()["presence"].(object)
	if len(o) != 2 || str(o, "@ann", "status") != "active" || str(o, "@bob", "status") != "offline" || o["@ann"].(object)["lastSeen"].(float64) < 1e12 {
		t.Errorf("%v", o)
	}
	if o := s.post(room+"/typing", object{"handle": "@ann", "typing": true}).ok(); o["ok"] != true {
		t.Errorf("%v", o)
	}
}
