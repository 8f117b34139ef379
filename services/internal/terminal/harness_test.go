package terminal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/terminal"
)

// scale is a number of repetitions, and how many they are in a long run (make soak).
func scale(n, long int) int {
	if os.Getenv("ANTHILL_SOAK") != "" {
		return long
	}
	return n
}

// TestMain lets the test binary be the recorder and a gateway that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "terminal-recorder":
			keep, err := strconv.ParseInt(os.Args[3], 10, 64)
			if err == nil {
				err = terminal.Record(os.Args[2], keep, os.Stdin)
			}
			if err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		case "gateway":
			gateway(os.Args[2])
		}
	}
	// The runtime's goroutine for signals must not begin within a bubble of synctest.
	signal.Stop(notified())
	os.Exit(m.Run())
}

func notified() chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	return c
}

// home is the data directory of one test.
type home struct {
	t    testing.TB
	dir  string
	host string
	tell func(terminal.Event)
	opt  func(*terminal.Options)
}

func newHome(t testing.TB, host string) *home {
	// t.TempDir has the test's name in it, which makes the path of a socket long.
	dir, err := os.MkdirTemp("", "anthill-terminal-")
	if err != nil {
		t.Fatal(err)
	}
	// A new user's fish would read all manuals, for minutes.
	if err := os.MkdirAll(filepath.Join(dir, ".local/share/fish/generated_completions"), 0o700); err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, dir: dir, host: host}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", h.socket(), "kill-server").Run() // it may have ended with its terminals
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *home) socket() string { return filepath.Join(h.dir, "terminals", "tmux", "tmux.sock") }

func environ(dir string) []string {
	return []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "SHELL=/bin/bash", "ANT_API_KEY=sk-canary", "SECRET=sk-canary"}
}

func options(dir, host string, bulk store.DB) terminal.Options {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return terminal.Options{Dir: filepath.Join(dir, "terminals"), Bulk: bulk, Host: host, Environ: environ(dir),
		Recorder: []string{exe, "terminal-recorder"}, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
}

func openBulk(dir string) (*bolt.DB, error) {
	return bolt.Open(bolt.Options{Path: filepath.Join(dir, "bulk.db"), Limits: store.BulkLimits, Logger: slog.New(slog.DiscardHandler)})
}

// open opens the engine; close is called at the end of the test, too.
func (h *home) open() (e *terminal.Engine, close func()) {
	h.t.Helper()
	bulk, err := openBulk(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	o := options(h.dir, h.host, bulk)
	o.Tell = h.tell
	if h.opt != nil {
		h.opt(&o)
	}
	if e, err = terminal.Open(h.t.Context(), o); err != nil {
		bulk.Close()
		h.t.Fatal(err)
	}
	close = sync.OnceFunc(func() {
		for _, id := range e.Running() {
			if t, ok := e.Get(id); ok && h.t.Context().Err() != nil {
				_ = t.Kill(context.Background(), time.Second)
			}
		}
		if err := errors.Join(e.Close(context.Background()), bulk.Close()); err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(close)
	return e, close
}

func start(t testing.TB, e *terminal.Engine, id string, s terminal.Spec) *terminal.Terminal {
	t.Helper()
	term, err := e.Start(t.Context(), id, s)
	if err != nil {
		t.Fatal(err)
	}
	return term
}

func sh(script string, args ...string) terminal.Spec {
	return terminal.Spec{Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...)}
}

// until reads from a terminal until what was read has text, and returns it.
func until(t testing.TB, r *terminal.Reader, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got strings.Builder
	for !strings.Contains(got.String(), text) {
		c, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %q: %v; got %q", text, err, tailOf(got.String()))
		}
		got.Write(c.Data)
	}
	return got.String()
}

func tailOf(s string) string { return s[max(0, len(s)-2000):] }

// rest reads to the end.
func rest(t testing.TB, r *terminal.Reader) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var got []byte
	for at := r.Offset(); ; {
		c, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		if at >= 0 && (c.Offset != at || c.Truncated) {
			t.Fatalf("a gap: %d follows %d", c.Offset, at)
		}
		at = c.End()
		got = append(got, c.Data...)
	}
}

func write(t testing.TB, term *terminal.Terminal, s string) {
	t.Helper()
	if err := term.Write(t.Context(), []byte(s)); err != nil {
		t.Fatal(err)
	}
}

func ended(t testing.TB, term *terminal.Terminal) terminal.Exit {
	t.Helper()
	select {
	case <-term.Done():
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	return term.Exit()
}

// tool is the path of a program that the tests need.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: %v", name, err)
	}
	return path
}

// both runs a test on both hosts.
func both(t *testing.T, fn func(t *testing.T, h *home)) {
	for _, host := range []string{"tmux", "pty"} {
		t.Run(host, func(t *testing.T) { fn(t, newHome(t, host)) })
	}
}

// gateway opens the home and serves until it is killed. Each line of its input is a
// terminal to start, or, with a blank, a terminal and input for it.
func gateway(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	bulk, err := openBulk(dir)
	fail(err)
	e, err := terminal.Open(context.Background(), options(dir, "tmux", bulk))
	fail(err)
	_, err = e.Start(context.Background(), "counter", sh(`i=0; while [ ! -e "$1" ]; do i=$((i+1)); echo "line $i"; sleep 0.002; done; echo "last $i"`,
		filepath.Join(dir, "enough")))
	fail(err)
	_, err = e.Start(context.Background(), "shell", terminal.Spec{})
	fail(err)
	t, _ := e.Get("counter")
	r := t.Reader(0)
	for said := ""; !strings.Contains(said, "line 50\r\n"); {
		c, err := r.Next(context.Background())
		fail(err)
		said += string(c.Data)
	}
	s, _ := e.Get("shell")
	fail(s.Write(context.Background(), []byte("x=survived\n")))
	fmt.Println("ready", s.Pid())
	select {}
}
