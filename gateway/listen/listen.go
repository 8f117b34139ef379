// Package listen lets gRPC and HTTP share one port.
//
// A [Port] accepts connections, looks at the first four bytes of each and hands
// it to one of two listeners: the HTTP/2 preface goes to the native gRPC server,
// everything else to net/http. The servers see an ordinary net.Listener and a
// connection from which nothing seems to have been read.
//
// Nothing is parsed, authenticated or answered here, no byte is ever written to
// a client, and no connection waits behind another one: each is watched by its
// own goroutine until it has said what it speaks, and silent ones are bounded
// in time and in number.
package listen

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Defaults of [Options].
const (
	DefaultFirstBytes  = 10 * time.Second
	DefaultMaxHalfOpen = 256
)

// Options tunes a [Port]. The zero value is ready to use.
type Options struct {
	// FirstBytes is how long a connection may take, in total, to deliver its
	// first four bytes (and its TLS handshake, if the listener speaks TLS).
	// Zero means DefaultFirstBytes.
	FirstBytes time.Duration

	// MaxHalfOpen bounds the connections that have not yet sent their first four
	// bytes. When one more arrives, the oldest silent one is closed: a newcomer
	// is far more likely to be honest than a client that has had its time, and
	// refusing newcomers would let silent sockets lock everybody out. Zero means
	// DefaultMaxHalfOpen.
	MaxHalfOpen int

	// Logger hears of accept failures and of evictions. Nil means slog.Default.
	Logger *slog.Logger
}

// Port is one or more sockets that feed two servers. Create it with [Split], run
// [Port.Serve], and let a server serve each of [Port.GRPC] and [Port.HTTP].
type Port struct {
	opts      Options
	listeners []net.Listener
	grpc      *queue
	http      *queue
	halfOpen  halfOpen

	closed    chan struct{} // closed by Close: ends back-off and hand-over
	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex // orders wg.Add before the wg.Wait of Close
	closing bool
	wg      sync.WaitGroup // accept loops and sniffing goroutines
}

// Split prepares a Port over the given listeners, which it owns from now on.
// Nothing is accepted before [Port.Serve]. Plain and TLS listeners may be mixed;
// TLS ones must yield connections that handshake on first read, as those of
// crypto/tls do.
func Split(o Options, ls ...net.Listener) *Port {
	if o.FirstBytes <= 0 {
		o.FirstBytes = DefaultFirstBytes
	}
	if o.MaxHalfOpen <= 0 {
		o.MaxHalfOpen = DefaultMaxHalfOpen
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var addr net.Addr = noAddr{}
	if len(ls) > 0 {
		addr = ls[0].Addr()
	}
	p := &Port{opts: o, listeners: ls, closed: make(chan struct{})}
	p.grpc = newQueue(addr, p.closed)
	p.http = newQueue(addr, p.closed)
	p.halfOpen.max = o.MaxHalfOpen
	return p
}

// GRPC is the listener for the native gRPC server: connections that open with
// the HTTP/2 preface. After [Port.Close] its Accept returns net.ErrClosed;
// closing it alone only turns gRPC connections away.
func (p *Port) GRPC() net.Listener { return p.grpc }

// HTTP is the listener for net/http: every connection that is not GRPC's. After
// [Port.Close] its Accept returns net.ErrClosed; closing it alone only turns
// HTTP connections away.
func (p *Port) HTTP() net.Listener { return p.http }

// Serve accepts connections until Close, and then returns nil. When a listener
// fails for good the whole Port is closed and the failure is returned. It must
// be called at most once.
func (p *Port) Serve() error {
	ended := make(chan error, len(p.listeners))
	for _, l := range p.listeners {
		// A Port closed before Serve starts nothing.
		if !p.spawn(func() { ended <- p.accept(l) }) {
			return nil
		}
	}
	var failure error
	for range p.listeners {
		if err := <-ended; err != nil && failure == nil {
			failure = err
			if err := p.Close(); err != nil {
				failure = errors.Join(failure, err)
			}
		}
	}
	return failure
}

// Close stops accepting, drops the connections that have not been handed over
// and waits for every goroutine of the Port. Connections that a server has
// already accepted are that server's to end. It may be called more than once;
// every call returns the first outcome.
func (p *Port) Close() error {
	p.closeOnce.Do(func() {
		p.mu.Lock()
		p.closing = true
		p.mu.Unlock()
		close(p.closed)

		var errs []error
		for _, l := range p.listeners {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
		p.halfOpen.shut()
		p.closeErr = errors.Join(errs...)
	})
	p.wg.Wait()
	return p.closeErr
}

// spawn runs f in a goroutine that Close waits for, or reports false when the
// Port is already closing.
func (p *Port) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	p.wg.Go(f)
	return true
}
