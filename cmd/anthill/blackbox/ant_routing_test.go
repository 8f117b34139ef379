package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// attempts shows the deliveries of a message but the room's own, as
// "codex:retained/TERMINAL_NOT_LIVE", by handle.
func attempts(o object) (list []string) {
	for _, d := range o["deliveries"].([]any)[1:] {
		d := d.(object)
		s := strings.TrimPrefix(str(d, "handle"), "@") + ":" + str(d, "state")
		if r := str(d, "reason"); r != "" {
			s += "/" + r
		}
		list = append(list, s)
	}
	return list
}

// Done when: a post says whom it wakes before and after it is sent, deliveries can
// be read afterwards, and what is not delivered says why.
func TestAntDeliveries(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	id := strings.TrimPrefix(room, "/api/sessions/")
	codex := s.newSession("codex", "terminal")
	s.newSession("gemini", "terminal")
	for _, h := range []string{"@codex", "@gemini"} {
		s.post(room+"/participants", object{"handle": h}).created()
	}
	const kept = ":retained/TERMINAL_NOT_LIVE"
	for _, tc := range []struct {
		body object
		want string
	}{
		{object{"content": "hello", "sender_id": "@james"}, "[codex" + kept + " gemini" + kept + "]"},
		{object{"content": "@codex run", "sender_id": "@james"}, "[codex" + kept + "]"},
		{object{"content": "say [@codex] and @gemini", "sender_id": "@james"}, "[gemini" + kept + "]"},
		{object{"content": "x", "target": "@codex", "sender_id": "@james"}, "[codex" + kept + "]"},
		{object{"content": "@everyone", "sender_id": "@gemini"}, "[codex" + kept + "]"},
		{object{"content": "@nobody", "sender_id": "codex"}, "[]"},
		{object{"content": "x", "msg_type": "title"}, "[]"},
	} {
		before := string(s.get(room + "/messages").body)
		dry := s.post(room+"/messages?dry_run=true", tc.body).ok()
		if got := fmt.Sprint(attempts(dry)); sortedWords(got) != sortedWords(tc.want) || dry["dry_run"] != true || dry["id"] != "" {
			t.Errorf("dry run of %v: %s", tc.body, got)
		}
		for i, d := range dry["deliveries"].([]any) {
			would := "deliver"
			if i > 0 { // no terminal is live
				would = "queue"
			}
			if d := d.(object); d["would"] != would || d["id"] != "" {
				t.Errorf("dry run of %v: %v, would %s", tc.body, d, would)
			}
		}
		if after := string(s.get(room + "/messages").body); after != before {
			t.Errorf("a dry run changed something:\n%s\n%s", before, after)
		}
		o := s.post(room+"/messages", tc.body).created()
		if got := fmt.Sprint(attempts(o)); sortedWords(got) != sortedWords(tc.want) {
			t.Errorf("%v: %s, want %s", tc.body, got, tc.want)
		}
		d := o["deliveries"].([]any)[0].(object)
		if d["adapter"] != "ws-broadcast" || d["targetId"] != id || d["delivered"] != true || d["error"] != nil {
			t.Errorf("%v", d)
		}
		read := s.get(room + "/messages/" + str(o, "id") + "/deliveries").ok()
		if fmt.Sprint(read["deliveries"]) != fmt.Sprint(o["deliveries"]) {
			t.Errorf("read afterwards: %v, was %v", read, o["deliveries"])
		}
		ids := map[any]bool{}
		for _, d := range read["deliveries"].([]any) {
			d := d.(object)
			if ids[d["id"]] = true; d["would"] != nil || d["attempts"] != 1.0 || d["created_at"] == "" || d["updated_at"] == "" {
				t.Errorf("a record of a delivery: %v", d)
			}
		}
		if len(ids) != len(read["deliveries"].([]any)) || ids[""] {
			t.Errorf("ids of deliveries: %v", ids)
		}
	}
	o := s.postAs(room, "@james", "@codex again")
	d := o["deliveries"].([]any)[1].(object)
	if d["adapter"] != "pty-injection" || d["targetId"] != codex["id"] || d["delivered"] != false || d["attempt"] != 1.0 ||
		!strings.HasPrefix(str(d, "error"), "the terminal is not live") {
		t.Errorf("%v", d)
	}
	until, err := time.Parse(time.DateTime, str(d, "expires_at"))
	if err != nil || until.Before(time.Now().UTC().Add(30*time.Minute)) {
		t.Errorf("kept until %v, %v", until, err)
	}
	// It is kept across a restart.
	s.kill()
	s.restart()
	read := s.get(room + "/messages/" + str(o, "id") + "/deliveries").ok()
	if fmt.Sprint(read["deliveries"]) != fmt.Sprint(o["deliveries"]) {
		t.Errorf("after a restart: %v", read)
	}

	// The private chat of a terminal.
	private := "/api/sessions/" + str(codex, "linked_chat_id")
	o = s.postAs(private, "@james", "ls")
	if d := o["deliveries"].([]any)[1].(object); d["adapter"] != "linked-chat" || d["targetId"] != codex["id"] || d["delivered"] != false {
		t.Errorf("%v", d)
	}
	if o = s.postAs(private, "@codex", "done"); len(attempts(o)) != 0 {
		t.Errorf("a terminal hears itself: %v", attempts(o))
	}
	// One that is archived hears nothing.
	s.patch("/api/sessions/"+str(codex, "id"), object{"archived": true}).ok()
	if got := fmt.Sprint(attempts(s.postAs(room, "@james", "all"))); got != "[gemini"+kept+"]" {
		t.Errorf("archived: %s", got)
	}
}

