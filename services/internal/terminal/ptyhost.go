package terminal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// ptyHost runs programs as children of this process. They end with it.
type ptyHost struct {
	mu    sync.Mutex
	procs map[string]*ptyProcess
}

func newPTYHost() *ptyHost {
	// What this process ignores because of who started it (nohup, or & in a script) its
	// children would ignore, too. A signal that is handled is not inherited. It stays so to the
	// end of the process: what is stopped would be ignored again, and not be said to be.
	for s := syscall.Signal(1); s < 32; s++ {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	return &ptyHost{procs: map[string]*ptyProcess{}}
}

func (h *ptyHost) Name() string     { return "pty" }
func (h *ptyHost) Persistent() bool { return false }

// drainFor is how long output is read of a terminal whose program has ended
// while something that it started still has it open.
const drainFor = time.Second

// ptyProcess is a program in a PTY of ours.
type ptyProcess struct {
	host *ptyHost
	id   string
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{}
	exit Exit // once done is closed

	marker string
}

// Start implements Host.
func (h *ptyHost) Start(_ context.Context, id string, p Program, rec Recording) (Process, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	env := append([]string{"TERM=xterm-256color"}, p.Env...)
	path, err := findProgram(p.Argv[0], lookup(env, "PATH"), p.Dir)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: p.Argv, Env: env, Dir: p.Dir}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(p.Cols), Rows: uint16(p.Rows)})
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) && bad.Op == "fork/exec" {
		return nil, invalid("the program cannot be run: %s", clean(bad.Err.Error(), 200))
	}
	if err != nil {
		return nil, fmt.Errorf("terminal: start: %w", err)
	}
	if tty, err = pollable(tty); err != nil {
		_ = cmd.Process.Kill() // our own child
		return nil, errors.Join(err, cmd.Wait())
	}
	proc := &ptyProcess{host: h, id: id, cmd: cmd, tty: tty, done: make(chan struct{}), marker: p.Marker}
	h.mu.Lock()
	h.procs[id] = proc
	h.mu.Unlock()
	go proc.run(rec.Sink)
	return proc, nil
}

// pollable returns a terminal whose reads end when it is closed: starting a
// program has made it a blocking one.
func pollable(tty *os.File) (*os.File, error) {
	fd, err := syscall.Dup(int(tty.Fd()))
	if err == nil {
		syscall.CloseOnExec(fd)
		err = errors.Join(tty.Close(), syscall.SetNonblock(fd, true))
	}
	if err != nil {
		return nil, fmt.Errorf("terminal: prepare the terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// findProgram looks a program up on the PATH that it gets.
func findProgram(name, path, dir string) (string, error) {
	if found, err := lookPath(name, path, dir); err == nil {
		return found, nil
	}
	return "", invalid("there is no program %s", clean(name, 100))
}

// run passes output on until the program has ended.
func (p *ptyProcess) run(sink func([]byte)) {
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 64<<10)
		for {
			n, err := p.tty.Read(buf)
			if n > 0 {
				sink(buf[:n])
			}
			if err != nil && !errors.Is(err, syscall.EINTR) {
				return // EIO: nobody has the other end
			}
		}
	}()
	err := p.cmd.Wait()
	select {
	case <-read:
	case <-time.After(drainFor):
	}
	_ = p.tty.Close() // what was written to it is gone either way
	<-read
	p.exit = exitOf(p.cmd.ProcessState, err)
	close(p.done)
}

func exitOf(state *os.ProcessState, err error) Exit {
	e := Exit{Code: -1, Ended: time.Now()}
	if state == nil {
		return e
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	} else {
		e.Code = state.ExitCode()
	}
	return e
}

func (p *ptyProcess) Pid() int              { return p.cmd.Process.Pid }
func (p *ptyProcess) Leader() int           { return p.cmd.Process.Pid }
func (p *ptyProcess) Done() <-chan struct{} { return p.done }
func (p *ptyProcess) Exit() Exit            { return p.exit }

// Write implements Process. It waits for a program that does not read, until
// that ends or ctx does; then part of the input may have been taken.
func (p *ptyProcess) Write(ctx context.Context, data []byte) error {
	stop := context.AfterFunc(ctx, func() { _ = p.tty.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := p.tty.Write(data)
	if !stop() {
		_ = p.tty.SetWriteDeadline(time.Time{})
		if err != nil {
			return context.Cause(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// Resize implements Process.
func (p *ptyProcess) Resize(_ context.Context, cols, rows int) error {
	conn, err := p.tty.SyscallConn() // pty.Setsize would make it a blocking one
	if err == nil {
		var failed error
		err = conn.Control(func(fd uintptr) {
			failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(cols), Row: uint16(rows)})
		})
		err = errors.Join(err, failed)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// Screen implements Process: a PTY does not know what it shows.
func (p *ptyProcess) Screen(context.Context) ([]byte, error) { return nil, nil }

// Release implements Process.
func (p *ptyProcess) Release(context.Context) error {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	delete(p.host.procs, p.id)
	return nil
}

// Attach implements Host.
func (h *ptyHost) Attach(context.Context, string, Recording) (Process, error) { return nil, ErrGone }

// List implements Host.
func (h *ptyHost) List(context.Context) ([]string, error) { return nil, nil }

// Close implements Host.
func (h *ptyHost) Close(ctx context.Context) error {
	h.mu.Lock()
	var all []*ptyProcess
	for _, p := range h.procs {
		all = append(all, p)
	}
	h.mu.Unlock()
	var wait sync.WaitGroup
	for _, p := range all {
		wait.Go(func() { familyOf(p, p.marker).end(ctx, p.done, time.Second) })
	}
	wait.Wait()
	return nil
}
