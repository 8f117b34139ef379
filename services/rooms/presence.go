package rooms

import (
	"context"
	"strings"
	"sync"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

const (
	idleAfter    = time.Minute
	offlineAfter = 5 * time.Minute
	forgetAfter  = time.Hour // somebody offline is shown for so long

	presentRooms  = 10_000 // rooms, and handles of a room, that are remembered
	presentPeople = 1000
	connections   = 64 // of one person in one room
)

// presence is who is in which room. It is of this moment, and never stored.
type presence struct {
	mu    sync.Mutex
	rooms map[string]map[string]*person // by room, by handle
}

type person struct {
	seen        time.Time
	connections map[string]time.Time // when each was seen
}

func (p *person) status(now time.Time) string {
	quiet := now.Sub(p.seen)
	switch {
	case len(p.connections) == 0 || quiet > offlineAfter:
		return "offline"
	case quiet > idleAfter:
		return "idle"
	}
	return "active"
}

// note notes that somebody is in a room, or has left with one connection. It
// returns how they were before and are now.
func (p *presence) note(room, handle, connection string, left bool, now time.Time) (before, after string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rooms == nil {
		p.rooms = map[string]map[string]*person{}
	}
	people := p.rooms[room]
	who := people[handle]
	before = "offline"
	if who != nil {
		before = who.status(now)
	}
	if left {
		if who == nil {
			return before, before
		}
		delete(who.connections, connection)
		who.drop(now)
		who.seen = now
		return before, who.status(now)
	}
	if who == nil {
		if people == nil {
			if len(p.rooms) >= presentRooms && !p.forget(now) {
				return before, before
			}
			people = map[string]*person{}
			p.rooms[room] = people
		}
		if len(people) >= presentPeople && !forgetPeople(people, now) {
			return before, before
		}
		who = &person{connections: map[string]time.Time{}}
		people[handle] = who
	}
	who.drop(now)
	if _, known := who.connections[connection]; known || len(who.connections) < connections {
		who.connections[connection] = now
	}
	who.seen = now
	return before, who.status(now)
}

// drop forgets connections that ended without a word.
func (p *person) drop(now time.Time) {
	for c, seen := range p.connections {
		if now.Sub(seen) > offlineAfter {
			delete(p.connections, c)
		}
	}
}

// forget makes place for a room and says whether there is one.
func (p *presence) forget(now time.Time) bool {
	for room, people := range p.rooms {
		forgetPeople(people, now)
		if len(people) == 0 {
			delete(p.rooms, room)
		}
	}
	return len(p.rooms) < presentRooms
}

func forgetPeople(people map[string]*person, now time.Time) bool {
	for handle, who := range people {
		if who.status(now) == "offline" {
			delete(people, handle)
		}
	}
	return len(people) < presentPeople
}

// of lists who is or was lately in a room.
func (p *presence) of(room string, now time.Time) map[string]*antv1.Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]*antv1.Presence{}
	for handle, who := range p.rooms[room] {
		if now.Sub(who.seen) < forgetAfter {
			out[handle] = &antv1.Presence{LastSeen: float64(who.seen.UnixMilli()), Status: who.status(now)}
		}
	}
	return out
}

func (p *presence) drop(room string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rooms, room)
}

// SetPresence implements antv1.ParticipantsServiceServer.
func (r *Room) SetPresence(ctx context.Context, q *antv1.SetPresenceRequest) (*antv1.SetPresenceResponse, error) {
	if err := checkName("handle", q.Handle, nameMax); err != nil {
		return nil, err
	}
	if err := checkName("connection", q.Connection, nameMax); err != nil {
		return nil, err
	}
	handle := caller.From(ctx).As(q.Handle)
	if !strings.HasPrefix(handle, "@") {
		handle = "@" + handle
	}
	room := ""
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		s, err := r.opt.Sessions.Find(rd, q.SessionId)
		if s != nil {
			room = s.ID
		}
		return err
	})
	if err != nil || room == "" {
		return &antv1.SetPresenceResponse{}, err
	}
	now := r.opt.Now()
	before, after := r.present.note(room, handle, q.Connection, q.Left, now)
	if before != after {
		r.announce(&antv1.Event{AtMs: float64(now.UnixMilli()), SessionId: room, Event: &antv1.Event_PresenceChanged{
			PresenceChanged: &antv1.PresenceChanged{Handle: handle, Status: after}}})
	}
	return &antv1.SetPresenceResponse{}, nil
}

// GetPresence implements antv1.ParticipantsServiceServer.
func (r *Room) GetPresence(ctx context.Context, q *antv1.GetPresenceRequest) (*antv1.GetPresenceResponse, error) {
	var room *Session
	works := false
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		if room, err = r.readable(rd, q.SessionId); err != nil {
			return err
		}
		c, err := load[coworker](rd, coworkerKey(room.ID))
		works = r.coworkerWorks(c)
		return err
	})
	if err != nil {
		return nil, err
	}
	now := r.opt.Now()
	all := r.present.of(room.ID, now)
	if works {
		all[coworkerHandle] = &antv1.Presence{LastSeen: float64(now.UnixMilli()), Status: "active"}
	}
	return &antv1.GetPresenceResponse{Presence: all}, nil
}

// SetTyping implements antv1.ParticipantsServiceServer.
func (r *Room) SetTyping(ctx context.Context, q *antv1.SetTypingRequest) (*antv1.SetTypingResponse, error) {
	handle := caller.From(ctx).As(q.Handle)
	if handle == "" {
		return nil, fault.BadField("missing", "handle required", "handle")
	}
	if err := checkName("handle", handle, nameMax); err != nil {
		return nil, err
	}
	var room *Session
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		room, err = r.writable(rd, q.SessionId)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.announce(&antv1.Event{AtMs: float64(r.opt.Now().UnixMilli()), SessionId: room.ID,
		Event: &antv1.Event_Typing{Typing: &antv1.Typing{Handle: handle, Typing: q.Typing}}})
	return &antv1.SetTypingResponse{Ok: true}, nil
}
