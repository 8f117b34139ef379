package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// queued lists what waits in a conversation, an entry each: mode, text and hold.
func queued(t *testing.T, s *server, conversation string) (list []string, ids []string) {
	t.Helper()
	for _, e := range s.get("/v1/conversations/" + conversation + "/queue").ok()["queue"].([]any) {
		e := e.(object)
		entry := str(e, "mode") + " " + str(e, "text")
		if held := str(e, "held"); held != "" {
			entry += " (" + held + ")"
		}
		list, ids = append(list, entry), append(ids, str(e, "queue_id"))
	}
	return list, ids
}

func wantQueue(t *testing.T, s *server, conversation string, want ...string) []string {
	t.Helper()
	got, ids := queued(t, s, conversation)
	if !slices.Equal(got, want) {
		t.Errorf("the queue of %s is %q, want %q", conversation, got, want)
	}
	return ids
}

// What is sent with when_busy queue waits, in order and for all to see, until
// its turn; its caller's stream begins then. What is taken back never runs.
func TestQueue(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	first := s.ask(object{"input": "one", "conversation": "c", "when_busy": "queue"})
	c := p.next()
	second := s.ask(object{"input": "two", "conversation": "c", "when_busy": "queue"})
	third := s.ask(object{"input": "three", "conversation": "c", "when_busy": "queue"})
	whole := s.begin(http.MethodPost, "/v1/responses", object{"input": "four", "conversation": "c", "when_busy": "queue", "stream": false})
	for n := 0; n < 3; { // the last one is answered with its turn only
		_, ids := queued(t, s, "c")
		n = len(ids)
	}
	ids := wantQueue(t, s, "c", "queue two", "queue three", "queue four")
	if o := s.get("/v1/conversations/c").ok(); o["queued"] != 3.0 || o["running"] != true || o["turns"] != 1.0 {
		t.Errorf("the conversation %v", o)
	}
	s.post("/v1/responses", object{"input": "no", "conversation": "c"}).refused(http.StatusConflict, "")
	gone := s.delete("/v1/conversations/c/queue/" + ids[1]).ok()
	if gone["text"] != "three" || gone["removed"] != true || gone["queue_id"] != ids[1] {
		t.Errorf("taken back %v", gone)
	}
	if got := third.rest(); len(got) != 0 {
		t.Errorf("the stream of what was taken back has %d events", len(got))
	}
	s.delete("/v1/conversations/c/queue/"+ids[1]).refused(http.StatusNotFound, "")
	c.say("First.")
	if tn := first.turn(); tn.text != "First." {
		t.Errorf("first %q", tn.text)
	}
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: one assistant: First. user: two]" {
		t.Errorf("the model sees %s", got)
	}
	s.delete("/v1/conversations/c/queue/"+ids[0]).refused(http.StatusNotFound, "")
	wantQueue(t, s, "c", "queue four")
	c.say("Second.")
	if tn := second.turn(); tn.text != "Second." || tn.conversation != "c" {
		t.Errorf("second %q", tn.text)
	}
	p.next().say("Fourth.")
	if o := whole().ok(); o["output_text"] != "Fourth." {
		t.Errorf("fourth %v", o)
	}
	wantQueue(t, s, "c")
	if got := fmt.Sprint(history(t, s, "c")); got != "[user: one assistant: First. user: two assistant: Second. user: four assistant: Fourth.]" {
		t.Errorf("messages %s", got)
	}
}

