package anton

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"anthill/gateway/rest"
	"anthill/gateway/sse"
	antonv1 "anthill/gen/anton/v1"
)

// createChatCompletion serves POST /v1/chat/completions: the same turns in the
// shape of OpenAI's older API, which many tools speak only. The client keeps
// the history, so nothing is stored unless it asks for that.
func (h *Handler) createChatCompletion(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	body, bad := readBody(r)
	if bad != nil {
		h.refuse(w, r, *bad)
		return
	}
	q, how, wrong := decodeChat(body)
	if len(wrong) > 0 {
		h.refuse(w, r, invalid(wrong...))
		return
	}
	events, err := h.responses.CreateResponse(outgoing(r), q)
	var first *antonv1.ResponseEvent
	if err == nil {
		first, err = events.Recv()
	}
	if err != nil {
		how.name(problemOf(r, err)).write(w, r)
		return
	}
	c := newChatView(first)
	if how.stream {
		h.streamChat(w, r, c, how.usage, events)
		return
	}
	for {
		ev, err := events.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			problemOf(r, err).write(w, r)
			return
		}
		c.take(ev)
	}
	if c.failed != nil {
		problem{status: failedStatus(c.failed.Code), detail: c.failed.Message, code: c.failed.Code, noRetry: true}.write(w, r)
		return
	}
	writeJSON(w, http.StatusOK, c.whole())
}

func (h *Handler) streamChat(w http.ResponseWriter, r *http.Request, c *chatView, usage bool, events eventStream) {
	out := sse.New(w, r, sse.Options{})
	write := func(v any) error {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return out.Event("", data)
	}
	begun := false
	err := sse.Pump(r.Context(), out, events.Recv, func(ev *antonv1.ResponseEvent) error {
		if !begun {
			begun = true
			if err := write(c.chunk(chatDelta{Role: "assistant", Content: new(string)}, nil)); err != nil {
				return err
			}
		}
		for _, d := range c.take(ev) {
			if err := write(c.chunk(d, nil)); err != nil {
				return err
			}
		}
		switch {
		case !c.ended:
			return nil
		case c.failed != nil:
			return write(chatFailure{errorObject{Message: c.failed.Message, Type: "server_error", Code: &c.failed.Code}})
		}
		if err := write(c.chunk(chatDelta{}, &c.finish)); err != nil {
			return err
		}
		if usage {
			last := c.chunk(chatDelta{}, nil)
			last.Choices, last.Usage = []chatChoice{}, c.usage()
			if err := write(last); err != nil {
				return err
			}
		}
		return out.Event("", []byte("[DONE]"))
	})
	if err != nil && r.Context().Err() == nil {
		h.log.Info("stream ended early", "error", err)
	}
}

// Shapes of chat completions.
type (
	chatCompletion struct {
		ID      string       `json:"id"`
		Object  string       `json:"object"`
		Created int64        `json:"created"`
		Model   string       `json:"model"`
		Choices []chatChoice `json:"choices"`
		Usage   *chatUsage   `json:"usage,omitempty"`
	}
	chatChoice struct {
		Index    int          `json:"index"`
		Delta    *chatDelta   `json:"delta,omitempty"`
		Message  *chatMessage `json:"message,omitempty"`
		Logprobs any          `json:"logprobs"`
		Finish   *string      `json:"finish_reason"`
	}
	chatDelta struct {
		Role      string     `json:"role,omitempty"`
		Content   *string    `json:"content,omitempty"`
		Reasoning string     `json:"reasoning_content,omitempty"`
		Calls     []chatCall `json:"tool_calls,omitempty"`
	}
	chatMessage struct {
		Role      string     `json:"role"`
		Content   *string    `json:"content"`
		Refusal   *string    `json:"refusal"`
		Reasoning string     `json:"reasoning_content,omitempty"`
		Calls     []chatCall `json:"tool_calls,omitempty"`
	}
	chatCall struct {
		Index    *int         `json:"index,omitempty"`
		ID       string       `json:"id"`
		Type     string       `json:"type"`
		Function chatFunction `json:"function"`
	}
	chatFunction struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
	chatUsage struct {
		Prompt     int32            `json:"prompt_tokens"`
		Completion int32            `json:"completion_tokens"`
		Total      int32            `json:"total_tokens"`
		PromptMore map[string]int32 `json:"prompt_tokens_details"`
		OutputMore map[string]int32 `json:"completion_tokens_details"`
	}
	chatFailure struct {
		Error errorObject `json:"error"`
	}
)

// chatView follows the events of a turn and shows them as one message: texts as
// paragraphs of one text, calls of the client's tools as its tool calls. What
// the server's own tools do does not show.
type chatView struct {
	resp      *antonv1.Response // of the first event, then of the last
	text      strings.Builder
	reasoning strings.Builder
	calls     []chatCall
	ended     bool
	finish    string
	failed    *antonv1.ResponseError
}

