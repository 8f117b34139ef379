package rooms_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/rooms"
)

func numbered(from, to int) string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return strings.Join(out, " ")
}

// talk posts messages 1 to n into room "r", with a pause after each.
func (h *house) talk(n int, pause time.Duration) (list []*antv1.PostMessageResponse) {
	h.t.Helper()
	h.chat("r")
	for i := range n {
		list = append(list, h.say("@james", fmt.Sprint(i+1)))
		h.pass(pause)
	}
	return list
}

func TestPages(t *testing.T) {
	h := newHouse(t, false)
	all := h.talk(20, 250*time.Millisecond) // four in a second: 1 to 4 at 12:00:00
	for _, tc := range []struct {
		q    *antv1.ListMessagesRequest
		want string
		more bool
	}{
		{&antv1.ListMessagesRequest{}, numbered(1, 20), false},
		{&antv1.ListMessagesRequest{Limit: new(int32(3))}, "18 19 20", true},
		{&antv1.ListMessagesRequest{Limit: new(int32(20))}, numbered(1, 20), false},
		{&antv1.ListMessagesRequest{Limit: new(int32(1_000_000))}, numbered(1, 20), false},
		{&antv1.ListMessagesRequest{Since: &all[4].Id, Limit: new(int32(3))}, "6 7 8", true},
		{&antv1.ListMessagesRequest{Since: &all[19].Id}, "", false},
		{&antv1.ListMessagesRequest{Before: &all[4].Id, Limit: new(int32(3))}, "2 3 4", true},
		{&antv1.ListMessagesRequest{Before: &all[0].Id}, "", false},
		{&antv1.ListMessagesRequest{Since: new("2026-03-01 12:00:00"), Limit: new(int32(2))}, "5 6", true},
		{&antv1.ListMessagesRequest{Since: new("2026-03-01T12:00:00Z"), Limit: new(int32(2))}, "5 6", true},
		{&antv1.ListMessagesRequest{Since: new("2026-03-01T13:00:00+01:00"), Limit: new(int32(2))}, "5 6", true},
		{&antv1.ListMessagesRequest{Since: new("2026-03-01 12:00:00.25"), Limit: new(int32(2))}, "3 4", true},
		{&antv1.ListMessagesRequest{Since: new("2026-03-01T12:00:00.000Z"), Limit: new(int32(2))}, "2 3", true},
		{&antv1.ListMessagesRequest{Since: new("2020-01-01")}, numbered(1, 20), false},
		{&antv1.ListMessagesRequest{Since: new("1900-01-01")}, numbered(1, 20), false},
		{&antv1.ListMessagesRequest{Since: new("2030-01-01")}, "", false},
		{&antv1.ListMessagesRequest{Before: new("2026-03-01 12:00:02"), Limit: new(int32(5))}, "4 5 6 7 8", true},
		{&antv1.ListMessagesRequest{Before: new("2026-03-01 12:00:00")}, "", false},
		{&antv1.ListMessagesRequest{Before: new("2026-03-01 12:00:01"), Since: new("2020-01-01")}, "1 2 3 4", false},
		{&antv1.ListMessagesRequest{Since: new("")}, numbered(1, 20), false},
	} {
		tc.q.SessionId = "r"
		v := h.list(tc.q)
		if got := contents(v.Messages); got != tc.want || v.HasMore != tc.more {
			t.Errorf("%v: %q %v, want %q %v", tc.q, got, v.HasMore, tc.want, tc.more)
		}
	}
	for _, q := range []*antv1.ListMessagesRequest{
		{Limit: new(int32(0))}, {Limit: new(int32(-1))}, {Since: new("yesterday")}, {Before: new("99999-01-01 00:00:00")},
		{Cursor: "x"}, {Cursor: "o"}, {Cursor: "n-1"}, {Cursor: "nzzzzzz"}, {Cursor: "ö1"}, {Since: new(strings.Repeat("A", 21))},
	} {
		q.SessionId = "r"
		_, err := h.room.ListMessages(t.Context(), q)
		wantReason(t, err, "INVALID_FIELD")
	}
	_, err := h.room.ListMessages(t.Context(), &antv1.ListMessagesRequest{SessionId: "none"})
	wantReason(t, err, "SESSION_NOT_FOUND")

	// An id of another room is none of this one.
	h.sessions.put(rooms.Session{ID: "other", Type: "chat"})
	v := h.post(&req{SessionId: "other", Content: new("x")})
	_, err = h.room.ListMessages(t.Context(), &antv1.ListMessagesRequest{SessionId: "r", Since: &v.Id})
	wantReason(t, err, "INVALID_FIELD")
}

