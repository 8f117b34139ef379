package services

import (
	"time"

	"anthill/services/access"
	"anthill/services/internal/store"
	"anthill/services/sessions"
)

// openAccess makes the room of callers; it checks calls once it knows the rooms.
func openAccess(c Config, db store.DB) *access.Room {
	return access.New(access.Options{DB: db, Key: c.APIKey, MaxFailures: c.InviteMaxFailures, Now: time.Now, NewID: rowID, Log: c.Log})
}

// LaunchCode is the code of a launch link that opens a session in a browser. It
// works once, within ten minutes.
func (s *Services) LaunchCode() string {
	code, _ := s.access.LaunchCode()
	return code
}

// guestRooms are what guests are invited to.
type guestRooms struct{ sessions *sessions.Room }

// Resolve implements access.Rooms.
func (g guestRooms) Resolve(rd store.Reader, ref string) (id string, live bool, err error) {
	s, err := g.sessions.Find(rd, ref)
	if err != nil || s == nil {
		return "", false, err
	}
	return s.ID, !s.Deleted && !s.Archived, nil
}
