// Package caller carries who is calling from the interceptor that found out to
// the rooms that go by it. It decides nothing.
package caller

import (
	"context"
	"slices"
)

// Kinds of callers.
const (
	Local   = "local"   // no key is configured: whoever reaches the port
	Key     = "key"     // showed the configured key
	Session = "session" // a browser that was given a session by a launch link
	Token   = "token"   // a guest of one room, by a room token
)

// Scopes of a room token.
const (
	Read     = "read"
	Write    = "write"
	Terminal = "terminal" // type into the room's terminal
)

// Caller is who calls. The zero one is this program itself.
type Caller struct {
	Kind string
	ID   string // of the room token or browser session; empty for other kinds

	// The rest is of a room token.
	Room      string // id of the only room that it may enter
	Handle    string // who it is there, as "@name"
	TokenKind string // cli, mcp or web
	Scopes    []string
}

// Scoped says whether the caller is confined to one room.
func (c Caller) Scoped() bool { return c.Kind == Token }

// Has says whether a room token has a scope.
func (c Caller) Has(scope string) bool { return slices.Contains(c.Scopes, scope) }

// As is under whose name the caller acts: a guest's own, whatever is asserted.
func (c Caller) As(asserted string) string {
	if c.Scoped() {
		return c.Handle
	}
	return asserted
}

type contextKey struct{}

// With returns a context of calls of c.
func With(ctx context.Context, c Caller) context.Context { return WithShared(ctx, &c) }

// WithShared is With for a Caller that is never changed again.
func WithShared(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From is who calls; the zero Caller if nobody does.
func From(ctx context.Context) Caller {
	if c, ok := ctx.Value(contextKey{}).(*Caller); ok {
		return *c
	}
	return Caller{}
}
