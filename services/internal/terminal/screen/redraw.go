package screen

import (
	"fmt"
	"strconv"
)

// Redraw is what paints the snapshot on a terminal of its size that was just made: text, styles, cursor, title and
// the modes that a snapshot has. It asks the terminal nothing, so nothing comes back from it.
func (s Snapshot) Redraw() []byte {
	var b []byte
	if s.Alternate {
		b = append(b, "\x1b[?1049h"...)
	}
	b = append(b, "\x1b[r\x1b[?6l\x1b[4l\x1b[?7h\x1b(B\x0f\x1b[m\x1b[2J\x1b[H"...)
	b = appendGrid(b, s.Lines)
	if s.Title != "" {
		b = append(b, "\x1b]2;"+s.Title+"\x07"...)
	}
	mode := func(on bool, set string) {
		if on {
			b = append(b, set...)
		}
	}
	mode(s.BracketedPaste, "\x1b[?2004h")
	mode(s.ApplicationCursor, "\x1b[?1h")
	mode(s.Cursor.Hidden, "\x1b[?25l")
	return appendCursor(b, s.Lines, s.Cursor, 0)
}

// appendGrid draws rows, each where it is, in the default style before and after.
func appendGrid(b []byte, rows []Row) []byte {
	for i, row := range rows {
		after := i > 0 && rows[i-1].Wrapped
		if !after {
			b = fmt.Appendf(b, "\x1b[%d;1H", i+1)
		}
		b = appendRow(b, row, after)
	}
	return b
}

// appendCursor puts the cursor where it was, counted from row top. A pending wrap comes from writing the last cell
// again. The style is the default one before and after.
func appendCursor(b []byte, rows []Row, c Cursor, top int) []byte {
	col := c.Col
	last := rows[c.Row].Cells[col]
	if c.Pending && last.Width == 0 && col > 0 {
		col--
		last = rows[c.Row].Cells[col]
	}
	b = fmt.Appendf(b, "\x1b[%d;%dH", c.Row-top+1, col+1)
	if !c.Pending {
		return b
	}
	var pen Style
	b = appendCell(b, last, &pen)
	if pen != (Style{}) {
		b = append(b, "\x1b[m"...)
	}
	return b
}

// append is the SGR that gives a style, whatever was before.
func (s Style) append(out []byte) []byte {
	out = append(out, "\x1b[0"...)
	for _, a := range [...]struct {
		on   bool
		code string
	}{{s.Bold, ";1"}, {s.Dim, ";2"}, {s.Italic, ";3"}, {s.Underline, ";4"}, {s.Blink, ";5"}, {s.Inverse, ";7"}, {s.Hidden, ";8"}, {s.Strike, ";9"}} {
		if a.on {
			out = append(out, a.code...)
		}
	}
	out = s.Foreground.append(out, 38)
	out = s.Background.append(out, 48)
	return append(out, 'm')
}

func (c Color) append(out []byte, code int64) []byte {
	number := func(v int64) { out = strconv.AppendInt(append(out, ';'), v, 10) }
	n := int64(c & 0xff)
	switch kind := c &^ 0xffffff; {
	case kind == indexed && n < 8: // as most applications say it: some terminals show it brighter in bold
		number(code - 8 + n)
	case kind == indexed && n < 16:
		number(code + 52 + n - 8)
	case kind == indexed:
		number(code)
		number(5)
		number(n)
	case kind == direct:
		number(code)
		number(2)
		number(int64(c >> 16 & 0xff))
		number(int64(c >> 8 & 0xff))
		number(n)
	}
	return out
}
