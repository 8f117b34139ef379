package blackbox

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// goodRequests are that are taken as they are, with everything they can have.
func goodRequests(response, message string) map[string][]object {
	image := object{"type": "input_image", "image_url": dataURL("image/png", pngBytes), "detail": "low"}
	file := object{"type": "input_file", "filename": "a.pdf", "file_data": dataURL("application/pdf", pdfBytes)}
	conversation := []object{{"type": "message", "role": "developer", "content": "Be brief."}, {"role": "user", "content": []object{text("What?"), image, file}},
		{"type": "reasoning", "id": "rs_1", "summary": []object{{"type": "summary_text", "text": "Hm."}}}, {"role": "assistant", "content": []object{{"type": "output_text", "text": "That."}}},
		{"type": "function_call", "call_id": "call_1", "name": "a", "arguments": "{}"}, {"type": "function_call_output", "call_id": "call_1", "output": []object{text("1")}},
		{"type": "item_reference", "id": message}, {"type": "mcp_call", "id": "mcp_1", "name": "read_file", "server_label": "anton", "arguments": "{}", "output": "x", "error": nil},
		{"role": "user", "content": "And?"}}
	options := object{"model": "anton", "instructions": "Be kind.", "temperature": 1, "top_p": 0.5, "max_output_tokens": 99, "metadata": object{"a": "b"}, "user": "me",
		"parallel_tool_calls": true, "truncation": "auto", "reasoning": object{"effort": "low", "summary": "auto"}, "background": false, "store": true,
		"text":  object{"verbosity": "low", "format": object{"type": "json_schema", "name": "n", "schema": object{"type": "object"}, "strict": true}},
		"tools": []object{function("a"), function("b"), {"type": "web_search"}}, "tool_choice": object{"type": "allowed_tools", "mode": "auto", "tools": []object{{"type": "function", "name": "a"}}},
		"include": []string{"reasoning.encrypted_content"}, "disabled_connections": []object{{"engine": "e", "name": "n"}}, "project": "general", "stream": false}
	with := func(more object) object {
		o := maps.Clone(options)
		maps.Copy(o, more)
		return o
	}
	chat := object{"model": "anton", "stream": false, "stream_options": object{"include_usage": true}, "temperature": 1, "max_tokens": 9, "stop": []string{"x"}, "n": 1, "store": false,
		"response_format": object{"type": "json_schema", "json_schema": object{"name": "n", "schema": object{"type": "object"}}}, "reasoning_effort": "low",
		"tools": []object{{"type": "function", "function": object{"name": "a", "parameters": object{"type": "object"}}}}, "tool_choice": object{"type": "function", "function": object{"name": "a"}},
		"messages": []object{{"role": "system", "content": "Be brief."}, {"role": "user", "content": []object{{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": object{"url": dataURL("image/png", pngBytes)}},
			{"type": "file", "file": object{"filename": "a.pdf", "file_data": dataURL("application/pdf", pdfBytes)}}}},
			{"role": "assistant", "content": nil, "tool_calls": []object{{"id": "call_1", "type": "function", "function": object{"name": "a", "arguments": "{}"}}}},
			{"role": "tool", "tool_call_id": "call_1", "content": "1"}, {"role": "user", "content": "And?"}}}
	return map[string][]object{
		"/v1/responses":                 {with(object{"input": conversation}), with(object{"input": "q", "previous_response_id": response}), with(object{"input": "q", "conversation": object{"id": "fuzz"}, "store": false})},
		"/v1/chat/completions":          {chat},
		"/v1/conversations":             {{"items": conversation, "metadata": object{"a": "b"}, "project": "general"}},
		"/v1/conversations/fuzz":        {{"metadata": object{"a": "b"}}},
		"/v1/conversations/fuzz/items":  {{"items": conversation}},
		"/v1/responses/cancel":          {{"conversation_id": "fuzz"}},
		"/v1/responses/resp_1/cancel":   {{}},
		"/v1/settings/validate":         {{"planningProvider": "offline", "providers": []object{{"type": "offline"}}}},
		"/v1/projects/general/no-route": {{"a": 1}},
	}
}

// strange is what stands where something else should.
var strange = []any{nil, true, false, 0, -1, 1, 1.5, 1e308, -1e-308, 2147483648, "", " ", "x", "\u0000", "\u202e", strings.Repeat("y", 70_000), []any{}, []any{nil}, []any{[]any{}}, object{},
	object{"": nil}, object{"type": "function"}, object{"id": 7}, "function", "message", "item_reference", "none", "data:", "data:,", "data:;base64,AAAA", "http://", "https://x", "file:///etc/passwd",
	"resp_", "msg_", "msg__o0", "../../x", "tmp-1", "🐜", json.RawMessage(`12345678901234567890`), json.RawMessage(`1e999`), json.RawMessage(`"\ud83d"`), json.RawMessage(`{"a":1,"a":2}`)}

// spoil changes one place of a JSON value.
func spoil(r *rand.Rand, v any) any {
	if r.IntN(6) == 0 {
		return strange[r.IntN(len(strange))]
	}
	switch v := v.(type) {
	case object:
		keys := slices.Sorted(maps.Keys(v))
		if len(keys) == 0 {
			return object{"x": strange[r.IntN(len(strange))]}
		}
		out, k := maps.Clone(v), keys[r.IntN(len(keys))]
		switch r.IntN(8) {
		case 0:
			delete(out, k)
		case 1:
			out[keys[r.IntN(len(keys))]] = out[k]
		default:
			out[k] = spoil(r, out[k])
		}
		return out
	case []any:
		if len(v) == 0 {
			return strange[r.IntN(len(strange))]
		}
		out, i := slices.Clone(v), r.IntN(len(v))
		switch r.IntN(8) {
		case 0:
			return slices.Delete(out, i, i+1)
		case 1:
			return append(out, out[i])
		case 2:
			j := r.IntN(len(out))
			out[i], out[j] = out[j], out[i]
		default:
			out[i] = spoil(r, out[i])
		}
		return out
	}
	return strange[r.IntN(len(strange))]
}

// Whatever stands in a request, it is taken or refused in the right form: it
// breaks nothing, and nothing of it breaks what is read later.
// ANTHILL_SEED repeats a run.
func TestMutations(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("About it.") })
	s := start(t, withModel(p))
	first := s.create(object{"input": "first", "conversation": "fuzz"})
	good := goodRequests(first.ID, first.Output[0].ID)
	paths := slices.Sorted(maps.Keys(good))
	for _, path := range paths {
		for _, body := range good[path] {
			if a := s.post(path, body); a.status != http.StatusOK && !strings.Contains(path, "resp_1") && !strings.Contains(path, "no-route") {
				t.Errorf("as it should be: %v", a)
			}
		}
	}
	rounds, seed := 500, rand.Uint64()
	if soak {
		rounds = 50_000
	}
	if given, err := strconv.ParseUint(os.Getenv("ANTHILL_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("ANTHILL_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	made := map[string]bool{"fuzz": true}
	taken := 0
	for range rounds {
		path := paths[r.IntN(len(paths))]
		if r.IntN(2) == 0 {
			path = "/v1/responses"
		}
		data, err := json.Marshal(good[path][r.IntN(len(good[path]))])
		if err != nil {
			t.Fatal(err)
		}
		body := any(decode[object](t, data))
		for range 1 + r.IntN(3) {
			body = spoil(r, body)
		}
		if data, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
		a := s.post(path, data)
		switch {
		case a.status == http.StatusOK:
			taken++
			if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
				o := a.object()
				if id := str(o, "conversation_id"); id != "" {
					made[id] = true
				} else if o["object"] == "conversation" {
					made[str(o, "id")] = true
				}
			}
		case a.status >= 400 && a.status < 500:
			a.shape()
		default:
			t.Errorf("%v\nto %s", a, clip(data))
		}
		if t.Failed() {
			return
		}
	}
	if taken == 0 || taken == rounds {
		t.Errorf("%d of %d were taken", taken, rounds)
	}
	for name := range made {
		id := url.PathEscape(name) // a spoiled body can give a conversation any name
		if a := s.get("/v1/conversations/" + id); a.status == http.StatusNotFound {
			continue // not stored
		}
		for _, m := range messages(t, s, id) {
			if frames := m.frames(t); len(frames) > 0 {
				checkTurn(t, frames)
			}
		}
		pages(t, s, "/v1/conversations/"+id+"/items", "asc", 100)
	}
	if o := s.get("/health").ok(); o["status"] != "ok" {
		t.Errorf("health: %v", o)
	}
}
