package index

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Query is what somebody looks for: every one of its terms must be there.
type Query struct {
	by    Unit
	terms []term
}

// term is one part of a query. Either text or words is set.
type term struct {
	text  string   // Parts: folded, to compare with
	typed string   // Parts: for FTS5, which folds a little differently
	words []string // Words: one after the other, the last one a beginning if open
	open  bool
}

// Parse reads what somebody typed. There is no syntax that could be wrong: terms
// are separated by blanks, and a pair of double quotes keeps a phrase together;
// everything else means itself.
func Parse(by Unit, q string) Query {
	out := Query{by: by}
	add := func(s string, quoted bool) {
		t := term{open: !quoted}
		if by == Parts {
			t.text, t.typed = strings.Map(foldRune, s), s
		} else {
			for w := range words(s) {
				t.words = append(t.words, w.text)
			}
			// One letter begins too many words; one character of CJK is one.
			if n := len(t.words); n > 0 && utf8.RuneCountInString(t.words[n-1]) < 2 {
				t.open = false
			}
		}
		if t.text != "" || len(t.words) > 0 {
			out.terms = append(out.terms, t)
		}
	}
	q = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(q, "\uFFFD"))
	for {
		q = strings.TrimSpace(q)
		if q == "" {
			return out
		}
		if inner, ok := strings.CutPrefix(q, `"`); ok {
			if phrase, rest, closed := strings.Cut(inner, `"`); closed {
				add(strings.TrimSpace(phrase), true)
				q = rest
				continue
			}
		}
		end := strings.IndexFunc(q, unicode.IsSpace)
		if end < 0 {
			end = len(q)
		}
		add(q[:end], false)
		q = q[end:]
	}
}

// Terms is how many things are looked for; a Query of none finds nothing.
func (q Query) Terms() int { return len(q.terms) }

// gram is the length below which FTS5 finds no part of a text.
const gram = 3

// Indexed says whether the index can find something of the query. If not, only
// reading documents tells whether they match (Match).
func (q Query) Indexed() bool {
	for _, t := range q.terms {
		if q.by == Words || utf8.RuneCountInString(t.text) >= gram {
			return true
		}
	}
	return false
}

// Exact says whether all that the index finds matches. If not, documents that it
// finds are still to be asked (Match).
func (q Query) Exact() bool {
	for _, t := range q.terms {
		if q.by == Parts && utf8.RuneCountInString(t.text) < gram {
			return false
		}
	}
	return true
}

// expression is the query in FTS5's language, in which user text stands only
// between quotes. scope is a token, or empty. The result is empty if there is
// nothing for the index to find.
func (q Query) expression(scope string) string {
	var all []string
	for _, t := range q.terms {
		switch {
		case q.by == Parts && utf8.RuneCountInString(t.text) >= gram:
			all = append(all, "text : "+quote(t.typed))
		case q.by == Words && t.open:
			all = append(all, "text : "+quote(strings.Join(t.words, " "))+" *")
		case q.by == Words:
			all = append(all, "text : "+quote(strings.Join(t.words, " ")))
		}
	}
	if scope != "" {
		all = append(all, "scope : "+quote(scope))
	}
	return strings.Join(all, " AND ")
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// Match says whether a text has all terms.
func (q Query) Match(text string) bool { return len(q.terms) > 0 && q.Having(text) == len(q.terms) }

// Having is how many of the terms are in a text.
func (q Query) Having(text string) (n int) {
	for _, t := range q.terms {
		if _, _, ok := t.find(text, 0); ok {
			n++
		}
	}
	return n
}

// Count is how often the terms are in a text, at most most.
func (q Query) Count(text string, most int) (n int) {
	for _, t := range q.terms {
		for at := 0; n < most; n++ {
			_, end, ok := t.find(text, at)
			if !ok {
				break
			}
			at = end
		}
	}
	return n
}

// find returns the first place of a term at or after from, which must be between
// characters; for words, between words.
func (t term) find(text string, from int) (start, end int, ok bool) {
	if len(t.words) > 0 {
		return t.findWords(text, from)
	}
	first, _ := utf8.DecodeRuneInString(t.text)
	for i := from; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if foldRune(r) == first {
			if end, ok := hasPart(text, i, t.text); ok {
				return i, end, true
			}
		}
		i += size
	}
	return 0, 0, false
}

// hasPart says whether a folded part is at a place of a text, and where it ends.
func hasPart(text string, at int, part string) (end int, ok bool) {
	for _, want := range part {
		r, size := utf8.DecodeRuneInString(text[at:])
		if size == 0 || foldRune(r) != want {
			return 0, false
		}
		at += size
	}
	return at, true
}

func (t term) findWords(text string, from int) (start, end int, ok bool) {
	var last []word // as many as the term has
	for w := range words(text[from:]) {
		if len(last) == len(t.words) {
			copy(last, last[1:])
			last = last[:len(last)-1]
		}
		if last = append(last, w); len(last) == len(t.words) && t.fits(last) {
			return from + last[0].start, from + w.end, true
		}
	}
	return 0, 0, false
}

func (t term) fits(have []word) bool {
	for i, want := range t.words {
		if have[i].text != want && !(t.open && i == len(t.words)-1 && strings.HasPrefix(have[i].text, want)) {
			return false
		}
	}
	return true
}
