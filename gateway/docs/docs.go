// Package docs serves the description of the REST API: the OpenAPI document at
// /openapi.json, and at /docs the same as a page to read, which needs neither a
// network nor a script.
//
// The document is generated from proto/ (make gen). Nothing here knows a route.
package docs

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/edge"
	antonv1 "anthill/gen/anton/v1"
)

// Paths that the Handler serves.
const (
	DocumentPath = "/openapi.json"
	PagePath     = "/docs"
)

//go:embed openapi.json
var document []byte

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// Handler serves both.
type Handler struct {
	access antonv1.AccessServiceClient
	deny   edge.Deny
	page   *template.Template
	policy string // Content-Security-Policy of the page
	groups []group
	shapes []shape
	info   info
}

// New reads the document. Deny writes refusals of the document.
func New(channel grpc.ClientConnInterface, deny edge.Deny) (*Handler, error) {
	var s spec
	if err := json.Unmarshal(document, &s); err != nil {
		return nil, fmt.Errorf("openapi.json: %w", err)
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("page of the API: %w", err)
	}
	sum := sha256.Sum256([]byte(pageStyle))
	return &Handler{access: antonv1.NewAccessServiceClient(channel), deny: deny, page: t, groups: s.groups(), shapes: s.shapes(), info: s.Info,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, err := h.access.GetCaller(edge.Outgoing(r), &antonv1.GetCallerRequest{})
	html := r.URL.Path == PagePath
	switch {
	case status.Code(err) == codes.Unauthenticated && html:
		h.render(w, r, http.StatusUnauthorized, view{})
	case status.Code(err) == codes.Unauthenticated:
		h.deny(w, r, http.StatusUnauthorized, status.Convert(err).Message())
	case err != nil:
		h.deny(w, r, http.StatusServiceUnavailable, "The server is stopping")
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		h.deny(w, r, http.StatusMethodNotAllowed, "Method Not Allowed")
	case html:
		h.render(w, r, http.StatusOK, view{Groups: h.groups, Shapes: h.shapes, Keyed: caller.Kind == "key"})
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		if _, err := w.Write(document); err != nil {
			return // nobody is left
		}
	}
}

// view is what the page shows. Without groups it only says how to show the key.
type view struct {
	Info   info
	Style  template.CSS
	Base   string // URL of the server, as the reader knows it
	Keyed  bool   // calls need the key
	Groups []group
	Shapes []shape
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, code int, v view) {
	v.Info, v.Style, v.Base = h.info, template.CSS(pageStyle), baseOf(r.Context())
	var out bytes.Buffer
	if err := h.page.Execute(&out, v); err != nil {
		h.deny(w, r, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	hd := w.Header()
	hd.Set("Content-Type", "text/html; charset=utf-8")
	hd.Set("Content-Security-Policy", h.policy)
	hd.Set("Cache-Control", "no-store")
	if code == http.StatusUnauthorized {
		hd.Set("WWW-Authenticate", `Bearer realm="anthill"`)
	}
	w.WriteHeader(code)
	if _, err := w.Write(out.Bytes()); err != nil {
		return // nobody is left
	}
}

func baseOf(ctx context.Context) string {
	x := edge.ExternalOf(ctx)
	return x.Scheme + "://" + x.Host + x.Prefix
}
