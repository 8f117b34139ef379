package screen

// What is kept of the rows that left the primary screen at its top.
const (
	pastLines = 1000
	pastBytes = 512 << 10
)

// past are rows that left, the oldest first, as the text that draws them.
type past struct {
	lines []pastLine
	first int // of lines: those before are gone
	bytes int
}

type pastLine struct {
	text    string // begins and ends in the default style
	cols    int    // how wide the screen was
	wrapped bool   // the text goes on in the next row, if the screen is still as wide
}

// add takes a row that leaves.
func (p *past) add(row Row, scratch []byte) []byte {
	after := p.first < len(p.lines) && p.lines[len(p.lines)-1].wrapped
	scratch = appendRow(scratch[:0], row, after)
	p.lines = append(p.lines, pastLine{string(scratch), len(row.Cells), row.Wrapped})
	p.bytes += len(scratch)
	for len(p.lines)-p.first > pastLines || p.bytes > pastBytes {
		p.bytes -= len(p.lines[p.first].text)
		p.lines[p.first] = pastLine{}
		p.first++
	}
	if p.first >= pastLines {
		p.lines = p.lines[:copy(p.lines, p.lines[p.first:])]
		p.first = 0
	}
	return scratch
}

func (p *past) kept() []pastLine { return p.lines[p.first:] }

// leave keeps the n rows that are about to scroll off the top of the primary screen.
func (e *emulator) leave(n int) {
	if e.alternate != nil || e.top != 0 {
		return
	}
	for _, row := range e.grid[:min(n, e.bottom+1)] {
		e.scratch = e.past.add(row, e.scratch)
	}
}

// appendRow draws a row from its first column on, in the default style before and after. What is blank at its end
// is left out, unless the row wraps: then it is drawn to its end, or the wrap would not happen. after says that the
// row before wraps into this one: then there is something of it, to bring the wrap about, and all of it if a
// terminal would paint a new row with the background of what makes it wrap.
func appendRow(out []byte, row Row, after bool) []byte {
	cells := row.Cells
	if !row.Wrapped && !(after && cells[0].Style.Background != Default) {
		for len(cells) > 0 && cells[len(cells)-1] == (Cell{Text: " ", Width: 1}) {
			cells = cells[:len(cells)-1]
		}
	}
	if after && len(cells) == 0 {
		cells = row.Cells[:1]
	}
	var pen Style
	for _, c := range cells {
		out = appendCell(out, c, &pen)
	}
	if pen != (Style{}) {
		out = append(out, "\x1b[m"...)
	}
	return out
}

// appendCell draws one cell, changing the pen where it differs.
func appendCell(out []byte, c Cell, pen *Style) []byte {
	if c.Width == 0 {
		return out
	}
	if c.Style != *pen {
		out = c.Style.append(out)
		*pen = c.Style
	}
	return append(out, c.Text...)
}
