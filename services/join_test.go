package services

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"anthill/services/internal/agent"
)

func TestOwnAddresses(t *testing.T) {
	var own ownAddresses
	has := func(a string) bool { return own.has(netip.MustParseAddrPort(a)) }
	if has("127.0.0.1:26866") {
		t.Error("before anything listens")
	}
	own.set([]string{"http://127.0.0.1:26866", "https://[::1]:443", "http://localhost:1", "no URL"})
	for a, want := range map[string]bool{"127.0.0.1:26866": true, "127.0.0.1:26867": false, "127.0.0.2:26866": false, "[::1]:443": true, "[::1]:26866": false} {
		if has(a) != want {
			t.Errorf("%s: %v", a, !want)
		}
	}
	own.set([]string{"http://0.0.0.0:80"})
	for a, want := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "127.0.0.1:81": false, "192.0.2.1:80": false} {
		if has(a) != want {
			t.Errorf("everywhere, %s: %v", a, !want)
		}
	}
}

// scripted answers with what it is told.
type scripted struct {
	text  string
	err   error
	asked int
}

func (s *scripted) Stream(_ context.Context, req agent.Request, _ func(agent.Delta) error) (agent.Completion, error) {
	s.asked++
	return agent.Completion{Text: s.text + req.Model}, s.err
}

// Only a server that has no Responses API is asked by the other.
func TestEitherAPI(t *testing.T) {
	failed := func(code string, status int) error {
		return agent.NewError(agent.Error{Code: code, Status: status}, nil)
	}
	for what, c := range map[string]struct {
		err  error
		text string
		both bool
	}{
		"works":       {nil, "responses m", false},
		"missing":     {failed(agent.CodeUnreachable, 404), "chat m", true},
		"not allowed": {failed(agent.CodeUnreachable, 405), "chat m", true},
		"bad key":     {failed(agent.CodeAuth, 401), "responses m", false},
		"no model":    {failed(agent.CodeUnknownModel, 404), "responses m", false},
		"trouble":     {failed(agent.CodeUnreachable, 503), "responses m", false},
		"broken off":  {context.Canceled, "responses m", false},
	} {
		first, second := &scripted{text: "responses ", err: c.err}, &scripted{text: "chat "}
		p := &eitherAPI{responses: first, chat: second}
		for range 2 {
			got, err := p.Stream(t.Context(), agent.Request{Model: "m"}, nil)
			if got.Text != c.text || c.both != (err == nil && c.err != nil) || !c.both && !errors.Is(err, c.err) {
				t.Errorf("%s: %q %v", what, got.Text, err)
			}
		}
		if want := map[bool]int{true: 1, false: 2}[c.both]; first.asked != want {
			t.Errorf("%s: asked for responses %d times", what, first.asked)
		}
	}
}
