package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"anthill/services/internal/agent/probe"
	"anthill/services/internal/dial"
)

func TestPrecedence(t *testing.T) {
	const name = envOpenAIKey
	for _, c := range []struct {
		what          string
		process, file map[string]string
		want          string
	}{
		{"nothing", nil, nil, ""},
		{"process first", map[string]string{name: "p", "OPENAI_API_KEY": "lp"}, map[string]string{name: "f", "OPENAI_API_KEY": "lf"}, "p"},
		{"then the file", map[string]string{"OPENAI_API_KEY": "lp"}, map[string]string{name: "f", "OPENAI_API_KEY": "lf"}, "f"},
		{"then the legacy name of the process", map[string]string{"OPENAI_API_KEY": "lp"}, map[string]string{"OPENAI_API_KEY": "lf"}, "lp"},
		{"then the legacy name of the file", nil, map[string]string{"OPENAI_API_KEY": "lf"}, "lf"},
		{"empty is unset", map[string]string{name: " "}, map[string]string{name: "", "OPENAI_API_KEY": "lf"}, "lf"},
	} {
		e := env{process: func(n string) (string, bool) { v, ok := c.process[n]; return v, ok }, file: c.file}
		if got := e.get(name); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestModel(t *testing.T) {
	const mindsRoot = "https://api.mindshub.ai/api/v1"
	for _, c := range []struct {
		what, file string
		want       Model
	}{
		{"fresh home", "", Model{Provider: "offline", Model: "offline", Ready: true, Label: "Offline (built in)"}},
		{"only a legacy key", "ANTHROPIC_API_KEY=k", Model{Provider: "offline", Model: "offline", Ready: true, Label: "Offline (built in)"}},
		{"local server without a key", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://localhost:11434\nANTON_PLANNING_MODEL=llama3",
			Model{Provider: "openai-compatible", Model: "llama3", BaseURL: "http://localhost:11434/v1", Ready: true, Label: "OpenAI-compatible"}},
		{"no model named", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://h/v1/",
			Model{Provider: "openai-compatible", Model: "default", BaseURL: "http://h/v1", Ready: true, Label: "OpenAI-compatible"}},
		{"whole path pasted", "ANTON_PLANNING_PROVIDER=OpenAI-Compatible\nANTON_OPENAI_BASE_URL=http://h/v1/chat/completions\nANTON_OPENAI_API_KEY=k",
			Model{Provider: "openai-compatible", Model: "default", BaseURL: "http://h/v1", APIKey: "k", Ready: true, Label: "OpenAI-compatible"}},
		{"own path", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://h/inference",
			Model{Provider: "openai-compatible", Model: "default", BaseURL: "http://h/inference/v1", Ready: true, Label: "OpenAI-compatible"}},
		{"no address", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_API_KEY=k",
			Model{Provider: "openai-compatible", Model: "default", APIKey: "k", Problem: "Configure ANTON_OPENAI_BASE_URL for OpenAI-compatible.", Label: "OpenAI-compatible"}},
		{"bad address", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=localhost:11434",
			Model{Provider: "openai-compatible", Model: "default", Problem: "ANTON_OPENAI_BASE_URL must be an http:// or https:// URL.", Label: "OpenAI-compatible"}},
		{"openai", "ANTON_PLANNING_PROVIDER=openai\nOPENAI_API_KEY=k",
			Model{Provider: "openai", Model: "gpt-5.4", BaseURL: openaiAPI, APIKey: "k", Ready: true, Label: "OpenAI"}},
		{"openai elsewhere", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k\nANTON_OPENAI_BASE_URL=http://proxy:1/v1",
			Model{Provider: "openai", Model: "gpt-5.4", BaseURL: "http://proxy:1/v1", APIKey: "k", Ready: true, Label: "OpenAI"}},
		{"openai without a key", "ANTON_PLANNING_PROVIDER=openai",
			Model{Provider: "openai", Model: "gpt-5.4", Problem: "Configure ANTON_OPENAI_API_KEY for OpenAI.", Label: "OpenAI"}},
		{"key with a line break", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=\"k\\nX: y\"",
			Model{Provider: "openai", Model: "gpt-5.4", APIKey: "k\nX: y", Problem: "ANTON_OPENAI_API_KEY contains characters that no key has. Paste it again.", Label: "OpenAI"}},
		{"anthropic without a key", "ANTON_PLANNING_PROVIDER=anthropic",
			Model{Provider: "anthropic", Model: "claude-sonnet-4-6", Problem: "Configure ANTON_ANTHROPIC_API_KEY for Anthropic.", Label: "Anthropic"}},
		{"anthropic with a key", "ANTON_PLANNING_PROVIDER=anthropic\nANTHROPIC_API_KEY=k",
			Model{Provider: "anthropic", Model: "claude-sonnet-4-6", BaseURL: anthropicAPI + "/v1", APIKey: "k", Ready: true, Label: "Anthropic"}},
		{"anthropic elsewhere", "ANTON_PLANNING_PROVIDER=anthropic\nANTON_ANTHROPIC_API_KEY=k\nANTHROPIC_BASE_URL=http://proxy:1/v1/messages\nANTON_PLANNING_MODEL=m",
			Model{Provider: "anthropic", Model: "m", BaseURL: "http://proxy:1/v1", APIKey: "k", Ready: true, Label: "Anthropic"}},
		{"anthropic at a bad address", "ANTON_PLANNING_PROVIDER=anthropic\nANTON_ANTHROPIC_API_KEY=k\nANTHROPIC_BASE_URL=nowhere",
			Model{Provider: "anthropic", Model: "claude-sonnet-4-6", APIKey: "k", Problem: "ANTHROPIC_BASE_URL must be an http:// or https:// URL.", Label: "Anthropic"}},
		{"its own key alone is the reference's choice", "ANTON_ANTHROPIC_API_KEY=k",
			Model{Provider: "anthropic", Model: "claude-sonnet-4-6", BaseURL: anthropicAPI + "/v1", APIKey: "k", Ready: true, Label: "Anthropic"}},
		{"offline by choice", "ANTON_ANTHROPIC_API_KEY=k\nANTON_PLANNING_PROVIDER=offline",
			Model{Provider: "offline", Model: "offline", Ready: true, Label: "Offline (built in)"}},
		{"minds by its key", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_MINDS_API_KEY=m",
			Model{Provider: "openai-compatible", Model: "latest:sonnet", BaseURL: mindsRoot, APIKey: "m", Ready: true, Label: "MindsHub"}},
		{"minds by its address, a stray key", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_MINDS_API_KEY=m\nANTON_OPENAI_API_KEY=o\nANTON_OPENAI_BASE_URL=https://api.mindshub.ai/v1",
			Model{Provider: "openai-compatible", Model: "latest:sonnet", BaseURL: "https://api.mindshub.ai/v1", APIKey: "m", Ready: true, Label: "MindsHub"}},
		{"minds by name", "ANTON_PLANNING_PROVIDER=minds-cloud\nANTON_MINDS_API_KEY=m\nANTON_MINDS_URL=http://minds:9\nANTON_OPENAI_BASE_URL=http://h",
			Model{Provider: "openai-compatible", Model: "latest:sonnet", BaseURL: "http://minds:9/api/v1", APIKey: "m", Ready: true, Label: "MindsHub"}},
		{"minds without verification", "ANTON_PLANNING_PROVIDER=minds-cloud\nANTON_MINDS_API_KEY=m\nANTON_MINDS_SSL_VERIFY=false",
			Model{Provider: "openai-compatible", Model: "latest:sonnet", BaseURL: mindsRoot, APIKey: "m", Insecure: true, Ready: true, Label: "MindsHub"}},
		{"which is no matter of others", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k\nANTON_MINDS_SSL_VERIFY=false",
			Model{Provider: "openai", Model: "gpt-5.4", BaseURL: openaiAPI, APIKey: "k", Ready: true, Label: "OpenAI"}},
		{"minds without a key", "ANTON_PLANNING_PROVIDER=minds-cloud\nANTON_OPENAI_API_KEY=o",
			Model{Provider: "openai-compatible", Model: "latest:sonnet", Problem: "Configure ANTON_MINDS_API_KEY for MindsHub.", Label: "MindsHub"}},
		{"a minds key goes nowhere else", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_MINDS_API_KEY=m\nANTON_OPENAI_BASE_URL=http://h/v1",
			Model{Provider: "openai-compatible", Model: "default", BaseURL: "http://h/v1", Ready: true, Label: "OpenAI-compatible"}},
		{"gemini by name", "ANTON_PLANNING_PROVIDER=gemini\nANTON_OPENAI_API_KEY=g",
			Model{Provider: "openai-compatible", Model: "gemini-2.5-pro", BaseURL: geminiAPI, APIKey: "g", Ready: true, Label: "Gemini"}},
		{"gemini is not sent another's key", "ANTON_PLANNING_PROVIDER=gemini\nANTON_OPENAI_API_KEY=o\nANTON_OPENAI_BASE_URL=http://h/v1",
			Model{Provider: "openai-compatible", Model: "gemini-2.5-pro", Problem: "Configure ANTON_PROVIDER_GEMINI_API_KEY for Gemini.", Label: "Gemini"}},
		{"patience", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k\nANTON_PROVIDER_FIRST_BYTE_TIMEOUT=1m30s\nANTON_PROVIDER_IDLE_TIMEOUT=2.5",
			Model{Provider: "openai", Model: "gpt-5.4", BaseURL: openaiAPI, APIKey: "k", FirstByte: 90 * time.Second, Idle: 2500 * time.Millisecond, Ready: true, Label: "OpenAI"}},
		{"no patience", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k\nANTON_PROVIDER_IDLE_TIMEOUT=soon",
			Model{Provider: "openai", Model: "gpt-5.4", BaseURL: openaiAPI, APIKey: "k", Label: "OpenAI",
				Problem: "ANTON_PROVIDER_IDLE_TIMEOUT must be a duration such as 90s, or a number of seconds, of up to a day."}},
		{"Ollama", "ANTON_PLANNING_PROVIDER=ollama\nANTON_PLANNING_MODEL=ollama/llama3:8b\nANTON_OPENAI_API_KEY=o",
			Model{Provider: "openai-compatible", Model: "llama3:8b", BaseURL: "http://gpu:1/v1", Ready: true, Label: "Ollama"}},
		{"Ollama without a model", "ANTON_PLANNING_PROVIDER=ollama",
			Model{Provider: "openai-compatible", Model: "default", Problem: "Configure ANTON_PLANNING_MODEL for Ollama.", Label: "Ollama"}},
		{"LM Studio switched off", "ANTON_PLANNING_PROVIDER=lmstudio\nANTON_PLANNING_MODEL=m",
			Model{Provider: "openai-compatible", Model: "m", Problem: "LM Studio is not looked for on this machine: ANTON_LMSTUDIO_URL holds no http address.", Label: "LM Studio"}},
		{"unknown", "ANTON_PLANNING_PROVIDER=skynet",
			Model{Provider: "skynet", Model: "default", Label: "skynet",
				Problem: `Unknown provider "skynet" in ANTON_PLANNING_PROVIDER. Choose one of minds-cloud, anthropic, openai, gemini, openai-compatible, ollama, lmstudio, offline.`}},
	} {
		if got := open(t, c.file, map[string]string{"ANTON_OLLAMA_URL": "http://gpu:1"}).model(); got != c.want {
			t.Errorf("%s:\ngot  %v %+v\nwant %v %+v", c.what, got, plain(got), c.want, plain(c.want))
		}
	}
}

// plain shows every field: only for invented keys.
func plain(m Model) string {
	type bare Model
	return fmt.Sprintf("%+v", bare(m))
}

func TestCodingFollowsPlanningUntilSet(t *testing.T) {
	for _, c := range []struct{ what, file, provider, model, base string }{
		{"fresh", "", "offline", "offline", ""},
		{"provider only", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k", "openai", "gpt-5.4-mini", openaiAPI},
		{"model named", "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://h\nANTON_PLANNING_MODEL=llama3", "openai-compatible", "llama3", "http://h/v1"},
		{"set", "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k\nANTON_CODING_PROVIDER=offline", "offline", "offline", ""},
		{"elsewhere", "ANTON_PLANNING_PROVIDER=offline\nANTON_CODING_PROVIDER=openai-compatible\nANTON_CODING_BASE_URL=http://c\nANTON_CODING_MODEL=coder", "openai-compatible", "coder", "http://c/v1"},
	} {
		if m := open(t, c.file, nil).coding(); m.Provider != c.provider || m.Model != c.model || m.BaseURL != c.base || !m.Ready {
			t.Errorf("%s: %v", c.what, m)
		}
	}
}

func TestProcessEnvironmentWins(t *testing.T) {
	h := open(t, "ANTON_PLANNING_PROVIDER=offline\n", map[string]string{
		envPlanningProvider: "openai-compatible", envOpenAIBaseURL: "http://p:1/v1", envOpenAIKey: "process-key"})
	resp := h.put(`{"planningProvider":"offline","openaiApiKey":"file-key","planningModel":"m"}`)
	if !resp.ConfigReady {
		t.Errorf("resp: %v", resp)
	}
	if m := h.model(); m.Provider != "openai-compatible" || m.APIKey != "process-key" || m.Model != "m" {
		t.Errorf("model: %v", m)
	}
	if s := h.get(); s.PlanningProvider != "openai-compatible" || s.OpenaiBaseUrl != "http://p:1/v1" {
		t.Errorf("settings: %v", s)
	}
	if v := h.env(); v[envOpenAIKey] != "file-key" || v[envPlanningProvider] != "offline" {
		t.Errorf("file: %v", v)
	}
}

// A live conversation asks before every turn and must see the change at once.
func TestModelIsReadAtCallTime(t *testing.T) {
	h := open(t, "", nil)
	h.put(`{"planningProvider":"openai-compatible","openaiBaseUrl":"http://a","planningModel":"one"}`)
	if m := h.model(); m.Model != "one" || m.BaseURL != "http://a/v1" {
		t.Errorf("after PUT: %v", m)
	}
	writeFile(t, h.path, strings.Replace(readFile(t, h.path), "one", "two", 1)) // by hand, same size
	if m := h.model(); m.Model != "two" {
		t.Errorf("after a hand edit: %v", m)
	}
	if err := os.Remove(h.path); err != nil {
		t.Fatal(err)
	}
	if m := h.model(); m.Provider != "offline" {
		t.Errorf("after removal: %v", m)
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	const canary = "sk-CANARY-1234567890"
	m := Model{Provider: "openai", Model: "m", APIKey: canary, Ready: true}
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&logged, nil), slog.NewTextHandler(&logged, nil)} {
		log := slog.New(handler)
		log.Info("m", "model", m, "pointer", &m, "nested", struct{ M Model }{m}, "list", []Model{m})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&logged, verb+" "+verb+" "+verb, m, &m, []Model{m})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	logged.Write(raw)
	logged.WriteString(m.String())
	for _, secret := range []string{canary, fmt.Sprintf("%x", canary)} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("key in %s", logged.String())
		}
	}
}

