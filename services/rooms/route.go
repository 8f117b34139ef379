package rooms

import (
	"slices"
	"strings"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/rooms/mention"
)

// Adapters are the ways a message takes (ant.md 3).
const (
	viaRoom   = "ws-broadcast"  // to everybody who watches the room
	viaInput  = "pty-injection" // into a terminal, as a message from a room
	viaLinked = "linked-chat"   // into the terminal whose private chat it is
	viaFocus  = "focus-queue"   // waits until a terminal's agent is done
)

// unrouted are messages that are for those who watch the room alone (ant.md 3.2).
var unrouted = map[string]bool{
	"prompt": true, "silence": true, "title": true, typeAgentResponse: true, "agent_event": true, "terminal_line": true,
	"focus_status": true, typeFocusBypass: true, "focus_digest": true, typeBreak: true,
}

// everyone is what a target or a mention says instead of a name.
const everyone = "@everyone"

// terminalsMax is how many terminals a room can have: what they are owed is
// stored with the message, in one transaction.
const terminalsMax = 32

// target is a terminal that a message is for.
type target struct {
	session *Session
	adapter string
	member  *member // nil: it is none of this room
	busy    bool    // its agent works, and was not asked by name
	silent  bool    // nothing is typed: who posted has done so
	raw     bool    // typed as it is

	forbidden bool // who posts may not type into it
}

// speaker is who posts.
type speaker struct {
	session *Session // nil: a name that no session has
	agent   bool     // speaks for a machine
	human   bool
}

func (s speaker) id() string {
	if s.session == nil {
		return ""
	}
	return s.session.ID
}

// speakerOf finds out who posts.
func (r *Room) speakerOf(rd store.Reader, d *draft) (speaker, error) {
	s := speaker{agent: d.errand != nil}
	if s.agent {
		return s, nil
	}
	if d.sender != "" {
		found, err := r.opt.Sessions.Find(rd, d.sender)
		if err != nil {
			return s, err
		}
		if found.active() {
			s.session = found
		}
	}
	s.agent = d.role == "assistant" || s.session != nil && s.session.isAgent()
	s.human = d.human && !s.agent
	return s, nil
}

// route finds the terminals that a message is for (ant.md 3), and the coworker.
// Everybody who watches the room gets it anyway.
func (r *Room) route(rd store.Reader, room *Session, d *draft, from speaker) ([]target, error) {
	if unrouted[d.msgType] {
		return nil, nil
	}
	if d.errand != nil {
		return r.routeAnswer(rd, room, d)
	}
	if d.target != "" && d.target != everyone {
		return r.routeToTarget(rd, room, d, from)
	}
	linked, err := r.opt.Sessions.LinkedTerminals(rd, room.ID)
	if err != nil {
		return nil, err
	}
	if len(linked) > 0 {
		return routeToLinked(linked, d, from), nil
	}
	return r.routeToMembers(rd, room, d, from)
}

// routeToTarget finds the one that is named: by its alias in the room, else any
// active session.
func (r *Room) routeToTarget(rd store.Reader, room *Session, d *draft, from speaker) ([]target, error) {
	list, err := r.terminalMembers(rd, room.ID)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if mentioned([]string{strings.TrimPrefix(d.target, "@")}, t) || t.session.ID == d.target {
			return others([]target{t}, from), nil
		}
	}
	if c, err := r.asksCoworker(rd, room, d); err != nil || c != nil {
		return asList(c), err
	}
	if d.guest {
		return nil, nil // a guest's word does not reach beyond the room
	}
	s, err := r.opt.Sessions.Find(rd, d.target)
	if err != nil || !s.active() || s.Type != typeTerminal {
		return nil, err
	}
	m, err := members.Get(rd, memberKey(room.ID, s.ID))
	if err != nil {
		return nil, err
	}
	return others([]target{{session: s, adapter: viaInput, member: m}}, from), nil
}

func routeToLinked(linked []*Session, d *draft, from speaker) []target {
	var list []target
	for _, s := range linked {
		if len(list) == terminalsMax {
			break
		}
		list = append(list, target{session: s, adapter: viaLinked,
			raw:       d.role == "user" && s.AutoForward,
			silent:    d.role == "user" && d.flags.source == "terminal_direct",
			forbidden: !d.typist})
	}
	return others(list, from)
}

func (r *Room) routeToMembers(rd store.Reader, room *Session, d *draft, from speaker) ([]target, error) {
	list, err := r.terminalMembers(rd, room.ID)
	if err != nil {
		return nil, err
	}
	list = others(list, from)
	c, err := r.asksCoworker(rd, room, d)
	if err != nil {
		return nil, err
	}
	named := asList(c)
	for _, t := range list {
		if mentioned(d.mentions.Names, t) {
			named = append(named, t)
		}
	}
	switch {
	case d.mentions.Everyone || d.target == everyone:
		return append(list, asList(c)...), nil
	case len(named) > 0:
		return named, nil
	case !from.agent:
		return list, nil
	case len(d.mentions.Names) > 0:
		return nil, nil // an agent that speaks to somebody unknown wakes nobody
	}
	if t := r.terminals.Load(); t != nil {
		for i := range list {
			list[i].busy = (*t).Working(list[i].session.ID)
		}
	}
	return list, nil
}

// routeAnswer finds whom an answer of the coworker wakes: those whom it names, and the
// terminal that asked. Nobody else has to act on it.
func (r *Room) routeAnswer(rd store.Reader, room *Session, d *draft) ([]target, error) {
	list, err := r.terminalMembers(rd, room.ID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(t target) bool {
		return t.session.ID != d.errand.Asker && !d.mentions.Everyone && !mentioned(d.mentions.Names, t)
	}), nil
}

// asList is a target, if there is one.
func asList(t *target) []target {
	if t == nil {
		return nil
	}
	return []target{*t}
}

// terminalMembers are the terminals that take part in a room.
func (r *Room) terminalMembers(rd store.Reader, room string) ([]target, error) {
	var list []target
	for m, err := range members.ScanIndex(rd, "terminal", store.ScanOptions{Prefix: key.Key(nil).Str(room), Limit: terminalsMax}) {
		if err != nil {
			return nil, err
		}
		s, err := r.opt.Sessions.Find(rd, m.Session)
		if err != nil {
			return nil, err
		}
		if s.active() {
			list = append(list, target{session: s, adapter: viaInput, member: m})
		}
	}
	return list, nil
}

// others leaves out who posts: by session, so that one who posts under its handle
// does not hear itself either.
func others(list []target, from speaker) []target {
	kept := list[:0]
	for _, t := range list {
		if t.session.ID != from.id() {
			kept = append(kept, t)
		}
	}
	return kept
}

func mentioned(names []string, t target) bool {
	for _, n := range names {
		if mention.Is(n, t.session.Handle) || t.member != nil && mention.Is(n, t.member.Alias) {
			return true
		}
	}
	return false
}
