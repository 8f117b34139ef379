package edge

import (
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
)

// Middleware puts the Policy before next. What next gets to see has an id
// ([RequestID]), was meant for this server by a page that may speak to it, and
// has a body that fails when it grows or takes too long: reading it then yields
// *http.MaxBytesError or os.ErrDeadlineExceeded.
//
// Behind a proxy the request has the path that routes know and the Host that the
// client asked for, links in Location are relative, and forwarding headers are
// gone ([ExternalOf] has what they said).
//
// OPTIONS is answered here. HEAD arrives as GET (unless it accepts an event
// stream), with a writer whose first flush fails, so that a stream ends; net/http
// drops the body and keeps its length. A panic of next becomes a 500 that shows
// only the id, or breaks the connection when the answer has begun.
func (p *Policy) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := newExchange(w, r)
		r = r.WithContext(&x.ctx)
		h := w.Header()
		r.Header[headerRequestID], h[headerRequestID] = x.ids[:], x.ids[:]
		h["X-Content-Type-Options"] = valueNosniff
		h["Referrer-Policy"] = valueNoReferrer
		defer func() {
			if v := recover(); v != nil {
				p.recovered(x, r, v)
			}
		}()

		x.ctx.external = p.external(r)
		if p.rebase(r) {
			x.ctx.external.addBase(p.base)
		}
		if p.base != "" || len(p.proxies) > 0 {
			x.from = r.URL.EscapedPath()
		}
		if why := p.checkHost(r, x.ctx.external.Host); why != "" {
			p.refuse(x, r, http.StatusForbidden, why)
			return
		}
		if why := p.checkOrigin(r); why != "" {
			h["Vary"] = valueVary
			p.refuse(x, r, http.StatusForbidden, why)
			return
		}
		if r.Header["Cookie"] != nil {
			x.ctx.ownPage = p.ownPage(r)
		}
		share(h, r)
		if r.Method == http.MethodOptions {
			answerOptions(x, r)
			return
		}
		if r.ContentLength != 0 {
			large := p.largeBody(r)
			if status, why := p.checkBody(r, large); status != 0 {
				p.refuse(x, r, status, why)
				return
			}
			if !large {
				p.boundBody(x, r)
			}
		}
		if r.Method == http.MethodHead && !wantsStream(r.Header) {
			x.head = true
			r.Method = http.MethodGet // of our own copy: the server still knows
		}
		next.ServeHTTP(x, r)
	})
}

func wantsStream(h http.Header) bool {
	return slices.ContainsFunc(h["Accept"], func(v string) bool {
		return strings.Contains(v, "text/event-stream")
	})
}

// refuse answers for next. The log is the only place that repeats what was
// wrong, without the query, which may hold a key.
func (p *Policy) refuse(x *exchange, r *http.Request, status int, why string) {
	p.log.Info("request refused", "request", x.ctx.id, "status", status, "reason", why,
		"method", r.Method, "path", clip(r.URL.Path), "host", clip(r.Host), "origin", clip(r.Header.Get(headerOrigin)))
	p.deny(x, r, status, why)
}

// clip keeps a flood of refusals from becoming a flood of log.
func clip(s string) string { return s[:min(len(s), 200)] }

// recovered turns a panic of next into the best answer that is still possible.
func (p *Policy) recovered(x *exchange, r *http.Request, v any) {
	if v == http.ErrAbortHandler {
		panic(v)
	}
	p.log.Error("panic while serving", "request", x.ctx.id, "method", r.Method, "path", r.URL.Path,
		"panic", v, "stack", string(debug.Stack()))
	switch {
	case x.hijacked != nil:
		if err := x.hijacked.Close(); err != nil {
			p.logIgnored(err)
		}
	case x.wrote:
		// Ending normally would make half an answer look whole.
		panic(http.ErrAbortHandler)
	default:
		h := x.Header()
		for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Cache-Control", "Set-Cookie"} {
			delete(h, name) // they described another answer
		}
		p.deny(x, r, http.StatusInternalServerError, "Internal error, request id "+x.ctx.id)
	}
}

// logIgnored records an error that changes nothing for the request.
func (p *Policy) logIgnored(err error) {
	if !errors.Is(err, http.ErrNotSupported) {
		p.log.Debug("connection", "err", err)
	}
}
