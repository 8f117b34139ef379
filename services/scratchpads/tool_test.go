package scratchpads

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
)

// script is a model that makes these calls, one in each answer.
type script struct{ inputs []string }

func (s *script) Stream(_ context.Context, _ agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	if len(s.inputs) == 0 {
		return agent.Completion{Text: "done", Finish: agent.FinishStop}, emit(agent.Delta{Text: "done"})
	}
	in := s.inputs[0]
	s.inputs = s.inputs[1:]
	c := agent.ToolCall{ID: fmt.Sprintf("call_%d", len(s.inputs)), Name: ToolName, Input: in}
	return agent.Completion{Finish: agent.FinishTools, Calls: []agent.ToolCall{c}}, emit(agent.Delta{CallStart: &c})
}

// sink collects what a turn shows.
type sink struct {
	results  []agent.ToolResult
	progress []agent.Progress
	seen     func(agent.Progress)
}

func (s *sink) Text(string) error                                     { return nil }
func (s *sink) Reasoning(string) error                                { return nil }
func (s *sink) Compacted(agent.Compacted, agent.CompactionNote) error { return nil }
func (s *sink) ToolStart(string, string) error                        { return nil }
func (s *sink) ToolInput(agent.ToolCall) error                        { return nil }
func (s *sink) ClientCall(agent.ToolCall) error                       { return nil }
func (s *sink) History(agent.Message) error                           { return nil }
func (s *sink) Progress(p agent.Progress) error {
	s.progress = append(s.progress, p)
	if s.seen != nil {
		s.seen(p)
	}
	return nil
}
func (s *sink) ToolResult(_ agent.ToolCall, r agent.ToolResult, _ time.Duration) error {
	s.results = append(s.results, r)
	return nil
}

// turn lets a model make calls and returns what came of them.
func (h *house) turn(ctx context.Context, o ToolOptions, s *sink, inputs ...any) []agent.ToolResult {
	h.t.Helper()
	o.ProjectID = "GENERAL"
	if o.ConversationID == "" {
		o.ConversationID = "c1"
	}
	m := &script{}
	for _, in := range inputs {
		b, err := json.Marshal(in)
		if err != nil {
			h.t.Fatal(err)
		}
		m.inputs = append(m.inputs, string(b))
	}
	_, err := agent.Run(ctx, agent.Options{Provider: m, History: []agent.Message{{Role: agent.RoleUser, Text: "go"}},
		Tools: []agent.Tool{h.Tool(o)}}, s)
	if err != nil && ctx.Err() == nil {
		h.t.Fatal(err)
	}
	return s.results
}

type call map[string]any

