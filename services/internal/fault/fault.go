// Package fault holds the errors that callers may see.
//
// Rooms and engines return a *Error for everything a caller can cause or act
// on; any other error is an internal one, and its text never leaves the
// process. Status turns either into a gRPC status, once, in the interceptor
// that every call passes. Nothing here knows a dialect: the gateway maps the
// reason to an HTTP status and a body.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Domain is the ErrorInfo domain of all our statuses.
const Domain = "anthill"

// Kind is the sort of failure; it decides the gRPC code.
type Kind codes.Code

const (
	Invalid         = Kind(codes.InvalidArgument)    // the request is wrong in itself
	NotFound        = Kind(codes.NotFound)           // what it names does not exist
	Conflict        = Kind(codes.AlreadyExists)      // what it makes exists
	Precondition    = Kind(codes.FailedPrecondition) // not in the present state
	Denied          = Kind(codes.PermissionDenied)   // known caller, not allowed
	Unauthenticated = Kind(codes.Unauthenticated)    // unknown caller
	Exhausted       = Kind(codes.ResourceExhausted)  // a limit or the disk
	Unavailable     = Kind(codes.Unavailable)        // try again later
	Upstream        = Kind(codes.Aborted)            // a model provider failed
)

// Error is a failure told to the caller.
type Error struct {
	Kind    Kind
	Reason  string // stable, UPPER_SNAKE_CASE: programs and dialects go by it
	Message string // for people: what is wrong and what to do; no secrets
	Fields  []Field
	Meta    map[string]string // for the dialect: attach, code, …
	Retry   time.Duration     // when to try again; 0: not said
	cause   error
}

// Field is one wrong field of a request, by its JSON path.
type Field struct {
	Path    []string
	Message string
	Type    string // pydantic's error type: missing, value_error, …
}

func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Reason, e.Message, e.cause)
	}
	return e.Reason + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// New makes an Error with a formatted message.
func New(k Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: k, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Because sets the cause, which is logged and never shown.
func (e *Error) Because(cause error) *Error { e.cause = cause; return e }

// With adds metadata for the dialect.
func (e *Error) With(key, value string) *Error {
	if e.Meta == nil {
		e.Meta = map[string]string{}
	}
	e.Meta[key] = value
	return e
}

// RetryAfter says when to try again.
func (e *Error) RetryAfter(d time.Duration) *Error { e.Retry = d; return e }

// Missing says that something does not exist, in the words of its dialect.
func Missing(reason, format string, args ...any) *Error {
	return New(NotFound, reason, format, args...)
}

// BadField says that one field of the request body is wrong.
func BadField(typ, message string, path ...string) *Error {
	return &Error{Kind: Invalid, Reason: "INVALID_FIELD", Message: message,
		Fields: []Field{{Path: path, Message: message, Type: typ}}}
}

// Status is what a caller of gRPC sees of err. ok is false if err is not for
// callers: then the status names only id, under which err should be logged.
func Status(err error, id string) (st *status.Status, ok bool) {
	var f *Error
	if errors.As(err, &f) {
		return f.status(), true
	}
	if s, isStatus := status.FromError(err); isStatus && s.Code() != codes.Unknown {
		return s, true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err), true
	}
	return status.New(codes.Internal, "internal error "+id), false
}

func (e *Error) status() *status.Status {
	st := status.New(codes.Code(e.Kind), e.Message)
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.ErrorInfo{
		Reason: e.Reason, Domain: Domain, Metadata: e.Meta})}
	if len(e.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range e.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: joinPath(f.Path), Description: f.Message, Reason: f.Type})
		}
		details = append(details, protoadapt.MessageV1Of(bad))
	}
	if e.Retry > 0 {
		details = append(details, protoadapt.MessageV1Of(
			&errdetails.RetryInfo{RetryDelay: durationpb.New(e.Retry)}))
	}
	full, err := st.WithDetails(details...)
	if err != nil { // a status of OK, which no Kind maps to
		return st
	}
	return full
}

func joinPath(path []string) string {
	out := ""
	for i, p := range path {
		if i > 0 {
			out += "."
		}
		out += p
	}
	return out
}
