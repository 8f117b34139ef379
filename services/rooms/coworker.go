package rooms

import (
	"context"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
	"anthill/services/rooms/mention"
)

// coworkerHandle is by which a coworker is spoken to in every room, unless
// somebody else has it there.
const (
	coworkerHandle = "@anton"
	coworkerName   = "Anton"
	viaCoworker    = "coworker"
)

// Coworkers are conversations that answer in rooms, one in each.
type Coworkers interface {
	// Spawn makes a conversation and returns its id. It is about eight writes of the
	// transaction.
	Spawn(tx store.Tx, room, title string) (string, error)
	// Exists says whether a conversation is there.
	Exists(rd store.Reader, conversation string) (bool, error)
	// Working says whether a turn runs in it. It answers from memory.
	Working(conversation string) bool
	// Ask hands a question over: once it returns nil the conversation has it, through
	// restarts. The same ID is taken once. An *Undelivered says that it has to wait, or
	// is refused. Never called in a transaction.
	Ask(ctx context.Context, q Inquiry) error
	// Answer waits until the turn of a question has ended; begun is called when it
	// runs. An *Undelivered says that it does not run by itself, or never will.
	Answer(ctx context.Context, id string, begun func()) (*Reply, error)
}

// Inquiry is what a coworker is asked.
type Inquiry struct {
	ID                  string // 24 hexadecimal digits
	Conversation        string
	Room, Message, From string // ids of the first two; who posted, may be empty
	Instructions        string // where it is; the same for every question
	Said                string // in the room before, as quoted lines; may be empty
	Text                string // of the message
}

// Reply is what came of it.
type Reply struct {
	Conversation, Response string // ids
	Status                 string // of the response
	Text                   string
	Problem                string // why Text is not whole, or there is none, in words for people
	Made                   []Made
}

// Made is an artifact that a turn made or changed.
type Made struct {
	Title string `json:"title"`
	URL   string `json:"url"` // a path of this server
}

// JoinCoworkers gives the room coworkers, which are asked what they are owed.
func (r *Room) JoinCoworkers(c Coworkers) {
	r.coworkers.Store(&c)
	r.Wake()
}

// coworker is what a room knows of its own. There is none until somebody asks it.
type coworker struct {
	Conversation string `json:"conversation,omitempty"` // empty: none was made yet
	Began        uint64 `json:"began,omitempty"`        // seq of the first message that its conversation was asked
	Shown        uint64 `json:"shown,omitempty"`        // messages up to this seq it was shown
	Joined       int64  `json:"joined"`                 // ns
	Out          bool   `json:"out,omitempty"`          // was taken out of the room
}

func coworkerKey(room string) key.Key { return key.Of("ant_coworker").Str(room) }

// coworkerIn is the coworker of a room, an empty one if nobody has asked it yet;
// nil if it is none of this room: it was taken out, or the handle is another's.
func (r *Room) coworkerIn(rd store.Reader, room *Session) (*coworker, error) {
	if r.coworkers.Load() == nil || room.Type != typeChat {
		return nil, nil
	}
	c, err := load[coworker](rd, coworkerKey(room.ID))
	if err != nil || c != nil && c.Out {
		return nil, err
	}
	if taken, err := r.coworkerTaken(rd, room.ID, c == nil); err != nil || taken {
		return nil, err
	}
	linked, err := r.opt.Sessions.LinkedTerminals(rd, room.ID)
	if err != nil || len(linked) > 0 { // what is said there is for the terminal
		return nil, err
	}
	if c == nil {
		c = &coworker{}
	}
	return c, nil
}

// coworkerTaken says whether somebody else is spoken to by the coworker's handle: a
// session has it, or a member of the room as its alias; or, where the coworker
// has never been, somebody posts under it.
func (r *Room) coworkerTaken(rd store.Reader, room string, posters bool) (bool, error) {
	if s, err := r.opt.Sessions.Find(rd, coworkerHandle); err != nil || s.active() {
		return true, err
	}
	for m, err := range members.Scan(rd, store.ScanOptions{Prefix: key.Key(nil).Str(room)}) {
		if err != nil {
			return false, err
		}
		if !m.Left && mention.Is(strings.TrimPrefix(m.Alias, "@"), coworkerHandle) {
			return true, nil
		}
	}
	if !posters {
		return false, nil
	}
	for _, name := range []string{coworkerHandle, strings.TrimPrefix(coworkerHandle, "@")} {
		if who, err := loadPoster(rd, room, name); err != nil || who != nil {
			return true, err
		}
	}
	return false, nil
}

// asksCoworker is the coworker as the target of a message that speaks to it; nil: it
// does not.
func (r *Room) asksCoworker(rd store.Reader, room *Session, d *draft) (*target, error) {
	named := d.mentions.Names
	if d.target != "" && d.target != everyone {
		named = []string{strings.TrimPrefix(d.target, "@")}
	}
	for _, name := range named {
		if !mention.Is(name, coworkerHandle) {
			continue
		}
		c, err := r.coworkerIn(rd, room)
		if err != nil || c == nil {
			return nil, err
		}
		t := &target{session: &Session{ID: coworkerHandle, Handle: coworkerHandle}, adapter: viaCoworker}
		if d.guest {
			st, err := loadState(rd, room.ID)
			if err != nil {
				return nil, err
			}
			t.forbidden = !st.CoworkerForGuests
		}
		return t, nil
	}
	return nil, nil
}

