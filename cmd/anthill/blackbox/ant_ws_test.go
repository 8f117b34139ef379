package blackbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// Done when: 200 sockets joined at once, each sending its first frame with the
// handshake, all get every later message exactly once, in order, across a
// restart and a kill of the server, with resume.
func TestAntTwoHundredSockets(t *testing.T) {
	t.Parallel()
	s := start(t)
	port := s.samePort()
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	clients := s.bring(200, room)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	acked := make(chan string, 10_000)
	for phase := range 3 {
		var said sync.WaitGroup
		s.speakers(ctx, room, fmt.Sprint(phase), 4, 20, &said, acked)
		s.speakers(ctx, other, fmt.Sprint(phase), 1, 5, &said, acked)
		<-acked
		switch phase { // while they speak: what has no answer is repeated, with its key
		case 0:
			s.stop()
			s.restart(port)
		case 1:
			s.kill()
			s.restart() // the same port, from now on
		}
		said.Wait()
	}
	s.speak(room, "end")
	want := s.history(room)
	clients.check(t, want)
	if len(want) != 3*4*20+1 {
		t.Errorf("the room has %d messages, want 241: keys made doubles, or messages were lost", len(want))
	}
}

// The first frame is in the same packet as the end of the handshake.
func TestAntFirstFrameWithTheHandshake(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	s.speak(room, "before")
	for range 20 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // the test is over
		frame := `{"type":"join_session","sessionId":"` + room + `","since":0}`
		if _, err := conn.Write(append([]byte(s.handshake()), masked(1, frame)...)); err != nil {
			t.Fatal(err)
		}
		got, buf := []byte{}, make([]byte, 4096)
		for !bytes.Contains(got, []byte(`"content":"before"`)) {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			got = append(got, buf[:n]...)
		}
		if first, second := bytes.Index(got, []byte("build_id")), bytes.Index(got, []byte("message_created")); first < 0 || first > second {
			t.Errorf("build_id does not come first: %q", got)
		}
	}
}

// A socket that does not read is cut, and loses nothing by it.
func TestAntSlowSocketResumes(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	slow := s.socket()
	slow.join(room)
	since, epoch := slow.greeting["seq"], slow.greeting["epoch"]
	text := strings.Repeat("x", 250_000)
	var want []string
	for range 60 { // 15 MB: more than queue and kernel hold
		want = append(want, s.speak(room, text))
	}
	var got []string
	for {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, b, err := slow.Read(ctx)
		cancel()
		if err != nil {
			if code := websocket.CloseStatus(err); code == websocket.StatusTryAgainLater && !strings.Contains(err.Error(), "last seq") {
				t.Errorf("the reason does not say how to go on: %v", err)
			} else if code != websocket.StatusTryAgainLater && code != -1 { // -1: it was too slow even for that
				t.Errorf("cut with %v", err)
			}
			break
		}
		if m := decode[object](t, b); m["type"] == "message_created" {
			got, since, epoch = append(got, m["id"].(string)), m["seq"], m["epoch"]
		}
	}
	if len(got) == len(want) {
		t.Fatal("the socket was never cut")
	}
	again := s.socket()
	again.say(object{"type": "join_session", "sessionId": room, "since": since, "epoch": epoch})
	for len(got) < len(want) {
		got = append(got, again.until("message_created")["id"].(string))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got other messages than were posted, first at %d", firstDifference(got, want))
	}
}

// What does not join hears nothing of rooms; who leaves hears no more.
func TestAntSocketsHearOnlyTheirRooms(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine, other := s.chatRoom("mine"), s.chatRoom("other")
	none, one, unknown := s.socket(), s.socket(), s.socket()
	one.join(mine)
	unknown.join("no-such-room-at-all-00")
	unknown.join(strings.ToLower(mine) + "x")
	s.speak(other, "secret")
	id := s.speak(mine, "hello")
	m := one.until("message_created")
	s.post("/api/sessions/"+mine+"/typing", object{"handle": "@x", "typing": true}).ok() // it would overtake the message
	shape := object{"id": id, "sessionId": mine, "session_id": mine, "room": mine, "role": "user", "content": "hello",
		"format": "text", "status": "complete", "sender_id": "@tester", "target": nil, "reply_to": nil, "msg_type": "message"}
	for key, want := range shape {
		if got, there := m[key]; !there || got != want {
			t.Errorf("message_created has %s = %v, want %v", key, got, want)
		}
	}
	if typing := one.until("typing"); typing["handle"] != "@x" || typing["typing"] != true || typing["sessionId"] != nil || typing["seq"] != nil {
		t.Errorf("typing is %v", typing)
	}
	one.say(object{"type": "leave_session", "sessionId": mine})
	one.settle()
	s.speak(mine, "after")
	for name, c := range map[string]*socket{"none": none, "left": one, "unknown": unknown} {
		c.say(object{"type": "check_health", "sessionId": "settled"})
		for m := c.next(); m["sessionId"] != "settled"; m = c.next() {
			if strings.HasPrefix(m["type"].(string), "message") || m["type"] == "typing" {
				t.Errorf("%s got %v", name, m)
			}
		}
	}
}

