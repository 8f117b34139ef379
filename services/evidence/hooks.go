package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// Limits of what a report says of itself, in bytes.
const (
	hookNameMax = 128
	eventIDMax  = 255
)

// PostHook implements antv1.HooksServiceServer.
func (r *Room) PostHook(ctx context.Context, q *antv1.PostHookRequest) (*antv1.PostHookResponse, error) {
	h, err := readReport(q)
	if err != nil {
		return nil, err
	}
	d, err := h.event().row(r.opt.Now())
	if err != nil {
		return nil, err
	}
	d.Digest = h.digest
	var kept *row
	var again bool
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		asked, owner, err := r.find(tx, h.session, caller.From(ctx))
		if err != nil {
			return err
		}
		for _, s := range []*Session{asked, owner} {
			if err := wire.Writable(s.Deleted, s.Archived); err != nil {
				return err
			}
		}
		e := *d
		e.Session = owner.ID
		kept, again, err = r.put(tx, &e)
		return err
	})
	if err != nil {
		return nil, err
	}
	if again && !bytes.Equal(kept.Digest, d.Digest) {
		return nil, fault.New(fault.Conflict, "IDEMPOTENCY_KEY_REUSED",
			"This event id came with another report of the same hook before: use a new id for a new report.")
	}
	return &antv1.PostHookResponse{Ok: true, Event: kept.view(), Duplicate: again}, nil
}

// report is what a hook says, as far as it is understood.
type report struct {
	session string
	name    string
	id      string // of the report; may be empty
	payload []byte
	digest  []byte
	object  map[string]json.RawMessage
}

// readReport checks a report by itself.
func readReport(q *antv1.PostHookRequest) (*report, error) {
	payload, err := compact(json.RawMessage(q.Payload), "{")
	if err != nil || payload == nil {
		return nil, fault.BadField("value_error", "payload must be a JSON object", "payload")
	}
	sum := sha256.Sum256(payload)
	h := &report{payload: payload, digest: sum[:]}
	var more, twice bool
	if h.object, more, twice = members(payload); more || twice {
		return nil, fault.BadField("value_error", "payload has one member twice, or more than 1000 of them", "payload")
	}
	for _, f := range []struct {
		to    *string
		given string
		names []string
		most  int
		must  bool
	}{
		{&h.session, q.AntSessionId, []string{"ant_session_id", "antSessionId"}, hookNameMax, true},
		{&h.name, q.HookEventName, []string{"hook_event_name", "hookEventName", "type"}, hookNameMax, true}, // type: Codex
		{&h.id, q.EventId, []string{"event_id", "eventId"}, eventIDMax, false},
	} {
		if *f.to, err = h.own(f.given, f.names, f.most, f.must); err != nil {
			return nil, err
		}
	}
	if h.id == "" {
		h.id, err = h.own(q.IdempotencyKey, []string{"idempotency_key"}, eventIDMax, false)
	}
	return h, err
}

// membersMax is how many members of an object are looked at.
const membersMax = 1000

// members are the first members of a JSON object without blanks, whether there are
// more, and whether two have one name.
func members(b []byte) (object map[string]json.RawMessage, more, twice bool) {
	object = map[string]json.RawMessage{}
	each(b, func(name string, _, value []byte) bool {
		if more = len(object) == membersMax; more {
			return false
		}
		_, have := object[name]
		twice = twice || have
		object[name] = value
		return true
	})
	return object, more, twice
}

// own is what a report says of itself, beside the payload or in it under the
// first of the names that is there.
func (h *report) own(given string, names []string, most int, must bool) (string, error) {
	for _, name := range names {
		raw, there := h.object[name]
		if given != "" || !there || string(raw) == "null" {
			continue
		}
		if json.Unmarshal(raw, &given) != nil {
			return "", fault.BadField("string_type", name+" must be a string", name)
		}
		break
	}
	switch {
	case given == "" && must:
		return "", fault.BadField("missing", names[0]+" required", names[0])
	case len(given) > most || !utf8.ValidString(given) || strings.ContainsRune(given, 0):
		return "", fault.BadField("value_error", fmt.Sprintf("%s is text of up to %d bytes", names[0], most), names[0])
	}
	return given, nil
}

// event is what is noted of a report. Its id counts among reports of the same
// hook, because programs give the same id to the call of a tool and to its result.
func (h *report) event() Event {
	e := Event{Source: "hook", Trust: "high", Payload: h.payload}
	e.Kind, e.Text = h.meaning()
	if h.id != "" {
		e.Key = h.name + "\n" + h.id
	}
	return e
}

