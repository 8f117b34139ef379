package edge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait of these tests; none of them waits for it.
const patience = 20 * time.Second

// serve runs next behind a Policy on a real socket and returns its host:port.
func serve(t testing.TB, c Config, next http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listen = []string{l.Addr().String()}
	base, cancel := context.WithCancel(t.Context())
	srv := NewHTTPServer(policy(t, c).Middleware(next), base, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		cancel()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// do sends a request; headers are pairs.
func do(t testing.TB, method, url string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// raw sends bytes as they are, for requests that no client would make.
func raw(t testing.TB, addr, request string) (*bufio.Reader, net.Conn) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(c), c
}

func echoID(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s", r.Method, RequestID(r.Context()), r.Header.Get("X-Request-Id"))
}

func TestRequestID(t *testing.T) {
	addr := serve(t, Config{}, echoID)
	for _, tc := range []struct {
		sent []string
		kept bool
	}{
		{nil, false},
		{[]string{"abc-DEF_0.9"}, true},
		{[]string{strings.Repeat("a", 64)}, true},
		{[]string{strings.Repeat("a", 65)}, false},
		{[]string{""}, false},
		{[]string{"a b"}, false},
		{[]string{"é"}, false},
		{[]string{"<script>"}, false},
		{[]string{"one", "two"}, false},
	} {
		var headers []string
		for _, s := range tc.sent {
			headers = append(headers, "X-Request-Id", s)
		}
		resp, body := do(t, "GET", "http://"+addr, nil, headers...)
		id := resp.Header.Get("X-Request-Id")
		if want := "GET " + id + " " + id; body != want {
			t.Errorf("%q: the handler saw %q, want %q", tc.sent, body, want)
		}
		if tc.kept && id != tc.sent[0] || !tc.kept && len(id) != 24 {
			t.Errorf("%q: id %q", tc.sent, id)
		}
	}
	if RequestID(t.Context()) != "" {
		t.Error("an id out of nothing")
	}
	type key struct{}
	base := context.WithValue(t.Context(), key{}, "base")
	r := httptest.NewRequestWithContext(base, "GET", "/", nil)
	if x := newExchange(httptest.NewRecorder(), r); x.ctx.Value(key{}) != "base" {
		t.Error("values of the base context are lost")
	}
}

func TestRefusals(t *testing.T) {
	addr := serve(t, Config{}, func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was served", r.Method, r.URL) })
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		for _, headers := range [][]string{
			{"Host", "evil.example"},
			{"Host", "evil.example:" + addr[strings.LastIndex(addr, ":")+1:], "Origin", "http://" + addr},
			{"Origin", "http://evil.example", "Access-Control-Request-Method", "POST"},
			{"Origin", "null"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"},
		} {
			resp, body := do(t, method, "http://"+addr+"/v1/projects", nil, headers...)
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s %q: %s", method, headers, resp.Status)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %q: answered with %s", method, headers, name)
				}
			}
			var m map[string]string
			if err := json.Unmarshal([]byte(body), &m); err != nil || m["detail"] == "" || m["detail"] != m["error"] || m["error"] != m["message"] {
				t.Errorf("%s %q: body %q, %v", method, headers, body, err)
			}
			if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s %q: headers %v", method, headers, resp.Header)
			}
		}
	}
	for name, request := range map[string]string{
		"absolute form":  "GET http://evil.example/v1 HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"two hosts":      "GET / HTTP/1.1\r\nHost: " + addr + "\r\nHost: evil.example\r\n\r\n",
		"two same hosts": "GET / HTTP/1.1\r\nHost: " + addr + "\r\nHost: " + addr + "\r\n\r\n",
		"no host":        "GET / HTTP/1.1\r\n\r\n",
		"HTTP/1.0":       "GET / HTTP/1.0\r\n\r\n",
		"two origins":    "GET / HTTP/1.1\r\nHost: " + addr + "\r\nOrigin: http://" + addr + "\r\nOrigin: http://" + addr + "\r\n\r\n",
		"options star":   "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	} {
		r, _ := raw(t, addr, request)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

func TestDenyHook(t *testing.T) {
	addr := serve(t, Config{Deny: func(w http.ResponseWriter, r *http.Request, status int, message string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "%s: %s", r.URL.Path, message)
	}}, echoID)
	resp, body := do(t, "GET", "http://"+addr+"/api/x", nil, "Host", "evil.example")
	if resp.StatusCode != 403 || body != "/api/x: Host not allowed" {
		t.Errorf("%s %q", resp.Status, body)
	}
}

