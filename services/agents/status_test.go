package agents

import (
	"strings"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/terminal/driver"
)

func (h *home) status(id string) *antv1.SessionStatus {
	h.t.Helper()
	out, err := h.room.GetStatus(h.t.Context(), &antv1.GetStatusRequest{SessionId: id})
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// heard waits for an event that is not kept.
func (h *home) heard(what string, is func(*antv1.Event) bool) {
	h.t.Helper()
	for {
		select {
		case e := <-h.told:
			if is(e) {
				return
			}
		case <-time.After(20 * time.Second):
			h.t.Fatalf("nothing was told of %s", what)
		}
	}
}

// TestStatus: what an agent does is told when it changes, and shown for the terminal
// and its chat alike; of what is unknown nothing is said.
func TestStatus(t *testing.T) {
	h := newHome(t)
	for _, id := range []string{"", "nobody", "\x00", strings.Repeat("x", 10_000)} {
		if s := h.status(id); s.NeedsInput || s.Session != nil || s.Terminal != nil || s.AgentStatus != nil || s.Route.Mode != "unknown" || s.Capture.StatusSource != "none" {
			t.Errorf("%.20q: %v", id, s)
		}
	}
	if s := h.status("t"); s.AgentStatus != nil || s.Route.Mode != "terminal" || s.GetTerminal().GetId() != "t" || s.GetLinkedChat().GetId() != "c" {
		t.Errorf("while nothing runs: %v", s)
	}
	if s := h.status("other"); s.Route.Mode != "chatroom" || s.Route.TerminalId != nil || s.GetSession().GetId() != "other" {
		t.Errorf("of a chat: %v", s)
	}
	p := h.run()
	state := func(want string) func(*antv1.Event) bool {
		return func(e *antv1.Event) bool {
			return e.SessionId == "t" && e.GetAgentStatusUpdated().GetStatus().GetState() == want
		}
	}
	p.ready()
	h.heard("an agent that is ready", state(driver.Ready))
	p.draw("mine v1", "working (ctrl-c to stop)")
	h.heard("an agent that works", state(driver.Busy))
	p.ask("make")
	h.heard("an agent that waits", state(driver.Idle))
	item := h.waiting()
	for id, mode := range map[string]string{"t": "terminal", "c": "private_terminal_input"} {
		s := h.status(id)
		if !s.NeedsInput || s.Event.GetId() != item.Id || s.GetEventId() != item.GetEventId() || s.GetEventChatId() != "c" || s.GetEventClass() != driver.Permission ||
			s.Route.Mode != mode || !s.Route.ExecutesInTerminal || s.AgentStatus.GetStateLabel() != "Permission" || s.AgentStatus.Driver != "mine" ||
			s.Capture.StatusSource != "driver_status_line" || s.Capture.InteractiveSource != "agent_event_bus" || s.Capture.TerminalActivity.GetState() != "working" {
			t.Errorf("%s: %v", id, s)
		}
	}
	p.ready()
	h.heard("an agent that is ready", state(driver.Ready))
	h.pass(silentFor)
	h.heard("a silence", func(e *antv1.Event) bool { return e.SessionId == "t" && e.GetSessionIdleAttention() != nil })
	a, from := h.room.agent("t"), h.clock()
	h.pass(silentFor)
	h.eventually("it is looked at", func() bool {
		a.looking.Lock() // not in the middle of a look
		defer a.looking.Unlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.seen.After(from.Add(silentFor))
	})
	p.draw("mine v1", "working (ctrl-c to stop)")
	for busy := false; !busy; {
		select {
		case e := <-h.told:
			busy = state(driver.Busy)(e)
			if e.GetSessionIdleAttention() != nil {
				t.Error("one silence was told of twice")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it never works")
		}
	}
	if s := h.status("t"); s.GetTerminal().GetCliFlag() != "mine" {
		t.Errorf("the flag is not noted: %v", s.Terminal)
	}
}
