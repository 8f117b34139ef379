package listen

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	minBackOff = 5 * time.Millisecond
	maxBackOff = 500 * time.Millisecond

	// warnEvery spaces the log lines of a flood.
	warnEvery = time.Minute
)

// accept takes connections from one listener until the Port is closed (nil) or
// the listener fails for good.
func (p *Port) accept(l net.Listener) error {
	var backOff time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			if backOff > 0 {
				p.opts.Logger.Info("accepting connections again", "addr", l.Addr().String())
				backOff = 0
			}
			p.admit(c)
			continue
		case p.isClosed():
			return nil
		case !retryable(err):
			return err
		}
		if backOff == 0 { // one line for each spell of failures, not one a try
			p.opts.Logger.Warn("accept failed, retrying", "addr", l.Addr().String(), "err", err)
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			// Silent connections are the cheapest descriptors to win back.
			p.halfOpen.evictHalf()
		}
		backOff = min(max(2*backOff, minBackOff), maxBackOff)
		if !p.pause(backOff) {
			return nil
		}
	}
}

// retryable tells the failures of one connection, or of a system short of
// descriptors or memory, from those of the listening socket itself.
func retryable(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno != syscall.EBADF && errno != syscall.EINVAL && errno != syscall.ENOTSOCK
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// pause waits for d, or reports false at once when the Port closes.
func (p *Port) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.closed:
		return false
	}
}

func (p *Port) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// admit registers c as half-open, making room if need be, and starts to watch it.
func (p *Port) admit(c net.Conn) {
	// The deadline must stand before the connection can be evicted, or it would
	// overwrite the eviction's.
	if err := c.SetReadDeadline(time.Now().Add(p.opts.FirstBytes)); err != nil {
		p.drop(c)
		return
	}
	e, evicted := p.halfOpen.add(c)
	if e == nil {
		p.drop(c)
		return
	}
	if evicted > 0 {
		p.opts.Logger.Warn("too many silent connections, closing the oldest",
			"max", p.opts.MaxHalfOpen, "since_last_warning", evicted)
	}
	if !p.spawn(func() { p.sniff(e) }) {
		p.halfOpen.remove(e)
		p.drop(c)
	}
}

// sniff waits for the first bytes of a connection and hands it to its server.
func (p *Port) sniff(e *entry) {
	c := e.conn
	head, ok := p.peek(e)
	p.halfOpen.remove(e)
	if !ok {
		p.drop(c)
		return
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		p.drop(c)
		return
	}
	to := p.http
	if head == preface {
		to = p.grpc
	}
	if !to.put(replay(c, head)) {
		p.drop(c)
	}
}

// peek reads the first bytes. An evicted connection gets one last look, so that
// bytes which had arrived before the eviction still count: on a loaded machine
// the goroutine may simply not have run yet.
func (p *Port) peek(e *entry) (head [headLen]byte, ok bool) {
	for n, looked := 0, false; n < headLen; {
		m, err := e.conn.Read(head[n:])
		n += m
		switch {
		case n == headLen, err == nil:
		case looked || !errors.Is(err, os.ErrDeadlineExceeded) || !p.halfOpen.wasEvicted(e):
			return head, false
		default:
			looked = true
			if err := e.conn.SetReadDeadline(time.Now().Add(lastLook)); err != nil {
				return head, false
			}
		}
	}
	return head, true
}

// drop closes a connection nobody will serve.
func (p *Port) drop(c net.Conn) {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		p.opts.Logger.Debug("closing an unserved connection", "err", err)
	}
}
