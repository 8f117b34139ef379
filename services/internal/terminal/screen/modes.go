package screen

import "bytes"

// Modes are those settings of a screen that an application makes once and relies on for as long as it runs. They are
// what must be known of output that is not drawn.
type Modes struct {
	Alternate         bool `json:"alternate,omitempty"`
	BracketedPaste    bool `json:"bracketed_paste,omitempty"`
	ApplicationCursor bool `json:"application_cursor,omitempty"`
	ApplicationKeypad bool `json:"application_keypad,omitempty"`
	HiddenCursor      bool `json:"hidden_cursor,omitempty"`
	Mouse             int  `json:"mouse,omitempty"`          // what is reported: 9, 1000, 1002 or 1003; 0: nothing
	MouseEncoding     int  `json:"mouse_encoding,omitempty"` // how: 1005, 1006 or 1015; 0: as ever
	CursorShape       int  `json:"cursor_shape,omitempty"`   // of DECSCUSR
}

// Modes are those that hold now.
func (s *Screen) Modes() Modes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.modes()
}

// SetModes makes modes hold, as if the application had asked for them.
func (s *Screen) SetModes(m Modes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.cursor
	s.switchTo(m.Alternate, true)
	s.bracketed, s.application, s.keypad, s.hidden = m.BracketedPaste, m.ApplicationCursor, m.ApplicationKeypad, m.HiddenCursor
	s.mouse, s.encoding, s.shape = m.Mouse, m.MouseEncoding, m.CursorShape
	s.touch()
	s.settle(before)
}

func (e *emulator) modes() Modes {
	return Modes{e.alternate != nil, e.bracketed, e.application, e.keypad, e.hidden, e.mouse, e.encoding, e.shape}
}

// Skip takes bytes that came too fast to be drawn, for the modes in them. What the primary screen showed is gone, with
// the rows above it: whatever is written next, which should begin where a line does, is drawn on an empty one.
func (s *Screen) Skip(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.cursor
	if !s.skimming {
		s.blankOut()
		s.skimming, s.phase, s.have = true, ground, 0
	}
	s.skim(p)
	s.total += int64(len(p))
	s.settle(before)
}

// blankOut empties the primary screen, if that is shown, and what is above it.
func (e *emulator) blankOut() {
	if e.alternate != nil {
		return
	}
	e.past = past{}
	e.grid, e.cursor, e.top, e.bottom, e.origin = blank(e.cols, e.rows), place{}, 0, e.rows-1, false
	e.touch()
}

// skim does the sequences of p that set modes.
func (e *emulator) skim(p []byte) {
	for len(p) > 0 {
		if e.phase == ground {
			i := bytes.IndexByte(p, 0x1b)
			if i < 0 {
				return
			}
			p = p[i:]
		}
		e.step(p[0])
		p = p[1:]
	}
}

// land begins to draw again.
func (e *emulator) land() {
	e.skimming, e.phase, e.have = false, ground, 0
	e.style, e.sets, e.shift, e.lastRune = Style{}, [2]bool{}, 0, 0
}

// setMouse does the modes of mice. Whatever is switched off, nothing is reported any more.
func (e *emulator) setMouse(mode int, on bool) {
	to := 0
	if on {
		to = mode
	}
	switch mode {
	case 9, 1000, 1002, 1003:
		e.mouse = to
	case 1005, 1006, 1015:
		if on || e.encoding == mode {
			e.encoding = to
		}
	}
}

// Show replaces the text of the screen and the cursor's place by those of a snapshot of the same size. Rows that say
// the same stay as they are.
func (s *Screen) Show(with Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if with.Cols != s.cols || with.Rows != s.rows {
		return
	}
	before := s.cursor
	for i, row := range with.Lines {
		if row.Text() != s.grid[i].Text() {
			copy(s.grid[i].Cells, row.Cells)
			s.grid[i].Wrapped = row.Wrapped
			s.touch()
		}
	}
	s.cursor = place{with.Cursor.Row, with.Cursor.Col}
	if with.Cursor.Pending {
		s.cursor.col = s.cols
	}
	s.settle(before)
}
