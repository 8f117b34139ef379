package screen

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const (
	maxTitle = 256 // characters
	maxMarks = 8   // combining marks kept with a character
)

// place is a position; col is cols when a wrap is pending.
type place struct{ row, col int }

// saved is what ESC 7 keeps.
type saved struct {
	place
	style  Style
	origin bool
	shift  int
	sets   [2]bool
}

// emulator is the state of a terminal. Its methods keep these true: the grid has rows lines of cols cells, the cursor
// is inside (col may be cols), 0 <= top <= bottom < rows, and a cell of width 2 is followed by one of width 0.
type emulator struct {
	parser

	cols, rows  int
	grid        []Row
	cursor      place
	style       Style
	top, bottom int    // the scroll region, both inside
	tabs        []bool // by column
	sets        [2]bool
	shift       int // which of sets is used; true there is line drawing
	keep        saved
	alternate   *primary // what the alternate screen hides; nil without one
	past        past     // what scrolled off the primary screen
	scratch     []byte   // of past
	skimming    bool     // nothing is drawn, only modes are heard
	lastRune    rune     // for REP: the last character, 0 when something else came since
	touched     *bool

	title                           string
	hidden, bracketed, application  bool
	origin, nowrap, insert, newline bool
	keypad                          bool
	mouse, encoding, shape          int // see Modes
}

// primary is the screen that waits while the alternate one is shown.
type primary struct {
	grid   []Row
	cursor place
	style  Style
}

func (e *emulator) touch() {
	if e.touched != nil {
		*e.touched = true
	}
}

// reset is RIS: everything as new, at a size.
func (e *emulator) reset(cols, rows int) {
	*e = emulator{parser: e.parser, touched: e.touched, cols: cols, rows: rows, bottom: rows - 1, title: e.title, skimming: e.skimming}
	e.grid = blank(cols, rows)
	e.stops()
	e.touch()
}

func blank(cols, rows int) []Row {
	grid := make([]Row, rows)
	for i := range grid {
		grid[i] = Row{Cells: make([]Cell, cols)}
		erase(grid[i].Cells, Style{})
	}
	return grid
}

// erase makes cells spaces on the background of style.
func erase(cells []Cell, style Style) {
	for i := range cells {
		cells[i] = Cell{Text: " ", Width: 1, Style: Style{Background: style.Background}}
	}
}

func (e *emulator) stops() {
	e.tabs = make([]bool, e.cols)
	for i := 0; i < e.cols; i += 8 {
		e.tabs[i] = true
	}
}

// resize keeps the text; see Screen.Resize.
func (e *emulator) resize(cols, rows int) {
	fit := func(grid []Row, at *place, keep func([]Row)) []Row {
		if cut := min(at.row-rows+1, len(grid)-rows); cut > 0 {
			keep(grid[:cut])
			grid, at.row = grid[cut:], at.row-cut
		}
		next := blank(cols, rows)
		for i := range min(rows, len(grid)) {
			n := copy(next[i].Cells, grid[i].Cells)
			if n > 0 && next[i].Cells[n-1].Width == 2 {
				erase(next[i].Cells[n-1:n], Style{}) // its other half was cut off
			}
			next[i].Wrapped = grid[i].Wrapped && cols == e.cols
		}
		next[rows-1].Wrapped = false
		at.row, at.col = clamp(at.row, 0, rows-1), clamp(at.col, 0, cols-1)
		return next
	}
	keep, drop := func(rows []Row) {
		for _, row := range rows {
			e.scratch = e.past.add(row, e.scratch)
		}
	}, func([]Row) {}
	if e.alternate == nil {
		e.grid = fit(e.grid, &e.cursor, keep)
	} else {
		e.grid = fit(e.grid, &e.cursor, drop)
		e.alternate.grid = fit(e.alternate.grid, &e.alternate.cursor, keep)
	}
	e.cols, e.rows, e.top, e.bottom = cols, rows, 0, rows-1
	e.keep.row, e.keep.col = clamp(e.keep.row, 0, rows-1), clamp(e.keep.col, 0, cols-1)
	e.stops()
}

