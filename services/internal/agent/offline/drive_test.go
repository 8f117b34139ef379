package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"anthill/services/internal/agent"
)

func toolError(text string) agent.ToolResult { return agent.ToolResult{Content: text, IsError: true} }

// fakeTool answers calls in turn, and the last answer again and again.
type fakeTool struct {
	name    string
	answers []string // an error if it begins with "!"
	inputs  []map[string]any
}

func (f *fakeTool) Spec() agent.ToolSpec {
	return agent.ToolSpec{Name: f.name, Schema: json.RawMessage(`{}`)}
}

func (f *fakeTool) Run(_ context.Context, input json.RawMessage) (string, error) {
	var in map[string]any
	if err := json.Unmarshal(input, &in); err != nil {
		return "", err
	}
	f.inputs = append(f.inputs, in)
	a := f.answers[min(len(f.inputs), len(f.answers))-1]
	if why, failed := strings.CutPrefix(a, "!"); failed {
		return "", errors.New(why)
	}
	return a, nil
}

func TestCodeIsRunOnlyWhenThatIsMeant(t *testing.T) {
	t.Parallel()
	const python = "\n```python\nx = 1\n```\n"
	for message, want := range map[string]wishKind{
		"run this" + python: wishRun,
		"" + python:         wishRun,
		"Here:" + python:    wishRun,
		"Please execute" + python + "and then" + python:     wishRun,
		"what does this print?" + python:                    wishRun,
		"run this\n```\nx = 1\n```":                         wishRun,
		"run this\n```bash\nls\n```":                        wishRun,
		"run this\n~~~py\nx = 1":                            wishRun,
		"don't run this" + python:                           wishJudge,
		"Explain this" + python:                             wishJudge,
		"Fix this so that I can run it" + python:            wishJudge,
		"why is this slow?" + python:                        wishJudge,
		"\n```\nx = 1\n```":                                 wishUnknown,
		"\n```json\n{}\n```":                                wishUnknown,
		"reset the scratchpad":                              wishPad,
		"Show me the scratchpad":                            wishPad,
		"what's in the scratchpad?":                         wishPad,
		strings.Repeat("Nothing to be done. ", 10) + python: wishUnknown,
		"Run the tests in main.go":                          wishFiles,
	} {
		if got := understand(message).kind; got != want {
			t.Errorf("%q: %d, want %d", message, got, want)
		}
	}
}

func TestFences(t *testing.T) {
	t.Parallel()
	list, rest := fences("a\n````Python {x}\n```\ninner\n```\n````\nb ```no``` c\n  ~~~ {.py}\r\nq\r\n~~~\n```js\nopen")
	want := []fence{{"python", "```\ninner\n```\n"}, {"py", "q\r\n"}, {"js", "open"}}
	if !slices.Equal(list, want) || rest != "a\nb ```no``` c\n" {
		t.Errorf("%q, %q", list, rest)
	}
}

func TestRunShowsWhatACellLeft(t *testing.T) {
	t.Parallel()
	code := func(s string) string { return "```python\n" + s + "\n```\n" }
	for _, c := range []struct {
		message string
		answers []string
		codes   []string
		has     []string
		lacks   []string
	}{
		{"run " + code("1+1"), []string{"[notice]\nIt was restarted.\n[output]\nhello\n[result]\n2"}, []string{"1+1\n"},
			[]string{"It was restarted.", "It printed:\n\n```text\nhello\n```", "Its value:\n\n```text\n2\n```"}, []string{"error", "Block"}},
		{"run " + code("x=1"), []string{"(no output)"}, []string{"x=1\n"}, []string{"It ran, and printed nothing."}, nil},
		{"run " + code("a") + code("b") + code("c"), []string{"[output]\nA", "![output]\npart\n[error]\nTraceback\nNameError: b"}, []string{"a\n", "b\n"},
			[]string{"Block 1 of 3", "NameError: b", "```text\npart\n```", "I cannot repair code", "1 block behind it did not run"}, nil},
		{"run " + code("a") + "```sh\nls\n```\n", []string{"[output]\n```"}, []string{"a\n"}, []string{"````text\n```\n````", "I run Python only, not `sh`."}, nil},
		{"run\n```\na\n```", []string{"[output]\n1"}, []string{"a\n"}, []string{"taken for Python"}, nil},
		{"run " + code("a"), []string{"!Scratchpads need Python 3.9 or newer. Install it."}, []string{"a\n"}, []string{"The code did not run: Scratchpads need Python"}, []string{"repair"}},
	} {
		pad := &fakeTool{name: scratchpadTool, answers: c.answers}
		got := turn(t, []agent.Tool{pad}, nil, c.message).text.String()
		var codes []string
		for _, in := range pad.inputs {
			codes = append(codes, fmt.Sprint(in["code"]))
		}
		if !slices.Equal(codes, c.codes) {
			t.Errorf("%q: ran %q", c.message, codes)
		}
		for _, want := range append(c.has, signature) {
			if !strings.Contains(got, want) {
				t.Errorf("%q: lacks %q:\n%s", c.message, want, got)
			}
		}
		for _, not := range c.lacks {
			if strings.Contains(got, not) {
				t.Errorf("%q: has %q:\n%s", c.message, not, got)
			}
		}
	}
	if got := turn(t, nil, nil, "run "+code("1")).text.String(); !strings.Contains(got, "the scratchpad is not available") {
		t.Errorf("without the tool: %s", got)
	}
}

