package blackbox

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// eachProtocol runs a test against a program of its own for each protocol.
func eachProtocol(t *testing.T, run func(t *testing.T, f *faulty)) {
	t.Helper()
	byName := map[string]*wireProtocol{}
	for _, p := range wireProtocols {
		byName[p.engine] = p
	}
	sideBySide(t, byName, func(t *testing.T, _ string, p *wireProtocol) { run(t, newFaulty(t, p)) })
}

// sideBySide runs subtests at once, however few processors there are: they wait
// for disks and clocks, not for the processor.
func sideBySide[K comparable, V any](t *testing.T, cases map[K]V, run func(*testing.T, K, V)) {
	t.Helper()
	var all sync.WaitGroup
	for k, v := range cases {
		all.Go(func() {
			t.Run(fmt.Sprint(k), func(t *testing.T) { run(t, k, v) })
		})
	}
	all.Wait()
}

// order has the provider do something, in a conversation that goes on if it is named.
func (s *server) order(name, conversation string) *stream {
	s.t.Helper()
	body := object{"input": "order " + name}
	if conversation != "" {
		body["conversation"] = conversation
	}
	return s.ask(body)
}

// obeyed is order read to its end, as the only thing that happens: thousands of
// turns come by here.
func (s *server) obeyed(name, conversation string) *turn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	body := object{"input": "order " + name, "stream": true}
	if conversation != "" {
		body["conversation"] = conversation
	}
	req, err := s.request(ctx, http.MethodPost, "/v1/responses", body, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var frames []frame
	if err := readFrames(res.Body, func(f frame) { frames = append(frames, f) }); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("order %s: %d, %v", name, res.StatusCode, err)
	}
	return checkTurn(s.t, frames)
}

// F13: a stream that is cut at any byte is an incomplete answer. What was said is
// kept, no tool runs from what was not said to its end, and the conversation goes
// on. The body just ends or the connection breaks, by turns, or both with
// ANTHILL_SOAK; with the race detector, which makes it slow, some of the bytes
// are enough, since make e2e runs it without.
func TestFaultCutAtEveryByte(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, f *faulty) {
		samples := map[string]recording{"text": f.text, "call": f.call}
		f.on("cut-", func(w *wireAnswer, _ int) {
			var n int
			kind, rest, _ := strings.Cut(strings.TrimPrefix(w.order, "cut-"), "-")
			if _, err := fmt.Sscanf(rest, "%d", &n); err != nil {
				t.Errorf("order %q: %v", w.order, err)
			}
			w.send(samples[kind].wire()[:n])
			if strings.HasSuffix(w.order, "hard") {
				w.cut()
			}
		})
		s := f.start()
		const shards = 8
		jobs := map[string]int{}
		for kind := range samples {
			for i := range shards {
				jobs[fmt.Sprintf("%s-%d", kind, i)] = i
			}
		}
		sideBySide(t, jobs, func(t *testing.T, name string, first int) {
			kind, _, _ := strings.Cut(name, "-")
			c := &cutting{t: t, s: s.with(t), faulty: f, kind: kind, sample: samples[kind]}
			for n := first; n <= len(c.sample.wire()); n += shards {
				if raceOn && !soak && n%53 != 0 {
					continue
				}
				if soak || n/shards%2 == 0 {
					c.cut(n, "soft")
				}
				if soak || n/shards%2 == 1 {
					c.cut(n, "hard")
				}
			}
			c.close()
		})
	})
}

// cutting lets streams be cut in one conversation after the other.
type cutting struct {
	*faulty
	t      *testing.T
	s      *server
	kind   string
	sample recording

	conversation string
	turns        []*turn
}

func (c *cutting) cut(n int, how string) {
	c.t.Helper()
	order := fmt.Sprintf("cut-%s-%d-%s", c.kind, n, how)
	tn := c.s.obeyed(order, c.conversation)
	least, most, may, must := c.sample.after(n)
	results, ran := 0, c.kind == "call" && tn.end.Type == "response.completed"
	if ran {
		results, least, most = 1, least+answerText, most+answerText
	}
	switch kind := tn.end.Type; {
	case kind == "response.completed" && !may, kind == "response.incomplete" && must,
		kind != "response.completed" && (kind != "response.incomplete" || tn.final.reason() != "stream_cut"):
		c.t.Fatalf("%s of %d: ends as %s", order, len(c.sample.wire()), tn.end.data)
	case tn.text != least && tn.text != most:
		c.t.Fatalf("%s: says %q, want %q or %q", order, tn.text, least, most)
	case c.calls(order) != 1 || c.calls(order+" result") != results:
		c.t.Fatalf("%s: the model was asked %d times and told %d results, want 1 and %d", order, c.calls(order), c.calls(order+" result"), results)
	}
	for _, it := range tn.calls() {
		if !ran && (it.Status == "completed" || it.Output != nil) {
			c.t.Fatalf("%s: a call that was cut off was run: %+v", order, it)
		}
	}
	c.conversation, c.turns = tn.conversation, append(c.turns, tn)
	if len(c.turns) == 24 {
		c.close()
	}
}

