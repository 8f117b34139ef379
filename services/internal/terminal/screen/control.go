package screen

// control does a C0 control.
func (e *emulator) control(b byte) {
	if e.skimming {
		return
	}
	e.lastRune = 0
	switch b {
	case '\b':
		if e.cursor.col > 0 {
			e.cursor.col--
		} else if e.cursor.row > 0 && e.grid[e.cursor.row-1].Wrapped {
			e.cursor = place{e.cursor.row - 1, e.cols - 1}
		}
	case '\t':
		e.tab(1)
	case '\n', '\v', '\f':
		e.linefeed()
		if e.newline {
			e.cursor.col = 0
		}
	case '\r':
		e.cursor.col = 0
	case 0x0e, 0x0f: // SO, SI
		e.shift = int(0x0f - b)
	}
}

// designate does ESC with an intermediate byte: character sets and the test pattern.
func (e *emulator) designate(b byte) {
	if e.skimming {
		return
	}
	e.lastRune = 0
	switch e.intermediate {
	case '(', ')':
		e.sets[e.intermediate-'('] = b == '0'
	case '#':
		if b == '8' {
			e.cursor, e.top, e.bottom = place{}, 0, e.rows-1
			for _, line := range e.grid {
				for i := range line.Cells {
					line.Cells[i] = Cell{Text: "E", Width: 1}
				}
			}
			e.touch()
		}
	}
}

// escape does ESC and one byte.
func (e *emulator) escape(b byte) {
	e.lastRune = 0
	switch {
	case b == 'c':
		e.reset(e.cols, e.rows)
	case b == '=' || b == '>':
		e.keypad = b == '='
	case e.skimming:
		return
	}
	switch b {
	case '7':
		e.save()
	case '8':
		e.restore()
	case 'D':
		e.linefeed()
	case 'E':
		e.cursor.col = 0
		e.linefeed()
	case 'M':
		e.reverse()
	case 'H':
		e.tabs[min(e.cursor.col, e.cols-1)] = true
	}
}

// dispatch does a CSI. Queries are not among them.
func (e *emulator) dispatch(final byte) {
	switch {
	case e.intermediate == '!' && final == 'p':
		e.soft()
	case e.intermediate == ' ' && final == 'q' && e.prefix == 0:
		e.shape = clamp(e.params[0], 0, 6)
	case e.intermediate != 0:
	case e.prefix == '?' && (final == 'h' || final == 'l'):
		for i := range e.count + 1 {
			e.private(e.params[i], final == 'h')
		}
	case e.skimming:
	case e.prefix == '?' && final == 'J', e.prefix == '?' && final == 'K': // selective erase, as the plain one
		e.erase(final)
	case e.prefix != 0:
	case final == 'm':
		e.paint()
	default:
		e.act(final)
	}
	if final != 'b' {
		e.lastRune = 0
	}
}

func (e *emulator) act(final byte) {
	n := e.param(0, 1)
	switch final {
	case '@':
		e.insertCells(n)
	case 'A':
		e.up(n)
	case 'B', 'e':
		e.up(-n)
	case 'C', 'a':
		e.cursor.col = clamp(e.cursor.col+n, 0, e.cols-1)
	case 'D':
		e.cursor.col = max(e.cursor.col-n, 0)
	case 'E':
		e.up(-n)
		e.cursor.col = 0
	case 'F':
		e.up(n)
		e.cursor.col = 0
	case 'G', '`':
		e.cursor.col = clamp(n-1, 0, e.cols-1)
	case 'H', 'f':
		e.move(n-1, e.param(1, 1)-1)
	case 'I':
		e.tab(n)
	case 'J', 'K':
		e.erase(final)
	case 'L':
		e.scroll(e.cursor.row, e.end(), -n)
	case 'M':
		e.scroll(e.cursor.row, e.end(), n)
	case 'P':
		e.deleteCells(n)
	case 'S':
		e.leave(n)
		e.scroll(e.top, e.bottom, n)
	case 'T':
		if e.count == 0 {
			e.scroll(e.top, e.bottom, -n)
		}
	case 'X':
		e.clear(e.cursor.row, e.cursor.col, min(e.cursor.col+n, e.cols))
	case 'Z':
		e.backtab(n)
	case 'b':
		e.repeat(n)
	case 'd':
		e.move(n-1, e.cursor.col)
	case 'g':
		e.untab()
	case 'h', 'l':
		e.mode(final == 'h')
	case 'r':
		e.region(n-1, e.param(1, e.rows)-1)
	case 's':
		e.save()
	case 'u':
		e.restore()
	}
}

// end is the last row that inserted and deleted lines move: of the region, or of the screen for a cursor outside it.
func (e *emulator) end() int {
	if e.cursor.row >= e.top && e.cursor.row <= e.bottom {
		return e.bottom
	}
	return e.rows - 1
}

