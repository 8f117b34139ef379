package blackbox

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

const base = "/hill/anthill"

// behind puts a proxy before the server and returns the server as seen there.
// With strip it takes the base path off; with forward it says what it was asked.
func (s *server) behind(t *testing.T, strip, forward bool) *server {
	t.Helper()
	to, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		if strip {
			r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, base)
			r.Out.URL.RawPath = strings.TrimPrefix(r.Out.URL.RawPath, base)
		}
		if forward {
			r.SetXForwarded()
			r.Out.Header.Set("X-Forwarded-Prefix", base)
		}
	}})
	t.Cleanup(proxy.Close)
	p := s.with(t)
	p.url, p.addr, p.http = proxy.URL, strings.TrimPrefix(proxy.URL, "http://"), client()
	t.Cleanup(p.http.CloseIdleConnections)
	return p
}

// Every route answers the same at /v1/… and below the base path, through proxies
// that take it off and that leave it on.
func TestBasePath(t *testing.T) {
	t.Parallel()
	s := start(t, withArgs("--base-path", base+"/"), withEnv("ANTHILL_TRUSTED_PROXIES=127.0.0.1, ::1", "ANTHILL_ALLOWED_HOSTS=127.0.0.1"))
	s.put("/v1/projects/general/files/notes.md", object{"content": ferry}).ok()
	s.ask(object{"input": "When does the ferry leave according to notes.md?", "conversation": "c"}).turn()
	doors := map[string]struct {
		*server
		prefix string
	}{
		"direct": {s, ""}, "direct, below the base path": {s, base}, "direct, as /api/v1": {s, "/api"},
		"proxy that leaves it":                  {s.behind(t, false, false), base},
		"proxy that strips it":                  {s.behind(t, true, false), base},
		"proxy that leaves it and says so":      {s.behind(t, false, true), base},
		"proxy that strips it and says so":      {s.behind(t, true, true), base},
		"proxy that leaves it, for SDK clients": {s.behind(t, false, true), base + "/api"},
	}
	t.Run("reads", func(t *testing.T) {
		for name, d := range doors {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				d := d.with(t)
				for _, r := range routes(t) {
					path := r.path(sample)
					if r.method != http.MethodGet || !strings.HasPrefix(path, "/v1/") || path == "/v1/backup" {
						continue // no two backups are the same
					}
					want, got := s.with(t).get(path), d.get(doors[name].prefix+path)
					if want.status != got.status || string(want.body) != string(got.body) {
						t.Errorf("%v\nand below %s: %v", want, doors[name].prefix, got)
					}
				}
			})
		}
	})
	for name, d := range doors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := d.with(t)
			prefix := doors[name].prefix
			tn := checkTurn(t, d.stream(http.MethodGet, prefix+"/v1/responses/tail?conversation_id=c", nil).rest())
			if !strings.Contains(tn.text, "07:30") {
				t.Errorf("tail: %q", tn.text)
			}
			tn = checkTurn(t, d.stream(http.MethodPost, prefix+"/v1/responses", object{"input": "hello", "stream": true}).rest())
			if tn.end.Type != "response.completed" {
				t.Errorf("a turn: %s", tn.end.data)
			}
			d.put(prefix+"/v1/projects/general%2Fx/files/a.txt", object{"content": "x"}).refused(http.StatusNotFound, "")
			d.get(prefix+"/v1/projects/general/files/%2e%2e%2fnotes.md").refused(http.StatusBadRequest, "")

			a := d.get(prefix + "/v1/projects/?a=b")
			at, err := url.Parse(d.url + prefix + "/v1/projects/")
			if err != nil {
				t.Fatal(err)
			}
			to, err := at.Parse(a.header.Get("Location"))
			if err != nil || a.status != http.StatusTemporaryRedirect || to.String() != d.url+prefix+"/v1/projects?a=b" {
				t.Errorf("%v leads to %v", a, to)
			}
		})
	}
	for _, path := range []string{base + base + "/v1/projects", "/hill/v1/projects", "/hill/anthills/v1/projects", "/hill%2Fanthill/v1/projects",
		"//hill/anthill/v1/projects", base + "//v1/projects", base + "/../v1/projects", base + "/v1/../v1/projects", base + "/%2e%2e/v1/projects",
		"/api/v1/../projects", "/api/projects", "/api/v1x/projects", "/%61pi/v1/projects", base + "/api/v1/api/v1/projects"} {
		if a := s.get(path); a.status != http.StatusNotFound {
			t.Errorf("%v", a)
		}
	}
}

