package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// serverUsage is the --server flag of all client commands.
const serverUsage = "`ADDRESS` of the server: HOST:PORT, or a URL with http or https (default the configured one)"

// client is a connection to a server, and the key that it wants.
type client struct {
	grpc.ClientConnInterface
	Close func() error
	addr  string // HOST:PORT; empty: the services run in this process
	key   string
}

// connect prepares a connection to the given server, or to the configured one.
// Nothing is dialled before the first call.
func connect(cfg config, server string) (*client, error) {
	addr, secure, err := address(cfg, server)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if secure {
		trust, err := trusting(cfg.TLSCert)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(trust)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	return &client{ClientConnInterface: conn, Close: conn.Close, addr: addr, key: cfg.APIKey}, nil
}

// address is where to dial, and whether by TLS.
func address(cfg config, server string) (addr string, secure bool, err error) {
	if server == "" {
		return reachable(cfg.Listen[0]), cfg.TLSCert != "", nil
	}
	scheme, _, isURL := strings.Cut(server, "://")
	if !isURL {
		if _, _, err := net.SplitHostPort(server); err != nil {
			return "", false, fmt.Errorf("server address %q must be HOST:PORT, or a URL", server)
		}
		return server, cfg.TLSCert != "", nil
	}
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || scheme != "http" && scheme != "https":
		return "", false, fmt.Errorf("server address %q must be http://HOST:PORT or https://HOST:PORT", server)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return "", false, fmt.Errorf("server address %q must have no path: the command line speaks gRPC, which proxies do not move below one", server)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), scheme == "https", nil
}

// trusting trusts what the system does and the certificate in the file, if
// given: as an authority, and under whatever name if it is the server's own, for
// one's own server is dialled at an address that its certificate need not have.
func trusting(certFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if certFile == "" {
		return config, nil
	}
	data, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("TLS certificate: there is none in %s", certFile)
	}
	own := firstCertificate(data)
	config.InsecureSkipVerify = true // what it skips is done in VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		if bytes.Equal(own, leaf.Raw) {
			return nil
		}
		others := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			others.AddCert(c)
		}
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: s.ServerName, Roots: roots, Intermediates: others})
		return err
	}
	return config, nil
}

// firstCertificate is a server's own in a file with its chain.
func firstCertificate(data []byte) []byte {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil
		}
		if block.Type == "CERTIFICATE" {
			return block.Bytes
		}
		data = rest
	}
}

// with adds the key to a call.
func (c *client) with(ctx context.Context) context.Context {
	if c.key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "x-api-key", c.key)
}

// explain says what to do about a failed call.
func (c *client) explain(err error) error {
	st := status.Convert(err)
	switch text := st.Message(); {
	case st.Code() == codes.Unavailable && strings.Contains(text, "authentication handshake"):
		_, why, _ := strings.Cut(text, "handshake failed: ")
		return fmt.Errorf("no TLS with the server at %s: %s", c.addr, strings.TrimSuffix(why, `"`))
	case st.Code() == codes.Unavailable && strings.Contains(text, "server preface"):
		return fmt.Errorf("what answers at %s does not speak plain gRPC: if it is an anthill with TLS, set ANT_TLS_CERT or --server https://…", c.addr)
	case st.Code() == codes.Unavailable && strings.Contains(text, "connection"):
		return fmt.Errorf("no server answers at %s: start one with 'anthill serve'", c.addr)
	case st.Code() == codes.Unauthenticated:
		return errors.New("the server wants a key: set ANT_API_KEY")
	}
	return errors.New(st.Message())
}

// reachable turns a listen address into one to dial.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// reachableURL is reachable for an address with a scheme.
func reachableURL(url string) string {
	scheme, addr, _ := strings.Cut(url, "://")
	return scheme + "://" + reachable(addr)
}
