package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/terminal/driver"
)

// raise stores what an agent asks and tells of it, all or nothing. The caller holds looking.
func (a *agent) raise(seen *driver.Prompt) error {
	p := newPrompt(a.id, seen)
	p.ID, p.Generation = promptPrefix+a.room.opt.NewID(), a.count
	if a.tracked != nil {
		p.Answers = a.tracked.Answers(seen)
	}
	p.OnExpiry = "leave"
	kept := false
	err := a.room.opt.DB.Update(a.room.base, func(tx store.Tx) (err error) {
		kept, err = a.room.ask(tx, p)
		return err
	})
	if err != nil || !kept {
		return err
	}
	a.shown = &shown{id: p.ID, fingerprint: p.Fingerprint, digest: p.Digest}
	poke(a.room.expiring)
	if p.Bridged {
		poke(a.room.posting)
	}
	return nil
}

func newPrompt(terminal string, seen *driver.Prompt) *prompt {
	p := &prompt{Terminal: terminal, Digest: seen.Digest, Fingerprint: seen.Fingerprint, Driver: seen.Driver, Class: seen.Class,
		Subclass: seen.Subclass, Title: seen.Title, Question: seen.Question, Text: seen.Text, Command: seen.Command, File: seen.File,
		Tool: seen.Tool, Status: promptPending, Answers: []string{toText}}
	for _, o := range seen.Options {
		p.Options = append(p.Options, option{Number: o.Number, Label: o.Label, Detail: o.Detail, Selected: o.Selected})
	}
	return p
}

// ask is the transaction of a new prompt. False: its terminal is no more.
func (r *Room) ask(tx store.Tx, p *prompt) (bool, error) {
	s, err := r.opt.Sessions.Find(tx, p.Terminal)
	if err != nil || s == nil {
		return false, err
	}
	before, err := newest(tx, p.Terminal)
	if err != nil {
		return false, err
	}
	p.N = 1
	if before != nil {
		p.N = before.N + 1
	}
	config, err := loadBridge(tx)
	if err != nil {
		return false, err
	}
	now := r.opt.Now()
	_, head := tx.Log(feed.Topic, 0, 0)
	p.Created, p.Order, p.Expires = now.UnixNano(), head.Last+1, 0
	if after := config.expireAfter(); after > 0 {
		p.Expires = now.Add(after).UnixNano()
	}
	if p.OnExpiry = config.OnExpiry; !p.takes(toDeny) {
		p.OnExpiry = expiryLeave
	}
	p.Chat, p.Card, p.Told = s.LinkedChat, "", nil
	p.Bridged, p.Targets = config.Enabled, nil
	if config.Enabled {
		p.Targets = config.targetsOf(s)
	}
	if err := r.tellAsked(tx, s, p); err != nil {
		return false, err
	}
	if err := prune(tx, p.Terminal, p.N); err != nil {
		return false, err
	}
	return true, prompts.Put(tx, p)
}

// tellAsked tells of a new prompt wherever that is said.
func (r *Room) tellAsked(tx store.Tx, s *Session, p *prompt) (err error) {
	err = r.append(tx, p.Terminal, &antv1.Event{Event: &antv1.Event_SessionNeedsInput{SessionNeedsInput: &antv1.SessionNeedsInput{
		EventClass: p.Class, Summary: p.summary(), Source: p.source(), PromptId: p.ID, Detector: p.detector(), Since: stamp(p.Created)}}})
	if err != nil {
		return err
	}
	if p.Chat != "" {
		content, err := encodeCard(p.card())
		if err != nil {
			return err
		}
		p.Card, err = r.opt.Rooms.Post(tx, Card{Room: p.Chat, Sender: s.ID, Type: "agent_event", Format: "json", Content: content,
			Meta: map[string]any{"status": promptPending, "prompt_id": p.ID, "terminal_id": s.ID, "event_class": p.Class, "detector": p.detector()}})
		if err != nil {
			return err
		}
		if p.Card == "" { // the chat takes no messages
			p.Chat = ""
		}
	}
	kind := "question"
	if p.Class == driver.Permission || p.Class == driver.ToolAuth {
		kind = "permission"
	}
	if _, err = r.opt.Evidence.AppendTx(tx, Event{Session: s.ID, Source: "status", Trust: "medium", Kind: kind, Text: orElse(p.Text, p.summary()),
		Payload: map[string]any{"prompt_id": p.ID, "class": p.Class, "subclass": p.Subclass, "summary": p.summary(), "command": p.Command,
			"file": p.File, "tool": p.Tool, "detector": p.detector()}, RawRef: refOf(p), Key: "prompt:" + p.ID}); err != nil {
		return err
	}
	if err := r.tellBridge(tx, s, p); err != nil {
		return err
	}
	return r.tellItem(tx, p)
}

// refOf leads to what shows a prompt.
func refOf(p *prompt) any {
	if p.Card == "" {
		return nil
	}
	return p.Card
}

