package edge

import (
	"fmt"
	"net/http"
	"path"
	"strings"
)

// builtinOrigins are the pages of the CoWork desktop app: its development server
// and its packaged form. The third, a page loaded from a file, has no origin of
// its own (see nullAllowed).
var builtinOrigins = []string{"http://localhost:5173", "http://127.0.0.1:5173", "app://-"}

const (
	headerOrigin         = "Origin"
	headerFetchSite      = "Sec-Fetch-Site"
	headerFetchMode      = "Sec-Fetch-Mode"
	headerUserAgent      = "User-Agent"
	headerRequestMethod  = "Access-Control-Request-Method"
	headerRequestHeaders = "Access-Control-Request-Headers"
)

func newOrigins(listed []string) (map[string]struct{}, error) {
	origins := map[string]struct{}{}
	for _, o := range builtinOrigins {
		origins[o] = struct{}{}
	}
	for _, o := range listed {
		canonical, err := canonicalOrigin(o)
		if err != nil {
			return nil, err
		}
		origins[canonical] = struct{}{}
	}
	return origins, nil
}

// canonicalOrigin writes a configured origin as browsers send it: lower case, no
// default port, no slash at the end.
func canonicalOrigin(s string) (string, error) {
	bad := fmt.Errorf("edge: allowed origin %q is not scheme://host[:port]", s)
	scheme, authority, ok := strings.Cut(strings.ToLower(strings.TrimSuffix(s, "/")), "://")
	if !ok || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return "", bad
	}
	host, port, ok := parseAuthority(authority)
	if !ok {
		return "", bad
	}
	if port == "" || (scheme == "http" || scheme == "https") && port == defaultPort(scheme) {
		return scheme + "://" + host, nil
	}
	return scheme + "://" + host + ":" + port, nil
}

// checkHost says why the request is not meant for this server, or "". A Host that
// a proxy forwards must be one of ours as well as the Host it sends: a page that
// has its own name point here could add any header to its requests. The request
// goes on with the forwarded one.
func (p *Policy) checkHost(r *http.Request, forwarded string) string {
	// net/http removes the header from an HTTP/1 request, and refuses two of
	// them; HTTP/2 may bring one beside :authority.
	if h := r.Header["Host"]; len(h) > 1 || len(h) == 1 && h[0] != r.Host {
		return "Ambiguous host"
	}
	if !p.hosts.allowed(r.Host) || forwarded != r.Host && !p.hosts.allowed(forwarded) {
		return "Host not allowed"
	}
	r.Host = forwarded
	return ""
}

// checkOrigin says why the page behind the request may not make it, or "". It
// needs a request that has passed checkHost.
func (p *Policy) checkOrigin(r *http.Request) string {
	switch origin := r.Header[headerOrigin]; {
	case len(origin) == 0:
		if crossSite(r) && !p.embeddable(r) {
			return "Cross-site request not allowed"
		}
	case len(origin) > 1:
		return "Ambiguous origin"
	case origin[0] == "null":
		if !nullAllowed(r) {
			return "Origin not allowed"
		}
	case !p.originAllowed(origin[0], r.Host):
		return "Origin not allowed"
	}
	return ""
}

// originAllowed compares scheme, host and port as a whole. Browsers write an
// origin in one way only, so nothing is normalised on the fast path.
func (p *Policy) originAllowed(origin, requestHost string) bool {
	return has(p.origins, origin) || p.hosts.servesOrigin(origin, requestHost)
}

// crossSite recognises what a foreign page has its browser fetch without saying
// its origin, such as images and scripts. Following a link is fine.
func crossSite(r *http.Request) bool {
	cross := false
	for _, site := range r.Header[headerFetchSite] {
		cross = cross || site == "cross-site"
	}
	if !cross {
		return false
	}
	mode := r.Header[headerFetchMode]
	return !isRead(r) || len(mode) != 1 || mode[0] != "navigate"
}

// embeddable tells whether a page may embed the answer although it is not one of
// ours: by a key in the path, or as the desktop app does, whose page from a file
// is cross-site to everything (its images carry no Origin, its fetches null).
func (p *Policy) embeddable(r *http.Request) bool {
	return isRead(r) && (p.embed(r) || coworkPath(r.URL.Path) && fromElectron(r))
}

// nullAllowed is the rule for pages without an origin: the desktop app's, but
// also any sandboxed frame. Only the User-Agent tells them apart. A script may
// set that header only after a preflight that names it, which is refused.
func nullAllowed(r *http.Request) bool {
	return coworkPath(r.URL.Path) && fromElectron(r) && !asksForUserAgent(r.Header)
}

func fromElectron(r *http.Request) bool {
	ua := r.Header[headerUserAgent]
	return len(ua) == 1 && strings.Contains(ua[0], "Electron/")
}

func asksForUserAgent(h http.Header) bool {
	for _, line := range h[headerRequestHeaders] {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(name), headerUserAgent) {
				return true
			}
		}
	}
	return false
}

// coworkPath accepts the paths of the CoWork API, and only in the form in which
// no router could take them for others.
func coworkPath(p string) bool {
	switch {
	case p == "/", p == "/health", p == "/v1":
		return true
	case !strings.HasPrefix(p, "/v1/"), strings.Contains(p, `\`):
		return false
	}
	clean := path.Clean(p)
	return p == clean || p == clean+"/"
}

func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}
