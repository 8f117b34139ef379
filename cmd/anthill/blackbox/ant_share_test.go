package blackbox

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

func antShareRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	room := e.s.chatRoom("share of both")
	v, err := antv1.NewShareServiceClient(conn).GetShare(e.s.call(), &antv1.GetShareRequest{SessionId: room})
	same(e, e.call("GET /api/sessions/{session_id}/share", nil, room), v, err)
}

func antIdentityRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewIdentityServiceClient(conn)
	id, pid := str(e.s.newSession("identity of both", "terminal"), "id"), int32(os.Getpid())
	v, err := c.RegisterIdentity(e.s.call(), &antv1.RegisterIdentityRequest{Pid: pid, SenderId: id})
	same(e, e.call("POST /api/identity/register", object{"pid": pid, "sender_id": id}), v, err)
	v, err = c.ResolveIdentity(e.s.call(), &antv1.ResolveIdentityRequest{Pids: []int32{pid}})
	same(e, e.call("POST /api/identity/resolve", object{"pids": []int32{pid}}), v, err)
}

// shell runs a command line as somebody types it, with the program on the PATH.
func (s *server) shell(line string) *exec.Cmd {
	c := exec.CommandContext(s.t.Context(), "/bin/sh", "-c", "exec "+line)
	for _, v := range s.environ() {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			v = "PATH=" + filepath.Dir(binary) + ":" + path
		}
		c.Env = append(c.Env, v)
	}
	return c
}

// Done when: the commands that are shared work as they are.
func TestAntShare(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room := s.chatRoom("plan")
	s.speak(room, "hello")
	o := s.get("/api/sessions/" + room + "/share").ok()
	if err := has(o, object{"session_id": room, "session_name": "plan", "session_type": "chat", "commands": nil, "quick_join": nil}); err != nil {
		t.Error(err)
	}
	commands := o["commands"].(object)
	if str(commands, "join") != str(o, "quick_join") || len(commands) != 4 || !strings.Contains(str(o, "quick_join"), s.url) || strings.Contains(str(o, "quick_join"), apiKey) {
		t.Errorf("commands: %v", o)
	}
	id, err := s.shell(strings.Replace(str(commands, "post"), "TEXT", "'it works'", 1)).Output()
	if texts, rows := s.get("/api/sessions/" + room + "/messages").texts(); err != nil || len(texts) != 2 || texts[1] != "it works" || str(rows[1], "id") != strings.TrimSpace(string(id)) {
		t.Errorf("post: %q %v, %q", id, err, texts)
	}
	for _, name := range []string{"join", "read"} {
		c := s.shell(str(commands, name))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for _, want := range []string{"hello", "it works"} {
			if !lines.Scan() || !strings.Contains(lines.Text(), want) {
				t.Errorf("%s says %q, want %q", name, lines.Text(), want)
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = c.Wait() // it was killed
	}
	if out, err := s.shell(str(commands, "invite")).Output(); err != nil || !strings.Contains(string(out), "/invites/") {
		t.Errorf("invite: %q %v", out, err)
	}
	s.get("/api/sessions/unknown/share").refused(http.StatusNotFound, "Session not found")
	_, err = antv1.NewShareServiceClient(s.dial()).GetShare(s.call(), &antv1.GetShareRequest{SessionId: "unknown"})
	wantCode(t, "unknown room", err, codes.NotFound)
}

// Done when: a process finds the session that it runs in, and no other process does.
func TestAntIdentity(t *testing.T) {
	t.Parallel()
	s := start(t)
	codex := s.newSession("codex", "terminal")
	child := exec.CommandContext(t.Context(), "sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid, own := child.Process.Pid, os.Getpid()
	resolve := func(pids ...int) any {
		t.Helper()
		o := s.post("/api/identity/resolve", object{"pids": pids}).ok()
		if len(o) != 1 {
			t.Errorf("resolved: %v", o)
		}
		return o["identity"]
	}
	if got := resolve(pid, own); got != nil {
		t.Errorf("before: %v", got)
	}
	who := s.post("/api/identity/register", object{"pid": pid, "sender_id": "@codex"}).ok()["identity"].(object)
	if err := has(who, object{"sender_id": codex["id"], "handle": "@codex", "display_name": "codex", "pid": float64(pid), "pid_start": nil}); err != nil || str(who, "pid_start") == "" {
		t.Errorf("registered: %v, %v", who, err)
	}
	check := func() {
		t.Helper()
		if got, ok := resolve(own, pid).(object); !ok || has(got, who) != nil {
			t.Errorf("resolved: %v, want %v", got, who)
		}
	}
	check()
	s.stop()
	s.restart()
	check()
	for _, bad := range []struct {
		path string
		body object
		code int
	}{
		{"register", object{}, http.StatusBadRequest}, {"register", object{"pid": pid}, http.StatusBadRequest}, {"register", object{"pid": 1, "sender_id": "@codex"}, http.StatusBadRequest},
		{"register", object{"pid": -1, "sender_id": "@codex"}, http.StatusBadRequest}, {"register", object{"pid": pid, "sender_id": "@nobody"}, http.StatusNotFound},
		{"register", object{"pid": 1<<31 - 1, "sender_id": "@codex"}, http.StatusNotFound}, {"register", object{"pid": "x"}, http.StatusBadRequest},
		{"resolve", object{}, http.StatusBadRequest}, {"resolve", object{"pids": []int{}}, http.StatusBadRequest}, {"resolve", object{"pids": make([]int, 65)}, http.StatusBadRequest},
		{"resolve", object{"pids": []string{"x"}}, http.StatusBadRequest},
	} {
		s.post("/api/identity/"+bad.path, bad.body).refused(bad.code, "")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if got := resolve(pid); got != nil {
		t.Errorf("a process that has ended is %v", got)
	}
	s.post("/api/identity/register", object{"pid": own, "session_id": codex["id"]}).ok()
	s.discard("/api/sessions/" + str(codex, "id") + "?hard=true")
	if got := resolve(own); got != nil {
		t.Errorf("of a session that is no more: %v", got)
	}
	_, err := antv1.NewIdentityServiceClient(s.dial()).RegisterIdentity(s.call(), &antv1.RegisterIdentityRequest{Pid: 1, SenderId: "x"})
	wantCode(t, "the first process", err, codes.InvalidArgument)
}
