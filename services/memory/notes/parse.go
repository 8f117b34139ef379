package notes

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Parse reads a file. It fails, and says where, for what is not UTF-8, for
// control characters, for a comment or a code fence without an end, and for the
// comment of an entry that cannot be read.
func Parse(data []byte) (*File, error) {
	text := string(data)
	if err := plain(strings.ReplaceAll(strings.TrimPrefix(text, "\uFEFF"), "\r\n", "\n")); err != nil {
		return nil, err
	}
	p := &parser{file: &File{text: text, sections: []section{{}}}}
	at := len(text) - len(strings.TrimPrefix(text, "\uFEFF"))
	for at < len(text) {
		end := at + strings.IndexByte(text[at:], '\n') + 1
		if end == at {
			end = len(text)
		}
		p.number++
		p.line(strings.TrimRight(text[at:end], "\r\n"), at, end)
		at = end
	}
	if p.fence != "" || p.comment {
		return nil, fmt.Errorf("line %d begins a comment or a code fence that has no end", p.opened)
	}
	p.finish()
	return p.file, p.err
}

type parser struct {
	file    *File
	number  int // of the line
	open    *block
	fence   string // what ends the code fence that is open
	comment bool   // one that is no entry's is open
	opened  int    // line of the fence or comment
	err     error
}

// block is an entry that may go on.
type block struct {
	item     bool // of a list, else a paragraph
	lines    []string
	blanks   int // blank lines behind the last one
	from, to int
	number   int
}

// line takes the next line, which is text[from:to] without its end.
func (p *parser) line(s string, from, to int) {
	if p.inside(s, from, to) {
		return
	}
	bare := strings.TrimLeft(s, " \t")
	indented := len(bare) < len(s)
	switch {
	case bare == "":
		if p.open != nil {
			p.open.blanks++
			if !p.open.item {
				p.finish()
			}
		}
		return
	case p.open != nil && p.open.item && indented:
		p.more(unindented(s), to)
	case isItem(bare):
		p.begin(true, strings.TrimLeft(bare[1:], " \t"), from, to)
	case isRule(bare):
		p.finish()
	case isHeading(bare) && !indented:
		p.finish()
		name := strings.TrimSpace(strings.Trim(bare, "# \t"))
		p.file.sections = append(p.file.sections, section{name: strings.ToLower(name)})
	case p.open != nil && p.open.blanks == 0 && strings.HasPrefix(bare, mark):
		p.more(bare, to)
	case strings.HasPrefix(bare, "<!--"):
		p.finish()
		p.comment, p.opened = !strings.Contains(bare[len("<!--"):], closing), p.number
	case p.open != nil && p.open.blanks == 0:
		p.fence, p.opened = fenceOf(bare), p.number
		p.more(bare, to)
	default:
		p.begin(false, bare, from, to)
		p.fence, p.opened = fenceOf(bare), p.number
	}
	p.mark(to)
}

// inside takes a line of a fence or of a comment.
func (p *parser) inside(s string, _, to int) bool {
	switch {
	case p.comment:
		p.comment = !strings.Contains(s, closing)
	case p.fence != "":
		if p.open.item {
			s = unindented(s)
		}
		p.more(s, to)
		if end := strings.Trim(s, " \t"); strings.HasPrefix(end, p.fence) && strings.Trim(end, p.fence[:1]) == "" {
			p.fence = ""
		}
	default:
		return false
	}
	p.mark(to)
	return true
}

// mark notes how far the last section reaches.
func (p *parser) mark(to int) {
	s := &p.file.sections[len(p.file.sections)-1]
	s.at, s.listed = to, p.open != nil && p.open.item
}

func (p *parser) begin(item bool, line string, from, to int) {
	p.finish()
	p.open = &block{item: item, lines: []string{line}, from: from, to: to, number: p.number}
}

func (p *parser) more(line string, to int) {
	b := p.open
	for ; b.blanks > 0; b.blanks-- {
		b.lines = append(b.lines, "")
	}
	b.lines, b.to = append(b.lines, line), to
}

// finish makes an entry of what is open.
func (p *parser) finish() {
	b := p.open
	if p.open = nil; b == nil {
		return
	}
	e := Entry{from: b.from, to: b.to, Section: p.file.sections[len(p.file.sections)-1].name}
	var err error
	if e.Text, e.Meta, err = split(strings.Join(b.lines, "\n")); err != nil {
		if p.err == nil {
			p.err = fmt.Errorf("line %d: %w", b.number, err)
		}
		return
	}
	if e.Text, err = Normalize(e.Text); err == nil { // what is empty is none
		p.file.Entries = append(p.file.Entries, e)
	}
}

// split takes the comment off an entry.
func split(text string) (string, Meta, error) {
	var m Meta
	at := strings.LastIndex(text, mark)
	if at < 0 {
		return text, m, nil
	}
	body, rest, closed := strings.Cut(text[at+len(mark):], closing)
	if !closed {
		return "", m, errors.New("the comment of an entry has no end")
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return "", m, errors.New("the comment of an entry is not as anthill writes it")
	}
	return strings.TrimSpace(text[:at]) + rest, m, m.valid()
}

// unindented is a line that goes on an item, without what says so.
func unindented(s string) string {
	if rest, ok := strings.CutPrefix(s, "  "); ok {
		return rest
	}
	return strings.TrimPrefix(strings.TrimPrefix(s, " "), "\t")
}

func isItem(s string) bool {
	return len(s) > 1 && strings.ContainsRune("-*+", rune(s[0])) && (s[1] == ' ' || s[1] == '\t') && !isRule(s)
}

func isHeading(s string) bool {
	rest := strings.TrimLeft(s, "#")
	return len(s)-len(rest) >= 1 && len(s)-len(rest) <= 6 && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// isRule says that a line only divides.
func isRule(s string) bool {
	s = strings.NewReplacer(" ", "", "\t", "").Replace(s)
	return len(s) >= 3 && strings.ContainsRune("-*_", rune(s[0])) && strings.Trim(s, s[:1]) == ""
}

// fenceOf is what ends the code that a line begins; empty if it begins none.
func fenceOf(s string) string {
	for _, c := range []string{"`", "~"} {
		rest := strings.TrimLeft(s, c)
		if n := len(s) - len(rest); n >= 3 && (c == "~" || !strings.Contains(rest, c)) {
			return s[:n]
		}
	}
	return ""
}
