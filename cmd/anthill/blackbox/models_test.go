package blackbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	antonv1 "anthill/gen/anton/v1"
)

// modelIDs is the list of GET /v1/models.
func (s *server) modelIDs() []string {
	s.t.Helper()
	o := s.get("/v1/models").ok()
	ids := []string{}
	for _, m := range o["data"].([]any) {
		m := m.(object)
		created, isNumber := m["created"].(float64)
		if m["object"] != "model" || !isNumber || created < 1e9 || str(m, "owned_by") == "" || len(m) != 4 {
			s.t.Errorf("%v", m)
		}
		ids = append(ids, str(m, "id"))
	}
	if o["object"] != "list" || len(o) != 2 {
		s.t.Errorf("%v", o)
	}
	return ids
}

func TestModels(t *testing.T) {
	t.Parallel()
	s := start(t, alone())
	sameList(t, "fresh home", s.modelIDs(), "anton", "offline")
	s.put("/v1/settings", object{"providers": []object{{"type": "openai-compatible", "baseUrl": "http://h.example", "isDefault": true}, {"type": "anthropic", "apiKey": "sk-a"}},
		"modelMode": "custom", "modelOverrides": object{"planning": object{"providerType": "openai-compatible", "model": "org/big:8b@q4 x"},
			"coding": object{"providerType": "openai-compatible", "model": "small"}}}).ok()
	ids := s.modelIDs()
	sameList(t, "set up", ids, "anton", "org/big:8b@q4 x", "small", "claude-sonnet-4-6", "claude-opus-4-6", "claude-haiku-4-5-20251001")

	client := antonv1.NewModelsServiceClient(s.dial())
	list, err := client.ListModels(s.call(), &antonv1.ListModelsRequest{})
	if err != nil || list.Object != "list" || len(list.Data) != len(ids) {
		t.Fatalf("gRPC: %v %v", list, err)
	}
	for i, id := range ids {
		for _, path := range []string{url.PathEscape(id), strings.ReplaceAll(id, " ", "%20"), strings.NewReplacer("/", "%2f", ":", "%3a", " ", "%20", "@", "%40").Replace(id)} {
			if o := s.get("/v1/models/" + path).ok(); o["id"] != id || o["object"] != "model" || o["owned_by"] != list.Data[i].OwnedBy {
				t.Errorf("%s: %v", path, o)
			}
		}
		if m, err := client.GetModel(s.call(), &antonv1.GetModelRequest{Model: id}); err != nil || m.String() != list.Data[i].String() {
			t.Errorf("gRPC: %v %v", m, err)
		}
	}
	for _, id := range []string{"gpt-none", "org/big:8b", "org", "org/", "a%2Fb%3Ac", "anton/x", "anton%2F", "..%2f..%2fetc%2fpasswd", "%E2%80%AE", strings.Repeat("x", 5000)} {
		a := s.get("/v1/models/" + id)
		o := a.refused(http.StatusNotFound, "")
		e, _ := o["error"].(object)
		if e["type"] != "invalid_request_error" || str(e, "message") != str(o, "detail") {
			t.Errorf("%v", a)
		}
		if strings.Contains(id, "gpt") && (e["code"] != "model_not_found" || str(o, "detail") != "The model 'gpt-none' does not exist") {
			t.Errorf("%v", a)
		}
	}
	_, err = client.GetModel(s.call(), &antonv1.GetModelRequest{Model: "gpt-none"})
	wantCode(t, "unknown", err, codes.NotFound)
	_, err = client.GetModel(s.call(), &antonv1.GetModelRequest{})
	wantCode(t, "no name", err, codes.InvalidArgument)
	s.post("/v1/models", object{}).refused(http.StatusMethodNotAllowed, "")
}

// offered waits until a name is in the list, or no more: looks are held for a
// few seconds, and end early on a busy machine.
func (s *server) offered(id string, want bool) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%s is offered: %t", id, want), func() bool {
		return slices.Contains(s.modelIDs(), id) == want
	})
}

