// Package sse writes server-sent events, for every door that streams over plain
// HTTP.
//
// A [Writer] frames events and bounds how long a client may take to read them;
// [Pump] joins it to a source of messages and keeps an idle stream alive.
//
// The frames are the narrow form that every known client reads: LF only, at most
// one event line, exactly one data line. Ids are only for streams that browsers
// resume by themselves ([Writer.EventAt]): one widely used SDK dispatches empty
// events for them. Never written here: retry lines, data that spans lines, and
// CORS headers, which package edge decides. Nothing is kept for replay: who
// reconnects asks the log behind the stream.
package sse

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Defaults of [Options].
const (
	DefaultKeepAlive    = 15 * time.Second
	DefaultWriteTimeout = 30 * time.Second
)

// maxBuffer is when a Writer stops waiting for Flush: past it, one more write
// costs less than one more copy.
const maxBuffer = 64 << 10

// boundEvery is how old a write deadline may be before a flush renews it.
const boundEvery = time.Second

// What [Writer.Event] and [Writer.Comment] refuse; nothing is written then.
var (
	ErrMultiline = errors.New("sse: text contains a line break")
	ErrEmpty     = errors.New("sse: event without data")
	ErrName      = errors.New("sse: invalid event name")
)

// Options tunes a [Writer]. The zero value is ready to use.
type Options struct {
	// KeepAlive is how long [Pump] leaves a stream silent before it writes a
	// comment. Zero means DefaultKeepAlive, a negative value never.
	KeepAlive time.Duration

	// WriteTimeout is how long the client may take to accept one flush. When it
	// passes the stream is over. Zero means DefaultWriteTimeout, a negative value
	// forever.
	WriteTimeout time.Duration
}

// Writer frames events onto one response. It is not safe for concurrent use.
//
// Events collect in memory until Flush, or until there are 64 KiB of them. The
// first error of the connection is final: every later call returns it.
type Writer struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	opts Options

	http1   bool
	started bool
	buf     []byte
	since   time.Time // when buf stopped being empty
	flushed time.Time // when the client last got something
	bounded time.Time // when the write deadline was last set
	err     error
}

// New prepares a stream as the answer to r. Nothing is sent before
// [Writer.Start], so the handler may still refuse the request.
func New(w http.ResponseWriter, r *http.Request, o Options) *Writer {
	if o.KeepAlive == 0 {
		o.KeepAlive = DefaultKeepAlive
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	return &Writer{w: w, rc: http.NewResponseController(w), opts: o, http1: r.ProtoMajor == 1}
}

// Start sends status 200 and the headers, so that the client knows at once that
// it is connected. The other methods call it when the handler has not. Later
// calls do nothing.
func (w *Writer) Start() error {
	if w.started || w.err != nil {
		return w.err
	}
	w.started = true
	h := w.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("X-Accel-Buffering", "no")
	if w.http1 { // HTTP/2 forbids the header
		h.Set("Connection", "keep-alive")
	}
	w.w.WriteHeader(http.StatusOK)
	return w.send()
}

// Event adds one frame. The name becomes the event line, unless it is empty; it
// must be made of [A-Za-z0-9._-]. The data must be JSON on one line, which is
// checked only as far as the framing needs: ErrEmpty when there is none,
// ErrMultiline when it contains CR or LF. The data is copied.
func (w *Writer) Event(name string, data []byte) error {
	if !validName(name) {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return w.frame(name, 0, data)
}

// EventAt is Event without a name, after which the client can resume. The id is
// not 0.
func (w *Writer) EventAt(id uint64, data []byte) error { return w.frame("", id, data) }

// frame writes no id line for 0.
func (w *Writer) frame(name string, id uint64, data []byte) error {
	if len(data) == 0 {
		return ErrEmpty
	}
	if bytes.IndexByte(data, '\n') >= 0 || bytes.IndexByte(data, '\r') >= 0 {
		return ErrMultiline
	}
	if err := w.begin(); err != nil {
		return err
	}
	if id != 0 {
		w.buf = append(w.buf, "id: "...)
		w.buf = strconv.AppendUint(w.buf, id, 10)
		w.buf = append(w.buf, '\n')
	}
	if name != "" {
		w.buf = append(w.buf, "event: "...)
		w.buf = append(w.buf, name...)
		w.buf = append(w.buf, '\n')
	}
	w.buf = append(w.buf, "data: "...)
	w.buf = append(w.buf, data...)
	return w.end()
}

// ID tells the client where it can resume, without an event.
func (w *Writer) ID(id uint64) error {
	if err := w.begin(); err != nil {
		return err
	}
	w.buf = append(w.buf, "id: "...)
	w.buf = strconv.AppendUint(w.buf, id, 10)
	return w.end()
}

// Comment adds a line that clients ignore. It must not contain CR or LF.
func (w *Writer) Comment(text string) error {
	for i := range len(text) {
		if text[i] == '\n' || text[i] == '\r' {
			return ErrMultiline
		}
	}
	if err := w.begin(); err != nil {
		return err
	}
	w.buf = append(w.buf, ": "...)
	w.buf = append(w.buf, text...)
	return w.end()
}

// Flush sends what has collected. It blocks while the client is slow, at most
// for WriteTimeout.
func (w *Writer) Flush() error {
	if err := w.Start(); err != nil || len(w.buf) == 0 {
		return err
	}
	return w.send()
}

// begin prepares the buffer for a frame.
func (w *Writer) begin() error {
	if err := w.Start(); err != nil {
		return err
	}
	if len(w.buf) == 0 {
		w.since = time.Now()
	}
	return nil
}

// end closes a frame.
func (w *Writer) end() error {
	w.buf = append(w.buf, '\n', '\n')
	if len(w.buf) >= maxBuffer {
		return w.send()
	}
	return nil
}

// send writes the buffer, flushes the response and empties the buffer.
func (w *Writer) send() error {
	if w.err = w.transmit(); w.err != nil {
		w.err = fmt.Errorf("sse: %w", w.err)
	}
	w.flushed = time.Now()
	w.buf = w.buf[:0]
	if cap(w.buf) > 2*maxBuffer { // one huge event should not be carried for hours
		w.buf = nil
	}
	return w.err
}

func (w *Writer) transmit() error {
	// Setting it costs about as much as a small write does, so a stream that
	// writes all the time sets it once a second.
	if now := time.Now(); w.opts.WriteTimeout > 0 && now.Sub(w.bounded) >= boundEvery {
		if err := w.deadline(now.Add(w.opts.WriteTimeout)); err != nil {
			return err
		}
		w.bounded = now
	}
	if len(w.buf) > 0 {
		if _, err := w.w.Write(w.buf); err != nil {
			return err
		}
	}
	return w.rc.Flush()
}

// End takes the deadline of the last flush away: left standing it would hit
// whatever the server writes next on the connection. Call it when nothing
// more is to be written; [Pump] does.
func (w *Writer) End() error {
	if w.bounded.IsZero() {
		return nil
	}
	w.bounded = time.Time{}
	return w.deadline(time.Time{})
}

// deadline bounds the next write where the server can do that.
func (w *Writer) deadline(t time.Time) error {
	if err := w.rc.SetWriteDeadline(t); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
