package blackbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
)

// Different conversations run side by side, and nothing of one gets into another.
func TestConcurrencyOfConversations(t *testing.T) {
	t.Parallel()
	const n, rounds = 32, 12
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	responses := antonv1.NewResponsesServiceClient(s.dial())
	streams := make([]*stream, n)
	rpcs := make([]grpc.ServerStreamingClient[antonv1.ResponseEvent], n)
	calls := make([]*call, n)
	id := func(i int) string { return fmt.Sprintf("c%02d", i) }
	for i := range n {
		question := "question of " + id(i)
		if i%4 == 3 {
			st, err := responses.CreateResponse(s.call(), &antonv1.CreateResponseRequest{
				Conversation: id(i), Input: []*antonv1.InputItem{{Role: "user", Text: question}}})
			if err != nil {
				t.Fatal(err)
			}
			rpcs[i] = st
		} else {
			streams[i] = s.ask(object{"input": question, "conversation": id(i)})
		}
	}
	for range n {
		c := p.next()
		var i int
		if _, err := fmt.Sscanf(c.asked(), "question of c%d", &i); err != nil || calls[i] != nil {
			t.Fatalf("call about %q: %v", c.asked(), err)
		}
		calls[i] = c
	}
	live := s.get("/health").ok()["live_conversations"].([]any)
	inFlight := s.get("/v1/responses/in-flight-list").ok()["in_flight"].([]any)
	if len(live) != n || len(inFlight) != n {
		t.Errorf("%d live conversations, %d in flight, want %d", len(live), len(inFlight), n)
	}
	want := make([]string, n)
	for r := range rounds {
		for i, c := range calls {
			piece := fmt.Sprintf("%s/%d ", id(i), r)
			want[i] += piece
			c.text(piece)
		}
	}
	for _, c := range calls {
		c.finish("stop")
	}
	for i := range n {
		var text string
		if streams[i] != nil {
			text = streams[i].turn().text
		} else {
			all, err := receive(rpcs[i])
			if err != nil {
				t.Fatal(err)
			}
			text = eventText(all)
		}
		if text != want[i] {
			t.Errorf("%s streamed %q, want %q", id(i), text, want[i])
		}
		if ms := messages(t, s, id(i)); len(ms) != 2 || ms[1].Content != want[i] || ms[0].Content != "question of "+id(i) {
			t.Errorf("%s stored %+v", id(i), ms)
		}
	}
	ids := conversations(t, s, "?project=all")
	slices.Sort(ids)
	if len(ids) != n || ids[0] != id(0) || ids[n-1] != id(n-1) {
		t.Errorf("conversations %v", ids)
	}
	if live := s.get("/health").ok()["live_conversations"]; strings.Trim(fmt.Sprint(live), "[]") != "" {
		t.Errorf("still live: %v", live)
	}
}
