package rooms_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/rooms"
)

// fakeCoworkers answer as the test says.
type fakeCoworkers struct {
	mu    sync.Mutex
	asked []rooms.Inquiry
	full  bool // has no place for a question
	gate  chan struct{}
	reply func(rooms.Inquiry) rooms.Reply
}

func (f *fakeCoworkers) Spawn(store.Tx, string, string) (string, error) { return "c", nil }
func (f *fakeCoworkers) Exists(_ store.Reader, id string) (bool, error) { return id == "c", nil }
func (f *fakeCoworkers) Working(string) bool                            { return false }

func (f *fakeCoworkers) Ask(_ context.Context, q rooms.Inquiry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return &rooms.Undelivered{Reason: "QUEUE_FULL", Words: "full", Waits: true}
	}
	f.asked = append(f.asked, q)
	return nil
}

func (f *fakeCoworkers) Answer(ctx context.Context, id string, begun func()) (*rooms.Reply, error) {
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.asked {
		if q.ID == id {
			reply := f.reply(q)
			return &reply, nil
		}
	}
	return nil, &rooms.Undelivered{Reason: "GONE", Words: "gone", Final: true}
}

func coworkers(h *house) *fakeCoworkers {
	f := &fakeCoworkers{reply: func(q rooms.Inquiry) rooms.Reply {
		return rooms.Reply{Conversation: q.Conversation, Status: "completed", Text: "To " + q.Text}
	}}
	h.room.JoinCoworkers(f)
	return f
}

// said waits for n messages of the coworker.
func (h *house) said(n int) (own []*antv1.Message) {
	h.t.Helper()
	for len(own) < n {
		if h.t.Context().Err() != nil {
			h.t.Fatalf("%d messages of @anton, want %d", len(own), n)
		}
		v, err := h.room.ListMessages(h.t.Context(), &antv1.ListMessagesRequest{SessionId: "r"})
		if err != nil {
			h.t.Fatal(err)
		}
		own = nil
		for _, m := range v.Messages {
			if m.GetSenderId() == "@anton" {
				own = append(own, m)
			}
		}
	}
	return own
}

// The largest post still fits into a transaction when it asks the coworker, too.
func TestCoworkerAndTheLargestPost(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	var terminals []string
	for n := range 32 {
		terminals = append(terminals, fmt.Sprintf("t%d", n))
	}
	h.chat("r", terminals...)
	coworkers(h)
	h.sessions.put(rooms.Session{ID: "new", Name: "new", Type: "agent", Handle: "@new"})
	q := &req{SessionId: "r", SenderId: "@new", Content: new("@everyone and @anton what now?" + strings.Repeat(" x", 50_000)), IdempotencyKey: "k",
		Meta: `{"urgent":true,"reason":"because"}`}
	for n := range 32 {
		q.Asks = append(q.Asks, fmt.Sprintf("question %d %s", n, strings.Repeat("x", 2000)))
	}
	if first := h.post(q); len(first.Asks) != 32 || len(first.Deliveries) != 34 {
		t.Fatalf("%d questions, %d deliveries", len(first.Asks), len(first.Deliveries))
	}
	if own := h.said(1); !strings.HasPrefix(own[0].Content, "To @everyone and @anton") || len(own[0].Content) < 100_000 {
		t.Errorf("answered %.40q", own[0].Content)
	}
}

// So many questions wait, and no more; each is answered once there is a place for it.
func TestCoworkerHasSoManyErrands(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r")
	f := coworkers(h)
	f.full = true
	for n := range 51 {
		m := h.say("@ann", fmt.Sprintf("@anton %d", n))
		if d := m.Deliveries[1]; n < 50 && d.State != "retained" || n == 50 && d.Reason != "QUEUE_FULL" {
			t.Errorf("%d: %v", n, d)
		}
	}
	gone := h.say("@ann", "not for anybody")
	if len(gone.Deliveries) != 1 {
		t.Errorf("%v", gone.Deliveries)
	}
	f.mu.Lock()
	f.full = false
	f.mu.Unlock()
	h.room.Wake()
	for i, m := range h.said(50) {
		if want := fmt.Sprintf("To @anton %d", i); strings.TrimSpace(m.Content) != want {
			t.Errorf("answer %d is %q", i, m.Content)
		}
	}
}

