package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// chatRoom makes a room and returns its id.
func (s *server) chatRoom(name string) string {
	s.t.Helper()
	return s.post("/api/sessions", object{"name": name, "type": "chat"}).created()["id"].(string)
}

// speak posts a message and returns its id.
func (s *server) speak(room, text string) string {
	s.t.Helper()
	return s.post("/api/sessions/"+room+"/messages", object{"content": text, "sender_id": "@tester"}).created()["id"].(string)
}

// samePort makes later starts of the server listen where it does now.
func (s *server) samePort() option {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return withArgs("--port", port)
}

// history is all messages of a room, in their order.
func (s *server) history(room string) (ids []string) {
	s.t.Helper()
	query := "?limit=1000"
	for {
		page := s.get("/api/sessions/" + room + "/messages" + query).ok()
		var part []string
		for _, m := range page["messages"].([]any) {
			part = append(part, m.(object)["id"].(string))
		}
		ids = append(part, ids...)
		older, _ := page["older"].(string)
		if older == "" || len(part) == 0 {
			return ids
		}
		query = "?limit=1000&cursor=" + older
	}
}

// socket is a client of /ws that has been greeted.
type socket struct {
	t *testing.T
	*websocket.Conn
	greeting object
}

func (s *server) wsURL() string { return "ws" + strings.TrimPrefix(s.url, "http") + "/ws" }

// socket connects; the server's key is shown in the header.
func (s *server) socket() *socket {
	s.t.Helper()
	o := &websocket.DialOptions{}
	if s.opts.key != "" {
		o.HTTPHeader = headers("Authorization", "Bearer "+s.opts.key)
	}
	return s.socketBy(s.wsURL(), o)
}

func (s *server) socketBy(url string, o *websocket.DialOptions) *socket {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, o)
	if err != nil {
		s.t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	s.t.Cleanup(func() { _ = conn.CloseNow() }) // most have ended already
	c := &socket{t: s.t, Conn: conn}
	c.greeting = c.next()
	if c.greeting["type"] != "build_id" || c.greeting["buildId"] == "" {
		s.t.Fatalf("the first frame is %v", c.greeting)
	}
	return c
}

func (c *socket) say(frame any) {
	c.t.Helper()
	b, isText := frame.(string)
	if !isText {
		data, err := json.Marshal(frame)
		if err != nil {
			c.t.Fatal(err)
		}
		b = string(data)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(b)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *socket) next() object {
	c.t.Helper()
	return decode[object](c.t, c.nextBytes())
}

func (c *socket) nextBytes() []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// until returns the next event of a type, and skips others.
func (c *socket) until(typ string) object {
	c.t.Helper()
	for {
		if m := c.next(); m["type"] == typ {
			return m
		}
	}
}

// join follows a room and returns once that has had its effect: frames are taken in order.
func (c *socket) join(room string, more ...any) {
	c.t.Helper()
	f := object{"type": "join_session", "sessionId": room}
	for i := 0; i+1 < len(more); i += 2 {
		f[more[i].(string)] = more[i+1]
	}
	c.say(f)
	c.settle()
}

func (c *socket) settle() {
	c.t.Helper()
	c.say(object{"type": "check_health", "sessionId": "settled"})
	for {
		if m := c.next(); m["type"] == "session_health" && m["sessionId"] == "settled" {
			return
		}
	}
}

// closed reads until the server closes, and returns how.
func (c *socket) closed() (code websocket.StatusCode, reason string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			c.t.Fatal("the server does not close the socket")
		}
		return websocket.CloseStatus(err), err.Error()
	}
}

// loyal is a client that follows a room for as long as it takes, over as many
// sockets and servers, and notes which messages it got.
type loyal struct {
	url, room string
	since     uint64 // seq of the last event seen; the greeting's before there was one
	epoch     uint32
	begun     bool
	seen      []string // message ids
	foreign   []string // what it should not have got
}

// heard is what a loyal client reads of a frame.
type heard struct {
	Type, Room, ID, Content string
	Seq                     uint64
	Epoch                   uint32
}

// follow returns when a message "end" has come.
func (l *loyal) follow(ctx context.Context, ready func()) error {
	for ctx.Err() == nil {
		ended, err := l.once(ctx, ready)
		if ended {
			return nil
		}
		if websocket.CloseStatus(err) == websocket.StatusPolicyViolation {
			return err
		}
	}
	return fmt.Errorf("%d messages and no end", len(l.seen))
}

