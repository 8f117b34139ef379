package anton

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antonv1 "anthill/gen/anton/v1"
)

// statusByReason is the table from our error reasons to HTTP, where the gRPC
// code does not say it already.
var statusByReason = map[string]int{
	"CONVERSATION_BUSY":  http.StatusConflict,
	"PROJECT_BUSY":       http.StatusConflict,
	"BACKUP_RUNNING":     http.StatusConflict,
	"SCRATCHPAD_BUSY":    http.StatusConflict,
	"SCRATCHPAD_CLOSED":  http.StatusConflict,
	"SETTINGS_NOT_SAVED": http.StatusInternalServerError, // anton.md 6
	"SETTINGS_TOO_LARGE": http.StatusRequestEntityTooLarge,
	"BODY_TOO_LARGE":     http.StatusRequestEntityTooLarge,
	"FILE_TOO_LARGE":     http.StatusRequestEntityTooLarge,
	"FILE_NOT_TEXT":      http.StatusUnsupportedMediaType,
	"TOO_MANY_FILES":     http.StatusRequestEntityTooLarge,
	"DISK_FULL":          http.StatusInsufficientStorage,
	"OVERLOADED":         http.StatusTooManyRequests,
}

var statusByCode = map[codes.Code]int{
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.OutOfRange:         http.StatusBadRequest,
	codes.FailedPrecondition: http.StatusBadRequest,
	codes.NotFound:           http.StatusNotFound,
	codes.AlreadyExists:      http.StatusConflict,
	codes.PermissionDenied:   http.StatusForbidden,
	codes.Unauthenticated:    http.StatusUnauthorized,
	codes.ResourceExhausted:  http.StatusTooManyRequests,
	codes.Unavailable:        http.StatusServiceUnavailable,
	codes.DeadlineExceeded:   http.StatusGatewayTimeout,
	codes.Aborted:            http.StatusBadGateway,
	codes.Canceled:           499, // the client is gone; nobody reads it
}

// problem is an error answer before it is written.
type problem struct {
	status     int
	detail     any // a sentence, or a list of field errors
	code       string
	param      string
	retryAfter int // seconds; 0: not said
	attach     string
	noRetry    bool // SDKs must not send the request again by themselves
}

func invalid(list ...rest.FieldError) problem {
	p := problem{status: http.StatusUnprocessableEntity, detail: list, code: "invalid_request"}
	if len(list) > 0 && len(list[0].Loc) > 1 {
		p.param = locString(list[0].Loc[1:])
	}
	return p
}

func locString(loc []any) string {
	var parts []string
	for _, l := range loc {
		if s, ok := l.(string); ok {
			parts = append(parts, s)
		} else if n, ok := l.(int); ok {
			parts = append(parts, strconv.Itoa(n))
		}
	}
	return strings.Join(parts, ".")
}

// sharedRoute says whether OpenAI's SDKs call the path too.
func sharedRoute(path string) bool {
	for _, p := range []string{"/v1/responses", "/v1/conversations", "/v1/models", "/v1/chat"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// errorObject is OpenAI's shape.
type errorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

type errorBody struct {
	Detail any          `json:"detail"`
	Error  *errorObject `json:"error,omitempty"`
	Attach string       `json:"attach,omitempty"`
}

// write answers with the problem in the dialect of the route.
func (p problem) write(w http.ResponseWriter, r *http.Request) {
	body := errorBody{Detail: p.detail, Attach: edge.Link(r.Context(), p.attach)}
	if sharedRoute(r.URL.Path) {
		body.Error = &errorObject{Message: p.sentence(), Type: p.kind()}
		if p.code != "" {
			body.Error.Code = &p.code
		}
		if p.param != "" {
			body.Error.Param = &p.param
		}
	}
	hd := w.Header()
	hd.Set("Content-Type", "application/json")
	hd.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		hd.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.noRetry {
		hd.Set("X-Should-Retry", "false")
	}
	if p.status == http.StatusUnauthorized {
		hd.Set("WWW-Authenticate", `Bearer realm="anthill"`)
	}
	writeJSON(w, p.status, body)
}

// writeJSON writes v; a client that hung up is nobody's error.
func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"detail":"Internal Server Error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(b); err != nil {
		return
	}
}

