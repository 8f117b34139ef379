package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Cell is a piece of code to run.
type Cell struct {
	Number   int // shown in tracebacks
	Code     string
	Estimate time.Duration // how long it may take by the word of its author; 0: unknown
	Packages []string      // installed before it runs; each a ValidPackage
}

// Event is something that a running cell does. Exactly one field is set.
type Event struct {
	Stdout   string
	Stderr   string
	Progress *Progress
	Display  *Output
}

// Progress is a sign of life for people.
type Progress struct {
	Message string
	Percent *float64 // 0 to 100; nil: not said
}

// Kinds of an Output.
const (
	Displayed = "display_data"
	Resulted  = "execute_result" // the value of the last line
)

// Output is something that a cell shows: one value in several representations.
type Output struct {
	Kind string            `json:"kind"`
	Data map[string]string `json:"data"` // by MIME type: text as it is, everything else in base64
}

// Statuses of a Result.
const (
	StatusOK        = "ok"
	StatusError     = "error"     // the code raised an exception
	StatusTimeout   = "timeout"   // it ran too long
	StatusCancelled = "cancelled" // somebody stopped it
	StatusDied      = "died"      // its process ended under it
)

// Result is what a cell left. All texts are valid UTF-8.
type Result struct {
	Status    string
	Stdout    string
	Stderr    string
	Logs      string // of Python's logging, where the code set up nothing itself
	Error     string // traceback, or the reason why it was ended; empty: none
	Outputs   []Output
	Installed []string // packages that were installed for it
	Notice    string   // a sentence when variables of earlier cells are gone
	Took      time.Duration
}

// Cause ends a cell from outside: it is the cause to cancel a Run's context with.
type Cause struct {
	Status string // of the Result
	Text   string // a sentence for its Error
	// Lost says, as half a sentence, why variables are gone once the process is
	// ended; empty: nobody will miss them.
	Lost string
	Now  bool // end the process at once, there is no time to ask
}

func (c *Cause) Error() string { return "kernel: " + c.Text }

// causeOf is why ctx ended.
func causeOf(ctx context.Context) *Cause {
	var c *Cause
	if errors.As(context.Cause(ctx), &c) {
		return c
	}
	return &Cause{Status: StatusCancelled, Text: "Cancelled.", Lost: lostToCause}
}

// Start makes sure that the kernel has a process, and returns the version of its Python.
func (k *Kernel) Start(ctx context.Context, at Place) (python string, err error) {
	call, free, err := k.take(ctx)
	if err != nil {
		return "", err
	}
	defer free()
	p, err := k.ready(call, at)
	if err != nil {
		return "", err
	}
	return p.version, nil
}

// Run runs a cell and hands what it does to sink, one event at a time and in
// order; sink must not block. When ctx ends the cell is interrupted, and if it
// does not react its process is ended; both are a Result. An error means that
// the cell did not run, and is a fault if it is the caller's business.
func (k *Kernel) Run(ctx context.Context, at Place, c Cell, sink func(Event)) (Result, error) {
	call, free, err := k.take(ctx)
	if err != nil {
		return Result{}, err
	}
	defer free()
	p, err := k.ready(call, at)
	if err != nil {
		return Result{}, err
	}
	r := newRecording(k.engine.opt.Limits, sink)
	var notice string
	if k.gone != "" {
		notice = "Variables of earlier cells are gone: " + k.gone + "."
		k.gone = ""
		r.progress(notice, nil)
	}
	res := k.run(call, p, c, r)
	res.Notice = notice
	return res, nil
}

// run runs a cell with what it needs installed. A module that is missing is
// installed and the cell run once more, as if it had not run before.
func (k *Kernel) run(ctx context.Context, p *process, c Cell, r *recording) Result {
	var installed []string
	if len(c.Packages) > 0 {
		if problem := k.supply(ctx, p, c.Packages, r); problem != "" {
			if ctx.Err() != nil {
				return r.result(causeOf(ctx).Status, causeOf(ctx).Text)
			}
			return r.result(StatusError, problem)
		}
		installed = c.Packages
	}
	out := k.attempt(ctx, p, c, r)
	if names := packagesOf(out.missing); len(names) > 0 {
		if problem := k.supply(ctx, p, names, r); problem == "" {
			installed = append(installed, names...)
			r.again("Installed " + strings.Join(names, ", ") + "; running the cell again.")
			took := out.took
			out = k.attempt(ctx, p, c, r)
			out.took += took
		} else if ctx.Err() != nil {
			out.status, out.problem = causeOf(ctx).Status, causeOf(ctx).Text
		} else {
			out.problem += "\n\n" + problem
		}
	}
	res := r.result(out.status, out.problem)
	res.Took, res.Installed = out.took, installed
	return res
}

