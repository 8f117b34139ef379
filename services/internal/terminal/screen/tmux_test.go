package screen_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anthill/services/internal/terminal/screen"
)

const cols, rows = 40, 12

// tmux is a server of its own, away from the user's.
type tmux struct {
	t      *testing.T
	socket string
}

func newTmux(t *testing.T) tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux to compare with")
	}
	dir, err := os.MkdirTemp("", "tmux") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	m := tmux{t, filepath.Join(dir, "s")}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", m.socket, "kill-server").Run()
		_ = os.RemoveAll(dir)
	})
	m.run("new-session", "-d", "-s", "stays", "exec sleep 1000") // a server without sessions ends
	return m
}

func (m tmux) run(args ...string) string {
	m.t.Helper()
	c := exec.Command("tmux", append([]string{"-u", "-S", m.socket, "-f", "/dev/null"}, args...)...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm-256color", "HOME=" + filepath.Dir(m.socket)}
	out, err := c.CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// capture shows bytes in a pane and returns its text, and its cursor as "row,col".
func (m tmux) capture(name, data string) (string, string) {
	m.t.Helper()
	file := filepath.Join(filepath.Dir(m.socket), name)
	if err := os.WriteFile(file, []byte(data+"\x1b]2;end of "+name+"\x1b\\"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.run("new-session", "-d", "-s", name, "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows), "stty raw -echo; cat "+file+"; exec sleep 1000")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) { // tmux has no event for it
		if strings.TrimSpace(m.run("display-message", "-p", "-t", name, "#{pane_title}")) == "end of "+name {
			break
		}
		if time.Now().After(end) {
			m.t.Fatalf("tmux has not read %s", name)
		}
	}
	text := m.run("capture-pane", "-p", "-t", name)
	at := strings.TrimSpace(m.run("display-message", "-p", "-t", name, "#{cursor_y},#{cursor_x} #{alternate_on}"))
	m.run("kill-session", "-t", name)
	return strings.TrimRight(text, "\n"), at
}

func (m tmux) compare(name, data string) {
	m.t.Helper()
	want, at := m.capture(name, data)
	got := show(cols, rows, data)
	col := got.Cursor.Col
	if got.Cursor.Pending {
		col++
	}
	on := 0
	if got.Alternate {
		on = 1
	}
	if here := fmt.Sprintf("%d,%d %d", got.Cursor.Row, col, on); got.Text() != want || here != at {
		m.t.Errorf("%s %q\nours at %s\n%s\ntmux at %s\n%s", name, data, here, got.Text(), at, want)
	}
}

// lines are numbered rows.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\r\n", i)
	}
	return b.String()
}

func TestLikeTmux(t *testing.T) {
	m := newTmux(t)
	for name, data := range map[string]string{
		"scroll":       lines(30),
		"alternate":    lines(5) + "\x1b[?1049h\x1b[Hin the editor\x1b[5;5Hhere",
		"back":         lines(5) + "abc\x1b[?1049h\x1b[2J\x1b[Hin the editor\x1b[?1049lafter",
		"region":       lines(11) + "\x1b[3;8r\x1b[8;1Ha\r\nb\r\nc\x1b[3;1H\x1bM\x1bMup\x1b[r\x1b[12;1Hend",
		"insertlines":  lines(11) + "\x1b[4;3H\x1b[2Lnew\x1b[8;1H\x1b[M",
		"regioninsert": lines(11) + "\x1b[3;8r\x1b[4;1H\x1b[2Lnew\x1b[6;1H\x1b[2M",
		"scrolls":      lines(11) + "\x1b[3S\x1b[2;9r\x1b[2T",
		"chars":        "abcdefghijklmnop\x1b[1;5H\x1b[3@XY\x1b[1;12H\x1b[4P\x1b[1;2H\x1b[2X",
		"insertmode":   "abcdef\x1b[1;3H\x1b[4hXYZ\x1b[4l!",
		"wide":         "日本語のテキスト and 한국어, 中文 that wraps at the edge 漢字漢字漢字漢字",
		"wideedge":     strings.Repeat("x", 39) + "漢字",
		"marks":        "e\u0301a\u0308o\u0302\u0323 x\r\n" + strings.Repeat("y", 40) + "\u0301z",
		"wrap":         strings.Repeat("abcdefghi ", 13),
		"nowrap":       "\x1b[?7l" + strings.Repeat("abcdefghi ", 7) + "\x1b[?7h",
		"pending":      strings.Repeat("x", 40) + "\x1b[Dy\r\n" + strings.Repeat("x", 40) + "\by\r\n" + strings.Repeat("x", 40) + "\x1b[Kz",
		"pendingup":    "\x1b[3;1H" + strings.Repeat("x", 40) + "\x1b[Ay",
		"tabs":         "a\tb\tc\x1b[1;20H\x1bH\r\n\t\t\tx\x1b[3g\r\n\ty\x1b[2Zz",
		"erase":        lines(8) + "\x1b[4;4H\x1b[K\x1b[5;4H\x1b[1K\x1b[6;4H\x1b[2K\x1b[2;3H\x1b[1J\x1b[7;2H\x1b[J",
		"repeat":       "ab\x1b[5bc\x1b[100bd",
		"origin":       lines(11) + "\x1b[3;8r\x1b[?6h\x1b[1;1Htop\x1b[99;1Hbottom\x1b[?6l\x1b[1;1Hhome",
		"saved":        "\x1b[3;5H\x1b[31m\x1b7\x1b[H\x1b[mab\x1b8cd\x1b[s\x1b[9;9Hx\x1b[uy",
		"test":         "\x1b#8\x1b[3;3Hx",
		"lines":        "a\x1bDb\x1bEc\x1b[3Ed\x1b[2Fe\x1b[7Gf\x1b[5dg",
		"columns":      "\x1b[10Cx\x1b[200Cy\x1b[200Dz\x1b[3;10H\x1b[5`wq",
		"reset":        lines(9) + "\x1b[3;5r\x1b[?6h\x1b(0\x1bcq plain",
		"strings":      "a\x1bPq#0;2;0;0;0\x1b\\b\x1b_app\x1b\\c\x1b^pm\x1b\\d\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\e\x1b]52;c;aGk=\x07f",
		"cut":          "a\x1b[12\x18b\x1b[3\x1b[1;9Hc\x1b[1\rd",
		"queries":      "\x1b[c\x1b[>c\x1b[6n\x1b[5n\x1b]10;?\x1b\\\x1b[?2004$pquiet",
		"colours":      "\x1b[1;31;48;5;21mx\x1b[38:2::1:2:3my\x1b[4:3mz\x1b[58;5;3mw\x1b[0m",
	} {
		m.compare(name, data)
	}
}

// vocabulary has no wide characters: tmux 3.3 keeps one of which half is written over, terminals do not.
var vocabulary = []string{
	"a", "word ", "e\u0301", "\r\n", "\r", "\n", "\b", "\t", "\x1b[A", "\x1b[2B", "\x1b[3C", "\x1b[2D", "\x1b[H", "\x1b[6;20H", "\x1b[12;38H",
	"\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[1J", "\x1b[2L", "\x1b[M", "\x1b[2@", "\x1b[2P", "\x1b[3X", "\x1b[S", "\x1b[T", "\x1bM", "\x1bD", "\x1bE",
	"\x1b[4;9r\x1b[5;1H", "\x1b[r", "\x1b7", "\x1b8", "\x1b[3b", "\x1b[9G", "\x1b[7d", "a longer piece of text that may well wrap around ", "\x1b[31m", "\x1b[m",
}

// TestLikeTmuxAtRandom compares long strings of whatever a terminal is told.
func TestLikeTmuxAtRandom(t *testing.T) {
	m := newTmux(t)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b strings.Builder
		for range 60 {
			b.WriteString(vocabulary[r.IntN(len(vocabulary))])
		}
		m.compare(fmt.Sprintf("random%d", seed), b.String())
	}
}

// TestRedrawInTmux: the redraw sequence paints the same screen on a real terminal.
func TestRedrawInTmux(t *testing.T) {
	m := newTmux(t)
	for i, p := range pictures {
		s := screen.New(cols, rows)
		_, _ = s.Write([]byte(p))
		want := s.Snapshot()
		if got, _ := m.capture(fmt.Sprintf("redraw%d", i), string(want.Redraw())); got != want.Text() {
			t.Errorf("redrawn\n%s\nwant\n%s", got, want.Text())
		}
	}
}
