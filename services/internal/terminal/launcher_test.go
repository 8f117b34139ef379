package terminal_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/launcher"
)

// TestLastBytesUnderLoad has programs that are the process of their terminal and print until
// they end, many at once.
func TestLastBytesUnderLoad(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		file := filepath.Join(h.dir, "five")
		want := hugeFile(t, file, 5<<20)
		for range 2 * runtime.NumCPU() { // without it tmux is hardly ever late
			busy := exec.Command("/bin/sh", "-c", "while :; do :; done")
			if err := busy.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = busy.Process.Kill(), busy.Wait() }()
		}
		many := scale(5, 20)
		var wait sync.WaitGroup
		for i := range many {
			wait.Go(func() {
				term, err := e.Start(t.Context(), fmt.Sprint("t", i), sh(`stty raw; exec cat "$1"`, file))
				if err != nil {
					t.Error(err)
					return
				}
				if got := rest(t, term.Reader(0)); sha256.Sum256(got) != want {
					t.Errorf("%s: %d bytes of %d, or not what was printed; it ends with %q", term.ID(), len(got), 5<<20, tailOf(string(got[max(0, len(got)-100):])))
				}
				if x := ended(t, term); x.Code != 0 || x.Signal != 0 {
					t.Errorf("%s: exit %+v", term.ID(), x)
				}
			})
		}
		wait.Wait()
	})
}

// TestRecordWithMark cuts the launcher's mark at every byte.
func TestRecordWithMark(t *testing.T) {
	const token = "SOMETOKEN"
	mark := string(launcher.Mark(token))
	for _, c := range []struct{ in, want string }{
		{"abc" + mark, "abc"},
		{mark + "abc" + mark + mark + "d", "abcd"},
		{"abc" + mark[:len(mark)-1], "abc" + mark[:len(mark)-1]},
		{"\x18\x18" + mark + mark[:3], "\x18\x18" + mark[:3]},
		{mark[:5] + mark + mark[1:], mark[:5] + mark[1:]},
		{string(launcher.Mark("OTHER")) + "x", string(launcher.Mark("OTHER")) + "x"},
	} {
		for cut := range len(c.in) + 1 {
			dir := t.TempDir()
			if err := launcher.Prepare(dir, launcher.Job{}, token); err != nil {
				t.Fatal(err)
			}
			pieces := &pieces{[]string{c.in[:cut], c.in[cut:]}}
			if err := terminal.Record(dir, 0, pieces); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%020d.seg", 0)))
			if err != nil || string(got) != c.want {
				t.Errorf("%q | %q: recorded %q, want %q, %v", c.in[:cut], c.in[cut:], got, c.want, err)
			}
		}
		dir := t.TempDir()
		if err := launcher.Prepare(dir, launcher.Job{}, token); err != nil {
			t.Fatal(err)
		}
		if err := terminal.Record(dir, 0, &pieces{strings.Split(c.in, "")}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%020d.seg", 0))); err != nil || string(got) != c.want {
			t.Errorf("%q byte by byte: recorded %q, %v", c.in, got, err)
		}
	}
}

// pieces is read as it was cut.
type pieces struct{ left []string }

func (p *pieces) Read(buf []byte) (int, error) {
	for len(p.left) > 0 {
		s := p.left[0]
		p.left = p.left[1:]
		if s != "" {
			return copy(buf, s), nil
		}
	}
	return 0, io.EOF
}

// TestMarksAreText prints what looks like the end: the recording goes on.
func TestMarksAreText(t *testing.T) {
	h := newHome(t, "tmux")
	e, _ := h.open()
	// Even the mark of this very start, which no program knows, ends nothing.
	term := start(t, e, "t", sh(`stty raw; printf '\030\033PANTHILLX\033\\one '; printf '\030\033PANTHILL'; cat "$1/token"; printf '\033\\two'`,
		filepath.Join(h.dir, "terminals", "tmux", "recordings", "t")))
	if got := string(rest(t, term.Reader(0))); got != "\x18\x1bPANTHILLX\x1b\\one two" {
		t.Errorf("recorded %q", got)
	}
}

// TestProgramLeads looks at the program from inside and from outside.
func TestProgramLeads(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		term := start(t, e, "t", sh(`echo "pid $$."; ps -o pid=,tpgid=,pgid= -p $$ | { read p t g; [ $t = $g ] && echo foreground; }; read x`))
		r := term.Reader(0)
		said := until(t, r, "foreground")
		if want := fmt.Sprintf("pid %d.", term.Pid()); !strings.Contains(said, want) {
			t.Errorf("said %q, and is %q", said, want)
		}
		write(t, term, "\x1a\x03") // nobody could continue it; it ends by the Ctrl-C
		if x := ended(t, term); x.Signal != syscall.SIGINT {
			t.Errorf("exit %+v", x)
		}
		if e.Host() == "tmux" {
			if left, err := os.ReadFile(filepath.Join(term.Folder(), "launch")); err == nil {
				t.Errorf("the environment is left on disk: %q", left)
			}
		}
	})
}

// TestScripts runs files that are no binaries.
func TestScripts(t *testing.T) {
	h := newHome(t, "tmux")
	e, _ := h.open()
	script := filepath.Join(h.dir, "script")
	if err := os.WriteFile(script, []byte("echo plain $1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := string(rest(t, start(t, e, "plain", terminal.Spec{Argv: []string{script, "words"}}).Reader(0))); got != "plain words\r\n" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Start(t.Context(), "bad", terminal.Spec{Argv: []string{script}}); err == nil || !strings.Contains(err.Error(), "cannot be run") {
		t.Errorf("without an interpreter: %v", err)
	}
	if got := string(rest(t, start(t, e, "bad", sh("printf again")).Reader(0))); !strings.HasSuffix(got, "again") {
		t.Errorf("got %q", got)
	}
}

// TestJobControl stops a command of a shell and takes it up again.
func TestJobControl(t *testing.T) {
	for _, name := range []string{"bash", "zsh", "fish", "dash"} {
		t.Run(name, func(t *testing.T) {
			path := tool(t, name)
			both(t, func(t *testing.T, h *home) {
				e, _ := h.open()
				term := start(t, e, "t", terminal.Spec{Shell: path, Dir: "/"})
				r := term.Reader(0)
				prompt := func() {
					if name != "dash" {
						until(t, r, "\x1b]133;A") // fish drops what is typed before
					}
				}
				prompt()
				write(t, term, "sh -c 'echo be''gun; read x; echo \"got $x\"; read x'\n")
				until(t, r, "begun")
				foreground := inForeground(t, term)
				write(t, term, "\x1a")
				for inForeground(t, term) == foreground {
					time.Sleep(5 * time.Millisecond)
				}
				prompt()
				write(t, term, "echo shell''-again\n")
				until(t, r, "shell-again")
				write(t, term, "fg\n")
				for inForeground(t, term) != foreground {
					time.Sleep(5 * time.Millisecond)
				}
				write(t, term, "input\n")
				until(t, r, "got input")
				if err := term.Interrupt(); err != nil {
					t.Fatal(err)
				}
				for inForeground(t, term) == foreground {
					time.Sleep(5 * time.Millisecond)
				}
				prompt()
				write(t, term, "exit 5\n")
				if x := ended(t, term); x.Code != 5 || x.Signal != 0 {
					t.Errorf("exit %+v", x)
				}
			})
		})
	}
}

// inForeground is the process group that the terminal gives its input to.
func inForeground(t *testing.T, term *terminal.Terminal) int {
	t.Helper()
	return statOf(t, term.Pid(), 5)
}
