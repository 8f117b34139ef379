package blackbox

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	antonv1 "anthill/gen/anton/v1"
)

// Done when (4): which Host is ours, on HTTP and as :authority of gRPC.
func TestEdgeHost(t *testing.T) {
	t.Parallel()
	s := start(t, withEnv("ANTHILL_ALLOWED_HOSTS=proxy.example,named.example:1234"))
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for host, allowed := range map[string]bool{
		"127.0.0.1:" + port: true, "localhost:" + port: true, "LocalHost:" + port: true, "[::1]:" + port: true, "127.9.8.7:" + port: true,
		"proxy.example": true, "proxy.example:99": true, "named.example:1234": true,
		"evil.example:" + port: false, "evil.example": false, "127.0.0.1": false, "127.0.0.1:1": false, "localhost:80": false, "localhost": false,
		"127.0.0.1.evil.example:" + port: false, "localhost.evil.example:" + port: false, "evil.example@127.0.0.1:" + port: false,
		"127.0.0.1:" + port + ".evil.example": false, "0.0.0.0:" + port: false, "192.168.0.1:" + port: false, "named.example": false,
		"named.example:" + port: false, "xproxy.example": false, "[::ffff:127.0.0.1]:" + port: false, "2130706433:" + port: false, "127.0.0.1:0" + port: false,
	} {
		want := http.StatusForbidden
		if allowed {
			want = http.StatusOK
		}
		for _, path := range []string{"/health", "/v1/projects", "/v1/conversations"} {
			reply := s.raw("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
			status := statusOf(reply)
			if status != want && !(status == http.StatusBadRequest && !allowed) {
				t.Errorf("Host %q, %s: %d, want %d", host, path, status, want)
			}
			if status == http.StatusForbidden && !strings.Contains(reply, `"detail":`) {
				t.Errorf("Host %q, %s: %s", host, path, reply)
			}
		}
		if strings.Contains(host, "@") {
			continue // no client sends that
		}
		_, err := antonv1.NewProjectsServiceClient(s.dial(grpc.WithAuthority(host))).ListProjects(s.call(), &antonv1.ListProjectsRequest{})
		if allowed && err != nil {
			t.Errorf("authority %q: %v", host, err)
		} else if !allowed {
			wantCode(t, "authority "+host, err, codes.PermissionDenied)
		}
		w, err := antonv1.NewConversationsServiceClient(s.dial(grpc.WithAuthority(host))).WatchConversations(s.call(), &antonv1.WatchConversationsRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		if allowed != (err == nil) {
			t.Errorf("watch with authority %q: %v", host, err)
		}
	}
	for _, request := range []string{
		"GET /health HTTP/1.0\r\n\r\n", "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /health HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
		"GET /health HTTP/1.1\r\nHost: " + s.addr + "\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
		"GET http://evil.example/health HTTP/1.1\r\nHost: " + s.addr + "\r\nConnection: close\r\n\r\n",
	} {
		if status := statusOf(s.raw(request)); status != http.StatusForbidden && status != http.StatusBadRequest {
			t.Errorf("%q: %d", request, status)
		}
	}
}

func statusOf(reply string) int {
	var status int
	if _, err := fmt.Sscanf(reply, "HTTP/1.%d %d", new(int), &status); err != nil {
		return -1
	}
	return status
}

// Done when (4): which pages may call, and what they are told.
func TestEdgeOrigin(t *testing.T) {
	t.Parallel()
	s := start(t, withEnv("VITE_RENDERER_URL=http://renderer.example:3000", "ANTHILL_ALLOWED_ORIGINS=https://listed.example"))
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for origin, allowed := range map[string]bool{
		"http://localhost:5173": true, "http://127.0.0.1:5173": true, "app://-": true, "http://renderer.example:3000": true, "https://listed.example": true,
		"http://127.0.0.1:" + port: true, "http://localhost:" + port: true,
		"http://evil.example": false, "https://localhost:5173": false, "http://localhost:5174": false, "http://127.0.0.1:1": false,
		"http://127.0.0.1.evil.example": false, "http://127.0.0.1:" + port + ".evil.example": false, "https://127.0.0.1:" + port: false,
		"http://renderer.example": false, "app://evil": false, "file://": false, "http://evil.example:" + port: false, "null": false, "http://listed.example": false,
		"http://localhost": false, "chrome-extension://abc": false,
	} {
		h := headers("Origin", origin)
		a := s.do(http.MethodGet, "/v1/projects", nil, h)
		acao := a.header.Get("Access-Control-Allow-Origin")
		if allowed {
			a.ok()
			if acao != origin || a.header.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(a.header.Get("Vary"), "Origin") {
				t.Errorf("origin %q: %v", origin, a.header)
			}
		} else {
			a.refused(http.StatusForbidden, "")
			if acao != "" {
				t.Errorf("origin %q is told %q", origin, acao)
			}
		}
		s.preflight(t, origin, allowed)
		ctx := metadata.AppendToOutgoingContext(s.call(), "origin", origin)
		_, err := antonv1.NewProjectsServiceClient(s.dial()).ListProjects(ctx, &antonv1.ListProjectsRequest{})
		if allowed != (err == nil) {
			t.Errorf("gRPC with origin %q: %v", origin, err)
		}
	}
	before := s.get("/v1/projects").body
	s.do(http.MethodPost, "/v1/projects", object{"name": "evil"}, headers("Origin", "http://evil.example")).refused(http.StatusForbidden, "")
	s.do(http.MethodPost, "/v1/responses", object{"input": "evil", "conversation": "evil"}, headers("Origin", "http://evil.example")).refused(http.StatusForbidden, "")
	s.do(http.MethodPost, "/v1/projects", object{"name": "evil"}, headers("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors")).refused(http.StatusForbidden, "")
	s.do(http.MethodGet, "/v1/projects", nil, headers("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors")).refused(http.StatusForbidden, "")
	two := http.Header{"Origin": {"http://localhost:5173", "http://evil.example"}}
	s.do(http.MethodGet, "/v1/projects", nil, two).refused(http.StatusForbidden, "")
	st := s.ask(object{"input": "hello", "conversation": "page"}, headers("Origin", "http://localhost:5173"))
	if st.turn(); st.header.Get("Access-Control-Allow-Origin") != "http://localhost:5173" {
		t.Errorf("headers of a stream: %v", st.header)
	}
	if after := s.get("/v1/projects").body; string(after) != string(before) {
		t.Errorf("a refused page changed something: %s", after)
	}
	s.get("/v1/conversations/evil").refused(http.StatusNotFound, "Conversation not found")
}

// preflight asks as a browser does before a PATCH with JSON.
func (s *server) preflight(t *testing.T, origin string, allowed bool) {
	t.Helper()
	for _, path := range []string{"/v1/conversations/x", "/v1/responses", "/health"} {
		a := s.do(http.MethodOptions, path, nil, headers("Origin", origin, "Access-Control-Request-Method", "PATCH",
			"Access-Control-Request-Headers", "content-type,x-stainless-lang"))
		acao := a.header.Get("Access-Control-Allow-Origin")
		if !allowed {
			if a.status != http.StatusForbidden || acao != "" {
				t.Errorf("preflight from %q: %v %v", origin, a, a.header)
			}
			continue
		}
		if a.status >= 300 || acao != origin || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "PATCH") ||
			!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "content-type") || !strings.Contains(a.header.Get("Vary"), "Origin") {
			t.Errorf("preflight from %q: %v %v", origin, a, a.header)
		}
	}
}

