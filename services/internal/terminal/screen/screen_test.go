package screen_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode"

	"anthill/services/internal/terminal/screen"
)

// show writes each part in a write of its own and returns what is seen.
func show(cols, rows int, parts ...string) screen.Snapshot {
	s := screen.New(cols, rows)
	for _, p := range parts {
		_, _ = s.Write([]byte(p))
	}
	return s.Snapshot()
}

// text compares what is said, row by row.
func text(t *testing.T, got screen.Snapshot, want ...string) {
	t.Helper()
	if w := strings.Join(want, "\n"); got.Text() != w {
		t.Errorf("screen says\n%s\nwant\n%s", got.Text(), w)
	}
}

func TestText(t *testing.T) {
	text(t, show(10, 4, "one\r\ntwo\r\n", "\x1b[1;5Hx"), "one x", "two")
	text(t, show(5, 3, "abcdefgh"), "abcde", "fgh")
	text(t, show(6, 3, "\xe4\xb8", "\xad\xe6\x96\x87e\u0301", "x"), "中文e\u0301x") // cut within a character
	text(t, show(3, 3, "ab中c"), "ab", "中c")
	text(t, show(8, 2, "中文", "\x1b[1;2Hx"), " x文") // half of a wide character is written over
	text(t, show(8, 2, "\x1b(0lqk\x1b(B q"), "┌─┐ q")
	text(t, show(8, 2, "\x1b]0;t\x07a\x1bPq#0\x1b\\b\x1b[?1;2$yc"), "abc")
	text(t, show(8, 2, "a\u0085\x9b31mb"), "a�31mb") // C1 is no control here
}

func TestAlternate(t *testing.T) {
	s := screen.New(10, 3)
	_, _ = s.Write([]byte("shell$ \x1b[?1049h\x1b[Heditor"))
	if got := s.Snapshot(); !got.Alternate || got.Text() != "editor" {
		t.Errorf("alternate %v, %q", got.Alternate, got.Text())
	}
	_, _ = s.Write([]byte("\x1b[?1049l"))
	got := s.Snapshot()
	if text(t, got, "shell$"); got.Alternate || got.Cursor.Col != 7 {
		t.Errorf("back on the first screen: %+v", got.Cursor)
	}
}

func TestStyles(t *testing.T) {
	got := show(20, 1, "\x1b[1ma\x1b[0;2mb\x1b[0;7mc\x1b[0;31md\x1b[38;5;208me\x1b[38;2;10;20;250mf\x1b[38:2::0:200:0mg\x1b[90mh\x1b[4:0mi\x1b[mj")
	cells := got.Lines[0].Cells
	if !cells[0].Style.Bold || !cells[1].Style.Dim || !cells[2].Style.Inverse {
		t.Errorf("attributes: %+v", cells[:3])
	}
	for i, want := range map[int]string{3: "red", 4: "yellow", 5: "blue", 6: "green", 7: "grey", 9: "default"} {
		if class := cells[i].Style.Foreground.Class(); class != want && (i != 4 || class != "red") {
			t.Errorf("colour of %s is %s, want %s", cells[i].Text, class, want)
		}
	}
	if cells[8].Style.Underline {
		t.Error("4:0 is no underline")
	}
}

func TestModesAndTitle(t *testing.T) {
	got := show(10, 2, "\x1b[?2004h\x1b[?1h\x1b[?25l\x1b]2;a\x1b[31mb\x07")
	if !got.BracketedPaste || !got.ApplicationCursor || !got.Cursor.Hidden {
		t.Errorf("modes: %+v", got)
	}
	if got := show(10, 2, "\x1b]0;$(id) \u202efile\x01\u200b "+strings.Repeat("x", 9000)+"\x1b\\ok"); len(got.Title) > 256 || strings.ContainsFunc(got.Title, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.HasPrefix(got.Title, "$(id) file") || got.Text() != "ok" {
		t.Errorf("title %q, text %q", got.Title, got.Text())
	}
}

func TestVersion(t *testing.T) {
	s := screen.New(10, 3)
	_, _ = s.Write([]byte("hello"))
	for _, same := range []string{"", "\x1b[m", "\x1b[1;1Hhello", "\x1b[c\x1b[6n\x1b]52;c;?\x07\x1b]10;?\x07", "\x07"} {
		before := s.Version()
		_, _ = s.Write([]byte(same))
		if s.Version() != before {
			t.Errorf("%q changed nothing that is seen", same)
		}
	}
	for _, other := range []string{"!", "\x1b[A\x1b[H", "\x1b[31mH", "\x1b]2;t\x07", "\x1b[?2004h", "\x1b[2J", "\x1b[?1049h"} {
		before := s.Version()
		_, _ = s.Write([]byte(other))
		if s.Version() <= before {
			t.Errorf("%q changed what is seen", other)
		}
	}
}

func TestWait(t *testing.T) {
	s := screen.New(10, 3)
	done := make(chan error, 1)
	go func() { done <- s.Wait(t.Context(), s.Snapshot().Version) }()
	for {
		_, _ = s.Write([]byte("x"))
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Wait(ctx, s.Version()); !errors.Is(err, context.Canceled) {
				t.Errorf("a wait that is given up: %v", err)
			}
			return
		default:
		}
	}
}

