// Package notes is the Markdown in which memory is kept, so that people can read
// it and edit it by hand: every list item and every paragraph is an entry, and a
// comment at the end of one says where it comes from.
//
// Parse reads a file, and the changes it offers are texts of a whole new file:
// what is not changed stays as it is, byte by byte. Nothing here touches a disk.
package notes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Entry is one thing that is remembered.
type Entry struct {
	Text    string
	Meta    Meta
	Section string // the heading that it stands under, in lowercase; may be empty

	from, to int // bytes of the file
}

// Meta is what the comment of an entry says; all of it may be missing.
type Meta struct {
	ID           string `json:"id,omitempty"`
	Name         string `json:"name,omitempty"`
	Description  string `json:"description,omitempty"`
	Type         string `json:"type,omitempty"`
	By           string `json:"by,omitempty"`
	Conversation string `json:"conversation,omitempty"`
	Turn         string `json:"turn,omitempty"`
	At           string `json:"at,omitempty"`      // ISO 8601 in UTC
	Changed      string `json:"changed,omitempty"` // ISO 8601 in UTC
}

// File is a file that was read.
type File struct {
	Entries  []Entry
	text     string
	sections []section // the first is what stands above all headings
}

type section struct {
	name   string // in lowercase
	at     int    // end of the last line in it that is not blank
	listed bool   // that line is of a list item
}

const (
	metaMax = 4000 // bytes of one value
	mark    = "<!-- anthill:"
	closing = "-->"
)

// ErrSpoilt is for a change that the text around it does not allow, such as one
// that would join two entries.
var ErrSpoilt = errors.New("notes: the file can only be changed by hand here")

// Normalize is a text as it will be read back: without outer blanks, with plain
// line ends, and with nothing on blank lines. It fails for control characters,
// for what is not UTF-8, and for nothing at all.
func Normalize(text string) (string, error) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	if text == "" {
		return "", errors.New("it is empty")
	}
	if err := plain(text); err != nil {
		return "", err
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if blank(l) {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n"), nil
}

// plain refuses what no text has.
func plain(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("it is not UTF-8")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }); i >= 0 {
		return fmt.Errorf("line %d has a control character", 1+strings.Count(text[:i], "\n"))
	}
	return nil
}

func blank(line string) bool { return strings.Trim(line, " \t") == "" }

// valid checks values that the file gives, as those of a request are.
func (m Meta) valid() error {
	for _, v := range []string{m.ID, m.Name, m.Description, m.Type, m.By, m.Conversation, m.Turn, m.At, m.Changed} {
		if len(v) > metaMax || !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
			return errors.New("a value in the comment of an entry is not plain text, or too long")
		}
	}
	if strings.Trim(m.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return errors.New("an id has other characters than letters, digits, \"_\" and \"-\"")
	}
	return nil
}

// format is an entry as a list item.
func format(text string, m Meta) string {
	comment := ""
	if m != (Meta{}) {
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(m); err != nil { // it writes "<" and ">" so that they end no comment
			panic(err) // strings always encode
		}
		comment = mark + " " + strings.TrimSpace(b.String()) + " " + closing
	}
	if comment != "" && strings.Contains(text, "\n") {
		text += "\n" + comment
	} else if comment != "" {
		text += " " + comment
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		switch {
		case i == 0:
			lines[i] = "- " + l
		case l != "":
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// Add returns the file with one more entry, at the end of a section, which is
// made if there is none; without a section at the end of the file. title heads a
// file that is empty. text must be normal.
func (f *File) Add(title, heading, text string, m Meta) (string, error) {
	item := format(text, m)
	if blank(strings.ReplaceAll(f.text, "\n", "")) {
		out := "# " + title + "\n\n"
		if heading != "" {
			out += "## " + heading + "\n\n"
		}
		return f.check(out+item, []string{text})
	}
	at := f.sections[len(f.sections)-1]
	if heading != "" {
		found := false
		for _, s := range f.sections {
			if s.name == strings.ToLower(heading) {
				at, found = s, true
				break
			}
		}
		if !found {
			item = "\n## " + heading + "\n\n" + item
		} else if !at.listed {
			item = "\n" + item
		}
	} else if !at.listed {
		item = "\n" + item
	}
	head, tail := f.text[:at.at], f.text[at.at:]
	if head != "" && !strings.HasSuffix(head, "\n") {
		head += "\n"
	}
	if tail != "" && !strings.HasPrefix(tail, "\n") && !strings.HasPrefix(tail, "\r\n") {
		item += "\n"
	}
	before := 0 // entries that stay before it
	for before < len(f.Entries) && f.Entries[before].from < at.at {
		before++
	}
	want := f.texts()
	want = append(want[:before:before], append([]string{text}, want[before:]...)...)
	return f.check(head+item+tail, want)
}

// Replace returns the file with another entry in the place of Entries[i].
func (f *File) Replace(i int, text string, m Meta) (string, error) {
	want := f.texts()
	want[i] = text
	e := f.Entries[i]
	return f.check(f.text[:e.from]+format(text, m)+f.text[e.to:], want)
}

// Remove returns the file without Entries[i].
func (f *File) Remove(i int) (string, error) {
	want := f.texts()
	e := f.Entries[i]
	return f.check(f.text[:e.from]+f.text[e.to:], append(want[:i:i], want[i+1:]...))
}

func (f *File) texts() []string {
	out := make([]string, len(f.Entries))
	for i, e := range f.Entries {
		out[i] = e.Text
	}
	return out
}

// check reads a changed file again: it must have these entries and no others.
func (f *File) check(text string, want []string) (string, error) {
	got, err := Parse([]byte(text))
	if err != nil || len(got.Entries) != len(want) {
		return "", ErrSpoilt
	}
	for i, e := range got.Entries {
		if e.Text != want[i] {
			return "", ErrSpoilt
		}
	}
	return text, nil
}
