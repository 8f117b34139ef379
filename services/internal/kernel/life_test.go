package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/fault"
)

// brood starts processes that ignore every signal that they can, in the group of
// the cell and out of it, and prints their ids.
const brood = `
import os, subprocess, sys
stubborn = "trap '' INT TERM HUP QUIT; echo $$; while :; do sleep 1000; done"
a = subprocess.Popen(["sh", "-c", stubborn], stdout=subprocess.PIPE)
b = subprocess.Popen(["sh", "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True)
c = subprocess.Popen(["sh", "-c", "(setsid sh -c '%s' >&3 &) 3>&1" % stubborn.replace("'", "'\\''")], stdout=subprocess.PIPE)
print(os.getpid(), *(int(p.stdout.readline()) for p in (a, b, c)))
`

func TestTimeouts(t *testing.T) {
	t.Parallel()
	p := newLab(t, func(o *Options) { o.Times = Times{Total: 3 * time.Second, Silence: time.Minute} }).pad("a")
	p.ok("x = 5")
	r := p.run("print('begun')\nwhile True: pass")
	if r.Status != StatusTimeout || r.Stdout != "begun\n" {
		t.Errorf("%+v", r)
	}
	contains(t, "error", r.Error, "Timed out: the cell ran longer than 3 s", "variables are kept", "line 2")
	want(t, "state", p.value("x"), "5")
	r = p.run("import time\nprint('stubborn')\nwhile True:\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass")
	if r.Status != StatusTimeout || r.Stdout != "stubborn\n" {
		t.Errorf("%+v", r)
	}
	contains(t, "error", r.Error, "variables are gone")
	r = p.run("x")
	if r.Status != StatusError || r.Notice != "Variables of earlier cells are gone: the last cell ran too long and had to be ended." {
		t.Errorf("%+v", r)
	}
	if r := p.run("1"); r.Notice != "" {
		t.Errorf("said twice: %+v", r)
	}
}

// A cell that is quiet is alive as long as its process is; one whose process
// hangs is not.
func TestSilence(t *testing.T) {
	t.Parallel()
	p := newLab(t, func(o *Options) { o.Times = Times{Silence: 4 * time.Second} }).pad("a")
	p.ok("import time\ntime.sleep(9)")
	r := p.run("import ctypes\nprint('hanging')\nimport signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\nctypes.PyDLL(None).sleep(1000)") // it keeps Python's lock
	if r.Status != StatusTimeout || r.Stdout != "hanging\n" {
		t.Errorf("%+v", r)
	}
	contains(t, "error", r.Error, "no sign of life for 4 s", "variables are gone")
}

func TestWindows(t *testing.T) {
	t.Parallel()
	times := Times{}.orDefaults()
	for estimate, expected := range map[time.Duration][2]time.Duration{
		0: {120, 30}, -5: {120, 30}, 1: {31, 30}, 20: {50, 30}, 30: {60, 30}, 100: {200, 50}, 120: {240, 60}, 1000: {2000, 60}, 1800: {3600, 60}, 100000: {3600, 60},
	} {
		total, silence := times.window(estimate * time.Second)
		if total != expected[0]*time.Second || silence != expected[1]*time.Second {
			t.Errorf("estimate %d: %v, %v", estimate, total, silence)
		}
	}
}

// A cancelled cell ends, and its variables stay.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	p := newLab(t, func(o *Options) { o.Times = Times{Grace: 20 * time.Second} }).pad("a") // for busy machines
	p.ok("x = 5")
	for _, code := range []string{"while True: pass", "import time; time.sleep(1000)", "import subprocess; subprocess.run(['sleep', '1000'])",
		"import os; os.system('sleep 1000'); time.sleep(1000)", "import threading; threading.Event().wait()", "import asyncio; await asyncio.sleep(1000)",
		"while True: print('y' * 100)", "while True: display(1)"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := sync.OnceFunc(func() { time.AfterFunc(50*time.Millisecond, func() { cancel(ended) }) })
		p.seen = func(Event) { begun() }
		r, err := p.try(ctx, Cell{Code: "print('begun')\n" + code})
		if err != nil || r.Status != StatusCancelled || r.Error != ended.Text || !strings.HasPrefix(r.Stdout, "begun\n") {
			t.Errorf("%s: %s %s %v", code, r.Status, r.Error, err)
		}
		p.seen = nil
		want(t, "state after "+code, p.value("x"), "5")
	}
}