func newChatView(first *antonv1.ResponseEvent) *chatView {
	return &chatView{resp: first.GetCreated().GetResponse()}
}

// take reads the next event and says what is new in the message.
func (c *chatView) take(ev *antonv1.ResponseEvent) []chatDelta {
	switch e := ev.Event.(type) {
	case *antonv1.ResponseEvent_OutputTextDelta:
		return c.say(paragraph(e.OutputTextDelta))
	case *antonv1.ResponseEvent_ReasoningDelta:
		c.reasoning.WriteString(e.ReasoningDelta.Delta)
		return []chatDelta{{Reasoning: e.ReasoningDelta.Delta}}
	case *antonv1.ResponseEvent_OutputItemDone:
		if f := e.OutputItemDone.Item.GetFunctionCall(); f != nil {
			i := len(c.calls)
			c.calls = append(c.calls, chatCall{ID: f.CallId, Type: "function", Function: chatFunction{f.Name, f.Arguments}})
			return []chatDelta{{Calls: []chatCall{{Index: &i, ID: f.CallId, Type: "function", Function: chatFunction{f.Name, f.Arguments}}}}}
		}
	case *antonv1.ResponseEvent_Completed:
		c.end(e.Completed.Response, "stop")
		if len(c.calls) > 0 {
			c.finish = "tool_calls"
		}
	case *antonv1.ResponseEvent_Incomplete:
		c.end(e.Incomplete.Response, map[string]string{"max_output_tokens": "length", "content_filter": "content_filter"}[e.Incomplete.Reason])
		if c.finish == "" { // there is no finish reason for it
			c.failed = &antonv1.ResponseError{Code: e.Incomplete.Reason, Message: "The answer broke off before its end. Ask again."}
		}
	case *antonv1.ResponseEvent_Failed:
		c.end(e.Failed.Response, "")
		c.failed = e.Failed.Error
	}
	return nil
}

func (c *chatView) say(text string) []chatDelta {
	c.text.WriteString(text)
	return []chatDelta{{Content: &text}}
}

func (c *chatView) end(r *antonv1.Response, finish string) {
	c.resp, c.finish, c.ended = r, finish, true
}

func (c *chatView) head(object string) chatCompletion {
	return chatCompletion{ID: "chatcmpl-" + strings.TrimPrefix(c.resp.GetId(), "resp_"), Object: object,
		Created: int64(c.resp.GetCreatedAt()), Model: c.resp.GetModel()}
}

func (c *chatView) chunk(d chatDelta, finish *string) chatCompletion {
	v := c.head("chat.completion.chunk")
	v.Choices = []chatChoice{{Delta: &d, Finish: finish}}
	return v
}

func (c *chatView) whole() chatCompletion {
	v := c.head("chat.completion")
	m := &chatMessage{Role: "assistant", Reasoning: c.reasoning.String(), Calls: c.calls}
	if text := c.text.String(); text != "" || len(c.calls) == 0 {
		m.Content = &text
	}
	v.Choices, v.Usage = []chatChoice{{Message: m, Finish: &c.finish}}, c.usage()
	return v
}

func (c *chatView) usage() *chatUsage {
	u := c.resp.GetUsage()
	return &chatUsage{Prompt: u.GetInputTokens(), Completion: u.GetOutputTokens(), Total: u.GetInputTokens() + u.GetOutputTokens(),
		PromptMore: map[string]int32{"cached_tokens": u.GetCachedTokens()},
		OutputMore: map[string]int32{"reasoning_tokens": u.GetReasoningTokens()}}
}

// chatHow is how a chat completion is to be answered, and where its request
// came from.
type chatHow struct {
	stream, usage bool
	from          []int  // message of each input item
	maxTokens     string // the member that set it
}

// name gives the fields of a problem the names that the client knows.
func (how chatHow) name(p problem) problem {
	list, ok := p.detail.([]rest.FieldError)
	if !ok {
		return p
	}
	for i, f := range list {
		loc := f.Loc[1:]
		if len(loc) == 0 {
			continue
		}
		switch {
		case loc[0] == "input" && len(loc) > 1:
			if n, ok := loc[1].(int); ok && n < len(how.from) {
				loc = append([]any{"messages", how.from[n]}, loc[2:]...)
			}
		case loc[0] == "input":
			loc[0] = "messages"
		case loc[0] == "max_output_tokens":
			loc[0] = how.maxTokens
		case loc[0] == "reasoning":
			loc = []any{"reasoning_effort"}
		case loc[0] == "text" && len(loc) > 1 && loc[1] == "verbosity":
			loc = loc[1:]
		case loc[0] == "text" && len(loc) > 1:
			loc = append([]any{"response_format"}, loc[2:]...)
		}
		list[i].Loc = append([]any{"body"}, loc...)
	}
	named := invalid(list...)
	p.detail, p.param = named.detail, named.param
	return p
}

