package main

import (
	"bytes"
	"regexp"
)

// asks takes out of output what a terminal would answer. tmux, in which the program runs, has answered it already: a
// second answer would be typed into the program.
type asks struct {
	answered bool
	held     []byte // the beginning of a sequence
}

// heldMost bounds a sequence: what is longer is no question.
const heldMost = 4096

// questions are what terminals answer: what they are, where the cursor is, which modes, colours and sizes they have,
// and what the clipboard holds.
var questions = regexp.MustCompile(`^(?:` +
	`\x1b\[[>=?]?[0-9;]*c|\x1bZ|\x1b\[\??[0-9;]*n|\x1b\[\??[0-9;]*\$p|\x1b\[>[0-9;]*q|\x1b\[[0-9;]*[tx]|\x1b\[\?u|` +
	`\x1b\](?:4|5|1[0-9]|52);[^\x07\x1b]*\?(?:\x07|\x1b\\)|\x1bP(?:\+q|\$q)[^\x1b]*\x1b\\)$`)

// without returns data without questions. What could be the beginning of one is kept until the next call.
func (a *asks) without(data []byte) []byte {
	if !a.answered {
		return data
	}
	if len(a.held) > 0 {
		data, a.held = append(a.held, data...), nil
	}
	if bytes.IndexByte(data, 0x1b) < 0 && bytes.IndexByte(data, 0x05) < 0 {
		return data
	}
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		i := bytes.IndexAny(data, "\x1b\x05")
		if i < 0 {
			return append(out, data...)
		}
		out, data = append(out, data[:i]...), data[i:]
		if data[0] == 0x05 { // ENQ
			data = data[1:]
			continue
		}
		n := sequence(data)
		if n == 0 && len(data) < heldMost {
			a.held = append([]byte(nil), data...)
			return out
		}
		if n = max(n, 1); !questions.Match(data[:n]) {
			out = append(out, data[:n]...)
		}
		data = data[n:]
	}
	return out
}

// sequence is how long the control sequence at the beginning of p is; 0: its end is not there.
func sequence(p []byte) int {
	if len(p) < 2 {
		return 0
	}
	switch c := p[1]; {
	case c == '[':
		for i := 2; i < len(p); i++ {
			if p[i] < 0x20 || p[i] > 0x3f { // its last byte, or what breaks it off
				return i + 1
			}
		}
		return 0
	case c == ']' || c == 'P':
		for i := 2; i < len(p); i++ {
			switch {
			case p[i] == 0x07 && c == ']':
				return i + 1
			case p[i] == 0x1b && i+1 == len(p):
				return 0
			case p[i] == 0x1b && p[i+1] == '\\':
				return i + 2
			case p[i] == 0x1b, p[i] == 0x18, p[i] == 0x1a:
				return i
			}
		}
		return 0
	case c == 0x1b:
		return 1
	case c >= 0x20 && c <= 0x2f:
		for i := 2; i < len(p); i++ {
			if p[i] >= 0x30 || p[i] < 0x20 {
				return i + 1
			}
		}
		return 0
	}
	return 2
}
