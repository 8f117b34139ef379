package services

import (
	"context"
	"crypto/rand"
	"time"

	"anthill/services/evidence"
	"anthill/services/identity"
	"anthill/services/internal/store"
	"anthill/services/rooms"
	"anthill/services/sessions"
	"anthill/services/tasks"
)

// openSessions opens the room of sessions. It clears away what was deleted for
// good once it is joined with those who keep what belongs to sessions.
func openSessions(c Config, main store.DB) *sessions.Room {
	return sessions.Open(sessions.Options{DB: main, Now: time.Now, NewID: rowID, Version: c.Version,
		MaxActive: c.MaxActive, Retention: c.Retention, Log: c.Log})
}

// sessionParts are the rooms that keep what belongs to sessions, each of which
// forgets its part.
type sessionParts []interface {
	DeleteSession(ctx context.Context, id string) error
}

// DeleteSession implements sessions.Dependents.
func (p sessionParts) DeleteSession(ctx context.Context, id string) error {
	for _, part := range p {
		if err := part.DeleteSession(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// roomsFor shows sessions to the rooms.
type roomsFor struct{ room *sessions.Room }

// Find implements rooms.Sessions.
func (f roomsFor) Find(rd store.Reader, ref string) (*rooms.Session, error) {
	s, err := f.room.Find(rd, ref)
	return roomSession(s), err
}

// LinkedTerminals implements rooms.Sessions.
func (f roomsFor) LinkedTerminals(rd store.Reader, chatID string) ([]*rooms.Session, error) {
	list, err := f.room.LinkedTerminals(rd, chatID)
	out := make([]*rooms.Session, len(list))
	for i, s := range list {
		out[i] = roomSession(s)
	}
	return out, err
}

// Touch implements rooms.Sessions.
func (f roomsFor) Touch(tx store.Tx, id string, at time.Time) error { return f.room.Touch(tx, id, at) }

// SpawnChat implements rooms.Sessions.
func (f roomsFor) SpawnChat(tx store.Tx, c rooms.Spawn) (*rooms.Session, error) {
	s, err := f.room.SpawnChat(tx, sessions.Spawn(c))
	return roomSession(s), err
}

func roomSession(s *sessions.Session) *rooms.Session {
	if s == nil {
		return nil
	}
	return &rooms.Session{ID: s.ID, Name: s.Name, Type: s.Type, Handle: s.Handle, Alias: s.Alias, Status: s.Status, CLIFlag: s.CLIFlag,
		LinkedChatID: s.LinkedChat, Archived: s.Archived, Deleted: s.Deleted, AutoForward: s.AutoForward, LongMemory: s.LongMemory}
}

// tasksFor shows sessions to the tasks.
type tasksFor struct{ room *sessions.Room }

// Find implements tasks.Sessions.
func (f tasksFor) Find(rd store.Reader, ref string) (*tasks.Session, error) {
	s, err := f.room.Find(rd, ref)
	if err != nil || s == nil {
		return nil, err
	}
	return &tasks.Session{ID: s.ID, Handle: s.Handle, Archived: s.Archived, Deleted: s.Deleted}, nil
}

// identitiesFor shows to the room of processes whose they can be.
type identitiesFor struct{ room *sessions.Room }

// Find implements identity.Sessions.
func (f identitiesFor) Find(rd store.Reader, ref string) (*identity.Session, error) {
	s, err := f.room.Find(rd, ref)
	if err != nil || s == nil || s.Deleted {
		return nil, err
	}
	return &identity.Session{ID: s.ID, Handle: s.Handle, DisplayName: s.DisplayName}, nil
}

// evidenceFor shows to the evidence whose it is.
type evidenceFor struct{ room *sessions.Room }

// Find implements evidence.Sessions.
func (f evidenceFor) Find(rd store.Reader, ref string) (*evidence.Session, error) {
	s, err := f.room.Find(rd, ref)
	if err != nil || s == nil {
		return nil, err
	}
	return evidenceSession(s), nil
}

// LinkedTerminals implements evidence.Sessions.
func (f evidenceFor) LinkedTerminals(rd store.Reader, chatID string) ([]*evidence.Session, error) {
	list, err := f.room.LinkedTerminals(rd, chatID)
	out := make([]*evidence.Session, len(list))
	for i, s := range list {
		out[i] = evidenceSession(s)
	}
	return out, err
}

func evidenceSession(s *sessions.Session) *evidence.Session {
	return &evidence.Session{ID: s.ID, Terminal: s.Type == "terminal", Archived: s.Archived, Deleted: s.Deleted}
}

// focus shows to the sessions which rooms hold their attention.
type focus struct{ rooms *rooms.Room }

// Attention implements sessions.Focus.
func (f focus) Attention(rd store.Reader, id string) (*sessions.Attention, error) {
	in, err := f.rooms.FocusOf(rd, id)
	if err != nil || in == nil {
		return nil, err
	}
	return &sessions.Attention{State: in.State, Reason: in.Reason, SetBy: in.SetBy, Expires: in.Expires, RoomID: in.RoomID, Queue: in.Queue}, nil
}

const (
	rowIDLen   = 21
	rowIDChars = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"
)

// rowID makes an id of the form that the ANT API's have: 126 bits of chance. It
// never begins with a dash, which a command line would take for a flag.
func rowID() string {
	var b [rowIDLen]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			panic("crypto/rand failed: " + err.Error()) // documented never to happen
		}
		for i := range b {
			b[i] = rowIDChars[b[i]&63]
		}
		if b[0] != '-' {
			return string(b[:])
		}
	}
}
