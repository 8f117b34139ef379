package driver_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/screen"
)

func load(t *testing.T, dir string) *driver.Set {
	t.Helper()
	set, problems := driver.Load(dir)
	for _, p := range problems {
		t.Errorf("%s", p)
	}
	return set
}

// show is a screen of 80 by 30 with a text on it.
func show(text string) screen.Snapshot {
	s := screen.New(80, 30)
	_, _ = s.Write([]byte(strings.ReplaceAll(strings.TrimPrefix(text, "\n"), "\n", "\r\n")))
	return s.Snapshot()
}

const rule = "────────────────────────────────────────────────────────────────────────────────"

const claudeBash = `
❯ clean the build folder

● Bash(rm -rf build)
  ⎿  Running…

` + rule + `
 Bash command

   rm -rf build
   ` + "\x1b[2mRemove what the last build made\x1b[m" + `

 Do you want to proceed?
 ❯ 1. Yes
   2. Yes, and don't ask again for rm commands in
      /work/app
   3. No, and tell Claude what to do differently (esc)

 Esc to cancel · Tab to amend`

const claudeBox = "\n" + rule + "\n❯ " + "\x1b[2mTry \"how do I log an error?\"\x1b[m\n" + rule + "\n  ⏵⏵ accept edits on (shift+tab to cycle)      ctx: 37%  Opus 4.8"

const codexRun = `
• I need the list of packages.

  Would you like to run the following command?

  Reason: the sandbox has no network

  $ go list -m all

› 1. Yes, proceed (y)
  2. Yes, and don't ask again for this command (a)
  3. No, and tell Codex what to do differently (esc)

  Press enter to confirm or esc to cancel`

const geminiRun = `
╭──────────────────────────────────────────────────────────────────────────────╮
│ Action Required                                                       1 of 2 │
│                                                                              │
│ ?  Shell make test                                                           │
│                                                                              │
│ make test                                                                    │
│ Allow execution of: 'make test'?                                             │
│                                                                              │
│ ● 1. Allow once                                                              │
│   2. Allow for this session                                                  │
│   3. No, suggest changes (esc)                                               │
│                                                                              │
╰──────────────────────────────────────────────────────────────────────────────╯`

const cursorRun = `
 ┌────────────────────────────────────────────────────────────────────────────┐
 │ $ make install in .                                                        │
 └────────────────────────────────────────────────────────────────────────────┘

 Run this command?
 Not in allowlist: make
 → Run (once) (y)
   Add Shell(make) to allowlist? (tab)
   Skip (esc or n)

 ctrl+r to review changed files`

const copilotEdit = `
╭──────────────────────────────────────────────────────────────────────────────╮
│ Edit file                                                                    │
│                                                                              │
│ Do you want to edit /work/app/main.go?                                       │
│                                                                              │
│ ❯ 1. Yes                                                                     │
│   2. Yes, and approve all file operations for the rest of the running session│
│   3. No, and tell Copilot what to do differently (Esc)                       │
│                                                                              │
│ Confirm with number keys or ↑↓ keys and Enter, Cancel with Esc               │
╰──────────────────────────────────────────────────────────────────────────────╯`

const opencodeRun = "\n┃  △ Permission required\n┃    # Shell command\n┃\n┃  $ git push\n┃\n┃   Allow once   \x1b[7mAllow always\x1b[m   Reject  ⇆ select  enter confirm\n┃"

const gooseTool = `
─── shell | developer ──────────────────────────
command: ls

◆  Goose would like to call the above tool, do you allow?
│  ● Allow (Allow the tool call once)
│  ○ Always Allow
│  ○ Deny
│  ○ Cancel
└`

const aiderAdd = "\nI would change it so.\n\nmain.go\nAdd main.go to the chat? (Y)es/(N)o/(D)on't ask again [Yes]: "

const ampTool = `
╭──────────────────────────────────────────╮
│ Invoke tool Bash?                        │
│ $ go vet ./...                           │
│                                          │
│ ▸ Approve                                │
│   Allow All for This Session             │
│   Deny with feedback                     │
╰──────────────────────────────────────────╯`

