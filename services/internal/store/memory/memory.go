// Package memory is a store that is nowhere but in memory: for what must never
// be on disk, and ends with the process. It keeps all that package store asks
// for but durability.
package memory

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"

	"anthill/services/internal/store"
)

// Options of Open.
type Options struct {
	Limits store.Limits // zero: store.MainLimits
	Most   int          // bytes of keys and values, after which writes fail with store.ErrFull; 0: no bound
}

const (
	maxKey   = 32 << 10
	trimStep = 8 // entries that one Trim drops at most
)

// Key spaces of the tree.
const (
	rows    = 'r'
	entries = 'e' // topic, its length first, and seq
	heads   = 'h' // topic
)

// DB implements store.DB.
type DB struct {
	opts  Options
	epoch uint32
	turn  chan struct{} // holds one token: whoever has it writes

	mu     sync.Mutex
	root   *node
	size   int
	closed bool
	topics map[string]map[chan struct{}]struct{}
}

// Open makes an empty store.
func Open(o Options) *DB {
	if o.Limits == (store.Limits{}) {
		o.Limits = store.MainLimits
	}
	d := &DB{opts: o, epoch: rand.Uint32()>>1 | 1, turn: make(chan struct{}, 1), topics: map[string]map[chan struct{}]struct{}{}}
	d.turn <- struct{}{}
	return d
}

// View implements store.DB.
func (d *DB) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	tx := &txn{db: d, root: d.root}
	err := d.errLocked()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return fn(tx)
}

// Update implements store.DB.
func (d *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	select {
	case <-d.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { d.turn <- struct{}{} }()
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	tx := &txn{db: d, root: d.root, size: d.size}
	err := d.errLocked()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	err = fn(tx)
	switch {
	case err != nil:
		return err
	case tx.err != nil:
		return tx.err
	case d.opts.Most > 0 && tx.size > d.opts.Most && tx.size > d.size: // what frees space is let through
		return store.ErrFull
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root, d.size = tx.root, tx.size
	for _, topic := range tx.topics {
		for ch := range d.topics[topic] {
			select {
			case ch <- struct{}{}:
			default: // one wake-up waits already
			}
		}
	}
	return nil
}

// Watch implements store.DB.
func (d *DB) Watch(topic string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.topics[topic] == nil {
		d.topics[topic] = map[chan struct{}]struct{}{}
	}
	d.topics[topic][ch] = struct{}{}
	return ch, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.topics[topic], ch)
		if len(d.topics[topic]) == 0 {
			delete(d.topics, topic)
		}
	}
}

// Err implements store.DB.
func (d *DB) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.errLocked()
}

func (d *DB) errLocked() error {
	if d.closed {
		return store.ErrClosed
	}
	return nil
}

// Close implements store.DB. What was in the store is gone.
func (d *DB) Close() error {
	<-d.turn
	defer func() { d.turn <- struct{}{} }()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.root, d.size = true, nil, 0
	return nil
}

// txn is a snapshot, and what one update makes of it.
type txn struct {
	db          *DB
	root        *node
	size        int
	keys, bytes int
	topics      []string
	err         error
}

func in(space byte, key []byte) []byte { return append([]byte{space}, key...) }

// Get implements store.Reader.
func (t *txn) Get(key []byte) []byte { return t.root.get(in(rows, key)) }

// Scan implements store.Reader.
func (t *txn) Scan(r store.Range) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		end := []byte{rows + 1}
		if r.End != nil {
			end = in(rows, r.End)
		}
		t.root.walk(in(rows, r.Start), end, r.Reverse, func(k, v []byte) bool { return yield(k[1:], v) })
	}
}

// Log implements store.Reader.
func (t *txn) Log(topic string, after uint64, limit int) ([]store.Entry, store.Head) {
	h := t.head(topic)
	if h.Last == 0 || limit <= 0 || after >= h.Last {
		return nil, h
	}
	var list []store.Entry
	t.root.walk(entryKey(topic, max(after+1, h.First)), entryKey(topic, h.Last+1), false, func(k, v []byte) bool {
		list = append(list, store.Entry{Seq: binary.BigEndian.Uint64(k[len(k)-8:]), Event: v})
		return len(list) < limit
	})
	return list, h
}

func (t *txn) head(topic string) store.Head {
	b := t.root.get(in(heads, []byte(topic)))
	if b == nil {
		return store.Head{}
	}
	return store.Head{Epoch: t.db.epoch, First: binary.BigEndian.Uint64(b), Last: binary.BigEndian.Uint64(b[8:])}
}

func (t *txn) setHead(topic string, h store.Head) {
	t.set(in(heads, []byte(topic)), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, h.First), h.Last))
}

func entryKey(topic string, seq uint64) []byte {
	k := binary.BigEndian.AppendUint32([]byte{entries}, uint32(len(topic)))
	return binary.BigEndian.AppendUint64(append(k, topic...), seq)
}

// set writes a value, or removes it if it is nil.
func (t *txn) set(key, value []byte) {
	if old := t.root.get(key); old != nil {
		t.size -= len(key) + len(old)
	}
	if value == nil {
		t.root = t.root.remove(key)
		return
	}
	t.size += len(key) + len(value)
	t.root = t.root.put(key, value)
}

// Put implements store.Tx.
func (t *txn) Put(key, value []byte) {
	if t.admit(len(key), len(value)) {
		t.set(in(rows, key), append([]byte{}, value...))
	}
}

// Delete implements store.Tx.
func (t *txn) Delete(key []byte) {
	if t.admit(len(key), 0) {
		t.set(in(rows, key), nil)
	}
}

// Append implements store.Tx.
func (t *txn) Append(topic string, event []byte) uint64 {
	if !t.admit(len(topic), len(event)) {
		return 0
	}
	h := t.head(topic)
	h.First, h.Last = max(h.First, 1), h.Last+1
	t.set(entryKey(topic, h.Last), append([]byte{}, event...))
	t.setHead(topic, h)
	t.topics = append(t.topics, topic)
	return h.Last
}

// Trim implements store.Tx.
func (t *txn) Trim(topic string, keep uint64) {
	h := t.head(topic)
	kept := h.Last + 1 - h.First
	if t.err != nil || h.Last == 0 || kept <= keep {
		return
	}
	for range min(kept-keep, trimStep, uint64(max(0, t.db.opts.Limits.Keys-t.keys))) {
		t.keys++
		t.set(entryKey(topic, h.First), nil)
		h.First++
	}
	t.setHead(topic, h)
}

// admit counts a write and says whether it may be done.
func (t *txn) admit(key, value int) bool {
	if t.err != nil {
		return false
	}
	t.keys++
	t.bytes += key + value
	l := t.db.opts.Limits
	switch {
	case key == 0 || key > maxKey:
		t.err = fmt.Errorf("%w: key of %d bytes (1 to %d)", store.ErrLimit, key, maxKey)
	case value > l.Value:
		t.err = fmt.Errorf("%w: value of %d bytes (at most %d)", store.ErrLimit, value, l.Value)
	case t.keys > l.Keys:
		t.err = fmt.Errorf("%w: more than %d writes", store.ErrLimit, l.Keys)
	case t.bytes > l.TxBytes:
		t.err = fmt.Errorf("%w: more than %d bytes written", store.ErrLimit, l.TxBytes)
	}
	return t.err == nil
}
