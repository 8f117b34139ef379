package screen

import "fmt"

// fresh makes a terminal as it was at first, whatever was on it, and empties it with what is above it.
const fresh = "\x1b[?1049l\x1b[?25h\x1b[?1l\x1b>\x1b[?2004l\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l" +
	"\x1b[0 q\x1b[r\x1b[?6l\x1b[4l\x1b[20l\x1b[?7h\x1b(B\x1b)B\x0f\x1b[m\x1b[H\x1b[2J" + Forget

// Forget is the part of a replay that empties what is above the screen. Who has other things there takes it out.
const Forget = "\x1b[3J"

// Replay is what makes another terminal of the same size show the same, whatever it showed before, and go on in the
// same way: up to 1000 rows that scrolled off, the screen, its cursor, styles, regions, tabs and modes. It asks the
// terminal nothing. The last unfinished bytes that were written are not in it, since they end within a sequence or a
// character: what is shown next begins with them.
func (s *Screen) Replay() (data []byte, unfinished int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := append(make([]byte, 0, 16<<10), fresh...)
	first := &primary{s.grid, s.cursor, s.style}
	if s.alternate != nil {
		first = s.alternate
	}
	b = s.appendFlow(b, first.grid)
	if s.alternate != nil {
		b = appendCursor(b, first.grid, s.at(first.cursor), 0)
		b = first.style.append(b)
		b = append(b, "\x1b[?1049h\x1b[m\x1b[2J"...)
		b = appendGrid(b, s.grid)
	}
	b = s.appendState(b)
	return b, s.unfinished()
}

// appendFlow draws the rows that scrolled off and the first screen, in the order in which they came.
func (e *emulator) appendFlow(b []byte, grid []Row) []byte {
	after, started := false, false
	next := func() {
		if started && !after {
			b = append(b, "\r\n"...)
		}
		started = true
	}
	for _, line := range e.past.kept() {
		next()
		b = append(b, line.text...)
		after = line.wrapped && line.cols == e.cols
	}
	for _, row := range grid {
		next()
		b = appendRow(b, row, after)
		after = row.Wrapped
	}
	return b
}

func (e *emulator) at(p place) Cursor {
	return Cursor{Row: p.row, Col: min(p.col, e.cols-1), Hidden: e.hidden, Pending: p.col == e.cols}
}

// appendState sets all that is not text. The order matters: a region and the origin move the cursor.
func (e *emulator) appendState(b []byte) []byte {
	b = e.appendTabs(b)
	if k := e.keep; k != (saved{}) {
		b = fmt.Appendf(b, "\x1b[%d;%dH", k.row+1, min(k.col, e.cols-1)+1)
		b = append(appendSets(k.style.append(b), k.sets, k.shift), "\x1b7\x1b(B\x1b)B\x0f\x1b[m"...)
	}
	top := 0
	if e.top != 0 || e.bottom != e.rows-1 {
		b = fmt.Appendf(b, "\x1b[%d;%dr", e.top+1, e.bottom+1)
	}
	if e.origin {
		b, top = append(b, "\x1b[?6h"...), e.top
	}
	b = appendCursor(b, e.grid, e.at(e.cursor), top)
	if e.style != (Style{}) {
		b = e.style.append(b)
	}
	b = appendSets(b, e.sets, e.shift)
	mode := func(on bool, set string) {
		if on {
			b = append(b, set...)
		}
	}
	mode(e.insert, "\x1b[4h")
	mode(e.newline, "\x1b[20h")
	mode(e.nowrap, "\x1b[?7l")
	mode(e.application, "\x1b[?1h")
	mode(e.keypad, "\x1b=")
	mode(e.bracketed, "\x1b[?2004h")
	mode(e.mouse != 0, fmt.Sprintf("\x1b[?%dh", e.mouse))
	mode(e.encoding != 0, fmt.Sprintf("\x1b[?%dh", e.encoding))
	mode(e.shape != 0, fmt.Sprintf("\x1b[%d q", e.shape))
	mode(e.title != "", "\x1b]2;"+e.title+"\x07")
	mode(e.hidden, "\x1b[?25l")
	return b
}

// appendSets sets character sets that are not the usual ones.
func appendSets(b []byte, sets [2]bool, shift int) []byte {
	if sets[0] {
		b = append(b, "\x1b(0"...)
	}
	if sets[1] {
		b = append(b, "\x1b)0"...)
	}
	if shift == 1 {
		b = append(b, 0x0e)
	}
	return b
}

// appendTabs sets the stops, if they are not the usual ones.
func (e *emulator) appendTabs(b []byte) []byte {
	usual := true
	for i, on := range e.tabs {
		usual = usual && on == (i%8 == 0)
	}
	if usual {
		return b
	}
	b = append(b, "\x1b[3g"...)
	for i, on := range e.tabs {
		if on {
			b = fmt.Appendf(b, "\x1b[1;%dH\x1bH", i+1)
		}
	}
	return b
}
