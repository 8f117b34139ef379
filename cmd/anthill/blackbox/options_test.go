package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// options are requests, what the model is sent for them, and what the response
// says of them.
var optionCases = map[string]struct {
	body object
	sent object // nil: the member is not sent
	echo object
}{
	"nothing": {object{}, object{"reasoning_effort": nil, "verbosity": nil, "user": nil, "response_format": nil, "parallel_tool_calls": nil, "tool_choice": nil,
		"temperature": nil, "top_p": nil},
		object{"reasoning": object{"effort": nil, "summary": nil}, "text": object{"format": object{"type": "text"}}, "user": nil, "parallel_tool_calls": true,
			"tool_choice": "auto", "tools": []any{}, "store": true, "background": false, "previous_response_id": nil, "temperature": nil, "top_p": nil,
			"max_output_tokens": nil, "metadata": object{}, "instructions": nil, "truncation": "disabled", "top_logprobs": 0}},
	"reasoning": {object{"reasoning": object{"effort": "high", "summary": "detailed"}}, object{"reasoning_effort": "high"},
		object{"reasoning": object{"effort": "high", "summary": "detailed"}}},
	"no reasoning": {object{"reasoning": object{"effort": "none"}}, object{"reasoning_effort": "none"}, object{"reasoning": object{"effort": "none", "summary": nil}}},
	"null reasoning": {object{"reasoning": nil, "text": nil, "tools": nil, "tool_choice": nil, "user": nil, "metadata": nil, "store": nil, "background": nil,
		"previous_response_id": nil, "parallel_tool_calls": nil, "temperature": nil, "instructions": nil, "max_output_tokens": nil, "conversation": nil, "stream_options": nil,
		"include": nil, "truncation": nil, "prompt": nil, "top_logprobs": nil, "model": nil}, object{"reasoning_effort": nil}, object{"store": true, "background": false}},
	"verbosity": {object{"text": object{"verbosity": "low"}}, object{"verbosity": "low", "response_format": nil},
		object{"text": object{"format": object{"type": "text"}, "verbosity": "low"}}},
	"plain text": {object{"text": object{"format": object{"type": "text"}}}, object{"response_format": nil}, object{"text": object{"format": object{"type": "text"}}}},
	"JSON":       {object{"text": object{"format": object{"type": "json_object"}}}, object{"response_format": object{"type": "json_object"}}, object{"text": object{"format": object{"type": "json_object"}}}},
	"JSON Schema": {object{"text": object{"format": object{"type": "json_schema", "name": "place", "description": "A place.", "strict": true, "schema": object{"type": "object", "properties": object{"city": object{"type": "string"}}}}}},
		object{"response_format": object{"type": "json_schema", "json_schema": object{"name": "place", "description": "A place.", "strict": true, "schema": object{"type": "object", "properties": object{"city": object{"type": "string"}}}}}},
		object{"text": object{"format": object{"type": "json_schema", "name": "place", "description": "A place.", "strict": true, "schema": object{"type": "object", "properties": object{"city": object{"type": "string"}}}}}}},
	"user":                {object{"user": "me"}, object{"user": "me"}, object{"user": "me"}},
	"safety identifier":   {object{"safety_identifier": "me"}, object{"user": "me"}, object{}},
	"no parallel calls":   {object{"parallel_tool_calls": false}, object{"parallel_tool_calls": false}, object{"parallel_tool_calls": false}},
	"parallel calls":      {object{"parallel_tool_calls": true}, object{"parallel_tool_calls": true}, object{"parallel_tool_calls": true}},
	"sampling":            {object{"temperature": 0, "top_p": 0.5}, object{"temperature": 0, "top_p": 0.5}, object{"temperature": 0, "top_p": 0.5}},
	"metadata":            {object{"metadata": object{"a": "b", "": ""}}, object{}, object{"metadata": object{"a": "b", "": ""}}},
	"instructions":        {object{"instructions": "Be brief."}, object{}, object{"instructions": "Be brief."}},
	"model":               {object{"model": "special"}, object{"model": "special"}, object{"model": "special"}},
	"tools":               {object{"tools": []object{function("a")}}, object{}, object{"tools": []object{function("a")}}},
	"a tool without much": {object{"tools": []object{{"type": "function", "name": "a"}}}, object{}, object{"tools": []object{{"type": "function", "name": "a", "description": nil, "parameters": nil, "strict": nil}}}},
	"a null of everything": {object{"tools": []object{{"type": "function", "name": "a", "description": nil, "parameters": nil, "strict": nil}}}, object{},
		object{"tools": []object{{"type": "function", "name": "a", "description": nil, "parameters": nil, "strict": nil}}}},
	"numbers in a schema": {object{"tools": []object{{"type": "function", "name": "a", "parameters": json.RawMessage(`{"maximum":12345678901234567890,"z":1.0,"a":1e40}`)}}}, object{}, object{}},
	"truncation":          {object{"truncation": "auto"}, object{}, object{"truncation": "auto"}},
	"extensions": {object{"include": []string{"reasoning.encrypted_content"}, "prompt_cache_key": "k", "service_tier": "auto", "stream_options": object{"include_obfuscation": false},
		"context_management": []object{}, "client_metadata": object{"x": 1}, "never_heard_of": []int{1}}, object{}, object{"store": true}},
}

