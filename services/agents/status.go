package agents

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal/driver"
)

// Ages of the last output.
const (
	busyFor     = 10 * time.Second
	thinkingFor = 30 * time.Second
)

// States that a driver does not know (ant.md 4.5).
const (
	stateThinking = "thinking"
	stateFocus    = "focus"
)

// GetStatus implements antv1.StatusServiceServer.
func (r *Room) GetStatus(ctx context.Context, q *antv1.GetStatusRequest) (*antv1.SessionStatus, error) {
	var out *antv1.SessionStatus
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antv1.SessionStatus{Route: &antv1.StatusRoute{Mode: "unknown"},
			Capture: &antv1.StatusCapture{StatusSource: "none", InteractiveSource: "none"}}
		s, err := r.opt.Sessions.Find(rd, q.SessionId)
		if err != nil || s == nil {
			return err
		}
		out.Session = s.view()
		t, err := r.terminal(rd, s.ID)
		if err != nil {
			return err
		}
		if t == nil {
			out.Route.Mode = "chatroom"
			return nil
		}
		return r.terminalStatus(rd, out, s, t)
	})
	return out, err
}

// terminalStatus fills in what is known of a session's terminal.
func (r *Room) terminalStatus(rd store.Reader, out *antv1.SessionStatus, s, t *Session) error {
	out.Terminal = t.view()
	out.Route = &antv1.StatusRoute{Mode: "terminal", TerminalId: &t.ID, LinkedChatId: maybe(t.LinkedChat), ExecutesInTerminal: true}
	if s.ID != t.ID {
		out.Route.Mode, out.Route.ExecutesInTerminal = "private_terminal_input", t.AutoForward
	}
	chat, err := r.opt.Sessions.Find(rd, t.LinkedChat)
	if err != nil {
		return err
	}
	out.LinkedChat = chat.view()
	focus, err := r.opt.Rooms.Focus(rd, t.ID)
	if err != nil {
		return err
	}
	out.Focus = focus.view()
	p, err := waiting(rd, t.ID)
	if err != nil {
		return err
	}
	if p != nil {
		showAsked(out, p)
	}
	if a := r.agent(t.ID); a != nil {
		r.showActivity(out, a, focus)
	}
	return nil
}

// showAsked shows what waits for a person.
func showAsked(out *antv1.SessionStatus, p *prompt) {
	since, summary := stamp(p.Created), p.summary()
	out.NeedsInput, out.EventClass, out.Summary, out.Since, out.Event = true, &p.Class, &summary, &since, p.card()
	if p.Card != "" {
		out.EventId, out.EventChatId = &p.Card, &p.Chat
	}
	out.Capture.InteractiveSource = p.source()
	if p.Bridged || p.Driver == "" {
		out.PromptBridge = &antv1.BridgeState{PromptId: p.ID, Detector: p.detector(), Summary: summary, Since: since, Status: promptPending}
	}
}

// showActivity shows what the program in a terminal does, and how that is known.
func (r *Room) showActivity(out *antv1.SessionStatus, a *agent, focus *Focus) {
	now := r.opt.Now()
	status, at := a.status(now, focus)
	out.AgentStatus = status
	if !at.IsZero() {
		out.Capture.DetectedAt = new(stamp(at.UnixNano()))
	}
	activity := &antv1.TerminalActivity{State: driver.Idle}
	if last := a.lastOutput(); !last.IsZero() {
		age := now.Sub(last)
		activity.AgeMs = float64(age.Milliseconds())
		if s := byAge(age); s != driver.Unknown {
			activity.State = s
		}
		if activity.State == driver.Busy {
			activity.State = "working"
		}
		out.Capture.TerminalActivity = activity
	}
	switch {
	case focus != nil:
		out.Capture.StatusSource = "focus_mode"
	case status.Driver != "":
		out.Capture.StatusSource = "driver_status_line"
	case out.Capture.TerminalActivity != nil:
		out.Capture.StatusSource = "terminal_activity"
	}
}

// byAge is what a program does whose screen nobody knows.
func byAge(age time.Duration) string {
	switch {
	case age < busyFor:
		return driver.Busy
	case age < thinkingFor:
		return stateThinking
	}
	return driver.Unknown
}

