package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
)

// A background response is answered at once, runs without its client, and is
// read by its id while it runs and after.
func TestBackground(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	r := s.create(object{"input": "count", "background": true, "conversation": "c", "metadata": object{"k": "v"}})
	if r.Status != "in_progress" || !r.Background || len(r.Output) != 0 || r.ConversationID != "c" || r.Usage != nil {
		t.Errorf("answered %+v", r)
	}
	c := p.next()
	if got := s.retrieve(r.ID); got.Status != "in_progress" || !got.Background || got.OutputText != "" {
		t.Errorf("polled %+v", got)
	}
	first := s.replay(r.ID, "")
	play(c, first, "One, ", "two, ")
	if got := s.retrieve(r.ID); got.Status != "in_progress" || got.OutputText != "One, two, " || len(got.Output) != 1 || got.Output[0].Status != "in_progress" {
		t.Errorf("polled %+v", got)
	}
	last := first.seen[len(first.seen)-1].seq()
	first.abort() // and comes back behind what it saw
	second, whole := s.replay(r.ID, fmt.Sprintf("&starting_after=%d", last)), s.replay(r.ID, "")
	play(c, second, "three")
	if second.seen[0].seq() <= last || second.text() != "three" {
		t.Errorf("starting after %d: %s %q", last, second.outline(), second.text())
	}
	c.finish("stop")
	tn := whole.turn()
	if tn.text != "One, two, three" || tn.end.Type != "response.completed" {
		t.Errorf("%s %q", tn.end.Type, tn.text)
	}
	joined := append(slices.Clone(first.seen), second.rest()...)
	sameFrames(t, "in two pieces", joined, tn.frames)
	if got := s.retrieve(r.ID); got.Status != "completed" || got.OutputText != tn.text || !got.Background || got.Usage == nil {
		t.Errorf("at the end %+v", got)
	}
	if got := history(t, s, "c"); fmt.Sprint(got) != "[user: count assistant: One, two, three]" {
		t.Errorf("messages %q", got)
	}
	// It is gone on from like any other.
	wait := s.begin(http.MethodPost, "/v1/responses", object{"input": "on", "previous_response_id": r.ID, "stream": false})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: count assistant: One, two, three user: on]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("four")
	wait().ok()
}

func TestBackgroundStreamed(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "count", "background": true})
	c := p.next()
	play(c, st, "One, ")
	id := st.seenID(t)
	st.abort()
	live := s.replay(id, "")
	play(c, live, "two")
	c.finish("stop")
	tn := live.turn()
	if tn.text != "One, two" || !tn.final.Background {
		t.Errorf("%s %q", tn.end.Type, tn.text)
	}
	sameFrames(t, "before it hung up", st.seen, tn.frames[:len(st.seen)])
}

func TestBackgroundCancelAndDelete(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	r := s.create(object{"input": "count", "background": true})
	c := p.next()
	live := s.replay(r.ID, "")
	play(c, live, "One, ")
	if o := s.post("/v1/responses", object{"input": "q", "previous_response_id": r.ID}).refused(http.StatusConflict, ""); str(o, "error", "code") != "conversation_busy" {
		t.Errorf("%v", o)
	}
	a := s.post("/v1/responses/"+r.ID+"/cancel", object{})
	a.ok()
	if got := decode[response](t, a.body); got.Status != "cancelled" || got.OutputText != "One, " || !got.Background {
		t.Errorf("cancelled %v", a)
	}
	c.left()
	if tn := live.turn(); tn.final.Status != "cancelled" {
		t.Errorf("%s", tn.end.data)
	}
	r = s.create(object{"input": "again", "background": true})
	c = p.next()
	live = s.replay(r.ID, "")
	play(c, live, "begun")
	s.delete("/v1/responses/" + r.ID).ok()
	c.left()
	live.rest()
	s.get("/v1/responses/"+r.ID).refused(http.StatusNotFound, "Response not found")
	s.get("/v1/conversations/"+r.ConversationID).refused(http.StatusNotFound, "Conversation not found")

	// It fails like any other, but the answer to its request was another one.
	r = s.create(object{"input": "fail", "background": true})
	live = s.replay(r.ID, "")
	p.next().fail(http.StatusUnauthorized, "{}", nil)
	live.rest()
	if got := s.retrieve(r.ID); got.Status != "failed" || got.Error == nil || got.Error.Code != "provider_auth" {
		t.Errorf("failed %+v", got)
	}
	// What is wrong with the request is said at once.
	s.post("/v1/responses", object{"input": "q", "background": true, "stream": false, "project": "nowhere"}).refused(http.StatusNotFound, "Project not found: nowhere")
	s.post("/v1/responses", object{"input": " ", "background": true, "stream": false}).refused(http.StatusBadRequest, "No user message in input")
}

