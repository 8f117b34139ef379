package mcp

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	writeWithin = 30 * time.Second // for a client to take what is written
	boundEvery  = time.Second      // how old a deadline may be before a write renews it
)

// stream is the answer that the SDK writes, from several goroutines at once with
// our pings. A client that does not read is given up after a while.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController

	mu      sync.Mutex
	bounded time.Time // when the deadline was last set
	over    bool      // the request has been served
	refused int       // status of a refusal whose words are still to come
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, rc: http.NewResponseController(w)}
}

// Header implements http.ResponseWriter.
func (s *stream) Header() http.Header { return s.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (s *stream) WriteHeader(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
	case code >= http.StatusBadRequest && strings.HasPrefix(s.w.Header().Get("Content-Type"), "text/plain"):
		s.refused = code // the SDK's own: it is told as all others are
	default:
		s.w.WriteHeader(code)
	}
}

// Write implements http.ResponseWriter.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(p)
}

func (s *stream) write(p []byte) (int, error) {
	if s.over {
		return 0, http.ErrHandlerTimeout
	}
	if s.refused != 0 {
		Deny(s.w, nil, s.refused, strings.TrimSpace(string(p)))
		return len(p), nil
	}
	if now := time.Now(); now.Sub(s.bounded) >= boundEvery {
		s.bound(now.Add(writeWithin))
		s.bounded = now
	}
	return s.w.Write(p)
}

// FlushError sends what was written.
func (s *stream) FlushError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return http.ErrHandlerTimeout
	}
	return s.rc.Flush()
}

// ping sends a line that clients ignore. The answer is a stream of events by then:
// only tools ping.
func (s *stream) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.write([]byte(": ping\n\n")); err == nil {
		_ = s.rc.Flush() // the next write meets the error again
	}
}

// end takes the deadline away, which would hit what the connection serves next.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if !s.bounded.IsZero() {
		s.bound(time.Time{})
	}
}

// bound sets the deadline where the server can.
func (s *stream) bound(t time.Time) { _ = s.rc.SetWriteDeadline(t) }