// close asks once more in the conversation, and reads it again.
func (c *cutting) close() {
	c.t.Helper()
	if len(c.turns) == 0 {
		return
	}
	tn := c.s.obeyed("answer", c.conversation)
	if tn.end.Type != "response.completed" || tn.text != answerText {
		c.t.Fatalf("after %d turns: %q, then %s", len(c.turns), tn.text, tn.end.data)
	}
	ms := messages(c.t, c.s, c.conversation)
	if len(ms) != 2*len(c.turns)+2 {
		c.t.Fatalf("%d messages of %d turns", len(ms), len(c.turns)+1)
	}
	for i, tn := range append(c.turns, tn) {
		if m := ms[2*i+1]; m.Content != tn.final.OutputText || "response."+m.Status != tn.end.Type {
			c.t.Fatalf("turn %d is stored as %q (%s), was %q (%s)", i, m.Content, m.Status, tn.final.OutputText, tn.end.Type)
		}
	}
	c.conversation, c.turns = "", nil
}

// F13: however a stream is written, it says the same.
func TestFaultOddStreams(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("ä\\n", 30_000)
	eachProtocol(t, func(t *testing.T, f *faulty) {
		wire := f.text.wire()
		odd := map[string]string{
			"crlf":     strings.ReplaceAll(wire, "\n", "\r\n"),
			"comments": ": begin\n\n" + strings.ReplaceAll(wire, "data: ", ": keep\n:\ndata: ") + ": end\n\n",
			"unspaced": strings.NewReplacer("data: ", "data:", "event: ", "event:").Replace(wire),
			"ids":      strings.ReplaceAll(wire, "data: ", "id: 7\nretry: 10\ndata: "),
			"huge":     strings.ReplaceAll(wire, "Größe ", huge),
		}
		for name, stream := range odd {
			f.on(name, func(w *wireAnswer, _ int) { w.send(stream) })
		}
		f.on("dribble", func(w *wireAnswer, _ int) {
			for i := range len(wire) {
				w.send(wire[i : i+1])
			}
		})
		s := f.start()
		sideBySide(t, map[string]string{"crlf": answerText, "comments": answerText, "unspaced": answerText, "ids": answerText, "dribble": answerText,
			"huge": strings.ReplaceAll(answerText, "Größe ", strings.ReplaceAll(huge, `\n`, "\n"))},
			func(t *testing.T, name, want string) {
				if tn := s.with(t).order(name, "").turn(); tn.end.Type != "response.completed" || tn.text != want {
					t.Errorf("%s of %d bytes, want %d: %q", tn.end.Type, len(tn.text), len(want), clip([]byte(tn.text)))
				}
			})
	})
}

// F13: an error in a stream that began well, and what is no JSON, end the turn as
// failed; what was said is kept, and the model is not asked again for it.
func TestFaultErrorInStream(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, f *faulty) {
		begun := f.begun()
		troubles := map[string]string{"trouble": f.trouble(f), "nonsense": "data: <" + providerCanary + f.key + ">\n\n", "half": "data: {\"type\":\n\n"}
		for name, trouble := range troubles {
			f.on("late-"+name, func(w *wireAnswer, _ int) { w.send(begun + trouble) })
			f.on("early-"+name, func(w *wireAnswer, attempt int) {
				if attempt == 1 {
					w.send(trouble)
					return
				}
				w.send(f.text.wire())
			})
		}
		s := f.start()
		sideBySide(t, troubles, func(t *testing.T, name, _ string) {
			s := s.with(t)
			tn := s.order("late-"+name, "").turn()
			if tn.end.Type != "response.failed" || tn.text != "Größe " || f.calls("late-"+name) != 1 {
				t.Errorf("%q, then %s; asked %d times", tn.text, tn.end.data, f.calls("late-"+name))
			}
			if ms := messages(t, s, tn.conversation); len(ms) != 2 || ms[1].Status != "failed" || ms[1].Content != tn.text {
				t.Errorf("stored %+v", ms)
			}
			if next := s.order("answer", tn.conversation).turn(); next.text != answerText {
				t.Errorf("then %q, %s", next.text, next.end.data)
			}
			// Before anything is said the model may be asked again, or not; the turn ends once.
			if tn := s.order("early-"+name, "").turn(); tn.end.Type == "response.completed" && tn.text != answerText || tn.end.Type == "response.incomplete" {
				t.Errorf("early: %q, then %s", tn.text, tn.end.data)
			}
		})
	})
}

