package documents

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errFull says that the text is as long as it may be.
var errFull = errors.New("documents: the text is cut")

// writer collects text up to a limit. Its first error ends the extraction.
type writer struct {
	ctx      context.Context
	left     int // bytes
	full     bool
	verbatim bool // empty lines mean something
	b        strings.Builder
	breaks   int    // line breaks that are due before the next text
	held     string // blanks that are due, unless the line ends
	wrote    int    // calls since ctx was looked at
}

// write adds text. Control characters are dropped and line ends become \n; one
// empty line stands for many unless the text is verbatim.
func (w *writer) write(s string) error {
	if err := w.alive(); err != nil {
		return err
	}
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		switch {
		case r == '\r' && strings.HasPrefix(s, "\n"):
			continue
		case r == '\n' || r == '\r' || r == '\f' || r == '\v' || r == '\u2028' || r == '\u2029':
			w.newline()
			continue
		case r != '\t' && unicode.IsControl(r), r == '\uFEFF':
			continue
		}
		if err := w.rune(r); err != nil {
			return err
		}
	}
	return nil
}

// rune adds a character, and before it the line breaks and blanks that are due.
func (w *writer) rune(r rune) error {
	if !w.verbatim && (r == ' ' || r == '\t') && len(w.held) < heldMax {
		w.held += string(r)
		return nil
	}
	if w.b.Len() == 0 {
		w.breaks = 0
	}
	if w.breaks > 2 && !w.verbatim {
		w.breaks = 2
	}
	for ; w.breaks > 0; w.breaks-- {
		if err := w.byteLeft(1); err != nil {
			return err
		}
		w.b.WriteByte('\n')
	}
	if err := w.byteLeft(len(w.held) + utf8.RuneLen(r)); err != nil {
		return err
	}
	w.b.WriteString(w.held)
	w.b.WriteRune(r)
	w.held = ""
	return nil
}

// heldMax bounds the blanks that stand together.
const heldMax = 256

func (w *writer) byteLeft(n int) error {
	if w.left < n {
		w.full = true
		return errFull
	}
	w.left -= n
	return nil
}

func (w *writer) newline() { w.breaks, w.held = w.breaks+1, "" }

// line begins a new line, paragraph leaves an empty one before it.
func (w *writer) line()      { w.breaks, w.held = max(w.breaks, 1), "" }
func (w *writer) paragraph() { w.breaks, w.held = max(w.breaks, 2), "" }

// started says whether the present line has text.
func (w *writer) started() bool { return w.b.Len() > 0 && w.breaks == 0 }

// alive is the end of the context, looked at now and then.
func (w *writer) alive() error {
	if w.wrote++; w.wrote%64 == 0 {
		return w.ctx.Err()
	}
	return nil
}

func (w *writer) text() string { return strings.TrimRight(w.b.String(), " \t\n") }
