package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/creack/pty"
)

const (
	targetPTY      = 1.0
	targetTmux     = 0.9
	targetEchoPTY  = 1.2 // at most
	targetEchoTmux = 1.5

	floodBytes = 64 << 20 // of output
	echoes     = 300      // keys of one measurement
)

// floodEnd stands once, behind the flood; the program is told it in two parts, so that it is not seen before.
const floodEnd = "<END OF THE FLOOD>"

// floodScript waits for a line, prints a file and the end.
const floodScript = `stty -echo; read go; cat "$0"; printf '<END OF %s>' 'THE FLOOD'; read more`

// echoScript gives back each byte as it comes.
const echoScript = `stty raw -echo; printf ready; cat`

// terminals measures how fast output gets to a client of /ws. Beside the PTY host stands the least that can bring a
// terminal to a WebSocket; beside tmux, tmux alone with pipe-pane into a file.
func (b *bench) terminals(host string) func(context.Context) ([]result, error) {
	return func(ctx context.Context) (results []result, err error) {
		file := filepath.Join(b.dir, "flood")
		if err := writeFlood(file); err != nil {
			return nil, err
		}
		anthill, err := b.terminalServer(ctx, host)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.stopTerminals(anthill, host)) }()
		ours := func(context.Context) (float64, error) { return floodOver(anthill.addr, "", file) }
		if host == "tmux" {
			p, err := b.alternate(ctx, ours, func(ctx context.Context) (float64, error) { return b.floodTmux(ctx, file) })
			return []result{atLeast("terminal, tmux: 64 MiB to a WebSocket / tmux pipe-pane", " MB/s", p, targetTmux)}, err
		}
		peer, err := peer(ctx, "terminal", []byte(file))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, peer.stop()) }()
		p, err := b.alternate(ctx, ours, func(context.Context) (float64, error) { return floodOver(peer.addr, "/flood", "") })
		return []result{atLeast("terminal, PTY: 64 MiB to a WebSocket / bare PTY and WebSocket", " MB/s", p, targetPTY)}, err
	}
}

func (b *bench) terminalPTY(ctx context.Context) ([]result, error) { return b.terminals("pty")(ctx) }

func (b *bench) terminalTmux(ctx context.Context) ([]result, error) {
	if _, err := exec.LookPath("tmux"); err != nil {
		return []result{{path: "terminal, tmux", anthill: none, reference: none, ratio: none, target: none, verdict: "no tmux"}}, nil
	}
	return b.terminals("tmux")(ctx)
}

// echo measures how long a key takes to come back.
func (b *bench) echo(ctx context.Context) (results []result, err error) {
	peer, err := peer(ctx, "terminal", nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.stop()) }()
	for _, k := range []struct {
		host   string
		target float64
	}{{"pty", targetEchoPTY}, {"tmux", targetEchoTmux}} {
		if _, err := exec.LookPath(k.host); k.host == "tmux" && err != nil {
			continue
		}
		anthill, err := b.terminalServer(ctx, k.host)
		if err != nil {
			return results, err
		}
		p, err := b.alternate(ctx, func(context.Context) (float64, error) { return echoOver(anthill.addr, "") },
			func(context.Context) (float64, error) { return echoOver(peer.addr, "/echo") })
		if err = errors.Join(err, b.stopTerminals(anthill, k.host)); err != nil {
			return results, err
		}
		ratio := median(p.ratios())
		results = append(results, result{path: "echo of a key, " + k.host + " / bare PTY and WebSocket", anthill: fmt.Sprintf("%.0f us", median(p.ours)),
			reference: fmt.Sprintf("%.0f us", median(p.reference)), ratio: fmt.Sprintf("%.2f", ratio), target: fmt.Sprintf("<= %.2f", k.target), verdict: verdict(ratio <= k.target)})
	}
	return results, nil
}

// writeFlood writes a file that a terminal shows as about floodBytes.
func writeFlood(path string) error {
	line := strings.Repeat("some text that a build prints, with a number at its end ", 2)
	var out bytes.Buffer
	for i := 0; out.Len() < floodBytes; i++ {
		fmt.Fprintf(&out, "%s%d\n", line[:40+i%70], i)
	}
	return os.WriteFile(path, out.Bytes(), 0o600)
}

// terminalServer is an anthill of its own, whose terminals have a host.
func (b *bench) terminalServer(ctx context.Context, host string) (*process, error) {
	dir := filepath.Join(b.dir, "terminals-"+host)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.binary, "serve", "--port", "0", "--log-level", "warn", "--terminal-host", host)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "ANTHILL_HOME=" + filepath.Join(dir, "home")}
	return launch(ctx, cmd, nil)
}

// stopTerminals stops a server, and the tmux that would outlive it.
func (b *bench) stopTerminals(p *process, host string) error {
	err := p.stop()
	socket := filepath.Join(b.dir, "terminals-"+host, "home", "terminals", "tmux", "tmux.sock")
	if _, gone := os.Stat(socket); gone == nil {
		_ = exec.Command("tmux", "-S", socket, "kill-server").Run() // it has ended with its last terminal, mostly
	}
	return err
}

// program is a terminal that a client is connected to.
type program struct {
	*socket
	types func(text string) error
	end   func() error
}

