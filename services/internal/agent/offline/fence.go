package offline

import (
	"regexp"
	"strings"
)

// block of code in a message.
type fence struct {
	language string // in lower case; empty if it is not said
	code     string
}

// python reports whether the block is, or may be, Python.
func (f fence) python() bool {
	switch f.language {
	case "", "python", "py", "python3", "py3":
		return true
	}
	return false
}

// late is a line that opens a block behind other words, as people write it who
// are in a hurry.
var late = regexp.MustCompile("^([^`]*[^`\\s][ \\t]*)(`{3,}[ \\t]*[\\w+#.-]*[ \\t]*)$")

// fences takes the blocks of code out of a message: what is between lines that
// begin with three or more backticks or tildes. A block that is never closed
// goes to the end.
func fences(message string) (list []fence, rest string) {
	var outside, code strings.Builder
	var open *fence
	mark := ""
	for line := range strings.Lines(message) {
		bare := strings.TrimRight(line, "\r\n")
		if m := late.FindStringSubmatch(bare); open == nil && m != nil {
			outside.WriteString(m[1] + "\n")
			bare = m[2]
		}
		run := fenceMark(bare)
		switch {
		case open == nil && run != "" && !strings.Contains(strings.TrimLeft(bare, " `"), "`"):
			info := strings.Fields(strings.TrimLeft(strings.TrimSpace(bare), run[:1]))
			open, mark = &fence{}, run
			if len(info) > 0 {
				open.language = strings.ToLower(strings.Trim(info[0], "{}."))
			}
		case open == nil:
			outside.WriteString(line)
		case strings.HasPrefix(run, mark) && strings.Trim(bare, " \t"+run[:1]) == "":
			open.code = code.String()
			list = append(list, *open)
			open = nil
			code.Reset()
		default:
			code.WriteString(line)
		}
	}
	if open != nil {
		open.code = code.String()
		list = append(list, *open)
	}
	return list, outside.String()
}

// fenceMark is the run of marks that a line begins with; empty if it is no fence.
func fenceMark(line string) string {
	trimmed := strings.TrimLeft(line, " ")
	if len(line)-len(trimmed) > 3 || trimmed == "" || trimmed[0] != '`' && trimmed[0] != '~' {
		return ""
	}
	n := len(trimmed) - len(strings.TrimLeft(trimmed, trimmed[:1]))
	if n < 3 {
		return ""
	}
	return trimmed[:n]
}