// What a request sets reaches the model, and every form of the response repeats it.
func TestOptions(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	for name, tc := range optionCases {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			body := object{"input": name, "conversation": nil}
			for k, v := range tc.body {
				body[k] = v
			}
			tn := s.ask(body).turn()
			sent := decode[object](t, p.about(t, name).body)
			for k, want := range tc.sent {
				if !sameJSON(sent[k], want) {
					t.Errorf("the model is sent %s %v, want %v", k, sent[k], want)
				}
			}
			forms := map[string]json.RawMessage{"retrieved": s.get("/v1/responses/" + tn.responseID).body}
			for _, f := range tn.frames {
				if f.ThoughtRole == "" && f.Response != nil {
					forms[f.Type] = f.Response
				}
			}
			body["stream"] = false
			whole := s.post("/v1/responses", body)
			whole.ok()
			forms["JSON"] = whole.body
			if len(forms) != 5 { // created, in_progress, completed, retrieved, JSON
				t.Errorf("%d forms of the response", len(forms))
			}
			for form, data := range forms {
				r := decode[object](t, data)
				for k, want := range tc.echo {
					if !sameJSON(r[k], want) {
						t.Errorf("%s: %s is %v, want %v", form, k, r[k], want)
					}
				}
			}
			if name == "numbers in a schema" {
				for where, data := range map[string][]byte{"the model": p.about(t, name).body, "the response": whole.body} {
					if !strings.Contains(string(data), `{"maximum":12345678901234567890,"z":1.0,"a":1e40}`) {
						t.Errorf("%s has another schema: %s", where, data)
					}
				}
			}
		})
	}
}

