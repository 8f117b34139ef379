package blackbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

var pieces = []string{"One ", "two, ", "drei ", "vier — ", "fünf 🐜 ", "six ", "seven ", "and ", "eight."}

// play sends the pieces and waits after each until the stream shows it.
func play(c *call, st *stream, pieces ...string) {
	st.t.Helper()
	for _, p := range pieces {
		c.text(p)
		st.untilText(p)
	}
}

// Done when: aborting the client in mid-stream and reconnecting by tail gives
// the same text as an undisturbed run.
func TestDisconnectAndTailGivesTheSameText(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))

	st := s.ask(object{"input": "count"})
	c := p.next()
	play(c, st, pieces...)
	c.finish("stop")
	undisturbed := st.turn().text
	if undisturbed != strings.Join(pieces, "") {
		t.Fatalf("undisturbed: %q", undisturbed)
	}

	for at := range pieces {
		st := s.ask(object{"input": "count"})
		c := p.next()
		id := st.conversation()
		play(c, st, pieces[:at]...)
		st.abort()
		before := st.text()
		next := st.seen[len(st.seen)-1].seq() + 1
		fromN, from0 := s.tail(id, next), s.tail(id, 0)
		for _, piece := range pieces[at:] {
			c.text(piece)
		}
		c.finish("stop")
		whole := from0.turn()
		if whole.text != undisturbed {
			t.Errorf("aborted after %d pieces, tail from 0: %q", at, whole.text)
		}
		after := fromN.rest()
		if got := before + textOf(after); got != undisturbed {
			t.Errorf("aborted after %d pieces, then tail from %d: %q", at, next, got)
		}
		if after[0].Type != "response.created" || !after[len(after)-1].terminal() {
			t.Errorf("tail from %d is %s", next, outline(after))
		}
		// What was seen before and what tail shows are the same events.
		sameFrames(t, "seen live", st.seen, whole.frames[:len(st.seen)])
		ms := messages(t, s, id)
		if len(ms) != 2 || ms[1].Content != undisturbed || ms[1].Status != "completed" {
			t.Errorf("aborted after %d pieces: stored %+v", at, ms)
		}
	}
}

func TestDisconnectAndTailWithManyReaders(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "count"})
	c := p.next()
	id := st.conversation()
	var readers []*stream
	for i, piece := range pieces {
		readers = append(readers, s.tail(id, 0))
		if i == 3 {
			st.abort()
		}
		if i < 3 {
			play(c, st, piece)
		} else {
			c.text(piece)
			readers[0].untilText(piece)
		}
	}
	readers[1].abort() // one that leaves disturbs nobody
	readers = slices.Delete(readers, 1, 2)
	c.finish("stop")
	want := readers[0].turn()
	for i, r := range readers[1:] {
		sameFrames(t, fmt.Sprintf("reader %d", i), r.rest(), want.frames)
	}
	after := s.tail(id, 0).rest()
	sameFrames(t, "tail after the end", after, want.frames)
	s.stop()
	s.restart()
	sameFrames(t, "tail after a restart", s.tail(id, 0).rest(), want.frames)

	// from_seq is inclusive, and created comes first in any case.
	for i := range want.frames {
		got := s.tail(id, want.frames[i].seq()).rest()
		expect := want.frames[i:]
		if i > 0 {
			expect = append([]frame{want.frames[0]}, expect...)
		}
		sameFrames(t, fmt.Sprintf("tail from event %d", i), got, expect)
	}
	past := s.tail(id, want.closing+1000).rest()
	if len(past) != 1 || past[0].Type != "response.created" {
		t.Errorf("tail from beyond the end: %s", outline(past))
	}
}

func TestDisconnectAndTailRefusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ask(object{"input": "hello", "conversation": "there"}).turn()
	const none = "No in-flight buffer for this conversation."
	s.get("/v1/responses/tail?conversation_id=nowhere&from_seq=0").refused(http.StatusNotFound, none)
	s.get("/v1/responses/tail?conversation_id=nowhere").refused(http.StatusNotFound, none)
	for query, loc := range map[string]string{
		"conversation_id=there&from_seq=-1":         "from_seq",
		"conversation_id=there&from_seq=x":          "from_seq",
		"conversation_id=there&from_seq=1.5":        "from_seq",
		"conversation_id=there&from_seq=9999999999": "from_seq",
		"from_seq=0":       "conversation_id",
		"conversation_id=": "conversation_id",
	} {
		d, _ := s.get("/v1/responses/tail?"+query).refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		if len(d) != 1 || fmt.Sprint(d[0].(object)["loc"]) != "[query "+loc+"]" {
			t.Errorf("%s: detail %v", query, d)
		}
	}
	if tn := checkTurn(t, s.stream(http.MethodGet, "/v1/responses/tail?conversation_id=there", nil).rest()); tn.text == "" {
		t.Error("tail without from_seq is empty")
	}
}

// A client that wants one object and leaves stops nothing either.
func TestDisconnectOfAJSONRequest(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	req, err := s.request(ctx, http.MethodPost, "/v1/responses", object{"input": "count", "conversation": "json", "stream": false}, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := s.http.Do(req)
		left <- err
	}()
	c := p.next()
	c.text("One, ")
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
	st := s.tail("json", 0)
	c.say("two")
	if tn := st.turn(); tn.text != "One, two" || tn.end.Type != "response.completed" {
		t.Errorf("%q, then %s", tn.text, tn.end.Type)
	}
}
