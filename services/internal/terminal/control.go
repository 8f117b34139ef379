package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// control is a client of a tmux server that takes commands on its standard input and answers in order (tmux -C),
// so that no process is started for a key.
type control struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	gone  chan struct{} // closed when the client has ended

	write sync.Mutex // orders commands

	mu      sync.Mutex
	waiting []*reply // in the order of their commands
}

// reply is the answer to one command.
type reply struct {
	lines []string
	err   error
	done  chan struct{}
	then  *reply // of the command behind it on the same line, which is not run when this one fails
}

// answerLimit is how long a command may take. tmux answers in less than a
// millisecond; a server that was stopped or hangs must not hold callers for ever.
const answerLimit = 30 * time.Second

// dialControl starts the client; its first command attaches it to a session.
func dialControl(ctx context.Context, cmd *exec.Cmd) (*control, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("terminal: start tmux: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("terminal: start tmux: %w", err)
	}
	c := &control{cmd: cmd, stdin: stdin, gone: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("terminal: start tmux: %w", err)
	}
	attached := make(chan struct{})
	said := &strings.Builder{}
	go c.listen(stdout, attached, said)
	select {
	case <-attached:
		return c, nil
	case <-c.gone:
		return nil, fmt.Errorf("terminal: tmux ended at once: %s", clean(said.String(), 500))
	case <-ctx.Done():
		c.close()
		return nil, context.Cause(ctx)
	}
}

// listen reads answers and what tmux tells unasked, until the client ends.
func (c *control) listen(out io.Reader, attached chan struct{}, said *strings.Builder) {
	r := bufio.NewReaderSize(out, 64<<10)
	var current *reply
	var end, bad string // the lines that end the current answer
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case current != nil && (line == end || line == bad):
			if line == bad {
				current.err = errors.New(clean(strings.Join(current.lines, " "), 500))
				for r := current.then; r != nil; r = r.then {
					r.err = current.err
					close(c.next().done)
				}
			}
			close(current.done)
			current = nil
		case current != nil:
			current.lines = append(current.lines, line)
		case strings.HasPrefix(line, "%begin ") && strings.HasSuffix(line, " 1"):
			rest := strings.TrimPrefix(line, "%begin")
			if current = c.next(); current != nil {
				end, bad = "%end"+rest, "%error"+rest
			}
		case strings.HasPrefix(line, "%session-changed ") && attached != nil:
			close(attached)
			attached = nil
		case attached != nil && said.Len() < 1000:
			said.WriteString(line + " ")
		}
	}
	_ = c.cmd.Wait() // how it ended says nothing
	close(c.gone)
}

// next is the reply that the server begins to give.
func (c *control) next() *reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return nil
	}
	first := c.waiting[0]
	c.waiting = c.waiting[1:]
	return first
}

// do runs one command, made of words, and returns the lines of its answer. Once sent, it
// is carried out even if ctx ends. No line of an answer may come from a program
// in a terminal: it could look like the end.
func (c *control) do(ctx context.Context, words ...string) ([]string, error) {
	replies, err := c.send(words)
	if err != nil {
		return nil, err
	}
	return c.answer(ctx, replies[0])
}

// send sends commands as one line: tmux does nothing else between them, and
// leaves out what is behind one that fails.
func (c *control) send(commands ...[]string) ([]*reply, error) {
	var line []byte
	for i, words := range commands {
		if i > 0 {
			line = append(line, " ; "...)
		}
		line = command(line, words...)
	}
	return c.post(line, len(commands))
}

// either runs one of two commands and returns the lines of its answer: yes if a
// format about a target is true, else no. tmux does nothing else between the
// look and the command.
func (c *control) either(ctx context.Context, target, format string, yes, no []string) ([]string, error) {
	line := command(nil, "if-shell", "-F", "-t", target, format, string(command(nil, yes...)), string(command(nil, no...)))
	replies, err := c.post(line, 2) // the look is answered, too
	if err != nil {
		return nil, err
	}
	return c.answer(ctx, replies[1])
}

// post sends a line with so many commands.
func (c *control) post(line []byte, commands int) ([]*reply, error) {
	replies := make([]*reply, commands)
	for i := range replies {
		replies[i] = &reply{done: make(chan struct{})}
		if i > 0 {
			replies[i-1].then = replies[i]
		}
	}
	c.write.Lock()
	defer c.write.Unlock()
	c.mu.Lock()
	c.waiting = append(c.waiting, replies...)
	c.mu.Unlock()
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("%w: tmux is gone: %w", ErrGone, err)
	}
	return replies, nil
}

func (c *control) answer(ctx context.Context, r *reply) ([]string, error) {
	limit := time.NewTimer(answerLimit)
	defer limit.Stop()
	select {
	case <-r.done:
		return r.lines, r.err
	case <-c.gone:
		select {
		case <-r.done:
			return r.lines, r.err
		default:
			return nil, fmt.Errorf("%w: tmux is gone", ErrGone)
		}
	case <-limit.C:
		return nil, fmt.Errorf("terminal: tmux did not answer within %v", answerLimit)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// close ends the client; the server and its terminals live on.
func (c *control) close() {
	_ = c.stdin.Close() // tmux ends its client by it
	select {
	case <-c.gone:
	case <-time.After(2 * time.Second):
		_ = c.cmd.Process.Kill() // our own child, not waited for yet
		<-c.gone
	}
}

// command appends a command for tmux to a line.
func command(line []byte, words ...string) []byte {
	for i, w := range words {
		if i > 0 {
			line = append(line, ' ')
		}
		line = quote(line, w)
	}
	return line
}

// quote appends a word such that tmux reads it byte for byte: what is not plain is octal.
func quote(line []byte, word string) []byte {
	line = append(line, '"')
	for i := range len(word) {
		c := word[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(" _-./:=,%@+[]{}#", c) >= 0 {
			line = append(line, c)
		} else {
			line = append(line, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		}
	}
	return append(line, '"')
}
