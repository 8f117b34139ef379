package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
)

const (
	memorizeMost = 20      // entries of one call
	memorizeText = 4 << 10 // bytes of one
	memorizeName = "memorize"
)

// memorize is the tool by which an agent remembers something.
type memorize struct {
	room *Room
	turn Turn
}

func (memorize) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name: memorizeName,
		Description: "Remember something for later conversations: how the user wants things done (always, never, when), who they are (profile), or a lesson that cost effort. " +
			"Remember what will still hold then, each in one sentence that can be understood alone. Never passwords, keys or other secrets.",
		Schema: json.RawMessage(`{"type":"object","properties":{"entries":{"type":"array","items":{"type":"object","properties":{` +
			`"text":{"type":"string","description":"What to remember"},` +
			`"kind":{"type":"string","enum":["always","never","when","lesson","profile"]},` +
			`"scope":{"type":"string","enum":["global","project"],"description":"project: only in this project; a profile is global"},` +
			`"topic":{"type":"string","description":"A word that groups lessons"}},` +
			`"required":["text","kind","scope"],"additionalProperties":false}}},"required":["entries"],"additionalProperties":false}`),
	}
}

// kinds that agents give.
var kinds = []string{always, never, when, lesson, profile}

func (m memorize) Run(ctx context.Context, input json.RawMessage) (string, error) {
	var in struct {
		Entries []agent.Lesson `json:"entries"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", memorizeName, err)
	}
	if len(in.Entries) == 0 || len(in.Entries) > memorizeMost {
		return "", fmt.Errorf("give 1 to %d entries", memorizeMost)
	}
	var done, refused []string
	for _, l := range in.Entries {
		said, err := m.one(ctx, l)
		if err != nil {
			refused = append(refused, err.Error())
			continue
		}
		done = append(done, said)
	}
	if len(done) == 0 {
		return "", errors.New(strings.Join(refused, "\n"))
	}
	return strings.Join(append(done, refused...), "\n"), nil
}

// one keeps one entry, and says what became of it.
func (m memorize) one(ctx context.Context, l agent.Lesson) (string, error) {
	head := clip(strings.Join(strings.Fields(l.Text), " "), 60)
	switch {
	case !slices.Contains(kinds, l.Kind):
		return "", fmt.Errorf("not remembered: %q: kind must be one of %s", head, strings.Join(kinds, ", "))
	case l.Scope != "global" && l.Scope != "project":
		return "", fmt.Errorf("not remembered: %q: scope must be global or project", head)
	case len(l.Text) > memorizeText:
		return "", fmt.Errorf("not remembered: %q: it has more than %d bytes", head, memorizeText)
	case m.room.tells(l.Text + "\n" + l.Topic):
		return "", errors.New("not remembered: it looks like a password or a key, and memory keeps no secrets")
	}
	e, known, err := m.room.learn(ctx, m.turn, l, byAgent)
	if f := new(fault.Error); errors.As(err, &f) {
		return "", fmt.Errorf("not remembered: %q: %s", head, f.Message)
	}
	if err != nil {
		return "", fmt.Errorf("not remembered: %q: %w", head, err)
	}
	where := "in this project"
	if e.at.project == nil {
		where = "in all projects"
	}
	if known {
		return fmt.Sprintf("Known already (%s): %s", where, e.Text), nil
	}
	return fmt.Sprintf("Remembered (%s, %s): %s", where, e.rel, e.Text), nil
}
