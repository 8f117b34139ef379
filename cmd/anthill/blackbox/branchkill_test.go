package blackbox

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// rows counts what is in the files of a store, which no program may hold, by the
// name of the table that each key begins with.
func rows(t *testing.T, home string) map[string]int {
	t.Helper()
	out := map[string]int{}
	files, err := filepath.Glob(filepath.Join(home, "store", "*.db"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v %v", files, err)
	}
	for _, file := range files {
		db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("rows")).ForEach(func(k, _ []byte) error {
				name, _, _ := bytes.Cut(k[1:], []byte{0})
				out[string(name)]++
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	return out
}

// bulky is a conversation that takes a while to copy: turns with large texts.
func bulky(t *testing.T, s *server, p *provider, id string, turns int) (responses []string, want []string) {
	t.Helper()
	large := strings.Repeat("viel Text ", 8_000) // beyond what a row of the store holds
	for i := range turns {
		q := fmt.Sprintf("%s question %d %s", id, i, large)
		st := s.ask(object{"input": q, "conversation": id})
		c := p.nextFor(t)
		c.say(fmt.Sprintf("answer %d", i))
		responses = append(responses, st.turn().responseID)
		want = append(want, "user: "+q, fmt.Sprintf("assistant: answer %d", i))
	}
	return responses, want
}

// Whenever the program dies while it copies a conversation, no half copy is
// ever seen, the original is whole, and nothing is left behind in the files.
func TestBranchKilled(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	const turns = 12
	responses, want := bulky(t, s, p, "parent", turns+1)
	before := s.get("/v1/conversations/parent/messages").body
	s.stop()
	alone := rows(t, s.home)["conversation"] // rows of a conversation
	s.restart()
	died := 0 // in mid-copy
	wait, shortest, longest := 4*time.Millisecond, time.Duration(0), time.Duration(0)
	rounds, enough := 40, 2
	if soak {
		rounds, enough = 200, 50
	}
	for round := 0; round < rounds && died < enough; round++ {
		asked := make(chan struct{})
		go func() { // it may never be answered
			defer close(asked)
			_, _ = s.try(http.MethodPost, "/v1/responses", object{"input": "branch?", "previous_response_id": responses[turns-1], "background": true, "stream": false})
		}()
		pause := time.NewTimer(wait)
		select {
		case c := <-p.calls: // the copy was made, and the model is asked
			c.end()
		case <-pause.C:
		}
		pause.Stop()
		s.kill()
		<-asked
		switch n := rows(t, s.home)["conversation"]; {
		case n == alone:
			shortest = wait
		case n == 2*alone:
			longest = wait
		default: // a copy has one row more as long as it is not whole
			died++
		}
		switch { // look for the moment
		case longest == 0:
			wait *= 2
		default:
			wait = (shortest + longest) / 2
		}
		s.restart()
		if got := s.get("/v1/conversations/parent/messages").body; string(got) != string(before) {
			t.Fatalf("round %d: the original changed", round)
		}
		for _, id := range conversations(t, s, "?project=all") {
			if id == "parent" {
				continue
			}
			got := history(t, s, id)
			if whole := append(slices.Clone(want[:2*turns]), "user: branch?", "assistant: "); !slices.Equal(got, whole) {
				t.Fatalf("round %d: %s has %d messages", round, id, len(got))
			}
			if o := s.get("/v1/conversations/" + id).ok(); o["turns"] != float64(turns+1) || o["running"] != false || o["title"] == "" {
				t.Errorf("round %d: %v", round, o)
			}
			if list := items(t, s, id); len(list) < 2*turns+1 {
				t.Errorf("round %d: %d items", round, len(list))
			}
			s.delete("/v1/conversations/" + id).ok()
		}
	}
	if died == 0 {
		t.Error("it never died in the middle of a copy")
	}
	s.delete("/v1/conversations/parent").ok()
	if got := conversations(t, s, "?project=all"); len(got) != 0 {
		t.Errorf("conversations %v", got)
	}
	nothingLeft(t, s)
}

// nothingLeft waits until a store without conversations has no row of one. A
// deletion that a stop interrupts goes on at the next start.
func nothingLeft(t *testing.T, s *server) {
	t.Helper()
	var left []string
	for range 100 {
		s.stop()
		left = nil
		for table, n := range rows(t, s.home) {
			if strings.HasPrefix(table, "turn") || strings.HasPrefix(table, "conversation") {
				left = append(left, fmt.Sprintf("%s %d", table, n))
			}
		}
		s.restart()
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("left behind: %v", left)
}

// A client that hangs up while the conversation is copied leaves nothing either.
func TestBranchGivenUp(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	responses, _ := bulky(t, s, p, "parent", 9)
	for _, ms := range []int{1, 3, 10, 20, 30, 50} {
		impatient := *s.http
		impatient.Timeout = time.Duration(ms) * time.Millisecond
		hasty := s.with(t)
		hasty.http = &impatient
		_, _ = hasty.try(http.MethodPost, "/v1/responses", object{"input": "branch?", "previous_response_id": responses[7], "stream": false}) // it may or may not begin
	}
	for _, id := range conversations(t, s, "?project=all") {
		if id != "parent" {
			s.delete("/v1/conversations/" + id).ok()
		}
	}
	s.stop() // what still ran begins no turn any more
	s.restart()
	for _, id := range conversations(t, s, "?project=all") {
		if o := s.get("/v1/conversations/" + id).ok(); id != "parent" && o["turns"] != 9.0 {
			t.Errorf("a copy that was given up: %v", o)
		}
		s.delete("/v1/conversations/" + id).ok()
	}
	nothingLeft(t, s)
}

// Nobody sees a copy before it is whole, neither in lists nor by watching.
func TestBranchIsSeenWhole(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	const turns = 8
	responses, _ := bulky(t, s, p, "parent", turns+1)
	w := s.watch(0, 0)
	w.snapshot(false, "parent")
	done := s.begin(http.MethodPost, "/v1/responses", object{"input": "branch?", "previous_response_id": responses[turns-1], "stream": false})
	lists := 0
	for {
		list := s.get("/v1/conversations?project=all").ok()["conversations"].([]any)
		lists++
		for _, c := range list {
			if c := c.(object); c["turns"] != float64(turns+1) || str(c, "title") == "" {
				t.Errorf("listed: %v", c)
			}
		}
		if len(list) == 2 {
			break
		}
	}
	if lists < 2 {
		t.Log("the copy was made at once")
	}
	ev := w.next()
	if got := describe(ev); !strings.HasPrefix(got, "started ") || got == "started parent" {
		t.Errorf("watchers are told %s", got)
	}
	late := s.watch(0, 0)
	if snap := late.next().GetSnapshot().GetConversations(); len(snap) != 2 || snap[0].Turns != turns+1 || snap[0].Id != ev.GetTurnStarted().GetConversationId() {
		t.Errorf("snapshot %v", snap)
	}
	p.next().say("Branched.")
	done().ok()
	if got := describe(w.next()); !strings.HasPrefix(got, "ended ") {
		t.Errorf("watchers are told %s", got)
	}
}
