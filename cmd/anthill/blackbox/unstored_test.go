package blackbox

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

// nowhere looks for texts in every file that the program has, and in its log.
func nowhere(t *testing.T, s *server, texts ...string) {
	t.Helper()
	look := func(where string, data []byte) {
		for _, text := range texts {
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%s contains %q", where, text)
			}
		}
	}
	err := filepath.WalkDir(filepath.Dir(s.home), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		look(path, data)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	look("stderr", []byte(s.stderr.String()))
	look("stdout", []byte(s.stdout.String()))
}

// What is not stored leaves no trace: in no list, under no id, in no file.
func TestUnstoredLeavesNothing(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.put("/v1/projects/general/files/a.txt", object{"content": "content of a"}).ok()
	before := s.state()
	const question, said, secret = "QUESTION-CANARY-1", "ANSWER-CANARY-2", "SYSTEM-CANARY-3"
	var ids []string
	for _, streamed := range []bool{true, false} {
		body := object{"input": []object{{"role": "developer", "content": secret}, {"role": "user", "content": question + strings.Repeat(" long", 40_000)}},
			"store": false, "stream": streamed, "instructions": secret, "metadata": object{"k": secret}, "user": secret}
		var st *stream
		var wait func() answer
		if streamed {
			st = s.ask(body)
		} else {
			wait = s.begin(http.MethodPost, "/v1/responses", body)
		}
		c := p.next()
		// It runs, and yet nobody sees it.
		if o := s.get("/v1/responses/in-flight-list").ok(); len(o["in_flight"].([]any)) != 0 {
			t.Errorf("in flight: %v", o)
		}
		if o := s.get("/health").ok(); len(o["live_conversations"].([]any)) != 0 {
			t.Errorf("health: %v", o["live_conversations"])
		}
		c.raw(chunk(object{"reasoning_content": said}, nil)).text(said+" reading ").tool(0, "call_1", "read_file", `{"path":"a.txt"}`).finish("tool_calls")
		c = p.next()
		if !strings.Contains(c.system(), secret) || !strings.Contains(c.results()["call_1"], "content of a") || c.paired() != nil {
			t.Errorf("the model is told %q and sees %q", c.system(), c.transcript())
		}
		c.say(said, " done", strings.Repeat(" "+said, 5000))
		var r response
		if streamed {
			tn := st.turn()
			r = tn.final
			if !strings.HasPrefix(tn.text, said+" reading "+said+" done") || tn.frames[0].ConversationID != "" || len(tn.calls()) != 1 || len(tn.thoughts) == 0 {
				t.Errorf("%s", outline(tn.frames))
			}
		} else {
			a := wait()
			a.ok()
			r = decode[response](t, a.body)
		}
		if r.Store == nil || *r.Store || r.ConversationID != "" || r.Status != "completed" || r.Usage == nil {
			t.Errorf("response %+v", r)
		}
		ids = append(ids, r.ID)
		for _, it := range r.Output {
			ids = append(ids, it.ID)
		}
	}
	for _, id := range ids {
		s.get("/v1/responses/"+id).refused(http.StatusNotFound, "Response not found")
		s.post("/v1/responses", object{"input": "q", "previous_response_id": id}).refused(http.StatusBadRequest, "")
		s.post("/v1/responses", object{"input": []object{{"type": "item_reference", "id": id}, {"role": "user", "content": "q"}}}).refused(http.StatusUnprocessableEntity, "")
	}
	if after := s.state(); after != before {
		t.Errorf("something changed:\n%s\nbefore:\n%s", after, before)
	}
	s.stop()
	nowhere(t, s, question, said, secret)
	s.restart()
	if after := s.state(); after != before {
		t.Errorf("something changed by a restart:\n%s\nbefore:\n%s", after, before)
	}
}

