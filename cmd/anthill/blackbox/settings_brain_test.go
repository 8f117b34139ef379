package blackbox

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// brain plays a model provider of every kind at one address: it lists its models
// to whoever shows the key, and answers each question by saying which API it was
// asked by, and for which model.
type brain struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	key    string   // that it wants; empty: none
	lacks  string   // end of the paths that it does not have; empty: it has all
	models []string // that it lists
	seen   []string // method, path and shown key of every request
}

func newBrain(t *testing.T, key string, models ...string) *brain {
	b := &brain{t: t, key: key, models: models}
	b.serve(httptest.NewServer(b))
	return b
}

// newSecureBrain has a certificate that nobody knows.
func newSecureBrain(t *testing.T, key string) *brain {
	b := &brain{t: t, key: key}
	srv := httptest.NewUnstartedServer(b)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	b.serve(srv)
	return b
}

func (b *brain) serve(srv *httptest.Server) {
	b.url = srv.URL
	b.t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
}

// wants changes the key that it takes.
func (b *brain) wants(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.key = key
}

// asked returns the requests since the last call of it.
func (b *brain) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := b.seen
	b.seen = nil
	return seen
}

func (b *brain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller hung up
	}
	shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.Header.Get("X-Api-Key")
	b.mu.Lock()
	key, lacks, models := b.key, b.lacks, b.models
	b.seen = append(b.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+shown))
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var q struct {
		Model string `json:"model"`
	}
	switch {
	case lacks != "" && strings.HasSuffix(r.URL.Path, lacks):
		http.NotFound(w, r)
		return
	case shown != key:
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, echo, shown, "invalid_api_key")
		return
	case r.Method == http.MethodGet:
		b.list(w, r.URL.Path, models)
		return
	case json.Unmarshal(body, &q) != nil:
		b.t.Errorf("brain: %s %s: %s", r.Method, r.URL.Path, body)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	event := func(typ, rest string) {
		fmt.Fprintf(w, "event: %s\ndata: {\"type\":%q%s}\n\n", typ, typ, rest)
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		write(w, chunk(object{"content": "chat " + q.Model}, nil)+chunk(object{}, "stop")+usage+"data: [DONE]\n\n")
	case strings.HasSuffix(r.URL.Path, "/responses"):
		item := fmt.Sprintf(`{"type":"message","id":"m1","role":"assistant","status":"completed","content":[{"type":"output_text","text":%q,"annotations":[]}]}`, "responses "+q.Model)
		event("response.created", `,"response":{"id":"r","status":"in_progress","output":[]}`)
		event("response.output_item.added", `,"output_index":0,"item":{"type":"message","id":"m1","content":[]}`)
		event("response.output_text.delta", fmt.Sprintf(`,"output_index":0,"content_index":0,"item_id":"m1","delta":%q`, "responses "+q.Model))
		event("response.output_item.done", `,"output_index":0,"item":`+item)
		event("response.completed", `,"response":{"id":"r","status":"completed","output":[`+item+`],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`)
	case strings.HasSuffix(r.URL.Path, "/messages"):
		event("message_start", `,"message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":1,"output_tokens":1}}`)
		event("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`)
		event("content_block_delta", fmt.Sprintf(`,"index":0,"delta":{"type":"text_delta","text":%q}`, "messages "+q.Model))
		event("content_block_stop", `,"index":0`)
		event("message_delta", `,"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}`)
		event("message_stop", "")
	default:
		b.t.Errorf("brain: %s %s", r.Method, r.URL.Path)
	}
}

// list answers in the shape of the path.
func (b *brain) list(w io.Writer, path string, models []string) {
	name, member := "id", "data"
	if strings.HasSuffix(path, "/api/tags") {
		name, member = "name", "models"
	}
	list := []object{}
	for _, m := range models {
		list = append(list, object{name: m})
	}
	if err := json.NewEncoder(w).Encode(object{"object": "list", member: list}); err != nil {
		b.t.Error(err)
	}
}

// deadURL is an address at which nothing listens.
func deadURL() string {
	s := httptest.NewServer(nil)
	s.Close()
	return s.URL
}

// alone keeps the program from looking at what runs on the machine of the test.
func alone(env ...string) option {
	return withEnv(append([]string{"ANTON_OLLAMA_URL=off", "ANTON_LMSTUDIO_URL=off"}, env...)...)
}

// says asks in a conversation and checks what comes back.
func (s *server) says(conversation, model, want string) *turn {
	s.t.Helper()
	body := object{"input": "q", "conversation": conversation}
	if model != "" {
		body["model"] = model
	}
	tn := s.ask(body).turn()
	if tn.end.Type != "response.completed" || tn.text != want {
		s.t.Errorf("model %q says %q, want %q: %s", model, tn.text, want, tn.end.data)
	}
	return tn
}

func sameList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// texts is a list of texts in an answer.
func texts(v any) []string {
	list, _ := v.([]any)
	out := []string{}
	for _, x := range list {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}
