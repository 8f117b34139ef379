package conversations

import (
	"context"
	"math"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/store"
)

// answerUnstored runs a turn of which nothing is kept: its events go to the
// caller as they happen, a caller who reads slowly slows it down, and one who
// hangs up ends it.
func (r *Room) answerUnstored(ctx context.Context, a *asked, send func(*antonv1.ResponseEvent) error) error {
	m, err := r.opt.Model(ctx, a.model)
	if err != nil {
		return err
	}
	t, turnCtx, err := r.reserve(a, m)
	if err != nil {
		return err
	}
	defer r.unreserve(t)
	unhook := context.AfterFunc(ctx, func() { t.cancel(context.Cause(ctx)) })
	defer unhook()
	if err := r.place(ctx, a, t.rec); err != nil {
		return err
	}
	if err := r.attach(ctx, a, t.rec.ConvID); err != nil {
		return err
	}
	rec := newRecorder(turnCtx, r, t.rec, t.log)
	rec.send = send
	defer rec.close()
	out, err := r.ask(turnCtx, rec, a, m)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if cause := context.Cause(turnCtx); cause != nil {
		err = cause
	}
	end := r.ending(t.rec, out, err)
	return rec.end(end)
}

// end closes what is open and sends the last event.
func (c *recorder) end(e ending) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.closeOpen(e.itemStatus); err != nil {
		return err
	}
	return c.emit(e.event)
}

// close sees to it that nothing is sent when the caller has gone.
func (c *recorder) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer()
	c.closed = true
}

// place finds the history that a turn sees without becoming a part of it.
func (r *Room) place(ctx context.Context, a *asked, rec *turnRecord) error {
	return r.opt.Main.View(ctx, func(rd store.Reader) error {
		rec.ConvKey, rec.Ordinal = "", math.MaxUint64
		c, err := conversationByID(rd, rec.ConvID)
		switch {
		case err != nil:
			return err
		case a.after != nil && (c == nil || c.Key != a.after.ConvKey):
			return a.noPrevious()
		case c == nil && rec.ConvID != "":
			return errNoConversation
		case c == nil:
			p, err := r.opt.Projects.ByName(rd, a.project)
			if err == nil && p == nil {
				err = noProject(a.project)
			}
			return err
		}
		if c.Running != "" && r.liveTurn(c.Running) != nil && (a.after == nil || a.after.ID == c.Running) {
			return busy(c.ID)
		}
		rec.ConvKey = c.Key
		if a.after != nil {
			rec.Ordinal = a.after.Ordinal
		}
		return nil
	})
}
