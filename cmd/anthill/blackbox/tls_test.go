package blackbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	antonv1 "anthill/gen/anton/v1"
)

// certificate is a self-signed one, its key, and the files that hold them.
type certificate struct {
	cert, key string
	pool      *x509.CertPool
	serial    *big.Int
}

// newCertificate writes a certificate for these names and addresses.
func newCertificate(t *testing.T, dir string, until time.Time, names ...string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "anthill test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := certificate{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), pool: x509.NewCertPool(), serial: serial}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	c.pool.AppendCertsFromPEM(chain)
	writeFile(t, c.cert, string(chain))
	writeFile(t, c.key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return c
}

func loopback(t *testing.T, dir string) certificate {
	return newCertificate(t, dir, time.Now().Add(24*time.Hour), "localhost", "127.0.0.1")
}

func (c certificate) env() []string {
	return []string{"ANT_TLS_CERT=" + c.cert, "ANT_TLS_KEY=" + c.key}
}

// startTLS is start for a server that speaks TLS.
func startTLS(t *testing.T, c certificate, o options) *server {
	t.Helper()
	root := t.TempDir()
	o.env = append(o.env, c.env()...)
	s := &server{t: t, opts: o, user: filepath.Join(root, "user"), home: filepath.Join(root, "data"), http: client()}
	if err := os.Mkdir(s.user, 0o700); err != nil {
		t.Fatal(err)
	}
	s.process = spawn(t, s.environ(), "", append([]string{"serve", "--port", "0"}, o.args...)...)
	t.Cleanup(s.cleanup(s.process))
	line := s.line()
	_, addr, ok := strings.Cut(line, " listening on https://")
	if !ok {
		t.Fatalf("the program says %q instead of where it listens", line)
	}
	s.addr, s.url = addr, "https://"+addr
	s.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: c.pool}
	s.http.Transport.(*http.Transport).ForceAttemptHTTP2 = true // offers both, as browsers do
	return s
}

// Every door works by TLS, on the one port, for clients as they are.
func TestTLSOnEveryDoor(t *testing.T) {
	t.Parallel()
	c := loopback(t, t.TempDir())
	s := startTLS(t, c, options{key: apiKey})
	s.get("/health").ok()
	s.put("/v1/projects/general/files/notes.md", object{"content": ferry}).ok()
	tn := s.ask(object{"input": "When does the ferry leave according to notes.md?", "conversation": "secure"}).turn()
	if !strings.Contains(tn.text, "07:30") {
		t.Errorf("by SSE: %q", tn.text)
	}
	conn := s.dial(grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: c.pool})))
	list, err := antonv1.NewConversationsServiceClient(conn).ListConversations(s.call(), &antonv1.ListConversationsRequest{})
	if err != nil || len(list.Conversations) != 1 {
		t.Errorf("by gRPC: %v, %v", list, err)
	}
	// The page of the server itself is https, and a plain one is foreign.
	s.do(http.MethodGet, "/v1/projects", nil, headers("Origin", s.url)).ok()
	s.do(http.MethodGet, "/v1/projects", nil, headers("Origin", "http://"+s.addr)).refused(http.StatusForbidden, "")
	if a := s.get("/health"); a.header.Get("Strict-Transport-Security") != "" {
		t.Error("loopback is told to be https for ever")
	}
	if _, err := client().Get("http://" + s.addr + "/health"); err == nil {
		t.Error("the port speaks plain as well")
	}
	for what, tc := range map[string]struct {
		env  []string
		args []string
	}{
		"configured":                  {s.environ(), []string{"--server", s.addr}},
		"by URL":                      {s.environ(), []string{"--server", s.url}},
		"by name":                     {s.environ(), []string{"--server", strings.Replace(s.url, "127.0.0.1", "localhost", 1)}},
		"configured by host and port": {append(s.environ(), "ANTON_SERVER_PORT="+s.addr[strings.LastIndex(s.addr, ":")+1:]), nil},
	} {
		out, errs, code := command(t, tc.env, "", append([]string{"ask", "--conversation", "secure", "Summarise notes.md"}, tc.args...)...)
		if code != 0 || !strings.Contains(out, "ferry") {
			t.Errorf("ask %s: code %d, %q, %q", what, code, out, errs)
		}
	}
	without := []string{"HOME=" + s.user, "ANTHILL_HOME=" + s.home, "ANT_API_KEY=" + apiKey}
	for server, want := range map[string]string{s.url: "certificate", s.addr: "TLS", "http://" + s.addr: "TLS", s.url + "/anthill": "no path", "ftp://" + s.addr: "https"} {
		out, errs, code := command(t, without, "", "ask", "--server", server, "hello")
		if code == 0 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("ask --server %s without the certificate: code %d, %q, %q, want %q", server, code, out, errs, want)
		}
	}
	// Who holds the home is told as it can be reached.
	if _, errs, code := command(t, s.environ(), "", "serve", "--port", "0"); code == 0 || !strings.Contains(errs, s.url) {
		t.Errorf("second start: %d %q", code, errs)
	}
}

