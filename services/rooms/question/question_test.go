package question_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"anthill/services/rooms/question"
)

func TestFind(t *testing.T) {
	for text, want := range map[string][]string{
		"":                         nil,
		"Shall we take the bus.":   nil,
		"Shall we take the ferry?": {"Shall we take the ferry?"},
		"I am late. Can you wait? I hope so! Or not?":                     {"Can you wait?", "Or not?"},
		"@codex did it pass?  @gemini, yours?":                            {"@codex did it pass?", "@gemini, yours?"},
		"Who? Why? who?":                                                  {"Who?", "Why?"},
		"Really?! Sure??? fine":                                           {"Really?", "Sure?"},
		"Should we\ntake the\nearly one?":                                 {"Should we take the early one?"},
		"Title\n\nShall we?":                                              {"Shall we?"},
		"- Which colour?\n- Which size?\n* And when?\n2. Who pays?":       {"Which colour?", "Which size?", "And when?", "Who pays?"},
		"## What next?":                                                   {"What next?"},
		"> Did you see it?\nI did.":                                       nil,
		"```\nwhat is this?\n```\nno":                                     nil,
		"```\nopen?":                                                      nil,
		"Run `a ? b : c?` and say `x`. Does `f()` work?":                  {"Does `f()` work?"},
		"see https://example.com/?q=what and a?b":                         nil,
		"? ?? ?! a? 1?":                                                   nil,
		"one\rtwo\vthree?":                                                {"one two three?"},
		`He said "are you sure?" and left.`:                               {`He said "are you sure?`},
		"明天出发吗？我准备好了。谁来？":                                                 {"明天出发吗？", "谁来？"},
		"هل أنت جاهز؟ نعم":                                                {"هل أنت جاهز؟"},
		"Τι ώρα φεύγουμε\u037e Σε λίγο.":                                  {"Τι ώρα φεύγουμε\u037e"},
		"a; b; c; and so on; really":                                      nil,
		"¿Vamos mañana?":                                                  {"¿Vamos mañana?"},
		"\xff\xfebroken bytes, right?":                                    {"broken bytes, right?"},
		"one a? " + strings.Repeat("which one of them? or? ", 3) + "end?": {"one a?", "which one of them?", "end?"},
	} {
		if got := question.Find(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestFindIsBounded(t *testing.T) {
	var many strings.Builder
	for c := 'a'; c <= 'z'; c++ {
		many.WriteString("what about " + string(c) + "? ")
	}
	if got := question.Find(many.String()); len(got) != question.Max {
		t.Errorf("%d questions", len(got))
	}
	got := question.Find(strings.Repeat("very ", 1000) + "long?")
	if len(got) != 1 || len(got[0]) > 310 || !strings.HasPrefix(got[0], "…very ") || !strings.HasSuffix(got[0], "very long?") {
		t.Errorf("%q", got)
	}
	if got := question.Find(strings.Repeat("x", 64<<10) + ". Beyond?"); got != nil {
		t.Errorf("%q", got)
	}
}

// Whatever a text is, what is found is part of what it says, and is bounded.
func FuzzFind(f *testing.F) {
	for _, s := range []string{"Shall we? Or `a?` not?", "```\nx?\n```", "> q?\n- a?\n1. b?", "明天？", "\xff?\xfe", strings.Repeat("a? ", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found := question.Find(text)
		if len(found) > question.Max {
			t.Errorf("%d questions", len(found))
		}
		seen := map[string]bool{}
		for _, q := range found {
			last, _ := utf8.DecodeLastRuneInString(q)
			if !strings.ContainsRune("?？؟⁇⁈⁉‽\u037e⸮", last) || !utf8.ValidString(q) || len(q) > 310 || strings.ContainsAny(q, "\r\n") || seen[strings.ToLower(q)] {
				t.Errorf("%q in %q", q, text)
			}
			seen[strings.ToLower(q)] = true
		}
	})
}
