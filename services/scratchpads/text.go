package scratchpads

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	antonv1 "anthill/gen/anton/v1"
)

// What a model gets to see of one cell, in characters.
const (
	stdoutShown = 10_000
	stderrShown = 4_000
	logsShown   = 2_000
	errorShown  = 6_000
	valueShown  = 4_000
)

// pageText is the view of cells as plain text.
// compat: the sections of anton.md 9.
func pageText(cells []*antonv1.Cell) string {
	var b strings.Builder
	for _, c := range cells {
		title := fmt.Sprintf("Cell %d", c.Number)
		if c.Description != "" {
			title += ": " + oneLine(c.Description)
		}
		fmt.Fprintf(&b, "--- %s ---\n%s\n%s\n\n", title, strings.TrimRight(c.Code, "\n"), cellText(c))
	}
	if b.Len() == 0 {
		return "(no cells)"
	}
	return strings.TrimRight(b.String(), "\n")
}

// cellText is what a cell left, in sections.
func cellText(c *antonv1.Cell) string {
	var parts []string
	section := func(name, text string, most int) {
		if text = strings.TrimRight(plain(text), "\n"); text != "" {
			parts = append(parts, "["+name+"]\n"+middleOut(text, most))
		}
	}
	section("notice", c.Notice, logsShown)
	if len(c.Installed) > 0 {
		section("installed", strings.Join(c.Installed, ", "), logsShown)
	}
	section("output", c.Stdout, stdoutShown)
	for _, o := range c.Outputs {
		name := "display"
		if o.Kind == "execute_result" {
			name = "result"
		}
		section(name, shownAs(o), valueShown)
	}
	section("logs", c.Logs, logsShown)
	section("stderr", c.Stderr, stderrShown)
	section("error", c.GetError(), errorShown)
	switch {
	case c.Status == statusRunning:
		parts = append(parts, "(still running)")
	case len(parts) == 0:
		return "(no output)"
	}
	return strings.Join(parts, "\n")
}

// shownAs is a display as text, which names the representations that are more.
func shownAs(o *antonv1.CellOutput) string {
	var names []string
	for _, mime := range slices.Sorted(maps.Keys(o.Data)) {
		if mime != "text/plain" {
			names = append(names, mime)
		}
	}
	text := o.Data["text/plain"]
	if names == nil {
		return text
	}
	return strings.TrimLeft(text+"\n(shown to people as "+strings.Join(names, ", ")+")", "\n")
}

// escapes are what terminals take for commands: colours, titles, cursors.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_]|[ -/]+[0-~])?")

// plain is a text without anything that acts on a terminal or a page. Of lines
// that a program wrote over, the last is left.
func plain(s string) string {
	s = strings.ReplaceAll(escapes.ReplaceAllString(s, ""), "\r\n", "\n")
	if strings.IndexByte(s, '\r') < 0 {
		return visible(s)
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		if i := strings.LastIndexByte(strings.TrimRight(line, "\r\n"), '\r'); i >= 0 {
			line = line[i+1:]
		}
		b.WriteString(line)
	}
	return visible(b.String())
}

// visible drops characters that act and do not show.
func visible(s string) string {
	return strings.Map(func(c rune) rune {
		if c != '\n' && c != '\t' && (unicode.IsControl(c) || bidi(c)) {
			return -1
		}
		return c
	}, s)
}

// bidi says whether a character makes text appear in another order than it has.
func bidi(c rune) bool {
	return '\u202a' <= c && c <= '\u202e' || '\u2066' <= c && c <= '\u2069' || c == '\u200e' || c == '\u200f'
}

func oneLine(s string) string { return strings.Join(strings.Fields(plain(s)), " ") }

// middleOut shortens a text to most characters, leaving out its middle.
func middleOut(s string, most int) string {
	n := utf8.RuneCountInString(s)
	if n <= most {
		return s
	}
	runes := []rune(s)
	head, tail := most*3/5, most*2/5
	return fmt.Sprintf("%s\n… [%d characters left out] …\n%s", string(runes[:head]), n-head-tail, string(runes[n-tail:]))
}
