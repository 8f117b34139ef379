// Package dial keeps outgoing connections away from addresses that nobody here
// means to reach: the metadata services of clouds, link-local neighbours, and,
// where a policy says so, everything that is not on the internet.
//
// Whoever connects to an address that was configured or named from outside uses
// Policy.Control or Client. The connected address is checked, after the name was
// resolved and for every attempt, so that neither spelling nor DNS gets around
// it. The package resolves nothing itself and keeps no state.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// ErrRefused is wrapped by the error of a connection that was not allowed.
var ErrRefused = errors.New("address is not allowed")

// Policy says which addresses may be connected to. The zero value allows the
// internet only.
type Policy struct {
	// Private allows this machine and its networks as well: where models of
	// one's own live. Never what is refused to all.
	Private bool
	// Own says which addresses are those of this server, which must not become a
	// client of itself, turn within turn. Nil: none are known.
	Own func(netip.AddrPort) bool
}

// Control is for net.Dialer: it refuses a connection before its first packet.
func (p Policy) Control(network, address string, _ syscall.RawConn) error {
	switch network {
	case "tcp4", "tcp6":
	default:
		return fmt.Errorf("dial: network %s: %w", network, ErrRefused)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial: %w: %w", ErrRefused, err)
	}
	if p.Own != nil && p.Own(netip.AddrPortFrom(to.Addr().Unmap(), to.Port())) {
		return fmt.Errorf("dial: %s is this server itself: %w", to, ErrRefused)
	}
	return p.Check(to.Addr())
}

// Check says whether an address may be connected to; its error wraps ErrRefused.
func (p Policy) Check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if v4, ok := embedded(a); ok {
		if err := p.Check(v4); err != nil {
			return err
		}
	}
	if never(a) || !p.Private && !public(a) {
		return fmt.Errorf("dial: %s: %w", a, ErrRefused)
	}
	return nil
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	broadcast   = netip.MustParseAddr("255.255.255.255")

	// metadata are services of clouds that give out credentials, as far as they
	// are not link-local.
	metadata = []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),   // AWS
		netip.MustParseAddr("100.100.100.200"), // Alibaba
		netip.MustParseAddr("168.63.129.16"),   // Azure
		netip.MustParseAddr("192.0.0.192"),     // Oracle
	}

	// local are networks beside the loopback, private and link-local ones that
	// no host of the internet is in.
	local = []netip.Prefix{
		netip.MustParsePrefix("100.64.0.0/10"), // shared by customers of a provider; overlay networks
		netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("fec0::/10"), // site-local of old
		netip.MustParsePrefix("100::/64"),  // discarded
	}
)

// never are addresses that no policy allows.
func never(a netip.Addr) bool {
	return !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() ||
		thisNetwork.Contains(a) || a == broadcast || slices.Contains(metadata, a)
}

func public(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsPrivate() &&
		!slices.ContainsFunc(local, func(n netip.Prefix) bool { return n.Contains(a) })
}

var (
	compatible = netip.MustParsePrefix("::/96")
	translated = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
)

// embedded is the IPv4 address that a gateway, or a careless kernel, would take
// out of an IPv6 one. IPv4-mapped ones are unmapped already.
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case !a.Is6() || a.IsUnspecified() || a.IsLoopback():
	case compatible.Contains(a), translated.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// Options of a Client.
type Options struct {
	Policy
	Insecure bool // do not verify the server's certificate
}

// Client returns a client with connections of its own and no time limit.
//
// It follows no redirect: the answer that asks for one is returned. So neither a
// key nor a request's body gets to a host that nobody configured. A proxy of the
// environment is used, and then resolves names itself; of addresses it gets to
// see only those that are allowed.
func Client(o Options) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: o.Control}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return d.DialContext(ctx, network, address)
	}
	t.Proxy = o.guard(http.ProxyFromEnvironment)
	t.DisableCompression = true // a compressor on the way would hold tokens back
	t.MaxIdleConnsPerHost = 64  // calls run side by side, mostly at one host
	t.ReadBufferSize = 32 << 10 // a burst of small chunks in few reads
	if o.Insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user's own choice
	}
	return &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// guard shows a proxy only addresses that are allowed.
func (p Policy) guard(choose func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		u, err := choose(r)
		if u == nil || err != nil {
			return nil, err
		}
		if a, err := netip.ParseAddr(r.URL.Hostname()); err == nil {
			if err := p.Check(a); err != nil {
				return nil, err
			}
		}
		return u, nil
	}
}
