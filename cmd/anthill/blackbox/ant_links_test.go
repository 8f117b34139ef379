package blackbox

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

func antLinkRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewLinksServiceClient(conn)
	room, other := e.s.chatRoom("links of both"), e.s.chatRoom("linked by both")
	const path = "/api/sessions/{session_id}/links"
	made, err := c.CreateLink(e.s.call(), &antv1.CreateLinkRequest{SessionId: room})
	alike(e, e.call("POST "+path, object{"title": "spawned"}, room), made, err)
	linked, err := c.CreateLink(e.s.call(), &antv1.CreateLinkRequest{SessionId: room, TargetRoomId: other})
	a := e.call("POST "+path, object{"targetRoomId": other, "relationship": "follows_up"}, room)
	alike(e, a, linked, err)
	list, err := c.ListLinks(e.s.call(), &antv1.ListLinksRequest{SessionId: room})
	same(e, e.call("GET "+path, nil, room), list, err)
	gone, err := c.DeleteLink(e.s.call(), &antv1.DeleteLinkRequest{SessionId: room, LinkId: linked.GetId()})
	same(e, e.call("DELETE "+path, nil, room, "?linkId="+str(a.ok(), "id")), gone, err)
}

// links are those of a room, in short.
func (s *server) links(room string) string {
	s.t.Helper()
	o := s.get("/api/sessions/" + room + "/links").ok()
	var list []string
	for _, l := range o["outgoing"].([]any) {
		list = append(list, "to "+str(l.(object), "target_name")+" "+str(l.(object), "relationship"))
	}
	for _, l := range o["incoming"].([]any) {
		list = append(list, "from "+str(l.(object), "source_name")+" "+str(l.(object), "relationship"))
	}
	return strings.Join(list, ", ")
}

