// Package access decides who is calling and what they may do, once, for every
// door, and lets guests and browsers in.
//
// The doors turn headers, cookies and queries into metadata; the interceptors
// here are on the native gRPC server and on the in-process channel alike, and
// trust neither. A table (rules.go) says what each method needs. Of a request's
// contents nothing is read but the room that it names. Keys, tokens, codes and
// passwords never reach the store or a log, only their hashes do.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// DefaultMaxFailures is how many wrong passwords revoke an invite.
const DefaultMaxFailures = 5

// Rooms are what guests are invited to.
type Rooms interface {
	// Resolve finds a room by its id or @handle. The id is empty if there is
	// none; live is false if it is deleted or archived.
	Resolve(r store.Reader, ref string) (id string, live bool, err error)
}

// Options for New.
type Options struct {
	DB    store.DB
	Key   string // empty lets everybody in: then the listeners must be loopback only
	Rooms Rooms

	MaxFailures int // wrong passwords that revoke an invite; 0: DefaultMaxFailures
	Now         func() time.Time
	NewID       func() string // of an invite, a token or a session
	Log         *slog.Logger
}

// Room checks callers and serves AccessService and InvitesService.
type Room struct {
	antonv1.UnimplementedAccessServiceServer
	antv1.UnimplementedInvitesServiceServer
	opt   Options
	key   *[sha256.Size]byte // of the configured key; nil: none
	relay string             // what the door to WebSockets shows; new for each process
	live  live
	gate  gate

	mu    sync.Mutex
	codes []launchCode // unused ones, the oldest first
}

// New makes the room. It may check calls once the rooms are joined.
func New(o Options) *Room {
	if o.MaxFailures <= 0 {
		o.MaxFailures = DefaultMaxFailures
	}
	r := &Room{opt: o, relay: rand.Text(), live: live{calls: map[string]map[*call]struct{}{}}, gate: newGate()}
	if o.Key != "" {
		sum := sha256.Sum256([]byte(o.Key))
		r.key = &sum
	}
	return r
}

// Join tells which rooms there are.
func (r *Room) Join(rooms Rooms) { r.opt.Rooms = rooms }

// Register adds both services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antonv1.RegisterAccessServiceServer(s, r)
	antv1.RegisterInvitesServiceServer(s, r)
}

// RelaySecret is what a call of EventsService.Relay has to show, as
// "x-anthill-relay". It must not leave the process.
func (r *Room) RelaySecret() string { return r.relay }

// GetCaller implements antonv1.AccessServiceServer.
func (r *Room) GetCaller(ctx context.Context, _ *antonv1.GetCallerRequest) (*antonv1.Caller, error) {
	return view(caller.From(ctx)), nil
}

// WatchCaller implements antonv1.AccessServiceServer. That a stream ends with
// what its caller shows holds for all of them: this one does nothing else.
func (r *Room) WatchCaller(_ *antonv1.WatchCallerRequest, s grpc.ServerStreamingServer[antonv1.Caller]) error {
	ctx := s.Context()
	if err := s.Send(view(caller.From(ctx))); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func view(c caller.Caller) *antonv1.Caller {
	return &antonv1.Caller{Kind: c.Kind, Id: c.ID, RoomId: c.Room, Handle: c.Handle, TokenKind: c.TokenKind, Scopes: c.Scopes}
}

// SignOut implements antonv1.AccessServiceServer.
func (r *Room) SignOut(ctx context.Context, _ *antonv1.SignOutRequest) (*antonv1.SignOutResponse, error) {
	var revoked bool
	var err error
	switch c := caller.From(ctx); c.Kind {
	case caller.Session:
		revoked, err = r.revokeSession(ctx, c.ID)
	case caller.Token:
		revoked, err = r.revokeToken(ctx, c.Room, c.ID)
	}
	return &antonv1.SignOutResponse{Revoked: revoked}, err
}

func (r *Room) now() int64 { return r.opt.Now().UnixMilli() }

func errUnknown() error {
	return fault.New(fault.Unauthenticated, "UNAUTHENTICATED",
		"Invalid or missing API key: send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.")
}
