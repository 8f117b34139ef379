package driver

import (
	"slices"
	"strconv"
	"strings"

	"anthill/services/internal/terminal/screen"
)

const (
	maxReach = 200 // rows that a prompt may reach above its options
	maxApart = 8   // rows between two options
)

// choices are the options of a prompt and the rows that they take.
type choices struct {
	options     []Option
	first, last int
}

// prompt is a rule's prompt if it is on the screen: at the bottom, with nothing but its foot and the driver's chrome
// below, so that neither scrolled text nor a quotation is one: below those stands the input.
func (d *Driver) prompt(v view, r *Rule) *Prompt {
	c, ok := r.find(v)
	if !ok || !d.atBottom(v, r, c.last+1) {
		return nil
	}
	from, ok := r.head(v, c.first)
	if !ok {
		return nil
	}
	p := &Prompt{Driver: d.Name, Rule: r.Name, Class: r.Class, Subclass: r.Subclass, Options: c.options}
	end := c.first
	if r.Options.Kind == kindLine || r.Options.Kind == kindNone {
		end = c.last + 1 // the question stands in the same row
	}
	if r.Question.Set() {
		all := v.paragraphs(from, end)
		for _, para := range slices.Backward(all) {
			if told, ok := r.Question.group(para.text); ok {
				p.Question = visible(told, maxLabel)
				break
			}
		}
		if p.Question == "" {
			return nil
		}
	}
	rows := v.lines[from : c.last+1]
	for _, need := range r.Require {
		if !slices.ContainsFunc(rows, func(l line) bool { _, ok := l.match(need); return ok }) {
			return nil
		}
	}
	for _, not := range r.Reject {
		if slices.ContainsFunc(rows, func(l line) bool { _, ok := l.match(not); return ok }) {
			return nil
		}
	}
	for _, l := range rows {
		if told, ok := l.match(r.Title); ok && p.Title == "" {
			p.Title = visible(strings.TrimSpace(told), maxLabel)
		}
	}
	p.Command, p.File, p.Tool = v.field(r.Command, from, end), v.field(r.File, from, end), v.field(r.Tool, from, end)
	p.Text = body(v.lines[from:end])
	p.Digest = p.digest()
	return p
}

// atBottom says whether rows from one on are the prompt's foot and chrome. A prompt with a foot needs it.
func (d *Driver) atBottom(v view, r *Rule, from int) bool {
	foot := !r.Foot.Set() || r.Options.Kind == kindChips && r.Foot.Match(v.lines[from-1].text) // in the row of the chips
	for _, para := range v.paragraphs(from, len(v.lines)) {
		if r.Foot.Match(para.text) {
			foot = true
			continue
		}
		for _, l := range v.lines[para.from:para.end] {
			if r.Foot.Match(l.text) {
				foot = true
			} else if !slices.ContainsFunc(d.Chrome, func(p Pattern) bool { _, ok := l.match(p); return ok }) {
				return false
			}
		}
	}
	return foot
}

// head is the row where the prompt begins. The top of the screen stands for one that has scrolled off it.
func (r *Rule) head(v view, first int) (int, bool) {
	low := max(0, first-maxReach)
	if !r.Head.Set() {
		return r.above(v, first), true
	}
	for i := first; i >= low; i-- {
		if _, ok := v.lines[i].match(r.Head); ok {
			return i, true
		}
	}
	return low, low == 0 && first > 0 && r.Question.Set()
}

// above is where a prompt without a head begins: with the paragraph of its question, or the one above its options.
func (r *Rule) above(v view, first int) int {
	all := v.paragraphs(max(0, first-maxReach), first)
	for _, para := range slices.Backward(all) {
		if r.Question.Match(para.text) {
			return para.from
		}
	}
	if len(all) > 0 && !r.Question.Set() {
		return all[len(all)-1].from
	}
	return first
}

// field is the first value that is found.
func (v view) field(fields []Field, from, end int) string {
	for _, f := range fields {
		for i := from; i < end; i++ {
			if told, ok := v.lines[i].match(f.Row); ok {
				return visible(strings.TrimSpace(told), maxBody)
			}
			if _, ok := v.lines[i].match(f.After); !ok {
				continue
			}
			for _, para := range v.paragraphs(i+1, end)[:min(1, len(v.paragraphs(i+1, end)))] {
				var told []string
				for _, l := range v.lines[para.from:para.end] {
					if l.bare != "" { // what is dim explains
						told = append(told, strings.TrimSpace(l.bare))
					}
				}
				return visible(strings.Join(told, "\n"), maxBody)
			}
		}
	}
	return ""
}

// body is a prompt's text without borders, and without the space that all of its rows begin with.
func body(rows []line) string {
	var out []string
	indent := -1
	for _, l := range rows {
		if l.border || l.blank() && len(out) == 0 {
			continue
		}
		if n := len(l.text) - len(strings.TrimLeft(l.text, " ")); !l.blank() && (indent < 0 || n < indent) {
			indent = n
		}
		out = append(out, l.text)
	}
	for i, s := range out {
		out[i] = s[min(max(indent, 0), len(s)):]
	}
	return visible(strings.TrimRight(strings.Join(out, "\n"), "\n "), maxBody)
}

func (r *Rule) find(v view) (choices, bool) {
	switch r.Options.Kind {
	case kindNumbered:
		return r.Options.numbered(v)
	case kindListed:
		return r.Options.listed(v)
	case kindChips:
		return r.Options.chips(v)
	}
	return r.Options.line(v)
}