// print shows one character at the cursor.
func (e *emulator) print(r rune) {
	if e.sets[e.shift] && r >= '`' && r <= '~' {
		r = drawing[r-'`']
	}
	w := 1
	if r >= utf8.RuneSelf {
		if w = runeWidth(r); w == 0 {
			e.mark(r)
			return
		}
	}
	e.lastRune = r
	if w > e.cols || e.nowrap && w > 1 && e.cursor.col != e.cols && e.cursor.col > e.cols-w {
		return
	}
	if e.cursor.col > e.cols-w {
		if e.nowrap {
			e.cursor.col = e.cols - w
		} else {
			e.grid[e.cursor.row].Wrapped = true
			e.linefeed()
			e.cursor.col = 0
			e.grid[e.rows-1].Wrapped = false // nothing follows the last row
		}
	}
	if e.insert {
		e.insertCells(w)
	}
	e.put(e.text(r), w)
	if e.cursor.col += w; e.nowrap {
		e.cursor.col = min(e.cursor.col, e.cols-1)
	}
}

func (e *emulator) text(r rune) string {
	if r < utf8.RuneSelf {
		return texts[r]
	}
	return string(r)
}

// put writes a character of width w at the cursor, which has room for it.
func (e *emulator) put(text string, w int) {
	cells, col := e.grid[e.cursor.row].Cells, e.cursor.col
	cell := Cell{Text: text, Width: w, Style: e.style}
	if cells[col] == cell {
		return
	}
	e.split(e.cursor.row, col)
	e.split(e.cursor.row, col+w)
	cells[col] = cell
	if w == 2 {
		cells[col+1] = Cell{Style: e.style}
	}
	e.touch()
}

// split makes spaces of a wide character of which col is the second half: one half of it is going.
func (e *emulator) split(row, col int) {
	cells := e.grid[row].Cells
	if col > 0 && col < len(cells) && cells[col].Width == 0 {
		erase(cells[col-1:col+1], cells[col-1].Style)
		e.touch()
	}
}

// mark puts a combining character onto the one before the cursor.
func (e *emulator) mark(r rune) {
	col := e.cursor.col - 1
	if col < 0 || r < 0xa0 {
		return
	}
	cells := e.grid[e.cursor.row].Cells
	if cells[col].Width == 0 && col > 0 {
		col--
	}
	if utf8.RuneCountInString(cells[col].Text) <= maxMarks {
		cells[col].Text += string(r)
		e.touch()
	}
}

