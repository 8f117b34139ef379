package terminal

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestStrip(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 漢字\r\nnext":                                            "plain é 漢字\nnext",
		"\x1b[1;31mred\x1b[0m":                                          "red",
		"\x1b[?2004h\x1b[>4;1m\x1b[=1u\x1b[!p$":                         "$",
		"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\":     "alink",
		"\x1bP1$r0m\x1b\\a\x1b_apc\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d": "abcd",
		"\x1bktitle\x1b\\a":                                             "a",
		"\x1b(B\x1b)0a\x1b(0lqqk\x1b(Bcq":                               "a┌──┐cq",
		"\x1b)0\x0eqx\x0fqx":                                            "─│qx",
		"\x1b#8\x1b%G\x1b=\x1b>\x1b7\x1b8\x1bM x":                       " x",
		"\u009b31mred\u009d0;t\u009cx\u0090q\u009cy":                    "redxy",
		"a\u00a0b":                 "a\u00a0b",
		"10%\r20%\rdone":           "done",
		"abc\b\bX":                 "aXc",
		"bell\x07 nul\x00 del\x7f": "bell nul del",
		"cut \x1b[3":               "cut ",
		"cut \x1b":                 "cut ",
		"cut \x1b]0;never ends":    "cut ",
		"\x1b[3\x1b[31mx":          "x",
		"\x1b]0;a\x1b[31mx":        "x",
		"\x1b[31\x18x":             "x",
		"bad \xff\xfe":             "bad \uFFFD",
	} {
		if got := Strip([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzStrip(f *testing.F) {
	for _, s := range []string{"\x1b[1;31mred\x1b[0m", "\x1b]0;t\x07", "\x1b(0lqk\x1b(B", "\u009b1m", "\x1bP\x1b\\", "\xc2\x9d0;t\xc2\x9c", "é漢\b\r\n"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		got := Strip(in)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t'
		}) {
			t.Fatalf("%q leaves %q", in, got)
		}
		// Wherever it is cut, the text is the same.
		at = min(max(at, 0), len(in))
		var whole, parts stripper
		one := whole.append(nil, in)
		two := parts.append(parts.append(nil, in[:at]), in[at:])
		if string(one) != string(two) {
			t.Fatalf("%q cut at %d: %q, not %q", in, at, two, one)
		}
	})
}

func TestWholeRunes(t *testing.T) {
	s := []byte("aé漢😀")
	for n, want := range []int{0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10} {
		if got := WholeRunes(s[:n]); got != want {
			t.Errorf("%d bytes: %d, want %d", n, got, want)
		}
	}
	if got := WholeRunes([]byte("\xff\xff\xbf\xbf\xbf")); got != 5 {
		t.Errorf("what is no UTF-8: %d", got)
	}
}

// told feeds a parser pieces cut at every n bytes.
func told(in string, n int) (blocks []Block, titles, cwds []string) {
	p := &markParser{onBlock: func(b Block) { blocks = append(blocks, b) },
		onTitle: func(s string) { titles = append(titles, s) }, onCwd: func(s string) { cwds = append(cwds, s) }}
	for at := 0; at < len(in); at += n {
		p.feed(int64(at), []byte(in[at:min(len(in), at+n)]), time.UnixMilli(int64(1000+at)))
	}
	return blocks, titles, cwds
}

func TestBlocks(t *testing.T) {
	in := "\x1b]7;file://host/tmp/a%20b\x07\x1b]133;A\x07$ \x1b]133;B\x07ls -x\b\bl\r\n\x1b]133;C\x07out\r\n\x1b]133;D;2\x07" +
		"\x1b]0;a\x01\u202eb\x1b\\\x1b]133;A\x1b\\$ \x1b]133;B\x1b\\\r\n\x1b]133;D;0\x1b\\" + // nothing ran
		"\x1b]133;A\x1b\\$ \x1b]133;B\x1b\\xx\x1b]133;C;cmdline_url=echo%20%22a%22%0Ab\x1b\\\x1b]133;C\x1b\\o\x1b]133;D;0;aid=1\x1b\\\x1b]133;D;1\x1b\\" +
		"\x1b]7;kitty://x\x07\x1b]7;file://h/a%00b\x07\x1b]133;C\x07lost\x1b]133;A\x07"
	for n := 1; n <= len(in); n++ {
		blocks, titles, cwds := told(in, n)
		if len(blocks) != 3 || len(titles) != 1 || titles[0] != "ab" || len(cwds) != 1 || cwds[0] != "/tmp/a b" {
			t.Fatalf("cut at %d: %+v %q %q", n, blocks, titles, cwds)
		}
		first, second, third := blocks[0], blocks[1], blocks[2]
		if first.Command != "ls l" || first.ExitCode != 2 || first.Cwd != "/tmp/a b" ||
			!strings.HasPrefix(in[first.Start:first.End], "out\r\n\x1b]133;D") {
			t.Errorf("cut at %d: %+v: %q", n, first, in[first.Start:first.End])
		}
		if second.Command != "echo \"a\"\nb" || second.ExitCode != 0 || third.ExitCode != -1 {
			t.Errorf("cut at %d: %+v, %+v", n, second, third)
		}
	}
}

func TestMarksAreBounded(t *testing.T) {
	p := &markParser{onBlock: func(Block) {}, onTitle: func(string) {}, onCwd: func(string) {}}
	piece := []byte(strings.Repeat("x", 1<<16))
	for _, begin := range []string{"\x1b]0;", "\x1bP", "\x1b[", "\x07\x1b\\\x1b]133;B\x07"} {
		p.feed(0, []byte(begin), time.Now())
		for range 64 {
			p.feed(0, piece, time.Now())
		}
		if n := cap(p.scanner.payload) + cap(p.echo); n > 4*(sequenceMost+echoMost) {
			t.Errorf("%q: %d bytes are kept", begin, n)
		}
	}
}

func FuzzMarks(f *testing.F) {
	f.Add("\x1b]133;A\x07$ \x1b]133;B\x07ls\x1b]133;C;cmdline_url=%41\x07o\x1b]133;D;1\x07\x1b]7;file:///a\x07\x1b]2;t\x07", 2)
	f.Fuzz(func(t *testing.T, in string, n int) {
		blocks, titles, cwds := told(in, max(1, n))
		for _, b := range blocks {
			if b.Start < 0 || b.End < b.Start || b.End > int64(len(in)) || len(b.Command) > commandMost || b.ExitCode < -1 || b.ExitCode > 255 {
				t.Fatalf("%+v", b)
			}
		}
		for _, s := range append(titles, cwds...) {
			if strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
				t.Fatalf("%q", s)
			}
		}
		whole, _, _ := told(in, max(1, len(in)))
		if len(whole) != len(blocks) {
			t.Fatalf("%d blocks, %d when cut", len(whole), len(blocks))
		}
	})
}
