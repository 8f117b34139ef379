package screen

import "strings"

// Snapshot is one moment of a screen. It shares nothing with the screen that it came from and never changes.
type Snapshot struct {
	Version           uint64 // of the screen when it was taken
	Cols, Rows        int
	Lines             []Row // Rows of them, from the top
	Cursor            Cursor
	Alternate         bool   // the application has the alternate screen
	BracketedPaste    bool   // the application asked for mode 2004
	ApplicationCursor bool   // arrow keys are ESC O A, not ESC [ A
	Title             string // without control characters, at most maxTitle characters
}

// Cursor is where the next character goes, from 0, 0 at the top left.
type Cursor struct {
	Row, Col int
	Hidden   bool
	Pending  bool // the last column was written: the next character goes to the next row
}

// Row is one line of the screen, Cols cells wide.
type Row struct {
	Cells   []Cell
	Wrapped bool // the text goes on in the next row without a line break
}

// Cell is one place of the grid. Text is one character with its combining marks, a space where nothing was written.
// The second place of a wide character has Width 0 and no text.
type Cell struct {
	Text  string
	Width int
	Style Style
}

// Style is how a cell is painted.
type Style struct {
	Foreground, Background                                       Color
	Bold, Dim, Italic, Underline, Blink, Inverse, Hidden, Strike bool
}

// Color is a colour as the application named it: the default, one of 256, or 24 bits of red, green and blue.
type Color uint32

const (
	// Default is the terminal's own colour.
	Default Color = 0

	indexed Color = 1 << 24
	direct  Color = 2 << 24
)

// Indexed is one of the 256 colours.
func Indexed(n uint8) Color { return indexed | Color(n) }

// RGB is a colour of 24 bits.
func RGB(r, g, b uint8) Color { return direct | Color(r)<<16 | Color(g)<<8 | Color(b) }

// Class is the family of a colour: what a person would call it.
func (c Color) Class() string {
	switch c &^ 0xffffff {
	case indexed:
		return classIndexed(int(c & 0xff))
	case direct:
		return classRGB(int(c>>16&0xff), int(c>>8&0xff), int(c&0xff))
	}
	return "default"
}

var ansi = [...]string{"black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"}

func classIndexed(n int) string {
	switch {
	case n == 8:
		return "grey"
	case n < 16:
		return ansi[n%8]
	case n < 232: // a cube of 6x6x6
		n -= 16
		level := func(v int) int { return v * 51 }
		return classRGB(level(n/36), level(n/6%6), level(n%6))
	}
	grey := 8 + (n-232)*10
	return classRGB(grey, grey, grey)
}

// classRGB names a colour by which of its parts stand out.
func classRGB(r, g, b int) string {
	top, low := max(r, g, b), min(r, g, b)
	switch {
	case top < 40:
		return "black"
	case top-low < 32 && low > 200:
		return "white"
	case top-low < 32:
		return "grey"
	}
	half, bit := low+(top-low)/2, 0
	for i, part := range []int{r, g, b} {
		if part > half {
			bit |= 1 << i
		}
	}
	return ansi[bit]
}

// Text is what the row says, without spaces at its end.
func (r Row) Text() string {
	var b strings.Builder
	for _, c := range r.Cells {
		b.WriteString(c.Text)
	}
	return strings.TrimRight(b.String(), " ")
}

// Text is what the screen says: its rows joined by line feeds, without empty rows at the end.
func (s Snapshot) Text() string {
	rows := make([]string, len(s.Lines))
	for i, line := range s.Lines {
		rows[i] = line.Text()
	}
	return strings.TrimRight(strings.Join(rows, "\n"), "\n")
}
