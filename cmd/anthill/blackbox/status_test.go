package blackbox

import (
	"slices"
	"strings"
	"testing"
)

// What is not known is absent or null, as clients of the reference expect it.
func TestStatusKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	chat := s.chatRoom("plan")
	term := s.newSession("box", "terminal")
	id, linked := str(term, "id"), str(term, "linked_chat_id")
	const always = "capture linked_chat needs_input prompt_bridge route session terminal"
	for _, c := range []struct {
		ref, mode, terminal, linked string
		executes                    bool
	}{
		{"unknown", "unknown", "", "", false},
		{chat, "chatroom", "", "", false},
		{id, "terminal", id, linked, true},
		{"@box", "terminal", id, linked, true},
		{linked, "private_terminal_input", id, linked, true},
	} {
		o := s.get("/api/sessions/" + c.ref + "/status").ok()
		route, capture := o["route"].(object), o["capture"].(object)
		if got := strings.Join(sorted(keys(o)), " "); got != always || o["needs_input"] != false || o["prompt_bridge"] != nil {
			t.Errorf("%s: keys %s, %v", c.ref, got, o)
		}
		if route["mode"] != c.mode || orNone(route["terminal_id"]) != c.terminal || orNone(route["linked_chat_id"]) != c.linked || route["executes_in_terminal"] != c.executes {
			t.Errorf("%s: route %v", c.ref, route)
		}
		if capture["status_source"] != "none" || capture["interactive_source"] != "none" || capture["detected_at"] != nil || capture["terminal_activity"] != nil {
			t.Errorf("%s: capture %v", c.ref, capture)
		}
		for member, want := range map[string]string{"terminal": c.terminal, "linked_chat": c.linked} {
			row, _ := o[member].(object)
			if orNone(row["id"]) != want {
				t.Errorf("%s: %s is %v", c.ref, member, row)
			}
		}
	}
}

func orNone(v any) string {
	s, _ := v.(string)
	return s
}

// Of an agent that runs, its screen is told; events and status say the same.
func TestStatusOfAnAgent(t *testing.T) {
	t.Parallel()
	s := start(t)
	ws := s.socket()
	c := s.play(playedCLIs[0])
	c.settled()
	o := s.get("/api/sessions/" + c.chat + "/status").ok()
	st := o["agent_status"].(object)
	for k, want := range map[string]any{"state": "ready", "stateLabel": "Available", "model": "Opus 4.8", "contextUsedPct": 37.0, "contextRemainingPct": 63.0,
		"permissionMode": "accept_edits", "driver": "claude-code"} {
		if st[k] != want {
			t.Errorf("%s is %v, want %v", k, st[k], want)
		}
	}
	for k, v := range st {
		if v == nil {
			t.Errorf("%s is null, and should be absent", k)
		}
	}
	if str(o, "capture", "status_source") != "driver_status_line" || str(o, "capture", "terminal_activity", "state") == "" {
		t.Errorf("capture %v", o["capture"])
	}
	var states []string
	c.submit("wait for me")
	for !slices.Contains(states, "busy") || states[len(states)-1] != "ready" {
		m := ws.until("agent_status_updated")
		if m["sessionId"] != c.id || m["seq"] != nil {
			t.Errorf("told is %v", m)
		}
		for k, v := range m["status"].(object) {
			if v == nil {
				t.Errorf("told is %s as null", k)
			}
		}
		states = append(states, str(m, "status", "state"))
		if states[len(states)-1] == "busy" {
			s.post("/api/sessions/"+c.id+"/terminal/input", object{"data": "\x1b"}).ok()
		}
	}
	if flag := s.get("/api/sessions/" + c.id).ok()["cli_flag"]; flag != "claude-code" {
		t.Errorf("cli_flag %v", flag)
	}
}
