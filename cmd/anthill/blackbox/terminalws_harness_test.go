package blackbox

import (
	"encoding/json"
	"strings"
)

// spectator is a client of /ws that shows one terminal.
type spectator struct {
	*socket
	id   string
	all  strings.Builder // what came, without replays
	next uint64          // the offset to come back with
	seen bool            // an offset is known

	alive bool // as it was told last
}

// heardOutput is a terminal_output frame.
type heardOutput struct {
	Type, SessionID, Data string
	Seq                   *uint64
	Next                  uint64
	Truncated, Alive      bool
}

// spectator joins a terminal and runs it if it does not.
func (s *server) spectator(id string, more ...any) *spectator {
	s.t.Helper()
	w := &spectator{socket: s.socket(), id: id}
	f := object{"type": "join_session", "sessionId": id, "spawnPty": true, "cols": 100, "rows": 30}
	for i := 0; i+1 < len(more); i += 2 {
		f[more[i].(string)] = more[i+1]
	}
	w.say(f)
	if m := w.until("session_health"); m["alive"] != true || m["sessionId"] != id {
		s.t.Fatalf("joined: %v", m)
	}
	w.alive = true
	return w
}

// output is the next output; replay says that it draws what was there.
func (w *spectator) output() (data string, replay bool) {
	w.t.Helper()
	for {
		var m heardOutput
		b := w.nextBytes()
		if err := json.Unmarshal(b, &m); err != nil {
			w.t.Fatal(err)
		}
		if m.Type == "error" {
			w.t.Fatalf("%s", b)
		}
		if m.Type == "session_health" && m.SessionID == w.id {
			w.alive = m.Alive
			return "", false
		}
		if m.Type != "terminal_output" || m.SessionID != w.id {
			continue
		}
		if m.Truncated {
			w.t.Error("output is missing")
		}
		if m.Seq == nil {
			w.next, w.seen = m.Next, true
			return m.Data, true
		}
		if w.seen && *m.Seq != w.next {
			w.t.Fatalf("output at %d, want %d", *m.Seq, w.next)
		}
		w.next, w.seen = m.Next, true
		return m.Data, false
	}
}

// shows reads until the output has a text, and returns all of it.
func (w *spectator) shows(text string) string {
	w.t.Helper()
	from := w.all.Len()
	defer func() {
		if w.t.Failed() {
			all := w.all.String()
			w.t.Logf("waiting for %q; it showed %q", text, all[max(0, len(all)-500):])
		}
	}()
	for !strings.Contains(w.all.String()[max(0, from-len(text)+1):], text) {
		data, replay := w.output()
		if replay {
			w.all.Reset()
			from = 0
		}
		w.all.WriteString(data)
	}
	return w.all.String()
}

// hears reads until the terminal is alive, or is not.
func (w *spectator) hears(alive bool) {
	w.t.Helper()
	for w.alive != alive {
		data, _ := w.output()
		w.all.WriteString(data)
	}
}

func (w *spectator) types(text string) {
	w.t.Helper()
	w.say(object{"type": "terminal_input", "sessionId": w.id, "data": text})
}
