package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// create makes a response that is answered as one object.
func (s *server) create(body object, h ...http.Header) response {
	s.t.Helper()
	b := object{"stream": false}
	for k, v := range body {
		b[k] = v
	}
	a := s.do(http.MethodPost, "/v1/responses", b, h...)
	a.ok()
	return decode[response](s.t, a.body)
}

// history is what a conversation's messages say, without events and ids.
func history(t *testing.T, s *server, conversation string) (out []string) {
	t.Helper()
	for _, m := range messages(t, s, conversation) {
		out = append(out, m.Role+": "+m.Content)
	}
	return out
}

// listed is an entry of a list of items.
type listed struct {
	ID      string  `json:"id"`
	Type    string  `json:"type"`
	Role    string  `json:"role"`
	Status  string  `json:"status"`
	Content []part  `json:"content"`
	Summary []part  `json:"summary"`
	CallID  string  `json:"call_id"`
	Name    string  `json:"name"`
	Output  *string `json:"output"`

	Arguments string `json:"arguments"`
}

func (l listed) String() string {
	text := l.Type
	if l.Role != "" {
		text = l.Role
	}
	for _, p := range append(slices.Clone(l.Content), l.Summary...) {
		text += " " + p.Type + "=" + p.Text
	}
	if l.Name != "" {
		text += " " + l.Name + l.Arguments
	}
	if l.Output != nil {
		text += " -> " + *l.Output
	}
	return text
}

// items are the items of a conversation, oldest first.
func items(t *testing.T, s *server, conversation string) []listed {
	t.Helper()
	a := s.with(t).get("/v1/conversations/" + conversation + "/items?order=asc&limit=100")
	a.ok()
	return decode[struct{ Data []listed }](t, a.body).Data
}

// A response goes on from the one before it in the same conversation, as long
// as that is the newest.
func TestPreviousResponseGoesOn(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	var last response
	var want []string
	for i := range 4 {
		q := fmt.Sprintf("question %d", i)
		body := object{"input": q}
		if i > 0 {
			body["previous_response_id"] = last.ID
		}
		r := s.create(body)
		if i > 0 && (r.ConversationID != last.ConversationID || r.PreviousID == nil || *r.PreviousID != last.ID) {
			t.Errorf("response %d: conversation %q after %q, previous %v", i, r.ConversationID, last.ConversationID, r.PreviousID)
		}
		want = append(want, "user: "+q)
		if got := p.about(t, q).transcript(); !slices.Equal(got, want) {
			t.Errorf("the model sees %q, want %q", got, want)
		}
		want = append(want, "assistant: About "+q)
		last = r
	}
	if got := history(t, s, last.ConversationID); !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
	if got := conversations(t, s, "?project=all"); len(got) != 1 {
		t.Errorf("conversations %v", got)
	}
	// Instructions are not carried over, and a restart is no end.
	first := s.create(object{"input": "hello", "instructions": "Speak Greek."})
	s.stop()
	s.restart()
	s.create(object{"input": "again", "previous_response_id": first.ID})
	if c := p.about(t, "again"); strings.Contains(c.system(), "Greek") || fmt.Sprint(c.transcript()) != "[user: hello assistant: About hello user: again]" {
		t.Errorf("the model sees %q after %q", c.transcript(), c.system())
	}
	if r := s.get("/v1/responses/" + first.ID).ok(); str(r, "instructions") != "Speak Greek." || r["previous_response_id"] != nil {
		t.Errorf("the first response: %v", r)
	}
}

// branchable is a conversation of three turns, of which the second used a tool
// of the server, and a title of its own.
func branchable(t *testing.T, s *server, p *provider, id string) (responses []string) {
	t.Helper()
	threeTurns(t, s, p, id)
	for _, m := range messages(t, s, id) {
		if m.Role == "assistant" {
			responses = append(responses, m.frames(t)[0].responseID(t))
		}
	}
	s.patch("/v1/conversations/"+id, object{"title": "Of " + id}).ok()
	return responses
}

func (f frame) responseID(t *testing.T) string {
	t.Helper()
	return decode[response](t, f.Response).ID
}

