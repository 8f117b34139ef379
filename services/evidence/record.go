package evidence

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Events of a session are numbered from 1 without gaps, and found by their
// number. Their times never go back, so the newest ones are the last ones.

func rowsOf(session string) key.Key           { return key.Of("ant_run").Str(session) }
func rowKey(session string, id uint32) []byte { return rowsOf(session).Uint(uint64(id)) }

// onceOf leads from keys to the numbers of their events.
func onceOf(session string) key.Key { return key.Of("ant_run_once").Str(session) }

func stateKey(session string) key.Key { return key.Of("ant_run_state").Str(session) }

// row is one stored event.
type row struct {
	Session string `json:"-"`
	ID      uint32 `json:"-"`

	At      int64  `json:"at"` // ms since 1970
	Source  string `json:"source"`
	Trust   string `json:"trust"`
	Kind    string `json:"kind"`
	Text    string `json:"text,omitempty"`
	Payload []byte `json:"payload"`
	RawRef  []byte `json:"raw_ref,omitempty"` // none: null
	Key     string `json:"key,omitempty"`
	Digest  []byte `json:"digest,omitempty"` // of what came with the key
}

// state is what is known of a session's events without reading them.
type state struct {
	First uint32 `json:"first"` // number of the oldest one
	Next  uint32 `json:"next"`  // that the next one gets
	Bytes uint64 `json:"bytes"` // of all rows
	At    int64  `json:"at"`    // of the newest one, ms
}

func loadState(rd store.Reader, session string) (*state, error) {
	st := &state{First: 1, Next: 1}
	if b := rd.Get(stateKey(session)); b != nil {
		if err := cbor.Unmarshal(b, st); err != nil {
			return nil, fmt.Errorf("%w: state of the events of %s: %w", store.ErrCorrupt, session, err)
		}
	}
	return st, nil
}

func save(tx store.Tx, k key.Key, v any) (size int, err error) {
	b, err := cbor.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("evidence: encode: %w", err)
	}
	tx.Put(k, b)
	return len(b), nil
}

// loadRow is an event by its number; nil if it is not kept.
func loadRow(rd store.Reader, session string, id uint32) (*row, error) {
	b := rd.Get(rowKey(session, id))
	if b == nil {
		return nil, nil
	}
	return decodeRow(session, id, b)
}

func decodeRow(session string, id uint32, b []byte) (*row, error) {
	e := &row{}
	if err := cbor.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("%w: event %d of %s: %w", store.ErrCorrupt, id, session, err)
	}
	e.Session, e.ID = session, id
	return e, nil
}

// earlier is the event of a key; nil if there is none.
func earlier(rd store.Reader, session, name string) (*row, error) {
	b := rd.Get(onceOf(session).Str(name))
	if b == nil {
		return nil, nil
	}
	id, err := strconv.ParseUint(string(b), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: key of an event of %s", store.ErrCorrupt, session)
	}
	return loadRow(rd, session, uint32(id))
}

func (e *row) view() *antv1.RunEvent {
	at := time.UnixMilli(e.At).UTC()
	v := &antv1.RunEvent{Id: e.ID, SessionId: e.Session, Ts: at.Format("2006-01-02T15:04:05.000Z"), TsMs: float64(e.At),
		Source: e.Source, Trust: e.Trust, Kind: e.Kind, Text: e.Text, Payload: string(e.Payload), CreatedAt: at.Format(time.DateTime)}
	if len(e.RawRef) > 0 {
		v.RawRef = new(string(e.RawRef))
	}
	return v
}
