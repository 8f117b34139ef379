package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// longHistory is one as turns leave it: questions, answers, calls with their
// results, and turns that ended without an answer.
func longHistory(rng *rand.Rand) []Message {
	var h []Message
	for i := range 1 + rng.IntN(12) {
		h = append(h, Message{Role: RoleUser, Text: fmt.Sprintf("question %d %s", i, strings.Repeat("x", rng.IntN(400)))})
		for range rng.IntN(4) {
			m := Message{Role: RoleAssistant}
			var results []ToolResult
			for range 1 + rng.IntN(3) {
				id := fmt.Sprint("call", len(h), len(m.Calls))
				m.Calls = append(m.Calls, ToolCall{ID: id, Name: "echo", Input: "{}"})
				results = append(results, ToolResult{ID: id, Content: strings.Repeat("r", rng.IntN(6000))})
			}
			h = append(h, m, Message{Role: RoleTool, Results: results})
		}
		if rng.IntN(5) > 0 {
			h = append(h, Message{Role: RoleAssistant, Text: fmt.Sprint("answer ", i)})
		}
	}
	return append(h, Message{Role: RoleUser, Text: "now"})
}

// Whatever is left out of whatever history, calls stay with their results, the
// user's first and last words stay whole, and no two messages of the user meet
// where something was left out.
func TestCondensedIsValid(t *testing.T) {
	for seed := range 2000 {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		tn := &turn{history: Repair(longHistory(rng)), Options: Options{Request: Request{Model: "m"}}}
		before := fmt.Sprint(tn.history)
		cut := tn.cut(rng.IntN(4000))
		tn.short = Compacted{Messages: cut, Summary: framed("summary"), Clipped: rng.IntN(2) * len(tn.history)}
		got := tn.shown()
		if fmt.Sprint(tn.history) != before {
			t.Fatalf("seed %d: the history has changed", seed)
		}
		if cut > 0 && fmt.Sprint(Repair(got)) != fmt.Sprint(got) {
			t.Fatalf("seed %d: not valid: %v", seed, got)
		}
		if cut == 0 {
			continue
		}
		all := said(got)
		if first := tn.history[0].Text; !strings.HasPrefix(all, first) || !strings.HasSuffix(all, "now") {
			t.Fatalf("seed %d: lost the first or last words: %.100q", seed, all)
		}
		if got[0].Role != RoleUser || len(got) > 1 && got[1].Role == RoleUser && tn.history[cut].Role != RoleUser {
			t.Fatalf("seed %d: does not alternate", seed)
		}
		if n := len(tn.history) - cut; n < compactKeep {
			t.Fatalf("seed %d: only %d messages stay", seed, n)
		}
	}
}

func said(history []Message) string {
	var b strings.Builder
	for _, m := range history {
		if m.Role == RoleUser {
			for _, p := range m.Content() {
				b.WriteString(p.Text)
			}
		}
	}
	return b.String()
}

// What an earlier turn has left out is left out again, unless the history is
// another by now.
func TestCompactedIsTakenUp(t *testing.T) {
	h := longHistory(rand.New(rand.NewPCG(1, 1)))
	h = Repair(h)
	mark := &Compacted{Messages: 2, Summary: framed("so far")}
	mark.Digest = digest(h[:2])
	for name, tc := range map[string]struct {
		history []Message
		mark    *Compacted
		used    bool
	}{
		"same":      {h, mark, true},
		"longer":    {append(slices.Clone(h), Message{Role: RoleAssistant, Text: "and"}), mark, true},
		"changed":   {append([]Message{{Role: RoleUser, Text: "other"}}, h[1:]...), mark, false},
		"too short": {h[:1], mark, false},
		"damaged":   {h, &Compacted{Messages: -1}, false},
	} {
		p := &script{answers: []step{says("ok")}}
		if _, err := Run(t.Context(), Options{Provider: p, History: tc.history, Compaction: Compaction{Earlier: tc.mark}}, &tape{}); err != nil {
			t.Fatal(err)
		}
		if used := strings.Contains(said(p.seen[0].Messages), "so far"); used != tc.used {
			t.Errorf("%s: used %v", name, used)
		}
	}
}

