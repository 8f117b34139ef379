package search

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"anthill/services/internal/index"
	"anthill/services/internal/store"
)

// Feed is a room whose texts are to be found. It answers with what is there now.
type Feed interface {
	// Topic is the room's log in the main store.
	Topic() string
	// Changed says which documents its events are about.
	Changed(entries []store.Entry) ([]index.Change, error)
	// Names are the documents of a scope with their stamps; none if it is gone.
	Names(ctx context.Context, scope string) (map[string]uint64, error)
	// Load reads documents; those that are gone are left out.
	Load(ctx context.Context, refs []index.Ref) ([]index.Document, error)
	// Walk returns some of all documents, those behind a place, and the place
	// where to go on; "" at the end.
	Walk(ctx context.Context, after string) (docs []index.Document, next string, err error)
}

const (
	// linger lets changes gather: many in one batch cost less than one by one. A
	// search that waits does not.
	linger = 500 * time.Millisecond
	// rest is how long an index pauses for each span that it worked while nobody
	// waits, so that filling it takes no more than a part of one processor.
	rest = 2
	// page is how many events are read at once.
	page = 500
	// again is the pause behind a failure, such as a full disk.
	again = 5 * time.Second
	// poll finds what a lost wake-up would have told.
	poll = 5 * time.Second
	// keepAfter is how many events that concern no document are read again after
	// a restart, at most.
	keepAfter = 1000
)

// follower keeps an index up to a room's log. It alone writes to the index.
type follower struct {
	index *index.Index
	db    store.DB
	feed  Feed
	log   *slog.Logger

	mu      sync.Mutex
	at      index.State   // what the index has; not Begun: to be asked
	losses  int           // how often at was found wrong
	moved   chan struct{} // closed and made anew when at changes
	waiting int           // searches that wait
	hurry   chan struct{} // wakes the follower for one
}

func newFollower(x *index.Index, db store.DB, feed Feed, log *slog.Logger) *follower {
	return &follower{index: x, db: db, feed: feed, log: log, moved: make(chan struct{}), hurry: make(chan struct{}, 1)}
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	wake, stop := f.db.Watch(f.feed.Topic())
	defer stop()
	for {
		err := f.catchUp(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, index.ErrReplaced):
			f.lost() // a search found the file damaged
		case err != nil:
			f.log.Warn("search index could not be brought up to date, will be tried again", "topic", f.feed.Topic(), "error", err)
			f.lost()
			f.sleep(ctx, again, nil)
		case f.sleep(ctx, poll, wake):
			f.sleep(ctx, linger, nil)
		}
	}
}

// sleep waits for as long, until wake receives (it then says true), or until a
// search waits.
func (f *follower) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool) {
	if d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-f.hurry:
	case <-wake:
		return true
	}
	return false
}

