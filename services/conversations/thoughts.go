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

// ToolStart implements agent.Sink: the model began a call.
func (c *recorder) ToolStart(id, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.closeOpen(statusCompleted); err != nil {
		return err
	}
	return c.think(&antonv1.Thought{ThoughtRole: "thought.progress", Content: name,
		ToolUseId: id, ToolName: name})
}

// ToolInput implements agent.Sink: the call is complete and about to run.
func (c *recorder) ToolInput(call agent.ToolCall) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.closeOpen(statusCompleted); err != nil {
		return err
	}
	err := c.think(&antonv1.Thought{ThoughtRole: "thought.progress", Content: call.Input,
		ToolUseId: call.ID, ToolName: call.Name})
	if err != nil {
		return err
	}
	if err := c.openItem(toolItem, call.Name, call.ID); err != nil {
		return err
	}
	i := int32(len(c.fold.items) - 1)
	err = c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolInProgress{
		ToolInProgress: &antonv1.ToolInProgress{OutputIndex: i}}})
	for rest := strings.ToValidUTF8(call.Input, "\uFFFD"); err == nil && rest != ""; {
		delta := clip(rest, contentMax)
		rest = rest[len(delta):]
		err = c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolArgumentsDelta{
			ToolArgumentsDelta: &antonv1.ToolArgumentsDelta{OutputIndex: i, Delta: delta}}})
	}
	if err != nil {
		return err
	}
	return c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolArgumentsDone{
		ToolArgumentsDone: &antonv1.ToolArgumentsDone{OutputIndex: i}}})
}

// ToolResult implements agent.Sink.
func (c *recorder) ToolResult(call agent.ToolCall, r agent.ToolResult, took time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.open()
	if it == nil || it.kind != toolItem { // refused before it ran: it has no item
		return nil
	}
	i := int32(len(c.fold.items) - 1)
	text := clip(strings.ToValidUTF8(r.Content, "\uFFFD"), contentMax)
	ev := &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolCompleted{
		ToolCompleted: &antonv1.ToolCompleted{OutputIndex: i, Output: text}}}
	status := statusCompleted
	if r.IsError {
		status = statusFailed
		ev = &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolFailed{
			ToolFailed: &antonv1.ToolFailed{OutputIndex: i, Error: text}}}
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
	for rest := strings.ToValidUTF8(call.Input, "\uFFFD"); rest != ""; {
		delta := clip(rest, contentMax)
		rest = rest[len(delta):]
		err := c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_FunctionArgumentsDelta{
			FunctionArgumentsDelta: &antonv1.FunctionArgumentsDelta{OutputIndex: i, Delta: delta}}})
		if err != nil {
			return err
		}
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
