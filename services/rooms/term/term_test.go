package term_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"anthill/services/rooms/term"
)

func top(n int, texts ...string) string {
	var c term.Counter
	for _, text := range texts {
		c.Add(text)
	}
	var out []string
	for _, w := range c.Top(n) {
		out = append(out, fmt.Sprintf("%s %d", w.Term, w.N))
	}
	return strings.Join(out, ", ")
}

func TestTop(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"The ferry, the FERRY! and a tent; it isn't the tent's rope", "ferry 2, tent 2, rope 1"},
		{"@codex see https://example.com/ferry for ferry-boats", "boats 1, ferry 1"},
		{"x_y 12345 ab abc", "abc 1"},
		{"Überraschung für Jürgen: überraschung", "überraschung 2, für 1, jürgen 1"},
		{"паром и Паром", "паром 2"},
		{"उम्मीद उम्मीद", "उम्मीद 2"},
		{"渡轮离开。渡轮!", "渡轮 2, 离开 1, 轮离 1"},
		{"フェリーに乗る", "ェリ 1, フェ 1"},
		{"a渡b轮c", ""},
		{strings.Repeat("x", 65) + " short", "short 1"},
		{"\xff\xfe bytes \xc3", "bytes 1"},
	} {
		if got := top(10, c.text); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
	if got := top(2, "bb ccc ccc ddd", "aaa ccc ddd eee"); got != "ccc 3, ddd 2" {
		t.Error(got)
	}
}

// However many different words there are, those that are known are still counted.
func TestDistinctWordsAreBounded(t *testing.T) {
	var c term.Counter
	c.Add("ferry")
	for n := range 60_000 {
		word := []byte("aaaaa")
		for i, rest := 0, n; i < len(word); i, rest = i+1, rest/26 {
			word[i] += byte(rest % 26)
		}
		c.Add(string(word))
	}
	c.Add("ferry")
	if all := c.Top(1_000_000); len(all) != 50_000 || all[0] != (term.Count{Term: "ferry", N: 2}) {
		t.Errorf("%d words, first %v", len(all), all[0])
	}
}

func FuzzAdd(f *testing.F) {
	for _, s := range []string{"The ferry isn't", "渡轮 and フェリー", "\xff\xfe", "a渡b", "@x http://y z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c term.Counter
		c.Add(text)
		sum := 0
		for _, w := range c.Top(1 << 30) {
			if w.N < 1 || !utf8.ValidString(w.Term) || utf8.RuneCountInString(w.Term) < 2 || strings.ToLower(w.Term) != w.Term && !strings.ContainsFunc(w.Term, func(r rune) bool { return r > 127 }) {
				t.Errorf("%q %d in %q", w.Term, w.N, text)
			}
			sum += w.N
		}
		if sum > len(text) {
			t.Errorf("%d words of %d bytes", sum, len(text))
		}
	})
}
