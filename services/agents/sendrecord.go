package agents

import (
	"context"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/terminal/paste"
)

// sendsKept is how many sends of a terminal are kept, and sendsTrimmed how many old
// ones go with a new one at most.
const (
	sendsKept    = 1000
	sendsTrimmed = 2
)

// send is the receipt of a text into a terminal. The text itself is never stored
// here: while it is under way its beginning is, so that a restart knows it again.
type send struct {
	Terminal string `json:"terminal"`
	Seq      uint64 `json:"seq"` // in the terminal, from 1, without gaps
	ID       string `json:"id"`
	Key      string `json:"key,omitempty"` // k: of a caller, i: of an injection

	Message string `json:"message,omitempty"`
	Room    string `json:"room,omitempty"`
	Sender  string `json:"sender,omitempty"`
	Source  string `json:"source"` // for the evidence: api_send or chat_injection

	Length  int        `json:"length"`
	SHA256  string     `json:"sha256"`
	Raw     bool       `json:"raw,omitempty"`   // it was typed as it is
	Asked   bool       `json:"asked,omitempty"` // to be raw
	State   string     `json:"state"`
	Reason  string     `json:"reason,omitempty"`
	How     string     `json:"how,omitempty"`
	File    string     `json:"file,omitempty"`
	Presses int        `json:"presses,omitempty"`
	Clean   bool       `json:"clean,omitempty"`
	Steps   []sendStep `json:"steps"`

	// While it is under way.
	Driver string `json:"driver,omitempty"`
	Head   string `json:"head,omitempty"`
}

type sendStep struct {
	State string `json:"state"`
	At    int64  `json:"at"` // ms
}

func ofTerminal(id string) key.Key { return key.Key(nil).Str(id) }

var sendRows = store.NewTable(store.TableOptions[send]{
	Name: "ant_sends",
	Key:  func(s *send) key.Key { return ofTerminal(s.Terminal).Uint(s.Seq) },
	Indexes: []store.Index[send]{
		{Name: "id", Unique: true, Keys: func(s *send) []key.Key { return []key.Key{ofTerminal(s.Terminal).Str(s.ID)} }},
		{Name: "key", Unique: true, Keys: func(s *send) []key.Key {
			if s.Key == "" {
				return nil
			}
			return []key.Key{ofTerminal(s.Terminal).Str(s.Key)}
		}},
		{Name: "open", Keys: func(s *send) []key.Key { // those under way
			if s.over() {
				return nil
			}
			return []key.Key{ofTerminal(s.Terminal)}
		}},
	},
})

// arrived says that the text was submitted, and taken up as far as that can be known.
func (s *send) arrived() bool {
	return s.State == string(paste.Taken) || s.Raw && s.State == string(paste.Submitted)
}

func (s *send) over() bool { return s.arrived() || s.State == string(paste.Failed) }

func (s *send) step(state paste.State, at time.Time) {
	s.State = string(state)
	s.Steps = append(s.Steps, sendStep{s.State, at.UnixMilli()})
	if s.over() {
		s.Driver, s.Head = "", ""
	}
}

// fail ends it without a receipt.
func (s *send) fail(why paste.Reason, at time.Time) {
	s.Reason = string(why)
	s.step(paste.Failed, at)
}

// receive takes over what a receipt says. The first step is the row's own: it was queued
// before its turn came.
func (s *send) receive(p paste.Receipt) {
	s.Reason, s.How, s.File, s.Presses, s.Clean, s.Head = string(p.Reason), p.How, p.File, p.Presses, p.Clean, p.Head
	s.Steps = s.Steps[:1:1]
	for _, step := range p.Steps[1:] {
		s.step(step.State, step.At)
	}
}

