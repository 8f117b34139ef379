package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	antv1 "anthill/gen/ant/v1"
)

func antMessageRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewMessagesServiceClient(conn)
	id := str(e.s.newSession("messages of both", "chat"), "id")
	const messages, one = "/api/sessions/{session_id}/messages", "/api/sessions/{session_id}/messages/{msgId}"
	posted, err := c.PostMessage(e.s.call(), &antv1.PostMessageRequest{SessionId: id, Content: new("by grpc"), SenderId: "@a", Meta: `{"a":1}`})
	a := e.call("POST "+messages, object{"content": "by rest", "sender_id": "@b", "meta": object{"a": 1}}, id)
	alike(e, a, posted, err)
	other := str(a.created(), "id")
	up, err := c.UpdateMessage(e.s.call(), &antv1.UpdateMessageRequest{SessionId: id, MsgId: posted.GetId(), Meta: new(`{"b":[2]}`)})
	row := e.call("PATCH "+messages, object{"meta": object{"b": []int{2}}}, id, "?msgId="+other).ok()
	if meta, err2 := json.Marshal(row["meta"]); err != nil || err2 != nil || string(meta) != up.GetMeta() || str(row, "msgId") != other {
		e.t.Errorf("REST %v, gRPC %v, %v", row, up, err)
	}
	pin, err := c.PinMessage(e.s.call(), &antv1.PinMessageRequest{SessionId: id, MsgId: posted.GetId(), Pinned: new(true)})
	alike(e, e.call("PATCH "+one+"/pin", object{"pinned": true}, id, other), pin, err)
	list, err := c.ListMessages(e.s.call(), &antv1.ListMessagesRequest{SessionId: id, Limit: new(int32(1))})
	same(e, e.call("GET "+messages, nil, id, "?limit=1"), list, err)
	d, err := c.ListDeliveries(e.s.call(), &antv1.ListDeliveriesRequest{SessionId: id, MsgId: other})
	same(e, e.call("GET "+one+"/deliveries", nil, id, other), d, err)
	set, err := c.UpdateRoomSettings(e.s.call(), &antv1.UpdateRoomSettingsRequest{SessionId: id, MaxHops: new(int32(5))})
	same(e, e.call("PATCH /api/sessions/{session_id}/settings", object{"max_hops": 5}, id), set, err)
	set, err = c.GetRoomSettings(e.s.call(), &antv1.GetRoomSettingsRequest{SessionId: id})
	same(e, e.call("GET /api/sessions/{session_id}/settings", nil, id), set, err)
	del, err := c.DeleteMessage(e.s.call(), &antv1.DeleteMessageRequest{SessionId: id, MsgId: posted.GetId()})
	same(e, e.call("DELETE "+messages, nil, id, "?msgId="+other), del, err)
}

// chat makes a chat and returns its path.
func (s *server) chat(name string) string {
	s.t.Helper()
	return "/api/sessions/" + str(s.newSession(name, "chat"), "id")
}

// postAs posts a text and returns the answer's row.
func (s *server) postAs(room, sender, text string) object {
	s.t.Helper()
	return s.post(room+"/messages", object{"content": text, "sender_id": sender}).created()
}

// discard deletes a session.
func (s *server) discard(path string) {
	s.t.Helper()
	if a := s.delete(path); a.status != http.StatusNoContent {
		s.t.Errorf("%v", a)
	}
}

// texts are the contents of a page, and its rows.
func (a answer) texts() (texts []string, rows []object) {
	a.t.Helper()
	for _, row := range a.ok()["messages"].([]any) {
		rows = append(rows, row.(object))
		texts = append(texts, str(row.(object), "content"))
	}
	return texts, rows
}

var messageKeys = strings.Fields("id session_id role content format status sender_id target reply_to msg_type meta created_at pinned " +
	"broadcast_state broadcast_attempts seq")

