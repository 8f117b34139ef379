package blackbox

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// promised is how long after it was shown a text must survive kill -9.
const promised = 250 * time.Millisecond

// Done when: after kill -9 in mid-turn the stored text is a prefix of the
// undisturbed text and holds everything that a client was shown more than 250 ms
// before; response.incomplete (interrupted) ends it; no sequence number is
// reused; the next POST works.
func TestKillMidTurnKeepsWhatWasShown(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	rounds := 3
	if soak {
		rounds = 40
	}
	for round := range rounds {
		id := fmt.Sprintf("killed-%d", round)
		st := s.ask(object{"input": "count", "conversation": id})
		c := p.next()
		full := ""
		// Each round dies at another moment of the log's rhythm.
		for end := time.Now().Add(2*promised + time.Duration(round)*37*time.Millisecond); time.Now().Before(end); {
			token := fmt.Sprintf("token-%05d ", strings.Count(full, " "))
			full += token
			play(c, st, token)
		}
		killedAt := time.Now()
		s.kill()
		st.abort()
		shown := st.seen
		s.restart()
		stored := checkInterrupted(t, s, id, shown, killedAt)
		if !strings.HasPrefix(full, stored) {
			t.Fatalf("stored %q is not a prefix of what was said", stored)
		}
		st = s.ask(object{"input": "go on", "conversation": id})
		c = p.next()
		want := []string{"user: count", "assistant: " + stored, "user: go on"}
		if got := c.transcript(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the model sees %q, want %q", got, want)
		}
		c.say("and so on")
		if tn := st.turn(); tn.text != "and so on" || tn.end.Type != "response.completed" {
			t.Errorf("the next turn: %s %q", tn.end.Type, tn.text)
		}
	}
}

// checkInterrupted holds what is stored of a killed turn against what its client
// was shown, and returns the text.
func checkInterrupted(t *testing.T, s *server, id string, shown []frame, killedAt time.Time) string {
	t.Helper()
	if o := s.get("/v1/conversations/" + id).ok(); o["running"] != false {
		t.Errorf("the conversation still runs: %v", o)
	}
	if o := s.get("/v1/responses/in-flight?conversation_id=" + id).ok(); o["in_flight"] != false || o["has_buffer"] != true {
		t.Errorf("in flight after the restart: %v", o)
	}
	ms := messages(t, s, id)
	if len(ms) != 2 || ms[0].Role != "user" || ms[0].Content != "count" || ms[1].Role != "assistant" {
		t.Fatalf("stored: %+v", ms)
	}
	tn := s.tail(id, 0).turn()
	if tn.end.Type != "response.incomplete" || tn.final.reason() != "interrupted" {
		t.Errorf("the log ends in %s", tn.end.data)
	}
	sameFrames(t, "messages against tail", ms[1].frames(t), tn.frames)
	stored := ms[1].Content
	if stored != tn.text {
		t.Errorf("content %q, text of the events %q", stored, tn.text)
	}
	old := ""
	bySeq := map[int64]frame{}
	for _, f := range shown {
		bySeq[f.seq()] = f
		if f.isDelta() && f.at.Before(killedAt.Add(-promised)) {
			old += *f.Delta
		}
	}
	if !strings.HasPrefix(stored, old) {
		t.Errorf("lost: %q was shown more than %v before the kill, stored is %q", old, promised, stored)
	}
	for _, f := range tn.frames {
		if was, ok := bySeq[f.seq()]; ok && !bytes.Equal(was.data, f.data) {
			t.Errorf("sequence number %d was shown as\n%s\nand is now\n%s", f.seq(), was.data, f.data)
		}
	}
	return stored
}

// The same, at the earliest moment.
func TestKillMidTurnRightAfterCreated(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "count", "conversation": "early"})
	st.conversation()
	killedAt := time.Now()
	s.kill()
	st.abort()
	s.restart()
	if stored := checkInterrupted(t, s, "early", st.seen, killedAt); stored != "" {
		t.Errorf("stored text: %q", stored)
	}
	st = s.ask(object{"input": "again", "conversation": "early"})
	c := p.next()
	for c.asked() != "again" { // the call of the dead process may have come first
		c = p.next()
	}
	if got := c.transcript(); fmt.Sprint(got) != "[user: count user: again]" {
		t.Errorf("the model sees %q", got)
	}
	c.say("yes")
	if tn := st.turn(); tn.text != "yes" {
		t.Errorf("the next turn says %q", tn.text)
	}
	// A second crash, and a start without one, change nothing of the first turn.
	want := messages(t, s, "early")
	s.kill()
	s.restart()
	s.stop()
	s.restart()
	if got := messages(t, s, "early"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("messages changed:\n%v\n%v", got, want)
	}
}