func TestAntBuildIDIsThatOfTheProcess(t *testing.T) {
	t.Parallel()
	s := start(t)
	first, second := s.socket().greeting["buildId"], s.socket().greeting["buildId"]
	if first != second {
		t.Errorf("two ids of one process: %v, %v", first, second)
	}
	s.stop()
	s.restart()
	if third := s.socket().greeting["buildId"]; third == first {
		t.Errorf("the id did not change with the process: %v", third)
	}
}

func TestAntStopTellsSockets(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.socket()
	type end struct {
		code   websocket.StatusCode
		reason string
	}
	ended := make(chan end, 1)
	go func() {
		code, reason := c.closed()
		ended <- end{code, reason}
	}()
	silent, err := net.Dial("tcp", s.addr) // one that never answers must not hold the server up
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // the test is over
	if _, err := io.WriteString(silent, s.handshake()); err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if e := <-ended; e.code != websocket.StatusGoingAway {
		t.Errorf("closed with %v", e)
	}
}

// masked is a client's frame, masked with zeros.
func masked(op byte, payload string) []byte {
	b := []byte{0x80 | op, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}
	return append(b, payload...)
}

func TestAntHostileFrames(t *testing.T) {
	t.Parallel()
	s := start(t)
	long := append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte(" "), 2<<20)...)
	huge := []byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}
	for name, c := range map[string]struct {
		send []byte
		code int
	}{
		"text that is not UTF-8": {masked(1, "{\"type\":\"\xff\"}"), 1007},
		"too large":              {long, 1009},
		"a reserved opcode":      {masked(5, ""), 1002},
		"reserved bits":          {append([]byte{0xf1}, masked(1, "x")[1:]...), 1002},
		"a huge length":          {append(huge, bytes.Repeat([]byte(" "), 2<<20)...), 1009},
		"a long ping":            {masked(9, strings.Repeat("x", 300)), 1002},
		"not masked":             {[]byte{0x81, 2, '{', '}'}, 1002},
	} {
		t.Run(name, func(t *testing.T) {
			if code := s.with(t).closeCode(c.send); code != c.code {
				t.Errorf("closed with %d, want %d", code, c.code)
			}
		})
	}
	c := s.socket()
	room := s.chatRoom("plan")
	c.say(object{"type": "join_session", "sessionId": room})
	for _, f := range []string{"", "{", "null", "[]", "5", `"x"`, `{"type":null}`, `{"type":"nothing"}`, `{"type":"join_session"}`,
		`{"type":"join_session","sessionId":{}}`, `{"type":"join_session","sessionId":"x","since":"soon"}`, `{"type":"terminal_input","sessionId":"x"}`,
		`{"type":"join_session","sessionId":"\u0000"}`, strings.Repeat("[", 500_000), `{"type":"leave_session","sessionId":"x"}`} {
		c.say(f)
	}
	c.settle()
	for _, size := range []string{"0", "-1", "1e9", `"wide"`, "1.5", "null"} {
		c.say(`{"type":"terminal_resize","sessionId":"x","cols":` + size + `,"rows":24}`)
		if m := c.until("error"); m["error"] != "invalid_size" {
			t.Errorf("cols %s: %v", size, m)
		}
	}
	s.speak(room, "still here")
	if m := c.until("message_created"); m["content"] != "still here" {
		t.Errorf("got %v", m)
	}
}

// handshake is a request for a WebSocket, by hand.
func (s *server) handshake() string {
	return "GET /ws HTTP/1.1\r\nHost: " + s.addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
}

