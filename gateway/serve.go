package gateway

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Serve implements ant.Channel.
func (ch *channel) Serve(ctx context.Context, method string, ask func(context.Context) (proto.Message, error), answer func(proto.Message) error) error {
	m, ok := ch.streams[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	md, _ := metadata.FromOutgoingContext(ctx)
	s := &served{ask: ask, answer: answer}
	s.ctx = grpc.NewContextWithServerTransportStream(metadata.NewIncomingContext(ctx, md), &s.sent)
	s.method = method
	err := ch.stream(m.impl, s, &grpc.StreamServerInfo{FullMethod: method, IsClientStream: m.desc.ClientStreams, IsServerStream: m.desc.ServerStreams}, m.desc.Handler)
	s.end()
	if _, ok := status.FromError(err); !ok {
		err = status.FromContextError(err).Err()
	}
	return err
}

// served is the handler's side of a stream that its caller serves.
type served struct {
	sent
	ctx context.Context
	ask func(context.Context) (proto.Message, error)

	mu     sync.Mutex
	answer func(proto.Message) error // nil: the handler has ended
}

// end keeps what the handler left behind from answering.
func (s *served) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = nil
}

// Context implements grpc.ServerStream.
func (s *served) Context() context.Context { return s.ctx }

// SetTrailer implements grpc.ServerStream: nobody asks for it.
func (s *served) SetTrailer(metadata.MD) {}

// SendMsg implements grpc.ServerStream.
func (s *served) SendMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "not a message: %T", m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer == nil || s.ctx.Err() != nil {
		return io.EOF
	}
	return s.answer(msg)
}

// RecvMsg implements grpc.ServerStream.
func (s *served) RecvMsg(m any) error {
	from, err := s.ask(s.ctx)
	if err != nil {
		return err
	}
	return handOver{}.Copy(m, from)
}
