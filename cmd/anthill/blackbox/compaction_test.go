package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const rule = "Rule: never touch the folder `prod-7`, and answer in French."

// compactions are what the frames of a turn say of compaction.
func compactions(t *testing.T, frames []frame) (list []object) {
	t.Helper()
	for _, f := range frames {
		if f.ThoughtRole == "thought.context_compacted" {
			o := decode[object](t, f.data)
			if f.Content == "" {
				t.Errorf("it says nothing: %s", f.data)
			}
			list = append(list, o["compaction"].(object))
		}
	}
	return list
}

// talk is a conversation of many turns, some with calls of tools, each with
// about the same number of bytes. answer tells a turn's call from others.
func talk(t *testing.T, s *server, turns, size int) {
	t.Helper()
	for i := range turns {
		q := fmt.Sprintf("question %d %s", i, strings.Repeat("word ", size/5))
		if i == 0 {
			q = rule + " " + q
		}
		s.ask(object{"input": q, "conversation": "c"}).turn()
	}
}

// scripted answers everything: every other question is worked on with a tool
// first; summaries are told by their system prompt.
func scripted(summary func(c *call)) func(*call) {
	return func(c *call) {
		switch {
		case strings.Contains(c.system(), "You compact the history"):
			summary(c)
		case strings.HasPrefix(c.asked(), "question") && len(c.asked())%2 == 0 && c.Messages[len(c.Messages)-1].Role == "user":
			c.tool(0, fmt.Sprintf("call_%d", len(c.Messages)), "list_files", `{}`).finish("tool_calls")
		default:
			c.say("answer to " + strings.Fields(c.asked() + " -")[1])
		}
	}
}

// ordered says what is wrong with the messages of a request: pairs that are
// split, or two of the user in a row.
func ordered(c *call) error {
	if err := c.paired(); err != nil {
		return err
	}
	last := ""
	for i, m := range c.Messages {
		if m.Role == "user" && last == "user" {
			return fmt.Errorf("messages %d and %d are the user's", i-1, i)
		}
		last = m.Role
	}
	return nil
}

// turnsOf are the calls of a provider that are no summaries, oldest first.
func (p *provider) turnsOf() (list []*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.seen {
		if !strings.Contains(c.system(), "You compact the history") {
			list = append(list, c)
		}
	}
	return list
}

// A long conversation is made to fit before a provider refuses it: requests stay
// below the window, valid, and keep what was said at the start; what is stored
// stays whole; and the next turns, also after a restart, do not pay again.
func TestCompactionEarly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ aux, method, sign string }{
		"by a model": {"on", "summary", "SUMMARY-OF-IT"},
		"without":    {"off", "extract", "question 1"},
		"it fails":   {"on", "extract", "question 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			summaries := 0
			p := newProvider(t, scripted(func(c *call) {
				if summaries++; name == "it fails" {
					c.fail(http.StatusInternalServerError, `{"error":{"message":"no"}}`, nil)
					return
				}
				c.say("Goal: SUMMARY-OF-IT")
			}))
			s := start(t, withModel(p), withEnv("ANTON_CONTEXT_WINDOW=8000", "ANTON_AUX_LLM="+tc.aux))
			talk(t, s, 12, 2000)
			var told []object
			var shown, questions int
			for _, m := range s.get("/v1/conversations/c/messages").ok()["messages"].([]any) {
				m := m.(object)
				if str(m, "role") == "user" {
					questions++
					continue
				}
				shown++
				for _, ev := range m["events"].([]any) {
					if ev := ev.(object); ev["thought_role"] == "thought.context_compacted" {
						told = append(told, ev["compaction"].(object))
					}
				}
			}
			if shown != 12 || questions != 12 {
				t.Errorf("%d questions and %d answers are shown", questions, shown)
			}
			if len(told) == 0 || len(told) > 6 {
				t.Fatalf("compacted %d times", len(told))
			}
			for _, o := range told {
				if o["method"] != tc.method || o["messages_dropped"].(float64) < 2 || o["tokens_after"].(float64) >= o["tokens_before"].(float64) {
					t.Errorf("told of %v", o)
				}
			}
			if want := tc.aux == "on"; (summaries > 0) != want {
				t.Errorf("a model was asked for %d summaries", summaries)
			}
			calls := p.turnsOf()
			for i, c := range calls {
				if err := ordered(c); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
				if n := len(c.body) - len(c.system()); n > 8000*4+12_000 {
					t.Errorf("request %d has %d bytes", i, n)
				}
				if first := c.Messages[1].text(); !strings.HasPrefix(first, rule+" question 0") {
					t.Errorf("request %d begins with %.80q", i, first)
				}
			}
			last := calls[len(calls)-1]
			if all := string(last.body); !strings.Contains(all, tc.sign) || !strings.Contains(all, "for reference only") {
				t.Error("the last request has no summary")
			}
			before := summaries
			s.stop()
			s.restart()
			s.ask(object{"input": "question 12", "conversation": "c"}).turn()
			last = p.turnsOf()[len(p.turnsOf())-1]
			if summaries != before || !strings.Contains(string(last.body), "for reference only") {
				t.Errorf("after a restart: %d summaries more", summaries-before)
			}
			// What was deleted is not spoken of in a summary.
			s.delete("/v1/conversations/c/turns/1").ok()
			s.ask(object{"input": "question 13", "conversation": "c"}).turn()
			last = p.turnsOf()[len(p.turnsOf())-1]
			if strings.Contains(string(last.body), "question 1 word") {
				t.Error("a deleted question is still shown to the model")
			}
			s.delete("/v1/conversations/c").ok()
			nothingLeft(t, s)
		})
	}
}

