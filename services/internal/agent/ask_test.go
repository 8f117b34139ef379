package agent

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// asks is a model that asks the user, and would go on talking if it were asked.
type asks struct{ times int }

func (p *asks) Stream(context.Context, Request, func(Delta) error) (Completion, error) {
	p.times++
	return Completion{Finish: FinishTools, Calls: []ToolCall{{ID: "q1", Name: AskTool, Input: `{"question":"Which one?",` +
		`"options":[{"value":"a","label":"The first"},{"value":"b","detail":"it is newer"}],"select":"many"}`}}}, nil
}

func TestAskEndsTheTurn(t *testing.T) {
	p, s := &asks{}, &tape{}
	out, err := Run(t.Context(), Options{Provider: p, History: []Message{{Role: RoleUser, Text: "go"}}, Tools: []Tool{Ask()}}, s)
	if err != nil || out.Finish != FinishStop || p.times != 1 {
		t.Fatalf("%+v, %v after %d calls", out, err, p.times)
	}
	const want = "Which one?\n\n1. The first\n2. b: it is newer\n\nMore than one answer is possible."
	last := s.history[len(s.history)-1]
	if len(s.history) != 3 || last.Role != RoleAssistant || last.Text != want {
		t.Errorf("history %+v", s.history)
	}
	if !strings.Contains(strings.Join(s.lines, "\n"), "text "+want) {
		t.Errorf("the sink got %q", s.lines)
	}
	if got := Repair(s.history); len(got) != 3 {
		t.Errorf("repaired: %+v", got)
	}
}

func TestAskNeedsAQuestion(t *testing.T) {
	for _, in := range []string{`{}`, `{"question":" "}`, `{"question":7}`} {
		if _, err := Ask().Run(t.Context(), json.RawMessage(in)); err == nil || strings.Contains(err.Error(), "turn ends") {
			t.Errorf("%s: %v", in, err)
		}
	}
}
