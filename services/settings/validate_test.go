package settings

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

// maker plays a model provider that lets one key in.
type maker struct {
	*httptest.Server
	mu   sync.Mutex
	key  string
	seen []string // path and key of every request
}

func newMaker(t *testing.T, key string) *maker {
	t.Helper()
	m := &maker{key: key}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.Header.Get("X-Api-Key")
		m.mu.Lock()
		m.seen = append(m.seen, r.Method+" "+r.URL.Path+" "+shown)
		m.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		body := `{"data":[{"id":"one"},{"id":"models/two"}]}`
		if shown != m.key {
			w.WriteHeader(http.StatusUnauthorized)
			body = `{"error":{"message":"your key ` + shown + ` is not welcome"}}`
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *maker) asked() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := strings.Join(m.seen, ", ")
	m.seen = nil
	return seen
}

func decode[M proto.Message](t *testing.T, body string, m M) M {
	t.Helper()
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(body), m); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return m
}

func (h *house) validate(body string) *antonv1.ValidateSettingsResponse {
	h.t.Helper()
	resp, err := h.ValidateSettings(h.t.Context(), decode(h.t, body, &antonv1.ValidateSettingsRequest{}))
	if err != nil {
		h.t.Fatalf("%s: %v", body, err)
	}
	if resp.ConfigReady != resp.CompatConfigReady || resp.ConfigError != resp.CompatConfigError {
		h.t.Errorf("%s: the two spellings differ: %v", body, resp)
	}
	return resp
}

const secret = "sk-CANARY-settings-0123456789"

func TestValidate(t *testing.T) {
	good, dead := newMaker(t, secret), httptest.NewServer(nil)
	dead.Close()
	compat := "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_API_KEY=" + secret + "\nANTON_OPENAI_BASE_URL=" + good.URL + "\n"
	for _, c := range []struct{ what, file, body, status, detail, asked string }{
		{"fresh home", "", `{}`, "ok", "built-in offline", ""},
		{"what is missing", "ANTON_PLANNING_PROVIDER=openai\n", `{}`, "needs_config", "Configure ANTON_OPENAI_API_KEY for OpenAI.", ""},
		{"unknown provider", "ANTON_PLANNING_PROVIDER=skynet\n", `{}`, "needs_config", "Unknown provider", ""},
		{"works", compat + "ANTON_PLANNING_MODEL=one\n", `{}`, "ok", "OpenAI-compatible answers and takes the key.", "GET /v1/models " + secret},
		{"listed with a folder", compat + "ANTON_PLANNING_MODEL=two\n", `{}`, "ok", "takes the key.", "GET /v1/models " + secret},
		{"not listed", compat + "ANTON_PLANNING_MODEL=three\n", `{}`, "ok", "does not list the model three.", "GET /v1/models " + secret},
		{"a bad key", compat, `{"openaiApiKey":"other"}`, "failed", "refused the API key", "GET /v1/models other"},
		{"no key", compat, `{"openai_api_key":""}`, "failed", "refused the API key", "GET /v1/models "},
		{"nobody there", compat, `{"openaiBaseUrl":"` + dead.URL + `"}`, "failed", "Nothing listens", ""},
		{"a network of no provider", compat, `{"openaiBaseUrl":"http://169.254.169.254"}`, "failed", "not asked", ""},
		{"another provider", "ANTHROPIC_BASE_URL=" + good.URL + "\n", `{"planningProvider":"anthropic","anthropicApiKey":"` + secret + `"}`, "ok", "Anthropic answers", "GET /v1/models " + secret},
		{"without its key", "ANTHROPIC_BASE_URL=" + good.URL + "\n", `{"planning_provider":"anthropic"}`, "needs_config", "Configure ANTON_ANTHROPIC_API_KEY", ""},
		{"a list", "", `{"providers":[{"type":"minds-cloud","api_key":"` + secret + `","minds_url":"` + good.URL + `"}]}`, "ok", "MindsHub answers", "GET /api/v1/minds/ " + secret},
		{"one by name", "", `{"provider":"openai","apiKey":"` + secret + `","baseUrl":"` + good.URL + `","model":"one"}`, "ok", "OpenAI answers", "GET /v1/models " + secret},
		{"one by name that lacks a key", "", `{"provider":"openai","base_url":"` + good.URL + `"}`, "needs_config", "An API key is needed", ""},
		{"one by name that fails", "", `{"provider":"openai","api_key":"x","base_url":"` + good.URL + `"}`, "failed", "refused the API key", "GET /v1/models x"},
	} {
		h := open(t, c.file, nil)
		resp := h.validate(c.body)
		if resp.Status != c.status || !strings.Contains(resp.Detail, c.detail) {
			t.Errorf("%s: %v", c.what, resp)
		}
		if resp.ConfigReady != (c.status != "needs_config") || (resp.ConfigError != "") == resp.ConfigReady {
			t.Errorf("%s: ready %v %q", c.what, resp.ConfigReady, resp.ConfigError)
		}
		if got := good.asked(); got != c.asked {
			t.Errorf("%s: asked %q, want %q", c.what, got, c.asked)
		}
		if all := resp.String() + h.logged.String(); strings.Contains(all, "CANARY") || strings.Contains(all, "welcome") {
			t.Errorf("%s: secrets in %s", c.what, all)
		}
		if c.file != "" && readFile(t, h.path) != c.file {
			t.Errorf("%s: something was saved: %q", c.what, readFile(t, h.path))
		}
	}
}