func TestResize(t *testing.T) {
	s := screen.New(10, 4)
	_, _ = s.Write([]byte("1\r\n2\r\n3\r\n4中"))
	s.Resize(2, 2)
	text(t, s.Snapshot(), "3", "4")
	s.Resize(6, 3)
	text(t, s.Snapshot(), "3", "4")
	for _, size := range [][2]int{{0, 0}, {-5, 9}, {1 << 30, 1}, {1, 1 << 30}, {1, 1}} {
		s.Resize(size[0], size[1])
		_, _ = s.Write([]byte("中a\x1b[2;2H\x1b[5L"))
		if got := s.Snapshot(); got.Cols < 1 || got.Cols > screen.MaxSide || got.Rows < 1 || len(got.Lines) != got.Rows {
			t.Errorf("%v gives %dx%d", size, got.Cols, got.Rows)
		}
	}
}

// TestSnapshotStays: a snapshot does not change when the screen does.
func TestSnapshotStays(t *testing.T) {
	s := screen.New(10, 2)
	_, _ = s.Write([]byte("before"))
	got := s.Snapshot()
	_, _ = s.Write([]byte("\x1b[H\x1b[2Jafter\n\n\n"))
	text(t, got, "before")
}

// same says whether two snapshots show the same.
func same(t *testing.T, got, want screen.Snapshot) {
	t.Helper()
	got.Version, want.Version = 0, 0
	if got.Cursor != want.Cursor || got.Title != want.Title || got.Alternate != want.Alternate || got.BracketedPaste != want.BracketedPaste || got.ApplicationCursor != want.ApplicationCursor {
		t.Errorf("state %+v %q, want %+v %q", got.Cursor, got.Title, want.Cursor, want.Title)
	}
	for i := range want.Lines {
		if got.Lines[i].Wrapped != want.Lines[i].Wrapped {
			t.Errorf("row %d wraps: %v, want %v", i, got.Lines[i].Wrapped, want.Lines[i].Wrapped)
		}
		for j, c := range want.Lines[i].Cells {
			if g := got.Lines[i].Cells[j]; g != c {
				t.Fatalf("cell %d,%d is %+v, want %+v", i, j, g, c)
			}
		}
	}
}

var pictures = []string{
	"plain\r\ntext",
	"\x1b[?1049h\x1b[44mblue\x1b[K\r\n\x1b[1;2;31mred 中文\x1b[m\x1b[?2004h\x1b[?1h\x1b[?25l\x1b]2;a title\x07",
	"0123456789012345678901234567890123456789",
	"a wrapped line that is longer than the screen is wide, and 中文中文中文中文中文 as well",
	"\x1b[6;1H0123456789012345678\u4e2d", "\x1b[6;20Hx", "\x1b[6;20H\x1b[7mx",
}

func TestRedraw(t *testing.T) {
	for _, p := range pictures {
		want := show(20, 6, p)
		again := screen.New(20, 6)
		_, _ = again.Write(want.Redraw())
		same(t, again.Snapshot(), want)
	}
}

// FuzzScreen: no input makes a screen panic or leaves it in a state that cannot be; what it shows can be shown again.
func FuzzScreen(f *testing.F) {
	for _, p := range pictures {
		f.Add([]byte(p), uint16(20), uint16(6))
	}
	for _, p := range vocabulary {
		f.Add([]byte(p), uint16(3), uint16(2))
	}
	f.Add([]byte("\x1b[999999999999b\x1b[65535L\x1b[;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;m\x1b[2;1r\x1b[?6h\x1b[9;9H\u0301中"), uint16(1), uint16(1))
	f.Fuzz(func(t *testing.T, p []byte, cols, rows uint16) {
		s := screen.New(int(cols%130), int(rows%50))
		_, _ = s.Write(p[:len(p)/2])
		s.Resize(int(rows%90), int(cols%40))
		_, _ = s.Write(p[len(p)/2:])
		got := s.Snapshot()
		sound(t, got)
		again := screen.New(got.Cols, got.Rows)
		_, _ = again.Write(got.Redraw())
		same(t, again.Snapshot(), got)
	})
}

// sound checks what holds of every snapshot.
func sound(t *testing.T, s screen.Snapshot) {
	t.Helper()
	if s.Cursor.Row < 0 || s.Cursor.Row >= s.Rows || s.Cursor.Col < 0 || s.Cursor.Col >= s.Cols || len(s.Lines) != s.Rows {
		t.Fatalf("impossible: %+v in %dx%d", s.Cursor, s.Cols, s.Rows)
	}
	for _, line := range s.Lines {
		if len(line.Cells) != s.Cols {
			t.Fatalf("a row of %d in %d columns", len(line.Cells), s.Cols)
		}
		for i, c := range line.Cells {
			if c.Width == 0 && (i == 0 || line.Cells[i-1].Width != 2 || c.Text != "") || c.Width == 2 && (i+1 == s.Cols || line.Cells[i+1].Width != 0) || c.Width > 0 && c.Text == "" || len(c.Text) > 64 {
				t.Fatalf("cell %d of %q is %+v", i, line.Text(), c)
			}
			if strings.ContainsFunc(c.Text, func(r rune) bool { return unicode.Is(unicode.Cc, r) }) {
				t.Fatalf("a control character on the screen: %q", c.Text)
			}
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	line := []byte(strings.Repeat("\x1b[32mgreen\x1b[m some plain text of a build, 42 files ─ done\r\n", 64))
	s := screen.New(120, 40)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		_, _ = s.Write(line)
	}
}
