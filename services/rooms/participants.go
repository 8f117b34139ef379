package rooms

import (
	"context"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

const (
	membersMax = 1000
	listMax    = 1000
	aliasMax   = 64
)

// memberFor finds a room that takes changes, a session, and what the one is in the
// other; the member is nil if it never was one.
func (r *Room) memberFor(rd store.Reader, roomRef, id, handle string) (room, s *Session, m *member, err error) {
	if room, err = r.writable(rd, roomRef); err != nil {
		return nil, nil, nil, err
	}
	ref := orElse(id, handle)
	if ref == "" {
		return nil, nil, nil, fault.New(fault.Invalid, "SESSION_REQUIRED", "session_id or handle required")
	}
	if id == "" && !strings.HasPrefix(handle, "@") {
		ref = "@" + handle
	}
	if s, err = r.opt.Sessions.Find(rd, ref); err != nil {
		return nil, nil, nil, err
	}
	if s == nil {
		return nil, nil, nil, fault.Missing("MEMBER_NOT_FOUND", "member session not found")
	}
	m, err = members.Get(rd, memberKey(room.ID, s.ID))
	return room, s, m, err
}

// AddParticipant implements antv1.ParticipantsServiceServer.
func (r *Room) AddParticipant(ctx context.Context, q *antv1.AddParticipantRequest) (*antv1.Participant, error) {
	role := orElse(q.Role, roleParticipant)
	if role != roleParticipant && role != roleExternal {
		return nil, fault.BadField("value_error", "role is participant or external", "role")
	}
	if err := checkName("alias", q.Alias, aliasMax); err != nil {
		return nil, err
	}
	var out *antv1.Participant
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		if room, err := r.meansCoworker(tx, q.RoomId, q.SessionId, q.Handle); err != nil || room != nil {
			if err == nil {
				out, err = r.welcome(tx, room, q)
			}
			return err
		}
		room, s, m, err := r.memberFor(tx, q.RoomId, q.SessionId, q.Handle)
		if err != nil {
			return err
		}
		if room.Type != typeChat {
			return fault.New(fault.Invalid, "NOT_A_CHAT", "room must be a chat session")
		}
		if !s.active() {
			return fault.Missing("MEMBER_NOT_FOUND", "member session not found")
		}
		st, err := loadState(tx, room.ID)
		if err != nil {
			return err
		}
		added := m == nil || m.Left
		if m == nil {
			m = &member{Room: room.ID, Session: s.ID, Terminal: s.Type == typeTerminal, Joined: r.opt.Now().UnixNano()}
			st.Members++
		}
		changed := *m
		changed.Role, changed.Left = role, false
		changed.Alias = orElse(q.Alias, orElse(m.Alias, s.Handle))
		if err := roomFor(tx, st, m, &changed); err != nil {
			return err
		}
		if err := members.Put(tx, &changed); err != nil {
			return err
		}
		if err := save(tx, stateKey(room.ID), st); err != nil {
			return err
		}
		if added {
			if err := r.participantsChanged(tx, room.ID, s, "added"); err != nil {
				return err
			}
		}
		out, err = r.participant(tx, &changed, s, nil)
		return err
	})
	return out, err
}

// roomFor says whether a room has place for one more member, or one more terminal.
func roomFor(rd store.Reader, st *roomState, before, after *member) error {
	if st.Members > membersMax {
		return fault.New(fault.Precondition, "ROOM_FULL", "The room has %d members: no more fit in.", membersMax)
	}
	wakes := func(m *member) bool { return m.Terminal && !m.Left && m.Role == roleParticipant }
	if !wakes(after) || before.Role != "" && wakes(before) {
		return nil
	}
	n := 0
	for _, err := range members.ScanIndex(rd, "terminal", store.ScanOptions{Prefix: key.Key(nil).Str(after.Room)}) {
		if err != nil {
			return err
		}
		n++
	}
	if n >= terminalsMax {
		return fault.New(fault.Precondition, "ROOM_FULL",
			"The room has %d terminals: no more fit in. Add it with the role external, or let another leave.", terminalsMax)
	}
	return nil
}

