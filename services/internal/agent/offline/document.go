package offline

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
)

const (
	maxShown    = 6000 // characters of a file quoted whole
	maxSentence = 400
	maxPassage  = 700
	maxHeadings = 12
	maxPassages = 3
)

// document is a file that was read.
type document struct {
	name  string
	text  string
	size  int64
	whole bool // text is all of it
}

var (
	htmlNoise = regexp.MustCompile(`(?is)<(script|style|head)\b.*?</(script|style|head)>|<!--.*?-->`)
	htmlBreak = regexp.MustCompile(`(?i)</?(p|div|br|li|h[1-6]|tr|section|article)\b[^>]*>`)
	htmlTag   = regexp.MustCompile(`<[^>]*>`)
	frontPage = regexp.MustCompile(`(?s)\A---\n.*?\n---\n`)
)

// ext is the kind of file that the name tells.
func (d document) ext() string { return strings.ToLower(strings.TrimPrefix(path.Ext(d.name), ".")) }

// summary says what the document is and holds. About is what matters most to
// the one who asks, if anything.
func (d document) summary(about []string) string {
	switch d.ext() {
	case "csv", "tsv", "tab", "psv", "xlsx", "xlsm":
		if t, ok := readTable(d); ok {
			return t.profile(about)
		}
	case "json", "jsonl", "ndjson":
		if s, ok := d.structure(); ok {
			return s
		}
	}
	if s, ok := d.outline(); ok {
		return s
	}
	headings, blocks := prose(d.prose())
	title := ""
	if len(headings) > 0 {
		title = headings[0]
	}
	var b strings.Builder
	b.WriteString(d.headline(title))
	if best := keySentences(title, blocks, about); len(best) > 0 {
		b.WriteString("\n\nKey sentences, in their order:\n")
		for _, s := range best {
			fmt.Fprintf(&b, "\n- %s", clip(s, maxSentence))
		}
	}
	if len(headings) > 1 {
		shown := headings[:min(len(headings), maxHeadings)]
		fmt.Fprintf(&b, "\n\nHeadings: %s", strings.Join(shown, " · "))
		if more := len(headings) - len(shown); more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
	}
	return b.String()
}

// headline names the document and its size.
func (d document) headline(title string) string {
	facts := []string{}
	if d.size > 0 {
		facts = append(facts, bytesText(d.size))
	}
	facts = append(facts, plural(len(strings.Fields(d.text)), "word"))
	if n := strings.Count(strings.TrimRight(d.text, "\n"), "\n") + 1; n > 1 {
		facts = append(facts, plural(n, "line"))
	}
	head := "**" + d.name + "**"
	if title != "" && title != d.name {
		head += ": " + title
	}
	return head + " (" + strings.Join(facts, ", ") + ")" + d.partNote()
}

func (d document) partNote() string {
	if d.whole {
		return ""
	}
	return fmt.Sprintf("\n\nThe file is long: only its first %s are looked at.", bytesText(int64(len(d.text))))
}

// prose is the text without markup that is not meant for readers.
func (d document) prose() string {
	switch d.ext() {
	case "html", "htm", "xml", "svg":
		text := htmlBreak.ReplaceAllString(htmlNoise.ReplaceAllString(d.text, " "), "\n\n")
		return htmlTag.ReplaceAllString(text, " ")
	}
	return frontPage.ReplaceAllString(strings.ReplaceAll(d.text, "\r\n", "\n"), "")
}

// quote shows the document itself.
func (d document) quote() string {
	text := clip(strings.TrimRight(d.text, "\n"), maxShown)
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	out := d.headline("") + "\n\n" + fence + d.ext() + "\n" + text + "\n" + fence
	if len(text) < len(strings.TrimRight(d.text, "\n")) {
		out += "\n\nThe rest is left out here."
	}
	return out
}

