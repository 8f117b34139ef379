package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// An item that was given or answered before can be named instead of repeated,
// wherever it is from.
func TestItemReferences(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st, c := everyKind(t, s, p, object{"input": []object{{"role": "system", "content": "Be brief."}, {"role": "user", "content": "everything"}}})
	c.finish("tool_calls")
	tn := st.turn()
	id := map[string]string{}
	for _, it := range items(t, s, tn.conversation) {
		id[it.Type+" "+it.Role+strings.SplitN(it.Name+" ", " ", 2)[0]] = it.ID
	}
	message, call, tool, reasoning := tn.items[1].ID, tn.items[4].ID, tn.items[2].ID, tn.items[0].ID
	if tn.items[0].Type != "reasoning" || tn.items[1].Type != "message" || tn.items[2].Type != "mcp_call" || tn.items[4].Type != "function_call" {
		t.Fatalf("items %+v", tn.items)
	}
	ref := func(id string) object { return object{"type": "item_reference", "id": id} }
	now := object{"role": "user", "content": "now?"}
	for name, tc := range map[string]struct {
		input  []object
		want   []string
		system string
	}{
		"message":          {[]object{ref(message), now}, []string{"assistant: Reading. ", "user: now?"}, ""},
		"without its type": {[]object{{"id": message}, now}, []string{"assistant: Reading. ", "user: now?"}, ""},
		"type is null":     {[]object{{"id": message, "type": nil}, now}, []string{"assistant: Reading. ", "user: now?"}, ""},
		"function_call":    {[]object{ref(call), answerTo("call_f", "42"), now}, []string{"calls call_f", "result call_f", "user: now?"}, ""},
		"mcp_call":         {[]object{ref(tool), now}, []string{"calls call_r", "result call_r", "user: now?"}, ""},
		"reasoning":        {[]object{ref(reasoning), ref(message), now}, []string{"assistant: Reading. ", "user: now?"}, ""},
		"user's":           {[]object{ref(id["message user"]), ref(message), now}, []string{"user: everything", "assistant: Reading. ", "user: now?"}, ""},
		"system's":         {[]object{ref(id["message system"]), now}, []string{"user: now?"}, "Be brief."},
		"only the user's":  {[]object{ref(id["message user"])}, []string{"user: everything"}, ""},
		"the same twice":   {[]object{ref(message), ref(message), now}, []string{"assistant: Reading. ", "assistant: Reading. ", "user: now?"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, store := range []bool{true, false} {
				s := s.with(t)
				a := s.begin(http.MethodPost, "/v1/responses", object{"input": tc.input, "stream": false, "store": store})
				c := p.nextFor(t)
				if got := c.transcript(); c.paired() != nil || strings.Join(merged(got), "|") != strings.Join(merged(tc.want), "|") {
					t.Errorf("the model sees %q (%v), want %q", got, c.paired(), tc.want)
				}
				if strings.Contains(c.system(), "Be brief.") != (tc.system != "") {
					t.Errorf("system prompt %q", c.system())
				}
				if got := c.results()["call_r"]; name == "mcp_call" && !strings.Contains(got, "content of a") {
					t.Errorf("result %q", got)
				}
				c.say("ok")
				a().ok()
			}
		})
	}
	before := s.state()
	for _, id := range []string{"msg_unknown", "msg_unknown_o0", message + "0", strings.Replace(message, "msg_", "fc_", 1), strings.Replace(message, "_o1", "_o9", 1),
		strings.Replace(message, "_o1", "_i7", 1), strings.Replace(message, "_o1", "_o-1", 1), tn.responseID, "_", "__", "msg_" + strings.Repeat("x", 5000)} {
		d, _ := s.post("/v1/responses", object{"input": []object{now, ref(id)}}).refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		if len(d) != 1 || fmt.Sprint(d[0].(object)["loc"]) != "[body input 1 id]" {
			t.Errorf("%s: %v", clip([]byte(id)), d)
		}
	}
	for _, item := range []object{{"type": "item_reference"}, {"type": "item_reference", "id": ""}, {"type": "item_reference", "id": nil}, {"type": "item_reference", "id": 7}} {
		s.post("/v1/responses", object{"input": []object{now, item}}).refused(http.StatusUnprocessableEntity, "")
	}
	if after := s.state(); after != before {
		t.Errorf("a refused request changed something:\n%s\nbefore:\n%s", after, before)
	}
	// What is deleted is not there any more.
	s.delete("/v1/conversations/" + tn.conversation + "/items/" + message).ok()
	s.post("/v1/responses", object{"input": []object{ref(message), now}}).refused(http.StatusUnprocessableEntity, "")
	s.delete("/v1/responses/" + tn.responseID).ok()
	s.post("/v1/responses", object{"input": []object{ref(tool), now}}).refused(http.StatusUnprocessableEntity, "")
}