// F11: a provider that is busy is asked again when it says, and not before.
func TestFaultRetryAfter(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, f *faulty) {
		var first, second time.Time
		f.on("busy", func(w *wireAnswer, attempt int) {
			if attempt == 1 {
				first = time.Now()
				w.refuse(http.StatusTooManyRequests, "rate_limit_error", headers("Retry-After", "2"))
				return
			}
			second = time.Now()
			w.send(f.text.wire())
		})
		s := f.start()
		tn := s.order("busy", "").turn()
		if tn.end.Type != "response.completed" || tn.text != answerText || f.calls("busy") != 2 {
			t.Errorf("%q, then %s; asked %d times", tn.text, tn.end.data, f.calls("busy"))
		}
		if waited := second.Sub(first); waited < 2*time.Second {
			t.Errorf("asked again after %v, although told to wait 2 s", waited)
		}
		if tn := s.order("answer", tn.conversation).turn(); tn.text != answerText {
			t.Errorf("then %q", tn.text)
		}
	})
}

// F11: a provider in trouble for good is given up after a few attempts; one that
// recovers is not.
func TestFaultRefused(t *testing.T) {
	t.Parallel()
	type refusal struct {
		kind, code string
	}
	refusals := map[int]refusal{
		429: {"rate_limit_error", "rate_limited"}, 500: {"api_error", "provider_unreachable"},
		503: {"api_error", "provider_overloaded"}, 529: {"overloaded_error", "provider_overloaded"},
	}
	eachProtocol(t, func(t *testing.T, f *faulty) {
		for status, r := range refusals {
			f.on(fmt.Sprintf("always-%d", status), func(w *wireAnswer, _ int) { w.refuse(status, r.kind, nil) })
			f.on(fmt.Sprintf("once-%d", status), func(w *wireAnswer, attempt int) {
				if attempt == 1 {
					w.refuse(status, r.kind, nil)
					return
				}
				w.send(f.text.wire())
			})
		}
		s := f.start()
		sideBySide(t, refusals, func(t *testing.T, status int, r refusal) {
			s := s.with(t)
			once, always := fmt.Sprintf("once-%d", status), fmt.Sprintf("always-%d", status)
			tn := s.order(once, "").turn()
			if tn.end.Type != "response.completed" || tn.text != answerText || f.calls(once) != 2 {
				t.Errorf("%q, then %s; asked %d times", tn.text, tn.end.data, f.calls(once))
			}
			tn = s.order(always, tn.conversation).turn()
			if n := f.calls(always); tn.end.Type != "response.failed" || tn.end.Code != r.code || tn.text != "" || n < 2 || n > 8 {
				t.Errorf("%s, asked %d times", tn.end.data, n)
			}
			if tn := s.order("answer", tn.conversation).turn(); tn.text != answerText {
				t.Errorf("then %q", tn.text)
			}
		})
	})
}

// F12: a provider that says nothing is given up: before its first byte after one
// limit, between two bytes after another. The call is ended, and the
// conversation is free again.
func TestFaultStall(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, f *faulty) {
		stalls := map[string]string{"mute": "", "head-only": "", "middle": "Größe ", "call": callText} // what each says before
		left := map[string]chan struct{}{}
		for name := range stalls {
			left[name] = make(chan struct{}, 16)
		}
		stall := func(w *wireAnswer) { w.stall(); left[w.order] <- struct{}{} }
		f.on("mute", func(w *wireAnswer, _ int) { <-w.gone; left[w.order] <- struct{}{} })
		f.on("head-only", func(w *wireAnswer, _ int) { stall(w) })
		f.on("middle", func(w *wireAnswer, _ int) { w.send(f.begun()); stall(w) })
		f.on("call", func(w *wireAnswer, _ int) {
			wire := f.call.wire()
			w.send(wire[:strings.Index(wire, "rdner")])
			stall(w)
		})
		f.on("mute-once", func(w *wireAnswer, attempt int) {
			if attempt == 1 {
				<-w.gone
				return
			}
			w.send(f.text.wire())
		})
		s := f.start(withEnv("ANTON_PROVIDER_FIRST_BYTE_TIMEOUT=1s", "ANTON_PROVIDER_IDLE_TIMEOUT=1s"))
		sideBySide(t, stalls, func(t *testing.T, name, text string) {
			s := s.with(t)
			tn := s.order(name, "").turn()
			if tn.end.Type != "response.failed" || tn.end.Code != "provider_timeout" || tn.text != text {
				t.Errorf("%q, then %s", tn.text, tn.end.data)
			}
			for range f.calls(name) {
				select {
				case <-left[name]:
				case <-time.After(patience):
					t.Fatal("a call that stalled was not ended")
				}
			}
			if n := f.calls(name); (text != "") != (n == 1) || f.calls(name+" result") != 0 {
				t.Errorf("asked %d times, told %d results", n, f.calls(name+" result"))
			}
			if ms := messages(t, s, tn.conversation); len(ms) != 2 || ms[1].Status != "failed" || ms[1].Content != text {
				t.Errorf("stored %+v", ms)
			}
			if tn := s.order("answer", tn.conversation).turn(); tn.text != answerText {
				t.Errorf("then %q", tn.text)
			}
		})
		if tn := s.order("mute-once", "").turn(); tn.text != answerText || f.calls("mute-once") != 2 {
			t.Errorf("%q, then %s; asked %d times", tn.text, tn.end.data, f.calls("mute-once"))
		}
	})
}

