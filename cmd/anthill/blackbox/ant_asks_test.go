package blackbox

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

func antAskRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewAsksServiceClient(conn)
	room := e.s.chatRoom("asks of both")
	const inRoom, all = "/api/sessions/{session_id}/asks", "/api/asks"
	made, err := c.CreateAsk(e.s.call(), &antv1.CreateAskRequest{SessionId: room, Body: "Which ferry?", CreatedBy: "@ann"})
	a := e.call("POST "+inRoom, object{"body": "Which tent?", "created_by": "@ann"}, room)
	alike(e, a, made, err)
	id := made.GetAsk().GetId()
	got, err := c.GetAsk(e.s.call(), &antv1.GetAskRequest{AskId: id})
	same(e, e.call("GET "+all+"/{ask_id}", nil, id), got, err)
	same(e, e.call("GET "+inRoom+"/{ask_id}", nil, room, id), got, err)
	list, err := c.ListAsks(e.s.call(), &antv1.ListAsksRequest{SessionId: room, Status: "open"})
	same(e, e.call("GET "+inRoom, nil, room, "?status=open"), list, err)
	list, err = c.ListAllAsks(e.s.call(), &antv1.ListAllAsksRequest{})
	same(e, e.call("GET "+all, nil), list, err)
	up, err := c.UpdateAsk(e.s.call(), &antv1.UpdateAskRequest{AskId: id, Answer: new("the early one"), AnsweredBy: "@bob"})
	other := str(a.created(), "ask", "id")
	alike(e, e.call("PATCH "+all+"/{ask_id}", object{"answer": "the blue one", "answered_by": "@bob"}, other), up, err)
	up, err = c.UpdateAsk(e.s.call(), &antv1.UpdateAskRequest{AskId: id, SessionId: room, Status: "open"})
	alike(e, e.call("PATCH "+inRoom+"/{ask_id}", object{"status": "open"}, room, other), up, err)
}

// bodies are the questions of a list.
func (a answer) bodies() string {
	a.t.Helper()
	var list []string
	for _, row := range a.ok()["asks"].([]any) {
		list = append(list, str(row.(object), "body"))
	}
	return strings.Join(list, "|")
}

