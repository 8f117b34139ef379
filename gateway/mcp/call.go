package mcp

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// errGone is the cause of a call that ends because its caller has gone. (That of
// one which was cancelled is context.Canceled.)
var errGone = errors.New("the caller has gone")

// call is what a door knows of a call: the SDK hands on the values of a context
// only, and not its end.
type call struct {
	ctx  context.Context // ends with the call's right to go on
	ping func()          // tells the client that it is alive; may be nil
	as   string          // who calls, as the door was told
	log  *slog.Logger
}

type callKey struct{}

// with is the context of calls through a door.
func (c *call) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{ctx: context.Background()}
}

func logOf(ctx context.Context) *slog.Logger {
	if l := callOf(ctx).log; l != nil {
		return l
	}
	return slog.Default()
}

// bind ends a tool's context when the door's does, with the same cause.
func bind(ctx context.Context) (context.Context, func()) {
	c := callOf(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// cancelled says whether the caller itself ended the call.
func cancelled(ctx context.Context) bool { return errors.Is(context.Cause(ctx), context.Canceled) }

// pingEvery is how long a call that waits may leave its client without a byte.
const pingEvery = 15 * time.Second

// keepAlive pings the client until the returned function is called.
func keepAlive(ctx context.Context) (stop func()) {
	ping := callOf(ctx).ping
	if ping == nil {
		return func() {}
	}
	ended := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t := time.NewTicker(pingEvery); ; {
			select {
			case <-t.C:
				ping()
			case <-ended:
				t.Stop()
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}
