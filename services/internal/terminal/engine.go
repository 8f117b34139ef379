// Package terminal runs programs in terminals, records all that they print and
// passes input on. It enters through Engine. Terminals live in a tmux server of our own
// (the user's is never touched) and outlive this process; without tmux they are children of
// this process and end with it, which Persistent says.
//
// What a program prints is a stream of bytes with absolute offsets: recorded into segment
// files first, then sealed into the bulk store, and kept in memory for readers that keep up.
// Nothing here ever answers a query that is in output, and nothing but the
// caller's input reaches a terminal.
package terminal

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"anthill/services/internal/store"
)

// Options configure Open. Dir and Bulk are needed, and Recorder for tmux.
type Options struct {
	Dir      string   // folder of terminals, of this engine alone; made with mode 0700
	Bulk     store.DB // histories; store.BulkLimits
	Host     string   // "tmux", "pty", or "": tmux where there is one
	Tmux     string   // program; "": tmux on the PATH
	Recorder []string // argv of a program that calls Record with the two arguments that are added
	Environ  []string // nil: os.Environ(); what programs inherit is taken from it
	Keep     int64    // bytes kept of each terminal; 0: 128 MiB
	Tell     func(Event)
	Log      *slog.Logger // nil: slog.Default()
}

// Event is something that happened in a terminal. Exactly one of the pointers is set.
// After a crash an event may be told again: a Block is known by its Start.
type Event struct {
	ID    string
	Block *Block
	Title *string // cleaned; a program chose it
	Cwd   *string // of the shell; a program can say anything
	Exit  *Exit
}

// Spec says what to run.
type Spec struct {
	Argv       []string          // a program; none: a shell
	Shell      string            // absolute path; "": the user's
	Dir        string            // "": HOME
	Env        map[string]string // over what is inherited, such as ANT_SESSION_ID
	Cols, Rows int               // 1 to 1000; both 0: 120 x 30
}

// Engine runs terminals. Safe for concurrent use.
type Engine struct {
	opt  Options
	host Host
	base context.Context
	stop context.CancelCauseFunc

	mu        sync.Mutex
	terminals map[string]*Terminal // that run
	starting  map[string]bool
	closed    bool

	sampling sync.Mutex
	sampler  sampler
}

// Open takes up the terminals that live, and ends processes that nobody knows.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	o.Log, o.Keep = cmp.Or(o.Log, slog.Default()), cmp.Or(o.Keep, defaultKeep)
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	o.Dir = filepath.Join(dir, "tmux") // the path of the socket says what it is
	if err := errors.Join(os.MkdirAll(filepath.Join(o.Dir, recordingsDir), 0o700), writeShells(filepath.Join(o.Dir, shellsDir))); err != nil {
		return nil, fmt.Errorf("terminal: make the folder: %w", err)
	}
	e := &Engine{opt: o, terminals: map[string]*Terminal{}, starting: map[string]bool{}}
	e.base, e.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	if e.host, err = e.openHost(ctx); err == nil {
		err = e.takeUp(ctx)
	}
	if err != nil {
		e.stop(ErrClosed)
		return nil, err
	}
	return e, nil
}

const (
	recordingsDir = "recordings"
	shellsDir     = "shells"
)

func (e *Engine) openHost(ctx context.Context) (Host, error) {
	program := e.opt.Tmux
	if program == "" && e.opt.Host != "pty" {
		program, _ = lookPath("tmux", lookup(e.opt.Environ, "PATH"), "/") // "": there is none
	}
	switch {
	case e.opt.Host == "pty" || e.opt.Host == "" && program == "":
		return newPTYHost(), nil
	case e.opt.Host != "" && e.opt.Host != "tmux":
		return nil, invalid("there is no host %q", e.opt.Host)
	case program == "":
		return nil, invalid("there is no tmux on the PATH")
	case len(e.opt.Recorder) == 0:
		return nil, invalid("tmux needs a recorder")
	}
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("terminal: tmux: %w", err)
	}
	ended, err := watch(e.base, e.opt.Dir)
	if err != nil {
		e.opt.Log.Warn("files cannot be watched: the end of programs is told late", "error", err)
	}
	return openTmux(ctx, tmuxOptions{program: program, dir: e.opt.Dir, recorder: e.opt.Recorder, keep: e.opt.Keep,
		environ: e.opt.Environ, ended: ended, log: e.opt.Log})
}

