package ws

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// Options for Accept. Zero values mean the defaults.
type Options struct {
	Protocol     string        // to agree to, if the client offered it
	ReadMax      int64         // bytes of one message from the client; 1 MiB
	QueueMax     int           // bytes that may wait to be written; 4 MiB
	WriteTimeout time.Duration // of one write; 30 s
	PingEvery    time.Duration // 25 s; a socket that is silent for three of them is gone
	// Slow is the reason given to a client that is cut for not keeping up, at
	// most 123 bytes. written is the mark of the last frame with one that was written.
	Slow func(written uint64) string
}

func (o Options) withDefaults() Options {
	if o.ReadMax == 0 {
		o.ReadMax = 1 << 20
	}
	if o.QueueMax == 0 {
		o.QueueMax = 4 << 20
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.PingEvery == 0 {
		o.PingEvery = 25 * time.Second
	}
	if o.Slow == nil {
		o.Slow = func(uint64) string { return "too slow" }
	}
	return o
}

// Socket is one client. Its methods may be called concurrently, except Serve,
// which is called once.
type Socket struct {
	conn *websocket.Conn
	wire *wire
	opt  Options
	wake chan struct{}
	seen atomic.Int64  // when something last came from the client, ns
	over chan struct{} // closed when the socket takes no more frames
	done chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	queue   []queued
	bytes   int           // in the queue and in the write under way
	room    chan struct{} // closed once the queue has room again; nil: nobody waits
	written uint64
	closing *closing
	tick    *time.Timer
}

type queued struct {
	frame Frame
	mark  uint64
}

// closing is how a socket ends.
type closing struct {
	code   int
	reason string
	flush  bool // what is queued goes out first
}

// Accept answers the handshake; if it cannot, it has written an error. Messages
// that came together with the request are not lost. The caller must call Serve.
func Accept(w http.ResponseWriter, r *http.Request, o Options) (*Socket, error) {
	o = o.withDefaults()
	s := &Socket{opt: o, wake: make(chan struct{}, 1), over: make(chan struct{}), done: make(chan struct{})}
	h := &hijacker{ResponseWriter: w, timeout: o.WriteTimeout}
	accept := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the edge has checked Host and Origin, whole
		CompressionMode:    websocket.CompressionDisabled,
		OnPongReceived:     func(context.Context, []byte) { s.alive() },
		OnPingReceived:     func(context.Context, []byte) bool { s.alive(); return true },
	}
	if o.Protocol != "" {
		accept.Subprotocols = []string{o.Protocol}
	}
	conn, err := websocket.Accept(h, r, accept)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(o.ReadMax)
	s.conn, s.wire = conn, h.wire
	s.alive()
	return s, nil
}

// Serve reads until the connection ends, whoever ends it, and returns once
// nothing of the socket runs any more. handle gets each text message on the
// caller's goroutine; it must not keep the message.
func (s *Socket) Serve(handle func(message []byte)) {
	go s.write()
	s.mu.Lock()
	s.tick = time.AfterFunc(s.opt.PingEvery, s.beat)
	s.mu.Unlock()
	code, reason := s.read(handle)
	s.end(closing{code: code, reason: reason, flush: code == InvalidText})
	<-s.done
	s.tick.Stop()
}

// read returns with what is to be said to a client whose socket ends.
func (s *Socket) read(handle func([]byte)) (code int, reason string) {
	for {
		kind, message, err := s.conn.Read(context.Background())
		switch {
		case errors.Is(err, websocket.ErrMessageTooBig):
			return TooLarge, "message too large" // said by the library already
		case err != nil: // the connection has ended, or it should
			return ProtocolError, ""
		}
		s.alive()
		switch {
		case kind != websocket.MessageText:
		case !utf8.Valid(message):
			return InvalidText, "text is not UTF-8"
		default:
			handle(message)
		}
	}
}

// Send queues a frame and does not block. mark says how far the client is once
// it has the frame; 0 says nothing. A socket whose queue is full is cut.
func (s *Socket) Send(f Frame, mark uint64) {
	s.mu.Lock()
	switch {
	case s.closing != nil:
	case s.bytes+len(f) > s.opt.QueueMax && s.bytes > 0:
		s.closeLocked(closing{code: TryAgainLater, reason: clip(s.opt.Slow(s.written))})
	default:
		s.queue = append(s.queue, queued{f, mark})
		s.bytes += len(f)
		s.wakeUp()
	}
	s.mu.Unlock()
}

// Offer queues a frame that is worth nothing later: it is dropped for a socket
// that lags.
func (s *Socket) Offer(f Frame) {
	s.mu.Lock()
	if s.closing == nil && s.bytes <= s.opt.QueueMax/4 {
		s.queue = append(s.queue, queued{frame: f})
		s.bytes += len(f)
		s.wakeUp()
	}
	s.mu.Unlock()
}

// Wait blocks while more than a quarter of the queue's bytes wait, so that what
// is read from elsewhere comes no faster than the client takes it. It returns
// false once the socket is over.
func (s *Socket) Wait() bool {
	for {
		s.mu.Lock()
		if s.closing != nil {
			s.mu.Unlock()
			return false
		}
		if s.bytes <= s.opt.QueueMax/4 {
			s.mu.Unlock()
			return true
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-s.over:
			return false
		}
	}
}

// Over is closed when the socket takes no more frames.
func (s *Socket) Over() <-chan struct{} { return s.over }

// Close writes what is queued and then closes with a code and a reason of at
// most 123 bytes. It does not block; Serve returns when it is done.
func (s *Socket) Close(code int, reason string) {
	s.end(closing{code: code, reason: clip(reason), flush: true})
}

// Abort closes the connection under everything.
func (s *Socket) Abort() {
	s.end(closing{code: GoingAway})
	_ = s.wire.Conn.Close() // what is told by an error here, the reader hears too
}

func (s *Socket) end(c closing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing == nil {
		s.closeLocked(c)
	}
}

func (s *Socket) closeLocked(c closing) {
	s.closing = &c
	if !c.flush {
		s.queue = nil
	}
	close(s.over)
	s.wakeUp()
	s.wire.end()
}

func (s *Socket) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Socket) alive() { s.seen.Store(time.Now().UnixNano()) }

// beat pings, and gives up a client that does not answer.
func (s *Socket) beat() {
	if time.Since(time.Unix(0, s.seen.Load())) > 3*s.opt.PingEvery {
		s.Abort()
		return
	}
	s.Offer(ping)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing == nil {
		s.tick.Reset(s.opt.PingEvery)
	}
}

// clip makes a reason fit a control frame.
func clip(reason string) string {
	if len(reason) <= 123 {
		return reason
	}
	return strings.ToValidUTF8(reason[:123], "")
}