// supply installs packages for a cell; problem says why it could not.
func (k *Kernel) supply(ctx context.Context, p *process, packages []string, r *recording) (problem string) {
	list := strings.Join(packages, ", ")
	r.progress("Installing "+list+" …", nil)
	text, ok := k.engine.install(ctx, p.place, packages)
	if ok {
		return ""
	}
	return fmt.Sprintf("%s could not be installed: %s", list, text)
}

// outcome is how one attempt at a cell ended.
type outcome struct {
	status  string
	problem string
	missing []string // modules
	took    time.Duration
}

// attempt runs a cell once and watches over its time.
func (k *Kernel) attempt(ctx context.Context, p *process, c Cell, r *recording) (out outcome) {
	start := time.Now()
	defer func() { out.took = time.Since(start) }()
	total, silence := k.engine.opt.Times.window(c.Estimate)
	call, cancel := context.WithCancel(ctx)
	defer cancel() // ends calls of the model
	done := p.begin(call, c, r, silence/3)
	defer p.finish()
	for {
		left := min(total-time.Since(start), silence-p.quiet())
		if left <= 0 {
			return k.interrupt(p, done, overdue(total, silence, time.Since(start) >= total))
		}
		timer := time.NewTimer(left)
		select {
		case d := <-done:
			timer.Stop()
			return d.outcome()
		case <-p.exited:
			timer.Stop()
			return k.died(p, done)
		case <-ctx.Done():
			timer.Stop()
			return k.interrupt(p, done, causeOf(ctx))
		case <-timer.C:
		}
	}
}

// overdue is the cause of a cell that took too long, by name.
func overdue(total, silence time.Duration, ran bool) *Cause {
	c := &Cause{Status: StatusTimeout, Lost: "the last cell ran too long and had to be ended",
		Text: fmt.Sprintf("Timed out: the Python process gave no sign of life for %s.", seconds(silence))}
	if ran {
		c.Text = fmt.Sprintf("Timed out: the cell ran longer than %s. Estimate its time to allow it more, up to an hour.", seconds(total))
	}
	return c
}

func seconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Round(time.Millisecond).Seconds()) }

// died tells of a process that ended under a cell.
func (k *Kernel) died(p *process, done <-chan doneFrame) outcome {
	select {
	case d := <-done: // it was the last thing that it said
		return d.outcome()
	default:
	}
	k.end("its process ended by itself: "+p.ended(), 0)
	return outcome{status: StatusDied, problem: "The Python process ended by itself: " + p.ended() + ". Variables are gone."}
}

// interrupt ends a cell: politely at first, so that its variables stay.
func (k *Kernel) interrupt(p *process, done <-chan doneFrame, why *Cause) outcome {
	grace := k.engine.opt.Times.Grace
	if why.Now {
		grace = 0
	}
	// Code may catch one interrupt without knowing: it gets more of them.
	const times = 3
	for range times {
		if grace > 0 {
			p.interrupt()
		}
		timer := time.NewTimer(grace / times)
		select {
		case d := <-done:
			timer.Stop()
			return d.after(why)
		case <-p.exited:
		case <-timer.C:
		}
	}
	k.end(why.Lost, 0)
	if why.Status == StatusTimeout {
		return outcome{status: why.Status, problem: why.Text + " It did not react and its process was ended: variables are gone."}
	}
	return outcome{status: why.Status, problem: why.Text}
}

// outcome is that of a cell that came to its end.
func (d doneFrame) outcome() outcome {
	if d.Error == "" {
		return outcome{status: StatusOK}
	}
	return outcome{status: StatusError, problem: d.Error, missing: d.Missing}
}

// after is the outcome of a cell that was interrupted.
func (d doneFrame) after(why *Cause) outcome {
	switch {
	case !d.Interrupted: // it had come to its end already
		return d.outcome()
	case why.Status == StatusTimeout:
		return outcome{status: why.Status, problem: why.Text + " It was interrupted; variables are kept.\n\n" + d.Error}
	}
	return outcome{status: why.Status, problem: why.Text}
}

// Install installs packages. text says what happened, for people; an error means
// that it was not tried.
func (k *Kernel) Install(ctx context.Context, at Place, packages []string) (text string, ok bool, err error) {
	call, free, err := k.take(ctx)
	if err != nil {
		return "", false, err
	}
	defer free()
	py, err := k.engine.interpreter(call)
	if err != nil {
		return "", false, err
	}
	if err := k.engine.prepare(call, py, at); err != nil {
		return "", false, err
	}
	text, ok = k.engine.install(call, at, packages)
	return text, ok, nil
}