// TestPrompts: each agent's question is read, and answered with its keys.
func TestPrompts(t *testing.T) {
	set := load(t, "")
	const up, down, right, left, enter = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\r"
	for _, c := range []struct {
		driver, screen, class, command, file, tool string
		options                                    int
		approve, deny                              []string
	}{
		{"claude-code", claudeBash, driver.Permission, "rm -rf build", "", "", 3, []string{enter}, []string{down, down, enter}},
		{"codex-cli", codexRun, driver.Permission, "go list -m all", "", "", 3, []string{enter}, []string{down, down, enter}},
		{"gemini-cli", geminiRun, driver.Permission, "make test", "", "Shell make test", 3, []string{enter}, []string{down, down, enter}},
		{"qwen-cli", geminiRun, driver.Permission, "make test", "", "Shell make test", 3, []string{enter}, []string{down, down, enter}},
		{"copilot-cli", copilotEdit, driver.Permission, "", "/work/app/main.go", "", 3, []string{enter}, []string{down, down, enter}},
		{"cursor", cursorRun, driver.Permission, "make install", "", "", 3, []string{enter}, []string{down, down, enter}},
		{"opencode", opencodeRun, driver.Permission, "git push", "", "Shell command", 3, []string{left, enter}, []string{right, enter}},
		{"goose", gooseTool, driver.ToolAuth, "", "", "", 4, []string{enter}, []string{down, down, enter}},
		{"aider", aiderAdd, driver.Confirmation, "", "main.go", "", 2, []string{"y", enter}, []string{"n", enter}},
		{"amp", ampTool, driver.ToolAuth, "go vet ./...", "", "Bash", 3, []string{enter}, []string{down, down, enter}},
	} {
		d := set.Get(c.driver)
		st := d.Look(show(c.screen))
		p := st.Prompt
		if p == nil {
			t.Errorf("%s: no prompt: %+v", c.driver, st)
			continue
		}
		if st.State != driver.Idle || p.Class != c.class || p.Command != c.command || p.File != c.file || p.Tool != c.tool || len(p.Options) != c.options || p.Question == "" {
			t.Errorf("%s: %+v", c.driver, p)
		}
		answer := func(a driver.Answer, want []string) {
			t.Helper()
			got, err := d.Keys(p, a)
			if err != nil {
				t.Errorf("%s %+v: %v", c.driver, a, err)
				return
			}
			if s := texts(got); !slices.Equal(s, want) {
				t.Errorf("%s %+v: keys %q, want %q", c.driver, a, s, want)
			}
		}
		answer(driver.Answer{Type: "approve"}, c.approve)
		answer(driver.Answer{Type: "confirm", Yes: true}, c.approve)
		answer(driver.Answer{Type: "deny"}, c.deny)
		for _, wrong := range []driver.Answer{{Type: "select", Index: 9}, {Type: "select", Index: -1}, {Type: "yes"}, {Type: "retry"}, {Type: "text", Text: "x"}, {}} {
			if got, err := d.Keys(p, wrong); !errors.Is(err, driver.ErrNotOffered) {
				t.Errorf("%s %+v: %q, %v", c.driver, wrong, got, err)
			}
		}
	}
}

func texts(keys [][]byte) []string {
	var out []string
	for _, k := range keys {
		out = append(out, string(k))
	}
	return out
}

func TestOptions(t *testing.T) {
	d := load(t, "").Get("claude-code")
	p := d.Look(show(claudeBash)).Prompt
	if p.Title != "Bash command" || p.Question != "Do you want to proceed?" || !p.Options[0].Selected || p.Options[1].Detail != "/work/app" || !strings.Contains(p.Text, "rm -rf build") {
		t.Errorf("%+v", p)
	}
	p = d.Look(show(strings.NewReplacer("❯ 1.", "  1.", "  3.", "❯ 3.").Replace(claudeBash))).Prompt
	got, err := d.Keys(p, driver.Answer{Type: "select", Index: 1})
	if err != nil || !slices.Equal(texts(got), []string{"\x1b[A", "\r"}) {
		t.Errorf("%q %v", got, err)
	}
	p.ApplicationCursor = true
	if got, _ := d.Keys(p, driver.Answer{Type: "approve"}); !slices.Equal(texts(got), []string{"\x1bOA", "\x1bOA", "\r"}) {
		t.Errorf("application cursor: %q", got)
	}
	hidden := d.Look(show(strings.Replace(claudeBash, "rm -rf build\n   \x1b[2m", "rm -rf \u202edliub\n   \x1b[2m", 1))).Prompt
	if hidden.Command != `rm -rf \u202edliub` {
		t.Errorf("a character that turns text: %q", hidden.Command)
	}
}

