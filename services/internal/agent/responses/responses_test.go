package responses

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

// ev is an event of the stream, as OpenAI writes it.
func ev(kind, fields string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\": \"%s\", \"sequence_number\": 1%s}\n\n", kind, kind, fields)
}

func delta(item int, text string) string {
	return ev("response.output_text.delta", fmt.Sprintf(`, "item_id": "m%d", "output_index": %d, "content_index": 0, "delta": %q`, item, item, text))
}

func added(item int, what string) string {
	return ev("response.output_item.added", fmt.Sprintf(`, "output_index": %d, "item": %s`, item, what))
}

func itemDone(item int, what string) string {
	return ev("response.output_item.done", fmt.Sprintf(`, "output_index": %d, "item": %s`, item, what))
}

func arguments(item int, part string) string {
	return ev("response.function_call_arguments.delta", fmt.Sprintf(`, "item_id": "f", "output_index": %d, "delta": %s`, item, strconv.Quote(part)))
}

func argumentsDone(item int, all string) string {
	return ev("response.function_call_arguments.done", fmt.Sprintf(`, "item_id": "f", "output_index": %d, "arguments": %s`, item, strconv.Quote(all)))
}

func end(kind, fields string, output ...string) string {
	return ev("response."+kind, `, "response": {"id": "r", "object": "response", "status": "`+kind+`", "output": [`+
		strings.Join(output, ", ")+`]`+fields+`}`)
}

func message(text string) string {
	return fmt.Sprintf(`{"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": %q, "annotations": []}]}`, text)
}

func toolCall(id, name, input string) string {
	return fmt.Sprintf(`{"type": "function_call", "id": "f", "call_id": %q, "name": %q, "arguments": %s, "status": "completed"}`, id, name, strconv.Quote(input))
}

func reasoned(id, summary string) string {
	return fmt.Sprintf(`{"type": "reasoning", "id": %q, "summary": [{"type": "summary_text", "text": %q}], "encrypted_content": "sealed-%s", "status": null}`, id, summary, id)
}

func summary(item, part int, text string) string {
	return ev("response.reasoning_summary_text.delta", fmt.Sprintf(`, "output_index": %d, "summary_index": %d, "delta": %q`, item, part, text))
}

const usage = `, "usage": {"input_tokens": 12, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 17}`

const started = "event: response.created\ndata: {\"type\": \"response.created\", \"response\": {\"id\": \"r\", \"status\": \"in_progress\", \"error\": null, \"output\": []}}\n\n"

