package blackbox

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// A change of provider, model, key or address reaches the next turn of a live
// conversation, and each provider is spoken to in its own language.
func TestSettingsReachTheNextTurn(t *testing.T) {
	t.Parallel()
	const key = "sk-KEYCANARY-live-0123456789"
	b, c := newBrain(t, key), newBrain(t, key+"-other")
	s := start(t, alone("ANTHROPIC_BASE_URL="+b.url))
	s.ask(object{"input": "hello", "conversation": "live"}).turn()
	put := func(body object) {
		t.Helper()
		if o := s.put("/v1/settings", body).ok(); o["config_ready"] != true || o["configReady"] != true {
			t.Errorf("%v", o)
		}
	}
	next := func(what, want string, at *brain, asked ...string) {
		t.Helper()
		s.says("live", "", want)
		sameList(t, what, at.asked(), asked...)
	}
	put(object{"planningProvider": "openai-compatible", "planningModel": "m1", "openaiBaseUrl": b.url, "openaiApiKey": key})
	next("compatible", "chat m1", b, "POST /v1/chat/completions "+key)
	put(object{"planning_model": "m2"})
	next("another model", "chat m2", b, "POST /v1/chat/completions "+key)
	put(object{"openai_base_url": c.url + "/v1", "openai_api_key": key + "-other"})
	next("another address", "chat m2", c, "POST /v1/chat/completions "+key+"-other")
	put(object{"planningProvider": "openai", "openaiBaseUrl": b.url, "openaiApiKey": key})
	next("OpenAI", "responses m2", b, "POST /v1/responses "+key)
	put(object{"planningProvider": "anthropic", "planningModel": "claude", "anthropicApiKey": key})
	next("Anthropic", "messages claude", b, "POST /v1/messages "+key)
	put(object{"planningProvider": "minds-cloud", "planningModel": "", "mindsUrl": c.url, "mindsApiKey": key + "-other"})
	next("MindsHub", "chat latest:sonnet", c, "POST /api/v1/chat/completions "+key+"-other")
	put(object{"providers": []object{{"type": "anthropic", "api_key": "***", "is_default": true}, {"type": "minds-cloud", "apiKey": "***"}},
		"modelMode": "custom", "model_overrides": object{"planning": object{"provider_type": "anthropic", "model": "claude-2"}}})
	next("from the list", "messages claude-2", b, "POST /v1/messages "+key)

	// A key that is refused shows in the next turn, and so does its mending.
	b.wants("another")
	if tn := s.ask(object{"input": "q", "conversation": "live"}).turn(); tn.end.Code != "provider_auth" {
		t.Errorf("%s", tn.end.data)
	}
	put(object{"providers": []object{{"type": "anthropic", "apiKey": "another"}}})
	b.asked()
	next("the new key", "messages claude-2", b, "POST /v1/messages another")
	if o := s.get("/v1/conversations/live").ok(); o["turns"] != 10.0 {
		t.Errorf("turns %v", o["turns"])
	}
}

// A server without the Responses API is asked by chat completions, and is asked
// for the other only once.
func TestSettingsOpenAIWithoutResponses(t *testing.T) {
	t.Parallel()
	b := newBrain(t, "sk-key")
	b.lacks = "/responses"
	s := start(t, alone("ANTON_PLANNING_PROVIDER=openai", "ANTON_OPENAI_BASE_URL="+b.url, "ANTON_OPENAI_API_KEY=sk-key", "ANTON_PLANNING_MODEL=m"))
	s.says("c", "", "chat m")
	sameList(t, "first", b.asked(), "POST /v1/responses sk-key", "POST /v1/chat/completions sk-key")
	s.says("c", "", "chat m")
	s.says("d", "other", "chat other")
	sameList(t, "then", b.asked(), "POST /v1/chat/completions sk-key", "POST /v1/chat/completions sk-key")
}

