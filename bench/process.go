package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 15 * time.Second
	listening    = "listening on http://"
)

// process is a server that the benchmark started.
type process struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	addr    string // HOST:PORT
	started time.Time
	errs    complaints
	exited  chan struct{} // closed once err is set
	err     error
}

// launch starts a server and waits until it has said where it listens. It ends
// with stop, with ctx, or, for a peer, with the benchmark itself: input stays
// open as long as that lives.
func launch(ctx context.Context, cmd *exec.Cmd, input []byte) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, cmd.Stderr = stdin, &p.errs
	p.started = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	said := make(chan string, 1)
	go p.watch(stdout, said)
	if _, err := stdin.Write(input); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", p, err), p.stop())
	}
	select {
	case p.addr = <-said:
		return p, nil
	case <-p.exited:
		err = fmt.Errorf("ended before it listened: %w", errors.Join(p.err, errors.New(p.errs.String())))
	case <-time.After(startTimeout):
		err = fmt.Errorf("does not listen after %s", startTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(fmt.Errorf("%s: %w", p, err), p.stop())
}

// watch reads the output to its end, then waits for the process.
func (p *process) watch(stdout io.Reader, said chan<- string) {
	defer close(p.exited)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), listening); ok {
			select {
			case said <- addr:
			default: // a further address
			}
		}
	}
	p.err = errors.Join(lines.Err(), p.cmd.Wait())
}

// stop ends the process and waits for it. Nil is stopped already.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	if err := p.stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("%s: %w", p, err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", p, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%s does not stop: %s", p, p.errs.String()), p.cmd.Process.Kill())
	}
}

// String names the process in errors.
func (p *process) String() string { return strings.Join(p.cmd.Args, " ") }

// memory is what the process holds of the machine's memory, in bytes.
func (p *process) memory() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}

// complaints keeps the beginning of what a process writes to stderr.
type complaints struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *complaints) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p[:min(len(p), max(0, 4096-c.text.Len()))])
	return len(p), nil
}

func (c *complaints) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(c.text.String())
}

// peer starts this program again as a reference. seed is one line.
func peer(ctx context.Context, name string, seed []byte) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return launch(ctx, exec.CommandContext(ctx, self, "-peer", name), append(seed, '\n'))
}

// serve starts anthill with everything it keeps under dir. A provider given is
// the model's.
func (b *bench) serve(ctx context.Context, dir string, provider *process) (*process, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.binary, "serve", "--port", "0", "--log-level", "warn")
	cmd.Dir = dir
	// Nothing of the user's environment or settings may change the figures.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "ANTHILL_HOME=" + filepath.Join(dir, "home")}
	if provider != nil {
		cmd.Env = append(cmd.Env, "ANTON_PLANNING_PROVIDER=openai-compatible", "ANTON_PLANNING_MODEL=short",
			"ANTON_OPENAI_BASE_URL=http://"+provider.addr+"/v1", "ANTON_OPENAI_API_KEY=x", "ANTON_AUX_LLM=off")
	}
	return launch(ctx, cmd, nil)
}

// servers are the anthill and the provider that most rows share.
func (b *bench) servers(ctx context.Context) (anthill, provider *process, err error) {
	if b.provider == nil {
		if b.provider, err = peer(ctx, "provider", nil); err != nil {
			return nil, nil, err
		}
	}
	if b.anthill == nil {
		if b.anthill, err = b.serve(ctx, filepath.Join(b.dir, "shared"), b.provider); err != nil {
			return nil, nil, err
		}
	}
	return b.anthill, b.provider, nil
}
