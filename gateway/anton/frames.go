package anton

import (
	"cmp"
	"encoding/json"

	antonv1 "anthill/gen/anton/v1"
)

// Shapes of single events.
type (
	wireSnapshot struct {
		head
		Response       wireResponse `json:"response"`
		ConversationID string       `json:"conversation_id"`
		ID             string       `json:"id"`
		Model          string       `json:"model"`
		OutputText     string       `json:"output_text"`
	}
	wireThought struct {
		head
		Response    wireResponse `json:"response"`
		ThoughtRole string       `json:"thought_role"`
		Content     string       `json:"content"`
		Label       string       `json:"label"`
		Phase       string       `json:"phase,omitempty"`
		Message     string       `json:"message,omitempty"`
		EtaSeconds  *float64     `json:"eta_seconds"`
		ToolUseID   string       `json:"tool_use_id"`
		ToolName    string       `json:"tool_name,omitempty"`
		ToolAction  string       `json:"tool_action,omitempty"`
		Subtype     string       `json:"subtype,omitempty"`
		CellStatus  string       `json:"cell_status,omitempty"`
	}
	wireItemEvent struct {
		head
		OutputIndex int32 `json:"output_index"`
		Item        any   `json:"item"`
	}
	wirePartEvent struct {
		head
		ItemID       string   `json:"item_id"`
		OutputIndex  int32    `json:"output_index"`
		ContentIndex int32    `json:"content_index"`
		Part         wirePart `json:"part"`
	}
	wireDelta struct {
		head
		ItemID       string `json:"item_id"`
		OutputIndex  int32  `json:"output_index"`
		ContentIndex int32  `json:"content_index"`
		Delta        string `json:"delta"`
		Logprobs     []any  `json:"logprobs"`
	}
	wireTextDone struct {
		head
		ItemID       string `json:"item_id"`
		OutputIndex  int32  `json:"output_index"`
		ContentIndex int32  `json:"content_index"`
		Text         string `json:"text"`
		Logprobs     []any  `json:"logprobs"`
	}
	wireSummaryEvent struct {
		head
		ItemID       string       `json:"item_id"`
		OutputIndex  int32        `json:"output_index"`
		SummaryIndex int32        `json:"summary_index"`
		Part         *wireSummary `json:"part,omitempty"`
		Delta        *string      `json:"delta,omitempty"`
		Text         *string      `json:"text,omitempty"`
	}
	wireToolEvent struct {
		head
		ItemID      string  `json:"item_id"`
		OutputIndex int32   `json:"output_index"`
		Delta       *string `json:"delta,omitempty"`
		Name        string  `json:"name,omitempty"`
		Arguments   *string `json:"arguments,omitempty"`
		Code        *string `json:"code,omitempty"`
	}
	wireFailed struct {
		head
		Code           string       `json:"code"`
		Error          string       `json:"error,omitempty"`
		Message        string       `json:"message"`
		Status         int          `json:"status"`
		Response       wireResponse `json:"response"`
		ConversationID string       `json:"conversation_id"`
		ID             string       `json:"id"`
	}
)

// frame renders an event: its SSE name and its JSON on one line. An event of a
// kind this build does not know has no name and is skipped.
func (c caller) frame(ev *antonv1.ResponseEvent) (name string, data []byte, err error) {
	v, name := c.view(ev)
	if name == "" {
		return "", nil, nil
	}
	data, err = json.Marshal(v)
	return name, data, err
}

// paragraph is a delta of the whole answer, in which the texts of its items are
// paragraphs.
func paragraph(d *antonv1.OutputTextDelta) string {
	if d.Paragraph {
		return "\n\n" + d.Delta
	}
	return d.Delta
}

