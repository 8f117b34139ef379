package main

import (
	"embed"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// screens are the pictures, made after what the programs show: {said} is the end of
// the conversation, {work} what turns while it works, {input} the box, {about} what
// a prompt is about, and {options} its choices.
//
//go:embed screens/*.txt
var screens embed.FS

// style is what one program looks like and how it takes answers.
type style struct {
	name       string
	bullet     string
	work       string
	marks      [2]string // before the marked option, and the others; none: options have keys
	permission []string
	trust      []string // nil: it does not ask
	trusted    int      // the marked one
	question   string   // of a permission
	shortcut   func(key string, p *prompt) int
}

var styles = map[string]style{
	"claude": {name: "claude", bullet: "● ", work: "✽ Grooving… (3s · ↓ 2.1k tokens · esc to interrupt)", marks: [2]string{" ❯ ", "   "},
		permission: []string{"Yes", "Yes, and don't ask again for this command", "No, and tell Claude what to do differently (esc)"}, shortcut: digit},
	"codex": {name: "codex", bullet: "• ", work: "• Working (3s • esc to interrupt)", marks: [2]string{"› ", "  "},
		permission: []string{"Yes, proceed (y)", "Yes, and don't ask again for this command (a)", "No, and tell Codex what to do differently (esc)"},
		trust:      []string{"Allow Codex to work in this folder without asking for approval", "Require approval of edits and commands"}, trusted: 1, shortcut: letter},
	"gemini": {name: "gemini", bullet: "✦ ", work: "⠏ Thinking hard (esc to cancel, 3s)", marks: [2]string{"● ", "  "},
		permission: []string{"Allow once", "Allow for this session", "No, suggest changes (esc)"}, question: "Allow execution of: '%s'?", shortcut: digit},
	"tally": {name: "tally", bullet: "- ", work: "counting...", permission: []string{"go ahead", "leave it"}, shortcut: initial},
}

// digit takes an option by its number at once.
func digit(key string, p *prompt) int {
	if i := int(key[0] - '1'); i >= 0 && i < len(p.options) {
		return i
	}
	return -1
}

// letter takes an option by the letter behind its label.
func letter(key string, p *prompt) int {
	for i, o := range p.options {
		if strings.HasSuffix(o, "("+key+")") {
			return i
		}
	}
	return -1
}

// initial takes the first option by y, the second by n.
func initial(key string, p *prompt) int { return strings.Index("yn", key) }

const (
	saidRows = 6  // of the conversation
	boxWidth = 79 // cells of a framed row before its right side
)

// picture is the screen row by row, and where the cursor stands in it, from 1; 0: at its end.
func (a *agent) picture() (rows []string, row, col int) {
	name := a.style.name
	if a.prompt != nil {
		name += "-" + a.prompt.what
	}
	text, err := screens.ReadFile("screens/" + name + ".txt")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(strings.TrimSuffix(string(text), "\n")) {
		line = strings.TrimSuffix(line, "\n")
		for _, filled := range a.fill(line) {
			rows = append(rows, framed(filled))
			if strings.Contains(line, "{input}") {
				row, col = len(rows), utf8.RuneCountInString(filled)+1
			}
		}
	}
	return rows, row, col
}

// fill replaces what is variable in a row of a picture: by several rows, or none.
func (a *agent) fill(line string) []string {
	before, _, _ := strings.Cut(line, "{")
	switch {
	case strings.Contains(line, "{said}"):
		return a.said[max(0, len(a.said)-saidRows):]
	case strings.Contains(line, "{work}"):
		if a.then == nil {
			return []string{""}
		}
		return []string{a.style.work, ""}
	case strings.Contains(line, "{options}"):
		return a.options(before)
	case strings.Contains(line, "{input}"):
		rows := strings.Split(a.input, "\n")
		for i := range rows {
			if rows[i] = before + rows[i]; i > 0 {
				rows[i] = strings.Map(blank, before) + strings.TrimPrefix(rows[i], before)
			}
		}
		return rows
	}
	if p := a.prompt; p != nil {
		line = strings.ReplaceAll(line, "{about}", p.about)
		if a.style.question != "" {
			line = strings.ReplaceAll(line, "{question}", fmt.Sprintf(a.style.question, p.about))
		}
	}
	return []string{line}
}

// blank leaves nothing of what is before an input but its frame.
func blank(r rune) rune {
	if r == '│' {
		return r
	}
	return ' '
}

func (a *agent) options(before string) (rows []string) {
	for i, label := range a.prompt.options {
		switch {
		case a.style.marks == [2]string{}:
			rows = append(rows, before+"  ["+"yn"[i:i+1]+"] "+label)
		case i == a.prompt.at:
			rows = append(rows, fmt.Sprintf("%s%s%d. %s", before, a.style.marks[0], i+1, label))
		default:
			rows = append(rows, fmt.Sprintf("%s%s%d. %s", before, a.style.marks[1], i+1, label))
		}
	}
	return rows
}

// framed closes the frame of a row that has one.
func framed(row string) string {
	if !strings.HasPrefix(row, "│") || strings.HasSuffix(row, "│") && utf8.RuneCountInString(row) > 1 {
		return row
	}
	return row + strings.Repeat(" ", max(0, boxWidth-utf8.RuneCountInString(row))) + "│"
}

// pieces is in how many parts a picture is written, and with which pause: what
// shows meanwhile is half a picture, as with the programs themselves.
const (
	pieces = 3
	pause  = 3 * time.Millisecond
)

func (a *agent) draw() {
	rows, row, col := a.picture()
	text := "\x1b[?25l\x1b[H\x1b[J" + strings.Join(rows, "\r\n") + "\x1b[?25h"
	if row > 0 {
		text += fmt.Sprintf("\x1b[%d;%dH", row, col)
	}
	for i := range pieces {
		if i > 0 {
			time.Sleep(pause)
		}
		if _, err := os.Stdout.WriteString(text[len(text)*i/pieces : len(text)*(i+1)/pieces]); err != nil {
			os.Exit(0) // the terminal has gone
		}
	}
}
