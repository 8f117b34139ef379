package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/edge"
	antonv1 "anthill/gen/anton/v1"
)

// Path is the one route of this door.
const Path = "/mcp"

const (
	bodyMax  = 10 << 20 // as at the edge
	callsMax = 256      // requests that are served at once
	asMax    = 256      // bytes of who one says one is
	// hangUpCancels is the first version of the protocol in which a client cancels
	// a call by hanging up.
	hangUpCancels = "2026-07-28"
	// lastWords is how long who hung up may still cancel what it called.
	lastWords = 2 * time.Second
)

// Headers of the protocol.
const (
	sessionHeader = "Mcp-Session-Id"
	versionHeader = "Mcp-Protocol-Version"
)

// Options for New.
type Options struct {
	Channel grpc.ClientConnInterface
	Version string // of the program
	Log     *slog.Logger
}

// Handler serves Path over streamable HTTP.
type Handler struct {
	base    context.Context
	access  antonv1.AccessServiceClient
	byOffer map[offer]http.Handler
	running *running
	places  chan struct{}
	log     *slog.Logger
}

// New prepares the door. The end of base ends all calls.
func New(base context.Context, o Options) *Handler {
	h := &Handler{base: base, access: antonv1.NewAccessServiceClient(o.Channel), byOffer: map[offer]http.Handler{},
		running: newRunning(), places: make(chan struct{}, callsMax), log: o.Log}
	t := newTools(o.Channel)
	for _, one := range offers {
		server := newServer(t, one, o.Version)
		h.byOffer[one] = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{
			Stateless:                  true, // no tool asks the client anything back
			MaxRequestBodyBytes:        -1,   // the body is read before
			DisableLocalhostProtection: true, // the edge has looked at Host, by its list
		})
	}
	return h
}

// ServeHTTP implements http.Handler. Whoever shows no key that counts learns
// nothing else.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	ctx := edge.Outgoing(r)
	caller, err := h.access.GetCaller(ctx, &antonv1.GetCallerRequest{})
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	if r.Method != http.MethodPost && r.Method != http.MethodDelete {
		w.Header().Set("Allow", "POST, DELETE")
		Deny(w, r, http.StatusMethodNotAllowed, r.Method+" method not allowed")
		return
	}
	session := r.Header.Get(sessionHeader)
	if session != "" && !isSessionOf(session, caller) {
		Deny(w, r, http.StatusNotFound, "Session not found: begin a new one")
		return
	}
	if r.Method == http.MethodDelete {
		h.running.cancelAll(caller, session)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		w.Header().Set("Retry-After", "1")
		Deny(w, r, http.StatusTooManyRequests, "Too many requests at once: try again in a moment")
		return
	}
	m, bad := read(r)
	if bad != nil {
		Deny(w, r, bad.status, bad.why)
		return
	}
	h.serve(w, r.WithContext(ctx), caller, session, m)
}

// envelope is as much of a request as this door looks at.
type envelope struct {
	body    []byte
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  struct {
		RequestID json.RawMessage `json:"requestId"`
	} `json:"params"`
}

// refusal is why a request is not served.
type refusal struct {
	status int
	why    string
}

// read takes in one message. What it holds is left to the SDK.
func read(r *http.Request) (*envelope, *refusal) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMax+1))
	var tooLarge *http.MaxBytesError
	var bad *edge.JSONError
	switch {
	case errors.As(err, &tooLarge) || len(body) > bodyMax:
		return nil, &refusal{http.StatusRequestEntityTooLarge, "Request body too large"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{http.StatusRequestTimeout, "The request body took too long"}
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, "The request body could not be read"}
	case errors.As(edge.CheckJSON(body), &bad):
		return nil, &refusal{http.StatusBadRequest, "Invalid JSON: " + bad.Error()}
	}
	m := &envelope{body: body}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		return nil, &refusal{http.StatusBadRequest, "One message a request: batches are not supported"}
	}
	if !json.Valid(body) {
		return nil, &refusal{http.StatusBadRequest, "Invalid JSON"}
	}
	if err := json.Unmarshal(body, m); err != nil && m.Version == "" { // params of another kind are not ours
		return nil, &refusal{http.StatusBadRequest, "A message is an object with jsonrpc and method"}
	}
	if m.Version != "2.0" {
		return nil, &refusal{http.StatusBadRequest, `A message has "jsonrpc": "2.0"`}
	}
	return m, nil
}

// serve hands a message to the SDK.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, caller *antonv1.Caller, session string, m *envelope) {
	switch m.Method {
	case "initialize":
		if session == "" {
			w.Header().Set(sessionHeader, newSession(caller))
		}
	case "notifications/cancelled":
		h.running.cancel(caller, session, m.Params.RequestID)
	}
	as := r.URL.Query().Get("as")
	if len(as) > asMax || !utf8.ValidString(as) {
		Deny(w, r, http.StatusBadRequest, fmt.Sprintf("as is text of %d bytes at most", asMax))
		return
	}
	going, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer end(errGone)
	defer context.AfterFunc(h.base, func() { end(errGone) })()
	version := r.Header.Get(versionHeader) // r changes below
	defer context.AfterFunc(r.Context(), func() { hungUp(version, session, end) })()
	leave, ok := h.running.enter(caller, session, m.ID, end)
	if !ok {
		Deny(w, r, http.StatusBadRequest, "A call with this id runs already")
		return
	}
	defer leave()
	out := newStream(w)
	defer out.end()
	c := &call{ctx: going, ping: out.ping, as: as, log: h.log}
	r = r.WithContext(c.with(r.Context()))
	if r.Header["Accept"] == nil { // anything will do
		r.Header.Set("Accept", "application/json, text/event-stream")
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(m.body)), int64(len(m.body))
	h.byOffer[offerTo(caller)].ServeHTTP(out, r)
}

// hungUp ends the call of a client that has gone. In older versions of the
// protocol it may cancel the call by another request, which comes behind that.
func hungUp(version, session string, end context.CancelCauseFunc) {
	switch {
	case version >= hangUpCancels:
		end(nil)
	case session == "":
		end(errGone)
	default:
		time.AfterFunc(lastWords, func() { end(errGone) })
	}
}

// Deny refuses as JSON-RPC does.
func Deny(w http.ResponseWriter, _ *http.Request, code int, why string) {
	rpc := -32600 // an invalid request
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		rpc = -32001
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInternalServerError:
		rpc = -32603
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": rpc, "message": why}})
	if err != nil {
		code, body = http.StatusInternalServerError, nil // texts always encode
	}
	hd := w.Header()
	hd.Set("Cache-Control", "no-store")
	hd.Set("Content-Type", "application/json")
	if code == http.StatusUnauthorized {
		hd.Set("WWW-Authenticate", `Bearer realm="anthill"`)
	}
	w.WriteHeader(code)
	if _, err := w.Write(body); err != nil {
		return // the client has gone
	}
}

// callFailed answers for a caller that could not be told.
func (h *Handler) callFailed(w http.ResponseWriter, r *http.Request, err error) {
	switch st := status.Convert(err); st.Code() {
	case codes.Unauthenticated:
		Deny(w, r, http.StatusUnauthorized, st.Message())
	case codes.PermissionDenied:
		Deny(w, r, http.StatusForbidden, st.Message())
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		Deny(w, r, http.StatusServiceUnavailable, st.Message())
	default:
		Deny(w, r, http.StatusInternalServerError, st.Message())
	}
}