// Host is "tmux" or "pty".
func (e *Engine) Host() string { return e.host.Name() }

// Persistent says whether terminals outlive this process.
func (e *Engine) Persistent() bool { return e.host.Persistent() }

func (e *Engine) dir(id string) string { return filepath.Join(e.opt.Dir, recordingsDir, id) }

// takeUp attaches to what lives and closes the books of what does not.
func (e *Engine) takeUp(ctx context.Context) error {
	live, err := e.host.List(ctx)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(e.opt.Dir, recordingsDir))
	if err != nil {
		return fmt.Errorf("terminal: read recordings: %w", err)
	}
	known := map[string]bool{}
	for _, entry := range entries {
		id := entry.Name()
		if checkID(id) != nil || !entry.IsDir() {
			continue
		}
		known[id] = true
		if slices.Contains(live, id) {
			if _, err := e.attach(ctx, id); err != nil {
				return fmt.Errorf("terminal: take up %s: %w", id, err)
			}
		} else {
			e.bury(ctx, id)
		}
	}
	for _, id := range live {
		if !known[id] {
			e.opt.Log.Warn("a terminal without a recording is ended", "terminal", id)
			e.endForeign(ctx, id)
		}
	}
	return nil
}

// bury notes the end of a terminal that ended unseen, and ends what is left of it.
func (e *Engine) bury(ctx context.Context, id string) {
	dir := e.dir(id)
	if _, err := readExit(dir); err != nil { // else it ended by itself, and may have left a server behind
		n, err := readNote(dir)
		if err == nil {
			n.endRest(ctx)
		}
	}
	if _, err := readExit(dir); errors.Is(err, fs.ErrNotExist) {
		x := Exit{Code: -1, Ended: time.Now()}
		if err := writeJSON(dir, exitName, x); err != nil {
			e.opt.Log.Warn("the end of a terminal is not noted", "terminal", id, "error", err)
		}
		e.opt.Tell(Event{ID: id, Exit: &x})
	}
	h, err := e.openHistory(ctx, id)
	if err == nil {
		err = h.sealAll(ctx)
	}
	if err != nil {
		e.opt.Log.Warn("a history is not sealed", "terminal", id, "error", err)
	}
}

// endForeign ends a terminal of the host that we have nothing of.
func (e *Engine) endForeign(ctx context.Context, id string) {
	dir := e.dir(id)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var p Process
		if p, err = e.host.Attach(ctx, id, Recording{Dir: dir, Sink: func([]byte) {}}); err == nil {
			familyOf(p, "").end(ctx, p.Done(), time.Second)
			err = p.Release(ctx)
		}
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		e.opt.Log.Warn("a terminal that nobody knows is not ended", "terminal", id, "error", err)
	}
}

// Reap ends and forgets the terminals and histories that known refuses.
func (e *Engine) Reap(ctx context.Context, known func(id string) bool) error {
	entries, err := os.ReadDir(filepath.Join(e.opt.Dir, recordingsDir))
	if err != nil {
		return fmt.Errorf("terminal: read recordings: %w", err)
	}
	for _, entry := range entries {
		if id := entry.Name(); checkID(id) == nil && !known(id) {
			err = errors.Join(err, e.Forget(ctx, id))
		}
	}
	return err
}