// withFile is a message as a conversation makes it of one with an attachment.
func withFile(text, name, path, note, content string) agent.Message {
	if note != "" {
		note = fmt.Sprintf(" note=%q", note)
	}
	return agent.Message{Role: agent.RoleUser, Text: text, Parts: []agent.Part{{Text: text},
		{Text: fmt.Sprintf("<file name=%q path=%q%s>\n%s\n</file>", name, path, note, strings.TrimRight(content, "\n"))}}}
}

// asked runs a message to its end.
func asked(t *testing.T, tools []agent.Tool, history ...agent.Message) *sink {
	t.Helper()
	s := &sink{}
	out, err := agent.Run(t.Context(), agent.Options{Provider: New(), Tools: tools, History: history}, s)
	if err != nil || out.Finish != agent.FinishStop {
		t.Fatalf("%+v, %v", out, err)
	}
	return s
}

const upload = ".anton/uploads/s/att_1/"

func TestProfileDrivesTheTools(t *testing.T) {
	t.Parallel()
	name := `a "b" \u0041.csv`
	pad := &fakeTool{name: scratchpadTool, answers: []string{"[output]\nTHE PROFILE", "[output]\n1 chart on it: x."}}
	create := &fakeTool{name: createArtifactTool, answers: []string{`{"slug":"s1","folder":".anton/artifacts/s1"}`}}
	open := &fakeTool{name: openArtifactTool, answers: []string{`{"slug":"s1","folder":".anton/artifacts/s1"}`}}
	tools := []agent.Tool{pad, create, open}
	question := withFile("profile this", name, upload+name, "", sales)
	first := asked(t, tools, question)
	for _, want := range []string{"THE PROFILE\n", "`.anton/artifacts/s1/index.html`. 1 chart on it: x.", signature} {
		if !strings.Contains(first.text.String(), want) {
			t.Errorf("lacks %q: %s", want, first.text.String())
		}
	}
	code := fmt.Sprint(pad.inputs[0]["code"])
	if !strings.HasPrefix(code, profiler) || !strings.HasSuffix(code, "\nreport = profile(\".anton/uploads/s/att_1/a \\\"b\\\" \\\\u0041.csv\", \"a \\\"b\\\" \\\\u0041.csv\")\nprint(report.markdown())\n") {
		t.Errorf("ran %q", code[max(0, len(code)-200):])
	}
	if got := pad.inputs[1]["code"]; got != "print(report.write(\".anton/artifacts/s1/index.html\"))\n" {
		t.Errorf("wrote by %q", got)
	}
	if in := create.inputs[0]; in["type"] != "html-app" || in["primary"] != "index.html" || !strings.HasPrefix(fmt.Sprint(in["name"]), profileOf) {
		t.Errorf("%v", in)
	}
	// The same file again: the same artifact, also when it is not named.
	history := append([]agent.Message{question}, first.history...)
	history = append(history, agent.Message{Role: agent.RoleUser, Text: "analyse it again"})
	pad.inputs, pad.answers = nil, []string{"[output]\nTHE PROFILE", "[output]\nNo chart is on it."}
	if asked(t, tools, history...); len(create.inputs) != 1 || len(open.inputs) != 1 || len(pad.inputs) != 2 {
		t.Errorf("made %d, opened %d, ran %d", len(create.inputs), len(open.inputs), len(pad.inputs))
	}
	// It is gone: another one.
	open.answers, pad.inputs = []string{"!there is no artifact"}, nil
	if asked(t, tools, history...); len(create.inputs) != 2 {
		t.Errorf("made %d", len(create.inputs))
	}
}

