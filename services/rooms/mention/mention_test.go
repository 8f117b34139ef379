package mention_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"anthill/services/rooms/mention"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		text     string
		names    string
		everyone bool
	}{
		{"", "", false},
		{"no one", "", false},
		{"@codex run the tests", "codex", false},
		{"run, @codex", "codex", false},
		{"@codex, @gemini: both", "codex gemini", false},
		{"@codex @codex", "codex", false},
		{"(@codex)", "codex", false},
		{"ask @codex.", "codex.", false},
		{"@my-agent_2.1 go", "my-agent_2.1", false},
		{"line\n@codex\nline", "codex", false},
		{"mail me at james@codex.com", "", false},
		{"a_@b", "", false},
		{"über@b", "", false},
		{"see [@codex]", "", false},
		{"see [@codex] and @gemini", "gemini", false},
		{"see [@codex ]", "codex", false},
		{"[@codex", "codex", false},
		{"[see @codex]", "codex", false},
		{"[[@codex]]", "", false},
		{"@", "", false},
		{"@ codex", "", false},
		{"@@codex", "codex", false},
		{"@@@", "", false},
		{"@everyone", "", true},
		{"@Everyone!", "", true},
		{"hello @everyone.", "", true},
		{"[@everyone]", "", false},
		{"@everyone and @codex", "codex", true},
		{"@everyoneelse", "everyoneelse", false},
		{"@Jürgen schau", "Jürgen", false},
		{"@李雷 你好", "李雷", false},
		{"\xff@codex\xff", "codex", false},
		{"@" + strings.Repeat("x", 200), "", false},
	} {
		got := mention.Parse(tc.text)
		if strings.Join(got.Names, " ") != tc.names || got.Everyone != tc.everyone {
			t.Errorf("%q: %q %v, want %q %v", tc.text, got.Names, got.Everyone, tc.names, tc.everyone)
		}
	}
}

func TestIs(t *testing.T) {
	for _, tc := range []struct {
		written, handle string
		want            bool
	}{
		{"codex", "@codex", true},
		{"codex", "codex", true},
		{"Codex", "@codex", true},
		{"codex.", "@codex", true},
		{"codex...", "@codex", true},
		{"codex-", "@codex", true},
		{"codex.", "@codex.", true},
		{"codex-2", "@codex", false},
		{"code", "@codex", false},
		{"codex", "", false},
		{"", "", false},
		{".", "@", false},
	} {
		if got := mention.Is(tc.written, tc.handle); got != tc.want {
			t.Errorf("Is(%q, %q) = %v", tc.written, tc.handle, got)
		}
	}
}

func TestAtEnd(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "@": false, "@codex": true, "hey @codex": true, "@codex ": false, "a@codex": false,
		"codex": false, "@codex!": false, "@a @b": true, "@a b": false,
	} {
		if got := mention.AtEnd(text); got != want {
			t.Errorf("AtEnd(%q) = %v", text, got)
		}
	}
}

func TestManyNames(t *testing.T) {
	var text strings.Builder
	for i := range 10_000 {
		text.WriteString("@n")
		text.WriteString(strings.Repeat("x", i%100))
		text.WriteString(" ")
	}
	if got := mention.Parse(text.String()); len(got.Names) != 64 {
		t.Errorf("%d names", len(got.Names))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"@codex", "[@x] @y", "a@b.c", "@everyone.", "@@", "\xff@\xff", "[@", "@]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := mention.Parse(text)
		for _, n := range m.Names {
			if n == "" || strings.ContainsAny(n, "@[] \n") || !utf8.ValidString(n) || !strings.Contains(text, "@"+n) {
				t.Errorf("%q: name %q", text, n)
			}
			if !mention.Is(n, "@"+n) {
				t.Errorf("%q is not itself", n)
			}
		}
		if mention.AtEnd(text) != mention.AtEnd("x "+text) && !strings.HasPrefix(text, "@") {
			// What stands before can only matter for an @ at the very beginning.
			t.Errorf("%q: the end depends on the beginning", text)
		}
		// Text in front, with a space between, changes nothing.
		if again := mention.Parse("x " + text); !slices.Equal(again.Names, m.Names) || again.Everyone != m.Everyone {
			t.Errorf("%q: %v, behind other text %v", text, m, again)
		}
	})
}