// Done when: what was acknowledged is on disk.
func TestKillWhenIdleKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("You said: ", c.asked()) })
	s := start(t, withModel(p))
	rounds := 3
	if soak {
		rounds = 50
	}
	for round := range rounds {
		question := fmt.Sprintf("question %d", round)
		s.post("/v1/responses", object{"input": question, "stream": false, "conversation": "idle"}).ok()
		project := s.post("/v1/projects", object{"name": fmt.Sprintf("project-%d", round)}).ok()
		s.patch("/v1/conversations/idle", object{"title": question}).ok()
		s.put("/v1/projects/"+str(project, "name")+"/files/a.txt", object{"content": question}).ok()
		s.kill()
		s.restart()
		ms := messages(t, s, "idle")
		if len(ms) != 2*(round+1) {
			t.Fatalf("%d messages after %d turns", len(ms), round+1)
		}
		for i := range round + 1 {
			if want := fmt.Sprintf("question %d", i); ms[2*i].Content != want || ms[2*i+1].Content != "You said: "+want {
				t.Errorf("turn %d: %q, %q", i, ms[2*i].Content, ms[2*i+1].Content)
			}
		}
		if got := s.get("/v1/conversations/idle").ok()["title"]; got != question {
			t.Errorf("title %q, want %q", got, question)
		}
		if got := s.get("/v1/projects/" + str(project, "name") + "/files/a.txt").ok()["content"]; got != question {
			t.Errorf("file says %q", got)
		}
	}
	if got := s.get("/v1/projects").ok()["projects"].([]any); len(got) != 1+rounds {
		t.Errorf("projects: %v", got)
	}
}

// A call that a crash cut is not run again, and the next request to the model
// is one that it accepts.
func TestKillMidTurnBetweenCallAndResult(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "list", "conversation": "tools"})
	c := p.next()
	c.text("I look. ").tool(0, "call_1", "list_files", `{}`)
	c.finish("tool_calls")
	c = p.next() // the result is stored, the second answer is on its way
	c.text("There are ")
	st.untilText("There are ")
	killedAt := time.Now()
	s.kill()
	st.abort()
	s.restart()
	ms := messages(t, s, "tools")
	if len(ms) != 2 || ms[1].Status != "incomplete" || !strings.HasPrefix("I look. \n\nThere are ", ms[1].Content) {
		t.Fatalf("stored %+v", ms)
	}
	tn := s.tail("tools", 0).turn()
	for _, f := range st.seen {
		for _, g := range tn.frames {
			if f.seq() == g.seq() && !bytes.Equal(f.data, g.data) {
				t.Errorf("sequence number %d was shown as\n%s\nand is now\n%s (killed at %v)", f.seq(), f.data, g.data, killedAt)
			}
		}
	}
	st = s.ask(object{"input": "go on", "conversation": "tools"})
	c = p.next()
	if err := c.paired(); err != nil {
		t.Errorf("%v in %q", err, c.transcript())
	}
	if got := fmt.Sprint(c.transcript()); !strings.Contains(got, "calls call_1 result call_1") {
		t.Errorf("the model sees %s", got)
	}
	c.say("done")
	st.turn()
	if a := s.do(http.MethodGet, "/v1/conversations/tools", nil); a.ok()["turns"] != 2.0 {
		t.Errorf("%v", a)
	}
}

// Texts too large for a row of the store are kept as well as small ones.
func TestKillWhenIdleKeepsLargeTexts(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	question := strings.Repeat("Größe zählt. ", 160_000) // about 2 MiB
	piece := strings.Repeat("viel ", 800)
	st := s.ask(object{"input": question, "conversation": "large"})
	c := p.next()
	if c.asked() != question {
		t.Errorf("the model is asked %d bytes, want %d", len(c.asked()), len(question))
	}
	for range 300 {
		c.text(piece)
	}
	c.finish("stop")
	answer := strings.Repeat(piece, 300)
	if tn := st.turn(); tn.text != answer {
		t.Errorf("%d bytes streamed, want %d", len(tn.text), len(answer))
	}
	s.kill()
	s.restart()
	ms := messages(t, s, "large")
	if len(ms) != 2 || ms[0].Content != question || ms[1].Content != answer {
		t.Fatalf("stored: %d messages", len(ms))
	}
	sameFrames(t, "tail", s.tail("large", 0).rest(), st.seen)
	st = s.ask(object{"input": "and?", "conversation": "large"})
	c = p.next()
	if len(c.Messages) != 4 || c.Messages[1].text() != question || c.Messages[2].text() != answer {
		t.Errorf("the model sees %d messages", len(c.Messages))
	}
	c.say("done")
	st.turn()
	s.delete("/v1/conversations/large").ok()
	s.get("/v1/conversations/large/messages").refused(http.StatusNotFound, "Conversation not found")
}
