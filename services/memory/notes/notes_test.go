package notes

import (
	"reflect"
	"strings"
	"testing"
)

func parsed(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return f
}

func TestParseWhatPeopleWrite(t *testing.T) {
	const text = "\uFEFF# Rules\r\n\r\nSome words\r\nof prose.\r\n\r\n## Always\r\n\r\n* Be brief.\r\n+ Say why,\r\nlazily.\r\n" +
		"- Longer:\r\n\r\n  ```sh\r\n  - no entry\r\n  ```\r\n  - nested\r\n\r\n<!-- a comment\n- hidden -->\n---\n```\n- code\n```\n## never ##\n-\tTabs. <!-- anthill: {\"id\":\"mem_1\",\"by\":\"agent\"} -->\n"
	var got [][2]string
	f := parsed(t, text)
	for _, e := range f.Entries {
		got = append(got, [2]string{e.Section, e.Text})
	}
	want := [][2]string{{"rules", "Some words\nof prose."}, {"always", "Be brief."}, {"always", "Say why,\nlazily."},
		{"always", "Longer:\n\n```sh\n- no entry\n```\n- nested"}, {"always", "```\n- code\n```"}, {"never", "Tabs."}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if m := f.Entries[5].Meta; m != (Meta{ID: "mem_1", By: "agent"}) {
		t.Errorf("%+v", m)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"- a\xff", "- a\x00", "a\rb", "- a\x1b[0m", "<!-- never closed\n- a", "```\n- a",
		"- a <!-- anthill: {", "- a <!-- anthill: {} x -->", "- a <!-- anthill: {\"id\":7} -->", "- a <!-- anthill: {\"id\":\"../x\"} -->",
		"- a <!-- anthill: {\"name\":\"a\\u0000\"} -->", "- a\n- b <!-- anthill: nothing -->"} {
		if f, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q is read as %+v", text, f.Entries)
		}
	}
}

func TestChangesKeepTheRest(t *testing.T) {
	const text = "# Rules\n\nProse stays.  \n\n## Always\n\n* by hand\n\n## Never\n\n* lie\n"
	f := parsed(t, text)
	more, err := f.Add("Rules", "Always", "two\n\n  lines", Meta{ID: "mem_2"})
	if want := strings.Replace(text, "* by hand\n", "* by hand\n- two\n\n    lines\n  <!-- anthill: {\"id\":\"mem_2\"} -->\n", 1); err != nil || more != want {
		t.Errorf("%q, %v", more, err)
	}
	if more, err = f.Add("Rules", "When", "it rains", Meta{}); err != nil || more != text+"\n## When\n\n- it rains\n" {
		t.Errorf("%q, %v", more, err)
	}
	if more, err = f.Replace(2, "deceive", Meta{}); err != nil || more != strings.Replace(text, "* lie", "- deceive", 1) {
		t.Errorf("%q, %v", more, err)
	}
	if more, err = f.Remove(0); err != nil || more != strings.Replace(text, "Prose stays.  \n", "", 1) {
		t.Errorf("%q, %v", more, err)
	}
	if more, err = parsed(t, "").Add("Lessons", "", "a", Meta{}); err != nil || more != "# Lessons\n\n- a\n" {
		t.Errorf("%q, %v", more, err)
	}
	if more, err = parsed(t, "- a\n\nb\n\n  c\n").Remove(1); err == nil {
		t.Errorf("two entries were joined: %q", more)
	}
}

// What is written is read back the same, and nothing else changes.
func FuzzRoundTrip(f *testing.F) {
	f.Add("# Rules\n\n## Always\n\n- a\n", "always", "text", "mem_1", "name")
	f.Add("by hand", "", "- a\n\n```\n\t- b\n<!-- anthill: {} -->", "", "-->")
	f.Add("- a\n  b <!-- anthill: {\"id\":\"x\"} -->\n\n\n", "when", "<!-- anthill: {", "a", "\u2028")
	f.Add("\uFEFF```\ncode\n```", "never", "  # x  \n \t \n y", "b", "")
	f.Fuzz(func(t *testing.T, file, heading, text, id, name string) {
		before, err := Parse([]byte(file))
		if err != nil {
			before, file = &File{sections: []section{{}}}, ""
		}
		for _, e := range before.Entries {
			if again, err := Normalize(e.Text); err != nil || again != e.Text {
				t.Fatalf("an entry is %q, normally %q", e.Text, again)
			}
		}
		text, err = Normalize(text)
		m := Meta{ID: id, Name: name}
		if err != nil || m.valid() != nil {
			return
		}
		switch heading {
		case "always", "never", "when":
		default:
			heading = ""
		}
		changed, err := before.Add("Title", heading, text, m)
		if err != nil {
			if file == "" {
				t.Fatalf("%q cannot be written: %v", text, err)
			}
			return
		}
		after, err := Parse([]byte(changed))
		if err != nil || len(after.Entries) != len(before.Entries)+1 {
			t.Fatalf("%q after %q: %v", changed, file, err)
		}
		at := -1
		for i, e := range after.Entries {
			if e.Text == text && e.Meta == m && (heading == "" || e.Section == heading) {
				at = i
			}
		}
		if at < 0 {
			t.Fatalf("%q with %+v is not in %q", text, m, changed)
		}
		if back, err := after.Remove(at); err == nil {
			if again, err := Parse([]byte(back)); err != nil || !reflect.DeepEqual(again.texts(), before.texts()) {
				t.Fatalf("%q without what was added: %q, %v", file, back, err)
			}
		}
	})
}
