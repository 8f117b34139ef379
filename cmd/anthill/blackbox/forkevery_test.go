package blackbox

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// everything is what can be read of a conversation, byte by byte: its messages,
// items and responses, and what it is itself.
func everything(t *testing.T, s *server, conversation string, responses []string) map[string]string {
	t.Helper()
	out := map[string]string{}
	paths := []string{"/v1/conversations/" + conversation, "/v1/conversations/" + conversation + "/messages",
		"/v1/conversations/" + conversation + "/items?order=asc&limit=100"}
	for _, id := range responses {
		paths = append(paths, "/v1/responses/"+id, "/v1/responses/"+id+"/input_items?limit=100")
	}
	for _, path := range paths {
		a := s.get(path)
		a.ok()
		out[path] = string(a.body)
	}
	return out
}

// A conversation forked at each of its turns, however they ended, stays what it
// was, byte by byte; each copy has what came before and goes on by itself.
func TestForkEveryTurn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	rounds := 3
	if soak {
		rounds = 40
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 8))
		id := fmt.Sprintf("c%d", round)
		responses := randomTurns(t, s, p, rng, id, 4+rng.IntN(3))
		if rng.IntN(2) == 0 { // an item that was taken out stays out of copies
			list := items(t, s, id)
			s.delete("/v1/conversations/" + id + "/items/" + list[rng.IntN(len(list))].ID).ok()
		}
		before := everything(t, s, id, responses)
		whole := history(t, s, id)
		for turn := range responses {
			at := fmt.Sprintf("round %d, turn %d", round, turn)
			copied := s.post("/v1/conversations/"+id+"/fork", object{"turn": turn}).ok()
			fork := str(copied, "id")
			if o, _ := copied["forked_from"].(object); o["conversation_id"] != id || o["turn"] != float64(turn) || o["turn_id"] == "" {
				t.Errorf("%s: forked from %v", at, copied["forked_from"])
			}
			if copied["turns"] != float64(turn+1) || copied["running"] != false || fork == id {
				t.Errorf("%s: %v", at, copied)
			}
			if got := history(t, s, fork); !slices.Equal(got, whole[:2*(turn+1)]) {
				t.Errorf("%s: the copy says %q, the original %q", at, got, whole)
			}
			st := s.ask(object{"input": "and then?", "conversation": fork})
			c := p.nextFor(t)
			if err := c.paired(); err != nil {
				t.Errorf("%s: %v", at, err)
			}
			c.say("then that")
			st.turn()
			if got := history(t, s, fork); !slices.Equal(got, append(slices.Clone(whole[:2*(turn+1)]), "user: and then?", "assistant: then that")) {
				t.Errorf("%s: the copy went on to %q", at, got)
			}
			for path, was := range before {
				if now := string(s.get(path).body); now != was {
					t.Fatalf("%s: %s has changed\nfrom %s\nto   %s", at, path, was, now)
				}
			}
			s.delete("/v1/conversations/" + fork).ok()
		}
		for path, was := range before {
			if now := string(s.get(path).body); now != was {
				t.Fatalf("round %d: without its copies %s has changed", round, path)
			}
		}
	}
	s.stop()
	s.restart()
	for _, id := range conversations(t, s, "?project=all") {
		s.delete("/v1/conversations/" + id).ok()
	}
	nothingLeft(t, s)
}

// randomTurns holds turns that end in every way there is.
func randomTurns(t *testing.T, s *server, p *provider, rng *rand.Rand, id string, n int) (responses []string) {
	t.Helper()
	s.put("/v1/projects/general/files/a.txt", object{"content": "content of a"}).ok()
	file := s.attach("/v1/attachments/general/"+id+"/upload", "files/note.txt", "an attached note")[0]
	s.settled("/v1/attachments/general/" + id)
	for i := range n {
		body := object{"input": fmt.Sprintf("question %d", i), "conversation": id}
		kind := rng.IntN(6)
		if kind == 0 {
			body["attachment_ids"] = []string{file.ID}
		}
		if kind == 1 {
			body["input"] = strings.Repeat(fmt.Sprintf("long question %d ", i), 6000)
		}
		st := s.ask(body)
		c := p.nextFor(t)
		switch kind {
		case 2:
			c.text("Reading. ").tool(0, fmt.Sprint("call_", i), "read_file", `{"path":"a.txt"}`).finish("tool_calls")
			p.nextFor(t).say("Read.")
		case 3:
			play(c, st, "half of ")
			c.fail(http.StatusBadGateway, "{}", nil)
		case 4:
			play(c, st, "half of ")
			s.post("/v1/responses/cancel", object{"conversation_id": id}).ok()
			c.left()
		case 5:
			c.tool(0, fmt.Sprint("call_", i), "list_files", `{}`)
			s.ask(object{"input": fmt.Sprintf("steer %d", i), "conversation": id, "when_busy": "steer"})
			c.finish("tool_calls")
			p.nextFor(t).say("Steered.")
		default:
			c.say(fmt.Sprintf("answer %d", i))
		}
		st.rest()
		responses = append(responses, st.seen[0].responseID(t))
	}
	return responses
}

