package blackbox

// The streams of the three protocols, as their servers send them, shortened by
// what no reader looks at.
var wireProtocols = []*wireProtocol{
	{
		engine: "openai-compatible", path: "/v1/chat/completions",
		text: recording{
			chatChunk(`{"role":"assistant","content":""}`, `null`),
			{raw: ": OPENROUTER PROCESSING\n\n"},
			chatChunk(`{"content":"Größe "}`, `null`).says("Größe "),
			chatChunk(`{"content":"日本 \"ok\"."}`, `null`).says(`日本 "ok".`),
			chatChunk(`{}`, `"stop"`).ends(told),
			sse("", `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}`),
			sse("", `[DONE]`).ends(over),
		},
		call: recording{
			chatChunk(`{"role":"assistant","content":"Ich sehe nach. "}`, `null`).says(callText),
			chatChunk(`{"tool_calls":[{"index":0,"id":"call_1f","type":"function","function":{"name":"list_files","arguments":""}}]}`, `null`),
			chatChunk(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"path\":\"O"}}]}`, `null`),
			chatChunk(`{"tool_calls":[{"index":0,"function":{"arguments":"rdnerñ\"}"}}]}`, `null`),
			chatChunk(`{}`, `"tool_calls"`).ends(told),
			sse("", `[DONE]`).ends(over),
		},
		trouble: func(f *faulty) string { return "data: " + f.failure("server_error") + "\n\n" },
	},
	{
		engine: "openai", path: "/v1/responses",
		text: recording{
			sse("response.created", `{"type":"response.created","sequence_number":0,"response":{"id":"r1","object":"response","status":"in_progress","model":"m","output":[]}}`),
			sse("response.output_item.added", `{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"m1","type":"message","status":"in_progress","role":"assistant","content":[]}}`),
			sse("response.content_part.added", `{"type":"response.content_part.added","sequence_number":2,"item_id":"m1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}`),
			sse("response.output_text.delta", `{"type":"response.output_text.delta","sequence_number":3,"item_id":"m1","output_index":0,"content_index":0,"delta":"Größe "}`).says("Größe "),
			sse("response.output_text.delta", `{"type":"response.output_text.delta","sequence_number":4,"item_id":"m1","output_index":0,"content_index":0,"delta":"日本 \"ok\"."}`).says(`日本 "ok".`),
			sse("response.output_item.done", `{"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"id":"m1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Größe 日本 \"ok\".","annotations":[]}]}}`),
			sse("response.completed", `{"type":"response.completed","sequence_number":6,"response":{"id":"r1","object":"response","status":"completed","model":"m","output":[{"id":"m1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Größe 日本 \"ok\".","annotations":[]}]}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}}`).ends(over),
		},
		call: recording{
			sse("response.created", `{"type":"response.created","sequence_number":0,"response":{"id":"r1","object":"response","status":"in_progress","model":"m","output":[]}}`),
			sse("response.output_item.added", `{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"m1","type":"message","status":"in_progress","role":"assistant","content":[]}}`),
			sse("response.output_text.delta", `{"type":"response.output_text.delta","sequence_number":2,"item_id":"m1","output_index":0,"content_index":0,"delta":"Ich sehe nach. "}`).says(callText),
			sse("response.output_item.done", `{"type":"response.output_item.done","sequence_number":3,"output_index":0,"item":{"id":"m1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Ich sehe nach. ","annotations":[]}]}}`),
			sse("response.output_item.added", `{"type":"response.output_item.added","sequence_number":4,"output_index":1,"item":{"id":"f1","type":"function_call","status":"in_progress","call_id":"call_1f","name":"list_files","arguments":""}}`),
			sse("response.function_call_arguments.delta", `{"type":"response.function_call_arguments.delta","sequence_number":5,"item_id":"f1","output_index":1,"delta":"{\"path\":\"Or"}`),
			sse("response.function_call_arguments.delta", `{"type":"response.function_call_arguments.delta","sequence_number":6,"item_id":"f1","output_index":1,"delta":"dnerñ\"}"}`),
			sse("response.function_call_arguments.done", `{"type":"response.function_call_arguments.done","sequence_number":7,"item_id":"f1","output_index":1,"name":"list_files","arguments":"{\"path\":\"Ordnerñ\"}"}`),
			sse("response.output_item.done", `{"type":"response.output_item.done","sequence_number":8,"output_index":1,"item":{"id":"f1","type":"function_call","status":"completed","call_id":"call_1f","name":"list_files","arguments":"{\"path\":\"Ordnerñ\"}"}}`),
			sse("response.completed", `{"type":"response.completed","sequence_number":9,"response":{"id":"r1","object":"response","status":"completed","model":"m","output":[{"id":"m1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Ich sehe nach. ","annotations":[]}]},{"id":"f1","type":"function_call","status":"completed","call_id":"call_1f","name":"list_files","arguments":"{\"path\":\"Ordnerñ\"}"}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}}`).ends(over),
		},
		trouble: func(f *faulty) string {
			return sse("error", `{"type":"error","sequence_number":9,"code":"server_error","message":"`+providerCanary+` `+f.key+`","param":null}`).raw
		},
	},
	{
		engine: "anthropic", path: "/v1/messages",
		text: recording{
			sse("message_start", `{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":11,"output_tokens":1}}}`),
			sse("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`),
			sse("ping", `{"type":"ping"}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Größe "}}`).says("Größe "),
			sse("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"日本 \"ok\"."}}`).says(`日本 "ok".`),
			sse("content_block_stop", `{"type":"content_block_stop","index":0}`),
			sse("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}`).ends(told),
			sse("message_stop", `{"type":"message_stop"}`).ends(over),
		},
		call: recording{
			sse("message_start", `{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":11,"output_tokens":1}}}`),
			sse("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Ich sehe nach. "}}`).says(callText),
			sse("content_block_stop", `{"type":"content_block_stop","index":0}`),
			sse("content_block_start", `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_1f","name":"list_files","input":{}}}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"path\":\"O"}}`),
			sse("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"rdnerñ\"}"}}`),
			sse("content_block_stop", `{"type":"content_block_stop","index":1}`),
			sse("message_delta", `{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":7}}`).ends(told),
			sse("message_stop", `{"type":"message_stop"}`).ends(over),
		},
		trouble: func(f *faulty) string { return sse("error", f.failure("api_error")).raw },
	},
}

func chatChunk(delta, finish string) wireEvent {
	return sse("", `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]}`)
}
