package services

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	if err := c.access.Check(ctx, info.FullMethod); err != nil {
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
		}
		if err != nil {
			err = c.outside(info.FullMethod, err)
		}
	}()
	if err := c.access.Check(s.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, completeStream{s})
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

// completeStream checks each message that a client sends.
type completeStream struct{ grpc.ServerStream }

func (s completeStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return decodeFault(err)
	}
	return complete(m)
}

// decodeFault says of a message that could not be read that the client sent it so.
func decodeFault(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() == codes.Internal {
		return fault.New(fault.Invalid, "INVALID_MESSAGE", "The message could not be decoded.").Because(err)
	}
	return err
}

var required sync.Map // message name -> []protoreflect.FieldDescriptor

// complete refuses a message that lacks what its descriptor marks required: a
// field with presence must be set, one without must not be zero.
func complete(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	r := m.ProtoReflect()
	var missing []fault.Field
	for _, fd := range requiredFields(r.Descriptor()) {
		if !r.Has(fd) {
			missing = append(missing, fault.Field{Path: []string{string(fd.Name())}, Message: "Field required", Type: "missing"})
		}
	}
	if missing == nil {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Reason: "MISSING_FIELD",
		Message: missing[0].Path[0] + ": field required", Fields: missing}
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

// registrar registers services so that a request which cannot be decoded is
// the client's error: grpc calls it Internal, before any interceptor runs.
type registrar struct{ grpc.ServiceRegistrar }

func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	own := *desc
	own.Methods = append([]grpc.MethodDesc(nil), desc.Methods...)
	for i, m := range desc.Methods {
		own.Methods[i].Handler = func(srv any, ctx context.Context, dec func(any) error, next grpc.UnaryServerInterceptor) (any, error) {
			return m.Handler(srv, ctx, func(v any) error {
				err := dec(v)
				if err == nil {
					return nil
				}
				st, _ := fault.Status(decodeFault(err), "")
				return st.Err()
			}, next)
		}
	}
	r.ServiceRegistrar.RegisterService(&own, impl)
}
