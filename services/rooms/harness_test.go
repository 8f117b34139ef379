package rooms_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
	"anthill/services/rooms"
)

// house is a room over a real store, with sessions and terminals that the test
// decides about.
type house struct {
	t        testing.TB
	path     string
	main     *bolt.DB
	bulk     *bolt.DB
	room     *rooms.Room
	sessions *fakeSessions
	screens  *fakeTerminals

	mu  sync.Mutex
	now time.Time
	ids int
}

type fakeSessions struct {
	mu  sync.Mutex
	all map[string]*rooms.Session
}

func (f *fakeSessions) Find(_ store.Reader, ref string) (*rooms.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.all[ref]; s != nil {
		return new(*s), nil
	}
	for _, s := range f.all {
		if ref != "" && s.Handle == "@"+strings.TrimPrefix(ref, "@") && !s.Archived && !s.Deleted {
			return new(*s), nil
		}
	}
	return nil, nil
}

func (f *fakeSessions) LinkedTerminals(_ store.Reader, chat string) (out []*rooms.Session, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.all {
		if s.LinkedChatID == chat && !s.Archived && !s.Deleted {
			out = append(out, new(*s))
		}
	}
	return out, nil
}

func (f *fakeSessions) Touch(store.Tx, string, time.Time) error { return nil }

func (f *fakeSessions) SpawnChat(_ store.Tx, c rooms.Spawn) (*rooms.Session, error) {
	s := rooms.Session{ID: c.ID, Name: c.Name, Type: "chat"}
	f.put(s)
	return &s, nil
}

func (f *fakeSessions) put(s rooms.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[s.ID] = &s
}

type fakeTerminals struct {
	mu      sync.Mutex
	live    map[string]bool
	working map[string]bool
	fail    map[string]bool
	typed   map[string][]rooms.Injection
	refuse  map[string]*rooms.Undelivered // of what is not raw
	block   map[string]chan struct{}
	took    chan rooms.Injection
	looks   int // calls of Deliver
}

func (f *fakeTerminals) Live(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live[id]
}

func (f *fakeTerminals) Working(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.working[id]
}

