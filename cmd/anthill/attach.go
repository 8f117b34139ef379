package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"golang.org/x/term"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
)

type attachFlags struct {
	server, detach, cwd string
	readOnly            bool
}

func newAttach(v *viper.Viper) *cobra.Command {
	var f attachFlags
	c := &cobra.Command{
		Use:   "attach TERMINAL",
		Short: "Work in a terminal",
		Long: `Show the terminal of a session in this one, and type into it. TERMINAL is an id, a
@handle or a name. What does not run yet is started. The detach key leaves and
lets the program run on; the end of the program ends this, with its exit code.
When the server goes away, this waits for it and goes on where it was.

In a pipe, everything that the terminal prints from now on is passed on, and
standard input is typed.`,
		Example: `  anthill attach @build
  anthill attach --read-only build
  echo make | anthill attach build`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			key, err := keyNamed(f.detach)
			if err != nil {
				return err
			}
			conn, err := connect(cfg, f.server)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is left to lose
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGHUP)
			defer stop()
			a := &attached{conn: conn, flags: f, key: key, in: os.Stdin, out: os.Stdout, notes: c.ErrOrStderr()}
			err = a.run(ctx, args[0])
			if ctx.Err() != nil {
				return nil // asked to end
			}
			return err
		},
	}
	c.Flags().StringVar(&f.server, "server", "", serverUsage)
	c.Flags().StringVar(&f.detach, "detach-key", "ctrl-]", "the `KEY` that leaves, such as ctrl-] or ctrl-\\")
	c.Flags().StringVar(&f.cwd, "cwd", "", "`DIR` that a terminal is started in (default the session's)")
	c.Flags().BoolVar(&f.readOnly, "read-only", false, "only show it: type nothing, start nothing, leave its size alone")
	c.ValidArgsFunction = complete(v, &f.server, roomNames)
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions, "detach-key": cobra.NoFileCompletions})
	return c
}

// keyNamed is the byte that a key with ctrl sends.
func keyNamed(name string) (byte, error) {
	rest, ok := strings.CutPrefix(strings.ToLower(name), "ctrl-")
	if ok && len(rest) == 1 {
		if c := strings.ToUpper(rest)[0]; c >= '@' && c <= '_' {
			return c & 0x1f, nil
		}
	}
	return 0, fmt.Errorf("--detach-key must be ctrl- and a letter or one of @ [ \\ ] ^ _, not %q", name)
}

// attached is this terminal while it shows another one.
type attached struct {
	conn    *client
	flags   attachFlags
	key     byte // that leaves
	in, out *os.File
	notes   io.Writer
	tty     bool // a person sits here
	id      string

	typed   chan []byte // from standard input; closed at its end
	pending []byte      // typed while there is no server
	resized chan os.Signal

	begun  bool   // a stream has shown something of the terminal
	offset uint64 // of what is not shown yet
	asks   asks
}

// Ways in which it ends.
var errDetached = errors.New("detached")

const pendingMost = 64 << 10

// run returns when the person leaves, or the program in the terminal or ctx ends.
func (a *attached) run(ctx context.Context, ref string) error {
	room, err := findRoom(ctx, a.conn, ref)
	if err != nil {
		return err
	}
	if room.Type != "terminal" {
		return fmt.Errorf("%s is a %s, which has no terminal", printable(room.Name), room.Type)
	}
	a.id = room.Id
	a.tty = term.IsTerminal(int(a.in.Fd())) && term.IsTerminal(int(a.out.Fd()))
	a.typed, a.resized = make(chan []byte), make(chan os.Signal, 1)
	if a.tty {
		fmt.Fprintf(a.notes, "attached to %s; %s leaves\n", printable(room.Name), a.flags.detach)
		before, err := term.MakeRaw(int(a.in.Fd()))
		if err != nil {
			return fmt.Errorf("prepare this terminal: %w", err)
		}
		defer a.restore(before)
		signal.Notify(a.resized, syscall.SIGWINCH)
		defer signal.Stop(a.resized)
	}
	go a.read(ctx)
	err = a.follow(ctx)
	if errors.Is(err, errDetached) {
		return nil
	}
	return err
}

