package agents

import (
	"context"
	"encoding/json"
	"strings"

	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/terminal/driver"
)

// Response is a message that answers what an agent asks (ant.md 3.6).
type Response struct {
	Room, Message, Terminal, Event string // ids; no Event: what waits in the terminal
	By, Source, Reason             string // no Source: agent_response
	Type                           string // approve, deny, select, text, confirm, retry or abort
	Choice                         json.RawMessage
	Once                           string // what a repetition of the message has, too; empty: it has no key
}

// Respond gives an answer that came as a message, once; see AnswerAttention. It returns the id of the message that
// answered, which is an earlier one when that was the same.
func (r *Room) Respond(ctx context.Context, m Response) (id string, err error) {
	if err := mayType(ctx); err != nil {
		return "", err
	}
	asked, err := r.askedBy(ctx, m)
	if err != nil {
		return "", err
	}
	p, err := r.answer(ctx, asked, answerer{by: m.By, source: orElse(m.Source, sourceMessage), message: m.Message, justification: m.Reason, once: m.Once,
		choose: func(p *prompt) (decision, error) { return p.respond(m) }})
	if err != nil {
		return "", err
	}
	return p.Claim.Message, nil
}

// askedBy finds the prompt that a message answers.
func (r *Room) askedBy(ctx context.Context, m Response) (id string, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		var p *prompt
		switch {
		case isPrompt(m.Event):
			p, err = loadPrompt(rd, m.Event)
		case m.Event != "":
			p, err = first(prompts.ScanIndex(rd, byCard, store.ScanOptions{Prefix: key.Of(m.Event), Limit: 1}))
		default:
			p, err = recent(rd, m.Terminal, r.opt.Now())
		}
		if err != nil {
			return err
		}
		if p == nil || m.Terminal != "" && p.Terminal != m.Terminal {
			return errNothing
		}
		id = p.ID
		return reach(ctx, p.Terminal)
	})
	return id, err
}

// TerminalOf is the terminal that asked what a card shows, or the prompt with an id;
// empty: none did.
func (r *Room) TerminalOf(rd store.Reader, event string) (string, error) {
	p, err := loadPrompt(rd, event)
	if err == nil && p == nil {
		p, err = first(prompts.ScanIndex(rd, byCard, store.ScanOptions{Prefix: key.Of(event), Limit: 1}))
	}
	if err != nil || p == nil {
		return "", err
	}
	return p.Terminal, nil
}

// respond reads the choice of a message.
func (p *prompt) respond(m Response) (decision, error) {
	var c struct {
		Action string   `json:"action"`
		Index  *float64 `json:"index"`
		Value  string   `json:"value"`
		Text   string   `json:"text"`
		Yes    *bool    `json:"yes"`
	}
	if len(m.Choice) > 0 && string(m.Choice) != "null" && json.Unmarshal(m.Choice, &c) != nil {
		if json.Unmarshal(m.Choice, &c.Value) != nil {
			return decision{}, fault.BadField("value_error", "choice is an object with action, index, value or yes", "content", "choice")
		}
	}
	kind := strings.ToLower(orElse(m.Type, c.Action))
	switch kind {
	case toSelect:
		if c.Index != nil {
			if *c.Index != float64(int(*c.Index)) {
				return decision{}, p.unknownChoice("index")
			}
			return p.pick(int(*c.Index), "index")
		}
		for i, o := range p.Options {
			if strings.EqualFold(strings.TrimSpace(c.Value), o.Label) {
				return p.pick(i, c.Value)
			}
		}
		return decision{}, p.unknownChoice(c.Value)
	case toText:
		return p.say(orElse(c.Value, c.Text))
	case toConfirm:
		if c.Yes == nil {
			yes, known := map[string]bool{"yes": true, "no": false}[strings.ToLower(orElse(c.Action, c.Value))]
			if !known {
				return decision{}, p.unknownChoice(orElse(c.Action, c.Value))
			}
			c.Yes = &yes
		}
		word := "no"
		if *c.Yes {
			word = "yes"
		}
		if a := spoken[word]; p.accepts(a) {
			return decision{Answer: a, shown: word}, nil
		}
		return decision{}, p.unknownChoice(word)
	case toApprove, toDeny, toRetry, toAbort:
		if !p.takes(kind) {
			return decision{}, p.unknownChoice(kind)
		}
		return decision{Answer: driver.Answer{Type: kind}, shown: kind}, nil
	}
	return decision{}, p.unknownChoice(kind)
}

// Dismiss is called when somebody has settled a card by hand: what it shows waits for
// nobody any more (compat: ant.md 1.2). Nothing is typed.
func (r *Room) Dismiss(ctx context.Context, card string) error {
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		p, err := first(prompts.ScanIndex(tx, byCard, store.ScanOptions{Prefix: key.Of(card), Limit: 1}))
		if err != nil || p == nil || p.Status != promptPending {
			return err
		}
		p.Status = promptGone
		if err := prompts.Put(tx, p); err != nil {
			return err
		}
		return r.tellResolved(tx, p)
	})
}
