package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/agents"
	"anthill/services/evidence"
	"anthill/services/internal/dial"
	"anthill/services/internal/store"
	"anthill/services/rooms"
	"anthill/services/sessions"
)

// openAgents opens the room that knows the agents in terminals. The rooms that it
// speaks of are joined with it by joinAgents.
func (s *Services) openAgents(ctx context.Context, c Config, main store.DB) (err error) {
	posts := hooksFor{dial.Client(dial.Options{Policy: dial.Policy{Private: true, Own: s.own.has}})}
	s.agents, err = agents.Open(ctx, agents.Options{DB: main, Drivers: loadDrivers(c.Home, c.Log), Folder: filepath.Join(c.Home, "messages"),
		Sessions: agentsFor{s.sessions}, Rooms: cardsFor{s.rooms, s.sessions}, Evidence: agentEvidence{s.evidence}, Asks: asksFor{s.rooms},
		Hooks: posts, Now: time.Now, NewID: rowID, Log: c.Log})
	if err != nil {
		return fmt.Errorf("open agents: %w", err)
	}
	s.closeFirst("agents", s.agents.Close)
	s.closeFirst("drivers", followDrivers(c.Home, s.agents, c.Log))
	return nil
}

// joinAgents is called once the terminals that a former process left were given to
// the room of agents.
func (s *Services) joinAgents(ctx context.Context) error {
	if err := s.agents.Settle(ctx); err != nil {
		return fmt.Errorf("settle what agents asked: %w", err)
	}
	s.agents.RecoverSends()
	s.rooms.JoinAnswers(answersFor{s.agents})
	s.rooms.JoinTerminals(terminalsForRooms{s.agents})
	return nil
}

// hooksFor posts to webhooks that an admin has set: on this machine too, but not to this server.
type hooksFor struct{ client *http.Client }

// Post implements agents.Hooks.
func (h hooksFor) Post(ctx context.Context, url string, body []byte) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	a, err := h.client.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	_, _ = io.CopyN(io.Discard, a.Body, 4<<10) // so that the connection can be used again
	if a.StatusCode/100 != 2 {
		return fmt.Errorf("the receiver answered %s", a.Status)
	}
	return nil
}

// agentsFor shows sessions to the agents.
type agentsFor struct{ room *sessions.Room }

// Find implements agents.Sessions.
func (f agentsFor) Find(rd store.Reader, ref string) (*agents.Session, error) {
	s, err := f.room.Find(rd, ref)
	if err != nil || s == nil {
		return nil, err
	}
	return f.session(rd, s)
}