// plainScreen takes back what a program may have made of this terminal.
const plainScreen = "\x1b[?1049l\x1b[r\x1b[?6l\x1b[4l\x1b[20l\x1b[?7h\x1b[?25h\x1b[?1l\x1b>\x1b[?2004l\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b(B\x1b)B\x0f\x1b[m\x1b[0 q\x1b[999;1H\r\n"

func (a *attached) restore(before *term.State) {
	_, _ = io.WriteString(a.out, plainScreen) // a terminal that is gone needs nothing
	_ = term.Restore(int(a.in.Fd()), before)
}

// read passes standard input on, until its end.
func (a *attached) read(ctx context.Context) {
	defer close(a.typed)
	for {
		buf := make([]byte, 32<<10)
		n, err := a.in.Read(buf)
		if n > 0 {
			select {
			case a.typed <- buf[:n]:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// follow shows the terminal, over as many streams as it takes.
func (a *attached) follow(ctx context.Context) error {
	pause := firstPause
	for {
		before := a.begun
		heard, err := a.once(ctx)
		switch code := status.Code(err); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil, errors.Is(err, errDetached), errors.As(err, new(exitCode)):
			return err
		case errors.Is(err, errLocal):
			return err
		case !before && !heard, code != codes.Unavailable && code != codes.Canceled && !errors.Is(err, io.EOF):
			return a.conn.explain(err)
		}
		if heard {
			pause = firstPause
			a.note("the server is gone; waiting for it")
		}
		if err := a.wait(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*2, lastPause)
		if c, ok := a.conn.ClientConnInterface.(interface{ ResetConnectBackoff() }); ok {
			c.ResetConnectBackoff() // the pauses are ours
		}
	}
}

// errLocal is what went wrong at this end.
var errLocal = errors.New("attach")

func (a *attached) note(text string) {
	end := "\n"
	if a.tty {
		end = "\r\n"
	}
	fmt.Fprint(a.notes, text, end)
}

// wait waits for the next attempt. What is typed meanwhile is kept.
func (a *attached) wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		typed := a.typed
		if len(a.pending) > pendingMost {
			typed = nil
		}
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case p, ok := <-typed:
			if !ok {
				a.typed = nil
				continue
			}
			p, leave := a.cut(p)
			if leave {
				return errDetached
			}
			a.pending = append(a.pending, p...)
		}
	}
}

// cut is what is to be typed of what came from standard input, and whether that was the key that leaves.
func (a *attached) cut(p []byte) (typed []byte, leave bool) {
	if a.tty {
		if i := bytes.IndexByte(p, a.key); i >= 0 {
			p, leave = p[:i], true
		}
	}
	if a.flags.readOnly {
		p = nil
	}
	return p, leave
}

type attachClient = antv1.TerminalsService_AttachTerminalClient

// once is one stream; heard says that the server answered.
func (a *attached) once(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := antv1.NewTerminalsServiceClient(a.conn).AttachTerminal(a.conn.with(ctx))
	if err == nil {
		err = stream.Send(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Open{Open: a.open()}})
	}
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: Recv says why
		return false, err
	}
	first, err := stream.Recv()
	if err != nil {
		return false, err
	}
	if a.begun && !first.GetHealth().GetAlive() {
		return true, a.tellEnd(ctx, stream)
	}
	shown := make(chan error, 1)
	go func() { shown <- a.show(stream, first) }()
	err = a.say(stream, shown)
	if errors.Is(err, errDetached) {
		_ = stream.CloseSend() // it never fails
		time.AfterFunc(lastTyped, cancel)
		select {
		case <-shown:
		case <-time.After(2 * lastTyped): // this terminal takes nothing any more
		}
	}
	return true, err
}

// lastTyped is how long the server has for what was typed last, of which it says nothing.
const lastTyped = 100 * time.Millisecond

