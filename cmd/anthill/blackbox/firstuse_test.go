package blackbox

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const ferry = "# Trip\n\nThe ferry to Naxos leaves Piraeus at 07:30 on Friday.\nBring the tent and the blue rope.\n"

// Done when: the first minute with the program, without a model or an account.
func TestFirstUseAnswersAboutARealFile(t *testing.T) {
	t.Parallel()
	s := start(t)
	h := s.get("/health").ok()
	if h["status"] != "ok" || h["config_ready"] != true || h["config_error"] != "" || h["provider"] != "offline" {
		t.Errorf("health of a fresh home: %v", h)
	}
	for name, place := range map[string]func(t *testing.T){
		"by PUT": func(t *testing.T) {
			s.with(t).put("/v1/projects/general/files/notes.md", object{"content": ferry}).ok()
		},
		"by hand": func(t *testing.T) { writeFile(t, filepath.Join(s.projects(), "general", "hand.md"), ferry) },
	} {
		t.Run(name, func(t *testing.T) {
			place(t)
			file := map[string]string{"by PUT": "notes.md", "by hand": "hand.md"}[name]
			tn := s.with(t).ask(object{"input": "When does the ferry leave according to " + file + "?"}).turn()
			if !strings.Contains(tn.text, "07:30") || tn.end.Type != "response.completed" {
				t.Errorf("%s: %q", tn.end.Type, tn.text)
			}
			if len(tn.thoughts) == 0 {
				t.Error("no thought frames")
			}
			for _, f := range tn.thoughts {
				if !strings.HasPrefix(f.ThoughtRole, "thought.") || f.Content == "" {
					t.Errorf("thought without role or content: %s", f.data)
				}
			}
			calls := tn.calls()
			if len(calls) == 0 || calls[0].Output == nil || !strings.Contains(*calls[0].Output, "leaves Piraeus at 07:30") {
				t.Errorf("the file was not read by a tool: %+v", calls)
			}
		})
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Done when: stream chooses between events and one object; without it the caller's headers do.
func TestFirstUseJSON(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.put("/v1/projects/general/files/notes.md", object{"content": ferry}).ok()
	question := object{"input": "When does the ferry leave according to notes.md?"}
	whole := object{"stream": false, "input": question["input"]}
	for name, tc := range map[string]struct {
		body   object
		header http.Header
		sse    bool
	}{
		"stream false":              {whole, nil, false},
		"stream false, wants SSE":   {whole, headers("Accept", "text/event-stream"), false},
		"absent, nothing said":      {question, nil, true},
		"absent, Accept JSON":       {question, headers("Accept", "application/json"), false},
		"absent, Authorization":     {question, headers("Authorization", "Bearer anything"), false},
		"stream true, Accept JSON":  {object{"stream": true, "input": question["input"]}, headers("Accept", "application/json"), true},
		"stream null, Accept */*":   {object{"stream": nil, "input": question["input"]}, headers("Accept", "*/*"), true},
		"list input, SDK":           {object{"input": []object{{"role": "user", "content": question["input"]}}}, headers("Accept", "application/json"), false},
		"list of parts, SDK":        {object{"input": []object{{"type": "message", "role": "user", "content": []object{{"type": "input_text", "text": question["input"]}}}}}, headers("Accept", "application/json"), false},
		"conversation as an object": {object{"input": question["input"], "conversation": object{"id": "as-object"}}, headers("Accept", "application/json"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(t)
			if tc.sse {
				if tn := checkTurn(t, s.stream(http.MethodPost, "/v1/responses", tc.body, tc.header).rest()); !strings.Contains(tn.text, "07:30") {
					t.Errorf("answer %q", tn.text)
				}
				return
			}
			a := s.do(http.MethodPost, "/v1/responses", tc.body, tc.header)
			a.ok()
			r := decode[response](t, a.body)
			if r.Object != "response" || r.Status != "completed" || !strings.Contains(r.OutputText, "07:30") || r.ConversationID == "" || len(r.Output) == 0 {
				t.Errorf("answer %s", clip(a.body))
			}
			keys := decode[map[string]json.RawMessage](t, a.body)
			for _, k := range responseKeys {
				if _, ok := keys[k]; !ok {
					t.Errorf("the object lacks %s", k)
				}
			}
		})
	}
}

// Done when: `anthill ask` does the same.
func TestFirstUseByCommandLine(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.put("/v1/projects/general/files/notes.md", object{"content": ferry}).ok()
	ask := func(stdin string, args ...string) (string, string) {
		t.Helper()
		out, errs, code := command(t, s.environ(), stdin, append([]string{"ask", "--server", s.addr}, args...)...)
		if code != 0 {
			t.Fatalf("ask %q ended with %d: %s%s", args, code, out, errs)
		}
		return out, errs
	}
	out, progress := ask("", "--conversation", "trip", "When does the ferry leave", "according to notes.md?")
	last := func() string {
		t.Helper()
		m := messages(t, s, "trip")
		return m[len(m)-1].Content
	}
	if !strings.Contains(out, "07:30") || strings.TrimSpace(out) != strings.TrimSpace(last()) {
		t.Errorf("stdout %q is not just the answer %q", out, last())
	}
	if !strings.Contains(progress, "notes.md") {
		t.Errorf("stderr has no progress: %q", progress)
	}
	if out, _ := ask("Summarise notes.md", "--conversation", "trip", "-"); strings.TrimSpace(out) != strings.TrimSpace(last()) {
		t.Errorf("stdout %q is not the answer to what was piped in, %q", out, last())
	}
	if turns := s.get("/v1/conversations/trip").ok()["turns"]; turns != 2.0 {
		t.Errorf("the conversation has %v turns, want 2", turns)
	}
	out, _ = ask("", "--json", "When does the ferry leave according to notes.md?")
	var kinds []string
	text := ""
	for line := range strings.Lines(out) {
		ev := decode[object](t, []byte(line))
		for _, k := range []string{"created", "output_text_delta", "completed"} {
			if v, ok := ev[k].(object); ok {
				kinds = append(kinds, k)
				text += str(v, "delta")
			}
		}
	}
	if len(kinds) < 3 || kinds[0] != "created" || kinds[len(kinds)-1] != "completed" || !strings.Contains(text, "07:30") {
		t.Errorf("events of --json: %v, text %q", kinds, text)
	}
	_, errs, code := command(t, s.environ(), "", "ask", "--server", s.addr, "--project", "no-such-project", "hello")
	if code == 0 || !strings.Contains(errs, "Project not found: no-such-project") {
		t.Errorf("unknown project: code %d, %q", code, errs)
	}
	_, errs, code = command(t, s.environ(), "", "ask", "--server", "127.0.0.1:1", "hello")
	if code == 0 || !strings.Contains(errs, "anthill serve") {
		t.Errorf("no server: code %d, %q", code, errs)
	}
	version, _, code := command(t, s.environ(), "", "version")
	if code != 0 || !strings.HasPrefix(version, "anthill ") {
		t.Errorf("version: code %d, %q", code, version)
	}
}

// message is an entry of GET /v1/conversations/{id}/messages.
type message struct {
	Role    string            `json:"role"`
	Content string            `json:"content"`
	TurnID  string            `json:"turn_id"`
	Status  string            `json:"status"`
	Events  []json.RawMessage `json:"events"`
}

func messages(t *testing.T, s *server, conversation string) []message {
	t.Helper()
	a := s.with(t).get("/v1/conversations/" + conversation + "/messages")
	a.ok()
	return decode[struct{ Messages []message }](t, a.body).Messages
}

// frames are the events of a message as a stream had them.
func (m message) frames(t *testing.T) []frame {
	t.Helper()
	var out []frame
	for _, data := range m.Events {
		typ := decode[event](t, data).Type
		f, err := parseFrame([]byte("event: " + typ + "\ndata: " + string(data) + "\n"))
		if err != nil {
			t.Fatalf("%v in %s", err, clip(data))
		}
		out = append(out, *f)
	}
	return out
}

// Done when: after a restart the conversation is there.
func TestFirstUseSurvivesARestart(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.put("/v1/projects/general/files/notes.md", object{"content": ferry}).ok()
	var streamed [][]frame
	for _, q := range []string{"When does the ferry leave according to notes.md?", "Which files are there?"} {
		tn := s.ask(object{"input": q, "conversation": "trip"}).turn()
		streamed = append(streamed, tn.frames)
	}
	paths := []string{"/v1/conversations/trip/messages", "/v1/conversations/trip", "/v1/conversations?project=all",
		"/v1/projects", "/v1/projects/active", "/v1/projects/general/files", "/v1/settings"}
	before := map[string][]byte{}
	for _, p := range paths {
		before[p] = s.get(p).body
	}
	s.stop()
	s.restart()
	for _, p := range paths {
		if after := s.get(p); !bytes.Equal(after.body, before[p]) {
			t.Errorf("%s after the restart:\n%s\nbefore:\n%s", p, clip(after.body), clip(before[p]))
		}
	}
	ms := messages(t, s, "trip")
	roles := []string{}
	for _, m := range ms {
		roles = append(roles, m.Role)
	}
	if !slices.Equal(roles, []string{"user", "assistant", "user", "assistant"}) {
		t.Fatalf("messages of %v", roles)
	}
	// What is kept is what was streamed, byte by byte.
	sameFrames(t, "first turn", ms[1].frames(t), streamed[0])
	sameFrames(t, "second turn", ms[3].frames(t), streamed[1])
	sameFrames(t, "tail after the restart", s.tail("trip", 0).rest(), streamed[1])
}