// status is what is known of the program, and since when.
func (a *agent) status(now time.Time, focus *Focus) (*antv1.AgentStatus, time.Time) {
	a.mu.Lock()
	st, d, seen, output := a.last, a.known, a.seen, a.output
	a.mu.Unlock()
	v := statusOf(st)
	v.Cwd, v.DetectedAt = maybe(a.terminal.Cwd()), float64(seen.UnixMilli())
	if d != nil {
		v.Driver = d.Name
	}
	if v.State == driver.Unknown && !output.IsZero() {
		v.State = byAge(now.Sub(output))
	}
	if focus != nil {
		v.Focus = &antv1.StatusAgentFocus{RoomId: focus.Room, RoomName: focus.RoomName, Reason: focus.Reason,
			ExpiresAt: stamp(focus.Expires.UnixNano()), QueueCount: int32(focus.Queue)}
		if st.Prompt == nil {
			v.State = stateFocus
		}
	}
	return v, seen
}

// statusOf is a driver's state as clients know it.
func statusOf(st driver.State) *antv1.AgentStatus {
	v := &antv1.AgentStatus{State: st.State, StateLabel: maybe(st.Label), Activity: maybe(st.Activity), Model: maybe(st.Model),
		Workspace: maybe(st.Workspace), Branch: maybe(st.Branch), PermissionMode: maybe(st.PermissionMode),
		ContextUsedPct: percent(st.ContextUsed), ContextRemainingPct: percent(st.ContextRemaining)}
	if p := st.Prompt; p != nil {
		v.WaitingFor = maybe(cut(oneLine(orElse(p.Question, p.Text)), 300))
		if p.Class == driver.MultiChoice {
			v.MenuKind = &p.Class
		}
	}
	return v
}

func percent(n int) *float64 {
	if n < 0 {
		return nil
	}
	return new(float64(n))
}

// view is nil for a session that is not there.
func (s *Session) view() *antv1.StatusSession {
	if s == nil {
		return nil
	}
	v := &antv1.StatusSession{Id: s.ID, Name: s.Name, Type: s.Type, Handle: maybe(s.Handle), DisplayName: maybe(s.DisplayName),
		Status: s.Status, Ttl: s.TTL, LinkedChatId: maybe(s.LinkedChat), CliFlag: maybe(s.CLIFlag)}
	if s.AutoForward {
		v.AutoForwardChat = 1
	}
	if !s.Active.IsZero() {
		v.LastActivity = new(s.Active.UTC().Format(time.DateTime))
	}
	return v
}

func (f *Focus) view() *antv1.StatusFocus {
	if f == nil {
		return nil
	}
	return &antv1.StatusFocus{RoomId: f.Room, RoomName: f.RoomName, AttentionReason: f.Reason, AttentionSetBy: f.SetBy,
		AttentionExpiresAt: stamp(f.Expires.UnixNano()), FocusQueueCount: int32(f.Queue)}
}

const (
	tellAtMost  = 250 * time.Millisecond // between two changes of a status
	tellAtLeast = 10 * time.Second       // while the program prints
	silentFor   = 30 * time.Second       // of an agent that could go on
)

// telling is what was said of a terminal's agent.
type telling struct {
	last   *antv1.AgentStatus
	at     time.Time
	output time.Time // the last output that was known then
	heard  time.Time // the last output of all
	silent bool      // the silence that goes on was told of
}

// announce tells of a status that has changed, and of a silence. It returns when to
// look again. Of a terminal without an agent nothing is told. The caller holds looking.
func (a *agent) announce(st driver.State, now time.Time) time.Duration {
	t := &a.tell
	flagged := a.found.session != nil && a.found.session.CLIFlag != ""
	if a.tracked == nil && !flagged {
		return lookIdle
	}
	output := a.lastOutput()
	if output != t.heard {
		t.heard, t.silent = output, false
	}
	status, _ := a.status(now, nil)
	again := lookIdle
	compared := proto.Clone(status).(*antv1.AgentStatus)
	compared.DetectedAt = 0
	changed := t.last == nil || !proto.Equal(compared, t.last)
	since := now.Sub(t.at)
	switch {
	case changed && since < tellAtMost:
		again = tellAtMost - since
	case changed, output != t.output && since >= tellAtLeast:
		t.last, t.at, t.output = compared, now, output
		a.room.announce(&antv1.Event{SessionId: a.id, Event: &antv1.Event_AgentStatusUpdated{AgentStatusUpdated: &antv1.AgentStatusUpdated{Status: status}}})
	}
	if st.State == driver.Ready && !t.silent && !output.IsZero() {
		left := silentFor - now.Sub(output)
		if left <= 0 {
			t.silent = true
			a.room.announce(&antv1.Event{SessionId: a.id, Event: &antv1.Event_SessionIdleAttention{SessionIdleAttention: &antv1.SessionIdleAttention{}}})
		} else {
			again = min(again, left)
		}
	}
	return again
}
