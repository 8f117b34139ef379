package agent

import (
	"cmp"
	"slices"
	"strings"
)

// interrupted answers a call that never got, or never will get, a real answer.
const interrupted = "The call was interrupted before it gave a result. Whether it had an effect is unknown."

// Repair returns the history with every call answered right after it and no
// answer without its call, which providers insist on and which a crash, a
// cancelled turn, a deleted one, or a client that keeps the history breaks.
// Calls that follow each other are made one message; an answer goes to its call
// from wherever it stands behind it; missing answers become errors; stray ones
// and empty messages are dropped. It changes nothing in place, and a repaired
// history comes back as it is.
func Repair(history []Message) []Message {
	given := answersByCall(history)
	out := make([]Message, 0, len(history))
	for i := 0; i < len(history); i++ {
		switch m := history[i]; m.Role {
		case RoleUser:
			if !empty(m) {
				out = append(out, Message{Role: RoleUser, Text: m.Text, Parts: m.Parts})
			}
		case RoleAssistant:
			said := Message{Role: RoleAssistant, Text: m.Text, Calls: slices.Clone(m.Calls), Trace: m.Trace}
			results := given.of(i, m.Calls)
			for i+1 < len(history) && (given.drops(history, i+1) || onlyCalls(history[i+1])) {
				i++
				more := history[i]
				results = append(results, given.of(i, more.Calls)...)
				said.Calls = append(said.Calls, more.Calls...)
				if said.Trace == nil {
					said.Trace = more.Trace
				}
			}
			said.Calls = uniqueCalls(said.Calls)
			if blank(said.Text) && len(said.Calls) == 0 {
				continue
			}
			out = append(out, said)
			if len(said.Calls) > 0 {
				out = append(out, Message{Role: RoleTool, Results: answers(said.Calls, results)})
			}
		}
		// What RoleTool holds was given to its calls, or is stray.
	}
	return out
}

// onlyCalls says that a message does nothing but call.
func onlyCalls(m Message) bool {
	return m.Role == RoleAssistant && blank(m.Text) && len(m.Calls) > 0
}

// callAnswers finds the results of calls, by their id.
type callAnswers struct {
	results map[string][]answered
	called  map[string][]int // messages that make a call of this id
	used    map[int]bool     // messages that hold the result of a call
}

type answered struct {
	at     int // message
	result ToolResult
}

func answersByCall(history []Message) callAnswers {
	a := callAnswers{results: map[string][]answered{}, called: map[string][]int{}, used: map[int]bool{}}
	for i, m := range history {
		for _, c := range m.Calls {
			a.called[c.ID] = append(a.called[c.ID], i)
		}
		for _, r := range m.Results {
			a.results[r.ID] = append(a.results[r.ID], answered{i, r})
		}
	}
	for i, m := range history {
		for _, r := range a.find(i, m.Calls) {
			a.used[r.at] = true
		}
	}
	return a
}

// drops says that nothing is left of a message wherever it stands.
func (a callAnswers) drops(history []Message, i int) bool {
	return empty(history[i]) || history[i].Role == RoleTool && !a.used[i]
}

// of are the results of calls made by message i.
func (a callAnswers) of(i int, calls []ToolCall) []ToolResult {
	var out []ToolResult
	for _, r := range a.find(i, calls) {
		out = append(out, r.result)
	}
	return out
}

// find looks for the results of calls made by message i: for each the first one
// behind it, and before the next call that goes by the same id.
func (a callAnswers) find(i int, calls []ToolCall) []answered {
	var out []answered
	for _, c := range calls {
		until := -1
		if n, _ := slices.BinarySearch(a.called[c.ID], i+1); n < len(a.called[c.ID]) {
			until = a.called[c.ID][n]
		}
		n, _ := slices.BinarySearchFunc(a.results[c.ID], i, func(r answered, i int) int { return cmp.Compare(r.at, i) })
		if n < len(a.results[c.ID]) && (until < 0 || a.results[c.ID][n].at < until) {
			out = append(out, a.results[c.ID][n])
		}
	}
	return out
}

// answers gives each call its first result, in the order of the calls.
func answers(calls []ToolCall, given []ToolResult) []ToolResult {
	byID := make(map[string]ToolResult, len(given))
	for _, r := range given {
		if _, dup := byID[r.ID]; !dup {
			byID[r.ID] = r
		}
	}
	out := make([]ToolResult, len(calls))
	for i, c := range calls {
		r, ok := byID[c.ID]
		if !ok {
			r = ToolResult{ID: c.ID, Content: interrupted, IsError: true}
		}
		out[i] = r
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
