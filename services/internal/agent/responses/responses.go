// Package responses speaks OpenAI's Responses API to any server that does.
//
// Rooms enter through New, and turn to chat completions where Unknown says that
// a server has no such thing. The package holds no state between calls and
// leaves none with the provider; what it shares with the other providers is in
// package wire.
package responses

import (
	"context"
	"errors"
	"net/http"

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
	// The SDK's client is not used, for the reasons that package chat has.
	server, err := wire.New(o, wire.API{Name: "the Responses API", Path: "responses", Key: wire.Bearer})
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

// Unknown says that a call failed because the server does not have the Responses
// API at all. Chat completions may well work there.
func Unknown(err error) bool {
	e, ok := errors.AsType[*agent.Error](err)
	if !ok || e.Code != agent.CodeUnreachable {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}
