package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

// script is a Provider that plays one answer per call.
type script struct {
	answers []step
	seen    []Request
}

type step struct {
	Completion
	err    error
	before func() // runs when the call arrives
	quiet  bool   // emits nothing
}

func (s *script) Stream(ctx context.Context, req Request, emit func(Delta) error) (Completion, error) {
	req.Messages = append([]Message(nil), req.Messages...)
	s.seen = append(s.seen, req)
	if len(s.seen) > len(s.answers) {
		return Completion{}, errors.New("script is over")
	}
	a := s.answers[len(s.seen)-1]
	if a.before != nil {
		a.before()
	}
	if a.quiet {
		return a.Completion, a.err
	}
	for word := range strings.SplitAfterSeq(a.Text, " ") {
		if word == "" {
			continue
		}
		if err := emit(Delta{Text: word}); err != nil {
			return a.Completion, err
		}
	}
	for _, c := range a.Calls {
		if err := emit(Delta{CallStart: &ToolCall{ID: c.ID, Name: c.Name}}); err != nil {
			return a.Completion, err
		}
	}
	return a.Completion, a.err
}

func says(text string) step {
	return step{Completion: Completion{Text: text, Finish: FinishStop, Usage: Usage{InputTokens: 10, OutputTokens: 1}}}
}

func calls(name string, inputs ...string) step {
	s := step{Completion: Completion{Finish: FinishTools}}
	for _, in := range inputs {
		s.Calls = append(s.Calls, ToolCall{ID: fmt.Sprintf("%s_%d", name, len(s.Calls)), Name: name, Input: in})
	}
	return s
}

// tape is a Sink that writes down what it is told.
type tape struct {
	lines   []string
	history []Message
	fail    string // prefix of the line at which to fail
}

var errSink = errors.New("sink is broken")

func (s *tape) add(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	s.lines = append(s.lines, line)
	if s.fail != "" && strings.HasPrefix(line, s.fail) {
		return errSink
	}
	return nil
}

func (s *tape) Text(d string) error             { return s.add("text %s", d) }
func (s *tape) Reasoning(d string) error        { return s.add("reasoning %s", d) }
func (s *tape) Progress(p Progress) error       { return s.add("%s %s %s", p.Phase, p.ToolUseID, p.Message) }
func (s *tape) ToolStart(id, name string) error { return s.add("start %s %s", id, name) }
func (s *tape) ToolInput(c ToolCall) error      { return s.add("input %s %s", c.ID, c.Input) }
func (s *tape) ClientCall(c ToolCall) error     { return s.add("client %s %s", c.ID, c.Input) }
func (s *tape) ToolResult(c ToolCall, r ToolResult, _ time.Duration) error {
	return s.add("result %s %v %s", c.ID, r.IsError, r.Content)
}
func (s *tape) History(m Message) error {
	s.history = append(s.history, m)
	return s.add("history %s", m.Role)
}

func (s *tape) Compacted(_ Compacted, n CompactionNote) error {
	return s.add("compacted %d %s", n.Dropped, n.Method)
}

// deed is a Tool made of a function.
type deed struct {
	name string
	run  func(ctx context.Context, input string) (string, error)
	ran  *int
}

func (d deed) Spec() ToolSpec {
	return ToolSpec{Name: d.name, Schema: json.RawMessage(`{"type":"object"}`)}
}

func (d deed) Run(ctx context.Context, input json.RawMessage) (string, error) {
	if d.ran != nil {
		*d.ran++
	}
	return d.run(ctx, string(input))
}

func echo(ran *int) Tool {
	return deed{name: "echo", ran: ran, run: func(_ context.Context, in string) (string, error) { return "echo " + in, nil }}
}

func failing(ran *int) Tool {
	return deed{name: "bad", ran: ran, run: func(context.Context, string) (string, error) { return "", errors.New("no luck") }}
}

func ask(text string) []Message { return []Message{{Role: RoleUser, Text: text}} }

