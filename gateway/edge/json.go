package edge

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deeply arrays and objects of a JSON body may be nested.
const MaxDepth = 64

// JSONError says where a body stops being acceptable.
type JSONError struct {
	Offset int    // in bytes, from 0
	Msg    string // meant for the client
}

func (e *JSONError) Error() string { return fmt.Sprintf("%s at offset %d", e.Msg, e.Offset) }

// CheckJSON refuses, with a *JSONError, what JSON decoders accept too readily or
// pay too much for: nesting beyond MaxDepth, bytes that are not UTF-8, NUL, and
// escaped halves of a surrogate pair, which would silently turn into U+FFFD. It
// reads the body once and allocates nothing. It does not check the grammar; that
// is for the decoder behind it.
func CheckJSON(body []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(body); {
		switch c := body[i]; special[c] {
		case plain:
			i++
		case quote:
			inString = !inString
			i++
		case open:
			if !inString {
				if depth++; depth > MaxDepth {
					return &JSONError{i, "JSON is nested too deeply"}
				}
			}
			i++
		case closing:
			if !inString && depth > 0 {
				depth--
			}
			i++
		case escape:
			if !inString {
				i++
				break
			}
			if r, ok := unicodeEscape(body[i:]); ok && r == 0 {
				return &JSONError{i, "NUL in JSON"}
			}
			n := escapeLen(body[i:])
			if n == 0 {
				return &JSONError{i, "lone surrogate in JSON string"}
			}
			i += n
		case nul:
			return &JSONError{i, "NUL in JSON"}
		case multibyte:
			r, n := utf8.DecodeRune(body[i:])
			if r == utf8.RuneError && n == 1 {
				return &JSONError{i, "JSON is not valid UTF-8"}
			}
			i += n
		}
	}
	return nil
}

// Kinds of bytes.
const (
	plain = iota
	quote
	open
	closing
	escape
	nul
	multibyte
)

var special = func() (t [256]uint8) {
	t['"'], t['\\'], t[0] = quote, escape, nul
	t['['], t['{'], t[']'], t['}'] = open, open, closing, closing
	for c := utf8.RuneSelf; c < len(t); c++ {
		t[c] = multibyte
	}
	return t
}()

// escapeLen is the length of the escape sequence that s begins with, or 0 if it
// is half of a surrogate pair. Only as much of it is told apart as matters here:
// \n or a mistake like \q count as a backslash and then a plain byte.
func escapeLen(s []byte) int {
	r, ok := unicodeEscape(s)
	switch {
	case !ok && len(s) > 1 && (s[1] == '"' || s[1] == '\\'):
		return 2
	case !ok:
		return 1
	case !utf16.IsSurrogate(r):
		return 6
	}
	if low, ok := unicodeEscape(s[6:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
		return 12
	}
	return 0
}

// unicodeEscape reads \uXXXX.
func unicodeEscape(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
