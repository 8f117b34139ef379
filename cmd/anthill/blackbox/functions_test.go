package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// function declares a tool of the client.
func function(name string) object {
	return object{"type": "function", "name": name, "description": "Does " + name, "strict": true,
		"parameters": object{"type": "object", "properties": object{"city": object{"type": "string"}}, "required": []string{"city"}, "additionalProperties": false}}
}

// answerTo is the output of a call.
func answerTo(callID, text string) object {
	return object{"type": "function_call_output", "call_id": callID, "output": text}
}

// A call of a tool that the client declared ends the turn, with the call as an
// item; the answer to it goes on, whichever way the client keeps its history.
func TestFunctionsRoundTrip(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for name, next := range map[string]func(tn *turn) object{
		"previous_response_id": func(tn *turn) object {
			return object{"previous_response_id": tn.responseID, "input": []object{answerTo("call_w", "sunny")}}
		},
		"conversation": func(tn *turn) object {
			return object{"conversation": tn.conversation, "input": []object{answerTo("call_w", "sunny")}}
		},
		"everything again": func(tn *turn) object {
			return object{"input": []any{object{"role": "user", "content": "weather?"}, tn.items[0], tn.items[1], answerTo("call_w", "sunny")}}
		},
		"everything again, unstored": func(tn *turn) object {
			return object{"store": false, "input": []any{object{"role": "user", "content": "weather?"}, tn.items[0], tn.items[1], answerTo("call_w", "sunny")}}
		},
		"references": func(tn *turn) object {
			return object{"input": []any{object{"role": "user", "content": "weather?"}, object{"type": "item_reference", "id": tn.items[0].ID},
				object{"id": tn.items[1].ID}, answerTo("call_w", "sunny")}}
		},
		"text in parts": func(tn *turn) object {
			return object{"previous_response_id": tn.responseID, "input": []object{{"type": "function_call_output", "call_id": "call_w",
				"output": []object{{"type": "input_text", "text": "sun"}, {"type": "input_text", "text": "ny"}}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			tools := []object{function("get_weather"), function("book_table")}
			st := s.ask(object{"input": "weather?", "tools": tools})
			c := p.nextFor(t)
			declared(t, c, tools)
			c.text("I look. ")
			c.raw(chunk(object{"tool_calls": []object{{"index": 0, "id": "call_w", "type": "function", "function": object{"name": "get_weather", "arguments": ""}}}}, nil))
			for _, piece := range []string{`{"ci`, `ty":"År`, `hus"}`} {
				c.raw(chunk(object{"tool_calls": []object{{"index": 0, "function": object{"arguments": piece}}}}, nil))
			}
			c.finish("tool_calls")
			tn := st.turn()
			if tn.end.Type != "response.completed" || len(tn.items) != 2 || tn.items[0].text() != "I look. " {
				t.Fatalf("%s %+v", tn.end.Type, tn.items)
			}
			if it := tn.items[1]; it.Type != "function_call" || it.Status != "completed" || it.CallID != "call_w" || it.Name != "get_weather" || it.Arguments != `{"city":"Århus"}` {
				t.Errorf("call %+v", it)
			}
			body := next(tn)
			body["tools"] = tools
			st = s.ask(body)
			c = p.nextFor(t)
			if got := c.transcript(); len(got) < 3 || got[0] != "user: weather?" || !slices.Equal(got[len(got)-2:], []string{"calls call_w", "result call_w"}) || c.paired() != nil {
				t.Errorf("the model sees %q (%v)", got, c.paired())
			}
			if got := c.results()["call_w"]; got != "sunny" {
				t.Errorf("the result is %q", got)
			}
			args := ""
			for _, m := range c.Messages {
				for _, tc := range m.ToolCalls {
					args += tc.Function.Name + tc.Function.Arguments
				}
			}
			if args != `get_weather{"city":"Århus"}` {
				t.Errorf("the model sees its call as %s", args)
			}
			c.say("It is sunny.")
			if after := st.turn(); after.text != "It is sunny." || after.end.Type != "response.completed" {
				t.Errorf("%s %q", after.end.Type, after.text)
			} else if name == "conversation" || name == "previous_response_id" {
				if after.conversation != tn.conversation {
					t.Errorf("it goes on in %q", after.conversation)
				}
				var got []string
				for _, it := range items(t, s, tn.conversation) {
					got = append(got, it.String())
				}
				want := []string{"user input_text=weather?", "assistant output_text=I look. ", `function_call get_weather{"city":"Århus"}`,
					"function_call_output -> sunny", "assistant output_text=It is sunny."}
				if !slices.Equal(got, want) {
					t.Errorf("items %q", got)
				}
			}
		})
	}
}

// declared says whether the model is offered the tools as they were declared.
func declared(t *testing.T, c *call, tools []object) {
	t.Helper()
	for _, want := range tools {
		i := slices.Index(c.toolNames(), str(want, "name"))
		if i < 0 {
			t.Errorf("the model is not offered %s: %v", want["name"], c.toolNames())
			continue
		}
		f := c.Tools[i]["function"].(object)
		want, err := json.Marshal(want["parameters"])
		got, err2 := json.Marshal(f["parameters"])
		if err != nil || err2 != nil || string(got) != string(want) || f["strict"] != true || !strings.HasPrefix(str(f, "description"), "Does ") {
			t.Errorf("the model is offered %v, want %s", f, want)
		}
	}
}

// Several calls in one answer are all the client's, and so are their answers,
// however the client orders them.
func TestFunctionsInParallel(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	outputs := []object{answerTo("call_1", "one"), answerTo("call_2", "two"), answerTo("call_3", "three")}
	for name, next := range map[string]func(tn *turn) object{
		"previous_response_id": func(tn *turn) object {
			return object{"previous_response_id": tn.responseID, "input": outputs}
		},
		"in another order": func(tn *turn) object {
			return object{"previous_response_id": tn.responseID, "input": []object{outputs[2], outputs[0], outputs[1]}}
		},
		"calls first, then outputs": func(tn *turn) object {
			return object{"input": []any{object{"role": "user", "content": "go"}, tn.items[0], tn.items[1], tn.items[2], outputs[0], outputs[1], outputs[2]}}
		},
		"in pairs": func(tn *turn) object {
			return object{"input": []any{object{"role": "user", "content": "go"}, tn.items[0], outputs[0], tn.items[1], outputs[1], tn.items[2], outputs[2]}}
		},
		"before a message": func(tn *turn) object {
			return object{"conversation": tn.conversation, "input": append(slices.Clone(outputs), object{"role": "user", "content": "and?"})}
		},
		"behind a message": func(tn *turn) object {
			return object{"conversation": tn.conversation, "input": append([]object{{"role": "user", "content": "and?"}}, outputs...)}
		},
		"through chat completions": func(tn *turn) object {
			var calls []object
			messages := []object{{"role": "user", "content": "go"}}
			for _, it := range tn.items {
				calls = append(calls, object{"id": it.CallID, "type": "function", "function": object{"name": it.Name, "arguments": it.Arguments}})
			}
			messages = append(messages, object{"role": "assistant", "content": nil, "tool_calls": calls})
			for _, o := range outputs {
				messages = append(messages, object{"role": "tool", "tool_call_id": o["call_id"], "content": o["output"]})
			}
			return object{"messages": messages}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			st := s.ask(object{"input": "go", "tools": []object{function("fetch")}})
			c := p.nextFor(t)
			for i := range 3 {
				c.tool(i, fmt.Sprintf("call_%d", i+1), "fetch", fmt.Sprintf(`{"city":"%d"}`, i))
			}
			c.finish("tool_calls")
			tn := st.turn()
			if len(tn.items) != 3 || tn.end.Type != "response.completed" {
				t.Fatalf("%s %+v", tn.end.Type, tn.items)
			}
			for i, it := range tn.items {
				if it.Type != "function_call" || it.CallID != fmt.Sprintf("call_%d", i+1) || it.Arguments != fmt.Sprintf(`{"city":"%d"}`, i) {
					t.Errorf("call %d: %+v", i, it)
				}
			}
			path, body := "/v1/responses", next(tn)
			if body["messages"] != nil {
				path = "/v1/chat/completions"
			}
			body["stream"] = false
			wait := s.begin(http.MethodPost, path, body)
			c = p.nextFor(t)
			if err := c.paired(); err != nil {
				t.Errorf("%v in %q", err, c.transcript())
			}
			for i, want := range []string{"one", "two", "three"} {
				if got := c.results()[fmt.Sprintf("call_%d", i+1)]; got != want {
					t.Errorf("the result of call %d is %q, want %q", i+1, got, want)
				}
			}
			c.say("All done.")
			wait().ok()
		})
	}
}

// Tools of the server run at once, also beside calls of the client, which wait.
func TestFunctionsBesideServerTools(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.put("/v1/projects/general/files/a.txt", object{"content": "content of a"}).ok()
	st := s.ask(object{"input": "go", "tools": []object{function("fetch")}})
	c := p.next()
	if names := c.toolNames(); !slices.Contains(names, "read_file") || !slices.Contains(names, "fetch") {
		t.Errorf("the model is offered %v", names)
	}
	c.text("Both. ").tool(0, "call_f", "fetch", `{"city":"x"}`).tool(1, "call_r", "read_file", `{"path":"a.txt"}`).tool(2, "call_g", "fetch", `{"city":"y"}`)
	c.finish("tool_calls")
	tn := st.turn()
	var kinds []string
	for _, it := range tn.items {
		kinds = append(kinds, it.Type+" "+it.Name+" "+it.Status)
	}
	if want := []string{"message  completed", "function_call fetch completed", "mcp_call read_file completed", "function_call fetch completed"}; !slices.Equal(kinds, want) {
		t.Errorf("items %q, want %q", kinds, want)
	}
	if calls := tn.calls(); len(calls) != 1 || calls[0].Output == nil || !strings.Contains(*calls[0].Output, "content of a") {
		t.Errorf("the server's tool: %+v", calls)
	}
	st = s.ask(object{"previous_response_id": tn.responseID, "input": []object{answerTo("call_g", "two"), answerTo("call_f", "one")}})
	c = p.next()
	if got := c.results(); c.paired() != nil || got["call_f"] != "one" || got["call_g"] != "two" || !strings.Contains(got["call_r"], "content of a") {
		t.Errorf("the model sees %v (%v)", got, c.paired())
	}
	// The server's tools are there in the next turn too; the client's only if it declares them.
	if names := c.toolNames(); !slices.Contains(names, "read_file") || slices.Contains(names, "fetch") {
		t.Errorf("the model is offered %v", names)
	}
	c.tool(0, "call_h", "fetch", `{"city":"z"}`).finish("tool_calls")
	c = p.next()
	if got := c.results()["call_h"]; !strings.HasPrefix(got, "Error: ") {
		t.Errorf("a tool that is not declared answers %q", got)
	}
	c.say("done")
	if tn := st.turn(); len(tn.final.of("function_call")) != 0 || tn.end.Type != "response.completed" {
		t.Errorf("%s %+v", tn.end.Type, tn.items)
	}
	var shown []string
	for _, m := range messages(t, s, tn.conversation) {
		shown = append(shown, m.Role+": "+m.Content)
	}
	if want := []string{"user: go", "assistant: Both. ", "user: ", "assistant: done"}; !slices.Equal(shown, want) {
		t.Errorf("messages %q, want %q", shown, want)
	}
}

// Of two tools with one name it is the client's that is meant.
func TestFunctionsNamedLikeServerTools(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.put("/v1/projects/general/files/a.txt", object{"content": "of the server"}).ok()
	st := s.ask(object{"input": "go", "tools": []object{function("read_file")}})
	c := p.next()
	if names := c.toolNames(); len(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n != "read_file" })) != 1 {
		t.Errorf("the model is offered %v", names)
	}
	declared(t, c, []object{function("read_file")})
	c.tool(0, "call_1", "read_file", `{"path":"a.txt"}`).finish("tool_calls")
	if tn := st.turn(); len(tn.items) != 1 || tn.items[0].Type != "function_call" {
		t.Errorf("items %+v", tn.items)
	}
}

