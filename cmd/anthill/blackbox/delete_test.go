package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// threeTurns makes a conversation whose second turn used tools.
func threeTurns(t *testing.T, s *server, p *provider, id string) {
	t.Helper()
	for i, q := range []string{"alpha?", "beta?", "gamma?"} {
		st := s.ask(object{"input": q, "conversation": id})
		c := p.nextFor(t)
		if i == 1 {
			c.text("Looking. ").tool(0, "call_a", "list_files", `{}`)
			c.finish("tool_calls")
			c = p.nextFor(t)
		}
		c.say(strings.ToUpper(q))
		st.turn()
	}
}

// Done when (6): a turn goes with its calls and their results, and what is left
// is a history that a model accepts.
func TestDeleteTurn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for index, tc := range []struct {
		removed, remaining float64
		messages           []string
		transcript         string
	}{
		{2, 6, []string{"beta?", "Looking. \n\nBETA?", "gamma?", "GAMMA?"},
			"[user: beta? calls call_a result call_a assistant: BETA? user: gamma? assistant: GAMMA? user: and now?]"},
		{4, 4, []string{"alpha?", "ALPHA?", "gamma?", "GAMMA?"},
			"[user: alpha? assistant: ALPHA? user: gamma? assistant: GAMMA? user: and now?]"},
		{2, 6, []string{"alpha?", "ALPHA?", "beta?", "Looking. \n\nBETA?"},
			"[user: alpha? assistant: ALPHA? user: beta? calls call_a result call_a assistant: BETA? user: and now?]"},
	} {
		t.Run(fmt.Sprint(index), func(t *testing.T) {
			s, id := s.with(t), fmt.Sprintf("delete-%d", index)
			threeTurns(t, s, p, id)
			before := messages(t, s, id)
			o := s.delete(fmt.Sprintf("/v1/conversations/%s/turns/%d", id, index)).ok()
			if o["conversation_id"] != id || o["turn_index"] != float64(index) ||
				o["removed_count"] != tc.removed || o["remaining_messages"] != tc.remaining {
				t.Errorf("answer %v, want %v removed, %v remaining", o, tc.removed, tc.remaining)
			}
			var contents, ids, wantIDs []string
			for _, m := range messages(t, s, id) {
				contents, ids = append(contents, m.Content), append(ids, m.TurnID)
			}
			for i, m := range before {
				if i/2 != index {
					wantIDs = append(wantIDs, m.TurnID)
				}
			}
			if !slices.Equal(contents, tc.messages) || !slices.Equal(ids, wantIDs) {
				t.Errorf("left %q of turns %v, want %q of turns %v", contents, ids, tc.messages, wantIDs)
			}
			if meta := s.get("/v1/conversations/" + id).ok(); meta["turns"] != 2.0 || meta["preview"] != tc.messages[0] {
				t.Errorf("conversation %v", meta)
			}
			st := s.ask(object{"input": "and now?", "conversation": id})
			c := p.nextFor(t)
			if err := c.paired(); err != nil {
				t.Error(err)
			}
			if got := fmt.Sprint(c.transcript()); got != tc.transcript {
				t.Errorf("the model sees %s, want %s", got, tc.transcript)
			}
			c.say("now")
			st.turn()
			for range 3 {
				s.delete("/v1/conversations/" + id + "/turns/0").ok()
			}
			if meta := s.get("/v1/conversations/" + id).ok(); meta["turns"] != 0.0 || meta["preview"] != "" {
				t.Errorf("empty conversation %v", meta)
			}
			s.delete("/v1/conversations/"+id+"/turns/0").refused(http.StatusNotFound, "Turn not found")
			s.get("/v1/responses/tail?conversation_id="+id).refused(http.StatusNotFound, "No in-flight buffer for this conversation.")
		})
	}
	threeTurns(t, s, p, "refusals")
	s.delete("/v1/conversations/refusals/turns/3").refused(http.StatusNotFound, "Turn not found")
	s.delete("/v1/conversations/unknown/turns/0").refused(http.StatusNotFound, "Turn not found")
	s.delete("/v1/conversations/refusals/turns/-1").refused(http.StatusBadRequest, "")
	s.delete("/v1/conversations/refusals/turns/x").refused(http.StatusUnprocessableEntity, "")
	if got := len(messages(t, s, "refusals")); got != 6 {
		t.Errorf("%d messages left", got)
	}
	s.stop()
	s.restart()
	if got := len(messages(t, s, "delete-0")) + len(messages(t, s, "refusals")); got != 6 {
		t.Errorf("%d messages after a restart", got)
	}
}

func TestDeleteTurnThatRuns(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "first", "conversation": "running"})
	p.next().say("one")
	st.turn()
	st = s.ask(object{"input": "second", "conversation": "running"})
	c := p.next()
	play(c, st, "begun")
	s.delete("/v1/conversations/running/turns/1").ok()
	c.left()
	st.rest()
	if ms := messages(t, s, "running"); len(ms) != 2 || ms[0].Content != "first" {
		t.Errorf("left %+v", ms)
	}
	st = s.ask(object{"input": "third", "conversation": "running"})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: first assistant: one user: third]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("three")
	st.turn()
}