func TestTool(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := &sink{}
	got := h.turn(h.ctx(), ToolOptions{}, s,
		call{"action": "exec", "name": "main", "code": "x = 20\nprogress('half', 50)\nprint('hello')\nx + 1", "one_line_description": "Say hello", "estimated_execution_time_seconds": 3},
		call{"action": "exec", "name": "main", "code": "1/0"},
		call{"action": "exec", "name": "other", "code": "1"},
		call{"action": "exec", "name": "other", "code": "x", "confirm_new_scratchpad": true},
		call{"action": "view", "name": "main"},
		call{"action": "dump", "name": "main"},
	)
	if len(got) != 6 {
		t.Fatalf("%+v", got)
	}
	if got[0].IsError || got[0].Content != "[output]\nhello\n[result]\n21" {
		t.Errorf("%+v", got[0])
	}
	var cell shown
	if err := json.Unmarshal([]byte(got[0].View), &cell); err != nil {
		t.Fatal(err)
	}
	if cell.Stdout != "hello\n" || cell.Error != nil || cell.Description != "Say hello" || cell.EstimatedTime != "3 seconds" || cell.Status != "ok" ||
		cell.Pad != "main" || cell.Number != 1 || cell.Outputs[0].Data["text/plain"] != "21" || !strings.HasPrefix(cell.Code, "x = 20") {
		t.Errorf("%+v", cell)
	}
	for _, name := range []string{"code", "stdout", "stderr", "error", "description", "estimated_time", "logs", "outputs", "status"} {
		if !strings.Contains(got[0].View, `"`+name+`":`) {
			t.Errorf("%s lacks %s", got[0].View, name)
		}
	}
	if !got[1].IsError || !strings.Contains(got[1].Content, "[error]\n") || !strings.Contains(got[1].Content, "ZeroDivisionError") || !strings.Contains(got[1].View, `"status":"error"`) {
		t.Errorf("%+v", got[1])
	}
	if !got[2].IsError || !strings.Contains(got[2].Content, "main (2 cells)") || !strings.Contains(got[2].Content, "confirm_new_scratchpad") || got[2].View != "" {
		t.Errorf("%+v", got[2])
	}
	contains(t, "another scratchpad", got[3].Content, "NameError")
	contains(t, "view", got[4].Content, "--- Cell 1: Say hello ---", "--- Cell 2 ---\n1/0")
	contains(t, "dump", got[5].View, "## Scratchpad: main (2 cells)", "### Cell 1 — Say hello")
	var phases []string
	for _, p := range s.progress {
		if p.ToolUseID != "" {
			phases = append(phases, p.Phase+":"+p.Message)
		}
	}
	contains(t, "phases", strings.Join(phases, "\n"), "scratchpad_start:Say hello\nscratchpad:half 50%\nscratchpad_done:Say hello\nscratchpad_start:Cell in main\nscratchpad_done:Cell in main")
	if strings.Contains(strings.Join(phases, "\n"), "tool_start") || s.progress[1].ETA != 3*time.Second {
		t.Errorf("%+v", s.progress)
	}
	// Its scratchpads belong to the conversation.
	if l, err := h.ListScratchpads(h.ctx(), &antonv1.ListScratchpadsRequest{Conversation: "c1"}); err != nil || len(l.Pads) != 2 {
		t.Errorf("%v %v", l, err)
	}
	if l, err := h.ListScratchpads(h.ctx(), &antonv1.ListScratchpadsRequest{}); err != nil || len(l.Pads) != 0 {
		t.Errorf("%v %v", l, err)
	}
	got = h.turn(h.ctx(), ToolOptions{}, &sink{},
		call{"action": "reset", "name": "main"}, call{"action": "exec", "name": "main", "code": "print(x)"}, call{"action": "remove", "name": "main"},
		call{"action": "view", "name": "main"}, call{"action": "remove", "name": "other"})
	if got[0].IsError || !strings.Contains(got[1].Content, "NameError") || got[2].IsError || !strings.Contains(got[3].Content, "not found") || got[4].IsError || len(h.Live()) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestToolRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, tc := range []struct {
		in   any
		want string
	}{
		{call{"action": "exec", "name": "a"}, "exec needs code"},
		{call{"action": "exec", "name": "a", "code": "  "}, "exec needs code"},
		{call{"action": "dance", "name": "a"}, "use exec, view"},
		{call{"action": "exec", "name": 7}, "the input is not as scratchpad needs it"},
		{call{"action": "exec", "name": "a/b", "code": "1"}, "slashes"},
		{call{"action": "install", "name": "a"}, "install needs packages"},
		{call{"action": "install", "name": "a", "packages": []string{"--index-url=x"}}, "name of a package"},
		{call{"action": "exec", "name": "a", "code": "1", "packages": []string{"a b"}}, "name of a package"},
		{call{"action": "exec", "name": "a", "code": strings.Repeat("#", codeMost+1)}, "256 KiB"},
		{call{"action": "reset", "name": "nope"}, "not found"},
		{call{"action": "view", "name": "nope"}, "not found"},
		{call{"action": "remove", "name": "nope"}, "not found"},
	} {
		got := h.turn(h.ctx(), ToolOptions{}, &sink{}, tc.in)
		if len(got) != 1 || !got[0].IsError || !strings.Contains(got[0].Content, tc.want) || strings.Contains(got[0].Content, "INVALID_FIELD") {
			t.Errorf("%.80v: %+v, want %q", tc.in, got, tc.want)
		}
	}
}

// A turn that is stopped stops its cell, and shows what it printed by then; the
// scratchpad goes on.
func TestToolIsStopped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.turn(h.ctx(), ToolOptions{}, &sink{}, call{"action": "exec", "name": "a", "code": "x = 5"})
	ctx, cancel := context.WithCancel(h.ctx())
	s := &sink{seen: func(p agent.Progress) {
		if p.Message == "running" {
			cancel()
		}
	}}
	stopped := h.turn(ctx, ToolOptions{}, s, call{"action": "exec", "name": "a", "code": "print('so far')\nprogress('running')\nwhile True: pass"})
	if len(stopped) != 1 || !stopped[0].IsError {
		t.Fatalf("%+v", stopped)
	}
	contains(t, "the stopped cell", stopped[0].View, `"stdout":"so far\n"`, `"status":"cancelled"`, `"error":"Cancelled by user."`)
	l, err := h.ListCells(h.ctx(), &antonv1.ListCellsRequest{Name: "a", Conversation: "c1"})
	if err != nil || len(l.Cells) != 2 || l.Cells[1].Status != "cancelled" {
		t.Errorf("%v %v", l, err)
	}
	if got := h.turn(h.ctx(), ToolOptions{}, &sink{}, call{"action": "exec", "name": "a", "code": "x"}); got[0].Content != "[result]\n5" {
		t.Errorf("%+v", got)
	}
}

