package offline

import (
	"encoding/json"
	"fmt"
	"strings"

	"anthill/services/internal/agent"
)

// talk is a request as this provider sees it.
type talk struct {
	question string
	attached []attached      // files that come with the question
	unseen   string          // what comes with the question and cannot be read here
	earlier  []agent.Message // before the question
	since    []agent.Message // behind it
	steps    []step          // tools called since
	tools    map[string]bool
	calls    int // tool calls in the whole history, to number the next ones
}

// step is one tool call with its result.
type step struct {
	tool, path string
	input      string
	result     agent.ToolResult
}

func listen(req agent.Request) talk {
	t := talk{tools: map[string]bool{}}
	for _, spec := range req.Tools {
		t.tools[spec.Name] = true
	}
	last := -1
	for i, m := range req.Messages {
		if m.Role == agent.RoleUser {
			last = i
		}
		t.calls += len(m.Calls)
	}
	if last < 0 {
		return t
	}
	t.hear(req.Messages[last])
	t.earlier, t.since = req.Messages[:last], req.Messages[last+1:]
	t.steps = stepsOf(t.since)
	return t
}

// stepsOf pairs calls with their results.
func stepsOf(messages []agent.Message) (steps []step) {
	var calls []agent.ToolCall
	for _, m := range messages {
		if m.Role == agent.RoleAssistant {
			calls = m.Calls
		}
		for _, r := range m.Results {
			for _, c := range calls {
				if c.ID == r.ID {
					steps = append(steps, step{tool: c.Name, path: pathOf(c.Input), input: c.Input, result: r})
				}
			}
		}
	}
	return steps
}

// hear takes in the question with what comes with it.
func (t *talk) hear(m agent.Message) {
	var texts []string
	images, documents := 0, 0
	for _, p := range m.Content() {
		file, ok := readAttached(p.Text)
		switch {
		case p.Image != nil:
			images++
		case p.File != nil:
			documents++
		case ok:
			t.attached = append(t.attached, file)
		default:
			texts = append(texts, p.Text)
		}
	}
	t.question = strings.Join(texts, "\n\n")
	var unseen []string
	if images > 0 {
		unseen = append(unseen, plural(images, "image"))
	}
	if documents > 0 {
		unseen = append(unseen, plural(documents, "document"))
	}
	t.unseen = strings.Join(unseen, " and ")
}

func pathOf(input string) string {
	var in struct {
		Path string `json:"path"`
	}
	if json.Unmarshal([]byte(input), &in) != nil {
		return "" // a call that is not ours
	}
	return in.Path
}

// call is the next tool call. Ids follow from the history, so that they are the
// same each time and differ within a conversation.
func (t *talk) call(tool string, input any) agent.ToolCall {
	t.calls++
	return agent.ToolCall{ID: fmt.Sprintf("call_offline_%d", t.calls), Name: tool, Input: encode(input)}
}

// step returns a step that was made since the question, or else the call that
// makes it. Both are nil when the tool is not offered (any more).
func (t *talk) step(tool string, input any) (*step, []agent.ToolCall) {
	for i, s := range t.steps {
		if s.tool == tool && s.input == encode(input) {
			return &t.steps[i], nil
		}
	}
	if !t.tools[tool] {
		return nil, nil
	}
	return nil, []agent.ToolCall{t.call(tool, input)}
}

// pathInput is an input of the tools that look at files.
type pathInput struct {
	Path  string `json:"path,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// results returns the steps of one tool.
func (t *talk) results(tool string) []step {
	var out []step
	for _, s := range t.steps {
		if s.tool == tool {
			out = append(out, s)
		}
	}
	return out
}
