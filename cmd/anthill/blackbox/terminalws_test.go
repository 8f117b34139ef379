package blackbox

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// TestTerminalWSIsWhole: 64 MiB of output arrive whole at a client of /ws and in the
// history, while another terminal answers.
func TestTerminalWSIsWhole(t *testing.T) {
	t.Parallel()
	size := 64 << 20
	if raceOn { // which makes it slow; make e2e runs it without
		size = 8 << 20
	}
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		file, sum := flood(t, size)
		c := s.terminal("flood", "sh", "-c", `stty -echo; printf ready; read go; cat "$0"; read more`, file)
		other := s.terminal("other", "cat")
		w := s.spectator(c.id)
		w.shows("ready")
		w.types("go\r")
		stop := make(chan struct{})
		var echo sync.WaitGroup
		answers := 0
		echo.Go(func() {
			o := s.with(t).spectator(other.id)
			for {
				select {
				case <-stop:
					return
				default:
				}
				o.types(fmt.Sprintf("ping%d\r", answers))
				o.shows(fmt.Sprintf("ping%d\r\n", answers))
				answers++
			}
		})
		hash, n := sha256.New(), 0
		for n < size {
			data, _ := w.output()
			hash.Write([]byte(data))
			n += len(data)
		}
		close(stop)
		echo.Wait()
		if got := hex.EncodeToString(hash.Sum(nil)); n != size || got != sum {
			t.Errorf("%d bytes with sum %s arrived, want %d with %s", n, got, size, sum)
		}
		if answers < 3 {
			t.Errorf("the other terminal answered %d times", answers)
		}
		if got := s.historySum(c.id, "ready"); got != sum {
			t.Errorf("what is kept has the sum %s, want %s", got, sum)
		}
	})
}

// historySum is the SHA-256 of all that is kept of a terminal, behind what it begins with.
func (s *server) historySum(id, begins string) string {
	s.t.Helper()
	sum := sha256.New()
	for offset := 0.0; ; {
		o := s.get(fmt.Sprintf("/api/sessions/%s/terminal/history?raw=1&limit=1000&offset=%.0f", id, offset)).ok()
		for _, r := range list(o, "rows") {
			text := str(r, "raw")
			if r["byte_offset"] == 0.0 {
				text = strings.TrimPrefix(text, begins)
			}
			_, _ = io.WriteString(sum, text)
		}
		offset = o["next_offset"].(float64)
		if o["has_more"] != true {
			return hex.EncodeToString(sum.Sum(nil))
		}
	}
}

// flood is a file of n bytes of text, and its SHA-256 as a terminal shows it.
func flood(t *testing.T, n int) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "flood")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	in, out := bufio.NewWriter(f), sha256.New()
	for i, rest := 0, n; rest > 0; i++ {
		line := fmt.Sprintf("%09d ünï ✓ 漢字 \x1b[3%dmcolour\x1b[m %s", i, i%8, strings.Repeat("x", i%60))
		if rest < 2*len(line) { // the last one
			line = strings.Repeat("y", rest-2)
		}
		_, _ = in.WriteString(line + "\n") // what fails here fails below
		_, _ = io.WriteString(out, line+"\r\n")
		rest -= len(line) + 2
	}
	if err := errors.Join(in.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(out.Sum(nil))
}

// counting prints numbers for ever.
var counting = []string{"sh", "-c", `stty -echo; i=0; while :; do i=$((i+1)); echo "<$i>"; done`}

// counter checks that the numbers in output follow each other.
type counter struct {
	t    *testing.T
	rest string
	last int
	read int
}

func (c *counter) take(data string) {
	c.t.Helper()
	c.rest += data
	for {
		line, rest, ok := strings.Cut(c.rest, "\n")
		if !ok {
			return
		}
		c.rest = rest
		line = strings.TrimSpace(line)
		if line == "" && c.last == 0 { // rows of a screen that was not full yet
			continue
		}
		n := 0
		if _, err := fmt.Sscanf(line, "<%d>", &n); err != nil || line != fmt.Sprintf("<%d>", n) {
			c.t.Fatalf("a line %q after %d", line, c.last)
		}
		if c.last != 0 && n != c.last+1 {
			c.t.Fatalf("%d comes after %d", n, c.last)
		}
		c.last = n
		c.read++
	}
}

