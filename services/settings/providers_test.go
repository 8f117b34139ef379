package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// inForce shows both roles with their keys, which are invented here.
func (h *house) inForce() string {
	p, c := h.model(), h.coding()
	return fmt.Sprintf("%s %s %s %s | %s %s %s %s", p.Provider, p.Model, p.BaseURL, p.APIKey, c.Provider, c.Model, c.BaseURL, c.APIKey)
}

func (h *house) listed() string {
	var out []string
	for _, p := range h.get().Providers {
		s := p.Type
		if p.ApiKey != "" {
			s += "+key"
		}
		if p.BaseUrl != "" {
			s += "@" + p.BaseUrl
		}
		if p.Name != "" {
			s += "=" + p.Name
		}
		if p.IsDefault {
			s += "!"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestProvidersDeriveTheFile(t *testing.T) {
	for _, c := range []struct {
		what, body string
		file       map[string]string
		inForce    string
		listed     string
	}{
		{"openai", `{"providers":[{"type":"openai","apiKey":"o","isDefault":true}]}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai", "ANTON_PLANNING_MODEL": "gpt-5.4", "ANTON_CODING_PROVIDER": "openai",
				"ANTON_CODING_MODEL": "gpt-5.4-mini", "ANTON_OPENAI_API_KEY": "o"},
			"openai gpt-5.4 https://api.openai.com/v1 o | openai gpt-5.4-mini https://api.openai.com/v1 o", "openai+key!"},
		{"the first is the default", `{"providers":[{"type":"openai-compatible","baseUrl":"http://l:1","name":"Ollama"},{"type":"anthropic","apiKey":"a"}]}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai-compatible", "ANTON_CODING_PROVIDER": "openai-compatible",
				"ANTON_OPENAI_BASE_URL": "http://l:1", "ANTON_ANTHROPIC_API_KEY": "a"},
			"openai-compatible default http://l:1/v1  | openai-compatible default http://l:1/v1 ",
			"openai-compatible@http://l:1=Ollama! anthropic+key"},
		{"gemini", `{"providers":[{"type":"openai","apiKey":"o"},{"type":"gemini","apiKey":"g","isDefault":true}]}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai-compatible", "ANTON_PLANNING_MODEL": "gemini-2.5-pro",
				"ANTON_CODING_PROVIDER": "openai-compatible", "ANTON_CODING_MODEL": "gemini-2.5-flash",
				"ANTON_OPENAI_API_KEY": "g", "ANTON_OPENAI_BASE_URL": geminiAPI, "ANTON_PROVIDER_OPENAI_API_KEY": "o"},
			"openai-compatible gemini-2.5-pro " + geminiAPI + " g | openai-compatible gemini-2.5-flash " + geminiAPI + " g",
			"openai+key gemini+key!"},
		{"minds", `{"providers":[{"type":"minds-cloud","apiKey":"m","mindsUrl":"http://minds","mindsMindName":"n","mindsSslVerify":false,"isDefault":true},{"type":"openai","apiKey":"o"}]}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai-compatible", "ANTON_PLANNING_MODEL": "latest:sonnet",
				"ANTON_CODING_PROVIDER": "openai-compatible", "ANTON_CODING_MODEL": "latest:haiku", "ANTON_MINDS_API_KEY": "m",
				"ANTON_MINDS_URL": "http://minds", "ANTON_MINDS_MIND_NAME": "n", "ANTON_MINDS_SSL_VERIFY": "false", "ANTON_PROVIDER_OPENAI_API_KEY": "o"},
			"openai-compatible latest:sonnet http://minds/api/v1 m | openai-compatible latest:haiku http://minds/api/v1 m",
			"minds-cloud+key@http://minds! openai+key"},
		{"offline", `{"providers":[{"type":"openai","apiKey":"o"},{"type":"offline","apiKey":"","isDefault":true}]}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "offline", "ANTON_PLANNING_MODEL": "offline", "ANTON_CODING_PROVIDER": "offline",
				"ANTON_CODING_MODEL": "offline", "ANTON_PROVIDER_OPENAI_API_KEY": "o"},
			"offline offline   | offline offline  ", "openai+key offline!"},
		{"single fields do not count", `{"providers":[{"type":"openai","apiKey":"o"}],"planningProvider":"skynet","openaiApiKey":"x\n","mindsApiKey":"m","publishUrl":"http://p"}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai", "ANTON_PLANNING_MODEL": "gpt-5.4", "ANTON_CODING_PROVIDER": "openai",
				"ANTON_CODING_MODEL": "gpt-5.4-mini", "ANTON_OPENAI_API_KEY": "o", "ANTON_PUBLISH_URL": "http://p"},
			"openai gpt-5.4 https://api.openai.com/v1 o | openai gpt-5.4-mini https://api.openai.com/v1 o", "openai+key!"},
		{"the later of a kind", `{"providers":[{"type":"openai","apiKey":"x"},{"type":"openai","apiKey":"o"}]}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai", "ANTON_PLANNING_MODEL": "gpt-5.4", "ANTON_CODING_PROVIDER": "openai",
				"ANTON_CODING_MODEL": "gpt-5.4-mini", "ANTON_OPENAI_API_KEY": "o"},
			"openai gpt-5.4 https://api.openai.com/v1 o | openai gpt-5.4-mini https://api.openai.com/v1 o", "openai+key!"},
		{"two of a family", `{"providers":[{"type":"openai","apiKey":"o"},{"type":"openai-compatible","apiKey":"c","baseUrl":"http://c"}],
				"modelMode":"custom","modelOverrides":{"planning":{"providerType":"openai-compatible","model":"big"},"coding":{"providerType":"openai","model":"small"}}}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai-compatible", "ANTON_PLANNING_MODEL": "big", "ANTON_OPENAI_API_KEY": "c",
				"ANTON_OPENAI_BASE_URL": "http://c", "ANTON_CODING_PROVIDER": "openai", "ANTON_CODING_MODEL": "small",
				"ANTON_CODING_BASE_URL": openaiAPI, "ANTON_PROVIDER_OPENAI_API_KEY": "o"},
			"openai-compatible big http://c/v1 c | openai small https://api.openai.com/v1 o",
			"openai+key! openai-compatible+key@http://c"},
		{"minds and a local one", `{"providers":[{"type":"minds-cloud","apiKey":"m","isDefault":true},{"type":"openai-compatible","baseUrl":"http://c"}],
				"modelMode":"custom","modelOverrides":{"coding":{"providerType":"openai-compatible","model":"small"}}}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "openai-compatible", "ANTON_PLANNING_MODEL": "latest:sonnet", "ANTON_MINDS_API_KEY": "m",
				"ANTON_CODING_PROVIDER": "openai-compatible", "ANTON_CODING_MODEL": "small", "ANTON_CODING_BASE_URL": "http://c",
				"ANTON_PROVIDER_COMPATIBLE_BASE_URL": "http://c"},
			"openai-compatible latest:sonnet https://api.mindshub.ai/api/v1 m | openai-compatible small http://c/v1 ",
			"minds-cloud+key! openai-compatible@http://c"},
		{"coding alone online", `{"providers":[{"type":"offline","isDefault":true},{"type":"gemini","apiKey":"g"}],
				"modelMode":"custom","modelOverrides":{"coding":{"providerType":"gemini","model":"small"}}}`,
			map[string]string{"ANTON_PLANNING_PROVIDER": "offline", "ANTON_PLANNING_MODEL": "offline", "ANTON_OPENAI_API_KEY": "g",
				"ANTON_OPENAI_BASE_URL": geminiAPI, "ANTON_CODING_PROVIDER": "openai-compatible", "ANTON_CODING_MODEL": "small"},
			"offline offline   | openai-compatible small " + geminiAPI + " g", "offline! gemini+key"},
	} {
		h := open(t, "", nil)
		resp := h.put(c.body)
		if !resp.ConfigReady {
			t.Errorf("%s: %v", c.what, resp)
		}
		if got := h.env(); !maps.Equal(got, c.file) {
			t.Errorf("%s: file\ngot  %v\nwant %v", c.what, got, c.file)
		}
		if got := h.inForce(); got != c.inForce {
			t.Errorf("%s: in force\ngot  %s\nwant %s", c.what, got, c.inForce)
		}
		if got := h.listed(); got != c.listed {
			t.Errorf("%s: listed %s, want %s", c.what, got, c.listed)
		}
	}
}

// What GET shows can be sent back and changes nothing.
func TestProvidersRoundTrip(t *testing.T) {
	for _, file := range []string{
		"ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=o\nANTON_PLANNING_MODEL=gpt-5.4\nANTON_CODING_PROVIDER=openai\nANTON_CODING_MODEL=gpt-5.4-mini\n",
		"ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://l:1/v1\nANTON_PLANNING_MODEL=mine\nANTON_CODING_PROVIDER=openai-compatible\nANTON_CODING_MODEL=mine2\nANTON_ANTHROPIC_API_KEY=a\n",
		"ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=" + geminiAPI + "\nANTON_OPENAI_API_KEY=g\nANTON_PLANNING_MODEL=gemini-2.5-pro\nANTON_CODING_PROVIDER=openai-compatible\nANTON_CODING_MODEL=gemini-2.5-flash\n",
		"ANTHROPIC_BASE_URL=http://by-hand\nANTON_MINDS_URL=http://by-hand\nANTON_PLANNING_PROVIDER=openai\nANTON_PLANNING_MODEL=gpt-5.4\nANTON_CODING_PROVIDER=openai\nANTON_CODING_MODEL=gpt-5.4-mini\n",
	} {
		h := open(t, file, nil)
		before := h.inForce()
		var items []string
		for _, p := range h.get().Providers {
			items = append(items, fmt.Sprintf(`{"type":%q,"apiKey":%q,"baseUrl":%q,"name":%q,"isDefault":%t}`, p.Type, p.ApiKey, p.BaseUrl, p.Name, p.IsDefault))
		}
		resp := h.put(`{"providers":[` + strings.Join(items, ",") + `]}`)
		if !slices.Equal(resp.Updated, []string{"ui:providers"}) || readFile(t, h.path) != file || h.inForce() != before {
			t.Errorf("%q: updated %q, file %q, in force %s", file, resp.Updated, readFile(t, h.path), h.inForce())
		}
	}
}

func TestChangingToAndFroKeepsKeys(t *testing.T) {
	h := open(t, "# mine\n", nil)
	for _, main := range []string{"openai", "gemini", "openai-compatible", "minds-cloud", "anthropic", "offline", "openai", "minds-cloud"} {
		var items []string
		for _, k := range []string{"openai", "gemini", "openai-compatible", "minds-cloud", "anthropic", "offline"} {
			apiKey := "***"
			if len(h.get().Providers) == 0 {
				apiKey = "key-" + k
			}
			if k == "offline" {
				apiKey = ""
			}
			base := ""
			if k == "openai-compatible" {
				base = `,"baseUrl":"http://c"`
			}
			items = append(items, fmt.Sprintf(`{"type":%q,"apiKey":%q,"isDefault":%t%s}`, k, apiKey, k == main, base))
		}
		h.put(`{"providers":[` + strings.Join(items, ",") + `]}`)
		m := h.model()
		if want := "key-" + main; main != "offline" && m.APIKey != want {
			t.Errorf("%s: key %q", main, m.APIKey)
		}
		e := env{file: h.env()}
		for _, k := range []string{"openai", "gemini", "openai-compatible", "minds-cloud", "anthropic"} {
			if got := e.account(k).key; got != "key-"+k {
				t.Errorf("default %s: key of %s is %q", main, k, got)
			}
		}
		for name, v := range h.env() { // each key in one place only
			for other, w := range h.env() {
				if strings.HasPrefix(v, "key-") && v == w && name != other {
					t.Errorf("default %s: %s and %s hold the same key", main, name, other)
				}
			}
		}
	}
}

func TestRemovedProviderTakesItsKeyAlong(t *testing.T) {
	h := open(t, "# mine\nOPENAI_API_KEY=legacy\nANTON_ANTHROPIC_API_KEY=a\nANTON_MINDS_API_KEY=m\nANTON_MINDS_DATASOURCE=d\nKEEP=1\n", nil)
	resp := h.put(`{"providers":[]}`)
	if got := readFile(t, h.path); got != "# mine\nKEEP=1\n" {
		t.Errorf("file: %q", got)
	}
	want := []string{"deleted:OPENAI_API_KEY", "deleted:ANTON_ANTHROPIC_API_KEY", "deleted:ANTON_MINDS_API_KEY", "deleted:ANTON_MINDS_DATASOURCE", "ui:providers"}
	if !resp.ConfigReady || !slices.Equal(resp.Updated, want) || h.model().Provider != "offline" || h.listed() != "" {
		t.Errorf("%v, listed %q", resp, h.listed())
	}
}

func TestOverridesAlone(t *testing.T) {
	const file = "ANTON_PLANNING_PROVIDER=openai-compatible\nANTON_OPENAI_BASE_URL=http://l:1\nANTON_PLANNING_MODEL=mine\nANTON_ANTHROPIC_API_KEY=a\n"
	h := open(t, file, nil)
	h.put(`{"modelMode":"default"}`)
	if got := readFile(t, h.path); got != file {
		t.Errorf("the mode it had: %q", got)
	}
	resp := h.put(`{"modelMode":"custom","modelOverrides":{"coding":{"providerType":"offline","model":""},"painting":{"x":1},"planning":null}}`)
	if got, want := h.inForce(), "openai-compatible mine http://l:1/v1  | offline offline  "; got != want {
		t.Errorf("coding overridden: %s\n%v", got, resp)
	}
	s := h.get()
	if s.ModelMode != "custom" || len(s.ModelOverrides) != 1 || s.ModelOverrides["coding"].GetProviderType() != "offline" {
		t.Errorf("settings: %v", s.ModelOverrides)
	}
	h.put(`{"modelOverrides":{"planning":{"providerType":"openai-compatible","model":"other"}}}`)
	if got, want := h.inForce(), "openai-compatible other http://l:1/v1  | openai-compatible default http://l:1/v1 "; got != want {
		t.Errorf("replaced: %s", got)
	}
	if m := h.get().ModelOverrides; len(m) != 1 {
		t.Errorf("overrides are replaced as a whole: %v", m)
	}
	// Fields that name a provider or a model have the last word.
	h.put(`{"modelMode":"default","modelOverrides":{},"planningModel":"named"}`)
	if got := h.model(); got.Model != "named" {
		t.Errorf("named: %v", got)
	}
}

func TestOverridesNeverReplaceAnUnknownProvider(t *testing.T) {
	h := open(t, "ANTON_PLANNING_PROVIDER=skynet\n", nil)
	resp := h.put(`{"modelMode":"custom"}`)
	if resp.ConfigReady || readFile(t, h.path) != "ANTON_PLANNING_PROVIDER=skynet\n" {
		t.Errorf("%v %q", resp, readFile(t, h.path))
	}
}

func TestOverrideWithoutAddressIsRefused(t *testing.T) {
	h := open(t, "", nil)
	f := h.refused(`{"providers":[{"type":"openai","apiKey":"o","isDefault":true},{"type":"openai-compatible"}],
		"modelMode":"custom","modelOverrides":{"coding":{"providerType":"openai-compatible","model":"m"}}}`)
	if f.Reason != "INVALID_FIELD" || len(h.env()) != 0 {
		t.Errorf("%v, file %v", f, h.env())
	}
}

// The single field switches between accounts that the list has set up.
func TestSingleFieldSwitchBringsTheKeyBack(t *testing.T) {
	h := open(t, "", nil)
	h.put(`{"providers":[{"type":"openai","apiKey":"o"},{"type":"gemini","apiKey":"g","isDefault":true}]}`)
	h.put(`{"planningProvider":"openai-compatible"}`) // as it is: no switch
	if m := h.model(); m.APIKey != "g" || m.BaseURL != geminiAPI {
		t.Errorf("unchanged: %v", m)
	}
	h.put(`{"planningProvider":"openai","planningModel":"x"}`)
	if m := h.model(); m.APIKey != "o" || m.BaseURL != openaiAPI || m.Model != "x" {
		t.Errorf("switched: %v", m)
	}
	h.put(`{"planningProvider":"gemini","planningModel":""}`)
	if m := h.model(); m.APIKey != "g" || m.BaseURL != geminiAPI || m.Model != "gemini-2.5-pro" {
		t.Errorf("and back: %v", m)
	}
}

func TestKeyOfTheProcessStaysOutOfTheFile(t *testing.T) {
	h := open(t, "", map[string]string{"OPENAI_API_KEY": "process-key"})
	if got := h.listed(); got != "openai+key" {
		t.Errorf("listed %s", got)
	}
	resp := h.put(`{"providers":[{"type":"openai","apiKey":"***","isDefault":true}]}`)
	if m := h.model(); !resp.ConfigReady || m.APIKey != "process-key" {
		t.Errorf("%v %v", resp, m)
	}
	h.put(`{"modelMode":"custom","modelOverrides":{"planning":{"providerType":"openai","model":"x"}}}`)
	if m := h.model(); m.Model != "x" || m.APIKey != "process-key" || strings.Contains(readFile(t, h.path), "process-key") {
		t.Errorf("%v, file %q", m, readFile(t, h.path))
	}
}