// newSend stores an order as queued. The sends of a terminal are numbered without gaps,
// so that their number is known without counting them.
func (r *Room) newSend(tx store.Tx, o order, id string) (*send, error) {
	s := &send{Terminal: o.Terminal, Seq: 1, ID: id, Key: o.Key, Message: o.Message, Room: o.Room, Sender: o.Sender, Source: o.Source,
		Length: len(o.Text), SHA256: digestOf(o.Text), Raw: o.Raw, Asked: o.Raw, Clean: true}
	for last, err := range sendRows.Scan(tx, store.ScanOptions{Prefix: ofTerminal(o.Terminal), Reverse: true, Limit: 1}) {
		if err != nil {
			return nil, err
		}
		s.Seq = last.Seq + 1
	}
	var old []*send
	for row, err := range sendRows.Scan(tx, store.ScanOptions{Prefix: ofTerminal(o.Terminal), Limit: sendsTrimmed}) {
		if err != nil {
			return nil, err
		}
		if row.Seq+sendsKept <= s.Seq {
			old = append(old, row)
		}
	}
	for _, row := range old {
		if _, err := sendRows.Delete(tx, ofTerminal(row.Terminal).Uint(row.Seq)); err != nil {
			return nil, err
		}
	}
	s.step(paste.Queued, r.opt.Now())
	return s, r.putSend(tx, s, "")
}

// promptShown is how long a text may be to stand in the payload of its event, too.
const promptShown = 4 << 10

// putSend stores a state and tells of it, and notes what arrived as evidence.
func (r *Room) putSend(tx store.Tx, s *send, text string) error {
	session, err := r.opt.Sessions.Find(tx, s.Terminal)
	if err != nil || session == nil {
		return err // nothing is kept of what is deleted for good
	}
	if err := sendRows.Put(tx, s); err != nil {
		return err
	}
	at := s.Steps[len(s.Steps)-1].At
	if err := feed.Append(tx, &antv1.Event{AtMs: float64(at), SessionId: s.Terminal,
		Event: &antv1.Event_TerminalSendUpdated{TerminalSendUpdated: &antv1.TerminalSendUpdated{Send: s.view()}}}); err != nil || !s.arrived() {
		return err
	}
	payload := map[string]any{"capture_source": s.Source, "transport": "terminal_send", "send_id": s.ID, "message_id": orAbsent(s.Message),
		"room_id": orAbsent(s.Room), "sender_id": orAbsent(s.Sender), "sha256": s.SHA256, "length": s.Length}
	if len(text) <= promptShown {
		payload["prompt"] = text
	}
	_, err = r.opt.Evidence.AppendTx(tx, Event{Session: s.Terminal, At: time.UnixMilli(at), Source: "terminal", Trust: "high", Kind: "prompt", Text: text,
		Payload: payload, Key: "send:" + s.ID})
	return err
}

// keepSend is putSend in a transaction of its own.
func (r *Room) keepSend(s send, text string) error {
	return r.opt.DB.Update(context.WithoutCancel(r.base), func(tx store.Tx) error { return r.putSend(tx, &s, text) })
}

func (s *send) view() *antv1.TerminalSend {
	v := &antv1.TerminalSend{Id: s.ID, SessionId: s.Terminal, MessageId: orAbsent(s.Message), RoomId: orAbsent(s.Room), SenderId: orAbsent(s.Sender),
		State: s.State, Reason: orAbsent(s.Reason), Length: float64(s.Length), Sha256: s.SHA256, How: orAbsent(s.How), File: orAbsent(s.File),
		Presses: int32(s.Presses), Clean: s.Clean, Raw: s.Raw}
	for _, step := range s.Steps {
		v.Steps = append(v.Steps, &antv1.TerminalSendStep{State: step.State, At: time.UnixMilli(step.At).UTC().Format("2006-01-02T15:04:05.000Z")})
	}
	return v
}

// deleteSends forgets the sends of a session, a few at a time.
func (r *Room) deleteSends(ctx context.Context, id string) error {
	for more := true; more; {
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			var some []*send
			for row, err := range sendRows.Scan(tx, store.ScanOptions{Prefix: ofTerminal(id), Limit: 20}) {
				if err != nil {
					return err
				}
				some = append(some, row)
			}
			more = len(some) > 0
			for _, row := range some {
				if _, err := sendRows.Delete(tx, ofTerminal(id).Uint(row.Seq)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func orAbsent(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
