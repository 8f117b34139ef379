package agents

import (
	"slices"
	"strconv"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/terminal/driver"
)

// Answers that a prompt may take, besides an option by its index.
const (
	toApprove = "approve"
	toDeny    = "deny"
	toSelect  = "select"
	toText    = "text"
	toConfirm = "confirm"
	toRetry   = "retry"
	toAbort   = "abort"
)

// answerMax bounds a text that is typed as an answer, in bytes.
const answerMax = 4096

// spoken are words for answers, and the answer that each means.
var spoken = map[string]driver.Answer{
	"approve": {Type: toApprove}, "yes": {Type: toConfirm, Yes: true}, "deny": {Type: toDeny}, "no": {Type: toConfirm},
	"retry": {Type: toRetry}, "abort": {Type: toAbort}, "cancel": {Type: toAbort},
}

// choices are what can be given as choice, with words for people.
func (p *prompt) choices() []*antv1.AttentionOption {
	var list []*antv1.AttentionOption
	add := func(choice, label string) {
		list = append(list, &antv1.AttentionOption{Choice: choice, Label: label})
	}
	for _, a := range p.Answers {
		switch {
		case a == toApprove && p.Class == driver.Confirmation:
			add("yes", "Yes")
		case a == toDeny && p.Class == driver.Confirmation:
			add("no", "No")
		case a == toApprove:
			add(a, "Approve")
		case a == toDeny:
			add(a, "Deny")
		case a == toRetry:
			add(a, "Retry")
		case a == toAbort:
			add(a, "Abort")
		case a == toText:
			add(a, "Answer with a text")
		}
	}
	if p.takes(toSelect) {
		for i, o := range p.Options {
			add(strconv.Itoa(i), o.Label)
		}
	}
	return list
}

func (p *prompt) takes(answer string) bool { return slices.Contains(p.Answers, answer) }

// accepts says whether a prompt takes an answer; yes and no are those of approve and deny.
func (p *prompt) accepts(a driver.Answer) bool {
	switch {
	case a.Type == toConfirm && a.Yes:
		return p.takes(toApprove)
	case a.Type == toConfirm:
		return p.takes(toDeny)
	}
	return p.takes(a.Type)
}

// unknownChoice says what is offered instead.
func (p *prompt) unknownChoice(given string) error {
	var offered []string
	for _, c := range p.choices() {
		offered = append(offered, c.Choice)
	}
	return fault.New(fault.Invalid, "UNKNOWN_CHOICE", "%q is no choice here; offered are: %s", cut(given, 60), strings.Join(offered, ", ")).
		With("choices", strings.Join(offered, ","))
}

// decision is an answer that a prompt takes.
type decision struct {
	driver.Answer
	shown string // of the answer, for people
	bare  bool   // a text without the Enter behind it
}

// choose reads a choice of the attention list, with the text of a free one.
func (p *prompt) choose(choice, text string) (decision, error) {
	word := strings.ToLower(strings.TrimSpace(choice))
	if word == "" && text != "" {
		word = toText
	}
	if word != toText && text != "" {
		return decision{}, fault.BadField("value_error", "a text goes with the choice \"text\" alone", "text")
	}
	if word == toText {
		return p.say(text)
	}
	if a, ok := spoken[word]; ok && p.accepts(a) {
		return decision{Answer: a, shown: word}, nil
	}
	if n, err := strconv.Atoi(word); err == nil {
		return p.pick(n, choice)
	}
	for i, o := range p.Options {
		if strings.EqualFold(strings.TrimSpace(choice), o.Label) {
			return p.pick(i, choice)
		}
	}
	return decision{}, p.unknownChoice(choice)
}

// pick is an option by its index, from 0.
func (p *prompt) pick(i int, given string) (decision, error) {
	if i < 0 || i >= len(p.Options) || !p.takes(toSelect) {
		return decision{}, p.unknownChoice(given)
	}
	return decision{Answer: driver.Answer{Type: toSelect, Index: i}, shown: p.Options[i].Label}, nil
}

// say is a text.
func (p *prompt) say(text string) (decision, error) {
	if !p.takes(toText) {
		return decision{}, p.unknownChoice(toText)
	}
	if err := checkText(text); err != nil {
		return decision{}, err
	}
	return decision{Answer: driver.Answer{Type: toText, Text: text}, shown: text}, nil
}

// reply reads what somebody writes to a prompt: an option by its label or by the
// number that is shown, an answer by its name, or else a text.
func (p *prompt) reply(text string) (decision, error) {
	word := strings.TrimSpace(text)
	for i, o := range p.Options {
		shown := o.Number
		if shown == 0 {
			shown = i + 1
		}
		if p.takes(toSelect) && (strings.EqualFold(word, o.Label) || word == strconv.Itoa(shown)) {
			return p.pick(i, text)
		}
	}
	lower := strings.ToLower(word)
	switch lower {
	case "y":
		lower = "yes"
	case "n":
		lower = "no"
	}
	if a, ok := spoken[lower]; ok && p.accepts(a) {
		return decision{Answer: a, shown: lower}, nil
	}
	if p.takes(toText) {
		return p.say(text)
	}
	return decision{}, p.unknownChoice(text)
}

// checkText says why a text cannot be typed as an answer.
func checkText(text string) error {
	if text == "" || len(text) > answerMax || plain(text) != text || strings.Contains(text, "\n") {
		return fault.BadField("value_error", "an answer is one line of 1 to 4096 bytes without control characters", "text")
	}
	return nil
}