// What does not react is ended with everything that it started.
func TestKillGroup(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	p.ok("x = 5")
	ctx, cancel := context.WithCancelCause(t.Context())
	var list []int
	p.seen = func(e Event) {
		if strings.HasSuffix(e.Stdout, "\n") && list == nil {
			cancel(ended)
		}
	}
	r, err := p.try(ctx, Cell{Code: "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + brood + "while True: pass"})
	if err != nil || r.Status != StatusCancelled {
		t.Fatalf("%+v %v", r, err)
	}
	list = pids(t, r.Stdout)
	if len(list) != 4 {
		t.Fatalf("%q", r.Stdout)
	}
	for _, pid := range list {
		if runs(pid) {
			t.Errorf("%d of %v still runs", pid, list)
		}
	}
	p.seen = nil
	r = p.run("x")
	if r.Status != StatusError || !strings.Contains(r.Notice, ended.Lost) {
		t.Errorf("%+v", r)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.pad("a")
	list := pids(t, p.ok(brood))
	p.ok("import atexit\natexit.register(lambda: open('bye', 'w').write('bye'))\nf = open('buffered', 'w'); f.write('kept'); None")
	if err := p.kernel.Stop(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	for _, pid := range list {
		if runs(pid) {
			t.Errorf("%d of %v still runs", pid, list)
		}
	}
	for name, text := range map[string]string{"bye": "bye", "buffered": "kept"} {
		if got, err := os.ReadFile(filepath.Join(l.dir, name)); err != nil || string(got) != text {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if p.kernel.Live() {
		t.Error("it has a process")
	}
	// Stopping what runs: the cell ends with the reason.
	p.seen = func(Event) {
		p.seen = nil
		go func() {
			if err := p.kernel.Stop(context.Background(), &Cause{Status: StatusCancelled, Text: "Closed."}); err != nil {
				t.Error(err)
			}
		}()
	}
	if r := p.run("print(1)\nwhile True: pass"); r.Status != StatusCancelled || r.Error != "Closed." {
		t.Errorf("%+v", r)
	}
	if r := p.run("1"); r.Notice != "" {
		t.Errorf("nobody misses anything: %+v", r)
	}
	l.close()
	if _, err := p.try(t.Context(), Cell{Code: "1"}); !isFault(err, "STOPPING") {
		t.Errorf("%v", err)
	}
}

// Code that kills its guard, which would have ended everything, leaves nothing either.
func TestGuardKilled(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	r := p.run(brood + "import signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1000)")
	list := pids(t, r.Stdout)
	if r.Status != StatusDied || len(list) != 4 {
		t.Fatalf("%+v", r)
	}
	gone(t, list)
	want(t, "afterwards", p.value("1"), "1")
}

// A kernel that is forgotten never has a process again.
func TestForget(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	p.ok("1")
	if err := p.kernel.Forget(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	if _, err := p.kernel.Start(t.Context(), p.place); !isFault(err, "SCRATCHPAD_CLOSED") || p.kernel.Live() {
		t.Errorf("%v", err)
	}
}

func isFault(err error, reason string) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Reason == reason
}

func TestDeath(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	for code, why := range map[string]string{
		"os._exit(3)":                                         "exit code 3",
		"os.kill(os.getpid(), 9)":                             "it was killed",
		"import ctypes; ctypes.string_at(0)":                  "signal 11",
		"os.kill(os.getppid(), 9); input":                     "it was killed",
		"os.closerange(3, 4096); import time; time.sleep(60)": "ended by itself",
	} {
		p.ok("import os\nx = 1")
		r := p.run("print('last words', flush=True)\n" + code)
		if code == "os.kill(os.getppid(), 9); input" && r.Status == StatusOK {
			r = p.run("import time; time.sleep(60)") // the guard is gone, and the rest follows
		} else {
			want(t, code, r.Stdout, "last words\n")
		}
		if r.Status != StatusDied && r.Status != StatusError {
			t.Errorf("%s: %+v", code, r)
		}
		contains(t, code, r.Error+p.run("1").Notice, why)
	}
}

// More scratchpads than processes: those that nobody used for the longest time
// make room, and are told; if all are in use there is none.
func TestRoom(t *testing.T) {
	t.Parallel()
	const most = 3
	l := newLab(t, func(o *Options) { o.Max = most })
	var all []*pad
	for i := range 8 {
		p := l.pad(fmt.Sprint(i % 2)) // environments may be shared
		p.ok("x = " + strconv.Itoa(i))
		all = append(all, p)
		live := 0
		for _, q := range all {
			if q.kernel.Live() {
				live++
			}
		}
		if live != min(len(all), most) || !p.kernel.Live() {
			t.Errorf("%d of %d live", live, len(all))
		}
	}
	want(t, "the youngest", all[7].value("x"), "7")
	if r := all[0].run("x"); r.Status != StatusError || !strings.Contains(r.Notice, "make room") {
		t.Errorf("%+v", r)
	}
	// Many at once.
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() {
			for range 3 {
				if _, err := p.try(t.Context(), Cell{Code: "1"}); err != nil && !isFault(err, "SCRATCHPADS_BUSY") {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var busy []chan struct{}
	ctx, cancel := context.WithCancelCause(t.Context())
	for _, p := range all[:most] {
		begun := make(chan struct{})
		p.seen = func(Event) { p.seen = nil; close(begun) }
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if r, err := p.try(ctx, Cell{Code: "print(1)\nwhile True: pass"}); err != nil || r.Status != StatusCancelled {
				t.Errorf("%+v %v", r, err)
			}
		}()
		<-begun
		busy = append(busy, ended)
	}
	if _, err := all[5].try(t.Context(), Cell{Code: "1"}); !isFault(err, "SCRATCHPADS_BUSY") {
		t.Errorf("%v", err)
	}
	cancel(ended)
	for _, c := range busy {
		<-c
	}
	want(t, "afterwards", all[5].value("1"), "1")
}

// TestMain is also the server that TestServerKilled kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KERNEL_TEST_SERVER"); dir != "" {
		serveForTest(dir)
	}
	os.Exit(m.Run())
}

func serveForTest(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	e, err := Open(Options{Dir: filepath.Join(dir, "engine"), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	fail(err)
	at := Place{Dir: dir, Env: filepath.Join(dir, "env")}
	r, err := e.Kernel(nil, "").Run(context.Background(), at, Cell{Code: brood}, func(Event) {})
	fail(err)
	fmt.Print(r.Stdout)
	_, err = e.Kernel(nil, "").Run(context.Background(), at, Cell{Code: brood + "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)"},
		func(e Event) { fmt.Print(e.Stdout) })
	fail(errors.Join(err, errors.New("the cell ended")))
}

// When the server is killed its scratchpads end by themselves.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "KERNEL_TEST_SERVER="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	buf := make([]byte, 4096)
	for strings.Count(text.String(), "\n") < 2 {
		n, err := out.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, text.String())
		}
	}
	list := pids(t, text.String())
	if len(list) != 8 {
		t.Fatalf("%q", text.String())
	}
	for _, pid := range list {
		if !runs(pid) {
			t.Errorf("%d does not run", pid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	gone(t, list)
	notes, err := filepath.Glob(filepath.Join(dir, "engine", "running", "*"))
	if err != nil || len(notes) == 0 {
		t.Errorf("no notes: %v", err)
	}
	e, err := Open(Options{Dir: filepath.Join(dir, "engine"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e.reaping.Wait()
	if err := e.Close(t.Context(), ended); err != nil {
		t.Error(err)
	}
	if notes, err := filepath.Glob(filepath.Join(dir, "engine", "running", "*")); err != nil || len(notes) != 0 {
		t.Errorf("notes stay: %q %v", notes, err)
	}
}

// Only what is surely the same process is ended at the next start.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	sleeper := func() *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	guard, worker, other := sleeper(), sleeper(), sleeper()
	astray := exec.Command("sleep", "1000") // its guard and worker are gone
	astray.Env, astray.SysProcAttr = []string{marked + "M"}, &syscall.SysProcAttr{Setsid: true}
	if err := astray.Start(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	note := func(name string, l leftover) {
		text, err := json.Marshal(l)
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, "running"), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "running", name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	note("1.json", leftover{Guard: see(guard.Process.Pid), Worker: see(worker.Process.Pid)})
	note("2.json", leftover{Guard: seen{other.Process.Pid, see(other.Process.Pid).Start + "0"}, Worker: seen{other.Process.Pid, ""}})
	note("4.json", leftover{Guard: seen{1, startOf(1)}, Worker: seen{-1, "x"}})
	note("5.json", leftover{Mark: "M"})
	if err := os.WriteFile(filepath.Join(dir, "running", "3.json"), []byte("{nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := Open(Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Times: Times{Grace: 100 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	for _, ours := range []*exec.Cmd{worker, guard, astray} {
		if err := ours.Wait(); err == nil {
			t.Error("a leftover was not ended")
		}
	}
	if !runs(other.Process.Pid) {
		t.Error("a stranger was ended")
	}
	if err := other.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = other.Wait() // it was killed
	if err := e.Close(t.Context(), ended); err != nil {
		t.Error(err)
	}
}
