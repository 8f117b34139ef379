package services

import (
	"anthill/services/broadcasts"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// openBroadcasts opens the stream of what happens in rooms, and the room that
// serves it.
func (s *Services) openBroadcasts(c Config, main store.DB) {
	f := feed.Open(feed.Options{DB: main, Messages: s.rooms, RunEvents: s.evidence, Log: c.Log})
	s.closeFirst("feed", f.Close)
	s.rooms.JoinFeed(f)
	s.terminals.JoinFeed(f)
	s.agents.JoinFeed(f)
	s.broadcasts = broadcasts.New(broadcasts.Options{DB: main, Feed: f, Rooms: guestRooms{s.sessions}})
}

// RelaySecret is what the door to WebSockets shows; see package access.
func (s *Services) RelaySecret() string { return s.access.RelaySecret() }
