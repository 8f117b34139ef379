package screen

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxParams  = 32
	maxParam   = 1 << 16
	maxCommand = 4096 // bytes of an OSC that are kept
)

// phase is where in a sequence the parser stands.
type phase uint8

const (
	ground phase = iota
	escape
	escapeMore // ESC and an intermediate byte
	csi
	ignored // a CSI that is wrong: up to its final byte
	command // an OSC, kept
	text    // DCS, APC, PM, SOS: up to ST, thrown away
)

// parser takes bytes apart. What it holds is bounded.
type parser struct {
	phase        phase
	ending       bool // ESC came within an OSC or the like: a \ ends it
	prefix       byte // ? > < = of a CSI
	intermediate byte
	params       [maxParams]int // -1: not given
	colon        [maxParams]bool
	count        int
	osc          []byte
	partial      [utf8.UTFMax]byte // a character cut between writes
	have         int

	total int64 // bytes that came
	began int64 // where the sequence under way does
}

// feed is the terminal: every byte that the application wrote, in order.
func (e *emulator) feed(p []byte) {
	if e.skimming {
		e.land()
	}
	e.total += int64(len(p))
	for len(p) > 0 {
		b := p[0]
		if e.have > 0 {
			p = p[e.join(b):]
			continue
		}
		if e.phase != ground || b < 0x20 || b == 0x7f {
			if e.phase == ground {
				e.began = e.total - int64(len(p))
			}
			e.step(b)
			p = p[1:]
			continue
		}
		if b < utf8.RuneSelf {
			e.print(rune(b))
			p = p[1:]
			continue
		}
		if !utf8.FullRune(p) {
			e.have = copy(e.partial[:], p)
			return
		}
		r, n := utf8.DecodeRune(p)
		e.rune(r)
		p = p[n:]
	}
}

// unfinished is how many bytes at the end of what came are part of a sequence, or a character, whose end has not
// come. They have had no effect.
func (e *emulator) unfinished() int {
	if e.phase != ground && !e.skimming {
		return int(e.total - e.began)
	}
	return e.have
}

// join adds a byte to a character that was cut, and says how many bytes (0 or 1) it took.
func (e *emulator) join(b byte) int {
	if utf8.RuneStart(b) { // the character never came to its end
		e.have = 0
		e.print(utf8.RuneError)
		return 0
	}
	e.partial[e.have] = b
	e.have++
	if whole := e.partial[:e.have]; utf8.FullRune(whole) {
		r, n := utf8.DecodeRune(whole)
		rest := e.have - n
		e.have = 0
		e.rune(r)
		for range rest {
			e.print(utf8.RuneError)
		}
	}
	return 1
}

// rune shows a character that is not ASCII. Controls of the upper half (C1) do nothing.
func (e *emulator) rune(r rune) {
	if r >= 0xa0 {
		e.print(r)
	}
}

// step takes a byte that is part of a sequence, or a control.
func (e *emulator) step(b byte) {
	if e.phase == command || e.phase == text {
		e.collect(b)
		return
	}
	switch {
	case b == 0x1b:
		e.phase, e.intermediate = escape, 0
		return
	case b == 0x18 || b == 0x1a: // CAN, SUB
		e.phase = ground
		return
	case b < 0x20:
		e.control(b)
		return
	case b == 0x7f:
		return
	}
	switch e.phase {
	case escape, escapeMore:
		e.stepEscape(b)
	case csi:
		e.stepCSI(b)
	case ignored:
		if b >= 0x40 && b <= 0x7e {
			e.phase = ground
		}
	}
}

func (e *emulator) stepEscape(b byte) {
	switch {
	case b >= 0x80:
		e.phase = ground
	case b < 0x30:
		e.phase, e.intermediate = escapeMore, b
	case e.phase == escapeMore:
		e.phase = ground
		e.designate(b)
	case b == '[':
		e.phase, e.prefix, e.intermediate, e.count = csi, 0, 0, 0
		e.params[0], e.colon[0] = -1, false
	case b == ']':
		e.phase, e.ending, e.osc = command, false, e.osc[:0]
	case b == 'P' || b == '_' || b == '^' || b == 'X':
		e.phase, e.ending = text, false
	default:
		e.phase = ground
		e.escape(b)
	}
}

func (e *emulator) stepCSI(b byte) {
	switch {
	case b >= '0' && b <= '9':
		v := max(e.params[e.count], 0)*10 + int(b-'0')
		e.params[e.count] = min(v, maxParam)
	case b == ';' || b == ':':
		if e.count+1 == maxParams {
			e.phase = ignored
			return
		}
		e.count++
		e.params[e.count], e.colon[e.count] = -1, b == ':'
	case b >= '<' && b <= '?':
		if e.count > 0 || e.params[0] >= 0 {
			e.phase = ignored
			return
		}
		e.prefix = b
	case b < 0x30:
		e.intermediate = b
	case b <= 0x7e:
		e.phase = ground
		e.dispatch(b)
	default:
		e.phase = ground
	}
}

// collect takes a byte of an OSC or of a string that is thrown away.
func (e *emulator) collect(b byte) {
	switch {
	case b == 0x18 || b == 0x1a:
		e.phase = ground
	case e.ending && b == '\\', b == 0x07 && e.phase == command:
		if e.phase == command {
			e.operate()
		}
		e.phase, e.ending = ground, false
	case e.ending: // ESC begins something else: the string is over, without its deed
		e.phase, e.ending, e.intermediate = escape, false, 0
		e.step(b)
	case b == 0x1b:
		e.ending = true
	case e.phase == command && len(e.osc) < maxCommand:
		e.osc = append(e.osc, b)
	}
}

// operate does an OSC: only titles mean anything here. Clipboard, colours, links and queries do not.
func (e *emulator) operate() {
	kind, value, ok := strings.Cut(string(e.osc), ";")
	if !ok || kind != "0" && kind != "2" {
		return
	}
	if title := clean(value, maxTitle); title != e.title {
		e.title = title
		e.touch()
	}
}

// clean takes controls, and characters that turn or hide text, out of a string and bounds it to n characters.
func clean(s string, n int) string {
	var b strings.Builder
	for _, r := range s {
		if n == 0 {
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			continue
		}
		b.WriteRune(r)
		n--
	}
	return strings.TrimSpace(b.String())
}

// param is the i-th number of a CSI, or what stands for it when it is not given or 0.
func (e *emulator) param(i, otherwise int) int {
	if i > e.count || e.params[i] <= 0 {
		return otherwise
	}
	return e.params[i]
}
