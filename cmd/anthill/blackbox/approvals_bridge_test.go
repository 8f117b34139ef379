package blackbox

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const bridgePath = "/api/prompt-bridge/config"

// bridge sets the prompt bridge up and returns how it is.
func (s *server) bridge(config object) object {
	s.t.Helper()
	return s.put(bridgePath, config).ok()["config"].(object)
}

// Done when: what nobody answers in time gets the default that is stated.
func TestApprovalsExpire(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i, p := range playedCLIs {
		c := s.play(p)
		s.bridge(object{"config": object{"expire_after_ms": 300, "on_expiry": "deny"}})
		c.submit("run make install")
		d, keys := c.decided(1)
		if d.Index != 2 || !slices.Equal(keys, p.deny) {
			t.Errorf("%s took %v after the keys %q", p.mode, d, keys)
		}
		c.settled()
		id := c.newestPrompt()
		if o := s.get("/api/attention/" + id).ok(); o["status"] != "expired" || o["default"] != "deny" || o["expires_at"] == nil {
			t.Errorf("the item is %v", o)
		}
		if v := byREST(c, object{"id": id}, "approve", "@ann"); v.status != http.StatusConflict && v.status != http.StatusGone {
			t.Errorf("an answer too late: %+v", v)
		}
		c.quiet()
		if i > 0 {
			continue
		}
		// What is left alone waits on the screen, and can be answered there.
		s.bridge(object{"on_expiry": "leave"})
		c.submit("run make install")
		c.eventually("it expires", func() bool {
			last := c.newestPrompt()
			return last != id && s.get("/api/attention/" + last).ok()["status"] == "expired"
		})
		if n := c.notes(); n[len(n)-1].Event != "shown" {
			t.Errorf("something was typed: %v", n[len(n)-1])
		}
	}
}

// newestPrompt is the id of the last prompt that the terminal's chat tells of.
func (c *cli) newestPrompt() (id string) {
	c.t.Helper()
	for _, m := range c.get("/api/sessions/" + c.chat + "/messages?limit=1000").ok()["messages"].([]any) {
		if m := m.(object); m["msg_type"] == "agent_event" {
			id = str(decode[object](c.t, []byte(str(m, "meta"))), "prompt_id")
		}
	}
	return id
}