// runeWidth is how many places a character takes: 0 for marks and for what cannot be seen.
func runeWidth(r rune) int {
	switch {
	case r == 0xad: // a soft hyphen, which terminals show
		return 1
	case r >= 0x1160 && r <= 0x11ff: // vowels and finals of Hangul
		return 0
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Zl, unicode.Zp):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// drawing is the DEC line drawing set from ` to ~.
var drawing = []rune("◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")

// linefeed goes a row down, scrolling at the end of the region.
func (e *emulator) linefeed() {
	switch {
	case e.cursor.row == e.bottom:
		e.leave(1)
		e.scroll(e.top, e.bottom, 1)
	case e.cursor.row < e.rows-1:
		e.cursor.row++
	}
}

// reverse goes a row up, scrolling at the top of the region.
func (e *emulator) reverse() {
	switch {
	case e.cursor.row == e.top:
		e.scroll(e.top, e.bottom, -1)
	case e.cursor.row > 0:
		e.cursor.row--
	}
}

// scroll moves the rows top to bottom up by n, or down by -n. Rows that come in are empty.
func (e *emulator) scroll(top, bottom, n int) {
	region := e.grid[top : bottom+1]
	n = clamp(n, -len(region), len(region))
	if n == 0 {
		return
	}
	k := n
	if n < 0 {
		k = len(region) + n
	}
	// The rows that leave are used again for those that come in.
	slices.Reverse(region[:k])
	slices.Reverse(region[k:])
	slices.Reverse(region)
	fresh := region[len(region)-max(n, 0):]
	if n < 0 {
		fresh = region[:-n]
	}
	for i := range fresh {
		erase(fresh[i].Cells, e.style)
		fresh[i].Wrapped = false
	}
	e.grid[e.rows-1].Wrapped = false
	e.touch()
}

// clear empties the cells from col to before end in a row.
func (e *emulator) clear(row, col, end int) {
	if col >= end {
		return
	}
	e.split(row, col)
	e.split(row, end)
	erase(e.grid[row].Cells[col:end], e.style)
	if end == e.cols {
		e.grid[row].Wrapped = false
	}
	e.touch()
}

func (e *emulator) clearRows(from, end int) {
	for row := from; row < end; row++ {
		e.clear(row, 0, e.cols)
	}
}

// insertCells moves the rest of the row right by n.
func (e *emulator) insertCells(n int) {
	col, cells := e.cursor.col, e.grid[e.cursor.row].Cells
	if col >= e.cols {
		return
	}
	n = min(n, e.cols-col)
	e.split(e.cursor.row, col)
	e.split(e.cursor.row, e.cols-n)
	copy(cells[col+n:], cells[col:])
	erase(cells[col:col+n], e.style)
	e.touch()
}

// deleteCells moves what is right of the next n cells to the cursor.
func (e *emulator) deleteCells(n int) {
	col, cells := e.cursor.col, e.grid[e.cursor.row].Cells
	if col >= e.cols {
		return
	}
	n = min(n, e.cols-col)
	e.split(e.cursor.row, col)
	e.split(e.cursor.row, col+n)
	copy(cells[col:], cells[col+n:])
	erase(cells[e.cols-n:], e.style)
	e.touch()
}

// move sets the cursor; in origin mode row counts from the region when absolute is asked for.
func (e *emulator) move(row, col int) {
	low, high := 0, e.rows-1
	if e.origin {
		row += e.top
		low, high = e.top, e.bottom
	}
	e.cursor = place{clamp(row, low, high), clamp(col, 0, e.cols-1)}
}

// up goes n rows up, down for a negative n, not past the region when it begins inside.
func (e *emulator) up(n int) {
	low, high := 0, e.rows-1
	if e.cursor.row >= e.top {
		low = e.top
	}
	if e.cursor.row <= e.bottom {
		high = e.bottom
	}
	e.cursor = place{clamp(e.cursor.row-n, low, high), min(e.cursor.col, e.cols-1)}
}

func (e *emulator) tab(n int) {
	for ; n > 0 && e.cursor.col < e.cols-1; n-- {
		for e.cursor.col++; e.cursor.col < e.cols-1 && !e.tabs[e.cursor.col]; {
			e.cursor.col++
		}
	}
}

func (e *emulator) backtab(n int) {
	for ; n > 0 && e.cursor.col > 0; n-- {
		for e.cursor.col--; e.cursor.col > 0 && !e.tabs[min(e.cursor.col, e.cols-1)]; {
			e.cursor.col--
		}
	}
}

func (e *emulator) save() {
	e.keep = saved{e.cursor, e.style, e.origin, e.shift, e.sets}
}

func (e *emulator) restore() {
	e.cursor = place{clamp(e.keep.row, 0, e.rows-1), clamp(e.keep.col, 0, e.cols-1)}
	e.style, e.origin, e.shift, e.sets = e.keep.style, e.keep.origin, e.keep.shift, e.keep.sets
}

// switchTo shows the alternate screen, empty, or goes back to the other one.
func (e *emulator) switchTo(alternate, cursor bool) {
	switch {
	case alternate && e.alternate == nil:
		e.alternate = &primary{grid: e.grid, cursor: e.cursor, style: e.style}
		e.grid = blank(e.cols, e.rows)
	case !alternate && e.alternate != nil:
		e.grid = e.alternate.grid
		if cursor {
			e.cursor, e.style = e.alternate.cursor, e.alternate.style
		}
		e.cursor.col = min(e.cursor.col, e.cols-1)
		e.alternate = nil
	default:
		return
	}
	e.top, e.bottom = 0, e.rows-1
	e.touch()
}
