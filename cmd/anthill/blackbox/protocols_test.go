package blackbox

import "regexp"

// The streams of the three protocols as their servers send them, without what
// no reader looks at.
var wireProtocols = []*wireProtocol{
	{
		engine: "openai-compatible", path: "/v1/chat/completions", result: regexp.MustCompile(`"tool_call_id":"([^"]+)"`),
		text: recording{
			chatChunk(`{"role":"assistant","content":""}`, `null`),
			{raw: ": PROCESSING\n\n"},
			chatChunk(`{"content":"Größe "}`, `null`).says("Größe "),
			chatChunk(`{"content":"日本 \"ok\"."}`, `null`).says(`日本 "ok".`),
			chatChunk(`{}`, `"stop"`).ends(told),
			sse("", `{"id":"c1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}`),
			sse("", `[DONE]`).ends(over),
		},
		call: recording{
			chatChunk(`{"role":"assistant","content":"Ich sehe nach. "}`, `null`).says(callText),
			chatChunk(`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"list_files","arguments":""}}]}`, `null`),
			chatChunk(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"path\":\"O"}}]}`, `null`),
			chatChunk(`{"tool_calls":[{"index":0,"function":{"arguments":"rdnerñ\"}"}}]}`, `null`),
			chatChunk(`{}`, `"tool_calls"`).ends(told),
			sse("", `[DONE]`).ends(over),
		},
		trouble: func(f *faulty) string { return sse("", f.failure("server_error")).raw },
	},
	{
		engine: "openai", path: "/v1/responses", result: regexp.MustCompile(`"call_id":"([^"]+)","type":"function_call_output"|"type":"function_call_output","call_id":"([^"]+)"`),
		text: recording{
			sse("response.created", `{"type":"response.created","response":{"id":"r1","status":"in_progress","output":[]}}`),
			sse("response.output_item.added", `{"type":"response.output_item.added","output_index":0,"item":{"id":"m1","type":"message","status":"in_progress","content":[]}}`),
			sse("response.output_text.delta", `{"type":"response.output_text.delta","item_id":"m1","output_index":0,"content_index":0,"delta":"Größe "}`).says("Größe "),
			sse("response.output_text.delta", `{"type":"response.output_text.delta","item_id":"m1","output_index":0,"content_index":0,"delta":"日本 \"ok\"."}`).says(`日本 "ok".`),
			sse("response.output_item.done", `{"type":"response.output_item.done","output_index":0,"item":{"id":"m1","type":"message","status":"completed","content":[{"type":"output_text","text":"Größe 日本 \"ok\"."}]}}`),
			sse("response.completed", `{"type":"response.completed","response":{"id":"r1","status":"completed","output":[{"id":"m1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Größe 日本 \"ok\"."}]}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}}`).ends(over),
		},
		call: recording{
			sse("response.created", `{"type":"response.created","response":{"id":"r1","status":"in_progress","output":[]}}`),
			sse("response.output_item.added", `{"type":"response.output_item.added","output_index":0,"item":{"id":"m1","type":"message","status":"in_progress","content":[]}}`),
			sse("response.output_text.delta", `{"type":"response.output_text.delta","item_id":"m1","output_index":0,"content_index":0,"delta":"Ich sehe nach. "}`).says(callText),
			sse("response.output_item.added", `{"type":"response.output_item.added","output_index":1,"item":{"id":"f1","type":"function_call","status":"in_progress","call_id":"call_1","name":"list_files","arguments":""}}`),
			sse("response.function_call_arguments.delta", `{"type":"response.function_call_arguments.delta","item_id":"f1","output_index":1,"delta":"{\"path\":\"O"}`),
			sse("response.function_call_arguments.done", `{"type":"response.function_call_arguments.done","item_id":"f1","output_index":1,"arguments":"{\"path\":\"Ordnerñ\"}"}`),
			sse("response.output_item.done", `{"type":"response.output_item.done","output_index":1,"item":{"id":"f1","type":"function_call","status":"completed","call_id":"call_1","name":"list_files","arguments":"{\"path\":\"Ordnerñ\"}"}}`),
			sse("response.completed", `{"type":"response.completed","response":{"id":"r1","status":"completed","output":[{"id":"m1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Ich sehe nach. "}]},{"id":"f1","type":"function_call","status":"completed","call_id":"call_1","name":"list_files","arguments":"{\"path\":\"Ordnerñ\"}"}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}}`).ends(over),
		},
		trouble: func(f *faulty) string {
			return sse("error", `{"type":"error","code":"server_error","message":"`+providerCanary+` `+f.key+`","param":null}`).raw
		},
	},
	{
		engine: "anthropic", path: "/v1/messages", result: regexp.MustCompile(`"tool_use_id":"([^"]+)"`),
		text: recording{
			sse("message_start", `{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":11,"output_tokens":1}}}`),
			sse("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`),
			sse("ping", `{"type":"ping"}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Größe "}}`).says("Größe "),
			sse("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"日本 \"ok\"."}}`).says(`日本 "ok".`),
			sse("content_block_stop", `{"type":"content_block_stop","index":0}`),
			sse("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}`).ends(told),
			sse("message_stop", `{"type":"message_stop"}`).ends(over),
		},
		call: recording{
			sse("message_start", `{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":11,"output_tokens":1}}}`),
			sse("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Ich sehe nach. "}}`).says(callText),
			sse("content_block_stop", `{"type":"content_block_stop","index":0}`),
			sse("content_block_start", `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_1","name":"list_files","input":{}}}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"path\":\"O"}}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"rdnerñ\"}"}}`),
			sse("content_block_stop", `{"type":"content_block_stop","index":1}`),
			sse("message_delta", `{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":7}}`).ends(told),
			sse("message_stop", `{"type":"message_stop"}`).ends(over),
		},
		trouble: func(f *faulty) string { return sse("error", f.failure("api_error")).raw },
	},
}

func chatChunk(delta, finish string) wireEvent {
	return sse("", `{"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":`+delta+`,"finish_reason":`+finish+`}]}`)
}