// meansCoworker says whether a request about a participant is about the coworker.
func (r *Room) meansCoworker(rd store.Reader, roomRef, id, handle string) (*Session, error) {
	name := orElse(id, handle)
	if r.coworkers.Load() == nil || !strings.EqualFold(strings.TrimPrefix(name, "@"), strings.TrimPrefix(coworkerHandle, "@")) {
		return nil, nil
	}
	room, err := r.writable(rd, roomRef)
	if err != nil {
		return nil, err
	}
	c, err := load[coworker](rd, coworkerKey(room.ID))
	if err != nil {
		return nil, err
	}
	if taken, err := r.coworkerTaken(rd, room.ID, c == nil); err != nil || taken {
		return nil, err
	}
	return room, nil
}

// welcome puts the coworker into a room.
func (r *Room) welcome(tx store.Tx, room *Session, q *antv1.AddParticipantRequest) (*antv1.Participant, error) {
	switch {
	case room.Type != typeChat:
		return nil, fault.New(fault.Invalid, "NOT_A_CHAT", "room must be a chat session")
	case orElse(q.Role, roleParticipant) != roleParticipant:
		return nil, fault.BadField("value_error", coworkerHandle+" is a participant: it reads what it is asked alone", "role")
	case q.Alias != "" && !mention.Is(strings.TrimPrefix(q.Alias, "@"), coworkerHandle):
		return nil, fault.BadField("value_error", coworkerHandle+" has no alias", "alias")
	}
	linked, err := r.opt.Sessions.LinkedTerminals(tx, room.ID)
	if err != nil {
		return nil, err
	}
	if len(linked) > 0 {
		return nil, fault.New(fault.Invalid, "PRIVATE_CHAT", "this is the private chat of a terminal: what is said here is typed into it")
	}
	c, err := load[coworker](tx, coworkerKey(room.ID))
	if err != nil {
		return nil, err
	}
	if c == nil || c.Out {
		if c, err = r.comeIn(tx, room.ID, c); err != nil {
			return nil, err
		}
	}
	return r.viewCoworker(tx, room.ID, c, false)
}

// comeIn notes that the coworker takes part from now on; before is what the room knew
// of it, nil for nothing.
func (r *Room) comeIn(tx store.Tx, room string, before *coworker) (*coworker, error) {
	c := &coworker{}
	if before != nil {
		*c = *before
	}
	c.Out, c.Joined = false, r.opt.Now().UnixNano()
	if err := save(tx, coworkerKey(room), c); err != nil {
		return nil, err
	}
	return c, r.participantsChanged(tx, room, &Session{ID: coworkerHandle, Handle: coworkerHandle}, "added")
}

// dismiss takes the coworker out of a room; what it was asked there is not answered.
func (r *Room) dismiss(tx store.Tx, room string) (removed bool, err error) {
	c, err := load[coworker](tx, coworkerKey(room))
	if err != nil || c != nil && c.Out {
		return false, err
	}
	if c == nil {
		c = &coworker{}
	}
	c.Out = true
	if err := save(tx, coworkerKey(room), c); err != nil {
		return false, err
	}
	if err := r.participantsChanged(tx, room, &Session{ID: coworkerHandle, Handle: coworkerHandle}, "left"); err != nil {
		return false, err
	}
	return true, feed.Append(tx, &antv1.Event{AtMs: float64(r.opt.Now().UnixMilli()),
		Event: &antv1.Event_SessionsChanged{SessionsChanged: &antv1.SessionsChanged{Everyone: true}}})
}

// listCoworker adds the coworker to a list of participants, once it was there. What
// it posted is its own then, and one that was taken out is hidden like others who left.
func (r *Room) listCoworker(rd store.Reader, room *Session, counts bool, hidden map[string]bool, out *antv1.ListParticipantsResponse) error {
	c, err := load[coworker](rd, coworkerKey(room.ID))
	if err != nil || c == nil {
		return err
	}
	hidden[coworkerHandle] = true
	if c, err = r.coworkerIn(rd, room); err != nil || c == nil {
		return err
	}
	v, err := r.viewCoworker(rd, room.ID, c, counts)
	if err != nil {
		return err
	}
	out.Participants, out.All = append(out.Participants, v), append(out.All, v)
	return nil
}

func (r *Room) viewCoworker(rd store.Reader, room string, c *coworker, counts bool) (*antv1.Participant, error) {
	available := "available"
	v := &antv1.Participant{Id: coworkerHandle, Name: coworkerName, Handle: wire.OrNull(coworkerHandle), Alias: wire.OrNull(coworkerHandle),
		SessionStatus: "idle", Role: roleParticipant, JoinedAt: wire.TimeOrNull(c.Joined), AttentionState: &available,
		ConversationId: wire.OrNull(c.Conversation)}
	if r.coworkerWorks(c) {
		v.SessionStatus = "working"
	}
	if !counts {
		return v, nil
	}
	who, err := loadPoster(rd, room, coworkerHandle)
	if who != nil {
		counted(v, who)
	}
	return v, err
}

func (r *Room) coworkerWorks(c *coworker) bool {
	by := r.coworkers.Load()
	return by != nil && c != nil && !c.Out && c.Conversation != "" && (*by).Working(c.Conversation)
}
