package terminal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"anthill/services/internal/terminal/launcher"
)

// tmuxHost keeps terminals in a tmux server of its own, which outlives this
// process. The user's server is another socket and is never spoken to.
type tmuxHost struct {
	opt    tmuxOptions
	socket string
	term   string // what programs are told the terminal is; known once there was a client

	poke   chan struct{} // asks for a review
	base   context.Context
	stop   context.CancelCauseFunc
	closed sync.WaitGroup

	mu      sync.Mutex
	control *control // nil: to be dialled
	panes   map[string]*pane
}

type tmuxOptions struct {
	program  string   // path of tmux
	dir      string   // data directory of terminals
	recorder []string // argv of the recorder, without its arguments; its program is the launcher, too
	keep     int64
	environ  []string        // of the server
	ended    <-chan struct{} // receives after a program has ended
	log      *slog.Logger
}

const (
	controlSession = "anthill" // a session of the client that gives commands
	sessionPrefix  = "t_"
	socketMost     = 99  // bytes of a socket's path
	historyLines   = 100 // of tmux's own; ours is in the recording
	pollEvery      = 2 * time.Second
	endedName      = "ended"  // grows when a program ends
	socketName     = "socket" // where the server listens, if that is not here
)

// openTmux connects to the server if there is one. Otherwise it is started with the first terminal.
func openTmux(ctx context.Context, o tmuxOptions) (*tmuxHost, error) {
	socket, err := socketPath(o.dir)
	if err != nil {
		return nil, err
	}
	base, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	h := &tmuxHost{opt: o, socket: socket, poke: make(chan struct{}, 1), base: base, stop: stop, panes: map[string]*pane{}}
	if h.serves() {
		if _, err := h.client(ctx); err != nil {
			stop(ErrClosed)
			return nil, err
		}
	}
	h.closed.Go(h.watch)
	return h, nil
}

