package documents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// Process reads documents, each in a process of its own where its format needs
// a large parser. Such a process has a deadline and a bound on memory, and dies
// alone. Safe for concurrent use.
type Process struct {
	// Command starts a process that calls Serve: a program and its arguments.
	Command []string
	Limits  Limits
}

// Command is this program with further arguments, also once its file was
// replaced by a newer one.
func Command(args ...string) ([]string, error) {
	if runtime.GOOS == "linux" {
		return append([]string{"/proc/self/exe"}, args...), nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("documents: find this program: %w", err)
	}
	return append([]string{self}, args...), nil
}

// Extract reads a plain file. What it returns is a *Failure, the end of ctx, or
// an error of this machine, after which it may be tried again. It blocks for
// Limits.Time at most.
func (p Process) Extract(ctx context.Context, name string, file *os.File) (Text, error) {
	info, err := file.Stat()
	if err != nil {
		return Text{}, fmt.Errorf("documents: %w", err)
	}
	src := Source{Name: name, Data: file, Size: info.Size()}
	f, err := format(src)
	if err != nil {
		return Text{}, fmt.Errorf("documents: read %s: %w", name, err)
	}
	switch f.Kind {
	case Plain, Image, Legacy, Other: // small readers of our own
		return Extract(ctx, src, p.Limits)
	}
	return p.apart(ctx, name, file, f)
}

// question goes to a process as its last argument.
type question struct {
	Name   string `json:"name"`
	Limits Limits `json:"limits"`
}

// answer comes back on one line, the text behind it.
type answer struct {
	Format    Format `json:"format"`
	Truncated bool   `json:"truncated,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Broken    string `json:"broken,omitempty"` // an error of this machine
}

// Codes with which a process ends by itself before it is done.
const (
	exitMemory = 3
	exitTime   = 4
)

// apart reads a file in a process, which gets it as its standard input.
func (p Process) apart(ctx context.Context, name string, file *os.File, f Format) (Text, error) {
	limits, err := json.Marshal(question{name, p.Limits})
	if err != nil {
		return Text{}, fmt.Errorf("documents: %w", err)
	}
	// The process ends itself; this is for one that cannot any more.
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Time+5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Command[0], append(p.Command[1:len(p.Command):len(p.Command)], string(limits))...)
	cmd.Env = []string{"GOTRACEBACK=none", "GOMAXPROCS=1"} // one core of the machine at most
	cmd.Stdin = file
	out := &bounded{left: p.Limits.Text + 64<<10}
	cmd.Stdout, cmd.Stderr = out, &bounded{left: 4 << 10, drop: true}
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	exit, _ := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return parse(out.Bytes())
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Text{}, ctx.Err()
	case ctx.Err() != nil, exit != nil && exit.ExitCode() == exitTime:
		return Text{Format: f}, failure(err, "The file took longer to read than %g seconds.", p.Limits.Time.Seconds())
	case exit != nil && exit.ExitCode() == exitMemory:
		return Text{Format: f}, failure(err, "The file takes more memory to read than %d MiB.", p.Limits.Memory>>20)
	case exit != nil: // its parser broke down
		return Text{Format: f}, failure(fmt.Errorf("%w: %s", err, cmd.Stderr.(*bounded).Bytes()), reasonDamaged)
	}
	return Text{}, fmt.Errorf("documents: start a process to read %s: %w", name, err)
}

func parse(out []byte) (Text, error) {
	head, text, ok := bytes.Cut(out, []byte("\n"))
	var a answer
	if err := json.Unmarshal(head, &a); err != nil || !ok {
		return Text{}, fmt.Errorf("documents: the process that reads answered %d bytes that make no sense", len(out))
	}
	switch {
	case a.Broken != "":
		return Text{}, errors.New("documents: " + a.Broken)
	case a.Reason != "":
		return Text{Format: a.Format}, &Failure{Reason: a.Reason}
	}
	return Text{Format: a.Format, Text: string(text), Truncated: a.Truncated}, nil
}

// bounded is a buffer that takes so much and no more. It fails after that, or
// drops the rest.
type bounded struct {
	bytes.Buffer
	left int
	drop bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left && !b.drop {
		return 0, errors.New("documents: too much output")
	}
	n, err := b.Buffer.Write(p[:min(len(p), b.left)])
	b.left -= n
	return len(p), err
}