// Start runs a terminal. The one with this id must have ended; its history goes on.
// ErrExists, ErrInvalid (the text says why), ErrClosed.
func (e *Engine) Start(ctx context.Context, id string, s Spec) (*Terminal, error) {
	p, err := e.program(s)
	if err == nil {
		err = checkID(id)
	}
	if err != nil {
		return nil, err
	}
	if err := e.reserve(id); err != nil {
		return nil, err
	}
	defer e.unreserve(id)
	t, err := e.prepare(ctx, id)
	if err != nil {
		return nil, err
	}
	if t.proc, err = e.host.Start(ctx, id, p, t.recordingTo()); err != nil {
		t.abandon()
		return nil, err
	}
	n := note{Leader: t.proc.Leader(), Marker: p.Marker, Host: e.host.Name(), Started: time.Now(), Cols: p.Cols, Rows: p.Rows}
	if st, ok := readStat(n.Leader); ok {
		n.Began = st.started
	}
	t.cols, t.rows, t.marker = p.Cols, p.Rows, p.Marker
	if err := writeJSON(e.dir(id), specName, n); err != nil {
		e.opt.Log.Warn("a terminal is not noted", "terminal", id, "error", err)
	}
	return e.run(t), nil
}

func (e *Engine) reserve(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return ErrClosed
	case e.terminals[id] != nil || e.starting[id]:
		return ErrExists
	}
	e.starting[id] = true
	return nil
}

func (e *Engine) unreserve(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.starting, id)
}

// program makes of a Spec what the host runs.
func (e *Engine) program(s Spec) (Program, error) {
	if s.Cols == 0 && s.Rows == 0 {
		s.Cols, s.Rows = 120, 30
	}
	home := lookup(e.opt.Environ, "HOME")
	p := Program{Argv: s.Argv, Dir: cmp.Or(s.Dir, home, "/"), Cols: s.Cols, Rows: s.Rows}
	extra := maps.Clone(s.Env)
	if extra == nil {
		extra = map[string]string{}
	}
	if len(p.Argv) == 0 {
		shell := cmp.Or(s.Shell, userShell(e.opt.Environ))
		if !filepath.IsAbs(shell) {
			return p, invalid("the path of a shell must be absolute")
		}
		var more map[string]string
		p.Argv, more = shellCommand(shell, filepath.Join(e.opt.Dir, shellsDir), e.opt.Environ)
		maps.Copy(extra, more)
	}
	token := rand.Text()
	extra[markerName], p.Marker = token, markerName+"="+token
	p.Env = scrub(e.opt.Environ, extra)
	if err := p.check(); err != nil {
		return p, err
	}
	if info, err := os.Stat(p.Dir); err != nil || !info.IsDir() {
		return p, invalid("there is no folder %s", clean(p.Dir, 200))
	}
	if _, err := lookPath(p.Argv[0], lookup(p.Env, "PATH"), p.Dir); err != nil {
		return p, invalid("there is no program %s", clean(p.Argv[0], 100))
	}
	return p, nil
}

// prepare makes the recording of a terminal that is about to start.
func (e *Engine) prepare(ctx context.Context, id string) (*Terminal, error) {
	dir := e.dir(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("terminal: make the recording: %w", err)
	}
	h, err := e.openHistory(ctx, id)
	if err != nil {
		return nil, err
	}
	end, err := h.end()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, beginName), strconv.AppendInt(nil, end, 10), 0o600); err != nil {
		return nil, fmt.Errorf("terminal: make the recording: %w", err)
	}
	for _, old := range []string{closedName, exitName} {
		if err := os.Remove(filepath.Join(dir, old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("terminal: make the recording: %w", err)
		}
	}
	return e.newTerminal(id, h)
}

// attach takes up a terminal that lives in the host.
func (e *Engine) attach(ctx context.Context, id string) (*Terminal, error) {
	h, err := e.openHistory(ctx, id)
	if err != nil {
		return nil, err
	}
	t, err := e.newTerminal(id, h)
	if err != nil {
		return nil, err
	}
	if n, err := readNote(e.dir(id)); err == nil {
		t.cols, t.rows, t.marker = n.Cols, n.Rows, n.Marker
	}
	if t.proc, err = e.host.Attach(ctx, id, t.recordingTo()); err != nil {
		t.abandon()
		return nil, err
	}
	return e.run(t), nil
}

