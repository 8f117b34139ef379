// Package ws carries text over WebSockets, many sockets at once: what is sent to
// all of them is encoded once and shared.
//
// A Socket has a queue, bounded in bytes, and one goroutine that writes it; so no
// sender waits for a network, and what collects while a write is under way goes
// out in one. A socket that does not keep up is closed, with a reason that says
// so. Nothing here knows what the text means, nor who may connect: Host and
// Origin are the edge's.
//
// The library (github.com/coder/websocket) makes the handshake, reads, and
// answers control frames. Frames of data are written past it, since a frame of a
// server is the same bytes for every socket; both share [wire], which keeps their
// frames apart.
package ws

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Close codes, of RFC 6455 and its registry.
const (
	GoingAway     = 1001 // the server stops
	ProtocolError = 1002
	InvalidText   = 1007 // text that is not UTF-8
	PolicyBroken  = 1008
	TooLarge      = 1009
	TryAgainLater = 1013 // too slow: come back and resume
)

// Frame is one text message, or several joined, as they go over the wire. It
// must not be changed.
type Frame []byte

// Text is the frame of one message. The payload is copied.
func Text(payload []byte) Frame {
	f := make(Frame, 0, len(payload)+10)
	return append(header(f, opText, len(payload)), payload...)
}

// Join is one frame that carries several; a single one is returned as it is.
func Join(frames []Frame) Frame {
	if len(frames) == 1 {
		return frames[0]
	}
	n := 0
	for _, f := range frames {
		n += len(f)
	}
	out := make(Frame, 0, n)
	for _, f := range frames {
		out = append(out, f...)
	}
	return out
}

const (
	final  = 0x80
	opText = 0x1
	opPing = 0x9
)

// header begins a frame that is not masked, as those of servers are.
func header(b []byte, op byte, n int) []byte {
	b = append(b, final|op)
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// ping is what every idle socket is sent.
var ping = Frame(header(nil, opPing, 0))

// wire is a connection to which two write whole frames: the library control
// frames, the socket everything else.
type wire struct {
	net.Conn
	mu      sync.Mutex
	timeout time.Duration // of one write
	bounded time.Time     // when the deadline was last set
	ending  atomic.Bool   // the deadline is the last one
}

// lastWrite is how long what is left may take when a socket is closed.
const lastWrite = 5 * time.Second

// renew is how old a write deadline may get: setting it costs about as much as
// a small write.
const renew = time.Second

// Write implements net.Conn. Frames of concurrent calls do not mix.
func (c *wire) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); !c.ending.Load() && now.Sub(c.bounded) > renew {
		c.bounded = now
		if err := c.Conn.SetWriteDeadline(now.Add(c.timeout)); err != nil {
			return 0, err
		}
		if c.ending.Load() {
			c.end()
		}
	}
	return c.Conn.Write(p)
}

// errEnded is what a connection ends with.
var errEnded = errors.New("ws: the connection ended")

// Read implements net.Conn, but never returns io.EOF: the library would take it
// for the end of the message, and half a message for a whole one.
func (c *wire) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	return n, err
}

// end bounds everything that is still to be written, and what is under way.
func (c *wire) end() {
	c.ending.Store(true)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lastWrite)) // a connection that is gone needs none
}

// hijacker gives the library a wire instead of the connection.
type hijacker struct {
	http.ResponseWriter
	timeout time.Duration
	wire    *wire
}

// Hijack implements http.Hijacker. What the client sent behind its request is
// in the reader.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.wire = &wire{Conn: conn, timeout: h.timeout}
	return h.wire, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(h.wire, controlBuffer)), nil
}

// controlBuffer holds any control frame whole, so that each is one write.
const controlBuffer = 256
