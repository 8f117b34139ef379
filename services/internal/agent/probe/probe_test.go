package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"anthill/services/internal/dial"
)

const canary = "sk-CANARY-probe-0123456789"

// provider plays a server; it notes the last request.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	path   string
	header http.Header
}

func play(t *testing.T, h http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.path, p.header = r.URL.Path, r.Header.Clone()
		p.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if _, err := io.WriteString(w, body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

func ask(t *testing.T, target Target) ([]string, error) {
	t.Helper()
	p := New(dial.Policy{Private: true})
	t.Cleanup(p.Close)
	return p.Ask(t.Context(), target)
}

func failure(t *testing.T, err error) *Failure {
	t.Helper()
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		t.Fatalf("%v (%T), want a failure", err, err)
	}
	return f
}

func TestAskShowsTheKeyAsTheServerWantsIt(t *testing.T) {
	p := play(t, says(200, `{"object":"list","data":[{"id":"a"},{"id":"b"}]}`))
	for _, c := range []struct {
		target        Target
		path          string
		authorization string
		key           string
	}{
		{Target{Root: p.URL + "/v1", Key: canary}, "/v1/models", "Bearer " + canary, ""},
		{Target{Root: p.URL + "/v1/"}, "/v1/models", "", ""},
		{Target{API: Anthropic, Root: p.URL + "/v1", Key: canary}, "/v1/models", "", canary},
		{Target{API: Minds, Root: p.URL + "/api/v1", Key: canary}, "/api/v1/minds/", "Bearer " + canary, ""},
	} {
		models, err := ask(t, c.target)
		if err != nil || !slices.Equal(models, []string{"a", "b"}) {
			t.Errorf("%+v: %v %v", c.target, models, err)
		}
		if p.path != c.path || p.header.Get("Authorization") != c.authorization || p.header.Get("X-Api-Key") != c.key ||
			(p.header.Get("Anthropic-Version") != "") != (c.target.API == Anthropic) {
			t.Errorf("%+v: asked %s with %v", c.target, p.path, p.header)
		}
	}
}

func TestAskReadsEveryShape(t *testing.T) {
	for body, want := range map[string][]string{
		`{"data":[{"id":"a"}]}`:                         {"a"},
		`{"models":[{"name":"a:latest"},{"name":"b"}]}`: {"a:latest", "b"},
		`[{"id":"a"},{"name":"b"}]`:                     {"a", "b"},
		`[]`:                                            {},
		`["a"]`:                                         {},
		`{}`:                                            {},
		`{"data":"?"}`:                                  {},
		`{"data":[{"id":1},{"id":null},{"id":"x\u0000"},{"id":"\u202e"},{"id":"ok"}]}`: {"ok"},
		`{"data":[{"id":"` + strings.Repeat("x", 300) + `"}]}`:                         {},
	} {
		models, err := ask(t, Target{Root: play(t, says(200, body)).URL})
		if err != nil || !slices.Equal(models, want) {
			t.Errorf("%.80s: %q %v, want %q", body, models, err, want)
		}
	}
	many := `{"data":[` + strings.Repeat(`{"id":"m"},`, maxModels+10) + `{"id":"m"}]}`
	if models, err := ask(t, Target{Root: play(t, says(200, many)).URL}); err != nil || len(models) != maxModels {
		t.Errorf("%d models %v", len(models), err)
	}
}

// A failure is told in our words: what the server says stays there.
func TestAskFailures(t *testing.T) {
	quoting := `{"error":{"message":"` + canary + ` is not welcome"}}`
	for _, c := range []struct {
		what   string
		answer http.HandlerFunc
		status int
		brief  string
		detail string
	}{
		{"401", says(401, quoting), 401, "HTTP 401", "refused the API key"},
		{"403", says(403, quoting), 403, "HTTP 403", "refused the API key"},
		{"402", says(402, quoting), 402, "HTTP 402", "credit"},
		{"404", says(404, quoting), 404, "HTTP 404", "Nothing at this address"},
		{"429", says(429, quoting), 429, "HTTP 429", "rate of requests"},
		{"500", says(500, quoting), 500, "HTTP 500", "trouble"},
		{"418", says(418, quoting), 418, "HTTP 418", "Nothing at this address"},
		{"no content", says(204, ""), 204, "HTTP 204", ""},
		{"text", says(200, canary), 200, "not a model API", ""},
		{"null", says(200, `null`), 200, "not a model API", ""},
		{"number", says(200, `7`), 200, "not a model API", ""},
		{"cut", says(200, `{"data":[{"id":"a"}`), 200, "not a model API", ""},
		{"page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "{}")
		}, 200, "not a model API", ""},
		{"broken off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, "not reachable", ""},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprint(c, canary+"\r\n\r\n")
				c.Close()
			}
		}, 0, "not reachable", ""},
	} {
		_, err := ask(t, Target{Root: play(t, c.answer).URL, Key: canary})
		f := failure(t, err)
		if f.Status != c.status || f.Brief != c.brief || !strings.Contains(f.Detail, c.detail) {
			t.Errorf("%s: %+v", c.what, f)
		}
		if strings.Contains(f.Error()+f.Brief+f.Detail, "CANARY") || strings.Contains(f.Detail, "%") || strings.Contains(f.Detail, "127.0.0.1") {
			t.Errorf("%s: says %q", c.what, f)
		}
	}
}

