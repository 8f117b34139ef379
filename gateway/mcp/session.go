package mcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"

	antonv1 "anthill/gen/anton/v1"
)

// A session's id is chance and a mark of whose it is. It opens nothing: what may
// be done is decided by what each request shows, and it holds across restarts.

// newSession is the id of a session of a caller.
func newSession(c *antonv1.Caller) string {
	chance := rand.Text()
	return chance + "-" + markOf(chance, c)
}

// isSessionOf says whether a caller was given the id.
func isSessionOf(id string, c *antonv1.Caller) bool {
	chance, mark, ok := strings.Cut(id, "-")
	return ok && mark == markOf(chance, c)
}

func markOf(chance string, c *antonv1.Caller) string {
	sum := sha256.Sum256([]byte(chance + "\x00" + whose(c)))
	return hex.EncodeToString(sum[:8])
}

// whose is the same for all requests that show the same.
func whose(c *antonv1.Caller) string { return c.Kind + "\x00" + c.Id }

// running are the calls that another request can cancel: those of a session.
type running struct {
	mu    sync.Mutex
	calls map[string]context.CancelCauseFunc
}

func newRunning() *running { return &running{calls: map[string]context.CancelCauseFunc{}} }

func keyOf(c *antonv1.Caller, session string) string {
	return whose(c) + "\x00" + session + "\x00"
}

// enter notes a call until leave; ok is false if one with its id runs.
func (r *running) enter(c *antonv1.Caller, session string, id json.RawMessage, cancel context.CancelCauseFunc) (leave func(), ok bool) {
	if session == "" || len(id) == 0 || bytes.Equal(id, []byte("null")) {
		return func() {}, true
	}
	key := keyOf(c, session) + string(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[key] != nil {
		return nil, false
	}
	r.calls[key] = cancel
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.calls, key)
	}, true
}

// cancel ends a call, if it runs.
func (r *running) cancel(c *antonv1.Caller, session string, id json.RawMessage) {
	if session == "" || len(id) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel := r.calls[keyOf(c, session)+string(id)]; cancel != nil {
		cancel(nil)
	}
}

// cancelAll ends the calls of a session.
func (r *running) cancelAll(c *antonv1.Caller, session string) {
	if session == "" {
		return
	}
	key := keyOf(c, session)
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, cancel := range r.calls {
		if strings.HasPrefix(k, key) {
			cancel(errGone)
		}
	}
}
