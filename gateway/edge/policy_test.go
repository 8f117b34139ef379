package edge

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func policy(t testing.TB, c Config) *Policy {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := NewPolicy(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var manyNames = Config{
	Listen:         []string{"127.0.0.1:26866", "[::]:6458", "192.168.7.7:9000", "[fd00::9%eth0]:9001"},
	AllowedHosts:   []string{"box.local", "Proxy.example:8443", "tls.example:443", "fd00::1", "0.0.0.0"},
	AllowedOrigins: []string{"https://App.example:443/", "http://localhost:5174", "vscode-webview://abc"},
}

func TestHosts(t *testing.T) {
	p := policy(t, manyNames)
	for _, h := range []string{
		"localhost:26866", "LOCALHOST:26866", "127.0.0.1:26866", "127.255.0.3:26866", "[::1]:26866",
		"[0:0:0:0:0:0:0:1]:26866", "localhost:6458", "[::1]:6458", "127.0.0.1:9000", "192.168.7.7:9000",
		"[fd00::9]:9001", "box.local", "box.local:1", "BOX.local:65535", "proxy.example:8443",
		"tls.example:443", "tls.example", "[fd00::1]", "[FD00::1]:80", "0.0.0.0:6458",
	} {
		if !p.hosts.allowed(h) {
			t.Errorf("%q is refused", h)
		}
	}
	for _, h := range []string{
		"", ":", ":26866", "localhost", "127.0.0.1", "[::1]", "localhost:", "localhost:80", "localhost:26867",
		"localhost:026866", "localhost:+26866", "localhost:26866:1", "localhost:26866/", "localhost:26866 ",
		" localhost:26866", "localhost.:26866", "localhost:26866,localhost:26866", "user@localhost:26866",
		"evil.example:26866", "localhost.evil.example:26866", "127.0.0.1.evil.example:26866", "evil.example",
		"127.0.0.1.:26866", "127.1:26866", "127.0.0.01:26866", "2130706433:26866", "0x7f.0.0.1:26866",
		"128.0.0.1:26866", "[::ffff:127.0.0.1]:26866", "[::1%25lo]:26866", "::1:26866", "[::1]26866", "[::1",
		"[localhost]:26866", "[127.0.0.1]:26866", "192.168.7.7:26866", "192.168.7.8:9000", "[::]:6458",
		"proxy.example", "proxy.example:8444", "tls.example:8443", "xbox.local", "box.local:0", "box.local:70000",
		"lоcalhost:26866", "localhost:26866\x00", strings.Repeat("a", 300) + ".local:26866",
	} {
		if p.hosts.allowed(h) {
			t.Errorf("%q is allowed", h)
		}
	}
}

func TestHostWithoutPortMeansTheDefaultPort(t *testing.T) {
	for _, tc := range []struct {
		listen string
		tls    bool
		want   bool
	}{{"127.0.0.1:80", false, true}, {"127.0.0.1:443", true, true}, {"127.0.0.1:80", true, false}, {"127.0.0.1:443", false, false}} {
		p := policy(t, Config{Listen: []string{tc.listen}, TLS: tc.tls})
		for _, h := range []string{"localhost", "127.0.0.1", "[::1]"} {
			if got := p.hosts.allowed(h); got != tc.want {
				t.Errorf("%+v: %q allowed %t", tc, h, got)
			}
		}
	}
}

func TestOrigins(t *testing.T) {
	for _, tc := range []struct {
		host    string
		tls     bool
		allowed []string
		refused []string
	}{
		{
			host: "127.0.0.1:26866",
			allowed: []string{
				"http://127.0.0.1:26866", "http://localhost:26866", "http://[::1]:26866", "http://localhost:6458",
				"http://192.168.7.7:9000", "http://localhost:5173", "http://127.0.0.1:5173", "app://-",
				"https://app.example", "http://localhost:5174", "vscode-webview://abc",
				"http://proxy.example:8443", "https://proxy.example:8443", "https://tls.example",
				"http://box.local:26866", "https://box.local:6458",
			},
			refused: []string{
				"", "null", "file://", "app://", "app://-x", "http://evil.example", "http://evil.example:26866",
				"http://127.0.0.1", "http://127.0.0.1:3000", "http://127.0.0.1.evil.example:26866",
				"https://127.0.0.1:26866", "https://localhost:26866", "ws://localhost:26866", "http://localhost:26866/",
				"http://localhost:26866 http://evil.example", "http://user@localhost:26866", "http://app.example",
				"https://app.example:8443", "http://[::1]:5173", "https://localhost:5173", "http://box.local",
				"http://box.local:3000", "http://tls.example", "localhost:26866", "//localhost:26866",
				"HTTP://localhost:26866", "http://192.168.7.7:26866",
			},
		},
		{
			host:    "box.local:8080",
			allowed: []string{"http://box.local:8080", "https://box.local:8080"},
			refused: []string{"http://box.local:8081", "http://box.local", "ftp://box.local:8080"},
		},
		{
			host:    "box.local",
			allowed: []string{"http://box.local", "https://box.local"},
			refused: []string{"https://box.local:8443"},
		},
		{
			host:    "localhost:26866",
			tls:     true,
			allowed: []string{"https://localhost:26866", "https://box.local:26866", "https://tls.example"},
			refused: []string{"http://localhost:26866", "http://box.local:26866", "http://proxy.example:8443"},
		},
	} {
		c := manyNames
		c.TLS = tc.tls
		p := policy(t, c)
		for _, o := range tc.allowed {
			if !p.originAllowed(o, tc.host) {
				t.Errorf("at %s (TLS %t): %q is refused", tc.host, tc.tls, o)
			}
		}
		for _, o := range tc.refused {
			if p.originAllowed(o, tc.host) {
				t.Errorf("at %s (TLS %t): %q is allowed", tc.host, tc.tls, o)
			}
		}
	}
}

func TestNewPolicyRefusesWhatItCannotRead(t *testing.T) {
	ok := []string{"127.0.0.1:26866"}
	for name, c := range map[string]Config{
		"no address":        {},
		"no port":           {Listen: []string{"127.0.0.1"}},
		"port chosen later": {Listen: []string{"127.0.0.1:0"}},
		"bad address":       {Listen: []string{"a b:80"}},
		"host wildcard":     {Listen: ok, AllowedHosts: []string{"*"}},
		"host as URL":       {Listen: ok, AllowedHosts: []string{"http://box.local"}},
		"empty host":        {Listen: ok, AllowedHosts: []string{""}},
		"any origin":        {Listen: ok, AllowedOrigins: []string{"*"}},
		"null origin":       {Listen: ok, AllowedOrigins: []string{"null"}},
		"origin with path":  {Listen: ok, AllowedOrigins: []string{"http://box.local/app"}},
		"origin bare":       {Listen: ok, AllowedOrigins: []string{"box.local"}},
		"origin file":       {Listen: ok, AllowedOrigins: []string{"file://"}},
	} {
		if _, err := NewPolicy(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, listen := range []string{":8080", "localhost:8080", "0.0.0.0:8080"} {
		if _, err := NewPolicy(Config{Listen: []string{listen}}); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

const (
	electron = "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Electron/38.1.0 Safari/537.36"
	browser  = "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36"
)

func TestCheckOrigin(t *testing.T) {
	type headers = map[string]string
	p := policy(t, Config{
		Listen: []string{"127.0.0.1:26866"},
		Embed:  func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/preview/") },
	})
	for _, tc := range []struct {
		name, method, path string
		headers            headers
		ok                 bool
	}{
		{"no origin", "POST", "/api/sessions", nil, true},
		{"same origin", "POST", "/api/sessions", headers{"Origin": "http://127.0.0.1:26866"}, true},
		{"foreign", "GET", "/health", headers{"Origin": "http://evil.example"}, false},
		{"empty", "GET", "/health", headers{"Origin": ""}, false},

		{"null, desktop", "POST", "/v1/responses", headers{"Origin": "null", "User-Agent": electron}, true},
		{"null, desktop, root", "GET", "/", headers{"Origin": "null", "User-Agent": electron}, true},
		{"null, desktop, health", "GET", "/health", headers{"Origin": "null", "User-Agent": electron}, true},
		{"null, browser", "POST", "/v1/responses", headers{"Origin": "null", "User-Agent": browser}, false},
		{"null, no agent", "GET", "/v1/projects", headers{"Origin": "null"}, false},
		{"null, desktop, /api", "GET", "/api/sessions", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, /api/v1", "GET", "/api/v1/projects", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, /ws", "GET", "/ws", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, /v1x", "GET", "/v1x", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, /healthy", "GET", "/healthy", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, dots", "GET", "/v1/../api/sessions", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, encoded dots", "GET", "/v1/%2e%2e/api/sessions", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, encoded slash", "GET", "/v1/..%2fapi/sessions", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, double slash", "GET", "/v1//x", headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, backslash", "GET", `/v1/..\api`, headers{"Origin": "null", "User-Agent": electron}, false},
		{"null, desktop, slash at end", "GET", "/v1/projects/", headers{"Origin": "null", "User-Agent": electron}, true},
		{"null, preflight", "OPTIONS", "/v1/projects", headers{"Origin": "null", "User-Agent": electron,
			"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}, true},
		{"null, preflight for the agent", "OPTIONS", "/v1/projects", headers{"Origin": "null", "User-Agent": electron,
			"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, User-agent"}, false},
		{"listed, preflight for the agent", "OPTIONS", "/v1/projects", headers{"Origin": "app://-",
			"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "user-agent"}, true},

		{"cross-site image", "GET", "/v1/projects", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, false},
		{"cross-site, no mode", "GET", "/v1/projects", headers{"Sec-Fetch-Site": "cross-site"}, false},
		{"cross-site link", "GET", "/", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, true},
		{"cross-site form", "POST", "/v1/x", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, false},
		{"same-origin fetch", "GET", "/v1/projects", headers{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, true},
		{"address bar", "GET", "/v1/projects", headers{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, true},
		{"cross-site, our page", "GET", "/v1/projects", headers{"Origin": "app://-", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, true},
		{"image in the desktop app", "GET", "/v1/artifacts/raw", headers{"User-Agent": electron, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, true},
		{"image in the desktop app, /api", "GET", "/api/x", headers{"User-Agent": electron, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, false},
		{"part of a preview", "GET", "/v1/preview/a.css", headers{"User-Agent": browser, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, true},
		{"post to a preview", "POST", "/v1/preview/a.css", headers{"User-Agent": browser, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, false},
	} {
		r := httptest.NewRequest(tc.method, "http://127.0.0.1:26866"+tc.path, nil)
		for name, value := range tc.headers {
			r.Header.Set(name, value)
		}
		if why := p.checkOrigin(r); (why == "") != tc.ok {
			t.Errorf("%s: %q, want ok %t", tc.name, why, tc.ok)
		}
	}
	r := httptest.NewRequest("GET", "/v1/x", nil)
	r.Header["Origin"] = []string{"app://-", "http://evil.example"}
	if p.checkOrigin(r) == "" {
		t.Error("two origins are allowed")
	}
	r = httptest.NewRequest("GET", "http://127.0.0.1:26866/v1/x", nil)
	r.Header["Host"] = []string{"evil.example"} // as HTTP/2 may bring it
	if p.checkHost(r, r.Host) == "" {
		t.Error("a Host that contradicts :authority is allowed")
	}
}

// Whatever is allowed without further configuration is this machine, at a bound port.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"localhost:26866", "[::1]:26866", "127.0.0.1:26866", "[::ffff:127.0.0.1]:26866", "a:b:c"} {
		f.Add(s)
	}
	p := policy(f, Config{Listen: []string{"127.0.0.1:26866"}})
	f.Fuzz(func(t *testing.T, authority string) {
		allowed := p.hosts.allowed(authority)
		if p.hosts.servesOrigin("http://"+authority, authority) != allowed {
			t.Fatalf("%q: the host is allowed %t, its origin is not the same", authority, allowed)
		}
		if !allowed {
			return
		}
		name, ok := strings.CutSuffix(authority, ":26866")
		if !ok {
			t.Fatalf("%q is allowed", authority)
		}
		if strings.EqualFold(name, "localhost") {
			return
		}
		ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
		if err != nil || !ip.IsLoopback() || ip.Is4In6() {
			t.Fatalf("%q is allowed", authority)
		}
	})
}