// overflows are how providers of chat completions say that a request is too long.
var overflows = []string{
	`{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}`,
	`{"error":{"message":"prompt is too long: 213462 tokens > 200000 maximum","type":"invalid_request_error"}}`,
}

// A provider that refuses a request for its length is asked again with less, at
// most twice, and what is told is the same live, by tail, by id and in /messages.
func TestCompactionAfterOverflow(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]int{"once": 1, "twice": 2, "always": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left, overflowed := 0, 0
			answer := scripted(func(c *call) { c.say("Goal: SUMMARY-OF-IT") })
			p := newProvider(t, func(c *call) {
				if left > 0 && !strings.Contains(c.system(), "You compact the history") {
					left--
					c.fail(http.StatusBadRequest, overflows[overflowed%2], nil)
					overflowed++
					return
				}
				answer(c)
			})
			s := start(t, withModel(p))
			s.put("/v1/projects/general/files/a.txt", object{"content": strings.Repeat("long line of a file ", 1000)}).ok()
			talk(t, s, 5, 500)
			left = refused
			st := s.ask(object{"input": "question 5 " + rule, "conversation": "c"})
			tn := st.turn()
			told := compactions(t, tn.frames)
			want := min(refused, 2)
			if len(told) != want || overflowed != min(refused, 3) {
				t.Fatalf("refused %d times, compacted %d times", overflowed, len(told))
			}
			if refused > 2 {
				if tn.end.Type != "response.failed" || tn.end.Code != "context_overflow" {
					t.Errorf("ends with %s", tn.end.data)
				}
			} else if tn.end.Type != "response.completed" {
				t.Errorf("ends with %s", tn.end.data)
			}
			if refused >= 2 && told[1]["method"] != "truncate" {
				t.Errorf("at last %v", told[1])
			}
			calls := p.turnsOf()
			for i, c := range calls {
				if err := ordered(c); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
				if !strings.HasPrefix(c.Messages[1].text(), rule) {
					t.Errorf("request %d lost what was said first", i)
				}
			}
			if n := len(calls); len(calls[n-1].body) >= len(calls[n-1-want].body) {
				t.Error("the request did not get shorter")
			}
			sameFrames(t, "tail", s.tail("c", 0).rest(), tn.frames)
			sameFrames(t, "by id", s.replay(tn.responseID, "").rest(), tn.frames)
			messages := s.get("/v1/conversations/c/messages").body
			for _, f := range tn.frames {
				if f.ThoughtRole == "thought.context_compacted" && !strings.Contains(string(messages), string(f.data)) {
					t.Error("/messages tells it otherwise")
				}
			}
			// The next turn begins with what fits.
			left = 0
			s.ask(object{"input": "question 6", "conversation": "c"}).turn()
			calls = p.turnsOf()
			if !strings.Contains(string(calls[len(calls)-1].body), "for reference only") {
				t.Error("the next turn begins with everything")
			}
		})
	}
}

