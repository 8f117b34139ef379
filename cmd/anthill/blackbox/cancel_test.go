package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	antonv1 "anthill/gen/anton/v1"
)

// Done when (7): cancel stops the work, keeps what was said, and is idempotent.
func TestCancel(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for name, cancel := range map[string]func(*testing.T, string) bool{
		"REST": func(t *testing.T, id string) bool {
			o := s.with(t).post("/v1/responses/cancel", object{"conversation_id": id}).ok()
			if o["conversation_id"] != id {
				t.Errorf("answer %v", o)
			}
			return o["cancelled"].(bool)
		},
		"gRPC": func(t *testing.T, id string) bool {
			o, err := antonv1.NewResponsesServiceClient(s.with(t).dial()).CancelResponse(s.with(t).call(),
				&antonv1.CancelResponseRequest{ConversationId: id})
			if err != nil {
				t.Fatal(err)
			}
			return o.Cancelled
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, id := s.with(t), "cancel-"+name
			st := s.ask(object{"input": "count", "conversation": id})
			other := s.ask(object{"input": "other", "conversation": id + "-other"})
			var c, o *call
			for range 2 {
				if next := p.nextFor(t); next.asked() == "count" {
					c = next
				} else {
					o = next
				}
			}
			play(c, st, "One, ", "two")
			if !cancel(t, id) {
				t.Error("nothing was cancelled")
			}
			c.left()
			tn := st.turn()
			if tn.end.Type != "response.incomplete" || tn.final.reason() != "cancelled" || tn.text != "One, two" {
				t.Errorf("ends in %s", tn.end.data)
			}
			if cancel(t, id) || cancel(t, "unknown") {
				t.Error("cancelled what does not run")
			}
			ms := messages(t, s, id)
			if len(ms) != 2 || ms[1].Content != "One, two" || ms[1].Status != "cancelled" {
				t.Errorf("stored %+v", ms)
			}
			sameFrames(t, "stored events", ms[1].frames(t), tn.frames)
			o.say("I go on")
			if tn := other.turn(); tn.text != "I go on" {
				t.Errorf("another conversation: %q", tn.text)
			}
			st = s.ask(object{"input": "and then?", "conversation": id})
			c = p.nextFor(t)
			if got := fmt.Sprint(c.transcript()); got != "[user: count assistant: One, two user: and then?]" {
				t.Errorf("the model sees %s", got)
			}
			c.say("three")
			st.turn()
		})
	}
	s.post("/v1/responses/cancel", object{}).refused(http.StatusUnprocessableEntity, "")
}

// Done when (7): a second POST to a busy conversation is told where to attach.
func TestBusy(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "first", "conversation": "busy"})
	c := p.next()
	play(c, st, "begun ")
	last := float64(st.seen[len(st.seen)-1].seq())
	if o := s.get("/v1/responses/in-flight?conversation_id=busy").ok(); o["in_flight"] != true || o["has_buffer"] != true ||
		o["turn_id"] != 0.0 || o["latest_seq"] != last {
		t.Errorf("in flight: %v, seen up to %v", o, last)
	}
	if l := s.get("/v1/responses/in-flight-list").ok()["in_flight"].([]any); len(l) != 1 || l[0].(object)["conversation_id"] != "busy" ||
		l[0].(object)["latest_seq"] != last {
		t.Errorf("in flight: %v", l)
	}
	if o := s.get("/v1/conversations/busy").ok(); o["running"] != true {
		t.Errorf("conversation %v", o)
	}
	for _, stream := range []bool{true, false} {
		a := s.post("/v1/responses", object{"input": "second", "conversation": "busy", "stream": stream})
		o := a.refused(http.StatusConflict, "")
		if str(o, "error", "code") != "conversation_busy" || a.header.Get("Retry-After") == "" {
			t.Errorf("%v, Retry-After %q", a, a.header.Get("Retry-After"))
		}
		attach := str(o, "attach")
		if !strings.HasPrefix(attach, "/v1/responses/tail?") || !strings.Contains(str(o, "detail"), attach) {
			t.Fatalf("no address to attach to: %v", a)
		}
		attached := s.stream(http.MethodGet, attach, nil)
		if attached.untilText("begun "); attached.seen[0].Type != "response.created" {
			t.Errorf("attached: %s", attached.outline())
		}
		attached.abort()
	}
	resp, err := antonv1.NewResponsesServiceClient(s.dial()).CreateResponse(s.call(), &antonv1.CreateResponseRequest{
		Conversation: "busy", Input: []*antonv1.InputItem{{Role: "user", Text: "second"}}})
	if err == nil {
		_, err = resp.Recv()
	}
	wantCode(t, "second turn by gRPC", err, codes.FailedPrecondition)
	if reason, meta := reasonOf(err); reason != "CONVERSATION_BUSY" || meta["attach"] == "" {
		t.Errorf("reason %s %v", reason, meta)
	}
	c.say("done")
	if tn := st.turn(); tn.text != "begun done" {
		t.Errorf("the first turn says %q", tn.text)
	}
	if ms := messages(t, s, "busy"); len(ms) != 2 || ms[0].Content != "first" {
		t.Errorf("something of the refused request is stored: %+v", ms)
	}
	if o := s.get("/v1/conversations/busy").ok(); o["turns"] != 1.0 || o["preview"] != "first" {
		t.Errorf("conversation %v", o)
	}
}

// Of many first requests at once one wins, and all others are told.
func TestBusyFromTheFirstMoment(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	const n = 12
	results := make(chan answer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			a, err := s.try(http.MethodPost, "/v1/responses", object{"input": fmt.Sprintf("asker %d", i), "conversation": "race", "stream": false})
			if err != nil {
				t.Error(err)
				return
			}
			results <- a
		})
	}
	c := p.next()
	next := func() answer {
		t.Helper()
		select {
		case a := <-results:
			return a
		case c := <-p.calls:
			t.Fatalf("%q runs beside another turn of its conversation", c.asked())
		case <-time.After(patience):
			t.Fatal("a request is not answered")
		}
		return answer{}
	}
	for range n - 1 {
		next().refused(http.StatusConflict, "")
	}
	c.say("you won")
	next().ok()
	all.Wait()
	if ms := messages(t, s, "race"); len(ms) != 2 || ms[0].Content != c.asked() {
		t.Errorf("stored %+v", ms)
	}
}