// LinkedTerminals implements agents.Sessions.
func (f agentsFor) LinkedTerminals(rd store.Reader, chatID string) ([]*agents.Session, error) {
	list, err := f.room.LinkedTerminals(rd, chatID)
	if err != nil {
		return nil, err
	}
	out := make([]*agents.Session, len(list))
	for i, s := range list {
		if out[i], err = f.session(rd, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// SetCLIFlag implements agents.Sessions.
func (f agentsFor) SetCLIFlag(tx store.Tx, id, flag string) error {
	return f.room.SetCLIFlag(tx, id, flag)
}

func (f agentsFor) session(rd store.Reader, s *sessions.Session) (*agents.Session, error) {
	active, err := f.room.Active(rd, s.ID)
	return &agents.Session{ID: s.ID, Name: s.Name, Type: s.Type, Handle: s.Handle, DisplayName: s.DisplayName, Status: s.Status, TTL: s.TTL,
		CLIFlag: s.CLIFlag, LinkedChat: s.LinkedChat, AutoForward: s.AutoForward, Archived: s.Archived, Deleted: s.Deleted, Active: active}, err
}

// cardsFor is where agents are spoken of.
type cardsFor struct {
	room     *rooms.Room
	sessions *sessions.Room
}

// Post implements agents.Rooms.
func (f cardsFor) Post(tx store.Tx, c agents.Card) (string, error) {
	return f.room.PostCard(tx, rooms.Card(c))
}

// Settle implements agents.Rooms.
func (f cardsFor) Settle(tx store.Tx, room, message string, meta map[string]any) error {
	return f.room.SettleCard(tx, room, message, meta)
}

// Focus implements agents.Rooms.
func (f cardsFor) Focus(rd store.Reader, terminal string) (*agents.Focus, error) {
	in, err := f.room.FocusOf(rd, terminal)
	if err != nil || in == nil {
		return nil, err
	}
	out := &agents.Focus{Room: in.RoomID, Reason: in.Reason, SetBy: in.SetBy, Expires: in.Expires, Queue: in.Queue}
	s, err := f.sessions.Find(rd, in.RoomID)
	if s != nil {
		out.RoomName = s.Name
	}
	return out, err
}

// Wake implements agents.Rooms.
func (f cardsFor) Wake() { f.room.Wake() }

// agentEvidence notes what is known of agents.
type agentEvidence struct{ room *evidence.Room }

// AppendTx implements agents.Evidence.
func (e agentEvidence) AppendTx(tx store.Tx, v agents.Event) (*antv1.RunEvent, error) {
	out, err := evidenceEvent(v.Session, v.At, v.Source, v.Trust, v.Kind, v.Text, v.Payload, v.RawRef, v.Key)
	if err != nil {
		return nil, err
	}
	return e.room.AppendTx(tx, out)
}

// asksFor shows the questions of rooms to the attention list.
type asksFor struct{ room *rooms.Room }

// Open implements agents.Asks.
func (f asksFor) Open(ctx context.Context, room string, after agents.Place, limit int) ([]agents.Ask, error) {
	list, err := f.room.OpenAsks(ctx, room, after.Order, after.N, limit)
	out := make([]agents.Ask, len(list))
	for i, a := range list {
		out[i] = agents.Ask{Place: agents.Place{Order: a.Order, N: a.N}, Item: a.Item}
	}
	return out, err
}

// Get implements agents.Asks.
func (f asksFor) Get(ctx context.Context, id string) (*antv1.AttentionItem, error) {
	return f.room.AskItem(ctx, id)
}

// Answer implements agents.Asks.
func (f asksFor) Answer(ctx context.Context, q *antv1.AnswerAttentionRequest) (*antv1.AttentionItem, error) {
	return f.room.AnswerAsk(ctx, q)
}

// answersFor gives the answers that come as messages.
type answersFor struct{ room *agents.Room }

// Asked implements rooms.Answers.
func (f answersFor) Asked(rd store.Reader, event string) (string, error) {
	return f.room.TerminalOf(rd, event)
}

// Answer implements rooms.Answers.
func (f answersFor) Answer(ctx context.Context, a rooms.Answer) (id string, err error) {
	return f.room.Respond(ctx, agents.Response(a))
}

// Dismissed implements rooms.Answers.
func (f answersFor) Dismissed(ctx context.Context, card string) error {
	return f.room.Dismiss(ctx, card)
}

// terminalsForRooms takes what rooms owe to terminals.
type terminalsForRooms struct{ room *agents.Room }

// Live implements rooms.Terminals.
func (f terminalsForRooms) Live(id string) bool { return f.room.Live(id) }

// Working implements rooms.Terminals.
func (f terminalsForRooms) Working(id string) bool { return f.room.Working(id) }

// Deliver implements rooms.Terminals.
func (f terminalsForRooms) Deliver(ctx context.Context, i rooms.Injection) error {
	err := f.room.Deliver(ctx, agents.Injection{ID: i.ID, Terminal: i.Terminal, Room: i.Room, Message: i.Message, Sender: i.Sender, Text: i.Text, Raw: i.Raw})
	if u := (*agents.Undelivered)(nil); errors.As(err, &u) {
		return &rooms.Undelivered{Reason: u.Reason, Words: u.Words, Final: u.Final, Waits: u.Waits}
	}
	return err
}
