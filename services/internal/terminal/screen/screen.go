// Package screen is an emulated terminal screen: bytes go in, what a person would see comes out.
//
// The host of a terminal feeds it the recorded bytes; drivers, sends and a client that attaches look at snapshots.
// It answers no query, whatever the bytes ask: there is nothing in it that writes back. Its memory is bounded by its
// size, no input can make it panic or wait, and no control character gets through it.
//
// It behaves as tmux does where terminals differ, since tmux stands between the application and this screen.
package screen

import (
	"context"
	"sync"
	"unicode/utf8"
)

// MaxSide is the largest number of columns or rows.
const MaxSide = 1000

// Screen is one emulated screen. Its methods may be called at once from many goroutines and never block for long.
type Screen struct {
	mu      sync.Mutex
	version uint64
	changed chan struct{} // closed when the version rises; nil while nobody waits
	last    *Snapshot     // of this version, once taken
	dirty   bool          // something seen has changed since the version rose

	emulator
}

// New makes an empty screen. Sizes outside 1 to MaxSide are brought into it.
func New(cols, rows int) *Screen {
	s := &Screen{version: 1}
	s.reset(clamp(cols, 1, MaxSide), clamp(rows, 1, MaxSide))
	s.touched = &s.dirty
	return s
}

// Write feeds bytes as the application wrote them. A character or a sequence may be cut anywhere between two writes.
// It takes everything and never fails.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.cursor
	s.feed(p)
	s.settle(before)
	return len(p), nil
}

// Resize changes the size. Rows keep their text, cut or filled up at the right; when rows are taken away, those above
// the cursor go first. Text is not wrapped anew: the application redraws for its new size.
func (s *Screen) Resize(cols, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cols, rows = clamp(cols, 1, MaxSide), clamp(rows, 1, MaxSide)
	if cols == s.cols && rows == s.rows {
		return
	}
	s.dirty = true
	s.resize(cols, rows)
	s.settle(s.cursor)
}

// Version rises whenever what is seen changes: text, style, cursor, title, size or a mode in the snapshot.
func (s *Screen) Version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// Wait blocks until the version is above seen, or ctx ends; then it returns ctx's error.
func (s *Screen) Wait(ctx context.Context, seen uint64) error {
	for {
		s.mu.Lock()
		if s.version > seen {
			s.mu.Unlock()
			return nil
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Snapshot is the screen as it is now.
func (s *Screen) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = &Snapshot{
			Version: s.version, Cols: s.cols, Rows: s.rows, Lines: make([]Row, s.rows),
			Cursor:    Cursor{Row: s.cursor.row, Col: min(s.cursor.col, s.cols-1), Hidden: s.hidden, Pending: s.cursor.col == s.cols},
			Alternate: s.alternate != nil, BracketedPaste: s.bracketed, ApplicationCursor: s.application, Title: s.title,
		}
		cells := make([]Cell, s.cols*s.rows)
		for i, line := range s.grid {
			copy(cells[:s.cols], line.Cells)
			s.last.Lines[i] = Row{Cells: cells[:s.cols:s.cols], Wrapped: line.Wrapped}
			cells = cells[s.cols:]
		}
	}
	return *s.last
}

// settle raises the version and wakes who waits, if anything that is seen has changed.
func (s *Screen) settle(before place) {
	if !s.dirty && before == s.cursor {
		return
	}
	s.dirty, s.last = false, nil
	s.version++
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func clamp(v, low, high int) int { return max(low, min(v, high)) }

// texts are the strings of ASCII, so that plain text allocates nothing.
var texts = func() (all [utf8.RuneSelf]string) {
	for i := range all {
		all[i] = string(rune(i))
	}
	return all
}()
