package documents

import (
	"encoding/xml"
	"slices"
	"strings"
)

// extractWord reads the body of a Word file, then its notes and comments.
func extractWord(out *writer, src Source, l Limits) error {
	a, err := openArchive(out.ctx, src, l)
	if err != nil {
		return err
	}
	if err := a.walk("word/document.xml", newWordReader(out).see); err != nil {
		return err
	}
	for _, part := range []struct{ name, title string }{
		{"word/footnotes.xml", "Footnotes"}, {"word/endnotes.xml", "Endnotes"}, {"word/comments.xml", "Comments"},
	} {
		if !a.has(part.name) {
			continue
		}
		r := newWordReader(out)
		r.title = part.title
		if err := a.walk(part.name, r.see); err != nil {
			return err
		}
	}
	return nil
}

// wordReader turns WordprocessingML into Markdown.
type wordReader struct {
	out    *writer
	title  string   // to stand before the first text
	text   bool     // inside w:t
	skip   int      // elements open since one whose content does not count
	prefix string   // of the paragraph: heading or list mark
	list   bool     // the paragraph is in a list
	before bool     // the one before it was
	cells  []bool   // for each open table: a cell of its row was begun
	stack  []string // names of open elements
}

func newWordReader(out *writer) *wordReader { return &wordReader{out: out} }

// ignoredInWord are elements whose text is not what the document says:
// alternatives for programs that cannot show the first choice, codes of fields,
// and what was deleted under revision control.
var ignoredInWord = []string{"Fallback", "instrText", "delText", "del", "moveFrom"}

func (r *wordReader) see(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		if r.skip > 0 || slices.Contains(ignoredInWord, t.Name.Local) {
			r.skip++
			return nil
		}
		r.stack = append(r.stack, t.Name.Local)
		return r.open(t)
	case xml.EndElement:
		if r.skip > 0 {
			r.skip--
			return nil
		}
		r.stack = r.stack[:len(r.stack)-1]
		r.close(t.Name.Local)
	case xml.CharData:
		if r.text && r.skip == 0 {
			return r.say(string(t))
		}
	}
	return nil
}

func (r *wordReader) open(e xml.StartElement) error {
	switch e.Name.Local {
	case "t":
		r.text = true
	case "p":
		if len(r.cells) == 0 {
			r.out.paragraph()
		}
		r.prefix, r.before, r.list = "", r.list, false
	case "pStyle":
		r.prefix = headingMark(attr(e, "val"))
	case "numPr":
		if r.prefix != "" {
			break // a numbered heading
		}
		if r.prefix, r.list = "- ", true; r.before && len(r.cells) == 0 {
			r.out.breaks = min(r.out.breaks, 1)
		}
	case "tab":
		if slices.Contains(r.stack, "r") { // elsewhere it sets a tab stop
			return r.say("\t")
		}
	case "br", "cr":
		if len(r.cells) > 0 {
			return r.say(" ")
		}
		r.out.line()
	case "noBreakHyphen":
		return r.say("-")
	case "tbl":
		r.out.paragraph()
		r.cells = append(r.cells, false)
	case "tr":
		r.out.line()
		if n := len(r.cells); n > 0 {
			r.cells[n-1] = false
		}
	case "tc":
		if n := len(r.cells); n > 0 {
			if r.cells[n-1] {
				return r.out.write(" | ")
			}
			r.cells[n-1] = true
		}
	}
	return nil
}

func (r *wordReader) close(name string) {
	switch name {
	case "t":
		r.text = false
	case "tbl":
		r.cells = r.cells[:max(len(r.cells)-1, 0)]
		r.out.paragraph()
	case "tr":
		r.out.line()
	}
}

// say adds text to the paragraph, after its mark if it is the first.
func (r *wordReader) say(s string) error {
	if r.title != "" {
		r.out.paragraph()
		s, r.title = "## "+r.title+"\n\n"+s, ""
	}
	s, r.prefix = r.prefix+s, ""
	return r.out.write(s)
}

// headingMark is what a heading of a paragraph style begins with.
func headingMark(style string) string {
	style = strings.ToLower(style)
	if style == "title" {
		return "# "
	}
	if level, ok := strings.CutPrefix(style, "heading"); ok && len(level) == 1 && level >= "1" && level <= "6" {
		return strings.Repeat("#", int(level[0]-'0')) + " "
	}
	return ""
}