// TestEveryCursorIsExact pages through a second that holds everything, with every
// tenth message deleted, while more come in.
func TestEveryCursorIsExact(t *testing.T) {
	h := newHouse(t, false)
	posted := h.talk(500, 0)
	var want []string
	for i, p := range posted {
		if i%10 == 3 {
			if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: p.Id}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want = append(want, p.Content)
	}
	ids := func(m *antv1.Message) *string { return &m.Id }
	for name, page := range map[string]func(last *antv1.ListMessagesResponse) *antv1.ListMessagesRequest{
		"since an id": func(last *antv1.ListMessagesResponse) *antv1.ListMessagesRequest {
			if last == nil {
				return &antv1.ListMessagesRequest{Since: new("2020-01-01")}
			}
			return &antv1.ListMessagesRequest{Since: ids(last.Messages[len(last.Messages)-1])}
		},
		"since a deleted id": func(last *antv1.ListMessagesResponse) *antv1.ListMessagesRequest {
			if last == nil {
				return &antv1.ListMessagesRequest{Since: &posted[3].Id}
			}
			return &antv1.ListMessagesRequest{Since: ids(last.Messages[len(last.Messages)-1])}
		},
		"newer": func(last *antv1.ListMessagesResponse) *antv1.ListMessagesRequest {
			if last == nil {
				return &antv1.ListMessagesRequest{Cursor: "n0"}
			}
			return &antv1.ListMessagesRequest{Cursor: last.Newer}
		},
	} {
		var got []string
		for last := (*antv1.ListMessagesResponse)(nil); last == nil || last.HasMore; {
			q := page(last)
			q.SessionId, q.Limit = "r", new(int32(7))
			last = h.list(q)
			for _, m := range last.Messages {
				got = append(got, m.Content)
			}
		}
		want := want
		if name == "since a deleted id" {
			want = want[3:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d messages, want %d", name, len(got), len(want))
		}
	}
	for name, page := range map[string]func(last *antv1.ListMessagesResponse) *antv1.ListMessagesRequest{
		"before an id": func(last *antv1.ListMessagesResponse) *antv1.ListMessagesRequest {
			return &antv1.ListMessagesRequest{Before: ids(last.Messages[0])}
		},
		"older": func(last *antv1.ListMessagesResponse) *antv1.ListMessagesRequest {
			return &antv1.ListMessagesRequest{Cursor: last.Older}
		},
	} {
		var got []string
		last := h.list(&antv1.ListMessagesRequest{SessionId: "r", Limit: new(int32(7))})
		for {
			for _, m := range slices.Backward(last.Messages) {
				got = append(got, m.Content)
			}
			if !last.HasMore {
				break
			}
			q := page(last)
			q.SessionId, q.Limit = "r", new(int32(7))
			last = h.list(q)
		}
		slices.Reverse(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d messages, want %d", name, len(got), len(want))
		}
		if last.Older != "" {
			t.Errorf("%s: something older than the first", name)
		}
	}
	// The cursor of the end finds what comes later.
	end := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Newer
	h.say("@james", "later")
	if got := contents(h.list(&antv1.ListMessagesRequest{SessionId: "r", Cursor: end}).Messages); got != "later" {
		t.Errorf("behind the end: %q", got)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	h.say("a", "1")
	h.pass(-time.Hour)
	h.say("a", "2")
	v := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages
	if v[0].CreatedAt != v[1].CreatedAt || v[0].Seq >= v[1].Seq {
		t.Errorf("%v", v)
	}
}

func TestBreaks(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	read := func(q *antv1.ListMessagesRequest) string {
		t.Helper()
		q.SessionId = "r"
		return contents(h.list(q).Messages)
	}
	h.say("a", "1")
	h.say("a", "2")
	if got := read(&antv1.ListMessagesRequest{AgentContext: "1"}); got != "1 2" {
		t.Errorf("without a break: %q", got)
	}
	br := h.say("a", "/break")
	if br.MsgType != "chat_break" || br.Role != "system" || br.Content != "-- break --" {
		t.Errorf("%v", br)
	}
	h.say("a", "3")
	second := h.say("a", "/break  a reason\nof two lines ")
	if second.Content != "a reason\nof two lines" {
		t.Errorf("%q", second.Content)
	}
	h.say("a", "4")
	h.say("a", "5")
	for _, q := range []*antv1.ListMessagesRequest{{AgentContext: "1"}, {AgentContext: "true"}, {Context: "agent"}} {
		if got := read(q); got != "4 5" {
			t.Errorf("%v: %q", q, got)
		}
	}
	if got := read(&antv1.ListMessagesRequest{AgentContext: "1", Limit: new(int32(1))}); got != "5" {
		t.Errorf("with a limit: %q", got)
	}
	if got := read(&antv1.ListMessagesRequest{AgentContext: "0"}); got != "1 2 -- break -- 3 a reason\nof two lines 4 5" {
		t.Errorf("all: %q", got)
	}
	// The latest that is left counts.
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: second.Id}); err != nil {
		t.Fatal(err)
	}
	if got := read(&antv1.ListMessagesRequest{AgentContext: "1"}); got != "3 4 5" {
		t.Errorf("after its deletion: %q", got)
	}
	h.sessions.put(rooms.Session{ID: "r", Type: "chat", LongMemory: true})
	if got := read(&antv1.ListMessagesRequest{AgentContext: "1"}); got != "1 2 -- break -- 3 4 5" {
		t.Errorf("with long memory: %q", got)
	}
	for text, kind := range map[string]string{"/breakfast": "message", "/break x": "chat_break", " /break": "message", "say /break": "message"} {
		if v := h.say("a", text); v.MsgType != kind {
			t.Errorf("%q is a %s", text, v.MsgType)
		}
	}
}

