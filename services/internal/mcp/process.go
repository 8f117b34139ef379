package mcp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long a process may take to do what it should.
const (
	readWithin  = 10 * time.Second // to take what is written to it
	leaveWithin = time.Second      // to end once its input has, and again once it was asked to
	dieWithin   = 300 * time.Millisecond
)

// printedMax is how much is kept of what a server prints for people, in bytes.
const printedMax = 4 << 10

// process is a server that was started, with all that it starts in its group.
type process struct {
	cmd    *exec.Cmd
	in     *input
	out    *os.File
	errors tail
	exited chan struct{} // closed when it has ended and its group is gone
	err    error         // of its end; once exited
}

// input is the standard input of a process, which has to read.
type input struct{ *os.File }

func (f *input) Write(b []byte) (int, error) {
	if err := f.SetWriteDeadline(time.Now().Add(readWithin)); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

// start runs the program of an entry, never by a shell, in the directory of the
// project unless the entry has another.
func (e *Engine) start(entry entry, dir string) (*process, error) {
	if entry.dir != "" {
		if filepath.IsAbs(entry.dir) {
			dir = entry.dir
		} else {
			dir = filepath.Join(dir, entry.dir)
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, errors.New("its directory is not there")
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, errors.New("its directory is not there")
	}
	env, vars := e.environ(entry.env)
	path, err := lookup(entry.command, dir, vars["PATH"])
	if err != nil {
		return nil, err
	}
	p := &process{exited: make(chan struct{}), cmd: &exec.Cmd{Path: path, Args: append([]string{entry.command}, entry.args...), Env: env, Dir: dir,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}}
	if err := e.launch(p); err != nil {
		return nil, fmt.Errorf("its command cannot be run: %w", bareError(err))
	}
	return p, nil
}

// bareError is what the system said, without paths.
func bareError(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// launch starts a process with pipes, and the goroutines that look after it.
func (e *Engine) launch(p *process) (err error) {
	var all []*os.File
	defer func() {
		for i, f := range all {
			if theirs := i == 0 || i == 3 || i == 5; theirs || err != nil {
				_ = f.Close() // it has a copy, or was not started
			}
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			if r, w, err = os.Pipe(); err == nil {
				all = append(all, r, w)
			}
		}
		return r, w
	}
	inR, inW := pipe()
	outR, outW := pipe()
	errR, errW := pipe()
	if err != nil {
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inR, outW, errW
	p.in, p.out = &input{inW}, outR
	if err := p.cmd.Start(); err != nil {
		return err
	}
	heard := make(chan struct{})
	e.work.Go(func() { // this is called from a goroutine that counts
		defer close(heard)
		_, _ = io.Copy(&p.errors, errR) // it ends with the pipe, however that ends
	})
	e.work.Go(func() {
		p.err = p.cmd.Wait()
		p.signal(syscall.SIGKILL)                                      // what it has left behind
		late := time.AfterFunc(dieWithin, func() { _ = errR.Close() }) // only read, as below
		<-heard
		late.Stop()
		_ = errR.Close()
		close(p.exited)
		// Whoever has left the group may hold the other end of the pipe; one that is closed needs no deadline.
		_ = p.out.SetReadDeadline(time.Now().Add(leaveWithin))
	})
	return nil
}

// signal is for the whole group; who is gone needs none.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// close ends the process as the protocol has it: its input ends, then it is
// asked, then it is killed.
func (p *process) close() {
	_ = p.in.Close() // it may have been
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-p.exited:
			return
		case <-time.After(leaveWithin):
			p.signal(s)
		}
	}
	<-p.exited
}

// kill ends the process at once.
func (p *process) kill() {
	select {
	case <-p.exited:
	default:
		p.signal(syscall.SIGKILL)
	}
	<-p.exited
	_, _ = p.in.Close(), p.out.Close() // nobody has the other ends
}

// ended says whether the process has ended by itself, and how. It waits for a
// moment.
func (p *process) ended() (bool, string) {
	select {
	case <-p.exited:
	case <-time.After(dieWithin):
		return false, ""
	}
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return true, "it ended with " + exit.Error()
	}
	return true, "it ended"
}

// printed is the end of what the process printed for people.
func (p *process) printed() string { return p.errors.text() }

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
	cut  bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b[max(0, len(b)-printedMax):]...)
	if over := len(t.kept) - printedMax; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	return len(b), nil
}

// text begins with a whole line, if there is more than one: half a secret would
// not be recognised.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := string(t.kept)
	if t.cut {
		_, s, _ = strings.Cut(s, "\n")
	}
	return strings.TrimSpace(s)
}
