package screen

import (
	"bytes"
	"fmt"
	"strconv"
)

// Redraw is what paints the snapshot on a terminal of its size that was just made: text, styles, cursor, title and
// the modes that a snapshot has. It asks the terminal nothing, so nothing comes back from it.
func (s Snapshot) Redraw() []byte {
	var b bytes.Buffer
	if s.Alternate {
		b.WriteString("\x1b[?1049h")
	}
	b.WriteString("\x1b[r\x1b[?6l\x1b[4l\x1b[?7h\x1b(B\x0f\x1b[m\x1b[2J\x1b[H")
	var pen Style
	for i, line := range s.Lines {
		if i == 0 || !s.Lines[i-1].Wrapped {
			fmt.Fprintf(&b, "\x1b[%d;1H", i+1)
		}
		cells := line.Cells
		for !line.Wrapped && len(cells) > 0 && cells[len(cells)-1] == (Cell{Text: " ", Width: 1}) {
			cells = cells[:len(cells)-1]
		}
		if i > 0 && s.Lines[i-1].Wrapped && len(cells) == 0 {
			cells = line.Cells[:1] // so that the wrap happens
		}
		for _, c := range cells {
			write(&b, c, &pen)
		}
	}
	if pen != (Style{}) {
		b.WriteString("\x1b[m")
		pen = Style{}
	}
	if s.Title != "" {
		b.WriteString("\x1b]2;" + s.Title + "\x07")
	}
	mode := func(on bool, set string) {
		if on {
			b.WriteString(set)
		}
	}
	mode(s.BracketedPaste, "\x1b[?2004h")
	mode(s.ApplicationCursor, "\x1b[?1h")
	mode(s.Cursor.Hidden, "\x1b[?25l")
	s.place(&b, &pen)
	return b.Bytes()
}

// place puts the cursor where it was. A pending wrap comes from writing the last cell again.
func (s Snapshot) place(b *bytes.Buffer, pen *Style) {
	col := s.Cursor.Col
	last := s.Lines[s.Cursor.Row].Cells[col]
	if s.Cursor.Pending && last.Width == 0 && col > 0 {
		col--
		last = s.Lines[s.Cursor.Row].Cells[col]
	}
	fmt.Fprintf(b, "\x1b[%d;%dH", s.Cursor.Row+1, col+1)
	if s.Cursor.Pending {
		write(b, last, pen)
		b.WriteString("\x1b[m")
	}
}

// write appends one cell, changing the pen where it differs.
func write(b *bytes.Buffer, c Cell, pen *Style) {
	if c.Width == 0 {
		return
	}
	if c.Style != *pen {
		b.WriteString(c.Style.sequence())
		*pen = c.Style
	}
	b.WriteString(c.Text)
}

// sequence is the SGR that gives a style, whatever was before.
func (s Style) sequence() string {
	out := []byte("\x1b[0")
	for _, a := range []struct {
		on   bool
		code string
	}{{s.Bold, ";1"}, {s.Dim, ";2"}, {s.Italic, ";3"}, {s.Underline, ";4"}, {s.Blink, ";5"}, {s.Inverse, ";7"}, {s.Hidden, ";8"}, {s.Strike, ";9"}} {
		if a.on {
			out = append(out, a.code...)
		}
	}
	out = s.Foreground.append(out, 38)
	out = s.Background.append(out, 48)
	return string(append(out, 'm'))
}

func (c Color) append(out []byte, code int64) []byte {
	number := func(v int64) { out = strconv.AppendInt(append(out, ';'), v, 10) }
	switch c &^ 0xffffff {
	case indexed:
		number(code)
		number(5)
		number(int64(c & 0xff))
	case direct:
		number(code)
		number(2)
		number(int64(c >> 16 & 0xff))
		number(int64(c >> 8 & 0xff))
		number(int64(c & 0xff))
	}
	return out
}