func TestLargeContents(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	texts := []string{strings.Repeat("a", 64<<10), strings.Repeat("b", 64<<10+1), strings.Repeat("ü", 512<<10), strings.Repeat("d", 1<<20)}
	for _, s := range texts {
		if v := h.say("a", s); v.Content != s {
			t.Error("answered with another content")
		}
	}
	h.refused("INVALID_FIELD", &req{SessionId: "r", Content: new(strings.Repeat("e", 1<<20+1))})
	h.restart()
	var got []string
	pages := 0
	for last := h.list(&antv1.ListMessagesRequest{SessionId: "r", Cursor: "n0"}); ; last = h.list(&antv1.ListMessagesRequest{SessionId: "r", Cursor: last.Newer}) {
		pages++
		for _, m := range last.Messages {
			got = append(got, m.Content)
		}
		if !last.HasMore {
			break
		}
	}
	if !slices.Equal(got, texts) {
		t.Errorf("read %d contents in %d pages", len(got), pages)
	}
	// Neither a deleted message nor a refused one leaves bytes behind.
	before := h.keys(h.bulk)
	list := h.list(&antv1.ListMessagesRequest{SessionId: "r", Limit: new(int32(1))}).Messages
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: list[0].Id}); err != nil {
		t.Fatal(err)
	}
	h.refused("BAD_REPLY_TO", &req{SessionId: "r", ReplyTo: "nothing", Content: &texts[3]})
	h.until(func() bool { return h.keys(h.bulk) == before-2 })
}

