package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

// world is a room over a store, with what other rooms keep made up.
type world struct {
	*Room
	t    *testing.T
	db   store.DB
	rest *rest

	mu    sync.Mutex
	clock time.Time
	ids   int
}

// rest is the other rooms: they forget a session when they are told to.
type rest struct {
	mu      sync.Mutex
	fails   int // how often they fail first
	forgot  []string
	changed chan struct{}
}

func (r *rest) DeleteSession(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails > 0 {
		r.fails--
		return errors.New("not now")
	}
	r.forgot = append(r.forgot, id)
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return nil
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "main.db"), Limits: store.MainLimits, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, db: storetest.RunTwice(db), rest: &rest{changed: make(chan struct{}, 1)}, clock: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	w.open(change...)
	return w
}

// open opens the room, again if it was closed.
func (w *world) open(change ...func(*Options)) {
	o := Options{DB: w.db, Now: w.now, NewID: w.newID, Version: "v", Log: slog.New(slog.DiscardHandler), retry: time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	w.Room = Open(o)
	w.Join(w.rest, nil)
	room := w.Room
	w.t.Cleanup(func() {
		if err := room.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
}

// now is a second later each time.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(time.Second)
	return w.clock
}

func (w *world) newID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return fmt.Sprintf("id-%d", w.ids)
}

// got is the value of a call that must succeed.
func got[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) create(name, typ string) *antv1.Session {
	w.t.Helper()
	return got(w.CreateSession(w.t.Context(), &antv1.CreateSessionRequest{Name: name, Type: typ}))(w.t)
}

func (w *world) get(ref string) *antv1.Session {
	w.t.Helper()
	return got(w.GetSession(w.t.Context(), &antv1.GetSessionRequest{Id: ref}))(w.t)
}

func (w *world) update(q *antv1.UpdateSessionRequest) *antv1.Session {
	w.t.Helper()
	return got(w.UpdateSession(w.t.Context(), q))(w.t)
}

func (w *world) archive(id string) { w.update(&antv1.UpdateSessionRequest{Id: id, Archived: yes}) }

func (w *world) delete(id string, hard bool) {
	w.t.Helper()
	got(w.DeleteSession(w.t.Context(), &antv1.DeleteSessionRequest{Id: id, Hard: hard}))(w.t)
}

func (w *world) restore(id string) *antv1.Session {
	w.t.Helper()
	return got(w.RestoreSession(w.t.Context(), &antv1.RestoreSessionRequest{Id: id}))(w.t)
}

func (w *world) names() (live, gone []string) {
	w.t.Helper()
	l := got(w.ListSessions(w.t.Context(), &antv1.ListSessionsRequest{}))(w.t)
	for _, s := range l.Sessions {
		live = append(live, s.Name)
	}
	for _, s := range l.Recoverable {
		gone = append(gone, s.Name)
	}
	return live, gone
}

func (w *world) wantNames(live, gone string) {
	w.t.Helper()
	l, g := w.names()
	if fmt.Sprint(l) != live || fmt.Sprint(g) != gone {
		w.t.Errorf("live %v, recoverable %v; want %s and %s", l, g, live, gone)
	}
}

// events are the names of what was told since a seq, and the last seq.
func (w *world) events(after uint64) (names []string, last uint64) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(rd store.Reader) error {
		entries, head := rd.Log(feed.Topic, after, 1000)
		last = head.Last
		for _, e := range entries {
			var ev antv1.Event
			if err := proto.Unmarshal(e.Event, &ev); err != nil {
				return err
			}
			which := ev.ProtoReflect().WhichOneof(ev.ProtoReflect().Descriptor().Oneofs().ByName("event"))
			names = append(names, fmt.Sprintf("%s %s %v", which.Name(), ev.SessionId, ev.GetSessionsChanged().GetRemovedIds()))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return names, last
}

func wantReason(t *testing.T, what string, err error, reason string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Reason != reason {
		t.Errorf("%s: %v, want %s", what, err, reason)
	}
}

var (
	yes  = structpb.NewBoolValue(true)
	no   = structpb.NewBoolValue(false)
	null = structpb.NewNullValue()
)

func text(s string) *structpb.Value { return structpb.NewStringValue(s) }

// forgotten waits until the other rooms have forgotten these sessions.
func (w *world) forgotten(ids ...string) {
	w.t.Helper()
	for {
		w.rest.mu.Lock()
		missing := slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(w.rest.forgot, id) })
		w.rest.mu.Unlock()
		if !missing {
			return
		}
		select {
		case <-w.rest.changed:
		case <-w.t.Context().Done():
			w.t.Fatal("not forgotten")
		}
	}
}
