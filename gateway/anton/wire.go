package anton

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	antonv1 "anthill/gen/anton/v1"
)

// caller is what the wire differs by (openai-responses.md 5).
type caller struct {
	sdk   bool // an OpenAI SDK: no top-level error on any event
	codex bool // the Codex CLI: it goes by OpenAI's own codes
}

func callerOf(r *http.Request) caller {
	ua := r.UserAgent()
	if strings.HasPrefix(ua, "codex") {
		return caller{codex: true}
	}
	if strings.Contains(ua, "ai-sdk") || strings.Contains(ua, "OpenAI") {
		return caller{sdk: true}
	}
	for k := range r.Header {
		if strings.HasPrefix(k, "X-Stainless-") {
			return caller{sdk: true}
		}
	}
	return caller{}
}

// head is on every event.
type head struct {
	Type string  `json:"type"`
	Seq  int32   `json:"sequence_number"`
	AtMs float64 `json:"at_ms"`
}

type wireUsage struct {
	InputTokens        int32            `json:"input_tokens"`
	InputTokensDetails map[string]int32 `json:"input_tokens_details"`
	OutputTokens       int32            `json:"output_tokens"`
	OutputDetails      map[string]int32 `json:"output_tokens_details"`
	TotalTokens        int32            `json:"total_tokens"`
}

type wireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Type    string `json:"type"`
}

// wireResponse has every key that a strict client wants (openai-responses.md 3).
type wireResponse struct {
	ID                string            `json:"id"`
	Object            string            `json:"object"`
	CreatedAt         int64             `json:"created_at"`
	CompletedAt       *int64            `json:"completed_at"`
	Status            string            `json:"status"`
	Background        bool              `json:"background"`
	Conversation      *wireRef          `json:"conversation"`
	ConversationID    string            `json:"conversation_id"`
	Error             *wireError        `json:"error"`
	IncompleteDetails *wireReason       `json:"incomplete_details"`
	Instructions      *string           `json:"instructions"`
	MaxOutputTokens   *int32            `json:"max_output_tokens"`
	Metadata          map[string]string `json:"metadata"`
	Model             string            `json:"model"`
	Output            []any             `json:"output"`
	OutputText        string            `json:"output_text"`
	ParallelToolCalls bool              `json:"parallel_tool_calls"`
	PreviousID        *string           `json:"previous_response_id"`
	Reasoning         wireReasoning     `json:"reasoning"`
	ServiceTier       string            `json:"service_tier"`
	Store             bool              `json:"store"`
	Temperature       *float64          `json:"temperature"`
	Text              wireText          `json:"text"`
	ToolChoice        any               `json:"tool_choice"`
	Tools             []wireFunction    `json:"tools"`
	TopLogprobs       int32             `json:"top_logprobs"`
	TopP              *float64          `json:"top_p"`
	Truncation        string            `json:"truncation"`
	Usage             *wireUsage        `json:"usage"`
	User              *string           `json:"user"`
}

type wireRef struct {
	ID string `json:"id"`
}

type wireReason struct {
	Reason string `json:"reason"`
}

type wireReasoning struct {
	Effort  *string `json:"effort"`
	Summary *string `json:"summary"`
}

type wireText struct {
	Format    wireFormat `json:"format"`
	Verbosity string     `json:"verbosity,omitempty"`
}

type wireFormat struct {
	Type        string          `json:"type"`
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

type wireFunction struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"`
}

// wireChoice is a tool choice that is more than a word.
type wireChoice struct {
	Type  string       `json:"type"`
	Name  string       `json:"name,omitempty"`
	Mode  string       `json:"mode,omitempty"`
	Tools []wireChoice `json:"tools,omitempty"`
}

type wirePart struct {
	Type        string `json:"type"`
	Text        string `json:"text"`
	Annotations []any  `json:"annotations"`
	Logprobs    []any  `json:"logprobs"`
}

type wireSummary struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type wireMessage struct {
	ID      string     `json:"id"`
	Type    string     `json:"type"`
	Status  string     `json:"status"`
	Role    string     `json:"role"`
	Content []wirePart `json:"content"`
}

type wireReasoningItem struct {
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	Status  string        `json:"status"`
	Summary []wireSummary `json:"summary"`
}

type wireCode struct {
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	Status    string     `json:"status"`
	Container string     `json:"container_id"`
	Code      string     `json:"code"`
	Outputs   []wireLogs `json:"outputs"`
}

type wireLogs struct {
	Type string `json:"type"`
	Logs string `json:"logs"`
}

