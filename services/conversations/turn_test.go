package conversations

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

func TestTurnIsStreamedStoredAndReplayed(t *testing.T) {
	h := newHouse(t)
	h.provider.Store(says("Good ", "morning"))
	live := h.ask(t, "c1", "Hello")
	final := grammar(t, live)
	if final.Status != statusCompleted || final.OutputText != "Good morning" {
		t.Fatalf("final response %v", final)
	}
	tail, err := collect(t, func(c *collector) error {
		return h.TailResponse(&antonv1.TailResponseRequest{ConversationId: "c1"}, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	ms := h.messages(t, h.Room, "c1")
	if len(ms) != 2 || ms[0].Content != "Hello" || ms[1].Content != "Good morning" {
		t.Fatalf("messages %v", ms)
	}
	for name, replay := range map[string][]*antonv1.ResponseEvent{"tail": tail, "messages": ms[1].Events} {
		if len(replay) != len(live) {
			t.Fatalf("%s has %d events, live had %d", name, len(replay), len(live))
		}
		for i := range live {
			if !proto.Equal(live[i], replay[i]) {
				t.Errorf("%s event %d differs:\n%v\n%v", name, i, live[i], replay[i])
			}
		}
	}
}

// TestCrashKeepsWhatWasSaid leaves a turn as a crash does and opens the room again.
func TestCrashKeepsWhatWasSaid(t *testing.T) {
	h := newHouse(t)
	half := make(chan struct{})
	hold := make(chan struct{})
	h.provider.Store(&script{answer: func(ctx context.Context, _ agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
		if err := emit(agent.Delta{Text: "half of it"}); err != nil {
			return agent.Completion{}, err
		}
		close(half)
		<-hold
		return agent.Completion{}, ctx.Err()
	}})
	t.Cleanup(func() { close(hold) })
	turn, err := h.beginTurn(t, &antonv1.CreateResponseRequest{Conversation: "c1",
		Input: []*antonv1.InputItem{{Role: "user", Text: "Tell me"}}})
	if err != nil {
		t.Fatal(err)
	}
	<-half
	if err := turn.log.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	shown := turn.log.Next()

	after := h.open(t)
	ms := h.messages(t, after, "c1")
	if len(ms) != 2 || ms[1].Content != "half of it" || ms[1].Status != statusIncomplete {
		t.Fatalf("messages after the crash: %v", ms)
	}
	final := grammar(t, ms[1].Events)
	if final.IncompleteReason != reasonInterrupted {
		t.Fatalf("reason %q", final.IncompleteReason)
	}
	for _, ev := range ms[1].Events {
		if ev.GetIncomplete() != nil && uint64(ev.SequenceNumber) < shown {
			t.Fatalf("sequence number %d could have been shown already", ev.SequenceNumber)
		}
	}
	h.Room = after
	h.provider.Store(says("and the rest"))
	grammar(t, h.ask(t, "c1", "Go on"))
}

func TestCrashBeforeTheFirstChunk(t *testing.T) {
	h := newHouse(t)
	rec := &turnRecord{ID: "turn_x", ResponseID: "resp_x", ConvID: "c1", ConvKey: "k", Status: statusRunning, Created: 1}
	err := h.main.Update(t.Context(), func(tx store.Tx) error {
		if err := turns.Put(tx, rec); err != nil {
			return err
		}
		return conversations.Put(tx, &conversation{ID: "c1", Key: "k", ProjectID: "p1", Turns: 1, NextTurn: 1, Running: rec.ID})
	})
	if err != nil {
		t.Fatal(err)
	}
	after := h.open(t)
	ms := h.messages(t, after, "c1")
	if final := grammar(t, ms[1].Events); final.IncompleteReason != reasonInterrupted {
		t.Fatalf("final %v", final)
	}
	if last := ms[1].Events[len(ms[1].Events)-1]; last.SequenceNumber < firstReserve {
		t.Fatalf("the end has sequence number %d, which may have been shown", last.SequenceNumber)
	}
}

type echo struct{}

func (echo) Spec() agent.ToolSpec {
	return agent.ToolSpec{Name: "echo", Schema: json.RawMessage(`{"type":"object"}`)}
}

func (echo) Run(_ context.Context, in json.RawMessage) (string, error) { return string(in), nil }

// callsTools asks for n tools, one per round, then answers.
func callsTools(n int) *script {
	return &script{answer: func(_ context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
		done := 0
		for i := len(req.Messages) - 1; i >= 0 && req.Messages[i].Role != agent.RoleUser; i-- {
			done += len(req.Messages[i].Results)
		}
		if done < n {
			call := agent.ToolCall{ID: "call_" + strings.Repeat("x", done+1), Name: "echo", Input: `{"n":1}`}
			if err := emit(agent.Delta{CallStart: &agent.ToolCall{ID: call.ID, Name: call.Name}}); err != nil {
				return agent.Completion{}, err
			}
			return agent.Completion{Calls: []agent.ToolCall{call}, Finish: agent.FinishTools}, nil
		}
		if err := emit(agent.Delta{Text: "done"}); err != nil {
			return agent.Completion{}, err
		}
		return agent.Completion{Text: "done", Finish: agent.FinishStop}, nil
	}}
}

// TestDeleteAnyTurnLeavesPairsValid runs random conversations with tools and
// deletes random turns: what the model is sent next stays valid.
func TestDeleteAnyTurnLeavesPairsValid(t *testing.T) {
	h := newHouse(t, echo{})
	rng := rand.New(rand.NewPCG(1, 2))
	const conv = "c1"
	for range 8 {
		h.provider.Store(callsTools(rng.IntN(3)))
		grammar(t, h.ask(t, conv, "question"))
	}
	for left := 8; left > 0; left-- {
		out, err := h.DeleteTurn(t.Context(), &antonv1.DeleteTurnRequest{Id: conv, TurnIndex: int32(rng.IntN(left))})
		if err != nil {
			t.Fatal(err)
		}
		if out.RemovedCount < 2 {
			t.Errorf("a turn had %d messages", out.RemovedCount)
		}
		c, err := h.GetConversation(t.Context(), &antonv1.GetConversationRequest{Id: conv})
		if err != nil {
			t.Fatal(err)
		}
		if c.Turns != int32(left-1) {
			t.Fatalf("%d turns are left, the conversation says %d", left-1, c.Turns)
		}
		seen := make(chan agent.Request, 1)
		s := says("ok")
		s.calls = seen
		h.provider.Store(s)
		h.ask(t, conv, "next")
		checkPairs(t, (<-seen).Messages)
		if _, err := h.DeleteTurn(t.Context(), &antonv1.DeleteTurnRequest{Id: conv, TurnIndex: int32(left - 1)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.DeleteTurn(t.Context(), &antonv1.DeleteTurnRequest{Id: conv, TurnIndex: 0})
	if f := new(fault.Error); !errors.As(err, &f) || f.Reason != "TURN_NOT_FOUND" {
		t.Fatalf("deleting from an empty conversation: %v", err)
	}
}

func checkPairs(t *testing.T, ms []agent.Message) {
	t.Helper()
	for i, m := range ms {
		if len(m.Calls) == 0 {
			continue
		}
		answered := map[string]bool{}
		if i+1 < len(ms) {
			for _, r := range ms[i+1].Results {
				answered[r.ID] = true
			}
		}
		for _, c := range m.Calls {
			if !answered[c.ID] {
				t.Fatalf("call %s has no result right after it", c.ID)
			}
		}
	}
}

func TestDeletionRemovesEverything(t *testing.T) {
	h := newHouse(t)
	h.provider.Store(says(strings.Repeat("long ", 40_000)))
	h.ask(t, "c1", strings.Repeat("a big question ", 10_000))
	h.ask(t, "keep", "me")
	if _, err := h.DeleteConversation(t.Context(), &antonv1.DeleteConversationRequest{Id: "c1"}); err != nil {
		t.Fatal(err)
	}
	if err := h.deleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []string
	err := h.bulk.View(t.Context(), func(rd store.Reader) error {
		ids = nil
		for _, table := range []string{"turn_body", "turn_log"} {
			for k := range rd.Scan(store.Prefix(key.Of(table))) {
				p := key.Parse(k)
				p.Str()
				if id := p.Str(); len(ids) == 0 || ids[len(ids)-1] != id {
					ids = append(ids, id)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 1 {
		t.Fatalf("turns in the bulk store after deletion: %v", ids)
	}
	if ms := h.messages(t, h.Room, "keep"); len(ms) != 2 {
		t.Fatalf("the other conversation has %d messages", len(ms))
	}
}

func TestBusyConversationRefusesAndStoresNothing(t *testing.T) {
	h := newHouse(t)
	started, hold := make(chan struct{}), make(chan struct{})
	h.provider.Store(&script{answer: func(ctx context.Context, _ agent.Request, _ func(agent.Delta) error) (agent.Completion, error) {
		close(started)
		select {
		case <-hold:
		case <-ctx.Done():
			return agent.Completion{}, ctx.Err()
		}
		return agent.Completion{Finish: agent.FinishStop}, nil
	}})
	turn, err := h.beginTurn(t, &antonv1.CreateResponseRequest{Conversation: "c1",
		Input: []*antonv1.InputItem{{Role: "user", Text: "first"}}})
	if err != nil {
		t.Fatal(err)
	}
	<-started
	_, err = h.beginTurn(t, &antonv1.CreateResponseRequest{Conversation: "c1",
		Input: []*antonv1.InputItem{{Role: "user", Text: "second"}}})
	if f := new(fault.Error); !errors.As(err, &f) || f.Reason != "CONVERSATION_BUSY" || f.Meta["attach"] == "" || f.Retry == 0 {
		t.Fatalf("second turn: %v", err)
	}
	if ms := h.messages(t, h.Room, "c1"); len(ms) != 1 || ms[0].Content != "first" {
		t.Fatalf("messages while it runs: %v", ms)
	}
	out, err := h.CancelResponse(t.Context(), &antonv1.CancelResponseRequest{ConversationId: "c1"})
	if err != nil || !out.Cancelled {
		t.Fatalf("cancel: %v %v", out, err)
	}
	<-turn.done
	ms := h.messages(t, h.Room, "c1")
	if len(ms) != 2 || ms[1].Status != statusCancelled {
		t.Fatalf("messages after the cancel: %v", ms)
	}
}
