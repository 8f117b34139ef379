package edge

import (
	"net/http"
	"strings"
)

// Header values that every answer shares. Their capacity is their length, so an
// Add by a handler copies them.
var (
	valueNosniff    = []string{"nosniff"}
	valueNoReferrer = []string{"no-referrer"}
	valueTrue       = []string{"true"}
	valueVary       = []string{headerOrigin}
	valueVaryAll    = []string{headerOrigin + ", " + headerRequestMethod + ", " + headerRequestHeaders}
	valueExpose     = []string{headerRequestID + ", Retry-After"}
	valueMethods    = []string{"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	valueMaxAge     = []string{"600"}
)

// share lets the page of an allowed Origin read the answer.
func share(h http.Header, r *http.Request) {
	h["Vary"] = valueVary
	if origin := r.Header[headerOrigin]; len(origin) > 0 {
		h["Access-Control-Allow-Origin"] = origin[:1:1]
		h["Access-Control-Allow-Credentials"] = valueTrue
		h["Access-Control-Expose-Headers"] = valueExpose
	}
}

// answerOptions answers OPTIONS for every path, whether it exists or not: a
// preflight from an allowed origin is told yes, anybody else which methods there
// are. Whether a request may be made is decided when it is made.
func answerOptions(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if len(r.Header[headerOrigin]) == 0 || len(r.Header[headerRequestMethod]) == 0 {
		h["Allow"] = valueMethods
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h["Vary"] = valueVaryAll
	h["Access-Control-Allow-Methods"] = valueMethods
	h["Access-Control-Max-Age"] = valueMaxAge
	if names := r.Header[headerRequestHeaders]; len(names) > 0 {
		h["Access-Control-Allow-Headers"] = []string{strings.Join(names, ", ")}
	}
	w.WriteHeader(http.StatusNoContent)
}