// Whether MindsHub's certificate is verified is the user's choice; that of any
// other provider always is.
func TestSettingsCertificates(t *testing.T) {
	t.Parallel()
	b, other := newSecureBrain(t, "sk-key"), newSecureBrain(t, "sk-key")
	s := start(t, alone())
	validate := func(what, status, detail string) {
		t.Helper()
		if o := s.post("/v1/settings/validate", object{}).ok(); o["status"] != status || !strings.Contains(str(o, "detail"), detail) {
			t.Errorf("%s: %v", what, o)
		}
	}
	s.put("/v1/settings", object{"planningProvider": "minds-cloud", "planningModel": "m", "mindsUrl": b.url, "mindsApiKey": "sk-key"}).ok()
	validate("verified", "failed", "certificate is not trusted")
	s.put("/v1/settings", object{"mindsSslVerify": false}).ok()
	validate("not verified", "ok", "takes the key")
	s.says("c", "", "chat m")
	s.put("/v1/settings", object{"planningProvider": "openai-compatible", "openaiBaseUrl": other.url, "openaiApiKey": "sk-key"}).ok()
	validate("another provider", "failed", "certificate is not trusted")
	st := s.ask(object{"input": "q", "conversation": "other"})
	st.until("an attempt", func(f frame) bool { return f.terminal() || strings.Contains(f.Content, "trying again") })
	s.post("/v1/responses/cancel", object{"conversation_id": "other"}).ok()
	st.rest()
	s.put("/v1/settings", object{"planningProvider": "minds-cloud", "minds_ssl_verify": true}).ok()
	validate("verified again", "failed", "certificate is not trusted")
	sameList(t, "the other", other.asked())
}

// How long a provider may be silent is read at each turn, from the environment or
// the settings file.
func TestSettingsPatience(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, alone(), withModel(p), prepared(func(user, _ string) {
		writeFile(t, filepath.Join(user, ".anton", ".env"), "ANTON_PROVIDER_FIRST_BYTE_TIMEOUT=soon\n")
	}))
	raw := func(line string) {
		t.Helper()
		s.post("/v1/settings/raw", object{"content": line}).ok()
	}
	o := s.post("/v1/responses", object{"input": "q", "stream": false}).refused(http.StatusBadRequest, "")
	if detail := str(o, "detail"); detail != "ANTON_PROVIDER_FIRST_BYTE_TIMEOUT must be a duration such as 90s, or a number of seconds, of up to a day." {
		t.Errorf("%q", detail)
	}
	raw("ANTON_PROVIDER_FIRST_BYTE_TIMEOUT=60s\nANTON_PROVIDER_IDLE_TIMEOUT=0.05")
	st := s.ask(object{"input": "q"})
	p.next().text("half an ").left() // silent ever after
	if tn := st.turn(); tn.text != "half an " || tn.end.Type == "response.completed" {
		t.Errorf("%q, then %s", tn.text, tn.end.data)
	}
	raw("ANTON_PROVIDER_IDLE_TIMEOUT=")
	st = s.ask(object{"input": "q"})
	p.next().say("patient")
	if tn := st.turn(); tn.text != "patient" {
		t.Errorf("%q, then %s", tn.text, tn.end.data)
	}
}

// A provider at this server's own address, or where no provider is, is not asked.
func TestSettingsRefusedAddresses(t *testing.T) {
	t.Parallel()
	s := start(t, alone())
	for _, base := range []string{s.url, "http://169.254.169.254/v1", "http://[::ffff:a9fe:a9fe]", "http://0.0.0.0:1", "http://[fe80::1]"} {
		for _, provider := range []string{"openai-compatible", "openai"} {
			s.put("/v1/settings", object{"planningProvider": provider, "planningModel": "m", "openaiBaseUrl": base, "openaiApiKey": "sk-key"}).ok()
			o := s.post("/v1/settings/validate", object{}).ok()
			if o["status"] != "failed" || str(o, "detail") == "" {
				t.Errorf("%s: %v", base, o)
			}
		}
	}
	s.put("/v1/settings", object{"planningProvider": "openai-compatible", "planningModel": "m", "openaiBaseUrl": s.url, "openaiApiKey": ""}).ok()
	st := s.ask(object{"input": "q", "conversation": "loop"})
	st.until("an attempt", func(f frame) bool { return f.terminal() || strings.Contains(f.Content, "trying again") })
	s.post("/v1/responses/cancel", object{"conversation_id": "loop"}).ok()
	st.rest()
	if list := s.get("/v1/conversations?project=all").ok()["conversations"].([]any); len(list) != 1 {
		t.Errorf("the server asked itself: %v", list)
	}
}