// A stopped turn leaves what waits where it is: visible, and told to its
// callers. It runs when it is asked for again, and only then.
func TestQueueBehindAStoppedTurn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	first := s.ask(object{"input": "one", "conversation": "c"})
	c := p.next()
	play(c, first, "begun")
	s.ask(object{"input": "two", "conversation": "c", "when_busy": "queue"})
	s.ask(object{"input": "three", "conversation": "c", "when_busy": "steer"})
	whole := s.begin(http.MethodPost, "/v1/responses", object{"input": "four", "conversation": "c", "when_busy": "queue", "stream": false})
	for n := 0; n < 3; {
		_, ids := queued(t, s, "c")
		n = len(ids)
	}
	wantQueue(t, s, "c", "steer three", "queue two", "queue four")
	s.post("/v1/responses/cancel", object{"conversation_id": "c"}).ok()
	c.left()
	held := whole()
	if o := held.refused(http.StatusConflict, ""); str(o, "error", "code") != "queue_held" || held.header.Get("X-Should-Retry") != "false" {
		t.Errorf("the caller of what is held is told %v", held)
	}
	wantQueue(t, s, "c", "queue two (cancelled)", "queue three (cancelled)", "queue four (cancelled)")
	// Nobody is kept from asking something else, which releases nothing.
	st := s.ask(object{"input": "five", "conversation": "c", "when_busy": "queue"})
	p.next().say("Fifth.")
	st.turn()
	s.stop()
	s.restart()
	ids := wantQueue(t, s, "c", "queue two (cancelled)", "queue three (cancelled)", "queue four (cancelled)")
	s.delete("/v1/conversations/c/queue/" + ids[0]).ok()
	s.post("/v1/conversations/c/queue/resume", object{}).ok()
	if c := p.next(); c.asked() != "three" {
		t.Errorf("resumed with %q", c.asked())
	} else {
		c.say("Third.")
	}
	p.next().say("Fourth.")
	s.tail("c", 0).turn()
	if got := fmt.Sprint(history(t, s, "c")); got != "[user: one assistant: begun user: five assistant: Fifth. user: three assistant: Third. user: four assistant: Fourth.]" {
		t.Errorf("messages %s", got)
	}
}

// What waits is no answer to a question of the agent, nor to a call for the client.
func TestQueueBehindAQuestion(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	first := s.ask(object{"input": "one", "conversation": "c"})
	c := p.next()
	waits := s.ask(object{"input": "later", "conversation": "c", "when_busy": "queue"})
	c.tool(0, "call_q", "ask_user", `{"question":"Which one?"}`).finish("tool_calls")
	first.turn()
	wantQueue(t, s, "c", "queue later (answer)")
	st := s.ask(object{"input": "The red one.", "conversation": "c"})
	if c = p.next(); c.asked() != "The red one." {
		t.Fatalf("asked %q", c.asked())
	}
	wantQueue(t, s, "c", "queue later")
	c.say("Good.")
	st.turn()
	p.next().say("Now.")
	if tn := waits.turn(); tn.text != "Now." {
		t.Errorf("what waited: %q", tn.text)
	}
}

// However often the program dies, each thing that waits runs once, in order.
func TestQueueKilled(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.ask(object{"input": "q0", "conversation": "c"})
	p.next()
	const n = 6
	for i := 1; i <= n; i++ {
		s.ask(object{"input": fmt.Sprintf("q%d", i), "conversation": "c", "when_busy": "queue"})
	}
	var seen []string
	for i := 1; i <= n; i++ {
		s.kill()
		s.restart()
		c := p.next()
		seen = append(seen, c.asked())
		if i%2 == 0 { // it ends before the next kill
			c.say("a" + strings.TrimPrefix(c.asked(), "q"))
			s.tail("c", 0)
			if i < n {
				c = p.next()
				seen = append(seen, c.asked())
				i++
			}
		}
	}
	if got := fmt.Sprint(seen); got != "[q1 q2 q3 q4 q5 q6]" {
		t.Errorf("asked %s", got)
	}
	s.post("/v1/responses/cancel", object{"conversation_id": "c"}).ok()
	wantQueue(t, s, "c")
	var questions []string
	for _, m := range history(t, s, "c") {
		if q, ok := strings.CutPrefix(m, "user: "); ok {
			questions = append(questions, q)
		}
	}
	if got := fmt.Sprint(questions); got != "[q0 q1 q2 q3 q4 q5 q6]" {
		t.Errorf("messages %s", got)
	}
	s.delete("/v1/conversations/c").ok()
	nothingLeft(t, s)
}