var subject = wiretest.Subject{
	New: provider, Path: "/v1/responses",
	Sample: started +
		added(0, `{"type": "reasoning", "id": "rs0", "summary": []}`) + summary(0, 0, "hm ü") + itemDone(0, reasoned("rs0", "hm ü")) +
		added(1, `{"type": "message", "id": "m1", "content": []}`) + delta(1, "Größe ") + delta(1, "日本") +
		ev("response.output_text.done", `, "output_index": 1, "content_index": 0, "text": "Größe 日本"`) + itemDone(1, message("Größe 日本")) +
		added(2, `{"type": "function_call", "id": "f", "call_id": "t1", "name": "wipe", "arguments": ""}`) +
		arguments(2, `{"what":"ünï`) + arguments(2, `/all"}`) + argumentsDone(2, `{"what":"ünï/all"}`) + itemDone(2, toolCall("t1", "wipe", `{"what":"ünï/all"}`)) +
		added(3, `{"type": "function_call", "id": "g", "call_id": "t2", "name": "look", "arguments": ""}`) + argumentsDone(3, `{}`) + itemDone(3, toolCall("t2", "look", `{}`)) +
		end("completed", usage, reasoned("rs0", "hm ü"), message("Größe 日本"), toolCall("t1", "wipe", `{"what":"ünï/all"}`), toolCall("t2", "look", "{}")),
	End: "event: response.completed",
	Want: agent.Completion{
		Text: "Größe 日本", Finish: agent.FinishTools,
		Calls: []agent.ToolCall{{ID: "t1", Name: "wipe", Input: `{"what":"ünï/all"}`}, {ID: "t2", Name: "look", Input: "{}"}},
	},
	Says: func(text string, ended bool) string {
		if ended {
			return started + delta(0, text) + itemDone(0, message(text)) + end("completed", usage, message(text))
		}
		return started + delta(0, text)
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
	call := func(id, name, input string) agent.ToolCall { return agent.ToolCall{ID: id, Name: name, Input: input} }
	for name, c := range map[string]struct {
		body   string
		emits  string
		finish agent.Finish
		calls  []agent.ToolCall
	}{
		"sample":               {subject.Sample, "(hm ü)Größe 日本<t1 wipe><t2 look>", agent.FinishTools, subject.Want.Calls},
		"nothing":              {"", "", agent.FinishCut, nil},
		"no text":              {started + end("completed", ""), "", agent.FinishStop, nil},
		"no end":               {started + delta(0, "Hi") + itemDone(0, message("Hi")), "Hi", agent.FinishCut, nil},
		"[DONE] is no end":     {started + delta(0, "Hi") + "data: [DONE]\n\n", "Hi", agent.FinishCut, nil},
		"[DONE] behind":        {delta(0, "Hi") + end("completed", "") + "data: [DONE]\n\n", "Hi", agent.FinishStop, nil},
		"length":               {delta(0, "Hi") + end("incomplete", `, "incomplete_details": {"reason": "max_output_tokens"}`), "Hi", agent.FinishLength, nil},
		"filter":               {delta(0, "Hi") + end("incomplete", `, "incomplete_details": {"reason": "content_filter"}`), "Hi", agent.FinishFilter, nil},
		"incomplete, somehow":  {delta(0, "Hi") + end("incomplete", `, "incomplete_details": null`), "Hi", agent.FinishCut, nil},
		"refusal":              {ev("response.refusal.delta", `, "output_index": 0, "delta": "I will not."`) + end("completed", ""), "I will not.", agent.FinishStop, nil},
		"refusal, whole":       {ev("response.refusal.done", `, "output_index": 0, "refusal": "No."`) + end("completed", ""), "No.", agent.FinishStop, nil},
		"text in done only":    {ev("response.output_text.done", `, "output_index": 0, "text": "Hi"`) + itemDone(0, message("Hi")) + end("completed", "", message("Hi")), "Hi", agent.FinishStop, nil},
		"text in item only":    {itemDone(0, message("Hi")) + end("completed", "", message("Hi")), "Hi", agent.FinishStop, nil},
		"text at the end only": {end("completed", "", message("Hi")), "Hi", agent.FinishStop, nil},
		"refusal in item":      {itemDone(0, `{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}`) + end("completed", ""), "No.", agent.FinishStop, nil},
		"indexes of its own":   {delta(0, "Hi") + itemDone(0, message("Hi")) + end("completed", "", reasoned("r", ""), message("Hi")), "Hi", agent.FinishStop, nil},
		"no indexes": {ev("response.output_text.delta", `, "item_id": "x", "delta": "H"`) + ev("response.output_text.delta", `, "item_id": "x", "delta": "i"`) +
			ev("response.output_item.done", `, "item": {"type": "message", "id": "x", "content": [{"text": "Hi"}]}`) + end("completed", "", message("Hi")), "Hi", agent.FinishStop, nil},
		"two messages": {delta(0, "One.") + itemDone(0, message("One.")) + delta(1, "Two.") + end("completed", "", message("One."), message("Two.")),
			"One.\n\nTwo.", agent.FinishStop, nil},
		"reasoning": {summary(0, 0, "a") + summary(0, 0, "b") + summary(0, 1, "c") + ev("response.reasoning_text.delta", `, "output_index": 1, "content_index": 0, "delta": "d"`) +
			itemDone(0, reasoned("r", "abc")) + delta(2, "Hi") + end("completed", "", reasoned("r", "abc")), "(a)(b)(\n\nc)(\n\nd)Hi", agent.FinishStop, nil},
		"reasoning in item":      {itemDone(0, reasoned("r", "abc")) + delta(1, "Hi") + end("completed", "", reasoned("r", "abc")), "(abc)Hi", agent.FinishStop, nil},
		"call at the end only":   {end("completed", "", message("Hi"), toolCall("t1", "a", `{"x":1}`)), "Hi<t1 a>", agent.FinishTools, []agent.ToolCall{call("t1", "a", `{"x":1}`)}},
		"call in item only":      {itemDone(0, toolCall("t1", "a", `{"x":1}`)) + end("completed", ""), "<t1 a>", agent.FinishTools, []agent.ToolCall{call("t1", "a", `{"x":1}`)}},
		"call of nothing":        {added(0, `{"type": "function_call", "call_id": "t1", "name": "a"}`) + end("completed", ""), "<t1 a>", agent.FinishTools, []agent.ToolCall{call("t1", "a", `{}`)}},
		"deltas only":            {added(0, `{"type": "function_call", "call_id": "t1", "name": "a"}`) + arguments(0, `{"x":`) + arguments(0, `1}`) + end("completed", ""), "<t1 a>", agent.FinishTools, []agent.ToolCall{call("t1", "a", `{"x":1}`)}},
		"an object as arguments": {itemDone(0, `{"type": "function_call", "call_id": "t1", "name": "a", "arguments": {"x":[1]}}`) + end("completed", ""), "<t1 a>", agent.FinishTools, []agent.ToolCall{call("t1", "a", `{"x":[1]}`)}},
		"calls side by side": {added(0, `{"type": "function_call", "call_id": "t1", "name": "a"}`) + added(1, `{"type": "function_call", "call_id": "t2", "name": "b"}`) +
			arguments(1, `{"y":`) + arguments(0, `{"x":`) + arguments(0, `1}`) + arguments(1, `2}`) + end("completed", ""),
			"<t1 a><t2 b>", agent.FinishTools, []agent.ToolCall{call("t1", "a", `{"x":1}`), call("t2", "b", `{"y":2}`)}},
		"all at index 0": {added(0, `{"type": "function_call", "call_id": "t1", "name": "a"}`) + itemDone(0, toolCall("t1", "a", `{}`)) +
			added(0, `{"type": "function_call", "call_id": "t2", "name": "b"}`) + itemDone(0, toolCall("t2", "b", `{"y":2}`)) + end("completed", "", toolCall("t1", "a", "{}"), toolCall("t2", "b", `{"y":2}`)),
			"<t1 a><t2 b>", agent.FinishTools, []agent.ToolCall{call("t1", "a", `{}`), call("t2", "b", `{"y":2}`)}},
		"call cut by the length": {added(0, `{"type": "function_call", "call_id": "t1", "name": "a"}`) + arguments(0, `{"x":`) +
			itemDone(0, `{"type": "function_call", "call_id": "t1", "name": "a", "arguments": "{\"x\":", "status": "incomplete"}`) +
			end("incomplete", `, "incomplete_details": {"reason": "max_output_tokens"}`), "<t1 a>", agent.FinishLength, []agent.ToolCall{call("t1", "a", `{"x":`)}},
		"call cut before it began": {added(0, `{"type": "function_call", "call_id": "t1", "name": "a"}`) +
			end("incomplete", `, "incomplete_details": {"reason": "max_output_tokens"}`), "<t1 a>", agent.FinishLength, []agent.ToolCall{call("t1", "a", ``)}},
		"bad UTF-8": {strings.ReplaceAll(delta(0, "aXb"), "X", "\xff") + end("completed", ""), "a\uFFFDb", agent.FinishStop, nil},
		"odd types": {ev("response.output_text.delta", `, "delta": 5`) + ev("response.output_text.delta", "") + itemDone(0, "7") + delta(0, "Hi") + end("completed", `, "usage": []`), "Hi", agent.FinishStop, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, out, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Stream(c.body)), agent.Request{Model: "m"})
			if err != nil {
				t.Fatal(err)
			}
			if got != c.emits || out.Finish != c.finish || !reflect.DeepEqual(out.Calls, c.calls) {
				t.Errorf("emitted %.80q, %.200v", got, out)
			}
			if name == "sample" && out.Usage != (agent.Usage{InputTokens: 12, CachedTokens: 4, OutputTokens: 5, ReasoningTokens: 2}) {
				t.Errorf("usage %+v", out.Usage)
			}
		})
	}
}

