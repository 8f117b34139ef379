package blackbox

import (
	"encoding/json"
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

// A conversation takes its attachments and its scratchpad along to another
// project; while a turn works in the old one, it stays.
func TestMoveTakesFilesAndScratchpadAlong(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.post("/v1/projects", object{"name": "there"}).ok()
	body, typ := form(t, "prices.csv", "fruit,price\nfig,3\n")
	if a := s.do(http.MethodPost, "/v1/attachments/general/c/upload", body, headers("Content-Type", typ)); a.status != http.StatusOK {
		t.Fatalf("%v", a)
	}
	cell := func(id, code string) string {
		t.Helper()
		raw, err := json.Marshal(object{"action": "exec", "name": "main", "code": code})
		if err != nil {
			t.Fatal(err)
		}
		st := s.ask(object{"input": "run", "conversation": "c"})
		p.next().tool(0, id, "scratchpad", string(raw)).finish("tool_calls")
		c := p.next()
		c.say("done")
		st.turn()
		return c.results()[id]
	}
	cell("first", "import os\nx = 1\nprint(os.getcwd())")
	st := s.ask(object{"input": "wait", "conversation": "c"})
	running := p.next()
	s.patch("/v1/conversations/c", object{"project": "there"}).refused(http.StatusConflict, "A turn is running in this conversation. Attach to it with GET /v1/responses/tail?conversation_id=c&from_seq=0, or stop it with POST /v1/responses/cancel.")
	running.say("done")
	st.turn()
	s.patch("/v1/conversations/c", object{"project": "there"}).ok()
	if list := decode[[]object](t, s.get("/v1/attachments/there/c").body); len(list) != 1 {
		t.Errorf("attachments in the new project: %v", list)
	}
	if list := decode[[]object](t, s.get("/v1/attachments/general/c").body); len(list) != 0 {
		t.Errorf("attachments in the old project: %v", list)
	}
	if told := cell("second", "import os\nprint(os.getcwd(), 'x' in globals())"); !strings.Contains(told, "/there False") || !strings.Contains(told, "moved to another project") {
		t.Errorf("the moved scratchpad says %q", told)
	}
}

// An answer that the provider's own limit cuts is carried on; the user sees one text.
func TestAnswerIsCarriedOn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p), withEnv("ANTON_MAX_CONTINUATIONS=2"))
	st := s.ask(object{"input": "tell", "conversation": "c"})
	p.next().text("one ").finish("length")
	p.next().text("two ").finish("length")
	p.next().text("three").finish("stop")
	if tn := st.turn(); tn.end.Type != "response.completed" || tn.text != "one two three" {
		t.Errorf("%q, then %s", tn.text, tn.end.data)
	}
	st = s.ask(object{"input": "tell more", "conversation": "c"})
	for range 3 {
		p.next().text("and ").finish("length")
	}
	if tn := st.turn(); tn.end.Type != "response.incomplete" || tn.final.reason() != "max_output_tokens" || tn.text != "and and and " {
		t.Errorf("%q, then %s", tn.text, tn.end.data)
	}
}

// A turn is bounded by rounds and tokens, and a limit that is no number is told.
func TestLimitsOfATurn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p), withEnv("ANTON_MAX_TOOL_ROUNDS=2"))
	st := s.ask(object{"input": "work"})
	for range 2 {
		p.next().tool(0, "call", "list_files", `{}`).finish("tool_calls")
	}
	last := p.next()
	if len(last.Tools) != 0 {
		t.Errorf("%d tools are offered at the limit", len(last.Tools))
	}
	last.say("so far")
	if tn := st.turn(); tn.end.Type != "response.completed" || tn.text != "so far" {
		t.Errorf("%q, then %s", tn.text, tn.end.data)
	}
	broken := start(t, withModel(p), withEnv("ANTON_MAX_TOOL_ROUNDS=many"))
	broken.post("/v1/responses", object{"input": "q"}).refused(http.StatusBadRequest, "ANTON_MAX_TOOL_ROUNDS must be a number from 1 to 1000.")
}

// Who adds deltas up gets the whole answer with its paragraphs; an SDK, which
// goes by items, gets each text as it is, and whole snapshots.
func TestTextsAroundATool(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) {
		if len(c.results()) > 0 {
			c.say("It is empty.")
			return
		}
		c.text("I look.").tool(0, "c1", "list_files", `{}`).finish("tool_calls")
	})
	s := start(t, withModel(p))
	for name, tc := range map[string]struct {
		header http.Header
		deltas string
		whole  bool
	}{
		"desktop client": {http.Header{}, "I look.\n\nIt is empty.", false},
		"SDK":            {headers("X-Stainless-Lang", "js"), "I look.It is empty.", true},
	} {
		tn := s.ask(object{"input": "look"}, tc.header).turn()
		deltas, snapshots := "", 0
		for _, f := range tn.frames {
			if f.Type == "response.output_text.delta" {
				deltas += *f.Delta
			}
			var r response
			if f.ThoughtRole != "" && json.Unmarshal(f.Response, &r) == nil && len(r.Output) > 0 {
				snapshots++
			}
		}
		if deltas != tc.deltas || tn.final.OutputText != "I look.\n\nIt is empty." || (snapshots > 0) != tc.whole {
			t.Errorf("%s: deltas %q, output_text %q, %d snapshots with output", name, deltas, tn.final.OutputText, snapshots)
		}
	}
}
