package exports

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Whatever a text is, it stays in its block, and on its line.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"", "plain", "```\n# out\n````", "~~~", "\n\n", "a\r\nb\rc\u2028d", "\x1b]0;x\x07", "<script>", "\u202Ereversed", "- # x", "---", "[a](b)", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		one := inline(s)
		for i, r := range one {
			if unicode.IsControl(r) || strings.ContainsRune("`*_<>[]#|~!&$\\", r) && !escaped(one, i) {
				t.Fatalf("%q has %q", one, r)
			}
		}
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		if err := block(w, s); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		fence := strings.TrimSuffix(lines[0], "text")
		if lines[len(lines)-1] != fence || !utf8.ValidString(b.String()) {
			t.Fatalf("%q is no block", b.String())
		}
		for _, l := range lines[1 : len(lines)-1] {
			if strings.HasPrefix(strings.TrimLeft(l, " "), fence) {
				t.Fatalf("%q leaves its block", b.String())
			}
			if strings.ContainsFunc(l, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
				t.Fatalf("%q has control characters", l)
			}
		}
	})
}

// escaped says whether an odd number of backslashes is before i, or at it one
// that escapes the next.
func escaped(s string, i int) bool {
	n := 0
	for j := i - 1; j >= 0 && s[j] == '\\'; j-- {
		n++
	}
	if s[i] == '\\' && n%2 == 0 {
		return i+1 < len(s) && strings.ContainsRune("`*_<>[]#|~!&$\\\"'()+;=?^{}%-", rune(s[i+1]))
	}
	return n%2 == 1
}

func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{"a b": "a-b", "../../etc": "etc", "": "unnamed", "...": "unnamed", "\x00": "unnamed",
		"żółw.png": "w.png", strings.Repeat("x", 200) + ".tar": strings.Repeat("x", nameMax-4) + ".tar"} {
		if got := safeName(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
