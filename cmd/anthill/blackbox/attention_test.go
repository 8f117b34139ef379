package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	antv1 "anthill/gen/ant/v1"
)

// All that waits for a person is one list, the oldest first: prompts of agents and
// questions of rooms.
func TestAttentionIsOneList(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	ask := func(text string) string {
		return str(s.post("/api/sessions/"+room+"/asks", object{"body": text, "created_by": "@ann"}).created(), "ask", "id")
	}
	first := ask("Which ferry?")
	c := s.play(playedCLIs[0])
	prompt := c.asked("run make install")
	last := ask("Which tent?")
	want := []string{first, str(prompt, "id"), last}
	ids := func(query string) (list []string) {
		for _, item := range s.get("/api/attention" + query).ok()["items"].([]any) {
			list = append(list, str(item.(object), "id"))
		}
		return list
	}
	if got := ids(""); !slices.Equal(got, want) {
		t.Errorf("the list is %q, want %q", got, want)
	}
	for query, want := range map[string][]string{"?session_id=" + room: {first, last}, "?session_id=" + c.id: {want[1]}, "?session_id=" + c.chat: {want[1]}, "?session_id=unknown": nil} {
		if got := ids(query); !slices.Equal(got, want) {
			t.Errorf("%s: the list is %q, want %q", query, got, want)
		}
	}
	var paged []string
	for next := "?limit=1"; next != ""; {
		o := s.get("/api/attention" + next).ok()
		for _, item := range o["items"].([]any) {
			paged = append(paged, str(item.(object), "id"))
		}
		if next = str(o, "next"); next != "" {
			next = "?limit=1&cursor=" + next
		}
	}
	if !slices.Equal(paged, want) {
		t.Errorf("page by page the list is %q, want %q", paged, want)
	}
	for _, query := range []string{"?limit=0", "?limit=-1", "?limit=1001", "?limit=x", "?cursor=x", "?cursor=1", "?cursor=-1.-1", "?cursor=1.1%20"} {
		s.get("/api/attention" + query).unacceptable(query)
	}
	path := "/api/attention/" + first + "/answer"
	s.post(path, object{}).unacceptable("no text")
	o := s.post(path, object{"text": "the early one", "answered_by": "@bob"}).ok()
	if o["kind"] != "ask" || o["status"] != "answered" || o["answered_by"] != "@bob" || o["answer"] != "the early one" {
		t.Errorf("answered: %v", o)
	}
	if a := s.post(path, object{"text": "the late one", "answered_by": "@eve"}).refused(http.StatusConflict, ""); a["answered_by"] != "@bob" || a["answered_at"] == nil {
		t.Errorf("answered again: %v", a)
	}
	if got := str(s.get("/api/asks/"+first).ok(), "ask", "answer"); got != "the early one" {
		t.Errorf("the question's answer is %q", got)
	}
	if got := ids(""); !slices.Equal(got, want[1:]) {
		t.Errorf("the list is %q, want %q", got, want[1:])
	}
}

// Questions of rooms are told of like prompts: when they wait, and when they do no more.
func TestAttentionOfQuestionsIsTold(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	e := s.listen()
	expect := func(id, status string, answer any) {
		t.Helper()
		item := e.hear(room, "attention_updated", attention)["item"].(object)
		if item["id"] != id || item["kind"] != "ask" || item["status"] != status || item["answer"] != answer {
			t.Errorf("told is %v, want %s %s", item, id, status)
		}
		if got := s.get("/api/attention/" + id).ok(); fmt.Sprint(got) != fmt.Sprint(item) {
			t.Errorf("told is %v, it is %v", item, got)
		}
	}
	id := str(s.post("/api/sessions/"+room+"/asks", object{"body": "Which ferry?", "created_by": "@ann"}).created(), "ask", "id")
	expect(id, "pending", nil)
	s.post("/api/attention/"+id+"/answer", object{"text": "the early one", "answered_by": "@bob"}).ok()
	expect(id, "answered", "the early one")
	s.post("/api/sessions/"+room+"/messages", object{"content": "Who brings the tent?", "sender_id": "@ann"}).created()
	item := s.get("/api/attention?session_id=" + room).ok()["items"].([]any)[0].(object)
	expect(str(item, "id"), "pending", nil)
}

// The list is for admins; a guest with the scope terminal answers the prompt of its
// own terminal, and no other.
func TestAttentionOfGuests(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.play(playedCLIs[0])
	item := c.asked("run make install")
	shows := func(room string, scopes ...string) http.Header {
		token := str(s.exchange(str(s.invite(room, object{"scopes": scopes}), "id"), room, object{}), "token")
		return headers("Authorization", "Bearer "+token)
	}
	other := shows(s.chatRoom("elsewhere"), "read", "write", "terminal")
	reads, types := shows(c.id, "read", "write"), shows(c.id, "read", "write", "terminal")
	respond, input := "/api/sessions/"+c.id+"/prompt-bridge/respond", "/api/sessions/"+c.id+"/terminal/input"
	for name, h := range map[string]http.Header{"of another room": other, "who reads": reads, "who types": types} {
		s.do(http.MethodGet, "/api/attention", nil, h).refused(http.StatusForbidden, adminOnly)
		s.do(http.MethodPost, "/api/attention/"+str(item, "id")+"/answer", object{"choice": "approve"}, h).refused(http.StatusForbidden, adminOnly)
		s.do(http.MethodPut, bridgePath, object{"enabled": true}, h).refused(http.StatusForbidden, adminOnly)
		if code := s.do(http.MethodGet, "/api/sessions/"+c.id+"/status", nil, h).status; (code == http.StatusOK) == (name == "of another room") {
			t.Errorf("the status to a guest %s: %d", name, code)
		}
	}
	for _, path := range []string{respond, input} {
		body := object{"text": "1", "data": "1"}
		s.do(http.MethodPost, path, body, other).refused(http.StatusForbidden, wrongRoom)
		s.do(http.MethodPost, path, body, reads).refused(http.StatusForbidden, noTyping)
	}
	content := `{"type":"approve","event_id":"` + str(item, "event_id") + `"}`
	for _, h := range []http.Header{reads, other} {
		room := c.id
		if slices.Equal(h["Authorization"], other["Authorization"]) {
			room = "@elsewhere"
		}
		s.do(http.MethodPost, "/api/sessions/"+room+"/messages", object{"msg_type": "agent_response", "content": content}, h).unacceptable("an answer as a message")
	}
	_, err := antv1.NewAttentionServiceClient(s.dial()).AnswerAttention(
		metadata.AppendToOutgoingContext(s.call(), "authorization", types.Get("Authorization")), &antv1.AnswerAttentionRequest{Id: str(item, "id"), Choice: "approve"})
	wantCode(t, "by gRPC", err, codes.PermissionDenied)
	s.do(http.MethodPost, respond, object{"text": "1"}, types).ok()
	if d, keys := c.decided(1); d.Index != 0 || !slices.Equal(keys, []string{"enter"}) {
		t.Errorf("the agent took %v after the keys %q", d, keys)
	}
	c.settled()
	c.quiet()
}
