package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// Where events come from, and how far they can be trusted.
var (
	sources = []string{"acp", "hook", "json", "rpc", "terminal", "status", "tmux"}
	trusts  = []string{"high", "medium", "raw"}
)

// Limits of an event, in bytes unless said.
const (
	textMax    = 12_000 // characters
	payloadMax = 64 << 10
	rawRefMax  = 4 << 10
	kindMax    = 64
	keyMax     = 512
)

// Event is one thing to be noted.
type Event struct {
	Session string          // by id, handle or alias; a chat stands for its terminal
	At      time.Time       // zero: now; never before that of an earlier event
	Source  string          // acp, hook, json, rpc, terminal, status or tmux
	Trust   string          // high, medium or raw
	Kind    string          // prompt, command_block, tool_call, …; at most 64 bytes
	Text    string          // cut at 12,000 characters
	Payload json.RawMessage // a JSON object, nil: an empty one; cut above 64 KiB
	RawRef  json.RawMessage // a JSON object or string of up to 4 KiB; nil: null
	Key     string          // an event with the key of an earlier one is not noted again; at most 512 bytes
}

// Append notes an event and returns it, or the earlier one with its key. It
// returns once the event is on disk. Archived and softly deleted sessions take
// events, too: something may end in them.
func (r *Room) Append(ctx context.Context, e Event) (out *antv1.RunEvent, err error) {
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		out, err = r.AppendTx(tx, e)
		return err
	})
	return out, err
}

// AppendTx is Append in a transaction of the caller. It is five writes of it, and
// up to 32 more where old events have to go.
func (r *Room) AppendTx(tx store.Tx, e Event) (*antv1.RunEvent, error) {
	_, owner, err := r.find(tx, e.Session, caller.Caller{})
	if err != nil {
		return nil, err
	}
	d, err := e.row(r.opt.Now())
	if err != nil {
		return nil, err
	}
	d.Session = owner.ID
	kept, _, err := r.put(tx, d)
	if err != nil {
		return nil, err
	}
	return kept.view(), nil
}

// row checks an event and brings it into the form in which it is kept.
func (e Event) row(now time.Time) (*row, error) {
	payload, err := compact(e.Payload, "{")
	if err != nil {
		return nil, fmt.Errorf("evidence: the payload is %w", err)
	}
	raw, err := compact(e.RawRef, "{\"")
	if err != nil {
		return nil, fmt.Errorf("evidence: the raw reference is %w", err)
	}
	switch {
	case !slices.Contains(sources, e.Source) || !slices.Contains(trusts, e.Trust):
		return nil, fmt.Errorf("evidence: source %q of trust %q is not known", e.Source, e.Trust)
	case e.Kind == "" || len(e.Kind) > kindMax || !utf8.ValidString(e.Kind):
		return nil, fmt.Errorf("evidence: kind %.80q does not fit", e.Kind)
	case len(raw) > rawRefMax || len(e.Key) > keyMax:
		return nil, fmt.Errorf("evidence: a raw reference of %d and a key of %d bytes are too long", len(raw), len(e.Key))
	case payload == nil:
		payload = []byte("{}")
	}
	if !e.At.IsZero() {
		now = e.At
	}
	return &row{At: now.UnixMilli(), Source: e.Source, Trust: e.Trust, Kind: e.Kind, Text: cutText(e.Text, textMax),
		Payload: cutPayload(payload, payloadMax), RawRef: raw, Key: e.Key}, nil
}

// compact takes blanks between values out of JSON that begins with one of a set
// of characters; nil of nothing and of null.
func compact(b json.RawMessage, begins string) ([]byte, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || string(b) == "null" {
		return nil, nil
	}
	var out bytes.Buffer
	if !strings.ContainsRune(begins, rune(b[0])) || !utf8.Valid(b) || json.Compact(&out, b) != nil {
		return nil, errShape
	}
	return out.Bytes(), nil
}

var errShape = errors.New("not of the right JSON")

// put stores an event and tells of it. again says that it is an earlier one.
func (r *Room) put(tx store.Tx, e *row) (kept *row, again bool, err error) {
	if e.Key != "" {
		if old, err := earlier(tx, e.Session, e.Key); err != nil || old != nil {
			return old, true, err
		}
	}
	st, err := loadState(tx, e.Session)
	if err != nil {
		return nil, false, err
	}
	kept = new(*e)
	kept.ID, kept.At = st.Next, max(st.At, e.At)
	size, err := save(tx, rowsOf(e.Session).Uint(uint64(kept.ID)), kept)
	if err != nil {
		return nil, false, err
	}
	st.Next, st.At, st.Bytes = st.Next+1, kept.At, st.Bytes+uint64(size)
	if e.Key != "" {
		tx.Put(onceOf(e.Session).Str(e.Key), strconv.AppendUint(nil, uint64(kept.ID), 10))
	}
	if err := r.prune(tx, e.Session, st); err != nil {
		return nil, false, err
	}
	if _, err := save(tx, stateKey(e.Session), st); err != nil {
		return nil, false, err
	}
	return kept, false, feed.Append(tx, &antv1.Event{AtMs: float64(kept.At), SessionId: e.Session,
		Event: &antv1.Event_RunEventCreated{RunEventCreated: &antv1.RunEventCreated{Event: kept.view()}}})
}

// pruneStep is how many old events go with a new one at most.
const pruneStep = 16

// prune drops the oldest events while there are too many, or too large ones.
func (r *Room) prune(tx store.Tx, session string, st *state) error {
	for range pruneStep {
		if st.Next-st.First <= uint32(r.opt.Keep) && st.Bytes <= keepBytes || st.First+1 >= st.Next {
			return nil
		}
		b := tx.Get(rowKey(session, st.First))
		if b != nil {
			old, err := decodeRow(session, st.First, b)
			if err != nil {
				return err
			}
			st.Bytes -= min(st.Bytes, uint64(len(b)))
			tx.Delete(rowKey(session, st.First))
			if old.Key != "" {
				tx.Delete(onceOf(session).Str(old.Key))
			}
		}
		st.First++
	}
	return nil
}

// RunEvents returns events in the order of refs, for those who follow the feed;
// nil for those that are gone.
func (r *Room) RunEvents(ctx context.Context, refs []feed.RunRef) ([]*antv1.RunEvent, error) {
	out := make([]*antv1.RunEvent, len(refs))
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		for i, ref := range refs {
			out[i] = nil
			s, err := r.opt.Sessions.Find(rd, ref.Room)
			if err != nil || s == nil {
				if err != nil {
					return err
				}
				continue // its events are being removed
			}
			e, err := loadRow(rd, ref.Room, ref.ID)
			if err != nil {
				return err
			}
			if e != nil {
				out[i] = e.view()
			}
		}
		return nil
	})
	return out, err
}
