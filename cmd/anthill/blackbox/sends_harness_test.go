package blackbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	antv1 "anthill/gen/ant/v1"
)

// fakePaste is the program that plays agents (see fakepaste), built once, beside the program under test.
var fakePaste = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "fakepaste")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "anthill/cmd/anthill/blackbox/fakepaste").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fakepaste: %w\n%s", err, out)
	}
	return path, nil
})

// fakeDriver is the driver of one of them: its name, and times in milliseconds.
const fakeDriver = `
name: %[1]s
describes: a fake of these tests
recognise: [['^Paste Fake v1 %[1]s$']]
input:
  row: '^>(?:\s(.*))?$'
  above: '^─{10,}'
  end: ['^─{10,}']
chrome: ['^  ready$']
busy: [{row: '^\* Working…', within: 10}]
prompts:
  - name: may
    class: permission_request
    question: '(May I .*\?)'
    foot: 'Esc to cancel'
    choose: down
    answers: {abort: {keys: [esc]}}
paste:
  burst: %[2]d
  retry: %[3]d
  tries: 4
  max: 100000
  placeholder: ['\[Pasted #\d+ (?P<chars>\d+) chars\]']
  newline: [newline]
  clear: [ctrl-u]
  file_mention: '@{path}'
`

// fakeMode is a fake, and the driver for it.
type fakeMode struct {
	name         string
	faults       string // JSON of its faults, but the name
	burst, retry int    // of the driver; 0: 1 ms and 2 s
}

// withFakes puts the drivers of fakes into the home.
func withFakes(modes ...fakeMode) option {
	return prepared(func(_, home string) {
		dir := filepath.Join(home, "drivers")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			panic(err)
		}
		for _, m := range modes {
			burst, retry := max(m.burst, 1), m.retry
			if retry == 0 {
				retry = 2000
			}
			if err := os.WriteFile(filepath.Join(dir, m.name+".yaml"), fmt.Appendf(nil, fakeDriver, m.name, burst, retry), 0o600); err != nil {
				panic(err)
			}
		}
	})
}

// agentTerminal is a terminal in which a fake runs.
type agentTerminal struct {
	*server
	mode   fakeMode
	id     string
	handle string
	chat   string // its private one
	record string // what the fake was told
}

// agentIn makes a terminal for a fake; it does not run yet.
func (s *server) agentIn(mode fakeMode) *agentTerminal {
	s.t.Helper()
	row := s.newSession(mode.name, "terminal")
	return &agentTerminal{server: s, mode: mode, id: str(row, "id"), handle: str(row, "handle"), chat: str(row, "linked_chat_id"),
		record: filepath.Join(s.user, mode.name+".record")}
}

