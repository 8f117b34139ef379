package ant

import (
	"cmp"
	"context"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/ws"
	antv1 "anthill/gen/ant/v1"
)

// lastFor is how long what a socket said before it ended may take.
const lastFor = 5 * time.Second

// line is what one socket has to do with one terminal. What it wants is done in order, by a goroutine of its own, so
// that no terminal holds up another. Two streams are below it: one that types and has the size of the client's
// window, whose end does not take back what was typed; and one that shows, which can be as slow as the client.
type line struct {
	c    *caller
	id   string
	acts *acts
	done chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	busy    bool // the goroutine has something to do
	keys    *keys
	display *display
}

// line returns the one to a terminal; nil: the socket has too many.
func (c *caller) line(id string) *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[id]
	if l == nil && len(c.lines) < channelsMax {
		l = &line{c: c, id: id, acts: newActs(), done: make(chan struct{})}
		c.lines[id] = l
		go l.run()
	}
	return l
}

// hangUp ends all lines. What was typed is typed.
func (c *caller) hangUp() {
	defer c.release()
	limit := time.After(lastFor)
	c.mu.Lock()
	lines := make([]*line, 0, len(c.lines))
	for _, l := range c.lines {
		lines = append(lines, l)
	}
	c.mu.Unlock()
	for _, l := range lines {
		l.acts.end()
	}
	for _, l := range lines {
		select {
		case <-l.done:
		case <-limit:
			c.release()
			limit = nil
			<-l.done
		}
	}
}

// offer queues an act for the goroutine or, when that has nothing to do, for the stream that types; see acts.offer.
func (l *line) offer(a act) (room <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.busy && a.typed() && !l.keys.ended() && l.keys.acts.offer(a) == nil {
		return nil
	}
	room = l.acts.offer(a)
	l.busy = l.busy || room == nil
	return room
}

func (l *line) run() {
	defer close(l.done)
	for {
		a, ok := l.next()
		if !ok {
			break
		}
		l.do(a)
		if a.done != nil {
			close(a.done)
		}
	}
	l.rest()
}

// next takes the oldest act; false: there is none, and none comes.
func (l *line) next() (act, bool) {
	l.mu.Lock()
	a, ok := l.acts.take()
	l.busy = ok
	l.mu.Unlock()
	if ok {
		return a, true
	}
	a, err := l.acts.next(context.Background()) // who offers it makes us busy
	return a, err == nil
}

// rest ends both streams.
func (l *line) rest() {
	l.keys.close()
	l.display.close()
	l.set(nil, nil)
}

func (l *line) set(k *keys, d *display) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys, l.display = k, d
}

func (l *line) do(a act) {
	switch a.Type {
	case "join_session":
		if a.SpawnPTY {
			l.spawn(a)
		} else if l.display == nil {
			from := uint64(math.MaxInt64) // what comes from now on
			if a.Offset != nil {
				from = *a.Offset
			}
			l.failed(a.frame, l.show(&from, false))
		}
	case "leave_session":
		l.rest()
	case "terminal_input", "terminal_resize":
		if l.keys.ended() && l.failed(a.frame, l.openKeys(&antv1.AttachOpen{}, a.Type)) {
			return
		}
		post(a, l.keys.acts.offer, l.keys.over) // who listens to the stream says why it has ended
	}
}

// spawn runs the terminal if nothing does, and shows it from the beginning.
func (l *line) spawn(a act) {
	l.rest()
	open := &antv1.AttachOpen{Spawn: true, Size: &antv1.TerminalSize{Cols: a.cols, Rows: a.rows}, Cwd: a.Cwd}
	if !l.failed(a.frame, l.openKeys(open, a.Type)) {
		l.failed(a.frame, l.show(a.Offset, true))
	}
}

// failed tells the client why there is no line to the terminal. compat: what is no terminal is none silently, and so
// is what a guest may not see (ant.md 2.1).
func (l *line) failed(f frame, err error) bool {
	if err == nil {
		return false
	}
	code := status.Code(err)
	switch {
	case l.c.ctx.Err() != nil && code == codes.Canceled:
	case code == codes.Unimplemented, code == codes.NotFound && f.Type != "terminal_input", code == codes.PermissionDenied && !f.SpawnPTY && f.Type == "join_session":
	case code == codes.Unauthenticated: // the socket is about to be closed
	default:
		l.c.refused(strings.ToLower(reasonOf(err)), f, status.Convert(err).Message())
	}
	return true
}

// reasonOf is the reason of an error, or its code.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return status.Code(err).String()
}

