// Package wire is what the providers that speak HTTP and server-sent events
// have in common: the call, its patience, the events of the answer, and what a
// failure means.
//
// Providers enter through New. The package remembers nothing of a call but the
// parameters that a server refused, repeats nothing but such a request, and never lets a provider's own words, or the key, into a message for people.
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"anthill/services/internal/agent"
	"anthill/services/internal/dial"

	"github.com/tidwall/gjson"
)

const (
	defaultPatience = 120 * time.Second
	maxErrorBody    = 64 << 10
	maxJSONAnswer   = 32 << 20
)

// Options of a provider.
type Options struct {
	BaseURL    string        // with or without the trailing /v1
	APIKey     string        // "" sends none
	HTTPClient *http.Client  // nil is a client of our own; its Timeout should be 0
	FirstByte  time.Duration // from the request to the first byte of the answer; 0 is 120 s
	Idle       time.Duration // between two bytes of it; 0 is 120 s
}

// API is what tells one kind of server from another.
type API struct {
	Name   string                          // for people: "nothing at this address answers …"
	Path   string                          // of the call, behind the versioned base URL
	Header http.Header                     // sent with every call; may be nil
	Key    func(h http.Header, key string) // puts the key into a request
}

// Bearer is the usual place of a key.
func Bearer(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

// Server is one server with one key. Safe for concurrent use.
type Server struct {
	api             API
	url             *url.URL
	key             string
	client          *http.Client
	firstByte, idle time.Duration
	lessons         lessons
}

// New makes no connection; it fails only if BaseURL is not an http(s) URL.
func New(o Options, api API) (*Server, error) {
	base, err := baseURL(o.BaseURL)
	if err != nil {
		return nil, err
	}
	s := &Server{
		api: api, url: base.JoinPath(api.Path), key: strings.TrimSpace(o.APIKey), client: follow(o.HTTPClient),
		firstByte: o.FirstByte, idle: o.Idle,
	}
	if s.firstByte <= 0 {
		s.firstByte = defaultPatience
	}
	if s.idle <= 0 {
		s.idle = defaultPatience
	}
	return s, nil
}

// Host is the name of the server, without a port.
func (s *Server) Host() string { return s.url.Hostname() }

// Call is one question to a server.
type Call struct {
	Model       string
	Body        func() ([]byte, error) // the request; asked for again after a concession
	Concessions Concessions            // what Body can be changed by
	Answer      Answer
}

// Answer takes in what a server says. Its errors end the call: a *Failure for
// what the provider reports or for nonsense, or one of a Draft's.
type Answer interface {
	Event(Event) error
	// Whole is the answer of a server that does not stream: an object without an error.
	Whole(gjson.Result) error
	// Finished says that the answer is whole: what may follow is not part of it.
	Finished() bool
	// Done says that nothing follows.
	Done() bool
}

// Stream makes a call and blocks until its answer is complete. The error is an
// *agent.Error, or what Draft's emit returned, as it is.
func (s *Server) Stream(ctx context.Context, c Call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatch(cancel, s.firstByte, s.idle)
	defer w.stop()

	res, err := s.post(ctx, c)
	if err != nil {
		return s.explain(ctx, c.Model, err)
	}
	defer res.Body.Close()
	w.body = res.Body
	switch media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); {
	case err == nil && media == "application/json":
		return s.explain(ctx, c.Model, readWhole(w, c.Answer))
	case err == nil && media == "text/html":
		return s.explain(ctx, c.Model, &Failure{Status: http.StatusNotFound, Text: "the answer is a web page"})
	}
	begun, err := read(w, c.Answer)
	err = s.explain(ctx, c.Model, settle(err, context.Cause(ctx), begun, c.Answer.Finished()))
	if c.Answer.Done() {
		w.linger()
	}
	return err
}

// post sends the request, leaving out what the server says it does not know.
func (s *Server) post(ctx context.Context, c Call) (*http.Response, error) {
	var learned []string
	s.lessons.apply(c.Model, &c.Concessions)
	for {
		body, err := c.Body()
		if err != nil {
			return nil, requestError{err}
		}
		res, err := s.send(ctx, body)
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 200 && res.StatusCode < 300 {
			s.lessons.learn(c.Model, learned)
			return res, nil
		}
		f := readFailure(res)
		if f.Status != http.StatusBadRequest && f.Status != http.StatusUnprocessableEntity {
			return nil, f
		}
		name, again := c.Concessions.adapt(f)
		if !again {
			return nil, f
		}
		if name != "" {
			learned = append(learned, name)
		}
	}
}

func (s *Server) send(ctx context.Context, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range s.api.Header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream, application/json")
	req.Header.Set("User-Agent", "anthill")
	if s.key != "" {
		s.api.Key(req.Header, s.key)
	}
	return s.client.Do(req)
}

// readWhole takes the answer of a server that does not stream.
func readWhole(body io.Reader, a Answer) error {
	data, err := io.ReadAll(io.LimitReader(body, maxJSONAnswer))
	if err != nil {
		return err
	}
	if !json.Valid(data) {
		return &Failure{Text: "the answer is not JSON"}
	}
	obj := gjson.ParseBytes(data)
	if e := obj.Get("error"); e.Exists() && e.Type != gjson.Null {
		return ParseFailure(data)
	}
	return a.Whole(obj)
}

// settle decides what a broken connection is: nothing to speak of once the
// answer is whole, a cut inside of it, and a failed call before it.
func settle(err, cause error, begun, finished bool) error {
	if _, broken := errors.AsType[brokenError](err); !broken {
		return err
	}
	switch {
	case finished && (cause == nil || errors.Is(cause, errStalled)):
		return nil
	case cause == nil && (begun || errors.Is(err, io.ErrUnexpectedEOF)):
		return nil
	}
	return err
}

// requestError is a request that could not be put together.
type requestError struct{ error }

func (e requestError) Unwrap() error { return e.error }

// explain turns whatever ended a call into an *agent.Error, or nil.
func (s *Server) explain(ctx context.Context, model string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[emitError](err); ok {
		return e.error
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, errStalled) {
		return agent.NewError(agent.Error{Code: agent.CodeTimeout}, cause, s.key)
	}
	if cause != nil {
		return agent.NewError(agent.Error{}, cause, s.key)
	}
	if e, ok := errors.AsType[*agent.Error](err); ok {
		return e
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		e := f.classify(s.api.Name)
		e.Model = model
		return agent.NewError(e, f, s.key)
	}
	if e, ok := errors.AsType[requestError](err); ok {
		return agent.NewError(agent.Error{Code: agent.CodeInvalid, Model: model}, e, s.key)
	}
	e := agent.Error{Code: agent.CodeUnreachable}
	if errors.Is(err, dial.ErrRefused) { // by us: asking again can change nothing
		e.Status = http.StatusForbidden
		e.Message = "The model provider's address is not one that this server calls. Check its base URL in the settings."
	}
	return agent.NewError(e, fmt.Errorf("%s: %w", s.api.Name, err), s.key)
}
