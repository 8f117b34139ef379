// Package term counts the words that a text is about. It is pure, and needs no
// dictionary but a list of English words that say nothing.
package term

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits: words beyond them are not counted.
const (
	shortest = 3      // letters of a word
	longest  = 64     // bytes of a word
	distinct = 50_000 // words of one count
)

// Count is how often a word was said.
type Count struct {
	Term string
	N    int
}

// Counter counts words. The zero one is empty and ready.
type Counter struct{ n map[string]int }

// Add counts the words of a text: runs of letters, in lower case, and no part of
// an address or of the name of who is spoken to. Of scripts without blanks each
// two characters that stand together are one. It takes time in proportion to the
// text.
func (c *Counter) Add(text string) {
	for field := range strings.FieldsSeq(text) {
		if strings.HasPrefix(field, "@") || strings.Contains(field, "://") {
			continue
		}
		c.words(field)
	}
}

// words counts those of what is between two blanks.
func (c *Counter) words(field string) {
	start, last := -1, script(0)
	take := func(end int) {
		if start >= 0 && last == spaced {
			c.word(field[start:end])
		}
		start = -1
	}
	previous := rune(0) // a character of a script without blanks, right before
	for i, r := range field {
		s := scriptOf(r)
		if s != last || s == none {
			take(i)
			last = s
		}
		switch s {
		case dense:
			if previous != 0 {
				c.count(string(previous) + string(r))
			}
			previous = r
			continue
		case spaced:
			if start < 0 {
				start = i
			}
		}
		previous = 0
	}
	take(len(field))
}

type script byte

const (
	none   script = iota // no letter
	spaced               // of a script that has blanks between words
	dense                // of one that has none
)

func scriptOf(r rune) script {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return spaced
		}
		return none
	case unicode.Is(unicode.Han, r), unicode.Is(unicode.Katakana, r), unicode.Is(unicode.Thai, r), unicode.Is(unicode.Lao, r),
		unicode.Is(unicode.Khmer, r), unicode.Is(unicode.Myanmar, r):
		return dense
	case unicode.Is(unicode.Hiragana, r): // mostly grammar
		return none
	case unicode.IsLetter(r), unicode.IsMark(r):
		return spaced
	}
	return none
}

func (c *Counter) word(w string) {
	w = strings.ToLower(w)
	if len(w) > longest || utf8.RuneCountInString(w) < shortest || stop[w] {
		return
	}
	c.count(w)
}

func (c *Counter) count(w string) {
	if c.n == nil {
		c.n = map[string]int{}
	}
	if _, known := c.n[w]; known || len(c.n) < distinct {
		c.n[w]++
	}
}

// Top returns the most frequent words, the most frequent first, and those that
// are equally frequent by the alphabet.
func (c *Counter) Top(n int) []Count {
	list := make([]Count, 0, len(c.n))
	for w, k := range c.n {
		list = append(list, Count{w, k})
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Term, b.Term)) })
	return list[:min(n, len(list))]
}

// stop are English words of three letters or more that are said whatever a text
// is about, and what their short forms leave of them.
var stop = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`about above after again against all also although always and another any anybody anyone anything
are aren around because been before being below between both but can cannot could couldn did didn does doesn doing don done
down during each either else even ever every everybody everyone everything few for from further get gets getting give goes going
gone got had hadn has hasn have haven having her here hers herself him himself his how however into isn its itself just know
let lets like likely made make makes many may maybe might mine more most much must myself need needs neither never nobody none
nor not nothing now off often okay once one only onto other others ought our ours ourselves out over own per please put quite
rather really said same say says see seem seems shall she should shouldn since some somebody someone something still such
sure take than thank thanks that the their theirs them themselves then there these they thing things think this those though
through thus too two under until upon use used using very want wants was wasn way well were weren what when where whether which
while who whom whose why will with within without won would wouldn yes yet you your yours yourself yourselves`) {
		m[w] = true
	}
	return m
}()