func (c caller) view(ev *antonv1.ResponseEvent) (v any, name string) {
	h := func(t string) head {
		name = t
		return head{Type: t, Seq: ev.SequenceNumber, AtMs: ev.AtMs}
	}
	snapshot := func(t string, r *antonv1.Response) wireSnapshot {
		return wireSnapshot{head: h(t), Response: viewResponse(r), ConversationID: ev.ConversationId,
			ID: ev.ResponseId, Model: r.GetModel(), OutputText: r.GetOutputText()}
	}
	switch e := ev.Event.(type) {
	case *antonv1.ResponseEvent_Created:
		v = snapshot("response.created", e.Created.Response)
	case *antonv1.ResponseEvent_InProgress:
		v = snapshot("response.in_progress", e.InProgress.Response)
	case *antonv1.ResponseEvent_Completed:
		v = snapshot("response.completed", e.Completed.Response)
	case *antonv1.ResponseEvent_Incomplete:
		v = snapshot("response.incomplete", e.Incomplete.Response)
	case *antonv1.ResponseEvent_Failed:
		f := wireFailed{head: h("response.failed"), Code: e.Failed.Error.GetCode(),
			Message: e.Failed.Error.GetMessage(), Status: failedStatus(e.Failed.Error.GetCode()),
			Response: viewResponse(e.Failed.Response), ConversationID: ev.ConversationId, ID: ev.ResponseId}
		if !c.sdk {
			f.Error = f.Message
		}
		if c.codex && f.Response.Error != nil {
			f.Response.Error.Code = cmp.Or(openaiCodes[f.Code], "server_error")
		}
		v = f
	case *antonv1.ResponseEvent_Thought:
		t := e.Thought
		label := t.Message
		if label == "" {
			label = t.Content
		}
		resp := viewResponse(t.Response)
		if !c.sdk && !c.codex {
			// An SDK replaces its snapshot with this one and needs all of it; to the
			// others it would make a turn's frames grow with the square of their number.
			resp.Output, resp.OutputText = []any{}, ""
		}
		v = wireThought{head: h("response.in_progress"), Response: resp,
			ThoughtRole: t.ThoughtRole, Content: t.Content, Label: label, Phase: t.Phase, Message: t.Message,
			EtaSeconds: t.EtaSeconds, ToolUseID: t.ToolUseId, ToolName: t.ToolName,
			ToolAction: t.ToolAction, Subtype: t.Subtype, CellStatus: t.CellStatus}
	case *antonv1.ResponseEvent_OutputItemAdded:
		v = wireItemEvent{h("response.output_item.added"), e.OutputItemAdded.OutputIndex, viewItem(e.OutputItemAdded.Item)}
	case *antonv1.ResponseEvent_OutputItemDone:
		v = wireItemEvent{h("response.output_item.done"), e.OutputItemDone.OutputIndex, viewItem(e.OutputItemDone.Item)}
	case *antonv1.ResponseEvent_ContentPartAdded:
		p := e.ContentPartAdded
		v = wirePartEvent{h("response.content_part.added"), p.ItemId, p.OutputIndex, p.ContentIndex, textPart("")}
	case *antonv1.ResponseEvent_ContentPartDone:
		p := e.ContentPartDone
		v = wirePartEvent{h("response.content_part.done"), p.ItemId, p.OutputIndex, p.ContentIndex, textPart(p.Text)}
	case *antonv1.ResponseEvent_OutputTextDelta:
		d := e.OutputTextDelta
		delta := d.Delta
		if !c.sdk { // who knows no items adds all deltas up
			delta = paragraph(d)
		}
		v = wireDelta{h("response.output_text.delta"), d.ItemId, d.OutputIndex, d.ContentIndex, delta, []any{}}
	case *antonv1.ResponseEvent_OutputTextDone:
		d := e.OutputTextDone
		v = wireTextDone{h("response.output_text.done"), d.ItemId, d.OutputIndex, d.ContentIndex, d.Text, []any{}}
	default:
		v = viewActivity(ev, h)
	}
	return v, name
}

