package gateway

import (
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/edge"
	antonv1 "anthill/gen/anton/v1"
)

// launchPath is the one route that takes a secret from the query by design: the
// code of a launch link, which works once.
const launchPath = "/launch"

// launch gives the browser that follows a launch link its session.
func launch(channel grpc.ClientConnInterface) http.Handler {
	access := antonv1.NewAccessServiceClient(channel)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet {
			h.Set("Allow", "GET, HEAD")
			say(w, http.StatusMethodNotAllowed, "Method Not Allowed\n")
			return
		}
		s, err := access.OpenBrowserSession(r.Context(), &antonv1.OpenBrowserSessionRequest{
			Code: r.URL.Query().Get("code"), UserAgent: r.UserAgent()})
		switch status.Code(err) {
		case codes.OK:
		case codes.Unauthenticated, codes.InvalidArgument:
			say(w, http.StatusForbidden, "This launch link was used already, or is older than ten minutes.\nA new one: anthill link\n")
			return
		default:
			say(w, http.StatusServiceUnavailable, "The server cannot open a session now: "+status.Convert(err).Message()+"\n")
			return
		}
		edge.SetSession(r.Context(), w, s.Token)
		h.Set("Location", "/")
		w.WriteHeader(http.StatusSeeOther)
	})
}

// say answers a person; one who has gone is nobody's error.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	if _, err := io.WriteString(w, text); err != nil {
		return
	}
}
