package terminal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/terminal"
)

// TestServerIsKilled ends the tmux server from outside: terminals have ended, and nothing of them is left.
func TestServerIsKilled(t *testing.T) {
	for name, kill := range map[string]func(h *home, server int) error{
		"politely": func(h *home, _ int) error { return exec.Command("tmux", "-S", h.socket(), "kill-server").Run() },
		"at once":  func(_ *home, server int) error { return syscall.Kill(server, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, "tmux")
			e, _ := h.open()
			plain := start(t, e, "plain", sh("echo ready; read x"))
			until(t, plain.Reader(0), "ready")
			stubborn := start(t, e, "stubborn", sh(`trap '' HUP TERM; echo ready; while :; do sleep 0.1; done`))
			until(t, stubborn.Reader(0), "ready")
			out, err := exec.Command("tmux", "-S", h.socket(), "display-message", "-p", "#{pid}").Output()
			if err != nil {
				t.Fatal(err)
			}
			server, err := strconv.Atoi(strings.TrimSpace(string(out)))
			if err != nil {
				t.Fatal(err)
			}
			if err := kill(h, server); err != nil {
				t.Fatal(err)
			}
			for _, term := range []*terminal.Terminal{plain, stubborn} {
				ended(t, term)
				if running(term.Pid()) {
					t.Errorf("%s still runs", term.ID())
				}
				if got := string(rest(t, term.Reader(0))); !strings.HasPrefix(got, "ready\r\n") {
					t.Errorf("%s: history %q", term.ID(), got)
				}
			}
			if got := string(rest(t, start(t, e, "next", sh("printf next")).Reader(0))); got != "next" {
				t.Errorf("got %q", got)
			}
			if got := string(rest(t, start(t, e, "plain", sh("printf again")).Reader(0))); !strings.HasSuffix(got, "again") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestServerEndsWithoutUs ends the tmux server while no engine is there: what runs
// hears the hang-up that a terminal which goes away is.
func TestServerEndsWithoutUs(t *testing.T) {
	h := newHome(t, "tmux")
	e, shut := h.open()
	term := start(t, e, "plain", sh("echo ready; while :; do sleep 0.1; done"))
	until(t, term.Reader(0), "ready")
	shut()
	if err := exec.Command("tmux", "-S", h.socket(), "kill-server").Run(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); running(term.Pid()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it still runs")
		}
	}
}

// TestLongHome has a data directory that no socket could be in.
func TestLongHome(t *testing.T) {
	h := newHome(t, "tmux")
	h.opt = func(o *terminal.Options) { o.Dir = filepath.Join(o.Dir, strings.Repeat("long", 20)) }
	e, shut := h.open()
	term := start(t, e, "t", sh("echo ready; read x; echo over"))
	until(t, term.Reader(0), "ready")
	shut()
	t.Setenv("TMPDIR", h.dir) // its server is found all the same
	noted, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(term.Folder())), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(filepath.Dir(string(noted))); err != nil {
			t.Error(err)
		}
	})
	if info, err := os.Stat(filepath.Dir(string(noted))); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the socket: %v, %v", info, err)
	}
	e, shut = h.open()
	again, ok := e.Get("t")
	if !ok {
		t.Fatal("it is not attached")
	}
	write(t, again, "\n")
	until(t, again.Reader(0), "over")
	ended(t, again)
	shut()
	if err := os.Chmod(filepath.Dir(string(noted)), 0o755); err != nil {
		t.Fatal(err)
	}
	bulk, err := openBulk(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer bulk.Close()
	o := options(h.dir, "tmux", bulk)
	h.opt(&o)
	if e, err := terminal.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("a folder that others can enter: %v", err)
		if err == nil {
			_ = e.Close(t.Context())
		}
	}
}

