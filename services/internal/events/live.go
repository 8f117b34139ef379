package events

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// ErrSealed is returned by writes to a log that is complete.
var ErrSealed = errors.New("events: log is sealed")

const (
	flushAfter  = 100 * time.Millisecond // how much a crash may take back
	flushBytes  = 256 << 10              // a chunk this large is written without waiting
	windowBytes = 256 << 10              // kept in memory behind the flushed end for readers close to it
	pendingMax  = 8 << 20                // unwritten bytes at which the log refuses more
	reserveStep = 4096                   // seqs promised ahead of use by each chunk
)

// Live is the log of something that happens now, such as a turn: an entry is
// visible to readers at once and on disk within 100 ms, in coalesced chunks of
// the bulk store. Seqs grow and are never used twice, not even across a crash
// that took entries back: each chunk reserves seqs ahead, and a log that is
// taken up again goes on after the reservation.
//
// One goroutine writes, any number read.
type Live struct {
	db     store.DB
	prefix key.Key

	flushMu sync.Mutex // held while a chunk is written

	mu       sync.Mutex
	window   []store.Entry // newest entries, flushed ones first
	flushed  int           // entries of window that are on disk
	size     int           // bytes in window
	pending  int           // bytes not on disk
	next     uint64        // seq of the next entry
	reserved uint64        // seqs below this may be shown
	sealed   bool
	watchers []chan struct{}
	timer    *time.Timer
}

// NewLive starts a log under prefix in the bulk store, with seqs from first
// on. The caller has made durable that seqs below reserved may be in use.
func NewLive(bulk store.DB, prefix key.Key, first, reserved uint64) *Live {
	return &Live{db: bulk, prefix: prefix, next: first, reserved: reserved}
}

// Next is the seq that the next entry gets.
func (l *Live) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Append shows the event that make returns for its seq. It blocks only when
// the reservation is used up or a chunk is full.
func (l *Live) Append(ctx context.Context, make func(seq uint64) []byte) error {
	l.mu.Lock()
	for l.next >= l.reserved || l.pending >= flushBytes {
		if l.sealed {
			l.mu.Unlock()
			return ErrSealed
		}
		mustFlush := l.next >= l.reserved || l.pending >= pendingMax
		l.mu.Unlock()
		if err := l.Flush(ctx); err != nil && mustFlush {
			return err
		}
		l.mu.Lock()
		if !mustFlush {
			break
		}
	}
	if l.sealed {
		l.mu.Unlock()
		return ErrSealed
	}
	event := make(l.next)
	l.window = append(l.window, store.Entry{Seq: l.next, Event: event})
	l.size += len(event)
	l.pending += len(event)
	l.next++
	if l.timer == nil {
		// All logs flush at the same moments, so that one commit takes them all.
		l.timer = time.AfterFunc(flushAfter-time.Duration(time.Now().UnixNano())%flushAfter, l.flushLater)
	}
	l.wakeLocked()
	l.mu.Unlock()
	return nil
}

// flushLater is the owner-less tick of a log; Seal and Close stop it.
func (l *Live) flushLater() {
	// What failed to be written stays pending and is tried again.
	if err := l.Flush(context.Background()); err != nil {
		l.mu.Lock()
		if l.timer == nil && !l.sealed {
			l.timer = time.AfterFunc(flushAfter*10, l.flushLater)
		}
		l.mu.Unlock()
	}
}

// Flush returns once everything appended before is on disk.
func (l *Live) Flush(ctx context.Context) error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	chunk := append([]store.Entry(nil), l.window[l.flushed:]...)
	reserve := l.next + reserveStep
	grow := l.next >= l.reserved
	first := l.next
	l.mu.Unlock()
	if len(chunk) == 0 && !grow {
		return nil
	}
	if len(chunk) > 0 {
		first = chunk[0].Seq
	}
	err := l.write(ctx, first, chunk, reserve)

	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushed += len(chunk)
	for _, e := range chunk {
		l.pending -= len(e.Event)
	}
	l.reserved = reserve
	for l.flushed > 0 && l.size > windowBytes {
		l.size -= len(l.window[0].Event)
		l.window = l.window[1:]
		l.flushed--
	}
	return nil
}

// write puts entries into chunks that fit the store's limits.
func (l *Live) write(ctx context.Context, first uint64, entries []store.Entry, reserve uint64) error {
	for {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size+len(entries[n].Event) < flushBytes*2) {
			size += len(entries[n].Event) + 16
			n++
		}
		value := encodeChunk(entries[:n], reserve)
		k := l.prefix.Uint(first)
		if err := l.db.Update(ctx, func(tx store.Tx) error { tx.Put(k, value); return nil }); err != nil {
			return err
		}
		entries = entries[n:]
		if len(entries) == 0 {
			return nil
		}
		first = entries[0].Seq
	}
}