// A running turn cannot be forked at, those before it can; without a turn the
// newest is meant.
func TestForkWhileBusy(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "one", "conversation": "c"})
	p.next().say("First.")
	st.turn()
	st = s.ask(object{"input": "two", "conversation": "c"})
	c := p.next()
	play(c, st, "Second")
	s.post("/v1/conversations/c/fork", object{"turn": 1}).refused(http.StatusConflict, "")
	s.post("/v1/conversations/c/fork", object{}).refused(http.StatusConflict, "")
	fork := str(s.post("/v1/conversations/c/fork", object{"turn": 0}).ok(), "id")
	c.finish("stop")
	st.turn()
	if got := fmt.Sprint(history(t, s, fork)); got != "[user: one assistant: First.]" {
		t.Errorf("the copy %s", got)
	}
	if o := s.post("/v1/conversations/c/fork", object{}).ok(); o["turns"] != 2.0 {
		t.Errorf("without a turn: %v", o)
	}
}

// leaves looks for a text in every file of a server's directories.
func leaves(t *testing.T, s *server, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(s.home), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// An ephemeral conversation works like any other, but is in no list, in no
// search and on no disk, whatever happens in it, unless a copy is asked for.
func TestEphemeral(t *testing.T) {
	t.Parallel()
	const canary = "zebrafinch-4711"
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "the word is " + canary, "conversation": "secret", "ephemeral": true})
	c := p.next()
	s.ask(object{"input": "and " + canary, "conversation": "secret", "when_busy": "queue"})
	wantQueue(t, s, "secret", "queue and "+canary)
	if got := c.toolNames(); slices.Contains(got, "scratchpad") || slices.Contains(got, "create_artifact") || !slices.Contains(got, "read_file") {
		t.Errorf("the model is offered %v", got)
	}
	c.text(canary+" ").tool(0, "call_a", "list_files", `{}`).finish("tool_calls")
	p.next().say("noted")
	tn := st.turn()
	p.next().say("noted, too: " + canary)
	s.tail("secret", 0).turn()
	if got := history(t, s, "secret"); len(got) != 4 {
		t.Errorf("messages %q", got)
	}
	if r := s.retrieve(tn.responseID); r.Status != "completed" || r.OutputText == "" {
		t.Errorf("retrieved %+v", r)
	}
	if o := s.get("/v1/conversations/secret").ok(); o["ephemeral"] != true || o["turns"] != 2.0 {
		t.Errorf("the conversation %v", o)
	}
	st = s.ask(object{"input": "more", "previous_response_id": s.seenLast("secret")})
	if c = p.next(); !strings.Contains(fmt.Sprint(c.transcript()), canary) {
		t.Error("the conversation is forgotten")
	}
	c.say("fine " + canary)
	st.turn()
	fork := str(s.post("/v1/conversations/secret/fork", object{"turn": 0}).ok(), "id")
	if o := s.get("/v1/conversations/" + fork).ok(); o["ephemeral"] != true {
		t.Errorf("its copy %v", o)
	}
	made := str(s.post("/v1/conversations", object{"ephemeral": true, "items": []object{{"role": "user", "content": canary}}}).ok(), "id")
	s.get("/v1/conversations/" + made + "/items").ok()
	if got := conversations(t, s, "?project=all"); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
	s.finds("/v1/search", canary, "id")
	s.stop()
	if got := leaves(t, s, canary); len(got) != 0 {
		t.Errorf("on disk: %v", got)
	}
	s.restart()
	s.get("/v1/conversations/secret").refused(http.StatusNotFound, "Conversation not found")

	// A stored one has an ephemeral copy, and an ephemeral one a stored copy, when
	// that is what is asked for.
	st = s.ask(object{"input": "plain", "conversation": "plain"})
	p.next().say("ok")
	st.turn()
	s.post("/v1/responses", object{"input": "q", "conversation": "plain", "ephemeral": true}).got(http.StatusUnprocessableEntity)
	fork = str(s.post("/v1/conversations/plain/fork", object{"ephemeral": true}).ok(), "id")
	st = s.ask(object{"input": canary, "conversation": fork})
	p.next().say("ok")
	st.turn()
	if got := fmt.Sprint(conversations(t, s, "?project=all"), leaves(t, s, canary)); got != "[plain] []" {
		t.Errorf("listed and on disk: %s", got)
	}
	kept := str(s.post("/v1/conversations/"+fork+"/fork", object{"ephemeral": false}).ok(), "id")
	if got := fmt.Sprint(history(t, s, kept)); got != "[user: plain assistant: ok user: "+canary+" assistant: ok]" {
		t.Errorf("kept %s", got)
	}
	s.kill()
	s.restart()
	if o := s.get("/v1/conversations/" + kept).ok(); o["ephemeral"] != false || o["turns"] != 2.0 {
		t.Errorf("kept %v", o)
	}
}

// seenLast is the id of the newest response of a conversation.
func (s *server) seenLast(conversation string) string {
	s.t.Helper()
	st := s.tail(conversation, 0)
	st.rest()
	return st.seen[0].responseID(s.t)
}
