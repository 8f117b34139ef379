package edge

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// UnaryInterceptor holds native gRPC calls to the Host and Origin rules. It is
// for the server on the port: calls of the in-process channel have no authority,
// and have passed Middleware.
func (p *Policy) UnaryInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if err := p.checkCall(ctx); err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// StreamInterceptor is UnaryInterceptor for streams.
func (p *Policy) StreamInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if err := p.checkCall(ss.Context()); err != nil {
			return err
		}
		return handler(srv, ss)
	}
}

// checkCall refuses with PermissionDenied. No page that has no origin speaks
// native gRPC, so null is like any other foreign one here.
func (p *Policy) checkCall(ctx context.Context) error {
	authority := metadata.ValueFromIncomingContext(ctx, ":authority")
	if len(authority) != 1 || !p.hosts.allowed(authority[0]) {
		return status.Error(codes.PermissionDenied, "Host not allowed")
	}
	switch origin := metadata.ValueFromIncomingContext(ctx, "origin"); {
	case len(origin) == 0:
		return nil
	case len(origin) > 1 || !p.originAllowed(origin[0], authority[0]):
		return status.Error(codes.PermissionDenied, "Origin not allowed")
	}
	return nil
}
