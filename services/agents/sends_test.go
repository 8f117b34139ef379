package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
	"anthill/services/internal/terminal/paste"
)

// sendsHouse is a room with one terminal, "t", in which nothing runs.
type sendsHouse struct {
	t        *testing.T
	path     string
	db       *bolt.DB
	room     *Room
	ids      int
	evidence []Event
	woken    chan struct{}
}

func (h *sendsHouse) Find(_ store.Reader, ref string) (*Session, error) {
	if ref != "t" && ref != "@t" {
		return nil, nil
	}
	return &Session{ID: "t", Type: "terminal", Handle: "@t"}, nil
}
func (h *sendsHouse) LinkedTerminals(store.Reader, string) ([]*Session, error) { return nil, nil }
func (h *sendsHouse) SetCLIFlag(store.Tx, string, string) error                { return nil }
func (h *sendsHouse) Post(store.Tx, Card) (string, error)                      { return "", nil }
func (h *sendsHouse) Settle(store.Tx, string, string, map[string]any) error    { return nil }
func (h *sendsHouse) Focus(store.Reader, string) (*Focus, error)               { return nil, nil }
func (h *sendsHouse) Wake()                                                    { h.woken <- struct{}{} }
func (h *sendsHouse) AppendTx(_ store.Tx, e Event) (*antv1.RunEvent, error) {
	h.evidence = append(h.evidence, e)
	return nil, nil
}

