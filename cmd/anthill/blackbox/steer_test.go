package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// steers are the frames that say what a turn has taken in.
func steers(frames []frame) (said []string) {
	for _, f := range frames {
		if f.ThoughtRole == "thought.steered" {
			said = append(said, f.Content)
		}
	}
	return said
}

// What the user says while tools run enters the turn at the next boundary, word
// for word, as an item of the turn; its caller follows that turn.
func TestSteer(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.put("/v1/projects/general/files/a.txt", object{"content": "content of a"}).ok()
	first := s.ask(object{"input": "read all", "conversation": "c"})
	c := p.next()
	const words = "  No:\nonly <b>a.txt</b> — \"please\" 🐜  "
	second := s.ask(object{"input": words, "conversation": "c", "when_busy": "steer"})
	if second.header.Get("X-Queue-Id") == "" {
		t.Error("the caller is not told under which id its request waits")
	}
	wantQueue(t, s, "c", "steer "+words)
	c.text("Reading. ").tool(0, "call_a", "read_file", `{"path":"a.txt"}`).finish("tool_calls")
	c = p.next()
	if err := c.paired(); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprintf("%q", c.transcript()); got != fmt.Sprintf("%q", []string{"user: read all", "calls call_a", "result call_a", "user: " + words}) {
		t.Errorf("the model sees %s", got)
	}
	wantQueue(t, s, "c")
	c.say("Only a.")
	tn := first.turn()
	if got := steers(tn.frames); !slices.Equal(got, []string{words}) {
		t.Errorf("steered by %q", got)
	}
	sameFrames(t, "who steered", second.rest(), tn.frames)
	sameFrames(t, "tail", s.tail("c", 0).rest(), tn.frames)
	if got := history(t, s, "c"); fmt.Sprint(got) != "[user: read all assistant: Reading. \n\nOnly a.]" {
		t.Errorf("messages %q", got)
	}
	var order []string
	list := s.get("/v1/conversations/c/items?order=asc").ok()["data"].([]any)
	for _, it := range list {
		order = append(order, str(it.(object), "type")+" "+str(it.(object), "role"))
	}
	if got := fmt.Sprint(order); got != "[message user message assistant mcp_call  message user message assistant]" {
		t.Errorf("items %s", got)
	}
	steered := str(list[3].(object), "id")
	if o := s.get("/v1/conversations/c/items/" + steered).ok(); str(o, "content", "0", "text") != words && !strings.Contains(fmt.Sprint(o), "only <b>a.txt</b>") {
		t.Errorf("the item %v", o)
	}
	st := s.ask(object{"input": "next", "conversation": "c"})
	c = p.next()
	if got := c.transcript(); len(got) != 6 || got[3] != "user: "+words {
		t.Errorf("in the next turn the model sees %q", got)
	}
	c.say("ok")
	st.turn()
	s.delete("/v1/conversations/c/items/" + steered).ok()
	st = s.ask(object{"input": "last", "conversation": "c"})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); strings.Contains(got, "please") {
		t.Errorf("deleted, and the model sees %s", got)
	}
	c.say("ok")
	st.turn()
}

// A turn that ends before a boundary leaves the user's words to the next one,
// before what only waits.
func TestSteerTooLate(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	first := s.ask(object{"input": "one", "conversation": "c"})
	c := p.next()
	waits := s.ask(object{"input": "three", "conversation": "c", "when_busy": "queue"})
	second := s.ask(object{"input": "two", "conversation": "c", "when_busy": "steer"})
	wantQueue(t, s, "c", "steer two", "queue three")
	c.say("First.")
	if tn := first.turn(); len(steers(tn.frames)) != 0 {
		t.Error("the turn was steered")
	}
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: one assistant: First. user: two]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("Second.")
	if tn := second.turn(); tn.text != "Second." {
		t.Errorf("%q", tn.text)
	}
	p.next().say("Third.")
	waits.turn()
}

// The program dies with words that no turn has taken in: they are the next turn.
func TestSteerKilled(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.ask(object{"input": "one", "conversation": "c"})
	c := p.next()
	s.ask(object{"input": "taken", "conversation": "c", "when_busy": "steer"})
	c.tool(0, "call_a", "list_files", `{}`).finish("tool_calls")
	p.next()
	s.ask(object{"input": "not taken", "conversation": "c", "when_busy": "steer"})
	s.kill()
	s.restart()
	c = p.next()
	if err := c.paired(); err != nil {
		t.Error(err)
	}
	got := c.transcript()
	if n := strings.Count(fmt.Sprint(got), "user: taken"); n != 1 || got[len(got)-1] != "user: not taken" {
		t.Errorf("the model sees %q", got)
	}
	c.say("ok")
	s.tail("c", 0).turn()
	s.delete("/v1/conversations/c").ok()
	nothingLeft(t, s)
}

// Words taken back before a boundary are not said.
func TestSteerTakenBack(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	first := s.ask(object{"input": "one", "conversation": "c"})
	c := p.next()
	whole := s.begin(http.MethodPost, "/v1/responses", object{"input": "two", "conversation": "c", "when_busy": "steer", "stream": false})
	var ids []string
	for len(ids) == 0 {
		_, ids = queued(t, s, "c")
	}
	s.delete("/v1/conversations/c/queue/" + ids[0]).ok()
	if o := whole().refused(http.StatusConflict, ""); str(o, "error", "code") != "taken_back" {
		t.Errorf("its caller is told %v", o)
	}
	c.tool(0, "call_a", "list_files", `{}`).finish("tool_calls")
	c = p.next()
	if got := c.asked(); got != "one" {
		t.Errorf("asked %q", got)
	}
	c.say("ok")
	first.turn()
}
