package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// ended is the cause with which tests stop things.
var ended = &Cause{Status: StatusCancelled, Text: "The test ended.", Lost: "the test stopped it"}

// lab is an engine and a folder for its kernels.
type lab struct {
	t      *testing.T
	engine *Engine
	dir    string
	log    *logged
	env    map[string]string
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newLab(t *testing.T, with ...func(*Options)) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), log: &logged{}, env: map[string]string{}}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "PIP_INDEX_URL", "PIP_CERT"} {
		if v, ok := os.LookupEnv(name); ok {
			l.env[name] = v
		}
	}
	o := Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(l.log, nil)),
		Getenv: func(name string) (string, bool) { v, ok := l.env[name]; return v, ok }}
	for _, f := range with {
		f(&o)
	}
	var err error
	if l.engine, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func (l *lab) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.engine.Close(ctx, ended); err != nil {
		l.t.Error(err)
	}
	if notes, err := filepath.Glob(filepath.Join(l.engine.running(), "*")); err != nil || len(notes) > 0 {
		l.t.Errorf("notes about processes are left: %q %v", notes, err)
	}
	if l.t.Failed() {
		l.t.Logf("log:\n%s", l.log)
	}
}

func (l *lab) at(name string) Place {
	return Place{Dir: l.dir, Env: filepath.Join(l.dir, ".anton", "scratchpad-venvs", name)}
}

// pad is a kernel and what its cells did.
type pad struct {
	*lab
	kernel *Kernel
	place  Place
	number int
	events []Event // of the last cell
	seen   func(Event)
}

func (l *lab) pad(name string) *pad { return l.asking(name, nil) }

func (l *lab) asking(name string, m Model) *pad {
	return &pad{lab: l, kernel: l.engine.Kernel(m, ""), place: l.at(name)}
}

// run runs a cell that must come to a result.
func (p *pad) run(code string) Result {
	p.t.Helper()
	return p.cell(Cell{Code: code})
}

func (p *pad) cell(c Cell) Result {
	p.t.Helper()
	r, err := p.try(p.t.Context(), c)
	if err != nil {
		p.t.Fatalf("%s: %v", c.Code, err)
	}
	return r
}

func (p *pad) try(ctx context.Context, c Cell) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p.number++
	c.Number = p.number
	p.events = nil
	return p.kernel.Run(ctx, p.place, c, func(e Event) {
		p.events = append(p.events, e)
		if p.seen != nil {
			p.seen(e)
		}
	})
}

// ok runs a cell that must succeed and returns what it printed.
func (p *pad) ok(code string) string {
	p.t.Helper()
	r := p.run(code)
	if r.Status != StatusOK || r.Error != "" {
		p.t.Fatalf("%s\n%s: %s\nstdout %s\nstderr %s", code, r.Status, r.Error, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// value is the text of the last line's value.
func (p *pad) value(code string) string {
	p.t.Helper()
	r := p.run(code)
	if r.Status != StatusOK || len(r.Outputs) == 0 {
		p.t.Fatalf("%s: %+v", code, r)
	}
	last := r.Outputs[len(r.Outputs)-1]
	if last.Kind != Resulted {
		p.t.Errorf("%s: the value is a %s", code, last.Kind)
	}
	return last.Data["text/plain"]
}

// order is what the last cell did, as text: o for stdout, e for stderr, d for displays.
func (p *pad) order() string {
	var b strings.Builder
	for _, e := range p.events {
		switch {
		case e.Stdout != "":
			b.WriteString("o:" + e.Stdout)
		case e.Stderr != "":
			b.WriteString("e:" + e.Stderr)
		case e.Display != nil:
			b.WriteString("d:" + e.Display.Data["text/plain"] + "\n")
		case e.Progress != nil:
			b.WriteString("p:" + e.Progress.Message + "\n")
		}
	}
	return b.String()
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func contains(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%s: %q does not contain %q", what, got, part)
		}
	}
}

// runs says whether a process runs; one that has ended and waits for its parent does not.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	i := strings.LastIndexByte(string(stat), ')')
	return err == nil && i > 0 && !strings.HasPrefix(string(stat[i:]), ") Z")
}

func pids(t *testing.T, text string) (list []int) {
	t.Helper()
	for f := range strings.FieldsSeq(text) {
		pid, err := strconv.Atoi(f)
		if err != nil || pid < 2 {
			t.Fatalf("%q is no list of processes", text)
		}
		list = append(list, pid)
	}
	if len(list) == 0 {
		t.Fatal("no processes")
	}
	return list
}

// gone waits until none of the processes runs.
func gone(t *testing.T, list []int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for _, pid := range list {
		for runs(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d still runs", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
