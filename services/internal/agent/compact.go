package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Compaction bounds what a model is shown of a long history. The history itself
// is never changed.
type Compaction struct {
	Off       bool       // an overflow is the client's to deal with
	Window    int        // tokens that the model takes; 0: by its name
	Threshold float64    // share of the window from which older messages are left out; 0: 0.7
	Summarize bool       // a model may be asked for the summary; otherwise it is cut out of the messages
	Used      int        // tokens, in and out, of the last call of the turn before; 0: unknown
	Earlier   *Compacted // what an earlier turn began; nil: nothing. Ignored if the history is another.
}

// Compacted says what a request leaves out of a history, for later turns to
// begin with.
type Compacted struct {
	Messages int    // from the beginning, that Summary stands for; what the user said first stays
	Clipped  int    // from the beginning, whose results of tools are shortened
	Digest   []byte // of the messages that are meant
	Summary  string
}

// CompactionNote tells people what was done.
type CompactionNote struct {
	Dropped       int // messages that the summary stands for now and did not before
	Before, After int // tokens, about
	Method        string
}

// Methods of a CompactionNote.
const (
	MethodSummary  = "summary"  // a model wrote the summary
	MethodExtract  = "extract"  // it was cut out of the messages
	MethodTruncate = "truncate" // so it was, and results of tools were shortened
)

const (
	defaultThreshold = 0.7
	compactLeast     = 6     // messages that a history must have
	compactKeep      = 4     // messages that always stay as they are
	clippedResult    = 2_000 // bytes that stay of a result
)

// Tiers of one request: early, when the window fills up; after a provider has
// refused it for its length; and once more after that.
const (
	tierEarly = 1 + iota
	tierOverflow
	tierLast
)

// takeUp begins with what an earlier turn has compacted, if it is of this history.
func (t *turn) takeUp() {
	c := t.Compaction.Earlier
	if c == nil || t.Compaction.Off || c.Messages < 0 || c.Clipped < 0 || max(c.Messages, c.Clipped) >= len(t.history) {
		return
	}
	if bytes.Equal(c.Digest, digest(t.history[:max(c.Messages, c.Clipped)])) {
		t.short = *c
	}
}

