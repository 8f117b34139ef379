package rooms

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// Answers gives answers to what agents in terminals ask.
type Answers interface {
	// Asked is the id of the terminal that asked what a card shows, or the prompt
	// with an id; empty: none did.
	Asked(rd store.Reader, event string) (string, error)
	// Answer returns the id of the message that answered once the answer was given; only the first one is. A
	// repetition of that has its outcome.
	Answer(ctx context.Context, a Answer) (id string, err error)
	// Dismissed is told that somebody has settled a card by hand.
	Dismissed(ctx context.Context, card string) error
}

// Answer is a message that answers what an agent asks (ant.md 3.6).
type Answer struct {
	Room, Message, Terminal, Event string // ids; no Event: what waits in the terminal
	By, Source, Reason             string
	Type                           string
	Choice                         json.RawMessage
	Once                           string // what a repetition of the message has, too; empty: it has no key
}

// JoinAnswers gives the room somebody who gives answers.
func (r *Room) JoinAnswers(a Answers) { r.answers.Store(&a) }

// answer is the content of a message that answers what an agent asked.
type answer struct {
	Type          string          `json:"type"`
	Choice        json.RawMessage `json:"choice"`
	Event         string          `json:"event_id"`
	Content       json.RawMessage `json:"event_content"`
	Terminal      string          `json:"terminal_session_id"`
	Justification string          `json:"justification"`
	Reason        string          `json:"reason"`
	Source        string          `json:"source"`
}

const (
	typeAgentEvent = "agent_event"     // the card of what an agent asks
	viaAgent       = "agent-event-bus" // an answer that was given
)

// reasonChars bounds a justification.
const reasonChars = 2000

// readAnswer reads it; either the event's message is named, or the terminal and
// what it said.
func readAnswer(d *draft) (answer, error) {
	var a answer
	if json.Unmarshal([]byte(d.content), &a) != nil {
		return a, fault.BadField("value_error", "the content of an agent_response is a JSON object", "content")
	}
	said := len(a.Content) > 0 && string(a.Content) != "null"
	if a.Event == "" && (a.Terminal == "" || !said) {
		return a, fault.New(fault.Invalid, "EVENT_REQUIRED",
			"agent_response requires an event_id or terminal_session_id/event_content")
	}
	if a.Event == "" {
		a.Event = promptID(a.Content)
	}
	a.Reason = orElse(a.Justification, a.Reason)
	if utf8.RuneCountInString(a.Reason) > reasonChars {
		return a, fault.BadField("value_error", "justification is too long: 2000 characters at most", "content", "justification")
	}
	a.Source = orElse(a.Source, d.flags.source)
	return a, checkName("source", a.Source, shortMax)
}

// promptID is the id that what a terminal said has, if it has one.
func promptID(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		content = json.RawMessage(text)
	}
	var said struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(content, &said) // what is no object has none
	return said.ID
}

// answerAgent gives the answer that a message is. It is not kept: the card says what
// was decided.
func (r *Room) answerAgent(ctx context.Context, d *draft, q *antv1.PostMessageRequest) (*antv1.PostMessageResponse, error) {
	a, err := readAnswer(d)
	if err != nil {
		return nil, err
	}
	if q.DryRun {
		return nil, fault.BadField("value_error", "dry_run does not go with an agent_response", "dry_run")
	}
	var by Answers
	if p := r.answers.Load(); p != nil {
		by = *p
	}
	var room, terminal *Session
	asked := false
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		if room, err = r.writable(rd, d.ref); err != nil {
			return err
		}
		terminal, asked, err = r.whoAsked(rd, by, room, a)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !asked && a.Event != "", by == nil:
		return nil, fault.New(fault.Precondition, "NOTHING_PENDING",
			"%s is not waiting for an answer to this event: nothing was typed", orElse(terminal.Handle, terminal.Name))
	}
	said := Answer{Room: room.ID, Message: r.opt.NewID(), Terminal: terminal.ID, Event: a.Event, By: d.sender, Source: a.Source,
		Reason: a.Reason, Type: a.Type, Choice: a.Choice}
	if d.once != nil {
		said.Once = hex.EncodeToString(d.once.Digest) + " " + d.once.Key
	}
	id, err := by.Answer(ctx, said)
	if err != nil {
		return nil, err
	}
	now := d.now.UnixNano()
	return &antv1.PostMessageResponse{Id: id, SessionId: room.ID, Role: d.role, Content: d.content, Format: orElse(q.Format, "json"),
		Status: "complete", SenderId: wire.OrNull(d.sender), Target: wire.OrNull(d.target), ReplyTo: wire.OrNull(d.replyTo), MsgType: d.msgType, Meta: d.meta,
		CreatedAt: wire.Time(now), BroadcastState: "done", Handled: true,
		Deliveries: []*antv1.Delivery{{Id: id + ".0", Adapter: viaAgent, TargetId: terminal.ID, Delivered: true, State: stateDelivered,
			Handle: wire.OrNull(terminal.Handle), Attempt: 1, Attempts: 1, AttemptedAt: wire.Time(now), CreatedAt: wire.Time(now), UpdatedAt: wire.Time(now)}}}, nil
}

// whoAsked finds the terminal that an answer is for. asked says that the event is
// something that it asked.
func (r *Room) whoAsked(rd store.Reader, by Answers, room *Session, a answer) (s *Session, asked bool, err error) {
	id := ""
	if by != nil && a.Event != "" {
		if id, err = by.Asked(rd, a.Event); err != nil {
			return nil, false, err
		}
	}
	asked = id != ""
	ref := orElse(id, a.Terminal)
	if ref == "" {
		m, err := loadMessage(rd, room.ID, a.Event)
		if err != nil {
			return nil, false, err
		}
		if m != nil {
			ref = orElse(m.Session, m.Sender)
		}
	}
	if s, err = r.opt.Sessions.Find(rd, ref); err != nil {
		return nil, false, err
	}
	if !s.active() || s.Type != typeTerminal {
		return nil, false, fault.Missing("TERMINAL_NOT_FOUND", "agent_response target terminal not found")
	}
	return s, asked, nil
}

// settledByHand are the states of a card that a person may set.
var settledByHand = map[string]bool{"discarded": true, "dismissed": true, "settled": true, "responded": true}

// dismissed passes on that somebody has settled a card (compat: ant.md 1.2).
func (r *Room) dismissed(ctx context.Context, m *message) error {
	by := r.answers.Load()
	if by == nil || m == nil || m.Type != typeAgentEvent {
		return nil
	}
	meta, err := storedMeta(m)
	if err != nil {
		return err
	}
	var status string
	if json.Unmarshal(meta["status"], &status) != nil || !settledByHand[status] {
		return nil
	}
	return (*by).Dismissed(ctx, m.ID)
}
