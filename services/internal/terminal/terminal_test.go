package terminal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/terminal"
)

func TestFirstAndLastByte(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		for i := range 5 {
			term := start(t, e, fmt.Sprint("t", i), sh(`printf 'first\303\251'; printf 'last'; exit 3`))
			if got := string(rest(t, term.Reader(0))); got != "firstélast" {
				t.Errorf("got %q", got)
			}
			if x := ended(t, term); x.Code != 3 || x.Signal != 0 || x.Ended.IsZero() {
				t.Errorf("exit: %+v", x)
			}
			if x, ok := e.LastExit(term.ID()); !ok || x.Code != 3 {
				t.Errorf("last exit: %+v, %v", x, ok)
			}
			if err := term.Write(t.Context(), []byte("x")); !errors.Is(err, terminal.ErrGone) {
				t.Errorf("write after the end: %v", err)
			}
		}
		term := start(t, e, "killed", sh(`kill -KILL $$`))
		if x := ended(t, term); x.Signal != syscall.SIGKILL || x.Code != -1 {
			t.Errorf("exit: %+v", x)
		}
	})
}

func TestProgramIsNotReadByAnyShell(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		odd := filepath.Join(h.dir, "a #(touch x) $(touch y) 'q' \"d\" %d ;é")
		if err := os.Mkdir(odd, 0o700); err != nil {
			t.Fatal(err)
		}
		args := []string{"#{session_name}", "$(id)", "`id`", "a'b\"c", "-x", ";", "\\", "é\n\t", "%d", "~", "*", ""}
		s := sh(`pwd; for a; do printf '<%s>' "$a"; done; env`, args...)
		s.Dir, s.Env = odd, map[string]string{"ANT_SESSION_ID": "#(touch z)", "ODD": "a b;c\n'd"}
		term := start(t, e, "-_odd", s)
		got := strings.ReplaceAll(string(rest(t, term.Reader(0))), "\r\n", "\n")
		want := odd + "\n"
		for _, a := range args {
			want += "<" + a + ">"
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, must := range []string{"ANT_SESSION_ID=#(touch z)\n", "ODD=a b;c\n'd\n", "TERM=", "HOME=" + h.dir} {
			if !strings.Contains(got, must) {
				t.Errorf("no %q in the environment", must)
			}
		}
		for _, never := range []string{"canary", "TMUX", "ANT_API_KEY"} {
			if strings.Contains(got, never) {
				t.Errorf("%q is in the environment", never)
			}
		}
		left, err := os.ReadDir(odd)
		if err != nil || len(left) > 0 {
			t.Errorf("something ran: %v, %v", left, err)
		}
	})
}

func TestRefused(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		for name, s := range map[string]terminal.Spec{
			"no such program": {Argv: []string{"no-such-program"}},
			"option":          {Argv: []string{"-c"}},
			"assignment":      {Argv: []string{"A=b"}},
			"no such folder":  {Dir: "/no/such/folder"},
			"relative folder": {Dir: "x"},
			"NUL":             {Argv: []string{"echo", "a\x00b"}},
			"variable":        {Env: map[string]string{"A-B": "c"}},
			"shell":           {Shell: "bash"},
			"zero":            {Cols: 0, Rows: 5},
			"negative":        {Cols: -1, Rows: 5},
			"huge":            {Cols: 1001, Rows: 5},
		} {
			if _, err := e.Start(t.Context(), "x", s); !errors.Is(err, terminal.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, id := range []string{"", "../x", "a b", "a.b", strings.Repeat("x", 65)} {
			if _, err := e.Start(t.Context(), id, sh("true")); !errors.Is(err, terminal.ErrInvalid) {
				t.Errorf("id %q: %v", id, err)
			}
		}
		start(t, e, "x", sh("read x"))
		if _, err := e.Start(t.Context(), "x", sh("true")); !errors.Is(err, terminal.ErrExists) {
			t.Errorf("twice: %v", err)
		}
	})
}