// Done when: rows and answers have the contract's shapes, and more.
func TestAntMessageRow(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	id := strings.TrimPrefix(room, "/api/sessions/")
	if texts, _ := s.get(room + "/messages").texts(); len(texts) != 0 {
		t.Errorf("a new room says %q", texts)
	}
	first := s.post(room+"/messages", object{"role": "user", "content": "@codex run the tests", "format": "text", "sender_id": "@james",
		"meta": object{"n": json.Number("12345678901234567890"), "nested": object{"x": nil}}, "asks": []string{"why?"}, "target": nil}).created()
	if !rowID.MatchString(str(first, "id")) || !rowTime.MatchString(str(first, "created_at")) || first["firstPost"] != true ||
		!strings.HasPrefix(str(first, "hint"), "tip: ") || first["broadcast_state"] != "pending" || str(first, "ask", "body") != "why?" || len(first["asks"].([]any)) != 1 {
		t.Errorf("answer: %v", first)
	}
	for _, k := range messageKeys {
		if _, ok := first[k]; !ok && k != "broadcast_attempts" {
			t.Errorf("the answer lacks %s", k)
		}
	}
	const meta = `{"asks":["why?"],"asks_resolved":[],"inferred_asks":[],"n":12345678901234567890,"nested":{"x":null}}`
	if str(first, "meta") != meta {
		t.Errorf("meta %s, want %s", first["meta"], meta)
	}
	second := s.post(room+"/messages", object{"content": "ask @codex", "sender_id": "@james", "reply_to": first["id"], "meta": `{"as":"text"}`}).created()
	if second["firstPost"] != false || second["hint"] != nil || str(second, "content") != "ask @codex " || second["reply_to"] != first["id"] {
		t.Errorf("answer: %v", second)
	}
	_, rows := s.get(room + "/messages").texts()
	if len(rows) != 2 || len(rows[0]) != len(messageKeys) {
		t.Fatalf("rows: %v", rows)
	}
	for k, want := range map[string]any{"session_id": id, "role": "user", "content": "@codex run the tests", "format": "text", "status": "complete",
		"sender_id": "@james", "target": nil, "reply_to": nil, "msg_type": "message", "meta": meta, "pinned": 0.0, "broadcast_state": "done", "seq": 1.0} {
		if rows[0][k] != want {
			t.Errorf("%s is %v, want %v", k, rows[0][k], want)
		}
	}

	// A meta is merged, shallowly; an object is answered.
	msg := room + "/messages?msgId=" + str(first, "id")
	merged := s.patch(msg, `{"meta":{"nested":1,"bookmark":true}}`)
	if want := `{"meta":{"asks":["why?"],"asks_resolved":[],"bookmark":true,"inferred_asks":[],"n":12345678901234567890,"nested":1},"msgId":"` + str(first, "id") + `"}`; string(merged.body) != want {
		t.Errorf("%v, want %s", merged, want)
	}
	if o := s.patch(room+"/messages/"+str(first, "id")+"/pin", object{"pinned": true}).ok(); len(o) != 2 || o["pinned"] != true || o["msgId"] != first["id"] {
		t.Errorf("pinned: %v", o)
	}
	_, rows = s.get(room + "/messages").texts()
	if rows[0]["pinned"] != 1.0 || !strings.Contains(str(rows[0], "meta"), `"bookmark":true`) {
		t.Errorf("row: %v", rows[0])
	}

	// Deletion is bound to the room.
	other := s.chat("other")
	for path, want := range map[string]bool{other + "/messages?msgId=" + str(first, "id"): false, msg: true} {
		if path == msg {
			continue
		}
		if o := s.delete(path).ok(); o["ok"] != true || o["deleted"] != want {
			t.Errorf("%s: %v", path, o)
		}
	}
	if o := s.delete(msg).ok(); o["deleted"] != true {
		t.Errorf("%v", o)
	}
	if o := s.delete(msg).ok(); o["deleted"] != false {
		t.Errorf("again: %v", o)
	}
	if texts, _ := s.get(room + "/messages").texts(); fmt.Sprint(texts) != "[ask @codex ]" {
		t.Errorf("left: %q", texts)
	}
}

