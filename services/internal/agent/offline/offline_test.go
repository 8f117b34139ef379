package offline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/files"
	"anthill/services/internal/workspace"
)

const notes = `---
owner: ops
---
# Release plan

The release of the billing service is planned for Friday, 5 June. The billing service handles invoices, e.g. monthly ones.
Maria Lopez owns the rollout and decides whether to stop it.

## Risks

- The database migration takes about 40 minutes and locks the invoices table.
- Rollback needs the backup that Tom makes at 18:00.

## Costs

The migration costs 1200 EUR. Nobody has approved the costs yet. We expect no further costs.
It rained. The canteen is closed. Parking is free. Lunch is late. Coffee is out. Tea is fine. Chairs are blue.
`

const sales = "city,amount,when\nBerlin,10,2026-01-01\nParis,20.5,2026-01-02\nBerlin,,2026-01-03\nOslo,-3,2026-01-04\n"

var content = map[string]string{
	"notes.md": notes, "data/sales.csv": sales, "README.md": "# Anthill\n\nA server for ants. It is small.\n", "empty.txt": "",
	"logo.png": "\x89PNG\r\n\x1a\n\x00", "main.go": "// Package main says hello.\npackage main\n\nfunc main() {\n\tprintln(\"hi\")\n}\n\ntype ant struct{}\n",
	"conf.json":                      `{"name":"x","ports":[1,2],"deep":{"a":1}}`,
	"lines.jsonl":                    "{\"a\":1}\n{\"a\":2}\n",
	"page.html":                      "<html><head><title>T</title><style>p{}</style></head><body><h1>Ants</h1><p>Ants build hills.</p></body></html>",
	".anton/uploads/s/att/upload.md": "The upload says 42.\n",
	"fünf.txt":                       "Übermut tut selten gut.\n",
	"my notes.txt":                   "Spaces are fine here.\n",
	"big.txt":                        strings.Repeat("All work and no play makes ants dull. ", 8000),
}

// sink keeps what a turn says and does.
type sink struct {
	text    strings.Builder
	calls   []string
	history []agent.Message
	deltas  int
}

func (s *sink) Text(d string) error {
	s.deltas++
	s.text.WriteString(d)
	return nil
}
func (s *sink) Reasoning(string) error                                { return nil }
func (s *sink) Compacted(agent.Compacted, agent.CompactionNote) error { return nil }
func (s *sink) Progress(agent.Progress) error                         { return nil }
func (s *sink) ToolStart(string, string) error                        { return nil }
func (*sink) ClientCall(agent.ToolCall) error                         { return nil }
func (s *sink) ToolInput(c agent.ToolCall) error {
	s.calls = append(s.calls, c.Name+" "+c.Input)
	return nil
}
func (s *sink) ToolResult(agent.ToolCall, agent.ToolResult, time.Duration) error { return nil }
func (s *sink) History(m agent.Message) error {
	s.history = append(s.history, m)
	return nil
}

func project(t *testing.T) []agent.Tool {
	t.Helper()
	folder, err := workspace.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := folder.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, text := range content {
		if err := folder.WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(folder.Dir(), "etc")); err != nil {
		t.Fatal(err)
	}
	return files.Tools(folder)
}

// turn runs one message to its end, as the server would.
func turn(t *testing.T, tools []agent.Tool, history []agent.Message, message string) *sink {
	t.Helper()
	s := &sink{}
	out, err := agent.Run(context.Background(), agent.Options{Provider: New(), Tools: tools,
		History: append(append([]agent.Message(nil), history...), agent.Message{Role: agent.RoleUser, Text: message})}, s)
	if err != nil || out.Finish != agent.FinishStop || out.Capped {
		t.Fatalf("%q: %+v, %v", message, out, err)
	}
	if !utf8.ValidString(s.text.String()) {
		t.Errorf("%q: invalid UTF-8", message)
	}
	if n := len(strings.Fields(s.text.String())); s.deltas != n {
		t.Errorf("%q: %d words in %d deltas", message, n, s.deltas)
	}
	return s
}

