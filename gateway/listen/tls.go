package listen

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// lookAgain is how long a certificate is used before its files are looked at
// again.
const lookAgain = 3 * time.Second

// TLS is the configuration of a TLS listener for a Port, with a certificate
// from two PEM files: the chain, its own certificate first, and the key. Both
// are read again when they change; a pair that does not work then is logged and
// the one before stays in use. A nil log means slog.Default.
//
// A client that offers HTTP/2 and not HTTP/1.1 is a gRPC client and gets HTTP/2.
// All others get HTTP/1.1: what is decrypted begins with the same bytes for REST
// over HTTP/2 and for gRPC, so the Port could not tell them apart.
func TLS(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	if log == nil {
		log = slog.Default()
	}
	p := &pair{certFile: certFile, keyFile: keyFile, log: log}
	if err := p.load(); err != nil {
		return nil, err
	}
	p.looked = time.Now()
	web := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: p.certificate,
		NextProtos:     []string{"http/1.1"},
	}
	rpc := web.Clone()
	rpc.NextProtos = []string{"h2"}
	web.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(h.SupportedProtos, "h2") && !slices.Contains(h.SupportedProtos, "http/1.1") {
			return rpc, nil
		}
		return nil, nil
	}
	return web, nil
}

// pair is a certificate with its key, as the files had it last.
type pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	state   [2]os.FileInfo // of the files when they were last read
	looked  time.Time
}

// certificate is tls.Config.GetCertificate.
func (p *pair) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= lookAgain {
		p.looked = now
		if p.changed() {
			if err := p.load(); err != nil {
				p.log.Warn("the changed TLS certificate cannot be used, the one before stays", "error", err)
			} else {
				p.log.Info("the TLS certificate was read again", "file", p.certFile)
			}
		}
	}
	return p.current, nil
}

// changed says whether the files are others than those read last. Files that
// are missing for a moment, while they are replaced, have not changed yet.
func (p *pair) changed() bool {
	for i, path := range []string{p.certFile, p.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		if last := p.state[i]; !info.ModTime().Equal(last.ModTime()) || info.Size() != last.Size() || !os.SameFile(info, last) {
			return true
		}
	}
	return false
}

// load reads both files. Their state is noted even if they cannot be used, so
// that one mistake is told once.
func (p *pair) load() error {
	for i, path := range []string{p.certFile, p.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		p.state[i] = info
	}
	c, err := ReadCertificate(p.certFile, p.keyFile)
	if err != nil {
		return err
	}
	p.current = &c
	return nil
}

// ReadCertificate reads a chain and its key, and says what is wrong with them.
// A certificate that has expired, or is not valid yet, is no error here.
func ReadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	chain, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("TLS certificate: %w", err)
	}
	secret, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("TLS key: %w", err)
	}
	c, err := tls.X509KeyPair(chain, secret)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("TLS certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return c, nil
}
