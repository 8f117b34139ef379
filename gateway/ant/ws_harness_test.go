package ant_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"anthill/gateway"
	"anthill/gateway/ant"
	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

// backend stands in for the services: a log of events, and who is there.
type backend struct {
	antv1.UnimplementedEventsServiceServer
	antv1.UnimplementedParticipantsServiceServer
	antv1.UnimplementedSessionsServiceServer
	antv1.UnimplementedTerminalsServiceServer
	antonv1.UnimplementedAccessServiceServer
	people chan string
	revoke chan struct{}

	mu     sync.Mutex
	grant  *antv1.Grant
	log    []*antv1.Event
	oldest uint64
	grown  chan struct{} // closed when the log grows
	relay  chan struct{} // the relay sends while it is closed; nil: it does
}

const secret = "the relay's"

func (b *backend) add(list ...*antv1.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range list {
		e.Seq, e.Epoch = uint64(len(b.log)+1), 7
		b.log = append(b.log, e)
	}
	close(b.grown)
	b.grown = make(chan struct{})
}

// Relay implements antv1.EventsServiceServer.
func (b *backend) Relay(_ *antv1.RelayRequest, s grpc.ServerStreamingServer[antv1.EventBatch]) error {
	if md, _ := metadata.FromIncomingContext(s.Context()); !slices.Equal(md.Get("x-anthill-relay"), []string{secret}) {
		return status.Error(codes.PermissionDenied, "no")
	}
	b.mu.Lock()
	at := len(b.log)
	b.mu.Unlock()
	if err := s.Send(&antv1.EventBatch{Seq: uint64(at), Events: []*antv1.Event{{Seq: uint64(at), Event: &antv1.Event_Ready{Ready: &antv1.Ready{}}}}}); err != nil {
		return err
	}
	for {
		b.mu.Lock()
		list, grown, gate := slices.Clone(b.log[at:]), b.grown, b.relay
		b.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-s.Context().Done():
				return s.Context().Err()
			}
		}
		if len(list) > 0 {
			at += len(list)
			if err := s.Send(&antv1.EventBatch{Seq: uint64(at), Events: list}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-grown:
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

// ListEvents implements antv1.EventsServiceServer.
func (b *backend) ListEvents(_ context.Context, q *antv1.ListEventsRequest) (*antv1.EventPage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	head := uint64(len(b.log))
	if q.Since == nil {
		return &antv1.EventPage{Seq: head, Epoch: 7, End: true}, nil
	}
	page := &antv1.EventPage{Seq: *q.Since, Epoch: 7}
	if *q.Since+1 < b.oldest || *q.Since > head || q.Epoch != 0 && q.Epoch != 7 {
		page.Seq = max(b.oldest, 1) - 1
		page.Events = append(page.Events, &antv1.Event{Seq: page.Seq, Epoch: 7,
			Event: &antv1.Event_Resync{Resync: &antv1.Resync{OldestSeq: page.Seq + 1}}})
	}
	for range 10 { // pages are small, so that there are many
		if page.Seq == head {
			break
		}
		e := b.log[page.Seq]
		page.Seq++
		if slices.Contains(q.SessionIds, e.SessionId) || e.GetSessionsChanged() != nil && (q.Sessions || e.GetSessionsChanged().Everyone) {
			page.Events = append(page.Events, e)
		}
	}
	page.End = page.Seq == head
	return page, nil
}

// GetGrant implements antv1.EventsServiceServer.
func (b *backend) GetGrant(ctx context.Context, _ *antv1.GetGrantRequest) (*antv1.Grant, error) {
	if md, _ := metadata.FromIncomingContext(ctx); slices.Contains(md.Get("x-api-key"), "wrong") {
		return nil, status.Error(codes.Unauthenticated, "no key")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return &antv1.Grant{All: b.grant.All, SessionId: b.grant.SessionId, Revocable: b.grant.Revocable, Seq: uint64(len(b.log)), Epoch: 7}, nil
}

// GetCaller implements antonv1.AccessServiceServer.
func (b *backend) GetCaller(context.Context, *antonv1.GetCallerRequest) (*antonv1.Caller, error) {
	return &antonv1.Caller{}, nil
}

// WatchCaller implements antonv1.AccessServiceServer.
func (b *backend) WatchCaller(_ *antonv1.WatchCallerRequest, s grpc.ServerStreamingServer[antonv1.Caller]) error {
	if err := s.Send(&antonv1.Caller{}); err != nil {
		return err
	}
	select {
	case <-s.Context().Done():
		return s.Context().Err()
	case <-b.revoke:
		st, err := status.New(codes.Unauthenticated, "over").WithDetails(&errdetails.ErrorInfo{Reason: "TOKEN_EXPIRED"})
		return errors.Join(err, st.Err())
	}
}

// SetPresence implements antv1.ParticipantsServiceServer.
func (b *backend) SetPresence(_ context.Context, q *antv1.SetPresenceRequest) (*antv1.SetPresenceResponse, error) {
	b.people <- fmt.Sprintf("%s %s %t", q.SessionId, q.Handle, q.Left)
	return &antv1.SetPresenceResponse{}, nil
}

// GetSession implements antv1.SessionsServiceServer.
func (b *backend) GetSession(_ context.Context, q *antv1.GetSessionRequest) (*antv1.Session, error) {
	if q.Id != "terminal" && q.Id != "chat" {
		return nil, status.Error(codes.NotFound, "none")
	}
	return &antv1.Session{Id: q.Id, Type: q.Id}, nil
}

// AttachTerminal implements antv1.TerminalsServiceServer: a terminal that is archived, as far as it goes.
func (b *backend) AttachTerminal(s grpc.BidiStreamingServer[antv1.AttachTerminalRequest, antv1.AttachTerminalResponse]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if first.GetOpen().GetSessionId() != "terminal" {
		return status.Error(codes.NotFound, "none")
	}
	if err := s.Send(&antv1.AttachTerminalResponse{Message: &antv1.AttachTerminalResponse_Health{Health: &antv1.TerminalHealth{Unavailable: true}}}); err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		switch {
		case errors.Is(err, io.EOF) && first.GetOpen().InputOnly:
			return nil
		case errors.Is(err, io.EOF):
			<-s.Context().Done()
			return s.Context().Err()
		case err != nil:
			return err
		}
		if m.GetInput() != nil {
			b.people <- fmt.Sprintf("typed %s", m.GetInput())
			err = s.Send(&antv1.AttachTerminalResponse{Message: &antv1.AttachTerminalResponse_Refusal{
				Refusal: &antv1.AttachRefusal{Reason: "TERMINAL_NOT_LIVE", Message: "none"}}})
		}
		if err != nil {
			return err
		}
	}
}

type setup struct {
	*backend
	*httptest.Server
	shutdown func()
}

func start(t *testing.T) *setup {
	t.Helper()
	b := &backend{people: make(chan string, 100), revoke: make(chan struct{}), grown: make(chan struct{}), grant: &antv1.Grant{All: true}, oldest: 1}
	pass := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return next(ctx, req)
	}
	channel := gateway.InProcess(func(r grpc.ServiceRegistrar) {
		antv1.RegisterEventsServiceServer(r, b)
		antv1.RegisterParticipantsServiceServer(r, b)
		antv1.RegisterSessionsServiceServer(r, b)
		antv1.RegisterTerminalsServiceServer(r, b)
		antonv1.RegisterAccessServiceServer(r, b)
	}, pass, func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return next(srv, s)
	})
	h, err := ant.New(t.Context(), ant.Options{Channel: channel, RelaySecret: secret, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{backend: b, Server: httptest.NewServer(h)}
	s.shutdown = sync.OnceFunc(func() { h.Shutdown(context.Background()) })
	t.Cleanup(func() { s.shutdown(); s.Close() })
	return s
}

// client is a socket that has been greeted.
type client struct {
	t *testing.T
	*websocket.Conn
	greeting map[string]any
}

func (s *setup) dial(t *testing.T, query string) *client {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), s.URL+"/ws"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() }) // most have ended already
	c := &client{t: t, Conn: conn}
	c.greeting = c.next()
	if c.greeting["type"] != "build_id" || c.greeting["buildId"] == "" {
		t.Fatalf("the first frame is %v", c.greeting)
	}
	return c
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() map[string]any {
	c.t.Helper()
	_, b, err := c.Read(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatalf("%q: %v", b, err)
	}
	return m
}

// want reads frames, given as "type room seq"; "x" stands for no room or no seq.
func (c *client) want(list ...string) {
	c.t.Helper()
	for _, w := range list {
		m := c.next()
		room, seq := "x", "x"
		if r, ok := m["room"].(string); ok {
			room = r
		}
		if n, ok := m["seq"].(float64); ok {
			seq = fmt.Sprint(n)
		}
		if got := fmt.Sprintf("%v %s %s", m["type"], room, seq); got != w {
			c.t.Fatalf("got %q, want %q: %v", got, w, m)
		}
	}
}

// settled is when all frames before have had their effect: they are taken in order.
func (c *client) settled() {
	c.t.Helper()
	c.say(`{"type":"check_health","sessionId":"settled"}`)
	c.want("session_health x x")
}

func pinned(room string) *antv1.Event {
	return &antv1.Event{SessionId: room, Event: &antv1.Event_MessagePinned{MessagePinned: &antv1.MessagePinned{Id: "m", Pinned: true}}}
}

func changed(everyone bool) *antv1.Event {
	return &antv1.Event{Event: &antv1.Event_SessionsChanged{SessionsChanged: &antv1.SessionsChanged{Everyone: everyone}}}
}