// numberedRow is an option of a menu: "❯ 1. Yes".
var numberedRow = regexpPattern(`^\s*(?P<mark>[❯›●▶→▸>])?\s*(?P<index>\d{1,2})[.)]\s+(?P<label>\S.*?)\s*$`)

// numbered finds options n to 1, from the bottom up. One of them is marked, which a list in a text is not.
func (o Options) numbered(v view) (choices, bool) {
	row := o.Row
	if !row.Set() {
		row = numberedRow
	}
	c := choices{first: -1}
	want, marked := 0, o.Free
	for i := len(v.lines) - 1; i >= 0; i-- {
		m := row.named(v.lines[i].text)
		n, _ := strconv.Atoi(m["index"])
		if m == nil || n < 1 || want > 0 && n != want {
			if c.first >= 0 && c.first-i > maxApart {
				return c, false
			}
			continue
		}
		if c.first < 0 {
			c.last = v.detail(i)
		}
		one := Option{Number: n, Key: m["key"], Label: visible(strings.TrimSpace(m["label"]), maxLabel), Selected: m["mark"] != ""}
		stop := c.last + 1
		if c.first >= 0 {
			stop = c.first
		}
		one.Detail = v.detailText(i, stop)
		marked = marked || one.Selected
		c.options, c.first, want = append(c.options, one), i, n-1
		if n == 1 {
			slices.Reverse(c.options)
			for j := range c.options {
				c.options[j].Index = j
			}
			return c, marked && len(c.options) > 1
		}
		if len(c.options) > 40 {
			break
		}
	}
	return c, false
}

// indent is where a row's text begins, past a mark.
func indent(s string) int {
	return len([]rune(s)) - len([]rune(strings.TrimLeft(s, " ❯›●▶→▸>")))
}

// detail is the last of the rows that go on with the option in row i: those right below that stand further in.
func (v view) detail(i int) int {
	at := indent(v.lines[i].text)
	last := i
	for j := i + 1; j < len(v.lines) && !v.lines[j].gap() && leading(v.lines[j].text) > at; j++ {
		last = j
	}
	return last
}

func leading(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// detailText is what stands between the option in row i and the next.
func (v view) detailText(i, next int) string {
	var words []string
	for _, l := range v.lines[i+1 : next] {
		if !l.gap() {
			words = append(words, strings.Fields(l.text)...)
		}
	}
	return visible(strings.Join(words, " "), maxLabel)
}

// listed finds a run of rows that fit, one of them marked.
func (o Options) listed(v view) (choices, bool) {
	c := choices{first: -1}
	marked := o.Free
	for i := len(v.lines) - 1; i >= 0; i-- {
		m := o.Row.named(v.lines[i].text)
		if m == nil {
			if c.first >= 0 {
				break
			}
			continue
		}
		if c.first < 0 {
			c.last = i
		}
		c.first = i
		one := Option{Key: m["key"], Label: visible(strings.TrimSpace(m["label"]), maxLabel), Selected: m["mark"] != ""}
		marked = marked || one.Selected
		c.options = append(c.options, one)
	}
	slices.Reverse(c.options)
	for j := range c.options {
		c.options[j].Index = j
	}
	return c, marked && len(c.options) > 1 && len(c.options) <= 40
}

// chips finds labels beside each other in a row. The selected one is painted unlike the others.
func (o Options) chips(v view) (choices, bool) {
	for i := len(v.lines) - 1; i >= 0; i-- {
		var styles []screen.Style
		cells, at := v.lines[i].cells, 0
		for _, label := range o.Labels {
			found := index(cells, at, label)
			if found < 0 {
				break
			}
			styles = append(styles, cells[found].Style)
			at = found + 1
		}
		if len(styles) != len(o.Labels) {
			continue
		}
		c := choices{first: i, last: i}
		odd := lone(styles)
		for j, label := range o.Labels {
			c.options = append(c.options, Option{Index: j, Label: label, Selected: j == odd})
		}
		return c, true
	}
	return choices{}, false
}

// index is the column from which on label stands in cells, at or after from; -1 for none.
func index(cells []screen.Cell, from int, label string) int {
	want := []rune(label)
	for i := from; i+len(want) <= len(cells); i++ {
		fits := true
		for j, r := range want {
			if cells[i+j].Text != string(r) {
				fits = false
				break
			}
		}
		if fits {
			return i
		}
	}
	return -1
}

// lone is the index of the one style that is unlike the others, -1 when there is no such one. Of two, it is the one
// that is inverse or has a background.
func lone(styles []screen.Style) int {
	odd := -1
	for i, s := range styles {
		alike := 0
		for _, other := range styles {
			if s == other {
				alike++
			}
		}
		if alike == 1 && (len(styles) > 2 || s.Inverse || s.Background != screen.Default) {
			if odd >= 0 {
				return -1
			}
			odd = i
		}
	}
	return odd
}

// line finds a question that is answered on its own row, the last one of the screen and with the cursor in it.
func (o Options) line(v view) (choices, bool) {
	i := len(v.lines) - 1
	if i < 0 || v.cursor.Row != i {
		return choices{}, false
	}
	if _, ok := v.lines[i].match(o.Row); !ok {
		return choices{}, false
	}
	c := choices{first: i, last: i}
	for j, label := range o.Labels {
		c.options = append(c.options, Option{Index: j, Label: label, Key: o.Keys[j]})
	}
	return c, true
}
