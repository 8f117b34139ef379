package agents

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
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
	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/screen"
)

const mineDriver = `
name: mine
describes: the program of these tests
recognise: [['^mine v1$']]
input: {row: '^mine> ?(.*)$', cursor: true}
busy: [{row: '\(ctrl-c to stop\)', within: 3}]
prompts:
  - name: run
    class: permission_request
    question: '(Run this\?)'
    foot: 'enter to choose'
    command: [{row: '^\s*\$ (.*)$'}]
    choose: down
    answers:
      approve: {option: '^Yes\b'}
      deny: {option: '^No\b'}
      abort: {keys: [esc]}
  - name: ask
    class: free_text
    question: '(What .*\?)'
    options: {kind: none, row: '^answer: ?'}
    answers:
      text: {text: true, then: [enter]}
`

// home is a room over a store and an engine of its own, with the terminal "t" and
// its chat "c".
type home struct {
	t      *testing.T
	dir    string
	db     *bolt.DB
	bulk   *bolt.DB
	engine *terminal.Engine
	room   *Room
	set    *driver.Set
	hooks  posts
	told   chan *antv1.Event

	mu     sync.Mutex
	ahead  time.Duration // of the clock
	ids    int
	cards  map[string]*Card
	events []Event
	flag   string
	gone   bool // the terminal is deleted for good
}

