// Package edge decides what can be decided about a request before it is routed,
// the same way for every door of the port.
//
// A [Policy] names the request, checks which server and which page it was meant
// for (Host and Origin), answers CORS, and bounds its body. It stands between
// the sockets and both dialects, and in front of the native gRPC server.
//
// It is what defends a server on loopback that asks for no key: a web page may
// reach the port, but it can neither forge these headers nor read the answer.
// Behind a proxy it also finds out how the client sees this server, and gives the
// request the path that routes know.
// Who the caller is and what they may do is never decided here, no route is
// known here (the few paths that the Origin rule names apart), and forwarding
// headers are believed from listed proxies only.
package edge

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"
)

// Defaults of [Config].
const (
	DefaultMaxBody     = 10 << 20
	DefaultBodyTimeout = 30 * time.Second
)

// Deny writes a refusal in the dialect that the path belongs to. The message is
// meant for the client, and repeats nothing of the request but its id.
type Deny func(w http.ResponseWriter, r *http.Request, status int, message string)

// Config is what a [Policy] is made of. Only Listen is required.
type Config struct {
	// Listen are the addresses that are bound, as host:port with the real port.
	Listen []string

	// TLS says that the bound addresses speak TLS, so that the server's own
	// origins begin with https.
	TLS bool

	// AllowedHosts are names, with or without a port, that may stand in Host
	// beside the loopback names and the bound addresses: what a proxy, a port
	// mapping or a name server calls this server. Without a port any port will
	// do. Pages of these hosts are allowed origins too, also by https (a proxy may
	// add it): with a listed port, else with a bound port or the one in Host.
	AllowedHosts []string

	// AllowedOrigins are further origins, in full: scheme://host[:port].
	AllowedOrigins []string

	// BasePath is a path under which the server answers too, as BasePath writes
	// it, so that a proxy need not take it off. Empty means none.
	BasePath string

	// TrustedProxies are addresses and networks whose forwarding headers are
	// believed. Those of all others are dropped.
	TrustedProxies []string

	// MaxBody bounds a request body in bytes. Zero means DefaultMaxBody.
	MaxBody int64

	// BodyTimeout bounds the time in which a body must have arrived. Zero means
	// DefaultBodyTimeout.
	BodyTimeout time.Duration

	// LargeBody picks the requests whose handler streams the body and bounds it
	// itself, in size and time; these may also be multipart/form-data.
	LargeBody func(*http.Request) bool

	// Embed picks the requests whose path is its own key, so that any page may
	// embed the answer (an image, a script) without being able to read it. A
	// sandboxed preview needs this for its own files: the browser calls every
	// request of such a page cross-site.
	Embed func(*http.Request) bool

	// Deny writes refusals. Nil means a JSON object that has the message under
	// each of the keys detail, error and message.
	Deny Deny

	// Logger hears of refusals and panics. Nil means slog.Default.
	Logger *slog.Logger
}

// Policy applies a [Config]. It is immutable and safe for concurrent use.
type Policy struct {
	hosts       hosts
	origins     map[string]struct{} // whole ones: listed, built in, most of our own
	base        string
	proxies     []netip.Prefix
	maxBody     int64
	bodyTimeout time.Duration
	largeBody   func(*http.Request) bool
	embed       func(*http.Request) bool
	deny        Deny
	log         *slog.Logger
}

// NewPolicy reads a Config. It fails when an address, host or origin cannot be
// understood, rather than leave it out.
func NewPolicy(c Config) (*Policy, error) {
	p := &Policy{
		maxBody:     c.MaxBody,
		bodyTimeout: c.BodyTimeout,
		largeBody:   c.LargeBody,
		embed:       c.Embed,
		deny:        c.Deny,
		log:         c.Logger,
	}
	if p.maxBody <= 0 {
		p.maxBody = DefaultMaxBody
	}
	if p.bodyTimeout <= 0 {
		p.bodyTimeout = DefaultBodyTimeout
	}
	if p.largeBody == nil {
		p.largeBody = func(*http.Request) bool { return false }
	}
	if p.embed == nil {
		p.embed = func(*http.Request) bool { return false }
	}
	if p.log == nil {
		p.log = slog.Default()
	}
	if p.deny == nil {
		p.deny = p.denyPlainly
	}
	var hostsErr, originsErr, baseErr, proxiesErr error
	p.hosts, hostsErr = newHosts(c)
	p.origins, originsErr = newOrigins(c.AllowedOrigins)
	p.base, baseErr = BasePath(c.BasePath)
	p.proxies, proxiesErr = parseProxies(c.TrustedProxies)
	if err := errors.Join(hostsErr, originsErr, baseErr, proxiesErr); err != nil {
		return nil, err
	}
	for authority := range p.hosts.own { // what servesOrigin would find, only faster
		p.origins[p.hosts.scheme+"://"+authority] = struct{}{}
	}
	return p, nil
}

// denyPlainly is the default Deny.
func (p *Policy) denyPlainly(w http.ResponseWriter, r *http.Request, status int, message string) {
	body, err := json.Marshal(map[string]string{"detail": message, "error": message, "message": message})
	if err != nil { // cannot happen with a map of strings
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		p.log.Debug("writing a refusal", "request", RequestID(r.Context()), "err", err)
	}
}
