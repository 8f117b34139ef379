package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"anthill/services/internal/store"

	"go.etcd.io/bbolt"
)

// space is one of the key spaces in the file, a bbolt bucket each.
type space int

const (
	rows    space = iota // what callers put
	entries              // events of all logs in the order of their commits; see log.go
	heads                // the extent of each log
	chunks               // where a log's older entries are
	meta                 // of the store itself
	spaces
)

var spaceNames = [spaces][]byte{[]byte("rows"), []byte("entries"), []byte("heads"), []byte("chunks"), []byte("meta")}

// snapshot reads one bbolt transaction. It is the Reader of a View.
type snapshot struct {
	tx      *bbolt.Tx
	buckets [spaces]*bbolt.Bucket // opened when first used
	epoch   uint32
	err     error // the first failure; reads after it find nothing
	over    bool  // the transaction has ended
}

// Get implements store.Reader.
func (s *snapshot) Get(key []byte) []byte { return s.get(rows, key) }

// Scan implements store.Reader.
func (s *snapshot) Scan(r store.Range) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		w := walk{s: s, r: r}
		for k, v := w.next(); k != nil; k, v = w.next() {
			if !yield(k, v) {
				return
			}
		}
	}
}

// Log implements store.Reader.
func (s *snapshot) Log(topic string, after uint64, limit int) ([]store.Entry, store.Head) {
	return readLog(s, s.epoch, topic, after, limit)
}

func (s *snapshot) get(sp space, key []byte) (value []byte) {
	s.mustBeOpen()
	if s.err != nil {
		return nil
	}
	defer s.guard()
	return s.bucket(sp).Get(key)
}

func (s *snapshot) bucket(sp space) *bbolt.Bucket {
	b := s.buckets[sp]
	if b == nil {
		b = s.tx.Bucket(spaceNames[sp])
		s.buckets[sp] = b
	}
	return b
}

// fail makes the transaction fail; the first error counts.
func (s *snapshot) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// guard is deferred around calls of bbolt: damaged pages make it panic or fault,
// which is no reason to end the process.
func (s *snapshot) guard() {
	if r := recover(); r != nil {
		s.fail(fmt.Errorf("%w: %v", store.ErrCorrupt, r))
	}
}

func (s *snapshot) mustBeOpen() {
	if s.over {
		panic("store: transaction used after its function returned")
	}
}

// walk steps through a range of rows in a bbolt transaction that nothing writes
// to meanwhile.
type walk struct {
	s       *snapshot
	r       store.Range
	cursor  *bbolt.Cursor
	current []byte
}

// next returns the next row, or a nil key behind the last.
func (w *walk) next() (key, value []byte) {
	w.s.mustBeOpen()
	if w.s.err != nil {
		return nil, nil
	}
	defer w.s.guard()
	if w.r.Reverse {
		key, value = w.backward()
		if bytes.Compare(key, w.r.Start) < 0 {
			key = nil
		}
	} else {
		key, value = w.forward()
		if w.r.End != nil && bytes.Compare(key, w.r.End) >= 0 {
			key = nil
		}
	}
	w.current = key
	return key, value
}

func (w *walk) forward() (key, value []byte) {
	if w.cursor != nil {
		return w.cursor.Next()
	}
	w.cursor = w.s.bucket(rows).Cursor()
	return w.cursor.Seek(w.r.Start)
}

func (w *walk) backward() (key, value []byte) {
	if w.cursor != nil {
		return w.before(w.current)
	}
	w.cursor = w.s.bucket(rows).Cursor()
	if w.r.End != nil {
		if k, _ := w.cursor.Seek(w.r.End); k != nil {
			return w.before(w.r.End)
		}
	}
	return w.last()
}

// Pages that earlier jobs of the batch have emptied stay in the tree until the
// commit, and bbolt's cursors do not expect them when they go backwards: Prev
// takes one for the beginning, and Last never returns if there is nothing else.

// last moves to the last row.
func (w *walk) last() (key, value []byte) {
	if w.s.tx.Writable() && w.first() == nil {
		return nil, nil
	}
	return w.cursor.Last()
}

// before moves back to the last row below key.
func (w *walk) before(key []byte) (k, v []byte) {
	if k, v = w.cursor.Prev(); k != nil || !w.s.tx.Writable() {
		return k, v
	}
	if first := w.first(); first == nil || bytes.Compare(first, key) >= 0 {
		return nil, nil
	}
	for k == nil {
		k, v = w.cursor.Prev()
	}
	return k, v
}

func (w *walk) first() []byte {
	k, _ := w.s.bucket(rows).Cursor().First()
	return k
}

// number and numberKey turn a number into bytes that sort as it does, and back.
func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
