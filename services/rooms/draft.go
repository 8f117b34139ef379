package rooms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/rooms/mention"
)

// Limits of a message, in bytes unless said.
const (
	contentMax = 1 << 20
	metaMax    = 64 << 10
	asksMax    = 32 // questions
	askMax     = 2 << 10
	shortMax   = 64 // role, format, type
)

// draft is a message that was read and checked, before its room is looked at.
type draft struct {
	ref      string // of the room
	role     string
	content  string
	format   string
	sender   string
	guest    bool // knows this room alone
	typist   bool // may type into terminals
	target   string
	replyTo  string
	msgType  string
	meta     string
	asks     asks
	flags    metaFlags
	mentions mention.Mentions
	human    bool   // as far as the request says
	once     *once  // nil: it may be posted twice
	chance   string // of its id
	body     string // id of its content in the bulk store; empty: the row has it
	now      time.Time
	errand   *errand // that it is the coworker's answer to; nil: it is no answer
}

// metaFlags are what routing reads of a message's metadata.
type metaFlags struct {
	source string
	urgent bool // wants to get past focus
	reason string
}

var breakCommand = regexp.MustCompile(`^/break(?:\s+([\s\S]*))?$`)

// readDraft checks a request as far as it can be checked by itself.
func (r *Room) readDraft(q *antv1.PostMessageRequest, by caller.Caller) (*draft, error) {
	if q.Content == nil {
		return nil, fault.BadField("missing", "content is required", "content")
	}
	d := &draft{ref: q.SessionId, role: orElse(q.Role, "user"), content: *q.Content, format: orElse(q.Format, "text"),
		sender: by.As(q.SenderId), guest: by.Scoped(), typist: !by.Scoped() || by.Has(caller.Terminal), target: q.Target, replyTo: q.ReplyTo, msgType: orElse(q.MsgType, typeMessage),
		chance: newChance(), now: r.opt.Now()}
	if len(d.content) > contentMax {
		return nil, fault.BadField("value_error", "content is too long: 1 MiB at most", "content")
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"role", d.role, shortMax}, {"format", d.format, shortMax}, {"msg_type", d.msgType, shortMax},
		{"sender_id", d.sender, nameMax}, {"target", d.target, nameMax}, {"reply_to", d.replyTo, nameMax}} {
		if err := checkName(f.name, f.value, f.most); err != nil {
			return nil, err
		}
	}
	d.human = d.role != "assistant" && d.role != "system"
	meta, err := metaObject(q.Meta)
	if err != nil {
		return nil, err
	}
	if d.flags, err = readFlags(meta); err != nil {
		return nil, err
	}
	if d.asks.named, err = readAsks(q.Asks); err != nil {
		return nil, err
	}
	if d.once, err = readOnce(q, d.sender); err != nil {
		return nil, err
	}
	d.normalise()
	return d, d.writeMeta(meta)
}

// normalise does to a message what clients count on (ant.md 1.2).
func (d *draft) normalise() {
	if d.msgType == typeMessage && strings.HasPrefix(d.content, "/break") {
		if m := breakCommand.FindStringSubmatch(d.content); m != nil {
			d.msgType, d.role, d.content = typeBreak, "system", orElse(strings.TrimSpace(m[1]), "-- break --")
		}
	}
	if !unrouted[d.msgType] {
		d.mentions = mention.Parse(d.content)
		if mention.AtEnd(d.content) {
			d.content += " "
		}
	}
}

// noMeta is the metadata of most messages.
const noMeta = `{"asks":[],"asks_resolved":[],"inferred_asks":[]}`

// writeMeta adds to the metadata that was given the lists that every message has
// (compat: ant.md 1.2), with what the message asks. Questions are not looked for
// if the metadata has some already.
func (d *draft) writeMeta(meta map[string]json.RawMessage) (err error) {
	if !listed(meta["asks"]) && !listed(meta["inferred_asks"]) {
		d.inferAsks()
	}
	if len(meta) == 0 && len(d.asks.named) == 0 && len(d.asks.inferred) == 0 {
		d.meta = noMeta
		return nil
	}
	for _, name := range []string{"asks", "inferred_asks", "asks_resolved"} {
		if v := meta[name]; len(v) == 0 || v[0] != '[' {
			meta[name] = json.RawMessage("[]")
		}
	}
	if err := putList(meta, "asks", d.asks.named); err != nil {
		return err
	}
	before := meta["inferred_asks"]
	if err := putList(meta, "inferred_asks", d.asks.inferred); err != nil {
		return err
	}
	d.meta, err = metaText(meta)
	if err != nil && len(d.asks.inferred) > 0 { // what is found is no reason to refuse
		d.asks.inferred, meta["inferred_asks"] = nil, before
		d.meta, err = metaText(meta)
	}
	return err
}

// listed says whether a member is a list with something in it.
func listed(v json.RawMessage) bool {
	var list []json.RawMessage
	return len(v) > 0 && json.Unmarshal(v, &list) == nil && len(list) > 0
}

// putList sets a member, if there is something to be set.
func putList(meta map[string]json.RawMessage, name string, list []string) error {
	if len(list) == 0 {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(list); err != nil {
		return err
	}
	meta[name] = bytes.TrimSpace(b.Bytes())
	return nil
}

// metaObject reads a JSON object; an empty text is an empty one.
func metaObject(text string) (map[string]json.RawMessage, error) {
	meta := map[string]json.RawMessage{}
	if text == "" {
		return meta, nil
	}
	if len(text) > metaMax {
		return nil, fault.BadField("value_error", "meta is too large: 64 KiB at most", "meta")
	}
	if err := json.Unmarshal([]byte(text), &meta); err != nil || meta == nil {
		return nil, fault.BadField("value_error", "meta must be a JSON object", "meta")
	}
	return meta, nil
}

// metaText writes metadata, which is bounded: what was given stays as it was written.
func metaText(meta map[string]json.RawMessage) (string, error) {
	text, err := encodeMeta(meta)
	if err == nil && len(text) > metaMax+1024 {
		err = fault.BadField("value_error", "meta is too large: 64 KiB at most", "meta")
	}
	return text, err
}

func encodeMeta(meta map[string]json.RawMessage) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(meta); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// readFlags reads what routing goes by. Asking past somebody's focus needs a reason.
func readFlags(meta map[string]json.RawMessage) (f metaFlags, err error) {
	text := func(name string) (s string) {
		if json.Unmarshal(meta[name], &s) != nil {
			return ""
		}
		return s
	}
	f.source = text("source")
	for _, name := range []string{"urgent", "urgent_bypass", "focus_bypass"} {
		f.urgent = f.urgent || string(meta[name]) == "true"
	}
	for _, name := range []string{"urgent_reason", "bypass_reason", "reason"} {
		f.reason = orElse(f.reason, strings.TrimSpace(text(name)))
	}
	if f.urgent && f.reason == "" {
		return f, fault.New(fault.Invalid, "REASON_REQUIRED", "urgent/focus bypass requires a reason")
	}
	return f, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// storedMeta is a message's metadata, whatever its size.
func storedMeta(m *message) (map[string]json.RawMessage, error) {
	meta := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(m.Meta), &meta); err != nil {
		return nil, fmt.Errorf("metadata of message %s: %w", m.ID, err)
	}
	return meta, nil
}
