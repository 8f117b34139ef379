package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anthill/gateway/ws"
)

// server accepts sockets and hands them to the test.
type server struct {
	*httptest.Server
	sockets chan *ws.Socket
	heard   chan string
	ended   chan struct{} // one for each socket that has
}

func serve(t *testing.T, o ws.Options) *server {
	t.Helper()
	s := &server{sockets: make(chan *ws.Socket, 100), heard: make(chan string, 1000), ended: make(chan struct{}, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := ws.Accept(w, r, o)
		if err != nil {
			return
		}
		s.sockets <- socket
		socket.Serve(func(m []byte) { s.heard <- string(m) })
		s.ended <- struct{}{}
	}))
	t.Cleanup(s.Close)
	return s
}

func dial(t *testing.T, s *server, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), s.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow() }) // most have ended already
	return c
}

// raw shakes hands by hand, with more behind the request.
func raw(t *testing.T, s *server, behind []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // most have ended already
	request := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, err := c.Write(append([]byte(request), behind...)); err != nil {
		t.Fatal(err)
	}
	return c
}

// masked is a frame of a client, with a mask of zeros.
func masked(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// unfinished is a frame of n characters whose message goes on.
func unfinished(op byte, n int) []byte {
	b := masked(op, bytes.Repeat([]byte("x"), n))
	b[0] &^= 0x80
	return b
}

func read(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	_, m, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(m)
}

// closed reads until the server closes, and returns how.
func closed(t *testing.T, c *websocket.Conn) websocket.CloseError {
	t.Helper()
	for {
		_, _, err := c.Read(t.Context())
		var ce websocket.CloseError
		if errors.As(err, &ce) {
			return ce
		}
		if err != nil {
			t.Fatalf("ended with %v", err)
		}
	}
}

func TestFramesThatComeWithTheHandshake(t *testing.T) {
	s := serve(t, ws.Options{})
	raw(t, s, append(masked(1, []byte("one")), masked(1, []byte("two"))...))
	for _, want := range []string{"one", "two"} {
		if got := <-s.heard; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
}

// Several send at once, frames of all sizes, while the client's pings are
// answered between them.
func TestFramesStayWholeAndInOrder(t *testing.T) {
	s := serve(t, ws.Options{QueueMax: 64 << 20})
	c := dial(t, s, nil)
	socket := <-s.sockets
	const senders, each = 4, 300
	var sending sync.WaitGroup
	for n := range senders {
		sending.Go(func() {
			for i := range each {
				size := []int{0, 100, 125, 126, 40 << 10, 70 << 10}[i%6]
				socket.Send(ws.Text(fmt.Appendf(nil, "%d %d %s", n, i, strings.Repeat("x", size))), 0)
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	var pinging sync.WaitGroup
	pinging.Go(func() {
		for ctx.Err() == nil {
			if err := c.Ping(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	next := [senders]int{}
	for range senders * each {
		var n, i int
		m := read(t, c)
		if _, err := fmt.Sscanf(m, "%d %d", &n, &i); err != nil || next[n] != i {
			t.Fatalf("got %.20q, want message %d of %d", m, next[n], n)
		}
		next[n]++
	}
	sending.Wait()
	socket.Send(ws.Join([]ws.Frame{ws.Text([]byte("a")), ws.Text([]byte("b"))}), 0)
	if got := read(t, c) + read(t, c); got != "ab" {
		t.Errorf("joined frames came as %q", got)
	}
	go func() { _, _, _ = c.Read(ctx) }() // the last ping needs a reader
	stop()
	pinging.Wait()
}

func TestSlowSocketIsCutWithTheReason(t *testing.T) {
	s := serve(t, ws.Options{QueueMax: 1 << 20, Slow: func(written uint64) string { return fmt.Sprintf("last sent: %d", written) }})
	c := dial(t, s, nil)
	socket := <-s.sockets
	frame := ws.Text(bytes.Repeat([]byte("x"), 32<<10))
	sent := uint64(0)
	for open := true; open; {
		select {
		case <-socket.Over():
			open = false
		default:
			sent++
			socket.Send(frame, sent)
		}
	}
	socket.Offer(frame)
	if socket.Wait() {
		t.Error("a socket that is over has room")
	}
	got := uint64(0)
	for {
		_, m, err := c.Read(t.Context())
		var ce websocket.CloseError
		if errors.As(err, &ce) {
			var last uint64
			if _, err := fmt.Sscanf(ce.Reason, "last sent: %d", &last); err != nil || ce.Code != ws.TryAgainLater || last > got || got > sent {
				t.Errorf("closed with %v after %d of %d", ce, got, sent)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if got++; len(m) != 32<<10 {
			t.Fatalf("message of %d bytes", len(m))
		}
	}
	<-s.ended
}

func TestOffersAreDroppedForASocketThatLags(t *testing.T) {
	s := serve(t, ws.Options{QueueMax: 1 << 20})
	c := dial(t, s, nil)
	socket := <-s.sockets
	frame := ws.Text(bytes.Repeat([]byte("x"), 32<<10))
	const n = 2000
	for range n {
		socket.Offer(frame)
	}
	socket.Send(ws.Text([]byte("end")), 0)
	got := 0
	for read(t, c) != "end" {
		got++
	}
	if got == 0 || got == n {
		t.Errorf("got %d of %d offers", got, n)
	}
}

func TestWaitHoldsBack(t *testing.T) {
	s := serve(t, ws.Options{QueueMax: 1 << 20})
	c := dial(t, s, nil)
	socket := <-s.sockets
	const n = 1000
	go func() {
		frame := ws.Text(bytes.Repeat([]byte("x"), 32<<10))
		for range n {
			if !socket.Wait() {
				return
			}
			socket.Send(frame, 0)
		}
		socket.Close(ws.GoingAway, "done")
	}()
	got := 0
	for {
		_, _, err := c.Read(t.Context())
		if err != nil {
			if ce := (websocket.CloseError{}); !errors.As(err, &ce) || ce.Reason != "done" || got != n {
				t.Errorf("ended with %v after %d", err, got)
			}
			return
		}
		got++
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	s := serve(t, ws.Options{})
	c := dial(t, s, nil)
	socket := <-s.sockets
	for i := range 10 {
		socket.Send(ws.Text(fmt.Appendf(nil, "%d", i)), 0)
	}
	socket.Close(ws.GoingAway, strings.Repeat("ä", 100))
	socket.Send(ws.Text([]byte("late")), 0)
	for i := range 10 {
		if got := read(t, c); got != fmt.Sprint(i) {
			t.Fatalf("got %q", got)
		}
	}
	if ce := closed(t, c); ce.Code != ws.GoingAway || !strings.HasPrefix(ce.Reason, "ää") {
		t.Errorf("closed with %v", ce)
	}
	<-s.ended
}

func TestHostileMessages(t *testing.T) {
	for name, c := range map[string]struct {
		send []byte
		code websocket.StatusCode
	}{
		"not UTF-8":           {masked(1, []byte("a\xff")), ws.InvalidText},
		"a surrogate":         {masked(1, []byte("\xed\xa0\x80")), ws.InvalidText},
		"too large":           {masked(1, bytes.Repeat([]byte("x"), 2000)), ws.TooLarge},
		"too large in pieces": {append(unfinished(1, 600), unfinished(0, 600)...), ws.TooLarge},
		"unknown opcode":      {masked(3, nil), websocket.StatusProtocolError},
		"reserved bits":       {append([]byte{0xf1}, masked(1, nil)[1:]...), websocket.StatusProtocolError},
		"long control frame":  {masked(9, bytes.Repeat([]byte("x"), 200)), websocket.StatusProtocolError},
		"not masked":          {[]byte{0x81, 1, 'x'}, websocket.StatusProtocolError},
		"half a frame":        {masked(1, []byte("hello"))[:8], 0},
		"a frame's header":    {masked(1, []byte("hello"))[:6], 0},
		"half a message":      {unfinished(1, 600), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, ws.Options{ReadMax: 1000})
			conn := raw(t, s, c.send)
			if c.code == 0 {
				if tcp, ok := conn.(*net.TCPConn); ok {
					if err := tcp.CloseWrite(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if code := codeOf(t, conn); code != c.code && c.code != 0 {
				t.Errorf("closed with %d, want %d", code, c.code)
			}
			<-s.ended
			if len(s.heard) > 0 {
				t.Errorf("heard %q", <-s.heard)
			}
		})
	}
}

// codeOf reads frames until a close frame, answers it, and returns its code; 0
// if the connection ends without.
func codeOf(t *testing.T, conn net.Conn) websocket.StatusCode {
	t.Helper()
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0
		}
		payload := make([]byte, head[1]) // none here is longer than 125
		if _, err := io.ReadFull(r, payload); err != nil {
			return 0
		}
		if head[0] == 0x88 {
			if _, err := conn.Write(masked(8, payload)); err != nil {
				t.Log(err) // the other side was quicker
			}
			return websocket.StatusCode(binary.BigEndian.Uint16(payload))
		}
	}
}

func TestMessagesThatAreNoText(t *testing.T) {
	s := serve(t, ws.Options{})
	pieces := []byte{0x01, 0x82, 0, 0, 0, 0, 'h', 0xc3, 0x80, 0x81, 0, 0, 0, 0, 0xa4} // "hä", cut in a character
	raw(t, s, append(masked(2, []byte("binary")), pieces...))
	if got := <-s.heard; got != "hä" {
		t.Errorf("heard %q", got)
	}
}

func TestSilentClientIsGivenUp(t *testing.T) {
	s := serve(t, ws.Options{PingEvery: 5 * time.Millisecond})
	talks := dial(t, s, nil) // the library answers pings
	talking := <-s.sockets
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _, _, _ = talks.Read(ctx) }()
	raw(t, s, nil)
	silent := <-s.sockets
	<-silent.Over()
	<-s.ended
	select {
	case <-talking.Over():
		t.Error("a client that answers was given up")
	default:
	}
}

func TestAbort(t *testing.T) {
	s := serve(t, ws.Options{})
	raw(t, s, nil)
	(<-s.sockets).Abort()
	<-s.ended
}

func TestProtocol(t *testing.T) {
	s := serve(t, ws.Options{Protocol: "ant.token.x"})
	if c := dial(t, s, &websocket.DialOptions{Subprotocols: []string{"other", "ant.token.x"}}); c.Subprotocol() != "ant.token.x" {
		t.Errorf("agreed to %q", c.Subprotocol())
	}
	if c := dial(t, s, nil); c.Subprotocol() != "" {
		t.Errorf("agreed to %q", c.Subprotocol())
	}
}