// Whatever an answer says, it is a message of the room.
func TestCoworkerAnswersWhateverItSays(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r")
	f := coworkers(h)
	for i, tc := range []struct {
		reply rooms.Reply
		want  string
	}{
		{rooms.Reply{Text: "/break now"}, "/break now"},
		{rooms.Reply{Text: "  "}, "Done."},
		{rooms.Reply{Problem: "I was\nstopped."}, "I was stopped."},
		{rooms.Reply{Text: "Half", Problem: "Cut."}, "Half\n\nCut."},
		{rooms.Reply{Made: []rooms.Made{{Title: "a](x)\n[b", URL: "/v1/a"}}}, "Done.\n\n- [a)(x) (b](/v1/a)"},
		{rooms.Reply{Text: "see @ann"}, "see @ann "},
	} {
		f.mu.Lock()
		f.reply = func(rooms.Inquiry) rooms.Reply { return tc.reply }
		f.mu.Unlock()
		h.say("@ann", "@anton")
		if m := h.said(i + 1)[i]; m.Content != tc.want || m.MsgType != "message" || m.Role != "assistant" {
			t.Errorf("answer %v is %q, %s", tc.reply, m.Content, m.MsgType)
		}
	}
	f.mu.Lock()
	f.reply = func(rooms.Inquiry) rooms.Reply {
		return rooms.Reply{Conversation: "c", Text: strings.Repeat("é", 1<<20)}
	}
	f.mu.Unlock()
	asked := h.say("@ann", "@anton")
	m := h.said(7)[6]
	if len(m.Content) > 1<<20 || !strings.HasSuffix(m.Content, "é…\n\n(The whole answer: GET /v1/conversations/c/messages)") || m.GetReplyTo() != asked.Id {
		t.Errorf("a long answer has %d bytes and ends with %q", len(m.Content), m.Content[len(m.Content)-80:])
	}
}

// Who takes the handle while the coworker is at work is not credited with its answer.
func TestCoworkerAnswersInItsOwnName(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r")
	f := coworkers(h)
	f.gate = make(chan struct{})
	h.say("@ann", "@anton hi")
	h.sessions.put(rooms.Session{ID: "other", Name: "other", Type: "agent", Handle: "@anton"})
	f.gate <- struct{}{}
	h.said(1)
	v, err := h.room.ListParticipants(t.Context(), &antv1.ListParticipantsRequest{RoomId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.All {
		if p.Id == "other" {
			t.Errorf("the session posted: %v", p)
		}
	}
}

// What is deleted, or was asked of one that is taken out, is not answered.
func TestCoworkerGivesUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r")
	f := coworkers(h)
	f.full = true
	first := h.say("@ann", "@anton one")
	h.say("@ann", "@anton two")
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: first.Id}); err != nil {
		t.Fatal(err)
	}
	h.restart() // nothing is being handed over then
	f.mu.Lock()
	f.full, f.gate = false, make(chan struct{})
	f.mu.Unlock()
	h.room.JoinCoworkers(f)
	f.gate <- struct{}{}
	if own := h.said(1); strings.TrimSpace(own[0].Content) != "To @anton two" {
		t.Errorf("answered %q", own[0].Content)
	}
	handed := func(m *antv1.PostMessageResponse) {
		t.Helper()
		for state := ""; state != "delivered"; {
			list := h.deliveries("r", m.Id)
			state = list[len(list)-1].State
		}
	}
	deleted := h.say("@ann", "@anton deleted")
	handed(deleted)
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: deleted.Id}); err != nil {
		t.Fatal(err)
	}
	f.gate <- struct{}{}
	if own := h.said(2); own[1].ReplyTo != nil { // it was at work already
		t.Errorf("the answer replies to a message that is gone: %v", own[1])
	}
	third := h.say("@ann", "@anton three")
	handed(third)
	if v, err := h.room.RemoveParticipant(t.Context(), &antv1.RemoveParticipantRequest{RoomId: "r", Handle: "@anton"}); err != nil || !v.Removed {
		t.Fatal(v, err)
	}
	before := h.keys(h.main)
	f.gate <- struct{}{}
	for h.keys(h.main) >= before { // the errand goes
		if t.Context().Err() != nil {
			t.Fatal("what nobody wants an answer to stays")
		}
	}
	h.said(2)
}
