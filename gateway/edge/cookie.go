package edge

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// A browser keeps its session in a cookie. Cookies are shared by all ports of a
// host, and sent whichever page makes the request: so the name has the port, and
// the cookie counts only in requests of our own pages ([Policy.ownPage]).

// cookieFor is how long a browser keeps the cookie: the longest that they allow.
// When a session really ends is decided where it is known.
const cookieFor = 400 * 24 * time.Hour

// cookiesMax bounds how many cookies of the name are passed on. Another program
// on the host can add some of its own, which are not sessions.
const cookiesMax = 4

// SetSession hands the browser of a request its session, for all paths of this
// server. The context is the request's.
func SetSession(ctx context.Context, w http.ResponseWriter, token string) {
	http.SetCookie(w, cookie(ExternalOf(ctx), token, cookieFor))
}

// ClearSession takes the session from the browser.
func ClearSession(ctx context.Context, w http.ResponseWriter) {
	http.SetCookie(w, cookie(ExternalOf(ctx), "", -time.Second))
}

func cookie(x External, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{Name: cookieName(x), Value: value, Path: "/", MaxAge: int(life / time.Second),
		Secure: x.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// cookieName has the port that the browser sees. Under TLS the prefix keeps
// other hosts and plain HTTP from setting it.
func cookieName(x External) string {
	_, port, err := net.SplitHostPort(x.Host)
	if err != nil {
		port = defaultPort(x.Scheme)
	}
	if x.Scheme == "https" {
		return "__Host-anthill-" + port
	}
	return "anthill-" + port
}

// browserSessions are the sessions that a request of one of our own pages shows.
func browserSessions(r *http.Request) (out []string) {
	c, ok := r.Context().Value(requestIDKey{}).(*requestContext)
	if !ok || !c.ownPage {
		return nil
	}
	for _, cookie := range r.CookiesNamed(cookieName(c.external)) {
		if len(out) < cookiesMax {
			out = append(out, cookie.Value)
		}
	}
	return out
}

// ownPage says whether a request comes from a page of this very server, or from
// nothing but the person in front of the browser. What changes something, or
// opens a socket, has to say so by its Origin, which browsers always send then;
// of reads those are believed that do not say otherwise. It needs a request that
// has passed checkHost and checkOrigin.
func (p *Policy) ownPage(r *http.Request) bool {
	if origin := r.Header[headerOrigin]; len(origin) > 0 {
		_, authority, _ := strings.Cut(origin[0], "://")
		return len(origin) == 1 && strings.EqualFold(authority, r.Host) && p.hosts.servesOrigin(origin[0], r.Host)
	}
	if !isRead(r) || r.Header["Upgrade"] != nil {
		return false
	}
	for _, site := range r.Header[headerFetchSite] {
		if site != "same-origin" && site != "none" {
			return false
		}
	}
	return true
}