// rejoin makes a session that posts a member, or one again. A room that is full
// takes the message all the same.
func (r *Room) rejoin(tx store.Tx, room *Session, st *roomState, s *Session, at int64) error {
	m, err := members.Get(tx, memberKey(room.ID, s.ID))
	if err != nil || m != nil && !m.Left {
		return err
	}
	if m == nil {
		if st.Members >= membersMax {
			return nil
		}
		m = &member{Room: room.ID, Session: s.ID, Terminal: s.Type == typeTerminal, Joined: at, Alias: s.Handle}
		st.Members++
	}
	before := *m
	m.Left, m.Role = false, roleExternal
	if m.Terminal {
		m.Role = roleParticipant
		if roomFor(tx, st, &before, m) != nil {
			m.Role = roleExternal
		}
	}
	if err := members.Put(tx, m); err != nil {
		return err
	}
	return r.participantsChanged(tx, room.ID, s, "added")
}

// RemoveParticipant implements antv1.ParticipantsServiceServer.
func (r *Room) RemoveParticipant(ctx context.Context, q *antv1.RemoveParticipantRequest) (*antv1.RemoveParticipantResponse, error) {
	out := &antv1.RemoveParticipantResponse{Ok: true}
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		out.Removed = false
		if room, err := r.meansCoworker(tx, q.RoomId, q.SessionId, q.Handle); err != nil || room != nil {
			if err == nil {
				out.Id = coworkerHandle
				out.Removed, err = r.dismiss(tx, room.ID)
			}
			return err
		}
		room, s, m, err := r.memberFor(tx, q.RoomId, q.SessionId, q.Handle)
		if err != nil {
			return err
		}
		out.Id = s.ID
		if m == nil || m.Left {
			return nil
		}
		out.Removed = true
		m.Left, m.Focus = true, attention{}
		tx.Delete(queueKey(room.ID, s.ID))
		if err := members.Put(tx, m); err != nil {
			return err
		}
		if err := r.participantsChanged(tx, room.ID, s, "left"); err != nil {
			return err
		}
		return feed.Append(tx, &antv1.Event{AtMs: float64(r.opt.Now().UnixMilli()),
			Event: &antv1.Event_SessionsChanged{SessionsChanged: &antv1.SessionsChanged{Everyone: true}}})
	})
	return out, err
}

func (r *Room) participantsChanged(tx store.Tx, room string, s *Session, change string) error {
	return feed.Append(tx, &antv1.Event{AtMs: float64(r.opt.Now().UnixMilli()), SessionId: room,
		Event: &antv1.Event_ParticipantsChanged{ParticipantsChanged: &antv1.ParticipantsChanged{
			Change: change, ParticipantId: s.ID, Handle: wire.OrNull(s.Handle)}}})
}

// ListParticipants implements antv1.ParticipantsServiceServer.
func (r *Room) ListParticipants(ctx context.Context, q *antv1.ListParticipantsRequest) (*antv1.ListParticipantsResponse, error) {
	var out *antv1.ListParticipantsResponse
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		out = &antv1.ListParticipantsResponse{}
		room, err := r.opt.Sessions.Find(rd, q.RoomId)
		if err != nil {
			return err
		}
		if room == nil {
			return fault.Missing("SESSION_NOT_FOUND", "not found")
		}
		counts := truth(q.IncludeCounts)
		hidden, err := r.listMembers(rd, room.ID, counts, out)
		if err != nil {
			return err
		}
		if err := r.listCoworker(rd, room, counts, hidden, out); err != nil {
			return err
		}
		none := len(out.All) == 0
		if err := r.listPosters(rd, room.ID, counts || none, hidden, out); err != nil {
			return err
		}
		if none {
			out.Participants = out.PostsFrom
		}
		return nil
	})
	return out, err
}