// What is wrong is refused by name, and what this version cannot do as well.
func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	format := func(f any) object { return object{"text": object{"format": f}} }
	tools := func(list ...object) object { return object{"tools": list} }
	many := make([]object, 129)
	for i := range many {
		many[i] = function(fmt.Sprintf("f%d", i))
	}
	big := object{"type": "function", "name": "big", "description": strings.Repeat("x", 600<<10)}
	for name, tc := range map[string]struct {
		body object
		loc  string
	}{
		"effort":                    {object{"reasoning": object{"effort": "extreme"}}, "reasoning effort"},
		"effort is a number":        {object{"reasoning": object{"effort": 7}}, "reasoning"},
		"reasoning is text":         {object{"reasoning": "high"}, "reasoning"},
		"summary":                   {object{"reasoning": object{"summary": "long"}}, "reasoning summary"},
		"verbosity":                 {object{"text": object{"verbosity": "max"}}, "text verbosity"},
		"text is text":              {object{"text": "json"}, "text"},
		"text is a list":            {object{"text": []any{}}, "text"},
		"format is text":            {format("json_object"), "text format"},
		"format without type":       {format(object{"name": "x"}), "text format type"},
		"format":                    {format(object{"type": "yaml"}), "text format type"},
		"schema without name":       {format(object{"type": "json_schema", "schema": object{}}), "text format name"},
		"schema of a bad name":      {format(object{"type": "json_schema", "name": "a b", "schema": object{}}), "text format name"},
		"schema is missing":         {format(object{"type": "json_schema", "name": "a"}), "text format schema"},
		"schema is a list":          {format(object{"type": "json_schema", "name": "a", "schema": []any{}}), "text format schema"},
		"schema is null":            {format(object{"type": "json_schema", "name": "a", "schema": nil}), "text format schema"},
		"huge schema":               {format(object{"type": "json_schema", "name": "a", "schema": object{"x": strings.Repeat("x", 200<<10)}}), "text format schema"},
		"user is a number":          {object{"user": 7}, "user"},
		"long user":                 {object{"user": strings.Repeat("x", 513)}, "user"},
		"parallel":                  {object{"parallel_tool_calls": "yes"}, "parallel_tool_calls"},
		"background":                {object{"background": "yes"}, "background"},
		"store":                     {object{"store": 1}, "store"},
		"background without store":  {object{"background": true, "store": false}, "background"},
		"tools are no list":         {object{"tools": object{}}, "tools"},
		"a tool is text":            {object{"tools": []string{"web_search"}}, "tools"},
		"tool without name":         {tools(object{"type": "function"}), "tools 0 name"},
		"tool with an empty name":   {tools(object{"type": "function", "name": ""}), "tools 0 name"},
		"tool with a bad name":      {tools(object{"type": "function", "name": "a.b"}), "tools 0 name"},
		"tool with a long name":     {tools(object{"type": "function", "name": strings.Repeat("a", 65)}), "tools 0 name"},
		"second tool with its name": {tools(function("a"), function("a")), "tools 1 name"},
		"parameters are a list":     {tools(object{"type": "function", "name": "a", "parameters": []any{}}), "tools 0 parameters"},
		"parameters are text":       {tools(object{"type": "function", "name": "a", "parameters": "{}"}), "tools 0 parameters"},
		"too many tools":            {object{"tools": many}, "tools"},
		"too large tools":           {tools(big), "tools"},
		"choice":                    {object{"tool_choice": "maybe"}, "tool_choice"},
		"choice is a number":        {object{"tool_choice": 7}, "tool_choice"},
		"choice of nothing":         {object{"tool_choice": object{"type": "function", "name": "a"}}, "tool_choice name"},
		"choice of another":         {object{"tool_choice": object{"type": "function", "name": "b"}, "tools": []object{function("a")}}, "tool_choice name"},
		"choice of a server's tool": {object{"tool_choice": object{"type": "function", "name": "read_file"}}, "tool_choice name"},
		"choice of a hosted tool":   {object{"tool_choice": object{"type": "web_search"}}, "tool_choice type"},
		"allowed is unknown":        {object{"tool_choice": object{"type": "allowed_tools", "mode": "auto", "tools": []object{{"type": "function", "name": "a"}}}}, "tool_choice tools 0"},
		"allowed in another mode":   {object{"tool_choice": object{"type": "allowed_tools", "mode": "x", "tools": []object{{"type": "function", "name": "a"}}}, "tools": []object{function("a")}}, "tool_choice"},
		"log probabilities":         {object{"top_logprobs": 3}, "top_logprobs"},
		"truncation":                {object{"truncation": "maybe"}, "truncation"},
		"limit of tool calls":       {object{"max_tool_calls": 3}, "max_tool_calls"},
		"included probabilities":    {object{"include": []string{"message.output_text.logprobs"}}, "include"},
		"include is text":           {object{"include": "x"}, "include"},
		"stored prompt":             {object{"prompt": object{"id": "p"}}, "prompt"},
		"17 pairs":                  {object{"metadata": pairs(17)}, "metadata"},
		"a number in metadata":      {object{"metadata": object{"a": 1}}, "metadata"},
		"long instructions":         {object{"instructions": strings.Repeat("x", 200<<10)}, "instructions"},
	} {
		body := object{"input": "q", "conversation": "new"}
		for k, v := range tc.body {
			body[k] = v
		}
		a := s.post("/v1/responses", body)
		d, _ := a.refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		var got []string
		for _, e := range d {
			got = append(got, strings.Trim(fmt.Sprint(e.(object)["loc"]), "[]"))
		}
		if !slices.Contains(got, "body "+tc.loc) {
			t.Errorf("%s: %v, want loc %q", name, a, tc.loc)
		}
	}
	conn := s.dial()
	for name, o := range map[string]*antonv1.RequestOptions{
		"schema":         {TextFormat: &antonv1.TextFormat{Type: "json_schema", Name: "a", Schema: "{"}},
		"schema of text": {TextFormat: &antonv1.TextFormat{Type: "text", Schema: "{"}},
		"schema of JSON": {TextFormat: &antonv1.TextFormat{Type: "json_object", Schema: "no JSON"}},
		"parameters":     {Tools: []*antonv1.FunctionTool{{Name: "a", Parameters: "{"}}},
		"parameters 2":   {Tools: []*antonv1.FunctionTool{{Name: "a", Parameters: `{"a":1}{}`}}},
		"no name":        {Tools: []*antonv1.FunctionTool{{}}},
		"NUL":            {User: "a\x00b"},
		"NUL in a tool":  {Tools: []*antonv1.FunctionTool{{Name: "a", Description: "a\x00b"}}},
		"choice":         {ToolChoice: &antonv1.ToolChoice{Mode: "x"}},
		"background":     {Background: true, Store: proto.Bool(false)},
	} {
		err := firstOf(antonv1.NewResponsesServiceClient(conn).CreateResponse(s.call(), &antonv1.CreateResponseRequest{Input: user("q"), Conversation: "new", Options: o}))
		wantCode(t, name, err, codes.InvalidArgument)
	}
}

