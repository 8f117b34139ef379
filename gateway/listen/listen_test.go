package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// patience bounds every wait of these tests; none of them waits for it.
const patience = 20 * time.Second

func tcp(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serving runs a Port until the test ends and checks that it ends well.
func serving(t testing.TB, o Options, ls ...net.Listener) *Port {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := Split(o, ls...)
	done := make(chan error, 1)
	go func() { done <- p.Serve() }()
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return p
}

func serveHTTP(t testing.TB, p *Port) {
	t.Helper()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "ok tls=%t proto=%s", r.TLS != nil, r.Proto)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(p.HTTP()) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("http Close: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("http Serve: %v", err)
		}
	})
}

func serveGRPC(t testing.TB, p *Port) {
	t.Helper()
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(p.GRPC()) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("grpc Serve: %v", err)
		}
	})
}

func dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func checkHealth(t testing.TB, addr string) {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatalf("gRPC health: %v", err)
	}
	if got.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("gRPC health: %v", got.Status)
	}
}

func get(t testing.TB, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSplitRoutesByFirstBytes(t *testing.T) {
	for _, tc := range []struct {
		name, grpc, http string
		writes           []string
	}{
		{name: "preface", writes: []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, grpc: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{name: "preface in drops", writes: []string{"P", "R", "I", " ", "*"}, grpc: "PRI *"},
		{name: "get", writes: []string{"GET / HTTP/1.1\r\n\r\n"}, http: "GET / HTTP/1.1\r\n\r\n"},
		{name: "get in drops", writes: []string{"G", "ET", " / HTTP/1.1"}, http: "GET / HTTP/1.1"},
		{name: "exactly four", writes: []string{"PRI "}, grpc: "PRI "},
		{name: "almost the preface", writes: []string{"PRIx"}, http: "PRIx"},
		{name: "lower case", writes: []string{"pri * HTTP/2.0"}, http: "pri * HTTP/2.0"},
		{name: "binary", writes: []string{"\x16\x03\x01\x00\x00"}, http: "\x16\x03\x01\x00\x00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := serving(t, Options{}, tcp(t))
			c := dial(t, p.HTTP().Addr())
			for _, s := range tc.writes {
				if _, err := io.WriteString(c, s); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			l, want := p.HTTP(), tc.http
			if tc.grpc != "" {
				l, want = p.GRPC(), tc.grpc
			}
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got, err := io.ReadAll(s)
			if err != nil || string(got) != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func TestShortAndSilentConnectionsAreClosed(t *testing.T) {
	p := serving(t, Options{FirstBytes: 20 * time.Millisecond}, tcp(t))
	for _, sent := range []string{"", "G", "PRI"} {
		c := dial(t, p.HTTP().Addr())
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !closedByPeer(err) {
			t.Errorf("after %q: %v, want the connection closed", sent, err)
		}
	}
	// Leaving early is no different.
	c := dial(t, p.HTTP().Addr())
	if _, err := io.WriteString(c, "GE"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !closedByPeer(err) {
		t.Errorf("half a word: %v", err)
	}
}

// closedByPeer accepts a reset too: it is what closing with unread bytes sends.
func closedByPeer(err error) bool {
	var ne net.Error
	return err != nil && !(errors.As(err, &ne) && ne.Timeout())
}

func TestBothProtocolsOnSeveralSockets(t *testing.T) {
	a, b := tcp(t), tcp(t)
	p := serving(t, Options{}, a, b)
	serveHTTP(t, p)
	serveGRPC(t, p)
	for _, l := range []net.Listener{a, b} {
		checkHealth(t, l.Addr().String())
		if got := get(t, http.DefaultClient, "http://"+l.Addr().String()); got != "ok tls=false proto=HTTP/1.1" {
			t.Errorf("got %q", got)
		}
	}
}

func TestKeepAlive(t *testing.T) {
	p := serving(t, Options{}, tcp(t))
	serveHTTP(t, p)
	c := dial(t, p.HTTP().Addr())
	r := bufio.NewReader(c)
	for i := range 3 {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK || resp.Close {
			t.Fatalf("request %d: %s, close %t", i, resp.Status, resp.Close)
		}
	}
}

// A silent first word must not leave its deadline behind.
func TestDeadlineIsClearedBeforeHandOver(t *testing.T) {
	p := serving(t, Options{FirstBytes: 300 * time.Millisecond}, tcp(t))
	c := dial(t, p.HTTP().Addr())
	if _, err := io.WriteString(c, "GET "); err != nil {
		t.Fatal(err)
	}
	s, err := p.HTTP().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.ReadFull(s, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	// The answer comes only after the deadline would have passed.
	time.AfterFunc(500*time.Millisecond, func() { c.Write([]byte("x")) })
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Errorf("read after the first word: %v", err)
	}
}

func TestHalfOpenFlood(t *testing.T) {
	const flood = 1000
	p := serving(t, Options{MaxHalfOpen: 64}, tcp(t))
	serveHTTP(t, p)
	serveGRPC(t, p)
	addr := p.HTTP().Addr()

	silent := make([]net.Conn, flood)
	for i := range silent {
		silent[i] = dial(t, addr)
		if i%100 == 50 { // the others must be served all along
			fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
			if got := get(t, fresh, "http://"+addr.String()); !strings.HasPrefix(got, "ok") {
				t.Fatalf("got %q", got)
			}
		}
	}
	checkHealth(t, addr.String())

	// All but the newest are gone long before their ten seconds.
	start := time.Now()
	for i, c := range silent[:flood-64] {
		if _, err := c.Read(make([]byte, 1)); !closedByPeer(err) {
			t.Fatalf("silent connection %d: %v", i, err)
		}
	}
	if took := time.Since(start); took > DefaultFirstBytes/2 {
		t.Errorf("evictions took %v", took)
	}
	p.halfOpen.mu.Lock()
	left := p.halfOpen.conns.Len()
	p.halfOpen.mu.Unlock()
	if left > 64 {
		t.Errorf("%d half-open connections are kept, want at most 64", left)
	}
}

// Bytes that had arrived when a connection was evicted still count.
func TestEvictedConnectionGetsALastLook(t *testing.T) {
	l := tcp(t)
	defer l.Close()
	for _, tc := range []struct {
		sent string
		ok   bool
	}{{"GET ", true}, {"PRI * HT", true}, {"GE", false}, {"", false}} {
		c := dial(t, l.Addr())
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		p := Split(Options{MaxHalfOpen: 1}, l)
		e, _ := p.halfOpen.add(s)
		if _, err := io.WriteString(c, tc.sent); err != nil {
			t.Fatal(err)
		}
		p.halfOpen.evictHalf()
		if _, ok := p.peek(e); ok != tc.ok {
			t.Errorf("%q: peek %t, want %t", tc.sent, ok, tc.ok)
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	l := tcp(t)
	p := Split(Options{}, l)
	done := make(chan error, 1)
	go func() { done <- p.Serve() }()

	waiting := dial(t, l.Addr()) // complete, but nobody accepts it
	if _, err := io.WriteString(waiting, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	silent := dial(t, l.Addr())
	taken := dial(t, l.Addr())
	if _, err := io.WriteString(taken, "PRI "); err != nil {
		t.Fatal(err)
	}
	s, err := p.GRPC().Accept() // the silent one was admitted before this one
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	for name, c := range map[string]net.Conn{"waiting": waiting, "silent": silent} {
		if _, err := c.Read(make([]byte, 1)); !closedByPeer(err) {
			t.Errorf("%s: %v, want it closed", name, err)
		}
	}
	for name, q := range map[string]net.Listener{"HTTP": p.HTTP(), "GRPC": p.GRPC()} {
		if _, err := q.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s Accept: %v", name, err)
		}
	}
	// What a server has taken is the server's.
	if _, err := io.WriteString(s, "still here"); err != nil {
		t.Errorf("write on a taken connection: %v", err)
	}
	if _, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
		t.Error("the socket still accepts")
	}
	if err := Split(Options{}, tcp(t)).Close(); err != nil {
		t.Errorf("Close of a Port that never served: %v", err)
	}
}

func TestServeAfterClose(t *testing.T) {
	p := Split(Options{}, tcp(t), tcp(t))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Serve(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestClosingOneSideKeepsTheOther(t *testing.T) {
	p := serving(t, Options{}, tcp(t))
	serveHTTP(t, p)
	if err := p.GRPC().Close(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, p.HTTP().Addr())
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !closedByPeer(err) {
		t.Errorf("a gRPC connection: %v, want it closed", err)
	}
	if got := get(t, http.DefaultClient, "http://"+p.HTTP().Addr().String()); !strings.HasPrefix(got, "ok") {
		t.Errorf("got %q", got)
	}
}

func TestTLS(t *testing.T) {
	// httptest is only borrowed for its certificate.
	cert := httptest.NewTLSServer(http.NotFoundHandler())
	defer cert.Close()
	l := tls.NewListener(tcp(t), &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{"http/1.1"}})
	p := serving(t, Options{}, l)
	serveHTTP(t, p)
	pool := x509.NewCertPool()
	pool.AddCert(cert.Certificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: patience}
	defer client.CloseIdleConnections()
	if got := get(t, client, "https://"+l.Addr().String()); got != "ok tls=true proto=HTTP/1.1" {
		t.Errorf("got %q", got)
	}
}
