package rooms_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/rooms"
)

func count(list []string, name string) (n int) {
	for _, e := range list {
		if e == name {
			n++
		}
	}
	return n
}

// A terminal has read what was delivered into it, once.
func TestDeliveryIsReading(t *testing.T) {
	t.Parallel()
	h := newHouse(t, true)
	h.chat("r", "codex", "gemini")
	h.screens.set(h.screens.live, "codex", true)
	m := h.say("@ann", "@everyone hello")
	h.typed()
	reads := func() (who []string) {
		t.Helper()
		v, err := h.room.GetMessageReads(t.Context(), &antv1.GetMessageReadsRequest{SessionId: "r", MsgId: m.Id})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range v.Reads {
			who = append(who, r.SessionId+"/"+r.GetReaderName()+"/"+r.GetReaderHandle())
		}
		return who
	}
	if got := reads(); !slices.Equal(got, []string{"codex/codex/@codex"}) {
		t.Errorf("readers: %v", got)
	}
	if n := count(h.events(), "message_read"); n != 1 {
		t.Errorf("%d events of reading", n)
	}
	if _, err := h.room.MarkRead(t.Context(), &antv1.MarkReadRequest{SessionId: "r", MsgId: m.Id, ReaderId: "@codex"}); err != nil {
		t.Fatal(err)
	}
	if n := count(h.events(), "message_read"); n != 1 {
		t.Errorf("%d events of reading", n)
	}
	h.screens.set(h.screens.live, "gemini", true)
	h.room.Wake()
	h.typed()
	for len(reads()) != 2 { // it is noted right after the terminal took it
		if t.Context().Err() != nil {
			t.Fatal("gemini never read it")
		}
	}
}

