package probe

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anthill/services/internal/dial"
)

// machine is a finder with a clock and addresses of its own.
type machine struct {
	*Finder
	mu  sync.Mutex
	now time.Time
}

func (m *machine) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

func look(t *testing.T, env map[string]string) *machine {
	t.Helper()
	m := &machine{now: time.Unix(1, 0)}
	p := New(dial.Policy{Private: true})
	t.Cleanup(p.Close)
	m.Finder = NewFinder(FinderOptions{Prober: p, Patience: time.Minute,
		Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Now: func() time.Time {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.now
		}})
	return m
}

func TestWhereToLook(t *testing.T) {
	for _, c := range []struct{ url, host, want string }{
		{"", "", "http://127.0.0.1:11434/v1"},
		{"", "0.0.0.0", "http://127.0.0.1:11434/v1"},
		{"", "0.0.0.0:5000", "http://127.0.0.1:5000/v1"},
		{"", ":5000", "http://127.0.0.1:5000/v1"},
		{"", "gpu.lan", "http://gpu.lan:11434/v1"},
		{"", "gpu.lan:80", "http://gpu.lan:80/v1"},
		{"", "http://gpu.lan", "http://gpu.lan:80/v1"},
		{"", "https://gpu.lan/", "https://gpu.lan:443/v1"},
		{"", "https://gpu.lan:8443/ollama", "https://gpu.lan:8443/ollama/v1"},
		{"", "[::1]:11434", "http://[::1]:11434/v1"},
		{"", "::", "http://127.0.0.1:11434/v1"},
		{"http://x:1", "gpu.lan", "http://x:1/v1"},
		{" http://x:1/v1/ ", "", "http://x:1/v1"},
		{"off", "gpu.lan", ""},
		{"file:///etc/passwd", "", ""},
		{"http://user:secret@x", "", ""},
		{"http://", "", ""},
	} {
		m := look(t, map[string]string{"ANTON_OLLAMA_URL": c.url, "OLLAMA_HOST": c.host})
		if got := m.Root(Ollama); got != c.want {
			t.Errorf("ANTON_OLLAMA_URL=%q OLLAMA_HOST=%q: %q, want %q", c.url, c.host, got, c.want)
		}
	}
	if got := look(t, nil).Root(LMStudio); got != "http://127.0.0.1:1234/v1" {
		t.Errorf("LM Studio: %q", got)
	}
}

func TestServersAreFound(t *testing.T) {
	ollama := play(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/tags" {
			t.Errorf("Ollama is asked for %s", r.URL.Path)
		}
		says(200, `{"models":[{"name":"llama3:latest"},{"name":"qwen3:8b"}]}`)(w, r)
	})
	studio := play(t, says(200, `{"object":"list","data":[{"id":"org/model"}]}`))
	m := look(t, map[string]string{"ANTON_OLLAMA_URL": ollama.URL, "ANTON_LMSTUDIO_URL": studio.URL})
	want := fmt.Sprint([]Server{{Ollama, "Ollama", ollama.URL + "/v1", []string{"llama3:latest", "qwen3:8b"}},
		{LMStudio, "LM Studio", studio.URL + "/v1", []string{"org/model"}}})
	if got := fmt.Sprint(m.Servers(t.Context())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, model := range map[string]string{"ollama/llama3": "llama3:latest", "ollama/llama3:latest": "llama3:latest",
		"ollama/qwen3:8b": "qwen3:8b", "lmstudio/org/model": "org/model"} {
		if _, got, ok := m.Offered(t.Context(), name); !ok || got != model {
			t.Errorf("%s: %q %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "ollama", "ollama/", "llama3", "llama3:latest", "ollama/qwen3", "ollama/org/model", "lmstudio/llama3",
		"lmstudio/lmstudio/org/model", "openai/llama3:latest", "/llama3"} {
		if s, got, ok := m.Offered(t.Context(), name); ok {
			t.Errorf("%q leads to %q at %v", name, got, s)
		}
	}
}

// What listens at the port by chance is not taken for a model server.
func TestOtherServersAreNot(t *testing.T) {
	for _, body := range []string{`{}`, `[]`, `{"models":"x"}`, `{"data":null}`, `hello`, `{"error":"x"}`} {
		p := play(t, says(200, body))
		m := look(t, map[string]string{"ANTON_OLLAMA_URL": p.URL, "ANTON_LMSTUDIO_URL": p.URL})
		if got := m.Servers(t.Context()); len(got) != 0 {
			t.Errorf("%s: %v", body, got)
		}
	}
	p := play(t, says(401, `{"models":[],"data":[]}`))
	if got := look(t, map[string]string{"ANTON_OLLAMA_URL": p.URL, "ANTON_LMSTUDIO_URL": "off"}).Servers(t.Context()); len(got) != 0 {
		t.Errorf("401: %v", got)
	}
	empty := play(t, says(200, `{"models":[]}`))
	got := look(t, map[string]string{"ANTON_OLLAMA_URL": empty.URL, "ANTON_LMSTUDIO_URL": "off"}).Servers(t.Context())
	if len(got) != 1 || len(got[0].Models) != 0 {
		t.Errorf("without models: %v", got)
	}
}

func TestLooksAreShared(t *testing.T) {
	var asked atomic.Int32
	arrived, goOn := make(chan struct{}, 10), make(chan struct{})
	p := play(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		arrived <- struct{}{}
		<-goOn
		says(200, `{"models":[{"name":"m"}]}`)(w, r)
	})
	m := look(t, map[string]string{"ANTON_OLLAMA_URL": p.URL, "ANTON_LMSTUDIO_URL": "off"})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := m.Servers(t.Context()); len(got) != 1 {
				t.Errorf("%v", got)
			}
		})
	}
	<-arrived
	close(goOn)
	wg.Wait()
	m.Servers(t.Context())
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	m.pass(fresh)
	m.Servers(t.Context())
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times after a while", n)
	}
}

// Who gives up a look does not decide what the next one hears.
func TestBrokenLookTellsNothing(t *testing.T) {
	arrived := make(chan struct{}, 1)
	var broken atomic.Bool
	broken.Store(true)
	p := play(t, func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			arrived <- struct{}{}
			<-r.Context().Done()
			return
		}
		says(200, `{"models":[{"name":"m"}]}`)(w, r)
	})
	m := look(t, map[string]string{"ANTON_OLLAMA_URL": p.URL, "ANTON_LMSTUDIO_URL": "off"})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if got := m.Servers(ctx); len(got) != 0 {
		t.Errorf("%v", got)
	}
	broken.Store(false)
	if got := m.Servers(t.Context()); len(got) != 1 {
		t.Errorf("after it: %v", got)
	}
}

func TestOfferedOutlivesTheServer(t *testing.T) {
	p := play(t, says(200, `{"models":[{"name":"m"}]}`))
	m := look(t, map[string]string{"ANTON_OLLAMA_URL": p.URL, "ANTON_LMSTUDIO_URL": "off"})
	if _, _, ok := m.Offered(t.Context(), "ollama/m"); !ok { // looks by itself
		t.Fatal("not offered")
	}
	p.Close()
	m.pass(fresh)
	if got := m.Servers(t.Context()); len(got) != 0 {
		t.Errorf("a dead server is listed: %v", got)
	}
	if _, _, ok := m.Offered(t.Context(), "ollama/m"); !ok {
		t.Error("what was offered is forgotten")
	}
}
