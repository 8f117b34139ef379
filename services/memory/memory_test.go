package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/store"
	inmemory "anthill/services/internal/store/memory"
	"anthill/services/internal/workspace"
)

// one is the only project there is.
type one struct{ path string }

func (o one) project() Project { return Project{ID: "proj_1", Name: "general", Path: o.path} }

func (o one) Resolve(context.Context, string) (Project, error) { return o.project(), nil }
func (o one) ByID(context.Context, string) (Project, error)    { return o.project(), nil }
func (o one) List(context.Context) ([]Project, error)          { return []Project{o.project()}, nil }
func (o one) Folder(context.Context, string) (*workspace.Folder, error) {
	return workspace.Open(o.path)
}

type harness struct {
	*Room
	home, folder string
	log          bytes.Buffer
	now          time.Time
	ids          int
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{home: t.TempDir(), folder: t.TempDir(), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	h.Room = Open(Options{DB: inmemory.Open(inmemory.Options{Limits: store.MainLimits, Most: 1 << 20}), Dir: h.home, Projects: one{h.folder},
		Modes: func() Modes { return Modes{Memory: true, Past: true} }, Secrets: func() []string { return []string{"a-key-of-no-shape"} },
		Now: func() time.Time { h.now = h.now.Add(time.Second); return h.now }, NewID: func(p string) string { h.ids++; return fmt.Sprintf("%s%d", p, h.ids) },
		Log: slog.New(slog.NewTextHandler(&h.log, nil))})
	return h
}

func (h *harness) put(t *testing.T, q *antonv1.PutMemoryEntryRequest) *antonv1.MemoryEntry {
	t.Helper()
	out, err := memoryService{room: h.Room}.PutMemoryEntry(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return out.Entry
}

func (h *harness) prompt(t *testing.T) string {
	t.Helper()
	text, err := h.Prompt(t.Context(), "proj_1")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The prompt has its budget: the newest first, the project's before the global
// ones, none above its share, and it says how many are missing.
func TestPromptBudget(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	if got := h.prompt(t); got != "" {
		t.Errorf("%q", got)
	}
	fill := strings.Repeat("x", 400)
	for i := range 40 {
		h.put(t, &antonv1.PutMemoryEntryRequest{Content: fmt.Sprintf("P%02d %s", i, fill)})
		h.put(t, &antonv1.PutMemoryEntryRequest{Content: fmt.Sprintf("G%02d %s", i, fill), Scope: global})
	}
	h.put(t, &antonv1.PutMemoryEntryRequest{Content: "long " + strings.Repeat("word ", 3000), Scope: global})
	got := h.prompt(t)
	p, g := strings.Count(got, "- P"), strings.Count(got, "- G")
	if len(got) > promptMemory+500 || p < 15 || p*405 > promptProject || g < 5 || !strings.Contains(got, fmt.Sprintf("%d older ones are not shown", 80-p-g)) {
		t.Errorf("%d bytes, %d and %d: %s", len(got), p, g, got[len(got)-200:])
	}
	if first, last := strings.Index(got, "P39"), strings.Index(got, "G39"); first < 0 || last < first || strings.Index(got, "P38") < first || strings.Contains(got, "P00") {
		t.Errorf("%s", got)
	}
	if i := strings.Index(got, "long word"); i < 0 || len(got)-i > len(got)-strings.Index(got, "G39")+promptEntry {
		t.Errorf("a long entry is not cut")
	}
}

// What people write by hand goes through without its secrets.
func TestSecretsByHandAreBlottedOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	dir := filepath.Join(h.folder, ".anton", "memory")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key := "ghp_" + strings.Repeat("a1", 18)
	if err := os.WriteFile(filepath.Join(dir, "x.md"), []byte("- deploy with "+key+" and a-key-of-no-shape\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.prompt(t); !strings.Contains(got, "deploy with [redacted] and [redacted]") {
		t.Errorf("%s", got)
	}
	for _, tool := range h.Tools(Turn{ProjectID: "proj_1", ConversationID: "c", TurnID: "t"}) {
		if tool.Spec().Name != recallName {
			continue
		}
		got, err := tool.Run(t.Context(), json.RawMessage(`{"query":"deploy"}`))
		if err != nil || !strings.Contains(got, "[redacted]") || strings.Contains(got, key) {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// A file that is full is left for the next one.
func TestFullFilesGetSiblings(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	seen := map[string]bool{}
	for i := range 20 {
		e := h.put(t, &antonv1.PutMemoryEntryRequest{Content: fmt.Sprintf("%d %s", i, strings.Repeat("y", 15<<10)), Type: "always"})
		seen[e.RelativePath] = true
	}
	if fmt.Sprint(seen) != "map[rules-2.md:true rules-3.md:true rules.md:true]" {
		t.Errorf("%v", seen)
	}
	list, err := h.entries(t.Context(), []place{{&Project{ID: "proj_1", Path: h.folder}}})
	if err != nil || len(list) != 20 {
		t.Errorf("%d entries, %v", len(list), err)
	}
}

// What a look back at a turn finds is kept, once, but for secrets.
func TestLearn(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	turn := Turn{ProjectID: "proj_1", ConversationID: "c", TurnID: "turn_1"}
	lessons := []agent.Lesson{{Text: "Tests need tmux.", Kind: lesson, Scope: "project", Topic: "Tests & CI"}, {Text: "the password is hunter2", Kind: lesson, Scope: "project"},
		{Text: "uses [redacted]", Kind: lesson, Scope: "global"}, {Text: "Is called Ann.", Kind: profile, Scope: "project"}}
	for range 2 {
		if err := h.Learn(t.Context(), turn, lessons); err != nil {
			t.Fatal(err)
		}
	}
	list, err := h.entries(t.Context(), []place{{&Project{ID: "proj_1", Path: h.folder}}, {}})
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", e.at.scope(), e.rel, e.Text, e.Meta.By, e.Meta.Turn))
	}
	if want := "[Project topics/tests-ci.md Tests need tmux. learning turn_1 Global profile.md Is called Ann. learning turn_1]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSecretShapes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, s := range []string{"sk-" + strings.Repeat("a1", 12), "AKIAIOSFODNN7EXAMPLE", "postgres://ann:hunter22@db/x", "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "my password is hunter2!", "API key: abcd1234", "a-key-of-no-shape"} {
		if !h.tells(s) {
			t.Errorf("%q passes", s)
		}
	}
	for _, s := range []string{"Passwords are in the vault.", "Ask Ann for the key.", "The API key page is at /settings", "task-1234 is done", "https://example.com/a:b@c"} {
		if h.tells(s) {
			t.Errorf("%q is refused", s)
		}
	}
}
