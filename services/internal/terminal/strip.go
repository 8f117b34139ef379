package terminal

import (
	"strings"
	"unicode/utf8"
)

// Strip returns the text of output: without control sequences and control characters but newlines,
// tabs and backspaces applied, with invalid UTF-8 replaced. What is printed over a line after a
// carriage return replaces the line.
func Strip(data []byte) string {
	var s stripper
	return display(s.all(data))
}

// stripper takes control sequences out of output that comes in pieces. What is
// left are characters, newline, tab, carriage return and backspace.
type stripper struct {
	scanner scanner
	lines   [2]bool // G0 and G1 are the set of line drawing
	shift   int     // which of them is in use
}

// all returns the text of a whole output.
func (s *stripper) all(data []byte) string {
	*s = stripper{}
	return strings.ToValidUTF8(string(s.append(nil, data)), "\uFFFD")
}

// append appends the text of the next piece to out.
func (s *stripper) append(out, data []byte) []byte {
	for i := 0; i < len(data); {
		held := s.scanner.state == inC1
		kind, n := s.scanner.next(data[i:])
		switch kind {
		case scanText:
			if held {
				out = append(out, 0xc2)
			}
			out = s.text(out, data[i:i+n])
		case scanControl:
			switch c := data[i]; c {
			case '\n', '\t', '\r', '\b':
				out = append(out, c)
			case 0x0e, 0x0f: // SO, SI
				s.shift = int(0x0f - c)
			}
		case scanEnd:
			if set := s.scanner.set; set == '(' || set == ')' {
				s.lines[set-'('] = data[i+n-1] == '0'
			}
		}
		i += n
	}
	return out
}

// drawing are the characters of DEC's line drawing set, from 0x60 on.
var drawing = []rune("◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")

// text appends characters of the set in use.
func (s *stripper) text(out, p []byte) []byte {
	if !s.lines[s.shift] {
		return append(out, p...)
	}
	for _, c := range p {
		if i := int(c) - 0x60; i >= 0 && i < len(drawing) {
			out = utf8.AppendRune(out, drawing[i])
		} else {
			out = append(out, c)
		}
	}
	return out
}

// display applies carriage returns and backspaces within each line.
func display(s string) string {
	if !strings.ContainsAny(s, "\r\b") {
		return s
	}
	var out strings.Builder
	for line := range strings.Lines(s) {
		body, newline := strings.CutSuffix(line, "\n")
		out.WriteString(overprint(strings.TrimRight(body, "\r")))
		if newline {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// overprint is one line as a terminal would show it.
func overprint(line string) string {
	if !strings.ContainsAny(line, "\r\b") {
		return line
	}
	var shown []rune
	at := 0
	for _, r := range line {
		switch {
		case r == '\r':
			at = 0
		case r == '\b':
			at = max(0, at-1)
		case at < len(shown):
			shown[at] = r
			at++
		default:
			shown = append(shown, r)
			at++
		}
	}
	return string(shown)
}

// WholeRunes returns how many bytes of p can be shown before a character that
// is cut at its end: at most 3 less than len(p). Text readers carry the rest over to what follows.
func WholeRunes(p []byte) int {
	for back := 1; back <= min(utf8.UTFMax-1, len(p)); back++ {
		c := p[len(p)-back]
		if !utf8.RuneStart(c) {
			continue
		}
		if c >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-back:]) {
			return len(p) - back
		}
		break
	}
	return len(p)
}