// settled checks what must hold of every turn: the history that was kept is one
// that Repair has nothing to do on.
func settled(t *testing.T, before []Message, s *tape) {
	t.Helper()
	all := append(append([]Message(nil), before...), s.history...)
	if !reflect.DeepEqual(Repair(all), all) {
		t.Errorf("the history is left broken: %+v", s.history)
	}
}

func TestTurnWithTools(t *testing.T) {
	ran := 0
	first := calls("echo", `{"a":1}`, `{"b":2}`)
	first.Text = "Let me see."
	p := &script{answers: []step{first, says("All done.")}}
	s := &tape{}
	out, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: []Tool{echo(&ran)},
		Request: Request{Model: "m", System: "sys"}}, s)
	if err != nil {
		t.Fatal(err)
	}
	want := `planning  Thinking
text Let 
text me 
text see.
start echo_0 echo
start echo_1 echo
history assistant
input echo_0 {"a":1}
tool_start echo_0 echo
tool_done echo_0 echo
result echo_0 false echo {"a":1}
input echo_1 {"b":2}
tool_start echo_1 echo
tool_done echo_1 echo
result echo_1 false echo {"b":2}
history tool
planning  Thinking
text All 
text done.
history assistant`
	if got := strings.Join(s.lines, "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if out != (Outcome{Finish: FinishStop, Rounds: 2, Usage: Usage{InputTokens: 10, OutputTokens: 1}, Used: 11}) || ran != 2 {
		t.Errorf("outcome %+v, ran %d", out, ran)
	}
	second := p.seen[1]
	if len(second.Messages) != 3 || second.Messages[1].Text != "Let me see." || len(second.Messages[2].Results) != 2 ||
		second.System != "sys" || second.Model != "m" || len(second.Tools) != 1 {
		t.Errorf("second request: %+v", second)
	}
	settled(t, ask("go"), s)
}

func TestBrokenCallsAreNotRun(t *testing.T) {
	for name, input := range map[string]string{
		"cut": `{"a":"x`, "empty": ``, "array": `[1]`, "text": `"{}"`, "trailing": `{} {}`, "null": "null",
	} {
		t.Run(name, func(t *testing.T) {
			ran := 0
			p := &script{answers: []step{calls("echo", input), calls("echo", `{}`), says("ok")}}
			s := &tape{}
			_, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: []Tool{echo(&ran)}}, s)
			if err != nil || ran != 1 {
				t.Fatalf("ran %d, %v", ran, err)
			}
			r := s.history[1].Results[0]
			if !r.IsError || !strings.Contains(r.Content, "same call again") {
				t.Errorf("result %+v", r)
			}
			if strings.Contains(strings.Join(s.lines, "\n"), "input echo_0 "+input+"\n") {
				t.Error("input of a cut call was announced as complete")
			}
			settled(t, ask("go"), s)
		})
	}
}

func TestLengthCutCallAsksForLess(t *testing.T) {
	cut := calls("echo", `{"a":"xx`)
	cut.Finish = FinishLength
	p := &script{answers: []step{cut, says("ok")}}
	s := &tape{}
	if _, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: []Tool{echo(nil)}}, s); err != nil {
		t.Fatal(err)
	}
	if c := s.history[1].Results[0].Content; !strings.Contains(c, "output limit") {
		t.Errorf("result %q", c)
	}
}

func TestUnknownToolAndPanic(t *testing.T) {
	boom := deed{name: "boom", run: func(context.Context, string) (string, error) { panic("secret detail") }}
	p := &script{answers: []step{calls("nope", `{}`), calls("boom", `{}`), says("ok")}}
	s := &tape{}
	var log bytes.Buffer
	_, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: []Tool{boom, echo(nil)},
		Log: slog.New(slog.NewTextHandler(&log, nil))}, s)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.history[1].Results[0].Content; !strings.Contains(c, "boom, echo") {
		t.Errorf("unknown tool: %q", c)
	}
	if r := s.history[3].Results[0]; !r.IsError || strings.Contains(r.Content, "secret") || !strings.Contains(log.String(), "secret detail") {
		t.Errorf("panic: %+v, log %q", r, log.String())
	}
}

