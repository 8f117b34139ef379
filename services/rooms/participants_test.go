package rooms_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/rooms"
)

func TestParticipants(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	read := func(counts string) *antv1.ListParticipantsResponse {
		t.Helper()
		v, err := h.room.ListParticipants(t.Context(), &antv1.ListParticipantsRequest{RoomId: "r", IncludeCounts: counts})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	names := func(list []*antv1.Participant) string {
		var out []string
		for _, p := range list {
			out = append(out, fmt.Sprint(p.Id, "/", p.Role, "/", p.MessageCount))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	h.say("@james", "1")
	h.say("@james", "2")
	if v := read(""); names(v.Participants) != "@james/external/2" || names(v.All) != "@james/external/2" || *v.Participants[0].FirstSeen == "" {
		t.Errorf("without members: %v", v)
	}
	h.terminal("codex")
	h.sessions.put(rooms.Session{ID: "ann", Name: "Ann", Type: "chat", Handle: "@ann"})
	h.say("codex", "3")
	h.say("@ann", "4")
	v := read("1")
	if names(v.Participants) != "codex/participant/1" || names(v.PostsFrom) != "@james/external/2 ann/external/1" || len(v.All) != 3 {
		t.Errorf("%v", v)
	}
	if v := read(""); names(v.Participants) != "codex/participant/0" || v.Participants[0].FirstSeen != nil {
		t.Errorf("without counts: %v", v)
	}

	for reason, q := range map[string]*antv1.AddParticipantRequest{
		"SESSION_NOT_FOUND": {RoomId: "none", SessionId: "codex"}, "MEMBER_NOT_FOUND": {RoomId: "r", Handle: "@nobody"},
		"NOT_A_CHAT": {RoomId: "codex", SessionId: "ann"}, "SESSION_REQUIRED": {RoomId: "r"},
		"INVALID_FIELD": {RoomId: "r", SessionId: "codex", Role: "boss"},
	} {
		_, err := h.room.AddParticipant(t.Context(), q)
		wantReason(t, err, reason)
	}
	p, err := h.room.AddParticipant(t.Context(), &antv1.AddParticipantRequest{RoomId: "r", Handle: "codex", Alias: "cx"})
	if err != nil || *p.Alias != "cx" || *p.AttentionState != "available" || *p.JoinedAt == "" {
		t.Errorf("%v, %v", p, err)
	}
	if got := routed(h.say("@james", "@cx by its alias")); got != "codex"+notLive {
		t.Errorf("by alias: %q", got)
	}
	leave := func() bool {
		t.Helper()
		v, err := h.room.RemoveParticipant(t.Context(), &antv1.RemoveParticipantRequest{RoomId: "r", Handle: "@codex"})
		if err != nil || !v.Ok || v.Id != "codex" {
			t.Fatalf("%v, %v", v, err)
		}
		return v.Removed
	}
	if !leave() || leave() {
		t.Error("leaving")
	}
	if v := read("1"); names(v.All) != "@james/external/3 ann/external/1" {
		t.Errorf("after leaving: %q", names(v.All))
	}
	if got := routed(h.say("@james", "hello")); got != "" {
		t.Errorf("one that left was woken: %q", got)
	}
	h.say("codex", "I am back")
	if v := read(""); names(v.Participants) != "codex/participant/0" || *v.Participants[0].Alias != "cx" {
		t.Errorf("back: %v", v)
	}
	if got := strings.Join(slices.DeleteFunc(h.events(), func(s string) bool { return strings.HasPrefix(s, "message") }), " "); got !=
		"participants_changed participants_changed participants_changed sessions_changed participants_changed" {
		t.Errorf("events: %s", got)
	}
}

func TestARoomHasSoManyTerminals(t *testing.T) {
	h := newHouse(t, false)
	var names []string
	for i := range 32 {
		names = append(names, fmt.Sprint("t", i))
	}
	h.chat("r", names...)
	h.terminal("more")
	_, err := h.room.AddParticipant(t.Context(), &antv1.AddParticipantRequest{RoomId: "r", SessionId: "more"})
	wantReason(t, err, "ROOM_FULL")
	if _, err := h.room.AddParticipant(t.Context(), &antv1.AddParticipantRequest{RoomId: "r", SessionId: "t1"}); err != nil {
		t.Error("one that is in it already:", err)
	}
	// Everything that one message can need fits into one transaction.
	for _, n := range names {
		h.attend(&antv1.UpdateParticipantRequest{SessionId: n, AttentionState: "focus"})
	}
	v := h.post(&req{SessionId: "r", SenderId: "@james", Content: new("come"), IdempotencyKey: "k", Meta: `{"urgent":true,"reason":"x"}`})
	if len(v.Deliveries) != 33 || v.Deliveries[1].State != "retained" {
		t.Errorf("%d deliveries: %v", len(v.Deliveries), v.Deliveries[1])
	}
	if v := h.say("more", "@t1 hi"); len(v.Deliveries) != 2 {
		t.Errorf("%v", v.Deliveries)
	}
}

func TestPresence(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	set := func(handle, connection string, left bool) {
		t.Helper()
		if _, err := h.room.SetPresence(t.Context(), &antv1.SetPresenceRequest{SessionId: "r", Handle: handle, Connection: connection, Left: left}); err != nil {
			t.Fatal(err)
		}
	}
	status := func() string {
		t.Helper()
		v, err := h.room.GetPresence(t.Context(), &antv1.GetPresenceRequest{SessionId: "r"})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for handle, p := range v.Presence {
			out = append(out, handle+":"+p.Status)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	heard := &ear{}
	h.room.JoinFeed(heard)
	set("james", "tab1", false)
	set("@james", "tab2", false)
	set("@ann", "x", false)
	if got := status(); got != "@ann:active @james:active" {
		t.Error(got)
	}
	set("@james", "tab1", true)
	if got := status(); got != "@ann:active @james:active" {
		t.Errorf("one of two tabs is closed: %s", got)
	}
	set("@james", "tab2", true)
	h.pass(61 * time.Second)
	if got := status(); got != "@ann:idle @james:offline" {
		t.Error(got)
	}
	h.pass(5 * time.Minute)
	if got := status(); got != "@ann:offline @james:offline" {
		t.Error(got)
	}
	h.pass(time.Hour)
	if got := status(); got != "" {
		t.Error(got)
	}
	if got := heard.String(); got != "@james active, @ann active, @james offline" {
		t.Errorf("announced: %s", got)
	}
	for i := range 3000 {
		set(fmt.Sprint("p", i), "c", false)
	}
	if v, err := h.room.GetPresence(t.Context(), &antv1.GetPresenceRequest{SessionId: "r"}); err != nil || len(v.Presence) != 1000 {
		t.Errorf("%d people are remembered, %v", len(v.Presence), err)
	}
	if _, err := h.room.SetPresence(t.Context(), &antv1.SetPresenceRequest{SessionId: "none", Handle: "x"}); err != nil {
		t.Error(err)
	}
	_, err := h.room.GetPresence(t.Context(), &antv1.GetPresenceRequest{SessionId: "none"})
	wantReason(t, err, "SESSION_NOT_FOUND")

	if _, err := h.room.SetTyping(t.Context(), &antv1.SetTypingRequest{SessionId: "r", Handle: "@ann", Typing: true}); err != nil {
		t.Error(err)
	}
	if len(h.events()) != 0 {
		t.Errorf("presence is stored: %v", h.events())
	}
}

// ear hears announcements.
type ear struct {
	mu   sync.Mutex
	list []string
}

func (e *ear) Announce(ev *antv1.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := ev.GetPresenceChanged(); p != nil {
		e.list = append(e.list, p.Handle+" "+p.Status)
	}
}

func (e *ear) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.list, ", ")
}
