package sessions

import (
	"encoding/json"

	"anthill/services/internal/store"
)

// Spawn is a chat that another room makes in its own transaction.
type Spawn struct{ ID, Name, Parent string }

// SpawnChat makes a chat that is kept for ever and has no handle. A name that is
// taken gets a number (compat: ant.md 1.4, a name is no reason to refuse).
func (r *Room) SpawnChat(tx store.Tx, s Spawn) (*Session, error) {
	name, err := freeName(tx, s.Name, "")
	if err != nil {
		return nil, err
	}
	meta, err := json.Marshal(map[string]string{"parent_room": s.Parent})
	if err != nil {
		return nil, err
	}
	now := r.opt.Now().UnixNano()
	rec := &record{ID: s.ID, Name: name, Type: Chat, Status: "idle", TTL: "forever", Meta: string(meta), Created: now, Updated: now}
	if err := put(tx, rec); err != nil {
		return nil, err
	}
	return rec.session(), r.listChanged(tx)
}
