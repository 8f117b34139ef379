package mcp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const hopsMax = 5 // redirects that are followed

// overHTTP is the transport to a server at an address. Its requests end with
// life, carry the entry's headers, and reach no other origin.
func (e *Engine) overHTTP(life context.Context, entry entry) sdk.Transport {
	client := e.others
	if ownDoor(entry) {
		client = e.itself
	}
	carry := &carrier{base: client.Transport, life: life, headers: entry.headers}
	return &sdk.StreamableClientTransport{Endpoint: entry.url.String(), MaxEventSize: messageMax, HTTPClient: &http.Client{
		Transport: carry,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			from := via[0].URL
			if client == e.itself || len(via) > hopsMax || r.URL.Scheme != from.Scheme || r.URL.Host != from.Host {
				return http.ErrUseLastResponse
			}
			return nil
		}}}
}

// ownDoor says whether an entry may mean this server itself: its door for such
// clients, and with a key. Without that a turn could begin another without end
// by mistake.
func ownDoor(e entry) bool {
	for name := range e.headers {
		switch http.CanonicalHeaderKey(name) {
		case "Authorization", "X-Api-Key":
			return strings.HasSuffix(strings.TrimSuffix(e.url.Path, "/"), "/mcp")
		}
	}
	return false
}

// carrier sends the requests of one connection.
type carrier struct {
	base    http.RoundTripper
	life    context.Context
	headers map[string]string
}

// RoundTrip implements http.RoundTripper.
func (c *carrier) RoundTrip(q *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(q.Context())
	stop := context.AfterFunc(c.life, cancel)
	free := func() { stop(); cancel() }
	own := q.Clone(ctx)
	for name, value := range c.headers {
		own.Header.Set(name, value)
	}
	r, err := c.base.RoundTrip(own)
	if err != nil {
		free()
		return nil, err
	}
	left := int64(messageMax)
	if r.StatusCode < 300 && strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "text/event-stream") {
		left = -1 // each event is bounded by its reader
	}
	r.Body = &body{ReadCloser: r.Body, left: left, free: free}
	return r, nil
}

var errLong = errors.New("its answer is too long")

// body is that of an answer, bounded unless left is negative.
type body struct {
	io.ReadCloser
	left int64
	free func()
}

func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return b.ReadCloser.Read(p)
	}
	if b.left == 0 {
		return 0, errLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (b *body) Close() error {
	defer b.free()
	return b.ReadCloser.Close()
}
