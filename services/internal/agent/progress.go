package agent

import (
	"context"
	"sync"
)

// Phases that Run itself reports. Tools have their own.
const (
	PhasePlanning    = "planning"
	PhaseToolStart   = "tool_start"
	PhaseToolDone    = "tool_done"
	PhaseRateLimited = "rate_limited"
	PhaseContext     = "context"
)

// Narrator is a Tool that reports its phases itself, from its start to its end:
// Run adds no tool_start and tool_done around it.
type Narrator interface {
	Tool
	Narrates()
}

type reporterKey struct{}

// Report passes a sign of life from inside a running tool to the turn's Sink;
// ctx is the one that the tool was given, or one derived from it. It may be
// called from any goroutine of the tool. Once the tool has returned, or outside
// of a turn, it does nothing. An empty ToolUseID is filled in.
func Report(ctx context.Context, p Progress) {
	if r, ok := ctx.Value(reporterKey{}).(*reporter); ok {
		r.report(p)
	}
}

// Show gives what people see as the result of the running tool, where that is
// more than the text it returns to the model, such as a cell with its outputs.
// The last call counts. See Report for ctx.
func Show(ctx context.Context, view string) {
	if r, ok := ctx.Value(reporterKey{}).(*reporter); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.view = view
	}
}

// Attach adds images or files to the result that the model gets beside the text
// that the running tool returns. See Report for ctx.
func Attach(ctx context.Context, parts ...Part) {
	if r, ok := ctx.Value(reporterKey{}).(*reporter); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.parts = append(r.parts, parts...)
	}
}

// reporter stands between a tool and the Sink for the length of one call.
type reporter struct {
	sink   Sink
	id     string
	cancel context.CancelFunc // ends the tool when the sink has failed

	mu     sync.Mutex
	closed bool
	err    error
	view   string
	parts  []Part
}

func (r *reporter) report(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if p.ToolUseID == "" {
		p.ToolUseID = r.id
	}
	if r.err = r.sink.Progress(p); r.err != nil {
		r.closed = true
		r.cancel()
	}
}

// close waits for a report under way and returns the sink's failure, if any.
func (r *reporter) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.err
}
