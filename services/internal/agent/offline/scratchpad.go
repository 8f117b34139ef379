package offline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"anthill/services/internal/agent"
)

// scratchpadTool is the tool that runs Python. An import rule keeps this package
// from the room that has it.
const scratchpadTool = "scratchpad"

// Names of the scratchpads: people's variables are not those of the profiler.
const (
	mainPad     = "main"
	profilerPad = "profiler"
)

// padInput is an input of the tool scratchpad.
type padInput struct {
	Action      string  `json:"action"`
	Name        string  `json:"name"`
	Code        string  `json:"code,omitempty"`
	Description string  `json:"one_line_description,omitempty"`
	Estimate    float64 `json:"estimated_execution_time_seconds,omitempty"`
	// Confirmed opens it beside others: each has its purpose.
	Confirmed bool `json:"confirm_new_scratchpad,omitempty"`
}

const noScratchpad = "I cannot run code here: the scratchpad is not available in this conversation.\n\n"

// run runs the blocks of code of the message, one after the other until one
// fails, and then shows what they left.
func (t *talk) run(w wish) (string, []agent.ToolCall) {
	var code []fence
	var foreign []string
	for _, f := range w.fences {
		switch {
		case !f.python():
			foreign = append(foreign, "`"+clip(strings.ReplaceAll(f.language, "`", ""), 20)+"`")
		case strings.TrimSpace(f.code) != "":
			code = append(code, f)
		}
	}
	done := t.results(scratchpadTool)
	failed := len(done) > 0 && done[len(done)-1].result.IsError
	if len(done) < len(code) && !failed {
		if t.tools[scratchpadTool] {
			return "", []agent.ToolCall{t.call(scratchpadTool, padInput{Action: "exec", Name: mainPad, Code: code[len(done)].code,
				Description: "Code from the message", Confirmed: true})}
		}
		if len(done) == 0 {
			return noScratchpad + notice(), nil
		}
	}
	var b strings.Builder
	for i, s := range done {
		if len(code) > 1 {
			fmt.Fprintf(&b, "Block %d of %d:\n\n", i+1, len(code))
		}
		b.WriteString(cellAnswer(s.result) + "\n\n")
	}
	if len(done) > 0 && len(done) < len(code) {
		fmt.Fprintf(&b, "%s behind it did not run.\n\n", plural(len(code)-len(done), "block"))
	}
	switch {
	case len(foreign) > 0:
		slices.Sort(foreign)
		fmt.Fprintf(&b, "I run Python only, not %s.\n\n", strings.Join(slices.Compact(foreign), ", "))
	case len(code) == 0:
		b.WriteString("There is no code in your message to run.\n\n")
	case slices.ContainsFunc(code, func(f fence) bool { return f.language == "" }):
		b.WriteString("The message does not say what language it is: it was taken for Python.\n\n")
	}
	return b.String() + signature, nil
}

// pad resets or shows the scratchpad.
func (t *talk) pad(w wish) (string, []agent.ToolCall) {
	if s := t.results(scratchpadTool); len(s) > 0 {
		r := s[len(s)-1].result
		if r.IsError && strings.Contains(r.Content, "not found") {
			return "This conversation has no scratchpad yet: the first code that runs opens it.\n\n" + signature, nil
		}
		if r.IsError || w.action == "reset" {
			return r.Content + "\n\n" + signature, nil
		}
		return "What is in the scratchpad:\n\n" + fenceIn(r.Content) + "\n\n" + signature, nil
	}
	if !t.tools[scratchpadTool] {
		return noScratchpad + notice(), nil
	}
	return "", []agent.ToolCall{t.call(scratchpadTool, padInput{Action: w.action, Name: mainPad})}
}

// cellAnswer says what a cell left, or why it did not run.
func cellAnswer(r agent.ToolResult) string {
	list := sections(r.Content)
	if len(list) == 0 {
		if r.IsError {
			return "The code did not run: " + r.Content
		}
		return "It ran, and printed nothing."
	}
	var b strings.Builder
	for _, s := range list {
		switch s.name {
		case "notice":
			b.WriteString(s.text + "\n\n")
		case "installed":
			b.WriteString("Installed for it: " + s.text + ".\n\n")
		default:
			b.WriteString(lead[s.name] + "\n\n" + fenceIn(s.text) + "\n\n")
		}
	}
	if r.IsError {
		b.WriteString("I cannot repair code, which takes a language model: change it and send it again. What ran before the error is kept.")
	}
	return strings.TrimRight(b.String(), "\n")
}

// lead introduces what a section of a result holds.
var lead = map[string]string{"output": "It printed:", "result": "Its value:", "display": "It showed:", "logs": "It logged:",
	"stderr": "On standard error:", "error": "It ended with an error:"}

// section of what the tool says a cell left.
type section struct{ name, text string }

var sectionHead = regexp.MustCompile(`^\[(notice|installed|output|result|display|logs|stderr|error)\]$`)

// advised begins what the agent adds to a failure, for models.
var advised = regexp.MustCompile(`\n\n` + scratchpadTool + ` has (?:now )?failed \d+ times in a row`)

func sections(content string) (list []section) {
	if i := advised.FindStringIndex(content); i != nil {
		content = content[:i[0]]
	}
	for line := range strings.Lines(content) {
		if m := sectionHead.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			list = append(list, section{name: m[1]})
		} else if n := len(list); n > 0 {
			list[n-1].text += line
		} else {
			return nil // not from a cell
		}
	}
	for i := range list {
		list[i].text = strings.TrimRight(list[i].text, "\n")
	}
	return list
}

// sectionOf is the text of a section; empty without one.
func sectionOf(content, name string) string {
	for _, s := range sections(content) {
		if s.name == name {
			return s.text
		}
	}
	return ""
}

// fenceIn shows a text as it is.
func fenceIn(text string) string {
	mark := "```"
	for strings.Contains(text, mark) {
		mark += "`"
	}
	return mark + "text\n" + text + "\n" + mark
}
