package screen_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"anthill/services/internal/terminal/screen"
)

// queries are what terminals answer.
var queries = regexp.MustCompile(`\x1b\[[?>=]?[0-9;]*[cnx]|\x1b\[[0-9;?]*\$p|\x1b\[>[0-9]*q|\x1b\[[0-9;]*t|\x1b\](4|5|1[0-9]|52|60);|\x1bP|\x1bZ|\x05`)

// replayed shows what a screen shows on another one, on which something else was.
func replayed(t *testing.T, s *screen.Screen, cols, rows int) (again *screen.Screen, data []byte, unfinished int) {
	t.Helper()
	data, unfinished = s.Replay()
	if q := queries.Find(data); q != nil {
		t.Errorf("the replay asks %q", q)
	}
	again = screen.New(cols, rows)
	_, _ = again.Write([]byte("\x1b[41mbefore\r\n\n\n\n\n\n\n\n\n\x1b[2;3r\x1b[?6h\x1b[?1049h\x1b[?2004h\x1b[?1003h\x1b[?1006h\x1b(0\x0e\x1b[4h\x1b[?25l\x1b[5 q\x1b="))
	_, _ = again.Write(data)
	return again, data, unfinished
}

// checkReplay compares a screen with its replay, and what both show after the same bytes.
func checkReplay(t *testing.T, s *screen.Screen, last, more []byte) {
	t.Helper()
	want := s.Snapshot()
	again, data, unfinished := replayed(t, s, want.Cols, want.Rows)
	got := again.Snapshot()
	got.Title = want.Title // an empty one is not sent
	same(t, got, want)
	if _, second, _ := replayed(t, again, want.Cols, want.Rows); !bytes.Equal(second, data) {
		t.Errorf("the replay of a replay is\n%q\nnot\n%q", second, data)
	}
	if unfinished > len(last) {
		t.Fatalf("%d bytes of %d are unfinished", unfinished, len(last))
	}
	_, _ = again.Write(last[len(last)-unfinished:])
	_, _ = again.Write(more)
	_, _ = s.Write(more)
	got, want = again.Snapshot(), s.Snapshot()
	if got.Title = want.Title; again.Modes() != s.Modes() {
		t.Errorf("modes %+v, want %+v", again.Modes(), s.Modes())
	}
	same(t, got, want)
}

var scenes = append([]string{
	lines(30), lines(1200), strings.Repeat("a long line that wraps \x1b[44mand is blue\x1b[K\x1b[m here ", 40),
	"\x1b[31m" + lines(40) + "\x1b[1;4;38;2;1;2;3mrich \x1b[7mtext", "\x1b[3;5r\x1b[?6h\x1b[2;2Hin the region\x1b[32m",
	lines(3) + "\x1b[?1049h" + lines(20), lines(20) + "\x1b[?1049h\x1b[?1002h\x1b[?1006h\x1b[?1h\x1b=\x1b[2;3Hvim\x1b[?25l\x1b[6 q", "\x1b[3g\x1b[1;5H\x1bH\r\nx\x1b7\x1b[4;4H",
	"\x1b(0qqq\x1b[5;5H", "\x1b)0\x0eqqq", "\x1b[4h\x1b[20h\x1b[?7labc", strings.Repeat("x", 20), lines(30) + "\x1b[3J",
	"\x1b[c\x1b[6n\x1b[5n\x1b]52;c;?\x07\x1b]10;?\x1b\\\x1b[>c\x1bZ\x05\x1b[?2026$p\x1b]2;title\x07\x1bP$qm\x1b\\",
	"cut \x1b[3", "cut \xe4\xb8", "cut \x1b]2;ti", "cut \x1bP" + strings.Repeat("q", 9000), "\x1b[31m\x1b7\x1b[m\x1b[2;2H" + "\x1b8x\x1b[5;5H\x1b[m",
}, pictures...)

func TestReplay(t *testing.T) {
	for i, p := range scenes {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			for _, more := range []string{"1mn\x07\x1b[31m\xad \x1b8after\tthis", "\x1b\\\r\nq\x1b[Hq\n\n\n\n\n\n\n\x1b[?1049lend"} {
				s := screen.New(20, 6)
				_, _ = s.Write([]byte(p))
				checkReplay(t, s, []byte(p), []byte(more))
			}
		})
	}
}

// A replay brings back what is above the screen, as often as one likes and in whatever size it was written.
func TestReplayScrollback(t *testing.T) {
	s := screen.New(30, 5)
	_, _ = s.Write([]byte(lines(3000)))
	data, _ := s.Replay()
	if n := strings.Count(string(data), "line "); n != 1004 || !strings.Contains(string(data), "\x1b[3Jline 1996\r\n") {
		t.Errorf("%d lines, beginning %q", n, data[:min(len(data), 200)])
	}
	s.Resize(12, 4)
	_, _ = s.Write([]byte("wider than the screen is by now"))
	checkReplay(t, s, nil, []byte("\r\nmore"))
}

// What scrolls off is bounded in bytes, too.
func TestScrollbackIsBounded(t *testing.T) {
	s := screen.New(1000, 2)
	for i := range 3000 {
		_, _ = fmt.Fprintf(s, "%s\r\n", strings.Repeat(fmt.Sprintf("\x1b[38;2;%d;1;2mx\x1b[m", i%256), 999))
	}
	if data, _ := s.Replay(); len(data) > 600<<10 {
		t.Errorf("%d bytes of replay", len(data))
	}
}

