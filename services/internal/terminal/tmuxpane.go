package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"anthill/services/internal/terminal/launcher"
)

// pane is a terminal in tmux.
type pane struct {
	host   *tmuxHost
	id     string
	target string // such as %5, of this server only
	leader int    // leads the session: a launcher
	pid    int
	dir    string

	once sync.Once
	done chan struct{}
	exit Exit // once done is closed
}

func (p *pane) update(s paneState, there bool) {
	if there && !s.dead {
		return
	}
	p.once.Do(func() {
		if p.exit = s.exit; !there {
			p.exit = Exit{Code: -1}
		}
		if code, sig, known := launcher.Status(p.dir); known {
			p.exit = Exit{Code: code, Signal: sig}
		}
		p.exit.Ended = time.Now()
		close(p.done)
	})
}

// await sees the end of the program to tmux: 3.3a misses it now and then, when it
// has just started a process, and leaves a zombie until another one ends.
func (p *pane) await() {
	if !awaitExit(p.host.base, p.leader) {
		return
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, pollEvery) {
		notify(p.host.poke)
		select {
		case <-p.done:
			return
		case <-p.host.base.Done():
			return
		case <-time.After(wait):
		}
		if c, err := p.host.client(p.host.base); err == nil {
			_, _ = c.do(p.host.base, "run-shell", "-b", ":") // its end makes tmux look
		}
	}
}

func (p *pane) Pid() int              { return p.pid }
func (p *pane) Leader() int           { return p.leader }
func (p *pane) Done() <-chan struct{} { return p.done }
func (p *pane) Exit() Exit            { return p.exit }

// do runs a command about the pane.
func (p *pane) do(ctx context.Context, words ...string) ([]string, error) {
	select {
	case <-p.done:
		return nil, ErrGone
	default:
	}
	c, err := p.host.client(ctx)
	if err != nil {
		return nil, err
	}
	lines, err := c.do(ctx, words...)
	if err != nil {
		return nil, gone(err)
	}
	return lines, nil
}

// Sizes of input.
const (
	keysMost  = 512      // more than this is pasted from a buffer
	pasteMost = 64 << 10 // of one buffer: other terminals get their turn between two
)

const hexDigits = "0123456789abcdef"

// Write implements Process.
func (p *pane) Write(ctx context.Context, data []byte) error {
	if len(data) <= keysMost {
		words := []string{"send-keys", "-H", "-t", p.target}
		for _, c := range data {
			words = append(words, string([]byte{hexDigits[c>>4], hexDigits[c&15]}))
		}
		_, err := p.do(ctx, words...)
		return err
	}
	path := filepath.Join(p.dir, "input")
	defer func() { _ = os.Remove(path) }() // the next one overwrites it
	for ; len(data) > 0; data = data[min(pasteMost, len(data)):] {
		if err := os.WriteFile(path, data[:min(pasteMost, len(data))], 0o600); err != nil {
			return fmt.Errorf("terminal: write input: %w", err)
		}
		if _, err := p.do(ctx, "load-buffer", "-b", sessionPrefix+p.id, path); err != nil {
			return err
		}
		if err := p.paste(ctx, sessionPrefix+p.id); err != nil {
			return err
		}
	}
	return nil
}

// paste types a buffer and deletes it. tmux 3.3a crashes, with every terminal in it, when it pastes into one whose
// program has ended, so it has to look in the same moment.
func (p *pane) paste(ctx context.Context, buffer string) error {
	c, err := p.host.client(ctx)
	if err != nil {
		return err
	}
	said, err := c.either(ctx, p.target, "#{pane_dead}", []string{"display-message", "-p", paneGone}, []string{"paste-buffer", "-d", "-r", "-b", buffer, "-t", p.target})
	if err != nil {
		return gone(err)
	}
	if len(said) > 0 {
		_, err = c.do(ctx, "delete-buffer", "-b", buffer)
		return errors.Join(ErrGone, err)
	}
	return nil
}

// paneGone is what tmux is to say of a terminal whose program has ended.
const paneGone = "gone"

// gone tells that a terminal is not there any more, if that is what an error says.
func gone(err error) error {
	if strings.Contains(err.Error(), "can't find") {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

// Resize implements Process.
func (p *pane) Resize(ctx context.Context, cols, rows int) error {
	_, err := p.do(ctx, "resize-window", "-t", p.target, "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows))
	return err
}

// Screen implements Process. What programs printed must not come through the
// client that carries commands: a process of its own asks.
func (p *pane) Screen(ctx context.Context) ([]byte, error) {
	lines, err := p.do(ctx, "display-message", "-p", "-t", p.target, "#{cursor_y} #{cursor_x}")
	if err != nil {
		return nil, err
	}
	var row, col int
	if _, err := fmt.Sscan(strings.Join(lines, " "), &row, &col); err != nil {
		return nil, fmt.Errorf("terminal: read the cursor: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.host.opt.program, p.host.args("capture-pane", "-e", "-p", "-t", p.target)...)
	cmd.Env, cmd.Dir = p.host.environ(), "/"
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("terminal: capture the screen: %w", err)
	}
	shown := bytes.ReplaceAll(bytes.TrimSuffix(out, []byte{'\n'}), []byte{'\n'}, []byte("\x1b[0m\r\n"))
	return fmt.Appendf(nil, "\x1b[H\x1b[2J%s\x1b[0m\x1b[%d;%dH", shown, row+1, col+1), nil
}

// Release implements Process.
func (p *pane) Release(ctx context.Context) error {
	p.host.mu.Lock()
	delete(p.host.panes, p.id)
	p.host.mu.Unlock()
	c, err := p.host.client(ctx)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, "kill-session", "-t", "="+sessionPrefix+p.id)
	if err != nil && strings.Contains(err.Error(), "can't find") {
		return nil
	}
	return err
}
