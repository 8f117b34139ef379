package paste_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/paste"
	"anthill/services/internal/terminal/screen"
)

const fakeDriver = `
name: fake
describes: the fake agent of these tests
commands: [fake]
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
  burst: %d
  retry: %d
  tries: 4
  max: 100000
  placeholder: ['\[Pasted #\d+ (?P<chars>\d+) chars\]']
  newline: [newline]
  clear: [ctrl-u]
`

func fakeDriverWith(t *testing.T, burst, retry int) *driver.Driver {
	t.Helper()
	d, err := driver.Parse(fmt.Appendf(nil, fakeDriver, burst, retry))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// agent is a running fake with its screen.
type agent struct {
	t      *testing.T
	screen *screen.Screen
	file   *os.File
	done   chan struct{}
	record string
	folder string
}

// Write ends when the program does: a terminal that nobody reads takes nothing more.
func (a *agent) Write(ctx context.Context, p []byte) error {
	defer context.AfterFunc(ctx, func() { _ = a.file.SetWriteDeadline(time.Now()) })()
	_, err := a.file.Write(p)
	return err
}

func (a *agent) Done() <-chan struct{} { return a.done }

func start(t *testing.T, f faults) *agent {
	t.Helper()
	a := &agent{t: t, screen: screen.New(80, 24), done: make(chan struct{}), record: filepath.Join(t.TempDir(), "record"), folder: t.TempDir()}
	rules, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{fakeEnv + "=" + a.record + " " + string(rules), "TERM=xterm-256color"}
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(master.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = master.Close()
	_ = syscall.SetNonblock(fd, true) // so that a write can be given up
	a.file = os.NewFile(uintptr(fd), "terminal")
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(a.screen, a.file)
	}()
	go func() {
		<-read
		_ = cmd.Wait()
		close(a.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-a.done
		_ = a.file.Close()
	})
	a.shows("Fake Agent")
	return a
}

// shows waits until the fake has drawn what ends a picture.
func (a *agent) shows(text string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 30*time.Second)
	defer cancel()
	for {
		s := a.screen.Snapshot()
		if said := s.Text(); strings.Contains(said, text) && (strings.HasSuffix(said, "ready") || strings.Contains(said, "Esc to cancel")) {
			return
		}
		if err := a.screen.Wait(ctx, s.Version); err != nil {
			a.t.Fatalf("the fake does not show %q but\n%s", text, s.Text())
		}
	}
}

func (a *agent) sender() *paste.Sender {
	return paste.New(paste.Options{Terminal: a, Screen: a.screen, Clock: wallClock{}, Folder: a.folder, Ready: 5 * time.Second, Appear: 20 * time.Second, Take: 20 * time.Second, Settle: 5 * time.Second})
}

// records are what the fake was told so far.
func (a *agent) records() []record {
	a.t.Helper()
	b, err := os.ReadFile(a.record)
	if err != nil {
		a.t.Fatal(err)
	}
	var all []record
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var r record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			a.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

var sizes = []int{1, 7, 80, 500, 4096, 40_000, 256 << 10}

// message is n bytes of words, lines and characters of several bytes, each different.
func message(n int, r *rand.Rand) string {
	words := []string{"build ", "the ", "ant", "hill\n", "größe ", "漢字 ", "x ", "(code) ", "\n  indented ", "“so” "}
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", r.Uint64())
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
	}
	s := b.String()[:n]
	return strings.ToValidUTF8(s, "?") + strings.Repeat("!", n-len(strings.ToValidUTF8(s, "?")))
}

const sends = 50

// TestSends: what each misbehaving fake records is what the receipts say, once each and in order.
func TestSends(t *testing.T) {
	for name, c := range map[string]struct {
		faults
		burst, retry int
	}{
		"well":      {faults{}, 1, 2000},
		"burst":     {faults{Burst: 120}, 150, 2000},
		"slow":      {faults{Slow: 60}, 1, 2000},
		"swallow":   {faults{Swallow: true}, 1, 100},
		"plain":     {faults{Plain: true}, 1, 2000},
		"alternate": {faults{Alternate: true, Slow: 5}, 1, 2000},
		"all":       {faults{Alternate: true, Slow: 30, Burst: 60, Swallow: true}, 80, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, c.faults)
			d, s, r := fakeDriverWith(t, c.burst, c.retry), a.sender(), rand.New(rand.NewPCG(1, uint64(len(name))))
			for i := range sends {
				text := message(sizes[i%len(sizes)], r)
				got := s.Send(t.Context(), d, paste.Message{Text: text}, nil)
				if got.State() != paste.Taken {
					t.Fatalf("send %d of %d bytes: %+v\n%s", i, len(text), got, a.screen.Snapshot().Text())
				}
				all := a.records()
				if len(all) != i+1 {
					t.Fatalf("send %d: the fake has %d messages", i, len(all))
				}
				check(t, text, got, all[i])
			}
		})
	}
}

// check compares a message, its receipt and what the fake recorded.
func check(t *testing.T, text string, got paste.Receipt, told record) {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	want := hex.EncodeToString(sum[:])
	if got.SHA256 != want || got.Length != len(text) {
		t.Errorf("receipt of %d bytes: %+v", len(text), got)
	}
	if got.How != paste.Filed {
		if told.SHA256 != want || told.Length != len(text) {
			t.Errorf("the fake got %d bytes of %d by %s", told.Length, len(text), got.How)
		}
		return
	}
	if b, err := os.ReadFile(got.File); err != nil || string(b) != text {
		t.Errorf("the file of a message of %d bytes has %d: %v", len(text), len(b), err)
	}
	if told.Length > 1000 {
		t.Errorf("a mention of %d bytes", told.Length)
	}
}