// The readers of a deleted message go, however many there are, and so do those of
// a room.
func TestReadersGoWithTheirMessage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r")
	before := h.keys(h.main)
	kept, gone := h.say("", "kept"), h.say("", "gone")
	for n := range 150 {
		if _, err := h.room.MarkRead(t.Context(), &antv1.MarkReadRequest{SessionId: "r", MsgId: gone.Id, ReaderId: fmt.Sprintf("@reader%d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.room.MarkRead(t.Context(), &antv1.MarkReadRequest{SessionId: "r", MsgId: kept.Id, ReaderId: "@ann"}); err != nil {
		t.Fatal(err)
	}
	full := h.keys(h.main)
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: gone.Id}); err != nil {
		t.Fatal(err)
	}
	v, err := h.room.ListReads(t.Context(), &antv1.ListReadsRequest{SessionId: "r"})
	if err != nil || len(v.Messages) != 1 || v.Messages[0].Id != kept.Id || v.HasMore {
		t.Errorf("read: %v %v", v, err)
	}
	for h.keys(h.main) > full-150 {
		if t.Context().Err() != nil {
			t.Fatal("readers of a deleted message stay")
		}
	}
	if err := h.room.DeleteSession(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	if after := h.keys(h.main); after > before+1 { // the log
		t.Errorf("%d keys, %d before there was anything", after, before)
	}
}

func TestReadersAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r")
	m := h.say("", "popular")
	var last *antv1.MarkReadResponse
	for n := range 1001 {
		h.pass(time.Second)
		v, err := h.room.MarkRead(t.Context(), &antv1.MarkReadRequest{SessionId: "r", MsgId: m.Id, ReaderId: fmt.Sprint(n)})
		if n == 1000 {
			wantReason(t, err, "READERS_FULL")
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = v
	}
	if len(last.Reads) != 1000 || last.Reads[0].SessionId != "0" || last.Reads[999].SessionId != "999" {
		t.Errorf("%d readers, from %v to %v", len(last.Reads), last.Reads[0], last.Reads[len(last.Reads)-1])
	}
	if _, err := h.room.MarkRead(t.Context(), &antv1.MarkReadRequest{SessionId: "r", MsgId: m.Id, ReaderId: "7"}); err != nil {
		t.Error(err)
	}
}

// As much as a message can hold and wake is still one post, each question is told
// of once, and a restart in between changes nothing.
func TestLargestPost(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	var terminals []string
	for n := range 32 {
		terminals = append(terminals, fmt.Sprintf("t%d", n))
	}
	h.chat("r", terminals...)
	h.sessions.put(rooms.Session{ID: "new", Name: "new", Type: "agent", Handle: "@new"})
	q := &req{SessionId: "r", SenderId: "@new", Content: new("@everyone what now?" + strings.Repeat(" x", 50_000)), IdempotencyKey: "k",
		Meta: `{"urgent":true,"reason":"because"}`}
	for n := range 32 {
		q.Asks = append(q.Asks, fmt.Sprintf("question %d %s", n, strings.Repeat("x", 2000)))
	}
	first := h.post(q)
	if len(first.Asks) != 32 || len(first.Deliveries) != 33 || first.Ask.GetId() != first.Asks[0].Id {
		t.Fatalf("%d questions, %d deliveries", len(first.Asks), len(first.Deliveries))
	}
	if n := count(h.events(), "ask_created"); n != 32 {
		t.Errorf("%d questions were told of", n)
	}
	h.restart()
	if again := h.post(q); !again.Replayed || len(again.Asks) != 32 || again.Asks[31].Id != first.Asks[31].Id {
		t.Errorf("again: %v", again)
	}
	for n := range 32 {
		if _, err := h.room.UpdateAsk(t.Context(), &antv1.UpdateAskRequest{AskId: first.Asks[n].Id, Answer: new(strings.Repeat("y", 4096))}); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(h.events(), "ask_created"); n != 32 {
		t.Errorf("%d questions were told of", n)
	}
	full := h.keys(h.main)
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: first.Id}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.room.GetAsk(t.Context(), &antv1.GetAskRequest{AskId: first.Ask.Id}); err == nil {
		t.Error("a question of a deleted message is still there")
	}
	if h.keys(h.main) >= full {
		t.Error("nothing was removed")
	}
}

// A room that is made for another has all of its members, also those that do not
// fit into one transaction.
func TestSpawnCopiesEveryMember(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r", "codex", "gone")
	for n := range 70 {
		id := fmt.Sprintf("agent%02d", n)
		h.sessions.put(rooms.Session{ID: id, Name: id, Type: "agent", Handle: "@" + id})
		if _, err := h.room.AddParticipant(t.Context(), &antv1.AddParticipantRequest{RoomId: "r", SessionId: id, Role: "external", Alias: "a" + id}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.room.RemoveParticipant(t.Context(), &antv1.RemoveParticipantRequest{RoomId: "r", SessionId: "gone"}); err != nil {
		t.Fatal(err)
	}
	v, err := h.room.CreateLink(t.Context(), &antv1.CreateLinkRequest{SessionId: "r"})
	if err != nil || v.GetMembersCopied() != 71 || v.GetDiscussionName() != "Discussion: Room r" {
		t.Fatalf("made: %v %v", v, err)
	}
	list, err := h.room.ListParticipants(t.Context(), &antv1.ListParticipantsRequest{RoomId: v.TargetRoomId})
	if err != nil || len(list.Participants) != 1 || len(list.PostsFrom) != 70 || list.PostsFrom[5].GetAlias() != "aagent05" {
		t.Errorf("members: %d and %d, %v", len(list.GetParticipants()), len(list.GetPostsFrom()), err)
	}
	none, err := h.room.CreateLink(t.Context(), &antv1.CreateLinkRequest{SessionId: "r", CopyMembers: new(false), Title: "Empty"})
	if err != nil || none.GetMembersCopied() != 0 || none.GetDiscussionName() != "Empty" {
		t.Errorf("made: %v %v", none, err)
	}
	for _, room := range []string{"r", v.TargetRoomId, none.TargetRoomId} {
		if err := h.room.DeleteSession(t.Context(), room); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(h.events(), "room_link_deleted"); n != 2 {
		t.Errorf("%d links were removed", n)
	}
}

func TestLinksAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("hub")
	for n := range 200 {
		id := fmt.Sprintf("s%d", n)
		h.chat(id)
		if _, err := h.room.CreateLink(t.Context(), &antv1.CreateLinkRequest{SessionId: id, TargetRoomId: "hub"}); err != nil {
			t.Fatal(err)
		}
	}
	h.chat("late")
	_, err := h.room.CreateLink(t.Context(), &antv1.CreateLinkRequest{SessionId: "late", TargetRoomId: "hub"})
	wantReason(t, err, "LINKS_FULL")
	if _, err := h.room.CreateLink(t.Context(), &antv1.CreateLinkRequest{SessionId: "hub", TargetRoomId: "late"}); err != nil {
		t.Error(err)
	}
	if err := h.room.DeleteSession(t.Context(), "hub"); err != nil {
		t.Fatal(err)
	}
	if v, err := h.room.ListLinks(t.Context(), &antv1.ListLinksRequest{SessionId: "s7"}); err != nil || len(v.Outgoing) != 0 {
		t.Errorf("%v %v", v, err)
	}
}

// A digest of a long room is one of its end, and says so.
func TestDigestIsBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, false)
	h.chat("r")
	h.say("@old", "ancient")
	for range 33 {
		h.pass(time.Hour)
		h.say("@ann", strings.Repeat("ferry ", 10_900))
	}
	h.say("@bob", strings.Repeat("x ", 1<<19-1)) // too long to be looked at
	d, err := h.room.GetDigest(t.Context(), &antv1.GetDigestRequest{SessionId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if !d.Truncated || d.MessageCount != 34 || d.ParticipantCount != 2 || d.DurationMinutes != 32*60 || d.MessagesPerHour != 1.1 ||
		len(d.KeyTerms) != 1 || d.KeyTerms[0].Count != 33*10_900 || *d.FirstMessage != "2026-03-01 13:00:00" {
		t.Errorf("%v", d)
	}
}