func TestMintedIDs(t *testing.T) {
	body := itemDone(0, toolCall("", "a", "{}")) + itemDone(1, toolCall("used", "b", "{}")) + end("completed", "")
	req := agent.Request{Messages: []agent.Message{{Role: agent.RoleAssistant, Calls: []agent.ToolCall{{ID: "used", Name: "b", Input: "{}"}}}}}
	got, out, err := wiretest.Collect(subject.Provider(t, wire.Options{}, wiretest.Stream(body)), req)
	if err != nil || len(out.Calls) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, c := range out.Calls {
		if len(c.ID) < 20 || !strings.Contains(got, "<"+c.ID+" "+c.Name+">") {
			t.Errorf("call %+v was announced as %s", c, got)
		}
	}
}

func TestFailedResponses(t *testing.T) {
	for reason, code := range map[string]string{
		`{"code": "server_error", "message": "oops"}`:        agent.CodeUnreachable,
		`{"code": "rate_limit_exceeded", "message": "oops"}`: agent.CodeRateLimited,
		`{"code": "invalid_prompt", "message": "oops"}`:      agent.CodeInvalid,
		`{"code": "invalid_image", "message": "oops"}`:       agent.CodeImage,
		`null`: agent.CodeUnexpected,
	} {
		p := subject.Provider(t, wire.Options{}, wiretest.Stream(delta(0, "Hi")+end("failed", `, "error": `+reason)))
		got, out, err := wiretest.Collect(p, agent.Request{})
		wiretest.Failed(t, err, code)
		if got != "Hi" || out.Text != "Hi" || out.Finish != agent.FinishCut {
			t.Errorf("%s: %q, %+v", reason, got, out)
		}
	}
}

