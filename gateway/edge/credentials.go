package edge

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"
)

// Credentials is what identifies the caller of a request, and nothing else, as
// metadata for the in-process channel. Browsers cannot add headers to the
// handshake of a WebSocket, nor to an event stream: these may show a key or
// token in the query or as a subprotocol as well.
func Credentials(r *http.Request) metadata.MD {
	var md metadata.MD
	add := func(name, value string) {
		if value == "" {
			return
		}
		if md == nil {
			md = metadata.MD{}
		}
		md.Append(name, value)
	}
	add("authorization", r.Header.Get("Authorization"))
	add("x-api-key", r.Header.Get("X-Api-Key"))
	if strings.Contains(r.URL.RawQuery, "apiKey=") || strings.Contains(r.URL.RawQuery, "token=") {
		query := r.URL.Query()
		add("x-api-key", query.Get("apiKey"))
		add("x-api-key", query.Get("token"))
	}
	if r.Header["Upgrade"] != nil {
		add("x-api-key", strings.TrimPrefix(TokenProtocol(r), tokenProtocol))
	}
	if r.Header["Cookie"] != nil {
		for _, s := range browserSessions(r) {
			add("x-browser-session", s)
		}
	}
	return md
}

// tokenProtocol begins a WebSocket subprotocol that is a key or token.
const tokenProtocol = "ant.token."

// TokenProtocol is the subprotocol by which a handshake shows a key, or "". The
// answer must agree to it, or a browser hangs up.
func TokenProtocol(r *http.Request) string {
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(line, ",") {
			if p = strings.TrimSpace(p); strings.HasPrefix(p, tokenProtocol) {
				return p
			}
		}
	}
	return ""
}

// Outgoing is the context of a call that a request leads to.
func Outgoing(r *http.Request) context.Context {
	return metadata.NewOutgoingContext(r.Context(), Credentials(r))
}