func TestFilesAreReadAndAnswered(t *testing.T) {
	tools := project(t)
	read := func(p string) string { return `read_file {"path":"` + p + `"}` }
	const list = "list_files {}"
	for _, c := range []struct {
		message string
		calls   []string
		has     []string
		lacks   []string
	}{
		{"Summarise notes.md", []string{read("notes.md")},
			[]string{"**notes.md**: Release plan", "Key sentences", "planned for Friday", "e.g. monthly ones.", "Headings: Release plan · Risks · Costs"}, []string{"owner: ops", "Tea is fine"}},
		{"Who owns the rollout in `notes.md`?", []string{read("notes.md")}, []string{"> ", "Maria Lopez owns the rollout"}, []string{"Coffee", "backup"}},
		{"how long does the migration take? see notes.md.", []string{read("notes.md")}, []string{"40 minutes", "under “Risks”"}, nil},
		{"What does notes.md say about penguins?", []string{read("notes.md")}, []string{"no passage with the words", "Release plan"}, nil},
		{"What is in data/sales.csv?", []string{read("data/sales.csv")},
			[]string{"a table of 4 rows and 3 columns", "| amount | 3 of 4 | numbers from -3 to 20.5, mean 9.16667, sum 27.5 |", "3 different: Berlin (2), Oslo (1)", "| Paris | 20.5 |"}, nil},
		{"What is the amount for Oslo in data/sales.csv?", []string{read("data/sales.csv")}, []string{"1 row", "| Oslo | -3 |"}, []string{"| Paris |"}},
		{"What is the mean amount in data/sales.csv?", []string{read("data/sales.csv")}, []string{"mean 9.16667"}, []string{"| city | 4 of 4"}},
		{"Please read notes.md and tell me the risks", []string{read("notes.md")}, []string{"> Rollback needs", "under “Risks”"}, []string{"Key sentences"}},
		{"Tell me about the README", []string{read("README.md")}, []string{"**README.md**: Anthill", "A server for ants."}, nil},
		{"explain main.go", []string{read("main.go")}, []string{"> Package main says hello.", "line 4: `func main()`", "line 8: `type ant struct`"}, nil},
		{"outline conf.json", []string{read("conf.json")}, []string{"an object with 3 keys", "`ports`: a list of 2 items"}, nil},
		{"describe lines.jsonl", []string{read("lines.jsonl")}, []string{"2 lines, one value each", "`a`: 1"}, nil},
		{"summarise page.html", []string{read("page.html")}, []string{"Ants build hills."}, []string{"<p>", "p{}"}},
		{"show me conf.json", []string{read("conf.json")}, []string{"```json\n" + content["conf.json"] + "\n```"}, nil},
		{"Compare notes.md and README.md", []string{read("notes.md"), read("README.md")}, []string{"**notes.md**", "**README.md**"}, nil},
		{"read `fünf.txt` and \"my notes.txt\"", []string{read("fünf.txt"), read("my notes.txt")}, []string{"Übermut tut selten gut.", "Spaces are fine here."}, nil},
		{"summarise empty.txt", []string{read("empty.txt")}, []string{"`empty.txt` is empty."}, nil},
		{"what is in logo.png", []string{read("logo.png")}, []string{"`logo.png` could not be read: logo.png is not a text file (image/png"}, nil},
		{"summarise big.txt", []string{read("big.txt")}, []string{"The file is long: only its first 200.0 KB are looked at.", "296.9 KB"}, nil},
		{"summarise etc/passwd.txt", []string{read("etc/passwd.txt")}, []string{"could not be read"}, []string{"root:"}},
		{"summarise sales.csv", []string{read("sales.csv"), list, read("data/sales.csv")}, []string{"**data/sales.csv**"}, []string{"There is no file"}},
		{"what does upload.md say?", []string{read("upload.md"), list, read(".anton/uploads/s/att/upload.md")}, []string{"The upload says 42."}, nil},
		{"what does /srv/p/.anton/uploads/s/att/upload.md say?", []string{read(".anton/uploads/s/att/upload.md")}, []string{"The upload says 42."}, nil},
		{"summarise nots.md", []string{read("nots.md"), list}, []string{"There is no file `nots.md`", "The nearest name is `notes.md`", "`README.md`"}, []string{"Release plan"}},
		{"summarise zzz.md and notes.md", []string{read("zzz.md"), read("notes.md"), list}, []string{"**notes.md**", "There is no file `zzz.md`"}, []string{"nearest"}},
		{"What files are there?", []string{list}, []string{"13 files in this project", "- `data/sales.csv` (98 bytes)"}, nil},
		{"list the files in `data/`", []string{`list_files {"path":"data"}`}, []string{"There is 1 file in `data`"}, nil},
		{"list the files in `nope/`", []string{`list_files {"path":"nope"}`}, []string{"could not be listed: there is no folder nope"}, nil},
	} {
		t.Run(c.message, func(t *testing.T) {
			s := turn(t, tools, nil, c.message)
			got := s.text.String()
			if !reflect.DeepEqual(s.calls, c.calls) {
				t.Errorf("calls %q", s.calls)
			}
			for _, want := range append(c.has, "offline provider") {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
			for _, not := range c.lacks {
				if strings.Contains(got, not) {
					t.Errorf("has %q:\n%s", not, got)
				}
			}
		})
	}
}

func TestConversation(t *testing.T) {
	user := func(s string) agent.Message { return agent.Message{Role: agent.RoleUser, Text: s} }
	answer := agent.Message{Role: agent.RoleAssistant, Text: "Noted.\n\n" + signature}
	past := []agent.Message{
		user("Hello! My name is Ada Lovelace."), answer,
		user("The deadline for the tax report is Friday. I live in Turin."), answer,
		user("What is the deadline of the tax report?"), answer,
		user("Correction: the deadline is Monday."), answer,
	}
	for _, c := range []struct {
		past    []agent.Message
		message string
		has     []string
		lacks   []string
	}{
		{past, "What is my name?", []string{"Your name is **Ada Lovelace**", "“My name is Ada Lovelace.”"}, nil},
		{past, "who am I?", []string{"Ada Lovelace"}, nil},
		{past, "What did I say about the deadline?", []string{"The deadline for the tax report is Friday.", "Correction: the deadline is Monday."}, []string{"What is the deadline", "Turin"}},
		{past, "Where do I live?", []string{"You wrote: “I live in Turin.”"}, []string{"deadline"}},
		{past, "What was my first message?", []string{"> Hello! My name is Ada Lovelace."}, nil},
		{past, "what was my last message", []string{"> Correction: the deadline is Monday."}, nil},
		{past, "What did we talk about so far?", []string{"So far you wrote:", "“Correction: the deadline is Monday.”"}, nil},
		{past, "What did I say about penguins?", []string{"Nothing that was said before", "No language model is configured"}, nil},
		{nil, "What did I say about penguins?", []string{"first message"}, nil},
		{nil, "Remember that the door code is 1234.", []string{"keep that in mind"}, nil},
		{nil, "Write a poem about the sea.", []string{"No language model is configured", "PUT /v1/settings", "ANTON_PLANNING_PROVIDER=openai-compatible", "ANTON_OPENAI_BASE_URL", "ANTON_OPENAI_API_KEY", "~/.anton/.env"}, nil},
		{nil, "", []string{"No language model is configured"}, nil},
		{nil, "What should I cook, e.g. with Node.js or at https://example.com/a.md, for 3.50?", []string{"No language model is configured"}, nil},
		{nil, "Summarise this:\n" + strings.ReplaceAll(notes, "---", ""), []string{"**your text**", "planned for Friday"}, []string{"Summarise this"}},
		{nil, "Summarise notes.md", []string{"cannot read files here"}, nil},
		{nil, "what files are there", []string{"cannot list files here"}, nil},
	} {
		t.Run(c.message, func(t *testing.T) {
			s := turn(t, nil, c.past, c.message)
			got := s.text.String()
			for _, want := range append(c.has, "offline provider") {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
			for _, not := range c.lacks {
				if strings.Contains(got, not) {
					t.Errorf("has %q:\n%s", not, got)
				}
			}
		})
	}
}

// The same conversation gets the same answer, with call ids that differ.
func TestDeterministic(t *testing.T) {
	tools := project(t)
	first := turn(t, tools, nil, "Compare notes.md, zzz.md and sales.csv")
	for range 3 {
		again := turn(t, tools, nil, "Compare notes.md, zzz.md and sales.csv")
		if again.text.String() != first.text.String() || !reflect.DeepEqual(again.history, first.history) {
			t.Fatal("another answer")
		}
	}
	next := turn(t, tools, append([]agent.Message{{Role: agent.RoleUser, Text: "x"}}, first.history...), "Summarise notes.md")
	seen := map[string]bool{}
	for _, m := range append(first.history, next.history...) {
		for _, c := range m.Calls {
			if seen[c.ID] {
				t.Errorf("id %s twice", c.ID)
			}
			seen[c.ID] = true
		}
	}
}

func TestStopsWhenTold(t *testing.T) {
	want := errors.New("enough")
	req := agent.Request{Messages: []agent.Message{{Role: agent.RoleUser, Text: "hi"}}}
	out, err := New().Stream(context.Background(), req, func(agent.Delta) error { return want })
	if err != want || out.Finish == agent.FinishStop {
		t.Errorf("%+v, %v", out, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := New().Stream(ctx, req, func(agent.Delta) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