// Done when (6): deletes cascade and stop a running turn.
func TestDeleteConversation(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	threeTurns(t, s, p, "doomed")
	threeTurns(t, s, p, "other")
	other := s.get("/v1/conversations/other/messages").body
	st := s.ask(object{"input": "delta?", "conversation": "doomed"})
	c := p.next()
	play(c, st, "begun")
	if o := s.delete("/v1/conversations/doomed").ok(); o["status"] != "deleted" || o["id"] != "doomed" {
		t.Errorf("answer %v", o)
	}
	c.left()
	st.rest()
	gone := func() {
		t.Helper()
		const none = "Conversation not found"
		s.get("/v1/conversations/doomed").refused(http.StatusNotFound, none)
		s.get("/v1/conversations/doomed/messages").refused(http.StatusNotFound, none)
		s.delete("/v1/conversations/doomed").refused(http.StatusNotFound, none)
		s.patch("/v1/conversations/doomed", object{"title": "x"}).refused(http.StatusNotFound, none)
		s.get("/v1/responses/tail?conversation_id=doomed").refused(http.StatusNotFound, "No in-flight buffer for this conversation.")
		if o := s.get("/v1/responses/in-flight?conversation_id=doomed").ok(); o["in_flight"] != false || o["has_buffer"] != false ||
			o["latest_seq"] != 0.0 || o["turn_id"] != nil {
			t.Errorf("in flight: %v", o)
		}
		if list := conversations(t, s, "?project=all"); !slices.Equal(list, []string{"other"}) {
			t.Errorf("list %v", list)
		}
	}
	gone()
	s.stop()
	s.restart()
	gone()
	if got := s.get("/v1/conversations/other/messages").body; string(got) != string(other) {
		t.Errorf("another conversation changed: %s", clip(got))
	}
	// The id is free, and nothing of the old conversation comes back with it.
	st = s.ask(object{"input": "new", "conversation": "doomed"})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: new]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("fresh")
	if tn := st.turn(); tn.text != "fresh" {
		t.Errorf("%q", tn.text)
	}
	if ms := messages(t, s, "doomed"); len(ms) != 2 || s.get("/v1/conversations/doomed").ok()["turns"] != 1.0 {
		t.Errorf("messages of the new one: %+v", ms)
	}
}

// conversations lists ids.
func conversations(t *testing.T, s *server, query string) []string {
	t.Helper()
	var ids []string
	for _, c := range s.with(t).get("/v1/conversations" + query).ok()["conversations"].([]any) {
		ids = append(ids, str(c.(object), "id"))
	}
	return ids
}

func TestDeleteProject(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	s.post("/v1/projects", object{"name": "doomed"}).ok()
	s.put("/v1/projects/active", object{"name": "doomed"}).ok()
	s.put("/v1/projects/doomed/files/deep/a.txt", object{"content": "x"}).ok()
	st := s.ask(object{"input": "done?", "conversation": "done"})
	p.next().say("done")
	st.turn()
	st = s.ask(object{"input": "other?", "conversation": "other", "project": "general"})
	p.next().say("other")
	st.turn()
	st = s.ask(object{"input": "running?", "conversation": "running", "project": "doomed"})
	c := p.next()
	play(c, st, "begun")

	if o := s.delete("/v1/projects/doomed").ok(); o["status"] != "deleted" || o["name"] != "doomed" {
		t.Errorf("answer %v", o)
	}
	c.left()
	st.rest()
	gone := func() {
		t.Helper()
		if _, err := os.Lstat(filepath.Join(s.projects(), "doomed")); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
		if got := s.get("/v1/projects/active").ok()["name"]; got != "general" {
			t.Errorf("active project %v", got)
		}
		if list := conversations(t, s, "?project=all"); !slices.Equal(list, []string{"other"}) {
			t.Errorf("conversations %v", list)
		}
		if list := conversations(t, s, "?project=doomed"); len(list) != 0 {
			t.Errorf("conversations of the project %v", list)
		}
		s.get("/v1/conversations/done").refused(http.StatusNotFound, "Conversation not found")
		s.get("/v1/conversations/running/messages").refused(http.StatusNotFound, "Conversation not found")
		s.get("/v1/projects/doomed/files").refused(http.StatusNotFound, "Project not found")
		s.delete("/v1/projects/doomed").refused(http.StatusNotFound, "Project not found")
	}
	gone()
	s.stop()
	s.restart()
	gone()
	s.post("/v1/projects", object{"name": "doomed"}).ok()
	if o := s.get("/v1/projects/doomed/files").ok(); len(o["files"].([]any)) != 1 {
		t.Errorf("the new project of that name has files: %v", o)
	}
	st = s.ask(object{"input": "new", "conversation": "running", "project": "doomed"})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: new]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("fresh")
	st.turn()
	s.delete("/v1/projects/general").refused(http.StatusBadRequest, "Cannot delete the General project")
	s.patch("/v1/projects/general", object{"name": "x"}).refused(http.StatusBadRequest, "Cannot rename the General project")
}
