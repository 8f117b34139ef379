package blackbox

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
)

// Keys that come in by any way come out by reveal-key and raw alone.
func TestSettingsCanary(t *testing.T) {
	t.Parallel()
	key := func(n int) string { return fmt.Sprintf("sk-KEYCANARY-%d-0123456789abcdef", n) }
	const keys = 9
	b := newBrain(t, key(1), "m")
	s := start(t, alone("ANTON_MINDS_API_KEY="+key(0), "ANTHROPIC_BASE_URL="+b.url, "ANTHILL_LOG_LEVEL=debug"), prepared(func(user, _ string) {
		writeFile(t, filepath.Join(user, ".anton", ".env"), "OPENAI_API_KEY="+key(8)+"\n")
	}))
	clean := func(what string, data []byte) {
		t.Helper()
		for n := range keys {
			canaries(t, what, data, key(n))
		}
	}
	send := func(method, path string, body any) answer {
		t.Helper()
		a := s.do(method, path, body)
		clean(a.what, a.body)
		clean(a.what+" header", fmt.Append(nil, a.header))
		return a
	}
	put := func(body object) { t.Helper(); send(http.MethodPut, "/v1/settings", body).ok() }
	ask := func() {
		t.Helper()
		tn := s.ask(object{"input": "q", "conversation": "c"}).turn()
		for _, f := range tn.frames {
			clean("an event", f.data)
		}
		send(http.MethodPost, "/v1/responses", object{"input": "q", "conversation": "c", "stream": false})
	}
	set := antonv1.NewSettingsServiceClient(s.dial())

	put(object{"planningProvider": "openai-compatible", "planningModel": "m", "openaiBaseUrl": b.url, "openaiApiKey": key(1)})
	ask()
	put(object{"openaiApiKey": key(2)}) // the brain refuses it, quoting it
	ask()
	send(http.MethodPost, "/v1/settings/validate", object{})
	put(object{"providers": []object{{"type": "openai", "apiKey": key(3), "baseUrl": b.url, "isDefault": true}, {"type": "gemini", "apiKey": key(4)},
		{"type": "anthropic", "api_key": key(5)}}})
	ask()
	send(http.MethodPost, "/v1/settings/test-providers", object{"providers": []object{{"type": "openai", "apiKey": key(6), "baseUrl": b.url}}})
	send(http.MethodPost, "/v1/settings/validate-provider", object{"provider": "anthropic", "apiKey": key(7), "baseUrl": b.url})
	send(http.MethodPost, "/v1/settings/validate", object{"planningProvider": "openai", "openaiApiKey": key(7), "openaiBaseUrl": b.url})
	send(http.MethodPost, "/v1/settings/raw", object{"content": "ANTON_ANTHROPIC_API_KEY=" + key(8)}).ok()
	// Refusals do not repeat what they refuse.
	send(http.MethodPut, "/v1/settings", object{"openaiApiKey": key(7) + "\nX=1"}).unacceptable("line break")
	send(http.MethodPut, "/v1/settings", object{"openaiBaseUrl": "http://" + key(7) + "@h"}).unacceptable("password")
	send(http.MethodPut, "/v1/settings", object{"planningProvider": key(7)[:3], "openaiApiKey": key(7)}).unacceptable("unknown provider")
	send(http.MethodPost, "/v1/settings/raw", object{"content": "A=" + key(7) + "\x01"}).unacceptable("control character")
	send(http.MethodPost, "/v1/settings/raw", object{"content": key(7)}).unacceptable("no assignment")
	if _, err := set.UpdateSettings(s.call(), &antonv1.UpdateSettingsRequest{OpenaiApiKey: new(key(7) + "\n")}); err == nil || strings.Contains(err.Error(), key(7)) {
		t.Errorf("%v", err)
	}
	for _, path := range []string{"/health", "/v1/settings", "/v1/settings/configured", "/v1/settings/install-status", "/v1/models", "/v1/models/anton",
		"/v1/conversations?project=all", "/v1/conversations/c/messages", "/v1/settings/reveal-key/skynet"} {
		send(http.MethodGet, path, nil)
	}
	if o := s.get("/v1/settings/reveal-key/anthropic").ok(); o["value"] != key(8) {
		t.Errorf("reveal-key: %v", o)
	}
	if o := s.get("/v1/settings/raw").ok(); o["ANTON_ANTHROPIC_API_KEY"] != key(8) || o["ANTON_OPENAI_API_KEY"] != key(3) {
		t.Errorf("raw: %v", o)
	}
	s.stop()
	clean("stderr", []byte(s.stderr.String()))
	clean("stdout", []byte(s.stdout.String()))
	err := filepath.WalkDir(filepath.Dir(s.home), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == filepath.Join(s.user, ".anton", ".env") {
			return err
		}
		data, err := os.ReadFile(path)
		clean(path, data)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(s.user, ".anton", ".env"))
	if err != nil || !bytes.Contains(data, []byte(key(3))) || bytes.Contains(data, []byte(key(0))) || bytes.Contains(data, []byte(key(7))) {
		t.Errorf("the settings file: %v %s", err, data)
	}
}

