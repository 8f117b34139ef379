package agent

import (
	"slices"
	"strings"
)

// interrupted answers a call that never got, or never will get, a real answer.
const interrupted = "The call was interrupted before it gave a result. Whether it had an effect is unknown."

// Repair returns the history with every call answered right after it and no
// answer without its call, which providers insist on and which a crash, a
// cancelled turn or a deleted one breaks. Missing answers become errors; stray
// answers and empty messages are dropped. It changes nothing in place, and a
// repaired history comes back as it is.
func Repair(history []Message) []Message {
	out := make([]Message, 0, len(history))
	for i := 0; i < len(history); i++ {
		switch m := history[i]; m.Role {
		case RoleUser:
			if !empty(m) {
				out = append(out, Message{Role: RoleUser, Text: m.Text, Parts: m.Parts})
			}
		case RoleAssistant:
			calls := uniqueCalls(m.Calls)
			if blank(m.Text) && len(calls) == 0 {
				continue
			}
			out = append(out, Message{Role: RoleAssistant, Text: m.Text, Calls: calls, Trace: m.Trace})
			if len(calls) == 0 {
				continue
			}
			var given []ToolResult
			for i+1 < len(history) && (history[i+1].Role == RoleTool || empty(history[i+1])) {
				i++
				given = append(given, history[i].Results...)
			}
			out = append(out, Message{Role: RoleTool, Results: answers(calls, given)})
		}
		// RoleTool here follows no call: its results are strays.
	}
	return out
}

// answers gives each call its first result, in the order of the calls.
func answers(calls []ToolCall, given []ToolResult) []ToolResult {
	out := make([]ToolResult, len(calls))
next:
	for i, c := range calls {
		for _, r := range given {
			if r.ID == c.ID {
				out[i] = r
				continue next
			}
		}
		out[i] = ToolResult{ID: c.ID, Content: interrupted, IsError: true}
	}
	return out
}

func uniqueCalls(calls []ToolCall) []ToolCall {
	var out []ToolCall
	seen := make(map[string]bool, len(calls))
	for _, c := range calls {
		if c.ID != "" && c.Name != "" && !seen[c.ID] {
			seen[c.ID] = true
			out = append(out, c)
		}
	}
	return out
}

// empty reports whether Repair drops the message wherever it stands.
func empty(m Message) bool {
	switch m.Role {
	case RoleUser:
		return blank(m.Text) && !slices.ContainsFunc(m.Parts, func(p Part) bool {
			return !blank(p.Text) || p.Image != nil || p.File != nil
		})
	case RoleAssistant:
		return blank(m.Text) && len(uniqueCalls(m.Calls)) == 0
	case RoleTool:
		return len(m.Results) == 0
	}
	return true
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }
