package terminal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"

	"github.com/fxamacker/cbor/v2"
)

// Sizes of what is sealed.
const (
	chunkBytes = 128 << 10        // added to the store at once as one chunk
	growBytes  = 16 << 10         // a newest chunk smaller than this is continued
	growFor    = 30 * time.Second // and only that long
	batchBytes = 4 << 20          // of one transaction
	pruneStep  = 500              // chunks deleted by one transaction
	headBytes  = 16               // of a chunk: milliseconds of its first and last byte
)

// history is what is kept of one terminal on disk. What is sealed is in the
// store; segments hold the rest. Bytes are deleted from one only when the other has them.
type history struct {
	db   store.DB
	id   string
	dir  string
	keep int64

	sealing sync.Mutex // one seals at a time

	mu    sync.Mutex
	state sealState
}

// sealState is the row of a terminal in the store.
type sealState struct {
	Sealed int64 // bytes below are in the store
	First  int64 // bytes below are gone
	Last   int64 // offset of the newest chunk, if there is one
	Chunks uint64
	Parsed int64 // the marks below were told
	Marks  markState
}

const (
	chunksTable = "terminal.chunks" // id, offset -> head and bytes
	statesTable = "terminal.states" // id -> sealState
)

func chunkPrefix(id string) key.Key            { return key.Of(chunksTable).Str(id) }
func chunkKey(id string, offset int64) key.Key { return chunkPrefix(id).Uint(uint64(offset)) }
func stateKey(id string) key.Key               { return key.Of(statesTable).Str(id) }

func openHistory(ctx context.Context, db store.DB, id, dir string, keep int64) (*history, error) {
	h := &history{db: db, id: id, dir: dir, keep: keep}
	err := db.View(ctx, func(r store.Reader) (err error) {
		h.state, err = loadState(r, id)
		return err
	})
	return h, err
}

func loadState(r store.Reader, id string) (s sealState, err error) {
	if data := r.Get(stateKey(id)); data != nil {
		if err := cbor.Unmarshal(data, &s); err != nil {
			return s, fmt.Errorf("%w: state of terminal %s: %w", store.ErrCorrupt, id, err)
		}
	}
	return s, nil
}

func (h *history) now() sealState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// read returns up to most bytes from offset on, but none from end on, and where
// they begin: later than asked where bytes are not kept. Without bytes, that is end.
func (h *history) read(ctx context.Context, offset, end int64, most int) (data []byte, at int64, err error) {
	for range 3 { // sealing may move bytes while we look
		sealed := h.now().Sealed
		if offset < sealed {
			if data, at, err = h.readSealed(ctx, offset, most); err != nil || len(data) > 0 {
				break
			}
		}
		if data, at, err = h.readSegments(max(offset, sealed), end, most); err != nil || len(data) > 0 && at == max(offset, sealed) {
			break
		}
		if h.now().Sealed == sealed {
			break
		}
	}
	if len(data) == 0 {
		return nil, end, err
	}
	return data[:min(int64(len(data)), max(0, end-at))], at, err
}

func (h *history) readSegments(offset, end int64, most int) ([]byte, int64, error) {
	t := tail{dir: h.dir, at: offset}
	defer t.close()
	buf := make([]byte, min(int64(most), max(0, end-offset)))
	if len(buf) == 0 {
		return nil, offset, nil
	}
	n, at, err := t.read(buf)
	return buf[:n], at, err
}

func (h *history) readSealed(ctx context.Context, offset int64, most int) (data []byte, at int64, err error) {
	err = h.db.View(ctx, func(r store.Reader) error {
		data = nil
		from, err := h.chunkAt(r, offset)
		if err != nil {
			return err
		}
		for p, err := range h.chunks(r, from) {
			if err != nil {
				return err
			}
			if p.End() <= offset {
				continue
			}
			if data == nil {
				at = max(offset, p.Offset)
			} else if p.Offset != at+int64(len(data)) {
				return nil
			}
			rest := p.Data[max(0, at-p.Offset):]
			if p.Offset > at {
				rest = p.Data
			}
			if data = append(data, rest[:min(len(rest), most-len(data))]...); len(data) >= most {
				return nil
			}
		}
		return nil
	})
	return data, at, err
}