type wireCall struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type wireTool struct {
	ID          string  `json:"id"`
	Type        string  `json:"type"`
	Status      string  `json:"status"`
	ServerLabel string  `json:"server_label"`
	Name        string  `json:"name"`
	Arguments   string  `json:"arguments"`
	Output      *string `json:"output"`
	Error       *string `json:"error"`
	ApprovalID  *string `json:"approval_request_id"`
}

func textPart(text string) wirePart {
	return wirePart{Type: "output_text", Text: text, Annotations: []any{}, Logprobs: []any{}}
}

// viewItem shows an output item; one that was only added is still empty.
func viewItem(it *antonv1.OutputItem) any {
	switch k := it.GetItem().(type) {
	case *antonv1.OutputItem_Reasoning:
		v := wireReasoningItem{ID: it.Id, Type: "reasoning", Status: it.Status, Summary: []wireSummary{}}
		if k.Reasoning.Text != "" {
			v.Summary = append(v.Summary, wireSummary{Type: "summary_text", Text: k.Reasoning.Text})
		}
		return v
	case *antonv1.OutputItem_Tool:
		v := wireTool{ID: it.Id, Type: "mcp_call", Status: it.Status, ServerLabel: "anton",
			Name: k.Tool.Name, Arguments: k.Tool.Arguments}
		if k.Tool.Error != "" {
			v.Error = &k.Tool.Error
		} else if it.Status == "completed" {
			v.Output = &k.Tool.Output
		}
		return v
	case *antonv1.OutputItem_Code:
		v := wireCode{ID: it.Id, Type: "code_interpreter_call", Status: it.Status, Container: "scratchpad:" + k.Code.Pad,
			Code: k.Code.Code, Outputs: []wireLogs{}}
		if k.Code.Logs != "" {
			v.Outputs = append(v.Outputs, wireLogs{Type: "logs", Logs: k.Code.Logs})
		}
		return v
	case *antonv1.OutputItem_FunctionCall:
		return wireCall{ID: it.Id, Type: "function_call", Status: it.Status, CallID: k.FunctionCall.CallId,
			Name: k.FunctionCall.Name, Arguments: k.FunctionCall.Arguments}
	default:
		v := wireMessage{ID: it.GetId(), Type: "message", Status: it.GetStatus(), Role: "assistant", Content: []wirePart{}}
		if text := it.GetMessage().GetText(); text != "" {
			v.Content = append(v.Content, textPart(text))
		}
		return v
	}
}

