package paste_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

type wallClock struct{} // within a bubble of synctest: no real time passes

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// agent is a fake that runs, with its screen.
type agent struct {
	t      *testing.T
	screen *screen.Screen
	fake   *fake
	input  chan []byte
	done   chan struct{}
	folder string
}

// Write blocks while the program does not read.
func (a *agent) Write(ctx context.Context, p []byte) error {
	for chunk := range slices.Chunk(p, 4096) {
		select {
		case a.input <- slices.Clone(chunk):
		case <-a.done:
			return io.ErrClosedPipe
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (a *agent) Done() <-chan struct{} { return a.done }

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func start(t *testing.T, f faults) *agent {
	t.Helper()
	a := &agent{t: t, screen: screen.New(80, 24), input: make(chan []byte), done: make(chan struct{}), folder: t.TempDir()}
	a.fake = &fake{faults: f, out: a.screen, cols: 80}
	go func() {
		defer close(a.done)
		a.fake.run(a.input)
	}()
	t.Cleanup(func() {
		close(a.input)
		<-a.done
	})
	synctest.Wait()
	return a
}

func (a *agent) sender() *paste.Sender {
	return paste.New(paste.Options{Terminal: a, Screen: a.screen, Clock: wallClock{}, Folder: a.folder, Ready: 2 * time.Second, Appear: 20 * time.Second, Take: 20 * time.Second, Settle: 5 * time.Second})
}

// records are what the fake was told so far.
func (a *agent) records() []record {
	synctest.Wait()
	return a.fake.log
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
		"torn":      {faults{Torn: 10}, 1, 2000},
		"halved":    {faults{Torn: 400, Alternate: true, Swallow: true}, 1, 200},
		"all":       {faults{Alternate: true, Slow: 30, Burst: 60, Swallow: true}, 80, 200},
	} {
		inBubble(t, name, func(t *testing.T) {
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
		"torn":    {faults{Deaf: true, Torn: 10}, "hello there", paste.Swallowed, true},
		"dies":    {faults{Dies: 5000}, message(40_000, rand.New(rand.NewPCG(1, 1))), paste.Dead, false},
		"asks":    {faults{Asks: true}, "hello there", paste.Interrupted, false},
	} {
		inBubble(t, name, func(t *testing.T) {
			a := start(t, c.faults)
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
func TestNotWhole(t *testing.T) { synctest.Test(t, testNotWhole) }

func testNotWhole(t *testing.T) {
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
func TestDraft(t *testing.T) { synctest.Test(t, testDraft) }

func testDraft(t *testing.T) {
	a := start(t, faults{})
	if err := a.Write(t.Context(), []byte("my own words")); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	d := fakeDriverWith(t, 1, 100)
	if got := a.sender().Send(t.Context(), d, paste.Message{Text: "hello"}, nil); got.Reason != paste.Draft || len(got.Steps) != 2 {
		t.Errorf("%+v", got)
	}
	if st := d.Look(a.screen.Snapshot()); st.Input.Text != "my own words" {
		t.Errorf("the draft is %q", st.Input.Text)
	}
}

// TestControls: nothing in a message can end the paste or be a key.
func TestControls(t *testing.T) { synctest.Test(t, testControls) }

func testControls(t *testing.T) {
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
func TestNoAgent(t *testing.T) { synctest.Test(t, testNoAgent) }

func testNoAgent(t *testing.T) {
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
	if all := a.records(); len(all) != 1 || all[0].Length != 5 {
		t.Errorf("the fake got %+v", all)
	}
}

// TestGivenUp: a sender that leaves before Enter leaves a clean input.
func TestGivenUp(t *testing.T) { synctest.Test(t, testGivenUp) }

func testGivenUp(t *testing.T) {
	a := start(t, faults{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := a.sender().Send(ctx, fakeDriverWith(t, 5000, 100), paste.Message{Text: "never mind"}, func(r paste.Receipt) error {
		if r.State() == paste.Seen {
			cancel()
		}
		return nil
	})
	if got.Reason != paste.Interrupted || !got.Clean || got.Presses != 0 {
		t.Errorf("%+v", got)
	}
}

// TestAShellWhereAnAgentWas: nothing of a message is executed by a shell that runs below the picture of an agent that
// has ended, and its line is left clean.
func TestAShellWhereAnAgentWas(t *testing.T) {
	for name, text := range map[string]string{"one line": "rm -rf /", "lines": "first\nrm -rf /\nrm", "blank lines": "\n\n rm -rf /\nrm\n", "long": strings.Repeat("rm -rf /\n", 100)} {
		inBubble(t, name, func(t *testing.T) {
			a := start(t, faults{Gone: true, Plain: true})
			got := a.sender().Send(t.Context(), fakeDriverWith(t, 1, 100), paste.Message{Text: text}, nil)
			if got.State() != paste.Failed || got.Reason != paste.NotSeen || got.Presses != 0 {
				t.Errorf("%+v", got)
			}
			if all := a.records(); len(all) != 0 || a.fake.line != "" {
				t.Errorf("the shell executed %+v, and has the line %q", all, a.fake.line)
			}
		})
	}
}

// TestTold: each step is told before it is done, and one that cannot be told before Enter ends the message.
func TestTold(t *testing.T) {
	for _, at := range []paste.State{paste.Queued, paste.Pasting, paste.Seen, paste.Submitted, paste.Taken} {
		inBubble(t, string(at), func(t *testing.T) {
			a := start(t, faults{})
			d := fakeDriverWith(t, 1, 100)
			var told []paste.State
			got := a.sender().Send(t.Context(), d, paste.Message{Text: "hello there"}, func(r paste.Receipt) error {
				synctest.Wait()
				told = append(told, r.State())
				written := d.Look(a.screen.Snapshot()).Input.Text != "" || len(a.fake.log) > 0
				submitted := len(a.fake.log) > 0
				switch s := r.State(); {
				case (s == paste.Queued || s == paste.Pasting) && written, s == paste.Submitted && submitted, s == paste.Taken && !submitted:
					t.Errorf("told late: %s", s)
				case s == at:
					return io.ErrShortWrite
				}
				return nil
			})
			all := a.records()
			if at == paste.Taken {
				if got.State() != paste.Taken || len(all) != 1 {
					t.Errorf("%+v", got)
				}
				return
			}
			if got.State() != paste.Failed || got.Reason != paste.Interrupted || got.Presses != 0 || !got.Clean || len(all) != 0 || told[len(told)-1] != paste.Failed {
				t.Errorf("%+v, told %v, the fake has %v", got, told, all)
			}
			if st := d.Look(a.screen.Snapshot()); !st.Input.Empty {
				t.Errorf("left in the input: %q", st.Input.Text)
			}
		})
	}
}

// TestRecover: what was left of a message is taken out of the input, a draft of somebody's is not, and only an input
// that is empty after Enter counts as taken.
func TestRecover(t *testing.T) {
	const text = "this is my message, with several words"
	for name, c := range map[string]struct {
		faults
		left         paste.State
		typed        string // what stands in the input
		taken, clean bool
		stays        string
	}{
		"nothing written":     {faults{}, paste.Pasting, "", false, true, ""},
		"a part":              {faults{}, paste.Pasting, text[:10], false, true, ""},
		"half a paste":        {faults{}, paste.Pasting, "\x1b[200~" + text[:10], false, true, ""},
		"drawn late":          {faults{Slow: 900}, paste.Pasting, text[:10], false, true, ""},
		"all":                 {faults{}, paste.Seen, text, false, true, ""},
		"a placeholder":       {faults{}, paste.Seen, "\x1b[200~" + strings.Repeat(text, 20) + "\x1b[201~", false, true, ""},
		"somebody's draft":    {faults{}, paste.Seen, "my own words", false, false, "my own words"},
		"somebody wrote on":   {faults{}, paste.Seen, text + " and more", false, false, text + " and more"},
		"a question":          {faults{Modal: true}, paste.Seen, "", false, false, ""},
		"submitted":           {faults{}, paste.Submitted, "", true, true, ""},
		"submitted, it stays": {faults{}, paste.Submitted, text, false, true, ""},
		"submitted, a draft":  {faults{}, paste.Submitted, "my own words", false, false, "my own words"},
	} {
		inBubble(t, name, func(t *testing.T) {
			a := start(t, c.faults)
			if err := a.Write(t.Context(), []byte(c.typed)); err != nil {
				t.Fatal(err)
			}
			d := fakeDriverWith(t, 1, 100)
			if c.Slow == 0 {
				synctest.Wait()
			}
			taken, clean := a.sender().Recover(t.Context(), d, paste.Left{State: c.left, Head: text})
			if taken != c.taken || clean != c.clean {
				t.Errorf("taken %t, clean %t\n%s", taken, clean, a.screen.Snapshot().Text())
			}
			if all := a.records(); len(all) != 0 && !c.Modal || len(all) > 0 && all[0].Length > 0 {
				t.Errorf("the fake was told %+v", all)
			}
			if st := d.Look(a.screen.Snapshot()); st.Input.Text != c.stays || a.fake.inPaste {
				t.Errorf("left in the input: %q", st.Input.Text)
			}
		})
	}
}