func TestNudgeAndBreaker(t *testing.T) {
	ran := 0
	p := &script{}
	for range 7 {
		p.answers = append(p.answers, calls("bad", `{}`))
	}
	p.answers = append(p.answers, says("gave up"))
	s := &tape{}
	if _, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: []Tool{failing(&ran)}}, s); err != nil {
		t.Fatal(err)
	}
	if ran != 5 {
		t.Errorf("ran %d times", ran)
	}
	for i, want := range []string{"no luck", "failed 2 times", "failed 3 times", "failed 4 times", "now failed 5 times", "is off", "is off"} {
		if c := s.history[2*i+1].Results[0].Content; !strings.Contains(c, want) || i == 0 && c != "no luck" {
			t.Errorf("failure %d: %q", i+1, c)
		}
	}
	if !strings.Contains(strings.Join(s.lines, "|"), "|result bad_0 true no luck|") {
		t.Error("the sink did not get the bare result")
	}
}

func TestSuccessResetsFailures(t *testing.T) {
	n := 0
	flaky := deed{name: "flaky", run: func(context.Context, string) (string, error) {
		if n++; n%2 == 1 {
			return "", errors.New("no luck")
		}
		return "fine", nil
	}}
	p := &script{}
	for range 8 {
		p.answers = append(p.answers, calls("flaky", `{}`))
	}
	p.answers = append(p.answers, says("ok"))
	s := &tape{}
	if _, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: []Tool{flaky}}, s); err != nil {
		t.Fatal(err)
	}
	for _, m := range s.history {
		for _, r := range m.Results {
			if strings.Contains(r.Content, "in a row") {
				t.Errorf("nudged: %q", r.Content)
			}
		}
	}
}

func TestRoundLimitWrapsUp(t *testing.T) {
	ran := 0
	last := says("Here is what I have.")
	last.Calls = []ToolCall{{ID: "x", Name: "echo", Input: "{}"}}
	last.Finish = FinishTools
	p := &script{answers: []step{calls("echo", `{}`), calls("echo", `{}`), last}}
	s := &tape{}
	out, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: []Tool{echo(&ran)},
		Limits: Limits{Rounds: 2}, Request: Request{System: "sys"}}, s)
	if err != nil || !out.Capped || out.Finish != FinishStop || out.Rounds != 3 || ran != 2 {
		t.Fatalf("%+v, ran %d, %v", out, ran, err)
	}
	req := p.seen[2]
	if len(req.Tools) != 0 || !strings.HasPrefix(req.System, "sys\n\n") || !strings.Contains(req.System, "limit of this turn") {
		t.Errorf("request %+v", req)
	}
	for _, m := range req.Messages[1:] {
		if m.Role == RoleUser {
			t.Errorf("a note poses as the user: %q", m.Text)
		}
	}
	settled(t, ask("go"), s)
}

func TestCutOffAnswerIsKeptAndNothingRuns(t *testing.T) {
	ran := 0
	cut := calls("echo", `{"whole":true}`)
	cut.Text, cut.Finish = "Half an ans", FinishCut
	s := &tape{}
	out, err := Run(context.Background(), Options{Provider: &script{answers: []step{cut}}, History: ask("go"), Tools: []Tool{echo(&ran)}}, s)
	if err != nil || out.Finish != FinishCut || ran != 0 {
		t.Fatalf("%+v, ran %d, %v", out, ran, err)
	}
	if len(s.history) != 1 || s.history[0].Text != "Half an ans" || s.history[0].Calls != nil {
		t.Errorf("history %+v", s.history)
	}
	if all := strings.Join(s.lines, "\n"); !strings.Contains(all, "start echo_0") || !strings.Contains(all, "result echo_0 true") {
		t.Errorf("the call that was begun is left open:\n%s", all)
	}
}