// Done when: bad input is a 4xx with the contract's words, and changes nothing.
func TestAntMessagesBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chat("plan"), s.chat("other")
	id := str(s.postAs(room, "@a", "one"), "id")
	foreign := str(s.postAs(other, "@a", "two"), "id")
	state := func() string { return string(s.get(room+"/messages").body) + string(s.get(room+"/settings").body) }
	before := state()
	big := strings.Repeat("x", 1<<20)
	for _, tc := range []struct {
		method, path string
		body         any
		status       int
		words        string
	}{
		{"POST", "/messages", object{}, 400, "content is required"},
		{"POST", "/messages", "", 400, "content is required"},
		{"POST", "/messages", object{"content": nil}, 400, ""},
		{"POST", "/messages", object{"content": 5}, 400, "content: Input should be a valid string"},
		{"POST", "/messages", object{"content": "x", "asks": "y"}, 400, ""},
		{"POST", "/messages", object{"content": "x", "meta": 5}, 400, "meta must be a JSON object"},
		{"POST", "/messages", object{"content": "x", "meta": []int{}}, 400, "meta must be a JSON object"},
		{"POST", "/messages", object{"content": "x", "meta": "{"}, 400, "meta must be a JSON object"},
		{"POST", "/messages", `{"content":"x","meta":{},"meta":{}}`, 400, ""},
		{"POST", "/messages", `{"content":"x","meta":{"a":"\ud800"}}`, 400, ""},
		{"POST", "/messages", `{"content":"x","meta":{"a":"\u0000"}}`, 400, ""},
		{"POST", "/messages", `{"content":"x","meta":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, 400, ""},
		{"POST", "/messages", object{"content": big + "x"}, 400, "content is too long: 1 MiB at most"},
		{"POST", "/messages", object{"content": "x", "reply_to": foreign}, 400, "reply_to must reference a message in this session"},
		{"POST", "/messages", object{"content": "x", "meta": object{"urgent": true}}, 400, "urgent/focus bypass requires a reason"},
		{"POST", "/messages", object{"content": "{}", "msg_type": "agent_response"}, 400, "agent_response requires an event_id or terminal_session_id/event_content"},
		{"POST", "/messages", object{"content": `{"event_id":"x"}`, "msg_type": "agent_response"}, 404, "agent_response target terminal not found"},
		{"POST", "/messages?dry_run=maybe", object{"content": "x"}, 400, "dry_run: is true or false"},
		{"GET", "/messages?limit=0", nil, 400, "limit is a number of 1 or more"},
		{"GET", "/messages?limit=-1", nil, 400, ""},
		{"GET", "/messages?limit=x", nil, 400, "limit: could not be read as the type of this parameter"},
		{"GET", "/messages?limit=1e3", nil, 400, ""},
		{"GET", "/messages?since=yesterday", nil, 400, ""},
		{"GET", "/messages?before=" + foreign, nil, 400, ""},
		{"GET", "/messages?cursor=x", nil, 400, "cursor is none of this room"},
		{"PATCH", "/messages", object{"meta": object{}}, 400, "msgId required"},
		{"PATCH", "/messages?msgId=" + id, object{}, 400, "meta required"},
		{"PATCH", "/messages?msgId=" + id, object{"meta": "x"}, 400, ""},
		{"PATCH", "/messages?msgId=" + foreign, object{"meta": object{"a": 1}}, 404, "message not found"},
		{"PATCH", "/messages?msgId=x", object{"meta": object{"a": 1}}, 404, "message not found"},
		{"DELETE", "/messages", nil, 400, "msgId required"},
		{"PATCH", "/messages/" + id + "/pin", object{}, 400, "pinned (boolean) required"},
		{"PATCH", "/messages/" + id + "/pin", object{"pinned": 1}, 400, "pinned: Input should be a valid boolean"},
		{"PATCH", "/messages/" + foreign + "/pin", object{"pinned": true}, 404, "message not found"},
		{"GET", "/messages/" + foreign + "/deliveries", nil, 404, "message not found"},
		{"PATCH", "/settings", object{}, 400, ""},
		{"PATCH", "/settings", object{"max_hops": -1}, 400, "max_hops is from 0 to 1000"},
		{"PATCH", "/settings", object{"max_hops": "many"}, 400, ""},
	} {
		s.do(tc.method, room+tc.path, tc.body).refused(tc.status, tc.words)
	}
	s.do("POST", room+"/messages", object{"content": "x"}, headers("Idempotency-Key", strings.Repeat("k", 256))).refused(400, "")
	for _, path := range []string{"/messages", "/messages/x/deliveries", "/settings"} {
		s.get("/api/sessions/nothing"+path).refused(404, "Session not found")
	}
	if after := state(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}

	// A room that takes no changes says so, and can be read.
	s.patch(room, object{"archived": true}).ok()
	s.post(room+"/messages", object{"content": "x"}).refused(409, "The session is archived: restore it to write to it.")
	s.discard(room)
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/messages", `{"content":"x"}`}, {"PATCH", "/messages?msgId=" + id, `{"meta":{"a":1}}`}, {"DELETE", "/messages?msgId=" + id, ""},
		{"PATCH", "/messages/" + id + "/pin", `{"pinned":true}`}, {"PATCH", "/settings", `{"max_hops":1}`},
	} {
		s.do(tc.method, room+tc.path, tc.body).refused(409, "The session is deleted: restore it to write to it.")
	}
	if texts, _ := s.get(room + "/messages").texts(); fmt.Sprint(texts) != "[one]" {
		t.Errorf("a deleted room says %q", texts)
	}
	// One that is deleted for good is not there, at once.
	s.discard(other + "?hard=true")
	s.get(other+"/messages").refused(404, "Session not found")
	s.post(other+"/messages", object{"content": "x"}).refused(404, "Session not found")

	c := antv1.NewMessagesServiceClient(s.dial())
	_, err := c.PostMessage(s.call(), &antv1.PostMessageRequest{SessionId: "nothing", Content: new("x")})
	wantCode(t, "an unknown room", err, codes.NotFound)
	_, err = c.PostMessage(s.call(), &antv1.PostMessageRequest{Content: new("x")})
	wantCode(t, "no room", err, codes.InvalidArgument)
	_, err = c.ListMessages(s.call(), &antv1.ListMessagesRequest{SessionId: id, Limit: new(int32(-5))})
	wantCode(t, "a bad limit", err, codes.NotFound, codes.InvalidArgument)
}

// Done when: 500 messages that are posted at once are paged through without loss
// or repetition, by every kind of cursor.
func TestAntPagesAreExactWithinASecond(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("busy")
	const n = 500
	var wg sync.WaitGroup
	work := make(chan int, n)
	for i := range n {
		work <- i
	}
	close(work)
	for range 32 {
		wg.Go(func() {
			for i := range work {
				if a, err := s.try("POST", room+"/messages", object{"content": fmt.Sprint(i), "sender_id": "@a"}); err != nil || a.status != 201 {
					t.Error(a, err)
				}
			}
		})
	}
	wg.Wait()
	want, rows := s.get(room + "/messages").texts()
	if sorted := slices.Sorted(slices.Values(want)); len(slices.Compact(sorted)) != n || len(want) != n {
		t.Fatalf("%d messages, %d different", len(want), len(slices.Compact(sorted)))
	}
	for i := 1; i < n; i++ {
		if rows[i]["seq"].(float64) <= rows[i-1]["seq"].(float64) || str(rows[i], "created_at") < str(rows[i-1], "created_at") {
			t.Fatalf("out of order: %v, %v", rows[i-1], rows[i])
		}
	}
	// The newest N are the newest N, in order.
	if got, _ := s.get(room + "/messages?limit=3").texts(); !slices.Equal(got, want[n-3:]) {
		t.Errorf("limit=3: %q, want %q", got, want[n-3:])
	}
	for name, next := range map[string]func(o object, rows []object) string{
		"since":  func(_ object, rows []object) string { return "since=" + str(rows[len(rows)-1], "id") },
		"cursor": func(o object, _ []object) string { return "cursor=" + str(o, "newer") },
	} {
		var got []string
		for query := "since=2000-01-01%2000:00:00"; ; {
			a := s.get(room + "/messages?limit=37&" + query)
			texts, rows := a.texts()
			got = append(got, texts...)
			if a.ok()["has_more"] != true {
				break
			}
			query = next(a.ok(), rows)
		}
		if !slices.Equal(got, want) {
			t.Errorf("forwards by %s: %d messages", name, len(got))
		}
	}
	for name, next := range map[string]func(o object, rows []object) string{
		"before": func(_ object, rows []object) string { return "before=" + str(rows[0], "id") },
		"cursor": func(o object, _ []object) string { return "cursor=" + str(o, "older") },
	} {
		var got []string
		for query := ""; ; {
			a := s.get(room + "/messages?limit=37&" + query)
			texts, rows := a.texts()
			got = append(texts, got...)
			if a.ok()["has_more"] != true {
				break
			}
			query = next(a.ok(), rows)
		}
		if !slices.Equal(got, want) {
			t.Errorf("backwards by %s: %d messages", name, len(got))
		}
	}
	// A time stands for its whole second; a row's own is no place inside it.
	last := str(rows[n-1], "created_at")
	after, _ := s.get(room + "/messages?since=" + url.QueryEscape(last)).texts()
	upto, _ := s.get(room + "/messages?limit=1000&before=" + url.QueryEscape(last)).texts()
	same := 0
	for _, r := range rows {
		if str(r, "created_at") == last {
			same++
		}
	}
	if len(after) != 0 || len(upto) != n-same {
		t.Errorf("%d after the last second, %d before it, %d in it", len(after), len(upto), same)
	}
}

// Done when: 32 equal posts at once with one key are one message.
func TestAntPostsOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("once")
	id := strings.TrimPrefix(room, "/api/sessions/")
	c := antv1.NewMessagesServiceClient(s.dial())
	body := object{"content": "hello", "sender_id": "@a", "meta": object{"a": 1}}
	var wg sync.WaitGroup
	ids := make([]string, 32)
	for i := range ids {
		ctx := metadata.AppendToOutgoingContext(s.call(), "idempotency-key", "k1")
		wg.Go(func() {
			switch i % 4 {
			case 0:
				a, err := s.try("POST", room+"/messages", body, headers("Idempotency-Key", "k1"))
				if err != nil || a.status != 201 {
					t.Error(a, err)
					return
				}
				ids[i] = str(decode[object](t, a.body), "id")
			case 1, 2:
				with := object{"content": "hello", "sender_id": "@a", "meta": object{"a": 1}, []string{"", "client_id", "idempotency_key"}[i%4]: "k1"}
				a, err := s.try("POST", room+"/messages", with)
				if err != nil || a.status != 201 {
					t.Error(a, err)
					return
				}
				ids[i] = str(decode[object](t, a.body), "id")
			case 3:
				v, err := c.PostMessage(ctx, &antv1.PostMessageRequest{SessionId: id, Content: new("hello"), SenderId: "@a", Meta: `{"a":1}`})
				if err != nil || !v.FirstPost {
					t.Error(v, err)
					return
				}
				ids[i] = v.Id
			}
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if ids[0] == "" || ids[0] != ids[31] {
		t.Errorf("ids: %q", ids)
	}
	if texts, _ := s.get(room + "/messages").texts(); len(texts) != 1 {
		t.Errorf("%d messages", len(texts))
	}
	s.do("POST", room+"/messages", object{"content": "other"}, headers("Idempotency-Key", "k1")).refused(409,
		"This idempotency key came with another message before: use a new key for a new message.")
	// Also across a crash.
	s.kill()
	s.restart()
	again := s.do("POST", room+"/messages", body, headers("Idempotency-Key", "k1")).created()
	if again["id"] != ids[0] || again["replayed"] != true || again["firstPost"] != true {
		t.Errorf("after a crash: %v", again)
	}
}

// Done when: after kill -9 in the middle of many posts every acknowledged message
// is there once, in the order of its author, and a repeated post is no second one.
func TestAntKillInPosts(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("storm")
	rounds := 3
	if soak {
		rounds = 50
	}
	const authors = 8
	next := make([]int, authors) // of each author: what is not known to be posted
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		started := make(chan struct{}, 10_000)
		for author := range authors {
			wg.Go(func() {
				for ctx.Err() == nil {
					a, err := s.try("POST", room+"/messages", storm(author, next[author]))
					if err != nil || a.status != http.StatusCreated {
						return // killed, or stopping
					}
					next[author]++
					select {
					case started <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 100 + 97*round {
			select {
			case <-started:
			case <-time.After(patience):
				t.Fatal("no progress")
			}
		}
		s.kill()
		cancel()
		wg.Wait()
		s.restart()
		// What was not answered may be there; posting it again decides it.
		for author := range authors {
			a := s.post(room+"/messages", storm(author, next[author]))
			a.created()
			next[author]++
		}
	}
	seen := make([]int, authors)
	total, lastSeq := 0, 0.0
	for query := "cursor=n0"; ; {
		a := s.get(room + "/messages?limit=1000&" + query)
		_, rows := a.texts()
		for _, row := range rows {
			var author, n int
			if _, err := fmt.Sscanf(str(row, "content"), "author %d message %d", &author, &n); err != nil || n != seen[author] || row["seq"].(float64) <= lastSeq {
				t.Fatalf("%v comes when message %d of author %d is due", row, seen[author], author)
			}
			lastSeq = row["seq"].(float64)
			seen[author]++
			total++
		}
		if a.ok()["has_more"] != true {
			break
		}
		query = "cursor=" + str(a.ok(), "newer")
	}
	if !slices.Equal(seen, next) {
		t.Errorf("there: %v, posted: %v", seen, next)
	}
	o := s.get(room + "/participants?include_counts=1").ok()
	for i, p := range o["postsFrom"].([]any) {
		if p := p.(object); p["message_count"] != float64(next[i]) {
			t.Errorf("%v posted %v, want %d", p["id"], p["message_count"], next[i])
		}
	}
}

func storm(author, n int) object {
	return object{"content": fmt.Sprintf("author %d message %d %s", author, n, strings.Repeat("x", n%3*40_000)),
		"sender_id": fmt.Sprintf("@author%d", author), "client_id": fmt.Sprintf("%d-%d", author, n)}
}

// Done when: large messages are kept whole, and a page of them stays one that a
// client can take.
func TestAntLargeMessages(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("large")
	var want []string
	for i := range 6 {
		text := strings.Repeat(fmt.Sprintf("%d-ü-", i), 150_000)
		want = append(want, text)
		if got := str(s.postAs(room, "@a", text), "content"); got != text {
			t.Error("answered with another content")
		}
	}
	s.stop()
	s.restart()
	c := antv1.NewMessagesServiceClient(s.dial()) // takes 4 MiB at a time
	var got []string
	for cursor := "n0"; ; {
		v, err := c.ListMessages(s.call(), &antv1.ListMessagesRequest{SessionId: strings.TrimPrefix(room, "/api/sessions/"), Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range v.Messages {
			got = append(got, m.Content)
		}
		if cursor = v.Newer; !v.HasMore {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages came back", len(got))
	}
	texts, _ := s.get(room + "/messages").texts()
	if n := len(texts); n == 0 || !slices.Equal(texts, want[6-n:]) {
		t.Errorf("the newest page has %d messages", n)
	}
}

// Done when: a break hides what is before it from agents.
func TestAntAgentContext(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	s.postAs(room, "@a", "old")
	if o := s.postAs(room, "@a", "/break next topic"); o["msg_type"] != "chat_break" || o["role"] != "system" || o["content"] != "next topic" {
		t.Errorf("%v", o)
	}
	if o := s.postAs(room, "@new", "/break"); o["content"] != "-- break --" || o["firstPost"] != false {
		t.Errorf("%v", o)
	}
	s.postAs(room, "@a", "new")
	for query, want := range map[string]string{"": "[old next topic -- break -- new]", "?agent_context=1": "[new]", "?context=agent": "[new]",
		"?agent_context=1&limit=5": "[new]", "?agent_context=0": "[old next topic -- break -- new]"} {
		if texts, _ := s.get(room + "/messages" + query).texts(); fmt.Sprint(texts) != want {
			t.Errorf("%q: %q, want %s", query, texts, want)
		}
	}
	s.patch(room, object{"long_memory": true}).ok()
	if texts, _ := s.get(room + "/messages?agent_context=1").texts(); len(texts) != 4 {
		t.Errorf("with long memory: %q", texts)
	}
}

// Done when: anthill post posts.
func TestAntPostCommand(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	s.newSession("codex", "terminal")
	s.post(room+"/participants", object{"handle": "@codex"}).created()
	run := func(stdin string, args ...string) (out, errs string, code int) {
		t.Helper()
		return command(t, s.environ(), stdin, append([]string{"post", "--server", s.addr}, args...)...)
	}
	out, errs, code := run("", "--dry-run", "--as", "@james", "plan", "@codex", "run")
	if code != 0 || out != "" || errs != "  @codex retained: the terminal is not live: the message is kept for it until "+errs[max(0, len(errs)-20):] {
		t.Errorf("dry run: %d %q %q", code, out, errs)
	}
	out, errs, code = run("", "--as", "@james", "plan", "@codex", "run")
	if id := strings.TrimSpace(out); code != 0 || !rowID.MatchString(id) || !strings.Contains(errs, "@codex retained") {
		t.Errorf("post: %d %q %q", code, out, errs)
	}
	first := strings.TrimSpace(out)
	if out, errs, code = run("from a\npipe", "--reply-to", first, "--target", "@nobody", strings.TrimPrefix(room, "/api/sessions/"), "-"); code != 0 || errs != "" {
		t.Errorf("pipe: %d %q %q", code, out, errs)
	}
	if out, errs, code = run("", "--json", "plan", "as json"); code != 0 || str(decode[object](t, []byte(out)), "content") != "as json" || errs != "" {
		t.Errorf("json: %d %q %q", code, out, errs)
	}
	once, _, _ := run("", "--key", "k1", "plan", "once")
	if again, _, code := run("", "--key", "k1", "plan", "once"); code != 0 || again != once || once == "" {
		t.Errorf("with a key: %q, then %d %q", once, code, again)
	}
	for want, args := range map[string][]string{
		`there is no room "nowhere"`: {"nowhere", "x"}, "reply_to must reference a message in this session": {"--reply-to", "x", "plan", "x"},
		"requires at least 2 arg(s)": {"plan"},
	} {
		if out, errs, code = run("", args...); code == 0 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%q: %d %q %q", args, code, out, errs)
		}
	}
	texts, rows := s.get(room + "/messages").texts()
	if fmt.Sprint(texts) != "[@codex run from a\npipe as json once]" || rows[1]["reply_to"] != first || rows[1]["target"] != "@nobody" || rows[0]["sender_id"] != "@james" {
		t.Errorf("%q %v", texts, rows)
	}
	if sender := str(rows[2], "sender_id"); !strings.HasPrefix(sender, "@") || len(sender) < 2 {
		t.Errorf("posted as %q", sender)
	}
}
