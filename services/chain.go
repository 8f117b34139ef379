package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/access"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// chain is what every call passes, on whichever server: who calls, is the
// request complete, and what does its failure look like outside.
type chain struct {
	access *access.Room
	newID  func(prefix string) string
	log    *slog.Logger
}

func (c *chain) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			resp, err = nil, c.outside(info.FullMethod, err)
		}
	}()
	if ctx, err = c.access.Unary(ctx, info.FullMethod, req); err != nil {
		return nil, err
	}
	if err := complete(req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (c *chain) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		} else if err != nil && s.Context().Err() != nil {
			err = s.Context().Err() // the caller has gone: whatever failed, failed by that
		}
		if err != nil {
			err = c.outside(info.FullMethod, err)
		}
	}()
	in, err := c.access.Stream(s.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer in.Release()
	err = next(srv, admittedStream{s, in})
	if ended := in.Ended(); ended != nil {
		return ended
	}
	return err
}

// outside is what a caller sees of err. What is not meant for callers is
// logged under an id, and they are told the id.
func (c *chain) outside(method string, err error) error {
	id := c.newID("err_")
	st, told := fault.Status(storeFault(err), id)
	if !told {
		c.log.Error("internal error", "id", id, "method", method, "error", err)
	}
	return st.Err()
}

// storeFault gives the store's conditions a name that callers know.
func storeFault(err error) error {
	switch {
	case errors.Is(err, store.ErrFull):
		return fault.New(fault.Exhausted, "DISK_FULL", "The disk is full: free some space and try again.").Because(err)
	case errors.Is(err, store.ErrReadOnly):
		return fault.New(fault.Unavailable, "STORE_READ_ONLY",
			"Writing failed and was stopped to protect the data: check the disk and restart the server.").Because(err)
	case errors.Is(err, store.ErrLimit):
		return fault.New(fault.Invalid, "BODY_TOO_LARGE", "The request is larger than what can be stored at once.").Because(err)
	case errors.Is(err, store.ErrClosed):
		return fault.New(fault.Unavailable, "STOPPING", "The server is stopping.").RetryAfter(2 * time.Second)
	}
	return err
}

// admittedStream checks each message that a client sends, and ends when its
// caller may no longer call.
type admittedStream struct {
	grpc.ServerStream
	in *access.Admission
}

func (s admittedStream) Context() context.Context { return s.in.Context() }

func (s admittedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if err := s.in.Bind(m); err != nil {
		return err
	}
	return complete(m)
}

func (s admittedStream) SendMsg(m any) error {
	if err := s.in.Ended(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

var required sync.Map // message name -> []protoreflect.FieldDescriptor

// complete refuses a message that could not be decoded, that holds NUL in a
// text, or that lacks what its descriptor marks required: a field with presence
// must be set, one without must not be zero.
func complete(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	r := m.ProtoReflect()
	if bytes.Equal(r.GetUnknown(), undecodable) {
		return fault.New(fault.Invalid, "INVALID_MESSAGE", "The message could not be decoded.")
	}
	var missing []fault.Field
	for _, fd := range requiredFields(r.Descriptor()) {
		if !r.Has(fd) {
			missing = append(missing, fault.Field{Path: []string{string(fd.Name())}, Message: "Field required", Type: "missing"})
		}
	}
	if missing != nil {
		return &fault.Error{Kind: fault.Invalid, Reason: "MISSING_FIELD",
			Message: missing[0].Path[0] + ": field required", Fields: missing}
	}
	if path := findNUL(r); path != nil {
		return fault.BadField("value_error", "A text must not hold NUL", path...)
	}
	return nil
}

// findNUL returns the path of a text that holds NUL, or nil.
func findNUL(m protoreflect.Message) (path []string) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(fd.Name())
		found := func(at string, v protoreflect.Value, kind protoreflect.Kind) bool {
			var below []string
			switch {
			case kind == protoreflect.StringKind && strings.IndexByte(v.String(), 0) >= 0:
				below = []string{}
			case kind == protoreflect.MessageKind:
				below = findNUL(v.Message())
			}
			if below == nil {
				return false
			}
			path = append([]string{name}, below...)
			if at != "" {
				path = append([]string{name, at}, below...)
			}
			return true
		}
		switch {
		case fd.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				return !found("", k.Value(), fd.MapKey().Kind()) && !found(k.String(), v, fd.MapValue().Kind())
			})
		case fd.IsList() && (fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.MessageKind):
			for i := 0; i < v.List().Len() && path == nil; i++ {
				found(strconv.Itoa(i), v.List().Get(i), fd.Kind())
			}
		case !fd.IsList():
			found("", v, fd.Kind())
		}
		return path == nil
	})
	return path
}

func requiredFields(md protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	if known, ok := required.Load(md.FullName()); ok {
		return known.([]protoreflect.FieldDescriptor)
	}
	var out []protoreflect.FieldDescriptor
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if must, ok := proto.GetExtension(fd.Options(), antonv1.E_Required).(bool); ok && must {
			out = append(out, fd)
		}
	}
	required.Store(md.FullName(), out)
	return out
}