// tellItem tells of a change of the attention list.
func (r *Room) tellItem(tx store.Tx, p *prompt) error {
	return r.append(tx, p.Terminal, &antv1.Event{Event: &antv1.Event_AttentionUpdated{AttentionUpdated: &antv1.AttentionUpdated{Item: p.item()}}})
}

func (r *Room) append(tx store.Tx, session string, e *antv1.Event) error {
	e.SessionId, e.AtMs = session, float64(r.opt.Now().UnixMilli())
	return feed.Append(tx, e)
}

// encodeCard is the content of the message that shows a prompt. The encoder's own
// blanks vary, so they are taken out.
func encodeCard(p *antv1.AgentPrompt) (string, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode a prompt: %w", err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return "", fmt.Errorf("encode a prompt: %w", err)
	}
	return out.String(), nil
}

// loadPrompt finds a prompt; nil: there is none.
func loadPrompt(rd store.Reader, id string) (*prompt, error) { return prompts.Get(rd, key.Of(id)) }

// left notes that a prompt is no longer on the screen. One that nobody answered is
// gone; one whose keys an earlier process pressed is answered.
func (r *Room) left(ctx context.Context, id, why string) error {
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		p, err := loadPrompt(tx, id)
		if err != nil || p == nil || p.Left {
			return err
		}
		p.Left = true
		switch {
		case p.Status == promptAnswering && p.Claim.Pressed:
			p.Status = promptAnswered
			return r.resolve(tx, p, why)
		case p.open():
			p.Status, p.Claim = promptGone, nil
			return r.resolve(tx, p, why)
		}
		return prompts.Put(tx, p)
	})
}

// release gives back an answer that was not given.
func (r *Room) release(ctx context.Context, id string) error {
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		p, err := loadPrompt(tx, id)
		if err != nil || p == nil || p.Status != promptAnswering {
			return err
		}
		p.Status, p.Claim = promptPending, nil
		return prompts.Put(tx, p)
	})
}

// resolve stores a prompt that is over and tells of it. why is of one that is gone.
func (r *Room) resolve(tx store.Tx, p *prompt, why string) error {
	if s, err := r.opt.Sessions.Find(tx, p.Terminal); err != nil {
		return err
	} else if s == nil { // deleted for good: it goes with its terminal
		_, err := prompts.Delete(tx, key.Of(p.ID))
		return err
	}
	if err := prompts.Put(tx, p); err != nil {
		return err
	}
	if p.Card != "" {
		if err := r.opt.Rooms.Settle(tx, p.Chat, p.Card, p.meta(why)); err != nil {
			return err
		}
	}
	if p.Claim != nil {
		if err := r.audit(tx, p); err != nil {
			return err
		}
	}
	return r.tellResolved(tx, p)
}

// tellResolved tells that a prompt waits for nobody any more.
func (r *Room) tellResolved(tx store.Tx, p *prompt) error {
	for _, e := range []*antv1.Event{
		{Event: &antv1.Event_SessionInputResolved{SessionInputResolved: &antv1.SessionInputResolved{Source: p.source(), PromptId: p.ID}}},
		{Event: &antv1.Event_PromptBridgeResolved{PromptBridgeResolved: &antv1.PromptBridgeResolved{PromptId: p.ID}}},
	} {
		if err := r.append(tx, p.Terminal, e); err != nil {
			return err
		}
	}
	return r.tellItem(tx, p)
}

// meta is the metadata of the card of a prompt that is over (compat: ant.md 3.6, 4.5).
func (p *prompt) meta(why string) map[string]any {
	m := map[string]any{"prompt_id": p.ID, "terminal_id": p.Terminal, "event_class": p.Class, "detector": p.detector()}
	c := p.Claim
	switch {
	case p.Status == promptExpired && c == nil:
		m["status"], m["chosen"] = "settled", "expired"
	case c == nil:
		m["status"], m["chosen"], m["discard_reason"] = "discarded", "moved_on", why
	default:
		m["status"], m["chosen"] = "responded", c.Answer
		m["decision"] = map[string]any{"by": orElse(c.By, "somebody"), "responder_id": maybe(c.By), "response_msg_id": maybe(c.Message),
			"source": c.Source, "justification": maybe(c.Justification), "decided_at": stamp(c.At)}
	}
	return m
}

// audit notes who decided.
func (r *Room) audit(tx store.Tx, p *prompt) error {
	c := p.Claim
	kind := "approval_decision"
	if c.Source == sourceBridge {
		kind = "prompt_response"
	}
	_, err := r.opt.Evidence.AppendTx(tx, Event{Session: p.Terminal, Source: "json", Trust: "high", Kind: kind,
		Text: fmt.Sprintf("%s: %s", orElse(c.By, "somebody"), c.Answer),
		Payload: map[string]any{"prompt_id": p.ID, "class": p.Class, "summary": p.summary(), "chosen": c.Answer, "by": orElse(c.By, "somebody"),
			"source": c.Source, "justification": c.Justification, "response_msg_id": c.Message, "decided_at": stamp(c.At)},
		RawRef: refOf(p), Key: "decision:" + p.ID})
	return err
}

// poke wakes a worker, or leaves it awake.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