// chunkAt returns the offset of the chunk that has a byte, or of one after it.
func (h *history) chunkAt(r store.Reader, offset int64) (int64, error) {
	before := store.Range{Start: chunkPrefix(h.id), End: chunkKey(h.id, offset+1), Reverse: true}
	for k := range r.Scan(before) {
		return h.offsetOf(k)
	}
	return offset, nil
}

func (h *history) offsetOf(k []byte) (int64, error) {
	p := key.Parse(k)
	_, _ = p.Str(), p.Str()
	n := p.Uint()
	if err := p.Err(); err != nil {
		return 0, fmt.Errorf("%w: key of a chunk of terminal %s: %w", store.ErrCorrupt, h.id, err)
	}
	return int64(n), nil
}

// Piece is a chunk with the times of its first and last byte.
type Piece struct {
	Chunk
	First, Last time.Time
}

// chunks yields sealed chunks from an offset on. Their bytes are valid within the view only.
func (h *history) chunks(r store.Reader, from int64) func(func(Piece, error) bool) {
	return func(yield func(Piece, error) bool) {
		rng := store.Prefix(chunkPrefix(h.id))
		rng.Start = chunkKey(h.id, from)
		for k, v := range r.Scan(rng) {
			p, err := h.piece(k, v)
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

func (h *history) piece(k, v []byte) (Piece, error) {
	offset, err := h.offsetOf(k)
	if err == nil && len(v) < headBytes {
		err = fmt.Errorf("%w: chunk %d of terminal %s", store.ErrCorrupt, offset, h.id)
	}
	if err != nil {
		return Piece{}, err
	}
	return Piece{Chunk{Offset: offset, Data: v[headBytes:]},
		time.UnixMilli(int64(binary.BigEndian.Uint64(v))), time.UnixMilli(int64(binary.BigEndian.Uint64(v[8:])))}, nil
}

// seal moves what is in segments below end into the store, and deletes segments that are
// sealed whole. It can be cut anywhere and run again: a chunk and the note that it is
// there are one transaction, and only then its segment goes.
func (h *history) seal(ctx context.Context, end int64, note func(*sealState)) error {
	h.sealing.Lock()
	defer h.sealing.Unlock()
	state := h.now()
	t := tail{dir: h.dir, at: max(state.Sealed, end-h.keep)}
	defer t.close()
	for t.at < end {
		batch, err := gather(&t, end)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			break
		}
		if state, err = h.commit(ctx, batch, note); err != nil {
			return err
		}
	}
	if err := h.dropSegments(state.Sealed); err != nil {
		return err
	}
	return h.prune(ctx)
}

// gather reads the pieces of one transaction.
func gather(t *tail, end int64) ([]Piece, error) {
	var batch []Piece
	var marks []mark
	opened := int64(-1)
	for total := 0; total < batchBytes && t.at < end; {
		buf := make([]byte, min(chunkBytes, end-t.at))
		n, at, err := t.read(buf)
		if err != nil || n == 0 {
			return batch, err
		}
		if at >= end {
			return batch, nil
		}
		if t.start != opened {
			opened, marks = t.start, readMarks(t.dir, t.start)
		}
		n = int(min(int64(n), end-at))
		batch = append(batch, Piece{Chunk{Offset: at, Data: buf[:n]}, timeAt(marks, at), timeAt(marks, at+int64(n)-1)})
		total += n
	}
	return batch, nil
}

// timeAt is when the byte at offset was written, as far as marks say; zero: they do not.
func timeAt(marks []mark, offset int64) time.Time {
	var at time.Time
	for _, m := range marks {
		if m.offset > offset {
			break
		}
		at = time.UnixMilli(m.ms)
	}
	return at
}

// commit writes pieces that follow what is sealed. A small newest chunk is continued.
func (h *history) commit(ctx context.Context, batch []Piece, note func(*sealState)) (next sealState, err error) {
	err = h.db.Update(ctx, func(tx store.Tx) error {
		s, err := loadState(tx, h.id)
		if err != nil {
			return err
		}
		for _, p := range batch {
			if p.End() <= s.Sealed {
				continue // a former run did it
			}
			if p.Offset < s.Sealed {
				p.Data, p.Offset = p.Data[s.Sealed-p.Offset:], s.Sealed
			}
			if s.Chunks == 0 {
				s.First = p.Offset
			}
			grown, err := h.grow(tx, s, p)
			if err != nil {
				return err
			}
			if grown.Offset != s.Last || s.Chunks == 0 {
				s.Chunks++
			}
			tx.Put(chunkKey(h.id, grown.Offset), encodePiece(grown))
			s.Last, s.Sealed = grown.Offset, p.End()
		}
		note(&s)
		data, err := cbor.Marshal(s)
		if err != nil {
			return fmt.Errorf("terminal: encode the state: %w", err)
		}
		tx.Put(stateKey(h.id), data)
		next = s
		return nil
	})
	if err != nil {
		return h.now(), fmt.Errorf("terminal: seal: %w", err)
	}
	h.mu.Lock()
	h.state = next
	h.mu.Unlock()
	return next, nil
}

// grow returns p, behind the newest chunk if that is small, recent and reaches up to p.
func (h *history) grow(r store.Reader, s sealState, p Piece) (Piece, error) {
	if s.Chunks == 0 || s.Sealed != p.Offset || s.Sealed-s.Last >= growBytes {
		return p, nil
	}
	k := chunkKey(h.id, s.Last)
	v := r.Get(k)
	if v == nil {
		return p, nil
	}
	last, err := h.piece(k, v)
	if err != nil || p.Last.Sub(last.First) > growFor {
		return p, err
	}
	data := append(append(make([]byte, 0, len(last.Data)+len(p.Data)), last.Data...), p.Data...)
	return Piece{Chunk{Offset: last.Offset, Data: data}, last.First, p.Last}, nil
}

func encodePiece(p Piece) []byte {
	v := make([]byte, headBytes, headBytes+len(p.Data))
	binary.BigEndian.PutUint64(v, uint64(p.First.UnixMilli()))
	binary.BigEndian.PutUint64(v[8:], uint64(p.Last.UnixMilli()))
	return append(v, p.Data...)
}

// dropSegments deletes segments that are sealed whole. The newest one stays: it is written to.
func (h *history) dropSegments(sealed int64) error {
	have, err := segments(h.dir)
	if err != nil {
		return err
	}
	for i, s := range have {
		if s.end() <= sealed && i < len(have)-1 {
			removeSegment(h.dir, s.start)
		}
	}
	return nil
}

// prune deletes the oldest chunks, until at most keep bytes are left.
func (h *history) prune(ctx context.Context) error {
	for {
		s := h.now()
		if s.Sealed-s.First <= h.keep {
			return nil
		}
		err := h.db.Update(ctx, func(tx store.Tx) error {
			var err error
			if s, err = loadState(tx, h.id); err != nil {
				return err
			}
			n := 0
			for p, err := range h.chunks(tx, s.First) {
				if err != nil {
					return err
				}
				if s.First = p.Offset; s.Sealed-p.Offset <= h.keep || s.Chunks <= 1 || n == pruneStep {
					break
				}
				tx.Delete(chunkKey(h.id, p.Offset))
				s.Chunks--
				n++
			}
			data, err := cbor.Marshal(s)
			if err != nil {
				return fmt.Errorf("terminal: encode the state: %w", err)
			}
			tx.Put(stateKey(h.id), data)
			return nil
		})
		if err != nil {
			return fmt.Errorf("terminal: prune: %w", err)
		}
		h.mu.Lock()
		stuck := h.state.First == s.First
		h.state = s
		h.mu.Unlock()
		if stuck {
			return nil
		}
	}
}

// forget deletes all that is sealed of a terminal, in steps.
func forget(ctx context.Context, db store.DB, id string) error {
	for done := false; !done; {
		err := db.Update(ctx, func(tx store.Tx) error {
			n := 0
			for k := range tx.Scan(store.Prefix(chunkPrefix(id))) {
				if n++; n > pruneStep {
					break
				}
				tx.Delete(append([]byte(nil), k...))
			}
			if done = n <= pruneStep; done {
				tx.Delete(stateKey(id))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("terminal: delete the history: %w", err)
		}
	}
	return nil
}

// Query selects pieces of a history.
type Query struct {
	Since time.Time // only pieces with bytes written then or later
	After int64     // only pieces behind this offset
	Limit int       // at most so many; 0: 100
}

// pieces returns the newest sealed pieces that q selects, newest first.
func (h *history) pieces(ctx context.Context, q Query) (found []Piece, err error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	err = h.db.View(ctx, func(r store.Reader) error {
		found = nil
		rng := store.Prefix(chunkPrefix(h.id))
		rng.Reverse = true
		for k, v := range r.Scan(rng) {
			p, err := h.piece(k, v)
			if err != nil {
				return err
			}
			if p.Last.Before(q.Since) || p.End() <= q.After || len(found) == q.Limit {
				return nil
			}
			p.Data = append([]byte(nil), p.Data...)
			found = append(found, p)
		}
		return nil
	})
	return found, err
}

// Hit is a line of a history that has what was looked for.
type Hit struct {
	Offset int64 // where the line begins, or a little before
	Time   time.Time
	Line   string // stripped; at most 4 KiB of it
}

const lineMost = 4 << 10

// search returns the newest limit lines that contain a text, whatever its case, newest first.
func (h *history) search(ctx context.Context, text string, limit int) ([]Hit, error) {
	text = strings.ToLower(text)
	var hits []Hit
	var strip stripper
	var line []byte
	start, when := int64(0), time.Time{}
	flush := func() {
		shown := display(strings.ToValidUTF8(string(line), "\uFFFD"))
		if strings.Contains(strings.ToLower(shown), text) {
			if hits = append(hits, Hit{start, when, cut(shown, lineMost)}); len(hits) > 2*limit {
				hits = append(hits[:0], hits[limit:]...)
			}
		}
		line = line[:0]
	}
	err := h.each(ctx, func(p Piece) {
		if len(line) == 0 {
			start, when = p.Offset, p.Last
		}
		for rest, at := p.Data, p.Offset; len(rest) > 0; {
			n := len(rest)
			newline := bytes.IndexByte(rest[:min(n, lineMost)], '\n')
			if n = min(n, lineMost); newline >= 0 {
				n = newline + 1
			}
			line = strip.append(line, rest[:n])
			rest, at = rest[n:], at+int64(n)
			if newline >= 0 || len(line) > 16*lineMost {
				line = bytes.TrimSuffix(line, []byte{'\n'})
				flush()
				start, when = at, p.Last
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if len(line) > 0 {
		flush()
	}
	newest := make([]Hit, 0, limit)
	for i := len(hits) - 1; i >= 0 && len(newest) < limit; i-- {
		newest = append(newest, hits[i])
	}
	return newest, nil
}

// each walks over all that is sealed, with views that end soon.
func (h *history) each(ctx context.Context, do func(Piece)) error {
	for next := int64(0); ; {
		var batch []Piece
		err := h.db.View(ctx, func(r store.Reader) error {
			batch = nil
			total := 0
			for p, err := range h.chunks(r, next) {
				if err != nil {
					return err
				}
				p.Data = append([]byte(nil), p.Data...)
				if batch = append(batch, p); total+len(p.Data) >= batchBytes {
					return nil
				}
				total += len(p.Data)
			}
			return nil
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, p := range batch {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			do(p)
		}
		next = batch[len(batch)-1].End()
	}
}