func TestAskUnreachable(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	secure := httptest.NewUnstartedServer(says(200, `{"data":[]}`))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	for root, brief := range map[string]string{
		dead.URL:                    "connection refused",
		secure.URL:                  "certificate not trusted",
		"http://169.254.169.254/v1": "address not allowed",
		"http://[::ffff:a9fe:a9fe]": "address not allowed",
		"http://0.0.0.0:1/v1":       "address not allowed",
		"http://model.invalid/v1":   "unknown host",
		"http://bad host":           "bad address",
		"gopher://127.0.0.1/":       "not reachable",
	} {
		_, err := ask(t, Target{Root: root, Key: canary})
		if f := failure(t, err); f.Brief != brief || f.Status != 0 {
			t.Errorf("%s: %+v", root, f)
		}
	}
	if _, err := ask(t, Target{Root: secure.URL, Insecure: true}); err != nil {
		t.Errorf("certificate not to be verified: %v", err)
	}
}

func TestAskGivesUp(t *testing.T) {
	stop := make(chan struct{})
	p := play(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	defer close(stop)
	prober := New(dial.Policy{Private: true})
	defer prober.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := prober.Ask(ctx, Target{Root: p.URL})
	if f := failure(t, err); f.Brief != "no answer in time" {
		t.Errorf("%+v", f)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := prober.Ask(ctx, Target{Root: p.URL}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAskFollowsNoRedirect(t *testing.T) {
	there := play(t, says(200, `{"data":[]}`))
	here := play(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, there.URL, http.StatusFound) })
	for _, api := range []API{OpenAI, Anthropic, Minds} {
		_, err := ask(t, Target{API: api, Root: here.URL, Key: canary})
		if f := failure(t, err); f.Status != http.StatusFound || !strings.Contains(f.Detail, "leads on") {
			t.Errorf("%+v", f)
		}
	}
	if there.path != "" {
		t.Error("the redirect was followed")
	}
}

// A MindsHub without the page of its own is asked as any other.
func TestAskMindsFallsBack(t *testing.T) {
	p := play(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/minds/") {
			says(404, `{}`)(w, r)
			return
		}
		says(200, `{"data":[{"id":"latest:sonnet"}]}`)(w, r)
	})
	models, err := ask(t, Target{API: Minds, Root: p.URL + "/api/v1", Key: "k"})
	if err != nil || !slices.Equal(models, []string{"latest:sonnet"}) || p.path != "/api/v1/models" {
		t.Errorf("%v %v at %s", models, err, p.path)
	}
	p = play(t, says(401, `{}`))
	if _, err := ask(t, Target{API: Minds, Root: p.URL, Key: "k"}); failure(t, err).Status != 401 || p.path != "/minds/" {
		t.Errorf("%v at %s", err, p.path)
	}
}
