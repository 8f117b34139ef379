package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// console is `anthill attach` in a terminal of its own.
type console struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{}
	err  error // once done is closed

	mu    sync.Mutex
	shown bytes.Buffer
	more  chan struct{} // receives after something was shown
}

// console runs it at a size.
func (s *server) console(cols, rows uint16, args ...string) *console {
	s.t.Helper()
	c := &console{t: s.t, done: make(chan struct{}), more: make(chan struct{}, 1)}
	c.cmd = exec.Command(binary, append([]string{"attach", "--server", s.url}, args...)...)
	c.cmd.Env = append(s.environ(), "TERM=xterm-256color")
	var err error
	if c.tty, err = pty.StartWithSize(c.cmd, &pty.Winsize{Cols: cols, Rows: rows}); err != nil {
		s.t.Fatal(err)
	}
	go c.read()
	s.t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it has ended, mostly
		<-c.done
		_ = c.tty.Close()
	})
	return c
}

func (c *console) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.tty.Read(buf)
		c.mu.Lock()
		c.shown.Write(buf[:n])
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
		if err != nil {
			break
		}
	}
	c.err = c.cmd.Wait()
	close(c.done)
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String()
}

func (c *console) shows(text string) {
	c.t.Helper()
	limit := time.After(patience)
	for !strings.Contains(c.text(), text) {
		select {
		case <-c.more:
		case <-limit:
			c.t.Fatalf("it never shows %q: %q", text, c.text())
		}
	}
}

func (c *console) types(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.tty, text); err != nil {
		c.t.Fatal(err)
	}
}

// ended waits for the end and returns the exit code.
func (c *console) ended() int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("it does not end: %q", c.text())
	}
	var exit *exec.ExitError
	if c.err != nil && !errors.As(c.err, &exit) {
		c.t.Fatal(c.err)
	}
	return c.cmd.ProcessState.ExitCode()
}

// TestTerminalAttach: a person works in a terminal, changes the window's size, leaves, comes back, and finds the
// own terminal as it was.
func TestTerminalAttach(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		s.post("/api/sessions", object{"name": "Work", "type": "terminal"}).created()
		c := s.console(91, 27, "work")
		c.shows("ctrl-] leaves")
		c.types("stty -echo; echo size $(stty size) end\r")
		c.shows("size 27 91 end")
		if err := pty.Setsize(c.tty, &pty.Winsize{Cols: 70, Rows: 20}); err != nil {
			t.Fatal(err)
		}
		s.eventually("the size follows", func() bool {
			c.types("echo now $(stty size) end\r")
			return strings.Contains(c.text(), "now 20 70 end")
		})
		c.types("printf 'bell\\033[6n%s' kept; read x; echo \"got <$x>\"\r")
		c.shows("bell")
		c.types("\r")
		c.shows("kept")
		c.types("echo sleeping-$((1+1)); sleep 1000\r")
		c.shows("sleeping-2")
		s.eventually("the shell is back", func() bool { // it may not have begun to sleep when it is interrupted
			c.types("\x03") // goes there, not here
			c.types("echo still-$((40+2))\r")
			return strings.Contains(c.text(), "still-42")
		})
		c.types("\x1d")
		if code := c.ended(); code != 0 {
			t.Errorf("left with code %d", code)
		}
		again := s.console(70, 20, "--detach-key", "ctrl-\\", "Work")
		again.shows("ctrl-\\ leaves")
		again.shows("still-42")
		if strings.Contains(again.text(), "\x1b[3J") || strings.Contains(again.text(), "\x1b[6n") {
			t.Errorf("it shows %q", again.text())
		}
		again.types("exit 5\r")
		if code := again.ended(); code != 5 {
			t.Errorf("the program's code is %d, want 5", code)
		}
	})
}

