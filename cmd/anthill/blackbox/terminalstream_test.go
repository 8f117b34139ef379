package blackbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
)

// viewer is a gRPC client attached to a terminal.
type viewer struct {
	t *testing.T
	antv1.TerminalsService_AttachTerminalClient
	cancel context.CancelFunc
	all    strings.Builder // what came, without replays
	next   uint64
	seen   bool
	replay string
	alive  bool
	exits  []*antv1.TerminalExit
}

// view attaches; the first message says whether the terminal runs.
func (s *server) view(o *antv1.AttachOpen) *viewer {
	s.t.Helper()
	conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	s.t.Cleanup(cancel)
	if s.opts.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", s.opts.key)
	}
	stream, err := antv1.NewTerminalsServiceClient(conn).AttachTerminal(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	v := &viewer{t: s.t, TerminalsService_AttachTerminalClient: stream, cancel: cancel}
	v.open(o)
	return v
}

func (v *viewer) open(o *antv1.AttachOpen) {
	v.t.Helper()
	if err := v.Send(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Open{Open: o}}); err != nil && !errors.Is(err, io.EOF) { // refused by then: Recv says why
		v.t.Fatal(err)
	}
}

// step takes one message.
func (v *viewer) step() *antv1.AttachTerminalResponse {
	v.t.Helper()
	m, err := v.Recv()
	if err != nil {
		v.t.Fatalf("%v after %q", err, v.all.String()[max(0, v.all.Len()-300):])
	}
	switch m := m.Message.(type) {
	case *antv1.AttachTerminalResponse_Health:
		v.alive = m.Health.Alive
	case *antv1.AttachTerminalResponse_Exit:
		v.exits = append(v.exits, m.Exit)
	case *antv1.AttachTerminalResponse_Output:
		v.take(m.Output)
	}
	return m
}

func (v *viewer) take(o *antv1.TerminalOutput) {
	v.t.Helper()
	if o.Replay {
		v.replay, v.next, v.seen = string(o.Data), o.Offset, true
		return
	}
	if v.seen && o.Offset != v.next || o.Truncated {
		v.t.Fatalf("output at %d, want %d (truncated: %v)", o.Offset, v.next, o.Truncated)
	}
	if len(o.Data) == 0 || len(o.Data) > 64<<10 {
		v.t.Errorf("output of %d bytes", len(o.Data))
	}
	v.next, v.seen = o.Offset+uint64(len(o.Data)), true
	v.all.Write(o.Data)
}

func (v *viewer) shows(text string) {
	v.t.Helper()
	for !strings.Contains(v.all.String(), text) {
		v.step()
	}
}

func (v *viewer) hears(alive bool) {
	v.t.Helper()
	for v.alive != alive {
		v.step()
	}
}

func (v *viewer) refused(reason string) {
	v.t.Helper()
	for {
		if r := v.step().GetRefusal(); r != nil {
			if r.Reason != reason || r.Message == "" {
				v.t.Errorf("refused with %v, want %s", r, reason)
			}
			return
		}
	}
}

func (v *viewer) types(text string) {
	v.t.Helper()
	if err := v.Send(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Input{Input: []byte(text)}}); err != nil {
		v.t.Fatal(err)
	}
}

func (v *viewer) resize(cols, rows int32) {
	v.t.Helper()
	if err := v.Send(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Resize{Resize: &antv1.TerminalSize{Cols: cols, Rows: rows}}}); err != nil {
		v.t.Fatal(err)
	}
}

// ended is how the server ends a stream.
func (v *viewer) ended() codes.Code {
	v.t.Helper()
	for {
		if _, err := v.Recv(); err != nil {
			return status.Code(err)
		}
	}
}

// TestTerminalStreamLife: one stream sees a terminal end and begin, byte for byte, and says why what it asks for has
// no effect.
func TestTerminalStreamLife(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		id := str(s.post("/api/sessions", object{"name": "life", "type": "terminal"}).created(), "id")
		idle := s.view(&antv1.AttachOpen{SessionId: id})
		if h := idle.step().GetHealth(); h == nil || h.Alive || h.Unavailable {
			t.Fatalf("nothing runs: %v", h)
		}
		idle.types("lost\r")
		idle.refused("TERMINAL_NOT_LIVE")
		v := s.view(&antv1.AttachOpen{SessionId: id, Spawn: true, Cwd: "/", Size: &antv1.TerminalSize{Cols: 77, Rows: 22}})
		if h := v.step().GetHealth(); h == nil || !h.Alive {
			t.Fatalf("started: %v", h)
		}
		v.types("stty size; echo at-$PWD-$((40+2))\r")
		v.shows("at-/-42")
		if !strings.Contains(v.all.String(), "22 77") {
			t.Errorf("the size is not 77 x 22: %q", v.all.String())
		}
		for _, size := range [][2]int32{{0, 0}, {-1, 5}, {5, 1001}, {math.MaxInt32, 1}} {
			v.resize(size[0], size[1])
			v.refused("INVALID_SIZE")
		}
		v.types(strings.Repeat("x", 1<<20+1))
		v.refused("INPUT_TOO_LARGE")
		v.open(&antv1.AttachOpen{SessionId: id})
		v.refused("ALREADY_OPENED")
		v.types("exit 7\r")
		v.hears(false)
		if len(v.exits) != 1 || v.exits[0].Code != 7 {
			t.Errorf("exits: %v", v.exits)
		}
		v.types("echo again-$((40+2))\r")
		v.hears(true)
		v.shows("again-42")
		idle.shows("again-42")
		if got, want := idle.all.String(), v.all.String(); !strings.Contains(got, want[len(want)-8:]) || idle.next < v.next-100 {
			t.Errorf("the other stream has %d bytes, up to %d", len(got), idle.next)
		}
		// From the beginning, all of it is there.
		first := s.view(&antv1.AttachOpen{SessionId: id, From: new(uint64)})
		for first.next < v.next {
			first.step()
		}
		if !strings.Contains(first.all.String(), v.all.String()) { // what was there when the stream began came as a replay
			t.Errorf("read from the beginning:\n%q\nas it came:\n%q", first.all.String(), v.all.String())
		}
		late := s.view(&antv1.AttachOpen{SessionId: id, From: proto64(math.MaxUint64)})
		late.hears(true)
		v.types("echo last-$((40+2))\r")
		late.shows("last-42")
		if strings.Contains(late.all.String(), "again") {
			t.Error("it saw what was before")
		}
	})
}

