// Package mention finds out whom a message speaks to. It is pure: it knows names
// as they are written, and nothing of who bears them.
package mention

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits: what is beyond them is text like any other.
const (
	maxNames = 64  // different names in one message
	maxName  = 128 // bytes of a name
)

// Mentions are what a text holds of them.
type Mentions struct {
	Names    []string // as written, without @, each once
	Everyone bool     // @everyone
}

// Parse finds mentions: an @ and a name of letters, digits, "_", "-" and ".",
// not inside a word (as in a mail address), and not in brackets: [@name] speaks
// of somebody, not to them. It takes time in proportion to the text.
func Parse(text string) Mentions {
	var m Mentions
	for at := 0; ; {
		i := strings.IndexByte(text[at:], '@')
		if i < 0 {
			return m
		}
		start := at + i
		name := nameAt(text, start+1)
		at = start + 1 + len(name)
		if name == "" || len(name) > maxName || inWord(text, start) || bracketed(text, start, at) {
			continue
		}
		if Is(name, "everyone") {
			m.Everyone = true
			continue
		}
		if len(m.Names) < maxNames && !slices.Contains(m.Names, name) {
			m.Names = append(m.Names, name)
		}
	}
}

// Is says whether a written name means a handle or alias, which may have an @.
// The end of a sentence is not taken for a part of the name, unless it is one.
// better: the case of letters does not matter; a slip would otherwise wake
// everybody (ant.md 3).
func Is(written, handle string) bool {
	handle = strings.TrimPrefix(handle, "@")
	return handle != "" && (strings.EqualFold(written, handle) ||
		strings.EqualFold(strings.TrimRight(written, ".-"), handle))
}

// AtEnd says whether a text ends with a mention.
func AtEnd(text string) bool {
	tail := text
	for tail != "" {
		r, n := utf8.DecodeLastRuneInString(tail)
		if r == '@' && n == 1 {
			return len(tail) < len(text) && !inWord(text, len(tail)-1)
		}
		if !inName(r) {
			return false
		}
		tail = tail[:len(tail)-n]
	}
	return false
}

// nameAt is the longest name that begins at a place.
func nameAt(text string, start int) string {
	for i, r := range text[start:] {
		if !inName(r) {
			return text[start : start+i]
		}
	}
	return text[start:]
}

// inWord says whether what stands before the @ at a place is a letter or digit.
func inWord(text string, at int) bool {
	r, _ := utf8.DecodeLastRuneInString(text[:at])
	return at > 0 && (r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r))
}

func bracketed(text string, at, end int) bool {
	return at > 0 && text[at-1] == '[' && end < len(text) && text[end] == ']'
}

func inName(r rune) bool {
	return r == '_' || r == '-' || r == '.' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
