package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
)

// POST /v1/settings/validate asks the provider, and saves nothing.
func TestSettingsValidate(t *testing.T) {
	t.Parallel()
	const key = "sk-KEYCANARY-validate-0123456789"
	b := newBrain(t, key, "m1")
	var file string
	s := start(t, alone("ANTHROPIC_BASE_URL="+b.url), prepared(func(user, _ string) {
		file = filepath.Join(user, ".anton", ".env")
		writeFile(t, file, envFile)
	}))
	check := func(what string, a answer, status, detail string) {
		t.Helper()
		o := a.ok()
		if o["status"] != status || !strings.Contains(str(o, "detail"), detail) {
			t.Errorf("%s: %v", what, a)
		}
		needs := status == "needs_config"
		if o["configReady"] != !needs || o["config_ready"] != !needs || o["configError"] != o["config_error"] || (str(o, "configError") != "") != needs {
			t.Errorf("%s: %v", what, a)
		}
		if _, ok := o["provider"].(string); !ok || o["model"] == nil || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v %v", what, a, a.header)
		}
		canaries(t, what, a.body, key)
	}
	validate := func(what string, body any, status, detail string, asked ...string) {
		t.Helper()
		check(what, s.post("/v1/settings/validate", body), status, detail)
		sameList(t, what, b.asked(), asked...)
	}
	validate("fresh home", object{}, "ok", "offline")
	validate("no body", "", "ok", "offline")
	dead := deadURL()
	validate("supposed", object{"planningProvider": "openai-compatible", "planningModel": "m1", "openaiBaseUrl": b.url, "openaiApiKey": key}, "ok", "takes the key", "GET /v1/models "+key)
	validate("supposed in snake case", object{"planning_provider": "openai", "openai_base_url": b.url + "/v1", "openai_api_key": "wrong"}, "failed", "refused the API key", "GET /v1/models wrong")
	validate("supposed, incomplete", object{"planningProvider": "anthropic"}, "needs_config", "ANTON_ANTHROPIC_API_KEY")
	validate("supposed, nobody there", object{"planningProvider": "openai-compatible", "openaiBaseUrl": dead}, "failed", "Nothing listens")
	validate("one provider", object{"provider": "anthropic", "apiKey": key}, "ok", "takes the key", "GET /v1/models "+key)
	if data, err := os.ReadFile(file); err != nil || string(data) != envFile {
		t.Errorf("something was saved: %v %q", err, data)
	}
	if o := s.get("/v1/settings").ok(); o["planningProvider"] != "offline" {
		t.Errorf("something was saved: %v", o["planningProvider"])
	}

	s.put("/v1/settings", object{"planningProvider": "anthropic", "anthropicApiKey": key, "planningModel": "m1"}).ok()
	validate("configured", object{}, "ok", "Anthropic answers and takes the key.", "GET /v1/models "+key)
	s.put("/v1/settings", object{"planningModel": "m7"}).ok()
	validate("unlisted model", object{}, "ok", "does not list the model m7", "GET /v1/models "+key)
	b.wants("rotated")
	validate("rotated key", object{}, "failed", "refused the API key", "GET /v1/models "+key)
	set := antonv1.NewSettingsServiceClient(s.dial())
	v, err := set.ValidateSettings(s.call(), &antonv1.ValidateSettingsRequest{AnthropicApiKey: proto.String("rotated")})
	if err != nil || v.Status != "ok" || v.Provider != "anthropic" || v.Model != "m7" || !v.ConfigReady {
		t.Errorf("gRPC: %v %v", v, err)
	}
	_, err = set.ValidateSettings(s.call(), &antonv1.ValidateSettingsRequest{PlanningProvider: proto.String("skynet")})
	wantCode(t, "unknown provider", err, codes.InvalidArgument)
	for name, body := range map[string]any{"unknown provider": object{"planningProvider": "skynet"}, "unknown name": object{"provider": "skynet"},
		"line break": object{"openaiApiKey": "a\nb"}, "no URL": object{"openaiBaseUrl": "x"}, "number": object{"planningModel": 7}, "list": []any{}} {
		s.post("/v1/settings/validate", body).unacceptable(name)
	}
	s.stop()
	canaries(t, "stderr", []byte(s.stderr.String()), key)
}