// What is asked about counts, also where the process says otherwise.
func TestValidateSupposedWinsOverTheProcess(t *testing.T) {
	good := newMaker(t, secret)
	h := open(t, "", map[string]string{envPlanningProvider: "offline", envOpenAIKey: "process-key", envOpenAIBaseURL: "http://127.0.0.1:1"})
	resp := h.validate(`{"planningProvider":"openai","openaiApiKey":"` + secret + `","openaiBaseUrl":"` + good.URL + `"}`)
	if resp.Status != "ok" || resp.Provider != "openai" {
		t.Errorf("%v", resp)
	}
	if resp := h.validate(`{}`); resp.Provider != "offline" {
		t.Errorf("as it is: %v", resp)
	}
}

func TestValidateRefusals(t *testing.T) {
	h := open(t, "", nil)
	for _, body := range []string{`{"planningProvider":"skynet"}`, `{"provider":"skynet"}`, `{"openaiApiKey":"a\nb"}`, `{"openaiBaseUrl":"nowhere"}`,
		`{"providers":[{"apiKey":"x"}]}`, `{"modelMode":"wild"}`} {
		resp, err := h.ValidateSettings(t.Context(), decode(t, body, &antonv1.ValidateSettingsRequest{}))
		if err == nil {
			t.Errorf("%s: %v", body, resp)
		}
	}
}

func TestValidateProvider(t *testing.T) {
	good, hub := newMaker(t, secret), newMaker(t, secret)
	file := "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_API_KEY=" + secret + "\nANTON_OPENAI_BASE_URL=" + good.URL + "/v1\n" +
		"ANTON_MINDS_API_KEY=wrong\nANTON_MINDS_URL=" + hub.URL + "\n"
	for _, c := range []struct{ body, err, asked string }{
		{`{"provider":"anthropic","apiKey":"` + secret + `","baseUrl":"` + good.URL + `","model":"any"}`, "", "GET /v1/models " + secret},
		{`{"provider":"Minds","api_key":" ` + secret + ` ","base_url":"` + good.URL + `"}`, "", "GET /api/v1/minds/ " + secret},
		{`{"provider":"openai-compatible","apiKey":"` + secret + `","baseUrl":"` + good.URL + `/chat/completions"}`, "", "GET /v1/models " + secret},
		{`{"provider":"openai-compatible","apiKey":"***"}`, "", "GET /v1/models " + secret},
		{`{"provider":"openai-compatible","apiKey":"***","baseUrl":"` + good.URL + `/v1/"}`, "", "GET /v1/models " + secret},
		{`{"provider":"openai-compatible","apiKey":"***","baseUrl":"http://127.0.0.1:9"}`, "belongs to another address", ""},
		{`{"provider":"openai","apiKey":"***","baseUrl":"` + good.URL + `"}`, "An API key is needed", ""},
		{`{"provider":"minds","apiKey":"***"}`, "refused the API key", "GET /api/v1/minds/ wrong"},
		{`{"provider":"minds","apiKey":"` + secret + `"}`, "", "GET /api/v1/minds/ " + secret},
		{`{"provider":"minds","apiKey":""}`, "An API key is needed", ""},
		{`{"provider":"openai","apiKey":"x\u0001y","baseUrl":"` + good.URL + `"}`, "characters that no key has", ""},
		{`{"provider":"openai","apiKey":"x","baseUrl":"ftp://h"}`, "must be an http", ""},
		{`{"provider":"openai","apiKey":"x","baseUrl":"http://0.0.0.0:1"}`, "not asked", ""},
		{`{"provider":"offline","apiKey":""}`, "", ""},
		{`{"provider":"skynet","apiKey":"x"}`, "Unknown provider", ""},
		{`{"provider":"","apiKey":"x"}`, "Unknown provider", ""},
	} {
		h := open(t, file, nil)
		resp, err := h.ValidateProvider(t.Context(), decode(t, c.body, &antonv1.ValidateProviderRequest{}))
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		if resp.Ok != (c.err == "") || !strings.Contains(resp.Error, c.err) {
			t.Errorf("%s: %v, want %q", c.body, resp, c.err)
		}
		if got := good.asked() + hub.asked(); got != c.asked {
			t.Errorf("%s: asked %q, want %q", c.body, got, c.asked)
		}
		if all := resp.String() + h.logged.String(); strings.Contains(all, "CANARY") {
			t.Errorf("%s: secrets in %s", c.body, all)
		}
	}
}
