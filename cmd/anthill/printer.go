package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"unicode"

	antonv1 "anthill/gen/anton/v1"
)

// printer shows a turn in a terminal: the answer on one writer, what the agent
// does on the other.
type printer struct {
	out, progress io.Writer
	json          bool

	conversation atomicString
	written      bool // the answer has begun
	newline      bool // it ends in one
	last         *antonv1.ResponseEvent
	calls        map[string]string // tool by call
}

type atomicString struct{ v atomic.Value }

func (a *atomicString) Store(s string) { a.v.Store(s) }

func (a *atomicString) Load() string {
	s, _ := a.v.Load().(string)
	return s
}

func (p *printer) print(ev *antonv1.ResponseEvent) error {
	p.last = ev
	p.conversation.Store(ev.ConversationId)
	if p.json {
		b, err := line.Marshal(ev)
		if err == nil {
			_, err = fmt.Fprintf(p.out, "%s\n", b)
		}
		return err
	}
	switch e := ev.Event.(type) {
	case *antonv1.ResponseEvent_OutputItemAdded:
		if e.OutputItemAdded.Item.GetMessage() != nil && p.written {
			return p.say("\n\n")
		}
	case *antonv1.ResponseEvent_OutputTextDelta:
		return p.say(e.OutputTextDelta.Delta)
	case *antonv1.ResponseEvent_Thought:
		if e.Thought.Phase == "scratchpad_start" {
			return p.note("  · scratchpad: %s", briefly(e.Thought.Message))
		}
	case *antonv1.ResponseEvent_ToolArgumentsDone:
		if p.calls[e.ToolArgumentsDone.ItemId] == "scratchpad" { // it says itself what it does
			return nil
		}
		return p.note("  · %s %s", p.calls[e.ToolArgumentsDone.ItemId], briefly(e.ToolArgumentsDone.Arguments))
	case *antonv1.ResponseEvent_OutputItemDone:
		if t := e.OutputItemDone.Item.GetTool(); t.GetError() != "" {
			return p.note("  ! %s: %s", t.Name, firstLine(t.Error))
		}
		if c := e.OutputItemDone.Item.GetCode(); c != nil && e.OutputItemDone.Item.Status == "failed" {
			return p.note("  ! scratchpad: %s", lastLine(c.Logs))
		}
	}
	if t := ev.GetOutputItemAdded().GetItem().GetTool(); t != nil {
		if p.calls == nil {
			p.calls = map[string]string{}
		}
		p.calls[ev.GetOutputItemAdded().Item.Id] = t.Name
	}
	return nil
}

const briefMost = 200 // characters

// briefly is a text on one line, cut if it is long.
func briefly(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > briefMost {
		text = string(runes[:briefMost]) + "…"
	}
	return text
}

func (p *printer) say(text string) error {
	p.written = true
	text = printable(text)
	p.newline = strings.HasSuffix(text, "\n")
	_, err := io.WriteString(p.out, text)
	return err
}

func (p *printer) note(format string, args ...any) error {
	_, err := fmt.Fprintln(p.progress, printable(fmt.Sprintf(format, args...)))
	return err
}

// end closes the answer and turns what went wrong into an exit code.
func (p *printer) end() error {
	if p.written && !p.newline {
		if _, err := fmt.Fprintln(p.out); err != nil {
			return err
		}
	}
	switch e := p.last.GetEvent().(type) {
	case *antonv1.ResponseEvent_Completed:
		return nil
	case *antonv1.ResponseEvent_Failed:
		return fmt.Errorf("the turn failed: %s (%s)", e.Failed.Error.GetMessage(), e.Failed.Error.GetCode())
	case *antonv1.ResponseEvent_Incomplete:
		if e.Incomplete.Reason == "cancelled" {
			return exitCode(130)
		}
		return fmt.Errorf("the answer is incomplete: %s", strings.ReplaceAll(e.Incomplete.Reason, "_", " "))
	}
	return fmt.Errorf("the stream ended early; the turn goes on in conversation %s", p.conversation.Load())
}

// printable drops control characters: an answer must not drive the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return -1
	}, s)
}

func firstLine(s string) string {
	head, _, _ := strings.Cut(s, "\n")
	return head
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