// TestBodiesOfACrashAreRemoved leaves what a crash leaves that comes between
// writing a content and storing its message.
func TestBodiesOfACrashAreRemoved(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	kept := h.say("a", strings.Repeat("x", 100_000))
	main, bulk := h.keys(h.main), h.keys(h.bulk)
	put := func(db store.DB, k key.Key) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx store.Tx) error { tx.Put(k, []byte("x")); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	put(h.main, key.Of("ant_doomed").Str("r").Str("half"))
	put(h.bulk, key.Of("ant_body").Str("r").Str("half").Uint(0))
	h.restart()
	h.until(func() bool { return h.keys(h.main) == main && h.keys(h.bulk) == bulk })
	if m := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages; len(m) != 1 || m[0].Content != kept.Content {
		t.Error("the body of a message went, too")
	}
}

func TestOnce(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r", "codex")
	q := func(content, key string) *req {
		return &req{SessionId: "r", SenderId: "@james", Content: &content, IdempotencyKey: key}
	}
	var wg sync.WaitGroup
	ids := make([]string, 32)
	for i := range ids {
		wg.Go(func() {
			v, err := h.room.PostMessage(t.Context(), q("hello @codex", "k1"))
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = v.Id
			if !v.FirstPost || v.Hint == nil || routed(v) != "codex"+notLive || v.Content != "hello @codex " {
				t.Errorf("answer %d: %v", i, v)
			}
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] == "" || ids[0] != ids[31] {
		t.Errorf("ids %q", ids)
	}
	if n := len(h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages); n != 1 {
		t.Errorf("%d messages", n)
	}
	if n := slices.DeleteFunc(h.events(), func(s string) bool { return s != "message_created" }); len(n) != 1 {
		t.Errorf("%d events", len(n))
	}
	h.refused("IDEMPOTENCY_KEY_REUSED", q("another", "k1"))
	if v := h.post(&req{SessionId: "r", SenderId: "@james", Content: new("hello @codex"), ClientId: "k1"}); v.Id != ids[0] || !v.Replayed {
		t.Errorf("as client_id: %v", v)
	}
	h.refused("INVALID_FIELD", q("x", strings.Repeat("k", 256)))
	// Another room has keys of its own.
	h.sessions.put(rooms.Session{ID: "r2", Type: "chat"})
	other := q("hello @codex", "k1")
	other.SessionId = "r2"
	if v := h.post(other); v.Id == ids[0] || v.Replayed {
		t.Error("a key of another room")
	}
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: ids[0]}); err != nil {
		t.Fatal(err)
	}
	h.refused("MESSAGE_DELETED", q("hello @codex", "k1"))
	// Within a day; then it is a key like any other.
	h.pass(24*time.Hour + time.Second)
	if v := h.post(q("another", "k1")); v.Replayed || v.FirstPost {
		t.Errorf("after a day: %v", v)
	}
	large := strings.Repeat("x", 100_000)
	if a, b := h.post(q(large, "big")), h.post(q(large, "big")); a.Id != b.Id || b.Content != large {
		t.Error("a large message was posted twice")
	}
}

func TestKeysAreBounded(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	fill := func(n int) {
		var wg sync.WaitGroup
		for w := range 16 {
			wg.Go(func() {
				for i := range n / 16 {
					h.post(&req{SessionId: "r", Content: new("x"), IdempotencyKey: fmt.Sprint(h.clock().Unix(), w, "-", i)})
				}
			})
		}
		wg.Wait()
	}
	fill(800)
	before := h.keys(h.main)
	h.pass(25 * time.Hour)
	fill(800)
	if grown := h.keys(h.main) - before; grown != 800 {
		t.Errorf("%d more keys for 800 messages: old ones should go as new ones come", grown)
	}
}