func TestContinuations(t *testing.T) {
	half := says("one two ")
	half.Finish = FinishLength
	p := &script{answers: []step{half, half, half}}
	s := &tape{}
	out, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Limits: Limits{Continuations: 1}}, s)
	if err != nil || out.Finish != FinishLength || out.Rounds != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if !strings.Contains(p.seen[1].System, "exactly where it stopped") || len(s.history) != 2 {
		t.Errorf("system %q, history %+v", p.seen[1].System, s.history)
	}
}

func TestSilentModelIsAnError(t *testing.T) {
	_, err := Run(context.Background(), Options{Provider: &script{answers: []step{says("")}}, History: ask("go")}, &tape{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeUnexpected {
		t.Errorf("got %v", err)
	}
}

func TestCancelBetweenAndInsideCalls(t *testing.T) {
	stop := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(context.Background())
	entered := 0
	slow := deed{name: "slow", ran: &entered, run: func(ctx context.Context, _ string) (string, error) {
		cancel(stop)
		<-ctx.Done()
		return "", fmt.Errorf("internal: %w", ctx.Err())
	}}
	s := &tape{}
	_, err := Run(ctx, Options{Provider: &script{answers: []step{calls("slow", `{}`, `{}`)}}, History: ask("go"), Tools: []Tool{slow}}, s)
	if !errors.Is(err, stop) || entered != 1 {
		t.Fatalf("%v, entered %d", err, entered)
	}
	for _, r := range s.history[1].Results {
		if !r.IsError || r.Content != interrupted {
			t.Errorf("result %+v", r)
		}
	}
	settled(t, ask("go"), s)
}

func TestCancelInsideStreamKeepsText(t *testing.T) {
	stop := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(context.Background())
	partial := says("so far so")
	partial.before = func() { cancel(stop) }
	partial.err = context.Canceled
	s := &tape{}
	_, err := Run(ctx, Options{Provider: &script{answers: []step{partial}}, History: ask("go")}, s)
	if !errors.Is(err, stop) || len(s.history) != 1 || s.history[0].Text != "so far so" {
		t.Errorf("%v, history %+v", err, s.history)
	}
}

func TestSinkErrorsEndTheTurn(t *testing.T) {
	for _, at := range []string{"planning", "text", "start", "history assistant", "input", "tool_start", "noise", "tool_done", "result", "history tool"} {
		t.Run(at, func(t *testing.T) {
			noisy := deed{name: "echo", run: func(ctx context.Context, _ string) (string, error) {
				Report(ctx, Progress{Phase: "noise"})
				return "", ctx.Err()
			}}
			first := calls("echo", `{}`)
			first.Text = "hm"
			s := &tape{fail: at}
			_, err := Run(context.Background(), Options{Provider: &script{answers: []step{first, says("ok")}}, History: ask("go"), Tools: []Tool{noisy}}, s)
			if err != errSink {
				t.Fatalf("got %v", err)
			}
			if last := s.lines[len(s.lines)-1]; !strings.HasPrefix(last, at) {
				t.Errorf("the sink was called again after it had failed: %q", last)
			}
		})
	}
}

type narrator struct{ deed }

func (narrator) Narrates() {}

func TestReport(t *testing.T) {
	var kept context.Context
	tool := narrator{deed{name: "pad", run: func(ctx context.Context, _ string) (string, error) {
		kept = ctx
		done := make(chan struct{})
		go func() { // a tool may report from a goroutine of its own
			Report(ctx, Progress{Phase: "scratchpad_start", Message: "one"})
			close(done)
		}()
		<-done
		Report(ctx, Progress{Phase: "scratchpad_done", Message: "two", ToolUseID: "other"})
		return "fine", nil
	}}}
	s := &tape{}
	if _, err := Run(context.Background(), Options{Provider: &script{answers: []step{calls("pad", `{}`), says("ok")}}, History: ask("go"), Tools: []Tool{tool}}, s); err != nil {
		t.Fatal(err)
	}
	Report(kept, Progress{Phase: "late"})
	Report(context.Background(), Progress{Phase: "stray"})
	all := strings.Join(s.lines, "\n")
	if !strings.Contains(all, "history assistant\ninput pad_0 {}\nscratchpad_start pad_0 one\nscratchpad_done other two\nresult pad_0 false fine\n") ||
		strings.Contains(all, "late") || strings.Contains(all, "tool_start") {
		t.Errorf("got:\n%s", all)
	}
}

func TestTwoToolsOfOneName(t *testing.T) {
	if _, err := Run(context.Background(), Options{Provider: &script{}, Tools: []Tool{echo(nil), echo(nil)}}, &tape{}); err == nil {
		t.Error("no error")
	}
}

// What a tool attaches reaches the model behind the results, and stays in the history.
func TestRunAttaches(t *testing.T) {
	picture := Part{Image: &Image{MIME: "image/png", Data: []byte("png")}}
	var seen [][]Message
	p := &asksTool{seen: &seen}
	s := &tape{}
	if _, err := Run(t.Context(), Options{Provider: p, History: []Message{{Role: RoleUser, Text: "look"}}, Tools: []Tool{attacher{picture}}}, s); err != nil {
		t.Fatal(err)
	}
	last := seen[1]
	if n := len(last); n != 4 || last[n-1].Role != RoleUser || len(last[n-1].Parts) != 2 || last[n-1].Parts[1].Image == nil {
		t.Errorf("the model sees %+v", last)
	}
	if r := s.history[1].Results; len(r) != 1 || len(r[0].Parts) != 1 || r[0].Content != "a picture" {
		t.Errorf("history %+v", s.history)
	}
}

type asksTool struct{ seen *[][]Message }

func (p *asksTool) Stream(_ context.Context, req Request, emit func(Delta) error) (Completion, error) {
	*p.seen = append(*p.seen, req.Messages)
	if len(*p.seen) == 1 {
		return Completion{Finish: FinishTools, Calls: []ToolCall{{ID: "c1", Name: "look", Input: "{}"}}}, nil
	}
	return Completion{Text: "I see", Finish: FinishStop}, emit(Delta{Text: "I see"})
}

type attacher struct{ part Part }

func (attacher) Spec() ToolSpec {
	return ToolSpec{Name: "look", Schema: json.RawMessage(`{"type":"object"}`)}
}
func (a attacher) Run(ctx context.Context, _ json.RawMessage) (string, error) {
	Attach(ctx, a.part)
	return "a picture", nil
}

// A model that refuses pictures is asked without those of tools, and told so.
func TestBlindModelIsAskedWithoutPictures(t *testing.T) {
	look := calls("look", "{}")
	refusal := step{quiet: true, err: NewError(Error{Code: CodeUnsupported}, nil)}
	p := &script{answers: []step{look, refusal, says("I cannot see it.")}}
	s := &tape{}
	tools := []Tool{attacher{Part{Image: &Image{MIME: "image/png", Data: []byte("p")}}}}
	if _, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Tools: tools}, s); err != nil {
		t.Fatal(err)
	}
	pictures := func(r Request) (n int, text string) {
		for _, m := range r.Messages {
			for _, part := range m.Parts {
				if text += part.Text; part.Image != nil {
					n++
				}
			}
		}
		return n, text
	}
	if n, _ := pictures(p.seen[1]); n != 1 {
		t.Errorf("%d pictures before the refusal", n)
	}
	if n, text := pictures(p.seen[2]); n != 0 || !strings.Contains(text, "left out") || !strings.Contains(text, "a picture") {
		t.Errorf("%d pictures, %q after it", n, text)
	}
	// What the user attached is refused in words.
	p = &script{answers: []step{refusal}}
	history := []Message{{Role: RoleUser, Parts: []Part{{Image: &Image{MIME: "image/png", Data: []byte("p")}}}}}
	_, err := Run(context.Background(), Options{Provider: p, History: history, Tools: tools}, &tape{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeUnsupported {
		t.Errorf("got %v", err)
	}
}