func pairs(n int) object {
	o := object{}
	for i := range n {
		o[fmt.Sprint("key", i)] = "value"
	}
	return o
}

// The largest options that are accepted are kept and shown.
func TestOptionsThatAreLarge(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	var tools []object
	for i := range 128 {
		tools = append(tools, object{"type": "function", "name": fmt.Sprintf("%060d", i), "description": strings.Repeat("d", 2000),
			"parameters": object{"type": "object", "description": strings.Repeat("s", 1900)}, "strict": false})
	}
	body := object{"input": "q", "tools": tools, "instructions": strings.Repeat("x", 128<<10), "user": strings.Repeat("u", 512), "metadata": pairs(16),
		"text": object{"format": object{"type": "json_schema", "name": "a", "schema": object{"description": strings.Repeat("y", 127<<10)}}}}
	tn := s.ask(body).turn()
	if tn.text != "About q" || tn.end.Type != "response.completed" {
		t.Fatalf("%s", clip(tn.end.data))
	}
	s.kill()
	s.restart()
	r := s.get("/v1/responses/" + tn.responseID).ok()
	if !sameJSON(r["tools"], tools) || str(r, "instructions") != body["instructions"] || !sameJSON(str(r, "text", "format", "schema", "description"), strings.Repeat("y", 127<<10)) {
		t.Error("the response does not show what was asked for")
	}
	if got := p.about(t, "q"); len(got.Tools) < 128 {
		t.Errorf("the model is offered %d tools", len(got.Tools))
	}
}