// A call whose arguments did not arrive whole is never shown as one, nor run.
func TestFunctionsCutOff(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	const args = `{"city":"Århus","more":[1,{"a":"b"}]}`
	for name, tc := range map[string]struct {
		end    func(*call)
		reason string
	}{
		"end without finish": {(*call).end, "stream_cut"}, "connection broken": {(*call).cut, "stream_cut"},
		"filter": {func(c *call) { c.finish("content_filter") }, "content_filter"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			for _, n := range []int{0, 1, 12, len(args) - 1, len(args)} {
				st := s.ask(object{"input": "go", "tools": []object{function("fetch")}})
				c := p.nextFor(t).text("So. ").tool(0, "call_1", "fetch", args[:n])
				tc.end(c)
				tn := st.turn()
				if tn.end.Type != "response.incomplete" || tn.final.reason() != tc.reason || len(tn.final.of("function_call")) != 0 {
					t.Errorf("cut after %d bytes: %s %+v", n, tn.end.data, tn.items)
				}
				got := s.get("/v1/responses/" + tn.responseID)
				got.ok()
				if r := decode[response](t, got.body); len(r.of("function_call")) != 0 || r.Status != "incomplete" {
					t.Errorf("retrieved: %v", got)
				}
				st = s.ask(object{"input": "and?", "previous_response_id": tn.responseID})
				c = p.nextFor(t)
				if got := fmt.Sprint(c.transcript()); got != "[user: go assistant: So.  user: and?]" {
					t.Errorf("the model sees %s", got)
				}
				c.say("on")
				st.turn()
			}
		})
	}
	// With a finish marker the model is told, and may try again.
	for _, bad := range []string{args[:12], "[]", "7", `"x"`, args + "}", "null"} {
		st := s.ask(object{"input": "go", "tools": []object{function("fetch")}})
		p.next().tool(0, "call_1", "fetch", bad).finish("tool_calls")
		c := p.next()
		if got := c.results()["call_1"]; !strings.HasPrefix(got, "Error: ") || c.paired() != nil {
			t.Errorf("%s: the model is told %q (%v)", bad, got, c.paired())
		}
		c.tool(0, "call_2", "fetch", args).finish("tool_calls")
		tn := st.turn()
		if calls := tn.final.of("function_call"); len(calls) != 1 || calls[0].CallID != "call_2" || calls[0].Arguments != args || tn.end.Type != "response.completed" {
			t.Errorf("%s: %s %+v", bad, tn.end.Type, tn.items)
		}
	}
	// No arguments at all are those of a function without parameters.
	st := s.ask(object{"input": "go", "tools": []object{{"type": "function", "name": "now"}}})
	c := p.next()
	if f, _ := c.Tools[slices.Index(c.toolNames(), "now")]["function"].(object); str(f, "parameters", "type") != "object" {
		t.Errorf("the model is offered %v", f)
	}
	c.tool(0, "call_1", "now", "").finish("tool_calls")
	if tn := st.turn(); len(tn.items) != 1 || tn.items[0].Arguments != "{}" || tn.items[0].Status != "completed" {
		t.Errorf("items %+v", tn.items)
	}
}