// TestRefusals: a message that cannot be sent leaves nothing behind, and its receipt says why.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		faults
		text  string
		want  paste.Reason
		clean bool
	}{
		"modal":   {faults{Modal: true}, "hello there", paste.ModalOpen, true},
		"working": {faults{Working: true}, "hello there", paste.Working, true},
		"space":   {faults{}, " \n ", paste.Empty, true},
		"deaf":    {faults{Deaf: true}, "hello there", paste.Swallowed, true},
		"dies":    {faults{Dies: 5000}, message(40_000, rand.New(rand.NewPCG(1, 1))), paste.Dead, false},
		"asks":    {faults{Asks: true}, "hello there", paste.Interrupted, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, c.faults)
			if err := os.WriteFile(a.record, nil, 0o600); err != nil && c.Dies == 0 {
				t.Fatal(err)
			}
			s := paste.New(paste.Options{Terminal: a, Screen: a.screen, Clock: wallClock{}, Folder: a.folder, Take: 300 * time.Millisecond})
			got := s.Send(t.Context(), fakeDriverWith(t, 1, 50), paste.Message{Text: c.text}, nil)
			if got.State() != paste.Failed || got.Reason != c.want || got.Clean != c.clean {
				t.Errorf("%+v, want %s\n%s", got, c.want, a.screen.Snapshot().Text())
			}
			if all := a.records(); len(all) != 0 {
				t.Errorf("the fake got %+v", all)
			}
		})
	}
}

// TestNotWhole: a text that the input drops the end of is cleaned away and goes as a file; if its mention is dropped
// too, nothing is submitted and nothing stays.
func TestNotWhole(t *testing.T) {
	for cuts, want := range map[int]paste.State{250: paste.Taken, 50: paste.Failed} {
		a := start(t, faults{Cuts: cuts})
		s := paste.New(paste.Options{Terminal: a, Screen: a.screen, Clock: wallClock{}, Folder: a.folder, Appear: 500 * time.Millisecond})
		text := strings.Repeat("cut me off ", 40)
		d := fakeDriverWith(t, 1, 500)
		got := s.Send(t.Context(), d, paste.Message{Text: text}, nil)
		if got.State() != want || got.How != paste.Filed || !got.Clean || want == paste.Failed && (got.Reason != paste.NotSeen || got.Presses != 0) {
			t.Errorf("%+v", got)
		}
		if b, err := os.ReadFile(got.File); err != nil || string(b) != text {
			t.Errorf("file %q: %v", b, err)
		}
		if st := d.Look(a.screen.Snapshot()); !st.Input.Empty {
			t.Errorf("left in the input: %q", st.Input.Text)
		}
	}
}

// TestDraft: what a person is writing is not touched.
func TestDraft(t *testing.T) {
	a := start(t, faults{})
	if err := a.Write(t.Context(), []byte("my own words")); err != nil {
		t.Fatal(err)
	}
	a.shows("my own words")
	d := fakeDriverWith(t, 1, 100)
	if got := a.sender().Send(t.Context(), d, paste.Message{Text: "hello"}, nil); got.Reason != paste.Draft || len(got.Steps) != 2 {
		t.Errorf("%+v", got)
	}
	if st := d.Look(a.screen.Snapshot()); st.Input.Text != "my own words" {
		t.Errorf("the draft is %q", st.Input.Text)
	}
}

// TestControls: nothing in a message can end the paste or be a key.
func TestControls(t *testing.T) {
	a := start(t, faults{})
	d, s := fakeDriverWith(t, 1, 500), a.sender()
	for i, text := range []string{"a\x1b[201~\rrm -rf /", "\x15\x03", "bell\a", "line\r\nline", "bad \xff utf-8", "c1 \u009b31m"} {
		got := s.Send(t.Context(), d, paste.Message{Text: text}, nil)
		if got.State() != paste.Taken || got.How != paste.Filed {
			t.Fatalf("%q: %+v", text, got)
		}
		if all := a.records(); len(all) != i+1 {
			t.Fatalf("%q: %d messages", text, len(all))
		}
		check(t, text, got, a.records()[i])
	}
}

// TestNoAgent: without a driver nothing is typed, unless the sender asked for raw text; that has no control characters.
func TestNoAgent(t *testing.T) {
	a := start(t, faults{Plain: true})
	s := a.sender()
	if got := s.Send(t.Context(), nil, paste.Message{Text: "rm -rf /"}, nil); got.Reason != paste.NoAgent {
		t.Errorf("%+v", got)
	}
	if got := s.Send(t.Context(), nil, paste.Message{Text: "ls\nrm", Raw: true}, nil); got.Reason != paste.Controls {
		t.Errorf("%+v", got)
	}
	if got := s.Send(t.Context(), nil, paste.Message{Text: "ls -l", Raw: true}, nil); got.State() != paste.Submitted || got.How != paste.Typed {
		t.Errorf("%+v", got)
	}
	a.shows("you said")
	if all := a.records(); len(all) != 1 || all[0].Length != 5 {
		t.Errorf("the fake got %+v", all)
	}
}

// TestGivenUp: a sender that leaves before Enter leaves a clean input.
func TestGivenUp(t *testing.T) {
	a := start(t, faults{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := a.sender().Send(ctx, fakeDriverWith(t, 5000, 100), paste.Message{Text: "never mind"}, func(s paste.Step) {
		if s.State == paste.Seen {
			cancel()
		}
	})
	if got.Reason != paste.Interrupted || !got.Clean || got.Presses != 0 {
		t.Errorf("%+v", got)
	}
}
