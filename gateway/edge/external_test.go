package edge

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// seen is what a handler behind the Policy finds.
type seen struct {
	Path, Raw, Host, Scheme, Prefix, Client, Link string
	Left                                          []string // forwarding headers
}

func describe(w http.ResponseWriter, r *http.Request) {
	x := ExternalOf(r.Context())
	s := seen{Path: r.URL.Path, Raw: r.URL.EscapedPath(), Host: r.Host, Scheme: x.Scheme, Prefix: x.Prefix, Client: x.Client.String(),
		Link: Link(r.Context(), "/v1/x")}
	for name := range r.Header {
		if strings.Contains(name, "Forwarded") || name == "X-Real-Ip" {
			s.Left = append(s.Left, name)
		}
	}
	if to := r.URL.Query().Get("to"); to != "" {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	if err := json.NewEncoder(w).Encode(s); err != nil {
		panic(err)
	}
}

// ask sends a request to a Policy without a socket.
func ask(t *testing.T, p *Policy, remote, target string, headers ...string) (*httptest.ResponseRecorder, seen) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://localhost:26866"+target, nil)
	r.RemoteAddr = remote
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.Middleware(http.HandlerFunc(describe)).ServeHTTP(w, r)
	var s seen
	if w.Code < 400 {
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
	}
	return w, s
}

var behindProxy = Config{Listen: []string{"127.0.0.1:26866"}, AllowedHosts: []string{"public.example"}, BasePath: "/hill/ant/",
	TrustedProxies: []string{"10.0.0.0/8", "127.0.0.1", "fd00::/16"}}

func TestBasePathIsTakenOff(t *testing.T) {
	p := policy(t, behindProxy)
	for target, want := range map[string]seen{
		"/v1/x":                      {Path: "/v1/x", Raw: "/v1/x"},
		"/hill/ant/v1/x":             {Path: "/v1/x", Raw: "/v1/x", Prefix: "/hill/ant"},
		"/hill/ant":                  {Path: "/", Raw: "/", Prefix: "/hill/ant"},
		"/hill/ant/":                 {Path: "/", Raw: "/", Prefix: "/hill/ant"},
		"/hill/ant/v1/a%2Fb":         {Path: "/v1/a/b", Raw: "/v1/a%2Fb", Prefix: "/hill/ant"},
		"/hill/ant/v1/a%252Fb":       {Path: "/v1/a%2Fb", Raw: "/v1/a%252Fb", Prefix: "/hill/ant"},
		"/hill/ant/api/v1/x":         {Path: "/v1/x", Raw: "/v1/x", Prefix: "/hill/ant"},
		"/api/v1/x/":                 {Path: "/v1/x/", Raw: "/v1/x/"},
		"/api/v1":                    {Path: "/v1/", Raw: "/v1/"},
		"/api/v1x":                   {Path: "/api/v1x", Raw: "/api/v1x"},
		"/api/sessions":              {Path: "/api/sessions", Raw: "/api/sessions"},
		"/api":                       {Path: "/api", Raw: "/api"},
		"/api/v1/api/v1/x":           {Path: "/v1/api/v1/x", Raw: "/v1/api/v1/x"},
		"/hill/antique/v1/x":         {Path: "/hill/antique/v1/x", Raw: "/hill/antique/v1/x"},
		"/hill/ant/hill/ant/v1/x":    {Path: "/hill/ant/v1/x", Raw: "/hill/ant/v1/x", Prefix: "/hill/ant"},
		"/hill%2Fant/v1/x":           {Path: "/hill/ant/v1/x", Raw: "/hill%2Fant/v1/x"},
		"/hill/%61nt/v1/x":           {Path: "/hill/ant/v1/x", Raw: "/hill/%61nt/v1/x"},
		"/%61pi/v1/x":                {Path: "/api/v1/x", Raw: "/%61pi/v1/x"},
		"/api%2Fv1/x":                {Path: "/api/v1/x", Raw: "/api%2Fv1/x"},
		"/hill/ant//v1/x":            {Path: "//v1/x", Raw: "//v1/x", Prefix: "/hill/ant"},
		"/hill/ant/../v1/x":          {Path: "/../v1/x", Raw: "/../v1/x", Prefix: "/hill/ant"},
		"//hill/ant/v1/x":            {Path: "//hill/ant/v1/x", Raw: "//hill/ant/v1/x"},
		"/hill/ant/v1/%2e%2e/api/v1": {Path: "/v1/../api/v1", Raw: "/v1/%2e%2e/api/v1", Prefix: "/hill/ant"},
	} {
		_, got := ask(t, p, "192.0.2.1:1", target)
		if got.Path != want.Path || got.Raw != want.Raw || got.Prefix != want.Prefix || got.Link != want.Prefix+"/v1/x" {
			t.Errorf("%s: %+v", target, got)
		}
	}
}

