package rooms

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"

	"github.com/fxamacker/cbor/v2"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Everything of a room is found by the room's id, which is never used again, and
// messages by their number in it. So history is read by ranges, a post writes at
// the end, and no index of messages has to be kept.

// Types of messages that mean something here.
const (
	typeMessage       = "message"
	typeBreak         = "chat_break"
	typeFocusBypass   = "focus_bypass"
	typeAgentResponse = "agent_response"
)

// message is the stored state of one.
type message struct {
	Room string `json:"-"`
	Seq  uint64 `json:"-"`
	At   int64  `json:"-"` // ns since 1970; never before that of an earlier one
	Size int    `json:"-"` // bytes of its content

	ID       string `json:"id"`
	Role     string `json:"role"`
	Content  string `json:"content,omitempty"`
	Body     string `json:"body,omitempty"` // the content is a body in the bulk store
	Format   string `json:"format"`
	Sender   string `json:"sender,omitempty"`         // as it was given
	Session  string `json:"sender_session,omitempty"` // that the sender is
	Target   string `json:"target,omitempty"`
	ReplyTo  string `json:"reply_to,omitempty"`
	Type     string `json:"type"`
	Meta     string `json:"meta"`
	Pinned   bool   `json:"pinned,omitempty"`
	Event    uint64 `json:"event"`              // seq of its message_created in the feed
	Attempts int    `json:"attempts,omitempty"` // deliveries to terminals
	Owed     int    `json:"owed,omitempty"`     // terminals that it waits for
}

// headerLen is the part of a stored message that is read without decoding the
// rest: its time, and the size of its content.
const headerLen = 8 + 4

func encodeMessage(m *message) ([]byte, error) {
	row, err := cbor.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	out := make([]byte, 0, headerLen+len(row))
	out = binary.BigEndian.AppendUint64(out, uint64(m.At))
	out = binary.BigEndian.AppendUint32(out, uint32(m.Size))
	return append(out, row...), nil
}

// messageTime is when a stored message was posted, in ns.
func messageTime(row []byte) int64 {
	if len(row) < headerLen {
		return 0
	}
	return int64(binary.BigEndian.Uint64(row))
}

func messageSize(row []byte) int {
	if len(row) < headerLen {
		return 0
	}
	return int(binary.BigEndian.Uint32(row[8:]))
}

func decodeMessage(room string, seq uint64, row []byte) (*message, error) {
	if len(row) < headerLen {
		return nil, fmt.Errorf("%w: message %d of room %s", store.ErrCorrupt, seq, room)
	}
	m := &message{}
	if err := cbor.Unmarshal(row[headerLen:], m); err != nil {
		return nil, fmt.Errorf("decode message %d of room %s: %w", seq, room, err)
	}
	m.Room, m.Seq, m.At, m.Size = room, seq, messageTime(row), messageSize(row)
	return m, nil
}

// loadMessage finds a message of a room by its id, or returns nil.
func loadMessage(rd store.Reader, room, id string) (*message, error) {
	seq, ok := parseID(room, id)
	if !ok {
		return nil, nil
	}
	m, err := messageAt(rd, room, seq)
	if m == nil || m.ID != id {
		return nil, err
	}
	return m, nil
}

func messageAt(rd store.Reader, room string, seq uint64) (*message, error) {
	row := rd.Get(messageKey(room, seq))
	if row == nil {
		return nil, nil
	}
	return decodeMessage(room, seq, row)
}

func putMessage(tx store.Tx, m *message) error {
	row, err := encodeMessage(m)
	if err == nil {
		tx.Put(messageKey(m.Room, m.Seq), row)
	}
	return err
}

// roomState is what a room knows of itself; every post reads and writes it.
type roomState struct {
	LastSeq uint64 `json:"last_seq"`
	LastAt  int64  `json:"last_at"`           // ns
	Members int    `json:"members,omitempty"` // rows of members, those who left too

	Brakes brakes `json:"brakes"`

	CoworkerForGuests bool `json:"coworker_for_guests,omitempty"`

	OnceFirst uint64 `json:"once_first,omitempty"` // oldest idempotency key kept
	OnceNext  uint64 `json:"once_next,omitempty"`
}

