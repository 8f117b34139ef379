package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runs is the input of a scratchpad call that runs code.
func runs(t *testing.T, code string) string {
	t.Helper()
	raw, err := json.Marshal(object{"action": "exec", "name": "main", "code": code})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// unending is a cell that sets x, says so by a file, and does not end.
const unending = "x = 5\nopen('begun', 'w').close()\nprint('working', flush=True)\nwhile True: pass"

// begun waits for the cell to run.
func (s *server) begun() {
	s.t.Helper()
	name := filepath.Join(s.projects(), "general", "begun")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if os.Remove(name) == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the cell does not run")
		}
	}
}

// padOf is the one scratchpad of a conversation, as it is listed.
func (s *server) padOf(conversation string) object {
	s.t.Helper()
	list := s.get(padRoot + "list?conversation=" + conversation).ok()["pads"].([]any)
	if len(list) != 1 {
		s.t.Fatalf("%v", list)
	}
	return list[0].(object)
}

// A turn that is cancelled in the middle of a cell stops the cell and keeps its
// variables; what the model is shown next is sound.
func TestCancelTurnInCell(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "work", "conversation": "c"})
	p.next().text("I work.").tool(0, "one", "scratchpad", runs(t, unending)).tool(1, "two", "scratchpad", runs(t, "open('second', 'w')")).finish("tool_calls")
	s.begun()
	if o := s.padOf("c"); o["running"] != true {
		t.Errorf("%v", o)
	}
	if o := s.post("/v1/responses/cancel", object{"conversation_id": "c"}).ok(); o["cancelled"] != true {
		t.Errorf("%v", o)
	}
	if tn := st.turn(); tn.end.Type != "response.incomplete" || tn.final.reason() != "cancelled" {
		t.Errorf("it ends in %s", tn.end.data)
	}
	if o := s.padOf("c"); o["running"] != false || o["live"] != true {
		t.Errorf("%v", o)
	}
	st = s.ask(object{"input": "and now?", "conversation": "c"})
	c := p.next()
	if err := c.paired(); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"one", "two"} {
		if c.results()[id] == "" {
			t.Errorf("call %s has no result: %q", id, c.transcript())
		}
	}
	c.tool(0, "three", "scratchpad", runs(t, "print('x is', x)")).finish("tool_calls")
	c = p.next()
	if got := c.results()["three"]; !strings.Contains(got, "x is 5") {
		t.Errorf("the scratchpad says %q", got)
	}
	c.say("done")
	st.turn()
	if _, err := os.Stat(filepath.Join(s.projects(), "general", "second")); err == nil {
		t.Error("a call ran after the turn was cancelled")
	}
}

// After kill -9 in the middle of a cell the next turn shows the model sound pairs,
// the cell says that it was cut off, and the next one that variables are gone.
func TestKillTurnInCell(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for round := range 2 {
		id := fmt.Sprintf("killed-%d", round)
		st := s.ask(object{"input": "work", "conversation": id})
		p.next().tool(0, "one", "scratchpad", runs(t, unending)).tool(1, "two", "scratchpad", runs(t, "1")).finish("tool_calls")
		s.begun()
		s.kill()
		st.abort()
		s.restart()
		if o := s.padOf(id); o["running"] != false || o["live"] != false || o["cells"] != 1.0 {
			t.Errorf("%v", o)
		}
		cells := decode[struct{ Cells []padCell }](t, s.get(padRoot+"cells?name=main&conversation="+id).body).Cells
		if len(cells) != 1 || cells[0].Status != "interrupted" || cells[0].Error == nil {
			t.Errorf("%v", cells)
		}
		st = s.ask(object{"input": "and now?", "conversation": id})
		c := p.next()
		for c.asked() != "and now?" { // the call of the dead process may have come first
			c = p.next()
		}
		if err := c.paired(); err != nil {
			t.Error(err)
		}
		if r := c.results(); r["one"] == "" || r["two"] == "" {
			t.Errorf("results %q", r)
		}
		c.tool(0, "three", "scratchpad", runs(t, "x")).finish("tool_calls")
		c = p.next()
		if got := c.results()["three"]; !strings.Contains(got, "the server was restarted") || !strings.Contains(got, "NameError") {
			t.Errorf("the scratchpad says %q", got)
		}
		c.say("done")
		st.turn()
	}
}

// A call that was cut off does not run, not in part either; one tool that fails
// again and again is remarked on, and then is off.
func TestCallsThatFail(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "work", "conversation": "c"})
	p.next().tool(0, "cut", "scratchpad", `{"action":"exec","name":"main","code":"open('cut', 'w')`).finish("tool_calls")
	c := p.next()
	if err := c.paired(); err != nil || c.results()["cut"] == "" {
		t.Errorf("%v %q", err, c.results())
	}
	if _, err := os.Stat(filepath.Join(s.projects(), "general", "cut")); err == nil {
		t.Error("a part of a call ran")
	}
	// The call that was cut off is the first failure in a row.
	for i, want := range []string{"failed 2 times", "failed 3 times", "failed 4 times", "failed 5 times", "is off", "is off"} {
		id := fmt.Sprint("fail-", i)
		c.tool(0, id, "scratchpad", runs(t, "open('tried', 'a').write('x')\n1/0")).finish("tool_calls")
		c = p.next()
		if err := c.paired(); err != nil {
			t.Fatal(err)
		}
		if got := c.results()[id]; !strings.Contains(got, want) {
			t.Errorf("after %d failures the model is told %q", i+2, got)
		}
	}
	if tried, err := os.ReadFile(filepath.Join(s.projects(), "general", "tried")); err != nil || string(tried) != "xxxx" {
		t.Errorf("it was tried %q times: %v", tried, err)
	}
	for _, m := range c.Messages {
		if m.Role == "user" && m.text() != "work" {
			t.Errorf("words are put into the user's mouth: %q", m.text())
		}
	}
	c.say("It does not work.")
	if tn := st.turn(); !strings.Contains(tn.text, "It does not work.") {
		t.Errorf("%s %q", tn.end.Type, tn.text)
	}
}

// Two callers that use one scratchpad at once take turns; neither loses a cell.
func TestTurnAndCallerShareAScratchpad(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "work", "conversation": "c"})
	p.next().tool(0, "one", "scratchpad", runs(t, "import os, time\nopen('begun', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\nlog = ['turn']")).finish("tool_calls")
	s.begun()
	wait := s.begin(http.MethodPost, padRoot+"execute", object{"name": "main", "conversation": "c", "code": "log.append('caller'); print(log)"})
	s.put("/v1/projects/general/files/go", object{"content": ""}).ok()
	if out := wait(); !strings.Contains(string(out.body), "['turn', 'caller']") {
		t.Errorf("%v", out)
	}
	p.next().say("done")
	st.turn()
	if o := s.padOf("c"); o["cells"] != 2.0 {
		t.Errorf("%v", o)
	}
}
