package settings

import (
	"bytes"
	"strings"
)

// document is a dotenv file. Lines that nobody changes stay as they are, byte
// for byte: comments, blank lines, order, unknown names, spelling.
//
// A value never spans lines, nothing in it refers to another, and a line that
// is no assignment is somebody's own affair.
type document struct {
	lines []line
	eol   string
}

// line is one line of a document, with its line end.
type line struct {
	text     string
	name     string // "" if the line is no assignment
	value    string
	from, to int // where the value stands in text, quotes included
}

const byteOrderMark = "\ufeff"

func parseDocument(src []byte) *document {
	d := &document{eol: "\n"}
	if bytes.Contains(src, []byte("\r\n")) {
		d.eol = "\r\n"
	}
	for text := range strings.Lines(string(src)) {
		d.lines = append(d.lines, parseLine(text))
	}
	return d
}

func parseLine(text string) line {
	l := line{text: text}
	at := 0
	if strings.HasPrefix(text, byteOrderMark) {
		at = len(byteOrderMark)
	}
	at += blanks(text[at:])
	if rest, ok := strings.CutPrefix(text[at:], "export"); ok && blanks(rest) > 0 {
		at += len("export") + blanks(rest)
	}
	name := at
	for at < len(text) && isNameByte(text[at], at == name) {
		at++
	}
	equals := at + blanks(text[at:])
	if at == name || equals >= len(text) || text[equals] != '=' {
		return l
	}
	l.name = text[name:at]
	l.from = equals + 1
	rest := strings.TrimRight(text[l.from:], "\r\n")
	start := blanks(rest)
	value, width := parseValue(rest[start:], start > 0)
	if width == 0 { // an empty value, or only a comment behind the name
		l.to = l.from
		return l
	}
	l.value = strings.ToValidUTF8(value, "\ufffd")
	l.from += start
	l.to = l.from + width
	return l
}

// parseValue reads the value at the start of s; width is how much of s it
// takes. spaced says that a blank comes before s.
func parseValue(s string, spaced bool) (value string, width int) {
	if s != "" && (s[0] == '\'' || s[0] == '"') {
		if value, width, ok := parseQuoted(s); ok {
			return value, width
		}
	}
	end := len(s)
	for i := range len(s) {
		if s[i] == '#' && (i > 0 && isBlank(s[i-1]) || i == 0 && spaced) {
			end = i
			break
		}
	}
	value = strings.TrimRight(s[:end], " \t")
	return value, len(value)
}

// parseQuoted is not ok if the quote stays open or something other than a
// comment follows it: then the quotes are part of a plain value.
func parseQuoted(s string) (value string, width int, ok bool) {
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			tail := s[i+1:]
			n := blanks(tail)
			if n < len(tail) && (n == 0 || tail[n] != '#') {
				return "", 0, false
			}
			return b.String(), i + 1, true
		case c == '\\' && quote == '"' && i+1 < len(s):
			i++
			b.WriteString(unescape(s[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}

func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case '\\', '"', '$', '`':
		return string(c)
	}
	return `\` + string([]byte{c})
}

// quote writes a value so that this parser, a shell and the usual dotenv
// readers all read it back. The value holds no line break.
func quote(value string) string {
	plain := func(c rune) bool {
		return c < 0x80 && (isNameByte(byte(c), false) || strings.ContainsRune("/:@%+,=-", c))
	}
	switch {
	case strings.IndexFunc(value, func(c rune) bool { return !plain(c) }) < 0:
		return value
	case !strings.ContainsAny(value, `'\`):
		return "'" + value + "'"
	default:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value) + `"`
	}
}

// values returns every assignment; the last one of a name counts.
func (d *document) values() map[string]string {
	m := make(map[string]string, len(d.lines))
	for _, l := range d.lines {
		if l.name != "" {
			m[l.name] = l.value
		}
	}
	return m
}

// set makes value the only one of name, where its last assignment stands or at
// the end.
func (d *document) set(name, value string) {
	last := -1
	for i, l := range d.lines {
		if l.name == name {
			last = i
		}
	}
	if last < 0 {
		if n := len(d.lines); n > 0 && !strings.HasSuffix(d.lines[n-1].text, "\n") {
			d.lines[n-1].text += d.eol
		}
		d.lines = append(d.lines, parseLine(name+"="+quote(value)+d.eol))
		return
	}
	if l := d.lines[last]; l.value != value { // else its spelling stays
		d.lines[last] = parseLine(l.text[:l.from] + quote(value) + l.text[l.to:])
	}
	kept := d.lines[:0]
	for i, l := range d.lines {
		if l.name != name || i == last {
			kept = append(kept, l)
		}
	}
	d.lines = kept
}

// remove drops every assignment of name.
func (d *document) remove(name string) {
	kept := d.lines[:0]
	for _, l := range d.lines {
		if l.name != name {
			kept = append(kept, l)
		}
	}
	d.lines = kept
}

func (d *document) bytes() []byte {
	var b bytes.Buffer
	for _, l := range d.lines {
		b.WriteString(l.text)
	}
	return b.Bytes()
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func blanks(s string) int { return len(s) - len(strings.TrimLeft(s, " \t")) }

func isNameByte(c byte, first bool) bool {
	switch {
	case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_':
		return true
	case c >= '0' && c <= '9', c == '.':
		return !first
	}
	return false
}
