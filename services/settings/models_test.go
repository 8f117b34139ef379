package settings

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
)

func (h *house) models() string {
	h.t.Helper()
	list, err := h.ListModels(h.t.Context(), &antonv1.ListModelsRequest{})
	if err != nil || list.Object != "list" {
		h.t.Fatal(list, err)
	}
	var out []string
	for _, m := range list.Data {
		if m.Object != "model" || m.Created <= 0 {
			h.t.Errorf("%v", m)
		}
		got, err := h.GetModel(h.t.Context(), &antonv1.GetModelRequest{Model: m.Id})
		if err != nil || got.String() != m.String() {
			h.t.Errorf("%s: %v %v", m.Id, got, err)
		}
		out = append(out, m.Id+"@"+m.OwnedBy)
	}
	return strings.Join(out, " ")
}

func localServer(t *testing.T, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestModels(t *testing.T) {
	const anthropics = "claude-sonnet-4-6@anthropic claude-opus-4-6@anthropic claude-haiku-4-5-20251001@anthropic"
	for _, c := range []struct{ what, file, want string }{
		{"fresh home", "", "anton@anton offline@offline"},
		{"one provider", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k\n",
			"anton@anton gpt-5.4@openai gpt-5.4-mini@openai o3@openai o4-mini@openai"},
		{"any server", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://h\nANTON_PLANNING_MODEL=org/big:8b\nANTON_CODING_MODEL=small\n",
			"anton@anton org/big:8b@openai-compatible small@openai-compatible"},
		{"without a model", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://h\n", "anton@anton"},
		{"two, one in use", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://h\nANTON_PLANNING_MODEL=m\nANTON_ANTHROPIC_API_KEY=a\n",
			"anton@anton m@openai-compatible " + anthropics},
		{"chosen, without its key", "ANTON_PLANNING_PROVIDER=openai\n", "anton@anton gpt-5.4@openai gpt-5.4-mini@openai"},
		{"nobody knows it", "ANTON_PLANNING_PROVIDER=skynet\n", "anton@anton"},
	} {
		if got := open(t, c.file, nil).models(); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.what, got, c.want)
		}
	}
	h := open(t, "", nil)
	for _, name := range []string{"gpt-5.4", "ollama/llama3", "Anton", "anton/", "%", "a/b:c", strings.Repeat("x", 5000)} {
		_, err := h.GetModel(t.Context(), &antonv1.GetModelRequest{Model: name})
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind != fault.NotFound || f.Reason != "MODEL_NOT_FOUND" || len(f.Message) > 300 {
			t.Errorf("%.40s: %v", name, err)
		}
	}
}

// Servers of this machine are offered by name, and by nothing else.
func TestLocalServersAreOffered(t *testing.T) {
	process := map[string]string{
		"ANTON_OLLAMA_URL":   localServer(t, `{"models":[{"name":"llama3:latest"}]}`),
		"ANTON_LMSTUDIO_URL": localServer(t, `{"data":[{"id":"org/qwen"}]}`),
	}
	h := open(t, "", process)
	if got, want := h.models(), "anton@anton offline@offline ollama/llama3:latest@ollama lmstudio/org/qwen@lmstudio"; got != want {
		t.Errorf("models %s", got)
	}
	s := h.get()
	got := fmt.Sprint(s.LocalProviders[0].Type, s.LocalProviders[0].Label, s.LocalProviders[0].BaseUrl, s.LocalProviders[0].Models,
		s.LocalProviders[1].Type, s.LocalProviders[1].Label, s.LocalProviders[1].BaseUrl, s.LocalProviders[1].Models)
	want := fmt.Sprint("ollama", "Ollama", process["ANTON_OLLAMA_URL"]+"/v1", []string{"llama3:latest"},
		"lmstudio", "LM Studio", process["ANTON_LMSTUDIO_URL"]+"/v1", []string{"org/qwen"})
	if got != want || len(s.LocalProviders) != 2 {
		t.Errorf("local providers %s", got)
	}
	if s.RecommendedModels["ollama"].Values[0].GetStringValue() != "llama3:latest" {
		t.Errorf("recommended %v", s.RecommendedModels["ollama"])
	}
	if m := h.model(); m.Provider != "offline" || !m.Ready || len(s.Providers) != 0 {
		t.Errorf("used unasked: %v %v", m, s.Providers)
	}

	// And used when chosen.
	h.put(`{"planningProvider":"ollama","planningModel":"ollama/llama3:latest"}`)
	if m := h.model(); !m.Ready || m.BaseURL != process["ANTON_OLLAMA_URL"]+"/v1" || m.Model != "llama3:latest" || m.APIKey != "" || m.Label != "Ollama" {
		t.Errorf("chosen: %v", m)
	}
	if got := h.listed(); got != "ollama@"+process["ANTON_OLLAMA_URL"]+"/v1!" {
		t.Errorf("listed %s", got)
	}
	if v := h.validate(`{}`); v.Status != "ok" || v.Detail != "Ollama answers." {
		t.Errorf("%v", v)
	}
	h.put(`{"providers":[{"type":"openai","apiKey":"o"},{"type":"lmstudio","baseUrl":"http://elsewhere","isDefault":true}],
		"modelMode":"custom","modelOverrides":{"planning":{"provider_type":"lmstudio","model":"org/qwen"},"coding":{"providerType":"lmstudio","model":"org/qwen"}}}`)
	if m := h.model(); !m.Ready || m.BaseURL != process["ANTON_LMSTUDIO_URL"]+"/v1" || m.Model != "org/qwen" || m.APIKey != "" {
		t.Errorf("chosen from the list: %v", m)
	}
	if v := h.env(); v[envPlanningProvider] != "lmstudio" || v[envOpenAIKey] != "" || v[parkedKey[openai]] != "o" {
		t.Errorf("file %v", v)
	}
}

