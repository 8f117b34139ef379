package conversations

import (
	"strings"

	antonv1 "anthill/gen/anton/v1"
)

// fold follows the events of one turn and knows the response they add up to.
// Live streams, replays, message lists and sealing all go through it, so they
// cannot differ. The log keeps what is new in an event; apply fills in what
// follows from the events before.
type fold struct {
	turn   *turnRecord
	resp   *antonv1.Response // without output; items has it
	items  []*foldItem
	steers []int // outputs that stood before each thing that the user said meanwhile
	ended  bool
	said   bool // some text stands in it
}

type foldItem struct {
	id, status, name string
	callID           string // of a tool or function call
	kind             itemKind
	text, arguments  strings.Builder
	output, err      string
	partOpen, open   bool
}

type itemKind int

const (
	messageItem itemKind = iota
	reasoningItem
	toolItem
	callItem
	codeItem
)

// newFold begins at the turn as it was asked, before its first event.
func newFold(t *turnRecord) *fold {
	return &fold{turn: t, resp: &antonv1.Response{
		Id: t.ResponseID, ConversationId: t.ConvID, CreatedAt: float64(t.Created / 1000),
		Status: statusRunning, Model: t.Model, Instructions: t.Instructions, Metadata: t.Metadata,
		MaxOutputTokens: t.MaxTokens, Temperature: t.Temperature, TopP: t.TopP,
	}}
}