func digest(messages []Message) []byte {
	b, err := json.Marshal(messages)
	if err != nil {
		return nil // texts always encode
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// shown is the history as the next request has it.
func (t *turn) shown() []Message {
	return presented(condensed(t.history, t.short), t.blind)
}

// condensed is a history with its beginning in short: what the user said first,
// the summary of what followed, and the rest as it is. User and model take
// turns as before, and no call is parted from its result.
func condensed(history []Message, c Compacted) []Message {
	if c.Clipped > 0 {
		history = slices.Clone(history)
		for i := range history[:min(c.Clipped, len(history))] {
			history[i] = clipResults(history[i])
		}
	}
	if c.Messages == 0 {
		return history
	}
	left, rest := history[:c.Messages], history[c.Messages:]
	head := Message{Role: RoleUser}
	isUser := func(m Message) bool { return m.Role == RoleUser }
	first := slices.IndexFunc(left, isUser)
	if first >= 0 {
		head.Text, head.Parts = left[first].Text, slices.Clone(left[first].Content())
	}
	head.Parts = append(head.Parts, Part{Text: c.Summary})
	switch {
	case isUser(rest[0]):
		head.Text, head.Parts, rest = rest[0].Text, append(head.Parts, rest[0].Content()...), rest[1:]
	case !slices.ContainsFunc(rest, isUser):
		// The turn is so long that what it is about would be left out.
		for _, m := range slices.Backward(left[first+1:]) {
			if isUser(m) {
				head.Text, head.Parts = m.Text, append(head.Parts, m.Content()...)
				break
			}
		}
	}
	return append([]Message{head}, rest...)
}

func clipResults(m Message) Message {
	if !slices.ContainsFunc(m.Results, func(r ToolResult) bool { return len(r.Content) > clippedResult }) {
		return m
	}
	m.Results = slices.Clone(m.Results)
	for i, r := range m.Results {
		if len(r.Content) > clippedResult {
			m.Results[i].Content = clip(r.Content, clippedResult) +
				fmt.Sprintf("\n[%d more bytes are left out. Call the tool again for a part of them if you need it.]", len(r.Content)-clippedResult)
		}
	}
	return m
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func (t *turn) window() int {
	if t.Compaction.Window > 0 {
		return t.Compaction.Window
	}
	return WindowOf(t.Request.Model)
}

// size is about how many tokens the next request takes: what the last one took,
// as far as the provider said so, and what has come since; at least what it
// looks like.
func (t *turn) size(specs []ToolSpec) int {
	looks := estimateTools(t.Request.System, specs) + estimate(t.shown()...)
	if t.used == 0 {
		return looks
	}
	return max(looks, t.used+estimate(t.history[min(t.usedFor, len(t.history)):]...))
}

// compactEarly makes the request shorter before it is refused, once the window
// fills up.
func (t *turn) compactEarly(ctx context.Context, specs []ToolSpec) error {
	if t.Compaction.Off {
		return nil
	}
	threshold := t.Compaction.Threshold
	if threshold <= 0 {
		threshold = defaultThreshold
	}
	now := t.size(specs)
	if float64(now) <= threshold*float64(t.window()) {
		return nil
	}
	fixed := estimateTools(t.Request.System, specs)
	cut := t.cut(t.window()/2 - fixed)
	if cut-t.short.Messages < max(2, len(t.history)/10) { // it would save next to nothing
		return nil
	}
	return t.compact(ctx, tierEarly, cut, now, specs)
}

// compactAfter makes a request that was refused for its length shorter, more so
// at each tier. again says that it is worth another try.
func (t *turn) compactAfter(ctx context.Context, tier int, specs []ToolSpec) (again bool, err error) {
	if t.Compaction.Off {
		return false, nil
	}
	now := t.size(specs)
	cut := t.short.Messages
	switch {
	case tier == tierOverflow:
		cut = t.cut(estimate(t.shown()...) / 2)
	case len(t.history) > compactKeep:
		cut = max(cut, t.pairwise(len(t.history)-compactKeep))
	}
	if cut == t.short.Messages && (tier == tierOverflow || !t.clippable()) {
		return false, nil
	}
	return true, t.compact(ctx, tier, cut, now, specs)
}

// compactHarder goes through the tiers that are left until one makes a difference.
func (t *turn) compactHarder(ctx context.Context, tier *int, specs []ToolSpec) (again bool, err error) {
	for *tier < tierLast && !again && err == nil {
		*tier++
		again, err = t.compactAfter(ctx, *tier, specs)
	}
	return again, err
}

// clippable says that some result is still to be shortened.
func (t *turn) clippable() bool {
	return slices.ContainsFunc(t.history[max(t.short.Clipped, t.short.Messages):], func(m Message) bool {
		return slices.ContainsFunc(m.Results, func(r ToolResult) bool { return len(r.Content) > clippedResult })
	})
}

// cut is where a history is cut so that about 60 % of its messages go, and more
// if what stays is above a number of tokens.
func (t *turn) cut(most int) int {
	n := len(t.history)
	if n < compactLeast {
		return t.short.Messages
	}
	at := max(n*6/10, t.short.Messages)
	left := estimate(t.history[at:]...)
	for at < n-compactKeep && left > most {
		left -= estimate(t.history[at])
		at++
	}
	return max(t.pairwise(min(at, n-compactKeep)), t.short.Messages)
}

// pairwise moves a cut to before the calls whose results it would be at.
func (t *turn) pairwise(at int) int {
	for at > 0 && t.history[at].Role == RoleTool {
		at--
	}
	return at
}

// compact leaves the messages before a cut out of requests from now on.
func (t *turn) compact(ctx context.Context, tier, cut, before int, specs []ToolSpec) error {
	note := CompactionNote{Dropped: cut - t.short.Messages, Before: before, Method: MethodExtract}
	next := t.short
	if cut > t.short.Messages {
		more := t.history[t.short.Messages:cut]
		summary := ""
		if t.Compaction.Summarize && tier != tierLast {
			if err := t.sink.Progress(Progress{Phase: PhaseContext, Message: "Summarising older messages"}); err != nil {
				return err
			}
			if summary = t.summary(ctx, t.short.Summary, more); summary != "" {
				note.Method = MethodSummary
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if summary == "" {
			summary = extract(t.short.Summary, more)
		}
		next.Messages, next.Summary = cut, framed(summary)
	}
	if tier == tierLast {
		next.Clipped, note.Method = len(t.history), MethodTruncate
	}
	next.Digest = digest(t.history[:max(next.Messages, next.Clipped)])
	t.short, t.used = next, 0
	note.After = min(t.size(specs), before)
	t.Log.InfoContext(ctx, "history compacted", "tier", tier, "dropped", note.Dropped, "before", before, "after", note.After, "method", note.Method)
	return t.sink.Compacted(next, note)
}