// replayText is what a replay says, without what moves and paints.
func replayText(replay string) string {
	_, text, _ := strings.Cut(replay, "\x1b[3J")
	text, _, _ = strings.Cut(text, "\x1b[")
	return text
}

// TestTerminalWSJoinsAFlood: who joins while output comes sees what was there and what
// comes, without a gap and nothing twice; and so does who comes back.
func TestTerminalWSJoinsAFlood(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		c := s.terminal("counter", counting...)
		for range 5 {
			w := s.spectator(c.id)
			n := counter{t: t}
			data, replay := w.output()
			if replay {
				data = strings.ReplaceAll(replayText(data), "\r\n", "\n")
			}
			n.take(data)
			for n.read < 3000 {
				data, again := w.output()
				if again {
					t.Fatal("a second replay")
				}
				n.take(data)
			}
			if err := w.CloseNow(); err != nil {
				t.Fatal(err)
			}
			back := s.spectator(c.id, "offset", w.next)
			back.next, back.seen = w.next, true
			for until := n.read + 3000; n.read < until; {
				data, again := back.output()
				if again {
					t.Fatal("a replay, although it has an offset")
				}
				n.take(data)
			}
			_ = back.Close(websocket.StatusNormalClosure, "") // read no further
		}
	})
}

// TestTerminalWSTyping: characters in frames of their own are typed in their order, with or
// without a join, whatever the socket does then; and characters come whole.
func TestTerminalWSTyping(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		c := s.terminal("cat", "sh", "-c", "stty raw -echo; printf ready; cat")
		c.shows("ready")
		var want strings.Builder
		w := s.spectator(c.id)
		for i := range 200 {
			r := string([]rune("abc漢é✓")[i%6])
			want.WriteString(r)
			w.types(r)
		}
		w.types("!")
		if got := w.shows("!"); !strings.HasSuffix(got, want.String()+"!") {
			t.Errorf("typed %q, want %q", got, want.String())
		}
		loose := s.socket() // has not joined
		for i := range 200 {
			loose.say(object{"type": "terminal_input", "sessionId": c.id, "data": string(rune('a' + i%26))})
		}
		loose.say(object{"type": "terminal_input", "sessionId": c.id, "data": "?"})
		_ = loose.Close(websocket.StatusNormalClosure, "") // at once
		got := w.shows("?")
		want.Reset()
		for i := range 200 {
			want.WriteByte(byte('a' + i%26))
		}
		if !strings.HasSuffix(got, want.String()+"?") {
			t.Errorf("typed %q", got)
		}
	})
}

// TestTerminalWSCharactersAreWhole: output is valid text however a program cuts it, and what is
// no text holds nothing up.
func TestTerminalWSCharactersAreWhole(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		c := s.terminal("cuts", "sh", "-c", `stty raw -echo; read go; for i in 1 2 3 4 5 6 7 8 9 10; do printf '\346'; sleep 0.01; printf '\274'; sleep 0.01; printf '\242'; done; printf '\377\376<bad>\342\202'; printf '<cut>'; cat`)
		w := s.spectator(c.id)
		w.types("\n")
		if got, want := w.shows("<cut>"), strings.Repeat("漢", 10)+"\ufffd\ufffd<bad>\ufffd"; !strings.Contains(strings.ReplaceAll(got, "\ufffd\ufffd<cut>", "\ufffd<cut>"), want+"<cut>") {
			t.Errorf("got %q", got)
		}
	})
}

