package listen

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a listener whose Accept does what the test says.
type scripted struct {
	accept func(closed <-chan struct{}) (net.Conn, error)
	closed chan struct{}
	once   sync.Once
}

func script(accept func(closed <-chan struct{}) (net.Conn, error)) *scripted {
	return &scripted{accept: accept, closed: make(chan struct{})}
}

func (s *scripted) Accept() (net.Conn, error) {
	select {
	case <-s.closed:
		return nil, net.ErrClosed
	default:
		return s.accept(s.closed)
	}
}

func (s *scripted) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *scripted) Addr() net.Addr { return noAddr{} }

// errAccept dresses an error as the net package does.
func errAccept(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: err}
}

func TestAcceptBacksOffAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage = time.Minute
		start := time.Now()
		tries := 0
		client, server := net.Pipe()
		l := script(func(closed <-chan struct{}) (net.Conn, error) {
			if tries++; time.Since(start) < outage {
				return nil, errAccept(syscall.EMFILE)
			}
			if server == nil {
				<-closed
				return nil, net.ErrClosed
			}
			c := server
			server = nil
			return c, nil
		})
		var log strings.Builder
		p := Split(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, l)
		done := make(chan error, 1)
		go func() { done <- p.Serve() }()
		go io.WriteString(client, "GET ")

		c, err := p.HTTP().Accept()
		if err != nil {
			t.Fatal(err)
		}
		if late := time.Since(start) - outage; late > maxBackOff {
			t.Errorf("recovered %v after the outage", late)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if limit := int(outage/maxBackOff) + 10; tries > limit {
			t.Errorf("%d tries in %v, want at most %d", tries, outage, limit)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d log lines for one outage, want 2:\n%s", n, log.String())
		}
	})
}

// With no descriptors left, silent connections give theirs back.
func TestEMFILEEvictsSilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silent = 8
		conns := make(chan net.Conn, silent)
		var clients []net.Conn
		for range silent {
			c, s := net.Pipe()
			clients = append(clients, c)
			conns <- s
		}
		failed := false
		l := script(func(closed <-chan struct{}) (net.Conn, error) {
			select {
			case c := <-conns:
				return c, nil
			default:
			}
			if !failed {
				failed = true
				return nil, errAccept(syscall.EMFILE)
			}
			<-closed
			return nil, net.ErrClosed
		})
		p := Split(Options{Logger: slog.New(slog.DiscardHandler)}, l)
		done := make(chan error, 1)
		go func() { done <- p.Serve() }()
		start := time.Now()
		for i, c := range clients {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("client %d: %v", i, err)
			}
			early := time.Since(start) < DefaultFirstBytes
			if want := i < silent/2; early != want {
				t.Errorf("client %d closed after %v", i, time.Since(start))
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestServeReportsAListenerThatDied(t *testing.T) {
	for _, err := range []error{errAccept(syscall.EBADF), errAccept(net.ErrClosed), errors.New("broken")} {
		synctest.Test(t, func(t *testing.T) {
			healthy := script(func(closed <-chan struct{}) (net.Conn, error) {
				<-closed
				return nil, net.ErrClosed
			})
			dead := script(func(<-chan struct{}) (net.Conn, error) { return nil, err })
			p := Split(Options{}, healthy, dead)
			if got := p.Serve(); !errors.Is(got, err) {
				t.Errorf("Serve: %v, want %v", got, err)
			}
			if _, got := p.HTTP().Accept(); !errors.Is(got, net.ErrClosed) {
				t.Errorf("Accept afterwards: %v", got)
			}
		})
	}
}

func TestCloseInterruptsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := script(func(<-chan struct{}) (net.Conn, error) { return nil, errAccept(syscall.ENFILE) })
		p := Split(Options{Logger: slog.New(slog.DiscardHandler)}, l)
		done := make(chan error, 1)
		go func() { done <- p.Serve() }()
		time.Sleep(10*time.Second + time.Millisecond) // fake time: deep in the back-off
		start := time.Now()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Close waited %v", took)
		}
	})
}