// TestTerminalAttachRestores: however it ends, the person's terminal is as it was.
func TestTerminalAttachRestores(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.terminal("work", "sh", "-c", `stty raw -echo; printf '\033[?1049h\033[?2004h\033[?1002hready'; cat`).id
	// A shell that shows the settings before and behind, in one terminal.
	for name, sig := range map[string]syscall.Signal{"left": 0, "asked to end": syscall.SIGTERM, "hung up": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			script := fmt.Sprintf(`stty -g > "$1"; sh -c 'echo $$ > "$1"; exec "$0" attach --server %s %s' "$0" "$3"; echo "code $?"; stty -g > "$2"; echo over`, s.url, id)
			dir := t.TempDir()
			before, after, pid := filepath.Join(dir, "before"), filepath.Join(dir, "after"), filepath.Join(dir, "pid")
			cmd := exec.Command("sh", "-c", script, binary, before, after, pid)
			cmd.Env = append(s.environ(), "TERM=xterm-256color")
			tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
			if err != nil {
				t.Fatal(err)
			}
			c := &console{t: t, cmd: cmd, tty: tty, done: make(chan struct{}), more: make(chan struct{}, 1)}
			go c.read()
			defer func() { _ = cmd.Process.Kill(); <-c.done; _ = tty.Close() }()
			c.shows("ready")
			if sig == 0 {
				c.types("\x1d")
			} else if err := syscall.Kill(number(t, pid), sig); err != nil {
				t.Fatal(err)
			}
			c.shows("code 0")
			c.shows("over")
			first, _ := os.ReadFile(before)
			last, _ := os.ReadFile(after)
			if len(first) == 0 || !bytes.Equal(first, last) {
				t.Errorf("the settings were %q and are %q", first, last)
			}
			tail := c.text()[strings.Index(c.text(), "ready"):]
			for _, mode := range []string{"\x1b[?1049l", "\x1b[?2004l", "\x1b[?1002l", "\x1b[?25h"} {
				if !strings.Contains(tail, mode) {
					t.Errorf("%q is not taken back: %q", mode, tail)
				}
			}
		})
	}
}

// number is what a file has.
func number(t *testing.T, path string) (n int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		_, err = fmt.Sscan(string(data), &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTerminalAttachReadOnly: who only looks types nothing and leaves the size alone.
func TestTerminalAttachReadOnly(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.terminal("work", "sh", "-c", "stty -echo; cat")
	look := s.console(33, 11, "--read-only", c.id)
	look.shows("leaves")
	c.typed("from elsewhere\r")
	look.shows("from elsewhere")
	look.types("from here\r")
	c.typed("second\r")
	look.shows("second")
	if o := c.state(); o["cols"] == 33.0 || strings.Contains(string(c.printed()), "from here") {
		t.Errorf("it is %v and printed %q", o, c.printed())
	}
	look.types("\x1d")
	if code := look.ended(); code != 0 {
		t.Errorf("left with code %d", code)
	}
}

// TestTerminalAttachRestart: it goes on over the death of the server, with nothing missing.
func TestTerminalAttachRestart(t *testing.T) {
	t.Parallel()
	s := start(t, withArgs("--terminal-host", "tmux"))
	port := s.samePort()
	c := s.terminal("numbers", "sh", "-c", `stty -echo; i=0; while read x; do i=$((i+1)); echo "<$i>"; done`)
	at := s.console(80, 24, c.id)
	at.shows("leaves")
	for range 3 {
		at.types("\r")
	}
	at.shows("<3>")
	s.kill()
	at.shows("waiting for it")
	at.types("\r\r") // typed without a server
	s.restart(port)
	at.types("\r")
	at.shows("<6>")
	text := at.text()
	for i := 1; i <= 6; i++ {
		if n := strings.Count(text, fmt.Sprintf("<%d>", i)); n != 1 {
			t.Errorf("<%d> is shown %d times: %q", i, n, text)
		}
	}
	at.types("\x1d")
	if code := at.ended(); code != 0 {
		t.Errorf("left with code %d", code)
	}
}

// TestTerminalAttachPipe: in a pipe, output is passed on and input is typed.
func TestTerminalAttachPipe(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.terminal("calc", "sh", "-c", `stty -echo; while read a; do [ "$a" = end ] && exit 3; echo "=$((a*2))"; done`)
	out, errs, code := command(t, s.environ(), "21\n4\nend\n", "attach", "--server", s.url, c.id)
	if code != 3 || out != "=42\r\n=8\r\n" || errs != "" {
		t.Errorf("code %d, output %q, errors %q", code, out, errs)
	}
	for _, args := range [][]string{{"no-such-terminal"}, {"--detach-key", "x", c.id}, {s.chatRoom("chat")}} {
		if _, errs, code := command(t, s.environ(), "", append([]string{"attach", "--server", s.url}, args...)...); code != 1 || !strings.HasPrefix(errs, "anthill: ") {
			t.Errorf("%v: code %d, errors %q", args, code, errs)
		}
	}
}