// TestTerminalWSSizes: a terminal has the size of who was active last, and of who stays.
func TestTerminalWSSizes(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		c := s.terminal("sizes", "sh", "-c", `stty -echo; while read n; do echo "$n is $(stty size);"; done`)
		asked := 0
		size := func(w *spectator, want string) { // tmux passes a size on after a moment
			t.Helper()
			var got string
			s.eventually("the size is "+want, func() bool {
				asked++
				w.types(fmt.Sprintf("%d\r", asked))
				head := fmt.Sprintf("%d is ", asked)
				_, got, _ = strings.Cut(w.shows(head), head)
				for !strings.Contains(got, ";") {
					data, _ := w.output()
					w.all.WriteString(data)
					got += data
				}
				return strings.HasPrefix(got, want+";")
			})
		}
		resize := func(w *spectator, cols, rows any) {
			w.say(object{"type": "terminal_resize", "sessionId": c.id, "cols": cols, "rows": rows})
		}
		a := s.spectator(c.id, "cols", 81, "rows", 21)
		size(a, "21 81")
		b := s.spectator(c.id, "cols", 132, "rows", 43)
		if _, replay := b.output(); !replay {
			t.Error("no replay")
		}
		size(b, "43 132")
		size(a, "21 81")
		resize(b, 90, 25)
		size(b, "25 90")
		for _, bad := range [][2]any{{0, 5}, {-1, 5}, {1001, 5}, {5, 1e9}, {"x", 5}, {1.5, 5}} {
			resize(b, bad[0], bad[1])
			if m := b.until("error"); m["error"] != "invalid_size" || m["sessionId"] != c.id {
				t.Errorf("%v: %v", bad, m)
			}
		}
		size(b, "25 90")
		b.say(object{"type": "leave_session", "sessionId": c.id})
		b.settle()
		s.eventually("the size is that of who stays", func() bool { o := c.state(); return o["cols"] == 81.0 && o["rows"] == 21.0 })
		size(a, "21 81")
	})
}

// TestTerminalWSLife: a terminal's end and next start are told; a plain join hears
// them and what is printed, and joins of what is no terminal do nothing.
func TestTerminalWSLife(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.post("/api/sessions", object{"name": "life", "type": "terminal"}).created()["id"].(string)
	chat := s.chatRoom("chat")
	plain := &spectator{socket: s.socket(), id: id}
	plain.join(id)
	plain.say(object{"type": "check_health", "sessionId": id})
	if m := plain.until("session_health"); m["alive"] != false {
		t.Errorf("nothing runs: %v", m)
	}
	plain.types("lost\r")
	if m := plain.until("error"); m["error"] != "terminal_not_live" || m["requested"] != "terminal_input" {
		t.Errorf("typed into nothing: %v", m)
	}
	w := s.spectator(id, "cwd", "/")
	plain.hears(true)
	w.types("echo at-$PWD-$((40+2))\r")
	plain.shows("at-/-42")
	w.types("exit\r")
	plain.hears(false)
	w.hears(false)
	w.types("echo again-$((40+2))\r") // it may start one
	w.shows("again-42")
	w.say(object{"type": "join_session", "sessionId": chat, "spawnPty": true})
	w.say(object{"type": "leave_session", "sessionId": id})
	w.settle()
	plain.types("echo more-$((40+2))\r")
	plain.shows("more-42")
	w.say(object{"type": "terminal_input", "sessionId": chat, "data": "x"})
	for {
		m := w.socket.next()
		if m["type"] == "session_activity" { // which goes to everybody
			continue
		}
		if m["type"] != "error" {
			t.Errorf("it heard %v after it left", m)
		}
		break
	}
	s.do("PATCH", "/api/sessions/"+id, object{"archived": true}).ok()
	late := s.socket()
	late.say(object{"type": "join_session", "sessionId": id, "spawnPty": true, "cols": 80, "rows": 24})
	if m := late.until("session_health"); m["alive"] != false || m["unavailable"] != true {
		t.Errorf("archived: %v", m)
	}
}

// TestTerminalWSReplayAsksNothing: what a screen showed is drawn for who comes, and makes nobody answer.
func TestTerminalWSReplayAsksNothing(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		c := s.terminal("asks", "sh", "-c", `stty raw -echo; printf '\033[6n\033[c\033[>c\033[5n\033]52;c;?\007\033]10;?\007\033]2;a title\007\033[?2026$pabc\033[?1004hready'; cat`)
		c.shows("ready")
		w := s.spectator(c.id)
		data, replay := w.output()
		if !replay || !strings.Contains(data, "abc") || !strings.Contains(data, "ready") {
			t.Errorf("the replay is %q", data)
		}
		for _, bad := range []string{"\x1b[6n", "\x1b[c", "\x1b[>c", "\x1b[5n", "\x1b]52", "\x1b]10", "$p", "\x1b[?1004h"} {
			if strings.Contains(data, bad) {
				t.Errorf("the replay has %q", bad)
			}
		}
	})
}

