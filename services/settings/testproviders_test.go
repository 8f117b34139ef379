package settings

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/store"
)

func (h *house) test(body string) *antonv1.TestProvidersResponse {
	h.t.Helper()
	resp, err := h.TestProviders(h.t.Context(), decode(h.t, body, &antonv1.TestProvidersRequest{}))
	if err != nil {
		h.t.Fatalf("%s: %v", body, err)
	}
	if len(resp.ProviderStatus) != len(resp.ProviderStatusDetails) {
		h.t.Errorf("%s: %v", body, resp)
	}
	return resp
}

func TestTestProviders(t *testing.T) {
	good, other := newMaker(t, secret), newMaker(t, secret)
	dead := httptest.NewServer(nil)
	dead.Close()
	h := open(t, "", nil)
	h.put(`{"providers":[
		{"type":"openai","apiKey":"` + secret + `","baseUrl":"` + good.URL + `","isDefault":true},
		{"type":"anthropic","apiKey":"wrong","baseUrl":"` + good.URL + `"},
		{"type":"openai-compatible","baseUrl":"` + dead.URL + `"},
		{"type":"gemini","apiKey":""},
		{"type":"minds-cloud","apiKey":"` + secret + `","mindsUrl":"` + other.URL + `"},
		{"type":"offline"}]}`)
	want := map[string][2]string{"openai": {"ok", "HTTP 200"}, "anthropic": {"fail", "HTTP 401"}, "openai-compatible": {"fail", "connection refused"},
		"gemini": {"fail", "missing API key"}, "minds-cloud": {"ok", "HTTP 200"}, "offline": {"ok", "built in"}}
	check := func(resp *antonv1.TestProvidersResponse) {
		t.Helper()
		for kind, w := range want {
			if got := [2]string{resp.ProviderStatus[kind], resp.ProviderStatusDetails[kind]}; got != w {
				t.Errorf("%s: %v, want %v", kind, got, w)
			}
		}
		if len(resp.ProviderStatus) != len(want) {
			t.Errorf("%v", resp)
		}
	}
	check(h.test(`{}`))
	shown := h.get().ProviderStatus
	for kind, w := range want {
		if shown[kind] != w[0] {
			t.Errorf("%s: GET shows %q", kind, shown[kind])
		}
	}
	if shown["ollama"] != "untested" {
		t.Errorf("Ollama: %v", shown)
	}
	if other.asked() != "GET /api/v1/minds/ "+secret {
		t.Error("MindsHub was not asked")
	}

	// Not stored, and with stored keys.
	resp := h.test(`{"providers":[{"type":"openai","apiKey":"***"},{"type":"anthropic","api_key":"` + secret + `","base_url":"` + other.URL + `"}]}`)
	if fmt.Sprint(resp.ProviderStatus) != "map[anthropic:ok openai:ok]" {
		t.Errorf("%v", resp)
	}
	if s := h.get().ProviderStatus; s["anthropic"] != "ok" || s["gemini"] != "fail" {
		t.Errorf("remembered: %v", s)
	}
	// A stored key does not go to another server.
	other.asked()
	resp = h.test(`{"providers":[{"type":"openai","apiKey":"***","baseUrl":"` + other.URL + `"}]}`)
	if resp.ProviderStatus["openai"] != "fail" || resp.ProviderStatusDetails["openai"] != "key of another address" || other.asked() != "" {
		t.Errorf("%v", resp)
	}
	if strings.Contains(h.logged.String(), "CANARY") {
		t.Error("a key is in the log")
	}
}

// An outcome holds until something else is configured.
func TestStatusOfAnotherConfigurationDoesNotHold(t *testing.T) {
	good := newMaker(t, secret)
	h := open(t, "", nil)
	status := func() string { t.Helper(); return h.get().ProviderStatus["openai"] }
	list := func(key string) string {
		return `{"providers":[{"type":"openai","apiKey":"` + key + `","baseUrl":"` + good.URL + `"}]}`
	}
	h.test(list(secret)) // before it is saved
	if status() != "ok" {
		t.Errorf("tested: %s", status())
	}
	h.put(list(secret))
	if status() != "ok" {
		t.Errorf("saved: %s", status())
	}
	h.put(list("other"))
	if status() != "untested" {
		t.Errorf("another key: %s", status())
	}
	h.test(`{}`)
	if status() != "fail" {
		t.Errorf("tested again: %s", status())
	}
	h.put(`{"providerStatus":{"openai":"untested","gemini":"ok","anthropic":"fine","skynet":"ok","minds-cloud":7}}`)
	if s := h.get().ProviderStatus; s["openai"] != "untested" || s["gemini"] != "ok" || s["anthropic"] != "untested" || s["skynet"] != "" || s["minds-cloud"] != "untested" {
		t.Errorf("told by a client: %v", s)
	}
}

func TestTestProvidersRefusals(t *testing.T) {
	h := open(t, "", nil)
	for _, body := range []string{`{"providers":[{"type":"skynet"}]}`, `{"providers":["x"]}`, `{"providers":[{"type":"openai","apiKey":"a\nb"}]}`} {
		if resp, err := h.TestProviders(t.Context(), decode(t, body, &antonv1.TestProvidersRequest{})); err == nil {
			t.Errorf("%s: %v", body, resp)
		}
	}
	if resp := h.test(`{}`); len(resp.ProviderStatus) != 0 {
		t.Errorf("nothing is set up: %v", resp)
	}
}

func TestTestProvidersAnswersWhenTheStoreFails(t *testing.T) {
	good := newMaker(t, secret)
	h := open(t, "", nil)
	h.db.update = store.ErrFull
	resp := h.test(`{"providers":[{"type":"openai","apiKey":"` + secret + `","baseUrl":"` + good.URL + `"}]}`)
	if resp.ProviderStatus["openai"] != "ok" || !strings.Contains(h.logged.String(), "not saved") {
		t.Errorf("%v %s", resp, h.logged)
	}
}

func TestConcurrentTestsLoseNoOutcome(t *testing.T) {
	good := newMaker(t, secret)
	h := open(t, "", nil)
	var wg sync.WaitGroup
	for _, kind := range []string{"openai", "anthropic", "openai-compatible", "minds-cloud"} {
		req := decode(t, `{"providers":[{"type":"`+kind+`","apiKey":"`+secret+`","baseUrl":"`+good.URL+`"}]}`, &antonv1.TestProvidersRequest{})
		wg.Go(func() {
			if _, err := h.TestProviders(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := h.get().ProviderStatus
	for _, kind := range []string{"openai", "anthropic", "openai-compatible", "minds-cloud"} {
		if s[kind] != "ok" {
			t.Errorf("%s: %s", kind, s[kind])
		}
	}
}
