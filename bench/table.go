package main

import (
	"fmt"
	"io"
	"strings"
)

// result is one line of the table.
type result struct {
	path, anthill, reference, ratio, target string
	verdict                                 string
}

const none = "-"

// verdict says whether a target is met.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// atLeast is the line of a rate: anthill's share of what the reference does.
func atLeast(path, unit string, p pairs, target float64) result {
	ratio := median(p.ratios())
	return result{path: path, anthill: count(median(p.ours)) + unit, reference: count(median(p.reference)) + unit,
		ratio: fmt.Sprintf("%.2f", ratio), target: fmt.Sprintf(">= %.2f", target), verdict: verdict(ratio >= target)}
}

// count prints a rate in three digits.
func count(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.2fk", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

// printTable prints results as a Markdown table whose columns line up.
func printTable(w io.Writer, results []result) error {
	lines := [][]string{{"path", "anthill", "reference", "ratio", "target", "verdict"}}
	for _, r := range results {
		lines = append(lines, []string{r.path, r.anthill, r.reference, r.ratio, r.target, r.verdict})
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var out strings.Builder
	for n, line := range lines {
		for i, cell := range line {
			fmt.Fprintf(&out, "| %-*s ", widths[i], cell)
		}
		out.WriteString("|\n")
		if n == 0 {
			for _, width := range widths {
				out.WriteString("| " + strings.Repeat("-", width) + " ")
			}
			out.WriteString("|\n")
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