func proto64(n uint64) *uint64 { return &n }

// TestTerminalStreamRefusals: what cannot be attached to is an error.
func TestTerminalStreamRefusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	chat := s.chatRoom("chat")
	for name, c := range map[string]struct {
		open *antv1.AttachOpen
		code codes.Code
	}{
		"nothing":   {nil, codes.InvalidArgument},
		"no id":     {&antv1.AttachOpen{}, codes.InvalidArgument},
		"a chat":    {&antv1.AttachOpen{SessionId: chat, Spawn: true}, codes.NotFound},
		"no such":   {&antv1.AttachOpen{SessionId: "no-such-session-here0"}, codes.NotFound},
		"not an id": {&antv1.AttachOpen{SessionId: strings.Repeat("x/../", 3000)}, codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if code := s.with(t).view(c.open).ended(); code != c.code {
				t.Errorf("ended with %v, want %v", code, c.code)
			}
		})
	}
	id := str(s.post("/api/sessions", object{"name": "bad", "type": "terminal"}).created(), "id")
	for _, o := range []*antv1.AttachOpen{{Cwd: "relative"}, {Cwd: "/no/such/folder"}, {Cwd: "/etc/passwd"}} {
		o.SessionId, o.Spawn = id, true
		v := s.view(o)
		for refused := false; !refused; {
			refused = v.step().GetRefusal() != nil
		}
	}
	v := s.view(&antv1.AttachOpen{SessionId: id, Size: &antv1.TerminalSize{Cols: 5000, Rows: 1}})
	v.refused("INVALID_SIZE")
}

// TestTerminalStreamCharacters: no frame ends within a character, whatever the program writes when.
func TestTerminalStreamCharacters(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		text := strings.Repeat("漢字ünï✓🐜", 40_000)
		c := s.terminal("characters", "sh", "-c", `stty raw -echo; printf ready; read go; i=0; while [ $i -lt 40000 ]; do printf '漢字ünï✓🐜%.0s' 1 2 3 4 5 6 7 8 9 10; i=$((i+10)); done; printf end; cat`)
		c.shows("ready")
		v := s.view(&antv1.AttachOpen{SessionId: c.id})
		for o := v.step().GetOutput(); !o.GetReplay(); o = v.step().GetOutput() { // what comes later is not in it
		}
		v.types("\n")
		for !strings.HasSuffix(v.all.String(), "end") {
			if o := v.step().GetOutput(); o != nil && !utf8.Valid(o.Data) {
				t.Fatalf("a frame is cut: %q", o.Data[max(0, len(o.Data)-8):])
			}
		}
		if v.all.String() != text+"end" {
			t.Errorf("%d bytes came, want %d", v.all.Len(), len(text)+3)
		}
	})
}

// TestTerminalStreamRestart: after a kill of the server a stream goes on from its offset.
func TestTerminalStreamRestart(t *testing.T) {
	t.Parallel()
	s := start(t, withArgs("--terminal-host", "tmux"))
	port := s.samePort()
	c := s.terminal("counter", counting...)
	v := s.view(&antv1.AttachOpen{SessionId: c.id, From: new(uint64)})
	for v.all.Len() < 1<<18 {
		v.step()
	}
	s.kill()
	s.restart(port)
	again := s.view(&antv1.AttachOpen{SessionId: c.id, From: &v.next})
	again.next, again.seen = v.next, true
	for again.all.Len() < 1<<18 {
		again.step()
	}
	n := counter{t: t}
	n.take(v.all.String() + again.all.String())
	if n.read < 25_000 {
		t.Errorf("%d lines", n.read)
	}
}

// TestTerminalStreamGuests: a room token types only with the scope for it, and only in its own terminal; when it is
// revoked its stream ends.
func TestTerminalStreamGuests(t *testing.T) {
	t.Parallel()
	s := start(t, withKey("secret"))
	c, other := s.terminal("mine", "cat"), s.terminal("other", "cat")
	for _, test := range []struct {
		kind string
		id   string
		code codes.Code
	}{{"cli", c.id, codes.OK}, {"cli", other.id, codes.PermissionDenied}, {"web", c.id, codes.PermissionDenied}} {
		t.Run(fmt.Sprint(test.kind, test.id == c.id), func(t *testing.T) {
			s := s.with(t)
			invite := str(s.invite(c.id, object{"scopes": []string{"read", "write", "terminal"}}), "id")
			guest := *s
			guest.opts.key = str(s.exchange(invite, c.id, object{"kind": test.kind}), "token")
			v := guest.view(&antv1.AttachOpen{SessionId: test.id})
			if test.code != codes.OK {
				if code := v.ended(); code != test.code {
					t.Errorf("ended with %v, want %v", code, test.code)
				}
				return
			}
			v.types("hello\r")
			v.shows("hello\r\nhello")
			s.do("DELETE", "/api/sessions/"+c.id+"/invites/"+invite, nil).ok()
			if code := v.ended(); code != codes.Unauthenticated {
				t.Errorf("ended with %v", code)
			}
		})
	}
}