// tool_choice reaches the model in its own words, and stands in the answer as
// it was asked for.
func TestFunctionsToolChoice(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	named := func(name string) object { return object{"type": "function", "name": name} }
	allowed := func(mode string, names ...string) object {
		var tools []object
		for _, n := range names {
			tools = append(tools, named(n))
		}
		return object{"type": "allowed_tools", "mode": mode, "tools": tools}
	}
	for name, tc := range map[string]struct {
		choice, sent, echo any
		offered            []string // of the client's
		server             bool     // tools are offered too
	}{
		"absent":           {nil, nil, "auto", []string{"a", "b"}, true},
		"auto":             {"auto", nil, "auto", []string{"a", "b"}, true},
		"none":             {"none", nil, "none", nil, false},
		"required":         {"required", "required", "required", []string{"a", "b"}, true},
		"function":         {named("b"), object{"type": "function", "function": object{"name": "b"}}, named("b"), []string{"a", "b"}, true},
		"allowed":          {allowed("auto", "b"), nil, allowed("auto", "b"), []string{"b"}, true},
		"allowed required": {allowed("required", "a", "b"), "required", allowed("required", "a", "b"), []string{"a", "b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			body := object{"input": name, "tools": []object{function("a"), function("b")}, "tool_choice": tc.choice}
			r := s.with(t).post("/v1/responses", object{"stream": false, "input": name, "tools": body["tools"], "tool_choice": tc.choice}).ok()
			if !sameJSON(r["tool_choice"], tc.echo) {
				t.Errorf("echo %v, want %v", r["tool_choice"], tc.echo)
			}
			c := p.about(t, name)
			if sent := decode[object](t, c.body)["tool_choice"]; !sameJSON(sent, tc.sent) {
				t.Errorf("the model is sent %v, want %v", sent, tc.sent)
			}
			names := c.toolNames()
			for _, n := range []string{"a", "b"} {
				if slices.Contains(names, n) != slices.Contains(tc.offered, n) {
					t.Errorf("the model is offered %v, want %v", names, tc.offered)
				}
			}
			if slices.Contains(names, "read_file") != tc.server {
				t.Errorf("the model is offered %v, the server's tools: %v", names, tc.server)
			}
		})
	}
	// What must be called once need not be called for ever.
	q := newProvider(t, nil)
	s = start(t, withModel(q))
	st := s.ask(object{"input": "go", "tool_choice": "required"})
	q.next().tool(0, "call_1", "list_files", "{}").finish("tool_calls")
	c := q.next()
	if sent := decode[object](t, c.body)["tool_choice"]; sent != nil {
		t.Errorf("the second call is sent tool_choice %v", sent)
	}
	c.say("done")
	st.turn()
}

