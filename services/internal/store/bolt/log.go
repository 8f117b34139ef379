package bolt

import (
	"encoding/binary"
	"fmt"
	"iter"

	"anthill/services/internal/store"

	"go.etcd.io/bbolt"
)

// All logs share one space of entries, keyed by a position that only rises.
// A commit that appends to many topics then writes a few pages at the end of
// one tree and not a page for each topic, which is three times faster.
//
// A topic's head keeps the positions of its newest entries, as differences that
// take a byte or two. Whenever chunkLen of them are complete they move to a
// chunk, which is found by its number. So appending reads and writes one small
// head, and the place of any entry is known after one more read.

// chunkLen is the number of entries in a chunk: seqs 1 to chunkLen are chunk 0.
const chunkLen = 128

// head is the stored extent of a topic.
type head struct {
	first, last uint64 // as in store.Head
	pos         uint64 // position of entry last
	tail        []byte // positions of the entries behind the last full chunk
}

const headLen = 3 * 8 // before the tail

// getter is what reading a log needs of a snapshot or txn.
type getter interface {
	get(sp space, key []byte) []byte
	// events returns a function that finds the event at a position, quickest if
	// asked in rising order. It is good until the next write.
	events() func(pos uint64) []byte
	fail(error)
}

func (s *snapshot) events() func(pos uint64) []byte {
	var cursor *bbolt.Cursor
	var last uint64
	var want [8]byte
	return func(pos uint64) (event []byte) {
		if s.err != nil {
			return nil
		}
		defer s.guard()
		var key []byte
		switch {
		case cursor == nil:
			cursor = s.bucket(entries).Cursor()
			fallthrough
		case pos != last+1:
			binary.BigEndian.PutUint64(want[:], pos)
			key, event = cursor.Seek(want[:])
		default:
			key, event = cursor.Next()
		}
		if last = pos; number(key) != pos {
			return nil
		}
		return event
	}
}

func (t *txn) events() func(pos uint64) []byte {
	committed := t.snapshot.events()
	return func(pos uint64) []byte {
		if i, own := t.find(entries, numberKey(pos)); own {
			return t.writes[entries][i].value
		}
		return committed(pos)
	}
}

func readHead(g getter, topic string) (h head) {
	if topic == "" {
		return head{} // bbolt has no empty keys
	}
	b := g.get(heads, []byte(topic))
	switch {
	case b == nil:
	case len(b) < headLen:
		g.fail(fmt.Errorf("%w: head of log %q", store.ErrCorrupt, topic))
	default:
		h.first = binary.BigEndian.Uint64(b)
		h.last = binary.BigEndian.Uint64(b[8:])
		h.pos = binary.BigEndian.Uint64(b[16:])
		h.tail = b[headLen:]
	}
	return h
}

// encode returns h with one more position in its tail, unless gap is 0.
func (h head) encode(gap uint64) []byte {
	b := make([]byte, 0, headLen+len(h.tail)+binary.MaxVarintLen64)
	b = binary.BigEndian.AppendUint64(b, h.first)
	b = binary.BigEndian.AppendUint64(b, h.last)
	b = binary.BigEndian.AppendUint64(b, h.pos)
	b = append(b, h.tail...)
	if gap != 0 {
		b = binary.AppendUvarint(b, gap)
	}
	return b
}

// chunkKey needs no separator, for the number has a fixed length.
func chunkKey(topic string, chunk uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(topic), chunk)
}

// Append implements store.Tx.
func (t *txn) Append(topic string, event []byte) uint64 {
	if !t.admit("topic", len(topic), len(event)) {
		return 0
	}
	h := readHead(t, topic)
	if t.err != nil {
		return 0
	}
	t.entry++
	gap := t.entry - h.pos
	if len(h.tail) == 0 {
		gap = t.entry // the first position of a chunk is written whole
	}
	h.first = max(h.first, 1)
	h.last++
	h.pos = t.entry
	b := h.encode(gap)
	if h.last%chunkLen == 0 {
		t.set(chunks, chunkKey(topic, h.last/chunkLen-1), b[headLen:])
		b = b[:headLen:headLen]
	}
	t.set(heads, []byte(topic), b)
	t.set(entries, numberKey(t.entry), append([]byte{}, event...))
	if len(t.topics) == 0 || t.topics[len(t.topics)-1] != topic {
		t.topics = append(t.topics, topic)
	}
	return h.last
}

// trimStep is the most entries that one Trim drops.
const trimStep = 8

// Trim implements store.Tx. It leaves the job within its limits: what it does
// not drop now is left for the next call.
func (t *txn) Trim(topic string, keep uint64) {
	t.mustBeOpen()
	h := readHead(t, topic)
	kept := h.last + 1 - h.first
	if t.err != nil || h.last == 0 || kept <= keep {
		return
	}
	drop := min(kept-keep, trimStep, uint64(t.limits.Keys-t.keys))
	if drop == 0 {
		return
	}
	for seq, pos := range positions(t, topic, h, h.first, h.first+drop-1) {
		t.keys++
		t.set(entries, numberKey(pos), nil)
		if seq%chunkLen == 0 {
			t.set(chunks, chunkKey(topic, seq/chunkLen-1), nil)
		}
		h.first = seq + 1
	}
	t.set(heads, []byte(topic), h.encode(0))
}

// readLog is Log for both kinds of transaction.
func readLog(g getter, epoch uint32, topic string, after uint64, limit int) ([]store.Entry, store.Head) {
	h := readHead(g, topic)
	if h.last == 0 {
		return nil, store.Head{}
	}
	extent := store.Head{Epoch: epoch, First: h.first, Last: h.last}
	if limit <= 0 || after >= h.last {
		return nil, extent
	}
	from := max(after+1, h.first)
	n := min(uint64(limit), h.last+1-from)
	if n == 0 {
		return nil, extent
	}
	list := make([]store.Entry, 0, n)
	eventAt := g.events()
	for seq, pos := range positions(g, topic, h, from, from+n-1) {
		event := eventAt(pos)
		if event == nil {
			g.fail(fmt.Errorf("%w: log %q has lost entry %d", store.ErrCorrupt, topic, seq))
			return nil, extent
		}
		list = append(list, store.Entry{Seq: seq, Event: event})
	}
	return list, extent
}

// positions yields where the entries from to to of a topic are. All of them
// must exist.
func positions(g getter, topic string, h head, from, to uint64) iter.Seq2[uint64, uint64] {
	return func(yield func(seq, pos uint64) bool) {
		for next := from; next <= to; {
			chunk := (next - 1) / chunkLen
			list := h.tail
			if chunk != h.last/chunkLen {
				list = g.get(chunks, chunkKey(topic, chunk))
			}
			pos, seq := uint64(0), chunk*chunkLen
			for len(list) > 0 && next <= to {
				gap, n := binary.Uvarint(list)
				if n <= 0 {
					break
				}
				list = list[n:]
				pos += gap
				if seq++; seq < next {
					continue
				}
				if !yield(seq, pos) {
					return
				}
				next++
			}
			if next <= to && (next-1)/chunkLen == chunk {
				g.fail(fmt.Errorf("%w: log %q does not know entry %d", store.ErrCorrupt, topic, next))
				return
			}
		}
	}
}