// Seal ends the log with one last event: everything is made durable, then
// commit runs, and only then do readers see the event. So whoever sees the end
// can rely on what commit wrote.
func (l *Live) Seal(ctx context.Context, make func(seq uint64) []byte, commit func(context.Context) error) error {
	if err := l.Flush(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	last := store.Entry{Seq: l.next, Event: make(l.next)}
	reserve := l.next + 1
	l.mu.Unlock()
	if err := l.write(ctx, last.Seq, []store.Entry{last}, reserve); err != nil {
		return err
	}
	if err := commit(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window = append(l.window, last)
	l.next++
	l.flushed = len(l.window)
	l.sealed = true
	l.wakeLocked()
	return nil
}

// Abandon stops the log without an end: readers see it as sealed, and what is
// not on disk is lost. For a store that no longer takes writes.
func (l *Live) Abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.sealed = true
	l.wakeLocked()
}

// Read returns entries with seq >= from, oldest first, and whether the log is
// sealed and these are its last. No entries and not done: wait on Watch.
func (l *Live) Read(ctx context.Context, from uint64) (entries []store.Entry, done bool, err error) {
	l.mu.Lock()
	if from >= l.next {
		done = l.sealed
		l.mu.Unlock()
		return nil, done, nil
	}
	if len(l.window) > 0 && from >= l.window[0].Seq {
		i := sort.Search(len(l.window), func(i int) bool { return l.window[i].Seq >= from })
		entries = append(entries, l.window[i:]...)
		done = l.sealed
		l.mu.Unlock()
		return entries, done, nil
	}
	l.mu.Unlock()
	entries, _, err = ReadChunk(ctx, l.db, l.prefix, from)
	return entries, false, err
}

// Watch returns a channel that receives after an entry was added or the log
// was sealed. Wake-ups coalesce.
func (l *Live) Watch() (wake <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	l.mu.Lock()
	l.watchers = append(l.watchers, c)
	l.mu.Unlock()
	return c, func() {
		l.mu.Lock()
		l.watchers = slices.DeleteFunc(l.watchers, func(w chan struct{}) bool { return w == c })
		l.mu.Unlock()
	}
}

func (l *Live) wakeLocked() {
	for _, c := range l.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// ReadChunk returns the entries with seq >= from of the first chunk that has
// any, and the seqs that the log may have used so far. No entries: the end.
func ReadChunk(ctx context.Context, bulk store.DB, prefix key.Key, from uint64) (entries []store.Entry, reserved uint64, err error) {
	err = bulk.View(ctx, func(r store.Reader) error {
		entries, reserved = nil, 0
		// The chunk that holds from begins at or before it.
		start := prefix.Uint(from)
		whole := store.Prefix(prefix)
		for k := range r.Scan(store.Range{Start: whole.Start, End: append(start, 0), Reverse: true}) {
			start = append([]byte(nil), k...)
			break
		}
		for _, v := range r.Scan(store.Range{Start: start, End: whole.End}) {
			all, res, err := decodeChunk(v)
			if err != nil {
				return err
			}
			reserved = res
			for _, e := range all {
				if e.Seq >= from {
					entries = append(entries, e)
				}
			}
			if len(entries) > 0 {
				return nil
			}
		}
		return nil
	})
	return entries, reserved, err
}

var errChunk = errors.New("events: damaged chunk")

func encodeChunk(entries []store.Entry, reserve uint64) []byte {
	out := binary.AppendUvarint(nil, reserve)
	for _, e := range entries {
		out = binary.AppendUvarint(out, e.Seq)
		out = binary.AppendUvarint(out, uint64(len(e.Event)))
		out = append(out, e.Event...)
	}
	return out
}

// decodeChunk copies: v is valid only inside its transaction.
func decodeChunk(v []byte) (entries []store.Entry, reserve uint64, err error) {
	v = append([]byte(nil), v...)
	take := func() uint64 {
		n, w := binary.Uvarint(v)
		if w <= 0 {
			err = errChunk
			v = nil
			return 0
		}
		v = v[w:]
		return n
	}
	reserve = take()
	for len(v) > 0 && err == nil {
		seq, size := take(), take()
		if err != nil || size > uint64(len(v)) {
			return nil, 0, errChunk
		}
		entries = append(entries, store.Entry{Seq: seq, Event: v[:size:size]})
		v = v[size:]
	}
	return entries, reserve, err
}