func TestCORS(t *testing.T) {
	addr := serve(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		w.WriteHeader(http.StatusTeapot)
	})
	const methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	for _, tc := range []struct {
		name, method string
		headers      []string
		status       int
		want         map[string]string
	}{
		{"answer", "GET", []string{"Origin", "app://-"}, 418, map[string]string{
			"Access-Control-Allow-Origin": "app://-", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Expose-Headers": "X-Request-Id, Retry-After", "Vary": "Origin; Accept", "Access-Control-Allow-Methods": "",
		}},
		{"answer to nobody", "GET", nil, 418, map[string]string{
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Vary": "Origin; Accept",
		}},
		{"answer to null", "GET", []string{"Origin", "null", "User-Agent", electron}, 418, map[string]string{
			"Access-Control-Allow-Origin": "null", "Access-Control-Allow-Credentials": "true",
		}},
		{"preflight", "OPTIONS", []string{"Origin", "http://localhost:5173", "Access-Control-Request-Method", "PATCH",
			"Access-Control-Request-Headers", "content-type,x-api-key"}, 204, map[string]string{
			"Access-Control-Allow-Origin": "http://localhost:5173", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Allow-Methods": methods, "Access-Control-Allow-Headers": "content-type,x-api-key",
			"Access-Control-Max-Age": "600", "Allow": "",
			"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
		}},
		{"plain options", "OPTIONS", nil, 204, map[string]string{
			"Allow": methods, "Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": "",
		}},
		{"options of a page", "OPTIONS", []string{"Origin", "app://-"}, 204, map[string]string{
			"Allow": methods, "Access-Control-Allow-Origin": "app://-", "Access-Control-Allow-Methods": "",
		}},
	} {
		resp, body := do(t, tc.method, "http://"+addr+"/v1/projects", nil, tc.headers...)
		if resp.StatusCode != tc.status || body != "" {
			t.Errorf("%s: %s %q", tc.name, resp.Status, body)
		}
		for name, want := range tc.want {
			if got := strings.Join(resp.Header.Values(name), "; "); got != want {
				t.Errorf("%s: %s: %q, want %q", tc.name, name, got, want)
			}
		}
	}
	if len(valueVary) != 1 {
		t.Error("a handler changed the shared values")
	}
}

func TestPanics(t *testing.T) {
	var log bytes.Buffer
	addr := serve(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("ETag", `"1"`)
		switch r.URL.Path {
		case "/early":
			panic("secret detail")
		case "/late":
			fmt.Fprint(w, "half an ans")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			panic("secret detail")
		case "/hijacked":
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n"); err != nil {
				t.Error(err)
			}
			panic("secret detail")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})
	resp, body := do(t, "GET", "http://"+addr+"/early?token=hush", nil)
	id := resp.Header.Get("X-Request-Id")
	if resp.StatusCode != 500 || !strings.Contains(body, id) || strings.Contains(body, "secret") || resp.Header.Get("ETag") != "" {
		t.Errorf("early: %s %q %v", resp.Status, body, resp.Header)
	}
	if s := log.String(); !strings.Contains(s, id) || !strings.Contains(s, "secret detail") || !strings.Contains(s, "middleware_test.go") || strings.Contains(s, "hush") {
		t.Errorf("log: %s", s)
	}
	for _, path := range []string{"/late", "/hijacked", "/abort"} {
		r, _ := raw(t, addr, "GET "+path+" HTTP/1.1\r\nHost: "+addr+"\r\n\r\n")
		got, err := io.ReadAll(r) // ends because the connection does
		if err != nil || strings.Contains(string(got), "500") || strings.HasSuffix(string(got), "0\r\n\r\n") {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestHead(t *testing.T) {
	ended := make(chan error, 1)
	addr := serve(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			echoID(w, r)
			return
		}
		for {
			if _, err := io.WriteString(w, "tick\n"); err != nil {
				ended <- err
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				ended <- err
				return
			}
		}
	})
	resp, body := do(t, "HEAD", "http://"+addr, nil, "X-Request-Id", "a")
	if resp.StatusCode != 200 || body != "" || resp.ContentLength != int64(len("GET a a")) {
		t.Errorf("%s, body %q, length %d", resp.Status, body, resp.ContentLength)
	}
	resp, _ = do(t, "HEAD", "http://"+addr, nil, "X-Request-Id", "a", "Accept", "text/event-stream")
	if resp.ContentLength != int64(len("HEAD a a")) {
		t.Errorf("for an event stream: length %d", resp.ContentLength)
	}
	resp, _ = do(t, "HEAD", "http://"+addr+"/stream", nil)
	if err := <-ended; resp.StatusCode != 200 || !errors.Is(err, http.ErrBodyNotAllowed) {
		t.Errorf("stream: %s, %v", resp.Status, err)
	}
}

