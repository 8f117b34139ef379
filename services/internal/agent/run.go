package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Options of one turn.
type Options struct {
	Provider Provider
	Request  Request   // Model, System, MaxTokens, Temperature, TopP; the rest is Run's
	History  []Message // all that came before, the user's new message last
	Tools    []Tool    // names must differ
	// Client are the tools that the client runs, of names that no Tool has. An
	// answer that calls one ends the turn, once the other calls of the answer
	// have run; the results come with the next turn's history.
	Client []ToolSpec
	// Secrets, such as the provider's key, reach neither Sink nor history,
	// whoever sends them.
	Secrets []string
	Limits  Limits
	// Compaction says how a long history is made to fit.
	Compaction Compaction
	// Boundary is asked, between two calls of the model, for what the user has
	// said meanwhile: messages of RoleUser that are durable already. May be nil.
	Boundary func(ctx context.Context) ([]Message, error)
	// Verify asks a model whether the work is done before a turn with tools ends.
	Verify bool
	Log    *slog.Logger // nil discards: retries, panics of tools
	// Sleep waits between attempts, or fails when ctx ends. nil is a timer.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Limits bound a turn. A zero takes the default in brackets.
type Limits struct {
	Rounds          int           // model calls that may ask for tools (25); one more without tools then wraps up
	Continuations   int           // times that an answer cut short by the output budget is carried on (none)
	Tokens          int           // of all calls, in and out, after which no tool can be called any more (1,250,000)
	ErrorsOfOneTool int           // failures in a row after which a tool is off for the rest of the turn (5)
	NudgeAt         int           // failures in a row from which the model is told to change course (2)
	RetryBudget     time.Duration // waits for a provider in trouble, summed over the turn (30 s); below 0 no retries
	RateLimitBudget time.Duration // waits that the provider itself asks for, summed likewise (90 s); below 0 none
}

func (l Limits) withDefaults() Limits {
	or := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	or(&l.Rounds, 25)
	or(&l.Tokens, 1_250_000)
	or(&l.ErrorsOfOneTool, 5)
	or(&l.NudgeAt, 2)
	if l.RetryBudget == 0 {
		l.RetryBudget = 30 * time.Second
	}
	if l.RateLimitBudget == 0 {
		l.RateLimitBudget = 90 * time.Second
	}
	return l
}

// Outcome is how a turn ended. FinishTools says that calls wait for the client's
// results; anything else but FinishStop is an incomplete answer.
type Outcome struct {
	Finish Finish
	Usage  Usage // summed over all calls of the model
	Rounds int   // calls of the model, retries not counted
	Capped bool  // the round limit was hit and the answer is a wrap-up
	Asked  bool  // a tool ended the turn with a question for the user
	Used   int   // tokens, in and out, of the last call of the model; see Compaction.Used
}

// Notes go behind the system prompt: words of ours never pose as the user's.
const (
	noteWrapUp   = "The limit of this turn is reached and no tool can be called any more. Answer now from what you have: say what is done, what is not, and ask the user whether to go on."
	noteContinue = "Your last message was cut off by the output limit. Go on exactly where it stopped, without repeating or introducing anything."
)

// Run takes one turn to its end: it asks the model, runs the tools that the
// model calls, one after the other, and asks again, until the model answers
// without calling any. It blocks; cancelling ctx stops it, also inside a tool,
// and is answered with the cause of ctx. The Outcome is filled in beside an
// error, too. What the Sink was given through History is then still a history
// that can be continued.
//
// Errors are those of the Sink as they are, the cause of ctx, or an *Error.
func Run(ctx context.Context, opts Options, sink Sink) (Outcome, error) {
	t, err := newTurn(opts, sink)
	if err != nil {
		return Outcome{}, err
	}
	note := ""
	for t.out.Rounds < t.limits.Rounds && t.out.Usage.InputTokens+t.out.Usage.OutputTokens < t.limits.Tokens {
		answer, err := t.ask(ctx, note, t.specs)
		if err != nil {
			return t.out, err
		}
		note = ""
		switch {
		case len(answer.Calls) > 0 && answer.Finish != FinishCut && answer.Finish != FinishFilter:
			waits, err := t.dispatch(ctx, answer)
			if err != nil {
				return t.out, err
			}
			if waits {
				t.out.Finish = FinishTools
				return t.out, nil
			}
			if len(t.final) > 0 {
				t.out.Asked = true
				return t.endWith(strings.Join(t.final, "\n\n"))
			}
			if err := t.boundary(ctx); err != nil {
				return t.out, err
			}
		case answer.Finish == FinishLength && t.continued < t.limits.Continuations && !blank(answer.Text):
			t.continued++
			note = noteContinue
			if err := t.keep(Message{Role: RoleAssistant, Text: answer.Text, Trace: answer.Trace}); err != nil {
				return t.out, err
			}
		default:
			switch v := t.verify(ctx, answer); v.Status {
			case "INCOMPLETE":
				note = noteUnfinished(v.Reason)
				if err := t.keep(Message{Role: RoleAssistant, Text: answer.Text, Trace: answer.Trace}); err != nil {
					return t.out, err
				}
				continue
			case "STUCK":
				if err := t.sink.Text("\n\n" + v.Reason); err != nil {
					return t.out, err
				}
				answer.Text += "\n\n" + v.Reason
			}
			return t.end(answer)
		}
	}
	t.out.Capped = true
	answer, err := t.ask(ctx, noteWrapUp, nil)
	if err != nil {
		return t.out, err
	}
	return t.end(answer)
}

// turn is the state of one Run.
type turn struct {
	Options
	limits    Limits
	sink      Sink
	history   []Message
	tools     map[string]Tool
	client    map[string]bool // tools that the client runs
	specs     []ToolSpec
	failures  map[string]int  // in a row, by tool name
	announced map[string]bool // calls of the present answer that the sink knows of
	continued int
	waited    map[bool]time.Duration // by whether the provider asked for the wait
	final     []string               // what tools end the turn with
	spoke     bool                   // some text has reached the sink
	blind     bool                   // the model refuses pictures
	short     Compacted              // what requests leave out
	used      int                    // tokens of the last call, 0 if unknown
	usedFor   int                    // messages of the history that it covered
	worked    bool                   // tools have run
	verified  int                    // times
	out       Outcome
}

// boundary takes in what the user has said while tools ran.
func (t *turn) boundary(ctx context.Context) error {
	t.worked = true
	if t.Boundary == nil {
		return nil
	}
	said, err := t.Boundary(ctx)
	t.history = append(t.history, said...)
	return err
}

func newTurn(opts Options, sink Sink) (*turn, error) {
	t := &turn{
		Options: opts, limits: opts.Limits.withDefaults(), sink: sink,
		tools: make(map[string]Tool, len(opts.Tools)), client: map[string]bool{}, failures: map[string]int{},
		announced: map[string]bool{}, waited: map[bool]time.Duration{},
	}
	if t.Log == nil {
		t.Log = slog.New(slog.DiscardHandler)
	}
	if t.Sleep == nil {
		t.Sleep = sleep
	}
	for _, tool := range opts.Tools {
		spec := tool.Spec()
		if _, dup := t.tools[spec.Name]; dup {
			return nil, fmt.Errorf("agent: two tools are named %q", spec.Name)
		}
		t.tools[spec.Name] = tool
		t.specs = append(t.specs, spec)
	}
	for _, spec := range opts.Client {
		if _, dup := t.tools[spec.Name]; dup || t.client[spec.Name] {
			return nil, fmt.Errorf("agent: two tools are named %q", spec.Name)
		}
		t.client[spec.Name] = true
		t.specs = append(t.specs, spec)
	}
	t.history = Repair(t.hoist(opts.History))
	t.takeUp()
	t.used, t.usedFor = opts.Compaction.Used, len(t.history)
	for t.usedFor > 0 && t.history[t.usedFor-1].Role == RoleUser { // what this turn was asked
		t.usedFor--
	}
	return t, nil
}

// hoist moves instructions from among the messages behind the system prompt:
// not every provider takes them where they stand.
func (t *turn) hoist(history []Message) []Message {
	rest := make([]Message, 0, len(history))
	for _, m := range history {
		if m.Role != RoleSystem {
			rest = append(rest, m)
			continue
		}
		if !blank(m.Text) {
			t.Request.System = strings.TrimLeft(t.Request.System+"\n\n"+m.Text, "\n")
		}
	}
	return rest
}

// ask calls the model once, or more often while it fails before anything of the
// answer was shown. On an error the text that was shown is kept in the history.
func (t *turn) ask(ctx context.Context, note string, specs []ToolSpec) (Completion, error) {
	if err := t.compactEarly(ctx, specs); err != nil {
		return Completion{}, err
	}
	req := t.Request
	req.Messages, req.Tools = t.shown(), specs
	if len(specs) == 0 || t.out.Rounds > 0 {
		// What must be called has been called: asking for it again would never end.
		req.ToolChoice = ToolChoice{}
	}
	if note != "" {
		req.System = strings.TrimLeft(req.System+"\n\n"+note, "\n")
	}
	if err := t.sink.Progress(Progress{Phase: PhasePlanning, Message: "Thinking"}); err != nil {
		return Completion{}, err
	}
	t.out.Rounds++
	clear(t.announced)
	for attempt, tier := 0, tierEarly; ; attempt++ {
		if ctx.Err() != nil {
			return Completion{}, context.Cause(ctx)
		}
		e := newEmitter(t, len(specs) > 0)
		answer, err := t.Provider.Stream(ctx, req, e.emit)
		t.out.Usage.add(answer.Usage)
		e.flush()
		if errors.Is(e.err, errStop) {
			t.spoke = true // nothing at all, perhaps, but as asked
			return Completion{Text: e.said.String(), Finish: FinishStop}, nil
		}
		if e.err != nil {
			return Completion{}, e.err
		}
		e.clean(&answer)
		if err == nil {
			answer.Calls = uniqueCalls(answer.Calls)
			t.used, t.usedFor = answer.Usage.InputTokens+answer.Usage.OutputTokens, len(t.history)+1 // with the answer
			t.out.Used = t.used
			return answer, nil
		}
		failure := asError(err)
		if !e.shown {
			if t.cannotSee(failure) {
				req.Messages = t.shown()
				continue
			}
			if failure.Code == CodeContext && ctx.Err() == nil {
				again, err := t.compactHarder(ctx, &tier, specs)
				if err != nil {
					return Completion{}, err
				}
				if again {
					req.Messages = t.shown()
					continue
				}
			}
			again, err := t.backOff(ctx, attempt, failure)
			if err != nil {
				return Completion{}, err
			}
			if again {
				continue
			}
		}
		if err := t.keepText(answer); err != nil {
			return Completion{}, err
		}
		if ctx.Err() != nil {
			return Completion{}, context.Cause(ctx)
		}
		return Completion{}, failure
	}
}

// cannotSee reports whether a model refused what tools attached to results. It
// is then asked without; what the user attached is not ours to leave out.
func (t *turn) cannotSee(failure *Error) bool {
	refused := failure.Code == CodeUnsupported || failure.Code == CodeImage
	if t.blind || !refused || !slices.ContainsFunc(t.history, hasAttached) {
		return false
	}
	t.blind = true
	return true
}

func hasAttached(m Message) bool {
	return slices.ContainsFunc(m.Results, func(r ToolResult) bool { return len(r.Parts) > 0 })
}

// presented is a history as providers take it: what tools attached to results
// follows them in a user's message, since not every API has a place for it. A
// blind model is told that there is something.
func presented(history []Message, blind bool) []Message {
	if !slices.ContainsFunc(history, hasAttached) {
		return history
	}
	var out []Message
	for _, m := range history {
		out = append(out, m)
		var parts []Part
		for _, r := range m.Results {
			switch {
			case len(r.Parts) > 0 && blind:
				parts = append(parts, Part{Text: "A picture that a tool returned is left out here, since you cannot see pictures. The tool said: " + r.Content})
			case len(r.Parts) > 0:
				parts = append(append(parts, Part{Text: "What the tool returned: " + r.Content}), r.Parts...)
			}
		}
		if parts != nil {
			out = append(out, Message{Role: RoleUser, Parts: parts})
		}
	}
	return out
}

// end closes the turn with the model's last answer. Its calls, if any, are not run.
func (t *turn) end(answer Completion) (Outcome, error) {
	t.out.Finish = answer.Finish
	if answer.Finish == FinishTools {
		t.out.Finish = FinishStop // calls in a wrap-up, where none were offered
	}
	if err := t.keepText(answer); err != nil {
		return t.out, err
	}
	if t.out.Finish == FinishStop && !t.spoke {
		return t.out, NewError(Error{Message: "The model gave no answer. Try again."}, errors.New("agent: empty completion"))
	}
	return t.out, nil
}

// endWith closes the turn with words of a tool.
func (t *turn) endWith(text string) (Outcome, error) {
	t.out.Finish = FinishStop
	if err := t.sink.Text(text); err != nil {
		return t.out, err
	}
	return t.out, t.keep(Message{Role: RoleAssistant, Text: text})
}

// keepText keeps what an answer says, and ends the calls that it began: they
// are not going to be run.
func (t *turn) keepText(answer Completion) error {
	for _, c := range answer.Calls {
		if !t.announced[c.ID] || t.client[c.Name] {
			continue
		}
		r := ToolResult{ID: c.ID, Content: interrupted, IsError: true}
		if err := t.sink.ToolResult(c, r, 0); err != nil {
			return err
		}
	}
	return t.keep(Message{Role: RoleAssistant, Text: answer.Text, Trace: answer.Trace})
}

// keep adds a message to the history, durably, unless it is empty.
func (t *turn) keep(m Message) error {
	if empty(m) {
		return nil
	}
	if err := t.sink.History(m); err != nil {
		return err
	}
	t.history = append(t.history, m)
	return nil
}

func (u *Usage) add(more Usage) {
	u.InputTokens += more.InputTokens
	u.CachedTokens += more.CachedTokens
	u.OutputTokens += more.OutputTokens
	u.ReasoningTokens += more.ReasoningTokens
}

// emitter passes the pieces of one answer on to the sink, without secrets.
type emitter struct {
	*turn
	calls           bool // tools were offered
	shown           bool // something has reached the sink, so the call cannot be repeated
	text, reasoning *redactor
	stop            stopper
	said            strings.Builder // text as it was shown
	err             error           // of the sink
}

func newEmitter(t *turn, calls bool) *emitter {
	return &emitter{turn: t, calls: calls, text: newRedactor(t.Secrets), reasoning: newRedactor(t.Secrets),
		stop: stopper{sequences: t.Request.Stop}}
}

func (e *emitter) emit(d Delta) error {
	switch {
	case e.err != nil:
	case d.Text != "":
		e.think(e.reasoning.rest())
		e.say(e.text.next(d.Text))
	case d.Reasoning != "":
		e.say(e.text.rest())
		e.show(e.stop.rest())
		e.think(e.reasoning.next(d.Reasoning))
	case d.CallStart != nil && e.calls:
		if e.flush(); e.err == nil {
			e.shown = true
			e.err = e.announce(*d.CallStart)
		}
	}
	return e.err
}

// flush shows what was held back: nothing of its kind follows.
func (e *emitter) flush() {
	e.think(e.reasoning.rest())
	e.say(e.text.rest())
	e.show(e.stop.rest())
}

func (e *emitter) say(text string) {
	if text == "" || e.err != nil {
		return
	}
	text, hit := e.stop.next(text)
	e.show(text)
	if hit && e.err == nil {
		e.err = errStop
	}
}

func (e *emitter) show(text string) {
	if text == "" || e.err != nil {
		return
	}
	e.said.WriteString(text)
	e.shown, e.spoke = true, true
	e.err = e.sink.Text(text)
}

func (e *emitter) think(text string) {
	if text == "" || e.err != nil {
		return
	}
	e.shown = true
	e.err = e.sink.Reasoning(text)
}

// clean takes secrets out of what a whole answer has beside its pieces.
func (e *emitter) clean(answer *Completion) {
	if len(e.text.secrets) == 0 {
		return
	}
	answer.Text = e.said.String()
	for i := range answer.Calls {
		answer.Calls[i].Input = e.text.whole(answer.Calls[i].Input)
	}
	if t := answer.Trace; t != nil && e.text.whole(string(t.Data)) != string(t.Data) {
		answer.Trace = nil // it would not be what was signed
	}
}

func (t *turn) announce(c ToolCall) error {
	if t.announced[c.ID] {
		return nil
	}
	t.announced[c.ID] = true
	if t.client[c.Name] {
		return nil // it shows as a whole, once it is one
	}
	return t.sink.ToolStart(c.ID, c.Name)
}