func (e *Engine) run(t *Terminal) *Terminal {
	e.mu.Lock()
	e.terminals[t.id] = t
	e.mu.Unlock()
	t.begin()
	return t
}

// Get returns a terminal that runs; false: none with this id does.
func (e *Engine) Get(id string) (*Terminal, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.terminals[id]
	return t, ok
}

// Running returns the ids of the terminals that run, sorted.
func (e *Engine) Running() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.terminals))
}

// LastExit says how the terminal ended last; false: it never did, or it runs.
func (e *Engine) LastExit(id string) (Exit, bool) {
	if _, running := e.Get(id); running || checkID(id) != nil {
		return Exit{}, false
	}
	x, err := readExit(e.dir(id))
	return x, err == nil
}

// Forget ends a terminal, if it runs, and deletes its history.
func (e *Engine) Forget(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if t, ok := e.Get(id); ok {
		if err := t.Kill(ctx, time.Second); err != nil {
			return err
		}
	}
	if err := e.reserve(id); err != nil {
		return err
	}
	defer e.unreserve(id)
	// The segments go first: what is sealed cannot be sealed again then.
	if err := os.RemoveAll(e.dir(id)); err != nil {
		return fmt.Errorf("terminal: delete the recording: %w", err)
	}
	return forget(ctx, e.opt.Bulk, id)
}

// Sample measures the processes of all terminals that run, by id. CPU is
// counted since the call before.
func (e *Engine) Sample() map[string]Usage {
	e.mu.Lock()
	procs := map[string]Process{}
	for id, t := range e.terminals {
		procs[id] = t.proc
	}
	e.mu.Unlock()
	e.sampling.Lock()
	defer e.sampling.Unlock()
	return e.sampler.sample(procs, time.Now())
}

// Close lets go of the terminals: those of tmux live on. What was recorded is
// sealed as far as ctx allows; the rest is when the engine opens again.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	all := slices.Collect(maps.Values(e.terminals))
	e.mu.Unlock()
	var err error
	if !e.host.Persistent() {
		err = e.host.Close(ctx)
		for _, t := range all {
			_ = t.wait(ctx) // what is not over is sealed at the next start
		}
	}
	e.stop(ErrClosed)
	for _, t := range all {
		t.work.Wait()
		err = errors.Join(err, t.history.seal(ctx, t.parsedEnd(), t.note))
	}
	if e.host.Persistent() {
		err = errors.Join(err, e.host.Close(ctx))
	}
	return err
}

// markerName is the variable that marks what was started in a terminal.
const markerName = "ANTHILL_TERMINAL"

// note is what is kept of a running terminal beside its recording.
type note struct {
	Leader     int       `json:"leader"` // of its session
	Began      int64     `json:"began"`  // start of that process in ticks since boot
	Marker     string    `json:"marker"`
	Host       string    `json:"host"`
	Started    time.Time `json:"started"`
	Cols, Rows int
}

// endRest ends what is left of a terminal that its host has lost.
func (n note) endRest(ctx context.Context) {
	f := family{marker: n.Marker}
	if s, ok := readStat(n.Leader); ok && s.started == n.Began {
		f.leader = n.Leader
	}
	if f.leader == 0 && f.marker == "" {
		return
	}
	gone := make(chan struct{})
	close(gone)
	f.end(ctx, gone, time.Second)
}

func readNote(dir string) (n note, err error) {
	data, err := os.ReadFile(filepath.Join(dir, specName))
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	return n, err
}

func readExit(dir string) (x Exit, err error) {
	data, err := os.ReadFile(filepath.Join(dir, exitName))
	if err == nil {
		err = json.Unmarshal(data, &x)
	}
	return x, err
}

// writeJSON replaces a small file as a whole.
func writeJSON(dir, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("terminal: encode %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("terminal: write %s: %w", name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("terminal: write %s: %w", name, err)
	}
	return nil
}