// anthillProgram runs a program in a terminal of anthill.
func anthillProgram(addr string, command ...string) (*program, error) {
	var made struct {
		ID string `json:"id"`
	}
	body, err := once(addr, request(http.MethodPost, addr, "/api/sessions", fmt.Sprintf(`{"name":"terminal-%d","type":"terminal"}`, time.Now().UnixNano())))
	if err == nil {
		err = json.Unmarshal(body, &made)
	}
	if err != nil {
		return nil, err
	}
	start, err := json.Marshal(map[string]any{"command": command})
	if err != nil {
		return nil, err
	}
	if _, err := once(addr, request(http.MethodPost, addr, "/api/sessions/"+made.ID+"/terminal/start", string(start))); err != nil {
		return nil, err
	}
	s, err := dialSocket(addr, "/ws")
	if err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(clientFrame(opText, []byte(`{"type":"join_session","sessionId":"`+made.ID+`","spawnPty":true,"cols":120,"rows":30}`))); err != nil {
		return nil, err
	}
	if err := s.await(`"session_health"`); err != nil {
		return nil, err
	}
	return &program{s, func(text string) error {
		_, err := s.conn.Write(clientFrame(opText, []byte(`{"type":"terminal_input","sessionId":"`+made.ID+`","data":"`+text+`"}`)))
		return err
	}, func() error {
		_, err := once(addr, request(http.MethodDelete, addr, "/api/sessions/"+made.ID+"/terminal", ""))
		return errors.Join(err, s.conn.Close())
	}}, nil
}

// bareProgram runs the program of the reference.
func bareProgram(addr, path string) (*program, error) {
	s, err := dialSocket(addr, path)
	if err != nil {
		return nil, err
	}
	return &program{s, func(text string) error {
		_, err := s.conn.Write(clientFrame(opBinary, []byte(strings.ReplaceAll(text, `\r`, "\r"))))
		return err
	}, s.conn.Close}, nil
}

func openProgram(addr, path, script, argument string) (*program, error) {
	if path != "" {
		return bareProgram(addr, path)
	}
	return anthillProgram(addr, "sh", "-c", script, argument)
}

// floodOver lets a program print all of the flood, and returns MB/s up to its end at the client.
func floodOver(addr, path, file string) (float64, error) {
	p, err := openProgram(addr, path, floodScript, file)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := p.types(`\r`); err != nil {
		return 0, err
	}
	if err := p.scan(floodEnd); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return floodBytes / took.Seconds() / 1e6, p.end()
}

// echoOver returns how long keys take to come back, in microseconds, p50.
func echoOver(addr, path string) (float64, error) {
	p, err := openProgram(addr, path, echoScript, "")
	if err != nil {
		return 0, err
	}
	if err := p.scan("ready"); err != nil {
		return 0, err
	}
	var all []time.Duration
	for i := range echoes {
		key := string(rune('A' + i%26))
		began := time.Now()
		if err := p.types(key); err != nil {
			return 0, err
		}
		if err := p.scan(key); err != nil {
			return 0, err
		}
		all = append(all, time.Since(began))
		time.Sleep(5 * time.Millisecond) // people are slower still
	}
	return float64(percentile(all, 0.5).Microseconds()), p.end()
}

// scan reads until the bytes that come have a text, and no further than what has come.
func (s *socket) scan(want string) error {
	var held []byte
	for {
		if _, err := s.r.Peek(1); err != nil {
			return fmt.Errorf("waiting for %s: %w", want, err)
		}
		part, err := s.r.Peek(s.r.Buffered())
		if err != nil {
			return err
		}
		held = append(held, part...)
		if _, err := s.r.Discard(len(part)); err != nil {
			return err
		}
		if bytes.Contains(held, []byte(want)) {
			return nil
		}
		held = held[max(0, len(held)-len(want)+1):]
	}
}

// floodTmux lets tmux alone record the flood in a file, and returns MB/s.
func (b *bench) floodTmux(ctx context.Context, file string) (_ float64, err error) {
	dir, err := os.MkdirTemp("", "tmux-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	socket, out := filepath.Join(dir, "s"), filepath.Join(dir, "out")
	tmux := func(args ...string) error {
		c := exec.CommandContext(ctx, "tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8", "TERM=xterm-256color"}
		if said, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("tmux: %w: %s", err, said)
		}
		return nil
	}
	if err := tmux("new-session", "-d", "-s", "flood", "-x", "120", "-y", "30", "sh", "-c", floodScript, file); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tmux("kill-server")) }()
	if err := tmux("pipe-pane", "-t", "flood", "cat > "+out); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := tmux("send-keys", "-t", "flood", "Enter"); err != nil {
		return 0, err
	}
	for ended := false; !ended; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		time.Sleep(5 * time.Millisecond)
		if ended, err = endsWith(out, floodEnd); err != nil {
			return 0, err
		}
	}
	return floodBytes / time.Since(began).Seconds() / 1e6, nil
}

// endsWith says whether a file ends with a text.
func endsWith(path, text string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < int64(len(text)) {
		return false, err
	}
	tail := make([]byte, len(text))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(text))); err != nil {
		return false, err
	}
	return string(tail) == text, nil
}

// terminalPeer is the least that brings a terminal to a WebSocket: what is read of a PTY is a frame, and what comes is
// written to it.
func terminalPeer(file string) func(net.Listener) error {
	return (&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		script := floodScript
		if r.URL.Path == "/echo" {
			script = echoScript
		}
		cmd := exec.Command("sh", "-c", script, file)
		tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 120, Rows: 30})
		if err != nil {
			return
		}
		defer cmd.Wait()
		defer tty.Close()
		go func() {
			defer tty.Close()
			for {
				_, p, err := conn.Read(context.Background())
				if err != nil {
					return
				}
				if _, err := tty.Write(p); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, 64<<10)
		for {
			n, err := tty.Read(buf)
			if err != nil || conn.Write(context.Background(), websocket.MessageBinary, buf[:n]) != nil {
				return
			}
		}
	})}).Serve
}
