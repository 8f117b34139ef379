package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
)

// ears hear everything by three doors.
type ears struct {
	*server
	ws   *socket
	sse  *sseReader
	grpc grpc.ServerStreamingClient[antv1.Event]
}

func (s *server) listen() *ears {
	s.t.Helper()
	st, err := antv1.NewEventsServiceClient(s.dial()).Subscribe(s.call(), &antv1.SubscribeRequest{All: true, Sessions: true})
	if err != nil {
		s.t.Fatal(err)
	}
	if first, err := st.Recv(); err != nil || first.GetReady() == nil {
		s.t.Fatalf("%v %v", first, err)
	}
	e := &ears{s, s.socket(), s.events(""), st}
	e.sse.next() // where it begins
	return e
}

// hear waits by every door for an event of a session, and returns it as on /ws.
func (e *ears) hear(session, typ string, kind func(*antv1.Event) bool) object {
	e.t.Helper()
	var told object
	for told == nil || told["sessionId"] != session {
		told = e.ws.until(typ)
	}
	for {
		o := decode[object](e.t, []byte(e.sse.next().data))
		if o["type"] == typ && o["sessionId"] == session {
			if a, b := fmt.Sprint(o), fmt.Sprint(told); a != b {
				e.t.Errorf("/api/events says %s, /ws %s", a, b)
			}
			break
		}
	}
	for {
		m, err := e.grpc.Recv()
		if err != nil {
			e.t.Fatal(err)
		}
		if m.SessionId == session && kind(m) {
			break
		}
	}
	return told
}

func needsInput(e *antv1.Event) bool    { return e.GetSessionNeedsInput() != nil }
func inputResolved(e *antv1.Event) bool { return e.GetSessionInputResolved() != nil }
func attention(e *antv1.Event) bool     { return e.GetAttentionUpdated() != nil }

// Done when: an agent is recognised, approved, denied and selected through REST, a
// message and gRPC; events come by every door; the fake reports each key once.
func TestApprovalsByEveryDoor(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, p := range playedCLIs {
		t.Run(p.mode, func(t *testing.T) {
			t.Parallel()
			c := s.with(t).play(p)
			c.settled()
			st := c.get("/api/sessions/" + c.id + "/status").ok()["agent_status"].(object)
			if st["driver"] != p.driver || st["stateLabel"] != "Available" {
				t.Errorf("the status is %v", st)
			}
			n := 0
			for _, d := range doors {
				t.Run(d.name, func(t *testing.T) {
					c := c.in(s.with(t))
					for _, round := range []struct {
						line, choice string
						index        int
						keys         []string
					}{
						{"run make install", "approve", 0, []string{"enter"}},
						{"run make install", "deny", 2, p.deny},
						{"choose red|blue|green", "1", 1, []string{"down", "enter"}},
					} {
						n++
						c.round(d, round.line, round.choice, n, round.index, round.keys)
					}
				})
			}
		})
	}
}

// round is one prompt, answered once by one door.
func (c *cli) round(d door, line, choice string, n, index int, keys []string) {
	c.t.Helper()
	e := c.listen()
	item := c.asked(line)
	c.checkItem(item, line)
	told := e.hear(c.id, "session_needs_input", needsInput)
	if told["promptId"] != item["id"] || told["summary"] != item["summary"] || told["eventClass"] != item["class"] {
		c.t.Errorf("told is %v of %v", told, item)
	}
	if got := e.hear(c.id, "attention_updated", attention)["item"].(object); got["id"] != item["id"] || got["status"] != "pending" {
		c.t.Errorf("told is %v of %v", got, item)
	}
	c.checkStatus(item)
	if v := d.answer(c, item, choice, "@ann"); v.err != nil || v.status != http.StatusOK {
		c.t.Fatalf("%s by %s: %+v", choice, d.name, v)
	}
	got, pressed := c.decided(n)
	if got.Index != index || !slices.Equal(pressed, keys) {
		c.t.Errorf("%s by %s: the agent took %v after the keys %q, want %q", choice, d.name, got, pressed, keys)
	}
	if told := e.hear(c.id, "session_input_resolved", inputResolved); told["promptId"] != item["id"] {
		c.t.Errorf("told is %v of %v", told, item)
	}
	if got := e.hear(c.id, "attention_updated", attention)["item"].(object); got["status"] != "answered" || got["answered_by"] != "@ann" {
		c.t.Errorf("told is %v", got)
	}
	c.settled()
	for _, again := range doors {
		if v := again.answer(c, item, "deny", "@bob"); v.err != nil || v.status != http.StatusConflict || v.by != "@ann" || v.at == "" {
			c.t.Errorf("a second answer by %s: %+v", again.name, v)
		}
	}
	c.quiet()
	c.checkRecord(item, choice)
}