// TestCrashWhileSealing puts back what a crash between the steps of sealing leaves: bytes that are in the store
// and in segments, and bytes that are in segments alone.
func TestCrashWhileSealing(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, shut := h.open()
		term := start(t, e, "t", sh(`stty raw; echo one; echo two`))
		want := rest(t, term.Reader(0))
		ended(t, term)
		shut()
		folder := term.Folder()
		segment := func(at int, data []byte) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%020d.seg", at)), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		read := func(e *terminal.Engine, want []byte) {
			t.Helper()
			hist, err := e.History(t.Context(), "t")
			if err != nil {
				t.Fatal(err)
			}
			c, err := hist.Read(t.Context(), 0, 0)
			if err != nil || c.Truncated || !bytes.Equal(c.Data, want) {
				t.Errorf("history %q (%v), %v; want %q", c.Data, c.Truncated, err, want)
			}
			pieces, err := hist.Pieces(t.Context(), terminal.Query{})
			var all []byte
			for _, p := range pieces {
				all = append(bytes.Clone(p.Data), all...)
			}
			if err != nil || !bytes.Equal(all, want) {
				t.Errorf("pieces %q, %v; want %q", all, err, want)
			}
		}
		segment(0, want) // committed, and not deleted yet
		e, shut = h.open()
		read(e, want)
		shut()
		segment(0, append(bytes.Clone(want), "three"...)) // and more was printed meanwhile
		want = append(want, "three"...)
		segment(len(want), []byte("four"))
		want = append(want, "four"...)
		e, shut = h.open()
		read(e, want)
		shut()
		if err := os.Remove(filepath.Join(h.dir, "bulk.db")); err != nil { // nothing was committed
			t.Fatal(err)
		}
		for _, old := range matches(t, filepath.Join(folder, "*.seg")) {
			if err := os.Remove(old); err != nil {
				t.Fatal(err)
			}
		}
		segment(0, want)
		e, _ = h.open()
		read(e, want)
	})
}

func matches(t testing.TB, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestDiskIsFull records to a disk that takes nothing for a while: the program goes on, and the gap has its length.
func TestDiskIsFull(t *testing.T) {
	h := newHome(t, "pty")
	e, _ := h.open()
	folder := filepath.Join(h.dir, "terminals", "tmux", "recordings", "t")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	// The first segment is on a full disk.
	if err := os.Symlink("/dev/full", filepath.Join(folder, fmt.Sprintf("%020d.seg", 0))); err != nil {
		t.Fatal(err)
	}
	term := start(t, e, "t", sh(`stty raw -echo; printf 'this is lost'; while read x; do printf '%s.' "$x"; done`))
	r := term.Reader(0)
	until(t, r, "this is lost") // those who watch have it from memory
	const lost = int64(len("this is lost"))
	for i := 0; ; i++ { // the disk is tried again now and then
		write(t, term, fmt.Sprintf("kept%d\n", i))
		until(t, r, fmt.Sprintf("kept%d.", i))
		if found := matches(t, filepath.Join(folder, "*.seg")); len(found) > 0 && isFile(found[0]) {
			break
		}
	}
	write(t, term, "end\n")
	until(t, r, "end.")
	end := term.End()
	if err := term.Kill(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	hist, err := e.History(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	c, err := hist.Read(t.Context(), 0, 0)
	if err != nil || !c.Truncated || c.Offset < lost || c.End() != end || !bytes.HasSuffix(c.Data, []byte("end.")) {
		t.Errorf("history from %d to %d of %d (%v): %q, %v", c.Offset, c.End(), end, c.Truncated, c.Data, err)
	}
}

// isFile says that it is not the link to a full disk.
func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// TestRecorderOnFullDisk is the same for the recorder of tmux, cut where it hurts.
func TestRecorderOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, fmt.Sprintf("%020d.seg", 0))); err != nil {
		t.Fatal(err)
	}
	in := &full{t: t, dir: dir}
	if err := terminal.Record(dir, 0, in); err != nil {
		t.Fatal(err)
	}
	kept := matches(t, filepath.Join(dir, "*.seg"))
	if len(kept) != 1 {
		t.Fatalf("segments: %v", kept)
	}
	data, err := os.ReadFile(kept[0])
	var at int
	if _, scanned := fmt.Sscanf(filepath.Base(kept[0]), "%d.seg", &at); scanned != nil || err != nil || at == 0 || at+len(data) != in.said {
		t.Errorf("recorded %d bytes at %d of %d, %v", len(data), at, in.said, err)
	}
	end, err := os.ReadFile(filepath.Join(dir, "closed"))
	if err != nil || string(end) != strconv.Itoa(in.said) {
		t.Errorf("it ends at %s, not at %d, %v", end, in.said, err)
	}
}

