// Package probe asks model providers whether they answer, with one cheap call
// that costs nothing: the list of their models. It also finds the model servers
// of this machine.
//
// Rooms enter through Prober.Ask and Finder. Nothing that a provider writes gets
// into a Failure, no key leaves for another host than the one it was given for,
// and nothing here is asked behind a turn's back.
package probe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"anthill/services/internal/dial"
)

// API is how a server is asked.
type API int

const (
	OpenAI    API = iota // GET models, with a bearer token if there is a key
	Anthropic            // GET models, with Anthropic's headers
	Minds                // GET minds/: there the key counts; models if there is none
)

// Target is a server and the key to show it.
type Target struct {
	API      API
	Root     string // of the API, version included, as http://localhost:1234/v1
	Key      string // empty: none is sent
	Insecure bool   // do not verify the certificate
}

// Failure says why a server is of no use. Its words are ours alone.
type Failure struct {
	Status int    // HTTP status of the answer; 0: none came
	Brief  string // "HTTP 401", "not reachable"
	Detail string // a sentence: what is wrong, what to do
	cause  error
}

func (f *Failure) Error() string { return f.Detail }

// Unwrap is the technical cause. It may quote the server: never show it.
func (f *Failure) Unwrap() error { return f.cause }

const (
	maxAnswer = 8 << 20
	maxModels = 2000
	maxName   = 200 // bytes
)

// Prober asks servers. Safe for concurrent use; the zero value does not work.
type Prober struct{ verifying, trusting *http.Client }

// New makes no connection. Of what may be asked, p decides.
func New(p dial.Policy) *Prober {
	return &Prober{
		verifying: dial.Client(dial.Options{Policy: p}),
		trusting:  dial.Client(dial.Options{Policy: p, Insecure: true}),
	}
}

// Close lets go of the connections that wait for a next question.
func (p *Prober) Close() {
	p.verifying.CloseIdleConnections()
	p.trusting.CloseIdleConnections()
}

// Ask lists the models of a server, as far as it names any. It blocks until the
// server answers or ctx ends. Its error is a *Failure, or that ctx was cancelled.
func (p *Prober) Ask(ctx context.Context, t Target) ([]string, error) {
	path := "models"
	if t.API == Minds {
		path = "minds/"
	}
	models, err := p.list(ctx, t, path)
	if f, ok := errors.AsType[*Failure](err); ok && t.API == Minds && f.Status == http.StatusNotFound {
		return p.list(ctx, t, "models")
	}
	return models, err
}

func (p *Prober) list(ctx context.Context, t Target, path string) ([]string, error) {
	body, err := p.get(ctx, t, strings.TrimRight(t.Root, "/")+"/"+path)
	if err != nil {
		return nil, err
	}
	models, ok := readModels(body)
	if !ok {
		return nil, noAPI(http.StatusOK)
	}
	return models, nil
}

// get fetches a JSON document.
func (p *Prober) get(ctx context.Context, t Target, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, &Failure{Brief: "bad address", Detail: "The address is not a valid URL.", cause: err}
	}
	req.Header.Set("Accept", "application/json")
	switch {
	case t.API == Anthropic:
		req.Header.Set("Anthropic-Version", "2023-06-01")
		req.Header.Set("X-Api-Key", t.Key)
	case t.Key != "":
		req.Header.Set("Authorization", "Bearer "+t.Key)
	}
	client := p.verifying
	if t.Insecure {
		client = p.trusting
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, unreached(ctx, err)
	}
	defer res.Body.Close() //nolint:errcheck // everything of interest was read
	if res.StatusCode != http.StatusOK {
		return nil, refused(res.StatusCode)
	}
	media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err == nil && media == "text/html" {
		return nil, noAPI(res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, unreached(ctx, err)
	}
	return body, nil
}

// unreached is why no whole answer came.
func unreached(ctx context.Context, err error) error {
	f := &Failure{Brief: "not reachable", Detail: "The provider cannot be reached. Check the base URL and the network.", cause: err}
	var unknown *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil:
		f.Brief, f.Detail = "no answer in time", "The provider did not answer in time."
	case errors.Is(err, dial.ErrRefused):
		f.Brief, f.Detail = "address not allowed", "The address is this server's own, or in a network that no model provider is in, so it is not asked. Check the base URL."
	case errors.As(err, &certificate):
		f.Brief, f.Detail = "certificate not trusted", "The provider's certificate is not trusted. Check the base URL."
	case errors.As(err, &unknown):
		f.Brief, f.Detail = "unknown host", "The host of the base URL is not known. Check its name and the network."
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Brief, f.Detail = "connection refused", "Nothing listens at the provider's address. Is the server running? Check the base URL."
	}
	return f
}

// refused is what a status other than 200 means.
func refused(status int) error {
	f := &Failure{Status: status, Brief: fmt.Sprintf("HTTP %d", status)}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		f.Detail = "The provider refused the API key (%s). Check the key."
	case status == http.StatusPaymentRequired:
		f.Detail = "The account at the provider has no credit left (%s)."
	case status == http.StatusTooManyRequests:
		f.Detail = "The provider limits the rate of requests (%s). Try again in a moment."
	case status >= 500:
		f.Detail = "The provider has trouble at the moment (%s). Try again later."
	case status >= 300 && status < 400:
		f.Detail = "The address only leads on to another one (%s). Enter the final base URL."
	default:
		f.Detail = "Nothing at this address lists models (%s). Check the base URL."
	}
	f.Detail = fmt.Sprintf(f.Detail, f.Brief)
	return f
}

func noAPI(status int) error {
	return &Failure{Status: status, Brief: "not a model API", Detail: "What answers at this address is not the API of a model provider. Check the base URL."}
}

type model struct {
	ID   any `json:"id"`
	Name any `json:"name"`
}

// readModels takes the names out of the shapes in use: a list, or an object
// with the list in data or models. Servers differ in what they say beside 200,
// and a key that was let in is good: so ok is false only if it is neither.
func readModels(body []byte) (models []string, ok bool) {
	var list []model
	if json.Unmarshal(body, &list) == nil {
		return names(list), list != nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return nil, json.Valid(body) && body[0] == '['
	}
	for _, member := range []string{"data", "models"} {
		if json.Unmarshal(object[member], &list) == nil && list != nil {
			return names(list), true
		}
	}
	return nil, object != nil
}

// names leaves out what cannot be a name.
func names(list []model) []string {
	out := []string{}
	for _, m := range list {
		for _, v := range []any{m.ID, m.Name} {
			if name, isText := v.(string); isText && sound(name) && len(out) < maxModels {
				out = append(out, name)
				break
			}
		}
	}
	return out
}

// sound says whether a name can be shown and asked for.
func sound(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) })
}
