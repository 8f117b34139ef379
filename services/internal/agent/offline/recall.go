package offline

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"anthill/services/internal/agent"
)

const (
	maxQuotes  = 3
	maxTopics  = 10
	maxQuote   = 300
	userWeight = 2 // what people said themselves counts more than what was answered
)

var (
	nameAsked = regexp.MustCompile(`(?i)\bmy\s+name\b|\bwho\s+am\s+i\b|\bam\s+i\s+called\b`)
	nameSaid  = regexp.MustCompile(`(?:\b(?i:my name is|my name's|i am called|call me)|\b(?:I'm|I am|i'm|i am))\s+(\p{Lu}[\p{L}'’-]*(?:\s+\p{Lu}[\p{L}'’-]*){0,2})`)
	firstSaid = regexp.MustCompile(`(?i)\bfirst\s+(message|question|thing)\b`)
	lastSaid  = regexp.MustCompile(`(?i)\b(last|previous)\s+(message|question|thing)\b`)
	allSaid   = regexp.MustCompile(`(?i)\bso far\b|\b(this|our) (conversation|chat)\b|\b(talk|talked|discuss|discussed|chat|chatted)\b`)
)

// recallDeeds say that something is to be remembered, not what.
var recallDeeds = setOf(`say said tell told mention mentioned ask asked talk talked discuss discussed write wrote call called
	remember recall remind earlier previous previously conversation chat message messages question questions thing things far`)

// recall answers from what was said before, in its own words.
func (t *talk) recall() string {
	said := spoken(t.earlier)
	if len(said) == 0 {
		return "This is the first message of our conversation, so there is nothing before it that I could look up.\n\n" + signature
	}
	if nameAsked.MatchString(t.question) {
		for _, m := range slices.Backward(said) {
			if name := nameSaid.FindStringSubmatch(m.Text); m.Role == agent.RoleUser && name != nil {
				return fmt.Sprintf("Your name is **%s**: you wrote “%s”.\n\n%s", name[1], clip(clean(sentenceWith(m.Text, name[0])), maxQuote), signature)
			}
		}
	}
	var mine []agent.Message // the user's own
	for _, m := range said {
		if m.Role == agent.RoleUser {
			mine = append(mine, m)
		}
	}
	if len(mine) > 0 {
		switch {
		case firstSaid.MatchString(t.question):
			return "Your first message was:\n\n" + quotation(mine[0].Text) + "\n\n" + signature
		case lastSaid.MatchString(t.question):
			return "Your message before this one was:\n\n" + quotation(mine[len(mine)-1].Text) + "\n\n" + signature
		}
	}
	about := slices.DeleteFunc(tokens(t.question), func(w string) bool { return stopwords[w] || deeds[w] || recallDeeds[w] })
	for i, w := range about {
		about[i] = stem(w)
	}
	if len(about) == 0 || len(about) > 0 && allSaid.MatchString(t.question) && len(matches(said, about)) == 0 {
		return topics(mine) + "\n\n" + signature
	}
	found := matches(said, about)
	if len(found) == 0 {
		return "Nothing that was said before in this conversation has the words of your question.\n\n" + notice()
	}
	var b strings.Builder
	b.WriteString("Earlier in this conversation:\n")
	for _, f := range found {
		who := "You wrote"
		if f.role == agent.RoleAssistant {
			who = "I answered"
		}
		fmt.Fprintf(&b, "\n- %s: “%s”", who, clip(f.text, maxQuote))
	}
	return b.String() + "\n\n" + signature
}

// spoken are the messages that have words in them.
func spoken(messages []agent.Message) []agent.Message {
	return slices.DeleteFunc(slices.Clone(messages), func(m agent.Message) bool {
		return m.Role == agent.RoleTool || strings.TrimSpace(m.Text) == ""
	})
}

// utterance is a sentence of the conversation.
type utterance struct {
	role  agent.Role
	text  string
	score int
	at    int
}

// matches are the best sentences with the terms in them, in their order.
func matches(said []agent.Message, about []string) []utterance {
	var found []utterance
	n := 0
	for _, m := range said {
		for line := range strings.Lines(strings.ReplaceAll(m.Text, signature, "")) {
			for _, s := range sentences(clean(line)) {
				n++
				u := utterance{role: m.Role, text: s, at: n}
				words := terms(s)
				for _, w := range about {
					if slices.Contains(words, w) {
						u.score += 2
					}
				}
				if u.score == 0 {
					continue
				}
				if m.Role == agent.RoleUser {
					u.score *= userWeight
					if strings.HasSuffix(s, "?") {
						u.score /= 2 // an earlier question answers nothing
					}
				}
				found = append(found, u)
			}
		}
	}
	// Of two that fit as well, the later one is what holds now.
	slices.SortFunc(found, func(a, b utterance) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.at, a.at)) })
	found = found[:min(len(found), maxQuotes)]
	if len(found) > 0 {
		best := found[0].score
		found = slices.DeleteFunc(found, func(u utterance) bool { return 2*u.score < best+1 })
	}
	slices.SortFunc(found, func(a, b utterance) int { return cmp.Compare(a.at, b.at) })
	return found
}

// topics lists what the user said, each message by its beginning.
func topics(mine []agent.Message) string {
	if len(mine) == 0 {
		return "You have not written anything before this message."
	}
	var b strings.Builder
	b.WriteString("So far you wrote:\n")
	for _, m := range mine[max(0, len(mine)-maxTopics):] {
		fmt.Fprintf(&b, "\n- “%s”", clip(clean(m.Text), 120))
	}
	return b.String()
}

func sentenceWith(text, part string) string {
	for line := range strings.Lines(text) {
		for _, s := range sentences(line) {
			if strings.Contains(s, strings.Join(strings.Fields(part), " ")) {
				return s
			}
		}
	}
	return text
}

func quotation(text string) string {
	return "> " + strings.ReplaceAll(clip(strings.TrimSpace(text), maxPassage), "\n", "\n> ")
}
