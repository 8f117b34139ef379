package rooms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

const (
	onceMax   = 255            // bytes of a key
	onceKept  = 24 * time.Hour // how long a post can be repeated
	onceCount = 10_000         // keys that a room keeps at most
	onceSwept = 2              // old keys that go with each new one
)

// once marks a post that must not happen twice. A room keeps its keys in a ring,
// in the order in which they came, so that the old ones are found.
type once struct {
	Key    string `json:"-"`
	Digest []byte `json:"digest"` // of the request
	Place  uint64 `json:"place"`  // in the ring
	ID     string `json:"id"`     // of the message
	First  bool   `json:"first,omitempty"`
	At     int64  `json:"at"` // ms
}

// onceFrom is the key that a call brings beside its message.
func onceFrom(ctx context.Context) string {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if v := md.Get("idempotency-key"); len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func readOnce(q *antv1.PostMessageRequest, sender string) (*once, error) {
	k := orElse(q.IdempotencyKey, q.ClientId)
	if k == "" {
		return nil, nil
	}
	if len(k) > onceMax || !utf8.ValidString(k) {
		return nil, fault.BadField("value_error", fmt.Sprintf("A key is text of up to %d bytes", onceMax), "idempotency_key")
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&antv1.PostMessageRequest{
		Role: q.Role, Content: q.Content, Format: q.Format, SenderId: sender, Target: q.Target,
		ReplyTo: q.ReplyTo, MsgType: q.MsgType, Meta: q.Meta, Asks: q.Asks})
	if err != nil {
		return nil, fmt.Errorf("digest of the message: %w", err)
	}
	sum := sha256.Sum256(b)
	return &once{Key: k, Digest: sum[:]}, nil
}

// repeated finds the message that was posted with a key before; nil if none was.
func (r *Room) repeated(rd store.Reader, room string, k *once) (*message, *once, error) {
	used, err := load[once](rd, onceOf(room).Str(k.Key))
	if err != nil || used == nil || used.At <= r.opt.Now().Add(-onceKept).UnixMilli() {
		return nil, nil, err
	}
	if !bytes.Equal(used.Digest, k.Digest) {
		return nil, nil, fault.New(fault.Conflict, "IDEMPOTENCY_KEY_REUSED",
			"This idempotency key came with another message before: use a new key for a new message.")
	}
	m, err := loadMessage(rd, room, used.ID)
	if err == nil && m == nil {
		err = fault.New(fault.Conflict, "MESSAGE_DELETED", "The message that was posted with this idempotency key is deleted.")
	}
	return m, used, err
}

// claim makes a key lead to a message, and drops keys that are too old or too many.
func (r *Room) claim(tx store.Tx, st *roomState, m *message, k *once, first bool) error {
	entry := &once{Digest: k.Digest, Place: st.OnceNext, ID: m.ID, First: first, At: r.opt.Now().UnixMilli()}
	if err := save(tx, onceOf(m.Room).Str(k.Key), entry); err != nil {
		return err
	}
	tx.Put(onceRingOf(m.Room).Uint(st.OnceNext), []byte(k.Key))
	st.OnceNext++
	horizon := r.opt.Now().Add(-onceKept).UnixMilli()
	for range onceSwept {
		at := onceRingOf(m.Room).Uint(st.OnceFirst)
		name := tx.Get(at)
		if name == nil || st.OnceFirst+1 >= st.OnceNext {
			return nil
		}
		entry := onceOf(m.Room).Str(string(name))
		old, err := load[once](tx, entry)
		if err != nil {
			return err
		}
		own := old != nil && old.Place == st.OnceFirst // else the key came again since
		if own && old.At > horizon && st.OnceNext-st.OnceFirst <= onceCount {
			return nil
		}
		if own {
			tx.Delete(entry)
		}
		tx.Delete(at)
		st.OnceFirst++
	}
	return nil
}