// TestInputIsExact sends all bytes, in pieces of many sizes, to a program that keeps what it reads.
func TestInputIsExact(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		kept := filepath.Join(h.dir, "kept")
		var sent []byte
		rng := rand.New(rand.NewPCG(1, 2))
		var pieces [][]byte
		for _, n := range []int{1, 2, 511, 512, 513, 4096, 65536, 65537, 300000, 1, 7} {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rng.IntN(256))
			}
			pieces, sent = append(pieces, p), append(sent, p...)
		}
		term := start(t, e, "cat", sh(`stty raw -echo; echo ready; head -c "$1" > "$2"; echo done`, fmt.Sprint(len(sent)), kept))
		r := term.Reader(0)
		until(t, r, "ready")
		for _, p := range pieces {
			if err := term.Write(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		until(t, r, "done")
		got, err := os.ReadFile(kept)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes arrived of %d, %v", len(got), len(sent), err)
		}
	})
}

// TestInputOrder has many writers: what each writes stays in one piece.
func TestInputOrder(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		const writers, each = 8, 40
		term := start(t, e, "cat", sh(`stty raw -echo; echo ready; head -c "$1"`, fmt.Sprint(writers*each*10)))
		r := term.Reader(0)
		until(t, r, "ready\n")
		var wait sync.WaitGroup
		for w := range writers {
			wait.Go(func() {
				for i := range each {
					if err := term.Write(t.Context(), fmt.Appendf(nil, "<%03d-%04d>", w, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		got := string(rest(t, r))
		next := make([]int, writers)
		for item := range strings.SplitAfterSeq(got, ">") {
			var w, i int
			if item == "" {
				continue
			}
			if _, err := fmt.Sscanf(item, "<%03d-%04d>", &w, &i); err != nil || w >= writers || i != next[w] {
				t.Fatalf("%q: %v, in %q", item, err, tailOf(got))
			}
			next[w]++
		}
		if slices.Min(next) != each {
			t.Errorf("arrived: %v", next)
		}
	})
}

func TestResize(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		s := sh(`trap 'stty size' WINCH; stty size; echo ready; while :; do read x && exit; done`)
		s.Cols, s.Rows = 77, 22
		term := start(t, e, "t", s)
		r := term.Reader(0)
		if got := until(t, r, "ready"); !strings.Contains(got, "22 77") {
			t.Errorf("got %q", got)
		}
		for _, bad := range [][2]int{{0, 1}, {1, 0}, {-1, 10}, {1001, 10}, {10, 1001}, {1e9, 1e9}} {
			if err := term.Resize(t.Context(), bad[0], bad[1]); !errors.Is(err, terminal.ErrInvalid) {
				t.Errorf("%v: %v", bad, err)
			}
		}
		for i := range 300 { // a storm
			if err := term.Resize(t.Context(), 1+i*7%1000, 1+i*13%1000); err != nil {
				t.Fatal(err)
			}
		}
		if err := term.Resize(t.Context(), 91, 33); err != nil {
			t.Fatal(err)
		}
		until(t, r, "33 91")
		if cols, rows := term.Size(); cols != 91 || rows != 33 {
			t.Errorf("size %d x %d", cols, rows)
		}
	})
}

func TestInterrupt(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		term := start(t, e, "t", sh(`stty -isig; trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done`))
		r := term.Reader(0)
		until(t, r, "ready")
		if err := term.Interrupt(); err != nil {
			t.Fatal(err)
		}
		until(t, r, "interrupted")
		if x := ended(t, term); x.Code != 7 {
			t.Errorf("exit: %+v", x)
		}
	})
}

