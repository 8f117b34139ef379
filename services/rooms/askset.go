package rooms

import (
	"context"
	"strings"
	"unicode/utf8"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
	"anthill/services/rooms/question"
)

// askSet are the questions of one message, or one that was asked without. They
// are one row, so that a message with many of them is still one transaction.
type askSet struct {
	// Order is the seq of the event that tells of the message, or of the question:
	// no other has it, and later ones have higher ones.
	Order   uint64 `json:"order"`
	Chance  string `json:"chance"` // of the ids
	Room    string `json:"room"`
	Seq     uint64 `json:"seq,omitempty"` // of the message; 0: none
	Message string `json:"message,omitempty"`
	Asks    []ask  `json:"asks"`
}

type ask struct {
	Title    string  `json:"title,omitempty"` // if it has one of its own
	Text     string  `json:"text"`
	Inferred bool    `json:"inferred,omitempty"`
	For      string  `json:"for,omitempty"`
	By       string  `json:"by,omitempty"`
	Status   string  `json:"status"`
	Answer   *string `json:"answer,omitempty"`
	EndedBy  string  `json:"ended_by,omitempty"`
	Ended    int64   `json:"ended,omitempty"` // ns, as all times here
	Created  int64   `json:"created"`
	Updated  int64   `json:"updated"`
}

func (s *askSet) open() bool {
	for _, a := range s.Asks {
		if a.Status == askOpen {
			return true
		}
	}
	return false
}

var askSets = store.NewTable(store.TableOptions[askSet]{
	Name: "ant_ask",
	Key:  func(s *askSet) key.Key { return askKey(s.Order) },
	Indexes: []store.Index[askSet]{
		{Name: "room", Keys: func(s *askSet) []key.Key { return []key.Key{key.Key(nil).Str(s.Room)} }},
		{Name: "open", Keys: func(s *askSet) []key.Key {
			if !s.open() {
				return nil
			}
			return []key.Key{key.Key(nil).Str("")}
		}},
		{Name: "room_open", Keys: func(s *askSet) []key.Key {
			if !s.open() {
				return nil
			}
			return []key.Key{key.Key(nil).Str(s.Room)}
		}},
	},
})

func askKey(order uint64) key.Key { return key.Key(nil).Uint(order) }

// untoldKey marks questions that were stored, but not all told of yet.
func untoldKey(order uint64) key.Key { return key.Of("ant_ask_untold").Uint(order) }

// untold is how many of them were told of.
type untold struct {
	Next int `json:"next"`
}

// An id of a question is 21 characters, as those of messages: eight of chance,
// eleven that are its set's order and two that are its place in it.
const (
	askChance = 8
	askOrder  = 11
)

func (s *askSet) id(n int) string {
	var b [idLen]byte
	copy(b[:], s.Chance[:askChance])
	putDigits(b[askChance:askChance+askOrder], s.Order)
	putDigits(b[askChance+askOrder:], uint64(n))
	return string(b[:])
}

// findAsk finds a question by its id, in any room or in the one that is named.
func (r *Room) findAsk(rd store.Reader, room, id string) (set *askSet, n int, err error) {
	errNone := fault.Missing("ASK_NOT_FOUND", "ask not found")
	if len(id) != idLen {
		return nil, 0, errNone
	}
	for i := range idLen {
		if idDigits[id[i]] < 0 {
			return nil, 0, errNone
		}
	}
	if set, err = askSets.Get(rd, askKey(digits(id[askChance:askChance+askOrder]))); err != nil {
		return nil, 0, err
	}
	if set == nil {
		return nil, 0, errNone
	}
	n = int(digits(id[askChance+askOrder:]))
	if n >= len(set.Asks) || set.id(n) != id {
		return nil, 0, errNone
	}
	in, err := r.opt.Sessions.Find(rd, orElse(room, set.Room))
	if err != nil {
		return nil, 0, err
	}
	if in == nil || in.ID != set.Room {
		return nil, 0, errNone
	}
	return set, n, nil
}

// view is one of the questions as the published API shows it.
func (s *askSet) view(n int) *antv1.PostedAsk {
	a := s.Asks[n]
	v := &antv1.PostedAsk{Id: s.id(n), SessionId: s.Room, MessageId: wire.OrNull(s.Message), Title: orElse(a.Title, titleOf(a.Text)), Body: a.Text,
		Status: a.Status, AssignedTo: orElse(a.For, "room"), CreatedBy: wire.OrNull(a.By), Inferred: wire.Flag(a.Inferred),
		AnsweredAt: wire.TimeOrNull(a.Ended), CreatedAt: wire.Time(a.Created), UpdatedAt: wire.Time(a.Updated)}
	if a.Answer != nil {
		v.Answer = new(*a.Answer)
	}
	if a.Ended != 0 {
		v.AnsweredBy = wire.OrNull(a.EndedBy)
	}
	return v
}

func (s *askSet) views() (list []*antv1.PostedAsk) {
	if s == nil {
		return nil
	}
	for n := range s.Asks {
		list = append(list, s.view(n))
	}
	return list
}

// titleOf is the first line of a question, or what fits of it.
func titleOf(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	line = strings.TrimSpace(line)
	if utf8.RuneCountInString(line) <= titleMax {
		return line
	}
	return string([]rune(line)[:titleMax-1]) + "…"
}