// Every field of PUT is taken in both spellings, and shown as it was put.
func TestSettingsBothSpellings(t *testing.T) {
	t.Parallel()
	values := object{"planningProvider": "openai-compatible", "planningModel": "m", "codingProvider": "offline", "codingModel": "c", "openaiBaseUrl": "http://h.example",
		"anthropicApiKey": "sk-a", "openaiApiKey": "sk-o", "mindsApiKey": "sk-m", "mindsUrl": "http://minds.example", "mindsMindName": "n", "mindsDatasource": "d",
		"mindsDatasourceEngine": "e", "mindsSslVerify": false, "publishUrl": "http://p.example", "memoryEnabled": false, "memoryMode": "copilot", "episodicMemory": false,
		"proactiveDashboards": true, "greeting": "G", "tone": "T", "autoPin": false, "showDots": false, "showCounters": false, "accentVariant": "V", "uiUpdateMode": "auto",
		"modelMode": "custom", "modelOverrides": object{"coding": object{"providerType": "offline", "model": "c"}}, "providerStatus": object{"openai": "ok"}}
	snakes := map[string]string{"planningProvider": "planning_provider", "planningModel": "planning_model", "codingProvider": "coding_provider", "codingModel": "coding_model",
		"openaiBaseUrl": "openai_base_url", "anthropicApiKey": "anthropic_api_key", "openaiApiKey": "openai_api_key", "mindsApiKey": "minds_api_key", "mindsUrl": "minds_url",
		"mindsMindName": "minds_mind_name", "mindsDatasource": "minds_datasource", "mindsDatasourceEngine": "minds_datasource_engine", "mindsSslVerify": "minds_ssl_verify",
		"publishUrl": "publish_url", "memoryEnabled": "memory_enabled", "memoryMode": "memory_mode", "episodicMemory": "episodic_memory", "proactiveDashboards": "proactive_dashboards",
		"greeting": "greeting", "tone": "tone", "autoPin": "auto_pin", "showDots": "show_dots", "showCounters": "show_counters", "accentVariant": "accent_variant",
		"uiUpdateMode": "ui_update_mode", "modelMode": "model_mode", "modelOverrides": "model_overrides", "providerStatus": "provider_status"}
	a, b := start(t, alone()), start(t, alone())
	snake := object{}
	for name, v := range values {
		snake[snakes[name]] = v
	}
	snake["model_overrides"] = object{"coding": object{"provider_type": "offline", "model": "c"}}
	x, y := a.put("/v1/settings", values), b.put("/v1/settings", snake)
	if x.ok(); string(x.body) != string(y.body) || len(texts(x.object()["updated"])) < 25 {
		t.Errorf("%v\n%v", x, y)
	}
	shown := a.get("/v1/settings")
	if other := b.get("/v1/settings"); string(shown.body) != string(other.body) {
		t.Errorf("%s\n%s", shown.body, other.body)
	}
	o := shown.ok()
	for name, v := range values {
		want := v
		switch {
		case strings.HasSuffix(name, "ApiKey"):
			want = "***"
		case name == "modelOverrides":
			want = object{"coding": object{"providerType": "offline", "model": "c"}}
		case name == "providerStatus":
			o[name], want = o[name].(object)["openai"], "ok"
		}
		if fmt.Sprint(o[name]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", name, o[name], want)
		}
	}
	a.put("/v1/settings", object{"planningModel": "x", "planning_model": "y"}).unacceptable("both spellings at once")

	// Accounts have fields of their kind, and what is shown can be sent back.
	a.put("/v1/settings", object{"providers": []object{{"type": "minds-cloud", "api_key": "sk-m", "minds_url": "http://minds.example", "minds_mind_name": "N",
		"minds_datasource": "D", "minds_datasource_engine": "E", "minds_ssl_verify": false, "is_default": true},
		{"type": "openai-compatible", "apiKey": "sk-c", "baseUrl": "http://c.example", "name": "Mine"}}}).ok()
	list := a.get("/v1/settings").ok()["providers"].([]any)
	hub, mine := list[0].(object), list[1].(object)
	if fmt.Sprint(hub["type"], hub["apiKey"], hub["isDefault"], hub["mindsUrl"], hub["mindsMindName"], hub["mindsDatasource"], hub["mindsDatasourceEngine"], hub["mindsSslVerify"]) !=
		"minds-cloud***truehttp://minds.exampleNDEfalse" {
		t.Errorf("%v", hub)
	}
	if fmt.Sprint(mine["type"], mine["apiKey"], mine["isDefault"], mine["baseUrl"], mine["name"], mine["mindsUrl"]) != "openai-compatible***falsehttp://c.exampleMine<nil>" {
		t.Errorf("%v", mine)
	}
	before := a.get("/v1/settings/raw").body
	again := a.put("/v1/settings", object{"providers": list}).ok()
	if sameList(t, "sent back", texts(again["updated"]), "ui:providers"); !bytes.Equal(before, a.get("/v1/settings/raw").body) {
		t.Errorf("sending back what was shown changed the file: %s", a.get("/v1/settings/raw").body)
	}
	a.put("/v1/settings", object{"providers": []object{{"type": "minds-cloud", "apiKey": ""}}}).ok()
	if raw := a.get("/v1/settings/raw").ok(); raw["ANTON_MINDS_API_KEY"] != nil || raw["ANTON_OPENAI_API_KEY"] != nil || strings.Contains(str(raw, "content"), "sk-c") {
		t.Errorf("removed keys stay: %v", raw)
	}
}
