// Package access decides who is calling, once, for every door.
//
// The doors turn headers, cookies and queries into metadata; the interceptors
// here are on the native gRPC server and on the in-process channel alike, and
// trust neither. The package never reads a request's contents.
package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
)

// Kinds of callers.
const (
	Local = "local" // no key is configured: whoever reaches the port
	Key   = "key"   // showed the configured key
)

// keyless methods answer without the key even when one is configured.
var keyless = map[string]bool{
	antonv1.HealthService_GetHealth_FullMethodName: true,
}

// Room checks callers and serves AccessService.
type Room struct {
	antonv1.UnimplementedAccessServiceServer
	key *[sha256.Size]byte // of the configured key; nil: none
}

// New makes the room. An empty key lets everybody in: then the listeners must
// be loopback only.
func New(key string) *Room {
	r := &Room{}
	if key != "" {
		sum := sha256.Sum256([]byte(key))
		r.key = &sum
	}
	return r
}

// Register adds AccessService to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antonv1.RegisterAccessServiceServer(s, r) }

// GetCaller implements antonv1.AccessServiceServer.
func (r *Room) GetCaller(context.Context, *antonv1.GetCallerRequest) (*antonv1.Caller, error) {
	if r.key == nil {
		return &antonv1.Caller{Kind: Local}, nil
	}
	return &antonv1.Caller{Kind: Key}, nil // the interceptor let it through
}

// Check lets a call pass or says that it needs the key.
func (r *Room) Check(ctx context.Context, method string) error {
	if r.key == nil || keyless[method] {
		return nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	shown := md.Get("x-api-key")
	for _, a := range md.Get("authorization") {
		if scheme, token, ok := strings.Cut(a, " "); ok && strings.EqualFold(scheme, "bearer") {
			shown = append(shown, strings.TrimSpace(token))
		}
	}
	for _, k := range shown {
		sum := sha256.Sum256([]byte(k)) // equal lengths, so the comparison takes constant time
		if subtle.ConstantTimeCompare(sum[:], r.key[:]) == 1 {
			return nil
		}
	}
	return fault.New(fault.Unauthenticated, "UNAUTHENTICATED",
		"Invalid or missing API key: send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.")
}
