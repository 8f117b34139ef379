package rooms_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/rooms"
)

// fakeAnswers is what agents ask: one thing, by the card.
type fakeAnswers struct {
	card      string
	given     []rooms.Answer
	dismissed []string
}

func (f *fakeAnswers) Asked(_ store.Reader, event string) (string, error) {
	if event == f.card {
		return "codex", nil
	}
	return "", nil
}

func (f *fakeAnswers) Answer(_ context.Context, a rooms.Answer) (string, error) {
	f.given = append(f.given, a)
	return a.Message, nil
}

func (f *fakeAnswers) Dismissed(_ context.Context, card string) error {
	f.dismissed = append(f.dismissed, card)
	return nil
}

// TestCardsAndAnswers: a card is a message that wakes nobody, an answer to it is none;
// who settles a card by hand is passed on.
func TestCardsAndAnswers(t *testing.T) {
	h := newHouse(t, true)
	h.terminal("codex")
	h.chat("r", "codex")
	by := &fakeAnswers{}
	h.room.JoinAnswers(by)
	err := h.main.Update(t.Context(), func(tx store.Tx) (err error) {
		by.card, err = h.room.PostCard(tx, rooms.Card{Room: "r", Sender: "codex", Type: "agent_event", Format: "json", Content: `{"question":"<why>?"}`,
			Meta: map[string]any{"status": "pending"}})
		return err
	})
	if err != nil || by.card == "" {
		t.Fatal(by.card, err)
	}
	list := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages
	if m := list[len(list)-1]; m.Id != by.card || m.Content != `{"question":"<why>?"}` || m.GetSenderId() != "codex" || m.MsgType != "agent_event" ||
		m.Meta != `{"asks":[],"asks_resolved":[],"inferred_asks":[],"status":"pending"}` || m.BroadcastState != "done" {
		t.Errorf("the card is %v", m)
	}
	before := h.keys(h.main)
	v := h.post(&req{SessionId: "r", MsgType: "agent_response", SenderId: "@ann",
		Content: new(`{"type":"select","choice":{"index":1},"event_id":"` + by.card + `","reason":"why not","source":"cli_decision"}`)})
	if !v.Handled || v.Format != "json" || len(v.Deliveries) != 1 || v.Deliveries[0].Adapter != "agent-event-bus" || v.Deliveries[0].TargetId != "codex" || !v.Deliveries[0].Delivered {
		t.Errorf("the answer is %v", v)
	}
	if h.keys(h.main) != before {
		t.Error("an answer left something in the store")
	}
	if a := by.given[0]; a.Terminal != "codex" || a.Event != by.card || a.By != "@ann" || a.Reason != "why not" || a.Source != "cli_decision" || a.Type != "select" || string(a.Choice) != `{"index":1}` || a.Message != v.Id {
		t.Errorf("given is %+v", a)
	}
	inner, err := json.Marshal(`{"id":"` + by.card + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	h.post(&req{SessionId: "r", MsgType: "agent_response", Content: new(`{"type":"deny","terminal_session_id":"codex","event_content":` + string(inner) + `}`)})
	if a := by.given[1]; a.Event != by.card {
		t.Errorf("given is %+v", a)
	}
	for content, reason := range map[string]string{
		`{"type":"deny","event_id":"unknown"}`:                                                             "TERMINAL_NOT_FOUND",
		`{"type":"deny","event_id":"` + list[len(list)-1].Id[:20] + `!"}`:                                  "TERMINAL_NOT_FOUND",
		`{"type":"deny","terminal_session_id":"codex","event_content":{"id":"other"}}`:                     "NOTHING_PENDING",
		`{"type":"deny","event_id":"` + by.card + `","justification":"` + strings.Repeat("ü", 2001) + `"}`: "INVALID_FIELD",
		`{"type":"deny","event_id":"` + by.card + `","source":"` + strings.Repeat("s", 65) + `"}`:          "INVALID_FIELD",
		`{"type":7}`: "INVALID_FIELD",
	} {
		h.refused(reason, &req{SessionId: "r", MsgType: "agent_response", Content: &content})
	}
	h.refused("INVALID_FIELD", &req{SessionId: "r", MsgType: "agent_response", DryRun: true, Content: new(`{"type":"deny","event_id":"` + by.card + `"}`)})
	if len(by.given) != 2 {
		t.Errorf("given are %v", by.given)
	}
	for _, meta := range []string{`{"status":"pending"}`, `{"seen":true}`, `{"status":"dismissed"}`} {
		if _, err := h.room.UpdateMessage(t.Context(), &antv1.UpdateMessageRequest{SessionId: "r", MsgId: by.card, Meta: &meta}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(by.dismissed, []string{by.card}) {
		t.Errorf("dismissed are %q", by.dismissed)
	}
	h.sessions.put(rooms.Session{ID: "old", Name: "old", Type: "chat", Archived: true})
	err = h.main.Update(t.Context(), func(tx store.Tx) error {
		id, err := h.room.PostCard(tx, rooms.Card{Room: "old", Sender: "codex", Type: "agent_event", Format: "json", Content: "{}"})
		if id != "" {
			t.Error("an archived chat took a card")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestOpenQuestionsAsAttention: they are listed the oldest first, page by page, and
// answered once.
func TestOpenQuestionsAsAttention(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	h.chat("s")
	h.post(&req{SessionId: "r", Content: new("x"), Asks: []string{"one?", "two?"}})
	h.post(&req{SessionId: "s", Content: new("x"), Asks: []string{"three?"}})
	var got, ids []string
	order, n := uint64(0), 0
	for {
		page, err := h.room.OpenAsks(t.Context(), "", order, n, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got, ids = append(got, page[0].Item.Text), append(ids, page[0].Item.Id)
		order, n = page[0].Order, page[0].N
	}
	if !slices.Equal(got, []string{"one?", "two?", "three?"}) {
		t.Errorf("open are %q", got)
	}
	if page, err := h.room.OpenAsks(t.Context(), "s", 0, 0, 10); err != nil || len(page) != 1 || page[0].Item.SessionId != "s" {
		t.Errorf("of a room: %v, %v", page, err)
	}
	item, err := h.room.AnswerAsk(t.Context(), &antv1.AnswerAttentionRequest{Id: ids[1], Text: "2", AnsweredBy: "@ann"})
	if err != nil || item.Status != "answered" || item.GetAnswer() != "2" || item.GetAnsweredBy() != "@ann" {
		t.Errorf("answered: %v, %v", item, err)
	}
	if _, err := h.room.AnswerAsk(t.Context(), &antv1.AnswerAttentionRequest{Id: ids[1], Text: "3", AnsweredBy: "@bob"}); err == nil || !strings.Contains(err.Error(), "PROMPT_ANSWERED") {
		t.Errorf("answered again: %v", err)
	}
	if item, err := h.room.AskItem(t.Context(), "nothing"); item != nil || err != nil {
		t.Errorf("what is not there: %v, %v", item, err)
	}
	if page, err := h.room.OpenAsks(t.Context(), "r", 0, 0, 10); err != nil || len(page) != 1 || page[0].Item.Text != "one?" {
		t.Errorf("what is open: %v, %v", page, err)
	}
}
