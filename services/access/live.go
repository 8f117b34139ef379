package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"anthill/services/internal/fault"
)

// live are the streams whose callers may lose their right to call.
type live struct {
	mu    sync.Mutex
	calls map[string]map[*call]struct{} // by credential
}

// call is one such stream.
type call struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	invite string
	expiry *time.Timer
}

// enter registers a stream and gives it a context that ends with its credential.
func (l *live) enter(a *Admission) *call {
	ctx, cancel := context.WithCancelCause(a.ctx)
	c := &call{ctx: ctx, cancel: cancel, invite: a.invite}
	a.ctx = ctx
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[a.credential] == nil {
		l.calls[a.credential] = map[*call]struct{}{}
	}
	l.calls[a.credential][c] = struct{}{}
	c.expiry = time.AfterFunc(a.room.untilExpiry(a.until), func() { a.room.expire(a, c) })
	return c
}

// leave forgets a stream that has ended.
func (l *live) leave(credential string, c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.expiry.Stop()
	c.cancel(context.Canceled)
	delete(l.calls[credential], c)
	if len(l.calls[credential]) == 0 {
		delete(l.calls, credential)
	}
}

// end ends the streams of a credential.
func (l *live) end(credential string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls[credential] {
		c.cancel(why)
	}
}

// endInvite ends the streams of all tokens of an invite.
func (l *live) endInvite(invite string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, calls := range l.calls {
		for c := range calls {
			if c.invite == invite {
				c.cancel(why)
			}
		}
	}
}

// ended is why the stream had to end, nil if its client or server ended it.
func (c *call) ended() error {
	var f *fault.Error
	if errors.As(context.Cause(c.ctx), &f) {
		return f
	}
	return nil
}

// expire ends a stream whose time is up, unless it was prolonged meanwhile.
func (r *Room) expire(a *Admission, c *call) {
	id, err := r.identify(c.ctx)
	if err == nil && id.credential == a.credential {
		r.live.mu.Lock()
		defer r.live.mu.Unlock()
		if _, there := r.live.calls[a.credential][c]; there {
			c.expiry.Reset(r.untilExpiry(id.until))
		}
		return
	}
	why := errSessionExpired
	if a.Scoped() {
		why = errTokenExpired
	}
	c.cancel(why)
}

// untilExpiry is never so short that a clock which stands still makes it spin.
func (r *Room) untilExpiry(ms int64) time.Duration {
	return max(time.UnixMilli(ms).Sub(r.opt.Now()), 10*time.Millisecond)
}
