package main

import (
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// key is one press, or a pasted text.
type key struct{ name, text string }

var named = map[string]string{
	"\r": "enter", "\n": "newline", "\t": "tab", " ": "space", "\x7f": "backspace", "\x1b[Z": "shift-tab",
	"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
	"\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
}

// The marks around a paste.
const (
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// escapes is how long the rest of a sequence may take: an Esc alone is the key.
const escapes = 30 * time.Millisecond

// keys reads presses until the end of the input.
func keys(in io.Reader) <-chan key {
	chunks := make(chan string)
	go func() {
		defer close(chunks)
		buf := make([]byte, 4096)
		for {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			chunks <- string(buf[:n])
		}
	}()
	out := make(chan key)
	go func() {
		defer close(out)
		rest, late := "", (<-chan time.Time)(nil)
		for {
			select {
			case c, ok := <-chunks:
				if !ok {
					return
				}
				rest += c
			case <-late:
				out <- key{name: "esc"}
				rest = rest[1:]
			}
			for {
				k, n := first(rest)
				if n == 0 {
					break
				}
				out <- k
				rest = rest[n:]
			}
			late = nil
			if strings.HasPrefix(rest, "\x1b") && !strings.HasPrefix(rest, pasteBegin) {
				late = time.After(escapes)
			}
		}
	}()
	return out
}

// first is the first press in s and its length; 0: it is not whole.
func first(s string) (key, int) {
	if rest, ok := strings.CutPrefix(s, pasteBegin); ok {
		text, _, whole := strings.Cut(rest, pasteEnd)
		if !whole {
			return key{}, 0
		}
		return key{text: strings.ReplaceAll(text, "\r", "\n")}, len(pasteBegin) + len(text) + len(pasteEnd)
	}
	for sequence, name := range named {
		if strings.HasPrefix(s, sequence) {
			return key{name: name}, len(sequence)
		}
	}
	switch {
	case s == "", strings.HasPrefix(pasteBegin, s), s == "\x1bO", !utf8.FullRuneInString(s):
		return key{}, 0
	case s[0] == 0x1b:
		return key{name: "esc"}, 1
	case s[0] < ' ':
		return key{name: "ctrl-" + string(rune('a'-1+s[0]))}, 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return key{name: s[:n]}, n
}