func newHome(t *testing.T) *home {
	t.Helper()
	dir, err := os.MkdirTemp("", "agents-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	drivers := filepath.Join(dir, "drivers")
	if err := os.Mkdir(drivers, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(drivers, "mine.yaml"), []byte(mineDriver), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := driver.Load(drivers)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	h := &home{t: t, dir: dir, set: set, cards: map[string]*Card{}, hooks: make(posts, 10), told: make(chan *antv1.Event, 1000)}
	h.bulk, err = bolt.Open(bolt.Options{Path: filepath.Join(dir, "bulk.db"), Limits: store.BulkLimits, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.engine, err = terminal.Open(t.Context(), terminal.Options{Dir: filepath.Join(dir, "terminals"), Bulk: h.bulk, Host: "pty",
		Environ: []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, Tell: func(terminal.Event) {}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.open()
	t.Cleanup(func() {
		h.close()
		for _, id := range h.engine.Running() {
			if t, ok := h.engine.Get(id); ok {
				_ = t.Kill(context.Background(), time.Second) // it may have ended
			}
		}
		if err := errors.Join(h.engine.Close(context.Background()), h.bulk.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// open opens the room; with close it is a restart during which terminals go on.
func (h *home) open() {
	h.t.Helper()
	var err error
	h.db, err = bolt.Open(bolt.Options{Path: filepath.Join(h.dir, "main.db"), Limits: store.MainLimits, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.room, err = Open(h.t.Context(), Options{DB: storetest.RunTwice(h.db), Drivers: h.set, Folder: filepath.Join(h.dir, "messages"), Sessions: h, Rooms: h,
		Evidence: h, Asks: noAsks{}, Hooks: h.hooks, Now: h.clock, NewID: h.newID, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		h.t.Fatal(err)
	}
	h.room.JoinFeed(h)
}

func (h *home) close() {
	h.t.Helper()
	if err := errors.Join(h.room.Close(context.Background()), h.db.Close()); err != nil {
		h.t.Error(err)
	}
}

func (h *home) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.ahead)
}

// pass moves the clock on, and makes who waits look at it.
func (h *home) pass(d time.Duration) {
	h.mu.Lock()
	h.ahead += d
	h.mu.Unlock()
	poke(h.room.expiring)
	if a := h.room.agent("t"); a != nil {
		a.wake()
	}
}

func (h *home) newID() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids++
	return fmt.Sprintf("id%019d", h.ids)
}

func (h *home) Find(_ store.Reader, ref string) (*Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case ref == "t" && !h.gone:
		return &Session{ID: "t", Name: "T", Type: "terminal", Handle: "@t", LinkedChat: "c", CLIFlag: h.flag, AutoForward: true}, nil
	case ref == "c" || ref == "other":
		return &Session{ID: ref, Name: strings.ToUpper(ref), Type: "chat"}, nil
	}
	return nil, nil
}

func (h *home) LinkedTerminals(rd store.Reader, chat string) ([]*Session, error) {
	if chat != "c" {
		return nil, nil
	}
	s, err := h.Find(rd, "t")
	return []*Session{s}, err
}

func (h *home) SetCLIFlag(_ store.Tx, _, flag string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flag = flag
	return nil
}

// Post gives ids that say where a card is. Transactions run twice, so what is noted
// goes by keys.
func (h *home) Post(tx store.Tx, c Card) (string, error) {
	id := fmt.Sprintf("%s-%d", c.Room, tx.Append("cards", nil))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cards[id] = &c
	return id, nil
}

func (h *home) Settle(_ store.Tx, _, id string, meta map[string]any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cards[id].Meta = maps.Clone(meta)
	return nil
}

func (h *home) Focus(store.Reader, string) (*Focus, error) { return nil, nil }
func (h *home) Wake()                                      {}

func (h *home) card(id string) Card {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.cards[id]; c != nil {
		return *c
	}
	return Card{}
}

func (h *home) AppendTx(_ store.Tx, e Event) (*antv1.RunEvent, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, old := range h.events {
		if old.Key == e.Key {
			return nil, nil
		}
	}
	h.events = append(h.events, e)
	return nil, nil
}

// noted counts what was noted of a kind.
func (h *home) noted(kind string) (list []Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

func (h *home) Announce(e *antv1.Event) { h.told <- e }

// noAsks are rooms in which nobody asks anything.
type noAsks struct{}

func (noAsks) Open(context.Context, string, Place, int) ([]Ask, error)   { return nil, nil }
func (noAsks) Get(context.Context, string) (*antv1.AttentionItem, error) { return nil, nil }
func (noAsks) Answer(context.Context, *antv1.AnswerAttentionRequest) (*antv1.AttentionItem, error) {
	return nil, errNoPrompt
}

// posts takes what webhooks are told.
type posts chan string

func (c posts) Post(_ context.Context, url string, body []byte) error {
	c <- url + " " + string(body)
	return nil
}

// program is the fake in the terminal.
type program struct {
	t    *testing.T
	term *terminal.Terminal
	conn net.Conn
	keys chan string
}

// run starts the program in the terminal "t" and has it watched.
func (h *home) run() *program {
	h.t.Helper()
	socket := filepath.Join(h.dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.Close()
	exe, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	p := &program{t: h.t, keys: make(chan string, 100)}
	if p.term, err = h.engine.Start(h.t.Context(), "t", terminal.Spec{Argv: []string{exe, "fake-program", socket}, Cols: 80, Rows: 24}); err != nil {
		h.t.Fatal(err)
	}
	if p.conn, err = l.Accept(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { p.conn.Close() })
	go func() {
		in := bufio.NewScanner(p.conn)
		for in.Scan() {
			var keys string
			_ = json.Unmarshal(in.Bytes(), &keys)
			p.keys <- keys
		}
		close(p.keys)
	}()
	h.watch(p)
	return p
}

// watch gives the room the terminal with a screen that follows it from the beginning.
func (h *home) watch(p *program) {
	s := screen.New(80, 24)
	go func() {
		r := p.term.Reader(0)
		for {
			c, err := r.Next(context.Background())
			if err != nil {
				if !errors.Is(err, io.EOF) {
					h.t.Log(err)
				}
				return
			}
			_, _ = s.Write(c.Data)
		}
	}()
	h.room.Watch(p.term, s)
}

// draw clears the screen and draws rows; the cursor stays behind the last.
func (p *program) draw(rows ...string) {
	p.t.Helper()
	line, err := json.Marshal("\x1b[2J\x1b[H" + strings.Join(rows, "\r\n"))
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.conn.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) ask(command string) {
	p.draw("mine v1", "", "$ "+command, "Run this?", "❯ 1. Yes", "  2. No", "enter to choose")
}

func (p *program) ready() { p.draw("mine v1", "", "mine> ") }

// eventually waits until it is so.
func (h *home) eventually(what string, so func() bool) {
	h.t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); {
		if time.Now().After(end) {
			h.t.Fatalf("it never came that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// list is what waits.
func (h *home) list() []*antv1.AttentionItem {
	h.t.Helper()
	out, err := h.room.ListAttention(h.t.Context(), &antv1.ListAttentionRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.Items
}

// waiting is the one thing that waits, once something does that is not among those before.
func (h *home) waiting(before ...string) (item *antv1.AttentionItem) {
	h.t.Helper()
	h.eventually("something waits", func() bool {
		list := h.list()
		if len(list) != 1 || strings.Contains(strings.Join(before, " "), list[0].Id) {
			return false
		}
		item = list[0]
		return true
	})
	return item
}

func (h *home) get(id string) *antv1.AttentionItem {
	h.t.Helper()
	item, err := h.room.GetAttention(h.t.Context(), &antv1.GetAttentionRequest{Id: id})
	if err != nil {
		h.t.Fatal(err)
	}
	return item
}

func (h *home) become(id, status string) {
	h.t.Helper()
	h.eventually(id+" is "+status, func() bool { return h.get(id).Status == status })
}

func (h *home) answer(id, choice string) (*antv1.AttentionItem, error) {
	return h.room.AnswerAttention(h.t.Context(), &antv1.AnswerAttentionRequest{Id: id, Choice: choice, AnsweredBy: "@ann"})
}

// raised counts the prompts that were ever told of in the feed.
func (h *home) raised() (n int) {
	h.t.Helper()
	err := h.db.View(h.t.Context(), func(rd store.Reader) error {
		n = 0
		for range prompts.Scan(rd, store.ScanOptions{}) {
			n++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// feedHas counts events of the feed.
func (h *home) feedHas(is func(*antv1.Event) bool) (n int) {
	h.t.Helper()
	err := h.db.View(h.t.Context(), func(rd store.Reader) error {
		n = 0
		entries, _ := rd.Log(feed.Topic, 0, 10_000)
		for _, entry := range entries {
			e := &antv1.Event{}
			if err := proto.Unmarshal(entry.Event, e); err != nil {
				return err
			}
			if is(e) {
				n++
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func reasonOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Reason
	}
	return fmt.Sprint(err)
}
