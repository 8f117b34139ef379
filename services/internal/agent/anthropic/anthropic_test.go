package anthropic

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
	"anthill/services/internal/agent/wire/wiretest"
)

func provider(o wire.Options) (agent.Provider, error) { return New(o) }

// ev is an event of the stream, as Anthropic writes it.
func ev(kind, fields string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\": \"%s\"%s}\n\n", kind, kind, fields)
}

func begin(index int, what string) string {
	return ev("content_block_start", fmt.Sprintf(`, "index": %d, "content_block": %s`, index, what))
}

func piece(index int, kind, field, value string) string {
	return ev("content_block_delta", fmt.Sprintf(`, "index": %d, "delta": {"type": "%s", "%s": %s}`, index, kind, field, strconv.Quote(value)))
}

func stop(index int) string { return ev("content_block_stop", fmt.Sprintf(`, "index": %d`, index)) }

func says(index int, text string) string { return piece(index, "text_delta", "text", text) }

func text1(index int, text string) string {
	return begin(index, `{"type": "text", "text": ""}`) + says(index, text) + stop(index)
}

func thinks(index int, thought, signature string) string {
	return begin(index, `{"type": "thinking", "thinking": "", "signature": ""}`) + piece(index, "thinking_delta", "thinking", thought) +
		piece(index, "signature_delta", "signature", signature) + stop(index)
}

func calls(index int, id, name string, input ...string) string {
	s := begin(index, fmt.Sprintf(`{"type": "tool_use", "id": %q, "name": %q, "input": {}}`, id, name))
	for _, part := range input {
		s += piece(index, "input_json_delta", "partial_json", part)
	}
	return s + stop(index)
}

func end(reason string) string {
	return ev("message_delta", `, "delta": {"stop_reason": "`+reason+`", "stop_sequence": null}, "usage": {"output_tokens": 15}`) + ev("message_stop", "")
}

const started = "event: message_start\ndata: {\"type\": \"message_start\", \"message\": {\"id\": \"m1\", \"type\": \"message\", \"role\": \"assistant\", \"content\": []," +
	" \"stop_reason\": null, \"usage\": {\"input_tokens\": 3, \"cache_creation_input_tokens\": 20, \"cache_read_input_tokens\": 100, \"output_tokens\": 1}}}\n\n"

const ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n"

var subject = wiretest.Subject{
	New: provider, Path: "/v1/messages",
	Sample: started + ping + thinks(0, "hm ü", "sig0") +
		begin(1, `{"type": "text", "text": ""}`) + says(1, "Größe ") + ping + says(1, "日本") + stop(1) +
		calls(2, "t1", "wipe", "", `{"what":`, `"ünï`, `/all"}`) + calls(3, "t2", "look") + end("tool_use"),
	End: "event: message_delta",
	Want: agent.Completion{
		Text: "Größe 日本", Finish: agent.FinishTools,
		Calls: []agent.ToolCall{{ID: "t1", Name: "wipe", Input: `{"what":"ünï/all"}`}, {ID: "t2", Name: "look", Input: "{}"}},
	},
	Says: func(text string, ended bool) string {
		s := started + begin(0, `{"type": "text", "text": ""}`) + says(0, text)
		if ended {
			s += stop(0) + end("end_turn")
		}
		return s
	},
}

func TestWire(t *testing.T) { wiretest.Run(t, subject) }

func FuzzStream(f *testing.F) {
	wiretest.Fuzz(f, subject, func(stream io.Reader, emit func(agent.Delta) error) (agent.Completion, error) {
		a := newAnswer(agent.Request{}, emit)
		err := wire.Read(stream, a)
		return a.completion(), err
	})
}