// However much a cell leaves, a model and people get a bounded part of it.
func TestToolIsBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	code := "import sys\nprint('ü\\x01' * 200_000)\nsys.stderr.write('\\\\' * 200_000)\nfor i in range(90):\n    display({'text/html': '<' * 2000, 'image/png': b'\\x89PNG' * 500, 'text/plain': 'y' * 300}, raw=True)\nraise ValueError('\"' * 50_000)"
	got := h.turn(h.ctx(), ToolOptions{Pictures: true}, &sink{}, call{"action": "exec", "name": "a", "code": code, "one_line_description": strings.Repeat("d", 5000)})
	if len(got[0].Content) > 100_000 || len(got[0].View) > 64<<10 || !json.Valid([]byte(got[0].View)) {
		t.Errorf("%d and %d bytes", len(got[0].Content), len(got[0].View))
	}
	if len(got[0].Parts) != 3 || got[0].Parts[0].Image.MIME != "image/png" || !strings.HasPrefix(string(got[0].Parts[0].Image.Data), "\x89PNG") {
		t.Errorf("%d pictures", len(got[0].Parts))
	}
	var cell shown
	if err := json.Unmarshal([]byte(got[0].View), &cell); err != nil || cell.Error == nil || len(cell.Outputs) == 0 {
		t.Errorf("%v %d", err, len(cell.Outputs))
	}
	if got := h.turn(h.ctx(), ToolOptions{}, &sink{}, call{"action": "exec", "name": "a", "code": "display({'image/png': b'\\x89PNG'}, raw=True)"}); len(got[0].Parts) != 0 {
		t.Errorf("%+v", got)
	}
}

// provider answers code.
type provider func(agent.Request) (agent.Completion, error)

func (p provider) Stream(_ context.Context, q agent.Request, _ func(agent.Delta) error) (agent.Completion, error) {
	return p(q)
}

func TestModel(t *testing.T) {
	t.Parallel()
	var asked Coding
	var request agent.Request
	answer := func() (agent.Completion, error) { return agent.Completion{Text: "42"}, nil }
	choose := func() error { return nil }
	h := newHouse(t, func(o *Options) {
		o.Model = func(_ context.Context, c Coding) (Model, error) {
			asked = c
			return Model{Name: "m1", Secrets: []string{"configured-key", "short"}, Provider: provider(func(q agent.Request) (agent.Completion, error) {
				request = q
				return answer()
			})}, choose()
		}
	})
	h.start("a")
	if out := h.ok("a", "llm = get_llm()\nprint(llm.complete('question', system='be brief', max_tokens=7))"); out != "42\n" {
		t.Errorf("%q", out)
	}
	if request.Model != "m1" || request.System != "be brief" || request.MaxTokens != 7 || len(request.Messages) != 1 || request.Messages[0].Text != "question" || asked != (Coding{}) {
		t.Errorf("%+v %+v", request, asked)
	}
	own := Coding{Provider: "openai-compatible", Model: "m2", APIKey: "callers-own-key", BaseURL: "http://localhost:1"}
	_, err := h.StartScratchpad(h.ctx(), &antonv1.StartScratchpadRequest{Name: "a", CodingProvider: own.Provider, CodingModel: own.Model, CodingApiKey: own.APIKey, CodingBaseUrl: own.BaseURL})
	if err != nil {
		t.Fatal(err)
	}
	answer = func() (agent.Completion, error) {
		return agent.Completion{Text: `{"keys": "callers-own-key configured-key short"}`}, nil
	}
	if out := h.ok("a", "print(llm.generate_object('q', {'type': 'object'}))"); out != "{'keys': '[redacted] [redacted] short'}\n" {
		t.Errorf("%q", out)
	}
	if asked != own || string(request.Format.Schema) != `{"type": "object"}` {
		t.Errorf("%+v %+v", asked, request.Format)
	}
	for want, fail := range map[string]error{
		"The model provider refused the API key":       agent.NewError(agent.Error{Code: agent.CodeAuth}, errors.New("key callers-own-key is wrong")),
		"the model could not be asked: internal error": errors.New("something odd"),
		"Set a model.": fault.New(fault.Invalid, "CONFIG_REQUIRED", "Set a model."),
	} {
		answer = func() (agent.Completion, error) { return agent.Completion{}, fail }
		c := h.exec("a", "llm.complete('q')")
		contains(t, want, c.GetError(), "RuntimeError: "+want)
		if strings.Contains(c.String(), "callers-own-key") {
			t.Errorf("the key is told: %v", c)
		}
	}
	choose = func() error { return fault.New(fault.Invalid, "CONFIG_REQUIRED", "Choose a model.") }
	contains(t, "no model", h.exec("a", "llm.complete('q')").GetError(), "RuntimeError: Choose a model.")
	if strings.Contains(h.log.String(), "callers-own-key") {
		t.Error("the key is logged")
	}
	// What is chosen for a scratchpad is in memory only.
	h.restart()
	choose, answer = func() error { return nil }, func() (agent.Completion, error) { return agent.Completion{Text: "x"}, nil }
	h.ok("a", "get_llm().complete('q'); None")
	if asked != (Coding{}) {
		t.Errorf("%+v", asked)
	}
}