// Whoever is not a trusted proxy is not believed, and nobody's word goes around
// the rules for Host, Origin and key.
func TestBasePathKeepsTheRules(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey), withArgs("--base-path", base), withEnv("ANTHILL_TRUSTED_PROXIES=127.0.0.1", "ANTHILL_ALLOWED_HOSTS=hill.example"))
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/projects", base + "/v1/projects", "/api/v1/projects", base + "/api/v1/projects"} {
		anonymous := headers("Authorization", "")
		s.do(http.MethodGet, path, nil, anonymous).refused(http.StatusUnauthorized, "")
		s.do(http.MethodGet, path, nil, headers("Host", "evil.example:"+port)).refused(http.StatusForbidden, "")
		s.do(http.MethodGet, path, nil, headers("Host", "evil.example:"+port, "X-Forwarded-Host", "hill.example")).refused(http.StatusForbidden, "")
		s.do(http.MethodGet, path, nil, headers("X-Forwarded-Host", "evil.example")).refused(http.StatusForbidden, "")
		s.do(http.MethodGet, path, nil, headers("X-Forwarded-Host", "evil.example", "Origin", "https://evil.example")).refused(http.StatusForbidden, "")
		s.do(http.MethodGet, path, nil, headers("Origin", "https://evil.example")).refused(http.StatusForbidden, "")
		s.do(http.MethodGet, path, nil, headers("X-Forwarded-Host", "hill.example", "X-Forwarded-Proto", "https", "Origin", "https://hill.example")).ok()
		electron := headers("Origin", "null", "User-Agent", "Anton Electron/33.0")
		s.do(http.MethodGet, path, nil, electron).ok()
	}
	// Below /api only /v1 is meant; the desktop app's rule ends there.
	electron := headers("Origin", "null", "User-Agent", "Anton Electron/33.0")
	for _, path := range []string{"/api/sessions", base + "/api/sessions", "/api/v1/../sessions"} {
		s.do(http.MethodGet, path, nil, electron).refused(http.StatusForbidden, "")
	}
}

// A client that is not a trusted proxy may claim what it likes.
func TestBasePathIgnoresClaimsOfOthers(t *testing.T) {
	t.Parallel()
	s := start(t, withArgs("--base-path", base), withEnv("ANTHILL_TRUSTED_PROXIES=192.0.2.0/24"))
	claims := headers("X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/evil", "X-Forwarded-For", "192.0.2.1")
	s.do(http.MethodGet, "/v1/projects", nil, claims).ok()
	if a := s.do(http.MethodGet, "/v1/projects/", nil, claims); strings.Contains(a.header.Get("Location"), "evil") {
		t.Errorf("a claim is in Location: %v", a.header)
	}
}

func TestBasePathThatCannotBe(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for _, args := range [][]string{{"--base-path", "anthill"}, {"--base-path", "/v1"}, {"--base-path", "/a/../b"}, {"--base-path", "/api/x"},
		{"--base-path", "/a b"}, {"--trusted-proxies", "proxy.example"}, {"--trusted-proxies", "10.0.0.0/99"}} {
		if out, errs, code := command(t, []string{"HOME=" + home}, "", append([]string{"serve", "--port", "0"}, args...)...); code == 0 || out != "" || errs == "" {
			t.Errorf("%q: code %d, %q, %q", args, code, out, errs)
		}
	}
}
