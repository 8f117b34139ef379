// Package anton is the REST dialect of the CoWork API: /v1/*, /health and /.
//
// Requests enter as HTTP and leave as gRPC calls on one channel. Unary routes
// are generated; server-sent events, uploads and downloads are written by hand.
// Errors take FastAPI's shape, and OpenAI's beside it on the routes that
// OpenAI's SDKs call. Nothing is decided here but shapes.
package anton

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antonv1 "anthill/gen/anton/v1"
)

// Options for New.
type Options struct {
	Channel grpc.ClientConnInterface
	Log     *slog.Logger
}

// Handler serves the dialect.
type Handler struct {
	mux         *runtime.ServeMux
	routes      *rest.Routes
	responses   antonv1.ResponsesServiceClient
	convs       antonv1.ConversationsServiceClient
	files       antonv1.ProjectFilesServiceClient
	access      antonv1.AccessServiceClient
	pads        antonv1.ScratchpadsServiceClient
	backup      antonv1.BackupServiceClient
	attachments antonv1.AttachmentsServiceClient
	memory      antonv1.MemoryServiceClient
	skills      antonv1.SkillsServiceClient
	log         *slog.Logger
}

// New wires the dialect to a channel. ctx ends background work of the mux.
func New(ctx context.Context, o Options) (*Handler, error) {
	h := &Handler{
		responses:   antonv1.NewResponsesServiceClient(o.Channel),
		convs:       antonv1.NewConversationsServiceClient(o.Channel),
		files:       antonv1.NewProjectFilesServiceClient(o.Channel),
		access:      antonv1.NewAccessServiceClient(o.Channel),
		pads:        antonv1.NewScratchpadsServiceClient(o.Channel),
		backup:      antonv1.NewBackupServiceClient(o.Channel),
		attachments: antonv1.NewAttachmentsServiceClient(o.Channel),
		memory:      antonv1.NewMemoryServiceClient(o.Channel),
		skills:      antonv1.NewSkillsServiceClient(o.Channel),
		log:         o.Log,
	}
	h.mux = rest.NewMux(rest.MuxOptions{
		Marshaler: marshaler,
		Metadata:  callerMetadata,
		Rewrite:   h.rewrite,
		Error:     h.gatewayError,
		NoRoute:   h.noRoute,
		Forward:   forward,
	})
	client := []func(context.Context, *runtime.ServeMux) error{
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterHealthServiceHandlerClient(ctx, m, antonv1.NewHealthServiceClient(o.Channel))
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterResponsesServiceHandlerClient(ctx, m, h.responses)
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterConversationsServiceHandlerClient(ctx, m, h.convs)
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterProjectsServiceHandlerClient(ctx, m, antonv1.NewProjectsServiceClient(o.Channel))
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterProjectFilesServiceHandlerClient(ctx, m, h.files)
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterAttachmentsServiceHandlerClient(ctx, m, h.attachments)
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterArtifactsServiceHandlerClient(ctx, m, antonv1.NewArtifactsServiceClient(o.Channel))
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterSettingsServiceHandlerClient(ctx, m, antonv1.NewSettingsServiceClient(o.Channel))
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterScratchpadsServiceHandlerClient(ctx, m, h.pads)
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterSearchServiceHandlerClient(ctx, m, antonv1.NewSearchServiceClient(o.Channel))
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterModelsServiceHandlerClient(ctx, m, antonv1.NewModelsServiceClient(o.Channel))
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterMemoryServiceHandlerClient(ctx, m, h.memory)
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterSkillsServiceHandlerClient(ctx, m, h.skills)
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterMcpServiceHandlerClient(ctx, m, antonv1.NewMcpServiceClient(o.Channel))
		},
		func(ctx context.Context, m *runtime.ServeMux) error {
			return antonv1.RegisterAccessServiceHandlerClient(ctx, m, h.access)
		},
	}
	for _, register := range client {
		if err := register(ctx, h.mux); err != nil {
			return nil, fmt.Errorf("register REST routes: %w", err)
		}
	}
	h.routes = rest.NewRoutes(antonv1.File_anton_v1_health_proto.Package())
	h.routes.AddHand(http.MethodPost, "/v1/responses", h.createResponse)
	h.routes.AddHand(http.MethodGet, "/v1/responses/tail", h.tailResponse)
	h.routes.AddHand(http.MethodGet, "/v1/responses/{response_id}", h.getResponse)
	h.routes.AddHand(http.MethodPost, "/v1/chat/completions", h.createChatCompletion)
	h.routes.AddHand(http.MethodPost, "/v1/conversations", h.createConversation)
	h.routes.AddHand(http.MethodPost, "/v1/conversations/{id}", h.setConversationMetadata)
	h.routes.AddHand(http.MethodPost, "/v1/conversations/{id}/items", h.createItems)
	h.routes.AddHand(http.MethodPost, "/v1/projects/{project}/files/upload", h.uploadFiles)
	h.routes.AddHand(http.MethodGet, "/v1/projects/{project}/files-raw/{path=**}", h.downloadFile)
	h.routes.AddHand(http.MethodGet, "/v1/backup", h.downloadBackup)
	h.routes.AddHand(http.MethodPost, "/v1/scratchpad/execute-stream", h.streamCell)
	h.routes.AddHand(http.MethodGet, "/v1/scratchpad/view", h.viewScratchpad)
	h.routes.AddHand(http.MethodGet, "/v1/scratchpad/notebook", h.notebookOfScratchpad)
	h.routes.AddHand(http.MethodPost, "/v1/attachments/upload", h.uploadAttachmentsForm)
	h.routes.AddHand(http.MethodPost, "/v1/attachments/{project}/{session_id}/upload", h.uploadAttachments)
	h.routes.AddHand(http.MethodGet, "/v1/attachments/{project}/{session_id}/{id}/raw", h.downloadAttachment)
	h.routes.AddHand(http.MethodPost, "/v1/memory", h.writeMemory)
	h.routes.AddHand(http.MethodDelete, "/v1/memory", h.deleteMemory)
	h.routes.AddHand(http.MethodPost, "/v1/skills/upload", h.uploadSkill)
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// What a caller sends as gRPC metadata or deadline is not taken over REST.
	r.Header.Del("Grpc-Timeout")
	r.RemoteAddr = "" // the mux would parse it for a header that nobody reads; r is the edge's copy
	path := r.URL.EscapedPath()
	switch {
	case !utf8.ValidString(r.URL.Path):
		h.refuse(w, r, problem{status: http.StatusNotFound, detail: "Not Found"})
		return
	case r.URL.RawQuery != "" && !rest.ValidQuery(r.URL.RawQuery):
		h.refuse(w, r, problem{status: http.StatusBadRequest, detail: "The query is not valid UTF-8"})
		return
	case h.routes.Unsure(path) && !slices.Contains(h.routes.Methods(path), r.Method):
		h.noRoute(w, r)
		return
	}
	if handle, params := h.routes.Hand(r.Method, path); handle != nil {
		handle(w, r, params)
		return
	}
	keepSecret(w.Header(), path)
	if c := callerOf(r); c.sdk {
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
	}
	h.mux.ServeHTTP(w, r)
}