func (f *fakeTerminals) Deliver(ctx context.Context, i rooms.Injection) error {
	f.mu.Lock()
	gate, fail, refuse := f.block[i.Terminal], f.fail[i.Terminal], f.refuse[i.Terminal]
	f.looks++
	f.mu.Unlock()
	if refuse != nil && !i.Raw {
		return refuse
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail {
		return errors.New("the screen did not take it")
	}
	f.mu.Lock()
	f.typed[i.Terminal] = append(f.typed[i.Terminal], i)
	f.mu.Unlock()
	f.took <- i
	return nil
}

func (f *fakeTerminals) set(m map[string]bool, id string, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m[id] = on
}

func newHouse(t testing.TB, screens bool) *house {
	t.Helper()
	h := &house{t: t, path: t.TempDir(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		sessions: &fakeSessions{all: map[string]*rooms.Session{}}}
	if screens {
		h.screens = &fakeTerminals{live: map[string]bool{}, working: map[string]bool{}, fail: map[string]bool{},
			typed: map[string][]rooms.Injection{}, refuse: map[string]*rooms.Undelivered{}, block: map[string]chan struct{}{}, took: make(chan rooms.Injection, 1000)}
	}
	h.start()
	t.Cleanup(h.stop)
	return h
}

func (h *house) start() {
	h.t.Helper()
	var err error
	log := slog.New(slog.DiscardHandler)
	if h.main, err = bolt.Open(bolt.Options{Path: filepath.Join(h.path, "main.db"), Limits: store.MainLimits, Logger: log}); err != nil {
		h.t.Fatal(err)
	}
	if h.bulk, err = bolt.Open(bolt.Options{Path: filepath.Join(h.path, "bulk.db"), Limits: store.BulkLimits, Logger: log}); err != nil {
		h.t.Fatal(err)
	}
	db := store.DB(h.main)
	if _, bench := h.t.(*testing.B); !bench {
		db = storetest.RunTwice(db)
	}
	h.room = rooms.Open(rooms.Options{Main: db, Bulk: h.bulk, Sessions: h.sessions, Now: h.clock, NewID: h.newID,
		Address: func() string { return "http://127.0.0.1:1" }, Log: log})
	if h.screens != nil {
		h.room.JoinTerminals(h.screens)
	}
}

func (h *house) stop() {
	h.t.Helper()
	if err := errors.Join(h.room.Close(context.Background()), h.main.Close(), h.bulk.Close()); err != nil {
		h.t.Error(err)
	}
}

func (h *house) restart() {
	h.t.Helper()
	h.stop()
	h.start()
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) newID() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids++
	return fmt.Sprintf("id%019d", h.ids)
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	h.now = h.now.Add(d)
	h.mu.Unlock()
}

// chat makes a chat with these terminals as members.
func (h *house) chat(id string, terminals ...string) {
	h.t.Helper()
	h.sessions.put(rooms.Session{ID: id, Name: "Room " + id, Type: "chat"})
	for _, name := range terminals {
		h.terminal(name)
		if _, err := h.room.AddParticipant(h.t.Context(), &antv1.AddParticipantRequest{RoomId: id, SessionId: name}); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) terminal(name string) {
	h.sessions.put(rooms.Session{ID: name, Name: name, Type: "terminal", Handle: "@" + name, Alias: name, AutoForward: true})
}

type req = antv1.PostMessageRequest

func (h *house) post(q *req) *antv1.PostMessageResponse {
	h.t.Helper()
	v, err := h.room.PostMessage(h.t.Context(), q)
	if err != nil {
		h.t.Fatalf("post %v: %v", q, err)
	}
	return v
}

// say posts a text into room "r".
func (h *house) say(sender, text string) *antv1.PostMessageResponse {
	h.t.Helper()
	return h.post(&req{SessionId: "r", SenderId: sender, Content: &text})
}

func (h *house) refused(reason string, q *req) {
	h.t.Helper()
	_, err := h.room.PostMessage(h.t.Context(), q)
	wantReason(h.t, err, reason)
}

func wantReason(t testing.TB, err error, reason string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Reason != reason {
		t.Errorf("got %v, want %s", err, reason)
	}
}

// routed shows what became of a message as "codex:delivered gemini:held/BRAKE_HOPS".
func routed(v *antv1.PostMessageResponse) string { return attempts(v.Deliveries) }

func attempts(list []*antv1.Delivery) string {
	var out []string
	for _, d := range list[1:] {
		s := d.TargetId + ":" + d.State
		if d.Reason != "" {
			s += "/" + d.Reason
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (h *house) deliveries(room, id string) []*antv1.Delivery {
	h.t.Helper()
	v, err := h.room.ListDeliveries(h.t.Context(), &antv1.ListDeliveriesRequest{SessionId: room, MsgId: id})
	if err != nil {
		h.t.Fatal(err)
	}
	return v.Deliveries
}

func (h *house) list(q *antv1.ListMessagesRequest) *antv1.ListMessagesResponse {
	h.t.Helper()
	v, err := h.room.ListMessages(h.t.Context(), q)
	if err != nil {
		h.t.Fatalf("list %v: %v", q, err)
	}
	return v
}

func contents(list []*antv1.Message) string {
	var out []string
	for _, m := range list {
		out = append(out, m.Content)
	}
	return strings.Join(out, " ")
}

// events are those of the feed, in short.
func (h *house) events() []string {
	h.t.Helper()
	var out []string
	err := h.main.View(h.t.Context(), func(rd store.Reader) error {
		list, _ := rd.Log(feed.Topic, 0, 100_000)
		for _, e := range list {
			ev := &antv1.Event{}
			if err := proto.Unmarshal(e.Event, ev); err != nil {
				return err
			}
			name := ev.ProtoReflect().WhichOneof(ev.ProtoReflect().Descriptor().Oneofs().ByName("event")).Name()
			out = append(out, fmt.Sprint(name))
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// keys counts what is stored, but for the log.
func (h *house) keys(db store.DB) (n int) {
	h.t.Helper()
	err := db.View(context.Background(), func(rd store.Reader) error {
		n = 0
		for range rd.Scan(store.Range{}) {
			n++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// typed waits for the next text that a terminal takes.
func (h *house) typed() rooms.Injection {
	h.t.Helper()
	select {
	case i := <-h.screens.took:
		return i
	case <-h.t.Context().Done():
		h.t.Fatal("nothing was typed")
		return rooms.Injection{}
	}
}
