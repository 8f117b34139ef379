package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"anthill/services/internal/agent"
)

// emitError marks an error as the caller's own, to be handed back as it is.
type emitError struct{ error }

// Draft is an answer in the making: what it says goes to the caller and is kept.
type Draft struct {
	Usage agent.Usage

	text  strings.Builder
	taken map[string]bool // ids of calls in the history and here
	emit  func(agent.Delta) error
}

// NewDraft begins the answer to a request.
func NewDraft(req agent.Request, emit func(agent.Delta) error) Draft {
	d := Draft{taken: map[string]bool{}, emit: emit}
	for _, m := range req.Messages {
		for _, c := range m.Calls {
			d.taken[c.ID] = true
		}
	}
	return d
}

// Text is all that was said.
func (d *Draft) Text() string { return d.text.String() }

// Say adds text, which must be valid UTF-8.
func (d *Draft) Say(text string) error {
	if text == "" {
		return nil
	}
	d.text.WriteString(text)
	return d.hand(agent.Delta{Text: text})
}

// Think passes reasoning on, which must be valid UTF-8.
func (d *Draft) Think(text string) error {
	if text == "" {
		return nil
	}
	return d.hand(agent.Delta{Reasoning: text})
}

// Begin announces a call. It gets an id of ours if the server gave it none, or
// one that is in use.
func (d *Draft) Begin(id, name string) (agent.ToolCall, error) {
	c := agent.ToolCall{ID: Valid(id), Name: Valid(name)}
	if c.ID == "" || d.taken[c.ID] {
		c.ID = "call_" + strings.ToLower(rand.Text())
	}
	d.taken[c.ID] = true
	return c, d.hand(agent.Delta{CallStart: &agent.ToolCall{ID: c.ID, Name: c.Name}})
}

func (d *Draft) hand(delta agent.Delta) error {
	if err := d.emit(delta); err != nil {
		return emitError{err}
	}
	return nil
}

// Valid is s with broken UTF-8 replaced.
func Valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// CallID is the id of a call as every API takes it: at most 64 letters, digits,
// _ and -. Another provider may have made it.
func CallID(id string) string {
	plain := len(id) <= 64
	for i := 0; i < len(id) && plain; i++ {
		c := id[i]
		plain = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
	}
	if plain {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:16])
}
