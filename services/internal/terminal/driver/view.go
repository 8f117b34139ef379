package driver

import (
	"fmt"
	"strings"
	"unicode"

	"anthill/services/internal/terminal/screen"
)

// view is a screen as patterns see it: its rows down to the last one with text.
type view struct {
	lines  []line
	cursor screen.Cursor
}

// line is one row. text is without the frame; bare is without dim characters too.
type line struct {
	raw, text, bare string
	border          bool // nothing but lines of a box
	cells           []screen.Cell
}

func (l line) blank() bool { return l.text == "" }

// gap says that nothing is said in the row.
func (l line) gap() bool { return l.blank() || l.border }

func (d *Driver) view(s screen.Snapshot) view {
	v := view{lines: make([]line, len(s.Lines)), cursor: s.Cursor}
	end := 0
	for i, row := range s.Lines {
		l := line{raw: row.Text(), cells: row.Cells}
		l.text, l.border = l.raw, border(l.raw)
		if !l.border {
			l.text = strip(l.raw, d.Frame)
		}
		l.bare = strip(bright(row), d.Frame)
		if v.lines[i] = l; l.raw != "" {
			end = i + 1
		}
	}
	v.lines = v.lines[:end]
	return v
}

// bright is a row with spaces for what is dim or grey.
func bright(row screen.Row) string {
	var b strings.Builder
	for _, c := range row.Cells {
		if c.Width > 0 && (c.Style.Dim || c.Style.Foreground.Class() == "grey") {
			b.WriteString(strings.Repeat(" ", c.Width))
			continue
		}
		b.WriteString(c.Text)
	}
	return strings.TrimRight(b.String(), " ")
}

// strip takes the frame off both ends of a row.
func strip(s, frame string) string {
	if frame == "" || s == "" {
		return s
	}
	trimmed := strings.TrimLeft(s, " ")
	for _, r := range frame {
		if rest, ok := strings.CutPrefix(trimmed, string(r)); ok {
			s = rest
			break
		}
	}
	for _, r := range frame {
		if rest, ok := strings.CutSuffix(s, string(r)); ok {
			s = rest
			break
		}
	}
	return strings.TrimRight(s, " ")
}

// border says whether a row is only lines of a box.
func border(s string) bool {
	found := false
	for _, r := range s {
		switch {
		case r >= 0x2500 && r <= 0x259f: // box drawing and blocks
			found = true
		case r != ' ':
			return false
		}
	}
	return found
}

// find is the last row that a line describes, -1 for none, and what it tells.
func (v view) find(l Line) (int, string) {
	left := l.Within
	for i := len(v.lines) - 1; i >= 0; i-- {
		if v.lines[i].gap() {
			continue
		}
		if left--; l.Within > 0 && left < 0 {
			break
		}
		if told, ok := v.lines[i].match(l.Row); ok {
			if l.Is != "" {
				told = l.Is
			}
			return i, told
		}
	}
	return -1, ""
}

// match looks at a row as it is, then without its frame.
func (l line) match(p Pattern) (string, bool) {
	if told, ok := p.group(l.text); ok {
		return told, true
	}
	return p.group(l.raw)
}

func (v view) value(lines []Line) string {
	for _, l := range lines {
		if at, told := v.find(l); at >= 0 {
			return visible(strings.TrimSpace(told), maxValue)
		}
	}
	return ""
}

func (v view) any(lines []Line) bool {
	for _, l := range lines {
		if at, _ := v.find(l); at >= 0 {
			return true
		}
	}
	return false
}

func (v view) hasAll(patterns []Pattern) bool {
	for _, p := range patterns {
		if at, _ := v.find(Line{Row: p}); at < 0 {
			return false
		}
	}
	return len(patterns) > 0
}

// paragraph is a run of rows without a gap, joined by spaces.
type paragraph struct {
	from, end int
	text      string
}

// paragraphs of the rows from until before end.
func (v view) paragraphs(from, end int) []paragraph {
	var all []paragraph
	for i := from; i < end; i++ {
		if v.lines[i].gap() {
			continue
		}
		p := paragraph{from: i}
		var words []string
		for ; i < end && !v.lines[i].gap(); i++ {
			words = append(words, strings.Fields(v.lines[i].text)...)
		}
		p.end, p.text = i, strings.Join(words, " ")
		all = append(all, p)
	}
	return all
}

// visible shows what would be hidden or turn the text around, and bounds it to n bytes.
func visible(s string, n int) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= n {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n' || r == '\u200d' || r == '\u200c':
			b.WriteRune(r)
		case unicode.Is(unicode.Cf, r) || unicode.IsControl(r):
			b.WriteString(fmt.Sprintf("\\u%04x", r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