func TestProfileWithoutTheTools(t *testing.T) {
	t.Parallel()
	const path = upload + "sales.csv"
	question := withFile("profile this", "sales.csv", path, "", sales)
	short := "a table of 4 rows and 3 columns\n\n| column | values |"
	noPython := &fakeTool{name: scratchpadTool, answers: []string{"!Scratchpads need Python 3.9 or newer, and there is no python3. Install it (such as: apt install python3), then try again."}}
	unreadable := &fakeTool{name: scratchpadTool, answers: []string{"![error]\nTraceback (most recent call last):\n  File \"x\"\nUnreadable: It holds no records."}}
	works := func() *fakeTool {
		return &fakeTool{name: scratchpadTool, answers: []string{"[output]\nTHE PROFILE", "![error]\nTraceback\nOSError: no space left"}}
	}
	create := &fakeTool{name: createArtifactTool, answers: []string{`{"slug":"s","folder":"f"}`}}
	for what, c := range map[string]struct {
		tools []agent.Tool
		ask   agent.Message
		has   []string
	}{
		"no scratchpad":     {nil, question, []string{short}},
		"no Python":         {[]agent.Tool{noPython}, question, []string{short, "so there are no charts", "apt install python3"}},
		"no table":          {[]agent.Tool{unreadable}, withFile("analyse this", "a.json", upload+"a.json", "", `{"a":1}`), []string{"`a.json` cannot be profiled. It holds no records.", "an object with 1 key"}},
		"no artifacts":      {[]agent.Tool{works()}, question, []string{"THE PROFILE", "no artifact can be made"}},
		"no page":           {[]agent.Tool{works(), create}, question, []string{"THE PROFILE", "could not be written: It ended with an error: OSError: no space left"}},
		"a part of it":      {nil, withFile("profile this", "sales.csv", path, "The file goes on.", sales), []string{"only the first"}},
		"a workbook's text": {nil, withFile("profile this", "b.xlsx", upload+"b.xlsx", "", "## Sheet: One\n\na,b\n1,2\n3,4\n\n## Sheet: Two\n\nc,d\n5,6\n"), []string{"a table of 2 rows and 2 columns", "| a | 2 of 2 |"}},
		"a broken file":     {nil, withFile("profile this", "b.pdf", upload+"b.pdf", "The PDF is damaged.", ""), []string{"`b.pdf` could not be read: The PDF is damaged."}},
		"not a table":       {nil, withFile("analyse this", "n.md", upload+"n.md", "", notes), []string{"**n.md**: Release plan", "Key sentences"}},
		"a question":        {nil, withFile("Who owns the rollout?", "n.md", upload+"n.md", "", notes), []string{"Maria Lopez owns the rollout"}},
		"a chart":           {nil, withFile("chart amount by city", "sales.csv", path, "", sales), []string{short, "A chart shows one column."}},
	} {
		t.Run(what, func(t *testing.T) {
			got := asked(t, c.tools, c.ask).text.String()
			for _, want := range append(c.has, signature) {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
		})
	}
	// Of a file of the project only what is needed is read.
	tools := append(project(t), noPython)
	noPython.inputs = nil
	s := turn(t, tools, nil, "profile data/sales.csv")
	if got := strings.Join(s.calls, "\n"); !strings.HasPrefix(got, `read_file {"path":"data/sales.csv","limit":1}`) || !strings.HasSuffix(got, `read_file {"path":"data/sales.csv"}`) ||
		len(noPython.inputs) != 1 || !strings.Contains(s.text.String(), "numbers from -3 to 20.5") {
		t.Errorf("%s\n%s", got, s.text.String())
	}
	// What leads out of the project never gets to the scratchpad.
	turn(t, tools, nil, "profile etc/passwd.csv and ../../x.csv")
	asked(t, tools, withFile("profile this", "x.csv", "/etc/x.csv", "", sales))
	asked(t, tools, withFile("profile this", "x.csv", upload+"../../../x.csv", "", sales))
	if len(noPython.inputs) != 1 {
		t.Errorf("%v", noPython.inputs[1:])
	}
}
