package blackbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

// What the hooks of several programs report is of the kinds of ant.md 4.4.
func TestAntHookKinds(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("claude", "terminal"), "id")
	bash := object{"tool_name": "Bash", "tool_input": object{"command": "go test", "description": "run the tests"}}
	for _, c := range []struct {
		hook string
		more object
		kind string
		text string
	}{
		{"SessionStart", object{"source": "startup", "session_id": "x", "cwd": "/tmp"}, "status", "SessionStart: startup"},
		{"UserPromptSubmit", object{"prompt": "go on"}, "prompt", "go on"},
		{"PreToolUse", bash, "tool_call", "Bash: go test"},
		{"PreToolUse", object{"tool_name": "Weird", "tool_input": object{"n": 1}}, "tool_call", `Weird: {"n":1}`},
		{"PreToolUse", object{"tool_name": "AskUserQuestion", "tool_input": object{"question": "Which?"}}, "question", "AskUserQuestion: Which?"},
		{"PostToolUse", object{"tool_name": "Bash", "tool_input": object{"command": "ls"}, "tool_response": object{"stdout": "a b", "stderr": ""}}, "tool_result", "Bash: a b"},
		{"PostToolUse", object{"tool_name": "Read", "tool_input": object{"file_path": "/a"}, "tool_response": "text"}, "tool_result", "Read: text"},
		{"PostToolUse", object{"tool_name": "Edit", "tool_input": object{"file_path": "/a/b.go"}, "tool_response": object{}}, "file_write", "Edit: /a/b.go"},
		{"PostToolUse", object{}, "tool_result", "PostToolUse"},
		{"PermissionRequest", bash, "permission", "Bash: go test"},
		{"Notification", object{"message": "Claude needs your permission to use Bash"}, "permission", "Claude needs your permission to use Bash"},
		{"Notification", object{"message": "Claude is waiting for your input"}, "question", "Claude is waiting for your input"},
		{"Notification", object{"message": "done", "notification_type": "auth_success"}, "message", "done"},
		{"Notification", object{"message": "May I?", "notification_type": "permission_prompt"}, "permission", "May I?"},
		{"Stop", object{"stop_hook_active": false}, "status", "Stop"},
		{"Stop", object{"last_assistant_message": "All green."}, "message", "All green."},
		{"SubagentStop", object{"stop_hook_active": true}, "status", "SubagentStop"},
		{"PreCompact", object{"trigger": "auto"}, "status", "PreCompact: auto"},
		{"SessionEnd", object{"reason": "logout"}, "status", "SessionEnd: logout"},
		{"BeforeTool", object{"tool_name": "write_file", "tool_input": object{"file_path": "/x", "content": "y"}}, "tool_call", "write_file: /x"},
		{"AfterTool", object{"tool_name": "write_file", "tool_input": object{"file_path": "/x"}, "tool_response": object{"llmContent": "ok"}}, "file_write", "write_file: /x"},
		{"BeforeAgent", object{"prompt": "hello"}, "prompt", "hello"},
		{"AfterAgent", object{"prompt": "hello", "prompt_response": "hi"}, "message", "hi"},
		{"agent-turn-complete", object{"last-assistant-message": "Done."}, "message", "Done."},
		{"user_prompt_submit", object{"prompt": 7}, "prompt", "user_prompt_submit"},
		{"ErrorOccurred", object{"error": "no network"}, "error", "ErrorOccurred: no network"},
		{"BrandNewHook", object{"message": "x"}, "hook", "BrandNewHook: x"},
		{"Ünknown ☃", nil, "hook", "Ünknown ☃"},
	} {
		e := s.hook(id, c.hook, c.more)
		if e["kind"] != c.kind || e["text"] != c.text || e["source"] != "hook" || e["trust"] != "high" {
			t.Errorf("%s %v is %v: %q, want %s: %q", c.hook, c.more, e["kind"], e["text"], c.kind, c.text)
		}
	}
	if e := s.post("/api/hooks", object{"type": "agent-turn-complete", "ant_session_id": id}).ok()["event"].(object); e["kind"] != "status" {
		t.Errorf("the notification of Codex is %v", e)
	}
}

func TestAntHooksBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("claude", "terminal"), "id")
	good := object{"hook_event_name": "Stop", "ant_session_id": id}
	but := func(name string, v any) object {
		o := object{name: v}
		for k, v := range good {
			if k != name {
				o[k] = v
			}
		}
		return o
	}
	for what, body := range map[string]any{
		"no session": object{"hook_event_name": "Stop"}, "null session": but("ant_session_id", nil), "empty session": but("ant_session_id", ""),
		"session 7": but("ant_session_id", 7), "long session": but("ant_session_id", strings.Repeat("x", 129)), "no name": object{"ant_session_id": id},
		"empty name": but("hook_event_name", ""), "name list": but("hook_event_name", []string{"Stop"}), "long name": but("hook_event_name", strings.Repeat("x", 129)),
		"event id 7": but("event_id", 7), "long event id": but("event_id", strings.Repeat("x", 256)),
		"list": "[]", "text": `"x"`, "nothing": "", "two": `{}{}`, "deep": `{"hook_event_name":"Stop","ant_session_id":"` + id + `","x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
	} {
		a := s.post("/api/hooks", body)
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: %v", what, a)
		}
		a.refused(http.StatusBadRequest, "")
	}
	s.post("/api/hooks", but("ant_session_id", "unknown")).refused(http.StatusNotFound, "Session not found")
	c := antv1.NewHooksServiceClient(s.dial())
	for what, q := range map[string]*antv1.PostHookRequest{
		"no payload": {AntSessionId: id, HookEventName: "Stop"}, "no JSON": {AntSessionId: id, HookEventName: "Stop", Payload: "{"},
		"list": {AntSessionId: id, HookEventName: "Stop", Payload: "[]"}, "null": {AntSessionId: id, HookEventName: "Stop", Payload: "null"},
		"no session": {HookEventName: "Stop", Payload: "{}"}, "no name": {AntSessionId: id, Payload: "{}"}, "NUL": {AntSessionId: id, HookEventName: "a\x00", Payload: "{}"},
		"long key": {AntSessionId: id, HookEventName: "Stop", Payload: "{}", IdempotencyKey: strings.Repeat("x", 256)},
	} {
		_, err := c.PostHook(s.call(), q)
		wantCode(t, what, err, codes.InvalidArgument)
	}
	_, err := c.PostHook(s.call(), &antv1.PostHookRequest{AntSessionId: "unknown", HookEventName: "Stop", Payload: "{}"})
	wantCode(t, "unknown", err, codes.NotFound)
	if ids, _ := s.runEvents(id, "?since=0"); ids != "" {
		t.Errorf("bad input was noted: %q", ids)
	}
}

// The same report is noted once, whoever repeats it and how often.
func TestAntHooksOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("claude", "terminal"), "id")
	report := object{"hook_event_name": "PreToolUse", "ant_session_id": id, "event_id": "toolu_1", "tool_name": "Bash"}
	var all sync.WaitGroup
	fresh := make(chan bool, 16)
	for range 16 {
		all.Go(func() { fresh <- s.post("/api/hooks", report).ok()["duplicate"] == false })
	}
	all.Wait()
	close(fresh)
	n := 0
	for first := range fresh {
		if first {
			n++
		}
	}
	if ids, _ := s.runEvents(id, ""); n != 1 || ids != "1" {
		t.Errorf("noted %d times, there is %q", n, ids)
	}
	// The result of the tool has the same id by another hook.
	if e := s.hook(id, "PostToolUse", object{"event_id": "toolu_1"}); e["id"] != 2.0 {
		t.Errorf("the result is %v", e)
	}
	report["tool_name"] = "Read"
	s.post("/api/hooks", report).refused(http.StatusConflict, "This event id came with another report of the same hook before: use a new id for a new report.")
	// The header counts where the body says nothing.
	plain := object{"hook_event_name": "Stop", "ant_session_id": id}
	key := headers("Idempotency-Key", "k1")
	for i, want := range []bool{false, true} {
		o := s.do(http.MethodPost, "/api/hooks", plain, key).ok()
		if o["duplicate"] != want || o["event"].(object)["id"] != 3.0 {
			t.Errorf("time %d: %v", i, o)
		}
	}
	if e := s.hook(id, "Stop", nil); e["id"] != 4.0 {
		t.Errorf("without a key: %v", e)
	}
}

// A large report is cut with a mark that says what it was.
func TestAntLargeHooks(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("claude", "terminal"), "id")
	text := strings.Repeat("ü☃", 300_000)
	body, err := json.Marshal(object{"hook_event_name": "UserPromptSubmit", "ant_session_id": id, "prompt": text, "cwd": "/work"})
	if err != nil {
		t.Fatal(err)
	}
	e := s.do(http.MethodPost, "/api/hooks", string(body)).ok()["event"].(object)
	said := str(e, "text")
	if !strings.HasPrefix(text, said) || utf8.RuneCountInString(said) != 12_000 {
		t.Errorf("the text has %d characters", utf8.RuneCountInString(said))
	}
	p := e["payload"].(object)
	cut := p["_cut"].(object)
	sum := sha256.Sum256(body)
	if p["cwd"] != "/work" || p["ant_session_id"] != id || p["prompt"] != nil || cut["sha256"] != hex.EncodeToString(sum[:]) ||
		cut["bytes"] != float64(len(body)) || fmt.Sprint(cut["members"]) != "[prompt]" {
		t.Errorf("the payload is %v", p)
	}
	// The largest that is kept whole, and one byte more.
	for _, more := range []int{0, 1} {
		const head, tail = `{"ant_session_id":"@claude","hook_event_name":"X","x":"`, `"}`
		body := head + strings.Repeat("y", 64<<10-len(head)-len(tail)+more) + tail
		e := s.do(http.MethodPost, "/api/hooks", body).ok()["event"].(object)["payload"].(object)
		if whole := e["_cut"] == nil; whole != (more == 0) {
			t.Errorf("a report of %d bytes: kept whole %v", len(body), whole)
		}
	}
	s.do(http.MethodPost, "/api/hooks", `{"ant_session_id":"@claude","hook_event_name":"X","x":"`+strings.Repeat("y", 10<<20)+`"}`).
		refused(http.StatusRequestEntityTooLarge, "")
}

// A guest reads the evidence of its room, not that of the terminal behind it, and
// adds none.
func TestAntGuestsAndEvidence(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	term := s.newSession("claude", "terminal")
	id, chat := str(term, "id"), str(term, "linked_chat_id")
	s.hook(id, "UserPromptSubmit", object{"prompt": "the password is 1234"})
	for room, want := range map[string]float64{id: 1, chat: 0} {
		token := str(s.exchange(str(s.invite(room, object{}), "id"), room, object{"kind": "cli"}), "token")
		as := headers("Authorization", "Bearer "+token)
		o := s.do(http.MethodGet, "/api/sessions/"+room+"/run-events", nil, as).ok()
		if o["count"] != want || o["terminal_id"] != room {
			t.Errorf("a guest sees %v", o)
		}
		s.do(http.MethodPost, "/api/hooks", object{"hook_event_name": "Stop", "ant_session_id": room}, as).refused(http.StatusForbidden, adminOnly)
	}
}

// kill -9 keeps every report that was acknowledged, once.
func TestAntHooksSurviveKill(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("claude", "terminal"), "id")
	const writers = 8
	acked := make(chan string, 100_000)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := 0; ; i++ {
				mark := fmt.Sprintf("%d-%d", w, i)
				a, err := s.try(http.MethodPost, "/api/hooks", object{"hook_event_name": "Stop", "ant_session_id": id,
					"event_id": mark, "last_assistant_message": mark})
				if err != nil || a.status != http.StatusOK {
					return // killed
				}
				acked <- mark
			}
		})
	}
	var told []string
	for range 200 {
		told = append(told, <-acked)
	}
	s.kill()
	all.Wait()
	close(acked)
	for mark := range acked {
		told = append(told, mark)
	}
	s.restart()
	var kept []string
	for after := "0"; ; {
		_, o := s.runEvents(id, "?limit=1000&after="+after)
		for _, e := range o["events"].([]any) {
			kept = append(kept, str(e.(object), "text"))
		}
		after = fmt.Sprint(o["newer"])
		if o["has_more"] != true {
			break
		}
	}
	has := map[string]int{}
	for _, mark := range kept {
		has[mark]++
	}
	for _, mark := range told {
		if has[mark] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", mark, has[mark])
		}
	}
	if len(kept) > len(told)+writers || len(has) != len(kept) {
		t.Errorf("%d kept of %d acknowledged", len(kept), len(told))
	}
	// What was repeated after the kill is known, and the numbers go on.
	last := told[len(told)-1]
	again := s.hook(id, "Stop", object{"event_id": last, "last_assistant_message": last})
	if next := s.hook(id, "Stop", nil); again["text"] != last || next["id"] != float64(len(kept)+1) || !slices.Contains(kept, last) {
		t.Errorf("%v, then %v", again, next)
	}
}
