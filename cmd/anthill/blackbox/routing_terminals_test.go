package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	antv1 "anthill/gen/ant/v1"
)

// routed is a room with two agents in it.
func routed(s *server) (room string, codex, gemini *agentTerminal) {
	s.t.Helper()
	room = s.chat("plan")
	codex, gemini = s.agentIn(fakeMode{name: "codex-fake"}), s.agentIn(fakeMode{name: "gemini-fake"})
	for _, a := range []*agentTerminal{codex, gemini} {
		s.post(room+"/participants", object{"session_id": a.id}).created()
	}
	return room, codex, gemini
}

// ready starts an agent and waits until it takes messages.
func (a *agentTerminal) ready() {
	a.t.Helper()
	a.run()
	a.send(a.sends(), "begin")
}

// heard waits until an agent was told n messages of rooms, and returns them.
func (a *agentTerminal) heard(n int) (all []heardLine) {
	a.t.Helper()
	a.eventually(fmt.Sprint(a.mode.name, " hears ", n), func() bool {
		all = nil
		for _, r := range a.told() {
			if strings.HasPrefix(r.Start, "[antchat") {
				all = append(all, r)
			}
		}
		return len(all) >= n
	})
	if len(all) > n {
		a.t.Errorf("%s heard %d messages, want %d: %v", a.mode.name, len(all), n, all)
	}
	return all
}

// became waits for the last state of a message at a terminal, as "delivered" or
// "retained/NO_AGENT".
func (s *server) became(room string, message object, terminal, want string) object {
	s.t.Helper()
	var last object
	s.eventually(want, func() bool {
		for _, d := range s.get(room + "/messages/" + str(message, "id") + "/deliveries").ok()["deliveries"].([]any) {
			if d := d.(object); d["targetId"] == terminal {
				last = d
			}
		}
		got := str(last, "state")
		if r := str(last, "reason"); r != "" {
			got += "/" + r
		}
		return got == want
	})
	return last
}

// Done when: a message of a room arrives whole, once and in order at the agents that it
// is for, and the deliveries say so.
func TestRoutingIntoTerminals(t *testing.T) {
	t.Parallel()
	s := start(t, withFakes(fakeMode{name: "codex-fake"}, fakeMode{name: "gemini-fake"}))
	room, codex, gemini := routed(s)

	// Kept while nothing runs, delivered when it does.
	early := s.postAs(room, "@james", "@codex-fake before you were there")
	s.became(room, early, codex.id, "retained/TERMINAL_NOT_LIVE")
	codex.ready()
	gemini.ready()
	if got := codex.heard(1); !strings.Contains(got[0].Start, "before you were there") {
		t.Errorf("%v", got)
	}
	s.became(room, early, codex.id, "delivered")

	dry := s.post(room+"/messages?dry_run=true", object{"content": "@codex-fake dry", "sender_id": "@james"}).ok()
	if got := fmt.Sprint(attempts(dry)); got != "[codex-fake:planned]" {
		t.Errorf("dry run: %s", got)
	}
	one := s.postAs(room, "@james", "@codex-fake for you alone")
	s.became(room, one, codex.id, "delivered")
	all := s.postAs(room, "@james", "@everyone come")
	s.became(room, all, codex.id, "delivered")
	s.became(room, all, gemini.id, "delivered")
	if got := codex.heard(3); !strings.Contains(got[1].Start, "for you alone") || !strings.Contains(got[2].Start, "@everyone come") {
		t.Errorf("%v", got)
	}
	gemini.heard(1)
	reads := s.get(room + "/messages/" + str(all, "id") + "/read").ok()["reads"].([]any)
	if len(reads) != 2 {
		t.Errorf("read by %v", reads)
	}

	// Nothing is cut: what is long goes as a file.
	long := "@codex-fake " + strings.Repeat("a long message\n", 9000)
	m := s.postAs(room, "@james", long)
	s.became(room, m, codex.id, "delivered")
	if got := codex.heard(4)[3]; !got.File || got.Length < len(long) {
		t.Errorf("the agent got %d of %d bytes", got.Length, len(long))
	}

	// The receipt of what was routed.
	list, err := codex.sends().ListTerminalSends(s.call(), &antv1.ListTerminalSendsRequest{SessionId: codex.id, Limit: new(int32(1))})
	if err != nil || len(list.Sends) != 1 {
		t.Fatal(list, err)
	}
	if v := list.Sends[0]; v.GetMessageId() != m["id"] || "/api/sessions/"+v.GetRoomId() != room || v.GetSenderId() != "@james" || v.State != "taken" || v.GetHow() != "file" {
		t.Errorf("%v", v)
	}
	if _, runs := s.runEvents(codex.id, "?since=0&kind=prompt&q=chat_injection"); runs["count"] != 4.0 {
		t.Errorf("evidence: %v", runs["count"])
	}

	// Four at once arrive whole, in the order in which they were posted.
	var posts sync.WaitGroup
	for i := range 4 {
		posts.Go(func() {
			if a := s.post(room+"/messages", object{"content": fmt.Sprintf("@gemini-fake number %d %s", i, strings.Repeat("x", 2500)), "sender_id": "@james"}); a.status != http.StatusCreated {
				t.Errorf("%v", a)
			}
		})
	}
	posts.Wait()
	got := gemini.heard(5)[1:]
	texts, _ := s.get(room + "/messages?limit=4").texts()
	for i, text := range texts {
		if name, _, _ := strings.Cut(text, " xx"); !strings.Contains(got[i].Start, name[:len("@gemini-fake number 0")]) && got[i].Length < len(text) {
			t.Errorf("message %d is %q, the agent heard %q", i, name, got[i].Start)
		}
	}
	if receipts, err := gemini.sends().ListTerminalSends(s.call(), &antv1.ListTerminalSendsRequest{SessionId: gemini.id, Limit: new(int32(4))}); err != nil {
		t.Error(err)
	} else {
		for i, v := range receipts.Sends {
			if r := got[3-i]; v.State != "taken" || v.Sha256 != r.SHA256 {
				t.Errorf("receipt %v, heard %v", v, r)
			}
		}
	}

	// Focus: what comes meanwhile is one digest afterwards.
	s.patch(room+"/participants", object{"session_id": codex.id, "attention_state": "focus", "ttl": "10m", "reason": "tests"}).ok()
	queued := s.postAs(room, "@james", "@codex-fake later")
	if got := fmt.Sprint(attempts(queued)); got != "[codex-fake:queued]" {
		t.Errorf("in focus: %s", got)
	}
	s.patch(room+"/participants", object{"session_id": codex.id, "attention_state": "available"}).ok()
	if got := codex.heard(5)[4]; !strings.Contains(got.Start, "1 messages waited") || !strings.Contains(got.Start, "later") {
		t.Errorf("%v", got)
	}
}

