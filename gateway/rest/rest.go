// Package rest is what the REST dialects share: the table of routes, the JSON of
// generated routes, and how a body that does not fit is described.
//
// It knows no dialect: each makes its own answers of what is found here, and
// nothing here writes one.
package rest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// MuxOptions is where the dialects differ.
type MuxOptions struct {
	Marshaler runtime.Marshaler
	Metadata  func(*http.Request) metadata.MD                                       // of the calls
	Rewrite   func(context.Context, proto.Message) (any, error)                     // of the answers; nil: as they are
	Error     func(w http.ResponseWriter, r *http.Request, err error)               // of a call that failed
	NoRoute   func(w http.ResponseWriter, r *http.Request)                          // for what no route takes
	Forward   func(context.Context, http.ResponseWriter, proto.Message) (err error) // before an answer is written; nil: nothing
}

// NewMux makes a mux for generated routes that takes nothing from a request but
// its path, query and body: no metadata, no deadline, no other method.
func NewMux(o MuxOptions) *runtime.ServeMux {
	refuse := func(string) (string, bool) { return "", false }
	opts := []runtime.ServeMuxOption{
		runtime.WithMarshalerOption(runtime.MIMEWildcard, o.Marshaler),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllCharacters),
		runtime.WithIncomingHeaderMatcher(refuse),
		runtime.WithOutgoingHeaderMatcher(refuse),
		runtime.WithOutgoingTrailerMatcher(refuse),
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD { return o.Metadata(r) }),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			o.Error(w, r, err)
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, _ int) {
			o.NoRoute(w, r)
		}),
	}
	if o.Rewrite != nil {
		opts = append(opts, runtime.WithForwardResponseRewriter(o.Rewrite))
	}
	if o.Forward != nil {
		opts = append(opts, runtime.WithForwardResponseOption(o.Forward))
	}
	return runtime.NewServeMux(opts...)
}

// ValidQuery says whether a query decodes to text. What does not decode at all
// is left to whoever reads it.
func ValidQuery(raw string) bool {
	if !strings.Contains(raw, "%") {
		return utf8.ValidString(raw)
	}
	text, err := url.QueryUnescape(raw)
	return err != nil || utf8.ValidString(text)
}
