package rooms

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	focusDefault = 30 * time.Minute
	focusLeast   = time.Minute
	focusMost    = 2 * time.Hour
	focusQueued  = 1000 // messages that wait for one member
	digestShown  = 20   // messages that a digest quotes
	reasonMax    = 1 << 10
)

// Focus is what a session attends to.
type Focus struct {
	RoomID, State, Reason, SetBy string
	Expires                      time.Time
	Queue                        int // messages that wait
}

// FocusOf is the focus that a session is in, nil if it is in none. Of several
// rooms it is any.
func (r *Room) FocusOf(rd store.Reader, sessionID string) (*Focus, error) {
	for m, err := range members.ScanIndex(rd, "focused", store.ScanOptions{Prefix: key.Key(nil).Str(sessionID)}) {
		if err != nil {
			return nil, err
		}
		if m.Left || !m.focused(r.opt.Now()) {
			continue
		}
		queue, err := loadQueue(rd, m.Room, m.Session)
		if err != nil {
			return nil, err
		}
		return &Focus{RoomID: m.Room, State: "focus", Reason: m.Focus.Reason, SetBy: m.Focus.SetBy,
			Expires: time.Unix(0, m.Focus.Expires), Queue: len(queue.Seqs)}, nil
	}
	return nil, nil
}

// focused says whether messages wait for a member.
func (m *member) focused(now time.Time) bool { return m.Focus.On && now.UnixNano() < m.Focus.Expires }

// focusQueue are the messages that wait for a member in focus.
type focusQueue struct {
	Seqs []uint64 `json:"seqs,omitempty"`
}

func queueKey(room, session string) key.Key { return key.Of("ant_focus").Str(room).Str(session) }

func loadQueue(rd store.Reader, room, session string) (*focusQueue, error) {
	q, err := load[focusQueue](rd, queueKey(room, session))
	if q == nil {
		q = &focusQueue{}
	}
	return q, err
}

// enqueueFocus lets a message wait for a member.
func enqueueFocus(tx store.Tx, m *message, session string) (full bool, err error) {
	q, err := loadQueue(tx, m.Room, session)
	if err != nil || len(q.Seqs) >= focusQueued {
		return err == nil, err
	}
	q.Seqs = append(q.Seqs, m.Seq)
	return false, save(tx, queueKey(m.Room, session), q)
}

// sayBypass tells the room that a message got past somebody's focus, and why.
func sayBypass(tx store.Tx, st *roomState, d *draft, cause *message, from speaker) error {
	who := cause.Sender
	if from.session != nil {
		who = orElse(from.session.Handle, from.session.Name)
	}
	text := fmt.Sprintf("%s got past focus: %s", orElse(who, "somebody"), d.flags.reason)
	st.LastSeq++
	m := &message{Room: cause.Room, Seq: st.LastSeq, At: cause.At, Size: len(text), Content: text,
		ID: makeID(d.chance, cause.Room, st.LastSeq), Role: "system", Format: "text", Type: typeFocusBypass,
		ReplyTo: cause.ID, Meta: noMeta}
	var err error
	if m.Event, err = created(tx, m); err != nil {
		return err
	}
	return putMessage(tx, m)
}

// UpdateParticipant implements antv1.ParticipantsServiceServer.
func (r *Room) UpdateParticipant(ctx context.Context, q *antv1.UpdateParticipantRequest) (*antv1.UpdateParticipantResponse, error) {
	span, err := focusSpan(q)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"reason", q.Reason, reasonMax}, {"set_by", q.SetBy, nameMax}, {"attention_state", q.AttentionState, shortMax}} {
		if err := checkName(f.name, f.value, f.most); err != nil {
			return nil, err
		}
	}
	if q.AttentionState == "" {
		return nil, fault.BadField("missing", "attention_state required", "attention_state")
	}
	var out *antv1.UpdateParticipantResponse
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		room, s, m, err := r.memberFor(tx, q.RoomId, q.SessionId, q.Handle)
		if err != nil {
			return err
		}
		if m == nil || m.Left {
			return fault.Missing("PARTICIPANT_NOT_FOUND", "not found: it is no participant of this room")
		}
		by, err := r.opt.Sessions.Find(tx, q.SetBy)
		if err != nil {
			return err
		}
		own := q.SetBy == "" || by != nil && by.ID == s.ID
		if !own && strings.TrimSpace(q.Reason) == "" {
			return fault.New(fault.Invalid, "REASON_REQUIRED", "setting somebody else's attention requires a reason")
		}
		var digest *antv1.FocusDigest
		if q.AttentionState == "focus" {
			now := r.opt.Now()
			m.Focus = attention{On: true, Reason: q.Reason, SetBy: orElse(q.SetBy, orElse(s.Handle, s.ID)),
				Expires: now.Add(span).UnixNano(), Updated: now.UnixNano()}
			if err := members.Put(tx, m); err != nil {
				return err
			}
			if err := r.attentionChanged(tx, s, m); err != nil {
				return err
			}
		} else if digest, err = r.endFocus(tx, room, s, m); err != nil {
			return err
		}
		p, err := r.participant(tx, m, s, nil)
		if err != nil {
			return err
		}
		out = &antv1.UpdateParticipantResponse{Ok: true, Id: s.ID, AttentionState: *p.AttentionState,
			AttentionReason: p.AttentionReason, AttentionSetBy: p.AttentionSetBy, AttentionExpiresAt: p.AttentionExpiresAt,
			AttentionUpdatedAt: p.AttentionUpdatedAt, FocusQueueCount: p.FocusQueueCount, Digest: digest}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Wake()
	return out, nil
}

