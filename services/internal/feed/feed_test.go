package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

// bench is a feed over a store and the messages of its rooms.
type bench struct {
	t    *testing.T
	db   store.DB
	feed *feed.Feed
	*messages
}

// messages stand in for the room that keeps them.
type messages struct {
	mu     sync.Mutex
	rows   map[feed.Ref]string
	before func(refs []feed.Ref) // runs first
}

// Messages implements feed.Messages.
func (m *messages) Messages(_ context.Context, refs []feed.Ref) ([]*antv1.MessageCreated, error) {
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		before(refs)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*antv1.MessageCreated, len(refs))
	for i, r := range refs {
		if text, ok := m.rows[r]; ok {
			out[i] = &antv1.MessageCreated{Id: r.ID, Content: text, Meta: `{"of":"` + r.ID + `"}`}
		}
	}
	return out, nil
}

func (m *messages) set(room, id, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[feed.Ref{Room: room, ID: id}] = text
}

func (m *messages) remove(room, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, feed.Ref{Room: room, ID: id})
}

func open(t *testing.T) *bench {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "test.db"), Limits: store.MainLimits})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, messages: &messages{rows: map[feed.Ref]string{}}}
	b.feed = feed.Open(feed.Options{DB: db, Messages: b.messages, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := errors.Join(b.feed.Close(context.Background()), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func created(room, id string) *antv1.Event {
	return &antv1.Event{SessionId: room, Event: &antv1.Event_MessageCreated{MessageCreated: &antv1.MessageCreated{Id: id}}}
}

func pinned(room, id string) *antv1.Event {
	return &antv1.Event{SessionId: room, Event: &antv1.Event_MessagePinned{MessagePinned: &antv1.MessagePinned{Id: id}}}
}

func typing(room, who string) *antv1.Event {
	return &antv1.Event{SessionId: room, Event: &antv1.Event_Typing{Typing: &antv1.Typing{Handle: who, Typing: true}}}
}

func (b *bench) add(list ...*antv1.Event) {
	b.t.Helper()
	for _, e := range list {
		if err := b.db.Update(context.Background(), func(tx store.Tx) error { return feed.Append(tx, e) }); err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) trim(keep uint64) {
	b.t.Helper()
	for {
		var head store.Head
		err := b.db.Update(context.Background(), func(tx store.Tx) error {
			tx.Trim(feed.Topic, keep)
			_, head = tx.Log(feed.Topic, 0, 0)
			return nil
		})
		if err != nil {
			b.t.Fatal(err)
		}
		if head.Last+1-head.First <= keep {
			return
		}
	}
}

func (b *bench) head() events.Cursor {
	b.t.Helper()
	at, err := b.feed.Head(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return at
}

// tape is what one follower has seen.
type tape struct {
	t    *testing.T
	got  chan *antv1.Event
	stop func() error
}

func (b *bench) follow(since *events.Cursor, filter feed.Filter) *tape {
	return b.followBy(since, filter, nil)
}

// followBy lets hold run before each batch is taken.
func (b *bench) followBy(since *events.Cursor, filter feed.Filter, hold func(context.Context)) *tape {
	ctx, cancel := context.WithCancel(b.t.Context())
	tp := &tape{t: b.t, got: make(chan *antv1.Event, 100_000)}
	ended := make(chan error, 1)
	go func() {
		ended <- b.feed.Follow(ctx, since, filter, func(list []*antv1.Event) error {
			if hold != nil {
				hold(ctx)
			}
			for _, e := range list {
				tp.got <- e
			}
			return nil
		})
	}()
	tp.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	b.t.Cleanup(func() {
		if err := tp.stop(); !errors.Is(err, context.Canceled) {
			b.t.Errorf("a follower ended with %v", err)
		}
	})
	return tp
}

func (tp *tape) next() *antv1.Event {
	tp.t.Helper()
	select {
	case e := <-tp.got:
		return e
	case <-tp.t.Context().Done():
		tp.t.Fatal("no event came")
		return nil
	}
}

// say is an event in words.
func say(e *antv1.Event) string {
	switch v := e.Event.(type) {
	case *antv1.Event_Ready:
		return fmt.Sprintf("%d ready", e.Seq)
	case *antv1.Event_Resync:
		return fmt.Sprintf("%d resync %d", e.Seq, v.Resync.OldestSeq)
	case *antv1.Event_MessageCreated:
		return fmt.Sprintf("%d created %s %s", e.Seq, v.MessageCreated.Id, v.MessageCreated.Content)
	case *antv1.Event_MessageUpdated:
		return fmt.Sprintf("%d updated %s %s", e.Seq, v.MessageUpdated.Id, v.MessageUpdated.Meta)
	case *antv1.Event_MessagePinned:
		return fmt.Sprintf("%d pinned %s", e.Seq, v.MessagePinned.Id)
	case *antv1.Event_Typing:
		return fmt.Sprintf("%d typing %s", e.Seq, v.Typing.Handle)
	case *antv1.Event_SessionsChanged:
		return fmt.Sprintf("%d sessions", e.Seq)
	case *antv1.Event_SessionActivity:
		return fmt.Sprintf("%d activity", e.Seq)
	}
	return fmt.Sprintf("%d %T", e.Seq, e.Event)
}

func (tp *tape) want(want ...string) {
	tp.t.Helper()
	for _, w := range want {
		if got := say(tp.next()); got != w {
			tp.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

var everything = feed.Filter{All: true, Sessions: true}

func TestLateAndLiveFollowersSeeTheSame(t *testing.T) {
	b := open(t)
	b.set("r", "m1", "one")
	early := b.follow(nil, everything)
	early.want("0 ready")
	b.add(created("r", "m1"), pinned("r", "m1"))
	early.want("1 created m1 one", "2 pinned m1")

	late := b.follow(&events.Cursor{}, everything)
	late.want("0 ready", "1 created m1 one", "2 pinned m1")
	middle := b.follow(&events.Cursor{Seq: 1, Epoch: b.head().Epoch}, everything)
	middle.want("1 ready", "2 pinned m1")
	now := b.follow(nil, everything)
	now.want("2 ready")
	b.add(pinned("r", "m1"))
	for _, tp := range []*tape{early, late, middle, now} {
		tp.want("3 pinned m1")
	}
}

// Followers come, with all kinds of cursors, while many write: each must see
// every event behind its cursor once and in order, however it met the hub.
func TestHandOverUnderLoad(t *testing.T) {
	b := open(t)
	const writers, each, rooms = 4, 250, 3
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				b.add(pinned(fmt.Sprint(i%rooms), fmt.Sprint(w)))
			}
		})
	}
	type begun struct {
		tape   *tape
		since  uint64
		filter feed.Filter
	}
	var all []begun
	for i := range 60 {
		at := b.head()
		filter := everything
		if i%2 == 1 {
			filter = feed.Filter{Rooms: map[string]bool{fmt.Sprint(i % rooms): true}}
		}
		since := &events.Cursor{Seq: at.Seq * uint64(i%4) / 3, Epoch: at.Epoch}
		if since.Seq > at.Seq {
			since = nil
		}
		tp := b.follow(since, filter)
		first := tp.next()
		all = append(all, begun{tp, first.Seq, filter})
	}
	writing.Wait()
	page := feed.Page{}
	var log []*antv1.Event
	for !page.End {
		var err error
		if page, err = b.feed.Read(t.Context(), page.At, everything, 100); err != nil {
			t.Fatal(err)
		}
		log = append(log, page.Events...)
	}
	if len(log) != writers*each {
		t.Fatalf("the log has %d events", len(log))
	}
	for i, f := range all {
		for _, e := range log[f.since:] {
			if !f.filter.All && !f.filter.Rooms[e.SessionId] {
				continue
			}
			if got := f.tape.next(); got.Seq != e.Seq {
				t.Fatalf("follower %d from %d got event %d, want %d", i, f.since, got.Seq, e.Seq)
			}
		}
		if len(f.tape.got) > 0 {
			t.Errorf("follower %d got more than there was", i)
		}
	}
}

// An event comes between the reading of the last page and the attempt to meet
// the hub, which has passed it on by then.
func TestHandOverWhenTheHubIsAhead(t *testing.T) {
	b := open(t)
	b.set("r", "m", "text")
	early := b.follow(nil, everything)
	early.want("0 ready")
	b.add(created("r", "m"))
	early.want("1 created m text")
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.mu.Lock()
	b.before = func([]feed.Ref) { once.Do(func() { close(reading); <-goOn }) }
	b.mu.Unlock()
	late := b.follow(&events.Cursor{}, everything)
	<-reading // it has read the log, of one event
	b.add(pinned("r", "between"))
	early.want("2 pinned between")
	close(goOn)
	late.want("0 ready", "1 created m text", "2 pinned between")
	b.add(pinned("r", "after"))
	late.want("3 pinned after")
}

func TestSlowFollowerLosesOnlyAnnouncements(t *testing.T) {
	b := open(t)
	gate := make(chan struct{})
	var passed atomic.Int32
	slow := b.followBy(nil, everything, func(ctx context.Context) {
		if passed.Add(1) <= 2 {
			return // it is live, and has seen an event, before it is held up
		}
		select {
		case <-gate:
		case <-ctx.Done():
		}
	})
	quick := b.follow(nil, everything)
	slow.want("0 ready") // they begin before there is anything
	quick.want("0 ready")
	b.add(pinned("r", "first"))
	quick.want("1 pinned first")
	slow.want("1 pinned first")
	text := strings.Repeat("x", 200<<10)
	const n = 100 // five times what may wait
	for i := range n {
		id := fmt.Sprint(i)
		b.set("r", id, text)
		b.add(created("r", id))
		b.feed.Announce(typing("r", id))
		for {
			if e := quick.next(); e.Seq == uint64(i+2) {
				break
			}
		}
	}
	close(gate)
	for i := range n {
		e := slow.next()
		for e.Seq == 0 {
			e = slow.next()
		}
		if e.Seq != uint64(i+2) || e.GetMessageCreated().GetContent() != text {
			t.Fatalf("got event %d, want %d", e.Seq, i+2)
		}
	}
	b.add(pinned("r", "live"))
	slow.want("102 pinned live")
}

func TestWhatIsDeletedDoesNotReappear(t *testing.T) {
	b := open(t)
	b.set("r", "a", "secret")
	b.set("r", "b", "kept")
	updated := &antv1.Event{SessionId: "r", Event: &antv1.Event_MessageUpdated{MessageUpdated: &antv1.MessageUpdated{Id: "a", Meta: "{}"}}}
	b.add(created("r", "a"), created("r", "b"), updated)
	b.follow(&events.Cursor{}, everything).want("0 ready", "1 created a secret", "2 created b kept", `3 updated a {"of":"a"}`)
	b.remove("r", "a")
	b.follow(&events.Cursor{}, everything).want("0 ready", "2 created b kept")
	err := b.db.View(t.Context(), func(r store.Reader) error {
		entries, _ := r.Log(feed.Topic, 0, 10)
		for _, e := range entries {
			if strings.Contains(string(e.Event), "secret") || strings.Contains(string(e.Event), "{}") {
				t.Error("the log keeps what a message says")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCursorsThatDoNotHold(t *testing.T) {
	b := open(t)
	for range 6 {
		b.add(pinned("r", "x"))
	}
	b.trim(3)
	epoch := b.head().Epoch
	for name, c := range map[string]events.Cursor{
		"trimmed": {Seq: 1, Epoch: epoch}, "from the first": {}, "ahead": {Seq: 99, Epoch: epoch}, "other epoch": {Seq: 4, Epoch: epoch + 1},
	} {
		t.Run(name, func(t *testing.T) {
			tp := b.follow(&c, everything)
			tp.want(fmt.Sprintf("%d ready", c.Seq), "3 resync 4", "4 pinned x", "5 pinned x", "6 pinned x")
		})
	}
	b.follow(&events.Cursor{Seq: 3, Epoch: epoch}, everything).want("3 ready", "4 pinned x")
	b.follow(&events.Cursor{Seq: 5}, everything).want("5 ready", "6 pinned x")
}

func TestFilters(t *testing.T) {
	b := open(t)
	sessions := func(everyone bool) *antv1.Event {
		return &antv1.Event{Event: &antv1.Event_SessionsChanged{SessionsChanged: &antv1.SessionsChanged{Everyone: everyone}}}
	}
	b.add(pinned("a", "1"), pinned("b", "2"), sessions(false), sessions(true),
		&antv1.Event{SessionId: "b", Event: &antv1.Event_SessionActivity{SessionActivity: &antv1.SessionActivity{}}})
	for name, c := range map[string]struct {
		filter feed.Filter
		want   []string
	}{
		"nothing":  {feed.Filter{}, []string{"4 sessions", "5 activity"}},
		"a room":   {feed.Filter{Rooms: map[string]bool{"a": true}}, []string{"1 pinned 1", "4 sessions", "5 activity"}},
		"a guest":  {feed.Filter{Guest: true, Rooms: map[string]bool{"a": true}}, []string{"1 pinned 1"}},
		"the list": {feed.Filter{Sessions: true}, []string{"3 sessions", "4 sessions", "5 activity"}},
		"rooms":    {feed.Filter{All: true}, []string{"1 pinned 1", "2 pinned 2", "4 sessions", "5 activity"}},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := b.feed.Read(t.Context(), events.Cursor{}, c.filter, 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range page.Events {
				got = append(got, say(e))
			}
			if !slices.Equal(got, c.want) || !page.End || page.At.Seq != 5 {
				t.Errorf("got %q to %d, want %q", got, page.At.Seq, c.want)
			}
		})
	}
}

func TestAnnouncementsAreNotKept(t *testing.T) {
	b := open(t)
	tp := b.follow(nil, feed.Filter{Rooms: map[string]bool{"r": true}})
	tp.want("0 ready")
	b.add(pinned("r", "x"))
	tp.want("1 pinned x") // it is live now
	b.feed.Announce(typing("other", "@b"))
	b.feed.Announce(typing("r", "@a"))
	tp.want("0 typing @a")
	err := b.db.Update(t.Context(), func(tx store.Tx) error { return feed.Append(tx, typing("r", "@a")) })
	if err == nil {
		t.Error("an announcement went into the log")
	}
	if got := b.head().Seq; got != 1 {
		t.Errorf("the log has %d events", got)
	}
}

func TestCloseEndsFollowers(t *testing.T) {
	b := open(t)
	ended := make(chan error, 1)
	ready := make(chan struct{}, 1)
	go func() {
		ended <- b.feed.Follow(context.Background(), nil, everything, func([]*antv1.Event) error { ready <- struct{}{}; return nil })
	}()
	<-ready
	if err := b.feed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}
