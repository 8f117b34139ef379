package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Many go on from one response at once: each from exactly that history, none is
// lost, and nobody is turned away but for want of room.
func TestBranchRace(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	first := s.create(object{"input": "first"})
	last := s.create(object{"input": "second", "previous_response_id": first.ID})
	const n = 64
	type result struct {
		response
		question string
		from     string
	}
	results := make(chan result, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			from, q := last.ID, fmt.Sprintf("of the newest %02d", i)
			if i%4 == 3 {
				from, q = first.ID, fmt.Sprintf("of the first %02d", i)
			}
			for { // one that finds the newest busy is told to wait, and does
				a, err := s.try(http.MethodPost, "/v1/responses", object{"input": q, "previous_response_id": from, "stream": false})
				switch {
				case err != nil:
					t.Error(err)
					return
				case a.status == http.StatusConflict || a.status == http.StatusTooManyRequests:
					time.Sleep(time.Millisecond)
				case a.status != http.StatusOK:
					t.Errorf("%v", a)
					return
				default:
					results <- result{decode[response](t, a.body), q, from}
					return
				}
			}
		})
	}
	all.Wait()
	close(results)
	before := map[string][]string{last.ID: {"user: first", "assistant: About first", "user: second", "assistant: About second"},
		first.ID: {"user: first", "assistant: About first"}}
	seen := map[string]bool{}
	inPlace := 0
	for r := range results {
		want := append(slices.Clone(before[r.from]), "user: "+r.question)
		if got := p.about(t, r.question).transcript(); !slices.Equal(got, want) {
			t.Errorf("%s: the model sees %q, want %q", r.question, got, want)
		}
		if got := history(t, s, r.ConversationID); !slices.Equal(got, append(want, "assistant: About "+r.question)) {
			t.Errorf("%s: messages %q", r.question, got)
		}
		if seen[r.ConversationID] || r.OutputText != "About "+r.question {
			t.Errorf("%s: %+v", r.question, r)
		}
		seen[r.ConversationID] = true
		if r.ConversationID == first.ConversationID {
			inPlace++
		}
	}
	if len(seen) != n || inPlace != 1 || len(conversations(t, s, "?project=all")) != n {
		t.Errorf("%d conversations, %d turns in the first one, %v", len(seen), inPlace, conversations(t, s, "?project=all"))
	}
}

// A response that is deleted while others go on from it: each of them either
// has its whole history, or is told that it is gone. What was answered stays.
func TestBranchRaceWithDeletion(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	rounds := 12
	if soak {
		rounds = 300
	}
	for round := range rounds {
		a := s.create(object{"input": "one"})
		b := s.create(object{"input": "two", "previous_response_id": a.ID})
		doomed := []string{a.ID, b.ID}[round%2]
		from := []string{b.ID, a.ID, doomed}[round%3]
		const n = 6
		answers := make([]answer, n)
		var all sync.WaitGroup
		all.Go(func() {
			time.Sleep(time.Duration(round%5) * time.Millisecond)
			if _, err := s.try(http.MethodDelete, "/v1/responses/"+doomed, nil); err != nil {
				t.Error(err)
			}
		})
		for i := range n {
			all.Go(func() {
				var err error
				body := object{"input": fmt.Sprintf("round %d asker %d", round, i), "previous_response_id": from, "stream": false}
				if answers[i], err = s.try(http.MethodPost, "/v1/responses", body); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i, got := range answers {
			q := fmt.Sprintf("round %d asker %d", round, i)
			switch got.status {
			case http.StatusOK:
				r := decode[response](t, got.body)
				tail := []string{"user: " + q, "assistant: About " + q}
				if ms := history(t, s, r.ConversationID); len(ms) < 2 || !slices.Equal(ms[len(ms)-2:], tail) {
					t.Errorf("%s: messages %q", q, ms)
				}
				// What it goes on from was there when it began.
				if ts := p.about(t, q).transcript(); from == doomed && !slices.Contains(ts, "assistant: About "+map[string]string{a.ID: "one", b.ID: "two"}[from]) {
					t.Errorf("%s: the model sees %q", q, ts)
				}
			case http.StatusConflict, http.StatusBadRequest:
				got.shape()
			default:
				t.Errorf("%v", got)
			}
		}
	}
}

// The last response of a conversation is deleted while new turns begin in it: a
// turn that was answered is there afterwards.
func TestDeletionRaceWithNewTurns(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	rounds := 20
	if soak {
		rounds = 500
	}
	for round := range rounds {
		id := fmt.Sprintf("race-%d", round)
		r := s.create(object{"input": "only", "conversation": id})
		deletion := s.begin(http.MethodDelete, "/v1/responses/"+r.ID, nil)
		answered := s.begin(http.MethodPost, "/v1/responses", object{"input": "new", "conversation": id, "stream": false})
		if a := deletion(); a.status != http.StatusOK {
			t.Errorf("%v", a)
		}
		a := answered()
		if a.status != http.StatusOK || decode[response](t, a.body).Status != "completed" {
			t.Fatalf("%v", a)
		}
		got := history(t, s, id)
		if !slices.Equal(got, []string{"user: new", "assistant: About new"}) {
			t.Fatalf("messages %q", got)
		}
	}
}

// Whoever reads while turns are deleted sees each of them whole or not at all.
func TestDeletionRaceWithReaders(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("About ", c.asked()) })
	s := start(t, withModel(p))
	rounds := 3
	if soak {
		rounds = 100
	}
	for round := range rounds {
		id := fmt.Sprintf("read-%d", round)
		responses := bulkyAnswered(s, id, 8)
		over := make(chan struct{})
		var readers sync.WaitGroup
		for i, path := range []string{"/v1/conversations/" + id + "/messages", "/v1/conversations/" + id + "/items?limit=100", "/v1/responses/" + responses[2],
			"/v1/responses/" + responses[4] + "/input_items", "/v1/responses/" + responses[6] + "?stream=true", "POST"} {
			readers.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-over:
						return
					default:
					}
					var a answer
					var err error
					if path == "POST" {
						a, err = s.try(http.MethodPost, "/v1/responses", object{"input": fmt.Sprintf("aside %d", n), "conversation": id, "store": false, "stream": false})
					} else {
						a, err = s.try(http.MethodGet, path, nil)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if a.status != http.StatusOK && a.status != http.StatusNotFound {
						t.Errorf("reader %d: %v", i, a)
						return
					}
				}
			})
		}
		for _, r := range responses[:7] {
			s.delete("/v1/responses/" + r).ok()
		}
		close(over)
		readers.Wait()
		if got := messages(t, s, id); len(got) != 2 {
			t.Errorf("%d messages left", len(got))
		}
	}
}

// bulkyAnswered is bulky for a model that answers by itself.
func bulkyAnswered(s *server, id string, turns int) (responses []string) {
	s.t.Helper()
	for i := range turns {
		text := fmt.Sprintf("%s %d %s", id, i, strings.Repeat("viel Text ", 7_000))
		responses = append(responses, s.create(object{"input": text, "conversation": id}).ID)
	}
	return responses
}
