// Package anthropic speaks Anthropic's Messages API to any server that does.
//
// Rooms enter through New. The package holds no state between calls; what it
// shares with the other providers is in package wire.
package anthropic

import (
	"context"
	"net/http"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
)

// version of the API, which every call names.
const version = "2023-06-01"

// Options of a Provider.
type Options = wire.Options

// Provider is one server with one key. Safe for concurrent use.
type Provider struct{ server *wire.Server }

var _ agent.Provider = (*Provider)(nil)

// New makes no connection; it fails only if BaseURL is not an http(s) URL.
func New(o Options) (*Provider, error) {
	// The SDK's client is not used: it reads ANTHROPIC_* variables and profiles,
	// which are not ours to send anywhere, and writes to the standard error.
	server, err := wire.New(o, wire.API{
		Name: "Anthropic's Messages API", Path: "messages", Header: http.Header{"Anthropic-Version": {version}},
		Key: func(h http.Header, key string) { h.Set("X-Api-Key", key) },
	})
	if err != nil {
		return nil, err
	}
	return &Provider{server}, nil
}

// Stream calls the model. See agent.Provider.
func (p *Provider) Stream(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	a := newAnswer(req, emit)
	d := &dialect{}
	err := p.server.Stream(ctx, wire.Call{
		Model: req.Model, Answer: a, Concessions: d.concessions(req),
		Body: func() ([]byte, error) { return body(req, d) },
	})
	return a.completion(), err
}
