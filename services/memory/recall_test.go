package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// run calls a tool of a turn.
func (h *harness) run(t *testing.T, turn Turn, name, input string) string {
	t.Helper()
	for _, tool := range h.Tools(turn) {
		if tool.Spec().Name == name {
			out, err := tool.Run(t.Context(), json.RawMessage(input))
			if err != nil {
				return "refused: " + err.Error()
			}
			return out
		}
	}
	t.Fatalf("the turn has no %s", name)
	return ""
}

// written are passages that were said.
type written []Passage

func (w written) Find(context.Context, Question) ([]Passage, bool, error) { return w, false, nil }

// What is being asked now is no answer; anything else is one, once, whether it has an id or not.
func TestRecallLeavesOutTheQuestion(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.Join(written{{Source: "conversation", ID: "turn_1", Role: "user", Text: "which ferry now"}, {Source: "conversation", ID: "turn_0", Role: "user", Text: "the ferry first"},
		{Source: "conversation", ID: "turn_0", Role: "assistant", Text: "the ferry first"}, {Source: "conversation", ID: "turn_0", Role: "user", Text: "the ferry first"},
		{Source: "room", Role: "user", Text: "a ferry without an id"}})
	for turn, want := range map[string][]string{
		"turn_1": {"turn_0 user the ferry first", "turn_0 assistant the ferry first", " user a ferry without an id"},
		"":       {"turn_1 user which ferry now", "turn_0 user the ferry first", "turn_0 assistant the ferry first", " user a ferry without an id"},
	} {
		var out struct{ Hits []hit }
		if err := json.Unmarshal([]byte(h.run(t, Turn{ProjectID: "proj_1", TurnID: turn}, recallName, `{"query":"ferry boat"}`)), &out); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range out.Hits {
			got = append(got, f.ID+" "+f.Role+" "+f.Content)
		}
		if !slices.Equal(got, want) {
			t.Errorf("turn %q finds %q, want %q", turn, got, want)
		}
	}
}

// writeSkill writes a SKILL.md below a folder.
func writeSkill(t *testing.T, dir, label, text string) {
	t.Helper()
	dir = filepath.Join(dir, label)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A label means the project's skill before the global one; but one that cannot be used hides
// none that can, and shows nothing but its problem.
func TestSkillsHideEachOther(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const good = "---\nname: %s\ndescription: From %s\n---\n\nDo it as in %[2]s.\n"
	inProject := filepath.Join(h.folder, ".anton", "skills")
	inHome := filepath.Join(h.home, "skills")
	for _, label := range []string{"both", "broken"} {
		writeSkill(t, inHome, label, fmt.Sprintf(good, label, "home"))
	}
	writeSkill(t, inProject, "both", fmt.Sprintf(good, "both", "project"))
	writeSkill(t, inProject, "broken", "---\nname: broken\ndescription: [\n---\n\nDo nothing.\n")
	turn := Turn{ProjectID: "proj_1", ConversationID: "c", TurnID: "t"}
	for label, want := range map[string]string{"both": "# both\n\nDo it as in project.\n", "broken": "# broken\n\nDo it as in home.\n"} {
		if got := h.run(t, turn, recallSkillName, `{"label":"`+label+`"}`); got != want {
			t.Errorf("%s is %q, want %q", label, got, want)
		}
	}
	list, _, err := h.skills(t.Context(), place{&Project{ID: "proj_1", Path: h.folder}})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for _, s := range list {
		broken := s.label == "broken"
		if (s.problem != "") != broken || (s.Body == "") != broken || (s.Description == "") != broken {
			t.Errorf("%s: problem %q, %q, %q", s.label, s.problem, s.Description, s.Body)
		}
	}
	if got := h.run(t, turn, recallSkillName, `{"label":"none"}`); strings.Count(got, "broken") != 1 || strings.Count(got, "both") != 1 {
		t.Errorf("the skills that there are: %s", got)
	}
}

// The log has a problem once, however often the file is read, and again when it is another
// one, or is back.
func TestProblemsAreToldOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for i, step := range []struct {
		problem string
		told    int
	}{{"", 0}, {"too large", 1}, {"too large", 1}, {"no text", 2}, {"", 2}, {"", 2}, {"no text", 3}} {
		h.tell("/a.md", step.problem)
		if got := strings.Count(h.log.String(), "a file is left out of memory"); got != step.told {
			t.Errorf("step %d: told %d times, want %d", i, got, step.told)
		}
	}
	h.tell("/b.md", "no text")
	if got := strings.Count(h.log.String(), "/b.md"); got != 1 {
		t.Errorf("another file is told of %d times", got)
	}
}