// A request that waits is read by the id of its response, is sent once however
// often it is sent, and is bounded in number.
func TestQueueInTheBackground(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.ask(object{"input": "one", "conversation": "c"})
	c := p.next()
	body := object{"input": "two", "conversation": "c", "when_busy": "queue", "background": true, "stream": false}
	key := headers("Idempotency-Key", "k")
	r := s.create(body, key)
	if r.Status != "queued" || r.ConversationID != "c" {
		t.Errorf("answered %+v", r)
	}
	if again := s.create(body, key); again.ID != r.ID {
		t.Errorf("sent twice: %s and %s", r.ID, again.ID)
	}
	wantQueue(t, s, "c", "queue two")
	if got := s.retrieve(r.ID); got.Status != "queued" {
		t.Errorf("polled %+v", got)
	}
	follower := s.replay(r.ID, "&starting_after=0")
	other := s.create(object{"input": "stopped", "conversation": "c", "when_busy": "queue", "background": true, "stream": false})
	if o := s.post("/v1/responses/"+other.ID+"/cancel", object{}).ok(); o["status"] != "cancelled" {
		t.Errorf("cancelled before it began: %v", o)
	}
	s.get("/v1/responses/"+other.ID).refused(http.StatusNotFound, "Response not found")
	wantQueue(t, s, "c", "queue two")
	c.say("First.")
	c = p.next()
	if f := follower.until("its begin", func(frame) bool { return true }); f.Type != "response.in_progress" {
		t.Errorf("the follower sees %s", f.data)
	}
	if got := s.retrieve(r.ID); got.Status != "in_progress" {
		t.Errorf("polled %+v", got)
	}
	if again := s.create(body, key); again.ID != r.ID {
		t.Errorf("sent again: %s and %s", r.ID, again.ID)
	}
	for i := range 20 {
		s.create(object{"input": fmt.Sprint("more ", i), "conversation": "c", "when_busy": "queue", "background": true, "stream": false})
	}
	s.post("/v1/responses", object{"input": "too many", "conversation": "c", "when_busy": "queue", "stream": false}).refused(http.StatusTooManyRequests, "")
	s.delete("/v1/conversations/c").ok()
	c.left()
	nothingLeft(t, s)
}

func TestQueueBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, body := range []object{
		{"input": "q", "when_busy": "later"},
		{"input": "q", "when_busy": 1},
		{"input": "q", "when_busy": "queue", "store": false},
		{"input": []object{{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}}, "when_busy": "steer"},
		{"input": "q", "ephemeral": "yes"},
	} {
		s.post("/v1/responses", body).got(http.StatusUnprocessableEntity)
	}
	s.ask(object{"input": "q", "conversation": "c", "when_busy": "steer"}).turn() // nothing to steer: a turn like any other
	s.get("/v1/conversations/nope/queue").refused(http.StatusNotFound, "Conversation not found")
	s.delete("/v1/conversations/nope/queue/x").refused(http.StatusNotFound, "Conversation not found")
	s.delete("/v1/conversations/c/queue/x").got(http.StatusNotFound)
	s.post("/v1/conversations/nope/queue/resume", object{}).refused(http.StatusNotFound, "Conversation not found")
	for _, turn := range []any{-1, 1.5, "x", object{}} {
		s.post("/v1/conversations/c/fork", object{"turn": turn}).got(http.StatusUnprocessableEntity)
	}
	s.post("/v1/conversations/c/fork", object{"turn": 7}).refused(http.StatusNotFound, "Turn not found")
	s.post("/v1/conversations/nope/fork", object{"turn": 0}).refused(http.StatusNotFound, "Conversation not found")
}
