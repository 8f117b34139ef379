package blackbox

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

func antDigestRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	room := e.s.chatRoom("digest of both")
	e.s.speak(room, "The ferry leaves")
	d, err := antv1.NewDigestServiceClient(conn).GetDigest(e.s.call(), &antv1.GetDigestRequest{SessionId: room})
	same(e, e.call("GET /api/sessions/{session_id}/digest", nil, room), d, err)
}

// Done when: the digest is as the contract says.
func TestAntDigest(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	empty := object{"messageCount": 0.0, "participantCount": 0.0, "durationMinutes": 0.0, "messagesPerHour": 0.0, "participants": []any{}, "keyTerms": []any{},
		"firstMessage": nil, "lastMessage": nil, "truncated": false}
	if o := s.get(room + "/digest").ok(); has(o, empty) != nil || o["firstMessage"] != nil || o["lastMessage"] != nil {
		t.Errorf("of an empty room: %v", o)
	}
	s.postAs(room, "@ann", "We take the ferry, the early ferry.")
	s.postAs(room, "@bob", "The FERRY is late! Überfahrt, überfahrt.")
	s.postAs(room, "@ann", "渡轮 at https://ferry.example/ferry @ferry")
	s.post(room+"/messages", object{"content": "unsigned ferry", "role": "assistant"}).created()
	o := s.get(room + "/digest").ok()
	terms := []any{}
	for _, term := range []struct {
		word string
		n    float64
	}{{"ferry", 4}, {"überfahrt", 2}, {"early", 1}, {"late", 1}, {"unsigned", 1}, {"渡轮", 1}} {
		terms = append(terms, object{"term": term.word, "count": term.n})
	}
	people := []any{object{"id": "@ann", "count": 2.0}, object{"id": "@bob", "count": 1.0}, object{"id": "assistant", "count": 1.0}}
	if err := has(o, object{"messageCount": 4.0, "participantCount": 3.0, "durationMinutes": 0.0, "messagesPerHour": 4.0, "participants": people, "keyTerms": terms,
		"firstMessage": nil, "lastMessage": nil, "truncated": false}); err != nil || !rowTime.MatchString(str(o, "firstMessage")) || !rowTime.MatchString(str(o, "lastMessage")) {
		t.Errorf("%v: %v", err, o)
	}
	s.get("/api/sessions/unknown/digest").refused(http.StatusNotFound, "Session not found")
	_, err := antv1.NewDigestServiceClient(s.dial()).GetDigest(s.call(), &antv1.GetDigestRequest{SessionId: "unknown"})
	wantCode(t, "unknown room", err, codes.NotFound)

	// More text than is looked at: it is said.
	for range 34 {
		s.postAs(room, "@eve", strings.Repeat("tent ", 13_000))
	}
	o = s.get(room + "/digest").ok()
	if o["truncated"] != true || o["messageCount"] != 33.0 || o["participantCount"] != 1.0 || str(o["keyTerms"].([]any)[0].(object), "term") != "tent" {
		t.Errorf("of a long room: %v", o)
	}
}
