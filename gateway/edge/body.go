package edge

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// checkBody refuses a body by its announced size and type.
func (p *Policy) checkBody(r *http.Request, large bool) (status int, message string) {
	if r.ContentLength > p.maxBody && !large {
		return http.StatusRequestEntityTooLarge, "Request body too large"
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		if !acceptable(r.Header["Content-Type"], large) {
			return http.StatusUnsupportedMediaType, "Content-Type must be application/json"
		}
	}
	return 0, ""
}

// acceptable tells whether a body is what the routes read: JSON, or a form with
// files where large. A page can send neither text nor a plain form, the types
// that browsers let through without asking. No type at all is what many clients
// send with JSON.
func acceptable(contentType []string, large bool) bool {
	switch {
	case len(contentType) == 0:
		return true
	case len(contentType) > 1:
		return false
	case contentType[0] == "application/json":
		return true
	}
	media, params, err := mime.ParseMediaType(contentType[0])
	if err != nil {
		return false
	}
	if large && media == "multipart/form-data" {
		return true
	}
	charset, ok := params["charset"]
	return (media == "application/json" || strings.HasSuffix(media, "+json")) &&
		(!ok || strings.EqualFold(charset, "utf-8"))
}

// boundBody bounds what cannot be known beforehand: the size of a chunked body,
// and the time until a body is there.
func (p *Policy) boundBody(x *exchange, r *http.Request) {
	body := r.Body
	if r.ContentLength < 0 {
		// Given the server's own writer, so that it can close the connection.
		body = http.MaxBytesReader(x.w, body, p.maxBody)
	}
	x.body = timedBody{ReadCloser: body, rc: http.NewResponseController(x.w), log: p.logIgnored}
	x.body.arm(p.bodyTimeout)
	r.Body = &x.body
}

// timedBody is a body under a read deadline, which is taken back as soon as the
// body ends: a server goes on reading from the connection, to notice that the
// client left, and would take the passing of the deadline for just that. When the
// body fails the deadline stays, because the server tries to read the rest before
// it answers.
type timedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	armed atomic.Bool // body and answer may be used from two goroutines
	log   func(error)
}

func (b *timedBody) arm(d time.Duration) {
	if err := b.rc.SetReadDeadline(time.Now().Add(d)); err != nil {
		b.log(err)
		return
	}
	b.armed.Store(true)
}

func (b *timedBody) disarm() {
	if b.armed.CompareAndSwap(true, false) {
		if err := b.rc.SetReadDeadline(time.Time{}); err != nil {
			b.log(err)
		}
	}
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.disarm()
	}
	return n, err
}

func (b *timedBody) Close() error {
	err := b.ReadCloser.Close()
	if err == nil {
		b.disarm()
	}
	return err
}
