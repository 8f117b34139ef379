package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// AskTool is the name of the tool with which a model asks the user.
const AskTool = "ask_user"

// Ask returns the tool. A question ends the turn, so that it waits for its
// answer for as long as it takes, through a restart and on any client.
func Ask() Tool { return asker{} }

type asker struct{}

func (asker) Spec() ToolSpec {
	return ToolSpec{
		Name: AskTool,
		Description: "Ask the user one question when the work cannot go on without the answer. The turn ends with the question; " +
			"the answer is the user's next message.",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"question":{"type":"string","description":"One question, in the user's language"},` +
			`"options":{"type":"array","minItems":2,"maxItems":10,"description":"Answers to choose from","items":{"type":"object","properties":{` +
			`"value":{"type":"string"},"label":{"type":"string"},"detail":{"type":"string"}},"required":["value"]}},` +
			`"select":{"type":"string","enum":["one","many"]},` +
			`"allow_custom":{"type":"boolean","description":"An answer in other words is fine, too"}},` +
			`"required":["question"],"additionalProperties":false}`),
	}
}

func (asker) Run(_ context.Context, input json.RawMessage) (string, error) {
	var in struct {
		Question string `json:"question"`
		Options  []struct {
			Value  string `json:"value"`
			Label  string `json:"label"`
			Detail string `json:"detail"`
		} `json:"options"`
		Select string `json:"select"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", AskTool, err)
	}
	if blank(in.Question) {
		return "", errors.New("the question is empty")
	}
	var b strings.Builder
	b.WriteString(strings.TrimSpace(in.Question))
	for i, o := range in.Options {
		if i == 0 {
			b.WriteString("\n")
		}
		label := o.Label
		if blank(label) {
			label = o.Value
		}
		fmt.Fprintf(&b, "\n%d. %s", i+1, oneLine(label))
		if !blank(o.Detail) {
			fmt.Fprintf(&b, ": %s", oneLine(o.Detail))
		}
	}
	if in.Select == "many" && len(in.Options) > 0 {
		b.WriteString("\n\nMore than one answer is possible.")
	}
	return "", &Final{Text: b.String()}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
