package settings

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

func TestFreshSettings(t *testing.T) {
	s := open(t, "", nil).get()
	want := &antonv1.Settings{
		PlanningProvider: "offline", PlanningModel: "offline", CodingProvider: "offline", CodingModel: "offline",
		MindsUrl: "https://api.mindshub.ai", MindsSslVerify: true, PublishUrl: "https://4nton.ai",
		MemoryEnabled: true, MemoryMode: "autopilot", EpisodicMemory: true,
		ConfigReady: true, CompatConfigReady: true, ProviderLabel: "Offline (built in)", DefaultModel: "offline",
		Greeting: "What shall we work on?", Tone: "balanced", AutoPin: true, ShowDots: true, ShowCounters: true,
		AccentVariant: "aqua", UiUpdateMode: "manual", ModelMode: "default",
		ModelOverrides: s.ModelOverrides, ProviderTypes: s.ProviderTypes, ProviderTypeLabels: s.ProviderTypeLabels,
		RecommendedModels: s.RecommendedModels, RecommendedPair: s.RecommendedPair, ProviderStatus: s.ProviderStatus,
	}
	if s.String() != want.String() {
		t.Errorf("got  %v\nwant %v", s, want)
	}
	if len(s.ModelOverrides) != 0 || len(s.Providers) != 0 {
		t.Errorf("overrides %v, providers %v", s.ModelOverrides, s.Providers)
	}
	for _, k := range s.ProviderTypes {
		if s.ProviderTypeLabels[k] == "" || s.RecommendedModels[k] == nil || len(s.RecommendedPair[k].GetValues()) != 2 || s.ProviderStatus[k] != "untested" {
			t.Errorf("tables lack %s", k)
		}
	}
	if len(s.ProviderTypes) != 8 {
		t.Errorf("types: %v", s.ProviderTypes)
	}
}

func TestReadingWritesNothing(t *testing.T) {
	h := open(t, "", nil)
	h.get()
	h.model()
	h.put(`{}`)
	if _, err := os.Stat(h.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file: %v", err)
	}
}

func TestPut(t *testing.T) {
	const before = "# mine\nexport ANTON_OPENAI_API_KEY='old' # work\n\nOTHER=keep me\nANTON_PUBLISH_URL=https://x.example\nOPENAI_API_KEY=legacy\n"
	for _, c := range []struct {
		what, body, file string
		updated          []string
	}{
		{"nothing", `{}`, before, nil},
		{"nulls", `{"openaiApiKey":null,"providers":null,"modelOverrides":null,"autoPin":null}`, before, nil},
		{"unknown keys", `{"surprise":{"x":1}}`, before, nil},
		{"the default model is derived", `{"defaultModel":"x"}`, before, nil},
		{"stars keep a key", `{"openaiApiKey":"***","anthropicApiKey":"***"}`, before, nil},
		{"a new key", `{"openaiApiKey":" new "}`, strings.Replace(before, "'old'", "new", 1), []string{"ANTON_OPENAI_API_KEY"}},
		{"an empty key deletes, the legacy one too", `{"openaiApiKey":""}`,
			"# mine\n\nOTHER=keep me\nANTON_PUBLISH_URL=https://x.example\n",
			[]string{"deleted:ANTON_OPENAI_API_KEY", "deleted:OPENAI_API_KEY"}},
		{"an empty text deletes", `{"publishUrl":""}`, strings.Replace(before, "ANTON_PUBLISH_URL=https://x.example\n", "", 1), []string{"deleted:ANTON_PUBLISH_URL"}},
		{"a deletion of nothing", `{"mindsApiKey":""}`, before, []string{"deleted:ANTON_MINDS_API_KEY"}},
		{"all sorts", `{"memoryEnabled":false,"memoryMode":"off","uiUpdateMode":"auto","mindsMindName":"it's me","greeting":"Hi","showDots":false}`,
			before + "ANTON_MINDS_MIND_NAME=\"it's me\"\nANTON_MEMORY_ENABLED=false\nANTON_MEMORY_MODE=off\nUI_UPDATE_MODE=auto\n",
			[]string{"ANTON_MINDS_MIND_NAME", "ANTON_MEMORY_ENABLED", "ANTON_MEMORY_MODE", "UI_UPDATE_MODE", "ui:greeting", "ui:showDots"}},
	} {
		h := open(t, before, nil)
		resp := h.put(c.body)
		if resp.Status != "ok" || !resp.ConfigReady || !resp.CompatConfigReady || !slices.Equal(resp.Updated, c.updated) {
			t.Errorf("%s: %v, want updated %q", c.what, resp, c.updated)
		}
		if got := readFile(t, h.path); got != c.file {
			t.Errorf("%s: file\n%q, want\n%q", c.what, got, c.file)
		}
	}
}

