// Package question finds the questions in a text. It is pure: it knows where
// sentences end, and nothing of who asks whom.
package question

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits: what is beyond them is not looked for.
const (
	Max     = 8        // questions of one text
	textMax = 64 << 10 // bytes that are looked at
	long    = 300      // bytes of a question: a longer one loses its beginning
	letters = 3        // of a question at least
)

// marks end a question, in the scripts that have a mark of their own.
const marks = "?？؟⁇⁈⁉‽\u037e⸮" // U+037E is the Greek one

// Find returns the sentences of a text that end with a question mark, each once,
// in their order. What is in code, in a quotation ("> …") or in an address is
// not asked by who writes it. It takes time in proportion to the text.
func Find(text string) []string {
	if len(text) > textMax {
		text = text[:textMax]
	}
	if !strings.ContainsAny(text, marks) {
		return nil
	}
	var found []string
	for _, p := range paragraphs(text) {
		for _, s := range asked(p) {
			if !slices.ContainsFunc(found, func(f string) bool { return strings.EqualFold(f, s) }) {
				found = append(found, s)
			}
			if len(found) == Max {
				return found
			}
		}
	}
	return found
}

// paragraphs are the parts of a text that sentences do not cross: what is
// between empty lines, and each item of a list. Code and quotations are left out.
func paragraphs(text string) (list []string) {
	var open []string
	end := func() {
		if len(open) > 0 {
			list = append(list, strings.Join(open, " "))
		}
		open = nil
	}
	fence := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch mark := fenceOf(line); {
		case fence != "":
			if mark == fence {
				fence = ""
			}
			continue
		case mark != "":
			end()
			fence = mark
			continue
		case line == "", strings.HasPrefix(line, ">"):
			end()
			continue
		}
		item, isItem := strings.CutPrefix(line, "- ")
		if !isItem {
			item, isItem = strings.CutPrefix(line, "* ")
		}
		if !isItem {
			item, isItem = numbered(line)
		}
		if isItem {
			end()
		}
		open = append(open, strings.TrimSpace(strings.TrimLeft(withoutCode(item), "#")))
	}
	end()
	return list
}

// fenceOf is what begins or ends a block of code, or "".
func fenceOf(line string) string {
	for _, f := range []string{"```", "~~~"} {
		if strings.HasPrefix(line, f) {
			return f
		}
	}
	return ""
}

// numbered takes the number from an item such as "2. …" or "2) …".
func numbered(line string) (item string, ok bool) {
	n := 0
	for n < len(line) && n < 4 && line[n] >= '0' && line[n] <= '9' {
		n++
	}
	if n == 0 || n+1 >= len(line) || line[n] != '.' && line[n] != ')' || line[n+1] != ' ' {
		return line, false
	}
	return line[n+2:], true
}

// withoutCode takes out what is between backquotes, if they are closed, but not
// the backquotes: the code is a word of the sentence.
func withoutCode(line string) string {
	parts := strings.Split(line, "`")
	for i := 1; i+1 < len(parts); i += 2 {
		if strings.ContainsAny(parts[i], marks+".!") {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "`")
}

// asked are the questions of a paragraph.
func asked(p string) (list []string) {
	start := 0
	for i, c := range p {
		after := i + utf8.RuneLen(c)
		question := strings.ContainsRune(marks, c)
		if !question && !strings.ContainsRune(".!。！…", c) || !ends(p, c, after) {
			continue
		}
		if s := sentence(p[start:after]); question && s != "" {
			list = append(list, s)
		}
		start = after
	}
	return list
}

// ends says whether a mark ends a sentence: one of those of scripts with blanks
// does before a blank, the end, or what closes a quotation.
func ends(p string, mark rune, after int) bool {
	if after >= len(p) || mark > unicode.MaxLatin1 && mark != '…' {
		return true
	}
	next, _ := utf8.DecodeRuneInString(p[after:])
	return unicode.IsSpace(next) || strings.ContainsRune("\"')]}»”’*_?!", next) || strings.ContainsRune(marks, next)
}

// sentence is a question as it is kept, or "" if it says too little to be one.
func sentence(s string) string {
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimLeftFunc(s, func(c rune) bool {
		return unicode.IsSpace(c) || strings.ContainsRune("\"')]}»”’*_.!", c) || strings.ContainsRune(marks, c)
	})
	n := 0
	for _, c := range s {
		if unicode.IsLetter(c) {
			n++
		}
		if unicode.Is(unicode.Han, c) {
			n++ // says as much as two letters
		}
	}
	if n < letters {
		return ""
	}
	if len(s) > long {
		cut := len(s) - long
		for !utf8.RuneStart(s[cut]) {
			cut++
		}
		if blank := strings.IndexByte(s[cut:], ' '); blank >= 0 && blank < 40 {
			cut += blank + 1
		}
		s = "…" + s[cut:]
	}
	return s
}
