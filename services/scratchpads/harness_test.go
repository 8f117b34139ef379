package scratchpads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/kernel"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// world has projects by name, whose ids are their names in capitals.
type world struct {
	mu      sync.Mutex
	dir     string
	deleted map[string]bool
}

func (w *world) Resolve(_ context.Context, name string) (Project, error) {
	if name == "" {
		name = "general"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deleted[name] || name == "unknown" {
		return Project{}, fault.Missing("PROJECT_NOT_FOUND", "Project not found: %s", name)
	}
	dir := filepath.Join(w.dir, name)
	return Project{ID: strings.ToUpper(name), Name: name, Path: dir}, os.MkdirAll(dir, 0o755)
}

func (w *world) ByID(ctx context.Context, id string) (Project, error) {
	return w.Resolve(ctx, strings.ToLower(id))
}

func (w *world) Exists(_ store.Reader, id string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.deleted[strings.ToLower(id)], nil
}

// house is a room over real stores and a real engine.
type house struct {
	*Room
	t          *testing.T
	main, bulk store.DB
	world      *world
	dir        string
	log        *logged
	options    func(*Options)
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openDB(t *testing.T, name string, limits store.Limits) store.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), name), Limits: limits, Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newHouse(t *testing.T, with ...func(*Options)) *house {
	t.Helper()
	h := &house{t: t, main: storetest.RunTwice(openDB(t, "main.db", store.MainLimits)), bulk: storetest.RunTwice(openDB(t, "bulk.db", store.BulkLimits)),
		dir: t.TempDir(), log: &logged{}}
	h.world = &world{dir: filepath.Join(h.dir, "projects"), deleted: map[string]bool{}}
	h.options = func(o *Options) {
		for _, f := range with {
			f(o)
		}
	}
	h.Room = h.open(h.main, h.bulk)
	t.Cleanup(func() {
		h.close(h.Room)
		if t.Failed() {
			t.Logf("log:\n%s", h.log)
		}
	})
	return h
}

var lastID atomic.Int64

// open opens another room over the same data, as a restart does.
func (h *house) open(main, bulk store.DB) *Room {
	h.t.Helper()
	log := slog.New(slog.NewTextHandler(h.log, nil))
	// A busy machine may take its time to interrupt a cell.
	engine, err := kernel.Open(kernel.Options{Dir: filepath.Join(h.dir, "kernels"), Log: log, Times: kernel.Times{Grace: 20 * time.Second}})
	if err != nil {
		h.t.Fatal(err)
	}
	o := Options{Main: main, Bulk: bulk, Engine: engine, Projects: h.world, Now: time.Now, Log: log,
		NewID: func(prefix string) string { return fmt.Sprintf("%s%d", prefix, lastID.Add(1)) }}
	h.options(&o)
	r, err := Open(h.t.Context(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *house) close(r *Room) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		h.t.Error(err)
	}
}

// restart is a restart of the server.
func (h *house) restart() {
	h.t.Helper()
	h.close(h.Room)
	h.Room = h.open(h.main, h.bulk)
}

func (h *house) ctx() context.Context {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	h.t.Cleanup(cancel)
	return ctx
}

func (h *house) start(name string) {
	h.t.Helper()
	s, err := h.StartScratchpad(h.ctx(), &antonv1.StartScratchpadRequest{Name: name})
	if err != nil || s.Status != "started" || !strings.HasPrefix(s.Python, "3.") || s.Project != "general" {
		h.t.Fatalf("start: %v %v", s, err)
	}
}

func (h *house) exec(name, code string) *antonv1.Cell {
	h.t.Helper()
	a, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: name, Code: proto.String(code)})
	if err != nil {
		h.t.Fatalf("%s: %v", code, err)
	}
	return a.Cell
}

// ok runs a cell that must succeed and returns what it printed.
func (h *house) ok(name, code string) string {
	h.t.Helper()
	c := h.exec(name, code)
	if c.Status != "ok" || c.Error != nil {
		h.t.Fatalf("%s: %v", code, c)
	}
	return c.Stdout
}

func (h *house) list(name string) []*antonv1.Cell {
	h.t.Helper()
	l, err := h.ListCells(h.ctx(), &antonv1.ListCellsRequest{Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return l.Cells
}

// stream is the server side of a stream, without a server.
type stream struct {
	grpc.ServerStream
	ctx context.Context
	got chan *antonv1.CellEvent
}

func (s *stream) Context() context.Context { return s.ctx }
func (s *stream) Send(e *antonv1.CellEvent) error {
	select {
	case s.got <- e:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// begin runs a cell and returns its events as they come; the channel is closed
// at the end.
func (h *house) begin(ctx context.Context, name, code string) <-chan *antonv1.CellEvent {
	h.t.Helper()
	s := &stream{ctx: ctx, got: make(chan *antonv1.CellEvent)}
	go func() {
		defer close(s.got)
		err := h.StreamCell(&antonv1.StreamCellRequest{Name: name, Code: proto.String(code)}, s)
		if err != nil && ctx.Err() == nil {
			h.t.Errorf("%s: %v", code, err)
		}
	}()
	return s.got
}

// until reads events up to one that prints text.
func until(t *testing.T, events <-chan *antonv1.CellEvent, text string) {
	t.Helper()
	all := ""
	for e := range events {
		if all += e.GetStdout(); strings.Contains(all, text) {
			return
		}
	}
	t.Fatalf("it ended without %q after %q", text, all)
}

func wantFault(t *testing.T, what string, err error, reason string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Reason != reason {
		t.Errorf("%s: %v, want %s", what, err, reason)
	}
}

func contains(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%s: %q does not contain %q", what, got, part)
		}
	}
}

// stored counts the keys of cells in the bulk store.
func (h *house) stored() (n int) {
	h.t.Helper()
	err := h.bulk.View(h.ctx(), func(rd store.Reader) error {
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
