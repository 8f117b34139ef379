package blackbox

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const chatPath = "/v1/chat/completions"

// completion is a chat completion, whole or a chunk of one.
type completion struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	Choices []struct {
		Index   int         `json:"index"`
		Message *chatAnswer `json:"message"`
		Delta   *chatAnswer `json:"delta"`
		Finish  *string     `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
	} `json:"usage"`
	Error *struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Code    string `json:"code"`
	} `json:"error"`
}

type chatAnswer struct {
	Role      string  `json:"role"`
	Content   *string `json:"content"`
	Refusal   *string `json:"refusal"`
	Reasoning string  `json:"reasoning_content"`
	Calls     []struct {
		Index    *int   `json:"index"`
		ID       string `json:"id"`
		Type     string `json:"type"`
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
}

func says(text string) []object { return []object{{"role": "user", "content": text}} }

// chunks are the data lines of a streamed completion, without the last, which
// must be [DONE] unless it failed.
func chunks(t *testing.T, a answer) (out []completion) {
	t.Helper()
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%v (%s), want a stream", a, a.header.Get("Content-Type"))
	}
	done := false
	for sc := bufio.NewScanner(bytes.NewReader(a.body)); sc.Scan(); {
		line := sc.Text()
		if line == "" || strings.HasPrefix(line, ":") {
			continue
		}
		data, ok := strings.CutPrefix(line, "data: ")
		switch {
		case !ok || done:
			t.Fatalf("line %q in %s", line, clip(a.body))
		case data == "[DONE]":
			done = true
		default:
			out = append(out, decode[completion](t, []byte(data)))
		}
	}
	if len(out) == 0 || done == (out[len(out)-1].Error != nil) {
		t.Fatalf("%v: done %v", a, done)
	}
	return out
}

// One answer, as an object and as a stream.
func TestChat(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	before := s.state()
	history := []object{{"role": "system", "content": "Be brief."}, {"role": "user", "content": "first"}, {"role": "assistant", "content": "yes?"},
		{"role": "user", "content": []object{{"type": "text", "text": "sec"}, {"type": "text", "text": "ond"}}}}
	body := object{"model": "special", "messages": history, "temperature": 0.5, "top_p": 0.25, "max_tokens": 77, "user": "me", "reasoning_effort": "low"}
	for _, streamed := range []string{"no", "yes", "with usage"} {
		b := object{"stream": streamed != "no"}
		for k, v := range body {
			b[k] = v
		}
		if streamed == "with usage" {
			b["stream_options"] = object{"include_usage": true}
		}
		wait := s.begin(http.MethodPost, chatPath, b)
		c := p.next()
		sent := decode[object](t, c.body)
		if c.Model != "special" || sent["temperature"] != 0.5 || sent["top_p"] != 0.25 || sent["max_tokens"] != 77.0 || sent["user"] != "me" || sent["reasoning_effort"] != "low" {
			t.Errorf("the model is sent %s", clip(c.body))
		}
		if got := fmt.Sprint(c.transcript()); got != "[user: first assistant: yes? user: second]" || !strings.Contains(c.system(), "Be brief.") {
			t.Errorf("the model sees %s after %q", got, c.system())
		}
		c.raw(chunk(object{"reasoning_content": "Hm. "}, nil)).say("Hel", "lo 🐜.")
		a := wait()
		if streamed == "no" {
			a.ok()
			got := decode[completion](t, a.body)
			if !strings.HasPrefix(got.ID, "chatcmpl-") || got.Object != "chat.completion" || got.Created < 1e9 || got.Model != "special" || len(got.Choices) != 1 {
				t.Fatalf("%v", a)
			}
			ch := got.Choices[0]
			if ch.Message == nil || ch.Delta != nil || ch.Message.Role != "assistant" || *ch.Message.Content != "Hello 🐜." || ch.Message.Refusal != nil || ch.Message.Calls != nil ||
				ch.Message.Reasoning != "Hm. " || ch.Finish == nil || *ch.Finish != "stop" || got.Usage == nil || got.Usage.Prompt != 11 || got.Usage.Completion != 7 || got.Usage.Total != 18 {
				t.Errorf("%v", a)
			}
			continue
		}
		all := chunks(t, a)
		text, reasoning := "", ""
		for i, c := range all {
			if c.ID != all[0].ID || c.Object != "chat.completion.chunk" || c.Created != all[0].Created || c.Model != "special" {
				t.Errorf("chunk %d: %+v", i, c)
			}
			if len(c.Choices) == 0 {
				continue
			}
			d := c.Choices[0].Delta
			if d == nil || (d.Role == "assistant") != (i == 0) {
				t.Errorf("chunk %d: %+v", i, d)
			}
			if d.Content != nil {
				text += *d.Content
			}
			reasoning += d.Reasoning
		}
		last := all[len(all)-1]
		if streamed == "with usage" {
			if len(last.Choices) != 0 || last.Usage == nil || last.Usage.Total != 18 {
				t.Errorf("usage: %+v", last)
			}
			last = all[len(all)-2]
		}
		if text != "Hello 🐜." || reasoning != "Hm. " || last.Choices[0].Finish == nil || *last.Choices[0].Finish != "stop" || last.Usage != nil {
			t.Errorf("%q, %q, last %+v", reasoning, text, last)
		}
	}
	if after := s.state(); after != before {
		t.Errorf("something is kept:\n%s\nbefore:\n%s", after, before)
	}
}

// Tools of the server work out of sight; those of the client are its calls.
func TestChatTools(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.put("/v1/projects/general/files/a.txt", object{"content": "content of a"}).ok()
	wait := s.begin(http.MethodPost, chatPath, object{"messages": says("read")})
	p.next().text("Reading.").tool(0, "call_r", "read_file", `{"path":"a.txt"}`).finish("tool_calls")
	c := p.next()
	if !strings.Contains(c.results()["call_r"], "content of a") {
		t.Errorf("the model sees %v", c.results())
	}
	c.say("Read.")
	a := wait()
	a.ok()
	if got := decode[completion](t, a.body); *got.Choices[0].Message.Content != "Reading.\n\nRead." || got.Choices[0].Message.Calls != nil || *got.Choices[0].Finish != "stop" {
		t.Errorf("%v", a)
	}

	tools := []object{{"type": "function", "function": object{"name": "fetch", "description": "Does fetch", "parameters": function("fetch")["parameters"], "strict": true}},
		{"type": "custom", "custom": object{"name": "x"}}}
	for _, streamed := range []bool{false, true} {
		for _, text := range []string{"", "I look."} {
			body := object{"messages": says("weather?"), "tools": tools, "stream": streamed, "parallel_tool_calls": true,
				"tool_choice": object{"type": "function", "function": object{"name": "fetch"}}}
			wait := s.begin(http.MethodPost, chatPath, body)
			c := p.next()
			if got := decode[object](t, c.body); fmt.Sprint(c.toolNames()) != "[fetch]" || !sameJSON(got["tool_choice"], body["tool_choice"]) || got["parallel_tool_calls"] != true {
				t.Errorf("the model is sent %s", clip(c.body))
			}
			declared(t, c, []object{function("fetch")})
			if text != "" {
				c.text(text)
			}
			c.tool(0, "call_1", "fetch", `{"city":"a"}`).tool(1, "call_2", "fetch", `{"city":"b"}`).finish("tool_calls")
			var calls []string
			var content *string
			finish := ""
			take := func(m *chatAnswer) {
				for _, tc := range m.Calls {
					if tc.Type != "function" || streamed != (tc.Index != nil) || streamed && *tc.Index != len(calls) {
						t.Errorf("call %+v", tc)
					}
					calls = append(calls, tc.ID+tc.Function.Name+tc.Function.Arguments)
				}
				if m.Content != nil && *m.Content != "" {
					content = m.Content
				}
			}
			if a := wait(); streamed {
				for _, c := range chunks(t, a) {
					take(c.Choices[0].Delta)
					if f := c.Choices[0].Finish; f != nil {
						finish += *f
					}
				}
			} else {
				a.ok()
				got := decode[completion](t, a.body).Choices[0]
				take(got.Message)
				finish = *got.Finish
				if text == "" && !bytes.Contains(a.body, []byte(`"content":null`)) {
					t.Errorf("%v", a)
				}
			}
			if !slices.Equal(calls, []string{`call_1fetch{"city":"a"}`, `call_2fetch{"city":"b"}`}) || finish != "tool_calls" || (content == nil) != (text == "") || content != nil && *content != text {
				t.Errorf("streamed %v: calls %q, finish %q, content %v", streamed, calls, finish, content)
			}
		}
	}
	// What the client sends back is what the model sees.
	call := func(id, args string) object {
		return object{"id": id, "type": "function", "function": object{"name": "fetch", "arguments": args}}
	}
	wait = s.begin(http.MethodPost, chatPath, object{"tools": tools, "messages": []object{{"role": "user", "content": "weather?"},
		{"role": "assistant", "content": "I look.", "tool_calls": []object{call("call_1", `{"city":"a"}`), call("call_2", `{"city":"b"}`)}},
		{"role": "tool", "tool_call_id": "call_1", "content": "sunny"}, {"role": "tool", "tool_call_id": "call_2", "content": []object{{"type": "text", "text": "rainy"}}},
		{"role": "assistant", "content": nil, "refusal": "No."}, {"role": "user", "content": "and?"}, {"role": "assistant", "tool_calls": []object{call("call_3", "{}")}},
		{"role": "tool", "tool_call_id": "call_3", "content": "windy"}}})
	c = p.next()
	if got := c.results(); got["call_1"] != "sunny" || got["call_2"] != "rainy" || got["call_3"] != "windy" || c.paired() != nil {
		t.Errorf("the model sees %v (%v)", got, c.paired())
	}
	if got := c.transcript(); !slices.Equal(got, []string{"user: weather?", "calls call_1 call_2", "result call_1", "result call_2", "assistant: No.", "user: and?", "calls call_3", "result call_3"}) {
		t.Errorf("the model sees %q", got)
	}
	for _, m := range c.Messages {
		if len(m.ToolCalls) == 2 && m.text() != "I look." {
			t.Errorf("the text beside the calls is %q", m.text())
		}
	}
	c.say("Done.")
	wait().ok()
}

// Pictures, formats and the rest of what requests have in the older names.
func TestChatOptions(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	schema := object{"type": "object", "properties": object{"a": object{"type": "string"}}}
	for name, tc := range map[string]struct{ body, sent object }{
		"JSON":               {object{"response_format": object{"type": "json_object"}}, object{"response_format": object{"type": "json_object"}}},
		"text":               {object{"response_format": object{"type": "text"}}, object{"response_format": nil}},
		"schema":             {object{"response_format": object{"type": "json_schema", "json_schema": object{"name": "a", "schema": schema, "strict": true}}}, object{"response_format": object{"type": "json_schema", "json_schema": object{"name": "a", "schema": schema, "strict": true}}}},
		"newer limit":        {object{"max_completion_tokens": 9}, object{"max_tokens": 9}},
		"verbosity":          {object{"verbosity": "high"}, object{"verbosity": "high"}},
		"harmless":           {object{"n": 1, "stop": nil, "logprobs": false, "functions": []any{}, "audio": nil, "seed": 7, "presence_penalty": 0, "stream_options": nil, "tools": nil}, object{}},
		"one tool at a time": {object{"tools": []object{{"type": "function", "function": object{"name": "a"}}}, "parallel_tool_calls": false}, object{"parallel_tool_calls": false}},
		"allowed tools":      {object{"tools": []object{{"type": "function", "function": object{"name": "a"}}, {"type": "function", "function": object{"name": "b"}}}, "tool_choice": object{"type": "allowed_tools", "allowed_tools": object{"mode": "required", "tools": []object{{"type": "function", "function": object{"name": "b"}}}}}}, object{"tool_choice": "required"}},
		"safety identifier":  {object{"safety_identifier": "me"}, object{"user": "me"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			body := object{"messages": says(name)}
			for k, v := range tc.body {
				body[k] = v
			}
			s.post(chatPath, body).ok()
			c := p.about(t, name)
			sent := decode[object](t, c.body)
			for k, want := range tc.sent {
				if !sameJSON(sent[k], want) {
					t.Errorf("the model is sent %s %v, want %v", k, sent[k], want)
				}
			}
			if name == "allowed tools" && fmt.Sprint(c.toolNames()) != "[b]" {
				t.Errorf("the model is offered %v", c.toolNames())
			}
		})
	}
	image := object{"type": "image_url", "image_url": object{"url": dataURL("image/png", pngBytes), "detail": "low"}}
	file := object{"type": "file", "file": object{"filename": "a.txt", "file_data": dataURL("text/plain", []byte("notes"))}}
	s.post(chatPath, object{"messages": []object{{"role": "user", "content": []object{{"type": "text", "text": "What is this?"}, image, file}}}}).ok()
	c := p.about(t, "What is this?<file name=\"a.txt\">\nnotes\n</file>")
	if got := c.userParts(t); len(got) != 3 || got[1] != `{"image_url":{"detail":"low","url":"`+dataURL("image/png", pngBytes)+`"},"type":"image_url"}` {
		t.Errorf("the model is sent %q", got)
	}
	// A stored one is a conversation like any other.
	s.post(chatPath, object{"messages": append([]object{{"role": "user", "content": "one"}, {"role": "assistant", "content": "ONE"}}, says("two")...), "store": true}).ok()
	ids := conversations(t, s, "?project=all")
	if len(ids) != 1 {
		t.Fatalf("conversations %v", ids)
	}
	if got := history(t, s, ids[0]); fmt.Sprint(got) != "[user: two assistant: About two]" {
		t.Errorf("messages %q", got)
	}
}

// What is wrong is told in OpenAI's words, before the model is asked.
func TestChatRefusals(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	user := object{"role": "user", "content": "q"}
	for name, tc := range map[string]struct {
		body object
		loc  string
	}{
		"no messages":       {object{}, "messages"},
		"null messages":     {object{"messages": nil}, "messages"},
		"messages are text": {object{"messages": "q"}, "messages"},
		"a text":            {object{"messages": []any{"q"}}, "messages 0"},
		"null":              {object{"messages": []any{user, nil}}, "messages 1"},
		"no role":           {object{"messages": []object{{"content": "q"}}}, "messages 0 role"},
		"wizard":            {object{"messages": []object{user, {"role": "wizard", "content": "q"}}}, "messages 1 role"},
		"no content":        {object{"messages": []object{user, {"role": "user"}}}, "messages 1 content"},
		"null content":      {object{"messages": []object{{"role": "user", "content": nil}}}, "messages 0 content"},
		"content a number":  {object{"messages": []object{{"role": "user", "content": 7}}}, "messages 0 content"},
		"empty assistant":   {object{"messages": []object{user, {"role": "assistant"}}}, "messages 1 content"},
		"unknown part":      {object{"messages": []object{{"role": "user", "content": []object{{"type": "smell"}}}}}, "messages 0 content 0 type"},
		"bad image":         {object{"messages": []object{{"role": "user", "content": []object{{"type": "image_url", "image_url": object{"url": "data:x"}}}}}}, "messages 0 content 0 image_url"},
		"no tool_call_id":   {object{"messages": []object{user, {"role": "tool", "content": "x"}}}, "messages 1 tool_call_id"},
		"call without id":   {object{"messages": []object{user, {"role": "assistant", "tool_calls": []object{{"function": object{"name": "a"}}}}}}, "messages 1 tool_calls 0 call_id"},
		"call of a kind":    {object{"messages": []object{user, {"role": "assistant", "tool_calls": []object{{"id": "x", "type": "custom"}}}}}, "messages 1 tool_calls 0 type"},
		"two answers":       {object{"messages": []object{user}, "n": 2}, "n"},
		"log probabilities": {object{"messages": []object{user}, "logprobs": true}, "logprobs"},
		"audio":             {object{"messages": []object{user}, "audio": object{"voice": "x"}}, "audio"},
		"functions":         {object{"messages": []object{user}, "functions": []object{{"name": "a"}}}, "functions"},
		"tokens":            {object{"messages": []object{user}, "max_tokens": 0}, "max_tokens"},
		"tokens are text":   {object{"messages": []object{user}, "max_tokens": "7"}, "max_tokens"},
		"temperature":       {object{"messages": []object{user}, "temperature": 3}, "temperature"},
		"stream":            {object{"messages": []object{user}, "stream": "yes"}, "stream"},
		"format":            {object{"messages": []object{user}, "response_format": object{"type": "yaml"}}, "response_format type"},
		"format is text":    {object{"messages": []object{user}, "response_format": "json"}, "response_format"},
		"effort":            {object{"messages": []object{user}, "reasoning_effort": "extreme"}, "reasoning_effort"},
		"tool name":         {object{"messages": []object{user}, "tools": []object{{"type": "function", "function": object{"name": "a b"}}}}, "tools 0 name"},
		"choice":            {object{"messages": []object{user}, "tool_choice": object{"type": "function", "function": object{"name": "a"}}}, "tool_choice name"},
		"too many stops":    {object{"messages": []object{user}, "stop": make([]string, 17)}, "stop"},
		"stop is a number":  {object{"messages": []object{user}, "stop": 7}, "stop"},
	} {
		a := s.post(chatPath, tc.body)
		o := a.refused(http.StatusUnprocessableEntity, "")
		d, _ := o["detail"].([]any)
		var got []string
		for _, e := range d {
			got = append(got, strings.Trim(fmt.Sprint(e.(object)["loc"]), "[]"))
		}
		if !slices.Contains(got, "body "+tc.loc) || str(o, "error", "type") != "invalid_request_error" {
			t.Errorf("%s: %v, want loc %q", name, a, tc.loc)
		}
	}
	for _, messages := range []any{[]any{}, []object{{"role": "system", "content": "x"}}, []object{{"role": "user", "content": " "}}, []object{{"role": "assistant", "content": "x"}}} {
		s.post(chatPath, object{"messages": messages}).refused(http.StatusBadRequest, "No user message in input")
	}
	s.get(chatPath).refused(http.StatusMethodNotAllowed, "Method Not Allowed")
	s.get(chatPath+"/chatcmpl-1").refused(http.StatusNotFound, "Not Found")
}

// What goes wrong with the model is told as an HTTP error, or at the end of the
// stream as an error object.
func TestChatFailures(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for name, tc := range map[string]struct {
		answer func(*call)
		status int
		code   string
		finish string // instead, in time
	}{
		"key":       {func(c *call) { c.fail(http.StatusUnauthorized, "{}", nil) }, 400, "provider_auth", ""},
		"rate":      {func(c *call) { c.fail(http.StatusTooManyRequests, "{}", later) }, 429, "rate_limited", ""},
		"cut":       {func(c *call) { c.text("half an ").cut() }, 0, "stream_cut", ""},
		"in a call": {func(c *call) { c.tool(0, "call_1", "fetch", `{"ci`).end() }, 0, "stream_cut", ""},
		"length":    {func(c *call) { c.text("half an ").finish("length") }, 200, "", "length"},
		"filter":    {func(c *call) { c.text("half an ").finish("content_filter") }, 200, "", "content_filter"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			for _, streamed := range []bool{false, true} {
				wait := s.begin(http.MethodPost, chatPath, object{"messages": says("q"), "stream": streamed, "tools": []object{{"type": "function", "function": object{"name": "fetch"}}}})
				tc.answer(p.nextFor(t))
				a := wait()
				switch {
				case tc.finish != "" && !streamed:
					a.ok()
					if got := decode[completion](t, a.body).Choices[0]; *got.Finish != tc.finish || *got.Message.Content != "half an " {
						t.Errorf("%v", a)
					}
				case tc.finish != "":
					all := chunks(t, a)
					if f := all[len(all)-1].Choices[0].Finish; f == nil || *f != tc.finish {
						t.Errorf("%v", a)
					}
				case streamed:
					all := chunks(t, a)
					if e := all[len(all)-1].Error; e == nil || e.Code != tc.code || len(e.Message) < 10 {
						t.Errorf("%v", a)
					}
					for _, c := range all {
						if len(c.Choices) > 0 && (c.Choices[0].Finish != nil || c.Choices[0].Delta.Calls != nil) {
							t.Errorf("%+v of an answer that failed", c)
						}
					}
				default:
					if tc.status != 0 && a.status != tc.status || a.status < 400 {
						t.Fatalf("%v, want %d", a, tc.status)
					}
					if o := a.shape(); str(o, "error", "code") != tc.code {
						t.Errorf("%v", a)
					}
				}
			}
		})
	}
}