// apply takes the next event and renders it.
func (f *fold) apply(ev *antonv1.ResponseEvent) {
	ev.ConversationId, ev.ResponseId = f.resp.ConversationId, f.resp.Id
	switch e := ev.Event.(type) {
	case *antonv1.ResponseEvent_Created:
		f.resp.Options = e.Created.Options
		e.Created.Response = f.snapshot()
	case *antonv1.ResponseEvent_InProgress:
		e.InProgress.Response = f.snapshot()
	case *antonv1.ResponseEvent_Thought:
		if e.Thought.ThoughtRole == steerThought {
			f.steers = append(f.steers, len(f.items))
		}
		e.Thought.Response = f.snapshot()
		e.Thought.Response.Options = nil
	case *antonv1.ResponseEvent_OutputItemAdded:
		f.add(e.OutputItemAdded.Item)
		e.OutputItemAdded.Item.Id = f.items[len(f.items)-1].id
	case *antonv1.ResponseEvent_OutputItemDone:
		it := f.item(e.OutputItemDone.OutputIndex)
		it.status, it.open = e.OutputItemDone.Item.Status, false
		e.OutputItemDone.Item = it.view()
	case *antonv1.ResponseEvent_ContentPartAdded:
		it := f.item(e.ContentPartAdded.OutputIndex)
		it.partOpen = true
		e.ContentPartAdded.ItemId = it.id
	case *antonv1.ResponseEvent_ContentPartDone:
		it := f.item(e.ContentPartDone.OutputIndex)
		it.partOpen = false
		e.ContentPartDone.ItemId, e.ContentPartDone.Text = it.id, it.text.String()
	case *antonv1.ResponseEvent_OutputTextDelta:
		it := f.item(e.OutputTextDelta.OutputIndex)
		e.OutputTextDelta.Paragraph = it.text.Len() == 0 && f.said && e.OutputTextDelta.Delta != ""
		f.said = f.said || e.OutputTextDelta.Delta != ""
		it.text.WriteString(e.OutputTextDelta.Delta)
		e.OutputTextDelta.ItemId = it.id
	case *antonv1.ResponseEvent_OutputTextDone:
		it := f.item(e.OutputTextDone.OutputIndex)
		e.OutputTextDone.ItemId, e.OutputTextDone.Text = it.id, it.text.String()
	case *antonv1.ResponseEvent_ReasoningPartAdded:
		it := f.item(e.ReasoningPartAdded.OutputIndex)
		it.partOpen = true
		e.ReasoningPartAdded.ItemId = it.id
	case *antonv1.ResponseEvent_ReasoningPartDone:
		it := f.item(e.ReasoningPartDone.OutputIndex)
		it.partOpen = false
		e.ReasoningPartDone.ItemId, e.ReasoningPartDone.Text = it.id, it.text.String()
	case *antonv1.ResponseEvent_ReasoningDelta:
		it := f.item(e.ReasoningDelta.OutputIndex)
		it.text.WriteString(e.ReasoningDelta.Delta)
		e.ReasoningDelta.ItemId = it.id
	case *antonv1.ResponseEvent_ReasoningDone:
		it := f.item(e.ReasoningDone.OutputIndex)
		e.ReasoningDone.ItemId, e.ReasoningDone.Text = it.id, it.text.String()
	case *antonv1.ResponseEvent_ToolArgumentsDelta:
		it := f.item(e.ToolArgumentsDelta.OutputIndex)
		it.arguments.WriteString(e.ToolArgumentsDelta.Delta)
		e.ToolArgumentsDelta.ItemId = it.id
	case *antonv1.ResponseEvent_ToolArgumentsDone:
		it := f.item(e.ToolArgumentsDone.OutputIndex)
		e.ToolArgumentsDone.ItemId, e.ToolArgumentsDone.Arguments = it.id, it.arguments.String()
	case *antonv1.ResponseEvent_FunctionArgumentsDelta:
		it := f.item(e.FunctionArgumentsDelta.OutputIndex)
		it.arguments.WriteString(e.FunctionArgumentsDelta.Delta)
		e.FunctionArgumentsDelta.ItemId = it.id
	case *antonv1.ResponseEvent_FunctionArgumentsDone:
		it := f.item(e.FunctionArgumentsDone.OutputIndex)
		e.FunctionArgumentsDone.ItemId, e.FunctionArgumentsDone.Name = it.id, it.name
		e.FunctionArgumentsDone.Arguments = it.arguments.String()
	case *antonv1.ResponseEvent_CodeInProgress:
		e.CodeInProgress.ItemId = f.item(e.CodeInProgress.OutputIndex).id
	case *antonv1.ResponseEvent_CodeDelta:
		it := f.item(e.CodeDelta.OutputIndex)
		it.arguments.WriteString(e.CodeDelta.Delta)
		e.CodeDelta.ItemId = it.id
	case *antonv1.ResponseEvent_CodeDone:
		it := f.item(e.CodeDone.OutputIndex)
		e.CodeDone.ItemId, e.CodeDone.Code = it.id, it.arguments.String()
	case *antonv1.ResponseEvent_CodeInterpreting:
		e.CodeInterpreting.ItemId = f.item(e.CodeInterpreting.OutputIndex).id
	case *antonv1.ResponseEvent_CodeCompleted:
		it := f.item(e.CodeCompleted.OutputIndex)
		it.output = e.CodeCompleted.Logs
		e.CodeCompleted.ItemId = it.id
	case *antonv1.ResponseEvent_ToolInProgress:
		e.ToolInProgress.ItemId = f.item(e.ToolInProgress.OutputIndex).id
	case *antonv1.ResponseEvent_ToolCompleted:
		it := f.item(e.ToolCompleted.OutputIndex)
		it.output = e.ToolCompleted.Output
		e.ToolCompleted.ItemId = it.id
	case *antonv1.ResponseEvent_ToolFailed:
		it := f.item(e.ToolFailed.OutputIndex)
		it.err = e.ToolFailed.Error
		e.ToolFailed.ItemId = it.id
	case *antonv1.ResponseEvent_Completed:
		f.end(ev, statusCompleted, e.Completed.Usage)
		e.Completed.Response = f.snapshot()
	case *antonv1.ResponseEvent_Incomplete:
		status := statusIncomplete
		if e.Incomplete.Reason == reasonCancelled {
			status = statusCancelled
		}
		f.resp.IncompleteReason = e.Incomplete.Reason
		f.end(ev, status, e.Incomplete.Usage)
		e.Incomplete.Response = f.snapshot()
	case *antonv1.ResponseEvent_Failed:
		f.resp.Error = e.Failed.Error
		f.end(ev, statusFailed, e.Failed.Usage)
		e.Failed.Response = f.snapshot()
	}
}