// keySentences picks the sentences whose words are the most common ones of the
// text, as a summary in the text's own words.
func keySentences(title string, blocks []block, about []string) []string {
	var all []string
	had := map[string]bool{}
	for _, b := range blocks {
		parts := []string{b.text}
		if !b.item {
			parts = sentences(b.text)
		}
		for _, s := range parts {
			if !had[s] {
				had[s] = true
				all = append(all, s)
			}
		}
	}
	most := min(max(len(all)/6, 3), 7)
	if len(all) <= most {
		return all
	}
	count := map[string]float64{}
	for _, s := range all {
		for _, w := range terms(s) {
			count[w]++
		}
	}
	for _, w := range terms(title) {
		count[w] *= 1.5
	}
	for _, w := range about {
		count[w] = max(count[w], 1) * 4
	}
	score := make([]float64, len(all))
	for i, s := range all {
		words := terms(s)
		seen := map[string]bool{}
		for _, w := range words {
			if !seen[w] {
				seen[w] = true
				score[i] += math.Log1p(count[w])
			}
		}
		// Neither a word or two nor half a page makes a good key sentence.
		score[i] /= math.Sqrt(float64(max(len(words), 6)))
		if i == 0 {
			score[i] *= 1.3
		}
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(score[b], score[a]) })
	order = order[:most]
	slices.Sort(order)
	best := make([]string, most)
	for i, at := range order {
		best[i] = all[at]
	}
	return best
}

// answer finds the passages that speak of what is asked.
func (d document) answer(about []string) string {
	if len(about) == 0 {
		return d.summary(nil)
	}
	switch d.ext() {
	case "csv", "tsv", "tab", "psv", "xlsx", "xlsm":
		if t, ok := readTable(d); ok {
			return t.answer(about)
		}
	}
	found := d.passages(about)
	if len(found) == 0 {
		return fmt.Sprintf("`%s` has no passage with the words of your question. What it says:\n\n%s", d.name, d.summary(about))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "What `%s` says about that:", d.name)
	for _, p := range found {
		b.WriteString("\n\n> " + clip(p.text, maxPassage))
		if p.heading != "" {
			fmt.Fprintf(&b, "\n>\n> (under “%s”)", p.heading)
		}
	}
	return b.String() + d.partNote()
}

// passages are the best few blocks, or lines where there are no blocks, in
// their order. Rare words count more than common ones.
func (d document) passages(about []string) []block {
	_, blocks := prose(d.prose())
	if _, code := languages[d.ext()]; code || d.ext() == "json" || d.ext() == "log" {
		blocks = nil
		for line := range strings.Lines(d.text) {
			blocks = append(blocks, block{text: strings.TrimSpace(line)})
		}
	}
	in := make([]map[string]bool, len(blocks))
	holds := map[string]float64{}
	for i, b := range blocks {
		in[i] = map[string]bool{}
		for _, w := range append(terms(b.text), terms(b.heading)...) {
			if !in[i][w] {
				in[i][w] = true
				holds[w]++
			}
		}
	}
	type hit struct {
		at    int
		score float64
	}
	var hits []hit
	for i := range blocks {
		score := 0.0
		for _, w := range about {
			if in[i][w] {
				score += math.Log(1 + float64(len(blocks))/holds[w])
			}
		}
		if score > 0 {
			hits = append(hits, hit{i, score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	hits = hits[:min(len(hits), maxPassages)]
	// What is far behind the best is noise.
	hits = slices.DeleteFunc(hits, func(h hit) bool { return h.score < hits[0].score*0.5 })
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Compare(a.at, b.at) })
	out := make([]block, len(hits))
	for i, h := range hits {
		out[i] = blocks[h.at]
	}
	return out
}

// hasHeading reports whether some part of the document is about one of the terms.
func (d document) hasHeading(about []string) bool {
	headings, _ := prose(d.prose())
	return len(headings) > 1 && slices.ContainsFunc(terms(strings.Join(headings[1:], " ")), func(w string) bool {
		return slices.Contains(about, w)
	})
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return plural(int(n), "byte")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}