// It ends when its client goes: nobody could ever read what comes.
func TestUnstoredEndsWithItsClient(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for _, when := range []string{"before any text", "in mid-text", "while a tool waits"} {
		st := s.ask(object{"input": "count", "store": false})
		c := p.next()
		switch when {
		case "in mid-text":
			play(c, st, "One, ", "two")
		case "while a tool waits":
			c.tool(0, "call_1", "list_files", "{}").finish("tool_calls")
			c = p.next()
		}
		st.abort()
		c.left()
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := s.request(ctx, http.MethodPost, "/v1/chat/completions", object{"messages": []object{{"role": "user", "content": "count"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := s.http.Do(req)
		failed <- err
	}()
	c := p.next()
	c.text("One, ")
	cancel()
	if err := <-failed; err == nil {
		t.Error("the request did not fail")
	}
	c.left()

	ctx, cancel = context.WithCancel(s.call())
	rpc, err := antonv1.NewResponsesServiceClient(s.dial()).CreateResponse(ctx, &antonv1.CreateResponseRequest{
		Input: user("count"), Options: &antonv1.RequestOptions{Store: proto.Bool(false)}})
	if err != nil {
		t.Fatal(err)
	}
	c = p.next()
	c.text("One, ")
	for ev := (&antonv1.ResponseEvent{}); ev.GetOutputTextDelta() == nil; {
		if ev, err = rpc.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	_, err = receive(rpc)
	wantCode(t, "hung up", err, codes.Canceled)
	c.left()
	if got := conversations(t, s, "?project=all"); len(got) != 0 {
		t.Errorf("conversations %v", got)
	}
}

// Beside a conversation it knows what was said there, and adds nothing.
func TestUnstoredReadsAConversation(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	responses := branchable(t, s, p, "c")
	before := s.state() + string(s.get("/v1/conversations/c/items?limit=100").body)
	alpha, beta := "user: alpha? assistant: ALPHA?", " user: beta? calls call_a result call_a assistant: BETA?"
	for _, tc := range []struct {
		body object
		want string
	}{
		{object{"conversation": "c"}, alpha + beta + " user: gamma? assistant: GAMMA? user: aside?"},
		{object{"previous_response_id": responses[2]}, alpha + beta + " user: gamma? assistant: GAMMA? user: aside?"},
		{object{"previous_response_id": responses[1]}, alpha + beta + " user: aside?"},
		{object{"previous_response_id": responses[0]}, alpha + " user: aside?"},
		{object{}, "user: aside?"},
	} {
		tc.body["input"], tc.body["store"] = "aside?", false
		st := s.ask(tc.body)
		c := p.next()
		if got := strings.Trim(fmt.Sprint(c.transcript()), "[]"); got != tc.want {
			t.Errorf("%v: the model sees %s, want %s", tc.body, got, tc.want)
		}
		// Nothing is locked either.
		beside := s.ask(object{"input": "beside?", "store": false, "conversation": "c"})
		p.next().say("Beside.")
		beside.turn()
		c.say("Aside.")
		if tn := st.turn(); tn.text != "Aside." {
			t.Errorf("%q", tn.text)
		}
	}
	if after := s.state() + string(s.get("/v1/conversations/c/items?limit=100").body); after != before {
		t.Errorf("the conversation changed:\n%s\nbefore:\n%s", after, before)
	}
	// What is still being said is nothing to go on from.
	st := s.ask(object{"input": "delta?", "conversation": "c"})
	c := p.next()
	play(c, st, "begun ")
	for _, body := range []object{{"conversation": "c"}, {"previous_response_id": st.seenID(t)}} {
		body["input"], body["store"] = "aside?", false
		if o := s.post("/v1/responses", body).refused(http.StatusConflict, ""); str(o, "error", "code") != "conversation_busy" {
			t.Errorf("%v", o)
		}
	}
	aside := s.ask(object{"input": "aside?", "store": false, "previous_response_id": responses[0]})
	p.next().say("Aside.")
	aside.turn()
	c.say("done")
	st.turn()
	s.post("/v1/responses", object{"input": "q", "store": false, "conversation": "nowhere"}).refused(http.StatusNotFound, "Conversation not found")
	s.get("/v1/conversations/nowhere").refused(http.StatusNotFound, "Conversation not found")
	s.post("/v1/responses", object{"input": "q", "store": false, "project": "nowhere"}).refused(http.StatusNotFound, "Project not found: nowhere")
	s.post("/v1/responses", object{"input": "q", "store": false, "background": true}).refused(http.StatusUnprocessableEntity, "")
	// The tools are those of the project that is named.
	s.post("/v1/projects", object{"name": "side"}).ok()
	s.put("/v1/projects/side/files/where.txt", object{"content": "the side"}).ok()
	st = s.ask(object{"input": "q", "store": false, "project": "side"})
	p.next().tool(0, "call_1", "read_file", `{"path":"where.txt"}`).finish("tool_calls")
	c = p.next()
	if got := c.results()["call_1"]; !strings.Contains(got, "the side") {
		t.Errorf("the tool says %q", got)
	}
	c.say("ok")
	st.turn()
}

// How it fails is said as of any other turn; a stop of the server is waited for.
func TestUnstoredFailures(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "q", "store": false})
	p.next().fail(http.StatusUnauthorized, "{}", nil)
	if tn := st.turn(); tn.end.Type != "response.failed" || tn.end.Code != "provider_auth" {
		t.Errorf("%s", tn.end.data)
	}
	wait := s.begin(http.MethodPost, "/v1/responses", object{"input": "q", "store": false, "stream": false})
	p.next().fail(http.StatusUnauthorized, "{}", nil)
	if o := wait().refused(http.StatusBadRequest, ""); str(o, "error", "code") != "provider_auth" {
		t.Errorf("%v", o)
	}
	st = s.ask(object{"input": "q", "store": false})
	p.next().text("half an ").cut()
	if tn := st.turn(); tn.final.reason() != "stream_cut" || tn.text != "half an " {
		t.Errorf("%s", tn.end.data)
	}
	st = s.ask(object{"input": "q", "store": false})
	c := p.next()
	play(c, st, "slow ")
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.terminate(t) }()
	c.left()
	<-stopped
	if tn := st.turn(); tn.final.reason() != "interrupted" || tn.text != "slow " {
		t.Errorf("%s", tn.end.data)
	}
}

// Items of what is not stored have ids of their own, which no two share.
func TestUnstoredIDs(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	var ids []string
	for range 3 {
		r := s.create(object{"input": "q", "store": false})
		ids = append(ids, r.ID, r.Output[0].ID)
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("ids %v", ids)
	}
}
