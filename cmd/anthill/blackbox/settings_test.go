package blackbox

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
)

const envFile = `# my settings
ANTON_TERMS_CONSENT=true

OTHER_PROGRAM='keeps its line'   # and its comment
`

// Done when (8): GET and PUT /v1/settings choose the provider live.
func TestSettings(t *testing.T) {
	t.Parallel()
	const key = "sk-KEYCANARY-settings-0123456789"
	p := newProvider(t, nil)
	p.key = key
	var file string
	s := start(t, prepared(func(user, _ string) {
		file = filepath.Join(user, ".anton", ".env")
		writeFile(t, file, envFile)
	}))
	o := s.get("/v1/settings").ok()
	for _, k := range []string{"planningProvider", "planningModel", "codingProvider", "codingModel", "openaiBaseUrl", "anthropicApiKey",
		"openaiApiKey", "mindsApiKey", "mindsUrl", "mindsMindName", "mindsDatasource", "mindsDatasourceEngine", "mindsSslVerify", "publishUrl",
		"memoryEnabled", "memoryMode", "episodicMemory", "proactiveDashboards", "configReady", "configError", "providerLabel", "greeting", "tone",
		"defaultModel", "autoPin", "showDots", "showCounters", "accentVariant", "uiUpdateMode", "providers", "modelMode", "modelOverrides",
		"providerTypes", "providerTypeLabels", "recommendedModels", "recommendedPair", "providerStatus", "config_ready", "config_error"} {
		if _, ok := o[k]; !ok {
			t.Errorf("settings lack %s", k)
		}
	}
	if o["planningProvider"] != "offline" || o["configReady"] != true || o["config_ready"] != true || o["openaiApiKey"] != "" {
		t.Errorf("settings of a fresh home: %v", o)
	}
	s.ask(object{"input": "hello", "conversation": "live"}).turn()

	put := func(body object) object {
		t.Helper()
		return s.put("/v1/settings", body).ok()
	}
	o = put(object{"planningProvider": "openai-compatible", "planningModel": "model-1", "openaiBaseUrl": p.url, "openaiApiKey": key})
	var updated []string
	for _, u := range o["updated"].([]any) {
		updated = append(updated, u.(string))
	}
	for _, want := range []string{"ANTON_PLANNING_PROVIDER", "ANTON_PLANNING_MODEL", "ANTON_OPENAI_BASE_URL", "ANTON_OPENAI_API_KEY"} {
		if !slices.Contains(updated, want) {
			t.Errorf("updated %v, want %s", updated, want)
		}
	}
	if o["status"] != "ok" || o["configReady"] != true || o["config_ready"] != true || o["configError"] != "" || o["config_error"] != "" {
		t.Errorf("PUT answers %v", o)
	}
	next := func(model, key string) {
		t.Helper()
		st := s.ask(object{"input": "again", "conversation": "live"})
		c := p.next()
		if c.Model != model || c.header.Get("Authorization") != "Bearer "+key {
			t.Errorf("the provider is asked for %q with %q", c.Model, c.header.Get("Authorization"))
		}
		c.say("from " + model)
		if tn := st.turn(); tn.text != "from "+model || tn.final.Model != model {
			t.Errorf("%q of %q", tn.text, tn.final.Model)
		}
	}
	next("model-1", key)
	put(object{"planningModel": "model-2"})
	next("model-2", key)
	put(object{"openaiApiKey": "***", "greeting": "Ahoy", "autoPin": false})
	next("model-2", key)
	o = s.get("/v1/settings").ok()
	if o["openaiApiKey"] != "***" || o["planningModel"] != "model-2" || o["greeting"] != "Ahoy" || o["autoPin"] != false || o["openaiBaseUrl"] != p.url {
		t.Errorf("settings %v", o)
	}
	if h := s.get("/health").ok(); h["provider"] != "openai-compatible" || h["model"] != "model-2" || h["config_ready"] != true {
		t.Errorf("health %v", h)
	}
	checkEnvFile(t, file, key)

	// By gRPC, and by hand in the file.
	set := antonv1.NewSettingsServiceClient(s.dial())
	model3 := "model-3"
	if _, err := set.UpdateSettings(s.call(), &antonv1.UpdateSettingsRequest{PlanningModel: &model3}); err != nil {
		t.Fatal(err)
	}
	next("model-3", key)
	got, err := set.GetSettings(s.call(), &antonv1.GetSettingsRequest{})
	if err != nil || got.OpenaiApiKey != "***" || got.PlanningModel != model3 || strings.Contains(got.String(), key) {
		t.Errorf("settings by gRPC: %v %v", got, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, strings.ReplaceAll(string(data), "model-3", "model-by-hand"))
	next("model-by-hand", key)
	s.stop()
	s.restart()
	next("model-by-hand", key)

	// A chosen provider without what it needs says so; nobody answers instead.
	o = put(object{"planningProvider": "openai", "openaiBaseUrl": "", "openaiApiKey": ""})
	problem := str(o, "configError")
	if o["configReady"] != false || !strings.Contains(problem, "ANTON_OPENAI_API_KEY") || o["config_error"] != problem {
		t.Errorf("PUT without a key answers %v", o)
	}
	if h := s.get("/health").ok(); h["config_ready"] != false || h["config_error"] != problem {
		t.Errorf("health %v", h)
	}
	for _, stream := range []bool{true, false} {
		s.post("/v1/responses", object{"input": "q", "conversation": "live", "stream": stream}).refused(http.StatusBadRequest, problem)
	}
	if o := s.get("/v1/conversations/live").ok(); o["turns"] != 7.0 {
		t.Errorf("a refused question left a trace: %v", o)
	}
	put(object{"planningProvider": "offline"})
	s.ask(object{"input": "hello", "conversation": "live"}).turn()
	s.stop()
	canaries(t, "stderr", []byte(s.stderr.String()), key)
	searchFiles(t, s.home, key)
}

func checkEnvFile(t *testing.T, file, key string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(data); !strings.HasPrefix(text, envFile) || !strings.Contains(text, "ANTON_OPENAI_API_KEY="+key) {
		t.Errorf("the settings file does not keep what was in it:\n%s", text)
	}
	for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestSettingsRefusals(t *testing.T) {
	t.Parallel()
	var file string
	s := start(t, prepared(func(user, _ string) {
		file = filepath.Join(user, ".anton", ".env")
		writeFile(t, file, envFile)
	}))
	before := s.get("/v1/settings").body
	for name, body := range map[string]any{
		"unknown provider": object{"planningProvider": "skynet"},
		"line break":       object{"planningModel": "x\nANTON_OPENAI_API_KEY=stolen"},
		"carriage return":  object{"openaiApiKey": "x\ry"},
		"no URL":           object{"openaiBaseUrl": "not a url"},
		"file URL":         object{"openaiBaseUrl": "file:///etc/passwd"},
		"wrong type":       object{"memoryEnabled": "maybe"},
		"number for text":  object{"planningModel": 7},
		"long":             object{"planningModel": strings.Repeat("m", 10_000)},
		"bad mode":         object{"modelMode": "wild"},
		"providers":        object{"providers": "openai"},
		"provider entry":   object{"providers": []any{object{"apiKey": "x"}}},
		"not one field":    object{"planningModel": "good", "memoryMode": "bad"},
		"no object":        []any{},
	} {
		a := s.put("/v1/settings", body)
		if a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest {
			t.Errorf("%s: %v", name, a)
			continue
		}
		a.shape()
	}
	if after := s.get("/v1/settings").body; string(after) != string(before) {
		t.Errorf("a refused change changed something:\n%s\n%s", before, after)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != envFile {
		t.Errorf("the file: %v %q", err, data)
	}
}

// Done when (5): the process environment wins over the settings file.
func TestSettingsOfTheEnvironmentWin(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p), prepared(func(user, _ string) {
		writeFile(t, filepath.Join(user, ".anton", ".env"), "ANTON_PLANNING_PROVIDER=offline\nANTON_PLANNING_MODEL=from-file\n")
	}))
	if tn := s.ask(object{"input": "who?"}).turn(); tn.text != "About who?" || tn.final.Model != "scripted" {
		t.Errorf("%q of %s", tn.text, tn.final.Model)
	}
	if tn := s.ask(object{"input": "who?", "model": "asked-for"}).turn(); tn.final.Model != "asked-for" {
		t.Errorf("a model asked for by name: %s", tn.final.Model)
	}
	if tn := s.ask(object{"input": "who?", "model": "anton"}).turn(); tn.final.Model != "scripted" {
		t.Errorf("model anton: %s", tn.final.Model)
	}
	if o := s.get("/v1/settings").ok(); o["planningProvider"] != "openai-compatible" || o["planningModel"] != "scripted" {
		t.Errorf("settings %v", o)
	}
}