// TestQuoted: what looks like a prompt but is text above the input is none.
func TestQuoted(t *testing.T) {
	set := load(t, "")
	for name, text := range map[string]string{
		"claude-code": claudeBash + "\n\n✻ Baked for 8s" + claudeBox,
		"codex-cli":   codexRun + "\n\n› Ask Codex to do anything\n\n  gpt-5.2-codex high · 80% left · ~/app",
		"gemini-cli":  geminiRun + "\n✦ That was the dialog.\n\n╭────────────╮\n│ > \n╰────────────╯\n",
		"cursor":      cursorRun + "\n\n  → Add a follow-up\n\n  Composer 2",
		"copilot-cli": copilotEdit + "\n\n● It looked like this.\n" + rule + "\n❯ \n" + rule,
		"goose":       gooseTool + "\n\nThat is how it asks.\n\n( O)> ",
		"aider":       aiderAdd + "yes\n\n> ",
	} {
		if st := set.Get(name).Look(show(text)); st.Prompt != nil {
			t.Errorf("%s sees %+v", name, st.Prompt)
		}
	}
	if st := set.Get("claude-code").Look(show("● The steps are:\n\n  1. Yes, build\n  2. No, do not\n\n  Esc to cancel" + claudeBox)); st.Prompt != nil || st.State != driver.Ready {
		t.Errorf("a list in a text: %+v", st)
	}
}

func TestStates(t *testing.T) {
	set := load(t, "")
	for _, c := range []struct{ driver, screen, state, label string }{
		{"claude-code", "● Done." + claudeBox, driver.Ready, "Available"},
		{"claude-code", "● Look\n\n✽ Grooving… (3m 34s · ↓ 2.1k tokens)\n" + claudeBox, driver.Busy, "Working"},
		{"claude-code", "● Look\n\n✻ Baked for 2s\n" + claudeBox, driver.Ready, "Available"},
		{"claude-code", "starting", driver.Unknown, ""},
		{"codex-cli", "• Reading\n\n• Working (1m 12s • esc to interrupt)\n\n› Ask Codex to do anything\n\n  gpt-5.2-codex high · 61% left · ~/app", driver.Busy, "Working"},
		{"codex-cli", "• Done\n\n› Ask Codex to do anything\n\n  gpt-5.2-codex high · 61% left · ~/app", driver.Ready, "Available"},
		{"gemini-cli", "⠏ Thinking hard (esc to cancel, 12s)\n\n╭───────────╮\n│ >   Type your message or @path/to/file    │\n╰───────────╯", driver.Busy, "Working"},
		{"cursor", " ⠆⠆ Composing  3 tokens\n\n  → Add a follow-up                     ctrl+c to stop\n\n  Composer 2", driver.Busy, "Working"},
		{"aider", "Aider v0.86.1\nModel: gpt-5 with diff edit format\n> ", driver.Ready, "Available"},
		{"goose", "starting session | provider: openai model: gpt-5\n( O)> ", driver.Ready, "Available"},
	} {
		if st := set.Get(c.driver).Look(show(c.screen)); st.State != c.state || st.Label != c.label {
			t.Errorf("%s: %s/%s, want %s/%s, on\n%s", c.driver, st.State, st.Label, c.state, c.label, c.screen)
		}
	}
	st := set.Get("claude-code").Look(show("✽ Grooving… (8s · ↓ 81 tokens)\n" + claudeBox))
	if st.Activity != "Grooving" || st.ContextUsed != 37 || st.ContextRemaining != 63 || st.PermissionMode != "accept_edits" || st.Model != "Opus 4.8" || !st.Input.Empty {
		t.Errorf("%+v", st)
	}
	st = set.Get("codex-cli").Look(show("› fix the\n  tests\n\n  gpt-5.2-codex high · 61% left · ~/app"))
	if st.Model != "gpt-5.2-codex" || st.ContextRemaining != 61 || st.Workspace != "~/app" || st.Input.Text != "fix the\ntests" {
		t.Errorf("%+v", st)
	}
}

