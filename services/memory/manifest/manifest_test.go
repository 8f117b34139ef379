package manifest

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	m, err := Parse([]byte("\uFEFF---\r\nname: csv-report\r\ndescription: >\r\n  Turns tables\r\n  into reports.\r\nlicense: MIT\r\nallowed-tools: [a, b]\r\n" +
		"metadata:\r\n  when_to_use: \"a: table\"\r\n  version: 1.0\r\n---\r\n\r\n# How\r\n\r\nRead.\r\n"))
	if want := (Manifest{Name: "csv-report", Description: "Turns tables into reports.", WhenToUse: "a: table", Body: "# How\n\nRead."}); err != nil || m != want {
		t.Errorf("%+v, %v", m, err)
	}
	const good = "---\nname: a\ndescription: b\n---\n"
	for what, text := range map[string]string{
		"nothing": "", "no front matter": "# Skill\n", "no end": "---\nname: a\ndescription: b\n", "no name": "---\ndescription: b\n---\n",
		"no description": "---\nname: a\n---\n", "empty description": "---\nname: a\ndescription: \" \"\n---\n", "a list": "---\n- a\n---\n",
		"not YAML": "---\nname: [a\n---\n", "a name that is a map": "---\nname: {a: b}\ndescription: b\n---\n", "twice": "---\nname: a\nname: b\ndescription: b\n---\n",
		"long name": "---\nname: " + strings.Repeat("a", 65) + "\ndescription: b\n---\n", "long description": "---\nname: a\ndescription: " + strings.Repeat("b ", 600) + "\n---\n",
		"control": good + "\x1b[0m", "escaped control": "---\nname: \"a\\e\"\ndescription: b\n---\n", "no UTF-8": good + "\xff",
		"huge front matter": "---\nname: a\ndescription: b\nx: " + strings.Repeat("x\n", 20<<10) + "---\n",
		"aliases":           "---\nname: a\ndescription: b\nmetadata: &a [*a, *a]\n---\n",
	} {
		if m, err := Parse([]byte(text)); err == nil && what != "aliases" {
			t.Errorf("%s is read as %+v", what, m)
		}
	}
}

// What is written is read back the same.
func FuzzRoundTrip(f *testing.F) {
	f.Add("---\nname: a\ndescription: b\n---\nbody", "CSV: \"report\"", "# no comment", "- x\n---\ny")
	f.Add("---\nname: &a x\ndescription: *a\nmetadata: {title: 7}\n---", "true", "|\n x", "")
	f.Add("---\r\n\r\n---", "\u2028", "'", "\t")
	f.Fuzz(func(t *testing.T, text, name, description, body string) {
		if m, err := Parse([]byte(text)); err == nil {
			if _, err := m.Format(); err != nil && !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x2000 }) {
				t.Fatalf("%+v of %q: %v", m, text, err)
			}
		}
		m := Manifest{Name: oneLine(name), Description: oneLine(description), Title: oneLine(description + name), Body: strings.TrimSpace(body)}
		out, err := m.Format()
		if err != nil {
			return // such as a character that YAML has not
		}
		if back, err := Parse([]byte(out)); err != nil || back != m {
			t.Fatalf("%q is read as %+v, %v", out, back, err)
		}
	})
}