// A certificate that only pretends to be the server's is not taken for it.
func TestTLSClientTrustsNobodyElse(t *testing.T) {
	t.Parallel()
	own, other := loopback(t, t.TempDir()), loopback(t, t.TempDir())
	s := startTLS(t, own, options{})
	env := []string{"HOME=" + s.user, "ANTHILL_HOME=" + s.home, "ANT_TLS_CERT=" + other.cert, "ANT_TLS_KEY=" + other.key}
	if out, errs, code := command(t, env, "", "ask", "--server", s.url, "hello"); code == 0 || out != "" || !strings.Contains(errs, "certificate") {
		t.Errorf("ask trusting another certificate: code %d, %q, %q", code, out, errs)
	}
	// One's own may have any name: it is known by its bytes.
	named := newCertificate(t, t.TempDir(), time.Now().Add(time.Hour), "anthill.example")
	n := startTLS(t, named, options{})
	if out, errs, code := command(t, n.environ(), "", "ask", "--server", n.url, "hello"); code != 0 {
		t.Errorf("ask a server of another name: code %d, %q, %q", code, out, errs)
	}
}

// A renewed certificate is served without a restart.
func TestTLSRenewal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startTLS(t, loopback(t, dir), options{})
	s.get("/health").ok()
	renewed := loopback(t, dir)
	for deadline := time.Now().Add(patience); ; {
		c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		served := c.ConnectionState().PeerCertificates[0].SerialNumber
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if served.Cmp(renewed.serial) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the renewed certificate is never served")
		}
	}
	s.http.CloseIdleConnections()
	s.http = client()
	s.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: renewed.pool}
	s.get("/health").ok()
}

func TestTLSThatCannotStart(t *testing.T) {
	t.Parallel()
	dir, home := t.TempDir(), t.TempDir()
	c, other := loopback(t, dir), loopback(t, t.TempDir())
	for what, tc := range map[string]struct {
		args []string
		want string
	}{
		"no key":        {[]string{"--tls-cert", c.cert}, "ANT_TLS_KEY"},
		"no cert":       {[]string{"--tls-key", c.key}, "ANT_TLS_CERT"},
		"missing":       {[]string{"--tls-cert", filepath.Join(dir, "none.pem"), "--tls-key", c.key}, "none.pem"},
		"another's key": {[]string{"--tls-cert", c.cert, "--tls-key", other.key}, "does not match"},
		"swapped":       {[]string{"--tls-cert", c.key, "--tls-key", c.cert}, "key.pem"},
	} {
		out, errs, code := command(t, []string{"HOME=" + home}, "", append([]string{"serve", "--port", "0"}, tc.args...)...)
		if code == 0 || out != "" || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: code %d, %q, %q, want %q", what, code, out, errs, tc.want)
		}
	}
	if _, err := os.Stat(filepath.Join(home, ".anthill")); !os.IsNotExist(err) {
		t.Errorf("a refused start left a home behind: %v", err)
	}
}