func TestPostIsChecked(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r", "codex")
	h.sessions.put(rooms.Session{ID: "gone", Type: "chat", Deleted: true})
	h.sessions.put(rooms.Session{ID: "old", Type: "chat", Archived: true})
	other := h.post(&req{SessionId: "codex", Content: new("a terminal is a room, too")})
	before := h.keys(h.main)
	x := new("x")
	for _, tc := range []struct {
		reason string
		q      *req
	}{
		{"SESSION_NOT_FOUND", &req{SessionId: "none", Content: x}},
		{"SESSION_DELETED", &req{SessionId: "gone", Content: x}},
		{"SESSION_ARCHIVED", &req{SessionId: "old", Content: x}},
		{"INVALID_FIELD", &req{SessionId: "r"}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Role: strings.Repeat("r", 65)}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, SenderId: strings.Repeat("s", 257)}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Meta: "nope"}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Meta: "[]"}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Meta: "null"}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Meta: `{} {}`}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Meta: `{"a":"` + strings.Repeat("x", 65<<10) + `"}`}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Asks: make([]string, 33)}},
		{"INVALID_FIELD", &req{SessionId: "r", Content: x, Asks: []string{strings.Repeat("?", 2049)}}},
		{"BAD_REPLY_TO", &req{SessionId: "r", Content: x, ReplyTo: other.Id}},
		{"BAD_REPLY_TO", &req{SessionId: "r", Content: x, ReplyTo: "nothing"}},
		{"REASON_REQUIRED", &req{SessionId: "r", Content: x, Meta: `{"focus_bypass":true,"reason":" "}`}},
		{"EVENT_REQUIRED", &req{SessionId: "r", MsgType: "agent_response", Content: new(`{"type":"approve"}`)}},
		{"INVALID_FIELD", &req{SessionId: "r", MsgType: "agent_response", Content: new(`yes`)}},
		{"TERMINAL_NOT_FOUND", &req{SessionId: "r", MsgType: "agent_response", Content: new(`{"event_id":"x"}`)}},
		{"NOTHING_PENDING", &req{SessionId: "r", MsgType: "agent_response", Content: new(`{"terminal_session_id":"codex","event_content":"{}"}`)}},
	} {
		h.refused(tc.reason, tc.q)
	}
	if h.keys(h.main) != before {
		t.Error("a refused post left something")
	}
	if v := h.post(&req{SessionId: "r", Content: new("")}); v.Content != "" || v.Role != "user" || v.Format != "text" || v.MsgType != "message" {
		t.Errorf("an empty one: %v", v)
	}
}