// closeCode shakes hands, sends bytes, and returns the code of the close frame
// that comes; 0 if none does.
func (s *server) closeCode(send []byte) int {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it has ended
	go func() {
		_, _ = conn.Write(append([]byte(s.handshake()), send...)) // the server may close before it has all
	}()
	var got []byte
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		_, frames, _ := bytes.Cut(got, []byte("\r\n\r\n"))
		for len(frames) >= 2 && len(frames) >= 2+int(frames[1]) && frames[1] < 126 {
			if frames[0] == 0x88 {
				return int(frames[2])<<8 | int(frames[3])
			}
			frames = frames[2+int(frames[1]):]
		}
		if err != nil {
			return 0
		}
	}
}

func TestAntSocketAccess(t *testing.T) {
	t.Parallel()
	const key = "k-sesame-0123456789"
	s := start(t, withKey(key))
	u := s.wsURL()
	for name, c := range map[string]struct {
		url string
		o   *websocket.DialOptions
	}{
		"bearer":    {u, &websocket.DialOptions{HTTPHeader: headers("Authorization", "Bearer "+key)}},
		"x-api-key": {u, &websocket.DialOptions{HTTPHeader: headers("X-API-Key", key)}},
		"apiKey":    {u + "?apiKey=" + key, nil},
		"token":     {u + "?token=" + key, nil},
		"protocol":  {u, &websocket.DialOptions{Subprotocols: []string{"ant.token." + key}}},
		"below":     {u + "/anything?apiKey=" + key, nil},
		"own page":  {u + "?apiKey=" + key, &websocket.DialOptions{HTTPHeader: headers("Origin", s.url)}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.with(t).socketBy(c.url, c.o)
			if name == "protocol" && conn.Subprotocol() != "ant.token."+key {
				t.Errorf("agreed to %q", conn.Subprotocol())
			}
		})
	}
	for name, c := range map[string]struct {
		url  string
		o    *websocket.DialOptions
		want int
	}{
		"no key":         {u, nil, 401},
		"wrong key":      {u + "?apiKey=nope", nil, 401},
		"wrong protocol": {u, &websocket.DialOptions{Subprotocols: []string{"ant.token.nope"}}, 401},
		"own page, none": {u, &websocket.DialOptions{HTTPHeader: headers("Origin", s.url)}, 401},
		"foreign page":   {u + "?apiKey=" + key, &websocket.DialOptions{HTTPHeader: headers("Origin", "http://evil.example")}, 403},
		"null page":      {u + "?apiKey=" + key, &websocket.DialOptions{HTTPHeader: headers("Origin", "null", "User-Agent", "Electron/1")}, 403},
		"other port":     {u + "?apiKey=" + key, &websocket.DialOptions{HTTPHeader: headers("Origin", "http://127.0.0.1:1")}, 403},
		"other scheme":   {u + "?apiKey=" + key, &websocket.DialOptions{HTTPHeader: headers("Origin", "https://"+s.addr)}, 403},
		"evil host":      {u + "?apiKey=" + key, &websocket.DialOptions{Host: "evil.example"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			_, resp, err := websocket.Dial(t.Context(), c.url, c.o)
			if err == nil || resp == nil || resp.StatusCode != c.want {
				t.Errorf("got %v, %v, want %d", resp, err, c.want)
			}
		})
	}
	a := s.do(http.MethodGet, "/ws", nil)
	if a.status != http.StatusUpgradeRequired {
		t.Errorf("%v, want 426", a)
	}
}

// Presence is that of people who joined, not of the session.
func TestAntPresence(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	status := func(handle string) any {
		p, _ := s.get("/api/presence/" + room).ok()["presence"].(object)[handle].(object)
		return p["status"]
	}
	james, tab, nobody := s.socket(), s.socket(), s.socket()
	james.join(room, "handle", "@james")
	tab.join(room, "handle", "james")
	nobody.join(room)
	if got := status("@james"); got != "active" {
		t.Errorf("james is %v", got)
	}
	if p := s.get("/api/presence/" + room).ok()["presence"].(object); len(p) != 1 {
		t.Errorf("present are %v", p)
	}
	james.say(object{"type": "presence_ping"})
	james.say(object{"type": "leave_session", "sessionId": room})
	james.settle()
	if got := status("@james"); got != "active" {
		t.Errorf("james, who has another tab, is %v", got)
	}
	tab.say(object{"type": "leave_session", "sessionId": room})
	tab.settle()
	if got := status("@james"); got == "active" {
		t.Errorf("james, who left, is %v", got)
	}
}