func (p problem) sentence() string {
	switch d := p.detail.(type) {
	case string:
		return d
	case []rest.FieldError:
		var parts []string
		for _, f := range d {
			if len(f.Loc) > 1 {
				parts = append(parts, locString(f.Loc[1:])+": "+f.Msg)
			} else {
				parts = append(parts, f.Msg)
			}
		}
		return strings.Join(parts, "; ")
	}
	return http.StatusText(p.status)
}

func (p problem) kind() string {
	switch {
	case p.status == http.StatusUnauthorized:
		return "authentication_error"
	case p.status == http.StatusForbidden:
		return "permission_error"
	case p.status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case p.status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// refuse answers a problem that the gateway found by itself. A caller without
// the key learns only that it needs one, whatever else is wrong; so does a guest
// of a room, who has no business here.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	c, err := h.access.GetCaller(outgoing(r), &antonv1.GetCallerRequest{})
	switch {
	case status.Code(err) == codes.Unauthenticated:
		p = problemOf(r, err)
	case c.GetKind() == guest && p.status != http.StatusForbidden:
		p = problem{status: http.StatusForbidden, detail: "This action requires master API key, not a per-room token"}
	}
	p.write(w, r)
}

// guest is the kind of a caller who shows the token of a room.
const guest = "token"

// Deny is how the edge writes its refusals.
func Deny(w http.ResponseWriter, r *http.Request, code int, message string) {
	problem{status: code, detail: message}.write(w, r)
}

// gatewayError is the error handler of the generated routes.
func (h *Handler) gatewayError(w http.ResponseWriter, r *http.Request, err error) {
	var routing *runtime.HTTPStatusError
	if errors.As(err, &routing) {
		err = routing.Err
	}
	p := problemOf(r, err)
	if p.status == http.StatusUnauthorized {
		p.write(w, r)
		return
	}
	h.refuse(w, r, p)
}

// The generated code hands on its own failures as text only.
var (
	badPath  = regexp.MustCompile(`^type mismatch, parameter: ([a-z_]+)`)
	badQuery = regexp.MustCompile(`^parsing field "([a-z_.]+)"`)
)

// problemOf turns a call's error into an answer.
func problemOf(r *http.Request, err error) problem {
	st, ok := status.FromError(err)
	if !ok {
		if errors.Is(err, context.Canceled) {
			return problem{status: 499, detail: "Client closed the request"}
		}
		return problem{status: http.StatusInternalServerError, detail: "Internal Server Error"}
	}
	msg := st.Message()
	if bad, found := rest.BodyErrorIn(msg); found {
		return bodyProblem(bad)
	}
	if m := badPath.FindStringSubmatch(msg); m != nil {
		return invalid(rest.FieldError{Type: "int_parsing", Loc: []any{"path", m[1]},
			Msg: "Input should be a valid integer, unable to parse string as an integer"})
	}
	if m := badQuery.FindStringSubmatch(msg); m != nil {
		return invalid(rest.FieldError{Type: "parsing", Loc: []any{"query", m[1]},
			Msg: "Input could not be read as the type of this parameter", Input: r.URL.Query().Get(m[1])})
	}
	p := problem{status: statusByCode[st.Code()], detail: msg}
	if p.status == 0 {
		p.status = http.StatusInternalServerError
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			p.code = strings.ToLower(d.Reason)
			p.attach, p.param = d.Metadata["attach"], d.Metadata["param"]
			p.noRetry = d.Reason == "QUEUE_HELD" || d.Reason == "TAKEN_BACK"
			if s := statusByReason[d.Reason]; s != 0 {
				p.status = s
			}
		case *errdetails.RetryInfo:
			p.retryAfter = int(math.Ceil(d.RetryDelay.AsDuration().Seconds()))
		case *errdetails.BadRequest:
			q := invalid(fieldErrors(r, d)...)
			p.status, p.detail, p.param = q.status, q.detail, q.param
		}
	}
	return p
}

// fieldErrors places violations where the caller wrote the fields.
func fieldErrors(r *http.Request, bad *errdetails.BadRequest) []rest.FieldError {
	place := "body"
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		place = "query"
	}
	var list []rest.FieldError
	for _, v := range bad.FieldViolations {
		loc := []any{place}
		for _, part := range strings.Split(v.Field, ".") {
			if n, err := strconv.Atoi(part); err == nil {
				loc = append(loc, n)
			} else {
				loc = append(loc, part)
			}
		}
		typ := v.Reason
		if typ == "" {
			typ = "value_error"
		}
		list = append(list, rest.FieldError{Type: typ, Loc: loc, Msg: v.Description})
	}
	return list
}