// once is one socket: joined with the first frame, at once.
func (l *loyal) once(ctx context.Context, ready func()) (ended bool, err error) {
	conn, _, err := websocket.Dial(ctx, l.url, nil)
	if err != nil {
		return false, err
	}
	defer conn.CloseNow() //nolint:errcheck // it has ended
	conn.SetReadLimit(-1)
	join := object{"type": "join_session", "sessionId": l.room}
	if l.begun {
		join["since"], join["epoch"] = l.since, l.epoch
	}
	for _, f := range []object{join, {"type": "check_health", "sessionId": "settled"}} {
		b, err := json.Marshal(f)
		if err != nil {
			return false, err
		}
		if err := conn.Write(ctx, websocket.MessageText, b); err != nil {
			return false, err
		}
	}
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return false, err
		}
		if ended, err = l.hear(b, ready); ended || err != nil {
			return ended, err
		}
	}
}

// hear takes one frame.
func (l *loyal) hear(b []byte, ready func()) (ended bool, err error) {
	var m heard
	if err := json.Unmarshal(b, &m); err != nil {
		return false, err
	}
	switch {
	case m.Type == "build_id":
		if !l.begun {
			l.since, l.epoch = m.Seq, m.Epoch
		}
		return false, nil
	case m.Type == "session_health":
		l.begun = true
		ready()
		return false, nil
	case m.Room != l.room && m.Type != "sessions_changed" && m.Type != "session_activity", m.Type == "resync":
		l.foreign = append(l.foreign, string(b))
	}
	if m.Seq != 0 && m.Room == l.room {
		if m.Seq <= l.since {
			return false, fmt.Errorf("event %d after %d", m.Seq, l.since)
		}
		l.since, l.epoch = m.Seq, m.Epoch
	}
	if m.Type == "message_created" {
		l.seen = append(l.seen, m.ID)
		return m.Content == "end", nil
	}
	return false, nil
}

// everyone lets many clients follow and waits for them.
type everyone struct {
	list  []*loyal
	wait  sync.WaitGroup
	mu    sync.Mutex
	fails []error
}

// bring starts n loyal clients at once and returns when all have joined.
func (s *server) bring(n int, room string) *everyone {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*patience)
	s.t.Cleanup(cancel)
	e := &everyone{}
	var joined sync.WaitGroup
	joined.Add(n)
	for range n {
		l := &loyal{url: s.wsURL(), room: room}
		e.list = append(e.list, l)
		ready := sync.OnceFunc(joined.Done)
		e.wait.Go(func() {
			defer ready()
			if err := l.follow(ctx, ready); err != nil {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.fails = append(e.fails, err)
			}
		})
	}
	joined.Wait()
	return e
}

// check waits for the end and compares what each got with the room's history.
func (e *everyone) check(t *testing.T, want []string) {
	t.Helper()
	e.wait.Wait()
	for _, err := range e.fails {
		t.Error(err)
	}
	for i, l := range e.list {
		if fmt.Sprint(l.seen) != fmt.Sprint(want) {
			t.Errorf("client %d got %d messages, the room has %d; the first difference is at %d", i, len(l.seen), len(want), firstDifference(l.seen, want))
		}
		if len(l.foreign) > 0 {
			t.Errorf("client %d also got %s", i, l.foreign[0])
		}
	}
}

func firstDifference(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// speakers post under keys until each message is acknowledged, whatever happens
// to the server.
func (s *server) speakers(ctx context.Context, room, phase string, n, each int, said *sync.WaitGroup, acked chan<- string) {
	s = s.with(s.t) // the test may start another process meanwhile, at the same address
	for who := range n {
		said.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%s-%s-%d-%d", room, phase, who, i)
				for ctx.Err() == nil {
					a, err := s.try(http.MethodPost, "/api/sessions/"+room+"/messages",
						object{"content": key, "sender_id": fmt.Sprintf("@s%d", who)}, headers("Idempotency-Key", key))
					if err == nil && (a.status == http.StatusCreated || a.status == http.StatusOK) {
						var m struct{ ID string }
						if json.Unmarshal(a.body, &m) == nil {
							acked <- m.ID
						}
						break
					}
				}
			}
		})
	}
}