// Done when: the four relationships, between rooms that there are.
func TestAntLinks(t *testing.T) {
	t.Parallel()
	s := start(t)
	plan, talk := s.chatRoom("plan"), s.chatRoom("talk")
	terminal := str(s.newSession("codex", "terminal"), "id")
	path := "/api/sessions/" + plan + "/links"
	c, far := s.socket(), s.socket()
	c.join(plan)
	far.join(talk)

	o := s.post(path, object{"targetRoomId": talk, "title": "Talks", "createdBy": "@ann", "inheritContext": false, "settings": object{"a": 1}}).ok()
	id := str(o, "id")
	if err := has(o, object{"id": nil, "sourceRoomId": plan, "targetRoomId": talk, "relationship": "discussion_of", "discussionName": nil, "membersCopied": nil}); err != nil || o["discussionName"] != nil {
		t.Errorf("linked: %v, %v", o, err)
	}
	for _, relationship := range []string{"promoted_summary_for", "spawned_from", "follows_up"} {
		s.post(path, object{"targetRoomId": talk, "relationship": relationship}).ok()
	}
	row := s.get(path).ok()["outgoing"].([]any)[0].(object)
	if err := has(row, object{"id": id, "source_room_id": plan, "target_room_id": talk, "relationship": "discussion_of", "title": "Talks", "created_by": "@ann",
		"created_at": nil, "settings": `{"a":1,"inheritContext":false}`, "target_name": "talk", "target_type": "chat"}); err != nil || !rowTime.MatchString(str(row, "created_at")) {
		t.Errorf("row: %v, %v", row, err)
	}
	row = s.get("/api/sessions/" + talk + "/links").ok()["incoming"].([]any)[1].(object)
	if err := has(row, object{"id": nil, "source_room_id": plan, "target_room_id": talk, "relationship": "promoted_summary_for", "title": nil, "created_by": nil,
		"created_at": nil, "settings": `{"inheritContext":true}`, "source_name": "plan", "source_type": "chat"}); err != nil {
		t.Errorf("row: %v, %v", row, err)
	}

	for _, bad := range []struct {
		path string
		body any
		code int
		why  string
	}{
		{path, object{"targetRoomId": talk}, http.StatusConflict, "Room link already exists"},
		{path, object{"targetRoomId": plan}, http.StatusBadRequest, ""},
		{path, object{"targetRoomId": terminal}, http.StatusBadRequest, ""},
		{"/api/sessions/" + terminal + "/links", object{"targetRoomId": talk}, http.StatusBadRequest, ""},
		{"/api/sessions/" + terminal + "/links", object{}, http.StatusBadRequest, ""},
		{path, object{"targetRoomId": talk, "relationship": "enemy_of"}, http.StatusBadRequest, ""},
		{path, object{"targetRoomId": "unknown"}, http.StatusNotFound, "Target room not found"},
		{"/api/sessions/unknown/links", object{"targetRoomId": talk}, http.StatusNotFound, "Source room not found"},
		{path, object{"title": strings.Repeat("x", 201)}, http.StatusBadRequest, ""},
		{path, object{"title": "two\nlines"}, http.StatusBadRequest, ""},
		{path, object{"settings": "no object"}, http.StatusBadRequest, ""},
		{path, object{"settings": object{"x": strings.Repeat("x", 2<<10)}}, http.StatusBadRequest, ""},
		{path, object{"createdBy": strings.Repeat("x", 257)}, http.StatusBadRequest, ""},
	} {
		s.post(bad.path, bad.body).refused(bad.code, bad.why)
	}
	s.delete(path).refused(http.StatusBadRequest, "linkId required")
	s.delete(path+"?linkId=unknown").refused(http.StatusNotFound, "")
	s.delete("/api/sessions/"+talk+"/links?linkId="+id).refused(http.StatusNotFound, "") // from the target
	s.get("/api/sessions/unknown/links").refused(http.StatusNotFound, "Session not found")
	_, err := antv1.NewLinksServiceClient(s.dial()).CreateLink(s.call(), &antv1.CreateLinkRequest{SessionId: plan, TargetRoomId: talk})
	wantCode(t, "a link that there is", err, codes.AlreadyExists)

	if o := s.delete(path + "?linkId=" + id).ok(); has(o, object{"ok": true}) != nil {
		t.Errorf("removed: %v", o)
	}
	want := func() {
		t.Helper()
		if got := s.links(plan); got != "to talk promoted_summary_for, to talk spawned_from, to talk follows_up" {
			t.Error(got)
		}
		if got := s.links(talk); got != "from plan promoted_summary_for, from plan spawned_from, from plan follows_up" {
			t.Error(got)
		}
	}
	want()
	events := only(c.heard(s, plan), "room_link_created", "room_link_deleted")
	if len(events) != 5 {
		t.Fatalf("%d events of five changes: %v", len(events), events)
	}
	if err := has(events[0], object{"type": "room_link_created", "room": plan, "roomId": plan, "seq": nil, "epoch": nil, "linkId": id, "targetRoomId": talk,
		"relationship": "discussion_of", "title": "Talks"}); err != nil {
		t.Error(err)
	}
	if err := has(events[4], object{"type": "room_link_deleted", "room": plan, "roomId": plan, "seq": nil, "epoch": nil, "linkId": id}); err != nil {
		t.Error(err)
	}
	if told := only(far.heard(s, talk), "room_link_created", "room_link_deleted"); len(told) != 0 {
		t.Errorf("the target is told: %v", told)
	}
	s.stop()
	s.restart()
	want()

	// A room that is deleted for good takes its links along, and the other is told.
	c = s.socket()
	c.join(plan)
	s.discard("/api/sessions/" + talk + "?hard=true")
	for range 3 {
		c.until("room_link_deleted")
	}
	if got := s.links(plan); got != "" {
		t.Errorf("links to a room that is no more: %s", got)
	}
	s.patch("/api/sessions/"+plan, object{"archived": true}).ok()
	s.post(path, object{}).refused(http.StatusConflict, "")
}