// checkItem looks at what waits.
func (c *cli) checkItem(item object, line string) {
	c.t.Helper()
	verb, about, _ := strings.Cut(line, " ")
	want := map[string]any{"kind": "prompt", "session_id": c.id, "status": "pending", "driver": c.driver, "default": "leave",
		"answered_by": nil, "event_chat_id": c.chat, "class": "multi_choice", "command": ""}
	if verb == "run" {
		want["class"], want["command"] = "permission_request", about
	}
	for k, v := range want {
		if item[k] != v {
			c.t.Errorf("%s of the item is %v, want %v", k, item[k], v)
		}
	}
	var choices []string
	for _, o := range item["options"].([]any) {
		choices = append(choices, str(o.(object), "choice"))
	}
	for _, must := range map[string][]string{"run": {"approve", "deny", "0", "2"}, "choose": {"0", "1", "2"}}[verb] {
		if !slices.Contains(choices, must) {
			c.t.Errorf("the item offers %q, not %s", choices, must)
		}
	}
	made, err := time.Parse(time.RFC3339, str(item, "created_at"))
	if ends, err2 := time.Parse(time.RFC3339, str(item, "expires_at")); err != nil || err2 != nil || ends.Sub(made) != 24*time.Hour {
		c.t.Errorf("it expires at %v: %v %v", item["expires_at"], err, err2)
	}
	if str(item, "summary") == "" || strings.Contains(str(item, "summary"), "\n") {
		c.t.Errorf("the item is %v", item)
	}
}

// checkStatus looks at what the status says of it, for the terminal and its chat.
func (c *cli) checkStatus(item object) {
	c.t.Helper()
	for _, id := range []string{c.id, c.chat} {
		o := c.get("/api/sessions/" + id + "/status").ok()
		st, _ := o["agent_status"].(object)
		event, _ := o["event"].(object)
		if o["needs_input"] != true || o["event_id"] != item["event_id"] || o["event_chat_id"] != item["event_chat_id"] || o["event_class"] != item["class"] ||
			o["summary"] != item["summary"] || st["state"] != "idle" || event["id"] != item["id"] || str(o, "route", "terminal_id") != c.id {
			c.t.Errorf("the status of %s is %v", id, o)
		}
	}
}

// checkRecord looks at what is kept of a decision: the item, the card and the evidence.
func (c *cli) checkRecord(item object, choice string) {
	c.t.Helper()
	got := c.get("/api/attention/" + str(item, "id")).ok()
	if got["status"] != "answered" || got["answered_by"] != "@ann" || got["answered_at"] == nil || got["answer"] == nil {
		c.t.Errorf("the item is %v", got)
	}
	for _, m := range c.get("/api/sessions/" + c.chat + "/messages?limit=1000").ok()["messages"].([]any) {
		m := m.(object)
		if m["id"] != item["event_id"] {
			continue
		}
		meta := decode[object](c.t, []byte(str(m, "meta")))
		if m["msg_type"] != "agent_event" || meta["status"] != "responded" || str(meta, "decision", "by") != "@ann" {
			c.t.Errorf("the card is %v", m)
		}
	}
	_, o := c.runEvents(c.id, "?since=0&kind=approval_decision")
	list := o["events"].([]any)
	if len(list) == 0 {
		c.t.Fatalf("no evidence of the decision: %v", o)
	}
	last := list[len(list)-1].(object)
	if last["source"] != "json" || last["trust"] != "high" || last["raw_ref"] != item["event_id"] || str(last, "payload", "by") != "@ann" {
		c.t.Errorf("the evidence of %s is %v", choice, last)
	}
}

// Done when: through /ws, where a browser's terminal is told of a prompt and the person types the keys themselves:
// the agent takes each once, and what waited is over, answered by nobody else.
func TestApprovalsByTyping(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, p := range playedCLIs {
		t.Run(p.mode, func(t *testing.T) {
			t.Parallel()
			c := s.with(t).play(p)
			c.settled()
			w := c.spectator(c.id)
			typed := map[string]string{"enter": "\r", "down": "\x1b[B"}
			for n, round := range []struct {
				line  string
				index int
				keys  []string
			}{
				{"run make install", 0, []string{"enter"}},
				{"run make install", 2, p.deny},
				{"choose red|blue|green", 1, []string{"down", "enter"}},
			} {
				e := c.listen()
				c.submit(round.line)
				told := e.hear(c.id, "session_needs_input", needsInput)
				for _, k := range round.keys {
					w.types(typed[k])
				}
				if got, keys := c.decided(n + 1); got.Index != round.index || !slices.Equal(keys, round.keys) {
					t.Errorf("the agent took %v after the keys %q, want %q", got, keys, round.keys)
				}
				if over := e.hear(c.id, "session_input_resolved", inputResolved); over["promptId"] != told["promptId"] {
					t.Errorf("told is %v of %v", over, told)
				}
				c.settled()
				c.quiet()
				id := str(told, "promptId")
				if got := c.get("/api/attention/" + id).ok(); got["status"] != "gone" || got["answered_by"] != nil {
					t.Errorf("the item is %v", got)
				}
				c.post("/api/attention/"+id+"/answer", object{"choice": "0"}).refused(http.StatusGone, "")
				c.quiet()
			}
		})
	}
}

