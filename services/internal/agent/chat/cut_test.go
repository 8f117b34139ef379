package chat

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anthill/services/internal/agent"
)

// sink keeps the text of a turn.
type sink struct{ text strings.Builder }

func (s *sink) Text(d string) error                                              { s.text.WriteString(d); return nil }
func (s *sink) Reasoning(string) error                                           { return nil }
func (s *sink) Progress(agent.Progress) error                                    { return nil }
func (s *sink) ToolStart(string, string) error                                   { return nil }
func (s *sink) ToolInput(agent.ToolCall) error                                   { return nil }
func (s *sink) ToolResult(agent.ToolCall, agent.ToolResult, time.Duration) error { return nil }
func (s *sink) History(agent.Message) error                                      { return nil }
func (s *sink) ClientCall(agent.ToolCall) error                                  { return nil }
func (s *sink) Compacted(agent.Compacted, agent.CompactionNote) error            { return nil }

type tool struct {
	t   *testing.T
	ran int
}

func (*tool) Spec() agent.ToolSpec {
	return agent.ToolSpec{Name: "wipe", Schema: json.RawMessage(`{"type":"object"}`)}
}

func (w *tool) Run(_ context.Context, input json.RawMessage) (string, error) {
	w.ran++
	if string(input) != `{"what":"ünï/all"}` {
		w.t.Errorf("ran with %s", input)
	}
	return "wiped", nil
}

// A stream that is cut at any byte must never run the tool, nor pass for a
// whole answer; what was said before the cut must be kept.
func TestCutAtEveryByte(t *testing.T) {
	sample := ": hello\n\n" + delta(`{"role":"assistant","content":""}`) + content("Größe ") + strings.ReplaceAll(content("日本"), "\n", "\r\n") +
		delta(`{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"wipe","arguments":""}}]}`) +
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"what\":\"ünï"}}]}`) +
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"/all\"}"}}]}`)
	end := finish("tool_calls")
	whole := len(sample) + len(strings.TrimRight(end, "\n"))
	sample += end + usage + done

	var cut, asked atomic.Int64
	var abort atomic.Bool
	p := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if asked.Add(1) > 1 {
			_, _ = io.WriteString(w, content("Done.")+finish("stop")+done)
			return
		}
		_, _ = io.WriteString(w, sample[:cut.Load()])
		if abort.Load() {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	for n := range len(sample) + 1 {
		for _, hard := range []bool{false, true} {
			cut.Store(int64(n))
			asked.Store(0)
			abort.Store(hard)
			w, s := &tool{t: t}, &sink{}
			out, err := agent.Run(context.Background(), agent.Options{
				Provider: p, History: []agent.Message{{Role: agent.RoleUser, Text: "go"}}, Tools: []agent.Tool{w},
				Limits: agent.Limits{RetryBudget: -1},
			}, s)
			if err != nil {
				t.Fatalf("cut at %d, hard %v: %v", n, hard, err)
			}
			if n < whole && (w.ran != 0 || out.Finish != agent.FinishCut || !strings.HasPrefix("Größe 日本", s.text.String())) {
				t.Fatalf("cut at %d of %d, hard %v: ran %d, %+v, text %q", n, whole, hard, w.ran, out, s.text.String())
			}
			if n >= whole && (w.ran != 1 || out.Finish != agent.FinishStop || s.text.String() != "Größe 日本Done.") {
				t.Fatalf("whole at %d of %d, hard %v: ran %d, %+v, text %q", n, whole, hard, w.ran, out, s.text.String())
			}
		}
	}
}
