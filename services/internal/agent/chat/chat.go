// Package chat speaks OpenAI's chat completions to any server that does, such
// as OpenAI itself, a gateway, or a model on this machine.
//
// Rooms enter through New. The package holds no state between calls; what it
// shares with the other providers is in package wire.
package chat

import (
	"context"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
)

// Options of a Provider.
type Options = wire.Options

// Provider is one server with one key. Safe for concurrent use.
type Provider struct{ server *wire.Server }

var _ agent.Provider = (*Provider)(nil)

// New makes no connection; it fails only if BaseURL is not an http(s) URL.
func New(o Options) (*Provider, error) {
	// The SDK's client is not used: it reads OPENAI_* variables, which are not ours
	// to send anywhere, follows redirects with the key, and sends what it knows of this machine.
	server, err := wire.New(o, wire.API{Name: "chat completions", Path: "chat/completions", Key: wire.Bearer})
	if err != nil {
		return nil, err
	}
	return &Provider{server}, nil
}

// Stream calls the model. See agent.Provider.
func (p *Provider) Stream(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	a := newAnswer(req, emit)
	d := &dialect{oldMaxTokens: p.server.Host() != "api.openai.com"}
	err := p.server.Stream(ctx, wire.Call{
		Model: req.Model, Answer: a, Concessions: d.concessions(req),
		Body: func() ([]byte, error) { return body(req, d) },
	})
	return a.completion(), err
}