// endFocus takes a member out of focus. What waited becomes one digest, which a
// terminal is owed like any message.
func (r *Room) endFocus(tx store.Tx, room, s *Session, m *member) (*antv1.FocusDigest, error) {
	was := m.Focus.On
	m.Focus = attention{Updated: r.opt.Now().UnixNano()}
	if err := members.Put(tx, m); err != nil || !was {
		return nil, err
	}
	if err := r.attentionChanged(tx, s, m); err != nil {
		return nil, err
	}
	q, err := loadQueue(tx, m.Room, m.Session)
	if err != nil || len(q.Seqs) == 0 {
		return nil, err
	}
	tx.Delete(queueKey(m.Room, m.Session))
	digest := &antv1.FocusDigest{}
	var shown []*message
	for i, seq := range q.Seqs {
		message, err := messageAt(tx, m.Room, seq)
		if err != nil {
			return nil, err
		}
		if message == nil {
			continue // deleted meanwhile
		}
		digest.Count++
		digest.MessageIds = append(digest.MessageIds, message.ID)
		if i >= len(q.Seqs)-digestShown {
			shown = append(shown, message)
		}
	}
	if digest.Count == 0 {
		return nil, nil
	}
	digest.Text = digestOf(room, shown, int(digest.Count)-len(shown))
	if !m.Terminal {
		return digest, nil
	}
	// The head of the log is that of the event just appended: nothing else has it.
	_, head := tx.Log(feed.Topic, 0, 0)
	_, err = addOwed(tx, &owed{Terminal: s.ID, Event: head.Last, Room: m.Room, Adapter: viaInput, Text: digest.Text,
		Expires: r.opt.Now().Add(r.opt.Retain).UnixNano()})
	return digest, err
}

func (r *Room) attentionChanged(tx store.Tx, s *Session, m *member) error {
	return r.participantsChanged(tx, m.Room, s, "attention")
}

// endFocuses ends the focus of those whose time is over.
func (r *Room) endFocuses(ctx context.Context) error {
	for {
		var over *member
		err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
			over, err = r.overdue(rd)
			return err
		})
		if err != nil || over == nil {
			return err
		}
		err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
			m, err := r.overdue(tx)
			if err != nil || m == nil {
				return err
			}
			room, err := r.opt.Sessions.Find(tx, m.Room)
			if err != nil {
				return err
			}
			s, err := r.opt.Sessions.Find(tx, m.Session)
			if err != nil {
				return err
			}
			if room == nil || s == nil { // about to be removed
				m.Focus = attention{}
				return members.Put(tx, m)
			}
			_, err = r.endFocus(tx, room, s, m)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// overdue is a member whose focus is over by now, or nil.
func (r *Room) overdue(rd store.Reader) (*member, error) {
	for m, err := range members.ScanIndex(rd, "focus", store.ScanOptions{Limit: 1}) {
		if err != nil || !m.focused(r.opt.Now()) {
			return m, err
		}
	}
	return nil, nil
}

// focusSpan is how long focus lasts.
func focusSpan(q *antv1.UpdateParticipantRequest) (time.Duration, error) {
	text := orElse(q.Ttl, q.Duration)
	span := focusDefault
	switch {
	case text != "":
		d, err := time.ParseDuration(text)
		if n, number := strconv.ParseFloat(text, 64); number == nil {
			d, err = seconds(n), nil
		}
		if err != nil {
			return 0, fault.BadField("value_error", "ttl is a time such as 90s, 30m or 2h", "ttl")
		}
		span = d
	case q.TtlSeconds != 0:
		span = seconds(q.TtlSeconds)
	}
	return min(max(span, focusLeast), focusMost), nil
}

// seconds is a time within what focus can last, or right beyond.
func seconds(n float64) time.Duration {
	if !(n > 0) { // NaN, too
		return 0
	}
	return time.Duration(min(n, 2*focusMost.Seconds()) * float64(time.Second))
}
