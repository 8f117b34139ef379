package blackbox

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	antonv1 "anthill/gen/anton/v1"
)

// dial connects to the port by gRPC.
func (s *server) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)
	conn, err := grpc.NewClient(s.addr, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return conn
}

// call is the context of one gRPC call, with the key of the server if it has one.
func (s *server) call() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	if s.opts.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", s.opts.key)
	}
	return ctx
}

// wantCode checks the code of a failed call and that nothing of the inside shows.
func wantCode(t *testing.T, what string, err error, want ...codes.Code) {
	t.Helper()
	if got := status.Code(err); !slices.Contains(want, got) {
		t.Errorf("%s: %v (%v), want %v", what, got, err, want)
	}
}

// reasonOf is the reason in an error's details.
func reasonOf(err error) (reason string, meta map[string]string) {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason, info.Metadata
		}
	}
	return "", nil
}

// receive reads a stream to its end.
func receive[T any](st grpc.ServerStreamingClient[T]) (all []*T, err error) {
	for {
		m, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func eventText(all []*antonv1.ResponseEvent) string {
	text := ""
	for _, ev := range all {
		if ev.GetOutputTextDelta().GetParagraph() {
			text += "\n\n"
		}
		text += ev.GetOutputTextDelta().GetDelta()
	}
	return text
}

// listServices asks the server's reflection.
func listServices(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
	st, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	err = st.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the answer tells why
		return nil, err
	}
	res, err := st.Recv()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, svc := range res.GetListServicesResponse().GetService() {
		names = append(names, svc.Name)
	}
	return names, nil
}
