package ant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// statusByReason has the reasons that any call may give; those of one resource
// are in its file.
var statusByReason = map[string]int{
	"BODY_TOO_LARGE": http.StatusRequestEntityTooLarge,
	"DISK_FULL":      http.StatusInsufficientStorage,
}

var statusByCode = map[codes.Code]int{
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.OutOfRange:         http.StatusBadRequest,
	codes.FailedPrecondition: http.StatusConflict,
	codes.NotFound:           http.StatusNotFound,
	codes.AlreadyExists:      http.StatusConflict,
	codes.PermissionDenied:   http.StatusForbidden,
	codes.Unauthenticated:    http.StatusUnauthorized,
	codes.ResourceExhausted:  http.StatusTooManyRequests,
	codes.Unavailable:        http.StatusServiceUnavailable,
	codes.Unimplemented:      http.StatusNotImplemented,
	codes.DeadlineExceeded:   http.StatusGatewayTimeout,
	codes.Aborted:            http.StatusBadGateway,
	codes.Canceled:           499, // the client is gone; nobody reads it
}

// problem is an error answer before it is written.
type problem struct {
	status     int
	message    string
	retryAfter int    // seconds; 0: not said
	beside     object // further members
}

// write answers with both keys that clients look for.
func (p problem) write(w http.ResponseWriter) {
	body := object{"error": p.message, "message": p.message}
	maps.Copy(body, p.beside)
	hd := w.Header()
	hd.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		hd.Set("Retry-After", strconv.Itoa(p.retryAfter))
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
		code, b = http.StatusInternalServerError, []byte(`{"error":"Internal Server Error","message":"Internal Server Error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(b); err != nil {
		return
	}
}

// Deny is how the edge writes its refusals.
func Deny(w http.ResponseWriter, _ *http.Request, code int, message string) {
	problem{status: code, message: message}.write(w)
}

// refuse answers a problem that the gateway found by itself. A caller without
// the key learns only that it needs one, whatever else is wrong.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	if _, err := h.access.GetCaller(edge.Outgoing(r), &antonv1.GetCallerRequest{}); status.Code(err) == codes.Unauthenticated {
		p = h.problemOf(err)
	}
	p.write(w)
}

// callFailed answers the error of a call, made by hand or by generated code.
func (h *Handler) callFailed(w http.ResponseWriter, r *http.Request, err error) {
	var routing *runtime.HTTPStatusError
	if errors.As(err, &routing) {
		err = routing.Err
	}
	p := h.problemOf(err)
	if p.status == http.StatusUnauthorized {
		p.write(w)
		return
	}
	h.refuse(w, r, p)
}

// The generated code hands on its own failures as text only.
var (
	badPath  = regexp.MustCompile(`^type mismatch, parameter: ([A-Za-z_]+)`)
	badQuery = regexp.MustCompile(`^parsing field "([A-Za-z_.]+)"`)
)

// problemOf turns a call's error into an answer.
func (h *Handler) problemOf(err error) problem {
	st, ok := status.FromError(err)
	if !ok {
		if errors.Is(err, context.Canceled) {
			return problem{status: 499, message: "Client closed the request"}
		}
		return problem{status: http.StatusInternalServerError, message: "Internal Server Error"}
	}
	msg := st.Message()
	if bad, found := rest.BodyErrorIn(msg); found {
		return bodyProblem(bad)
	}
	for _, re := range []*regexp.Regexp{badPath, badQuery} {
		if m := re.FindStringSubmatch(msg); m != nil {
			return problem{status: http.StatusBadRequest, message: m[1] + ": could not be read as the type of this parameter"}
		}
	}
	p := problem{status: statusByCode[st.Code()], message: msg}
	if p.status == 0 {
		p.status = http.StatusInternalServerError
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if s := statusByReason[d.Reason]; s != 0 {
				p.status = s
			}
			if s := h.reasons[d.Reason]; s != 0 {
				p.status = s
			}
			if beside := h.beside[d.Reason]; beside != nil {
				p.beside = beside(d.Metadata)
			}
		case *errdetails.RetryInfo:
			p.retryAfter = int(math.Ceil(d.RetryDelay.AsDuration().Seconds()))
		case *errdetails.BadRequest:
			p.message = violations(d)
		}
	}
	return p
}

// violations are the wrong fields of a request as one sentence.
func violations(bad *errdetails.BadRequest) string {
	var parts []string
	for _, v := range bad.FieldViolations {
		if strings.HasPrefix(v.Description, v.Field) {
			parts = append(parts, v.Description) // it says so itself
			continue
		}
		parts = append(parts, v.Field+": "+v.Description)
	}
	return strings.Join(parts, "; ")
}

// bodyProblem is the answer to a body that was not read.
func bodyProblem(bad *rest.BodyError) problem {
	if len(bad.Fields) == 0 {
		return problem{status: bad.Status, message: bad.Detail}
	}
	var parts []string
	for _, f := range bad.Fields {
		var at []string
		for _, l := range f.Loc[1:] {
			at = append(at, fmt.Sprint(l))
		}
		switch {
		case f.Type == "json_invalid":
			parts = append(parts, "Invalid JSON: "+f.Msg)
		case len(at) == 0:
			parts = append(parts, "The request body should be a JSON object")
		default:
			parts = append(parts, strings.Join(at, ".")+": "+f.Msg)
		}
	}
	return problem{status: http.StatusBadRequest, message: strings.Join(parts, "; ")}
}
