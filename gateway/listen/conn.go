package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
)

const headLen = 4

// preface is how every HTTP/2 connection with prior knowledge begins.
var preface = [headLen]byte{'P', 'R', 'I', ' '}

// queue is a net.Listener fed by the Port.
type queue struct {
	addr   net.Addr
	conns  chan net.Conn
	port   <-chan struct{} // closed with the Port
	closed chan struct{}   // closed by Close
	once   sync.Once
}

func newQueue(addr net.Addr, port <-chan struct{}) *queue {
	// Unbuffered: what was put was accepted, so nothing is left to close at the end.
	return &queue{addr: addr, conns: make(chan net.Conn), port: port, closed: make(chan struct{})}
}

// put waits until the server accepts c, or reports false once it never will.
func (q *queue) put(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.port:
	case <-q.closed:
	}
	return false
}

// Accept waits for the next connection. It fails with net.ErrClosed after Close
// of the queue or of its Port.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.port:
	case <-q.closed:
	}
	return nil, &net.OpError{Op: "accept", Net: q.addr.Network(), Addr: q.addr, Err: net.ErrClosed}
}

// Close turns away what would have been accepted here; the sockets stay open.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr is the address of the Port's first socket.
func (q *queue) Addr() net.Addr { return q.addr }

// conn replays the bytes that were peeked, then is the connection itself.
type conn struct {
	net.Conn
	head [headLen]byte
	read int // how much of head was replayed
}

// tlsConn lets net/http fill Request.TLS, which it does for any connection that
// can tell its state.
type tlsConn struct {
	*conn
	state func() tls.ConnectionState
}

func (c tlsConn) ConnectionState() tls.ConnectionState { return c.state() }

func replay(c net.Conn, head [headLen]byte) net.Conn {
	r := &conn{Conn: c, head: head}
	if t, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return tlsConn{r, t.ConnectionState}
	}
	return r
}

func (c *conn) Read(p []byte) (int, error) {
	if c.read < headLen {
		n := copy(p, c.head[c.read:])
		c.read += n
		return n, nil
	}
	return c.Conn.Read(p)
}

// ReadFrom keeps sendfile for servers that copy a file to a TCP connection.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite keeps the half-close with which net/http makes sure that a client
// still sending its body can read the refusal.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// noAddr is the address of a Port without sockets.
type noAddr struct{}

func (noAddr) Network() string { return "none" }
func (noAddr) String() string  { return "none" }