// Done when: of answers at the same time by every door exactly one counts, and the
// others are told whose.
func TestApprovalsAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, p := range playedCLIs {
		t.Run(p.mode, func(t *testing.T) {
			t.Parallel()
			c := s.with(t).play(p)
			item := c.asked("run make install")
			const many = 16
			verdicts := make([]verdict, many)
			var ready, done sync.WaitGroup
			ready.Add(many)
			for i := range many {
				done.Go(func() {
					ready.Done()
					ready.Wait()
					verdicts[i] = doors[i%len(doors)].answer(c, item, []string{"approve", "deny"}[i%2], "@p"+strconv.Itoa(i))
				})
			}
			done.Wait()
			winner := slices.IndexFunc(verdicts, func(v verdict) bool { return v.status == http.StatusOK })
			if winner < 0 {
				t.Fatalf("nobody won: %+v", verdicts)
			}
			for i, v := range verdicts {
				if i != winner && (v.err != nil || v.status != http.StatusConflict || v.by != "@p"+strconv.Itoa(winner) || v.at == "") {
					t.Errorf("answer %d: %+v; the first was %d", i, v, winner)
				}
			}
			want, index := []string{"enter"}, 0
			if winner%2 == 1 {
				want, index = p.deny, 2
			}
			d, keys := c.decided(1)
			if d.Index != index || !slices.Equal(keys, want) {
				t.Errorf("answer %d won, the agent took %v after %q", winner, d, keys)
			}
			c.settled()
			c.quiet()
		})
	}
}

// An answer whose outcome got lost on the way is sent again, with its key: it has the same outcome, and types nothing.
func TestApprovalsAreRepeated(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.play(playedCLIs[0])
	item := c.asked("run make install")
	path := "/api/sessions/" + c.chat + "/messages"
	answer := func(kind, key string) object {
		return object{"msg_type": "agent_response", "content": fmt.Sprintf(`{"type":%q,"event_id":%q}`, kind, item["event_id"]), "sender_id": "@ann", "idempotency_key": key}
	}
	first := s.post(path, answer("approve", "one")).ok()
	again := func() {
		t.Helper()
		if o := s.post(path, answer("approve", "one")).ok(); o["id"] != first["id"] {
			t.Errorf("repeated it is message %v, and was %v", o["id"], first["id"])
		}
	}
	again()
	for _, other := range []object{answer("approve", "two"), answer("deny", "one"), answer("approve", "")} {
		s.post(path, other).refused(http.StatusConflict, "")
	}
	if d, keys := c.decided(1); d.Index != 0 || !slices.Equal(keys, []string{"enter"}) {
		t.Errorf("the agent took %v after the keys %q", d, keys)
	}
	c.settled()
	s.kill()
	s.restart()
	again()
	c.quiet()
}

// Done when: a choice that is not offered is refused by every door, and nothing is typed.
func TestApprovalsOfUnknownChoices(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.play(playedCLIs[0])
	item := c.asked("run make install")
	path := "/api/attention/" + str(item, "id") + "/answer"
	for _, body := range []object{{"choice": "maybe"}, {"choice": "3"}, {"choice": "-1"}, {"choice": "1e0"}, {"choice": "retry"}, {"choice": "text", "text": "y"},
		{"text": "rm -rf /"}, {"choice": ""}, {}, {"choice": "approve", "text": "x"}, {"choice": "approve\n"[:7] + "\x1b"}, {"choice": "approve", "answered_by": strings.Repeat("x", 257)},
		{"choice": "approve", "justification": strings.Repeat("x", 2001)}} {
		s.post(path, body).unacceptable(fmt.Sprint(body))
	}
	if v := byGRPC(c, item, "maybe", "@ann"); v.status != http.StatusBadRequest {
		t.Errorf("gRPC: %+v", v)
	}
	for _, content := range []string{`{"type":"maybe","event_id":%q}`, `{"type":"select","choice":{"index":3},"event_id":%q}`, `{"type":"select","choice":{"index":0.5},"event_id":%q}`,
		`{"type":"select","choice":{"value":"no such"},"event_id":%q}`, `{"type":"select","event_id":%q}`, `{"type":"text","choice":{"value":"x"},"event_id":%q}`,
		`{"type":"confirm","choice":{},"event_id":%q}`, `{"event_id":%q}`, `{"type":7,"event_id":%q}`, `{"type":"approve","choice":[],"event_id":%q}`} {
		text := fmt.Sprintf(content, item["event_id"])
		s.post("/api/sessions/"+c.chat+"/messages", object{"msg_type": "agent_response", "content": text}).unacceptable(text)
	}
	s.post("/api/attention/unknown/answer", object{"choice": "approve"}).refused(http.StatusNotFound, "")
	s.post("/api/sessions/"+c.chat+"/messages", object{"msg_type": "agent_response", "content": `{"type":"approve","event_id":"unknown"}`}).unacceptable("unknown event")
	if v := byREST(c, item, "approve", "@ann"); v.status != http.StatusOK {
		t.Errorf("then approved: %+v", v)
	}
	if d, keys := c.decided(1); d.Index != 0 || !slices.Equal(keys, []string{"enter"}) {
		t.Errorf("the agent took %v after the keys %q", d, keys)
	}
	c.quiet()
}