// decodeChat reads the body of POST /v1/chat/completions.
func decodeChat(body []byte) (*antonv1.CreateResponseRequest, chatHow, []rest.FieldError) {
	var how chatHow
	d, bad := openBody(body)
	if len(bad) > 0 {
		return nil, how, bad
	}
	q := &antonv1.CreateResponseRequest{Model: d.str("model"), Options: d.chatOptions()}
	q.Input, how.from = d.messages()
	d.read("stream", &how.stream, "bool_type", "Input should be a valid boolean")
	var opts struct {
		IncludeUsage bool `json:"include_usage"`
	}
	d.read("stream_options", &opts, "dict_type", "Input should be a valid dictionary")
	how.usage = opts.IncludeUsage
	d.sampling(q)
	for _, name := range []string{"max_tokens", "max_completion_tokens"} {
		if d.has(name) {
			how.maxTokens = name
			d.read(name, &q.MaxOutputTokens, "int_type", "Input should be a valid integer")
		}
	}
	d.refuse("n", "More than one answer is", "1")
	d.refuse("logprobs", "Log probabilities are", "false")
	d.refuse("audio", "Audio is")
	d.refuse("functions", "Functions outside of tools are", "[]")
	return q, how, d.bad
}

func (d *reader) chatOptions() *antonv1.RequestOptions {
	off := false
	o := &antonv1.RequestOptions{Tools: d.tools(), ToolChoice: d.toolChoice(), Verbosity: d.str("verbosity"),
		User: cmp.Or(d.str("user"), d.str("safety_identifier")), Store: &off}
	d.read("parallel_tool_calls", &o.ParallelToolCalls, "bool_type", "Input should be a valid boolean")
	d.read("store", &o.Store, "bool_type", "Input should be a valid boolean")
	if d.has("stop") {
		var one string
		if json.Unmarshal(d.members["stop"], &one) == nil {
			if one != "" {
				o.Stop = []string{one}
			}
		} else {
			d.read("stop", &o.Stop, "string_type", "Input should be a valid string or a list of strings")
		}
	}
	if effort := d.str("reasoning_effort"); effort != "" {
		o.Reasoning = &antonv1.Reasoning{Effort: effort}
	}
	if d.has("response_format") {
		var f struct {
			Type   string   `json:"type"`
			Schema formatIn `json:"json_schema"`
		}
		d.read("response_format", &f, "dict_type", "Input should be a valid dictionary")
		f.Schema.Type = f.Type
		o.TextFormat = f.Schema.message()
	}
	return o
}

// messages reads the history that the client keeps. from says which message
// each item is of.
func (d *reader) messages() (out []*antonv1.InputItem, from []int) {
	if !d.has("messages") {
		d.fail("missing", "Field required", "messages")
		return nil, nil
	}
	var raws []json.RawMessage
	if json.Unmarshal(d.members["messages"], &raws) != nil {
		d.fail("list_type", "Input should be a valid list of messages", "messages")
		return nil, nil
	}
	for i, raw := range raws {
		for len(from) < len(out) {
			from = append(from, i-1)
		}
		var m struct {
			itemIn
			Refusal *string `json:"refusal"`
			Calls   []struct {
				ID       string       `json:"id"`
				Type     string       `json:"type"`
				Function chatFunction `json:"function"`
			} `json:"tool_calls"`
			CallID string `json:"tool_call_id"`
		}
		at := []any{"messages", i}
		if json.Unmarshal(raw, &m) != nil || string(raw) == "null" {
			d.fail("model_attributes_type", "Input should be a valid object", at...)
			continue
		}
		m.Type = nil
		switch {
		case m.Role != nil && *m.Role == "tool":
			d.required(at, "tool_call_id", m.CallID)
			if m.CallID != "" {
				out = append(out, &antonv1.InputItem{FunctionCallOutput: &antonv1.FunctionCallOutput{CallId: m.CallID, Output: d.output(m.Content, at)}})
			}
			continue
		case m.Role != nil && *m.Role == "assistant" && !given(m.Content) && m.Refusal != nil:
			out = append(out, &antonv1.InputItem{Role: "assistant", Text: *m.Refusal})
		case m.Role != nil && *m.Role == "assistant" && !given(m.Content) && len(m.Calls) > 0:
		default:
			out = append(out, d.messageItem(m.itemIn, at...)...)
		}
		for n, c := range m.Calls {
			if c.Type != "" && c.Type != "function" {
				d.fail("unsupported", fmt.Sprintf("Calls of type '%s' are not supported by this version", c.Type), "messages", i, "tool_calls", n, "type")
				continue
			}
			out = append(out, d.item(itemIn{Type: new("function_call"), CallID: c.ID, Name: c.Function.Name,
				Arguments: c.Function.Arguments}, "messages", i, "tool_calls", n)...)
		}
	}
	for len(from) < len(out) {
		from = append(from, len(raws)-1)
	}
	return out, from
}