// catchUp brings the index up to the end of the log, and makes it tidy.
func (f *follower) catchUp(ctx context.Context) error {
	for {
		began := time.Now()
		did, err := f.step(ctx)
		if err != nil || did == nothing {
			return err
		}
		f.mu.Lock()
		waiting := f.waiting
		f.mu.Unlock()
		if waiting == 0 && did != urgent {
			f.sleep(ctx, rest*time.Since(began), nil)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// What a step has done.
type progress int

const (
	nothing progress = iota // there is nothing left to do
	some
	urgent // and the log might drop what comes next, if it is not taken soon
)

// step does one batch of what there is to do: first what the log says, then a
// part of what was there before it.
func (f *follower) step(ctx context.Context) (did progress, err error) {
	f.mu.Lock()
	at, losses := f.at, f.losses
	f.mu.Unlock()
	if !at.Begun { // the first step, or one behind a failure: what the index has is what counts
		if at, err = f.index.State(ctx); err != nil {
			return nothing, err
		}
	}
	set := func(at index.State) { f.set(at, losses) }
	entries, head, err := f.read(ctx, at.Seq)
	if err != nil {
		return nothing, err
	}
	if !holds(at, head) {
		f.lost()
		return some, f.beginAgain(ctx, head)
	}
	if len(entries) > 0 {
		if at, err = f.replay(ctx, at, head, entries); err != nil {
			return nothing, err
		}
		set(at)
		did = some
		if head.First > 1 && at.Seq-head.First < (head.Last-head.First)/2 {
			did = urgent
		}
	}
	switch {
	case at.Walking:
		docs, next, err := f.feed.Walk(ctx, at.Walked)
		if err != nil {
			return nothing, err
		}
		at.Walking, at.Walked = next != "", next
		if err := f.index.Apply(ctx, index.Batch{Put: docs, State: at}); err != nil {
			return nothing, err
		}
		set(at)
		return max(did, some), nil
	case did != nothing:
		return did, nil
	}
	set(at) // it has all that a search waits for
	if at.Tidy {
		return nothing, nil
	}
	more, err := f.index.Tidy(ctx)
	if err != nil || more {
		return some, err
	}
	at.Tidy = true
	if err := f.index.Apply(ctx, index.Batch{State: at}); err != nil {
		return nothing, err
	}
	set(at)
	return some, nil
}

// beginAgain empties the index. Walking begins at the present end of the log: what
// changes meanwhile comes behind it.
func (f *follower) beginAgain(ctx context.Context, head store.Head) error {
	if err := f.index.Reset(); err != nil {
		return err
	}
	at, err := f.index.State(ctx)
	if err != nil {
		return err
	}
	return f.index.Apply(ctx, index.Batch{State: index.State{File: at.File, Begun: true, Epoch: head.Epoch, Seq: head.Last, Walking: true}})
}

// replay brings the index from a place in the log to behind the entries.
func (f *follower) replay(ctx context.Context, at index.State, head store.Head, entries []store.Entry) (index.State, error) {
	b, err := f.batch(ctx, at, entries)
	if err != nil {
		return at, err
	}
	stored := at.Seq
	at.Epoch, at.Seq = head.Epoch, entries[len(entries)-1].Seq
	if b.State = at; len(b.Put)+len(b.Gone)+len(b.Scopes) == 0 && at.Seq/keepAfter == stored/keepAfter {
		return at, nil // not worth a write
	}
	return at, f.index.Apply(ctx, b)
}

// holds says whether the log goes on right behind what the index has.
func holds(at index.State, head store.Head) bool {
	if at.Seq == 0 && at.Epoch == 0 {
		return at.Begun && head.First <= 1 // the log was empty
	}
	return at.Begun && at.Epoch == head.Epoch && at.Seq <= head.Last && at.Seq+1 >= head.First
}

func (f *follower) read(ctx context.Context, after uint64) (entries []store.Entry, head store.Head, err error) {
	err = f.db.View(ctx, func(r store.Reader) error {
		var read []store.Entry
		read, head = r.Log(f.feed.Topic(), after, page)
		entries = make([]store.Entry, len(read))
		for i, e := range read {
			entries[i] = store.Entry{Seq: e.Seq, Event: append([]byte(nil), e.Event...)}
		}
		return nil
	})
	return entries, head, err
}

// batch is what the index, which stands at a place, lacks of documents that the
// events behind it are about.
func (f *follower) batch(ctx context.Context, at index.State, entries []store.Entry) (b index.Batch, err error) {
	changes, err := f.feed.Changed(entries)
	if err != nil {
		return b, err
	}
	var refs []index.Ref
	listed := map[index.Ref]bool{}
	list := func(ref index.Ref) {
		if !listed[ref] {
			listed[ref] = true
			refs = append(refs, ref)
		}
	}
	whole := map[string]bool{} // scopes that were looked at, and whether they are to be compared
	for _, c := range changes {
		if _, seen := whole[c.Scope]; c.Whole {
			whole[c.Scope] = true
		} else if c.Adopt && !seen {
			known, err := f.index.Known(ctx, c.Scope)
			if err != nil {
				return b, err
			}
			whole[c.Scope] = len(known) == 0
		}
		if c.Name != "" {
			list(c.Ref)
		}
	}
	for scope, all := range whole {
		if !all {
			continue
		}
		changed, err := f.compare(ctx, scope, &b)
		if err != nil {
			return b, err
		}
		for _, ref := range changed {
			list(ref)
		}
	}
	return b, f.load(ctx, at, refs, &b)
}

// compare finds what has changed in a scope, and notes what is gone.
func (f *follower) compare(ctx context.Context, scope string, b *index.Batch) (changed []index.Ref, err error) {
	now, err := f.feed.Names(ctx, scope)
	if err != nil {
		return nil, err
	}
	if len(now) == 0 {
		b.Scopes = append(b.Scopes, scope)
		return nil, nil
	}
	had, err := f.index.Known(ctx, scope)
	if err != nil {
		return nil, err
	}
	for name, stamp := range now {
		if old, ok := had[name]; !ok || old != stamp {
			changed = append(changed, index.Ref{Scope: scope, Name: name})
		}
	}
	for name := range had {
		if _, ok := now[name]; !ok {
			b.Gone = append(b.Gone, index.Ref{Scope: scope, Name: name})
		}
	}
	return changed, nil
}

// loadStep is how many documents are read at once, batchBytes the text of one
// batch behind which it is written before the rest.
const (
	loadStep   = 64
	batchBytes = 1 << 20
)

// load reads documents into a batch. What would make it too large is written
// ahead, without moving on: a crash then only has it written again.
func (f *follower) load(ctx context.Context, at index.State, refs []index.Ref, b *index.Batch) error {
	size := 0
	for len(refs) > 0 {
		some := refs[:min(loadStep, len(refs))]
		refs = refs[len(some):]
		docs, err := f.feed.Load(ctx, some)
		if err != nil {
			return err
		}
		found := make(map[index.Ref]bool, len(docs))
		for _, d := range docs {
			found[d.Ref] = true
			size += len(d.Text)
		}
		for _, ref := range some {
			if !found[ref] {
				b.Gone = append(b.Gone, ref)
			}
		}
		b.Put = append(b.Put, docs...)
		if size < batchBytes || len(refs) == 0 {
			continue
		}
		b.State = at
		if err := f.index.Apply(ctx, *b); err != nil {
			return err
		}
		*b, size = index.Batch{}, 0
	}
	return nil
}

// lost says that the index is not what was thought.
func (f *follower) lost() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.losses++
	f.at = index.State{}
}

// set says what the index has, unless it was lost since losses were counted.
func (f *follower) set(at index.State, losses int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.losses != losses {
		return
	}
	f.at = at
	close(f.moved)
	f.moved = make(chan struct{})
}

// await waits until the index has all that the log has now, as long as ctx
// lasts, and says whether it has.
func (f *follower) await(ctx context.Context) (bool, error) {
	_, head, err := f.read(ctx, 1<<62)
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	f.waiting++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}()
	for {
		f.mu.Lock()
		at, moved := f.at, f.moved
		f.mu.Unlock()
		if at.Begun && !at.Walking && at.Seq >= head.Last && (at.Epoch == head.Epoch || head.Epoch == 0) {
			return true, nil
		}
		select {
		case f.hurry <- struct{}{}:
		default: // it is told already
		}
		select {
		case <-moved:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return false, nil
			}
			return false, ctx.Err()
		}
	}
}
