package edge

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// External is this server as the client of a request sees it, through whatever
// trusted proxies stand between.
type External struct {
	Scheme string     // http or https
	Host   string     // with a port unless it is the scheme's own
	Prefix string     // path under which the client finds this server, as "/anthill"; usually empty
	Client netip.Addr // of the client; invalid if it is not known
}

// addBase notes that the request had the base path. A proxy that tells of the
// same path has not taken it off.
func (x *External) addBase(base string) {
	if x.Prefix != base {
		x.Prefix += base
	}
}

type externalKey struct{}

// ExternalOf is the External of the request that ctx belongs to; zero outside of
// Middleware.
func ExternalOf(ctx context.Context) External {
	if c, ok := ctx.Value(externalKey{}).(*requestContext); ok {
		return c.external
	}
	return External{}
}

// Link is the path of this server that a client must ask for to reach path.
func Link(ctx context.Context, path string) string {
	if !strings.HasPrefix(path, "/") {
		return path
	}
	return ExternalOf(ctx).Prefix + path
}

// Headers by which a proxy tells of the request that it got.
const (
	headerForwardedFor    = "X-Forwarded-For"
	headerForwardedHost   = "X-Forwarded-Host"
	headerForwardedProto  = "X-Forwarded-Proto"
	headerForwardedPrefix = "X-Forwarded-Prefix"
)

// forwarding are all such headers, also those that nobody here believes.
var forwarding = []string{headerForwardedFor, headerForwardedHost, headerForwardedProto, headerForwardedPrefix,
	"X-Forwarded-Port", "X-Forwarded-Server", "X-Real-Ip", "Forwarded"}

// external finds out how the client sees this server, and takes what it goes by
// out of the request: nothing behind the Policy has to know whom to believe.
func (p *Policy) external(r *http.Request) External {
	x := External{Scheme: p.hosts.scheme, Host: r.Host, Client: remote(r)}
	if p.trusted(x.Client) {
		if proto := nearest(r.Header[headerForwardedProto]); proto == "http" || proto == "https" {
			x.Scheme = proto
		}
		if host := nearest(r.Header[headerForwardedHost]); host != "" {
			x.Host = host
		}
		if prefix, err := basePath(nearest(r.Header[headerForwardedPrefix])); err == nil {
			x.Prefix = prefix
		}
		x.Client = p.client(r.Header[headerForwardedFor], x.Client)
	}
	for _, name := range forwarding {
		delete(r.Header, name)
	}
	return x
}

// nearest is what the proxy next to us says; those before it come first.
func nearest(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return strings.TrimSpace(line[strings.LastIndexByte(line, ',')+1:])
}

// client is the last address that no trusted proxy has: what stands before it
// may be invented.
func (p *Policy) client(lines []string, proxy netip.Addr) netip.Addr {
	hops := strings.Split(strings.Join(lines, ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		proxy = addr.Unmap()
		if !p.trusted(proxy) {
			break
		}
	}
	return proxy
}

func (p *Policy) trusted(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(p.proxies, func(n netip.Prefix) bool { return n.Contains(a) })
}

func remote(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// parseProxies reads addresses and networks.
func parseProxies(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		n, err := netip.ParsePrefix(s)
		if err != nil {
			a, aErr := netip.ParseAddr(s)
			if aErr != nil {
				return nil, fmt.Errorf("edge: trusted proxy %q is neither an address nor a network such as 10.0.0.0/8", s)
			}
			n = netip.PrefixFrom(a, a.BitLen())
		}
		if n.Addr().Is4In6() {
			return nil, fmt.Errorf("edge: trusted proxy %q: write it as an IPv4 network", s)
		}
		out = append(out, n.Masked())
	}
	return out, nil
}

// apiRoots are first segments that paths of this server have.
var apiRoots = []string{"v1", "api", "ws", "p", "health", "docs", "openapi.json", "launch"}

// BasePath writes a base path in its one form: no slash at the end, empty for
// none. It refuses what could be taken for a path of the API.
func BasePath(s string) (string, error) {
	base, err := basePath(s)
	if err != nil {
		return "", err
	}
	if first, _, _ := strings.Cut(strings.TrimPrefix(base, "/"), "/"); slices.Contains(apiRoots, first) {
		return "", fmt.Errorf("base path %q begins like a path of the API: choose another name", s)
	}
	return base, nil
}

func basePath(s string) (string, error) {
	base := strings.TrimRight(s, "/")
	if base == "" {
		return "", nil
	}
	bad := fmt.Errorf("base path %q must be like /anthill: letters, digits, '-', '_' and '.' between slashes", s)
	if len(base) > 200 || base[0] != '/' {
		return "", bad
	}
	for seg := range strings.SplitSeq(base[1:], "/") {
		if seg == "" || strings.Trim(seg, ".") == "" || strings.ContainsFunc(seg, func(c rune) bool {
			return c > 0x7f || !isAlnum(byte(c)) && c != '-' && c != '_' && c != '.'
		}) {
			return "", bad
		}
	}
	return base, nil
}

// aliasOfV1 is where clients of OpenAI expect /v1 if told that the API is at
// /api; nothing else below /api is meant.
const aliasOfV1 = "/api/v1"

// rebase gives the request the path that routes know: without the base path, if
// a proxy left it on, and under /v1. Escaped slashes and dots are not taken for
// any of the two. It says whether it took the base path off.
func (p *Policy) rebase(r *http.Request) (based bool) {
	path := r.URL.EscapedPath()
	rest, based := below(path, p.base)
	if based {
		path = rest
	}
	if rest, ok := below(path, aliasOfV1); ok {
		path = "/v1" + rest
	} else if !based {
		return false
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return false // cannot be: it was decoded once
	}
	u := *r.URL
	u.Path, u.RawPath = plain, path
	r.URL = &u
	return based
}

// below takes root off a path at or under it.
func below(path, root string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, root)
	switch {
	case !ok || root == "":
		return "", false
	case rest == "":
		return "/", true
	}
	return rest, rest[0] == '/'
}

// relative writes a link from one path to another so that it holds wherever both
// are mounted.
func relative(from, to string) string {
	up := strings.Count(from, "/") - 1
	if up <= 0 {
		return "." + to
	}
	return strings.Repeat("../", up) + to[1:]
}