// Done when: a link makes a room, with everything that belongs to it.
func TestAntSpawnedRooms(t *testing.T) {
	t.Parallel()
	s := start(t)
	plan := s.chatRoom("plan")
	path := "/api/sessions/" + plan
	for _, name := range []string{"codex", "gemini", "left"} {
		s.newSession(name, "terminal")
		s.post(path+"/participants", object{"handle": "@" + name, "alias": "the-" + name}).created()
	}
	s.delete(path + "/participants?handle=@left").ok()
	c := s.socket()
	c.say(object{"type": "join_session", "sessionId": "__ant_sessions__"})
	c.join(plan)
	o := s.post(path+"/links", object{"relationship": "spawned_from"}).created()
	room := str(o, "targetRoomId")
	if err := has(o, object{"id": nil, "sourceRoomId": plan, "targetRoomId": nil, "relationship": "spawned_from", "discussionName": "Discussion: plan", "membersCopied": 2.0}); err != nil {
		t.Errorf("made: %v, %v", o, err)
	}
	row := s.get("/api/sessions/" + room).ok()
	if str(row, "name") != "Discussion: plan" || str(row, "ttl") != "forever" || row["handle"] != nil || str(row, "type") != "chat" || str(row, "meta") != `{"parent_room":"`+plan+`"}` {
		t.Errorf("row: %v", row)
	}
	who := s.get("/api/sessions/" + room + "/participants").ok()
	if got := people(who, "participants"); strings.Join(got, " ") != "codex gemini" || str(who["participants"].([]any)[0].(object), "alias") == "" {
		t.Errorf("members: %v", who)
	}
	events := only(c.heard(s, plan), "room_link_created", "sessions_changed")
	if len(events) != 2 || str(only(events, "room_link_created")[0], "targetRoomId") != room {
		t.Errorf("events: %v", events)
	}
	// Names never stand in the way; members are left out if they are not wanted.
	if o := s.post(path+"/links", object{"copyMembers": false}).created(); str(o, "discussionName") != "Discussion: plan (2)" || o["membersCopied"] != 0.0 {
		t.Errorf("made: %v", o)
	}
	if o := s.post(path+"/links", object{"title": "plan"}).created(); str(o, "discussionName") != "plan (2)" {
		t.Errorf("made: %v", o)
	}
	s.discard(path + "?hard=true")
	if got := s.links(room); got != "" {
		t.Errorf("links from a room that is no more: %s", got)
	}
}

// Of many who make the same link at once, one does.
func TestAntLinksAreUniqueAmongWhoRaces(t *testing.T) {
	t.Parallel()
	s := start(t)
	plan, talk := s.chatRoom("plan"), s.chatRoom("talk")
	var wg sync.WaitGroup
	codes := make(chan int, 16)
	for range 16 {
		wg.Go(func() {
			a, err := s.try(http.MethodPost, "/api/sessions/"+plan+"/links", object{"targetRoomId": talk})
			if err != nil {
				t.Error(err)
			}
			codes <- a.status
		})
	}
	wg.Wait()
	close(codes)
	by := map[int]int{}
	for code := range codes {
		by[code]++
	}
	if by[http.StatusOK] != 1 || by[http.StatusConflict] != 15 || s.links(plan) != "to talk discussion_of" {
		t.Errorf("%v, %s", by, s.links(plan))
	}
}

// Killed at any moment, there is a room with its link and all of its members, or
// none of it.
func TestAntKillInSpawning(t *testing.T) {
	t.Parallel()
	s := start(t)
	plan := s.chatRoom("plan")
	path := "/api/sessions/" + plan
	const members = 40
	for n := range members {
		name := fmt.Sprintf("agent %d", n)
		s.post(path+"/participants", object{"session_id": str(s.newSession(name, "agent"), "id"), "role": "external"}).created()
	}
	rounds := 3
	if soak {
		rounds = 12 // a room has 200 links
	}
	for range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		made := make(chan struct{}, 10_000)
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					a, err := s.try(http.MethodPost, path+"/links", object{})
					if err != nil || a.status != http.StatusCreated {
						return // killed, or there are as many as fit
					}
					made <- struct{}{}
				}
			})
		}
		for range 5 {
			select {
			case <-made:
			case <-time.After(patience):
				t.Fatal("no progress")
			}
		}
		s.kill()
		cancel()
		wg.Wait()
		s.restart()
	}
	linked := map[string]bool{}
	for _, l := range s.get(path + "/links").ok()["outgoing"].([]any) {
		linked[str(l.(object), "target_room_id")] = true
	}
	spawned := 0
	for _, row := range s.get("/api/sessions").ok()["sessions"].([]any) {
		row := row.(object)
		if !strings.Contains(str(row, "meta"), "parent_room") {
			continue
		}
		spawned++
		if !linked[str(row, "id")] {
			t.Errorf("%s was made without a link", str(row, "name"))
		}
		// Those that did not fit into the transaction are copied by the next start.
		deadline := time.Now().Add(patience)
		for n := 0; n != members; {
			n = len(s.get("/api/sessions/" + str(row, "id") + "/participants").ok()["all"].([]any))
			if time.Now().After(deadline) {
				t.Fatalf("%s has %d members", str(row, "name"), n)
			}
		}
	}
	if spawned == 0 || spawned != len(linked) {
		t.Errorf("%d rooms, %d links", spawned, len(linked))
	}
}
