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
	flags    metaFlags
	mentions mention.Mentions
	human    bool   // as far as the request says
	once     *once  // nil: it may be posted twice
	chance   string // of its id
	body     string // id of its content in the bulk store; empty: the row has it
	now      time.Time
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
	var err error
	if d.meta, d.flags, err = readMeta(q.Meta, q.Asks); err != nil {
		return nil, err
	}
	if d.once, err = readOnce(q, d.sender); err != nil {
		return nil, err
	}
	d.normalise()
	return d, nil
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

// readMeta checks metadata and adds the lists that every message has.
func readMeta(text string, asks []string) (string, metaFlags, error) {
	if text == "" && len(asks) == 0 {
		return noMeta, metaFlags{}, nil
	}
	if len(asks) > asksMax {
		return "", metaFlags{}, fault.BadField("value_error", "asks has too many questions: 32 at most", "asks")
	}
	for i, a := range asks {
		if len(a) > askMax {
			return "", metaFlags{}, fault.BadField("value_error", "a question is too long: 2 KiB at most", "asks", itoa(i))
		}
	}
	meta, err := metaObject(text)
	if err != nil {
		return "", metaFlags{}, err
	}
	flags, err := readFlags(meta)
	if err != nil {
		return "", metaFlags{}, err
	}
	if len(asks) > 0 {
		list, err := json.Marshal(asks)
		if err != nil {
			return "", metaFlags{}, err
		}
		meta["asks"] = list
	}
	for _, name := range []string{"asks", "inferred_asks", "asks_resolved"} {
		if v := meta[name]; len(v) == 0 || v[0] != '[' {
			meta[name] = json.RawMessage("[]")
		}
	}
	out, err := metaText(meta)
	return out, flags, err
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

// metaText writes metadata: what was given stays as it was written.
func metaText(meta map[string]json.RawMessage) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(meta); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if len(text) > metaMax+1024 {
		return "", fault.BadField("value_error", "meta is too large: 64 KiB at most", "meta")
	}
	return text, nil
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
