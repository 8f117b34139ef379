package terminal_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/terminal"
)

// TestKillOfTheGateway kills it with -9 while a counter runs.
func TestKillOfTheGateway(t *testing.T) {
	h := newHome(t, "tmux")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "gateway", h.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var shellPid int
	if _, scanned := fmt.Sscanf(line, "ready %d", &shellPid); scanned != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("gateway: %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	grown(t, h, "counter") // nobody reads, and it is recorded

	e, _ := h.open()
	shell, ok := e.Get("shell")
	if !ok || shell.Pid() != shellPid {
		t.Fatalf("the shell is not attached: %v", e.Running())
	}
	r := shell.Reader(shell.End())
	write(t, shell, "echo \"it $x\"\n")
	until(t, r, "it survived")
	if screen, err := shell.Screen(t.Context()); err != nil || !bytes.Contains(screen.Data, []byte("it survived")) {
		t.Errorf("screen: %q, %v", screen.Data, err)
	}
	counter, ok := e.Get("counter")
	if !ok {
		t.Fatal("the counter is not attached")
	}
	until(t, counter.Reader(0), "line 200\r\n")
	if err := os.WriteFile(filepath.Join(h.dir, "enough"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(rest(t, counter.Reader(0)))), "\r\n")
	for i, line := range lines[:len(lines)-1] {
		if line != fmt.Sprintf("line %d", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	if want := fmt.Sprintf("last %d", len(lines)-1); lines[len(lines)-1] != want {
		t.Errorf("the last line is %q, not %q", lines[len(lines)-1], want)
	}
}

// grown waits until a recording has more bytes.
func grown(t *testing.T, h *home, id string) {
	t.Helper()
	size := func() (n int64) {
		found, _ := filepath.Glob(filepath.Join(h.dir, "terminals", "tmux", "recordings", id, "*.seg"))
		for _, f := range found {
			if info, err := os.Stat(f); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	for before, limit := size(), time.Now().Add(time.Minute); size() < before+500; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("nothing more is recorded")
		}
	}
}

func TestCloseAndOpen(t *testing.T) {
	h := newHome(t, "tmux")
	e, shut := h.open()
	if !e.Persistent() || e.Host() != "tmux" {
		t.Errorf("host %s, persistent %v", e.Host(), e.Persistent())
	}
	term := start(t, e, "t", sh("echo one; read x; echo two; read x"))
	until(t, term.Reader(0), "one")
	if err := term.Resize(t.Context(), 71, 17); err != nil {
		t.Fatal(err)
	}
	start(t, e, "ending", sh("read x; printf bye; exit 5"))
	shut()
	// One ends while nobody looks.
	if out, err := exec.Command("tmux", "-S", h.socket(), "send-keys", "-t", "=t_ending:", "Enter").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	e, _ = h.open()
	if again, ok := e.Get("ending"); ok {
		ended(t, again)
	}
	if x, ok := e.LastExit("ending"); !ok || x.Code != 5 {
		t.Errorf("exit of what ended unseen: %+v, %v", x, ok)
	}
	again, ok := e.Get("t")
	if !ok {
		t.Fatal("it is gone")
	}
	if cols, rows := again.Size(); cols != 71 || rows != 17 {
		t.Errorf("its size is said to be %d x %d", cols, rows)
	}
	write(t, again, "\n")
	if got := until(t, again.Reader(0), "two"); !strings.HasPrefix(got, "one\r\n") {
		t.Errorf("got %q", got)
	}
}

func TestPTYIsNotPersistent(t *testing.T) {
	h := newHome(t, "pty")
	e, shut := h.open()
	if e.Persistent() || e.Host() != "pty" {
		t.Errorf("host %s, persistent %v", e.Host(), e.Persistent())
	}
	term := start(t, e, "t", sh(`trap '' HUP; echo ready; while :; do sleep 0.1; done`))
	until(t, term.Reader(0), "ready")
	pid := term.Pid()
	shut()
	if running(pid) {
		t.Error("it outlived the engine")
	}
	e, _ = h.open()
	if len(e.Running()) != 0 {
		t.Errorf("running: %v", e.Running())
	}
	hist, err := e.History(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := hist.Read(t.Context(), 0, 0); err != nil || !strings.HasPrefix(string(c.Data), "ready") {
		t.Errorf("history: %q, %v", c.Data, err)
	}
}

// TestServerIsPrivate has a user's server beside ours, and terminals that nobody knows in ours.
func TestServerIsPrivate(t *testing.T) {
	h := newHome(t, "tmux")
	users := filepath.Join(h.dir, "users.sock")
	tmux := func(args ...string) string {
		cmd := exec.Command("tmux", args...)
		cmd.Env = append(environ(h.dir), "TMUX_TMPDIR="+h.dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("tmux %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	tmux("-S", users, "-f", "/dev/null", "new-session", "-d", "-s", "t_mine", "sleep 1000")
	t.Cleanup(func() { tmux("-S", users, "kill-server") })
	e, shut := h.open()
	start(t, e, "known", sh("read x"))
	shut()
	tmux("-S", h.socket(), "new-session", "-d", "-s", "t_unknown", "sleep 1000")
	tmux("-S", h.socket(), "new-session", "-d", "-s", "foreign", "sleep 1000")
	e, _ = h.open()
	ours := tmux("-S", h.socket(), "list-sessions", "-F", "#{session_name}")
	if strings.Contains(ours, "t_unknown") || !strings.Contains(ours, "t_known") || !strings.Contains(ours, "foreign") {
		t.Errorf("sessions: %q", ours)
	}
	if err := e.Reap(t.Context(), func(id string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if len(e.Running()) != 0 {
		t.Errorf("running: %v", e.Running())
	}
	if got := tmux("-S", users, "list-sessions", "-F", "#{session_name}"); got != "t_mine\n" {
		t.Errorf("the user's sessions: %q", got)
	}
	if got := tmux("-S", h.socket(), "list-keys"); strings.TrimSpace(got) != "" && strings.Contains(got, "-T prefix") {
		t.Errorf("keys are bound: %q", tailOf(got))
	}
	tmux("-S", h.socket(), "kill-session", "-t", "=foreign")
}

// TestNoServerIsLeft ends the last terminal.
func TestNoServerIsLeft(t *testing.T) {
	h := newHome(t, "tmux")
	e, shut := h.open()
	ended(t, start(t, e, "t", sh("true")))
	shut()
	if out, err := exec.Command("tmux", "-S", h.socket(), "list-sessions").CombinedOutput(); err == nil {
		t.Errorf("a server is left: %s", out)
	}
}

// TestRecorderDies ends the recorder: the program goes on, and the gap is seen.
func TestRecorderDies(t *testing.T) {
	h := newHome(t, "tmux")
	e, _ := h.open()
	term := start(t, e, "t", sh(`echo before; while read x; do echo "said $x"; done`))
	r := term.Reader(0)
	until(t, r, "before")
	pid := recorderOf(t, term)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for running(pid) || recorderOf(t, term) == pid {
		time.Sleep(10 * time.Millisecond)
	}
	deadline := time.Now().Add(time.Minute)
	for recorderOf(t, term) == 0 { // another one is started
		if time.Now().After(deadline) {
			t.Fatal("it is not recorded any more")
		}
		time.Sleep(10 * time.Millisecond)
	}
	write(t, term, "again\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	gap, got := false, ""
	for !strings.Contains(got, "said again") {
		c, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		gap, got = gap || c.Truncated, got+string(c.Data)
	}
	if !gap {
		t.Error("nobody said that bytes may be missing")
	}
}

// recorderOf returns the pid of a terminal's recorder, or 0.
func recorderOf(t *testing.T, term *terminal.Terminal) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil || !running(pid) {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args := strings.Split(string(line), "\x00")
		if err == nil && len(args) > 2 && args[1] == "terminal-recorder" && strings.Contains(args[2], filepath.Join("recordings", term.ID())) &&
			strings.HasPrefix(args[2], term.Folder()) {
			return pid
		}
	}
	return 0
}