// An older response is gone on from in a copy of the conversation: the copy has
// all that was said up to there and nothing of what came after, and the
// original does not change.
func TestPreviousResponseBranches(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.post("/v1/projects", object{"name": "side"}).ok()
	seen := [][]string{
		{"user: alpha?", "assistant: ALPHA?"},
		{"user: beta?", "calls call_a", "result call_a", "assistant: BETA?"},
	}
	texts := [][]string{{"user: alpha?", "assistant: ALPHA?"}, {"user: beta?", "assistant: Looking. \n\nBETA?"}}
	listing := [][]string{{"user input_text=alpha?", "assistant output_text=ALPHA?"},
		{"user input_text=beta?", "assistant output_text=Looking. ", "mcp_call list_files{}", "assistant output_text=BETA?"}}
	responses := branchable(t, s, p, "parent")
	s.patch("/v1/conversations/parent", object{"project": "side"}).ok()
	parent := func() string {
		t.Helper()
		return string(s.get("/v1/conversations/parent/messages").body) + string(s.get("/v1/conversations/parent").body) +
			string(s.get("/v1/conversations/parent/items?limit=100").body)
	}
	before := parent()
	var checks []func()
	for upTo, from := range responses[:2] {
		st := s.ask(object{"input": "and now?", "previous_response_id": from})
		id := st.conversation()
		if id == "parent" {
			t.Fatal("it goes on in the conversation itself")
		}
		c := p.next()
		want := append(slices.Concat(seen[:upTo+1]...), "user: and now?")
		if got := c.transcript(); !slices.Equal(got, want) || c.paired() != nil {
			t.Errorf("behind turn %d the model sees %q (%v), want %q", upTo, got, c.paired(), want)
		}
		if o := s.get("/v1/conversations/" + id).ok(); o["turns"] != float64(upTo+2) || o["running"] != true || o["project"] != "side" ||
			o["preview"] != "alpha?" || o["title"] != "Of parent" {
			t.Errorf("conversation %v", o)
		}
		c.say("Now.")
		tn := st.turn()
		if tn.final.PreviousID == nil || *tn.final.PreviousID != from {
			t.Errorf("previous_response_id %v", tn.final.PreviousID)
		}
		check := func() {
			t.Helper()
			if got, want := history(t, s, id), append(slices.Concat(texts[:upTo+1]...), "user: and now?", "assistant: Now."); !slices.Equal(got, want) {
				t.Errorf("messages %q, want %q", got, want)
			}
			var got []string
			for _, it := range items(t, s, id) {
				got = append(got, strings.Split(it.String(), " -> ")[0])
			}
			if want := append(slices.Concat(listing[:upTo+1]...), "user input_text=and now?", "assistant output_text=Now."); !slices.Equal(got, want) {
				t.Errorf("items %q, want %q", got, want)
			}
			sameCopies(t, s, "parent", id, upTo+1)
			if now := parent(); now != before {
				t.Errorf("the original changed:\n%s\n%s", before, now)
			}
		}
		check()
		checks = append(checks, check)
		// What was copied is gone on from like everything else.
		again := s.ask(object{"input": "deeper?", "previous_response_id": messages(t, s, id)[1].frames(t)[0].responseID(t)})
		c = p.next()
		if got := fmt.Sprint(c.transcript()); got != "[user: alpha? assistant: ALPHA? user: deeper?]" {
			t.Errorf("the model sees %s", got)
		}
		c.say("Deep.")
		deeper := again.turn().conversation
		if deeper == id || deeper == "parent" {
			t.Errorf("it goes on in %s", deeper)
		}
		check()
		s.delete("/v1/conversations/" + deeper).ok()
	}
	s.stop()
	s.restart()
	for _, check := range checks {
		check()
	}
	// The newest is gone on from in place, and then a copy of it is not needed.
	st := s.ask(object{"input": "on?", "previous_response_id": responses[2]})
	p.next().say("On.")
	if tn := st.turn(); tn.conversation != "parent" {
		t.Errorf("the newest response goes on in %s", tn.conversation)
	}
}