// erase does ED and EL.
func (e *emulator) erase(final byte) {
	row, col := e.cursor.row, e.cursor.col
	kind := max(e.params[0], 0)
	switch kind {
	case 0:
		e.clear(row, col, e.cols)
	case 1:
		e.clear(row, 0, min(col+1, e.cols))
	case 2:
		e.clear(row, 0, e.cols)
	}
	if final == 'K' {
		return
	}
	switch kind {
	case 0:
		e.clearRows(row+1, e.rows)
	case 1:
		e.clearRows(0, row)
	case 2:
		e.clearRows(0, e.rows)
	case 3:
		e.past = past{}
	}
}

// repeat shows the character that came right before it again, within its row.
func (e *emulator) repeat(n int) {
	if e.lastRune == 0 {
		return
	}
	for range min(n, max(e.cols-e.cursor.col, 0)) {
		e.print(e.lastRune)
	}
}

func (e *emulator) untab() {
	switch max(e.params[0], 0) {
	case 0:
		e.tabs[min(e.cursor.col, e.cols-1)] = false
	case 3:
		clear(e.tabs)
	}
}

func (e *emulator) region(top, bottom int) {
	if bottom = min(bottom, e.rows-1); top < bottom {
		e.top, e.bottom = top, bottom
		e.move(0, 0)
	}
}

// mode does the ANSI modes.
func (e *emulator) mode(on bool) {
	switch e.params[0] {
	case 4:
		e.insert = on
	case 20:
		e.newline = on
	}
}

// private does the DEC modes.
func (e *emulator) private(mode int, on bool) {
	set := func(flag *bool, to bool) {
		if *flag != to {
			*flag = to
			e.touch()
		}
	}
	switch mode {
	case 1:
		set(&e.application, on)
	case 6:
		e.origin = on
		e.move(0, 0)
	case 7:
		e.nowrap = !on
	case 25:
		set(&e.hidden, !on)
	case 47, 1047:
		e.switchTo(on, false)
	case 1048:
		if on {
			e.save()
		} else {
			e.restore()
		}
	case 1049:
		e.switchTo(on, true)
	case 2004:
		set(&e.bracketed, on)
	default:
		e.setMouse(mode, on)
	}
}

// soft is DECSTR.
func (e *emulator) soft() {
	e.style, e.origin, e.nowrap, e.insert, e.hidden = Style{}, false, false, false, false
	e.top, e.bottom, e.application, e.keypad = 0, e.rows-1, false, false
	e.sets, e.shift, e.keep = [2]bool{}, 0, saved{}
	e.touch()
}

// paint does SGR.
func (e *emulator) paint() {
	s := &e.style
	for i := 0; i <= e.count; i++ {
		p := max(e.params[i], 0)
		switch {
		case p == 0:
			*s = Style{}
		case p == 1:
			s.Bold = true
		case p == 2:
			s.Dim = true
		case p == 3:
			s.Italic = true
		case p == 4:
			s.Underline = !(i < e.count && e.colon[i+1] && e.params[i+1] == 0)
		case p == 5 || p == 6:
			s.Blink = true
		case p == 7:
			s.Inverse = true
		case p == 8:
			s.Hidden = true
		case p == 9:
			s.Strike = true
		case p == 21:
			s.Underline = true
		case p == 22:
			s.Bold, s.Dim = false, false
		case p == 23:
			s.Italic = false
		case p == 24:
			s.Underline = false
		case p == 25:
			s.Blink = false
		case p == 27:
			s.Inverse = false
		case p == 28:
			s.Hidden = false
		case p == 29:
			s.Strike = false
		case p >= 30 && p <= 37:
			s.Foreground = Indexed(uint8(p - 30))
		case p == 38:
			i = e.color(i, &s.Foreground)
			continue
		case p == 39:
			s.Foreground = Default
		case p >= 40 && p <= 47:
			s.Background = Indexed(uint8(p - 40))
		case p == 48:
			i = e.color(i, &s.Background)
			continue
		case p == 49:
			s.Background = Default
		case p == 58:
			var underline Color
			i = e.color(i, &underline)
			continue
		case p >= 90 && p <= 97:
			s.Foreground = Indexed(uint8(p - 90 + 8))
		case p >= 100 && p <= 107:
			s.Background = Indexed(uint8(p - 100 + 8))
		}
		for i < e.count && e.colon[i+1] { // sub-parameters of an attribute
			i++
		}
	}
}

// color reads the colour behind a 38, 48 or 58 at i and returns the index of its last number.
func (e *emulator) color(i int, to *Color) int {
	end := i
	if i < e.count && e.colon[i+1] { // 38:5:n, 38:2:r:g:b, 38:2:space:r:g:b
		for end < e.count && e.colon[end+1] {
			end++
		}
	} else if i < e.count { // 38;5;n, 38;2;r;g;b
		end = min(i+2, e.count)
		if e.params[i+1] == 2 {
			end = min(i+4, e.count)
		}
	}
	part := func(at int) uint8 { return uint8(clamp(e.params[at], 0, 255)) }
	switch {
	case end-i >= 2 && e.params[i+1] == 5:
		*to = Indexed(part(i + 2))
	case end-i >= 4 && e.params[i+1] == 2:
		*to = RGB(part(end-2), part(end-1), part(end))
	}
	return end
}
