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