func TestForwardedHeaders(t *testing.T) {
	p := policy(t, behindProxy)
	for _, tc := range []struct {
		remote  string
		headers []string
		want    seen
		refused bool
	}{
		{remote: "192.0.2.1:1", want: seen{Host: "localhost:26866", Scheme: "http", Client: "192.0.2.1"}},
		{remote: "192.0.2.1:1", headers: []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host",
			"public.example", "X-Forwarded-Prefix", "/evil", "Forwarded", "for=1.2.3.4", "X-Real-IP", "1.2.3.4"},
			want: seen{Host: "localhost:26866", Scheme: "http", Client: "192.0.2.1"}},
		{remote: "10.1.2.3:1", headers: []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host",
			"public.example", "X-Forwarded-Prefix", "/outer/", "Forwarded", "for=1.2.3.4", "X-Real-IP", "1.2.3.4"},
			want: seen{Host: "public.example", Scheme: "https", Client: "203.0.113.9", Prefix: "/outer"}},
		{remote: "[fd00::1]:1", headers: []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.0.0.7", "X-Forwarded-For", "10.0.0.8"},
			want: seen{Host: "localhost:26866", Scheme: "http", Client: "203.0.113.9"}},
		{remote: "10.1.2.3:1", headers: []string{"X-Forwarded-For", "203.0.113.9, unknown"},
			want: seen{Host: "localhost:26866", Scheme: "http", Client: "10.1.2.3"}},
		{remote: "10.1.2.3:1", headers: []string{"X-Forwarded-Proto", "http, https", "X-Forwarded-Prefix", "/one, /two"},
			want: seen{Host: "localhost:26866", Scheme: "https", Client: "10.1.2.3", Prefix: "/two"}},
		{remote: "10.1.2.3:1", headers: []string{"X-Forwarded-Proto", "javascript", "X-Forwarded-Prefix", "//evil.example"},
			want: seen{Host: "localhost:26866", Scheme: "http", Client: "10.1.2.3"}},
		{remote: "10.1.2.3:1", headers: []string{"X-Forwarded-Host", "evil.example"}, refused: true},
		// What a page of evil.example could send after its name was pointed here.
		{remote: "127.0.0.1:1", headers: []string{"Host", "evil.example", "X-Forwarded-Host", "public.example"}, refused: true},
	} {
		w, got := ask(t, p, tc.remote, "/v1/x", tc.headers...)
		if tc.refused {
			if w.Code != http.StatusForbidden {
				t.Errorf("%s %q: %d", tc.remote, tc.headers, w.Code)
			}
			continue
		}
		if got.Host != tc.want.Host || got.Scheme != tc.want.Scheme || got.Client != tc.want.Client || got.Prefix != tc.want.Prefix || got.Left != nil {
			t.Errorf("%s %q: %+v", tc.remote, tc.headers, got)
		}
	}
	for header, prefix := range map[string]string{"/hill/ant": "/hill/ant", "/outer": "/outer/hill/ant", "": "/hill/ant"} {
		if _, got := ask(t, p, "10.1.2.3:1", "/hill/ant/v1/x", "X-Forwarded-Prefix", header); got.Prefix != prefix {
			t.Errorf("a proxy that says %q and leaves the path: prefix %q", header, got.Prefix)
		}
	}
}

// A link must lead to the same place wherever the proxy has mounted the server.
func TestLocationIsRelativeBehindAProxy(t *testing.T) {
	for _, tc := range []struct {
		config       Config
		target, want string
	}{
		{behindProxy, "/v1/projects/?to=/v1/projects", "../../v1/projects"},
		{behindProxy, "/hill/ant/v1/projects/?to=/v1/projects", "../../v1/projects"},
		{behindProxy, "/api/v1/projects/?to=/v1/projects", "../../v1/projects"},
		{behindProxy, "/health?to=/docs", "./docs"},
		{behindProxy, "/v1/x?to=https://accounts.example/", "https://accounts.example/"},
		{behindProxy, "/v1/x?to=//other.example/", "//other.example/"},
		{Config{Listen: behindProxy.Listen}, "/v1/projects/?to=/v1/projects", "/v1/projects"},
	} {
		w, _ := ask(t, policy(t, tc.config), "127.0.0.1:1", tc.target)
		if got := w.Header().Get("Location"); got != tc.want {
			t.Errorf("%s: Location %q, want %q", tc.target, got, tc.want)
		}
	}
}

func TestBasePathAndProxiesThatCannotBe(t *testing.T) {
	for in, want := range map[string]string{"": "", "/": "", "/a": "/a", "/a/": "/a", "/a/b.c/D_-9": "/a/b.c/D_-9"} {
		if got, err := BasePath(in); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"a", "/a//b", "/..", "/a/../b", "/.", "/a b", "/a%2Fb", "/ä", "/v1", "/v1/x", "/api", "/docs", "/health/",
		"https://x.example/a", "/" + strings.Repeat("a", 300), "/a?b", "/a#b", "/a\x00"} {
		if got, err := BasePath(in); err == nil {
			t.Errorf("%q is taken as %q", in, got)
		}
	}
	for _, in := range []string{"proxy.example", "10.0.0.0/33", "::ffff:10.0.0.1", "10.0.0.1:80", ""} {
		if _, err := NewPolicy(Config{Listen: behindProxy.Listen, TrustedProxies: []string{in}}); err == nil {
			t.Errorf("trusted proxy %q is taken", in)
		}
	}
}