// Done when: the bridge tells a chat and a webhook, shows what is pending, and types
// what is responded.
func TestPromptBridge(t *testing.T) {
	t.Parallel()
	s := start(t)
	heard := make(chan object, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			heard <- decode[object](t, b)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer hook.Close()
	room := s.chatRoom("watchers")
	targets := []object{{"kind": "linked_chat"}, {"kind": "chat", "session_id": room}, {"kind": "webhook", "url": hook.URL + "/told"}}
	config := s.bridge(object{"config": object{"enabled": true, "default_targets": targets}})
	if got := config["default_targets"].([]any); config["enabled"] != true || len(got) != 3 || len(got[0].(object)) != 1 || got[1].(object)["session_id"] != room {
		t.Errorf("the configuration is %v", config)
	}
	c := s.play(playedCLIs[0])
	ws := s.socket()
	item := c.asked("run make install")
	told := ws.until("prompt_detected")["prompt"].(object)
	if told["id"] != item["id"] || told["terminal_id"] != c.id || !strings.Contains(str(told, "raw_text"), "make install") {
		t.Errorf("told is %v of %v", told, item)
	}
	var posted object
	select {
	case posted = <-heard:
	case <-time.After(patience):
	}
	if o := posted; !strings.Contains(asJSON(t, o), "make install") || !strings.Contains(asJSON(t, o), str(item, "id")) {
		t.Errorf("the webhook got %v", o)
	}
	for _, chat := range []string{room, c.chat} {
		c.eventually("the chat is told", func() bool { return len(s.bridged(chat)) > 0 })
		if all := s.bridged(chat); len(all) != 1 || all[0]["role"] != "assistant" || all[0]["sender_id"] != c.id || !strings.Contains(str(all[0], "content"), "make install") {
			t.Errorf("the chat shows %v", all)
		}
	}
	p := s.get("/api/sessions/" + c.id + "/prompt-bridge/pending").ok()["pending"].(object)
	if p["id"] != item["id"] || p["status"] != "pending" || p["type"] != "prompt_detected" || p["terminal_id"] != c.id {
		t.Errorf("pending is %v", p)
	}
	path := "/api/sessions/" + c.id + "/prompt-bridge/respond"
	for _, body := range []object{{}, {"text": ""}, {"text": "a\nb"}, {"text": "\x1b"}, {"text": strings.Repeat("x", 5000)}, {"text": "whatever"}} {
		a := s.post(path, body)
		a.unacceptable("respond")
		if a.object()["ok"] != false {
			t.Errorf("%v says no ok:false", a)
		}
	}
	if o := s.post(path, object{"text": "2", "responder_id": "@ann"}).ok(); o["ok"] != true || str(o, "prompt", "status") != "responded" {
		t.Errorf("responded: %v", o)
	}
	if got := ws.until("prompt_bridge_resolved"); got["promptId"] != item["id"] || got["sessionId"] != c.id {
		t.Errorf("told is %v", got)
	}
	if d, keys := c.decided(1); d.Index != 1 || !slices.Equal(keys, []string{"down", "enter"}) {
		t.Errorf("the agent took %v after the keys %q", d, keys)
	}
	c.settled()
	c.quiet()
	if o := s.get("/api/sessions/" + c.id + "/prompt-bridge/pending").ok(); o["pending"] != nil {
		t.Errorf("pending is %v", o)
	}
	if o := s.post(path, object{"text": "1"}).refused(http.StatusConflict, ""); o["ok"] != false {
		t.Errorf("nothing pending: %v", o)
	}
	s.post("/api/sessions/unknown/prompt-bridge/respond", object{"text": "1"}).refused(http.StatusNotFound, "")
	if _, o := s.runEvents(c.id, "?since=0&kind=prompt_response"); len(o["events"].([]any)) != 1 {
		t.Errorf("the evidence is %v", o)
	}
}

// bridged are the messages of the bridge in a room.
func (s *server) bridged(room string) (all []object) {
	s.t.Helper()
	for _, m := range s.get("/api/sessions/" + room + "/messages?limit=1000").ok()["messages"].([]any) {
		if m := m.(object); m["msg_type"] == "prompt_detected" {
			all = append(all, m)
		}
	}
	return all
}

// The bridge refuses what it cannot use, and keeps what it was not told to change.
func TestPromptBridgeConfig(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("r")
	before := s.get(bridgePath).ok()["config"].(object)
	if before["enabled"] != false || before["audit"] != true || len(before["default_targets"].([]any)) != 1 || before["on_expiry"] != "leave" {
		t.Errorf("at first it is %v", before)
	}
	for _, bad := range []object{
		{"default_targets": []object{{"kind": "smoke"}}}, {"default_targets": []object{{"kind": "chat"}}}, {"default_targets": []object{{"kind": "chat", "session_id": "unknown"}}},
		{"default_targets": []object{{"kind": "webhook"}}}, {"default_targets": []object{{"kind": "webhook", "url": "file:///etc/passwd"}}},
		{"default_targets": []object{{"kind": "webhook", "url": "http://"}}}, {"default_targets": "linked_chat"}, {"default_targets": []string{"x"}},
		{"routes": []string{}}, {"routes": object{"unknown": []object{{"kind": "smoke"}}}}, {"enabled": "maybe"}, {"on_expiry": "approve"}, {"expire_after_ms": -1},
		{"expire_after_ms": "soon"}, {"detect": object{"patterns": []string{"("}}}, {"detect": object{"patterns": "x"}}, {"detect": object{"window_lines": -1}}, {"detect": 7},
	} {
		s.put(bridgePath, bad).unacceptable(asJSON(t, bad))
		s.put(bridgePath, object{"config": bad}).unacceptable("config: " + asJSON(t, bad))
	}
	for _, bad := range []any{"x", 7, []int{1}, true} {
		s.put(bridgePath, object{"config": bad}).unacceptable(asJSON(t, bad))
	}
	if after := s.get(bridgePath).ok()["config"]; asJSON(t, after) != asJSON(t, before) {
		t.Errorf("what was refused changed %v to %v", before, after)
	}
	route := object{room: []object{{"kind": "webhook", "url": "http://127.0.0.1:1/x"}}}
	after := s.bridge(object{"routes": route, "expire_after_ms": 60000})
	if after["enabled"] != false || after["expire_after_ms"] != 60000.0 || after["on_expiry"] != "leave" {
		t.Errorf("it is %v", after)
	}
	if got := asJSON(t, after["routes"]); got != asJSON(t, route) {
		t.Errorf("routes are %s", got)
	}
	s.stop()
	s.restart()
	if again := s.get(bridgePath).ok()["config"]; asJSON(t, again) != asJSON(t, after) {
		t.Errorf("after a restart it is %v", again)
	}
}

// tally is a driver as its user would write it, for a program that nobody knows.
const tally = `
name: tally
describes: Tally 0.1
recognise: [['^Tally 0\.1 counts things\.']]
input: {row: '^tally> ?(.*)$', cursor: true}
busy: [{row: '^counting\.\.\.', within: 4}]
prompts:
  - name: run
    class: permission_request
    question: '(Tally wants to run: .*)'
    command: [{row: '^Tally wants to run: (.*)$'}]
    options: {kind: listed, row: '^\s*\[(?P<key>[yn])\] (?P<label>.+)$', unmarked: true}
    choose: key
    answers: {approve: {option: '^go ahead'}, deny: {option: '^leave it'}, abort: {keys: [esc]}}
  - name: name
    class: free_text
    question: '(Name of the tally:)'
    options: {kind: none, row: '^Name of the tally:'}
    answers: {text: {text: true, then: [enter]}, abort: {keys: [esc]}}
`

// Done when: a driver in the user's folder is enough for a program that nobody knows.
func TestApprovalsByAUsersDriver(t *testing.T) {
	t.Parallel()
	s := start(t, prepared(func(_, home string) {
		dir := filepath.Join(home, "drivers")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"tally.yaml": tally, "broken.yaml": "name: ["} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}))
	c := s.play(played{mode: "tally", driver: "tally"})
	n := 0
	for _, d := range doors {
		for choice, keys := range map[string][]string{"approve": {"y"}, "deny": {"n"}} {
			n++
			item := c.asked("run the count")
			if item["command"] != "the count" || item["driver"] != "tally" {
				t.Errorf("the item is %v", item)
			}
			if v := d.answer(c, item, choice, "@ann"); v.err != nil || v.status != http.StatusOK {
				t.Fatalf("%s by %s: %+v", choice, d.name, v)
			}
			if got, pressed := c.decided(n); got.Label == "" || !slices.Equal(pressed, keys) {
				t.Errorf("%s by %s: the agent took %v after the keys %q", choice, d.name, got, pressed)
			}
			c.settled()
		}
	}
	item := c.asked("name")
	path := "/api/attention/" + str(item, "id") + "/answer"
	for _, body := range []object{{"choice": "text"}, {"choice": "text", "text": "a\nb"}, {"choice": "text", "text": "\x03"}, {"choice": "approve"}} {
		s.post(path, body).unacceptable(asJSON(t, body))
	}
	s.post(path, object{"choice": "text", "text": "Größe; $(id)"}).ok()
	c.eventually("the text arrives", func() bool {
		all := c.notes()
		return all[len(all)-1].Text == "Größe; $(id)" && all[len(all)-1].Event == "decided"
	})
}

// asJSON is a value as one line, with the members of objects in order.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
