// Package store is the seam between the rooms and the engine that keeps their
// data: ordered keys, two transaction verbs, and per-topic logs.
//
// Everything that must survive a crash enters here. Nothing here knows what a
// conversation or a session is, and nothing outside the engines knows bbolt.
// The limits below are enforced on every engine, so that a distributed one can
// take bbolt's place without a change in any room.
package store

import (
	"context"
	"errors"
	"iter"
)

// Limits bound one transaction. A transaction that exceeds one fails whole
// with ErrLimit.
type Limits struct {
	Keys    int // writes (puts, deletes, appends) in one transaction
	TxBytes int // sum of key and value bytes written by one transaction
	Value   int // bytes of one value
}

// MainLimits hold for the main file, BulkLimits for the file of bulk bytes.
var (
	MainLimits = Limits{Keys: 100, TxBytes: 1 << 20, Value: 256 << 10}
	BulkLimits = Limits{Keys: 1000, TxBytes: 16 << 20, Value: 1 << 20}
)

// Errors of every engine. Match with errors.Is.
var (
	ErrLimit    = errors.New("store: transaction exceeds a limit")
	ErrFull     = errors.New("store: no space left for writing")       // reads work on; writes do again once space is free
	ErrReadOnly = errors.New("store: writing stopped after a failure") // a sync failed: nothing is written until a restart
	ErrClosed   = errors.New("store: closed")
	ErrUnique   = errors.New("store: a unique index already has this key")
	ErrNewer    = errors.New("store: data was written by a newer version")
	ErrInUse    = errors.New("store: held by another process")
	ErrCorrupt  = errors.New("store: file is damaged")
)

// DB is one ordered key space. Safe for concurrent use.
type DB interface {
	// View runs fn on one consistent snapshot. It never blocks writers; fn must
	// not keep the Reader, nor write to a socket while it holds it, nor call the
	// DB again: while a view is open, space that writers free is not reused.
	View(ctx context.Context, fn func(Reader) error) error

	// Update runs fn in a read-write transaction and returns once its writes
	// are on disk. fn may be run more than once and must be pure: no effect but
	// through tx, results assigned (not accumulated) on every run. An error from
	// fn undoes its writes and is returned as it is. If ctx ends while the job
	// is queued the job is dropped; once it runs, Update waits for the outcome.
	// fn may run on another goroutine, must be quick and must not call the DB
	// again. A panic in fn reaches the caller.
	Update(ctx context.Context, fn func(Tx) error) error

	// Watch returns a channel that receives after a commit has appended to the
	// topic. Wake-ups coalesce and may be lost: they say "look again", never
	// what happened. cancel frees the channel; it is never closed.
	Watch(topic string) (wake <-chan struct{}, cancel func())

	// Err is nil while the engine can write, else why it cannot.
	Err() error

	// Close waits for queued writes and releases the file.
	Close() error
}

// Reader reads one snapshot. Slices it returns are valid only inside the
// transaction and must not be changed. A failed read makes the whole
// transaction fail, so callers need not check each one.
type Reader interface {
	// Get returns the value, or nil if the key is absent (an empty value is non-nil).
	Get(key []byte) []byte
	// Scan walks keys in [r.Start, r.End) in order, or backwards with r.Reverse.
	// It yields what is there when it begins, whatever is written during it.
	Scan(r Range) iter.Seq2[[]byte, []byte]
	// Log returns up to limit entries with seq > after, oldest first, and the
	// extent of the topic. after < head.First-1 means that entries are gone.
	Log(topic string, after uint64, limit int) ([]Entry, Head)
}

// Tx reads its own writes. The first failed write makes Update fail.
type Tx interface {
	Reader
	Put(key, value []byte)
	Delete(key []byte)
	// Append adds event to the topic's log and returns its seq: 1, 2, 3… without gaps.
	Append(topic string, event []byte) uint64
	// Trim drops entries so that at most keep of them remain, a few per call
	// (each drop counts as a write), so that appending and trimming together
	// keep a log bounded.
	Trim(topic string, keep uint64)
}

// Range is a half-open interval of keys. A nil End means to the last key.
type Range struct {
	Start, End []byte
	Reverse    bool
}

// Entry is one event of a log.
type Entry struct {
	Seq   uint64
	Event []byte
}

// Head is the extent of a log. Seqs of different epochs have nothing in
// common: a cursor carries both. A topic that was never written has a zero Head.
type Head struct {
	Epoch uint32 // random, set when the topic is first written or the store restored; never 0 after that
	First uint64 // oldest seq kept
	Last  uint64 // newest seq
}

// Prefix is the range of all keys that begin with p.
func Prefix(p []byte) Range {
	end := append([]byte(nil), p...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return Range{Start: p, End: end[:i+1]}
		}
	}
	return Range{Start: p}
}