// After kill -9 a background response tells that it was interrupted, keeps what
// was shown, and still says what was asked for.
func TestBackgroundKilled(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for _, when := range []string{"at once", "in mid-text"} {
		first := s.create(object{"input": "before", "background": true, "tools": []object{function("fetch")}})
		c := p.next()
		live := s.replay(first.ID, "")
		c.say("ready")
		live.rest()
		r := s.create(object{"input": "count", "background": true, "previous_response_id": first.ID, "tools": []object{function("fetch")},
			"metadata": object{"k": "v"}, "reasoning": object{"effort": "low"}, "tool_choice": "required", "user": "me"})
		if when == "in mid-text" {
			c = p.next()
			live = s.replay(r.ID, "")
			play(c, live, "One, ", "two")
		}
		asked := s.get("/v1/responses/" + r.ID).ok()
		s.kill()
		s.restart()
		got := s.get("/v1/responses/" + r.ID)
		o := got.ok()
		if o["status"] != "incomplete" || str(o, "incomplete_details", "reason") != "interrupted" || !strings.HasPrefix("One, two", str(o, "output_text")) {
			t.Errorf("killed %s: %v", when, got)
		}
		for _, k := range []string{"background", "previous_response_id", "tools", "tool_choice", "metadata", "reasoning", "user", "store", "created_at", "model", "conversation"} {
			if !sameJSON(o[k], asked[k]) {
				t.Errorf("killed %s: %s is %v, was %v", when, k, o[k], asked[k])
			}
		}
		checkTurn(t, s.replay(r.ID, "").rest())
		wait := s.begin(http.MethodPost, "/v1/responses", object{"input": "go on", "previous_response_id": r.ID, "stream": false})
		for c = p.next(); c.asked() != "go on"; c = p.next() { // the call of the dead process may come first
			c.end()
		}
		if got := fmt.Sprint(c.transcript()); !strings.HasPrefix(got, "[user: before assistant: ready user: count") || !strings.HasSuffix(got, " user: go on]") {
			t.Errorf("the model sees %s", got)
		}
		c.say("on")
		wait().ok()
	}
}

// Over gRPC it is a stream that the client may leave.
func TestBackgroundOverGRPC(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	client := antonv1.NewResponsesServiceClient(s.dial())
	st, err := client.CreateResponse(s.call(), &antonv1.CreateResponseRequest{Input: user("count"), Options: &antonv1.RequestOptions{Background: true}})
	if err != nil {
		t.Fatal(err)
	}
	c := p.next()
	ev, err := st.Recv()
	if err != nil || !ev.GetCreated().GetResponse().GetOptions().GetBackground() {
		t.Fatalf("%v %v", ev, err)
	}
	id := ev.ResponseId
	c.say("One, two")
	if _, err := receive(st); err != nil {
		t.Error(err)
	}
	r, err := client.GetResponse(s.call(), &antonv1.GetResponseRequest{ResponseId: id})
	if err != nil || r.Status != "completed" || r.OutputText != "One, two" || !r.Options.GetBackground() {
		t.Errorf("%v %v", r, err)
	}
}
