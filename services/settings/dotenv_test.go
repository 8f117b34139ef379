package settings

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParseLine(t *testing.T) {
	for _, c := range []struct{ text, name, value string }{
		{"A=b", "A", "b"},
		{"A=b\r\n", "A", "b"},
		{"  export  A = b c \n", "A", "b c"},
		{"\ufeffA=b", "A", "b"},
		{"exported=1", "exported", "1"},
		{"export=1", "export", "1"},
		{"A=", "A", ""},
		{"A=   ", "A", ""},
		{"A= # note", "A", ""},
		{"A=#b", "A", "#b"},
		{"A=b # note", "A", "b"},
		{"A=b#c", "A", "b#c"},
		{"A='b # c' # note", "A", "b # c"},
		{`A='a\nb'`, "A", `a\nb`},
		{`A="a\tb\"c\\\$\q"`, "A", "a\tb\"c\\$\\q"},
		{`A="$HOME ${HOME}"`, "A", "$HOME ${HOME}"}, // nothing is expanded
		{`A='it''s'`, "A", `'it''s'`},
		{`A="open`, "A", `"open`},
		{`A="x" y`, "A", `"x" y`},
		{"A=b=c", "A", "b=c"},
		{"A=\xff", "A", "\ufffd"},
		{"A.B_1=x", "A.B_1", "x"},
		{"# A=b", "", ""},
		{"", "", ""},
		{"1A=b", "", ""},
		{"A-B=c", "", ""},
		{"A b", "", ""},
		{"A", "", ""},
		{"=b", "", ""},
	} {
		if l := parseLine(c.text); l.name != c.name || l.value != c.value {
			t.Errorf("%q: got %q=%q, want %q=%q", c.text, l.name, l.value, c.name, c.value)
		}
	}
}

func TestDocumentKeepsWhatNobodyChanged(t *testing.T) {
	src := "# keys of the house\r\n\r\nOTHER = 'as it is'\nexport A=old # mine\nA=older\nB=1\n\nnot an assignment\nC= # empty"
	for _, c := range []struct{ name, value, want string }{
		{"A", "new one", "# keys of the house\r\n\r\nOTHER = 'as it is'\nA='new one'\nB=1\n\nnot an assignment\nC= # empty"},
		{"B", "1", src},
		{"C", "x", strings.Replace(src, "C=", "C=x", 1)},
		{"D", "it's", src + "\r\nD=\"it's\"\r\n"},
		{"OTHER", "a", strings.Replace(src, "'as it is'", "a", 1)},
		{"B", "", strings.Replace(src, "B=1\n", "", 1)},
		{"A", "", strings.Replace(src, "export A=old # mine\nA=older\n", "", 1)},
		{"Z", "", src},
	} {
		d := parseDocument([]byte(src))
		if c.value == "" {
			d.remove(c.name)
		} else {
			d.set(c.name, c.value)
		}
		if got := string(d.bytes()); got != c.want {
			t.Errorf("%s=%q:\ngot  %q\nwant %q", c.name, c.value, got, c.want)
		}
	}
	d := parseDocument([]byte("export A=old # mine\nB=1"))
	d.set("A", "n")
	if got := string(d.bytes()); got != "export A=n # mine\nB=1" {
		t.Errorf("export and comment: %q", got)
	}
}

// Any value without a line break is read back as it was written.
func TestQuoteRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	special := []rune(`'"\$` + "`" + ` #=!{}~*é世🙂` + "\u00a0")
	for range 20_000 {
		var b strings.Builder
		for range 1 + random.IntN(12) {
			c := special[random.IntN(len(special))]
			switch random.IntN(3) {
			case 0:
				c = rune(0x20 + random.IntN(0x5f))
			case 1:
				c = rune(random.IntN(unicode.MaxRune))
			}
			if utf8.ValidRune(c) && !breaksLine(string(c)) {
				b.WriteRune(c)
			}
		}
		if b.Len() > 0 {
			checkSet(t, []byte("A=1\nX='y' # z\n"), "X", b.String())
			checkSet(t, nil, "X", b.String())
		}
	}
}

func FuzzEnv(f *testing.F) {
	f.Add([]byte("# c\nA=b\nexport X=\"y\" # z\r\n\r\n"), "X", `a'b"c\d$e`)
	f.Add([]byte("A=\"open\nB='x'"), "X", ` # 'x"`)
	f.Add([]byte("X=1\nX=2"), "X", "***")
	f.Add([]byte("\ufeffX= #"), "X", "é")
	f.Fuzz(func(t *testing.T, src []byte, name, value string) {
		d := parseDocument(src)
		if string(d.bytes()) != string(src) {
			t.Fatalf("parsing changed %q into %q", src, d.bytes())
		}
		l := parseLine(name + "=x")
		if l.name != name || name == "" || value == "" || !utf8.ValidString(value) || breaksLine(value) {
			return
		}
		checkSet(t, src, name, value)
	})
}

// checkSet sets and removes a name and looks at everything else.
func checkSet(t *testing.T, src []byte, name, value string) {
	t.Helper()
	d := parseDocument(src)
	before, others := d.values(), linesWithout(d, name)
	d.set(name, value)
	after := parseDocument(d.bytes())
	want := maps.Clone(before)
	want[name] = value
	if got := after.values(); !maps.Equal(got, want) {
		t.Fatalf("set %q=%q in %q: got %q, want %q", name, value, src, got, want)
	}
	if got := linesWithout(after, name); !slices.Equal(got, others) {
		t.Fatalf("set %q=%q in %q changed other lines: %q, were %q", name, value, src, got, others)
	}
	after.remove(name)
	delete(want, name)
	if got := parseDocument(after.bytes()); !maps.Equal(got.values(), want) || !slices.Equal(linesWithout(got, name), others) {
		t.Fatalf("remove %q from %q: %q", name, src, after.bytes())
	}
}

func linesWithout(d *document, name string) []string {
	var out []string
	for _, l := range d.lines {
		if l.name != name {
			out = append(out, strings.TrimRight(l.text, "\r\n"))
		}
	}
	return out
}
