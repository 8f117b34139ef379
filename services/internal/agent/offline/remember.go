package offline

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"anthill/services/internal/agent"
)

// The tools of memory.
const (
	memorizeTool = "memorize"
	recallTool   = "recall"
)

var (
	noteLead   = regexp.MustCompile(`(?is)^\W*(?:please\s+)?(?:remember|note|keep in mind|don't forget)\b(?:\s+that\b|\s+this\b)?\s*:?\s*`)
	noteRule   = regexp.MustCompile(`(?is)^(?:(?:you (?:should|must)|to)\s+)?(always|never)\s+`)
	everywhere = regexp.MustCompile(`(?i)\b(?:everywhere|globally|in (?:all|every) projects?)\b`)
	// remembered asks for more than this conversation.
	remembered = regexp.MustCompile(`(?i)\b(?:remember|recall|know)\b[^.!]*\b(?:about|of|from)\b`)
)

// note keeps what is to be remembered, as the user put it.
func (t *talk) note() (string, []agent.ToolCall) {
	const here = "I will keep that in mind for as long as this conversation lasts: ask me about it any time.\n\n" + signature
	e := noteOf(t.question)
	if e.Text == "" {
		return here, nil
	}
	done, calls := t.step(memorizeTool, struct {
		Entries []noteEntry `json:"entries"`
	}{[]noteEntry{e}})
	switch {
	case done == nil && calls == nil:
		return here, nil
	case done == nil:
		return "", calls
	case done.result.IsError:
		return "I could not keep that: " + done.result.Content + ".\n\n" + signature, nil
	}
	return done.result.Content + "\n\n" + signature, nil
}

type noteEntry struct {
	Text  string `json:"text"`
	Kind  string `json:"kind"`
	Scope string `json:"scope"`
}

func noteOf(message string) noteEntry {
	e := noteEntry{Text: strings.TrimSpace(noteLead.ReplaceAllString(message, "")), Kind: "lesson", Scope: "project"}
	if m := noteRule.FindStringSubmatch(e.Text); m != nil {
		e.Kind, e.Text = strings.ToLower(m[1]), e.Text[len(m[0]):]
	} else if nameSaid.MatchString(e.Text) {
		e.Kind, e.Scope = "profile", "global"
	}
	if everywhere.MatchString(e.Text) {
		e.Scope = "global"
	}
	if first, n := utf8.DecodeRuneInString(e.Text); n > 0 {
		e.Text = string(unicode.ToUpper(first)) + e.Text[n:]
	}
	return e
}

// lookUp answers from what was said in this conversation; from memory and from
// others, if more is asked for, or if there is nothing here.
func (t *talk) lookUp() (string, []agent.ToolCall) {
	about := slices.DeleteFunc(tokens(t.question), func(w string) bool {
		return stopwords[w] || deeds[w] || recallDeeds[w] || w == "know" || w == "anything"
	})
	stems := make([]string, len(about))
	for i, w := range about {
		stems[i] = stem(w)
	}
	if !remembered.MatchString(t.question) && (len(about) == 0 || len(matches(spoken(t.earlier), stems)) > 0) {
		return t.recall(), nil
	}
	query := strings.Join(about[:min(len(about), 8)], " ")
	if query == "" {
		query = "profile rules lessons topics" // the names of its files find all of memory
	}
	done, calls := t.step(recallTool, struct {
		Query string `json:"query"`
	}{query})
	if calls != nil {
		return "", calls
	}
	var out struct {
		Hits []struct{ Source, TS, Role, Content string }
	}
	if done == nil || done.result.IsError || json.Unmarshal([]byte(done.result.Content), &out) != nil || len(out.Hits) == 0 {
		return t.recall(), nil
	}
	var b strings.Builder
	b.WriteString("This is what I find:\n")
	for _, h := range out.Hits[:min(len(out.Hits), maxTopics)] {
		from := map[string]string{"memory": "memory", "room": "a room, by " + h.Role}[h.Source]
		if from == "" {
			from = "a conversation, by the " + h.Role
		}
		day, _, _ := strings.Cut(h.TS, "T")
		fmt.Fprintf(&b, "\n- “%s” (%s, %s)", clip(clean(strings.ReplaceAll(h.Content, signature, "")), maxQuote), from, day)
	}
	return b.String() + "\n\n" + signature, nil
}
