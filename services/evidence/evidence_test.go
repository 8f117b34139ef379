package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
	"anthill/services/internal/wire"
)

// house is a room over a real store, with sessions that the test decides about.
type house struct {
	t    *testing.T
	db   store.DB
	room *Room
	now  time.Time

	mu  sync.Mutex
	all map[string]*Session
}

// Find implements Sessions.
func (h *house) Find(_ store.Reader, ref string) (*Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[ref], nil
}

// LinkedTerminals implements Sessions.
func (h *house) LinkedTerminals(_ store.Reader, chat string) ([]*Session, error) {
	if chat != "chat" {
		return nil, nil
	}
	return []*Session{h.all["term"]}, nil
}

func open(t *testing.T, keep int) *house {
	t.Helper()
	d, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "store.db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{t: t, db: storetest.RunTwice(d), now: time.UnixMilli(1_800_000_000_000),
		all: map[string]*Session{"term": {ID: "term", Terminal: true}, "chat": {ID: "chat"}, "gone": {ID: "gone", Deleted: true}}}
	h.room = Open(Options{DB: h.db, Sessions: h, Now: func() time.Time { return h.now }, Keep: keep})
	return h
}

func (h *house) add(e Event) *antv1.RunEvent {
	h.t.Helper()
	if e.Source == "" {
		e.Source, e.Trust, e.Kind = "terminal", "raw", "message"
	}
	v, err := h.room.Append(h.t.Context(), e)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *house) list(q *antv1.ListRunEventsRequest) (ids string) {
	h.t.Helper()
	v, err := h.room.ListRunEvents(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, e := range v.Events {
		out = append(out, fmt.Sprint(e.Id))
	}
	return strings.Join(out, " ")
}

func zero() *uint32 { return new(uint32) }

func TestOldEventsGo(t *testing.T) {
	h := open(t, 5)
	for i := range 12 {
		h.add(Event{Session: "chat", Key: fmt.Sprint("k", i), Text: "x"})
	}
	if got := h.list(&antv1.ListRunEventsRequest{SessionId: "term", After: zero()}); got != "8 9 10 11 12" {
		t.Errorf("kept %s", got)
	}
	// A key goes with its event, and so it can come again.
	if e := h.add(Event{Session: "term", Key: "k11"}); e.Id != 12 {
		t.Errorf("a key that is kept gave %d", e.Id)
	}
	if e := h.add(Event{Session: "term", Key: "k0"}); e.Id != 13 {
		t.Errorf("a key that went gave %d", e.Id)
	}
	// What is gone is no longer told of.
	found, err := h.room.RunEvents(t.Context(), []feed.RunRef{{Room: "term", ID: 1}, {Room: "term", ID: 13}, {Room: "nowhere", ID: 1}})
	if err != nil || found[0] != nil || found[1].GetId() != 13 || found[2] != nil {
		t.Errorf("found %v, %v", found, err)
	}
	if err := h.room.DeleteSession(t.Context(), "term"); err != nil {
		t.Fatal(err)
	}
	left := 0
	err = h.db.View(t.Context(), func(r store.Reader) error {
		for k := range r.Scan(store.Range{}) {
			if strings.Contains(string(k), "ant_run") {
				left++
			}
		}
		return nil
	})
	if err != nil || left != 0 {
		t.Errorf("%d rows are left: %v", left, err)
	}
}

// A session that had more than it may have now gets back to it in small steps.
func TestPruningIsInSteps(t *testing.T) {
	h := open(t, 100)
	for range 100 {
		h.add(Event{Session: "term"})
	}
	h.room.opt.Keep = 10
	h.add(Event{Session: "term"})
	if got := strings.Fields(h.list(&antv1.ListRunEventsRequest{SessionId: "term", After: zero()})); len(got) != 101-pruneStep {
		t.Errorf("%d are left after one step", len(got))
	}
	for range 9 {
		h.add(Event{Session: "term"})
	}
	if got := strings.Fields(h.list(&antv1.ListRunEventsRequest{SessionId: "term", After: zero()})); len(got) != 10 {
		t.Errorf("%d are left", len(got))
	}
}

func TestTimesNeverGoBack(t *testing.T) {
	h := open(t, 0)
	first := h.add(Event{Session: "term"})
	h.now = h.now.Add(-time.Hour)
	if e := h.add(Event{Session: "term"}); e.TsMs != first.TsMs {
		t.Errorf("went back to %v", e.Ts)
	}
	h.now = h.now.Add(3 * time.Hour)
	h.add(Event{Session: "term"})
	for since, want := range map[string]string{"": "3", "2h": "1 2 3", "1h": "3", "7199s": "3", "1800000000000": "1 2 3", "1800000000001": "3", first.Ts: "1 2 3"} {
		if got := h.list(&antv1.ListRunEventsRequest{SessionId: "term", Since: since}); got != want {
			t.Errorf("since %q: %s, want %s", since, got, want)
		}
	}
}

func TestEventsAreChecked(t *testing.T) {
	h := open(t, 0)
	good := Event{Session: "gone", Source: "json", Trust: "high", Kind: "approval_decision", Text: "a\xffb",
		Payload: json.RawMessage(" {\n\"b\" : 1.50, \"a\":[ ] } "), RawRef: json.RawMessage(`"id"`)}
	e := h.add(good) // something may end in a session that is deleted softly
	if e.Payload != `{"b":1.50,"a":[]}` || e.GetRawRef() != `"id"` || e.Text != "a\uFFFDb" || e.SessionId != "gone" {
		t.Errorf("kept %v", e)
	}
	if e := h.add(Event{Session: "term"}); e.Payload != "{}" || e.RawRef != nil {
		t.Errorf("kept %v", e)
	}
	for what, spoil := range map[string]func(*Event){
		"source": func(e *Event) { e.Source = "x" }, "trust": func(e *Event) { e.Trust = "" }, "kind": func(e *Event) { e.Kind = "" },
		"long kind": func(e *Event) { e.Kind = strings.Repeat("k", 65) }, "list": func(e *Event) { e.Payload = json.RawMessage("[]") },
		"no JSON": func(e *Event) { e.Payload = json.RawMessage("{") }, "number": func(e *Event) { e.RawRef = json.RawMessage("7") },
		"long reference": func(e *Event) { e.RawRef = json.RawMessage(`"` + strings.Repeat("x", 5000) + `"`) },
		"long key":       func(e *Event) { e.Key = strings.Repeat("k", 513) }, "no session": func(e *Event) { e.Session = "nowhere" },
	} {
		e := good
		spoil(&e)
		if v, err := h.room.Append(t.Context(), e); err == nil {
			t.Errorf("%s was kept as %v", what, v)
		}
	}
	if _, err := h.room.Append(t.Context(), Event{Session: "nowhere"}); !errors.Is(err, wire.ErrNoSession) {
		t.Errorf("an unknown session is %v", err)
	}
}

// An append is undone with the transaction that it is part of.
func TestAppendTx(t *testing.T) {
	h := open(t, 0)
	refused := errors.New("refused")
	err := h.db.Update(t.Context(), func(tx store.Tx) error {
		if _, err := h.room.AppendTx(tx, Event{Session: "term", Source: "status", Trust: "medium", Kind: "status"}); err != nil {
			return err
		}
		return refused
	})
	if !errors.Is(err, refused) || h.list(&antv1.ListRunEventsRequest{SessionId: "term", After: zero()}) != "" {
		t.Errorf("%v", err)
	}
}

// A search that fits nowhere looks at everything in several steps, and can be ended.
func TestLongSearch(t *testing.T) {
	h := open(t, 0)
	const batch = 15 // fit into a transaction
	for i := range 2*lookRows/batch + 1 {
		err := h.db.Update(t.Context(), func(tx store.Tx) error {
			for j := range batch {
				kind := "message"
				if i == 0 && j == 3 {
					kind = "rare"
				}
				if _, err := h.room.AppendTx(tx, Event{Session: "term", Source: "terminal", Trust: "raw", Kind: kind}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := h.list(&antv1.ListRunEventsRequest{SessionId: "term", Kind: "rare"}); got != "4" {
		t.Errorf("found %q", got)
	}
	if got := h.list(&antv1.ListRunEventsRequest{SessionId: "term", Kind: "rare", After: zero()}); got != "4" {
		t.Errorf("upwards found %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.room.ListRunEvents(ctx, &antv1.ListRunEventsRequest{SessionId: "term"}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