// listMembers adds the members of a room to a list; it returns the ids that are
// not to be listed as posters.
func (r *Room) listMembers(rd store.Reader, room string, counts bool, out *antv1.ListParticipantsResponse) (hidden map[string]bool, err error) {
	hidden = map[string]bool{}
	for m, err := range members.Scan(rd, store.ScanOptions{Prefix: key.Key(nil).Str(room)}) {
		if err != nil {
			return nil, err
		}
		hidden[m.Session] = true
		if m.Left {
			continue
		}
		s, err := r.opt.Sessions.Find(rd, m.Session)
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue // about to be removed
		}
		var who *poster
		if counts {
			if who, err = loadPoster(rd, room, m.Session); err != nil {
				return nil, err
			}
		}
		p, err := r.participant(rd, m, s, who)
		if err != nil {
			return nil, err
		}
		out.All = append(out.All, p)
		if m.Role == roleParticipant {
			out.Participants = append(out.Participants, p)
		} else {
			out.PostsFrom = append(out.PostsFrom, p)
		}
	}
	return hidden, nil
}

// listPosters adds those who posted and are no members.
func (r *Room) listPosters(rd store.Reader, room string, counts bool, hidden map[string]bool, out *antv1.ListParticipantsResponse) error {
	n := 0
	for k, row := range rd.Scan(store.Prefix(postersOf(room))) {
		if n++; n > listMax {
			return nil
		}
		p := key.Parse(k)
		p.Str()
		p.Str()
		name := p.Str()
		if err := p.Err(); err != nil {
			return err
		}
		if hidden[name] {
			continue
		}
		who := &poster{}
		if err := cbor.Unmarshal(row, who); err != nil {
			return fmt.Errorf("decode poster: %w", err)
		}
		v := &antv1.Participant{Id: name, Name: name, Role: roleExternal}
		if strings.HasPrefix(name, "@") {
			v.Handle = &name
		}
		s, err := r.opt.Sessions.Find(rd, name)
		if err != nil {
			return err
		}
		if s != nil {
			v = sessionView(s)
			v.Role = roleExternal
		}
		if counts {
			counted(v, who)
		}
		out.PostsFrom, out.All = append(out.PostsFrom, v), append(out.All, v)
	}
	return nil
}

func sessionView(s *Session) *antv1.Participant {
	return &antv1.Participant{Id: s.ID, Name: s.Name, Handle: wire.OrNull(s.Handle), Alias: wire.OrNull(s.Alias),
		SessionType: s.Type, SessionStatus: s.Status, CliFlag: wire.OrNull(s.CLIFlag)}
}

// participant shows a member; who may be nil.
func (r *Room) participant(rd store.Reader, m *member, s *Session, who *poster) (*antv1.Participant, error) {
	v := sessionView(s)
	v.Alias, v.Role, v.JoinedAt = wire.OrNull(m.Alias), m.Role, wire.TimeOrNull(m.Joined)
	state := "available"
	if m.focused(r.opt.Now()) {
		state = "focus"
		v.AttentionReason, v.AttentionSetBy = wire.OrNull(m.Focus.Reason), wire.OrNull(m.Focus.SetBy)
		v.AttentionExpiresAt = wire.TimeOrNull(m.Focus.Expires)
		queue, err := loadQueue(rd, m.Room, m.Session)
		if err != nil {
			return nil, err
		}
		v.FocusQueueCount = int32(len(queue.Seqs))
	}
	v.AttentionState, v.AttentionUpdatedAt = &state, wire.TimeOrNull(m.Focus.Updated)
	if who != nil {
		counted(v, who)
	}
	return v, nil
}

func counted(v *antv1.Participant, who *poster) {
	v.FirstSeen, v.LastSeen, v.MessageCount = wire.TimeOrNull(who.First), wire.TimeOrNull(who.Last), int32(who.Count)
}