// serves says whether a server listens.
func (h *tmuxHost) serves() bool {
	c, err := net.DialTimeout("unix", h.socket, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close() // nothing was said
	return true
}

// connected says whether there is a client, or a server for one.
func (h *tmuxHost) connected() bool {
	h.mu.Lock()
	c := h.control
	h.mu.Unlock()
	if c != nil {
		select {
		case <-c.gone:
		default:
			return true
		}
	}
	return h.serves()
}

// socketPath is where the server listens: in the data directory, or, when that path is too long
// for a socket, in a folder of our own with a short name. That one is noted in the data directory, so
// that the server is found again wherever temporary files go by then.
func socketPath(dir string) (string, error) {
	path := filepath.Join(dir, "tmux.sock")
	if len(path) > socketMost {
		noted, err := os.ReadFile(filepath.Join(dir, socketName))
		if path = string(noted); err != nil || !filepath.IsAbs(path) || len(path) > socketMost {
			if path, err = shortPath(dir); err != nil {
				return "", err
			}
			if err := os.WriteFile(filepath.Join(dir, socketName), []byte(path), 0o600); err != nil {
				return "", fmt.Errorf("terminal: note the tmux socket: %w", err)
			}
		}
		dir = filepath.Dir(path)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("terminal: make the folder of the tmux socket: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("terminal: look at the folder of the tmux socket: %w", err)
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm()&0o077 != 0 || ok && int(sys.Uid) != os.Getuid() {
		return "", fmt.Errorf("terminal: %s must be a folder of this user alone (mode 0700)", dir)
	}
	return path, nil
}

// shortPath is the socket of a data directory whose own path is too long.
func shortPath(dir string) (string, error) {
	sum := sha256.Sum256([]byte(dir))
	name := fmt.Sprintf("anthill-tmux-%d-%s", os.Getuid(), hex.EncodeToString(sum[:8]))
	for _, base := range []string{os.TempDir(), "/tmp"} {
		if path := filepath.Join(base, name, "tmux.sock"); filepath.IsAbs(path) && len(path) <= socketMost {
			return path, nil
		}
	}
	return "", fmt.Errorf("terminal: no path for the tmux socket has %d bytes or less: use a shorter data directory than %s", socketMost, clean(dir, 300))
}

func (h *tmuxHost) Name() string     { return "tmux" }
func (h *tmuxHost) Persistent() bool { return true }

// args are those of every tmux client.
func (h *tmuxHost) args(more ...string) []string {
	return append([]string{"-S", h.socket, "-f", "/dev/null", "-u"}, more...)
}

func (h *tmuxHost) clientCommand(more ...string) *exec.Cmd {
	cmd := exec.Command(h.opt.program, h.args(more...)...)
	cmd.Env, cmd.Dir = h.environ(), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the server, not for its client
	return cmd
}

// environ is what the tmux server runs with. Programs get their own.
func (h *tmuxHost) environ() []string {
	return scrub(h.opt.environ, map[string]string{"TERM": "xterm-256color", "LC_ALL": "", "SHELL": "/bin/sh"})
}

// client returns the control client, and dials it when there is none.
func (h *tmuxHost) client(ctx context.Context) (*control, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.control != nil {
		select {
		case <-h.control.gone:
		default:
			return h.control, nil
		}
	}
	if h.base.Err() != nil {
		return nil, ErrClosed
	}
	if h.term == "" {
		h.term = "screen-256color"
		if exec.CommandContext(ctx, "infocmp", "tmux-256color").Run() == nil {
			h.term = "tmux-256color"
		}
	}
	// The folder of its session is dead at once: nothing runs there.
	c, err := dialControl(ctx, h.clientCommand("-C", "start-server", ";", "set-option", "-s", "exit-empty", "off", ";",
		"set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "status", "off", ";",
		"new-session", "-A", "-s", controlSession, "-x", "80", "-y", "24", "-f", "no-output,ignore-size", "/bin/sh", "-c", ":"))
	if err != nil {
		return nil, err
	}
	if err := h.configure(ctx, c); err != nil {
		c.close()
		return nil, err
	}
	h.control = c
	return c, nil
}

// configure sets what must hold, whatever the version has as its default.
func (h *tmuxHost) configure(ctx context.Context, c *control) error {
	ended := filepath.Join(h.opt.dir, endedName)
	for _, o := range [][]string{
		{"-s", "escape-time", "0"},
		{"-s", "set-clipboard", "off"},
		{"-s", "default-terminal", h.term},
		{"-s", "buffer-limit", "100"},
		{"-g", "prefix", "None"},
		{"-g", "prefix2", "None"},
		{"-g", "mouse", "off"},
		{"-g", "history-limit", strconv.Itoa(historyLines)},
		{"-g", "destroy-unattached", "off"},
		{"-g", "update-environment", ""},
		{"-g", "default-shell", "/bin/sh"},
		{"-g", "visual-bell", "off"},
		{"-gw", "automatic-rename", "off"},
		{"-gw", "allow-rename", "off"},
		{"-gw", "monitor-activity", "off"},
		{"-gwq", "allow-passthrough", "off"},
		{"-gwq", "remain-on-exit-format", ""},
	} {
		if _, err := c.do(ctx, append([]string{"set-option"}, o...)...); err != nil {
			return fmt.Errorf("terminal: configure tmux (%s): %w", o[1], err)
		}
	}
	for _, words := range [][]string{
		{"unbind-key", "-a", "-T", "prefix"},
		{"unbind-key", "-a", "-T", "root"},
		{"set-hook", "-g", "pane-died", string(command(nil, "run-shell", "-b", "echo >> "+unformatted(shellQuote(ended))))},
	} {
		// A table without keys does not exist: that is what was wanted.
		if _, err := c.do(ctx, words...); err != nil && words[0] != "unbind-key" {
			return fmt.Errorf("terminal: configure tmux (%s): %w", words[0], err)
		}
	}
	return nil
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// unformatted keeps tmux from reading formats and times in s.
func unformatted(s string) string {
	return strings.NewReplacer("#", "##", "%", "%%").Replace(s)
}

// Start implements Host.
func (h *tmuxHost) Start(ctx context.Context, id string, p Program, rec Recording) (Process, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	path, err := findProgram(p.Argv[0], lookup(p.Env, "PATH"), p.Dir)
	if err != nil {
		return nil, err
	}
	c, err := h.client(ctx)
	if err != nil {
		return nil, err
	}
	// No part of it passes a shell, tmux's formats or anybody's list of arguments.
	job := launcher.Job{Path: path, Dir: p.Dir, Env: append([]string{"TERM=" + h.term}, p.Env...), Argv: p.Argv}
	if err := launcher.Prepare(rec.Dir, job, rand.Text()); err != nil {
		return nil, fmt.Errorf("terminal: prepare the start: %w", err)
	}
	start := []string{"new-session", "-d", "-P", "-F", paneFormat, "-s", sessionPrefix + id,
		"-x", strconv.Itoa(p.Cols), "-y", strconv.Itoa(p.Rows), "-c", "/", h.opt.recorder[0], launcher.Command, rec.Dir}
	// One line: tmux reads nothing of the program before it has carried out all of it.
	replies, err := c.send(start, h.pipe("="+sessionPrefix+id+":", rec.Dir))
	if err != nil {
		return nil, err
	}
	s, err := h.started(ctx, c, id, replies)
	pid := 0
	if err == nil {
		if pid, err = awaitBirth(s.leader, rec); err == nil {
			return h.track(s, pid, rec.Dir), nil
		}
	}
	_, killed := c.do(context.WithoutCancel(ctx), "kill-session", "-t", "="+sessionPrefix+id)
	awaitClosed(rec) // the next start has the same folder
	if errors.Is(err, ErrInvalid) {
		return nil, err
	}
	return nil, fmt.Errorf("terminal: start: %w", errors.Join(err, killed))
}

// started reads what tmux says of a start.
func (h *tmuxHost) started(ctx context.Context, c *control, id string, replies []*reply) (paneState, error) {
	lines, err := c.answer(context.WithoutCancel(ctx), replies[0])
	if err == nil {
		_, err = c.answer(context.WithoutCancel(ctx), replies[1])
	}
	if err != nil {
		return paneState{}, err
	}
	for _, line := range lines {
		if s, ok := parsePane(line); ok && s.id == id {
			return s, nil
		}
	}
	return paneState{}, errors.New("tmux said nothing of it")
}

// awaitClosed waits until the recorder of a start that failed has ended.
func awaitClosed(rec Recording) {
	for limit := time.Now().Add(closeLimit); !exists(filepath.Join(rec.Dir, closedName)) && time.Now().Before(limit); {
		await(rec.News, birthLook)
	}
}

const (
	birthLimit = 30 * time.Second
	birthLook  = 50 * time.Millisecond // if no notice comes
)

// awaitBirth returns the pid of the program that a launcher starts; ErrInvalid: it cannot be run.
func awaitBirth(leader int, rec Recording) (int, error) {
	for limit := time.Now().Add(birthLimit); ; {
		gone := syscall.Kill(leader, 0) == syscall.ESRCH // before we look: then that is all
		pid, known, err := launcher.Born(rec.Dir)
		switch {
		case err != nil:
			return 0, invalid("the program cannot be run: %s", clean(err.Error(), 200))
		case known:
			return pid, nil
		case gone:
			return 0, errors.New("the launcher ended at once")
		case time.Now().After(limit):
			return 0, fmt.Errorf("the program did not start within %v", birthLimit)
		}
		await(rec.News, birthLook)
	}
}

// pipe is the command that starts the recorder of a pane.
func (h *tmuxHost) pipe(target, dir string) []string {
	shell := "exec"
	for _, word := range append(slices.Clone(h.opt.recorder), dir, strconv.FormatInt(h.opt.keep, 10)) {
		shell += " " + shellQuote(word)
	}
	// -I makes tmux notice at once when the recorder is gone; what would be
	// typed into the terminal by it is cut off.
	return []string{"pipe-pane", "-I", "-O", "-t", target, unformatted(shell + " >/dev/null")}
}

// paneFormat prints what no program can choose.
const paneFormat = "p #{session_name} #{pane_id} #{pane_pid} #{pane_dead}#{pane_pipe} s#{pane_dead_status} g#{pane_dead_signal}"

// paneState is what tmux says of a pane.
type paneState struct {
	id, pane    string
	leader      int  // its process, a launcher
	dead, piped bool // dead: it has ended, and how is known
	exit        Exit
}

func parsePane(line string) (paneState, bool) {
	f := strings.Fields(line)
	if len(f) != 7 || f[0] != "p" {
		return paneState{}, false
	}
	id, ours := strings.CutPrefix(f[1], sessionPrefix)
	pid, err := strconv.Atoi(f[3])
	if !ours || checkID(id) != nil || err != nil || len(f[4]) != 2 {
		return paneState{}, false
	}
	s := paneState{id: id, pane: f[2], leader: pid, dead: f[4][0] == '1', piped: f[4][1] == '1', exit: Exit{Code: -1}}
	if code, err := strconv.Atoi(f[5][1:]); err == nil {
		s.exit.Code = code
	}
	if sig, err := strconv.Atoi(f[6][1:]); err == nil && sig > 0 {
		s.exit.Code, s.exit.Signal = -1, syscall.Signal(sig)
	}
	// Its end is seen a moment before its status is.
	s.dead = s.dead && (len(f[5]) > 1 || len(f[6]) > 1)
	return s, true
}

// look asks tmux for all panes, by the id of their terminal.
func (h *tmuxHost) look(ctx context.Context) (map[string]paneState, error) {
	if !h.connected() {
		return nil, nil // without a server there is none
	}
	c, err := h.client(ctx)
	if err != nil {
		return nil, err
	}
	lines, err := c.do(ctx, "list-panes", "-a", "-F", paneFormat)
	if err != nil {
		return nil, err
	}
	states := map[string]paneState{}
	for _, line := range lines {
		if s, ok := parsePane(line); ok {
			if _, second := states[s.id]; !second {
				states[s.id] = s
			}
		}
	}
	return states, nil
}

func (h *tmuxHost) track(s paneState, pid int, dir string) *pane {
	p := &pane{host: h, id: s.id, target: s.pane, leader: s.leader, pid: pid, dir: dir, done: make(chan struct{})}
	h.mu.Lock()
	h.panes[s.id] = p
	h.mu.Unlock()
	p.update(s, true)
	notify(h.poke) // it may have ended before we knew it
	h.closed.Go(p.await)
	return p
}

// Attach implements Host.
func (h *tmuxHost) Attach(ctx context.Context, id string, rec Recording) (Process, error) {
	states, err := h.look(ctx)
	if err != nil {
		return nil, err
	}
	s, ok := states[id]
	if !ok {
		return nil, ErrGone
	}
	pid, known, err := launcher.Born(rec.Dir)
	if !known || err != nil {
		pid = s.leader // it is about to start the program
	}
	p := h.track(s, pid, rec.Dir)
	if !s.dead && !s.piped {
		return p, h.record(ctx, p)
	}
	return p, nil
}

// record starts the recorder again after it died.
func (h *tmuxHost) record(ctx context.Context, p *pane) error {
	h.opt.log.Warn("the recorder of a terminal is gone: what it printed meanwhile is missing", "terminal", p.id)
	c, err := h.client(ctx)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, h.pipe(p.target, p.dir)...)
	return err
}

// List implements Host.
func (h *tmuxHost) List(ctx context.Context) ([]string, error) {
	states, err := h.look(ctx)
	return slices.Sorted(maps.Keys(states)), err
}

// watch notices the end of programs, until Close.
func (h *tmuxHost) watch() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.base.Done():
			return
		case <-h.opt.ended:
		case <-h.poke:
		case <-tick.C:
		}
		h.mu.Lock()
		idle := len(h.panes) == 0
		h.mu.Unlock()
		if idle {
			continue
		}
		h.review()
	}
}

// review brings what we know of each pane up to date.
func (h *tmuxHost) review() {
	h.mu.Lock()
	known := maps.Clone(h.panes) // before we ask: who comes later is not missing
	h.mu.Unlock()
	states, err := h.look(h.base)
	if h.base.Err() != nil {
		return
	}
	if err != nil {
		h.opt.log.Warn("tmux cannot be asked", "error", err)
		return
	}
	for id, p := range known {
		s, ok := states[id]
		p.update(s, ok)
		if ok && !s.dead && !s.piped {
			if err := h.record(h.base, p); err != nil {
				h.opt.log.Warn("a terminal cannot be recorded", "terminal", id, "error", err)
			}
		}
	}
}

// Close implements Host. A server without terminals is not left behind.
func (h *tmuxHost) Close(ctx context.Context) error {
	states, err := h.look(ctx)
	h.stop(ErrClosed)
	h.closed.Wait()
	h.mu.Lock()
	c := h.control
	h.mu.Unlock()
	if c == nil {
		return err
	}
	if err == nil && len(states) == 0 {
		if replies, err := c.send([]string{"kill-server"}); err == nil {
			_, _ = c.answer(ctx, replies[0]) // it may be gone before it answers
		}
	}
	c.close()
	return err
}
