package edge

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"
)

// Credentials is what identifies the caller of a request, and nothing else, as
// metadata for the in-process channel.
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
	if strings.Contains(r.URL.RawQuery, "apiKey=") {
		add("x-api-key", r.URL.Query().Get("apiKey"))
	}
	return md
}

// Outgoing is the context of a call that a request leads to.
func Outgoing(r *http.Request) context.Context {
	return metadata.NewOutgoingContext(r.Context(), Credentials(r))
}
