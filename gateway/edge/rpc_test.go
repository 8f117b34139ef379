package edge

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestInterceptors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	p := policy(t, Config{Listen: []string{addr}, AllowedHosts: []string{"box.local"}})
	srv := grpc.NewServer(grpc.UnaryInterceptor(p.UnaryInterceptor()), grpc.StreamInterceptor(p.StreamInterceptor()))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for _, tc := range []struct {
		name, authority string
		origins         []string
		want            codes.Code
	}{
		{"as dialled", "", nil, codes.OK},
		{"localhost", "localhost:" + addr[len("127.0.0.1:"):], nil, codes.OK},
		{"listed", "box.local:443", nil, codes.OK},
		{"foreign host", "evil.example:26866", nil, codes.PermissionDenied},
		{"no port", "localhost", nil, codes.PermissionDenied},
		{"own origin", "", []string{"http://" + addr}, codes.OK},
		{"desktop origin", "", []string{"app://-"}, codes.OK},
		{"foreign origin", "", []string{"http://evil.example"}, codes.PermissionDenied},
		{"null origin", "", []string{"null"}, codes.PermissionDenied},
		{"empty origin", "", []string{""}, codes.PermissionDenied},
		{"two origins", "", []string{"app://-", "app://-"}, codes.PermissionDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
			if tc.authority != "" {
				opts = append(opts, grpc.WithAuthority(tc.authority))
			}
			cc, err := grpc.NewClient(addr, opts...)
			if err != nil {
				t.Fatal(err)
			}
			defer cc.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for _, o := range tc.origins {
				ctx = metadata.AppendToOutgoingContext(ctx, "origin", o)
			}
			client := healthpb.NewHealthClient(cc)
			_, err = client.Check(ctx, &healthpb.HealthCheckRequest{})
			if got := status.Code(err); got != tc.want {
				t.Errorf("unary: %v", err)
			}
			stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			if got := status.Code(err); got != tc.want {
				t.Errorf("stream: %v", err)
			}
		})
	}
	// A call that came by no socket has no authority.
	if err := p.checkCall(t.Context()); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
}
