package rooms

import (
	"encoding/json"
	"fmt"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// Card is a message that a terminal posts in a transaction of another room, such as
// what its agent asks.
type Card struct {
	Room, Sender          string // ids
	Type, Format, Content string // at most 64 KiB of content stay in the row; more does not fit
	Meta                  map[string]any
}

// PostCard posts a card; it is routed to nobody, and is about six writes of the
// transaction. It returns the message's id; empty: the room takes no messages.
func (r *Room) PostCard(tx store.Tx, c Card) (string, error) {
	room, err := r.opt.Sessions.Find(tx, c.Room)
	if err != nil || !room.active() {
		return "", err
	}
	st, err := loadState(tx, room.ID)
	if err != nil {
		return "", err
	}
	meta, err := cardMeta(c.Meta)
	if err != nil {
		return "", err
	}
	now := r.opt.Now()
	st.LastSeq++
	st.LastAt = max(st.LastAt, now.UnixNano())
	m := &message{Room: room.ID, Seq: st.LastSeq, At: st.LastAt, Size: len(c.Content), Content: c.Content,
		ID: makeID(newChance(), room.ID, st.LastSeq), Role: "assistant", Format: c.Format, Type: c.Type,
		Sender: c.Sender, Session: c.Sender, Meta: meta}
	if m.Event, err = created(tx, m); err != nil {
		return "", err
	}
	if err := putMessage(tx, m); err != nil {
		return "", err
	}
	if err := save(tx, stateKey(room.ID), st); err != nil {
		return "", err
	}
	return m.ID, r.opt.Sessions.Touch(tx, room.ID, time.Unix(0, m.At))
}

// SettleCard replaces the metadata of a card and tells of it. One that was deleted
// stays so.
func (r *Room) SettleCard(tx store.Tx, room, id string, meta map[string]any) error {
	m, err := loadMessage(tx, room, id)
	if err != nil || m == nil {
		return err
	}
	if m.Meta, err = cardMeta(meta); err != nil {
		return err
	}
	if err := putMessage(tx, m); err != nil {
		return err
	}
	return feed.Append(tx, &antv1.Event{SessionId: room, AtMs: float64(r.opt.Now().UnixMilli()),
		Event: &antv1.Event_MessageUpdated{MessageUpdated: &antv1.MessageUpdated{Id: m.ID, Meta: m.Meta}}})
}

// cardMeta has the lists that every message has.
func cardMeta(given map[string]any) (string, error) {
	meta := map[string]json.RawMessage{"asks": []byte("[]"), "inferred_asks": []byte("[]"), "asks_resolved": []byte("[]")}
	for name, v := range given {
		b, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("encode the metadata of a card: %w", err)
		}
		meta[name] = b
	}
	return encodeMeta(meta)
}