func TestTrust(t *testing.T) {
	set := load(t, "")
	d := set.Get("claude-code")
	p := d.Look(show(" Accessing workspace:\n\n /work/app\n\n Quick safety check: Is this a project you created or one you trust?\n\n ❯ No, exit\n   Yes, I trust this folder\n\n Enter to confirm · Esc to cancel")).Prompt
	if p == nil || p.Subclass != driver.SubclassTrust {
		t.Fatalf("%+v", p)
	}
	if got, err := d.Keys(p, driver.Answer{Type: "approve"}); err != nil || !slices.Equal(texts(got), []string{"\x1b[B", "\r"}) {
		t.Errorf("%q %v", got, err)
	}
}

// TestFingerprint: it stays with a prompt, whatever moves around it, and is another for each asking.
func TestFingerprint(t *testing.T) {
	d := load(t, "").Get("claude-code")
	tr := driver.NewTracker(d, 0)
	first := tr.Look(show(claudeBash)).Prompt.Fingerprint
	for _, same := range []string{
		strings.Replace(claudeBash, "clean the build folder", "something else above", 1),
		strings.NewReplacer("❯ 1.", "  1.", "  2.", "❯ 2.").Replace(claudeBash), claudeBash + "\x1b[5;5H", "\n" + claudeBash,
	} {
		if got := tr.Look(show(same)).Prompt; got == nil || got.Fingerprint != first {
			t.Errorf("%+v, want %s", got, first)
		}
	}
	if tr.Look(show("half of a redr")).Prompt != nil || tr.Look(show(claudeBash)).Prompt.Fingerprint != first {
		t.Error("a screen that is being redrawn ends a prompt")
	}
	other := tr.Look(show(strings.ReplaceAll(claudeBash, "rm -rf build", "rm -rf /"))).Prompt.Fingerprint
	if other == first {
		t.Error("another command has the same fingerprint")
	}
	again := tr.Look(show(claudeBash)).Prompt.Fingerprint
	tr.Look(show("● Done." + claudeBox))
	third := tr.Look(show(claudeBash)).Prompt
	if again == first || third.Fingerprint == first || third.Fingerprint == again {
		t.Errorf("asked again: %s %s %s", first, again, third.Fingerprint)
	}
	later := driver.NewTracker(d, tr.Generation())
	later.Resume(third.Digest)
	if got := later.Look(show(claudeBash)).Prompt.Fingerprint; got != third.Fingerprint {
		t.Errorf("after a restart %s, want %s", got, third.Fingerprint)
	}
}

func TestDetect(t *testing.T) {
	set := load(t, "")
	name := func(d *driver.Driver) string {
		if d == nil {
			return ""
		}
		return d.Name
	}
	for _, c := range []struct {
		screen string
		hint   driver.Hint
		want   string
	}{
		{"", driver.Hint{Name: "claude"}, "claude-code"},
		{"", driver.Hint{Name: "none such", Command: "claude"}, ""},
		{"", driver.Hint{Command: "/usr/bin/codex --full-auto"}, "codex-cli"},
		{"$ ls\nclaude gemini codex", driver.Hint{Command: "bash"}, ""},
		{"\x1b]2;✳ Claude Code\x07", driver.Hint{Command: "node"}, "claude-code"},
		{">_ OpenAI Codex (v0.150.0)", driver.Hint{Command: "node"}, "codex-cli"},
		{"   Cursor Agent\n   v2026.04.17-787b533", driver.Hint{}, "cursor"},
		{"$ ", driver.Hint{}, ""},
	} {
		if got := name(set.Detect(show(c.screen), c.hint)); got != c.want {
			t.Errorf("%q %+v: %q, want %q", c.screen, c.hint, got, c.want)
		}
	}
}

const own = `name: mine
describes: mine 1
commands: [mine]
input: {row: '^mine> (.*)$'}
prompts:
  - name: go
    class: confirmation
    question: '(Go\?)'
    options: {kind: line, row: 'Go\? \[y/n\]', labels: ['Yes', 'No'], keys: [y, n]}
    answers: {approve: {keys: [y]}, text: {text: true, then: [enter]}}
`