// TestKillLeavesNothing has programs that ignore signals, in groups of their own.
func TestKillLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		term := start(t, e, "t", terminal.Spec{Argv: []string{"/bin/bash", "-c",
			`set -m; trap '' HUP TERM INT
			(trap '' HUP TERM; while :; do sleep 0.1; done) & echo "pid $!"
			setsid sh -c 'trap "" HUP TERM; while :; do sleep 0.1; done' & echo "pid $!"
			for left in one two; do # orphans that left the session
				echo 'trap "" HUP TERM; echo "pid $$"; while :; do sleep 0.1; done' > $left
				(setsid nohup sh $left >> said < /dev/null 2>&1 &)
			done
			while [ $(grep -c pid said) -lt 2 ]; do sleep 0.01; done; cat said
			echo "pid $$"; echo ready; while :; do sleep 0.1; done`}})
		said := until(t, term.Reader(0), "ready")
		if err := term.Kill(t.Context(), 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(said) {
			var pid int
			if _, err := fmt.Sscanf(line, "pid %d", &pid); err == nil {
				if n++; running(pid) {
					t.Errorf("%d still runs", pid)
				}
			}
		}
		if n != 5 {
			t.Fatalf("no pids in %q", said)
		}
		if _, ok := e.Get("t"); ok {
			t.Error("it is still listed")
		}
	})
}

// running says whether a process is there and no zombie.
func running(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(state, "Z")
}

// TestHugeOutput reads much (64 MiB in a long run) live, slowly, and again from the history.
func TestHugeOutput(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		file := filepath.Join(h.dir, "huge")
		want := hugeFile(t, file, scale(16, 64)<<20)
		term := start(t, e, "huge", sh(`stty raw; cat "$1"`, file))
		other := start(t, e, "other", sh(`stty raw -echo; echo ready; cat`))
		slow := term.Reader(0)
		if _, err := slow.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := other.Reader(0)
		until(t, r, "ready")
		write(t, other, "still there") // while the first one prints
		until(t, r, "still there")
		check := func(who string, got []byte) {
			t.Helper()
			if sha256.Sum256(got) != want {
				t.Errorf("%s: %d bytes, not what was printed", who, len(got))
			}
		}
		check("live", rest(t, term.Reader(0)))
		check("late", rest(t, term.Reader(0)))
		_ = rest(t, slow) // no gap
		hist, err := e.History(t.Context(), "huge")
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for {
			c, err := hist.Read(t.Context(), int64(len(all)), 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Data) == 0 {
				break
			}
			if c.Truncated || c.Offset != int64(len(all)) {
				t.Fatalf("a gap at %d: %d", len(all), c.Offset)
			}
			all = append(all, c.Data...)
		}
		check("history", all)
		if n := segmentsOf(t, h, "huge"); n > 2 {
			t.Errorf("%d segments are left beside the store", n)
		}
	})
}

func segmentsOf(t testing.TB, h *home, id string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, "terminals", "tmux", "recordings", id, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// hugeFile writes n bytes of lines and returns their digest.
func hugeFile(t testing.TB, path string, n int) [32]byte {
	t.Helper()
	var buf bytes.Buffer
	for i := 0; buf.Len() < n; i++ {
		fmt.Fprintf(&buf, "%09d the quick brown fox jumps over the lazy dog é 漢字 %x\r\n", i, i*i)
	}
	buf.Truncate(n)
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(buf.Bytes())
}

func TestKeep(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		const keep = 8 << 20
		h.opt = func(o *terminal.Options) { o.Keep = keep }
		e, _ := h.open()
		file := filepath.Join(h.dir, "huge")
		hugeFile(t, file, 40<<20)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		term := start(t, e, "t", sh(`stty raw; cat "$1"`, file))
		ended(t, term)
		hist, err := e.History(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hist.Pieces(t.Context(), terminal.Query{}); err != nil {
			t.Fatal(err)
		}
		first, end, err := hist.Bounds()
		if err != nil || end != int64(len(data)) || end-first > keep || end-first < keep/2 {
			t.Fatalf("kept: %d to %d, %v", first, end, err)
		}
		c, err := hist.Read(t.Context(), 0, 1000)
		if err != nil || !c.Truncated || c.Offset != first || !bytes.Equal(c.Data, data[first:first+1000]) {
			t.Errorf("read of what is gone: %d, %v, %v", c.Offset, c.Truncated, err)
		}
		r := term.Reader(0)
		if c, err := r.Next(t.Context()); err != nil || !c.Truncated || c.Offset != first {
			t.Errorf("reader of what is gone: %d, %v, %v", c.Offset, c.Truncated, err)
		}
		if got := rest(t, r); len(got) == 0 || !bytes.HasSuffix(data, got) {
			t.Errorf("%d bytes follow, which are not the end", len(got))
		}
	})
}

