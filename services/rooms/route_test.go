package rooms_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/rooms"
)

const notLive = ":retained/TERMINAL_NOT_LIVE"

func TestWhoIsWoken(t *testing.T) {
	h := newHouse(t, true)
	h.chat("r", "codex", "gemini")
	h.terminal("outside")
	h.terminal("private-owner")
	h.sessions.put(rooms.Session{ID: "private", Name: "private", Type: "chat"})
	h.sessions.put(rooms.Session{ID: "private-owner", Name: "o", Type: "terminal", Handle: "@o", LinkedChatID: "private", AutoForward: true})
	h.screens.set(h.screens.working, "gemini", true)
	both := "codex" + notLive + " gemini" + notLive
	for _, tc := range []struct {
		name, want string
		q          *req
	}{
		{"a human to nobody in particular", both, &req{SenderId: "@james", Content: new("hello")}},
		{"nobody known posts", both, &req{Content: new("hello")}},
		{"by handle", "codex" + notLive, &req{SenderId: "@james", Content: new("@codex run")}},
		{"with the end of a sentence", "codex" + notLive, &req{SenderId: "@james", Content: new("ask @codex.")}},
		{"two", both, &req{Content: new("@codex @gemini")}},
		{"escaped", both, &req{Content: new("as [@codex] said")}},
		{"a mail address", both, &req{Content: new("mail x@codex")}},
		{"an unknown name of a human's", both, &req{SenderId: "@james", Content: new("@nobody here")}},
		{"an unknown name of an agent's", "", &req{SenderId: "codex", Content: new("@nobody here")}},
		{"an agent to nobody in particular", "gemini:working/AGENT_WORKING", &req{SenderId: "codex", Content: new("done")}},
		{"an agent by handle does not hear itself", "gemini:working/AGENT_WORKING", &req{SenderId: "@codex", Content: new("done")}},
		{"an agent to a working one by name", "gemini" + notLive, &req{SenderId: "codex", Content: new("@gemini look")}},
		{"an agent to everyone", "gemini" + notLive, &req{SenderId: "codex", Content: new("@everyone look")}},
		{"a human to everyone", both, &req{SenderId: "@james", Content: new("@everyone look")}},
		{"a target", "codex" + notLive, &req{SenderId: "@james", Target: "@codex", Content: new("@gemini look")}},
		{"a target without @", "codex" + notLive, &req{SenderId: "@james", Target: "codex", Content: new("x")}},
		{"a target outside", "outside" + notLive, &req{SenderId: "@james", Target: "@outside", Content: new("x")}},
		{"an unknown target", "", &req{SenderId: "@james", Target: "@nobody", Content: new("x")}},
		{"everyone as the target", both, &req{SenderId: "@james", Target: "@everyone", Content: new("x")}},
		{"oneself as the target", "", &req{SenderId: "codex", Target: "@codex", Content: new("x")}},
		{"a break", "", &req{SenderId: "@james", Content: new("/break @codex")}},
		{"a title", "", &req{SenderId: "@james", MsgType: "title", Content: new("@codex")}},
		{"an agent's event", "", &req{SenderId: "codex", MsgType: "agent_event", Content: new("@gemini")}},
		{"a private chat", "private-owner" + notLive, &req{SessionId: "private", SenderId: "@james", Content: new("ls")}},
		{"a private chat, by its terminal", "", &req{SessionId: "private", SenderId: "@o", Content: new("done")}},
		{"typed already", "private-owner:delivered", &req{SessionId: "private", Meta: `{"source":"terminal_direct"}`, Content: new("ls")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.q.SessionId == "" {
				tc.q.SessionId = "r"
			}
			before := h.keys(h.main)
			tc.q.DryRun = true
			said := h.post(tc.q)
			if got := routed(said); got != strings.ReplaceAll(tc.want, ":delivered", ":planned") {
				t.Errorf("a dry run says %q, want %q", got, tc.want)
			}
			if !said.DryRun || said.Id != "" || said.Deliveries[0].Delivered || h.keys(h.main) != before {
				t.Errorf("a dry run did something: %v", said)
			}
			tc.q.DryRun = false
			v := h.post(tc.q)
			if got := routed(v); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			if d := v.Deliveries[0]; d.Adapter != "ws-broadcast" || !d.Delivered || d.TargetId != tc.q.SessionId {
				t.Errorf("the room's own delivery is %v", d)
			}
			if got := attempts(h.deliveries(tc.q.SessionId, v.Id)); got != tc.want {
				t.Errorf("read afterwards: %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAGuestReachesItsRoomAlone(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r", "codex")
	h.terminal("outside")
	h.sessions.put(rooms.Session{ID: "private", Name: "private", Type: "chat"})
	h.sessions.put(rooms.Session{ID: "o", Name: "o", Type: "terminal", Handle: "@o", LinkedChatID: "private", AutoForward: true})
	guest := caller.Caller{Kind: caller.Token, Room: "r", Handle: "@guest", Scopes: []string{caller.Read, caller.Write}}
	as := func(c caller.Caller, q *req) *antv1.PostMessageResponse {
		t.Helper()
		v, err := h.room.PostMessage(caller.With(t.Context(), c), q)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := as(guest, &req{SessionId: "r", SenderId: "@boss", Target: "@outside", Content: new("rm -rf /")})
	if *v.SenderId != "@guest" || routed(v) != "" {
		t.Errorf("sender %q, woken %q", *v.SenderId, routed(v))
	}
	if v := as(guest, &req{SessionId: "r", Target: "@codex", Content: new("hi")}); routed(v) != "codex"+notLive {
		t.Errorf("woken %q", routed(v))
	}
	guest.Room = "private"
	if v := as(guest, &req{SessionId: "private", Content: new("ls")}); routed(v) != "o:held/TERMINAL_SCOPE" {
		t.Errorf("without the scope: %q", routed(v))
	}
	guest.Scopes = append(guest.Scopes, caller.Terminal)
	if v := as(guest, &req{SessionId: "private", Content: new("ls")}); routed(v) != "o"+notLive {
		t.Errorf("with the scope: %q", routed(v))
	}
}

func (h *house) settings(q *antv1.UpdateRoomSettingsRequest) *antv1.RoomSettings {
	h.t.Helper()
	q.SessionId = "r"
	v, err := h.room.UpdateRoomSettings(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func TestBrakes(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r", "codex", "gemini")
	h.settings(&antv1.UpdateRoomSettingsRequest{MaxHops: new(int32(3)), AgentRatePerMinute: new(int32(0))})
	ping := func(from, to, want string) {
		t.Helper()
		if got := routed(h.say(from, "@"+to+" your turn")); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for range 2 { // a human starts it anew
		for i := range 3 {
			ping([]string{"codex", "gemini"}[i%2], []string{"gemini", "codex"}[i%2], []string{"gemini", "codex"}[i%2]+notLive)
		}
		ping("gemini", "codex", "codex:held/BRAKE_HOPS")
		ping("@codex", "gemini", "gemini:held/BRAKE_HOPS")
		if got := routed(h.say("codex", "talking to nobody but [@gemini]")); got != "gemini:held/BRAKE_HOPS" {
			t.Errorf("to nobody in particular: %q", got)
		}
		if v := h.settings(&antv1.UpdateRoomSettingsRequest{MaxHops: new(int32(3))}); v.Hops != 3 || v.Held != 3 {
			t.Errorf("settings: %v", v)
		}
		ping("@james", "codex", "codex"+notLive)
		if v := h.settings(&antv1.UpdateRoomSettingsRequest{MaxHops: new(int32(3))}); v.Hops != 0 || v.Held != 0 {
			t.Errorf("after a human: %v", v)
		}
	}

	h.settings(&antv1.UpdateRoomSettingsRequest{MaxHops: new(int32(0)), AgentCooldownMs: new(int32(5000))})
	ping("codex", "gemini", "gemini"+notLive)
	ping("gemini", "codex", "codex"+notLive) // each has its own
	h.pass(4 * time.Second)
	ping("codex", "gemini", "gemini:held/BRAKE_COOLDOWN")
	h.pass(time.Second)
	ping("codex", "gemini", "gemini"+notLive)
	ping("codex", "gemini", "gemini:held/BRAKE_COOLDOWN")
	h.say("@james", "go on")
	ping("codex", "gemini", "gemini"+notLive)

	h.settings(&antv1.UpdateRoomSettingsRequest{AgentCooldownMs: new(int32(0)), AgentRatePerMinute: new(int32(2))})
	h.say("@james", "again")
	ping("codex", "gemini", "gemini"+notLive)
	ping("codex", "gemini", "gemini"+notLive)
	ping("codex", "gemini", "gemini:held/BRAKE_RATE")
	h.pass(time.Minute)
	ping("codex", "gemini", "gemini"+notLive)

	// An assistant without a session is a machine, too.
	if got := routed(h.post(&req{SessionId: "r", SenderId: "bot", Role: "assistant", Content: new("@codex hi")})); got != "codex"+notLive {
		t.Errorf("a bot: %q", got)
	}
	if got := routed(h.post(&req{SessionId: "r", SenderId: "bot", Role: "assistant", Content: new("@codex hi")})); got != "codex:held/BRAKE_RATE" {
		t.Errorf("a bot: %q", got)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r")
	for _, q := range []*antv1.UpdateRoomSettingsRequest{
		{MaxHops: new(int32(-1))}, {MaxHops: new(int32(1001))}, {AgentCooldownMs: new(int32(3_600_001))}, {AgentRatePerMinute: new(int32(10_001))},
	} {
		q.SessionId = "r"
		_, err := h.room.UpdateRoomSettings(t.Context(), q)
		wantReason(t, err, "INVALID_FIELD")
	}
	_, err := h.room.UpdateRoomSettings(t.Context(), &antv1.UpdateRoomSettingsRequest{SessionId: "r"})
	wantReason(t, err, "NOTHING_TO_UPDATE")
	_, err = h.room.UpdateRoomSettings(t.Context(), &antv1.UpdateRoomSettingsRequest{SessionId: "none", MaxHops: new(int32(1))})
	wantReason(t, err, "SESSION_NOT_FOUND")
}

func TestDeliveries(t *testing.T) {
	h := newHouse(t, true)
	h.chat("r", "codex", "gemini")
	h.screens.set(h.screens.live, "codex", true)

	v := h.say("@james", "@codex one")
	if routed(v) != "codex:delivered" {
		t.Errorf("a live terminal: %q", routed(v))
	}
	if i := h.typed(); i.Terminal != "codex" || i.Message != v.Id || i.Raw || !strings.Contains(i.Text, "@codex one") || !strings.Contains(i.Text, "for all participants") {
		t.Errorf("typed %+v", i)
	}

	// One that is not live gets it later, in order, also across a restart.
	first, second := h.say("@james", "@gemini one"), h.say("@james", "@gemini two")
	h.restart()
	h.screens.set(h.screens.live, "gemini", true)
	h.room.Wake()
	if a, b := h.typed(), h.typed(); a.Message != first.Id || b.Message != second.Id {
		t.Errorf("typed %q, %q", a.Text, b.Text)
	}
	h.until(func() bool { return len(h.deliveries("r", second.Id)) == 3 })
	list := h.deliveries("r", first.Id)
	if attempts(list) != "gemini:delivered gemini"+notLive || list[2].Attempt != 2 || !list[2].Delivered || list[1].Delivered || *list[1].ExpiresAt == "" {
		t.Errorf("deliveries %v", list)
	}
	if m := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages[1]; m.BroadcastState != "done" || m.BroadcastAttempts != 2 {
		t.Errorf("the row: %v", m)
	}

	// One that does not take it is tried again, and given up.
	h.screens.set(h.screens.fail, "codex", true)
	v = h.say("@james", "@codex hard")
	if routed(v) != "codex:retained/TERMINAL_FAILED" {
		t.Errorf("a failure: %q", routed(v))
	}
	h.until(func() bool { h.pass(10 * time.Second); h.room.Wake(); return len(h.deliveries("r", v.Id)) == 6 })
	if last := h.deliveries("r", v.Id)[5]; last.State != "failed" || last.Attempt != 5 {
		t.Errorf("the last attempt: %v", last)
	}
	h.screens.set(h.screens.fail, "codex", false)

	// One that is never live again expires.
	h.screens.set(h.screens.live, "gemini", false)
	v = h.say("@james", "@gemini late")
	h.pass(time.Hour + time.Second)
	h.room.Wake()
	h.until(func() bool { return len(h.deliveries("r", v.Id)) == 3 })
	if got := attempts(h.deliveries("r", v.Id)); got != "gemini:expired/EXPIRED gemini"+notLive {
		t.Errorf("expired: %q", got)
	}
	h.screens.set(h.screens.live, "gemini", true)

	// What was deleted is not typed.
	h.screens.set(h.screens.live, "gemini", false)
	v = h.say("@james", "@gemini secret")
	if _, err := h.room.DeleteMessage(t.Context(), &antv1.DeleteMessageRequest{SessionId: "r", MsgId: v.Id}); err != nil {
		t.Fatal(err)
	}
	h.screens.set(h.screens.live, "gemini", true)
	if v := h.say("@james", "@gemini after"); h.typed().Message != v.Id {
		t.Error("a deleted message was typed")
	}
}

// until waits for what the room's own worker does.
func (h *house) until(done func() bool) {
	h.t.Helper()
	for !done() {
		select {
		case <-h.t.Context().Done():
			h.t.Fatal("it did not come")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestATerminalThatHangsKeepsNobodyWaiting(t *testing.T) {
	h := newHouse(t, true)
	h.chat("r", "codex", "gemini")
	h.screens.set(h.screens.live, "codex", true)
	h.screens.set(h.screens.live, "gemini", true)
	gate := make(chan struct{})
	h.screens.mu.Lock()
	h.screens.block["codex"] = gate
	h.screens.mu.Unlock()
	v := h.say("@james", "@everyone")
	if routed(v) != "codex:retained/TERMINAL_BUSY gemini:delivered" {
		t.Errorf("%q", routed(v))
	}
	close(gate)
	h.room.Wake()
	h.until(func() bool { return attempts(h.deliveries("r", v.Id)) == "codex:delivered gemini:delivered" })
}

// refuse makes a terminal refuse what is not raw; nil: it takes it.
func (f *fakeTerminals) refuses(id string, why *rooms.Undelivered) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse[id] = why
}

func (f *fakeTerminals) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
}

// TestWhatWaitsForAnAgent: it is no attempt, is recorded once for each reason, keeps the order, and
// lets nothing but a user's own text past, and that only where no agent is.
func TestWhatWaitsForAnAgent(t *testing.T) {
	h := newHouse(t, true)
	h.chat("r", "codex")
	h.sessions.put(rooms.Session{ID: "codex", Name: "codex", Type: "terminal", Handle: "@codex", Alias: "codex", LinkedChatID: "private", AutoForward: true})
	h.sessions.put(rooms.Session{ID: "private", Name: "private", Type: "chat"})
	h.screens.set(h.screens.live, "codex", true)
	h.screens.refuses("codex", &rooms.Undelivered{Reason: "NO_AGENT", Words: "no agent", Waits: true})
	first := h.say("@james", "@codex one")
	if routed(first) != "codex:retained/NO_AGENT" || *first.Deliveries[1].Error != "no agent" {
		t.Errorf("%v", first.Deliveries)
	}
	for range 10 { // looked at again, at once, and not recorded
		before := h.screens.count()
		h.room.Wake()
		h.until(func() bool { return h.screens.count() > before })
	}
	if got := attempts(h.deliveries("r", first.Id)); got != "codex:retained/NO_AGENT" {
		t.Errorf("%s", got)
	}
	h.post(&req{SessionId: "private", SenderId: "@james", Content: new("ls")})
	if i := h.typed(); !i.Raw || i.Text != "ls" || i.Sender != "@james" {
		t.Errorf("typed %+v", i)
	}
	h.screens.refuses("codex", &rooms.Undelivered{Reason: "MODAL_OPEN", Words: "a question", Waits: true})
	own := h.post(&req{SessionId: "private", SenderId: "@james", Content: new("pwd")})
	h.until(func() bool {
		return attempts(h.deliveries("r", first.Id)) == "codex:retained/MODAL_OPEN codex:retained/NO_AGENT"
	})
	if got := routed(own); got != "codex:retained/TERMINAL_BUSY" {
		t.Errorf("a user's own text: %s", got)
	}
	second := h.say("@james", "@codex two")
	h.screens.refuses("codex", nil)
	h.room.Wake()
	if a, b, c := h.typed(), h.typed(), h.typed(); a.Message != first.Id || b.Message != own.Id || c.Message != second.Id {
		t.Errorf("typed %q, %q, %q", a.Text, b.Text, c.Text)
	}
	h.until(func() bool { return strings.HasPrefix(attempts(h.deliveries("r", first.Id)), "codex:delivered") })

	// What must not be tried again is given up at once; the next one is tried.
	h.screens.refuses("codex", &rooms.Undelivered{Reason: "UNCONFIRMED", Words: "not known", Final: true})
	if got := routed(h.say("@james", "@codex three")); got != "codex:failed/UNCONFIRMED" {
		t.Errorf("%s", got)
	}
	h.screens.refuses("codex", nil)
	if got := routed(h.say("@james", "@codex four")); got != "codex:delivered" {
		t.Errorf("%s", got)
	}
	h.typed()

	// One that waits too long expires.
	h.screens.refuses("codex", &rooms.Undelivered{Reason: "DRAFT", Words: "a draft", Waits: true})
	late := h.say("@james", "@codex late")
	h.pass(time.Hour + time.Second)
	h.room.Wake()
	h.until(func() bool {
		return attempts(h.deliveries("r", late.Id)) == "codex:expired/EXPIRED codex:retained/DRAFT"
	})
}

// TestASlowTerminalKeepsNobodyElseWaiting: also what is retained is given to the others.
func TestASlowTerminalKeepsNobodyElseWaiting(t *testing.T) {
	h := newHouse(t, true)
	h.chat("r", "codex", "gemini")
	v := h.say("@james", "@everyone")
	gate := make(chan struct{})
	h.screens.mu.Lock()
	h.screens.block["codex"] = gate
	h.screens.mu.Unlock()
	h.screens.set(h.screens.live, "codex", true)
	h.screens.set(h.screens.live, "gemini", true)
	h.room.Wake()
	if i := h.typed(); i.Terminal != "gemini" {
		t.Errorf("typed %+v", i)
	}
	close(gate)
	if i := h.typed(); i.Terminal != "codex" || i.Message != v.Id {
		t.Errorf("typed %+v", i)
	}
}

func TestWhatATerminalIsOwedIsBounded(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r", "codex")
	for range 1000 {
		h.say("@james", "@codex x")
	}
	if got := routed(h.say("@james", "@codex one too many")); got != "codex:failed/QUEUE_FULL" {
		t.Errorf("%q", got)
	}
	if err := h.room.DeleteSession(t.Context(), "codex"); err != nil {
		t.Fatal(err)
	}
	m := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages[0]
	if got := attempts(h.deliveries("r", m.Id)); got != "codex:failed/TERMINAL_GONE codex"+notLive || m.BroadcastState != "done" {
		t.Errorf("when the terminal is deleted: %q, %s", got, m.BroadcastState)
	}
	h.terminal("codex")
	if _, err := h.room.AddParticipant(t.Context(), &antv1.AddParticipantRequest{RoomId: "r", SessionId: "codex"}); err != nil {
		t.Fatal(err)
	}
	if got := routed(h.say("@james", "@codex again")); got != "codex"+notLive {
		t.Errorf("after its deletion: %q", got)
	}
}

func TestContextOfAnAgent(t *testing.T) {
	h := newHouse(t, true)
	h.chat("r", "codex")
	h.say("@ann", "before the break")
	h.say("@ann", "/break new topic")
	h.say("@ann", "hello \x1b[31mred\x1b[0m\nsecond line "+strings.Repeat("long ", 100))
	for i := range 5 {
		h.say("@bob", fmt.Sprint("line ", i))
	}
	h.screens.set(h.screens.live, "codex", true)
	h.room.Wake()
	h.until(func() bool {
		h.screens.mu.Lock()
		defer h.screens.mu.Unlock()
		return len(h.screens.typed["codex"]) == 7
	})
	reply := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages[4].Id
	text := "first line\n" + strings.Repeat("x", 70_000)
	v := h.post(&req{SessionId: "r", SenderId: "@ann", Target: "@codex", ReplyTo: reply, Content: &text})
	var i rooms.Injection
	for i.Message != v.Id {
		i = h.typed()
	}
	for _, want := range []string{"[antchat message for you]", "room: Room r id r", "@ann: hello [31mred[0m second line", "@bob: line 4", "(replying to @bob: line 1)",
		"reply with: anthill post r", " -- " + text + " (replying"} {
		if !strings.Contains(i.Text, want) {
			t.Errorf("no %q in %q", want, i.Text)
		}
	}
	if strings.Contains(i.Text, "before the break") || strings.Contains(i.Text, "\x1b") || len(i.Text)-len(text) > 3000 {
		t.Errorf("%q", i.Text)
	}
}

func TestPrivateChatsAreTyped(t *testing.T) {
	h := newHouse(t, true)
	h.sessions.put(rooms.Session{ID: "private", Name: "private", Type: "chat"})
	h.sessions.put(rooms.Session{ID: "o", Name: "o", Type: "terminal", Handle: "@o", LinkedChatID: "private", AutoForward: true})
	h.screens.set(h.screens.live, "o", true)
	v := h.post(&req{SessionId: "private", SenderId: "@james", Content: new("ls -l\ncat\x1b[201~ x  \n")})
	if v.Deliveries[1].Adapter != "linked-chat" || !v.Deliveries[1].Delivered {
		t.Errorf("deliveries %v", v.Deliveries)
	}
	if i := h.typed(); !i.Raw || i.Text != "ls -l\ncat[201~ x" {
		t.Errorf("typed %+v", i)
	}
	h.post(&req{SessionId: "private", SenderId: "bot", Role: "assistant", Content: new("a notice")})
	if i := h.typed(); i.Raw || !strings.Contains(i.Text, "a notice") {
		t.Errorf("typed %+v", i)
	}
}

func (h *house) attend(q *antv1.UpdateParticipantRequest) *antv1.UpdateParticipantResponse {
	h.t.Helper()
	q.RoomId = "r"
	v, err := h.room.UpdateParticipant(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func TestFocus(t *testing.T) {
	h := newHouse(t, true)
	h.chat("r", "codex", "gemini")
	h.screens.set(h.screens.live, "codex", true)
	v := h.attend(&antv1.UpdateParticipantRequest{Handle: "@codex", AttentionState: "focus", Ttl: "90s", Reason: "tests"})
	if v.AttentionState != "focus" || *v.AttentionExpiresAt != "2026-03-01 12:01:30" || *v.AttentionSetBy != "@codex" {
		t.Errorf("%v", v)
	}
	one, two := h.say("@james", "@codex one"), h.post(&req{SessionId: "r", SenderId: "@james", Target: "@codex", Content: new("two")})
	if routed(one) != "codex:queued" || one.Deliveries[1].Adapter != "focus-queue" || !one.Deliveries[1].Delivered || routed(two) != "codex:queued" {
		t.Errorf("%v %v", one.Deliveries, two.Deliveries)
	}
	if got := routed(h.say("@james", "@everyone come")); got != "codex:delivered gemini"+notLive {
		t.Errorf("everyone: %q", got)
	}
	h.typed()
	list, err := h.room.ListParticipants(t.Context(), &antv1.ListParticipantsRequest{RoomId: "r"})
	if err != nil || *list.Participants[0].AttentionState != "focus" || list.Participants[0].FocusQueueCount != 2 {
		t.Errorf("%v, %v", list, err)
	}

	// Urgent messages get past it, with a reason, thrice.
	h.refused("REASON_REQUIRED", &req{SessionId: "r", Content: new("x"), Meta: `{"urgent":true}`})
	for i := range 4 {
		v := h.post(&req{SessionId: "r", SenderId: "@james", Content: new("@codex fire"), Meta: `{"urgent":true,"urgent_reason":"fire"}`})
		want := "codex:delivered"
		if i == 3 {
			want = "codex:queued"
		} else {
			h.typed()
		}
		if routed(v) != want {
			t.Errorf("urgent %d: %q", i, routed(v))
		}
	}
	page := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages
	bypasses := 0
	for _, m := range page {
		if m.MsgType == "focus_bypass" {
			bypasses++
			if m.Content != "@james got past focus: fire" || m.ReplyTo == nil {
				t.Errorf("%v", m)
			}
		}
	}
	if bypasses != 3 {
		t.Errorf("%d messages tell of getting past focus", bypasses)
	}

	// The end of it is one digest.
	end := h.attend(&antv1.UpdateParticipantRequest{SessionId: "codex", AttentionState: "available"})
	if end.AttentionState != "available" || end.Digest.Count != 3 || len(end.Digest.MessageIds) != 3 || end.Digest.MessageIds[0] != one.Id {
		t.Errorf("%v", end)
	}
	if i := h.typed(); i.Message != "" || i.Text != end.Digest.Text || !strings.Contains(i.Text, "3 messages waited") || !strings.Contains(i.Text, "@james: @codex one") {
		t.Errorf("typed %+v", i)
	}
	if end := h.attend(&antv1.UpdateParticipantRequest{SessionId: "codex", AttentionState: "available"}); end.Digest != nil {
		t.Errorf("a second digest: %v", end)
	}

	// It ends by itself, also across a restart.
	h.attend(&antv1.UpdateParticipantRequest{SessionId: "codex", AttentionState: "focus", TtlSeconds: 1})
	h.say("@james", "@codex later")
	h.pass(61 * time.Second) // less than a minute is a minute
	h.restart()
	if i := h.typed(); !strings.Contains(i.Text, "1 messages waited") || !strings.Contains(i.Text, "later") {
		t.Errorf("typed %+v", i)
	}
}

func TestFocusIsChecked(t *testing.T) {
	h := newHouse(t, false)
	h.chat("r", "codex", "gemini")
	for reason, q := range map[string]*antv1.UpdateParticipantRequest{
		"REASON_REQUIRED":       {SessionId: "codex", AttentionState: "focus", SetBy: "@gemini"},
		"SESSION_REQUIRED":      {AttentionState: "focus"},
		"MEMBER_NOT_FOUND":      {SessionId: "nobody", AttentionState: "focus"},
		"PARTICIPANT_NOT_FOUND": {SessionId: "r", AttentionState: "focus"},
		"INVALID_FIELD":         {SessionId: "codex", AttentionState: "focus", Ttl: "soon"},
	} {
		q.RoomId = "r"
		_, err := h.room.UpdateParticipant(t.Context(), q)
		wantReason(t, err, reason)
	}
	for ttl, want := range map[string]string{"1s": "2026-03-01 12:01:00", "9h": "2026-03-01 14:00:00", "600": "2026-03-01 12:10:00",
		"": "2026-03-01 12:30:00", "1e300": "2026-03-01 14:00:00", "-5m": "2026-03-01 12:01:00"} {
		v := h.attend(&antv1.UpdateParticipantRequest{SessionId: "codex", AttentionState: "focus", Duration: ttl, SetBy: "@gemini", Reason: "quiet"})
		if *v.AttentionExpiresAt != want {
			t.Errorf("%q: until %s, want %s", ttl, *v.AttentionExpiresAt, want)
		}
	}
}