func TestStreams(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		emits  string
		finish agent.Finish
		calls  []agent.ToolCall
	}{
		"sample":            {subject.Sample, "(hm ü)Größe 日本<t1 wipe><t2 look>", agent.FinishTools, subject.Want.Calls},
		"nothing":           {"", "", agent.FinishCut, nil},
		"no end":            {started + text1(0, "Hi"), "Hi", agent.FinishCut, nil},
		"stop only":         {started + text1(0, "Hi") + ev("message_stop", ""), "Hi", agent.FinishStop, nil},
		"reason only":       {text1(0, "Hi") + ev("message_delta", `, "delta": {"stop_reason": "end_turn"}`), "Hi", agent.FinishStop, nil},
		"no reason yet":     {text1(0, "Hi") + ev("message_delta", `, "delta": {"stop_reason": null}`), "Hi", agent.FinishCut, nil},
		"sequence":          {text1(0, "Hi") + end("stop_sequence"), "Hi", agent.FinishStop, nil},
		"pause":             {text1(0, "Hi") + end("pause_turn"), "Hi", agent.FinishStop, nil},
		"length":            {text1(0, "Hi") + end("max_tokens"), "Hi", agent.FinishLength, nil},
		"window":            {text1(0, "Hi") + end("model_context_window_exceeded"), "Hi", agent.FinishLength, nil},
		"refusal":           {text1(0, "Hi") + end("refusal"), "Hi", agent.FinishFilter, nil},
		"something new":     {text1(0, "Hi") + end("tea_break"), "Hi", agent.FinishStop, nil},
		"text at the start": {begin(0, `{"type": "text", "text": "H"}`) + says(0, "i") + end("end_turn"), "Hi", agent.FinishStop, nil},
		"unknown blocks":    {begin(0, `{"type": "server_tool_use", "id": "x", "name": "y", "input": {}}`) + piece(0, "input_json_delta", "partial_json", "{}") + stop(0) + text1(1, "Hi") + ev("new_event", "") + end("end_turn"), "Hi", agent.FinishStop, nil},
		"two thoughts":      {thinks(0, "a", "s") + thinks(1, "b", "s") + text1(2, "Hi") + end("end_turn"), "(a)(\n\nb)Hi", agent.FinishStop, nil},
		"input at once": {begin(0, `{"type": "tool_use", "id": "t1", "name": "a", "input": {"x":[1]}}`) + stop(0) + end("tool_use"), "<t1 a>", agent.FinishTools,
			[]agent.ToolCall{{ID: "t1", Name: "a", Input: `{"x":[1]}`}}},
		"calls, reason says end": {calls(0, "t1", "a") + end("end_turn"), "<t1 a>", agent.FinishTools, []agent.ToolCall{{ID: "t1", Name: "a", Input: `{}`}}},
		"call cut by the length": {begin(0, `{"type": "tool_use", "id": "t1", "name": "a", "input": {}}`) + piece(0, "input_json_delta", "partial_json", `{"x":`) + stop(0) + end("max_tokens"),
			"<t1 a>", agent.FinishLength, []agent.ToolCall{{ID: "t1", Name: "a", Input: `{"x":`}}},
		"call cut before it began": {begin(0, `{"type": "tool_use", "id": "t1", "name": "a", "input": {}}`) + end("max_tokens"),
			"<t1 a>", agent.FinishLength, []agent.ToolCall{{ID: "t1", Name: "a", Input: ``}}},
		"bad UTF-8": {strings.ReplaceAll(text1(0, "aXb"), "X", "\xff") + end("end_turn"), "a\uFFFDb", agent.FinishStop, nil},
		"odd types": {begin(0, "7") + ev("content_block_delta", `, "index": 0`) + ev("content_block_delta", `, "index": 9, "delta": {"type": "text_delta", "text": "x"}`) +
			ev("message_start", `, "message": 5`) + begin(1, `{"type": "tool_use"}`) + text1(2, "Hi") + end("end_turn"), "Hi", agent.FinishStop, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, out, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Stream(c.body)), agent.Request{Model: "m"})
			if err != nil {
				t.Fatal(err)
			}
			if got != c.emits || out.Finish != c.finish || !reflect.DeepEqual(out.Calls, c.calls) {
				t.Errorf("emitted %.80q, %.200v", got, out)
			}
			if name == "sample" && out.Usage != (agent.Usage{InputTokens: 123, CachedTokens: 100, OutputTokens: 15}) {
				t.Errorf("usage %+v", out.Usage)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	body := started + text1(0, "Hi") + ev("message_delta", `, "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 5, "cache_creation_input_tokens": null,
		"cache_read_input_tokens": 100, "output_tokens": 30, "output_tokens_details": {"thinking_tokens": 12}}`)
	body = strings.ReplaceAll(body, "\n\t\t", " ") + ev("message_stop", "")
	_, out, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Stream(body)), agent.Request{})
	if want := (agent.Usage{InputTokens: 125, CachedTokens: 100, OutputTokens: 30, ReasoningTokens: 12}); err != nil || out.Usage != want {
		t.Errorf("%+v, %v", out.Usage, err)
	}
}

func TestNoRoomForAnAnswer(t *testing.T) {
	p := subject.Provider(t, wire.Options{}, wiretest.Stream(started+end("model_context_window_exceeded")))
	_, _, err := wiretest.Collect(p, agent.Request{})
	wiretest.Failed(t, err, agent.CodeContext)
}

func TestAnswerWithoutStream(t *testing.T) {
	p := subject.Provider(t, wire.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"type": "message", "role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Hi"},
			{"type": "tool_use", "id": "t", "name": "a", "input": {"x":1}}, {"type": "tool_use", "id": "u", "name": "b", "input": {}}],
			"stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 2}}`)
	})
	got, out, err := wiretest.Collect(p, agent.Request{Model: "m"})
	if err != nil || got != "(hm)Hi<t a><u b>" || out.Finish != agent.FinishTools || out.Usage.OutputTokens != 2 ||
		out.Calls[0].Input != `{"x":1}` || out.Calls[1].Input != "{}" || out.Trace == nil {
		t.Errorf("%q, %+v, %v", got, out, err)
	}
}