// asks are what a message asks: what it names, or else what its text holds.
type asks struct {
	named, inferred []string
}

// readAsks checks the questions that a message names; blank ones are left out.
func readAsks(list []string) (named []string, err error) {
	if len(list) > asksMax {
		return nil, fault.BadField("value_error", "asks has too many questions: 32 at most", "asks")
	}
	for i, a := range list {
		if len(a) > askMax {
			return nil, fault.BadField("value_error", "a question is too long: 2 KiB at most", "asks", itoa(i))
		}
		if a = strings.TrimSpace(a); a != "" {
			named = append(named, a)
		}
	}
	return named, nil
}

// inferAsks finds what a message asks without naming it: what somebody says, not
// what is reported of them.
func (d *draft) inferAsks() {
	if len(d.asks.named) == 0 && d.msgType == typeMessage && d.role != "system" {
		d.asks.inferred = question.Find(d.content)
	}
}

// putAsks stores the questions of a message and tells of them, or lets them be
// told of at once behind it, if there are too many for its transaction.
func (r *Room) putAsks(tx store.Tx, m *message, d *draft, owed int) (set *askSet, later bool, err error) {
	texts := d.asks.named
	if len(texts) == 0 {
		texts = d.asks.inferred
	}
	if len(texts) == 0 {
		return nil, false, nil
	}
	set = &askSet{Order: m.Event, Chance: d.chance[:askChance], Room: m.Room, Seq: m.Seq, Message: m.ID}
	for _, text := range texts {
		a := ask{Text: text, Inferred: len(d.asks.named) == 0, By: m.Sender, Status: askOpen, Created: m.At, Updated: m.At}
		if m.Target != everyone {
			a.For = m.Target
		}
		set.Asks = append(set.Asks, a)
	}
	if err := askSets.Put(tx, set); err != nil {
		return nil, false, err
	}
	if later = askEvents*len(set.Asks)+owed > asksAtOnce; later {
		return set, true, save(tx, untoldKey(set.Order), &untold{})
	}
	return set, false, r.tellAsks(tx, set, 0, len(set.Asks))
}

// tellAsks appends the events of new questions.
func (r *Room) tellAsks(tx store.Tx, set *askSet, from, to int) error {
	for n := from; n < to; n++ {
		if err := r.askEvent(tx, set, &antv1.Event{Event: &antv1.Event_AskCreated{AskCreated: &antv1.AskCreated{Ask: set.view(n)}}}); err != nil {
			return err
		}
		if err := r.tellItem(tx, set, n); err != nil {
			return err
		}
	}
	return nil
}

// tellItem tells of a change of the attention list.
func (r *Room) tellItem(tx store.Tx, set *askSet, n int) error {
	return r.askEvent(tx, set, &antv1.Event{Event: &antv1.Event_AttentionUpdated{AttentionUpdated: &antv1.AttentionUpdated{Item: set.item(n)}}})
}

func (r *Room) askEvent(tx store.Tx, set *askSet, e *antv1.Event) error {
	e.SessionId, e.AtMs = set.Room, float64(r.opt.Now().UnixMilli())
	return feed.Append(tx, e)
}

// tellUntold tells of the questions of a set that were not told of yet.
func (r *Room) tellUntold(ctx context.Context, order uint64) error {
	for more := true; more; {
		err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
			more = false
			at, err := load[untold](tx, untoldKey(order))
			if err != nil || at == nil {
				return err
			}
			set, err := askSets.Get(tx, askKey(order))
			if err != nil {
				return err
			}
			if set == nil { // deleted with its message
				tx.Delete(untoldKey(order))
				return nil
			}
			to := min(at.Next+asksOfABatch/askEvents, len(set.Asks))
			if err := r.tellAsks(tx, set, at.Next, to); err != nil {
				return err
			}
			if more = to < len(set.Asks); more {
				return save(tx, untoldKey(order), &untold{Next: to})
			}
			tx.Delete(untoldKey(order))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tellAllUntold goes on where posts, or an earlier run, stopped.
func (r *Room) tellAllUntold(ctx context.Context) error {
	for {
		order := uint64(0)
		err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
			order = 0
			for k := range rd.Scan(store.Prefix(key.Of("ant_ask_untold"))) {
				order, err = lastPart(k, 1)
				return err
			}
			return nil
		})
		if err != nil || order == 0 {
			return err
		}
		if err := r.tellUntold(ctx, order); err != nil {
			return err
		}
	}
}

// dropAsks removes a set of questions.
func dropAsks(tx store.Tx, order uint64) error {
	gone, err := askSets.Delete(tx, askKey(order))
	if gone {
		tx.Delete(untoldKey(order))
	}
	return err
}

// asksBatch sets, with their index entries, fit into a transaction.
const asksBatch = 15

// deleteAsks removes the questions of a room.
func (r *Room) deleteAsks(ctx context.Context, room string) error {
	for n := asksBatch; n == asksBatch; {
		err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
			list, err := collect(askSets.ScanIndex(tx, "room", store.ScanOptions{Prefix: key.Key(nil).Str(room), Limit: asksBatch}))
			if err != nil {
				return err
			}
			n = len(list)
			for _, set := range list {
				if err := dropAsks(tx, set.Order); err != nil {
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