// A turn that is long by itself keeps what it was asked, and its pairs, wherever
// it happens to be cut.
func TestCompactionInATurn(t *testing.T) {
	t.Parallel()
	for _, window := range []int{9_000, 10_000, 11_000, 12_000, 13_000} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			t.Parallel()
			rounds := 0
			p := newProvider(t, func(c *call) {
				switch rounds++; {
				case rounds > 14:
					c.say("done")
				case rounds%3 == 0:
					c.text("Reading. ").tool(0, fmt.Sprintf("call_%d", rounds), "read_file", `{"path":"a.txt"}`).
						tool(1, fmt.Sprintf("more_%d", rounds), "read_file", `{"path":"a.txt"}`).finish("tool_calls")
				default:
					c.tool(0, fmt.Sprintf("call_%d", rounds), "read_file", `{"path":"a.txt"}`).finish("tool_calls")
				}
			})
			s := start(t, withModel(p), withEnv(fmt.Sprint("ANTON_CONTEXT_WINDOW=", window), "ANTON_AUX_LLM=off"))
			s.put("/v1/projects/general/files/a.txt", object{"content": strings.Repeat("line of a file\n", 250)}).ok()
			rounds = 14
			for range window / 1000 % 3 { // so that cuts fall elsewhere
				s.ask(object{"input": "hello", "conversation": "c"}).turn()
			}
			rounds = 0
			s.ask(object{"input": rule, "conversation": "c"}).turn()
			rounds = 0
			tn := s.ask(object{"input": "THE TASK: read it often", "conversation": "c"}).turn()
			if !strings.HasSuffix(tn.text, "done") || len(compactions(t, tn.frames)) == 0 {
				t.Errorf("%q, compacted %d times", tn.text, len(compactions(t, tn.frames)))
			}
			for i, c := range p.turnsOf() {
				if err := ordered(c); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
				all, err := json.Marshal(c.Messages)
				if err != nil {
					t.Fatal(err)
				}
				if i > 20 && !strings.Contains(string(all), "THE TASK: read it often") {
					t.Errorf("request %d lost what it is about", i)
				}
			}
		})
	}
}

// Who keeps the history itself, or says so, is told of the overflow.
func TestCompactionNotWanted(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.fail(http.StatusBadRequest, overflows[0], nil) })
	s := start(t, withModel(p))
	var long []object
	for i := range 20 {
		long = append(long, object{"role": []string{"user", "assistant"}[i%2], "content": fmt.Sprint("message ", i)})
	}
	long = append(long, object{"role": "user", "content": "now"})
	for name, body := range map[string]object{
		"truncation": {"input": long, "truncation": "disabled"},
		"bare":       {"input": long, "store": false, "tools": []object{function("fetch")}},
	} {
		tn := s.ask(body).turn()
		if tn.end.Code != "context_overflow" || len(compactions(t, tn.frames)) != 0 {
			t.Errorf("%s: %s", name, tn.end.data)
		}
	}
	if n := len(p.turnsOf()); n != 2 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestCompactionSettings(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("ok") })
	for _, env := range []string{"ANTON_CONTEXT_WINDOW=big", "ANTON_CONTEXT_WINDOW=1", "ANTON_CONTEXT_PRESSURE_THRESHOLD=2",
		"ANTON_CONTEXT_PRESSURE_THRESHOLD=NaN", "ANTON_AUX_LLM=perhaps"} {
		s := start(t, withModel(p), withEnv(env))
		name, _, _ := strings.Cut(env, "=")
		if o := s.post("/v1/responses", object{"input": "q"}).got(http.StatusBadRequest); !strings.Contains(str(o, "detail"), name) {
			t.Errorf("%s: %v", env, o)
		}
	}
}

// The verifier sends a turn on that says it is done and is not; it is off unless
// it is asked for, and no auxiliary call is made with ANTON_AUX_LLM=off.
func TestVerifier(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env  []string
		want string
	}{
		"default": {nil, "half"},
		"on":      {[]string{"ANTON_COMPLETION_VERIFIER=on"}, "half whole"},
		"no aux":  {[]string{"ANTON_COMPLETION_VERIFIER=on", "ANTON_AUX_LLM=off"}, "half"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var verdicts []string
			p := newProvider(t, func(c *call) {
				switch {
				case strings.Contains(c.system(), "You verify whether"):
					v := []string{"INCOMPLETE", "COMPLETE"}[min(len(verdicts), 1)]
					verdicts = append(verdicts, v)
					c.say(`{"status":"` + v + `","reason":"The second half is missing."}`)
				case c.Messages[len(c.Messages)-1].Role == "user":
					c.tool(0, "call_a", "list_files", `{}`).finish("tool_calls")
				case strings.Contains(c.system(), "The second half is missing."):
					c.say(" whole")
				default:
					c.say("half")
				}
			})
			s := start(t, withModel(p), withEnv(tc.env...))
			tn := s.ask(object{"input": "do both", "conversation": "c"}).turn()
			if got := strings.Join(strings.Fields(tn.text), " "); got != tc.want {
				t.Errorf("said %q after %v", got, verdicts)
			}
			if asked := len(verdicts) > 0; asked != slices.Equal(tc.env, []string{"ANTON_COMPLETION_VERIFIER=on"}) {
				t.Errorf("verified %v", verdicts)
			}
		})
	}
}