func (a *attached) open() *antv1.AttachOpen {
	o := &antv1.AttachOpen{SessionId: a.id, Spawn: !a.flags.readOnly && !a.begun, Cwd: a.flags.cwd, Size: a.size()}
	switch {
	case a.begun:
		o.From = &a.offset
	case !a.tty:
		now := uint64(math.MaxInt64) // what comes from now on
		o.From = &now
	}
	return o
}

// size is that of this terminal; nil: it has none, or leaves the other one alone.
func (a *attached) size() *antv1.TerminalSize {
	if !a.tty || a.flags.readOnly {
		return nil
	}
	cols, rows, err := term.GetSize(int(a.out.Fd()))
	if err != nil || cols < 1 || rows < 1 {
		return nil
	}
	return &antv1.TerminalSize{Cols: int32(min(cols, 1000)), Rows: int32(min(rows, 1000))}
}

// say passes on what is typed here until the stream ends.
func (a *attached) say(stream attachClient, shown <-chan error) error {
	send := func(p []byte) {
		// A stream that has ended says why to who reads it.
		_ = stream.Send(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Input{Input: p}})
	}
	if len(a.pending) > 0 {
		send(a.pending)
		a.pending = nil
	}
	for {
		select {
		case err := <-shown:
			return err
		case <-a.resized:
			if s := a.size(); s != nil {
				_ = stream.Send(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Resize{Resize: s}})
			}
		case p, ok := <-a.typed:
			if !ok {
				a.typed = nil
				_ = stream.CloseSend() // output goes on
				continue
			}
			p, leave := a.cut(p)
			if len(p) > 0 {
				send(p)
			}
			if leave {
				return errDetached
			}
		}
	}
}

// show prints what a stream brings, until it or the program in the terminal ends.
func (a *attached) show(stream attachClient, m *antv1.AttachTerminalResponse) error {
	for {
		switch m := m.Message.(type) {
		case *antv1.AttachTerminalResponse_Health:
			a.asks.answered = m.Health.Host == "tmux"
			if !m.Health.Alive && a.flags.readOnly {
				a.note("nothing runs there; waiting")
			}
		case *antv1.AttachTerminalResponse_Output:
			if err := a.print(m.Output); err != nil {
				return err
			}
		case *antv1.AttachTerminalResponse_Exit:
			return a.exit(m.Exit)
		case *antv1.AttachTerminalResponse_Refusal:
			if !a.begun {
				return fmt.Errorf("%w: %s", errLocal, m.Refusal.Message)
			}
			a.note(printable(m.Refusal.Message))
		}
		var err error
		if m, err = stream.Recv(); err != nil {
			return err
		}
	}
}

// forget empties what is above a screen: here that is the person's own.
const forget = "\x1b[3J"

func (a *attached) print(o *antv1.TerminalOutput) error {
	data := o.Data
	a.begun, a.offset = true, o.Offset+uint64(len(data))
	switch {
	case o.Replay:
		data, a.offset = bytes.Replace(data, []byte(forget), nil, 1), o.Offset
	case a.tty:
		data = a.asks.without(data)
	}
	if o.Truncated {
		a.note("some of the output is no longer kept")
	}
	if _, err := a.out.Write(data); err != nil {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	return nil
}

// exit is what the end of the program makes of this one.
func (a *attached) exit(x *antv1.TerminalExit) error {
	a.begun = true
	switch {
	case x.Signal != 0:
		return exitCode(128 + x.Signal)
	case x.Code != 0:
		return exitCode(x.Code & 0xff)
	}
	return nil
}

// tellEnd shows what is left of a terminal that ended while there was no server.
func (a *attached) tellEnd(ctx context.Context, stream attachClient) error {
	t, err := antv1.NewTerminalsServiceClient(a.conn).GetTerminal(a.conn.with(ctx), &antv1.GetTerminalRequest{SessionId: a.id})
	if err != nil {
		return err
	}
	for a.offset < uint64(t.EndOffset) {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if o := m.GetOutput(); o != nil {
			if err := a.print(o); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%w: the terminal has ended", errLocal)
}
