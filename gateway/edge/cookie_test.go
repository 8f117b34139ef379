package edge

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// shown are the sessions that a request through the Policy shows to the services.
func shown(t *testing.T, p *Policy, r *http.Request) (list []string, status int) {
	t.Helper()
	w := httptest.NewRecorder()
	p.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		list = Credentials(r).Get("x-browser-session")
	})).ServeHTTP(w, r)
	return list, w.Code
}

func TestCookieCountsFromOwnPagesOnly(t *testing.T) {
	p := policy(t, Config{Listen: []string{"127.0.0.1:26866"}, AllowedHosts: []string{"box.local", "tls.example:443"},
		AllowedOrigins: []string{"http://localhost:5174"}})
	type h = map[string]string
	for name, c := range map[string]struct {
		method, host string
		headers      h
		want         bool
		status       int
	}{
		"the address bar":           {"GET", "127.0.0.1:26866", h{"Sec-Fetch-Site": "none"}, true, 200},
		"a page reads":              {"GET", "127.0.0.1:26866", h{"Sec-Fetch-Site": "same-origin"}, true, 200},
		"a browser that says less":  {"GET", "127.0.0.1:26866", nil, true, 200},
		"HEAD":                      {"HEAD", "127.0.0.1:26866", nil, true, 200},
		"a page writes":             {"POST", "127.0.0.1:26866", h{"Origin": "http://127.0.0.1:26866"}, true, 200},
		"a page deletes":            {"DELETE", "127.0.0.1:26866", h{"Origin": "http://127.0.0.1:26866", "Sec-Fetch-Site": "same-origin"}, true, 200},
		"a page opens a socket":     {"GET", "127.0.0.1:26866", h{"Origin": "http://127.0.0.1:26866", "Upgrade": "websocket"}, true, 200},
		"a proxy adds TLS":          {"POST", "box.local", h{"Origin": "https://box.local"}, true, 200},
		"nobody says who writes":    {"POST", "127.0.0.1:26866", nil, false, 200},
		"so does a fetch header":    {"POST", "127.0.0.1:26866", h{"Sec-Fetch-Site": "same-origin"}, false, 200},
		"a socket of nobody":        {"GET", "127.0.0.1:26866", h{"Upgrade": "websocket"}, false, 200},
		"a page of another port":    {"GET", "127.0.0.1:26866", h{"Sec-Fetch-Site": "same-site"}, false, 200},
		"a link from elsewhere":     {"GET", "127.0.0.1:26866", h{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, false, 200},
		"an allowed origin":         {"GET", "127.0.0.1:26866", h{"Origin": "http://localhost:5174"}, false, 200},
		"the desktop app":           {"POST", "127.0.0.1:26866", h{"Origin": "app://-"}, false, 200},
		"another name of ours":      {"POST", "127.0.0.1:26866", h{"Origin": "http://localhost:26866"}, false, 200},
		"the other way round":       {"POST", "localhost:26866", h{"Origin": "http://127.0.0.1:26866"}, false, 200},
		"a foreign page":            {"POST", "127.0.0.1:26866", h{"Origin": "http://evil.example"}, false, 403},
		"a foreign page, same host": {"POST", "127.0.0.1:26866", h{"Origin": "http://127.0.0.1:3000"}, false, 403},
		"TLS that we do not speak":  {"POST", "127.0.0.1:26866", h{"Origin": "https://127.0.0.1:26866"}, false, 403},
		"null":                      {"POST", "127.0.0.1:26866", h{"Origin": "null"}, false, 403},
		"null on /v1 in Electron":   {"POST", "127.0.0.1:26866", h{"Origin": "null", "User-Agent": "x Electron/30"}, false, 200},
	} {
		r := httptest.NewRequest(c.method, "/v1/projects", nil)
		r.Host = c.host
		for k, v := range c.headers {
			r.Header.Set(k, v)
		}
		name0 := cookieName(External{Scheme: "http", Host: c.host})
		r.Header.Set("Cookie", "a=1; "+name0+"=secret; "+name0+"x=other")
		got, status := shown(t, p, r)
		if slices.Contains(got, "secret") != c.want || len(got) > 1 || status != c.status {
			t.Errorf("%s: shows %v (want %v), status %d (want %d)", name, got, c.want, status, c.status)
		}
	}
}

func TestCookieOfOneServer(t *testing.T) {
	for name, c := range map[string]struct {
		x      External
		cookie string
		secure bool
	}{
		"plain":    {External{Scheme: "http", Host: "127.0.0.1:26866"}, "anthill-26866", false},
		"no port":  {External{Scheme: "http", Host: "box.local"}, "anthill-80", false},
		"TLS":      {External{Scheme: "https", Host: "localhost:8443"}, "__Host-anthill-8443", true},
		"TLS, 443": {External{Scheme: "https", Host: "tls.example"}, "__Host-anthill-443", true},
		"IPv6":     {External{Scheme: "http", Host: "[::1]:7"}, "anthill-7", false},
	} {
		w := httptest.NewRecorder()
		rc := &requestContext{Context: t.Context(), external: c.x}
		SetSession(rc, w, "secret")
		ClearSession(rc, w)
		list := w.Result().Cookies()
		if len(list) != 2 {
			t.Fatalf("%s: %v", name, list)
		}
		set, cleared := list[0], list[1]
		if set.Name != c.cookie || set.Secure != c.secure || !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Path != "/" || set.Domain != "" || set.Value != "secret" {
			t.Errorf("%s: %v", name, set)
		}
		if cleared.Name != c.cookie || cleared.MaxAge >= 0 || cleared.Value != "" {
			t.Errorf("%s, cleared: %v", name, cleared)
		}
	}
}

func TestCredentials(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/ws?apiKey=k1&token=t1", nil)
	r.Header.Set("Authorization", "Bearer b")
	r.Header.Set("X-Api-Key", "k0")
	r.Header.Set("Sec-WebSocket-Protocol", "chat, ant.token.t2, ant.token.t3")
	r.Header.Set("Cookie", "anthill-80=secret") // not through the Policy
	if md := Credentials(r); !slices.Equal(md.Get("x-api-key"), []string{"k0", "k1", "t1"}) || md.Get("x-browser-session") != nil {
		t.Errorf("without an upgrade: %v", md)
	}
	r.Header.Set("Upgrade", "websocket")
	if md := Credentials(r); !slices.Equal(md.Get("x-api-key"), []string{"k0", "k1", "t1", "t2"}) || !slices.Equal(md.Get("authorization"), []string{"Bearer b"}) {
		t.Errorf("with an upgrade: %v", md)
	}
	if got := TokenProtocol(r); got != "ant.token.t2" {
		t.Errorf("subprotocol %q", got)
	}
	if md := Credentials(httptest.NewRequest(http.MethodGet, "/v1/x?project=a", nil)); md != nil {
		t.Errorf("nothing is shown: %v", md)
	}
}