// Kinds of tools that only OpenAI runs are passed over, as the Codex CLI needs.
func TestFunctionsOfUnknownKinds(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	r := s.post("/v1/responses", object{"stream": false, "input": "q", "tools": []object{{"type": "web_search"}, function("mine"), {"type": "namespace", "name": "x", "tools": []object{}},
		{"type": "custom", "name": "patch", "format": object{"type": "grammar"}}, {"type": "local_shell"}, {"type": "mcp", "server_label": "x", "server_url": "https://x.example"}, {}}}).ok()
	if tools := r["tools"].([]any); len(tools) != 1 || !sameJSON(tools[0], function("mine")) {
		t.Errorf("tools %v", tools)
	}
	for _, n := range p.about(t, "q").toolNames() {
		if n == "patch" || n == "x" || n == "web_search" {
			t.Errorf("the model is offered %s", n)
		}
	}
}

// A call that the client never answers is answered as interrupted, so that the
// model accepts what follows; the answer to a call that nobody made is refused.
func TestFunctionsUnanswered(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "go", "tools": []object{function("fetch")}})
	p.next().tool(0, "call_1", "fetch", `{"city":"1"}`).tool(1, "call_2", "fetch", `{"city":"2"}`).finish("tool_calls")
	tn := st.turn()
	st = s.ask(object{"previous_response_id": tn.responseID, "input": []object{answerTo("call_2", "two"), {"role": "user", "content": "never mind"}}})
	c := p.next()
	if got := c.results(); c.paired() != nil || !strings.HasPrefix(got["call_1"], "Error: ") || got["call_2"] != "two" || c.asked() != "never mind" {
		t.Errorf("the model sees %v (%v)", got, c.paired())
	}
	c.say("fine")
	st.turn()
	before := s.state()
	for name, body := range map[string]object{
		"nothing before":         {"input": []object{answerTo("call_1", "x")}},
		"unstored":               {"input": []object{answerTo("call_1", "x")}, "store": false},
		"another conversation":   {"input": []object{answerTo("call_1", "x")}, "conversation": "other"},
		"another call":           {"input": []object{answerTo("call_9", "x")}, "conversation": tn.conversation},
		"one of two":             {"input": []object{answerTo("call_1", "x"), answerTo("call_9", "x")}, "conversation": tn.conversation},
		"beside a message":       {"input": []object{{"role": "user", "content": "q"}, answerTo("call_9", "x")}},
		"behind":                 {"input": []object{answerTo("call_9", "x")}, "previous_response_id": tn.responseID},
		"through the other door": {"messages": []object{{"role": "user", "content": "q"}, {"role": "tool", "tool_call_id": "call_9", "content": "x"}}},
	} {
		path := "/v1/responses"
		if body["messages"] != nil {
			path = "/v1/chat/completions"
		}
		o := s.post(path, body).refused(http.StatusBadRequest, "")
		if !strings.HasPrefix(str(o, "error", "message"), "No tool call found for function call output with call_id call_") {
			t.Errorf("%s: %v", name, o)
		}
	}
	if after := s.state(); after != before {
		t.Errorf("a refused request changed something:\n%s\nbefore:\n%s", after, before)
	}
}

// A client with tools of its own that keeps its history itself uses the server
// as a plain model: nothing of the agent is in its way.
func TestFunctionsUnstoredHaveTheModelToThemselves(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	s.create(object{"input": "bare", "store": false, "tools": []object{function("mine")}, "instructions": "Be terse."})
	if c := p.about(t, "bare"); fmt.Sprint(c.toolNames()) != "[mine]" || strings.TrimSpace(c.system()) != "Be terse." {
		t.Errorf("the model is offered %v and told %q", c.toolNames(), c.system())
	}
	s.create(object{"input": "agent", "store": false})
	if c := p.about(t, "agent"); !slices.Contains(c.toolNames(), "read_file") || c.system() == "" {
		t.Errorf("the model is offered %v and told %q", c.toolNames(), c.system())
	}
}