func TestHeaders(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "sk-not-this")
	t.Setenv("ANTHROPIC_AUTH_TOKEN", "nor-this")
	t.Setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Not: this")
	p := subject.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != wiretest.Key || r.Header.Get("Anthropic-Version") != "2023-06-01" ||
			r.Header.Get("Authorization") != "" || r.Header.Get("X-Not") != "" {
			t.Errorf("sent with %v", r.Header)
		}
		wiretest.Stream(subject.Sample)(w, r)
	})
	if _, _, err := wiretest.Collect(p, agent.Request{}); err != nil {
		t.Error(err)
	}
}

// What a model thought goes back to it as it was, in its place, and to no other.
func TestTraceRoundTrip(t *testing.T) {
	var body map[string]any
	p := subject.Provider(t, wire.Options{}, wiretest.Body(t, &body, wiretest.Stream(
		thinks(0, "plan ü", "sig0")+text1(1, "I look. ")+begin(2, `{"type": "redacted_thinking", "data": "secret"}`)+stop(2)+text1(3, "Now.")+
			calls(4, "t1", "a")+calls(5, "t2", "b")+end("tool_use"))))
	_, out, err := wiretest.Collect(p, agent.Request{Model: "m"})
	if err != nil || out.Trace == nil || out.Trace.Provider != "anthropic" || out.Trace.Model != "m" || out.Text != "I look. Now." {
		t.Fatalf("%+v, %v", out, err)
	}
	kept, err := json.Marshal(agent.Message{Role: agent.RoleAssistant, Text: out.Text, Calls: out.Calls, Trace: out.Trace})
	if err != nil {
		t.Fatal(err)
	}
	const plan, secret = `{"signature":"sig0","thinking":"plan ü","type":"thinking"}`, `{"data":"secret","type":"redacted_thinking"}`
	said := func(s string) string { return `{"text":"` + s + `","type":"text"}` }
	call := func(id, name string) string {
		return `{"id":"` + id + `","input":{},"name":"` + name + `","type":"tool_use"}`
	}
	for name, c := range map[string]struct {
		model  string
		change func(*agent.Message)
		want   []string
	}{
		"as it was":        {"m", func(*agent.Message) {}, []string{plan, said("I look. "), secret, said("Now."), call("t1", "a"), call("t2", "b")}},
		"another model":    {"n", func(*agent.Message) {}, []string{said("I look. Now."), call("t1", "a"), call("t2", "b")}},
		"another provider": {"m", func(m *agent.Message) { m.Trace.Provider = "openai-responses" }, []string{said("I look. Now."), call("t1", "a"), call("t2", "b")}},
		"not readable":     {"m", func(m *agent.Message) { m.Trace.Data = json.RawMessage(`{"a":1}`) }, []string{said("I look. Now."), call("t1", "a"), call("t2", "b")}},
		"other text":       {"m", func(m *agent.Message) { m.Text = "Ü" }, []string{plan, secret, said("Ü"), call("t1", "a"), call("t2", "b")}},
		"no text":          {"m", func(m *agent.Message) { m.Text = "" }, []string{plan, secret, call("t1", "a"), call("t2", "b")}},
		"a call is gone":   {"m", func(m *agent.Message) { m.Calls = m.Calls[1:] }, []string{plan, said("I look. "), secret, said("Now."), call("t2", "b")}},
	} {
		var m agent.Message
		if err := json.Unmarshal(kept, &m); err != nil {
			t.Fatal(err)
		}
		c.change(&m)
		req := agent.Request{Model: c.model, Messages: []agent.Message{{Role: agent.RoleUser, Text: "q"}, m, {Role: agent.RoleTool, Results: []agent.ToolResult{{ID: "t1"}, {ID: "t2"}}}}}
		if _, _, err := wiretest.Collect(p, req); err != nil {
			t.Fatal(err)
		}
		want := `[` + strings.Join(c.want, ",") + `]`
		if got, err := json.Marshal(body["messages"].([]any)[1].(map[string]any)["content"]); err != nil || string(got) != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// Thinking without a signature, or cut off inside, cannot be given back.
func TestNoTrace(t *testing.T) {
	for _, body := range []string{
		thinks(0, "a", "") + text1(1, "Hi") + end("end_turn"),
		strings.TrimSuffix(thinks(0, "a", "sig"), stop(0)),
		text1(0, "Hi") + end("end_turn"),
	} {
		_, out, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Stream(body)), agent.Request{})
		if err != nil || out.Trace != nil {
			t.Errorf("%+v, %v", out, err)
		}
	}
}