// An agent that works, or that asks something, gets its messages afterwards, in order.
func TestRoutingWaitsForTheAgent(t *testing.T) {
	t.Parallel()
	s := start(t, withFakes(fakeMode{name: "codex-fake"}, fakeMode{name: "gemini-fake"}))
	room, codex, _ := routed(s)
	codex.ready()
	codex.signal(syscall.SIGUSR1)
	codex.shows("Working")
	busy := s.postAs(room, "@james", "@codex-fake while you work")
	d := s.became(room, busy, codex.id, "retained/TERMINAL_BUSY")
	if !strings.Contains(str(d, "error"), "works") || d["expires_at"] == nil || d["delivered"] != false {
		t.Errorf("%v", d)
	}
	codex.signal(syscall.SIGUSR2)
	codex.shows("May I")
	second := s.postAs(room, "@james", "@codex-fake while you ask")
	codex.signal(syscall.SIGUSR1)
	s.became(room, busy, codex.id, "retained/MODAL_OPEN")
	codex.signal(syscall.SIGUSR2)
	s.became(room, busy, codex.id, "delivered")
	s.became(room, second, codex.id, "delivered")
	got := codex.heard(2)
	if !strings.Contains(got[0].Start, "while you work") || !strings.Contains(got[1].Start, "while you ask") {
		t.Errorf("%v", got)
	}
	for _, r := range codex.lines() {
		if r.Stray != "" {
			t.Errorf("the question got the key %q", r.Stray)
		}
	}
}

// A message of a room is never typed into a plain shell; it waits for an agent. What a
// user says in the shell's own chat is typed, and does not wait behind it.
func TestRoutingIntoAShell(t *testing.T) {
	t.Parallel()
	mode := fakeMode{name: "shell"}
	s := start(t, withFakes(mode))
	room := s.chat("plan")
	a := s.agentIn(mode)
	s.post(room+"/participants", object{"session_id": a.id}).created()
	terminals := antv1.NewTerminalsServiceClient(s.dial())
	if _, err := terminals.StartTerminal(s.call(), &antv1.StartTerminalRequest{SessionId: a.id, Command: []string{"/bin/sh", "-i"}}); err != nil {
		t.Fatal(err)
	}
	bad, good := s.user+"/bad", s.user+"/good"
	m := s.postAs(room, "@james", "| touch "+bad)
	d := s.became(room, m, a.id, "retained/NO_AGENT")
	if !strings.Contains(str(d, "error"), "no agent") || d["delivered"] != false {
		t.Errorf("%v", d)
	}
	private := "/api/sessions/" + a.chat
	said := s.postAs(private, "@james", "touch "+good)
	s.became(private, said, a.id, "delivered")
	s.eventually("the user's own command is executed", func() bool { _, err := os.Stat(good); return err == nil })
	several := s.postAs(private, "@james", "touch "+bad+"\ntouch "+bad)
	if d := s.became(private, several, a.id, "failed/CONTROLS"); !strings.Contains(str(d, "error"), "line breaks") {
		t.Errorf("%v", d)
	}
	if _, err := os.Stat(bad); err == nil {
		t.Error("a shell has executed a message")
	}
	// It gets it once an agent runs there.
	program, err := fakePaste()
	if err != nil {
		t.Fatal(err)
	}
	said = s.postAs(private, "@james", fmt.Sprintf("%s %s '{\"name\":\"shell\"}'", program, a.record))
	s.became(private, said, a.id, "delivered")
	s.became(room, m, a.id, "delivered")
	if got := a.heard(1)[0]; !strings.Contains(got.Start, "| touch ") {
		t.Errorf("%v", got)
	}
	// And a user's own text is then a message for it, with its lines.
	said = s.postAs(private, "@james", "two\nlines")
	s.became(private, said, a.id, "delivered")
	if all := a.told(); len(all) != 2 || all[1].SHA256 != hexDigest("two\nlines") {
		t.Errorf("%v", all)
	}
	// When the agent has ended, its picture above the shell is none.
	a.signal(syscall.SIGTERM)
	m = s.postAs(room, "@james", "| touch "+bad)
	s.became(room, m, a.id, "retained/NO_AGENT")
	said = s.postAs(private, "@james", "touch "+good+"2")
	s.became(private, said, a.id, "delivered")
	s.eventually("the user's own command is executed", func() bool { _, err := os.Stat(good + "2"); return err == nil })
	if _, err := os.Stat(bad); err == nil {
		t.Error("a shell has executed a message")
	}
}
