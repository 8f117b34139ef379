package offline

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSentences(t *testing.T) {
	for in, want := range map[string][]string{
		"One. Two! Three?":                       {"One.", "Two!", "Three?"},
		"It costs 3.50 EUR, e.g. in Rome. Fine.": {"It costs 3.50 EUR, e.g. in Rome.", "Fine."},
		"Dr. No met J. Bond. See www.x.org now.": {"Dr. No met J. Bond.", "See www.x.org now."},
		"1. First point. Second one.":            {"1. First point.", "Second one."},
		"これは文です。次の文です。":                          {"これは文です。", "次の文です。"},
		"no end\n over lines":                    {"no end over lines"},
		"The year was 1999. It was good.":        {"The year was 1999.", "It was good."},
		"":                                       nil,
	} {
		if got := sentences(in); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestFileNames(t *testing.T) {
	for in, want := range map[string][]string{
		"look at a.md, b/c.csv and `x y.zz`.":                {"x y.zz", "a.md", "b/c.csv"},
		"what's in 'the plan.docx'? it's old":                {"the plan.docx"},
		"open ./src/main.go:12":                              {"src/main.go"},
		"the readme, please":                                 {"README.md"},
		"README.md and README.md":                            {"README.md"},
		"Dockerfile vs Makefile":                             {"Dockerfile", "Makefile"},
		"e.g. version 1.2, i.e. Node.js at https://a.b/c.md": nil,
		"I \"really\" like `code` and v2.0":                  nil,
		"a.md b.md c.md d.md e.md":                           {"a.md", "b.md", "c.md", "d.md"},
		"../../etc/passwd.txt":                               {"../../etc/passwd.txt"},
		"`.env`":                                             {".env"},
	} {
		if got := understand(in).names; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestWordsJoinToTheText(t *testing.T) {
	for _, text := range []string{"", "a", " a  b\n\nc ", "ü\u00a0é 日本", "\n"} {
		var got strings.Builder
		for w := range words(text) {
			got.WriteString(w)
		}
		if got.String() != text {
			t.Errorf("%q became %q", text, got.String())
		}
	}
}

// Nothing that a file or a message holds may make the provider fall over.
func FuzzDocument(f *testing.F) {
	for name, text := range content {
		f.Add(name, clip(text, 2000), "costs of ants")
	}
	f.Add("a.csv", "\"a,b\n;;\n|", "a")
	f.Add("a.json", strings.Repeat("[", 2000), "a")
	f.Fuzz(func(t *testing.T, name, text, question string) {
		if !utf8.ValidString(name) || !utf8.ValidString(text) || !utf8.ValidString(question) {
			return
		}
		d := document{name: name, text: text, size: int64(len(text)), whole: len(text)%2 == 0}
		w := understand(question + " " + name)
		for _, s := range []string{d.summary(w.terms), d.answer(w.terms), d.answer(terms(question)), d.quote()} {
			if s == "" || !utf8.ValidString(s) {
				t.Errorf("%q, %q: %q", name, text, s)
			}
		}
	})
}
