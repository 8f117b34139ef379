package index

import (
	"cmp"
	"html"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	snippetWords  = 32
	snippetBefore = 8   // words ahead of the first place
	snippetRunes  = 320 // at most, for texts without blanks
	ellipsis      = "..."
)

type span struct{ start, end int }

// Snippet cuts out where a text has what is looked for: 32 words with <mark>
// around what was found, everything else escaped for HTML.
func (q Query) Snippet(text string) string {
	text = clip(text, textMax)
	from, to := q.window(text)
	var b strings.Builder
	if from > 0 {
		b.WriteString(ellipsis)
	}
	at := from
	for _, s := range q.places(text, from, to) {
		b.WriteString(html.EscapeString(text[at:s.start]))
		b.WriteString("<mark>" + html.EscapeString(text[s.start:s.end]) + "</mark>")
		at = s.end
	}
	b.WriteString(html.EscapeString(text[at:to]))
	if to < len(text) {
		b.WriteString(ellipsis)
	}
	return b.String()
}

// window is the part of a text to show: of those that begin at the first place
// of a term, the one with the most terms.
func (q Query) window(text string) (from, to int) {
	if to = ahead(text, 0, snippetWords); to == len(text) {
		return 0, to
	}
	var firsts []span
	for _, t := range q.terms {
		if start, end, ok := t.find(text, 0); ok {
			firsts = append(firsts, span{start, end})
		}
	}
	slices.SortFunc(firsts, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	most := 0
	for i, s := range firsts {
		f := back(text, s.start, snippetBefore)
		t := max(ahead(text, f, snippetWords), s.end)
		n := 0
		for _, other := range firsts[i:] {
			if other.end <= t {
				n++
			}
		}
		if n > most {
			most, from, to = n, f, t
		}
	}
	return from, to
}

// places are where the terms are between from and to, joined where they touch.
func (q Query) places(text string, from, to int) []span {
	var all []span
	for _, t := range q.terms {
		for at := from; ; {
			start, end, ok := t.find(text[:to], at)
			if !ok {
				break
			}
			all = append(all, span{start, end})
			at = end
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && s.start <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}

// back is the beginning of the word that is n words before a place.
func back(text string, at, n int) int {
	inWord := true
	for runes := 0; at > 0 && runes < snippetRunes/4; runes++ {
		r, size := utf8.DecodeLastRuneInString(text[:at])
		if space := unicode.IsSpace(r); space && inWord {
			if n--; n < 0 {
				return at
			}
			inWord = false
		} else if !space {
			inWord = true
		}
		at -= size
	}
	return at
}

// ahead is the end of the n words from a place on.
func ahead(text string, at, n int) int {
	runes, inWord := 0, false
	for i, r := range text[at:] {
		if space := unicode.IsSpace(r); space && inWord {
			if n--; n == 0 {
				return at + i
			}
			inWord = false
		} else if !space {
			inWord = true
		}
		if runes++; runes > snippetRunes {
			return at + i
		}
	}
	return len(text)
}