// viewResponse shows a response to OpenAI's SDKs and the page alike.
func viewResponse(r *antonv1.Response) wireResponse {
	v := wireResponse{ID: r.Id, Object: "response", CreatedAt: int64(r.CreatedAt), Status: r.Status,
		ConversationID: r.ConversationId, MaxOutputTokens: r.MaxOutputTokens, Metadata: r.Metadata,
		Model: r.Model, Output: []any{}, OutputText: r.OutputText, ServiceTier: "default",
		Temperature: r.Temperature, TopP: r.TopP}
	v.repeat(r.Options)
	if r.ConversationId != "" {
		v.Conversation = &wireRef{r.ConversationId}
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	if r.Instructions != "" {
		v.Instructions = &r.Instructions
	}
	if r.CompletedAt > 0 {
		at := int64(r.CompletedAt)
		v.CompletedAt = &at
	}
	if e := r.Error; e != nil {
		v.Error = &wireError{Code: e.Code, Message: e.Message, Type: "server_error"}
	}
	if r.IncompleteReason != "" {
		v.IncompleteDetails = &wireReason{r.IncompleteReason}
	}
	if u := r.Usage; u != nil {
		v.Usage = &wireUsage{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens,
			InputTokensDetails: map[string]int32{"cached_tokens": u.CachedTokens},
			OutputDetails:      map[string]int32{"reasoning_tokens": u.ReasoningTokens},
			TotalTokens:        u.InputTokens + u.OutputTokens}
	}
	for _, it := range r.Output {
		v.Output = append(v.Output, viewItem(it))
	}
	return v
}

// repeat fills in what the request asked for.
func (v *wireResponse) repeat(o *antonv1.RequestOptions) {
	if o == nil {
		o = &antonv1.RequestOptions{}
	}
	v.ParallelToolCalls = o.ParallelToolCalls == nil || *o.ParallelToolCalls
	v.Background, v.Store = o.Background, o.Store == nil || *o.Store
	v.Tools, v.ToolChoice = []wireFunction{}, viewChoice(o.ToolChoice)
	for _, t := range o.Tools {
		f := wireFunction{Type: "function", Name: t.Name, Strict: t.Strict, Parameters: json.RawMessage(t.Parameters)}
		if t.Description != "" {
			f.Description = &t.Description
		}
		if len(f.Parameters) == 0 {
			f.Parameters = json.RawMessage("null")
		}
		v.Tools = append(v.Tools, f)
	}
	some := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	v.Truncation = cmp.Or(o.Truncation, "disabled")
	v.PreviousID, v.User = some(o.PreviousResponseId), some(o.User)
	v.Reasoning = wireReasoning{Effort: some(o.Reasoning.GetEffort()), Summary: some(o.Reasoning.GetSummary())}
	v.Text = wireText{Format: wireFormat{Type: "text"}, Verbosity: o.Verbosity}
	if f := o.TextFormat; f.GetType() != "" {
		v.Text.Format = wireFormat{Type: f.Type, Name: f.Name, Description: f.Description,
			Schema: json.RawMessage(f.Schema), Strict: f.Strict}
	}
}

func viewChoice(c *antonv1.ToolChoice) any {
	switch {
	case len(c.GetAllowed()) > 0:
		v := wireChoice{Type: "allowed_tools", Mode: cmp.Or(c.Mode, "auto")}
		for _, name := range c.Allowed {
			v.Tools = append(v.Tools, wireChoice{Type: "function", Name: name})
		}
		return v
	case c.GetMode() == "function":
		return wireChoice{Type: "function", Name: c.Name}
	}
	return cmp.Or(c.GetMode(), "auto")
}

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

// openaiCodes are OpenAI's codes for ours. Codex takes a code that it does not
// know for a broken stream, and asks again and again.
var openaiCodes = map[string]string{
	"context_overflow":    "context_length_exceeded",
	"token_limit":         "insufficient_quota",
	"policy_unavailable":  "insufficient_quota",
	"rate_limited":        "rate_limit_exceeded",
	"provider_overloaded": "server_is_overloaded",
	"provider_auth":       "invalid_prompt",
	"model_access_denied": "invalid_prompt",
	"model_disabled":      "invalid_prompt",
	"unknown_model":       "invalid_prompt",
	"image_format":        "invalid_prompt",
	"unsupported_input":   "invalid_prompt",
	"provider_rejected":   "invalid_prompt",
}

// statusByFailure is the HTTP status of a turn that failed, by its code: what
// the caller can mend is a 4xx, what the provider did a 502.
var statusByFailure = map[string]int{
	"provider_auth":          http.StatusBadRequest,
	"token_limit":            http.StatusBadRequest,
	"model_access_denied":    http.StatusBadRequest,
	"model_disabled":         http.StatusBadRequest,
	"unknown_model":          http.StatusBadRequest,
	"context_overflow":       http.StatusBadRequest,
	"rate_limited":           http.StatusTooManyRequests,
	"provider_overloaded":    http.StatusServiceUnavailable,
	"provider_timeout":       http.StatusGatewayTimeout,
	"provider_unreachable":   http.StatusBadGateway,
	"endpoint_configuration": http.StatusBadRequest,
	"storage_full":           http.StatusInsufficientStorage,
	"image_format":           http.StatusBadRequest,
	"unsupported_input":      http.StatusBadRequest,
	"provider_rejected":      http.StatusBadRequest,
	"policy_unavailable":     http.StatusBadRequest,
}

func failedStatus(code string) int {
	if s := statusByFailure[code]; s != 0 {
		return s
	}
	return http.StatusBadGateway
}

type wireChatMessage struct {
	Role      string            `json:"role"`
	Content   string            `json:"content"`
	TurnID    string            `json:"turn_id"`
	Events    []json.RawMessage `json:"events,omitempty"`
	StartedAt float64           `json:"startedAt"`
	Status    string            `json:"status,omitempty"`
}

type wireMessages struct {
	ID       string            `json:"id"`
	Messages []wireChatMessage `json:"messages"`
}

// viewMessages shows the log of a conversation with the frames that its
// streams had.
func viewMessages(m *antonv1.ListMessagesResponse) wireMessages {
	out := wireMessages{ID: m.Id, Messages: []wireChatMessage{}}
	for _, msg := range m.Messages {
		v := wireChatMessage{Role: msg.Role, Content: msg.Content, TurnID: msg.TurnId,
			StartedAt: msg.StartedAt, Status: msg.Status}
		for _, ev := range msg.Events {
			if name, data, err := (caller{}).frame(ev); err == nil && name != "" {
				v.Events = append(v.Events, data)
			}
		}
		out.Messages = append(out.Messages, v)
	}
	return out
}
