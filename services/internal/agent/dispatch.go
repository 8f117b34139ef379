package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// dispatch runs the calls of one answer in order and keeps the pair of messages
// that results. The calls are in the history before the first of them runs, so
// that a crash inside a tool is seen as a call without a result. Whole calls of
// the client's tools are left without one, and waits says that there are some.
func (t *turn) dispatch(ctx context.Context, answer Completion) (waits bool, err error) {
	for _, c := range answer.Calls {
		if err := t.announce(c); err != nil {
			return false, err
		}
	}
	if err := t.keep(Message{Role: RoleAssistant, Text: answer.Text, Calls: answer.Calls, Trace: answer.Trace}); err != nil {
		return false, err
	}
	results := make([]ToolResult, 0, len(answer.Calls))
	for _, c := range answer.Calls {
		whole := isObject(c.Input)
		if t.client[c.Name] && whole {
			waits = true
			if err := t.sink.ClientCall(c); err != nil {
				return false, err
			}
			continue
		}
		if whole {
			if err := t.sink.ToolInput(c); err != nil {
				return false, err
			}
		}
		start := time.Now()
		r, err := t.call(ctx, c)
		if err != nil {
			return false, err
		}
		secrets := newRedactor(t.Secrets)
		r.Content, r.View = secrets.whole(r.Content), secrets.whole(r.View)
		if err := t.sink.ToolResult(c, r, time.Since(start)); err != nil {
			return false, err
		}
		r.Content += t.judge(ctx, c, r, answer.Finish)
		results = append(results, r)
	}
	if err := t.keep(Message{Role: RoleTool, Results: results}); err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return waits, nil
}

// call answers one call, by its tool if it can be run at all. The error is the
// sink's; whatever goes wrong in a tool is in the result.
func (t *turn) call(ctx context.Context, c ToolCall) (ToolResult, error) {
	refuse := func(format string, args ...any) (ToolResult, error) {
		return ToolResult{ID: c.ID, Content: fmt.Sprintf(format, args...), IsError: true}, nil
	}
	tool, known := t.tools[c.Name]
	switch {
	case ctx.Err() != nil:
		return refuse(interrupted)
	case !isObject(c.Input):
		return refuse("The call was not run: its input is not one complete JSON object. Make the same call again with complete input.")
	case !known:
		return refuse("The call was not run: there is no tool named %q. The tools are: %s.", c.Name, strings.Join(t.toolNames(), ", "))
	case t.failures[c.Name] >= t.limits.ErrorsOfOneTool:
		return refuse("The call was not run: %s has failed too often and is off for the rest of this turn.", c.Name)
	}
	_, narrates := tool.(Narrator)
	if !narrates {
		if err := t.sink.Progress(Progress{Phase: PhaseToolStart, Message: c.Name, ToolUseID: c.ID}); err != nil {
			return ToolResult{}, err
		}
	}
	toolCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	rep := &reporter{sink: t.sink, id: c.ID, cancel: cancel}
	content, err := t.runTool(context.WithValue(toolCtx, reporterKey{}, rep), tool, c)
	if failed := rep.close(); failed != nil {
		return ToolResult{}, failed
	}
	if f, ok := errors.AsType[*Final](err); ok && ctx.Err() == nil {
		// The question is what the user sees; the model reads that it was put.
		t.final = append(t.final, strings.ToValidUTF8(f.Text, "\uFFFD"))
		content, err = "The user sees this now. The answer is the user's next message.", nil
	}
	r := ToolResult{ID: c.ID, Content: strings.ToValidUTF8(content, "\uFFFD"), View: rep.view, Parts: rep.parts}
	if err != nil {
		r.IsError = true
		r.Content = strings.ToValidUTF8(err.Error(), "\uFFFD")
		if ctx.Err() != nil {
			r.Content = interrupted
		}
	}
	if !narrates {
		if err := t.sink.Progress(Progress{Phase: PhaseToolDone, Message: c.Name, ToolUseID: c.ID}); err != nil {
			return ToolResult{}, err
		}
	}
	return r, nil
}

// runTool turns a panic into an error: one broken tool must not take the server
// down with every other turn in it.
func (t *turn) runTool(ctx context.Context, tool Tool, c ToolCall) (content string, err error) {
	defer func() {
		if p := recover(); p != nil {
			t.Log.ErrorContext(ctx, "tool panicked", "tool", c.Name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			content, err = "", fmt.Errorf("%s broke down with an internal error", c.Name)
		}
	}()
	return tool.Run(ctx, json.RawMessage(c.Input))
}

// judge counts failures in a row and returns what the model should be told
// about them, to stand behind the result.
func (t *turn) judge(ctx context.Context, c ToolCall, r ToolResult, finish Finish) string {
	if ctx.Err() != nil {
		return ""
	}
	if !r.IsError {
		delete(t.failures, c.Name)
		return ""
	}
	var note strings.Builder
	if finish == FinishLength && !isObject(c.Input) {
		note.WriteString("\n\nThe output limit cut it off: use a shorter input, or several calls with a part each.")
	}
	t.failures[c.Name]++
	switch n := t.failures[c.Name]; {
	case n > t.limits.ErrorsOfOneTool: // it was refused, which says it all
	case n == t.limits.ErrorsOfOneTool:
		fmt.Fprintf(&note, "\n\n%s has now failed %d times in a row and is off for the rest of this turn. Go on without it, or tell the user what stands in the way.", c.Name, n)
	case n >= t.limits.NudgeAt:
		fmt.Fprintf(&note, "\n\n%s has failed %d times in a row. Do not repeat the same call: find the cause in the errors, and try something else.", c.Name, n)
	}
	return note.String()
}

func (t *turn) toolNames() []string {
	names := make([]string, 0, len(t.specs))
	for _, spec := range t.specs {
		names = append(names, spec.Name)
	}
	slices.Sort(names)
	return names
}

// isObject reports whether the input of a call arrived whole: a JSON object
// that lacks any byte at its end is not valid JSON.
func isObject(input string) bool {
	return strings.HasPrefix(strings.TrimLeft(input, " \t\r\n"), "{") && json.Valid([]byte(input))
}