// Done when: what a message asks becomes records, and the first answer counts.
func TestAntAsks(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	path := "/api/sessions/" + room
	c := s.socket()
	c.join(room)

	posted := s.post(path+"/messages", object{"content": "Is it two things?", "sender_id": "@ann", "target": "@codex", "asks": []string{" Which ferry?\nThe early one? ", "  ", "Who pays?"}}).created()
	asks := posted["asks"].([]any)
	ask := asks[0].(object)
	id, second := str(ask, "id"), str(asks[1].(object), "id")
	row := object{"id": nil, "session_id": room, "message_id": posted["id"], "title": "Which ferry?", "body": "Which ferry?\nThe early one?", "status": "open", "assigned_to": "@codex",
		"created_by": "@ann", "inferred": 0.0, "answer": nil, "answered_by": nil, "answered_at": nil, "created_at": nil, "updated_at": nil}
	if err := has(ask, row); err != nil || len(asks) != 2 || !reflect.DeepEqual(posted["ask"], asks[0]) || !rowID.MatchString(id) || ask["answer"] != nil || !rowTime.MatchString(str(ask, "created_at")) {
		t.Errorf("asked: %v, %v", err, posted)
	}
	if meta := str(posted, "meta"); meta != `{"asks":["Which ferry?\nThe early one?","Who pays?"],"asks_resolved":[],"inferred_asks":[]}` {
		t.Errorf("meta %s", meta)
	}
	found := s.post(path+"/messages", object{"content": "I am late. Can you wait? `a?`", "sender_id": "@bob"}).created()
	inferred := found["ask"].(object)
	if str(inferred, "body") != "Can you wait?" || inferred["inferred"] != 1.0 || str(inferred, "assigned_to") != "room" ||
		str(found, "meta") != `{"asks":[],"asks_resolved":[],"inferred_asks":["Can you wait?"]}` {
		t.Errorf("found: %v", found)
	}
	for _, quiet := range []object{{"content": "no question"}, {"content": "Reported?", "role": "system"}, {"content": "Prompt?", "msg_type": "terminal_line"},
		{"content": "Own?", "meta": object{"asks": []string{"mine"}}}} {
		if o := s.post(path+"/messages", quiet).created(); o["ask"] != nil || len(o["asks"].([]any)) != 0 {
			t.Errorf("%v asks %v", quiet, o["asks"])
		}
	}
	if o := s.do(http.MethodPost, path+"/messages?dry_run=true", object{"content": "Really?", "sender_id": "@ann"}).ok(); len(o["asks"].([]any)) != 0 {
		t.Errorf("a dry run asks %v", o)
	}
	alone := s.post(path+"/asks", object{"question": "Which tent?", "created_by": "@eve", "assigned_to": "@bob"}).created()["ask"].(object)
	if alone["message_id"] != nil || str(alone, "body") != "Which tent?" || str(alone, "assigned_to") != "@bob" || str(alone, "created_by") != "@eve" {
		t.Errorf("asked: %v", alone)
	}

	// Lists: the newest first, by room and status.
	s.post("/api/sessions/"+other+"/asks", object{"title": "Elsewhere?", "body": "What is elsewhere?"}).created()
	if got := s.get(path + "/asks").bodies(); got != "Which tent?|Can you wait?|Which ferry?\nThe early one?|Who pays?" {
		t.Error(got)
	}
	if got := s.get("/api/asks?status=open").bodies(); got != "What is elsewhere?|Which tent?|Can you wait?|Which ferry?\nThe early one?|Who pays?" {
		t.Error(got)
	}
	page := s.get(path + "/asks?limit=2")
	if got := page.bodies(); got != "Which tent?|Can you wait?" || page.ok()["has_more"] != true {
		t.Error(got)
	}
	if got := s.get(path + "/asks?limit=2&cursor=" + str(page.ok(), "older")).bodies(); got != "Which ferry?\nThe early one?|Who pays?" {
		t.Error(got)
	}

	// The first answer counts.
	one := "/api/asks/" + id
	answered := s.patch(one, object{"answer": "the early one", "answered_by": "@bob"}).ok()["ask"].(object)
	if str(answered, "status") != "answered" || str(answered, "answer") != "the early one" || str(answered, "answered_by") != "@bob" || !rowTime.MatchString(str(answered, "answered_at")) {
		t.Errorf("answered: %v", answered)
	}
	o := s.patch(one, object{"answer": "the late one", "answered_by": "@eve"}).refused(http.StatusConflict, "")
	if m := str(o, "message"); !strings.Contains(m, "@bob") || !strings.Contains(m, str(answered, "answered_at")) || str(o, "answered_by") != "@bob" || str(o, "status") != "answered" || o["answered_at"] != answered["answered_at"] {
		t.Errorf("too late: %v", o)
	}
	s.patch(one, object{"status": "dismissed", "answered_by": "@bob"}).refused(http.StatusConflict, "")
	if again := s.patch(one, object{"answer": "the early one", "answered_by": "@bob"}).ok(); !reflect.DeepEqual(again["ask"], any(answered)) {
		t.Errorf("again: %v", again)
	}
	s.patch("/api/asks/"+second, object{"status": "dismissed", "answered_by": "@ann"}).ok()
	if got := s.get(path+"/asks?status=open").bodies() + " " + s.get(path+"/asks?status=answered").bodies() + " " + s.get("/api/asks?status=dismissed").bodies(); got !=
		"Which tent?|Can you wait? Which ferry?\nThe early one? Who pays?" {
		t.Error(got)
	}
	_, rows := s.get(path + "/messages").texts()
	if meta := str(rows[0], "meta"); !strings.Contains(meta, `"asks_resolved":[0,1]`) {
		t.Errorf("meta %s", meta)
	}
	reopened := s.patch(path+"/asks/"+id, object{"status": "open"}).ok()["ask"].(object)
	if str(reopened, "status") != "open" || reopened["answer"] != nil || reopened["answered_by"] != nil || reopened["answered_at"] != nil {
		t.Errorf("opened again: %v", reopened)
	}
	if given := s.patch(one, object{"assigned_to": "@gemini"}).ok()["ask"].(object); str(given, "assigned_to") != "@gemini" || str(given, "status") != "open" {
		t.Errorf("given to another: %v", given)
	}

	events := c.heard(s, room)
	if list := only(events, "ask_created"); len(list) != 4 || has(list[0], object{"type": "ask_created", "room": room, "sessionId": room, "seq": nil, "epoch": nil, "ask": any(ask)}) != nil {
		t.Errorf("told: %v", list)
	}
	if list := only(events, "ask_updated"); len(list) != 4 || !reflect.DeepEqual(list[0]["ask"], any(answered)) || str(list[3], "ask", "assigned_to") != "@gemini" {
		t.Errorf("told: %v", list)
	}
	if list := only(events, "message_updated"); len(list) != 3 {
		t.Errorf("told of metadata: %v", list)
	}
	before := string(s.get("/api/asks").body)
	s.stop()
	s.restart()
	if after := string(s.get("/api/asks").body); after != before {
		t.Errorf("after a restart %s, before %s", after, before)
	}

	// Questions go with their message, and with their room.
	s.delete(path + "/messages?msgId=" + str(posted, "id")).ok()
	s.get(one).refused(http.StatusNotFound, "ask not found")
	s.patch(one, object{"answer": "x"}).refused(http.StatusNotFound, "ask not found")
	if got := s.get("/api/asks").bodies(); got != "What is elsewhere?|Which tent?|Can you wait?" {
		t.Error(got)
	}
	s.patch(path, object{"archived": true}).ok()
	s.patch("/api/asks/"+str(alone, "id"), object{"answer": "x"}).refused(http.StatusConflict, "")
	s.post(path+"/asks", object{"body": "Late?"}).refused(http.StatusConflict, "")
	if got := s.get("/api/asks").bodies(); got != "What is elsewhere?" {
		t.Error(got)
	}
	s.discard(path + "?hard=true")
	s.get("/api/asks/"+str(alone, "id")).refused(http.StatusNotFound, "ask not found")
}

func TestAntAsksBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	path := "/api/sessions/" + room
	id := str(s.post(path+"/asks", object{"body": "Which?"}).created(), "ask", "id")
	for _, body := range []object{{}, {"body": "  "}, {"body": strings.Repeat("x", 2049)}, {"body": "x", "assigned_to": strings.Repeat("x", 257)},
		{"body": "x", "created_by": strings.Repeat("x", 257)}} {
		s.post(path+"/asks", body).refused(http.StatusBadRequest, "")
	}
	for _, body := range []object{{}, {"answered_by": "@a"}, {"status": "done"}, {"status": "open", "answer": "x"}, {"answer": strings.Repeat("x", 4097)},
		{"answer": "x", "answered_by": strings.Repeat("x", 257)}, {"assigned_to": strings.Repeat("x", 257)}} {
		s.patch("/api/asks/"+id, body).refused(http.StatusBadRequest, "")
	}
	for _, query := range []string{"?status=done", "?limit=0", "?limit=x", "?cursor=z", "?cursor=n1", "?cursor=o0"} {
		s.get(path+"/asks"+query).refused(http.StatusBadRequest, "")
		s.get("/api/asks"+query).refused(http.StatusBadRequest, "")
	}
	first := "A"
	if id[0] == 'A' {
		first = "B"
	}
	for _, wrong := range []string{"unknown", id[:20], id + "A", first + id[1:], id[:20] + "B", id[:19] + "__"} {
		s.get("/api/asks/"+wrong).refused(http.StatusNotFound, "ask not found")
		s.patch("/api/asks/"+wrong, object{"answer": "x"}).refused(http.StatusNotFound, "ask not found")
	}
	s.get("/api/sessions/"+other+"/asks/"+id).refused(http.StatusNotFound, "ask not found")
	s.patch("/api/sessions/"+other+"/asks/"+id, object{"answer": "x"}).refused(http.StatusNotFound, "ask not found")
	s.get("/api/sessions/unknown/asks").refused(http.StatusNotFound, "Session not found")
	s.post("/api/sessions/unknown/asks", object{"body": "x"}).refused(http.StatusNotFound, "Session not found")
	_, err := antv1.NewAsksServiceClient(s.dial()).UpdateAsk(s.call(), &antv1.UpdateAskRequest{AskId: id, SessionId: other, Answer: new("x")})
	wantCode(t, "an ask of another room", err, codes.NotFound)
	if o := s.get("/api/asks/" + id).ok(); str(o, "ask", "status") != "open" {
		t.Errorf("bad input changed %v", o)
	}
}