func TestWriterKeepsItsAbilities(t *testing.T) {
	rec := httptest.NewRecorder()
	x := newExchange(rec, httptest.NewRequest("GET", "/", nil))
	var w http.ResponseWriter = x
	if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("from ")); n != 5 || err != nil {
		t.Error(n, err)
	}
	if _, err := io.WriteString(w, "string"); err != nil {
		t.Error(err)
	}
	w.(http.Flusher).Flush()
	if rec.Body.String() != "from string" || !rec.Flushed {
		t.Errorf("%q, flushed %t", rec.Body.String(), rec.Flushed)
	}
	if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("Hijack: %v", err)
	}
	if err := http.NewResponseController(w).EnableFullDuplex(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("EnableFullDuplex: %v", err)
	}
	x = newExchange(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if x.WriteHeader(http.StatusEarlyHints); x.wrote {
		t.Error("an informational status began the answer")
	}
}

func TestLargeHeadersAre431(t *testing.T) {
	addr := serve(t, Config{}, echoID)
	resp, _ := do(t, "GET", "http://"+addr, nil, "X-Large", strings.Repeat("x", 80<<10))
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.Status)
	}
}

func TestCancellingTheBaseEndsStreams(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base, cancel := context.WithCancel(t.Context())
	p := policy(t, Config{Listen: []string{l.Addr().String()}})
	started := make(chan struct{})
	srv := NewHTTPServer(p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})), base, nil)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	raw(t, l.Addr().String(), "GET / HTTP/1.1\r\nHost: "+l.Addr().String()+"\r\n\r\n")
	<-started
	cancel()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkMiddleware(b *testing.B) {
	p := policy(b, Config{Listen: []string{"127.0.0.1:26866"}})
	h := p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	for _, bc := range []struct {
		name, method, path string
		headers            []string
	}{
		{"plain GET", "GET", "/health", nil},
		{"GET with id", "GET", "/health", []string{"X-Request-Id", "abc"}},
		{"GET of a page", "GET", "/v1/projects", []string{"Origin", "http://127.0.0.1:26866"}},
		{"POST", "POST", "/v1/projects", []string{"Content-Type", "application/json"}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			r := httptest.NewRequest(bc.method, "http://127.0.0.1:26866"+bc.path, nil)
			if bc.method == "POST" {
				r.ContentLength = 100
			}
			for i := 0; i < len(bc.headers); i += 2 {
				r.Header.Set(bc.headers[i], bc.headers[i+1])
			}
			fresh := r.Header.Clone()
			w := nowhere{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				if len(bc.headers) == 0 || bc.headers[0] != "X-Request-Id" {
					delete(fresh, headerRequestID)
				}
				r.Header = fresh
				h.ServeHTTP(w, r)
			}
		})
	}
}