// poster is somebody who posted in a room.
type poster struct {
	Room    string  `json:"-"`
	Who     string  `json:"-"` // session id, or the name that was given
	Session bool    `json:"session,omitempty"`
	First   int64   `json:"first"` // ns
	Last    int64   `json:"last"`  // ns
	Count   int     `json:"count"` // of messages that are there
	Bypass  []int64 `json:"bypass,omitempty"`
}

// member is a session that takes part in a room.
type member struct {
	Room     string    `json:"room"`
	Session  string    `json:"session"`
	Terminal bool      `json:"terminal,omitempty"`
	Role     string    `json:"role"`
	Alias    string    `json:"alias,omitempty"`
	Joined   int64     `json:"joined"` // ns
	Left     bool      `json:"left,omitempty"`
	Focus    attention `json:"focus,omitzero"`
}

// attention is what a member attends to.
type attention struct {
	On      bool   `json:"on,omitempty"`
	Reason  string `json:"reason,omitempty"`
	SetBy   string `json:"set_by,omitempty"`
	Expires int64  `json:"expires,omitempty"` // ns
	Updated int64  `json:"updated,omitempty"` // ns
	Queue   int    `json:"queue,omitempty"`   // messages that wait
}

// Roles of members.
const (
	roleParticipant = "participant" // messages are delivered to it
	roleExternal    = "external"    // it comes and reads
)

var members = store.NewTable(store.TableOptions[member]{
	Name: "ant_member",
	Key:  func(m *member) key.Key { return memberKey(m.Room, m.Session) },
	Indexes: []store.Index[member]{
		{Name: "terminal", Keys: func(m *member) []key.Key { // those that a message can wake
			if !m.Terminal || m.Left || m.Role != roleParticipant {
				return nil
			}
			return []key.Key{key.Key(nil).Str(m.Room)}
		}},
		{Name: "session", Keys: func(m *member) []key.Key { return []key.Key{key.Key(nil).Str(m.Session)} }},
		{Name: "focus", Keys: func(m *member) []key.Key {
			if !m.Focus.On {
				return nil
			}
			return []key.Key{key.Key(nil).Uint(uint64(m.Focus.Expires))}
		}},
		{Name: "focused", Keys: func(m *member) []key.Key {
			if !m.Focus.On {
				return nil
			}
			return []key.Key{key.Key(nil).Str(m.Session)}
		}},
	},
})

func memberKey(room, session string) key.Key { return key.Key(nil).Str(room).Str(session) }

var messagesTable = key.Of("ant_message")

func messagesOf(room string) key.Key            { return messagesTable.Str(room) }
func messageKey(room string, seq uint64) []byte { return messagesOf(room).Uint(seq) }

func breaksOf(room string) key.Key     { return key.Of("ant_break").Str(room) }
func stateKey(room string) key.Key     { return key.Of("ant_room").Str(room) }
func postersOf(room string) key.Key    { return key.Of("ant_poster").Str(room) }
func deliveriesOf(room string) key.Key { return key.Of("ant_delivery").Str(room) }
func onceOf(room string) key.Key       { return key.Of("ant_once").Str(room) }
func onceRingOf(room string) key.Key   { return key.Of("ant_once_ring").Str(room) }

func parseMessageKey(k []byte) (room string, seq uint64, err error) {
	p := key.Parse(k)
	p.Str()
	room, seq = p.Str(), p.Uint()
	return room, seq, p.Err()
}

// lastPart is the number that a key ends with.
func lastPart(k []byte, strs int) (uint64, error) {
	p := key.Parse(k)
	for range strs {
		p.Str()
	}
	n := p.Uint()
	return n, p.Err()
}

// load reads a record; nil if there is none.
func load[T any](rd store.Reader, k key.Key) (*T, error) {
	row := rd.Get(k)
	if row == nil {
		return nil, nil
	}
	v := new(T)
	if err := cbor.Unmarshal(row, v); err != nil {
		return nil, fmt.Errorf("decode %T: %w", *v, err)
	}
	return v, nil
}

func save[T any](tx store.Tx, k key.Key, v *T) error {
	row, err := cbor.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %T: %w", *v, err)
	}
	tx.Put(k, row)
	return nil
}

func loadState(rd store.Reader, room string) (*roomState, error) {
	st, err := load[roomState](rd, stateKey(room))
	if st == nil && err == nil {
		st = &roomState{}
	}
	return st, err
}

func itoa(n int) string { return strconv.Itoa(n) }

func collect[T any](rows iter.Seq2[*T, error]) (list []*T, err error) {
	for v, err := range rows {
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
