package chat

import (
	"io"
	"testing"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
	"anthill/services/internal/agent/wire/wiretest"
)

func provider(o wire.Options) (agent.Provider, error) { return New(o) }

var subject = wiretest.Subject{
	New: provider, Path: "/v1/chat/completions",
	Sample: delta(`{"role":"assistant","content":""}`) + content("Größe ") + content("日本") +
		delta(`{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"wipe","arguments":""}}]}`) +
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"what\":\"ünï"}}]}`) +
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"/all\"}"}}]}`) +
		delta(`{"tool_calls":[{"index":1,"id":"t2","type":"function","function":{"name":"look","arguments":"{}"}}]}`) +
		finish("tool_calls") + usage + done,
	End: `data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason"`,
	Want: agent.Completion{
		Text: "Größe 日本", Finish: agent.FinishTools,
		Calls: []agent.ToolCall{{ID: "t1", Name: "wipe", Input: `{"what":"ünï/all"}`}, {ID: "t2", Name: "look", Input: "{}"}},
	},
	Says: func(text string, ended bool) string {
		if ended {
			return content(text) + finish("stop") + done
		}
		return content(text)
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