// viewActivity shows reasoning and tools.
func viewActivity(ev *antonv1.ResponseEvent, h func(string) head) any {
	switch e := ev.Event.(type) {
	case *antonv1.ResponseEvent_ReasoningPartAdded:
		return wireSummaryEvent{head: h("response.reasoning_summary_part.added"), ItemID: e.ReasoningPartAdded.ItemId,
			OutputIndex: e.ReasoningPartAdded.OutputIndex, Part: &wireSummary{Type: "summary_text"}}
	case *antonv1.ResponseEvent_ReasoningPartDone:
		return wireSummaryEvent{head: h("response.reasoning_summary_part.done"), ItemID: e.ReasoningPartDone.ItemId,
			OutputIndex: e.ReasoningPartDone.OutputIndex,
			Part:        &wireSummary{Type: "summary_text", Text: e.ReasoningPartDone.Text}}
	case *antonv1.ResponseEvent_ReasoningDelta:
		return wireSummaryEvent{head: h("response.reasoning_summary_text.delta"), ItemID: e.ReasoningDelta.ItemId,
			OutputIndex: e.ReasoningDelta.OutputIndex, Delta: &e.ReasoningDelta.Delta}
	case *antonv1.ResponseEvent_ReasoningDone:
		return wireSummaryEvent{head: h("response.reasoning_summary_text.done"), ItemID: e.ReasoningDone.ItemId,
			OutputIndex: e.ReasoningDone.OutputIndex, Text: &e.ReasoningDone.Text}
	case *antonv1.ResponseEvent_ToolArgumentsDelta:
		return wireToolEvent{head: h("response.mcp_call_arguments.delta"), ItemID: e.ToolArgumentsDelta.ItemId,
			OutputIndex: e.ToolArgumentsDelta.OutputIndex, Delta: &e.ToolArgumentsDelta.Delta}
	case *antonv1.ResponseEvent_ToolArgumentsDone:
		return wireToolEvent{head: h("response.mcp_call_arguments.done"), ItemID: e.ToolArgumentsDone.ItemId,
			OutputIndex: e.ToolArgumentsDone.OutputIndex, Arguments: &e.ToolArgumentsDone.Arguments}
	case *antonv1.ResponseEvent_CodeInProgress:
		return wireToolEvent{head: h("response.code_interpreter_call.in_progress"), ItemID: e.CodeInProgress.ItemId,
			OutputIndex: e.CodeInProgress.OutputIndex}
	case *antonv1.ResponseEvent_CodeDelta:
		return wireToolEvent{head: h("response.code_interpreter_call_code.delta"), ItemID: e.CodeDelta.ItemId,
			OutputIndex: e.CodeDelta.OutputIndex, Delta: &e.CodeDelta.Delta}
	case *antonv1.ResponseEvent_CodeDone:
		return wireToolEvent{head: h("response.code_interpreter_call_code.done"), ItemID: e.CodeDone.ItemId,
			OutputIndex: e.CodeDone.OutputIndex, Code: &e.CodeDone.Code}
	case *antonv1.ResponseEvent_CodeInterpreting:
		return wireToolEvent{head: h("response.code_interpreter_call.interpreting"), ItemID: e.CodeInterpreting.ItemId,
			OutputIndex: e.CodeInterpreting.OutputIndex}
	case *antonv1.ResponseEvent_CodeCompleted:
		return wireToolEvent{head: h("response.code_interpreter_call.completed"), ItemID: e.CodeCompleted.ItemId,
			OutputIndex: e.CodeCompleted.OutputIndex}
	case *antonv1.ResponseEvent_FunctionArgumentsDelta:
		return wireToolEvent{head: h("response.function_call_arguments.delta"), ItemID: e.FunctionArgumentsDelta.ItemId,
			OutputIndex: e.FunctionArgumentsDelta.OutputIndex, Delta: &e.FunctionArgumentsDelta.Delta}
	case *antonv1.ResponseEvent_FunctionArgumentsDone:
		return wireToolEvent{head: h("response.function_call_arguments.done"), ItemID: e.FunctionArgumentsDone.ItemId,
			OutputIndex: e.FunctionArgumentsDone.OutputIndex, Name: e.FunctionArgumentsDone.Name,
			Arguments: &e.FunctionArgumentsDone.Arguments}
	case *antonv1.ResponseEvent_ToolInProgress:
		return wireToolEvent{head: h("response.mcp_call.in_progress"), ItemID: e.ToolInProgress.ItemId,
			OutputIndex: e.ToolInProgress.OutputIndex}
	case *antonv1.ResponseEvent_ToolCompleted:
		return wireToolEvent{head: h("response.mcp_call.completed"), ItemID: e.ToolCompleted.ItemId,
			OutputIndex: e.ToolCompleted.OutputIndex}
	case *antonv1.ResponseEvent_ToolFailed:
		return wireToolEvent{head: h("response.mcp_call.failed"), ItemID: e.ToolFailed.ItemId,
			OutputIndex: e.ToolFailed.OutputIndex}
	}
	return nil
}