// run starts the fake and waits until it has begun.
func (a *agentTerminal) run() {
	a.t.Helper()
	program, err := fakePaste()
	if err != nil {
		a.t.Fatal(err)
	}
	faults := map[string]any{"name": a.mode.name}
	if a.mode.faults != "" {
		if err := json.Unmarshal([]byte(a.mode.faults), &faults); err != nil {
			a.t.Fatal(err)
		}
	}
	given, err := json.Marshal(faults)
	if err != nil {
		a.t.Fatal(err)
	}
	begun := len(a.pids())
	_, err = antv1.NewTerminalsServiceClient(a.dial()).StartTerminal(a.call(), &antv1.StartTerminalRequest{SessionId: a.id, Command: []string{program, a.record, string(given)}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.eventually("the fake begins", func() bool { return len(a.pids()) > begun })
}

// heardLine is one line of a fake's record.
type heardLine struct {
	SHA256 string
	Length int
	File   bool
	Start  string
	Stray  string
	Died   bool
	Pid    int
}

func (a *agentTerminal) lines() (all []heardLine) {
	a.t.Helper()
	b, err := os.ReadFile(a.record)
	if err != nil && !os.IsNotExist(err) {
		a.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var r heardLine
		if err := json.Unmarshal(line, &r); err != nil {
			a.t.Fatalf("%s: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// told are the messages that it took, in order.
func (a *agentTerminal) told() (all []heardLine) {
	a.t.Helper()
	for _, r := range a.lines() {
		if r.SHA256 != "" {
			all = append(all, r)
		}
	}
	return all
}

func (a *agentTerminal) pids() (all []int) {
	for _, r := range a.lines() {
		if r.Pid > 0 {
			all = append(all, r.Pid)
		}
	}
	return all
}

// signal tells the fake that runs to change what it does.
func (a *agentTerminal) signal(sig syscall.Signal) {
	a.t.Helper()
	all := a.pids()
	if err := syscall.Kill(all[len(all)-1], sig); err != nil {
		a.t.Fatal(err)
	}
}

// shows waits until the screen has a text.
func (a *agentTerminal) shows(text string) {
	a.t.Helper()
	a.eventually("the screen shows "+text, func() bool { return strings.Contains(a.screen(), text) })
}

func (a *agentTerminal) screen() string {
	a.t.Helper()
	v, err := antv1.NewTerminalsServiceClient(a.dial()).GetTerminalScreen(a.call(), &antv1.GetTerminalScreenRequest{SessionId: a.id})
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.Join(v.Lines, "\n")
}

func (a *agentTerminal) sends() antv1.SendsServiceClient {
	return antv1.NewSendsServiceClient(a.dial())
}

// send sends a text; while the agent is not known yet, again, as nothing was written.
func (a *agentTerminal) send(c antv1.SendsServiceClient, text string) *antv1.TerminalSend {
	a.t.Helper()
	var v *antv1.TerminalSend
	a.eventually("the agent is known", func() bool {
		var err error
		if v, err = c.SendToTerminal(a.call(), &antv1.SendToTerminalRequest{SessionId: a.id, Text: text}); err != nil {
			a.t.Fatal(err)
		}
		return v.GetReason() != "no_agent" && v.GetReason() != "not_ready"
	})
	if v.Length != float64(len(text)) || v.Sha256 != hexDigest(text) {
		a.t.Errorf("a receipt of %v bytes, %s for %d bytes, %s", v.Length, v.Sha256, len(text), hexDigest(text))
	}
	return v
}

// blank says that nothing stands in the input.
func (a *agentTerminal) blank() bool {
	a.t.Helper()
	for line := range strings.Lines(a.screen()) {
		if rest, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), ">"); ok {
			return strings.TrimSpace(rest) == ""
		}
	}
	return false
}

func hexDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sizes are those at which something changes; between them they are random.
var sizes = []int{1, 2, 3, 79, 80, 300, 301, 1024, 4096, 4097, 20_000, 65_536, 65_537, 100_001, 256 << 10}

// composed is a message of n bytes: words, lines, wide characters, blanks at the ends of
// lines, and, now and then, what a terminal would obey.
func composed(n int, r *rand.Rand) string {
	kinds := [][]string{
		{"build ", "the ", "ant", "hill ", "x ", "(code) ", "$HOME ", "`ls` ", "| tee "},
		{"line\n", "\n", "  indented\n", "a\n\n\n"},
		{"größe ", "漢字", "🙂", "“so” ", "é"},
		{"trailing   \n", "   ", "word", "\ttab"},
		{"\x1b[201~\rrm -rf /", "\x03", "\x15", "\x1b[31m", "text"},
	}
	words := kinds[r.IntN(len(kinds))]
	var b strings.Builder
	if n > 24 {
		fmt.Fprintf(&b, "%d:", r.Uint64())
	} else {
		b.WriteByte("abcdefgh"[r.IntN(8)]) // something that can be seen
	}
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
	}
	s := strings.ToValidUTF8(b.String()[:n], "")
	return s + strings.Repeat("!", n-len(s))
}

// letters are n messages of all sizes.
func letters(n int, r *rand.Rand) (all []string) {
	for i := range n {
		size := sizes[i%len(sizes)]
		if i%3 == 2 {
			size = 1 + r.IntN(1<<uint(1+r.IntN(18)))
		}
		all = append(all, composed(size, r))
	}
	return all
}

// rounds is how many messages each fake gets.
func rounds() int {
	switch {
	case soak:
		return 1000
	case raceOn: // which makes it slow; make e2e runs it without
		return 12
	}
	return 50
}
