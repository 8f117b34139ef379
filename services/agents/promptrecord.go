package agents

import (
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// States of a prompt.
const (
	promptPending   = "pending"
	promptAnswering = "answering" // somebody's answer is being given; nobody else's counts
	promptAnswered  = "answered"
	promptGone      = "gone" // it left the screen unanswered
	promptExpired   = "expired"
)

// promptsKept is how many prompts of a terminal are kept, those that are over too.
const promptsKept = 1000

// promptPrefix tells the ids of prompts from those of questions in rooms.
const promptPrefix = "prompt_"

// prompt is a question that an agent waits with, or waited.
type prompt struct {
	ID       string `json:"id"`
	Terminal string `json:"terminal"`
	N        uint64 `json:"n"`     // of the terminal's prompts, from 1
	Order    uint64 `json:"order"` // seq of its first event in the feed

	Generation  uint64 `json:"generation"`
	Digest      string `json:"digest"`
	Fingerprint string `json:"fingerprint"`

	Driver   string   `json:"driver,omitempty"` // empty: found by a pattern
	Class    string   `json:"class"`
	Subclass string   `json:"subclass,omitempty"`
	Title    string   `json:"title,omitempty"`
	Question string   `json:"question,omitempty"`
	Text     string   `json:"text,omitempty"`
	Command  string   `json:"command,omitempty"`
	File     string   `json:"file,omitempty"`
	Tool     string   `json:"tool,omitempty"`
	Options  []option `json:"options,omitempty"`
	Answers  []string `json:"answers,omitempty"` // types that it takes

	Chat    string   `json:"chat,omitempty"` // where its card is
	Card    string   `json:"card,omitempty"` // id of that message
	Bridged bool     `json:"bridged,omitempty"`
	Targets []target `json:"targets,omitempty"` // of the bridge
	Told    []string `json:"told,omitempty"`    // chats of the bridge that it was posted in

	Status   string `json:"status"`
	Left     bool   `json:"left,omitempty"` // it is no longer on the screen
	Created  int64  `json:"created"`        // ns since 1970, as all times here
	Expires  int64  `json:"expires,omitempty"`
	OnExpiry string `json:"on_expiry"` // leave or deny
	Claim    *claim `json:"claim,omitempty"`
}

type option struct {
	Number   int    `json:"number,omitempty"`
	Label    string `json:"label"`
	Detail   string `json:"detail,omitempty"`
	Selected bool   `json:"selected,omitempty"`
}

// claim is whose answer counts.
type claim struct {
	By            string `json:"by,omitempty"`
	Source        string `json:"source"` // attention, agent_response, prompt_bridge, expiry, …
	Answer        string `json:"answer"` // as it is shown
	Justification string `json:"justification,omitempty"`
	Message       string `json:"message,omitempty"` // id of the message that answered
	Once          string `json:"once,omitempty"`    // what a repetition of it has, too
	At            int64  `json:"at"`
	Pressed       bool   `json:"pressed,omitempty"` // keys may have been pressed
}

func (p *prompt) open() bool { return p.Status == promptPending || p.Status == promptAnswering }

// Indexes of the table.
const (
	byOpen     = "open"     // those that wait, by their place
	byTerminal = "terminal" // all, by terminal and number
	byCard     = "card"
	byExpiry   = "expiry" // those that expire
)

var prompts = store.NewTable(store.TableOptions[prompt]{
	Name: "ant_prompt",
	Key:  func(p *prompt) key.Key { return key.Of(p.ID) },
	Indexes: []store.Index[prompt]{
		{Name: byOpen, Keys: func(p *prompt) []key.Key {
			if !p.open() {
				return nil
			}
			return []key.Key{key.Key(nil).Uint(p.Order)}
		}},
		{Name: byTerminal, Keys: func(p *prompt) []key.Key { return []key.Key{key.Of(p.Terminal).Uint(p.N)} }},
		{Name: byCard, Keys: func(p *prompt) []key.Key {
			if p.Card == "" {
				return nil
			}
			return []key.Key{key.Of(p.Card)}
		}},
		{Name: byExpiry, Keys: func(p *prompt) []key.Key {
			if p.Status != promptPending || p.Expires == 0 {
				return nil
			}
			return []key.Key{key.Key(nil).Int(p.Expires)}
		}},
	},
})

// newest is the last prompt of a terminal, or nil.
func newest(rd store.Reader, terminal string) (*prompt, error) {
	return first(prompts.ScanIndex(rd, byTerminal, store.ScanOptions{Prefix: key.Of(terminal), Reverse: true, Limit: 1}))
}

// waiting is the prompt that waits in a terminal, or nil.
func waiting(rd store.Reader, terminal string) (*prompt, error) {
	p, err := newest(rd, terminal)
	if err != nil || p == nil || !p.open() {
		return nil, err
	}
	return p, nil
}

// prune forgets the prompt that is one too many. It is called with each new one.
func prune(tx store.Tx, terminal string, n uint64) error {
	if n <= promptsKept {
		return nil
	}
	old, err := first(prompts.ScanIndex(tx, byTerminal, store.ScanOptions{Prefix: key.Of(terminal).Uint(n - promptsKept), Limit: 1}))
	if err != nil || old == nil {
		return err
	}
	_, err = prompts.Delete(tx, key.Of(old.ID))
	return err
}

func first[T any](rows func(func(*T, error) bool)) (found *T, err error) {
	for v, err := range rows {
		return v, err
	}
	return nil, nil
}

// summary is one line of what is asked.
func (p *prompt) summary() string {
	what := oneLine(p.Question)
	for _, s := range []string{p.Command, p.File, p.Tool} {
		if s = oneLine(s); s != "" && what != "" {
			what += " " + s
			break
		} else if s != "" {
			what = s
			break
		}
	}
	if what == "" {
		what = oneLine(p.Text)
	}
	return cut(what, 300)
}

// detector is who saw the prompt.
func (p *prompt) detector() string {
	if p.Driver == "" {
		return "prompt-bridge/generic-v1"
	}
	return "driver/" + p.Driver
}

// source is what clients call where a prompt comes from.
func (p *prompt) source() string {
	if p.Driver == "" {
		return "prompt_bridge"
	}
	return "agent_event_bus"
}

// card is the prompt as the message that shows it has it.
func (p *prompt) card() *antv1.AgentPrompt {
	v := &antv1.AgentPrompt{Id: p.ID, Class: p.Class, Subclass: p.Subclass, Title: p.Title, Question: p.Question, Text: p.Text,
		Command: p.Command, File: p.File, Tool: p.Tool, Answers: p.Answers, Driver: p.Driver}
	for i, o := range p.Options {
		v.Options = append(v.Options, &antv1.AgentOption{Index: int32(i), Label: o.Label, Detail: o.Detail, Selected: o.Selected})
	}
	return v
}

// item is the prompt as the attention list has it.
func (p *prompt) item() *antv1.AttentionItem {
	v := &antv1.AttentionItem{Id: p.ID, Kind: "prompt", SessionId: p.Terminal, Summary: p.summary(), Options: p.choices(),
		CreatedAt: stamp(p.Created), Default: p.OnExpiry, Class: p.Class, Text: p.Text, Command: p.Command, File: p.File, Tool: p.Tool,
		Status: p.Status, Driver: p.Driver}
	if p.Status == promptAnswering {
		v.Status = promptPending
	}
	if p.Expires != 0 {
		v.ExpiresAt = new(stamp(p.Expires))
	}
	if p.Card != "" {
		v.EventId, v.EventChatId = &p.Card, &p.Chat
	}
	if c := p.Claim; c != nil {
		v.AnsweredBy, v.AnsweredAt, v.Answer, v.Justification = new(orElse(c.By, "somebody")), new(stamp(c.At)), &c.Answer, maybe(c.Justification)
	}
	return v
}

// bridge is the prompt as the prompt bridge shows it.
func (p *prompt) bridge() *antv1.BridgePrompt {
	v := &antv1.BridgePrompt{Id: p.ID, Type: "prompt_detected", TerminalId: p.Terminal, SessionId: orElse(p.Chat, p.Terminal),
		RawText: orElse(p.Text, p.summary()), Detector: p.detector(), Ts: stamp(p.Created), DeliveredTo: p.Told, Status: "responded"}
	if p.open() {
		v.Status = "pending"
	}
	for _, t := range p.Targets {
		v.Targets = append(v.Targets, t.view())
	}
	return v
}

// taken says that somebody was first.
func (p *prompt) taken() error {
	c := p.Claim
	if c == nil { // of an earlier layout; never written
		c = &claim{At: p.Created}
	}
	return fault.New(fault.Precondition, "PROMPT_ANSWERED", "%s has answered this already, at %s: %s", orElse(c.By, "somebody"), stamp(c.At), c.Answer).
		With("answered_by", orElse(c.By, "somebody")).With("answered_at", stamp(c.At)).With("answer", cut(c.Answer, 300))
}

// over says why a prompt takes no answer; nil: it does.
func (p *prompt) over() error {
	switch p.Status {
	case promptPending:
		return nil
	case promptGone:
		return errPromptGone
	case promptExpired:
		return fault.New(fault.Precondition, "PROMPT_GONE", "this expired at %s, and what counts then is: %s", stamp(p.Expires), p.OnExpiry)
	}
	return p.taken()
}

var (
	errNoPrompt   = fault.Missing("ATTENTION_NOT_FOUND", "there is no such item")
	errPromptGone = fault.New(fault.Precondition, "PROMPT_GONE", "the prompt has left the screen: nothing was typed")
	errNothing    = fault.New(fault.Precondition, "NOTHING_PENDING", "nothing waits for an answer here: nothing was typed")
)

// stamp is a time as clients know it: RFC 3339, UTC, milliseconds.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z07:00") }
