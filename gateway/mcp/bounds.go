package mcp

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what a tool answers, in bytes.
const (
	textMax = 64 << 10 // of the text
	rowsMax = 48 << 10 // of the rows as JSON
	rowMax  = 32 << 10 // of the text of one row
)

// clip cuts a text at the end of a character.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const mark = "…"
	n := most - len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}

// fit returns how many rows, from the first on, are no more than rowsMax, one of
// them in any case.
func fit[T any](rows []T) int {
	size := 0
	for i, row := range rows {
		b, err := json.Marshal(row)
		if err != nil {
			return i // rows are texts and numbers
		}
		if size += len(b); size > rowsMax && i > 0 {
			return i
		}
	}
	return len(rows)
}

// cutText shortens the text of a row until its JSON fits, and says whether it did.
func cutText(s string) (string, bool) {
	if jsonLen(s) <= rowMax {
		return s, false
	}
	s = clip(s, rowMax)
	for jsonLen(s) > rowMax {
		s = clip(s, len(s)/2)
	}
	return s, true
}

func jsonLen(s string) int {
	b, err := json.Marshal(s)
	if err != nil {
		return len(s) // strings always encode
	}
	return len(b)
}

// indent keeps the lines of a text from looking like those around it.
func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n  ") }

// oneLine is the beginning of a text on one line.
func oneLine(s string, most int) string { return clip(strings.Join(strings.Fields(s), " "), most) }

// isoTime is a time of the ANT API in the form that everybody reads.
func isoTime(utc string) string {
	at, err := time.ParseInLocation(time.DateTime, utc, time.UTC)
	if err != nil {
		return utc
	}
	return at.Format(time.RFC3339)
}
