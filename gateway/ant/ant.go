// Package ant is the REST dialect of the ANT API: /api/*, and /ws.
//
// Requests enter as HTTP and leave as gRPC calls on one channel. Each resource
// has a file with what it adds to the dialect: its services, the routes that are
// served by hand, and the status of its answers and errors. Rows and envelopes
// are messages of proto/ant whose fields have the names of the wire. Nothing is
// decided here but shapes.
package ant

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

// Channel carries calls to the services, in process.
type Channel interface {
	grpc.ClientConnInterface
	// Serve runs a method with streams on the caller's goroutine, to its end, which is nil or a status. The handler
	// receives what ask returns, whose context ends with the handler, until that is [io.EOF]; what it sends it hands to
	// answer itself, one at a time. So nothing waits for another goroutine to be scheduled. An error of answer is the
	// handler's: it should end.
	Serve(ctx context.Context, method string, ask func(context.Context) (proto.Message, error), answer func(proto.Message) error) error
}

// Options for New.
type Options struct {
	Channel     Channel
	RelaySecret string // what EventsService.Relay asks for
	Log         *slog.Logger
}

// Handler serves the dialect.
type Handler struct {
	mux          *runtime.ServeMux
	routes       *rest.Routes
	channel      grpc.ClientConnInterface
	access       antonv1.AccessServiceClient
	messages     antv1.MessagesServiceClient
	participants antv1.ParticipantsServiceClient
	exports      antv1.ExportsServiceClient
	files        antv1.FilesServiceClient
	sockets      *sockets
	statuses     map[string]int                            // of answers, by the method that gave them
	reasons      map[string]int                            // HTTP status by reason
	beside       map[string]func(map[string]string) object // members of an error body, by reason
	log          *slog.Logger
}

// object is a JSON object.
type object = map[string]any

// resource is what one file adds to the dialect. All of it is optional.
type resource struct {
	// services have routes by HTTP rules.
	services []generated
	// byHand adds routes that are served by hand: h.routes.AddHand(...).
	byHand func(h *Handler)
	// status is what a method's answer has instead of 200.
	status map[string]int
	// reasons are errors whose HTTP status the gRPC code does not say.
	reasons map[string]int
	// beside is what the error body of a reason holds beside error and message,
	// made of the error's metadata.
	beside map[string]func(meta map[string]string) object
}

// resources are all there are.
var resources = []resource{health, sessions, streams, invites, messages, participants, search, exports, files, runEvents, hooks, reads, links, digest, asks, share, identity, tasks,
	terminals, agentStatus, prompts, attention, sends}

// generated registers the routes of a service.
type generated func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error

// service joins the two parts of the generated code of a service.
func service[C any](newClient func(grpc.ClientConnInterface) C, register func(context.Context, *runtime.ServeMux, C) error) generated {
	return func(ctx context.Context, mux *runtime.ServeMux, channel grpc.ClientConnInterface) error {
		return register(ctx, mux, newClient(channel))
	}
}

// New wires the dialect to a channel. ctx ends background work of the mux.
func New(ctx context.Context, o Options) (*Handler, error) {
	h := &Handler{channel: o.Channel, access: antonv1.NewAccessServiceClient(o.Channel),
		messages: antv1.NewMessagesServiceClient(o.Channel), participants: antv1.NewParticipantsServiceClient(o.Channel), exports: antv1.NewExportsServiceClient(o.Channel), files: antv1.NewFilesServiceClient(o.Channel),
		sockets: newSockets(o), log: o.Log,
		statuses: map[string]int{}, reasons: map[string]int{}, beside: map[string]func(map[string]string) object{}}
	h.mux = rest.NewMux(rest.MuxOptions{
		Marshaler: marshaler,
		Metadata:  edge.Credentials,
		Rewrite:   rewrite,
		Error:     h.callFailed,
		NoRoute:   h.noRoute,
		Forward:   h.forward,
	})
	h.routes = rest.NewRoutes(antv1.File_ant_v1_health_proto.Package())
	for _, res := range resources {
		for _, register := range res.services {
			if err := register(ctx, h.mux, o.Channel); err != nil {
				return nil, fmt.Errorf("register REST routes: %w", err)
			}
		}
		if res.byHand != nil {
			res.byHand(h)
		}
		maps.Copy(h.statuses, res.status)
		maps.Copy(h.reasons, res.reasons)
		maps.Copy(h.beside, res.beside)
	}
	return h, nil
}

// Owns says whether a path belongs to the dialect.
func Owns(path string) bool {
	return path == "/api" || strings.HasPrefix(path, "/api/") || path == "/ws" || strings.HasPrefix(path, "/ws/")
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// What a caller sends as gRPC metadata or deadline is not taken over REST.
	r.Header.Del("Grpc-Timeout")
	r.RemoteAddr = "" // the mux would parse it for a header that nobody reads; r is the edge's copy
	w.Header().Set("Cache-Control", "no-store")
	path := r.URL.EscapedPath()
	switch {
	case !utf8.ValidString(r.URL.Path):
		h.refuse(w, r, problem{status: http.StatusNotFound, message: "Not Found"})
		return
	case r.URL.RawQuery != "" && !rest.ValidQuery(r.URL.RawQuery):
		h.refuse(w, r, problem{status: http.StatusBadRequest, message: "The query is not valid UTF-8"})
		return
	case h.routes.Unsure(path) && !slices.Contains(h.routes.Methods(path), r.Method):
		h.noRoute(w, r)
		return
	}
	if handle, params := h.routes.Hand(r.Method, path); handle != nil {
		handle(w, r, params)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// noRoute says 308 to the path without a slash at its end, 405 if the path
// exists with other methods, else 404.
func (h *Handler) noRoute(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if bare := strings.TrimRight(path, "/"); bare != path && !strings.HasPrefix(bare, "//") && len(h.routes.Methods(bare)) > 0 {
		if r.URL.RawQuery != "" {
			bare += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", bare)
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	if allow := h.routes.Methods(path); len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		h.refuse(w, r, problem{status: http.StatusMethodNotAllowed, message: r.Method + " method not allowed"})
		return
	}
	h.refuse(w, r, problem{status: http.StatusNotFound, message: "Not Found"})
}

// marshaler is the JSON of the dialect: the names of the proto's fields.
var marshaler rest.Marshaler

// forward gives an answer the status of its method.
func (h *Handler) forward(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	method, _ := runtime.RPCMethod(ctx)
	switch code := h.statuses[method]; code {
	case 0:
	case http.StatusNoContent:
		w.Header().Del("Content-Type")
		w.WriteHeader(code)
	default:
		w.WriteHeader(code)
	}
	return nil
}

// rewrite leaves nothing of an answer that has no body.
func rewrite(_ context.Context, m proto.Message) (any, error) {
	if _, ok := m.(*antv1.DeleteSessionResponse); ok {
		return rest.Nothing{}, nil
	}
	return m, nil
}