func TestPutShowsInGet(t *testing.T) {
	h := open(t, "", nil)
	resp := h.put(`{"planningProvider":"openai-compatible","planningModel":"llama3:8b","codingProvider":"offline","codingModel":"c",
		"openaiBaseUrl":"http://localhost:11434","anthropicApiKey":"a","openaiApiKey":"o","mindsApiKey":"m","mindsUrl":"http://minds",
		"mindsMindName":"n","mindsDatasource":"d","mindsDatasourceEngine":"e","mindsSslVerify":false,"publishUrl":"http://p",
		"memoryEnabled":false,"memoryMode":"copilot","episodicMemory":false,"proactiveDashboards":true,
		"greeting":"G","tone":"T","autoPin":false,"showDots":false,"showCounters":false,"accentVariant":"V","uiUpdateMode":"auto"}`)
	if !resp.ConfigReady || resp.ConfigError != "" || len(resp.Updated) != 25 {
		t.Errorf("resp: %d %v", len(resp.Updated), resp)
	}
	s := h.get()
	got := fmt.Sprint(s.PlanningProvider, s.PlanningModel, s.DefaultModel, s.CodingProvider, s.CodingModel, s.OpenaiBaseUrl, s.AnthropicApiKey, s.OpenaiApiKey,
		s.MindsApiKey, s.MindsUrl, s.MindsMindName, s.MindsDatasource, s.MindsDatasourceEngine, s.MindsSslVerify, s.PublishUrl,
		s.MemoryEnabled, s.MemoryMode, s.EpisodicMemory, s.ProactiveDashboards, s.Greeting, s.Tone, s.AutoPin, s.ShowDots,
		s.ShowCounters, s.AccentVariant, s.UiUpdateMode)
	want := fmt.Sprint("openai-compatible", "llama3:8b", "llama3:8b", "offline", "c", "http://localhost:11434", "***", "***",
		"***", "http://minds", "n", "d", "e", false, "http://p",
		false, "copilot", false, true, "G", "T", false, false,
		false, "V", "auto")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestConfigErrors(t *testing.T) {
	h := open(t, "", nil)
	resp := h.put(`{"planningProvider":"anthropic"}`)
	const missing = "Configure ANTON_ANTHROPIC_API_KEY for Anthropic."
	if resp.ConfigReady || resp.ConfigError != missing || resp.CompatConfigReady || resp.CompatConfigError != missing {
		t.Errorf("without a key: %v", resp)
	}
	resp = h.put(`{"anthropicApiKey":"k"}`)
	if !resp.ConfigReady || resp.ConfigError != "" || !resp.CompatConfigReady {
		t.Errorf("with a key: %v", resp)
	}
	if s := h.get(); !s.ConfigReady || s.ConfigError != "" || !s.CompatConfigReady || s.ProviderLabel != "Anthropic" {
		t.Errorf("settings: %v", s)
	}
	if resp = h.put(`{"planningProvider":"","anthropicApiKey":""}`); !resp.ConfigReady {
		t.Errorf("back to the default: %v", resp)
	}
}

func TestBadInputChangesNothing(t *testing.T) {
	const before = "# mine\nANTON_OPENAI_API_KEY=old\n"
	for _, c := range []struct{ body, reason, field string }{
		{`{"planningProvider":"skynet"}`, "UNKNOWN_PROVIDER", ""},
		{`{"codingProvider":"OpenAI"}`, "UNKNOWN_PROVIDER", ""},
		{`{"providers":[{"type":"skynet"}]}`, "UNKNOWN_PROVIDER", ""},
		{`{"modelOverrides":{"coding":{"providerType":"skynet","model":"m"}}}`, "UNKNOWN_PROVIDER", ""},
		{`{"openaiApiKey":"a\nEVIL=1"}`, "INVALID_VALUE", ""},
		{`{"openaiApiKey":"a\r"}`, "INVALID_VALUE", ""},
		{`{"openaiApiKey":"a\u0000b"}`, "INVALID_VALUE", ""},
		{`{"planningModel":"a\u2028EVIL=1"}`, "INVALID_VALUE", ""},
		{`{"planningModel":"a\u0085EVIL=1"}`, "INVALID_VALUE", ""},
		{`{"mindsMindName":"\u001b[0m"}`, "INVALID_VALUE", ""},
		{`{"openaiBaseUrl":"http://h/\nX=1"}`, "INVALID_VALUE", ""},
		{`{"providers":[{"type":"openai","apiKey":"a\nb"}]}`, "INVALID_VALUE", ""},
		{`{"openaiApiKey":"` + strings.Repeat("k", maxValue+1) + `"}`, "INVALID_VALUE", ""},
		{`{"openaiBaseUrl":"localhost:11434"}`, "INVALID_FIELD", "openaiBaseUrl"},
		{`{"openaiBaseUrl":"ftp://h"}`, "INVALID_FIELD", "openaiBaseUrl"},
		{`{"openaiBaseUrl":"http://"}`, "INVALID_FIELD", "openaiBaseUrl"},
		{`{"openaiBaseUrl":"http://:80"}`, "INVALID_FIELD", "openaiBaseUrl"},
		{`{"openaiBaseUrl":"http://u:p@h"}`, "INVALID_FIELD", "openaiBaseUrl"},
		{`{"mindsUrl":"http://h?x=1"}`, "INVALID_FIELD", "mindsUrl"},
		{`{"publishUrl":"javascript:alert(1)"}`, "INVALID_FIELD", "publishUrl"},
		{`{"memoryMode":"sometimes"}`, "INVALID_FIELD", "memoryMode"},
		{`{"uiUpdateMode":"never"}`, "INVALID_FIELD", "uiUpdateMode"},
		{`{"modelMode":"magic"}`, "INVALID_FIELD", "modelMode"},
		{`{"modelMode":""}`, "INVALID_FIELD", "modelMode"},
		{`{"greeting":"` + strings.Repeat("g", maxText+1) + `"}`, "INVALID_FIELD", "greeting"},
		{`{"modelOverrides":{"planning":"gpt"}}`, "INVALID_FIELD", "modelOverrides.planning"},
		{`{"modelOverrides":{"planning":{"providerType":1}}}`, "INVALID_FIELD", "modelOverrides.planning.providerType"},
		{`{"modelOverrides":{"coding":{"providerType":"openai","model":[]}}}`, "INVALID_FIELD", "modelOverrides.coding.model"},
		{`{"providers":["openai"]}`, "INVALID_FIELD", "providers.0"},
		{`{"providers":[{"apiKey":"k"}]}`, "INVALID_FIELD", "providers.0.type"},
		{`{"providers":[{"type":null}]}`, "INVALID_FIELD", "providers.0.type"},
		{`{"providers":[{"type":"openai"},{"type":"gemini","apiKey":7}]}`, "INVALID_FIELD", "providers.1.apiKey"},
		{`{"providers":[{"type":"openai","isDefault":"yes"}]}`, "INVALID_FIELD", "providers.0.isDefault"},
		{`{"providers":[{"type":"openai-compatible","baseUrl":"nowhere"}]}`, "INVALID_FIELD", "providers.0.baseUrl"},
		{`{"providers":[{"type":"minds-cloud","mindsUrl":"nowhere"}]}`, "INVALID_FIELD", "providers.0.mindsUrl"},
		{`{"providers":[{"type":"minds-cloud","mindsSslVerify":"no"}]}`, "INVALID_FIELD", "providers.0.mindsSslVerify"},
		{`{"providers":[` + strings.Repeat(`{"type":"openai"},`, maxAccounts) + `{"type":"openai"}]}`, "INVALID_FIELD", "providers"},
	} {
		h := open(t, before, nil)
		// A good change beside the bad one must not be made either.
		f := h.refused(`{"tone":"changed","anthropicApiKey":"changed",` + c.body[1:])
		field := ""
		if len(f.Fields) == 1 {
			field = strings.Join(f.Fields[0].Path, ".")
		}
		if f.Kind != fault.Kind(codes.InvalidArgument) || f.Reason != c.reason || field != c.field {
			t.Errorf("%.80s: %v at %q, want %s at %q", c.body, f, field, c.reason, c.field)
		}
		if got := readFile(t, h.path); got != before {
			t.Errorf("%.80s: file %q", c.body, got)
		}
		if h.get().Tone == "changed" {
			t.Errorf("%.80s: tone changed", c.body)
		}
	}
}

func TestHandEditsWin(t *testing.T) {
	h := open(t, "", nil)
	h.put(`{"openaiApiKey":"one"}`)
	writeFile(t, h.path, "# by hand\nANTON_OPENAI_API_KEY=two\nMORE=1\n")
	h.put(`{"openaiApiKey":"***","memoryEnabled":true}`)
	if got := readFile(t, h.path); got != "# by hand\nANTON_OPENAI_API_KEY=two\nMORE=1\nANTON_MEMORY_ENABLED=true\n" {
		t.Errorf("file: %q", got)
	}
}

func TestStoreFailureChangesNoFile(t *testing.T) {
	h := open(t, "A=1\n", nil)
	for _, c := range []struct {
		err  error
		kind fault.Kind
	}{{store.ErrReadOnly, fault.Unavailable}, {store.ErrFull, fault.Exhausted}} {
		h.db.update = c.err
		f := h.refused(`{"openaiApiKey":"k","greeting":"g"}`)
		if f.Kind != c.kind || f.Message != "Local preferences could not be saved." || !errors.Is(f, c.err) {
			t.Errorf("%v: %v", c.err, f)
		}
		if got := readFile(t, h.path); got != "A=1\n" {
			t.Errorf("file: %q", got)
		}
	}
	noLeftovers(t, h.path)
	h.put(`{"openaiApiKey":"k"}`) // needs no store
}

func TestConcurrentPutsLoseNothing(t *testing.T) {
	h := open(t, "# kept\n", nil)
	bodies := []string{`{"openaiApiKey":"o"}`, `{"anthropicApiKey":"a"}`, `{"mindsApiKey":"m"}`, `{"publishUrl":"http://p"}`,
		`{"greeting":"G"}`, `{"tone":"T"}`, `{"autoPin":false}`, `{"showDots":false,"mindsMindName":"n"}`,
		`{"modelMode":"custom"}`, `{"accentVariant":"V"}`, `{"memoryMode":"off"}`, `{"showCounters":false}`}
	var wg sync.WaitGroup
	for _, body := range bodies {
		req := request(t, body)
		wg.Go(func() {
			if _, err := h.UpdateSettings(t.Context(), req); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		})
		wg.Go(func() {
			if _, err := h.Model(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := h.get()
	if s.OpenaiApiKey != "***" || s.AnthropicApiKey != "***" || s.MindsApiKey != "***" || s.PublishUrl != "http://p" ||
		s.Greeting != "G" || s.Tone != "T" || s.AutoPin || s.ShowDots || s.MindsMindName != "n" || s.ModelMode != "custom" ||
		s.AccentVariant != "V" || s.MemoryMode != "off" || s.ShowCounters {
		t.Errorf("lost an update: %v", s)
	}
	if !strings.HasPrefix(readFile(t, h.path), "# kept\n") {
		t.Error("lost the comment")
	}
}