// TestTerminalWSSlowClient: clients that do not read for a while are not cut, nor do they cost memory; what they
// missed they read when they like.
func TestTerminalWSSlowClient(t *testing.T) {
	t.Parallel()
	size := 24 << 20
	if raceOn { // a client that takes nothing for half a minute is cut
		size = 6 << 20
	}
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host, withEnv("GOGC=25")) // so that memory is what is in use
		file, sum := flood(t, size)
		c := s.terminal("flood", "sh", "-c", `stty -echo; printf ready; read go; cat "$0"; printf end; read more`, file)
		var slow []*spectator
		for range 4 {
			slow = append(slow, s.spectator(c.id))
			slow[len(slow)-1].shows("ready")
		}
		fast := s.spectator(c.id)
		fast.shows("ready")
		before := ownMemory(t, s.cmd.Process.Pid)
		fast.types("go\r")
		for n := 0; n < size; {
			data, _ := fast.output()
			n += len(data)
		}
		if grown := ownMemory(t, s.cmd.Process.Pid) - before; grown > 64<<20 && !raceOn { // of four times 30 MiB that are not read
			t.Errorf("memory grew by %d MiB", grown>>20)
		}
		hash, n := sha256.New(), 0
		for n < size {
			data, _ := slow[0].output()
			hash.Write([]byte(data[:min(len(data), size-n)]))
			n += len(data)
		}
		if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
			t.Errorf("%d bytes with sum %s arrived", n, got)
		}
	})
}

// ownMemory is what a process has in memory that is not of files, in bytes.
func ownMemory(t *testing.T, pid int) (n int) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "RssAnon:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// TestTerminalWSRestart: after a kill of the server a client goes on where it was, and a
// new one sees what was there.
func TestTerminalWSRestart(t *testing.T) {
	t.Parallel()
	s := start(t, withArgs("--terminal-host", "tmux"))
	port := s.samePort()
	c := s.terminal("counter", counting...)
	edit := s.terminal("edit", "sh", "-c", `stty raw -echo; printf '\033[?1049h\033[?2004h\033[?25l\033[H\033[31mred\033[5;7Hhere'; cat`)
	edit.shows("here")
	w := s.spectator(c.id)
	n := counter{t: t}
	read := func(w *spectator, count int) {
		t.Helper()
		for until := n.read + count; n.read < until; {
			data, replay := w.output()
			if replay {
				data = strings.ReplaceAll(replayText(data), "\r\n", "\n")
			}
			n.take(data)
		}
	}
	read(w, 1000)
	s.kill()
	s.restart(port)
	back := s.spectator(c.id, "offset", w.next)
	back.next, back.seen = w.next, true
	read(back, 3000)
	n = counter{t: t}
	read(s.spectator(c.id), 3000)
	again := s.spectator(edit.id)
	data, replay := again.output()
	for _, want := range []string{"\x1b[?1049h", "\x1b[?2004h", "\x1b[?25l", "\x1b[0;31mred", "here"} {
		if !replay || !strings.Contains(data, want) {
			t.Errorf("after the restart the screen is %q, without %q", data, want)
		}
	}
}

// TestTerminalWSManySockets: joins and typing of many sockets at once do not mix.
func TestTerminalWSManySockets(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.terminal("cat", "sh", "-c", "stty raw -echo; printf ready; cat")
	c.shows("ready")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			conn, _, err := websocket.Dial(ctx, s.wsURL(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.CloseNow() //nolint:errcheck // it has ended
			for k := range 25 {
				m, _ := json.Marshal(object{"type": "terminal_input", "sessionId": c.id, "data": fmt.Sprintf("<%d:%d>", i, k)})
				if err := conn.Write(ctx, websocket.MessageText, m); err != nil {
					t.Error(err)
				}
			}
			_ = conn.Close(websocket.StatusNormalClosure, "")
		})
	}
	all.Wait()
	c.s.eventually("everything is typed", func() bool { return strings.Count(string(c.printed()), ">") == 8*25 })
	got := string(c.printed())
	for i := range 8 {
		at := 0
		for k := range 25 {
			j := strings.Index(got[at:], fmt.Sprintf("<%d:%d>", i, k))
			if j < 0 {
				t.Fatalf("socket %d: frame %d is not in order in %q", i, k, got)
			}
			at += j
		}
	}
}