// Stop sequences end the answer before them, wherever the model's pieces end.
func TestChatStop(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for name, tc := range map[string]struct {
		stop   any
		pieces []string
		want   string
	}{
		"one":              {"END", []string{"One END two"}, "One "},
		"across pieces":    {[]string{"END"}, []string{"One E", "N", "D two"}, "One "},
		"the first":        {[]string{"two", "One"}, []string{"Zero One two"}, "Zero "},
		"only its start":   {"END", []string{"One EN", "tity"}, "One ENtity"},
		"never":            {[]string{"END"}, []string{"One ", "two"}, "One two"},
		"at once":          {"One", []string{"One two"}, ""},
		"a new line":       {"\n", []string{"One\ntwo"}, "One"},
		"start at the end": {"END", []string{"One EN"}, "One EN"},
		"none":             {[]string{}, []string{"One"}, "One"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			for _, streamed := range []bool{false, true} {
				wait := s.begin(http.MethodPost, chatPath, object{"messages": says("q"), "stop": tc.stop, "stream": streamed})
				c := p.nextFor(t)
				for _, piece := range tc.pieces {
					c.try(func(w http.ResponseWriter) bool { write(w, chunk(object{"content": piece}, nil)); return true })
				}
				c.try(func(w http.ResponseWriter) bool {
					write(w, chunk(object{}, "stop")+usage+"data: [DONE]\n\n")
					return false
				})
				a := wait()
				got, finish := "", ""
				if streamed {
					for _, c := range chunks(t, a) {
						if d := c.Choices[0].Delta.Content; d != nil {
							got += *d
						}
						if f := c.Choices[0].Finish; f != nil {
							finish = *f
						}
					}
				} else {
					a.ok()
					ch := decode[completion](t, a.body).Choices[0]
					got, finish = *ch.Message.Content, *ch.Finish
				}
				if got != tc.want || finish != "stop" {
					t.Errorf("streamed %v: %q (%s), want %q", streamed, got, finish, tc.want)
				}
			}
		})
	}
}