func TestMetadata(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	v := h.post(&req{SessionId: "r", Content: new("x"), Meta: `{"n":12345678901234567890,"html":"<b>","asks":"no list"}`, Asks: []string{"why?"}})
	want := `{"asks":["why?"],"asks_resolved":[],"html":"<b>","inferred_asks":[],"n":12345678901234567890}`
	if v.Meta != want {
		t.Errorf("%s, want %s", v.Meta, want)
	}
	up, err := h.room.UpdateMessage(t.Context(), &antv1.UpdateMessageRequest{SessionId: "r", MsgId: v.Id, Meta: new(`{"html":null,"reactions":{"+1":["@a"]}}`)})
	if err != nil || up.Meta != `{"asks":["why?"],"asks_resolved":[],"html":null,"inferred_asks":[],"n":12345678901234567890,"reactions":{"+1":["@a"]}}` {
		t.Errorf("%v, %v", up, err)
	}
	if m := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages[0]; m.Meta != up.Meta {
		t.Errorf("%s", m.Meta)
	}
	h.sessions.put(rooms.Session{ID: "r2", Type: "chat"})
	for reason, q := range map[string]*antv1.UpdateMessageRequest{
		"MSG_ID_REQUIRED":   {SessionId: "r", Meta: new("{}")},
		"MESSAGE_NOT_FOUND": {SessionId: "r2", MsgId: v.Id, Meta: new("{}")},
		"SESSION_NOT_FOUND": {SessionId: "none", MsgId: v.Id, Meta: new("{}")},
		"INVALID_FIELD":     {SessionId: "r", MsgId: v.Id},
	} {
		_, err := h.room.UpdateMessage(t.Context(), q)
		wantReason(t, err, reason)
	}
	// Merging bit by bit does not get past the limit either.
	for i := range 3 {
		big, err := json.Marshal(map[string]string{fmt.Sprint("k", i): strings.Repeat("x", 30<<10)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.room.UpdateMessage(t.Context(), &antv1.UpdateMessageRequest{SessionId: "r", MsgId: v.Id, Meta: new(string(big))})
		if i < 2 && err != nil {
			t.Fatal(err)
		}
		var f *fault.Error
		if i == 2 && !errors.As(err, &f) {
			t.Errorf("90 KiB of metadata: %v", err)
		}
	}
}

func TestPinAndDelete(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	h.sessions.put(rooms.Session{ID: "r2", Type: "chat"})
	v := h.say("a", "x")
	pin := func(room string, on *bool) error {
		_, err := h.room.PinMessage(t.Context(), &antv1.PinMessageRequest{SessionId: room, MsgId: v.Id, Pinned: on})
		return err
	}
	yes, no := new(true), new(false)
	wantReason(t, pin("r2", yes), "MESSAGE_NOT_FOUND")
	wantReason(t, pin("r", nil), "INVALID_FIELD")
	for _, on := range []*bool{yes, yes, no, yes} {
		if err := pin("r", on); err != nil {
			t.Fatal(err)
		}
	}
	if m := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages[0]; m.Pinned != 1 {
		t.Errorf("%v", m)
	}
	del := func(room, id string) bool {
		t.Helper()
		d, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: room, MsgId: id})
		if err != nil || !d.Ok {
			t.Fatal(err)
		}
		return d.Deleted
	}
	if del("r2", v.Id) || del("r", "none") || !del("r", v.Id) || del("r", v.Id) {
		t.Error("deletion is not bound to the room")
	}
	wantReason(t, pin("r", yes), "MESSAGE_NOT_FOUND")
	if got := strings.Join(h.events(), " "); got != "message_created message_pinned message_pinned message_pinned message_deleted" {
		t.Errorf("events: %s", got)
	}
	// A deleted message does not reappear in streams.
	list, err := h.room.Messages(t.Context(), []feed.Ref{{Room: "r", ID: v.Id}, {Room: "r", ID: h.say("a", "y").Id}})
	if err != nil || list[0] != nil || list[1].Content != "y" {
		t.Errorf("%v, %v", list, err)
	}
}

func TestDeleteSession(t *testing.T) {
	h := newHouse(t, false)
	empty, emptyBulk := h.keys(h.main), h.keys(h.bulk)
	h.chat("r", "codex", "gemini")
	h.attend(&antv1.UpdateParticipantRequest{SessionId: "gemini", AttentionState: "focus"})
	for i := range 120 {
		h.post(&req{SessionId: "r", SenderId: fmt.Sprint("p", i), Content: new("hello"), IdempotencyKey: fmt.Sprint(i)})
	}
	h.say("a", strings.Repeat("x", 100_000))
	h.say("a", "/break")
	for _, id := range []string{"r", "r", "codex", "gemini"} {
		if err := h.room.DeleteSession(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if main, bulk := h.keys(h.main), h.keys(h.bulk); main != empty || bulk != emptyBulk {
		t.Errorf("%d and %d keys are left", main-empty, bulk-emptyBulk)
	}
}