// What is skipped is heard for its modes alone, even if it is cut anywhere.
func TestSkip(t *testing.T) {
	p := []byte("junk\x1b[31m\x1b[?2004hmore\x1b[?1h\x1b[5;5H\x1b]2;no\x1b\\\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[2J\xe4\xb8\x1b=" + strings.Repeat("x\n", 50) + "\x1b[?25l\x1b[4")
	for cut := range len(p) {
		s := screen.New(20, 4)
		_, _ = s.Write([]byte(lines(9)))
		s.Skip(p[:cut])
		s.Skip(p[cut:])
		if want := (screen.Modes{BracketedPaste: true, ApplicationCursor: true, ApplicationKeypad: true, HiddenCursor: true, Mouse: 1002, MouseEncoding: 1006}); s.Modes() != want {
			t.Fatalf("cut at %d: %+v", cut, s.Modes())
		}
		_, _ = s.Write([]byte("after\r\nthis"))
		text(t, s.Snapshot(), "after", "this")
		checkReplay(t, s, nil, nil)
	}
	s := screen.New(10, 3)
	s.SetModes(screen.Modes{Alternate: true, Mouse: 1003, CursorShape: 5})
	s.Skip([]byte("x\x1b[?1003l\x1bcy"))
	_, _ = s.Write([]byte("z"))
	if text(t, s.Snapshot(), "z"); s.Modes() != (screen.Modes{}) {
		t.Errorf("after a reset: %+v", s.Modes())
	}
}

// FuzzReplay: whatever was written, cut anywhere, its replay shows the same and goes on in the same way.
func FuzzReplay(f *testing.F) {
	for _, p := range scenes {
		f.Add([]byte(p), []byte("\x1b[31mmore\r\n\x1b8x"), uint16(20), uint16(6))
	}
	for _, p := range vocabulary {
		f.Add([]byte(p), []byte("x"), uint16(3), uint16(2))
	}
	f.Fuzz(func(t *testing.T, p, more []byte, cols, rows uint16) {
		s := screen.New(int(cols%130), int(rows%50))
		half := p[:len(p)/2]
		if len(p)%3 == 0 {
			s.Skip(half)
		} else {
			_, _ = s.Write(half)
		}
		if len(p)%2 == 0 {
			s.Resize(int(rows%90), int(cols%40))
		}
		_, _ = s.Write(p[len(p)/2:])
		if _, unfinished := s.Replay(); unfinished > len(p)-len(p)/2 && len(p)%3 == 0 {
			t.Fatalf("%d unfinished bytes were skipped", unfinished)
		}
		sound(t, s.Snapshot())
		want := s.Snapshot()
		again, data, unfinished := replayed(t, s, want.Cols, want.Rows)
		got := again.Snapshot()
		got.Title = want.Title
		same(t, got, want)
		if again.Modes() != s.Modes() {
			t.Fatalf("modes %+v, want %+v", again.Modes(), s.Modes())
		}
		if _, second, _ := replayed(t, again, want.Cols, want.Rows); !bytes.Equal(second, data) {
			t.Fatalf("the replay of a replay is\n%q\nnot\n%q", second, data)
		}
		_, _ = again.Write(p[len(p)-unfinished:])
		_, _ = again.Write([]byte{'x'})
	})
}

// all is the state of a pane and what it shows; how are further arguments of capture-pane.
func (m tmux) all(name, data string, how ...string) string {
	m.t.Helper()
	file := filepath.Join(filepath.Dir(m.socket), name)
	if err := os.WriteFile(file, []byte(data+"\x1b]2;end of "+name+"\x1b\\"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.run("new-session", "-d", "-s", name, "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows), "stty raw -echo; cat "+file+"; exec sleep 1000")
	for end := time.Now().Add(20 * time.Second); strings.TrimSpace(m.run("display-message", "-p", "-t", name, "#{pane_title}")) != "end of "+name; time.Sleep(2 * time.Millisecond) { // tmux has no event for it
		if time.Now().After(end) {
			m.t.Fatalf("tmux has not read %s", name)
		}
	}
	state := m.run("display-message", "-p", "-t", name, "#{cursor_y},#{cursor_x} #{alternate_on}#{cursor_flag}#{keypad_cursor_flag}#{keypad_flag}#{mouse_any_flag}#{mouse_button_flag}#{mouse_sgr_flag}#{wrap_flag}#{insert_flag}#{origin_flag}#{scroll_region_upper}#{scroll_region_lower} #{pane_tabs}")
	text := m.run(append([]string{"capture-pane", "-p", "-t", name}, how...)...)
	m.run("kill-session", "-t", name)
	return state + text
}

// TestReplayInTmux: a real terminal shows the same of a replay as of the bytes themselves, above the screen, too.
func TestReplayInTmux(t *testing.T) {
	m := newTmux(t)
	list := append([]string{}, scenes[:len(scenes)-len(pictures)]...)
	own := len(list)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		var b strings.Builder
		for range 80 {
			b.WriteString(vocabulary[r.IntN(len(vocabulary))])
		}
		list = append(list, b.String())
	}
	for i, p := range list {
		if strings.HasPrefix(p, "cut ") || strings.Contains(p, "\x1b[6n") {
			continue // tmux would wait for the end, or answer
		}
		how := []string{"-e", "-S", "-"}                   // with styles and with what scrolled off,
		if i >= own || strings.HasPrefix(p, lines(1200)) { // of which tmux keeps more
			how = nil
		}
		s := screen.New(cols, rows)
		_, _ = s.Write([]byte(p))
		again, data, _ := replayed(t, s, cols, rows)
		same(t, again.Snapshot(), s.Snapshot())
		want, got := m.all(fmt.Sprintf("bytes%d", i), p, how...), m.all(fmt.Sprintf("replay%d", i), string(data), how...)
		if got != strings.ReplaceAll(want, "\x0eqqq", "───") {
			t.Errorf("scene %d %q\n%q\nreplayed as\n%q\nfrom\n%q", i, p, want, got, data)
		}
	}
}