// full prints until something of it was recorded, and a little more.
type full struct {
	t    testing.TB
	dir  string
	said int
	more int
}

func (f *full) Read(p []byte) (int, error) {
	if found := matches(f.t, filepath.Join(f.dir, "*.seg")); len(found) > 0 && isFile(found[0]) {
		f.more++
	}
	if f.more > 3 {
		return 0, io.EOF
	}
	n := min(len(p), 100)
	f.said += n
	return n, nil
}

// TestFlood has a terminal that never stops printing beside one that is used.
func TestFlood(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		h.opt = func(o *terminal.Options) { o.Keep = 16 << 20 }
		e, _ := h.open()
		flood := start(t, e, "flood", terminal.Spec{Argv: []string{"yes", strings.Repeat("y", 70)}})
		quiet := start(t, e, "quiet", sh("stty raw -echo; echo ready; cat"))
		r := quiet.Reader(0)
		until(t, r, "ready")
		watched := flood.Reader(0)
		for i := 0; watched.Offset() < 64<<20; i++ { // it keeps up, or is told what it missed
			if _, err := watched.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i%50 == 0 {
				word := fmt.Sprintf("<%d>", i)
				write(t, quiet, word)
				until(t, r, word)
			}
		}
		const most = 192 << 20
		var memory runtime.MemStats // of this process the heap: what is resident is that of all tests, and the race detector's
		runtime.GC()
		if runtime.ReadMemStats(&memory); memory.HeapAlloc > most {
			t.Errorf("the heap has %d MiB", memory.HeapAlloc>>20)
		}
		if e.Host() == "tmux" {
			for _, pid := range []int{parentOf(t, flood.Pid()), parentOf(t, parentOf(t, flood.Pid())), recorderOf(t, flood)} { // launcher, server
				if rss := residentOf(t, pid); rss > most {
					t.Errorf("process %d has %d MiB", pid, rss>>20)
				}
			}
		}
		if err := flood.Kill(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
	})
}

// statOf returns a field of /proc/PID/stat, counted from the state.
func statOf(t testing.TB, pid, field int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	n, err := strconv.Atoi(string(f[field]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parentOf(t testing.TB, pid int) int { t.Helper(); return statOf(t, pid, 1) }

func residentOf(t testing.TB, pid int) int { t.Helper(); return statOf(t, pid, 21) * os.Getpagesize() }

// TestPasteIntoTheEnd: what is pasted while a program ends is refused, and costs no other terminal its life.
func TestPasteIntoTheEnd(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		other := start(t, e, "other", sh("echo ready; read x; echo still here"))
		until(t, other.Reader(0), "ready")
		large := []byte(strings.Repeat("a line of a paste\n", 40<<10/18))
		for i := range scale(20, 200) {
			term := start(t, e, fmt.Sprint("reads", i), sh("stty raw -echo; echo ready; exec cat >/dev/null"))
			until(t, term.Reader(0), "ready")
			if err := syscall.Kill(term.Pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				err = term.Write(t.Context(), large)
			}
			if !errors.Is(err, terminal.ErrGone) {
				t.Fatal(err)
			}
			ended(t, term)
		}
		write(t, other, "\n")
		until(t, other.Reader(0), "still here")
	})
}
