package ant

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	"anthill/gateway/edge"
	"anthill/gateway/ws"
	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

var streams = resource{byHand: func(h *Handler) {
	h.routes.AddHand(http.MethodGet, "/ws", h.serveSocket)
	h.routes.AddHand(http.MethodGet, "/ws/{path=**}", h.serveSocket) // compat: ant.md 2, anything below /ws
	h.routes.AddHand(http.MethodGet, "/api/events", h.serveEvents)
}}

// sockets are the WebSockets of the dialect.
type sockets struct {
	relay     *relay
	events    antv1.EventsServiceClient
	access    antonv1.AccessServiceClient
	people    antv1.ParticipantsServiceClient
	sessions  antv1.SessionsServiceClient
	terminals antv1.TerminalsServiceClient
	channel   Channel
	build     string // tells clients that the server was restarted

	mu       sync.Mutex
	open     map[*ws.Socket]struct{}
	stopping bool
	none     chan struct{} // closed when stopping and the last one has ended
}

func newSockets(o Options) *sockets {
	events := antv1.NewEventsServiceClient(o.Channel)
	return &sockets{relay: newRelay(events, o.RelaySecret, o.Log), events: events,
		access: antonv1.NewAccessServiceClient(o.Channel), people: antv1.NewParticipantsServiceClient(o.Channel), sessions: antv1.NewSessionsServiceClient(o.Channel),
		terminals: antv1.NewTerminalsServiceClient(o.Channel), channel: o.Channel,
		build: strconv.FormatInt(time.Now().UnixMilli(), 36) + "-" + strconv.Itoa(os.Getpid()),
		open:  map[*ws.Socket]struct{}{}, none: make(chan struct{})}
}

// add is false while the server stops.
func (s *sockets) add(socket *ws.Socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.open[socket] = struct{}{}
	return true
}

func (s *sockets) remove(socket *ws.Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, socket)
	if s.stopping && len(s.open) == 0 {
		close(s.none)
	}
}

// close tells all clients that the server goes away, and cuts those that have
// not heard it when ctx ends.
func (s *sockets) close(ctx context.Context) {
	s.mu.Lock()
	s.stopping = true
	if len(s.open) == 0 {
		close(s.none)
	}
	for socket := range s.open {
		socket.Close(ws.GoingAway, stopping)
	}
	s.mu.Unlock()
	select {
	case <-s.none:
	case <-ctx.Done():
		s.mu.Lock()
		for socket := range s.open {
			socket.Abort()
		}
		s.mu.Unlock()
	}
	s.relay.close()
}

// Shutdown ends the sockets, at the latest when ctx ends.
func (h *Handler) Shutdown(ctx context.Context) { h.sockets.close(ctx) }

// serveSocket is GET /ws.
func (h *Handler) serveSocket(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	grant, err := h.sockets.events.GetGrant(edge.Outgoing(r), &antv1.GetGrantRequest{})
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		h.refuse(w, r, problem{status: http.StatusUpgradeRequired, message: "This is for WebSockets: send an upgrade request"})
		return
	}
	socket, err := ws.Accept(w, r, ws.Options{Protocol: edge.TokenProtocol(r), Slow: tooSlow})
	if err != nil {
		h.log.Debug("websocket handshake", "error", err) // answered already
		return
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(context.Background(), edge.Credentials(r)))
	defer cancel()
	if !h.sockets.add(socket) {
		socket.Close(ws.GoingAway, stopping)
	} else {
		defer h.sockets.remove(socket)
	}
	c := newCaller(ctx, h, socket, grant)
	if grant.Revocable {
		go c.watch()
	}
	c.greet()
	socket.Serve(c.take)
	cancel()
	c.close()
}

// stopping is what clients hear when the server does.
const stopping = "the server stops: come back and resume"

// tooSlow is what a client hears that does not keep up. It knows better than the
// server what it has received.
func tooSlow(written uint64) string {
	return fmt.Sprintf("too slow: resume each room after the last seq you have of it; last sent: %d", written)
}