// sameCopies compares the events of the first turns of two conversations: all
// but the ids are the same.
func sameCopies(t *testing.T, s *server, a, b string, turns int) {
	t.Helper()
	x, y := messages(t, s, a), messages(t, s, b)
	for i := range 2 * turns {
		if x[i].Role != "assistant" {
			continue
		}
		if x[i].TurnID == y[i].TurnID {
			t.Errorf("two turns have the id %s", x[i].TurnID)
		}
		if x[i].Status != y[i].Status || x[i].Content != y[i].Content || len(x[i].Events) != len(y[i].Events) {
			t.Errorf("message %d is %v %q with %d events, its copy %v %q with %d", i, x[i].Status, x[i].Content, len(x[i].Events), y[i].Status, y[i].Content, len(y[i].Events))
			continue
		}
		rename := strings.NewReplacer(a, b, strings.TrimPrefix(x[i].TurnID, "turn_"), strings.TrimPrefix(y[i].TurnID, "turn_"))
		for n, data := range x[i].Events {
			if got, want := string(y[i].Events[n]), rename.Replace(string(data)); got != want {
				t.Errorf("event %d of message %d is\n%s\nits copy\n%s", n, i, want, got)
			}
		}
		checkTurn(t, y[i].frames(t))
		id := y[i].frames(t)[0].responseID(t)
		sameFrames(t, "the copy's stream", s.with(t).replay(id, "").rest(), y[i].frames(t))
	}
}

func TestPreviousResponseRefusals(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	responses := branchable(t, s, p, "c")
	state := s.state()
	unknown := func(id string) {
		t.Helper()
		for _, body := range []object{{"stream": true}, {"stream": false}, {"store": false}, {"background": true, "stream": false}} {
			body["input"], body["previous_response_id"] = "q", id
			o := s.post("/v1/responses", body).refused(http.StatusBadRequest, fmt.Sprintf("Previous response with id '%s' not found.", id))
			if str(o, "error", "code") != "previous_response_not_found" || str(o, "error", "param") != "previous_response_id" {
				t.Errorf("%s: %v", id, o)
			}
		}
	}
	for _, id := range []string{"resp_unknown", "unknown", "c", strings.TrimPrefix(responses[0], "resp_"), "turn_" + strings.TrimPrefix(responses[0], "resp_"),
		responses[0] + "x", "../" + responses[0], "resp_"} {
		unknown(id)
	}
	for _, conversation := range []any{"c", "other", object{"id": "c"}} {
		o := s.post("/v1/responses", object{"input": "q", "previous_response_id": responses[0], "conversation": conversation}).refused(http.StatusBadRequest, "")
		if str(o, "error", "code") != "mutually_exclusive_parameters" || str(o, "error", "param") != "previous_response_id" {
			t.Errorf("with a conversation: %v", o)
		}
	}
	s.post("/v1/responses", object{"input": "q", "previous_response_id": 7}).refused(http.StatusUnprocessableEntity, "")
	if after := s.state(); after != state {
		t.Errorf("a refused request changed something:\n%s\nbefore:\n%s", after, state)
	}

	// A response that runs is waited for.
	st := s.ask(object{"input": "long?", "previous_response_id": responses[2]})
	c := p.next()
	play(c, st, "begun ")
	running := st.seen[0].responseID(t)
	for _, id := range []string{running} {
		a := s.post("/v1/responses", object{"input": "q", "previous_response_id": id, "stream": false})
		if o := a.refused(http.StatusConflict, ""); str(o, "error", "code") != "conversation_busy" || a.header.Get("Retry-After") == "" {
			t.Errorf("%v", a)
		}
	}
	// One behind which another runs is branched off at once.
	other := s.ask(object{"input": "beside?", "previous_response_id": responses[2]})
	o := p.next()
	if got := fmt.Sprint(o.transcript()); strings.Contains(got, "long?") || !strings.HasSuffix(got, "user: gamma? assistant: GAMMA? user: beside?]") {
		t.Errorf("the model sees %s", got)
	}
	o.say("Beside.")
	if tn := other.turn(); tn.conversation == "c" {
		t.Error("two turns in one conversation")
	}
	c.say("done")
	st.turn()

	// What is deleted cannot be gone on from.
	s.delete("/v1/responses/" + responses[1]).ok()
	unknown(responses[1])
	st = s.ask(object{"input": "without beta?", "previous_response_id": responses[2]})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: alpha? assistant: ALPHA? user: gamma? assistant: GAMMA? user: without beta?]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("yes")
	st.turn()
	s.delete("/v1/conversations/c").ok()
	unknown(responses[0])
	unknown(responses[2])
}
