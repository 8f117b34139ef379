package conversations

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

// script is a provider that answers what the test says, call by call.
type script struct {
	calls  chan agent.Request
	answer func(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error)
}

func (s *script) Stream(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	if s.calls != nil {
		s.calls <- req
	}
	return s.answer(ctx, req, emit)
}

// says answers with words, one delta each.
func says(words ...string) *script {
	return &script{answer: func(_ context.Context, _ agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
		for _, w := range words {
			if err := emit(agent.Delta{Text: w}); err != nil {
				return agent.Completion{}, err
			}
		}
		return agent.Completion{Text: strings.Join(words, ""), Finish: agent.FinishStop}, nil
	}}
}

// oneProject is a world with a single project.
type oneProject struct{ tools []agent.Tool }

func (oneProject) ByName(_ store.Reader, name string) (*Project, error) {
	if name != "" && name != "general" {
		return nil, nil
	}
	return &Project{ID: "p1", Name: "general", Path: "/nowhere"}, nil
}

func (oneProject) ByID(_ store.Reader, id string) (*Project, error) {
	return &Project{ID: id, Name: "general", Path: "/nowhere"}, nil
}

func (o oneProject) Open(context.Context, Opening) (Workspace, func(), error) {
	return Workspace{Tools: o.tools}, func() {}, nil
}

type house struct {
	*Room
	provider atomic.Pointer[script]
	main     store.DB
	bulk     store.DB
	tools    []agent.Tool
}

func openDB(t *testing.T, name string, limits store.Limits) store.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), name), Limits: limits})
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

// newHouse opens a room over stores that run every Update twice.
func newHouse(t *testing.T, tools ...agent.Tool) *house {
	h := &house{main: storetest.RunTwice(openDB(t, "main.db", store.MainLimits)),
		bulk: storetest.RunTwice(openDB(t, "bulk.db", store.BulkLimits)), tools: tools}
	h.Room = h.open(t)
	return h
}

// open opens another room over the same stores, as a restart does.
func (h *house) open(t *testing.T) *Room {
	t.Helper()
	var n atomic.Int64
	start := time.Now().UnixNano()
	r, err := Open(t.Context(), Options{Main: h.main, Bulk: h.bulk, Projects: oneProject{h.tools},
		Model: func(context.Context, string) (Model, error) {
			return Model{Provider: h.provider.Load(), Name: "scripted"}, nil
		},
		Now:   time.Now,
		NewID: func(p string) string { return fmt.Sprintf("%s%x%06d", p, start, n.Add(1)) },
		Log:   slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// collector is the server side of a stream, without a server.
type collector struct {
	grpc.ServerStream
	ctx context.Context
	got chan *antonv1.ResponseEvent
}

func (c *collector) Context() context.Context { return c.ctx }

func (c *collector) Send(ev *antonv1.ResponseEvent) error {
	select {
	case c.got <- proto.Clone(ev).(*antonv1.ResponseEvent):
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// ask runs a turn to its end and returns its events.
func (h *house) ask(t *testing.T, conv, text string) []*antonv1.ResponseEvent {
	t.Helper()
	evs, err := collect(t, func(c *collector) error {
		return h.CreateResponse(&antonv1.CreateResponseRequest{Conversation: conv,
			Input: []*antonv1.InputItem{{Role: "user", Text: text}}}, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	return evs
}

func collect(t *testing.T, call func(*collector) error) ([]*antonv1.ResponseEvent, error) {
	t.Helper()
	c := &collector{ctx: t.Context(), got: make(chan *antonv1.ResponseEvent, 1<<16)}
	err := call(c)
	close(c.got)
	var out []*antonv1.ResponseEvent
	for ev := range c.got {
		out = append(out, ev)
	}
	return out, err
}

func (h *house) messages(t *testing.T, r *Room, conv string) []*antonv1.ConversationMessage {
	t.Helper()
	m, err := r.ListMessages(t.Context(), &antonv1.ListMessagesRequest{Id: conv})
	if err != nil {
		t.Fatal(err)
	}
	return m.Messages
}

// grammar checks that a stream is one that strict clients accept: everything
// opened before it is used, closed before the end, one terminal event, and the
// final text the sum of its deltas.
func grammar(t *testing.T, evs []*antonv1.ResponseEvent) *antonv1.Response {
	t.Helper()
	var open *antonv1.OutputItem
	var text strings.Builder
	var final *antonv1.Response
	items := int32(0)
	last := int32(-1)
	for i, ev := range evs {
		if ev.SequenceNumber <= last {
			t.Fatalf("event %d: sequence %d after %d", i, ev.SequenceNumber, last)
		}
		last = ev.SequenceNumber
		if final != nil {
			t.Fatalf("event %d after the terminal one: %v", i, ev)
		}
		switch e := ev.Event.(type) {
		case *antonv1.ResponseEvent_Created:
			if i != 0 {
				t.Fatalf("created is event %d", i)
			}
		case *antonv1.ResponseEvent_OutputItemAdded:
			if open != nil || e.OutputItemAdded.OutputIndex != items {
				t.Fatalf("item %d added out of order", e.OutputItemAdded.OutputIndex)
			}
			open, items = e.OutputItemAdded.Item, items+1
		case *antonv1.ResponseEvent_OutputItemDone:
			if open == nil || open.Id != e.OutputItemDone.Item.Id || e.OutputItemDone.OutputIndex != items-1 {
				t.Fatalf("item done that is not open: %v", ev)
			}
			open = nil
		case *antonv1.ResponseEvent_OutputTextDelta:
			if open == nil || open.Id != e.OutputTextDelta.ItemId {
				t.Fatalf("delta of an item that is not open: %v", ev)
			}
			text.WriteString(e.OutputTextDelta.Delta)
		case *antonv1.ResponseEvent_Completed:
			final = e.Completed.Response
		case *antonv1.ResponseEvent_Incomplete:
			final = e.Incomplete.Response
		case *antonv1.ResponseEvent_Failed:
			final = e.Failed.Response
		}
	}
	if final == nil {
		t.Fatal("no terminal event")
	}
	if open != nil {
		t.Fatalf("item %s was never closed", open.Id)
	}
	if got := strings.ReplaceAll(final.OutputText, "\n\n", ""); got != strings.ReplaceAll(text.String(), "\n\n", "") {
		t.Fatalf("final text %q, deltas %q", got, text.String())
	}
	return final
}

// beginTurn starts a turn without following it.
func (h *house) beginTurn(t *testing.T, q *antonv1.CreateResponseRequest) (*turn, error) {
	t.Helper()
	a, err := h.check(t.Context(), q)
	if err != nil {
		return nil, err
	}
	return h.begin(t.Context(), a)
}
