package blackbox

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The text of an attachment reaches the model, and the user's words stay as they were.
func TestAttachmentReachesTheModel(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	body, typ := form(t, "prices.csv", "fruit,price\nfig,3\n")
	a := s.do(http.MethodPost, "/v1/attachments/general/tmp-1/upload", body, headers("Content-Type", typ))
	list := decode[[]object](t, a.body)
	if a.status != http.StatusOK || len(list) != 1 {
		t.Fatalf("%v", a)
	}
	s.create(object{"input": "What costs a fig?", "conversation": "c", "attachment_ids": []any{list[0]["id"]}})
	p.mu.Lock()
	sent := strings.Join(p.seen[len(p.seen)-1].transcript(), "\n")
	p.mu.Unlock()
	if !strings.Contains(sent, "What costs a fig?") || !strings.Contains(sent, "fig,3") || !strings.Contains(sent, "prices.csv") {
		t.Errorf("the model sees %q", sent)
	}
	if ms := history(t, s, "c"); ms[0] != "user: What costs a fig?" {
		t.Errorf("messages %q", ms)
	}
}

// A turn runs Python: the cell shows as thoughts and as a native item, its state
// is there in the next turn, and the model reads what it printed.
func TestTurnRunsPython(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) {
		switch {
		case len(c.results()) > 0 && !strings.Contains(strings.Join(c.transcript(), " "), "and now"), len(c.results()) > 1:
			c.say("It is done.")
		case strings.Contains(c.asked(), "and now"):
			c.tool(0, "c2", "scratchpad", `{"action":"exec","name":"main","code":"print(x * 2)"}`).finish("tool_calls")
		default:
			c.tool(0, "c1", "scratchpad", `{"action":"exec","name":"main","code":"x = 21\nprint('set')","one_line_description":"Set x"}`).finish("tool_calls")
		}
	})
	s := start(t, withModel(p))
	first := s.ask(object{"input": "set x", "conversation": "c"}).turn()
	var roles []string
	for _, f := range first.frames {
		if f.ThoughtRole != "" && f.ThoughtRole != "thought.progress" {
			roles = append(roles, f.ThoughtRole)
		}
	}
	if want := []string{"thought.scratchpad.start", "thought.scratchpad.end", "thought.scratchpad.result"}; !slices.Equal(roles, want) {
		t.Errorf("thoughts %q, want %q", roles, want)
	}
	s.ask(object{"input": "and now", "conversation": "c"}).turn()
	last := p.about(t, "and now")
	if r := last.results()["c2"]; !strings.Contains(r, "42") {
		t.Errorf("the model is told %q", r)
	}
}
