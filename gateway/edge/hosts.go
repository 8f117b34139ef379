package edge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// hosts knows the names of this server. All keys are canonical: lower case, IPv6
// in brackets and shortest form.
type hosts struct {
	scheme  string              // http or https
	ports   map[string]struct{} // bound
	own     map[string]struct{} // host:port of localhost and of what is bound
	listed  map[string]struct{} // host:port from AllowedHosts
	anyPort map[string]struct{} // host from AllowedHosts
}

func newHosts(c Config) (hosts, error) {
	h := hosts{
		scheme:  "http",
		ports:   map[string]struct{}{},
		own:     map[string]struct{}{},
		listed:  map[string]struct{}{},
		anyPort: map[string]struct{}{},
	}
	if c.TLS {
		h.scheme = "https"
	}
	var errs []error
	if len(c.Listen) == 0 {
		errs = append(errs, errors.New("edge: no listen address"))
	}
	for _, a := range c.Listen {
		if err := h.listen(a); err != nil {
			errs = append(errs, err)
		}
	}
	for _, a := range c.AllowedHosts {
		host, port, ok := parseAuthority(a)
		if ip, err := netip.ParseAddr(a); err == nil && ip.Is6() {
			host, port, ok = canonicalIP(ip), "", true // easily written without brackets
		}
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("edge: allowed host %q is not a name or name:port", a))
		case port == "":
			h.anyPort[host] = struct{}{}
		default:
			h.listed[host+":"+port] = struct{}{}
		}
	}
	return h, errors.Join(errs...)
}

// listen adds a bound address. A wildcard contributes only its port: which of
// the machine's addresses are meant to be used is for the operator to say.
func (h *hosts) listen(address string) error {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("edge: listen address: %w", err)
	}
	if !validPort(port) {
		return fmt.Errorf("edge: listen address %q has no fixed port", address)
	}
	h.ports[port] = struct{}{}
	for _, loopback := range []string{"localhost", "127.0.0.1", "[::1]"} {
		h.own[loopback+":"+port] = struct{}{}
	}
	ip, err := netip.ParseAddr(name)
	switch {
	case err == nil && !ip.IsUnspecified():
		h.own[canonicalIP(ip.Unmap().WithZone(""))+":"+port] = struct{}{}
	case err != nil && validName(name):
		h.own[strings.ToLower(name)+":"+port] = struct{}{}
	case err != nil && name != "":
		return fmt.Errorf("edge: listen address %q is not an address", address)
	}
	return nil
}

// allowed is the Host rule. A Host without a port means the port that the scheme
// implies.
func (h *hosts) allowed(authority string) bool {
	if _, ok := h.own[authority]; ok { // nearly always
		return true
	}
	host, port, ok := parseAuthority(authority)
	if !ok {
		return false
	}
	if port != "" {
		return h.isOwn(host, port) || h.isListed(host, port) || has(h.anyPort, host)
	}
	return h.isOwn(host, defaultPort(h.scheme)) || has(h.anyPort, host) ||
		// A proxy that speaks TLS for us drops its own default port.
		h.isListed(host, "80") || h.isListed(host, "443")
}

// servesOrigin tells whether a page of this server, under any of its names, has
// the origin. The host is that of the request and has passed allowed.
func (h *hosts) servesOrigin(origin, requestHost string) bool {
	scheme, authority, ok := strings.Cut(origin, "://")
	if !ok || scheme != "http" && scheme != "https" {
		return false
	}
	host, port, ok := parseAuthority(authority)
	if !ok {
		return false
	}
	if port == "" {
		port = defaultPort(scheme)
	}
	if scheme == h.scheme && h.isOwn(host, port) {
		return true
	}
	if scheme != h.scheme && scheme != "https" {
		return false // a listed name may gain TLS on its way here, not lose it
	}
	if h.isListed(host, port) {
		return true
	}
	return has(h.anyPort, host) && (has(h.ports, port) || strings.EqualFold(authority, requestHost))
}

func (h *hosts) isOwn(host, port string) bool {
	if !has(h.ports, port) {
		return false
	}
	return host == "localhost" || isLoopback(host) || has(h.own, host+":"+port)
}

func (h *hosts) isListed(host, port string) bool {
	return len(h.listed) > 0 && has(h.listed, host+":"+port)
}

// isLoopback accepts 127.0.0.0/8 and ::1. Mapped addresses (::ffff:127.0.0.1)
// are nothing that a browser or SDK would send.
func isLoopback(host string) bool {
	if host == "[::1]" {
		return true
	}
	if !strings.HasPrefix(host, "127.") {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func has(set map[string]struct{}, key string) bool {
	_, ok := set[key]
	return ok
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// parseAuthority splits host[:port] into its canonical parts. It accepts names,
// IPv4 and bracketed IPv6, and nothing that two parsers could read differently.
func parseAuthority(s string) (host, port string, ok bool) {
	if rest, bracketed := strings.CutPrefix(s, "["); bracketed {
		addr, after, closed := strings.Cut(rest, "]")
		ip, err := netip.ParseAddr(addr)
		if !closed || err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", false
		}
		if after == "" {
			return canonicalIP(ip), "", true
		}
		port, colon := strings.CutPrefix(after, ":")
		if !colon || !validPort(port) {
			return "", "", false
		}
		return canonicalIP(ip), port, true
	}
	host, port, colon := strings.Cut(s, ":")
	if !validName(host) || colon && !validPort(port) {
		return "", "", false
	}
	return strings.ToLower(host), port, true
}

func canonicalIP(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	return "[" + ip.String() + "]"
}

// validName accepts what DNS names and IPv4 addresses are made of, and the
// underscore of container networks.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// validPort accepts 1 to 65535 in the one way of writing each.
func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