// Of many answers at once one counts, and the others are told whose.
func TestAntFirstAnswerWins(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	id := str(s.post("/api/sessions/"+room+"/asks", object{"body": "Which?"}).created(), "ask", "id")
	var wg sync.WaitGroup
	answers := make(chan answer, 32)
	for n := range 32 {
		wg.Go(func() {
			a, err := s.try(http.MethodPatch, "/api/asks/"+id, object{"answer": fmt.Sprint(n), "answered_by": fmt.Sprintf("@agent%d", n)})
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	wg.Wait()
	close(answers)
	winner, losers := "", []object{}
	for a := range answers {
		if a.status == http.StatusOK {
			winner += str(a.object(), "ask", "answered_by")
		} else {
			losers = append(losers, a.refused(http.StatusConflict, ""))
		}
	}
	if got := s.get("/api/asks/" + id).ok(); str(got, "ask", "answered_by") != winner || len(losers) != 31 {
		t.Errorf("%q won, %d lost, stored %v", winner, len(losers), got)
	}
	for _, o := range losers {
		if str(o, "answered_by") != winner {
			t.Errorf("told %v, won by %s", o, winner)
		}
	}
}

// As many questions as a message can ask are told of once each, also when it is
// posted again.
func TestAntManyAsksAreToldOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	c := s.socket()
	c.join(room)
	var asks []string
	for n := range 32 {
		asks = append(asks, fmt.Sprintf("Question %d?", n))
	}
	body := object{"content": "many", "sender_id": "@ann", "asks": asks, "client_id": "once"}
	first := s.post("/api/sessions/"+room+"/messages", body).created()
	again := s.post("/api/sessions/"+room+"/messages", body).created()
	if len(first["asks"].([]any)) != 32 || !reflect.DeepEqual(first["asks"], again["asks"]) || again["replayed"] != true {
		t.Errorf("again: %v", again)
	}
	told := only(c.heard(s, room), "ask_created")
	if len(told) != 32 {
		t.Fatalf("%d of 32 are told", len(told))
	}
	for n, e := range told {
		if str(e, "ask", "body") != asks[n] {
			t.Errorf("%d: %v", n, e)
		}
	}
	s.post("/api/sessions/"+room+"/messages", object{"content": "x", "asks": append(asks, "one more")}).refused(http.StatusBadRequest, "")
}

// A guest asks and answers in its room, under its own name.
func TestAntGuestAsks(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	id := str(s.post("/api/sessions/"+room+"/asks", object{"body": "Which?"}).created(), "ask", "id")
	foreign := str(s.post("/api/sessions/"+other+"/asks", object{"body": "Secret?"}).created(), "ask", "id")
	inv := str(s.invite(room, object{"kinds": []string{"cli", "web"}, "max_uses": 2}), "id")
	guest, web := *s, *s
	guest.opts.key = str(s.exchange(inv, room, object{"kind": "cli", "handle": "ann"}), "token")
	web.opts.key = str(s.exchange(inv, room, object{"kind": "web", "handle": "eve"}), "token")
	path := "/api/sessions/" + room + "/asks"
	if o := guest.post(path, object{"body": "Who?", "created_by": "@boss"}).created(); str(o, "ask", "created_by") != "@ann" {
		t.Errorf("asked: %v", o)
	}
	if o := guest.patch(path+"/"+id, object{"answer": "x", "answered_by": "@boss"}).ok(); str(o, "ask", "answered_by") != "@ann" {
		t.Errorf("answered: %v", o)
	}
	if got := web.get(path).bodies(); got != "Who?|Which?" {
		t.Error(got)
	}
	web.patch(path+"/"+id, object{"status": "open"}).refused(http.StatusForbidden, readOnly)
	guest.get("/api/asks").refused(http.StatusForbidden, adminOnly)
	guest.get("/api/asks/"+id).refused(http.StatusForbidden, wrongRoom)
	guest.patch("/api/asks/"+foreign, object{"answer": "x"}).refused(http.StatusForbidden, wrongRoom)
	guest.patch(path+"/"+foreign, object{"answer": "x"}).refused(http.StatusNotFound, "ask not found")
	guest.get("/api/sessions/"+other+"/asks/"+foreign).refused(http.StatusForbidden, wrongRoom)
}
