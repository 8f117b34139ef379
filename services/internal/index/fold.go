package index

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// foldRune makes characters equal that differ in case only.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

// word is one of a text, folded, and where it stands.
type word struct {
	text       string
	start, end int
}

// alone are scripts that do not write spaces between words: each character
// counts as a word, and words are found as phrases.
var alone = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao,
	unicode.Khmer, unicode.Myanmar, unicode.So}

// words yields the words of a text: letters, digits and their marks; pictures
// (emoji) count as words, too.
func words(s string) iter.Seq[word] {
	return func(yield func(word) bool) {
		start := -1
		flush := func(end int) bool {
			if start < 0 {
				return true
			}
			w := word{foldWord(s[start:end]), start, end}
			start = -1
			return w.text == "" || yield(w)
		}
		for i, r := range s {
			switch {
			case r < utf8.RuneSelf:
				if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
					if start < 0 {
						start = i
					}
				} else if !flush(i) {
					return
				}
			case unicode.In(r, alone...):
				size := utf8.RuneLen(r)
				if !flush(i) || !yield(word{foldWord(s[i : i+size]), i, i + size}) {
					return
				}
			case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r) && start >= 0 && !unicode.Is(unicode.Variation_Selector, r):
				if start < 0 {
					start = i
				}
			default:
				if !flush(i) {
					return
				}
			}
		}
		flush(len(s))
	}
}

// foldWord takes case and accents off.
func foldWord(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] < utf8.RuneSelf
	}
	if plain {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		if r < 0x300 || r > 0x36f { // combining accents
			b.WriteRune(foldRune(r))
		}
	}
	return norm.NFC.String(b.String())
}

// prepare is what FTS5 gets to see of a text.
func (u Unit) prepare(text string) string {
	text = clip(text, textMax)
	if u == Parts {
		return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", " ")
	}
	var b strings.Builder
	b.Grow(len(text))
	for w := range words(text) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}

// clip cuts a text to n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
