package settings

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"anthill/services/internal/fault"
)

// checkDirect lets callers pass who could read the settings file themselves:
// those on this machine, who called it by a name of this machine. A request that
// a proxy passed on, or a page that got here by a name of its own, is neither.
// Where callers must show a key they have shown it, and that is enough.
func (r *Room) checkDirect(ctx context.Context) error {
	if r.keyed || direct(ctx) {
		return nil
	}
	return fault.New(fault.Denied, "LOCAL_ONLY",
		"Keys are shown to callers on this machine only. Use http://127.0.0.1, or set ANT_API_KEY and show it.")
}

// Metadata in which the gateway says who sent a request; on its channel only.
const (
	clientAddress = "x-client-address"
	clientHost    = "x-client-host"
)

// direct says whether the caller is on this machine. What is not known is not.
func direct(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	only := func(name string) string {
		if v := md.Get(name); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	address, host := only(clientAddress), only(clientHost)
	if p, ok := peer.FromContext(ctx); ok { // a socket: the rest could be invented
		host = only(":authority")
		address, _, _ = net.SplitHostPort(p.Addr.String())
	}
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Unmap().IsLoopback() && loopbackName(host)
}

func loopbackName(authority string) bool {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		host = strings.Trim(authority, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
