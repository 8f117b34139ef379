package conversations

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	onceMax   = 255            // bytes of a key
	onceKept  = 24 * time.Hour // how long a request can be repeated
	onceSwept = 2              // expired keys that go with each new one, so that they cannot pile up
)

// onceKey marks a request that must begin at most one turn.
type onceKey struct {
	Key    string `json:"key"`
	Digest []byte `json:"digest"` // of the request
	TurnID string `json:"turn_id"`
	At     int64  `json:"at"` // ms
}

var onceKeys = store.NewTable(store.TableOptions[onceKey]{
	Name: "idempotency_key",
	Key:  func(k *onceKey) key.Key { return key.Key(nil).Str(k.Key) },
	Indexes: []store.Index[onceKey]{
		{Name: "at", Keys: func(k *onceKey) []key.Key { return []key.Key{key.Key(nil).Uint(uint64(k.At))} }},
	},
})

func readOnceKey(q *antonv1.CreateResponseRequest) (*onceKey, error) {
	if q.IdempotencyKey == "" {
		return nil, nil
	}
	if len(q.IdempotencyKey) > onceMax || !utf8.ValidString(q.IdempotencyKey) {
		return nil, fault.BadField("value_error", fmt.Sprintf("A key is text of up to %d bytes", onceMax), "idempotency_key")
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("digest of the request: %w", err)
	}
	sum := sha256.Sum256(b)
	return &onceKey{Key: q.IdempotencyKey, Digest: sum[:]}, nil
}

// repeated says that a request has begun its turn before, or waits for it.
type repeated struct {
	turn  *turnRecord
	entry *queued
}

func (r *repeated) Error() string {
	if r.entry != nil {
		return "conversations: the request waits as " + r.entry.ID
	}
	return "conversations: the request began turn " + r.turn.ID + " before"
}

// claim makes a key lead to a turn that is about to begin, unless it leads to
// one already.
func (r *Room) claim(tx store.Tx, k *onceKey, turnID string) error {
	if k == nil {
		return nil
	}
	used, err := onceKeys.Get(tx, key.Key(nil).Str(k.Key))
	if err != nil {
		return err
	}
	now := r.now()
	horizon := now - onceKept.Milliseconds()
	if used != nil && used.At > horizon {
		t, err := turns.Lookup(tx, "id", key.Key(nil).Str(used.TurnID))
		if err != nil {
			return err
		}
		e, err := queue.Lookup(tx, "id", key.Key(nil).Str(queuePrefix+strings.TrimPrefix(used.TurnID, turnPrefix)))
		switch {
		case err != nil:
			return err
		case (t != nil || e != nil) && bytes.Equal(used.Digest, k.Digest):
			return &repeated{turn: t, entry: e}
		case t != nil || e != nil:
			return fault.New(fault.Conflict, "IDEMPOTENCY_KEY_REUSED",
				"This idempotency key came with another request before: use a new key for a new request.")
		}
	}
	var old []string
	for o, err := range onceKeys.ScanIndex(tx, "at", store.ScanOptions{Limit: onceSwept}) {
		if err != nil {
			return err
		}
		if o.At <= horizon {
			old = append(old, o.Key)
		}
	}
	for _, name := range old {
		if _, err := onceKeys.Delete(tx, key.Key(nil).Str(name)); err != nil {
			return err
		}
	}
	return onceKeys.Put(tx, &onceKey{Key: k.Key, Digest: k.Digest, TurnID: turnID, At: now})
}
