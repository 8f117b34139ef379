package edge

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
)

const (
	headerRequestID = "X-Request-Id"
	maxRequestID    = 64
)

type requestIDKey struct{}

// RequestID is the id of the request that ctx belongs to, or "". It stands in
// the X-Request-Id header of the request and of the answer as well.
func RequestID(ctx context.Context) string {
	if c, ok := ctx.Value(requestIDKey{}).(*requestContext); ok {
		return c.id
	}
	return ""
}

// requestContext is context.WithValue for two keys, as part of an exchange.
type requestContext struct {
	context.Context
	id       string
	external External
	ownPage  bool // its cookie counts
}

func (c *requestContext) Value(key any) any {
	if key == (requestIDKey{}) || key == (externalKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// exchange is one request under way, and the writer that next gets. All that the
// middleware needs for a request is in it, so that there is one allocation.
type exchange struct {
	w        http.ResponseWriter
	ctx      requestContext
	ids      [1]string // backs the header values
	body     timedBody
	from     string // path that links of the answer are relative to; empty: they stay
	hijacked net.Conn
	wrote    bool // the answer has begun
	head     bool // a HEAD served as GET
}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	id := ""
	if v := r.Header[headerRequestID]; len(v) == 1 && validRequestID(v[0]) {
		id = v[0]
	} else {
		id = newRequestID()
	}
	return &exchange{w: w, ctx: requestContext{Context: r.Context(), id: id}, ids: [1]string{id}}
}

func validRequestID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func newRequestID() string {
	var raw [12]byte
	rand.Read(raw[:]) // never fails: it ends the program instead
	var text [2 * len(raw)]byte
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

// Header is that of the server's writer.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader passes the status on; informational ones do not begin the answer.
func (x *exchange) WriteHeader(status int) {
	if to := x.w.Header()["Location"]; x.from != "" && len(to) == 1 && strings.HasPrefix(to[0], "/") && !strings.HasPrefix(to[0], "//") {
		x.w.Header()["Location"] = []string{relative(x.from, to[0])}
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		x.wrote = true
	}
	x.w.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	x.wrote = true
	return x.w.Write(p)
}

// WriteString saves io.WriteString a copy.
func (x *exchange) WriteString(s string) (int, error) {
	x.wrote = true
	return io.WriteString(x.w, s)
}

// ReadFrom lets the server use sendfile.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	x.wrote = true
	if rf, ok := x.w.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{x.w}, r)
}

// FlushError sends what was written. A handler that flushes streams: it has done
// with the body, and has nothing to tell a HEAD.
func (x *exchange) FlushError() error {
	x.wrote = true
	err := http.NewResponseController(x.w).Flush()
	x.body.disarm()
	if err == nil && x.head {
		return http.ErrBodyNotAllowed
	}
	return err
}

// Flush is FlushError for those who ask for an http.Flusher. They have no use
// for the error: their next write meets it again.
func (x *exchange) Flush() { _ = x.FlushError() }

// Hijack hands the connection over, remembering it for the case of a panic.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(x.w).Hijack()
	if err == nil {
		x.wrote, x.hijacked = true, c
	}
	return c, rw, err
}

// Unwrap gives http.ResponseController the rest.
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }
