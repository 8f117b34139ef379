package ant_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	antv1 "anthill/gen/ant/v1"
)

func TestOneSocketManyRooms(t *testing.T) {
	s := start(t)
	s.add(pinned("a"))
	c := s.dial(t, "")
	if c.greeting["seq"] != 1.0 || c.greeting["epoch"] != 7.0 {
		t.Errorf("greeted with %v", c.greeting)
	}
	c.say(`{"type":"join_session","sessionId":"a"}`)
	c.say(`{"type":"join_session","sessionId":"b"}`)
	c.say(`{"type":"join_session","sessionId":"a"}`)
	c.settled()
	s.add(pinned("a"), pinned("c"), pinned("b"), pinned("a"), changed(false), changed(true))
	c.want("message_pinned a 2", "message_pinned b 4", "message_pinned a 5", "sessions_changed x 7")
	c.say(`{"type":"leave_session","sessionId":"a"}`)
	c.settled()
	s.add(pinned("a"), pinned("b"))
	c.want("message_pinned b 9")
}

func TestResume(t *testing.T) {
	s := start(t)
	for range 25 {
		s.add(pinned("a"), pinned("b"))
	}
	c := s.dial(t, "")
	c.say(`{"type":"join_session","sessionId":"a","since":10,"epoch":7}`)
	for seq := 11; seq <= 50; seq += 2 {
		c.want(fmt.Sprintf("message_pinned a %d", seq))
	}
	s.add(pinned("a"))
	c.want("message_pinned a 51")
	c.say(`{"type":"join_session","sessionId":"a","since":50}`) // again, as asked
	c.want("message_pinned a 51")
}

// A room joins while the relay lags behind the log, or runs ahead of what was
// read; many rooms at once, each with its own cursor; while events come.
func TestResumeUnderLoad(t *testing.T) {
	s := start(t)
	const rooms, n = 8, 400
	var writing sync.WaitGroup
	add := func(count int) {
		for i := range count {
			s.add(pinned(fmt.Sprint(i % rooms)))
		}
	}
	add(n)
	writing.Go(func() { add(n) })
	var all []*client
	for range 20 {
		c := s.dial(t, "")
		for room := range rooms {
			c.say(`{"type":"join_session","sessionId":"%d","since":%d}`, room, room*10)
		}
		all = append(all, c)
	}
	writing.Wait()
	for _, c := range all {
		last, got := [rooms]uint64{}, 0
		want := 0
		for room := range rooms {
			last[room] = uint64(room * 10)
			for i := range n { // event i of each half has seq i+1 and goes to room i%rooms
				if i%rooms == room {
					if uint64(i+1) > last[room] {
						want++
					}
					want++
				}
			}
		}
		for ; got < want; got++ {
			m := c.next()
			var room int
			if _, err := fmt.Sscan(m["room"].(string), &room); err != nil {
				t.Fatal(err)
			}
			seq := uint64(m["seq"].(float64))
			next := last[room] + 1
			for int(next-1)%n%rooms != room {
				next++
			}
			if seq != next {
				t.Fatalf("room %d: event %d after %d, want %d", room, seq, last[room], next)
			}
			last[room] = seq
		}
		c.settled()
	}
}

// A client that joins the same room again and again, from where it is, still gets
// every event once.
func TestJoiningAgainWhileCatchingUp(t *testing.T) {
	s := start(t)
	const n = 300
	for range n {
		s.add(pinned("a"))
	}
	c := s.dial(t, "")
	c.say(`{"type":"join_session","sessionId":"a","since":0}`)
	var writing sync.WaitGroup
	writing.Go(func() {
		for range n {
			s.add(pinned("a"))
		}
	})
	seen := uint64(0)
	see := func(m map[string]any) {
		t.Helper()
		if seen++; m["seq"] != float64(seen) {
			t.Fatalf("event %v, want %d", m["seq"], seen)
		}
	}
	for seen < 2*n {
		for range min(5, 2*n-seen) {
			see(c.next())
		}
		c.say(`{"type":"leave_session","sessionId":"a"}`)
		c.say(`{"type":"check_health","sessionId":"left"}`)
		for m := c.next(); m["type"] != "session_health"; m = c.next() {
			see(m)
		}
		c.say(`{"type":"join_session","sessionId":"a","since":%d}`, seen)
	}
	writing.Wait()
}

func TestRelayThatLags(t *testing.T) {
	s := start(t)
	first := s.dial(t, "") // the relay runs
	first.say(`{"type":"join_session","sessionId":"a"}`)
	first.settled()
	gate := make(chan struct{})
	s.mu.Lock()
	s.relay = gate
	s.mu.Unlock()
	s.add(pinned("a")) // may pass, or wait at the gate
	s.add(pinned("a"), pinned("a"))
	c := s.dial(t, "")
	c.say(`{"type":"join_session","sessionId":"a"}`) // has nothing to do with what was before
	c.settled()
	s.add(pinned("a"))
	close(gate)
	first.want("message_pinned a 1", "message_pinned a 2", "message_pinned a 3", "message_pinned a 4")
	c.want("message_pinned a 4")
}

