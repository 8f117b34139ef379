package listen

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
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
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// writePair writes a fresh self-signed certificate for loopback and its key.
func writePair(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", cert)
	writePEM(t, keyFile, "PRIVATE KEY", secret)
	return certFile, keyFile
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func roots(t testing.TB, certFile string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		t.Fatal("no certificate in " + certFile)
	}
	return pool
}

// Each client gets the protocol behind which its server waits, whatever else it offers.
func TestTLSChoosesTheServerByWhatIsOffered(t *testing.T) {
	certFile, keyFile := writePair(t, t.TempDir(), "one")
	config, err := TLS(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p := serving(t, Options{}, tls.NewListener(tcp(t), config))
	serveHTTP(t, p)
	serveGRPC(t, p)
	addr := p.HTTP().Addr().String()
	for _, tc := range []struct {
		offers []string
		gets   string
	}{
		{nil, ""}, {[]string{"http/1.1"}, "http/1.1"}, {[]string{"h2", "http/1.1"}, "http/1.1"},
		{[]string{"http/1.1", "h2"}, "http/1.1"}, {[]string{"h2"}, "h2"}, {[]string{"grpc-exp", "h2"}, "h2"},
	} {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots(t, certFile), NextProtos: tc.offers})
		if err != nil {
			t.Errorf("offering %q: %v", tc.offers, err)
			continue
		}
		if got := c.ConnectionState().NegotiatedProtocol; got != tc.gets {
			t.Errorf("offering %q gets %q, want %q", tc.offers, got, tc.gets)
		}
		c.Close()
	}
	if c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots(t, certFile), NextProtos: []string{"spdy/3"}}); err == nil {
		c.Close()
		t.Error("a protocol that nobody speaks is accepted")
	}
	if c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots(t, certFile), MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is accepted")
	}

	web := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots(t, certFile)}}}
	defer web.CloseIdleConnections()
	res, err := web.Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "ok tls=true proto=HTTP/1.1" {
		t.Errorf("%q, %v", body, err)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots(t, certFile)})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("gRPC: %v", err)
	}
}

// A renewed certificate is taken, one that cannot be used is told once and not taken.
func TestTLSReadsChangedFilesAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir, "first")
	var log bytes.Buffer
	p := &pair{certFile: certFile, keyFile: keyFile, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := p.load(); err != nil {
		t.Fatal(err)
	}
	serves := func(want string) {
		t.Helper()
		p.looked = time.Time{} // long ago
		c, err := p.certificate(nil)
		if err != nil || c.Leaf.Subject.CommonName != want {
			t.Errorf("serves %v (%v), want %q", c.Leaf.Subject, err, want)
		}
	}
	serves("first")
	if log.Len() > 0 {
		t.Errorf("nothing changed, and yet: %s", &log)
	}
	fresh := func(name string) { // replaced by renaming, as renewal programs do
		t.Helper()
		next, nextKey := writePair(t, t.TempDir(), name)
		for from, to := range map[string]string{next: certFile, nextKey: keyFile} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	fresh("second")
	p.looked = time.Now()
	if c, err := p.certificate(nil); err != nil || c.Leaf.Subject.CommonName != "first" {
		t.Errorf("the files are looked at in every handshake: %v, %v", c.Leaf.Subject, err)
	}
	serves("second")
	if err := os.WriteFile(certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	serves("second")
	serves("second")
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("a bad certificate is told %d times: %s", n, &log)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	serves("second")
	fresh("third")
	serves("third")
}

func TestTLSSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir, "one")
	_, otherKey := writePair(t, t.TempDir(), "other")
	text := filepath.Join(dir, "text.pem")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.pem")
	for what, tc := range map[string]struct{ cert, key, want string }{
		"no certificate":  {missing, keyFile, missing},
		"no key":          {certFile, missing, missing},
		"another's key":   {certFile, otherKey, "does not match"},
		"text":            {text, keyFile, text},
		"swapped":         {keyFile, certFile, keyFile},
		"key is a folder": {certFile, dir, dir},
	} {
		if _, err := TLS(tc.cert, tc.key, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