// A summary is asked for within the turn's own means: its secrets stay out, a
// failure falls back to an extract, a cancelled turn ends.
func TestSummary(t *testing.T) {
	var h []Message
	for i := range 10 {
		h = append(h, Message{Role: RoleUser, Text: fmt.Sprint("question ", i, strings.Repeat(" word", 300))},
			Message{Role: RoleAssistant, Text: fmt.Sprint("answer ", i)})
	}
	h = append(h, Message{Role: RoleUser, Text: "now"})
	run := func(ctx context.Context, first step) (*script, *tape, error) {
		p := &script{answers: []step{first, says("ok")}}
		s := &tape{}
		_, err := Run(ctx, Options{Provider: p, History: h, Secrets: []string{"hunter2hunter2"},
			Compaction: Compaction{Window: 2000, Summarize: true}}, s)
		return p, s, err
	}
	p, s, err := run(t.Context(), says("the key is hunter2hunter2"))
	if err != nil || len(p.seen) != 2 || p.seen[0].System != summarySystem {
		t.Fatalf("%v, %d calls", err, len(p.seen))
	}
	if all := said(p.seen[1].Messages); !strings.Contains(all, "the key is [redacted]") || strings.Contains(all, "hunter2") {
		t.Errorf("the summary is %.300q", all)
	}
	if !slices.ContainsFunc(s.lines, func(l string) bool { return strings.HasSuffix(l, MethodSummary) && strings.HasPrefix(l, "compacted") }) {
		t.Errorf("told %q", s.lines)
	}
	if p, _, err = run(t.Context(), step{err: errors.New("no")}); err != nil || !strings.Contains(said(p.seen[1].Messages), "User: question 1") {
		t.Errorf("no extract: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	if p, _, err = run(ctx, step{before: func() { cancel(gone) }, err: context.Canceled}); !errors.Is(err, gone) || len(p.seen) != 1 {
		t.Errorf("cancelled: %v after %d calls", err, len(p.seen))
	}
}

func TestWindowOf(t *testing.T) {
	for model, want := range map[string]int{"claude-sonnet-4-6": 200_000, "anthropic/claude-x": 200_000, "GPT-5-mini": 400_000,
		"gpt-4.1": 1_047_576, "gpt-4o-mini": 128_000, "scripted": 128_000, "": 128_000, "vendor/": 128_000} {
		if got := WindowOf(model); got != want {
			t.Errorf("WindowOf(%q) = %d, want %d", model, got, want)
		}
	}
}

// Lessons come as they were asked for, or not at all, and without secrets.
func TestLearn(t *testing.T) {
	for name, tc := range map[string]struct{ answer, want string }{
		"some":    {`{"entries":[{"text":" use tabs, hunter2hunter2 ","kind":"always","scope":"project","topic":"style"}]}`, "[{use tabs, [redacted] always project style}] <nil>"},
		"unknown": {`{"entries":[{"text":"x","kind":"law","scope":"project","topic":""},{"text":" ","kind":"never","scope":"global","topic":""}]}`, "[] <nil>"},
		"none":    {`{"entries":[]}`, "[] <nil>"},
		"prose":   {`Nothing.`, "[] agent: lessons are not as they were asked for: *json.SyntaxError"},
	} {
		p := &script{answers: []step{says(tc.answer)}}
		got, err := Learn(t.Context(), p, "m", []Message{{Role: RoleUser, Text: "I want tabs"}}, []string{"hunter2hunter2"})
		if s := fmt.Sprint(got, err); s != tc.want {
			t.Errorf("%s: %s", name, s)
		}
	}
}