func TestCursorThatDoesNotHold(t *testing.T) {
	s := start(t)
	s.add(pinned("a"), pinned("a"), pinned("a"))
	s.oldest = 3
	for name, join := range map[string]string{
		"trimmed":     `{"type":"join_session","sessionId":"a","since":1}`,
		"ahead":       `{"type":"join_session","sessionId":"a","since":99}`,
		"other epoch": `{"type":"join_session","sessionId":"a","since":3,"epoch":8}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t, "")
			c.say("%s", join)
			m := c.next()
			if m["type"] != "resync" || m["room"] != "a" || m["seq"] != 2.0 || m["oldestSeq"] != 3.0 || m["truncated"] != true {
				t.Errorf("got %v", m)
			}
			c.want("message_pinned a 3")
		})
	}
}

func TestListOfSessions(t *testing.T) {
	s := start(t)
	s.add(changed(false), changed(true))
	c := s.dial(t, "")
	c.say(`{"type":"join_session","sessionId":"__ant_sessions__","since":0}`)
	c.want("sessions_changed x 1", "sessions_changed x 2")
	s.add(changed(true), changed(false))
	c.want("sessions_changed x 3", "sessions_changed x 4") // each once, though it is among everybody too
	c.say(`{"type":"join_session","sessionId":"__ant_sessions__","since":0}`)
	c.want("sessions_changed x 1", "sessions_changed x 2", "sessions_changed x 4") // 3 was live, and for everybody
}

func TestPresence(t *testing.T) {
	s := start(t)
	c := s.dial(t, "")
	c.say(`{"type":"join_session","sessionId":"a","handle":"@james"}`)
	c.say(`{"type":"join_session","sessionId":"b"}`)
	c.say(`{"type":"join_session","sessionId":"a"}`) // still james
	c.say(`{"type":"presence_ping"}`)
	c.say(`{"type":"presence_ping"}`)
	c.say(`{"type":"join_session","sessionId":"a","handle":"@jim"}`)
	c.settled()
	if err := c.Conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a @james false", "a @james false", "a @james true", "a @jim false", "a @jim true"} {
		if got := <-s.people; got != want {
			t.Fatalf("presence %q, want %q", got, want)
		}
	}
}

func TestTerminalsThatAreNotLive(t *testing.T) {
	s := start(t)
	c := s.dial(t, "")
	c.say(`{"type":"join_session","sessionId":"terminal","spawnPty":true,"cols":80,"rows":24}`)
	if m := c.next(); m["type"] != "session_health" || m["alive"] != false || m["unavailable"] != true || m["sessionId"] != "terminal" {
		t.Errorf("got %v", m)
	}
	for _, silent := range []string{
		`{"type":"join_session","sessionId":"chat","spawnPty":true}`,
		`{"type":"join_session","sessionId":"nowhere","spawnPty":true}`,
		`{"type":"join_session","sessionId":"terminal"}`,
		`{"type":"terminal_input","sessionId":"terminal","data":""}`,
		`{"type":"terminal_resize","sessionId":"terminal","cols":80,"rows":24}`,
		`{"type":"terminal_resize","sessionId":"nowhere","cols":80,"rows":24}`,
	} {
		c.say("%s", silent)
	}
	c.say(`{"type":"check_health","sessionId":"terminal"}`)
	if m := c.next(); m["type"] != "session_health" || m["alive"] != false || m["unavailable"] != nil {
		t.Errorf("got %v", m)
	}
	for id, want := range map[string]string{"terminal": "terminal_not_live", "nowhere": "notfound"} {
		c.say(`{"type":"terminal_input","sessionId":"%s","data":"ls\r"}`, id)
		if m := c.next(); m["type"] != "error" || m["error"] != want || m["sessionId"] != id || m["requested"] != "terminal_input" {
			t.Errorf("got %v", m)
		}
	}
	for _, size := range []string{`0`, `-1`, `1e9`, `1.5`, `"80"`, `null`, `[]`, `1001`} {
		c.say(`{"type":"terminal_resize","sessionId":"terminal","cols":%s,"rows":24}`, size)
		if m := c.next(); m["type"] != "error" || m["error"] != "invalid_size" {
			t.Errorf("%s: %v", size, m)
		}
	}
}

// What a client typed is typed, in order, although its socket has ended.
func TestTypedBeforeTheEnd(t *testing.T) {
	s := start(t)
	c := s.dial(t, "")
	var want, got strings.Builder
	for i := range 200 {
		fmt.Fprint(&want, i%10)
		c.say(`{"type":"terminal_input","sessionId":"terminal","data":"%d"}`, i%10)
	}
	_ = c.Close(websocket.StatusNormalClosure, "") // in the middle of what the server answers
	for got.Len() < want.Len() {
		got.WriteString(strings.TrimPrefix(<-s.people, "typed "))
	}
	if got.String() != want.String() {
		t.Errorf("typed %s", got.String())
	}
}

// What is typed is typed in order, whichever way it goes to the terminal: it is joined, it waits, or the streams change.
func TestTypedInOrder(t *testing.T) {
	s := start(t)
	c := s.dial(t, "")
	go func() {
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return // the test is over
			}
		}
	}()
	var want strings.Builder
	length, typed := make(chan int, 1), make(chan string)
	go func() {
		var got strings.Builder
		var late <-chan time.Time
		for most := math.MaxInt; got.Len() < most; {
			select {
			case most = <-length:
				late = time.After(30 * time.Second)
			case <-late:
				most = 0
			case more := <-s.people:
				got.WriteString(strings.TrimPrefix(more, "typed "))
			}
		}
		typed <- got.String()
	}()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		switch r.IntN(20) {
		case 0:
			c.say(`{"type":"terminal_resize","sessionId":"terminal","cols":80,"rows":24}`)
		case 1:
			c.say(`{"type":"leave_session","sessionId":"terminal"}`)
		case 2:
			c.say(`{"type":"join_session","sessionId":"terminal","spawnPty":true}`)
		default:
			data := strings.Repeat(fmt.Sprintf("%d,", i), 1+r.IntN(3)*r.IntN(200))
			want.WriteString(data)
			c.say(`{"type":"terminal_input","sessionId":"terminal","data":"%s"}`, data)
		}
	}
	length <- want.Len()
	if got := <-typed; got != want.String() {
		t.Errorf("of %d characters, %d were typed, or others", want.Len(), len(got))
	}
}

func TestFramesThatAreIgnored(t *testing.T) {
	s := start(t)
	c := s.dial(t, "")
	for _, f := range []string{
		``, `{`, `null`, `[]`, `"x"`, `5`, `{}`, `{"type":5}`, `{"type":"nothing"}`, `{"type":"join_session"}`,
		`{"type":"join_session","sessionId":""}`, `{"type":"join_session","sessionId":5}`, `{"type":"join_session","sessionId":"a","since":-1}`,
		`{"type":"join_session","sessionId":"a","since":"1"}`, `{"type":"join_session","sessionId":"` + strings.Repeat("a", 129) + `"}`,
		`{"type":"join_session","sessionId":"\u0000"}`, `{"type":"join_session","sessionId":"ä"}`, `{"type":"leave_session","sessionId":"never-joined"}`, `{"type":"check_chrome","sessionId":"a","line":"x"}`, strings.Repeat("[", 100_000),
	} {
		c.say("%s", f)
	}
	c.settled()
	s.add(pinned("a"), changed(true))
	c.want("sessions_changed x 2") // and nothing of a
}

func TestLimits(t *testing.T) {
	s := start(t)
	c := s.dial(t, "")
	for i := range 1001 {
		c.say(`{"type":"join_session","sessionId":"%d"}`, i)
	}
	if m := c.next(); m["error"] != "too_many_rooms" || m["sessionId"] != "1000" {
		t.Errorf("got %v", m)
	}
	c.say(`{"type":"join_session","sessionId":"0","handle":"%s"}`, strings.Repeat("x", 129))
	if m := c.next(); m["error"] != "invalid_handle" {
		t.Errorf("got %v", m)
	}
}

func TestGuest(t *testing.T) {
	s := start(t)
	s.grant = &antv1.Grant{SessionId: "mine", Revocable: true}
	c := s.dial(t, "")
	for _, f := range []string{`{"type":"join_session","sessionId":"other"}`, `{"type":"join_session","sessionId":"__ant_sessions__"}`,
		`{"type":"check_health","sessionId":"other"}`, `{"type":"anything","sessionId":"other"}`} {
		c.say("%s", f)
		if m := c.next(); m["error"] != "token_room_mismatch" || m["scope"] != "mine" {
			t.Errorf("%s: %v", f, m)
		}
	}
	c.say(`{"type":"join_session","sessionId":"mine"}`)
	c.say(`{"type":"check_health","sessionId":"mine"}`)
	c.want("session_health x x")
	s.add(changed(true), pinned("other"), pinned("mine"))
	c.want("message_pinned mine 3")
	close(s.revoke)
	if m := c.next(); m["type"] != "closed" || m["reason"] != "expired" {
		t.Errorf("got %v", m)
	}
	_, _, err := c.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("ended with %v", err)
	}
}

func TestStop(t *testing.T) {
	s := start(t)
	c := s.dial(t, "")
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		ended <- err
	}()
	s.shutdown()
	if err := <-ended; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("ended with %v", err)
	}
}

func TestHandshakesThatAreRefused(t *testing.T) {
	s := start(t)
	for query, want := range map[string]int{"?apiKey=wrong": http.StatusUnauthorized, "?token=wrong": http.StatusUnauthorized} {
		_, resp, err := websocket.Dial(t.Context(), s.URL+"/ws"+query, nil)
		if err == nil || resp == nil || resp.StatusCode != want {
			t.Errorf("%s: %v %v", query, resp, err)
		}
	}
	resp, err := http.Get(s.URL + "/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to read
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without an upgrade: %d", resp.StatusCode)
	}
}
