package terminals

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
)

const (
	inputMax  = 1 << 20 // bytes of one input
	reasonMax = 2000    // characters
	nameMax   = 256     // bytes
)

// SendTerminalInput implements antv1.TerminalsServiceServer.
func (r *Room) SendTerminalInput(ctx context.Context, q *antv1.SendTerminalInputRequest) (*antv1.SendTerminalInputResponse, error) {
	switch {
	case q.Data == "":
		return nil, fault.BadField("value_error", "data must be a non-empty string", "data")
	case len(q.Data) > inputMax:
		return nil, fault.BadField("value_error", "data must be 1 MiB at most", "data")
	}
	s, err := r.run(ctx, q.SessionId, spawn{})
	if err != nil {
		return nil, err
	}
	if err := s.t.Write(ctx, []byte(q.Data)); err != nil {
		return nil, callers(err)
	}
	return &antv1.SendTerminalInputResponse{Ok: true, Event: r.noteTyped(ctx, s.t.ID(), q.Data, "api_terminal_input", "rest")}, nil
}

// InterruptTerminal implements antv1.TerminalsServiceServer.
func (r *Room) InterruptTerminal(ctx context.Context, q *antv1.InterruptTerminalRequest) (*antv1.InterruptTerminalResponse, error) {
	switch {
	case utf8.RuneCountInString(q.Reason) > reasonMax:
		return nil, fault.BadField("value_error", "reason must be 2000 characters at most", "reason")
	case len(q.RequestedBy) > nameMax:
		return nil, fault.BadField("value_error", "requested_by must be 256 bytes at most", "requested_by")
	}
	of, err := r.findActive(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	s := r.seat(of.ID)
	if s == nil {
		return nil, errNotLive
	}
	if err := s.t.Interrupt(); err != nil {
		return nil, callers(err)
	}
	by := caller.From(ctx).As(q.RequestedBy)
	if by == "" {
		by = "web"
	}
	e, err := r.opt.Evidence.Append(context.WithoutCancel(ctx), Event{Session: of.ID, Source: "terminal", Trust: "high", Kind: "terminal_stop",
		Text: "interrupted by " + plain(by), Payload: map[string]any{"action": "interrupt", "key": "ctrl-c", "reason": plain(q.Reason), "requested_by": plain(by)}})
	if err != nil {
		return nil, err
	}
	return &antv1.InterruptTerminalResponse{Ok: true, Action: "interrupt", Key: "ctrl-c", Event: e}, nil
}

// typed is what was noted last of what is typed into a terminal.
type typed struct {
	text string
	at   time.Time
}

// sameWithin is how long the same text again is taken for the same (ant.md 2.1).
const sameWithin = 1500 * time.Millisecond

// noteInput notes what somebody typed.
func (r *Room) noteInput(ctx context.Context, id, text, source string) {
	r.noteTyped(ctx, id, text, source, "stream")
}

// noteTyped notes what somebody typed, if it is a text of two characters or more
// and was not noted just now; nil: it was not. A failure is no reason to say that
// it was not typed.
func (r *Room) noteTyped(ctx context.Context, id, text, source, transport string) *antv1.RunEvent {
	shown := strings.TrimSpace(plain(text))
	if utf8.RuneCountInString(shown) < 2 || !r.newlyTyped(id, shown) {
		return nil
	}
	e, err := r.opt.Evidence.Append(context.WithoutCancel(ctx), Event{Session: id, Source: "terminal", Trust: "high", Kind: "prompt", Text: shown,
		Payload: map[string]any{"prompt": shown, "capture_source": source, "transport": transport}})
	if err != nil {
		r.opt.Log.Warn("what was typed is not noted", "terminal", id, "error", err)
		return nil
	}
	return e
}

func (r *Room) newlyTyped(id, text string) bool {
	now := r.opt.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.typed[id]
	r.typed[id] = typed{text, now}
	return last.text != text || now.Sub(last.at) > sameWithin
}

// plain is a text without what a terminal would obey.
func plain(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return c
		case c == '\r':
			return '\n'
		case unicode.IsControl(c), c == utf8.RuneError, c >= '\u202a' && c <= '\u202e', c >= '\u2066' && c <= '\u2069':
			return -1
		}
		return c
	}, text)
}
