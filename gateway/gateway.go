// Package gateway puts the services on one port: native gRPC, and the REST
// dialects over an in-process channel.
//
// It speaks gRPC to the services and knows nothing else of them. What arrives
// is checked at the edge (Host, Origin, sizes) before any route is looked at.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"anthill/gateway/ant"
	"anthill/gateway/anton"
	"anthill/gateway/docs"
	"anthill/gateway/edge"
	"anthill/gateway/listen"
	"anthill/gateway/mcp"
)

// maxMessage bounds one gRPC message; REST bodies are bounded by the edge.
const maxMessage = 12 << 20

// streamWorkers serve gRPC calls; when all are busy, calls get goroutines.
const streamWorkers = 32

// Options for New.
type Options struct {
	// Register adds the services; Unary and Stream are the interceptors of
	// every call, on the port and in process alike.
	Register func(grpc.ServiceRegistrar)
	Unary    grpc.UnaryServerInterceptor
	Stream   grpc.StreamServerInterceptor
	Codec    encoding.CodecV2 // of the native server
	// RelaySecret is what EventsService.Relay asks for.
	RelaySecret string
	Version     string // of the program, for clients that ask

	Listeners      []net.Listener // New owns them
	TLS            *tls.Config    // as listen.TLS makes it; nil: the port speaks plain
	AllowedHosts   []string       // beside loopback names and the listeners' addresses
	AllowedOrigins []string       // beside the desktop app's
	BasePath       string         // see edge.Config
	TrustedProxies []string       // see edge.Config
	Log            *slog.Logger
}

// InProcess is a channel to services of this process that no port serves.
func InProcess(register func(grpc.ServiceRegistrar), unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor) ant.Channel {
	return inProcess(register, unary, stream)
}

// Server serves until Shutdown.
type Server struct {
	port   *listen.Port
	grpc   *grpc.Server
	health *health.Server
	http   *http.Server
	rooms  *ant.Handler
	cancel context.CancelFunc // ends streams that nothing else ends
}

// New prepares a server; nothing is accepted before Serve.
func New(o Options) (*Server, error) {
	var addrs []string
	for _, l := range o.Listeners {
		addrs = append(addrs, l.Addr().String())
	}
	policy, err := edge.NewPolicy(edge.Config{Listen: addrs, TLS: o.TLS != nil, AllowedHosts: o.AllowedHosts,
		AllowedOrigins: o.AllowedOrigins, BasePath: o.BasePath, TrustedProxies: o.TrustedProxies, LargeBody: anton.LargeBody, Deny: deny, Logger: o.Log})
	if err != nil {
		return nil, err
	}
	listeners := o.Listeners
	if o.TLS != nil {
		listeners = nil
		for _, l := range o.Listeners {
			listeners = append(listeners, tls.NewListener(l, o.TLS))
		}
	}
	base, cancel := context.WithCancel(context.Background())
	channel := inProcess(o.Register, o.Unary, o.Stream)
	cowork, err := anton.New(base, anton.Options{Channel: channel, Log: o.Log})
	if err != nil {
		cancel()
		return nil, err
	}
	rooms, err := ant.New(base, ant.Options{Channel: channel, RelaySecret: o.RelaySecret, Log: o.Log})
	if err != nil {
		cancel()
		return nil, err
	}
	pages, err := docs.New(channel, anton.Deny)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &Server{cancel: cancel, rooms: rooms, health: health.NewServer(),
		port: listen.Split(listen.Options{Logger: o.Log}, listeners...),
		http: edge.NewHTTPServer(policy.Middleware(route(pages, launch(channel), mcp.New(base, mcp.Options{Channel: channel, Version: o.Version, Log: o.Log}), cowork, rooms)), base, o.Log),
		grpc: grpc.NewServer(
			grpc.ChainUnaryInterceptor(policy.UnaryInterceptor(), o.Unary),
			grpc.ChainStreamInterceptor(policy.StreamInterceptor(), endWith(base), o.Stream),
			grpc.ForceServerCodecV2(o.Codec),
			grpc.MaxRecvMsgSize(maxMessage),
			// Workers keep their grown stacks; a goroutine per call grows its own each time.
			grpc.NumStreamWorkers(streamWorkers),
			grpc.MaxConcurrentStreams(1000),
			grpc.ConnectionTimeout(10*time.Second),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		),
	}
	o.Register(s.grpc)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s, nil
}

// route tells the description of the API, launch links, the tools for agents and
// the two dialects apart.
func route(pages, launch, tools, cowork, rooms http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.EscapedPath(); {
		case p == docs.DocumentPath || p == docs.PagePath:
			pages.ServeHTTP(w, r)
		case p == launchPath:
			launch.ServeHTTP(w, r)
		case p == mcp.Path:
			tools.ServeHTTP(w, r)
		case ant.Owns(p):
			rooms.ServeHTTP(w, r)
		default:
			cowork.ServeHTTP(w, r)
		}
	})
}

// deny refuses in the dialect of the path.
func deny(w http.ResponseWriter, r *http.Request, code int, message string) {
	switch p := r.URL.EscapedPath(); {
	case p == mcp.Path:
		mcp.Deny(w, r, code, message)
	case ant.Owns(p):
		ant.Deny(w, r, code, message)
	default:
		anton.Deny(w, r, code, message)
	}
}

// Serve blocks until Shutdown, or until a listener fails.
func (s *Server) Serve() error {
	failed := make(chan error, 3)
	go func() { failed <- s.grpc.Serve(s.port.GRPC()) }()
	go func() { failed <- s.http.Serve(s.port.HTTP()) }()
	go func() { failed <- s.port.Serve() }()
	for range 3 {
		err := <-failed
		if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) &&
			!errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

// StopAccepting closes the listeners; what is connected goes on.
func (s *Server) StopAccepting() error {
	s.health.Shutdown()
	return s.port.Close()
}

// lastWords is how long streams have to pass on what their work ended with,
// before those that have no end of their own are cut.
const lastWords = 500 * time.Millisecond

// Shutdown ends all streams and connections: those whose work has ended with
// their last event, the others by force, at the latest when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	cut := time.AfterFunc(lastWords, s.cancel)
	defer cut.Stop()
	defer s.cancel()
	done := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(done) }()
	s.rooms.Shutdown(ctx)
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	select {
	case <-done:
	case <-ctx.Done():
		go s.grpc.Stop()
		select {
		case <-done:
		case <-time.After(lastWords): // a connection that never finished its handshake
		}
	}
	return err
}

// endWith ends streams when the server does: GracefulStop waits for them, and
// a subscription has no end of its own.
func endWith(base context.Context) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, cancel := context.WithCancel(ss.Context())
		defer cancel()
		stop := context.AfterFunc(base, cancel)
		defer stop()
		return next(srv, boundStream{ss, ctx})
	}
}

type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s boundStream) Context() context.Context { return s.ctx }