// merged joins neighbours of one role, which some servers send as one message.
func merged(transcript []string) (out []string) {
	for _, m := range transcript {
		role, text, _ := strings.Cut(m, ": ")
		if n := len(out); n > 0 && text != "" && strings.HasPrefix(out[n-1], role+": ") {
			out[n-1] += " " + text
			continue
		}
		out = append(out, m)
	}
	return out
}

// One request cannot make the server read for ever or fill its memory: what is
// referred to counts as if it were sent.
func TestItemReferencesAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	r := s.create(object{"input": strings.Repeat("x", 2<<20), "conversation": "c"})
	s.delete("/v1/conversations/c/items/" + r.Output[0].ID).ok()
	whole := items(t, s, "c")
	if len(whole) != 1 {
		t.Fatalf("%d items", len(whole))
	}
	refs := func(n int, id string) (many []object) {
		for range n {
			many = append(many, object{"type": "item_reference", "id": id})
		}
		return append(many, object{"role": "user", "content": "q"})
	}
	s.post("/v1/responses", object{"input": refs(400, whole[0].ID)}).refused(http.StatusRequestEntityTooLarge, "The input is larger than 8 MiB")
	most := int64(1 << 29)
	if raceOn { // which keeps a shadow of what is in use
		most *= 2
	}
	if peak := s.peakMemory(t); peak > most {
		t.Errorf("the program took %d MiB", peak>>20)
	}
	s.create(object{"input": "small", "conversation": "s"})
	small := items(t, s, "s")[0].ID
	s.post("/v1/responses", object{"input": refs(501, small)}).refused(http.StatusUnprocessableEntity, "")
	s.create(object{"input": refs(500, small)})
	s.create(object{"input": refs(1, whole[0].ID)})
}

// Instructions among the messages reach the model as such, in the turn that
// brought them and in all that follow.
func TestRolesOfInput(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	s.create(object{"input": []object{{"role": "developer", "content": "Speak Greek."}, {"role": "user", "content": "one"},
		{"role": "system", "content": []object{{"type": "input_text", "text": "Be "}, {"type": "input_text", "text": "kind."}}}, {"role": "user", "content": "two"}}, "conversation": "c"})
	s.create(object{"input": "three", "conversation": "c"})
	for _, q := range []string{"two", "three"} {
		c := p.about(t, q)
		if sys := c.system(); !strings.Contains(sys, "Speak Greek.") || !strings.Contains(sys, "Be kind.") || strings.Index(sys, "Greek") > strings.Index(sys, "kind") {
			t.Errorf("%s: system prompt %q", q, sys)
		}
		if i := slices.IndexFunc(c.Messages[1:], func(m chatMessage) bool { return m.Role == "system" || m.Role == "developer" }); i >= 0 {
			t.Errorf("%s: message %d is from %s", q, i+1, c.Messages[i+1].Role)
		}
	}
	if got := p.about(t, "three").transcript(); fmt.Sprint(merged(got)) != "[user: one two assistant: About two user: three]" {
		t.Errorf("the model sees %q", got)
	}
	if ms := history(t, s, "c"); fmt.Sprint(ms) != "[user: two assistant: About two user: three assistant: About three]" {
		t.Errorf("messages %q", ms)
	}
	s.post("/v1/responses", object{"input": []object{{"role": "system", "content": "x"}}}).refused(http.StatusBadRequest, "No user message in input")
	s.post("/v1/responses", object{"input": []object{{"role": "user", "content": " "}, {"role": "developer", "content": "x"}}}).refused(http.StatusBadRequest, "No user message in input")
}