// Model servers of this machine are found, offered by name, and used by name only.
func TestModelsOfThisMachine(t *testing.T) {
	t.Parallel()
	ollama, studio, cloud := newBrain(t, "", "llama3:latest"), newBrain(t, "", "org/qwen"), newBrain(t, "sk-key")
	s := start(t, withEnv("OLLAMA_HOST="+strings.TrimPrefix(ollama.url, "http://"), "ANTON_LMSTUDIO_URL="+studio.url))
	s.offered("ollama/llama3:latest", true)
	s.offered("lmstudio/org/qwen", true)
	if o := s.get("/v1/models/lmstudio/org/qwen").ok(); o["owned_by"] != "lmstudio" {
		t.Errorf("%v", o)
	}
	got := fmt.Sprint(s.get("/v1/settings").ok()["localProviders"])
	want := fmt.Sprint([]any{object{"type": "ollama", "label": "Ollama", "baseUrl": ollama.url + "/v1", "models": []any{"llama3:latest"}},
		object{"type": "lmstudio", "label": "LM Studio", "baseUrl": studio.url + "/v1", "models": []any{"org/qwen"}}})
	if got != want {
		t.Errorf("local providers %s, want %s", got, want)
	}
	onlyLists := func(what string, b *brain) {
		t.Helper()
		for _, r := range b.asked() {
			if !strings.HasPrefix(r, "GET ") {
				t.Errorf("%s: asked %s", what, r)
			}
		}
	}

	// On a fresh home nobody but the offline provider answers unless asked by name.
	for _, model := range []string{"", "anton", "default", "llama3", "llama3:latest", "gpt-5.4", "ollama", "ollama/", "ollama/other", "lmstudio/llama3:latest"} {
		if tn := s.ask(object{"input": "hello", "model": model}).turn(); tn.final.Model != "offline" || !strings.Contains(tn.text, "No language model is configured") {
			t.Errorf("model %q: %s says %q", model, tn.final.Model, tn.text)
		}
	}
	onlyLists("unasked", ollama)
	onlyLists("unasked", studio)
	for model, want := range map[string]string{"ollama/llama3:latest": "chat llama3:latest", "ollama/llama3": "chat llama3:latest", "lmstudio/org/qwen": "chat org/qwen"} {
		if tn := s.says("mixed", model, want); !strings.HasPrefix(tn.final.Model, strings.SplitAfter(model, "/")[0]) {
			t.Errorf("%s answered as %s", model, tn.final.Model)
		}
	}
	rpc, err := antonv1.NewResponsesServiceClient(s.dial()).CreateResponse(s.call(), &antonv1.CreateResponseRequest{Model: "ollama/llama3",
		Input: []*antonv1.InputItem{{Role: "user", Text: "q"}}})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := receive(rpc); err != nil || eventText(all) != "chat llama3:latest" {
		t.Errorf("gRPC: %q %v", eventText(all), err)
	}
	ollama.asked()

	// Beside a configured provider it is the same; other names go there as they are.
	s.put("/v1/settings", object{"planningProvider": "openai-compatible", "planningModel": "m", "openaiBaseUrl": cloud.url, "openaiApiKey": "sk-key"}).ok()
	for model, want := range map[string]string{"": "chat m", "anton": "chat m", "default": "chat m", "org/other:7b": "chat org/other:7b", "ollama/other": "chat ollama/other"} {
		s.says("cloud", model, want)
	}
	onlyLists("beside a provider", ollama)
	s.says("cloud", "ollama/llama3", "chat llama3:latest")
	for _, r := range ollama.asked() {
		if strings.Contains(r, "sk-key") {
			t.Errorf("the key of the provider went to Ollama: %s", r)
		}
	}

	// Chosen in the settings, it answers by itself.
	s.put("/v1/settings", object{"planningProvider": "ollama", "planningModel": "llama3:latest"}).ok()
	s.says("chosen", "", "chat llama3:latest")
	if o := s.post("/v1/settings/validate", object{}).ok(); o["status"] != "ok" {
		t.Errorf("%v", o)
	}
	if h := s.get("/health").ok(); h["config_ready"] != true || h["provider_label"] != "Ollama" {
		t.Errorf("%v", h)
	}
}

// A server that stopped is not offered any more; whoever asks for its model
// still is told that it does not answer, and by nobody else.
func TestModelsOfAServerThatStopped(t *testing.T) {
	t.Parallel()
	ollama := newBrain(t, "", "llama3:latest")
	s := start(t, alone("ANTON_OLLAMA_URL="+ollama.url))
	s.offered("ollama/llama3:latest", true)
	ollama.mu.Lock()
	ollama.lacks = "s" // …/api/tags, …/completions
	ollama.mu.Unlock()
	s.offered("ollama/llama3:latest", false)
	if list := s.get("/v1/settings").ok()["localProviders"].([]any); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if tn := s.ask(object{"input": "q", "model": "ollama/llama3"}).turn(); tn.end.Type != "response.failed" || tn.end.Code != "provider_unreachable" {
		t.Errorf("%q, then %s", tn.text, tn.end.data)
	}
}
