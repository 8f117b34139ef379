package probe

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kinds of model servers that run on one's own machine.
const (
	Ollama   = "ollama"
	LMStudio = "lmstudio"
)

const (
	defaultPatience = 500 * time.Millisecond
	fresh           = 3 * time.Second // how long a look holds
)

// Server is a model server of this machine that answers.
type Server struct {
	Kind   string // Ollama or LMStudio
	Label  string
	Root   string   // of its OpenAI-shaped API, as http://127.0.0.1:11434/v1
	Models []string // in the server's order
}

// FinderOptions make a Finder.
type FinderOptions struct {
	// Getenv reads where to look: ANTON_OLLAMA_URL, else OLLAMA_HOST in any of
	// the forms that Ollama takes, else 127.0.0.1:11434; ANTON_LMSTUDIO_URL,
	// else 127.0.0.1:1234. A URL of "off" keeps it from looking.
	Getenv   func(string) (string, bool)
	Prober   *Prober
	Patience time.Duration    // how long a look may take; 0: half a second
	Now      func() time.Time // nil: time.Now
}

// Finder looks for model servers of this machine when somebody wants to know,
// and remembers what it saw. Safe for concurrent use.
type Finder struct {
	prober   *Prober
	patience time.Duration
	now      func() time.Time
	places   []Server // without models

	mu      sync.Mutex
	looking chan struct{} // closed when the look under way is over; nil: none is
	at      time.Time     // of the last look
	found   []Server
	seen    map[string]Server // by kind: as it was when it last answered
}

// NewFinder makes one; nothing is asked yet.
func NewFinder(o FinderOptions) *Finder {
	f := &Finder{prober: o.Prober, patience: o.Patience, now: o.Now, seen: map[string]Server{}}
	if f.patience <= 0 {
		f.patience = defaultPatience
	}
	if f.now == nil {
		f.now = time.Now
	}
	get := func(name string) string {
		v, _ := o.Getenv(name)
		return strings.TrimSpace(v)
	}
	ollama := get("ANTON_OLLAMA_URL")
	if ollama == "" {
		ollama = ollamaHost(get("OLLAMA_HOST"))
	}
	f.place(Ollama, "Ollama", ollama)
	studio := get("ANTON_LMSTUDIO_URL")
	if studio == "" {
		studio = "http://127.0.0.1:1234"
	}
	f.place(LMStudio, "LM Studio", studio)
	return f
}

// place adds an address to look at, with or without /v1; what is no http URL is
// left out.
func (f *Finder) place(kind, label, address string) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return
	}
	root := u.Scheme + "://" + u.Host + strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1") + "/v1"
	f.places = append(f.places, Server{Kind: kind, Label: label, Root: root})
}

// ollamaHost reads OLLAMA_HOST: [scheme://]host[:port][/path], all but one part
// optional. The address that a server listens on everywhere is dialled here.
func ollamaHost(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	port := map[string]string{"http": "80", "https": "443"}[scheme]
	if !ok {
		scheme, rest, port = "http", s, "11434"
	}
	rest, path, _ := strings.Cut(rest, "/")
	host, given, err := net.SplitHostPort(rest)
	if err != nil {
		host, given = strings.Trim(rest, "[]"), ""
	}
	if given != "" {
		port = given
	}
	switch host {
	case "", "0.0.0.0", "::":
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/" + path
}

// Root is where a kind of server is looked for; empty if it is not.
func (f *Finder) Root(kind string) string {
	for _, s := range f.places {
		if s.Kind == kind {
			return s.Root
		}
	}
	return ""
}

// Servers returns those that answer, in a fixed order. A look that is a few
// seconds old holds; else it blocks for a new one, no longer than a look may
// take, and for less if ctx ends.
func (f *Finder) Servers(ctx context.Context) []Server {
	for {
		f.mu.Lock()
		if !f.at.IsZero() && f.now().Sub(f.at) < fresh || ctx.Err() != nil {
			defer f.mu.Unlock()
			return slices.Clone(f.found)
		}
		under := f.looking
		if under == nil {
			f.looking = make(chan struct{})
		}
		f.mu.Unlock()
		if under == nil {
			f.look(ctx)
			continue
		}
		select {
		case <-under:
		case <-ctx.Done():
		}
	}
}

// look asks all places at once.
func (f *Finder) look(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	models, answers := make([][]string, len(f.places)), make([]bool, len(f.places))
	var wg sync.WaitGroup
	for i, s := range f.places {
		wg.Go(func() {
			var err error
			models[i], err = f.prober.local(bounded, s)
			answers[i] = err == nil
		})
	}
	wg.Wait()

	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.looking)
	f.looking = nil
	if ctx.Err() != nil {
		return // it was broken off, and tells nothing
	}
	f.at, f.found = f.now(), nil
	for i, s := range f.places {
		if s.Models = models[i]; answers[i] {
			f.found = append(f.found, s)
			f.seen[s.Kind] = s
		}
	}
}

// local lists the models of a server on this machine. Anything may listen at a
// port: what does not answer in the one right shape is not taken for a model server.
func (p *Prober) local(ctx context.Context, s Server) ([]string, error) {
	url := s.Root + "/models"
	if s.Kind == Ollama {
		url = strings.TrimSuffix(s.Root, "/v1") + "/api/tags"
	}
	body, err := p.get(ctx, Target{}, url)
	if err != nil {
		return nil, err
	}
	var answer struct{ Models, Data []model }
	err = json.Unmarshal(body, &answer)
	list := answer.Data
	if s.Kind == Ollama {
		list = answer.Models
	}
	if err != nil || list == nil {
		return nil, noAPI(0)
	}
	return names(list), nil
}

// Offered finds the server and model that a name like "ollama/llama3" means. A
// model once offered stays so when its server stops: whoever asks for it is to
// hear that it does not answer. Only a name with such a beginning that was never
// offered is worth a look, and may block as Servers does.
func (f *Finder) Offered(ctx context.Context, name string) (s Server, model string, ok bool) {
	kind, model, _ := strings.Cut(name, "/")
	if model == "" || f.Root(kind) == "" {
		return Server{}, "", false
	}
	if s, model, ok = f.remembered(kind, model); !ok {
		f.Servers(ctx)
		s, model, ok = f.remembered(kind, strings.TrimPrefix(name, kind+"/"))
	}
	return s, model, ok
}

func (f *Finder) remembered(kind, model string) (Server, string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.seen[kind]
	if !ok {
		return Server{}, "", false
	}
	for _, name := range []string{model, model + ":latest"} { // Ollama's own default
		if slices.Contains(s.Models, name) {
			return s, name, true
		}
	}
	return Server{}, "", false
}