func TestAnswerWithoutStream(t *testing.T) {
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		}
	}
	p := subject.Provider(t, wire.Options{}, answer(`{"object": "response", "status": "completed", "error": null, "output": [`+
		reasoned("r", "hm")+`,`+message("Hi")+`,`+toolCall("t", "a", `{"x":1}`)+`]`+usage+`}`))
	got, out, err := wiretest.Collect(p, agent.Request{Model: "m"})
	if err != nil || got != "(hm)Hi<t a>" || out.Finish != agent.FinishTools || out.Usage.OutputTokens != 5 || out.Calls[0].Input != `{"x":1}` || out.Trace == nil {
		t.Errorf("%q, %+v, %v", got, out, err)
	}
	p = subject.Provider(t, wire.Options{}, answer(`{"status": "failed", "error": {"code": "server_error", "message": "oops"}, "output": []}`))
	_, _, err = wiretest.Collect(p, agent.Request{})
	wiretest.Failed(t, err, agent.CodeUnreachable)
}

func TestUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		kind   string
		body   string
		want   bool
	}{
		"404":             {404, "", "404 page not found", true},
		"405":             {405, "", "", true},
		"501":             {501, "", "", true},
		"FastAPI":         {404, "", `{"detail":"Not Found"}`, true},
		"OpenAI":          {404, "", `{"error":{"message":"Unknown request URL: POST /v1/responses","code":"unknown_url"}}`, true},
		"LM Studio":       {200, "application/json", `{"error":"Unexpected endpoint or method. (POST /v1/responses). Returning 200 anyway"}`, true},
		"web page":        {200, "text/html", "<html>", true},
		"another API":     {200, "application/json", `{"choices":[]}`, true},
		"unknown model":   {404, "", `{"error":{"code":"model_not_found","message":"no model x"}}`, false},
		"bad key":         {401, "", "", false},
		"server error":    {500, "", "", false},
		"refused request": {400, "", "", false},
	} {
		p := subject.Provider(t, wire.Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		_, _, err := wiretest.Collect(p, agent.Request{Model: "x"})
		if err == nil || Unknown(err) != c.want || !Unknown(fmt.Errorf("wrapped: %w", err)) == c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if Unknown(nil) || Unknown(io.EOF) {
		t.Error("other errors")
	}
}

// What a model thought goes back to it, in its place, and to no other.
func TestTraceRoundTrip(t *testing.T) {
	var body map[string]any
	p := subject.Provider(t, wire.Options{}, wiretest.Body(t, &body, wiretest.Stream(
		itemDone(0, reasoned("rs0", "plan"))+delta(1, "I look.")+itemDone(1, message("I look."))+itemDone(2, reasoned("rs1", "more"))+
			itemDone(3, toolCall("t1", "a", "{}"))+itemDone(4, toolCall("t2", "b", "{}"))+itemDone(5, reasoned("rs2", "left over"))+end("completed", ""))))
	_, out, err := wiretest.Collect(p, agent.Request{Model: "m"})
	if err != nil || out.Trace == nil || out.Trace.Provider != "openai-responses" || out.Trace.Model != "m" {
		t.Fatalf("%+v, %v", out, err)
	}
	kept, err := json.Marshal(agent.Message{Role: agent.RoleAssistant, Text: out.Text, Calls: out.Calls, Trace: out.Trace})
	if err != nil {
		t.Fatal(err)
	}
	input := func(model string, change func(*agent.Message)) string {
		var m agent.Message
		if err := json.Unmarshal(kept, &m); err != nil {
			t.Fatal(err)
		}
		change(&m)
		if _, _, err := wiretest.Collect(p, agent.Request{Model: model, Messages: []agent.Message{m}}); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, it := range body["input"].([]any) {
			item := it.(map[string]any)
			kind := item["type"].(string)
			if kind == "reasoning" {
				want := map[string]any{"type": "reasoning", "id": item["id"], "encrypted_content": fmt.Sprint("sealed-", item["id"]), "summary": item["summary"]}
				if !reflect.DeepEqual(item, want) || len(item["summary"].([]any)) != 1 {
					t.Errorf("reasoning came back as %v", item)
				}
				kind = item["id"].(string)
			}
			if kind == "function_call" {
				kind = item["call_id"].(string)
			}
			kinds = append(kinds, kind)
		}
		return strings.Join(kinds, " ")
	}
	for name, c := range map[string]struct {
		model  string
		change func(*agent.Message)
		want   string
	}{
		"as it was":        {"m", func(*agent.Message) {}, "rs0 message rs1 t1 t2"},
		"another model":    {"n", func(*agent.Message) {}, "message t1 t2"},
		"another provider": {"m", func(m *agent.Message) { m.Trace.Provider = "anthropic" }, "message t1 t2"},
		"not readable":     {"m", func(m *agent.Message) { m.Trace.Data = json.RawMessage(`{"a":1}`) }, "message t1 t2"},
		"no trace":         {"m", func(m *agent.Message) { m.Trace = nil }, "message t1 t2"},
		"a call is gone":   {"m", func(m *agent.Message) { m.Calls = m.Calls[1:] }, "rs0 message rs1 t2"},
		"calls are gone":   {"m", func(m *agent.Message) { m.Calls = nil }, "rs0 message"},
		"text is gone":     {"m", func(m *agent.Message) { m.Text = "" }, "rs0 rs1 t1 t2"},
	} {
		if got := input(c.model, c.change); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