// attach runs a stream to the terminal, and returns what it begins with. It receives what ask returns; answer gets the
// rest, and ended how it ended.
func (l *line) attach(ctx context.Context, open *antv1.AttachOpen, ask func(context.Context) (proto.Message, error),
	answer func(*antv1.AttachTerminalResponse) error, ended func(error)) (*antv1.TerminalHealth, error) {
	begun, failed := make(chan *antv1.TerminalHealth, 1), make(chan error, 1)
	asked, answered := false, false
	go func() {
		err := l.c.h.sockets.channel.Serve(ctx, antv1.TerminalsService_AttachTerminal_FullMethodName, func(ctx context.Context) (proto.Message, error) {
			if !asked {
				asked = true
				return &antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Open{Open: open}}, nil
			}
			return ask(ctx)
		}, func(m proto.Message) error {
			r, ok := m.(*antv1.AttachTerminalResponse)
			if ok && answered {
				return answer(r)
			}
			answered = true
			begun <- r.GetHealth()
			return nil
		})
		if answered {
			ended(err)
		} else {
			failed <- cmp.Or(err, io.ErrUnexpectedEOF)
		}
	}()
	select {
	case health := <-begun:
		return health, nil
	case err := <-failed:
		return nil, err
	}
}

// keys is the stream that types.
type keys struct {
	acts  *acts
	about atomic.Pointer[string] // the last frame that it was used for
	over  chan struct{}          // closed when it has ended
}

// openKeys opens the stream that types, and returns once the terminal is told of.
func (l *line) openKeys(open *antv1.AttachOpen, about string) error {
	open.SessionId, open.InputOnly = l.id, true
	k := &keys{acts: newActs(), over: make(chan struct{})}
	k.about.Store(&about)
	_, err := l.attach(l.c.last, open, k.next, func(m *antv1.AttachTerminalResponse) error {
		if r := m.GetRefusal(); r != nil {
			l.c.refused(strings.ToLower(r.Reason), frame{Type: *k.about.Load(), SessionID: l.id}, r.Message)
		}
		return nil
	}, func(err error) {
		defer close(k.over)
		if err != nil {
			l.failed(frame{Type: *k.about.Load(), SessionID: l.id}, err)
		}
	})
	if err == nil {
		l.set(k, l.display)
	}
	return err
}

// next is what the terminal gets next.
func (k *keys) next(ctx context.Context) (proto.Message, error) {
	a, err := k.acts.next(ctx)
	if err != nil {
		return nil, err
	}
	k.about.Store(&a.Type)
	if a.Type == "terminal_resize" {
		return &antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Resize{Resize: &antv1.TerminalSize{Cols: a.cols, Rows: a.rows}}}, nil
	}
	return &antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Input{Input: a.data}}, nil
}

func (k *keys) ended() bool {
	if k == nil {
		return true
	}
	select {
	case <-k.over:
		return true
	default:
		return false
	}
}

// close ends the stream when all that it was given is typed.
func (k *keys) close() {
	if k == nil {
		return
	}
	k.acts.end()
	<-k.over
}

// display is the stream that shows.
type display struct {
	l      *line
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	over bool // the client does not want it any more
}

// show begins to show the terminal: from an offset on, or without one from what it shows now. tell says that the
// client waits to hear how the terminal is.
func (l *line) show(from *uint64, tell bool) error {
	ctx, cancel := context.WithCancel(l.c.ctx)
	d := &display{l: l, cancel: cancel, done: make(chan struct{})}
	told := make(chan struct{}) // closed when the client has heard how the terminal is
	health, err := l.attach(ctx, &antv1.AttachOpen{SessionId: l.id, From: from}, nothing, func(m *antv1.AttachTerminalResponse) error {
		<-told
		if o := m.GetOutput(); o != nil && !l.c.print(d, o) {
			d.stop()
			return ctx.Err()
		}
		return nil
	}, func(err error) {
		defer close(d.done)
		defer cancel()
		d.broke(err)
	})
	defer close(told)
	if err != nil {
		cancel()
		return err
	}
	l.set(l.keys, d)
	if tell {
		l.c.send(liveness{"session_health", l.id, health.GetAlive(), health.GetUnavailable()})
	}
	return nil
}

// nothing is what a stream is asked that only shows.
func nothing(context.Context) (proto.Message, error) { return nil, io.EOF }

// hide shows nothing any more, at once.
func (l *line) hide() {
	l.mu.Lock()
	d := l.display
	l.mu.Unlock()
	d.stop()
}

func (d *display) stop() {
	if d == nil {
		return
	}
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.cancel()
}

