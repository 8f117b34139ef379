package offline

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	maxColumns = 40
	sampleRows = 3
	maxMatches = 5
	maxCell    = 60
)

// table is a document with columns.
type table struct {
	document
	columns []string
	rows    [][]string
	partial string // why not all rows are here; "" if they are
}

// sheetHead is what the text of a workbook has before each sheet.
const sheetHead = "## Sheet: "

// readTable takes a document for a table if it has at least a header and two
// columns. Of a workbook it reads the first sheet.
func readTable(d document) (table, bool) {
	if rest, ok := strings.CutPrefix(d.text, sheetHead); ok {
		_, rest, _ = strings.Cut(rest, "\n\n")
		d.text, _, _ = strings.Cut(rest, "\n"+sheetHead)
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(d.text, "\uFEFF")))
	r.Comma = separator(d.text)
	r.FieldsPerRecord = -1
	r.LazyQuotes = true
	t := table{document: d}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.partial = "the rest is not well formed"
			break
		}
		if t.columns == nil {
			t.columns = row[:min(len(row), maxColumns)]
			continue
		}
		t.rows = append(t.rows, row)
	}
	if !d.whole {
		t.partial = fmt.Sprintf("only the first %s were read", bytesText(int64(len(d.text))))
		if len(t.rows) > 0 { // the last one may be cut
			t.rows = t.rows[:len(t.rows)-1]
		}
	}
	return t, len(t.columns) > 1
}

// separator is the likeliest mark between the columns of the first line.
func separator(text string) rune {
	line, _, _ := strings.Cut(text, "\n")
	best, most := ',', 0
	for _, c := range ",;\t|" {
		if n := strings.Count(line, string(c)); n > most {
			best, most = c, n
		}
	}
	return best
}

func (t table) headline() string {
	s := fmt.Sprintf("**%s**: a table of %s and %s", t.name, plural(len(t.rows), "row"), plural(len(t.columns), "column"))
	if t.size > 0 {
		s += " (" + bytesText(t.size) + ")"
	}
	if t.partial != "" {
		s += "; " + t.partial
	}
	return s
}

// profile describes the columns, only those asked about if any are.
func (t table) profile(about []string) string {
	var b strings.Builder
	b.WriteString(t.headline() + "\n\n| column | values | what they are |\n| --- | --- | --- |\n")
	chosen := t.chosen(about)
	for i, name := range t.columns {
		if len(chosen) > 0 && !slices.Contains(chosen, i) {
			continue
		}
		filled, what := t.describe(i)
		fmt.Fprintf(&b, "| %s | %d of %d | %s |\n", cell(name), filled, len(t.rows), what)
	}
	if n := min(len(t.rows), sampleRows); n > 0 {
		b.WriteString("\nThe first rows:\n\n")
		t.writeRows(&b, t.rows[:n])
	}
	return strings.TrimRight(b.String(), "\n")
}

// chosen are the columns whose names are among the terms.
func (t table) chosen(about []string) []int {
	var out []int
	for i, name := range t.columns {
		if slices.ContainsFunc(terms(name), func(w string) bool { return slices.Contains(about, w) }) {
			out = append(out, i)
		}
	}
	return out
}

// describe says what a column holds: numbers with their range, or the most
// common texts.
func (t table) describe(col int) (filled int, what string) {
	var numbers []float64
	count := map[string]int{}
	for _, row := range t.rows {
		if col >= len(row) {
			continue
		}
		v := strings.TrimSpace(row[col])
		if v == "" {
			continue
		}
		filled++
		count[v]++
		if n, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
			numbers = append(numbers, n)
		}
	}
	switch {
	case filled == 0:
		return 0, "empty"
	case len(numbers) == filled:
		sum := 0.0
		for _, n := range numbers {
			sum += n
		}
		return filled, fmt.Sprintf("numbers from %s to %s, mean %s, sum %s",
			number(slices.Min(numbers)), number(slices.Max(numbers)), number(sum/float64(filled)), number(sum))
	case len(count) == filled && filled > 1:
		return filled, "text, all different"
	}
	values := make([]string, 0, len(count))
	for v := range count {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b)) })
	var top []string
	for _, v := range values[:min(len(values), 3)] {
		top = append(top, fmt.Sprintf("%s (%d)", cell(v), count[v]))
	}
	return filled, fmt.Sprintf("text, %d different: %s", len(values), strings.Join(top, ", "))
}

// answer shows the rows, or else the columns, that a question is about.
func (t table) answer(about []string) string {
	type hit struct{ at, score int }
	var hits []hit
	for i, row := range t.rows {
		score := 0
		words := terms(strings.Join(row, " "))
		for _, w := range about {
			if slices.Contains(words, w) {
				score++
			}
		}
		if score > 0 {
			hits = append(hits, hit{i, score})
		}
	}
	if len(hits) == 0 {
		return t.profile(about)
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	best := hits[0].score
	hits = slices.DeleteFunc(hits, func(h hit) bool { return h.score < best })
	var rows [][]string
	for _, h := range hits[:min(len(hits), maxMatches)] {
		rows = append(rows, t.rows[h.at])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s. With the words of your question: %s", t.headline(), plural(len(hits), "row"))
	if len(rows) < len(hits) {
		fmt.Fprintf(&b, ", of which the first %d", len(rows))
	}
	b.WriteString(":\n\n")
	t.writeRows(&b, rows)
	return strings.TrimRight(b.String(), "\n")
}

func (t table) writeRows(b *strings.Builder, rows [][]string) {
	line := func(cells []string) {
		for i := range t.columns {
			v := ""
			if i < len(cells) {
				v = cell(cells[i])
			}
			b.WriteString("| " + v + " ")
		}
		b.WriteString("|\n")
	}
	line(t.columns)
	b.WriteString(strings.Repeat("| --- ", len(t.columns)) + "|\n")
	for _, r := range rows {
		line(r)
	}
}

// marks are what Markdown, and HTML in it, could take for more than text.
var marks = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", `\<`, "[", `\[`, "*", `\*`, "`", "\\`")

// cell makes any text fit into a Markdown table, as the text that it is.
func cell(s string) string {
	return marks.Replace(clip(strings.Join(strings.Fields(s), " "), maxCell))
}

func number(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 6, 64)
}