// The desktop app's page has no origin; only its browser is let through with that.
func TestEdgeOriginNull(t *testing.T) {
	t.Parallel()
	s := start(t)
	const electron = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko) Cowork/2.0.6 Chrome/136 Electron/36.2 Safari/537.36"
	for _, tc := range []struct {
		path, agent string
		want        int
	}{
		{"/v1/projects", electron, 200}, {"/health", electron, 200}, {"/", electron, 200},
		{"/v1/projects", "Mozilla/5.0 Chrome/136", 403}, {"/health", "curl/8", 403}, {"/api/sessions", electron, 403}, {"/ws", electron, 403},
		{"/v1/../api/sessions", electron, 403}, {"/v1x", electron, 403},
	} {
		a := s.do(http.MethodGet, tc.path, nil, headers("Origin", "null", "User-Agent", tc.agent))
		if a.status != tc.want {
			t.Errorf("null from %q on %s: %v, want %d", tc.agent, tc.path, a, tc.want)
		}
		if acao := a.header.Get("Access-Control-Allow-Origin"); (acao == "null") != (tc.want == 200) || acao != "" && tc.want != 200 {
			t.Errorf("null on %s is told %q", tc.path, acao)
		}
	}
	for names, want := range map[string]int{"content-type": 204, "content-type, User-Agent": 403, "user-agent": 403} {
		a := s.do(http.MethodOptions, "/v1/responses", nil, headers("Origin", "null", "User-Agent", electron,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", names))
		if a.status != want {
			t.Errorf("preflight for %q: %v, want %d", names, a, want)
		}
	}
}

// What a page can send without asking is not taken.
func TestEdgeContentType(t *testing.T) {
	t.Parallel()
	s := start(t)
	before := s.get("/v1/projects").body
	for _, typ := range []string{"text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
		"application/json; charset=latin1", "text/plain, application/json", "nonsense"} {
		for _, r := range []string{"POST /v1/projects", "POST /v1/responses", "PUT /v1/settings", "PUT /v1/projects/active", "PATCH /v1/conversations/x"} {
			method, path, _ := strings.Cut(r, " ")
			a := s.do(method, path, object{"name": "evil", "input": "evil", "greeting": "evil"}, headers("Content-Type", typ))
			if a.refused(http.StatusUnsupportedMediaType, ""); a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%v: %v", a, a.header)
			}
		}
	}
	for _, typ := range []string{"application/json", "application/json; charset=utf-8", "application/merge-patch+json"} {
		s.do(http.MethodPut, "/v1/projects/active", object{"name": "general"}, headers("Content-Type", typ)).ok()
	}
	s.get("/v1/responses/cancel?conversation_id=x").refused(http.StatusNotFound, "Response not found") // an id like any other
	s.get("/v1/projects/general/files/upload?files=evil").refused(http.StatusNotFound, "File not found")
	if after := s.get("/v1/projects").body; string(after) != string(before) || len(conversations(t, s, "?project=all")) != 0 {
		t.Errorf("something was taken: %s", after)
	}
	if got := s.get("/v1/settings").ok()["greeting"]; got == "evil" {
		t.Error("a setting was taken")
	}
}
