package blackbox

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

func antReadRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewReadsServiceClient(conn)
	room := e.s.chatRoom("reads of both")
	id := e.s.speak(room, "hello")
	const one = "/api/sessions/{session_id}/messages/{msgId}/read"
	marked, err := c.MarkRead(e.s.call(), &antv1.MarkReadRequest{SessionId: room, MsgId: id, ReaderId: "@ann"})
	same(e, e.call("POST "+one, object{"reader_id": "@ann"}, room, id), marked, err)
	got, err := c.GetMessageReads(e.s.call(), &antv1.GetMessageReadsRequest{SessionId: room, MsgId: id})
	same(e, e.call("GET "+one, nil, room, id), got, err)
	list, err := c.ListReads(e.s.call(), &antv1.ListReadsRequest{SessionId: room})
	o := e.call("GET /api/sessions/{session_id}/reads", nil, room).ok()
	if err != nil || len(list.Messages) != 1 || list.Messages[0].Id != id || list.Messages[0].Reads[0].SessionId != "@ann" || len(o["reads"].(object)[id].([]any)) != 1 {
		e.t.Errorf("REST %v, gRPC %v %v", o, list, err)
	}
}

// heard are the frames that a socket gets until a message that is posted now: what
// happened before is among them, as often as it was told.
func (c *socket) heard(s *server, room string) (frames []object) {
	c.t.Helper()
	end := s.speak(room, "that is all")
	for {
		f := c.next()
		if f["type"] == "message_created" && f["id"] == end {
			return frames
		}
		frames = append(frames, f)
	}
}

// only are those of some types.
func only(frames []object, types ...string) (list []object) {
	for _, f := range frames {
		if slices.Contains(types, str(f, "type")) {
			list = append(list, f)
		}
	}
	return list
}

// has says whether an object has these members and no others; nil is any value.
func has(o object, want object) error {
	for k, v := range want {
		got, there := o[k]
		if !there || v != nil && !reflect.DeepEqual(got, v) {
			return fmt.Errorf("%s is %v, want %v", k, got, v)
		}
	}
	for k := range o {
		if _, there := want[k]; !there {
			return fmt.Errorf("there is %s besides", k)
		}
	}
	return nil
}

