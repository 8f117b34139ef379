package gateway

import (
	"context"
	"errors"
	"io"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// channel is what REST, SSE and WebSockets call: the same services and
// interceptors as on the port, without a socket between.
//
// Streams are grpchan's. Unary calls run on the caller's goroutine: a REST
// call has one already, and a new one would grow its stack anew each time. So do
// streams that are served ([channel.Serve]).
type channel struct {
	*inprocgrpc.Channel
	unary     grpc.UnaryServerInterceptor
	stream    grpc.StreamServerInterceptor
	endpoints map[string]endpoint
	streams   map[string]streaming
}

// endpoint is the handler of one unary method.
type endpoint struct {
	impl   any
	handle grpc.MethodHandler
}

// streaming is the handler of one method with streams.
type streaming struct {
	impl any
	desc *grpc.StreamDesc
}

// inProcess makes a channel to the services.
func inProcess(register func(grpc.ServiceRegistrar), unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor) *channel {
	ch := &channel{Channel: &inprocgrpc.Channel{}, unary: unary, stream: stream, endpoints: map[string]endpoint{}, streams: map[string]streaming{}}
	ch.WithServerStreamInterceptor(stream).WithCloner(handOver{})
	register(ch)
	return ch
}

// RegisterService implements grpc.ServiceRegistrar.
func (ch *channel) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		ch.endpoints["/"+desc.ServiceName+"/"+m.MethodName] = endpoint{impl, m.Handler}
	}
	for i := range desc.Streams {
		ch.streams["/"+desc.ServiceName+"/"+desc.Streams[i].StreamName] = streaming{impl, &desc.Streams[i]}
	}
	ch.Channel.RegisterService(desc, impl)
}

// Invoke implements grpc.ClientConnInterface. Of the options only Header and
// Trailer have an effect. Request and answer are copied, as on a wire.
func (ch *channel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	e, ok := ch.endpoints[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	sent := &sent{method: method}
	call := grpc.NewContextWithServerTransportStream(metadata.NewIncomingContext(ctx, md), sent)
	resp, err := e.handle(e.impl, call, func(into any) error { return copyMessage(into, args) }, ch.unary)
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = sent.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = sent.trailer
		}
	}
	if err != nil {
		return err
	}
	return copyMessage(reply, resp)
}

// NewStream implements grpc.ClientConnInterface.
func (ch *channel) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := ch.Channel.NewStream(ctx, desc, method, opts...)
	if err != nil || desc.ClientStreams {
		return s, err
	}
	return oneRequest{s}, nil
}

// oneRequest is a call whose request is a single message. If the handler has
// refused it before the message was sent, Recv tells why, as it does with grpc.
type oneRequest struct{ grpc.ClientStream }

// SendMsg implements grpc.ClientStream.
func (s oneRequest) SendMsg(m any) error {
	if err := s.ClientStream.SendMsg(m); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// handOver passes the messages of streams on instead of copying them twice:
// whoever sends one on this channel makes it anew and keeps no hold of it.
type handOver struct{}

// Clone implements inprocgrpc.Cloner.
func (handOver) Clone(m any) (any, error) { return m, nil }

// Copy implements inprocgrpc.Cloner: out shares what in holds.
func (handOver) Copy(out, in any) error {
	dst, ok := out.(proto.Message)
	src, also := in.(proto.Message)
	if !ok || !also {
		return status.Errorf(codes.Internal, "not messages: %T, %T", out, in)
	}
	to, from := dst.ProtoReflect(), src.ProtoReflect()
	from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(fd, v)
		return true
	})
	return nil
}

func copyMessage(into, from any) error {
	dst, ok := into.(proto.Message)
	src, also := from.(proto.Message)
	if !ok || !also {
		return status.Errorf(codes.Internal, "not messages: %T, %T", into, from)
	}
	proto.Merge(dst, src)
	return nil
}

// sent collects the metadata that a handler sends with its answer.
type sent struct {
	method          string
	header, trailer metadata.MD
}

// Method implements grpc.ServerTransportStream.
func (s *sent) Method() string { return s.method }

// SetHeader implements grpc.ServerTransportStream.
func (s *sent) SetHeader(md metadata.MD) error {
	s.header = metadata.Join(s.header, md)
	return nil
}

// SendHeader implements grpc.ServerTransportStream.
func (s *sent) SendHeader(md metadata.MD) error { return s.SetHeader(md) }

// SetTrailer implements grpc.ServerTransportStream.
func (s *sent) SetTrailer(md metadata.MD) error {
	s.trailer = metadata.Join(s.trailer, md)
	return nil
}
