package conversations

import (
	"strings"
	"time"
	"unicode/utf8"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
)

// phaseLabels begin the text of a progress frame (anton.md 3).
var phaseLabels = map[string]string{
	"planning": "Planning", "analyzing": "Analyzing", "executing": "Executing",
	"context": "Context", "interactive": "Interactive",
	"scratchpad_start": "Running code", "scratchpad": "Running code", "scratchpad_done": "Code complete",
}

// Progress implements agent.Sink: frames of one phase come at most four times
// a second, so that a chatty tool cannot flood a stream.
func (c *recorder) Progress(p agent.Progress) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if p.ToolUseID == "" && now.Sub(c.lastProgress[p.Phase]) < progressGap {
		return nil
	}
	c.lastProgress[p.Phase] = now
	content := p.Message
	if label := phaseLabels[p.Phase]; label != "" {
		content = label + ": " + p.Message
	}
	t := &antonv1.Thought{ThoughtRole: "thought.progress", Content: content,
		Phase: p.Phase, Message: p.Message, ToolUseId: p.ToolUseID}
	if p.ETA > 0 {
		s := p.ETA.Seconds()
		t.EtaSeconds = &s
	}
	return c.think(t)
}

// think writes a thought frame. Callers hold mu.
func (c *recorder) think(t *antonv1.Thought) error {
	if err := c.writeDelta(); err != nil {
		return err
	}
	t.Content = clip(strings.ToValidUTF8(t.Content, "\uFFFD"), contentMax)
	t.Message = strings.ToValidUTF8(t.Message, "\uFFFD")
	return c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_Thought{Thought: t}})
}

// scratchpadTool is the tool whose calls show as cells (anton.md 3).
const scratchpadTool = "scratchpad"

// family is the kind of thoughts that a tool has, from the contract's names.
func family(tool string) string {
	switch {
	case strings.HasPrefix(tool, "mcp__"): // a server elsewhere may name its tools as it likes
		return ""
	case tool == scratchpadTool, tool == "memorize":
		return "thought." + tool
	case strings.Contains(tool, "recall"):
		return recallFamily
	}
	return ""
}

// toolThought is a frame about a call: at is start or end (of its input).
func toolThought(call agent.ToolCall, at, content string) *antonv1.Thought {
	role := "thought.progress"
	if f := family(call.Name); f != "" {
		role = f + "." + at
	}
	return &antonv1.Thought{ThoughtRole: role, Content: content, ToolUseId: call.ID, ToolName: call.Name}
}

// ToolStart implements agent.Sink: the model began a call.
func (c *recorder) ToolStart(id, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.closeOpen(statusCompleted); err != nil {
		return err
	}
	return c.think(toolThought(agent.ToolCall{ID: id, Name: name}, "start", name))
}

// ToolInput implements agent.Sink: the call is complete and about to run.
func (c *recorder) ToolInput(call agent.ToolCall) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.closeOpen(statusCompleted); err != nil {
		return err
	}
	if family(call.Name) != recallFamily { // its frame waits for what is found
		if err := c.think(toolThought(call, "end", call.Input)); err != nil {
			return err
		}
	}
	if in := readCell(call); in.runs() {
		return c.openCode(call, in)
	}
	if err := c.openItem(toolItem, call.Name, call.ID); err != nil {
		return err
	}
	i := int32(len(c.fold.items) - 1)
	if err := c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolInProgress{
		ToolInProgress: &antonv1.ToolInProgress{OutputIndex: i}}}); err != nil {
		return err
	}
	err := c.inPieces(call.Input, func(delta string) *antonv1.ResponseEvent {
		return &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolArgumentsDelta{
			ToolArgumentsDelta: &antonv1.ToolArgumentsDelta{OutputIndex: i, Delta: delta}}}
	})
	if err != nil {
		return err
	}
	return c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolArgumentsDone{
		ToolArgumentsDone: &antonv1.ToolArgumentsDone{OutputIndex: i}}})
}

// inPieces emits a text in events of bounded size.
func (c *recorder) inPieces(text string, event func(delta string) *antonv1.ResponseEvent) error {
	for rest := strings.ToValidUTF8(text, "\uFFFD"); rest != ""; {
		delta := clip(rest, contentMax)
		rest = rest[len(delta):]
		if err := c.emit(event(delta)); err != nil {
			return err
		}
	}
	return nil
}

// ToolResult implements agent.Sink.
func (c *recorder) ToolResult(call agent.ToolCall, r agent.ToolResult, took time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if family(call.Name) == recallFamily {
		if err := c.recalled(call, r); err != nil {
			return err
		}
	}
	it := c.open()
	if it == nil || it.kind != toolItem && it.kind != codeItem { // refused before it ran: it has no item
		return nil
	}
	if call.Name == scratchpadTool {
		if err := c.cellResult(call, r); err != nil {
			return err
		}
	}
	i := int32(len(c.fold.items) - 1)
	text := clip(strings.ToValidUTF8(r.Content, "\uFFFD"), contentMax)
	status := statusCompleted
	var ev *antonv1.ResponseEvent
	switch {
	case it.kind == codeItem:
		ev = &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_CodeCompleted{
			CodeCompleted: &antonv1.CodeCompleted{OutputIndex: i, Logs: text}}}
	case r.IsError:
		ev = &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolFailed{
			ToolFailed: &antonv1.ToolFailed{OutputIndex: i, Error: text}}}
	default:
		ev = &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolCompleted{
			ToolCompleted: &antonv1.ToolCompleted{OutputIndex: i, Output: text}}}
	}
	switch {
	case r.IsError && c.ctx.Err() != nil: // stopped with its turn
		status = statusIncomplete
	case r.IsError:
		status = statusFailed
	}
	if err := c.emit(ev); err != nil {
		return err
	}
	return c.emit(itemDone(i, status))
}

// ClientCall implements agent.Sink: the call is an item of the answer, for the
// client to carry out.
func (c *recorder) ClientCall(call agent.ToolCall) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.closeOpen(statusCompleted); err != nil {
		return err
	}
	if err := c.openItem(callItem, call.Name, call.ID); err != nil {
		return err
	}
	i := int32(len(c.fold.items) - 1)
	err := c.inPieces(call.Input, func(delta string) *antonv1.ResponseEvent {
		return &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_FunctionArgumentsDelta{
			FunctionArgumentsDelta: &antonv1.FunctionArgumentsDelta{OutputIndex: i, Delta: delta}}}
	})
	if err != nil {
		return err
	}
	return c.closeOpen(statusCompleted)
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