func sortedWords(s string) string {
	words := strings.Fields(strings.Trim(s, "[]"))
	if len(words) == 2 && words[0] > words[1] {
		words[0], words[1] = words[1], words[0]
	}
	return strings.Join(words, " ")
}

// Done when: agents that answer agents are held back, it shows, and a human's word
// goes on.
func TestAntBrakes(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	for _, name := range []string{"codex", "gemini"} {
		s.newSession(name, "terminal")
		s.post(room+"/participants", object{"handle": name}).created()
	}
	if o := s.get(room + "/settings").ok(); o["max_hops"] != 12.0 || o["agent_cooldown_ms"] != 0.0 || o["agent_rate_per_minute"] != 60.0 || o["hops"] != 0.0 {
		t.Errorf("%v", o)
	}
	if o := s.patch(room+"/settings", object{"max_hops": 4, "agent_cooldown_ms": 0}).ok(); o["max_hops"] != 4.0 || o["agent_rate_per_minute"] != 60.0 {
		t.Errorf("%v", o)
	}
	names := []string{"codex", "gemini"}
	ping := func(i int) (state string, d object) {
		t.Helper()
		o := s.postAs(room, "@"+names[i%2], "@"+names[(i+1)%2]+" your turn")
		return fmt.Sprint(attempts(o)), o["deliveries"].([]any)[1].(object)
	}
	for range 2 {
		for i := range 4 {
			if got, _ := ping(i); !strings.Contains(got, "TERMINAL_NOT_LIVE") {
				t.Errorf("hop %d: %s", i, got)
			}
		}
		got, d := ping(4)
		if !strings.Contains(got, ":held/BRAKE_HOPS") || d["delivered"] != false || !strings.Contains(str(d, "error"), "agents have woken each other 4 times") {
			t.Errorf("%s %v", got, d)
		}
		if o := s.get(room + "/settings").ok(); o["hops"] != 4.0 || o["held"] != 1.0 {
			t.Errorf("%v", o)
		}
		// It is posted all the same, and a human sees it.
		if texts, _ := s.get(room + "/messages?limit=1").texts(); texts[0] != "@gemini your turn" {
			t.Errorf("%q", texts)
		}
		s.postAs(room, "@james", "go on")
		if o := s.get(room + "/settings").ok(); o["hops"] != 0.0 || o["held"] != 0.0 {
			t.Errorf("%v", o)
		}
	}
	s.patch(room+"/settings", object{"agent_cooldown_ms": 3_600_000, "max_hops": 0}).ok()
	ping(0)
	if got, _ := ping(0); !strings.Contains(got, "BRAKE_COOLDOWN") {
		t.Errorf("cooldown: %s", got)
	}
	if got, _ := ping(1); !strings.Contains(got, "TERMINAL_NOT_LIVE") {
		t.Errorf("another one's cooldown: %s", got)
	}
	// Settings are of the room, and stay.
	s.stop()
	s.restart()
	if o := s.get(room + "/settings").ok(); o["agent_cooldown_ms"] != 3_600_000.0 || o["max_hops"] != 0.0 {
		t.Errorf("%v", o)
	}
	if o := s.get(s.chat("other") + "/settings").ok(); o["agent_cooldown_ms"] != 0.0 {
		t.Errorf("%v", o)
	}
}

// Done when: an answer to an agent is refused as long as nothing waits for it.
func TestAntAnswerWithoutAQuestion(t *testing.T) {
	t.Parallel()
	s := start(t)
	codex := s.newSession("codex", "terminal")
	chat := "/api/sessions/" + str(codex, "linked_chat_id")
	card := s.post(chat+"/messages", object{"role": "assistant", "sender_id": codex["id"], "msg_type": "agent_event", "content": `{"class":"confirmation"}`}).created()
	if len(attempts(card)) != 0 {
		t.Errorf("a card is routed: %v", card)
	}
	before := string(s.get(chat + "/messages").body)
	for content, words := range map[string]string{
		fmt.Sprintf(`{"type":"approve","event_id":%q}`, card["id"]):                               "@codex is not waiting for an answer to this event: nothing was typed",
		fmt.Sprintf(`{"type":"deny","terminal_session_id":%q,"event_content":"{}"}`, codex["id"]): "nothing waits for an answer here: nothing was typed",
	} {
		s.post(chat+"/messages", object{"msg_type": "agent_response", "content": content}).refused(http.StatusConflict, words)
	}
	if after := string(s.get(chat + "/messages").body); after != before {
		t.Error("a refused answer was stored")
	}
}