func (h *sendsHouse) open() {
	h.t.Helper()
	var err error
	if h.db, err = bolt.Open(bolt.Options{Path: filepath.Join(h.path, "main.db"), Limits: store.MainLimits, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		h.t.Fatal(err)
	}
	h.room, err = Open(h.t.Context(), Options{DB: storetest.RunTwice(h.db), Folder: filepath.Join(h.path, "messages"), Sessions: h, Rooms: h, Evidence: h,
		Now: func() time.Time { return time.UnixMilli(1_000_000) }, NewID: func() string { h.ids++; return fmt.Sprintf("id%019d", h.ids) },
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *sendsHouse) close() {
	h.t.Helper()
	if err := errors.Join(h.room.Close(context.Background()), h.db.Close()); err != nil {
		h.t.Error(err)
	}
}

func newSendsHouse(t *testing.T) *sendsHouse {
	h := &sendsHouse{t: t, path: t.TempDir(), woken: make(chan struct{}, 100)}
	h.open()
	t.Cleanup(h.close)
	return h
}

// put stores a send as an earlier run left it.
func (h *sendsHouse) put(key, text string, raw bool, steps ...paste.State) string {
	h.t.Helper()
	var id string
	err := h.db.Update(h.t.Context(), func(tx store.Tx) error {
		s, err := h.room.newSend(tx, order{Terminal: "t", Key: key, Text: text, Raw: raw, Source: "api_send"}, h.room.opt.NewID())
		if err != nil {
			return err
		}
		for _, step := range steps {
			s.Driver, s.Head = "none", text
			s.step(step, h.room.opt.Now())
			if err := h.room.putSend(tx, s, text); err != nil {
				return err
			}
		}
		id = s.ID
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

func (h *sendsHouse) get(id string) *antv1.TerminalSend {
	h.t.Helper()
	v, err := h.room.GetTerminalSend(h.t.Context(), &antv1.GetTerminalSendRequest{SessionId: "@t", SendId: id})
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// TestSendsLeftByACrash: what was under way where nothing runs any more ends, and what may
// have been submitted is never said not to have been.
func TestSendsLeftByACrash(t *testing.T) {
	h := newSendsHouse(t)
	want := map[string]string{
		h.put("i:1", "a", false):                                              "failed/restarted",
		h.put("i:2", "b", false, paste.Pasting):                               "failed/dead",
		h.put("i:3", "c", false, paste.Pasting, paste.Seen):                   "failed/dead",
		h.put("i:4", "d", false, paste.Pasting, paste.Seen, paste.Submitted):  "failed/unconfirmed",
		h.put("i:5", "e", true, paste.Pasting):                                "failed/unconfirmed",
		h.put("i:6", "f", true, paste.Pasting, paste.Submitted):               "submitted/",
		h.put("i:7", "g", false, paste.Pasting, paste.Submitted, paste.Taken): "taken/",
		h.put("i:8", "h", false, paste.Pasting, paste.Failed):                 "failed/",
		h.put("i:9", strings.Repeat("x", 2000), false, paste.Pasting):         "failed/dead",
	}
	h.close()
	h.open()
	h.room.RecoverSends()
	<-h.woken
	for id, want := range want {
		v := h.get(id)
		if got := v.State + "/" + v.GetReason(); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	for key, wantErr := range map[string]string{"1": "TERMINAL_NOT_LIVE", "2": "TERMINAL_NOT_LIVE", "4": "UNCONFIRMED", "5": "UNCONFIRMED", "6": "", "7": ""} {
		err := h.room.Deliver(t.Context(), Injection{ID: key, Terminal: "t", Text: "again"})
		var u *Undelivered
		errors.As(err, &u)
		if wantErr == "" && err != nil || wantErr != "" && (u == nil || u.Reason != wantErr || u.Final != (wantErr == "UNCONFIRMED")) {
			t.Errorf("delivered again, %s: %v, want %q", key, err, wantErr)
		}
	}
	// Nothing of the texts is left.
	err := h.db.View(t.Context(), func(rd store.Reader) error {
		for row, err := range sendRows.Scan(rd, store.ScanOptions{}) {
			if err != nil || row.Head != "" || row.Driver != "" {
				t.Errorf("%+v, %v", row, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSendsAreBounded: the newest thousand are kept, and found by what they are known by.
func TestSendsAreBounded(t *testing.T) {
	h := newSendsHouse(t)
	var first, last string
	for i := range sendsKept + 20 {
		last = h.put(fmt.Sprint("k:", i), "x", false, paste.Failed)
		if i == 0 {
			first = last
		}
	}
	_, err := h.room.GetTerminalSend(t.Context(), &antv1.GetTerminalSendRequest{SessionId: "t", SendId: first})
	if f := (*fault.Error)(nil); !errors.As(err, &f) || f.Reason != "SEND_NOT_FOUND" {
		t.Errorf("the oldest: %v", err)
	}
	list, err := h.room.ListTerminalSends(t.Context(), &antv1.ListTerminalSendsRequest{SessionId: "t"})
	if err != nil || len(list.Sends) != sendsPage || list.Sends[0].Id != last {
		t.Errorf("%d sends, %v", len(list.GetSends()), err)
	}
	rows := func() (n int) {
		if err := h.db.View(t.Context(), func(rd store.Reader) error {
			n = 0
			for range rd.Scan(store.Prefix([]byte{})) {
				n++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows(); n != sendsKept*3 {
		t.Errorf("%d keys for %d sends, want a row and two entries each", n, sendsKept)
	}
	if err := h.room.deleteSends(t.Context(), "t"); err != nil || rows() != 0 {
		t.Errorf("%d keys are left, %v", rows(), err)
	}
}

// TestSendsTellEachState: each state that is stored is an event of the same transaction.
func TestSendsTellEachState(t *testing.T) {
	h := newSendsHouse(t)
	id := h.put("", "hello", false, paste.Pasting, paste.Seen, paste.Submitted, paste.Taken)
	var got []string
	err := h.db.View(t.Context(), func(rd store.Reader) error {
		got = nil
		entries, _ := rd.Log(feed.Topic, 0, 100)
		for _, e := range entries {
			v := &antv1.Event{}
			if err := proto.Unmarshal(e.Event, v); err != nil {
				return err
			}
			if s := v.GetTerminalSendUpdated().GetSend(); s.GetId() != id || v.SessionId != "t" || len(s.Steps) != len(got)+1 {
				t.Errorf("%v", v)
			}
			got = append(got, v.GetTerminalSendUpdated().GetSend().State)
		}
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[queued pasting seen submitted taken]" {
		t.Errorf("%v, %v", got, err)
	}
	e := h.evidence[0]
	if payload := e.Payload.(map[string]any); e.Kind != "prompt" || e.Text != "hello" || e.Key != "send:"+id || payload["capture_source"] != "api_send" ||
		payload["sha256"] != digestOf("hello") || payload["length"] != 5 {
		t.Errorf("%+v", e)
	}
}

func TestShellsThatWaitForCommands(t *testing.T) {
	for line, want := range map[string]bool{
		"sh": true, "-bash": true, "/bin/bash --rcfile /x/bash.sh -i": true, "/bin/zsh -i": true, "fish -i -C source": true, "bash --login": true,
		"": false, "bash /usr/bin/agent": false, "sh -c agent": false, "/bin/sh ./agent.sh -i": false, "claude": false, "node /usr/bin/gemini": false,
	} {
		if got := interactive(strings.Fields(line)); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}