// Done when: reads are idempotent and bound to the room, and each is told once.
func TestAntReads(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	codex := s.newSession("codex", "terminal")
	first, second, third := s.speak(room, "one"), s.speak(room, "two"), s.speak(room, "three")
	path := "/api/sessions/" + room
	read := func(id string) string { return path + "/messages/" + id + "/read" }
	c := s.socket()
	c.join(room)

	byTerminal := object{"session_id": codex["id"], "reader_name": "codex", "reader_handle": "@codex"}
	byName := object{"session_id": "ann", "reader_name": "ann", "reader_handle": nil}
	o := s.post(read(first), object{"reader_id": "@codex"}).ok()
	byTerminal["read_at"] = o["reads"].([]any)[0].(object)["read_at"]
	if !rowTime.MatchString(str(byTerminal, "read_at")) || has(o, object{"ok": true, "reads": []any{byTerminal}}) != nil {
		t.Errorf("read: %v", o)
	}
	again := s.post(read(first), object{"reader_id": codex["id"]}).ok() // the same, by its id
	if !reflect.DeepEqual(again, o) {
		t.Errorf("read again: %v, before %v", again, o)
	}
	o = s.post(read(first), object{"reader_id": "ann"}).ok()
	byName["read_at"] = o["reads"].([]any)[1].(object)["read_at"]
	if !reflect.DeepEqual(o["reads"], []any{byTerminal, byName}) {
		t.Errorf("read by two: %v", o)
	}
	s.post(read(third), object{"reader_id": "@ann"}).ok()

	events := only(c.heard(s, room), "message_read")
	if len(events) != 3 {
		t.Fatalf("%d events of three reads: %v", len(events), events)
	}
	if err := has(events[1], object{"type": "message_read", "room": room, "sessionId": room, "seq": nil, "epoch": nil, "messageId": first,
		"readerId": "ann", "reads": []any{byTerminal, byName}}); err != nil {
		t.Error(err)
	}

	want := func() {
		t.Helper()
		if o := s.get(read(first)).ok(); has(o, object{"reads": []any{byTerminal, byName}}) != nil {
			t.Errorf("readers: %v", o)
		}
		if o := s.get(read(second)).ok(); len(o["reads"].([]any)) != 0 {
			t.Errorf("readers of what nobody has read: %v", o)
		}
		o := s.get(path + "/reads").ok()
		by := o["reads"].(object)
		if len(by) != 2 || !reflect.DeepEqual(by[first], []any{byTerminal, byName}) || len(by[third].([]any)) != 1 || o["has_more"] != false || o["older"] != "" {
			t.Errorf("reads: %v", o)
		}
	}
	want()
	s.stop()
	s.restart()
	want()
	page := s.get(path + "/reads?limit=1").ok()
	if by := page["reads"].(object); len(by) != 1 || by[third] == nil || page["has_more"] != true {
		t.Errorf("the newest: %v", page)
	}
	page = s.get(path + "/reads?limit=1&cursor=" + str(page, "older")).ok()
	if by := page["reads"].(object); len(by) != 1 || by[first] == nil || page["has_more"] != false {
		t.Errorf("before it: %v", page)
	}

	for _, bad := range []struct {
		path string
		body any
		code int
		why  string
	}{
		{read(first), object{}, http.StatusBadRequest, "reader_id required"},
		{read(first), object{"reader_id": ""}, http.StatusBadRequest, "reader_id required"},
		{read(first), object{"reader_id": strings.Repeat("x", 257)}, http.StatusBadRequest, ""},
		{read("unknown"), object{"reader_id": "x"}, http.StatusNotFound, "message not found"},
		{"/api/sessions/" + other + "/messages/" + first + "/read", object{"reader_id": "x"}, http.StatusNotFound, "message not found"},
		{"/api/sessions/unknown/messages/" + first + "/read", object{"reader_id": "x"}, http.StatusNotFound, "Session not found"},
	} {
		s.post(bad.path, bad.body).refused(bad.code, bad.why)
	}
	for _, bad := range []string{"/reads?limit=0", "/reads?limit=x", "/reads?cursor=zzz", "/reads?cursor=n0"} {
		s.get(path+bad).refused(http.StatusBadRequest, "")
	}
	s.get("/api/sessions/"+other+"/messages/"+first+"/read").refused(http.StatusNotFound, "message not found")
	s.get("/api/sessions/unknown/reads").refused(http.StatusNotFound, "Session not found")
	_, err := antv1.NewReadsServiceClient(s.dial()).MarkRead(s.call(), &antv1.MarkReadRequest{SessionId: other, MsgId: first, ReaderId: "x"})
	wantCode(t, "a message of another room", err, codes.NotFound)
	want()

	// What is deleted has no readers; an archived room takes none.
	s.delete(path + "/messages?msgId=" + first).ok()
	s.get(read(first)).refused(http.StatusNotFound, "message not found")
	if by := s.get(path + "/reads").ok()["reads"].(object); len(by) != 1 || by[third] == nil {
		t.Errorf("reads: %v", by)
	}
	s.patch(path, object{"archived": true}).ok()
	s.post(read(third), object{"reader_id": "late"}).refused(http.StatusConflict, "")
	if by := s.get(path + "/reads").ok()["reads"].(object); len(by[third].([]any)) != 1 {
		t.Errorf("reads: %v", by)
	}
}

// A guest reads under its own name, in its own room.
func TestAntGuestReads(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	id, foreign := s.speak(room, "one"), s.speak(other, "two")
	inv := str(s.invite(room, object{"kinds": []string{"cli", "web"}, "max_uses": 2}), "id")
	guest, web := *s, *s
	guest.opts.key = str(s.exchange(inv, room, object{"kind": "cli", "handle": "ann"}), "token")
	web.opts.key = str(s.exchange(inv, room, object{"kind": "web", "handle": "eve"}), "token")
	o := guest.post("/api/sessions/"+room+"/messages/"+id+"/read", object{"reader_id": "@boss"}).ok()
	if by := o["reads"].([]any); len(by) != 1 || str(by[0].(object), "session_id") != "@ann" || str(by[0].(object), "reader_handle") != "@ann" {
		t.Errorf("read: %v", o)
	}
	guest.post("/api/sessions/"+room+"/messages/"+id+"/read", object{}).ok()
	guest.post("/api/sessions/"+other+"/messages/"+foreign+"/read", object{}).refused(http.StatusForbidden, wrongRoom)
	web.post("/api/sessions/"+room+"/messages/"+id+"/read", object{}).refused(http.StatusForbidden, readOnly)
	if by := web.get("/api/sessions/" + room + "/reads").ok()["reads"].(object); len(by[id].([]any)) != 1 {
		t.Errorf("reads: %v", by)
	}
}