func TestStartAgainGoesOn(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, shut := h.open()
		ended(t, start(t, e, "t", sh("printf one")))
		ended(t, start(t, e, "t", sh("printf two")))
		shut()
		e, _ = h.open()
		term := start(t, e, "t", sh("printf three"))
		if got := string(rest(t, term.Reader(0))); got != "onetwothree" {
			t.Errorf("got %q", got)
		}
		if err := e.Forget(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
		hist, err := e.History(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		if first, end, err := hist.Bounds(); first != 0 || end != 0 || err != nil {
			t.Errorf("left: %d to %d, %v", first, end, err)
		}
	})
}

func TestManyTerminals(t *testing.T) {
	h := newHome(t, "tmux")
	e, shut := h.open()
	many := scale(40, 200)
	var wait sync.WaitGroup
	turn := make(chan struct{}, 8)
	for i := range many {
		wait.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			term, err := e.Start(t.Context(), fmt.Sprint("t", i), sh(`echo "$1"; while read x; do echo "$1 $x"; done`, fmt.Sprint("number ", i)))
			if err != nil {
				t.Error(err)
				return
			}
			until(t, term.Reader(0), fmt.Sprintf("number %d\r\n", i))
		})
	}
	wait.Wait()
	usage := e.Sample()
	if len(usage) != many {
		t.Errorf("%d samples", len(usage))
	}
	shut()
	e, _ = h.open()
	if n := len(e.Running()); n != many {
		t.Fatalf("%d are attached", n)
	}
	for i := range many {
		term, _ := e.Get(fmt.Sprint("t", i))
		write(t, term, "hello\n")
	}
	for i := range many {
		term, _ := e.Get(fmt.Sprint("t", i))
		until(t, term.Reader(0), fmt.Sprintf("number %d hello", i))
	}
	if err := e.Reap(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
}

func TestSample(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		term := start(t, e, "busy", sh(`(while :; do :; done) & echo ready; read x`))
		until(t, term.Reader(0), "ready")
		e.Sample()
		deadline := time.Now().Add(time.Minute)
		for {
			u := e.Sample()["busy"]
			if u.Pid == term.Pid() && u.CPU > 0 && u.RSS > 0 && u.Processes >= 2 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("usage: %+v", u)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

// TestNothingAnswers prints queries and reads them again: nothing is typed.
func TestNothingAnswers(t *testing.T) {
	h := newHome(t, "pty")
	e, _ := h.open()
	term := start(t, e, "t", sh(`stty raw -echo; printf '\033[6n\033[c\033]52;c;?\007\033]11;?\033\\ready'; head -c 5 | od -c; echo over`))
	r := term.Reader(0)
	until(t, r, "ready")
	for range 3 {
		until(t, term.Reader(0), "ready")
	}
	write(t, term, "12345")
	if got := until(t, r, "over"); !strings.Contains(got, "1   2   3   4   5") {
		t.Errorf("got %q", got)
	}
}

func TestReaderEnds(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		term := start(t, e, "t", sh("read x"))
		ctx, cancel := context.WithCancel(t.Context())
		r := term.Reader(-1)
		failed := make(chan error)
		go func() {
			_, err := r.Next(ctx)
			failed <- err
		}()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("Next = %v", err)
		}
		if err := term.Kill(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("Next = %v", err)
		}
	})
}