// POST /v1/settings/test-providers asks all at once and remembers.
func TestSettingsTestProviders(t *testing.T) {
	t.Parallel()
	const key = "sk-KEYCANARY-testing-0123456789"
	good, bad := newBrain(t, key), newBrain(t, "other")
	s := start(t, alone())
	s.put("/v1/settings", object{"providers": []object{
		{"type": "openai", "apiKey": key, "baseUrl": good.url, "isDefault": true},
		{"type": "anthropic", "apiKey": key, "baseUrl": bad.url},
		{"type": "openai-compatible", "apiKey": "", "baseUrl": deadURL()},
		{"type": "minds-cloud", "apiKey": key, "mindsUrl": good.url},
		{"type": "gemini", "apiKey": ""}}}).ok()
	want := map[string]any{"openai": "ok", "anthropic": "fail", "openai-compatible": "fail", "minds-cloud": "ok", "gemini": "fail"}
	details := map[string]any{"openai": "HTTP 200", "anthropic": "HTTP 401", "openai-compatible": "connection refused", "minds-cloud": "HTTP 200", "gemini": "missing API key"}
	a := s.post("/v1/settings/test-providers", object{})
	o := a.ok()
	if fmt.Sprint(o["providerStatus"]) != fmt.Sprint(want) || fmt.Sprint(o["providerStatusDetails"]) != fmt.Sprint(details) {
		t.Errorf("%v", a)
	}
	canaries(t, "the answer", a.body, key)
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.header)
	}
	shown := func() object { t.Helper(); return s.get("/v1/settings").ok()["providerStatus"].(object) }
	remembered := func(what string) {
		t.Helper()
		got := shown()
		for kind, status := range want {
			if got[kind] != status {
				t.Errorf("%s: %s is %v, want %v", what, kind, got[kind], status)
			}
		}
		if got["ollama"] != "untested" || got["offline"] != "untested" {
			t.Errorf("%s: %v", what, got)
		}
	}
	remembered("at once")
	s.stop()
	s.restart()
	remembered("after a restart")

	// What is not saved can be tested; a stored key does not go elsewhere.
	good.asked()
	o = s.post("/v1/settings/test-providers", object{"providers": []object{{"type": "anthropic", "apiKey": "other", "baseUrl": bad.url},
		{"type": "openai", "apiKey": "***", "baseUrl": bad.url}}}).ok()
	if fmt.Sprint(o["providerStatus"]) != "map[anthropic:ok openai:fail]" || len(good.asked()) != 0 {
		t.Errorf("%v", o)
	}
	sameList(t, "the other server", bad.asked()[1:], "GET /v1/models other")
	if got := shown(); got["anthropic"] != "ok" || got["openai"] != "fail" {
		t.Errorf("%v", got)
	}
	s.put("/v1/settings", object{"anthropicApiKey": "changed"}).ok()
	if got := shown(); got["anthropic"] != "untested" {
		t.Errorf("a test of another key holds: %v", got)
	}
	s.put("/v1/settings", object{"provider_status": object{"anthropic": "fail"}}).ok()
	if got := shown(); got["anthropic"] != "fail" {
		t.Errorf("told by a client: %v", got)
	}

	list, err := structpb.NewList([]any{map[string]any{"type": "openai", "api_key": key, "base_url": good.url}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := antonv1.NewSettingsServiceClient(s.dial()).TestProviders(s.call(), &antonv1.TestProvidersRequest{Providers: list})
	if err != nil || r.ProviderStatus["openai"] != "ok" {
		t.Errorf("gRPC: %v %v", r, err)
	}
	for name, body := range map[string]any{"unknown": object{"providers": []object{{"type": "skynet"}}}, "no list": object{"providers": "openai"},
		"no type": object{"providers": []object{{}}}, "line break": object{"providers": []object{{"type": "openai", "apiKey": "a\nb"}}}, "list": []any{}} {
		s.post("/v1/settings/test-providers", body).unacceptable(name)
	}
	s.post("/v1/settings/test-providers", "").ok()
	s.stop()
	canaries(t, "stderr", []byte(s.stderr.String()), key)
}

// POST /v1/settings/validate-provider answers 200 whatever comes of it.
func TestSettingsValidateProvider(t *testing.T) {
	t.Parallel()
	const key = "sk-KEYCANARY-one-0123456789"
	b := newBrain(t, key)
	s := start(t, alone())
	s.put("/v1/settings", object{"anthropicApiKey": key, "planningProvider": "openai-compatible", "openaiBaseUrl": b.url, "openaiApiKey": key}).ok()
	set := antonv1.NewSettingsServiceClient(s.dial())
	for _, tc := range []struct{ provider, key, base, err string }{
		{"anthropic", key, b.url, ""},
		{"minds", key, b.url, ""},
		{"openai", key, b.url + "/v1", ""},
		{"openai-compatible", key, b.url, ""},
		{"openai-compatible", "***", "", ""},
		{"openai-compatible", "***", b.url + "/v1", ""},
		{"openai-compatible", "***", deadURL(), "belongs to another address"},
		{"anthropic", "***", b.url, "belongs to another address"},
		{"anthropic", "wrong", b.url, "refused the API key"},
		{"minds", "wrong", b.url, "refused the API key"},
		{"openai", "", b.url, "An API key is needed"},
		{"openai", key, deadURL(), "Nothing listens"},
		{"openai", key, "nonsense", "must be an http"},
		{"openai", key, "http://169.254.169.254", "not asked"},
		{"openai", "a\nb", b.url, "characters that no key has"},
		{"skynet", key, b.url, "Unknown provider"},
	} {
		a := s.post("/v1/settings/validate-provider", object{"provider": tc.provider, "apiKey": tc.key, "baseUrl": tc.base, "model": "m"})
		o := a.ok()
		if o["ok"] != (tc.err == "") || !strings.Contains(str(o, "error"), tc.err) || (tc.err == "") != (str(o, "error") == "") {
			t.Errorf("%+v: %v", tc, a)
		}
		canaries(t, "the answer", a.body, key)
		r, err := set.ValidateProvider(s.call(), &antonv1.ValidateProviderRequest{Provider: &tc.provider, ApiKey: &tc.key, BaseUrl: tc.base})
		if err != nil || r.Ok != (tc.err == "") || !strings.Contains(r.Error, tc.err) {
			t.Errorf("%+v: by gRPC %v %v", tc, r, err)
		}
	}
	for name, body := range map[string]any{"nothing": "", "empty": object{}, "no key": object{"provider": "openai"}, "no provider": object{"apiKey": "x"},
		"number": object{"provider": "openai", "apiKey": 7}, "NUL": object{"provider": "openai", "apiKey": "a\x00"}} {
		if a := s.post("/v1/settings/validate-provider", body); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v", name, a)
		} else {
			a.shape()
		}
	}
	_, err := set.ValidateProvider(s.call(), &antonv1.ValidateProviderRequest{})
	wantCode(t, "nothing by gRPC", err, codes.InvalidArgument)
	s.stop()
	canaries(t, "stderr", []byte(s.stderr.String()), key)
}
