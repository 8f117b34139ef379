package conversations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"anthill/services/internal/agent"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	inlineBody = 64 << 10  // larger bodies go to the bulk store
	bodyChunk  = 512 << 10 // in pieces of this size
)

// stage makes messages ready to be put as row n of a turn: a large body is
// written to the bulk store first, so that the row never refers to nothing.
func (r *Room) stage(ctx context.Context, t *turnRecord, n uint64, ms []agent.Message) (row, error) {
	out := row{ConvKey: t.ConvKey, Ordinal: t.Ordinal, N: n, Messages: ms}
	body, err := json.Marshal(ms)
	if err != nil {
		return row{}, fmt.Errorf("encode messages: %w", err)
	}
	if len(body) <= inlineBody {
		return out, nil
	}
	if err := r.putBody(ctx, t.ID, n, body); err != nil {
		return row{}, err
	}
	out.Messages, out.Body, out.TurnID = nil, true, t.ID
	return out, nil
}

// putBody writes a large body of a turn to the bulk store.
func (r *Room) putBody(ctx context.Context, turnID string, n uint64, body []byte) error {
	for i := uint64(0); len(body) > 0; i++ {
		piece := body[:min(bodyChunk, len(body))]
		k := bodyPrefix(turnID, n).Uint(i)
		if err := r.opt.Bulk.Update(ctx, func(tx store.Tx) error { tx.Put(k, piece); return nil }); err != nil {
			return err
		}
		body = body[len(piece):]
	}
	return nil
}

// putRow writes a staged row.
func putRow(tx store.Tx, w row) error {
	v, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("encode row: %w", err)
	}
	tx.Put(rowKey(w.ConvKey, w.Ordinal, w.N), v)
	return nil
}

// turnMessages is the history that one turn added.
type turnMessages struct {
	ordinal  uint64
	input    []agent.Message // what the request brought
	messages []agent.Message // what the turn said and did
	cuts     []cut
}

// history reads what a conversation's turns said, oldest first, without what
// was deleted. only selects one turn by ordinal; nil means all.
func (r *Room) history(ctx context.Context, convKey string, only *uint64) ([]turnMessages, error) {
	rows, err := r.rowsOf(ctx, convKey, only)
	if err != nil {
		return nil, err
	}
	var out []turnMessages
	for _, w := range rows {
		if len(out) == 0 || out[len(out)-1].ordinal != w.Ordinal {
			out = append(out, turnMessages{ordinal: w.Ordinal, cuts: w.cuts})
		}
		t := &out[len(out)-1]
		if w.N == 0 {
			t.input = w.Messages
		} else {
			t.messages = append(t.messages, w.Messages...)
		}
	}
	for i := range out {
		if len(out[i].cuts) > 0 {
			applyCuts(&out[i])
		}
	}
	return out, nil
}

// rowsOf reads the rows of a conversation's turns, whole. Rows of a deleted turn
// may be there still and are left out.
func (r *Room) rowsOf(ctx context.Context, convKey string, only *uint64) ([]row, error) {
	var rows []row
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		rows = nil
		exists, err := ordinals(rd, convKey, only)
		if err != nil {
			return err
		}
		prefix := rowPrefix(convKey)
		if only != nil {
			prefix = prefix.Uint(*only)
		}
		for k, v := range rd.Scan(store.Prefix(prefix)) {
			var w row
			if err := json.Unmarshal(v, &w); err != nil {
				return fmt.Errorf("decode row: %w", err)
			}
			var err error
			if w.Ordinal, w.N, err = parseRowKey(k); err != nil {
				return err
			}
			if t := exists[w.Ordinal]; t != nil {
				w.cuts = t.Cut
				rows = append(rows, w)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	whole := rows[:0]
	for _, w := range rows {
		if w.Body {
			if w.Messages, err = r.body(ctx, w.TurnID, w.N); err != nil {
				if gone, failed := r.isGone(ctx, w.TurnID); failed != nil || !gone {
					return nil, errors.Join(err, failed)
				}
				continue
			}
		}
		whole = append(whole, w)
	}
	return whole, nil
}

// isGone says that a turn was deleted, for readers who find a part of it missing.
func (r *Room) isGone(ctx context.Context, turnID string) (bool, error) {
	t, err := r.turnByID(ctx, turnID)
	return t == nil, err
}

// ordinals says which turns of a conversation exist, or whether only does.
func ordinals(rd store.Reader, convKey string, only *uint64) (map[uint64]*turnRecord, error) {
	out := map[uint64]*turnRecord{}
	if only != nil {
		t, err := turns.Get(rd, turnKey(convKey, *only))
		out[*only] = t
		return out, err
	}
	for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: key.Key(nil).Str(convKey)}) {
		if err != nil {
			return nil, err
		}
		out[t.Ordinal] = t
	}
	return out, nil
}

// readBody reads what putBody wrote; empty if there is nothing.
func (r *Room) readBody(ctx context.Context, turnID string, n uint64) (body []byte, err error) {
	err = r.opt.Bulk.View(ctx, func(rd store.Reader) error {
		body = nil
		for _, v := range rd.Scan(store.Prefix(bodyPrefix(turnID, n))) {
			body = append(body, v...)
		}
		return nil
	})
	return body, err
}

// body reads the messages that stage wrote to the bulk store.
func (r *Room) body(ctx context.Context, turnID string, n uint64) ([]agent.Message, error) {
	body, err := r.readBody(ctx, turnID, n)
	if err != nil {
		return nil, err
	}
	var ms []agent.Message
	if err := json.Unmarshal(body, &ms); err != nil {
		return nil, fmt.Errorf("body %d of turn %s: %w", n, turnID, err)
	}
	return ms, nil
}
