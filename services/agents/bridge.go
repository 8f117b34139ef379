package agents

import (
	"context"
	"slices"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// recently is how long the next answer to a terminal still is one to the prompt that
// was just answered.
const recently = 30 * time.Second

// tellBridge tells of a prompt where the bridge is configured to.
func (r *Room) tellBridge(tx store.Tx, s *Session, p *prompt) error {
	if !p.Bridged {
		return nil
	}
	err := r.append(tx, p.Terminal, &antv1.Event{Event: &antv1.Event_PromptDetected{PromptDetected: &antv1.PromptDetected{
		Id: p.ID, RawText: orElse(p.Text, p.summary()), Ts: stamp(p.Created), Summary: p.summary()}}})
	if err != nil {
		return err
	}
	for _, t := range p.Targets {
		room := t.Session
		switch t.Kind {
		case toWebhook:
			if err := oweHook(tx, t.URL, p, s); err != nil {
				return err
			}
			continue
		case toLinkedChat:
			room = s.LinkedChat
		}
		if room == "" || slices.Contains(p.Told, room) {
			continue
		}
		id, err := r.opt.Rooms.Post(tx, Card{Room: room, Sender: s.ID, Type: "prompt_detected", Format: "text", Content: orElse(p.Text, p.summary()),
			Meta: map[string]any{"prompt_id": p.ID, "terminal_id": s.ID, "detector": p.detector(), "summary": p.summary(), "source": sourceBridge}})
		if err != nil {
			return err
		}
		if id != "" {
			p.Told = append(p.Told, room)
		}
	}
	return nil
}

// terminal is the one that a session is or is the chat of; nil: it is neither.
func (r *Room) terminal(rd store.Reader, ref string) (*Session, error) {
	s, err := r.opt.Sessions.Find(rd, ref)
	if err != nil || s == nil || s.Type == "terminal" {
		return s, err
	}
	linked, err := r.opt.Sessions.LinkedTerminals(rd, s.ID)
	if err != nil || len(linked) == 0 {
		return nil, err
	}
	return linked[0], nil
}

// recent is the prompt that an answer to a terminal means: the one that waits, or
// that was answered a moment ago. Nil: there is none.
func recent(rd store.Reader, terminal string, now time.Time) (*prompt, error) {
	p, err := newest(rd, terminal)
	if err != nil || p == nil || p.open() {
		return p, err
	}
	if p.Status == promptAnswered && (!p.Left || now.UnixNano()-p.Claim.At < int64(recently)) {
		return p, nil
	}
	return nil, nil
}

// GetPendingPrompt implements antv1.PromptsServiceServer.
func (r *Room) GetPendingPrompt(ctx context.Context, q *antv1.GetPendingPromptRequest) (*antv1.GetPendingPromptResponse, error) {
	var out *antv1.GetPendingPromptResponse
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antv1.GetPendingPromptResponse{}
		s, err := r.terminal(rd, q.SessionId)
		if err != nil {
			return err
		}
		if s == nil {
			return errNoTerminal
		}
		if err := reach(ctx, s.ID); err != nil {
			return err
		}
		p, err := waiting(rd, s.ID)
		if err == nil && p != nil {
			out.Pending = p.bridge()
		}
		return err
	})
	return out, err
}

// RespondPrompt implements antv1.PromptsServiceServer.
func (r *Room) RespondPrompt(ctx context.Context, q *antv1.RespondPromptRequest) (*antv1.RespondPromptResponse, error) {
	text := orElse(q.Text, q.Response)
	if text == "" {
		return nil, fault.BadField("missing", "text must be a non-empty string", "text")
	}
	if err := checkText(text); err != nil {
		return nil, err
	}
	if len(q.ResponderId) > nameMax {
		return nil, fault.BadField("value_error", "responder_id is too long: use 256 bytes at most", "responder_id")
	}
	if err := mayType(ctx); err != nil {
		return nil, err
	}
	id, err := r.waitingIn(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	p, err := r.answer(ctx, id, answerer{by: caller.From(ctx).As(q.ResponderId), source: sourceBridge, choose: func(p *prompt) (decision, error) {
		d, err := p.reply(text)
		d.bare = q.Enter != nil && !*q.Enter && d.Type == toText
		return d, err
	}})
	if err != nil {
		return nil, err
	}
	return &antv1.RespondPromptResponse{Ok: true, Prompt: p.bridge()}, nil
}

// waitingIn is the id of the prompt that an answer to a session means. Guests know
// their room and its terminal alone.
func (r *Room) waitingIn(ctx context.Context, ref string) (id string, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		s, err := r.terminal(rd, ref)
		switch {
		case err != nil:
			return err
		case s == nil:
			return errNoTerminal
		case s.Archived || s.Deleted:
			return errInactive
		}
		if err := reach(ctx, s.ID); err != nil {
			return err
		}
		p, err := recent(rd, s.ID, r.opt.Now())
		if err != nil {
			return err
		}
		if p == nil {
			return errNothing
		}
		id = p.ID
		return nil
	})
	return id, err
}
