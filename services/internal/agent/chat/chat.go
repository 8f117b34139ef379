// Package chat speaks OpenAI's chat completions to any server that does, such
// as OpenAI itself, a gateway, or a model on this machine.
//
// Rooms enter through New. The package holds no state between calls, retries
// nothing but a request that a server refuses for one of our parameters, and
// never lets a provider's own words, or the key, into a message for people.
package chat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"anthill/services/internal/agent"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

const (
	defaultPatience = 120 * time.Second
	lingering       = 20 * time.Millisecond // after the last event, for the body to end
	leftover        = 5 * time.Second       // after the finish reason, for the usage and [DONE]
	maxErrorBody    = 64 << 10
	maxJSONAnswer   = 32 << 20
)

// Options of a Provider.
type Options struct {
	BaseURL    string        // with or without the trailing /v1
	APIKey     string        // "" sends none
	HTTPClient *http.Client  // nil is a client of our own; its Timeout should be 0
	FirstByte  time.Duration // from the request to the first byte of the answer; 0 is 120 s
	Idle       time.Duration // between two bytes of it; 0 is 120 s
}

// Provider is one server with one key. Safe for concurrent use.
type Provider struct {
	client          openai.Client
	key             string
	official        bool // OpenAI's own server
	firstByte, idle time.Duration
}

var _ agent.Provider = (*Provider)(nil)

// New makes no connection; it fails only if BaseURL is not an http(s) URL.
func New(o Options) (*Provider, error) {
	base, err := baseURL(o.BaseURL)
	if err != nil {
		return nil, err
	}
	client := o.HTTPClient
	if client == nil {
		client = &http.Client{Transport: transport()}
	}
	opts := []option.RequestOption{
		option.WithBaseURL(base.String()), option.WithHTTPClient(client), option.WithMaxRetries(0),
		option.WithMiddleware(boundErrors), option.WithHeader("Accept", "text/event-stream, application/json"),
	}
	if o.APIKey != "" {
		opts = append(opts, option.WithAPIKey(o.APIKey))
	}
	p := &Provider{
		// Not openai.NewClient: that one reads OPENAI_* variables, which are not ours to send anywhere.
		client: openai.Client{Options: opts}, key: o.APIKey, official: base.Hostname() == "api.openai.com",
		firstByte: o.FirstByte, idle: o.Idle,
	}
	if p.firstByte <= 0 {
		p.firstByte = defaultPatience
	}
	if p.idle <= 0 {
		p.idle = defaultPatience
	}
	return p, nil
}

var versioned = regexp.MustCompile(`/v\d[^/]*(/|$)`)

// baseURL ends in a slash. /v1 is added unless some version is in the path
// already, since not every server has it at the end.
func baseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("chat: base URL is not an http or https URL") // it may hold a password: not quoted
	}
	u.RawPath, u.RawQuery, u.Fragment = "", "", ""
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/chat/completions")
	if !versioned.MatchString(u.Path) {
		u.Path += "/v1"
	}
	u.Path += "/"
	return u, nil
}

func transport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // a compressor on the way would hold tokens back
	t.MaxIdleConnsPerHost = 64  // turns run side by side, mostly at one host
	t.ReadBufferSize = 32 << 10 // a burst of small chunks in few reads
	return t
}

// boundErrors keeps a hostile server from filling memory: the SDK reads the
// body of an error whole.
func boundErrors(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	res, err := next(req)
	if err == nil && res.StatusCode >= 400 {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxErrorBody), res.Body}
	}
	return res, err
}

// Stream calls the model. See agent.Provider.
func (p *Provider) Stream(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatch(cancel, p.firstByte, p.idle)
	defer watch.stop()

	res, err := p.post(ctx, req)
	if err != nil {
		return agent.Completion{}, p.explain(ctx, req, err)
	}
	watch.body = res.Body
	defer res.Body.Close()

	a := newAnswer(req, emit)
	switch media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); {
	case err == nil && media == "application/json":
		err = a.readJSON(watch)
		return a.completion(), p.explain(ctx, req, err)
	case err == nil && media == "text/html":
		return agent.Completion{}, p.explain(ctx, req, &failure{status: http.StatusNotFound, text: "the answer is a web page"})
	}
	err = p.explain(ctx, req, a.settle(a.readStream(watch), context.Cause(ctx)))
	if a.done {
		watch.linger()
	}
	return a.completion(), err
}

// post sends the request, leaving out what the server says it does not know.
func (p *Provider) post(ctx context.Context, req agent.Request) (*http.Response, error) {
	d := dialect{oldMaxTokens: !p.official}
	for {
		body, err := params(req, d)
		if err != nil {
			return nil, err
		}
		var res *http.Response
		err = p.client.Post(ctx, "chat/completions", body, &res)
		switch {
		case res != nil && res.StatusCode >= 400:
			if f := readFailure(res); !d.adapt(f) {
				return nil, f
			}
		case err != nil:
			return nil, err
		default:
			return res, nil
		}
	}
}

// explain turns whatever ended a call into an *agent.Error, or nil.
func (p *Provider) explain(ctx context.Context, req agent.Request, err error) error {
	cause := context.Cause(ctx)
	var f *failure
	var emitted emitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &emitted):
		return emitted.error
	case errors.Is(cause, errStalled):
		return agent.NewError(agent.Error{Code: agent.CodeTimeout}, cause, p.key)
	case cause != nil:
		return agent.NewError(agent.Error{}, cause, p.key)
	case errors.As(err, &f):
		e := f.classify()
		e.Model = req.Model
		return agent.NewError(e, f, p.key)
	}
	return agent.NewError(agent.Error{Code: agent.CodeUnreachable}, fmt.Errorf("chat: %w", err), p.key)
}