// Both spellings of every field are taken, inside objects too.
func TestBothSpellings(t *testing.T) {
	camel := `{"providers":[{"type":"minds-cloud","apiKey":"m","isDefault":true,"mindsUrl":"http://minds","mindsMindName":"n","mindsDatasource":"d",
		"mindsDatasourceEngine":"e","mindsSslVerify":false},{"type":"openai-compatible","baseUrl":"http://c","name":"N"}],
		"modelMode":"custom","modelOverrides":{"coding":{"providerType":"openai-compatible","model":"c"}},
		"memoryMode":"off","autoPin":false,"uiUpdateMode":"auto","publishUrl":"http://p","providerStatus":{"openai-compatible":"ok"}}`
	snake := `{"providers":[{"type":"minds-cloud","api_key":"m","is_default":true,"minds_url":"http://minds","minds_mind_name":"n","minds_datasource":"d",
		"minds_datasource_engine":"e","minds_ssl_verify":false},{"type":"openai-compatible","base_url":"http://c","name":"N"}],
		"model_mode":"custom","model_overrides":{"coding":{"provider_type":"openai-compatible","model":"c"}},
		"memory_mode":"off","auto_pin":false,"ui_update_mode":"auto","publish_url":"http://p","provider_status":{"openai-compatible":"ok"}}`
	a, b := open(t, "", nil), open(t, "", nil)
	x, y := a.put(camel), b.put(snake)
	if !slices.Equal(x.Updated, y.Updated) || a.get().String() != b.get().String() || readFile(t, a.path) != readFile(t, b.path) || len(x.Updated) < 15 {
		t.Errorf("%v\n%v", x, y)
	}
	p := a.get().Providers[0]
	if p.GetMindsUrl() != "http://minds" || p.GetMindsMindName() != "n" || p.GetMindsDatasource() != "d" || p.GetMindsDatasourceEngine() != "e" ||
		p.MindsSslVerify == nil || *p.MindsSslVerify || p.ApiKey != "***" {
		t.Errorf("%v", p)
	}
	if q := a.get().Providers[1]; q.MindsUrl != nil || q.MindsSslVerify != nil || q.Name != "N" {
		t.Errorf("%v", q)
	}
	if m := a.model(); !m.Insecure || m.BaseURL != "http://minds/api/v1" {
		t.Errorf("%v", m)
	}
	if m := a.coding(); m.Insecure || m.BaseURL != "http://c/v1" {
		t.Errorf("%v", m)
	}
}

func TestConfigured(t *testing.T) {
	for file, want := range map[string]string{
		"": "true ",
		"ANTON_PLANNING_PROVIDER=offline\nANTON_OPENAI_API_KEY=k":    "true ",
		"ANTON_ANTHROPIC_API_KEY=k":                                  "true anthropic",
		"ANTON_PLANNING_PROVIDER=anthropic":                          "false ",
		"ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k":     "true minds",
		"ANTON_PLANNING_PROVIDER=minds-cloud\nANTON_MINDS_API_KEY=k": "true minds",
		"ANTON_PLANNING_PROVIDER=skynet\nANTON_ANTHROPIC_API_KEY=k":  "false ",
	} {
		h := open(t, file, nil)
		c, err := h.GetConfigured(t.Context(), &antonv1.GetConfiguredRequest{})
		if err != nil || fmt.Sprint(c.Configured, " ", c.Provider) != want {
			t.Errorf("%q: %v %v, want %s", file, c, err, want)
		}
		s, err := h.GetInstallStatus(t.Context(), &antonv1.GetInstallStatusRequest{})
		if err != nil || !s.AntonInstalled || !s.ServerDepsReady {
			t.Errorf("%v %v", s, err)
		}
	}
}
