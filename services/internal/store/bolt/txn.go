package bolt

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"anthill/services/internal/store"
)

// maxKey is the longest key or topic in bytes.
const maxKey = 8 << 10

// write is one pending change. A nil value deletes the key.
type write struct{ key, value []byte }

// txn is the Tx of one job. Its writes stay in memory until the job has
// succeeded; then apply moves them into the batch's bbolt transaction, where
// the next job sees them. So a job that fails leaves no trace and none of its
// batch has to run again.
type txn struct {
	snapshot
	limits  store.Limits
	writes  [spaces][]write // sorted by key
	pending bool            // there are writes
	keys    int             // writes counted against the limits
	bytes   int             // and their bytes
	topics  []string        // topics appended to
	entry   uint64          // position of the last entry of any log
}

// reset makes t ready for the next job of the batch.
func (t *txn) reset() {
	for sp := range t.writes {
		clear(t.writes[sp])
		t.writes[sp] = t.writes[sp][:0]
	}
	t.pending, t.keys, t.bytes, t.topics, t.err, t.over = false, 0, 0, nil, nil, false
	t.entry = t.bucket(entries).Sequence()
}

// apply moves the writes into the bbolt transaction.
func (t *txn) apply() error {
	for sp := range spaces {
		if len(t.writes[sp]) == 0 {
			continue
		}
		b := t.bucket(sp)
		if sp == entries {
			b.FillPercent = 1 // only ever written at its end: leave no room inside
			if err := b.SetSequence(t.entry); err != nil {
				return err
			}
		}
		for _, w := range t.writes[sp] {
			var err error
			if w.value == nil {
				err = b.Delete(w.key)
			} else {
				err = b.Put(w.key, w.value)
			}
			if err != nil {
				return fmt.Errorf("store: write %s %x: %w", spaceNames[sp], w.key, err)
			}
		}
	}
	return nil
}

// Get implements store.Reader.
func (t *txn) Get(key []byte) []byte { return t.get(rows, key) }

// Log implements store.Reader.
func (t *txn) Log(topic string, after uint64, limit int) ([]store.Entry, store.Head) {
	return readLog(t, t.epoch, topic, after, limit)
}

// Scan implements store.Reader. It yields what it finds when it begins: writes
// that are made during the scan do not move it.
func (t *txn) Scan(r store.Range) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		t.mustBeOpen()
		w := walk{s: &t.snapshot, r: r}
		own := t.pendingRows(r)
		compare := bytes.Compare
		if r.Reverse {
			compare = func(a, b []byte) int { return bytes.Compare(b, a) }
		}
		k, v := w.next()
		for {
			if len(own) == 0 || k != nil && compare(k, own[0].key) < 0 {
				if k == nil || !yield(k, v) {
					return
				}
				k, v = w.next()
				continue
			}
			o := own[0]
			own = own[1:]
			if bytes.Equal(o.key, k) {
				k, v = w.next()
			}
			if o.value != nil && !yield(o.key, o.value) {
				return
			}
		}
	}
}

// pendingRows copies the job's own writes in r, in the order of the scan.
func (t *txn) pendingRows(r store.Range) []write {
	lo, _ := t.find(rows, r.Start)
	hi := len(t.writes[rows])
	if r.End != nil {
		hi, _ = t.find(rows, r.End)
	}
	if lo >= hi {
		return nil
	}
	own := slices.Clone(t.writes[rows][lo:hi])
	if r.Reverse {
		slices.Reverse(own)
	}
	return own
}

// Put implements store.Tx.
func (t *txn) Put(key, value []byte) {
	if t.admit("key", len(key), len(value)) {
		t.set(rows, bytes.Clone(key), append([]byte{}, value...))
	}
}

// Delete implements store.Tx.
func (t *txn) Delete(key []byte) {
	if t.admit("key", len(key), 0) {
		t.set(rows, bytes.Clone(key), nil)
	}
}

// admit counts a write of a key (or topic) and a value and says whether it may
// be done.
func (t *txn) admit(what string, key, value int) bool {
	t.mustBeOpen()
	if t.err != nil {
		return false
	}
	t.keys++
	t.bytes += key + value
	switch {
	case key == 0:
		t.err = fmt.Errorf("%w: empty %s", store.ErrLimit, what)
	case key > maxKey:
		t.err = fmt.Errorf("%w: %s of %d bytes (at most %d)", store.ErrLimit, what, key, maxKey)
	case value > t.limits.Value:
		t.err = fmt.Errorf("%w: value of %d bytes (at most %d)", store.ErrLimit, value, t.limits.Value)
	case t.keys > t.limits.Keys:
		t.err = fmt.Errorf("%w: more than %d writes", store.ErrLimit, t.limits.Keys)
	case t.bytes > t.limits.TxBytes:
		t.err = fmt.Errorf("%w: more than %d bytes written", store.ErrLimit, t.limits.TxBytes)
	}
	return t.err == nil
}

// get is the latest value of a key: the job's own or the batch's.
func (t *txn) get(sp space, key []byte) []byte {
	t.mustBeOpen()
	if i, own := t.find(sp, key); own {
		return t.writes[sp][i].value
	}
	return t.snapshot.get(sp, key)
}

// set records a write and keeps both slices.
func (t *txn) set(sp space, key, value []byte) {
	t.pending = true
	i, own := t.find(sp, key)
	if own {
		t.writes[sp][i].value = value
		return
	}
	t.writes[sp] = slices.Insert(t.writes[sp], i, write{key, value})
}

// find returns the place of key among the job's writes.
func (t *txn) find(sp space, key []byte) (int, bool) {
	w := t.writes[sp]
	if n := len(w); n == 0 || bytes.Compare(w[n-1].key, key) < 0 {
		return n, false // usual: keys come in order
	}
	return slices.BinarySearchFunc(w, key, func(w write, key []byte) int { return bytes.Compare(w.key, key) })
}