// F14: a client that leaves stops nothing that is stored, and finds all of it
// later, once; what is not stored ends with its client.
func TestFaultClientLeaves(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, f *faulty) {
		goOn, gone := make(chan struct{}), make(chan struct{})
		f.on("slow", func(w *wireAnswer, _ int) {
			w.send(f.begun())
			<-goOn
			w.send(strings.TrimPrefix(f.text.wire(), f.begun()))
		})
		f.on("forgotten", func(w *wireAnswer, _ int) {
			w.send(f.begun())
			<-w.gone
			close(gone)
		})
		s := f.start()
		st := s.order("slow", "")
		seen := st.untilText("Größe ")
		conversation := st.seen[0].ConversationID
		st.abort()
		live := s.tail(conversation, seen.seq()+1)
		close(goOn)
		rest := live.rest()
		whole := s.tail(conversation, 0).turn()
		if whole.text != answerText || whole.end.Type != "response.completed" {
			t.Errorf("%q, then %s", whole.text, whole.end.data)
		}
		var later []frame
		for _, fr := range whole.frames {
			if fr.Type == "response.created" || fr.seq() > seen.seq() {
				later = append(later, fr)
			}
		}
		sameFrames(t, "the tail from where the client left", rest, later)
		if f.calls("slow") != 1 {
			t.Errorf("asked %d times", f.calls("slow"))
		}

		st = s.ask(object{"input": "order forgotten", "store": false})
		st.untilText("Größe ")
		st.abort()
		select {
		case <-gone:
		case <-time.After(patience):
			t.Error("the call goes on for nobody")
		}
	})
}

// A provider that gives the key away in its errors finds no one who tells it on.
func TestFaultCanary(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, f *faulty) {
		f.on("unauthorized", func(w *wireAnswer, _ int) { w.refuse(http.StatusUnauthorized, "authentication_error", later) })
		f.on("forbidden", func(w *wireAnswer, _ int) { w.refuse(http.StatusForbidden, "permission_error", later) })
		f.on("limited", func(w *wireAnswer, _ int) { w.refuse(http.StatusTooManyRequests, f.key, later) })
		f.on("event", func(w *wireAnswer, _ int) { w.send(f.begun() + f.trouble(f)) })
		f.on("nonsense", func(w *wireAnswer, _ int) { w.send("data: <" + providerCanary + f.key + ">\n\n") })
		s := f.start(withArgs("--log-level", "debug"))
		// Users give it by the settings.
		s.do(http.MethodPut, "/v1/settings", object{map[bool]string{true: "anthropicApiKey", false: "openaiApiKey"}[f.engine == "anthropic"]: f.key}).ok()
		for _, name := range []string{"unauthorized", "forbidden", "limited", "event", "nonsense"} {
			t.Run(name, func(t *testing.T) {
				s := s.with(t)
				tn := s.order(name, "").turn()
				if tn.end.Type != "response.failed" {
					t.Errorf("ends as %s", tn.end.data)
				}
				for _, fr := range tn.frames {
					canaries(t, "an event", fr.data, f.key)
				}
				canaries(t, "/messages", s.get("/v1/conversations/"+tn.conversation+"/messages").body, f.key)
				canaries(t, "the response", s.get("/v1/responses/"+tn.responseID).body, f.key)
				a, err := s.try(http.MethodPost, "/v1/responses", object{"input": "order " + name, "stream": false})
				if err != nil {
					t.Fatal(err)
				}
				canaries(t, "the JSON answer", a.body, f.key)
				a, err = s.try(http.MethodPost, "/v1/chat/completions", object{"model": "anton", "messages": []object{{"role": "user", "content": "order " + name}}})
				if err != nil {
					t.Fatal(err)
				}
				canaries(t, "the completion", a.body, f.key)
			})
		}
		for _, path := range []string{"/health", "/v1/settings", "/v1/models", "/v1/conversations?project=all"} {
			canaries(t, path, s.get(path).body, f.key)
		}
		s.stop()
		// The log may quote the provider, but not the key.
		if log := s.stderr.String() + s.stdout.String(); strings.Contains(log, f.key) {
			t.Errorf("the key is in the log: %s", log)
		}
		searchFiles(t, s.home, f.key)
		searchFiles(t, s.user, f.key)
	})
}