// callerKey leads from a request to what its answer differs by; the zero caller
// if there is nothing.
type callerKey struct{}

// redirectSlash answers a path with a slash too many as Starlette does.
func (h *Handler) redirectSlash(w http.ResponseWriter, r *http.Request, path string) bool {
	bare := strings.TrimRight(path, "/")
	if bare == path || strings.HasPrefix(bare, "//") || !slices.Contains(h.routes.Methods(bare), r.Method) {
		return false
	}
	if r.URL.RawQuery != "" {
		bare += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", bare)
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}

// noRoute says 405 if the path exists with other methods, else 404.
func (h *Handler) noRoute(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if h.redirectSlash(w, r, path) {
		return
	}
	allow := h.routes.Methods(path)
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		h.refuse(w, r, problem{status: http.StatusMethodNotAllowed, detail: "Method Not Allowed"})
		return
	}
	h.refuse(w, r, problem{status: http.StatusNotFound, detail: "Not Found"})
}

// outgoing is the context of a call made by hand.
func outgoing(r *http.Request) context.Context {
	return metadata.NewOutgoingContext(r.Context(), edge.Credentials(r))
}

// rewrite shows messages whose JSON is made by hand.
func (h *Handler) rewrite(ctx context.Context, m proto.Message) (any, error) {
	switch m := m.(type) {
	case *antonv1.ListMessagesResponse:
		return viewMessages(m), nil
	case *antonv1.Conversation:
		c, _ := ctx.Value(callerKey{}).(caller)
		return c.conversation(m), nil
	case *antonv1.ListConversationsResponse:
		return viewConversations(m), nil
	case *antonv1.DeleteConversationResponse:
		return viewDeleted(m), nil
	case *antonv1.Response:
		return viewResponse(m), nil
	case *antonv1.ListItemsResponse:
		return viewItems(m), nil
	case *antonv1.Item:
		return viewListed(m), nil
	case *antonv1.ListAttachmentsResponse:
		return bareList(m.Attachments, rest.Snake)
	case *antonv1.ListArtifactsResponse:
		return bareList(m.Artifacts, rest.Camel)
	case *antonv1.SearchResponse:
		return viewSearch(m), nil
	case *antonv1.RawSettings:
		return viewRawSettings(m), nil
	default:
		return m, nil
	}
}