func (d *display) close() {
	if d != nil {
		d.stop()
		<-d.done
	}
}

// broke ends the socket of a display that ended too soon: it loses nothing by coming back.
func (d *display) broke(err error) {
	d.mu.Lock()
	over := d.over
	d.mu.Unlock()
	switch status.Code(err) {
	case codes.NotFound, codes.Unauthenticated: // it was deleted; or the socket is about to be closed
		return
	}
	if !over && d.l.c.ctx.Err() == nil {
		d.l.c.broken()
	}
}

// print sends output, no faster than the client takes it; false: the socket has ended. However many terminals a
// socket shows, one of them is printed at a time, so that its queue has room for everything else.
func (c *caller) print(d *display, o *antv1.TerminalOutput) bool {
	c.printing.Lock()
	defer c.printing.Unlock()
	if !c.socket.Wait() {
		return false
	}
	c.printed = appendOutput(c.printed[:0], d.l.id, o)
	f := ws.Text(c.printed)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		c.socket.Send(f, 0)
	}
	return true
}

// appendOutput is a terminal_output frame. seq is the offset of its first byte; a replay has none. compat: ant.md 2.2.
// better: next is the offset to come back with.
func appendOutput(b []byte, id string, o *antv1.TerminalOutput) []byte {
	b = append(b, `{"type":"terminal_output","sessionId":`...)
	b = appendText(b, []byte(id))
	b = append(b, `,"data":`...)
	b = appendText(b, o.Data)
	next := o.Offset
	if !o.Replay {
		b = strconv.AppendUint(append(b, `,"seq":`...), o.Offset, 10)
		next += uint64(len(o.Data))
	}
	b = strconv.AppendUint(append(b, `,"next":`...), next, 10)
	if o.Truncated {
		b = append(b, `,"truncated":true`...)
	}
	return append(b, '}')
}

// appendText is text as a JSON string. What is not UTF-8 becomes U+FFFD.
func appendText(b, text []byte) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, text[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		b = append(b, text[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		from = i
	}
	return append(append(b, text[from:]...), '"')
}

// plain are the bytes that a JSON string has as they are.
var plain = func() (all [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		all[c] = c != '"' && c != '\\'
	}
	return all
}()

// health answers check_health.
func (c *caller) health(id string) {
	ctx, cancel := context.WithTimeout(c.ctx, nowWithin)
	defer cancel()
	t, err := c.h.sockets.terminals.GetTerminal(ctx, &antv1.GetTerminalRequest{SessionId: id})
	c.send(liveness{"session_health", id, err == nil && t.Live, reasonOf(err) == "TERMINAL_INACTIVE"})
}

// isTerminal says whether a session is one.
func (c *caller) isTerminal(id string) bool {
	if strings.HasPrefix(id, "__") {
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, nowWithin)
	defer cancel()
	s, err := c.h.sockets.sessions.GetSession(ctx, &antv1.GetSessionRequest{Id: id})
	return err == nil && s.Type == "terminal"
}

// terminal does what a frame wants of a terminal.
func (c *caller) terminal(f frame) {
	a := act{frame: f, data: []byte(f.Data)}
	switch f.Type {
	case "terminal_input":
		if f.Data == "" {
			return
		}
	case "terminal_resize":
		var ok bool
		if a.cols, a.rows, ok = c.sizeOf(f); !ok {
			return
		}
	case "join_session":
		var ok bool
		if f.SpawnPTY {
			if a.cols, a.rows, ok = c.sizeOf(f); !ok {
				return
			}
		}
		if !c.isTerminal(f.SessionID) {
			return
		}
		if !f.SpawnPTY {
			a.done = make(chan struct{}) // what is printed after this frame is shown
		}
	}
	a.Data = ""
	l := c.line(f.SessionID)
	switch {
	case l == nil:
		c.refused("too_many_rooms", f, "one socket follows at most 1000 rooms")
	case !post(a, l.offer, c.socket.Over()) || a.done == nil:
	default:
		select {
		case <-a.done:
		case <-c.socket.Over():
		}
	}
}

// hideTerminal stops showing a terminal, if the socket does.
func (c *caller) hideTerminal(id string) {
	c.mu.Lock()
	l := c.lines[id]
	c.mu.Unlock()
	if l != nil {
		l.hide()
		post(act{frame: frame{Type: "leave_session", SessionID: id}}, l.offer, c.socket.Over())
	}
}

// lasting is a context for what outlives a socket for a moment.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	md, _ := metadata.FromOutgoingContext(ctx)
	return context.WithCancel(metadata.NewOutgoingContext(context.Background(), md))
}