// TestFolder: a file in the user's folder adds a driver or replaces one; a broken one is told and changes nothing.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mine.yaml":        own,
		"aider.yaml":       strings.Replace(own, "name: mine", "name: aider\nlabel: my aider", 1),
		"goose.yaml":       "name: goose\ndescribes: x\ninput:\n  row: '(unclosed'\n",
		"amp.yaml":         strings.Replace(own, "commands:", "comands:", 1),
		"cursor.yaml":      "name: cursor\n  bad: [",
		"wrong.yaml":       own,
		"empty.yaml":       "",
		"notes.txt":        "not a driver",
		"claude-code.yaml": strings.Replace(strings.Replace(own, "name: mine", "name: claude-code", 1), "keys: [y]}", "keys: [hyper-y]}", 1),
		"codex-cli.yaml":   "name: codex-cli\n" + strings.Repeat("# long\n", 20000),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, problems := driver.Load(dir)
	told := map[string]driver.Problem{}
	for _, p := range problems {
		told[p.File] = p
	}
	for file, want := range map[string]struct {
		line int
		text string
	}{
		"goose.yaml": {4, "missing closing"}, "amp.yaml": {3, "comands"}, "cursor.yaml": {2, ""}, "wrong.yaml": {1, "not that of the file"},
		"empty.yaml": {0, "empty"}, "claude-code.yaml": {0, "hyper-y"}, "codex-cli.yaml": {0, "longer"},
	} {
		if p := told[file]; p.Reason == "" || p.Line != want.line || !strings.Contains(p.Reason, want.text) {
			t.Errorf("%s: %q, want line %d and %q", file, p, want.line, want.text)
		}
	}
	if len(problems) != 7 {
		t.Errorf("%d problems: %v", len(problems), problems)
	}
	if set.Get("mine") == nil || set.Get("aider").Label != "my aider" || set.Get("goose") == nil || set.Get("goose").Describes == "x" || set.Get("claude-code").Label != "Claude Code" {
		t.Error("the folder was not read as it should")
	}
	d := set.Get("mine")
	p := d.Look(show("Go? [y/n] ")).Prompt
	if p == nil {
		t.Fatal("the added driver sees no prompt")
	}
	for text, ok := range map[string]bool{"sure": true, "": false, "a\rb": false, "\x1b": false, strings.Repeat("x", 5000): false} {
		if _, err := d.Keys(p, driver.Answer{Type: "text", Text: text}); (err == nil) != ok {
			t.Errorf("text %.20q: %v", text, err)
		}
	}
	if _, problems := driver.Load(filepath.Join(dir, "missing")); len(problems) != 0 {
		t.Errorf("a missing folder: %v", problems)
	}
}

// TestDocumented: docs/drivers.md names every key of the schema, and its example is a driver.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../../../docs/drivers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range driver.Schema() {
		if !strings.Contains(string(b), "`"+key+"`") {
			t.Errorf("docs/drivers.md does not name `%s`", key)
		}
	}
	_, rest, _ := strings.Cut(string(b), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if _, err := driver.Parse([]byte(example)); !ok || err != nil {
		t.Errorf("the example: %v", err)
	}
}

// FuzzLook: no screen makes a driver panic, and what it says has no control characters.
func FuzzLook(f *testing.F) {
	for _, s := range []string{claudeBash, codexRun, geminiRun, opencodeRun, gooseTool, aiderAdd, ampTool, cursorRun, copilotEdit, claudeBox} {
		f.Add(s)
	}
	set, _ := driver.Load("")
	f.Fuzz(func(t *testing.T, text string) {
		snap := show(text)
		set.Detect(snap, driver.Hint{})
		for _, d := range set.All() {
			p := d.Look(snap).Prompt
			if p == nil {
				continue
			}
			if strings.ContainsAny(p.Question+p.Command+p.Title, "\x1b\r\u202e\u200b") {
				t.Errorf("%+v", p)
			}
			for _, a := range []string{"approve", "deny", "abort"} {
				_, _ = d.Keys(p, driver.Answer{Type: a})
			}
		}
	})
}