func (f *fold) end(ev *antonv1.ResponseEvent, status string, u *antonv1.Usage) {
	f.ended = true
	f.resp.Status, f.resp.Usage = status, u
	f.resp.CompletedAt = float64(int64(ev.AtMs) / 1000)
}

func (f *fold) add(v *antonv1.OutputItem) {
	it := &foldItem{status: v.Status, open: true}
	switch k := v.Item.(type) {
	case *antonv1.OutputItem_Reasoning:
		it.kind = reasoningItem
	case *antonv1.OutputItem_Tool:
		it.kind, it.name, it.callID = toolItem, k.Tool.Name, k.Tool.CallId
	case *antonv1.OutputItem_Code:
		it.kind, it.name, it.callID = codeItem, k.Code.Pad, k.Code.CallId
	case *antonv1.OutputItem_FunctionCall:
		it.kind, it.name, it.callID = callItem, k.FunctionCall.Name, k.FunctionCall.CallId
	}
	it.id = itemID(it.kind, f.turn, len(f.items))
	f.items = append(f.items, it)
}

// item is total: an index that no event introduced gets an item of its own, so
// that a damaged log cannot crash a reader.
func (f *fold) item(i int32) *foldItem {
	if i < 0 || int(i) >= len(f.items) {
		return &foldItem{}
	}
	return f.items[i]
}

func (it *foldItem) view() *antonv1.OutputItem {
	v := &antonv1.OutputItem{Id: it.id, Status: it.status}
	switch it.kind {
	case reasoningItem:
		v.Item = &antonv1.OutputItem_Reasoning{Reasoning: &antonv1.ReasoningItem{Text: it.text.String()}}
	case toolItem:
		v.Item = &antonv1.OutputItem_Tool{Tool: &antonv1.ToolItem{Name: it.name, CallId: it.callID,
			Arguments: it.arguments.String(), Output: it.output, Error: it.err}}
	case codeItem:
		v.Item = &antonv1.OutputItem_Code{Code: &antonv1.CodeItem{CallId: it.callID, Pad: it.name,
			Code: it.arguments.String(), Logs: it.output}}
	case callItem:
		v.Item = &antonv1.OutputItem_FunctionCall{FunctionCall: &antonv1.FunctionCallItem{Name: it.name,
			CallId: it.callID, Arguments: it.arguments.String()}}
	default:
		v.Item = &antonv1.OutputItem_Message{Message: &antonv1.MessageItem{Text: it.text.String()}}
	}
	return v
}

// snapshot is the response as of the last event.
func (f *fold) snapshot() *antonv1.Response {
	r := &antonv1.Response{
		Id: f.resp.Id, ConversationId: f.resp.ConversationId, CreatedAt: f.resp.CreatedAt,
		CompletedAt: f.resp.CompletedAt, Status: f.resp.Status, Model: f.resp.Model,
		Error: f.resp.Error, IncompleteReason: f.resp.IncompleteReason,
		Instructions: f.resp.Instructions, Metadata: f.resp.Metadata,
		MaxOutputTokens: f.resp.MaxOutputTokens, Temperature: f.resp.Temperature,
		TopP: f.resp.TopP, Usage: f.resp.Usage, OutputText: f.text(), Options: f.resp.Options,
	}
	for _, it := range f.items {
		r.Output = append(r.Output, it.view())
	}
	return r
}

// text is what was said to the user, one paragraph per message item.
func (f *fold) text() string {
	var parts []string
	for _, it := range f.items {
		if it.kind == messageItem && it.text.Len() > 0 {
			parts = append(parts, it.text.String())
		}
	}
	return strings.Join(parts, "\n\n")
}