// meaning is the kind of a report, and what it says in words.
func (h *report) meaning() (kind, text string) {
	switch hook := hooks[plain(h.name)]; hook {
	case "":
		return "hook", h.words(h.name)
	case "prompt":
		return hook, orElse(h.text("prompt", "user_prompt", "input"), h.name)
	case "tool_call":
		if asking[plain(h.text("tool_name", "toolName"))] {
			hook = "question"
		}
		return hook, h.tool(h.said("tool_input", "toolArgs", "command", "arguments"))
	case "tool_result":
		if writing[plain(h.text("tool_name", "toolName"))] {
			return "file_write", h.tool(h.said("tool_input", "toolArgs"))
		}
		return hook, h.tool(orElse(h.said("tool_response", "tool_output", "toolResult", "error", "output"), h.said("tool_input", "toolArgs")))
	case "file_write":
		return hook, orElse(h.text("file_path", "path"), h.name)
	case "permission":
		return hook, h.tool(orElse(h.text("message", "reason"), h.said("tool_input", "toolArgs")))
	case "notification":
		return h.notification(), orElse(h.text("message", "title"), h.name)
	case "stop":
		last := h.text("last_assistant_message", "last-assistant-message", "prompt_response")
		if last == "" {
			return "status", h.name
		}
		return "message", last
	default:
		return hook, h.words(h.name)
	}
}

// notification is the kind of what an agent tells its user.
func (h *report) notification() string {
	switch typ, said := plain(h.text("notification_type", "notificationType")), strings.ToLower(h.text("message")); {
	case strings.Contains(typ, "permission") || typ == "" && strings.Contains(said, "permission"):
		return "permission"
	case typ == "idleprompt" || typ == "elicitationdialog" || typ == "" && strings.Contains(said, "waiting for your input"):
		return "question"
	}
	return "message"
}

// tool is what a tool is about, behind its name.
func (h *report) tool(about string) string {
	name := h.text("tool_name", "toolName")
	switch {
	case name == "":
		return orElse(about, h.name)
	case about == "":
		return name
	}
	return name + ": " + about
}

// words is a name, and why or with which message.
func (h *report) words(name string) string {
	if why := h.text("message", "reason", "source", "trigger", "error", "error_message"); why != "" {
		return name + ": " + why
	}
	return name
}

// text is the first of some members that is a text with something in it.
func (h *report) text(names ...string) string { return textOf(h.object, names) }

func textOf(object map[string]json.RawMessage, names []string) string {
	for _, name := range names {
		var s string
		if raw := object[name]; len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil && s != "" {
			return s
		}
	}
	return ""
}

// telling are the members that say most of what goes into a tool or comes out of it.
var telling = []string{"command", "file_path", "path", "notebook_path", "absolute_path", "pattern", "query", "url", "prompt", "question",
	"description", "stdout", "output", "content", "llmContent", "textResultForLlm", "error", "stderr", "message", "returnDisplay"}

// said is what a member says in words: text, the most telling part of an object,
// else its JSON.
func (h *report) said(names ...string) string {
	for _, name := range names {
		raw := h.object[name]
		if len(raw) == 0 || string(raw) == "null" || string(raw) == `""` {
			continue
		}
		if s := h.text(name); s != "" {
			return s
		}
		if raw[0] == '{' {
			object, _, _ := members(raw)
			if s := textOf(object, telling); s != "" {
				return s
			}
		}
		return string(raw)
	}
	return ""
}

// plain is a name without what programs write differently: PreToolUse,
// pre_tool_use and pre-tool-use are one.
func plain(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c == '_' || c == '-' || c == ' ':
			return -1
		}
		return c
	}, name)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// hooks are the kinds of events by the plain names of hooks, those of Claude
// Code, Codex, Gemini CLI, Qwen Code, Copilot CLI and Cursor.
var hooks = map[string]string{
	"userpromptsubmit": "prompt", "userpromptsubmitted": "prompt", "beforeagent": "prompt", "beforesubmitprompt": "prompt",
	"pretooluse": "tool_call", "beforetool": "tool_call", "beforeshellexecution": "tool_call", "beforemcpexecution": "tool_call",
	"beforereadfile": "tool_call",
	"posttooluse":    "tool_result", "posttoolusefailure": "tool_result", "aftertool": "tool_result", "aftershellexecution": "tool_result",
	"aftermcpexecution": "tool_result",
	"afterfileedit":     "file_write",
	"permissionrequest": "permission", "permissiondenied": "permission",
	"elicitation":  "question",
	"notification": "notification",
	"stop":         "stop", "subagentstop": "stop", "afteragent": "stop", "agentturncomplete": "stop", "afteragentresponse": "stop",
	"sessionstart": "status", "sessionend": "status", "subagentstart": "status", "precompact": "status", "postcompact": "status",
	"precompress": "status", "taskcompleted": "status", "teammateidle": "status", "elicitationresult": "status",
	"stopfailure": "error", "erroroccurred": "error",
}

// writing are tools that change a file, asking those that ask the user.
var (
	writing = map[string]bool{"write": true, "edit": true, "multiedit": true, "notebookedit": true, "writefile": true, "replace": true,
		"applypatch": true, "createfile": true, "editfile": true, "create": true, "strreplaceeditor": true}
	asking = map[string]bool{"askuserquestion": true, "askuser": true, "requestuserinput": true}
)
