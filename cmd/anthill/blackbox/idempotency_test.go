package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	antonv1 "anthill/gen/anton/v1"
)

// A request that is sent again with its key begins nothing anew: it is answered
// with what the first one began, while that runs and after.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	h := headers("Idempotency-Key", "key-1")
	body := object{"input": "count", "conversation": "c", "metadata": object{"b": "1", "a": "2"}}
	st := s.ask(body, h)
	c := p.next()
	play(c, st, "One, ")
	again, third := s.ask(body, h), s.begin(http.MethodPost, "/v1/responses", object{"input": "count", "conversation": "c", "stream": false, "metadata": object{"a": "2", "b": "1"}}, h)
	again.untilText("One, ")
	for what, other := range map[string]object{"another question": {"input": "other", "conversation": "c"}, "another conversation": {"input": "count"},
		"more options": {"input": "count", "conversation": "c", "temperature": 1}} {
		o := s.do(http.MethodPost, "/v1/responses", other, h).refused(http.StatusConflict, "")
		if str(o, "error", "code") != "idempotency_key_reused" {
			t.Errorf("%s: %v", what, o)
		}
	}
	c.say("two")
	tn := st.turn()
	sameFrames(t, "sent again", again.turn().frames, tn.frames)
	if r := decode[response](t, third().body); r.ID != tn.responseID || r.OutputText != "One, two" {
		t.Errorf("sent a third time: %+v", r)
	}
	check := func() {
		t.Helper()
		sameFrames(t, "sent again later", s.ask(body, h).turn().frames, tn.frames)
		if got := history(t, s, "c"); fmt.Sprint(got) != "[user: count assistant: One, two]" {
			t.Errorf("messages %q", got)
		}
	}
	check()
	s.kill()
	s.restart()
	check()
	rpc, err := antonv1.NewResponsesServiceClient(s.dial()).CreateResponse(s.call(), &antonv1.CreateResponseRequest{Input: user("count"), IdempotencyKey: "key-1"})
	wantCode(t, "another request by gRPC", firstOf(rpc, err), codes.AlreadyExists)
	// Without the key it is another request, and so is it once the first is deleted.
	for _, again := range []http.Header{nil, h, headers("Idempotency-Key", "key-2")} {
		if again != nil && again.Get("Idempotency-Key") == "key-1" {
			s.delete("/v1/responses/" + tn.responseID).ok()
		}
		wait := s.begin(http.MethodPost, "/v1/responses", object{"input": "count", "conversation": "c", "stream": false, "metadata": object{"b": "1", "a": "2"}}, again)
		p.next().say("anew")
		if r := decode[response](t, wait().body); r.ID == tn.responseID || r.OutputText != "anew" {
			t.Errorf("%v: %+v", again, r)
		}
	}
}

// Of many copies of a request that come at once one begins a turn, and all are
// answered with it, also where it goes on in a copy of a conversation.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	first := s.create(object{"input": "first"})
	s.create(object{"input": "second", "previous_response_id": first.ID})
	for name, body := range map[string]object{"new": {"input": "new"}, "in a conversation": {"input": "in it", "conversation": "c"},
		"background": {"input": "behind", "background": true}, "branch": {"input": "branch", "previous_response_id": first.ID}} {
		before := len(conversations(t, s, "?project=all"))
		h := headers("Idempotency-Key", "at once "+name)
		ids := make([]string, 16)
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() {
				b := object{"stream": false}
				for k, v := range body {
					b[k] = v
				}
				a, err := s.try(http.MethodPost, "/v1/responses", b, h)
				if err != nil || a.status != http.StatusOK {
					t.Errorf("%s: %v %v", name, a, err)
					return
				}
				ids[i] = decode[response](t, a.body).ID
			})
		}
		all.Wait()
		for _, id := range ids {
			if id == "" || id != ids[0] {
				t.Errorf("%s: responses %v", name, ids)
				break
			}
		}
		if after := len(conversations(t, s, "?project=all")); after != before+1 {
			t.Errorf("%s: %d conversations more", name, after-before)
		}
	}
}

// A key is text of a reasonable size; what is refused uses none up.
func TestIdempotencyKeyRefusals(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	s.do(http.MethodPost, "/v1/responses", object{"input": "q"}, headers("Idempotency-Key", strings.Repeat("k", 256))).refused(http.StatusUnprocessableEntity, "")
	const request = `{"input":"q"}`
	reply := s.raw(fmt.Sprintf("POST /v1/responses HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nIdempotency-Key: a\xffb\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		s.addr, len(request), request))
	if status := statusOf(reply); status < 400 || status > 499 {
		t.Errorf("a key that is no text: %s", reply)
	}
	err := firstOf(antonv1.NewResponsesServiceClient(s.dial()).CreateResponse(s.call(), &antonv1.CreateResponseRequest{Input: user("q"), IdempotencyKey: "a\x00b"}))
	wantCode(t, "NUL in a key", err, codes.InvalidArgument)
}

func TestIdempotencyKeyOfARefusedRequest(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	h := headers("Idempotency-Key", "kept")
	s.do(http.MethodPost, "/v1/responses", object{"input": "q", "project": "nowhere"}, h).refused(http.StatusNotFound, "Project not found: nowhere")
	s.do(http.MethodPost, "/v1/responses", object{"input": " "}, h).refused(http.StatusBadRequest, "No user message in input")
	r := s.create(object{"input": "q"}, h)
	if again := s.create(object{"input": "q"}, h); again.ID != r.ID {
		t.Errorf("%s, then %s", r.ID, again.ID)
	}
	// One that failed is answered with its failure: asking anew needs a new key.
	q := newProvider(t, func(c *call) { c.fail(http.StatusUnauthorized, "{}", nil) })
	s = start(t, withModel(q))
	for range 2 {
		o := s.do(http.MethodPost, "/v1/responses", object{"input": "q", "stream": false}, h).refused(http.StatusBadRequest, "")
		if str(o, "error", "code") != "provider_auth" {
			t.Errorf("%v", o)
		}
	}
	if len(q.seen) != 1 {
		t.Errorf("the provider was asked %d times", len(q.seen))
	}
}