// Done when: a prompt that has left the screen is 410 by every door, and nothing is typed.
func TestApprovalsOfPromptsThatHaveLeft(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, p := range playedCLIs {
		t.Run(p.mode, func(t *testing.T) {
			t.Parallel()
			c := s.with(t).play(p)
			item := c.asked("run make install")
			c.post("/api/sessions/"+c.id+"/terminal/input", object{"data": "\x1b"}).ok() // somebody at the terminal itself
			if d, _ := c.decided(1); d.Index != -1 {
				t.Fatalf("the agent took %v", d)
			}
			c.eventually("the item is gone", func() bool { return c.get("/api/attention/" + str(item, "id")).ok()["status"] == "gone" })
			for _, d := range doors {
				if v := d.answer(c, item, "approve", "@ann"); v.err != nil || v.status != http.StatusGone {
					t.Errorf("by %s: %+v", d.name, v)
				}
			}
			if list := c.get("/api/attention?session_id=" + c.id).ok()["items"].([]any); len(list) != 0 {
				t.Errorf("%v waits still", list)
			}
			c.settled()
			c.quiet()
			// The same words are another question.
			again := c.asked("run make install")
			if again["id"] == item["id"] {
				t.Error("another prompt has the same id")
			}
			if v := byREST(c, again, "deny", "@ann"); v.status != http.StatusOK {
				t.Errorf("the next: %+v", v)
			}
			if d, keys := c.decided(2); d.Index != 2 || !slices.Equal(keys, p.deny) {
				t.Errorf("the agent took %v after the keys %q", d, keys)
			}
		})
	}
}

// Done when: kill -9 while prompts wait: they wait still after the restart, are the
// same ones, and are answered once.
func TestApprovalsSurviveKill(t *testing.T) {
	t.Parallel()
	s := start(t)
	var list []*cli
	items := map[string]object{}
	for _, p := range playedCLIs {
		c := s.play(p)
		items[c.id] = c.asked("run make install")
		list = append(list, c)
	}
	s.kill()
	s.restart()
	for _, c := range list {
		c.server = s
		item := c.waiting()
		for _, k := range []string{"id", "created_at", "event_id", "command", "status"} {
			if item[k] != items[c.id][k] {
				t.Errorf("%s: %s is %v, was %v", c.mode, k, item[k], items[c.id][k])
			}
		}
		c.eventually("the screen is seen", func() bool {
			st, _ := c.get("/api/sessions/" + c.id + "/status").ok()["agent_status"].(object)
			return st["state"] == "idle"
		})
		if v := byREST(c, item, "deny", "@ann"); v.err != nil || v.status != http.StatusOK {
			t.Fatalf("%s: %+v", c.mode, v)
		}
		if d, keys := c.decided(1); d.Index != 2 || !slices.Equal(keys, c.deny) {
			t.Errorf("%s took %v after the keys %q", c.mode, d, keys)
		}
		c.settled()
		c.quiet()
	}
	if all := s.get("/api/attention").ok()["items"].([]any); len(all) != 0 {
		t.Errorf("%v waits still", all)
	}
}

// The folder question of Codex, as it is known from a recording: its marked option is
// the second.
func TestApprovalOfAFolder(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.play(playedCLIs[1], "trust")
	item := c.waiting()
	if item["class"] != "confirmation" || item["file"] != "/home/dev/app" {
		t.Errorf("the item is %v", item)
	}
	if v := byREST(c, item, "yes", "@ann"); v.status != http.StatusOK {
		t.Fatalf("%+v", v)
	}
	if d, keys := c.decided(1); d.Index != 1 || !slices.Equal(keys, []string{"enter"}) {
		t.Errorf("the agent took %v after the keys %q", d, keys)
	}
}