func TestSettingsAndLogHoldNoKey(t *testing.T) {
	const canary = "sk-CANARY-1234567890"
	h := open(t, "ANTHROPIC_API_KEY="+canary+"\nANTON_OPENAI_BASE_URL=http://user:"+canary+"@h/v1\n", map[string]string{envMindsKey: canary})
	h.put(`{"providers":[{"type":"openai","apiKey":"` + canary + `","isDefault":true},{"type":"gemini","apiKey":"` + canary + `"},{"type":"anthropic","apiKey":"***"}]}`)
	s := h.get()
	if s.AnthropicApiKey != "***" || s.OpenaiApiKey != "***" || s.MindsApiKey != "***" {
		t.Errorf("masks: %v", s)
	}
	for _, p := range s.Providers {
		if p.ApiKey != "***" {
			t.Errorf("provider: %v", p)
		}
	}
	health, err := h.GetHealth(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := s.String() + health.String() + h.logged.String()
	f := h.refused(`{"openaiApiKey":"` + canary + `\nX=1"}`)
	all += f.Error()
	if strings.Contains(all, canary) {
		t.Errorf("key in %s", all)
	}
}

func BenchmarkModel(b *testing.B) {
	dir := b.TempDir()
	path := dir + "/.env"
	if err := os.WriteFile(path, []byte(strings.Repeat("# comment\nK=v\n", 50)+"ANTON_PLANNING_PROVIDER=offline\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	prober := probe.New(dial.Policy{Private: true})
	finder := probe.NewFinder(probe.FinderOptions{Getenv: os.LookupEnv, Prober: prober})
	r, err := Open(b.Context(), Options{DB: &brokenDB{}, EnvFile: path, Prober: prober, Finder: finder, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Model(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "90s": 90 * time.Second, "2m": 2 * time.Minute, " 5 ": 5 * time.Second, "0.25": 250 * time.Millisecond, "24h": 24 * time.Hour, "86400": 24 * time.Hour} {
		if d, ok := (env{file: map[string]string{envIdle: strings.TrimSpace(text)}}).duration(envIdle); !ok || d != want {
			t.Errorf("%q: %v %v", text, d, ok)
		}
	}
	for _, text := range []string{"0", "0s", "-5", "-1s", "soon", "25h", "86401", "1e99", "NaN", "Inf", "-Inf", "5 apples", "1h x"} {
		if d, ok := (env{file: map[string]string{envIdle: text}}).duration(envIdle); ok {
			t.Errorf("%q: %v", text, d)
		}
	}
}
