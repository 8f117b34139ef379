package kernel

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// guarded is a program behind the guard, which ends with all that it started:
// when it is told to, when the program ends, and when this process does.
type guarded struct {
	cmd     *exec.Cmd
	control *os.File // to the guard
	mark    string   // of the program and all that it starts
	gone    chan struct{}
	// Once gone is closed:
	code   int  // of the program
	killed bool // the guard itself was: it may have left something
}

// clearing is how long the guard may take to end what is left of a program.
const clearing = 6 * time.Second

// guard starts a program in dir. extra are handed to it as descriptors 4 and on;
// out and errs may be the same. The caller keeps them, and closes them.
func (e *Engine) guard(py *interpreter, program []string, dir string, env []string, out, errs *os.File, extra ...*os.File) (*guarded, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("kernel: make a pipe: %w", err)
	}
	args := append([]string{"-I", "-S", filepath.Join(e.opt.Dir, guardProgram),
		strconv.FormatFloat(stopGrace.Seconds(), 'f', -1, 64), "3"}, program...)
	g := &guarded{cmd: exec.Command(py.path, args...), control: ours, mark: rand.Text(), gone: make(chan struct{})}
	g.cmd.Dir, g.cmd.Env = dir, append(slices.Clip(env), marked+g.mark)
	g.cmd.Stdout, g.cmd.Stderr = out, errs
	g.cmd.ExtraFiles = append([]*os.File{theirs}, extra...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = g.cmd.Start()
	if closed := theirs.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kernel: start %s: %w", py.path, err), ours.Close())
	}
	go func() {
		defer close(g.gone)
		err := g.cmd.Wait()
		if g.code = g.cmd.ProcessState.ExitCode(); g.code < 0 {
			g.killed, g.code = true, 128+int(syscall.SIGKILL)
			hunt(g.mark)
		}
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			e.opt.Log.Warn("wait for a process", "error", err)
		}
	}()
	return g, nil
}

// end ends the program within grace and waits for it. now: at once.
func (g *guarded) end(grace time.Duration) {
	if grace <= 0 {
		_, _ = g.control.Write([]byte("k")) // it fails only if the guard is gone
	}
	_ = g.control.Close() // as does a second end
	timer := time.NewTimer(grace + clearing)
	defer timer.Stop()
	select {
	case <-g.gone:
		return
	case <-timer.C:
	}
	// The guard does not answer; on Linux its end is that of the program.
	_ = g.cmd.Process.Kill() // it may be over by now
	<-g.gone
}

// interrupt sends the signal of Ctrl-C to a process group.
func interrupt(group int) { _ = syscall.Kill(-group, syscall.SIGINT) } // whoever is gone needs none

// kill ends a process group.
func kill(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) } // whoever is gone needs none

// blocking makes a pipe's end one that programs expect.
func blocking(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = syscall.SetNonblock(int(fd), false) }); err != nil {
		return err
	}
	return failed
}

// ending describes an exit code as half a sentence.
func ending(code int) string {
	if n := syscall.Signal(code - 128); code > 128 && code < 128+65 {
		if n == syscall.SIGKILL {
			return "it was killed (signal 9), perhaps because it used too much memory"
		}
		return fmt.Sprintf("signal %d (%s)", n, n)
	}
	return fmt.Sprintf("exit code %d", code)
}

// capture runs a program behind the guard and returns the end of what it prints.
// ctx ends it.
func (e *Engine) capture(ctx context.Context, py *interpreter, program []string, dir string, env []string) (printed string, code int, err error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return "", 0, fmt.Errorf("kernel: make a pipe: %w", err)
	}
	defer ours.Close() //nolint:errcheck // it was only read
	err = blocking(theirs)
	var g *guarded
	if err == nil {
		g, err = e.guard(py, program, dir, env, theirs, theirs)
	}
	err = errors.Join(err, theirs.Close())
	if err != nil {
		return "", 0, err
	}
	text := newText(printedMost)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 8<<10)
		for {
			n, err := ours.Read(buf)
			text.add(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-g.gone:
		g.end(0)
	case <-ctx.Done():
		g.end(0)
		err = context.Cause(ctx)
	}
	select {
	case <-read:
	case <-time.After(time.Second): // somebody outside of the guard's reach has the other end
		_ = ours.Close() // it was only read
		<-read
	}
	text.end()
	return text.String(), g.code, err
}

const printedMost = 16 << 10 // bytes that are kept of what an installer prints
