package blackbox

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	antv1 "anthill/gen/ant/v1"
)

// hosts are what can run terminals.
var hosts = []string{"tmux", "pty"}

// onHosts runs a test on every host.
func onHosts(t *testing.T, test func(t *testing.T, host option)) {
	for _, h := range hosts {
		t.Run(h, func(t *testing.T) {
			t.Parallel()
			test(t, withArgs("--terminal-host", h))
		})
	}
}

// terminal is a session whose terminal runs.
type terminal struct {
	s    *server
	id   string
	path string // of its routes
}

// terminal makes a session and runs a program in it; none: a shell.
func (s *server) terminal(name string, command ...string) *terminal {
	s.t.Helper()
	id := str(s.post("/api/sessions", object{"name": name, "type": "terminal"}).created(), "id")
	c := &terminal{s, id, "/api/sessions/" + id + "/terminal"}
	c.run(command...)
	return c
}

func (c *terminal) run(command ...string) {
	c.s.t.Helper()
	if o := c.s.post(c.path+"/start", object{"command": command}).ok(); o["session_id"] != c.id {
		c.s.t.Fatalf("started: %v", o)
	}
}

func (c *terminal) state() object { c.s.t.Helper(); return c.s.get(c.path).ok() }

func (c *terminal) typed(text string) object {
	c.s.t.Helper()
	return c.s.post(c.path+"/input", object{"data": text}).ok()
}

// printed is all that is kept of the output, read in pages of a few rows.
func (c *terminal) printed() []byte {
	c.s.t.Helper()
	var all []byte
	for offset := 0.0; ; {
		o := c.s.get(fmt.Sprintf("%s/history?raw=1&limit=3&offset=%.0f", c.path, offset)).ok()
		for _, r := range list(o, "rows") {
			if r["byte_offset"] != offset || r["size"] != float64(len(str(r, "raw"))) || r["text"] != nil {
				c.s.t.Fatalf("row %v at %v, want offset %.0f", r["id"], r["byte_offset"], offset)
			}
			all = append(all, str(r, "raw")...)
			offset += r["size"].(float64)
		}
		if o["next_offset"] != offset {
			c.s.t.Fatalf("next_offset %v, want %.0f", o["next_offset"], offset)
		}
		if o["has_more"] != true {
			return all
		}
	}
}

// shows waits until the output has a text.
func (c *terminal) shows(text string) {
	c.s.t.Helper()
	c.s.eventually("the terminal shows "+text, func() bool { return strings.Contains(string(c.printed()), text) })
}

func (c *terminal) ended() object {
	c.s.t.Helper()
	c.s.eventually("the program ends", func() bool { return c.state()["live"] == false })
	return c.state()
}

// list is a member that is a list of objects.
func list(o object, name string) (out []object) {
	all, _ := o[name].([]any)
	for _, v := range all {
		m, _ := v.(object)
		out = append(out, m)
	}
	return out
}

// left are the processes that have a session's id in their environment.
func (c *terminal) left() (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "ANT_SESSION_ID="+c.id) {
			pids = append(pids, strings.Split(f, "/")[2])
		}
	}
	return pids
}

// TestTerminalIsWhole: what a program prints is kept to the byte, over its end and
// the next start.
func TestTerminalIsWhole(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		c := s.terminal("numbers", "sh", "-c", `seq 1 60000; printf 'ünï ✓ 漢字'; exit 3`)
		o := c.ended()
		if o["exit_code"] != 3.0 || o["exit_signal"] != 0.0 || o["pid"] != nil || o["ended_at"] == nil {
			t.Errorf("ended: %v", o)
		}
		var want strings.Builder
		for i := 1; i <= 60000; i++ {
			fmt.Fprintf(&want, "%d\r\n", i)
		}
		want.WriteString("ünï ✓ 漢字")
		got := c.printed()
		if sha256.Sum256(got) != sha256.Sum256([]byte(want.String())) {
			t.Fatalf("%d bytes are kept of %d", len(got), want.Len())
		}
		if o["end_offset"] != float64(want.Len()) || o["first_offset"] != 0.0 {
			t.Errorf("offsets: %v", o)
		}
		c.run("printf", "again")
		c.ended()
		if got := c.printed(); string(got) != want.String()+"again" {
			t.Errorf("after the second start: %d bytes", len(got))
		}
		kinds := []string{}
		for _, r := range list(s.get(c.path+"/events").ok(), "rows") {
			kinds = append(kinds, str(r, "kind"))
		}
		if fmt.Sprint(kinds) != "[exit started exit started]" {
			t.Errorf("events: %v", kinds)
		}
	})
}

// TestTerminalInputInOrder: input is typed in the order of the calls, and starts a
// terminal that does not run.
func TestTerminalInputInOrder(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		id := str(s.post("/api/sessions", object{"name": "typed", "type": "terminal", "root_dir": s.user}).created(), "id")
		c := &terminal{s, id, "/api/sessions/" + id + "/terminal"}
		if c.state()["live"] != false {
			t.Fatal("it runs already")
		}
		o := c.typed("stty -echo; echo rea''dy; pwd\r")
		if o["ok"] != true || str(o, "event", "kind") != "prompt" || str(o, "event", "payload", "capture_source") != "api_terminal_input" {
			t.Errorf("typed: %v", o)
		}
		c.shows("ready\r\n" + s.user)
		var want strings.Builder
		c.typed("cat > got\r")
		for i := range 50 {
			line := fmt.Sprintf("line %d of it\r", i)
			want.WriteString(strings.ReplaceAll(line, "\r", "\n"))
			c.typed(line)
		}
		c.typed("\x04")
		c.typed("echo do''ne\r")
		c.shows("done")
		got, err := os.ReadFile(filepath.Join(s.user, "got"))
		if err != nil || string(got) != want.String() {
			t.Errorf("%d bytes arrived of %d: %v", len(got), want.Len(), err)
		}
		c.typed("sleep 1000\r")
		s.eventually("the command runs", func() bool { return c.state()["command"] != "" || slices.Contains(foreground(c), "sleep") })
		stop := s.post(c.path+"/stop", object{"reason": "enough", "requested_by": "@ann"}).ok()
		if stop["action"] != "interrupt" || str(stop, "event", "kind") != "terminal_stop" || str(stop, "event", "payload", "requested_by") != "@ann" {
			t.Errorf("stop: %v", stop)
		}
		c.typed("echo fr''ee\r")
		c.shows("free")
	})
}

// foreground are the programs that a terminal's processes run.
func foreground(c *terminal) (names []string) {
	for _, pid := range c.left() {
		if b, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
			names = append(names, strings.TrimSpace(string(b)))
		}
	}
	return names
}

// TestTerminalCommandBlocks: shells say which commands ran, and how they ended.
func TestTerminalCommandBlocks(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, withEnv("SHELL="+path), prepared(func(user, _ string) {
				// A new user's fish would read all manuals, for minutes.
				if err := os.MkdirAll(filepath.Join(user, ".local/share/fish/generated_completions"), 0o700); err != nil {
					t.Fatal(err)
				}
			}))
			c := s.terminal("blocks")
			c.typed("cd /usr; sh -c 'exit 3'\r")
			s.eventually("the block is noted", func() bool { return len(blocks(c)) == 1 })
			c.typed("echo hi\r")
			s.eventually("the second is", func() bool { return len(blocks(c)) == 2 })
			all := blocks(c)
			if p := all[0]; p["command"] != "cd /usr; sh -c 'exit 3'" || p["exit_code"] != 3.0 || p["cwd"] != s.user || p["osc133"] != true {
				t.Errorf("first: %v", p)
			}
			if p := all[1]; p["command"] != "echo hi" || p["exit_code"] != 0.0 || p["cwd"] != "/usr" {
				t.Errorf("second: %v", p)
			}
			if o := c.state(); o["cwd"] != "/usr" {
				t.Errorf("state: %v", o)
			}
		})
	}
}

// blocks are the payloads of the command blocks of a terminal.
func blocks(c *terminal) (out []object) {
	for _, e := range list(c.s.get("/api/sessions/"+c.id+"/run-events?kind=command_block").ok(), "events") {
		p, _ := e["payload"].(object)
		out = append(out, p)
	}
	return out
}

// TestTerminalSurvives: with tmux a terminal outlives the server, however that
// ends, and nothing that is printed meanwhile is lost.
func TestTerminalSurvives(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*server){"kill": (*server).kill, "stop": (*server).stop} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := start(t, withArgs("--terminal-host", "tmux"))
			c := s.terminal("counter", "sh", "-c", `i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo "line $i"; sleep 0.01; done; read x; echo "got $x"; read y`)
			c.shows("line 20\r\n")
			pid := c.state()["pid"]
			end(s)
			s.restart()
			if o := c.state(); o["live"] != true || o["pid"] != pid || pid == nil {
				t.Fatalf("after the restart: %v, pid was %v", o, pid)
			}
			c.shows("line 400\r\n")
			c.typed("me\r")
			c.shows("got me")
			var want strings.Builder
			for i := 1; i <= 400; i++ {
				fmt.Fprintf(&want, "line %d\r\n", i)
			}
			if got := string(c.printed()); got != want.String()+"me\r\ngot me\r\n" {
				t.Errorf("the history is not that of the counter: %d bytes", len(got))
			}
			if n := len(s.get(c.path + "/history?grep=LINE&limit=1000").ok()["rows"].([]any)); n != 400 {
				t.Errorf("%d lines are found", n)
			}
		})
	}
}

// TestTerminalEndsWithSession: nothing runs for a session that is archived or
// deleted, whatever it ignores.
func TestTerminalEndsWithSession(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host)
		const stubborn = `trap '' HUP TERM; (trap '' HUP TERM; while :; do sleep 1; done) & setsid sh -c "trap '' HUP; while :; do sleep 1; done" & echo up; while :; do sleep 1; done`
		chat := func(c *terminal) string { return str(s.get("/api/sessions/"+c.id).ok(), "linked_chat_id") }
		for name, end := range map[string]func(c *terminal){
			"archived":      func(c *terminal) { s.patch("/api/sessions/"+c.id, object{"archived": true}).ok() },
			"chat archived": func(c *terminal) { s.patch("/api/sessions/"+chat(c), object{"archived": true}).ok() },
			"deleted":       func(c *terminal) { s.discard("/api/sessions/" + c.id) },
			"deleted hard":  func(c *terminal) { s.discard("/api/sessions/" + c.id + "?hard=true") },
			"ended":         func(c *terminal) { s.delete(c.path).ok() },
		} {
			c := s.terminal(name, "sh", "-c", stubborn)
			c.shows("up")
			end(c)
			if left := c.left(); len(left) > 0 {
				t.Errorf("%s: %v still run", name, left)
			}
			switch a := s.post(c.path+"/input", object{"data": "x\r"}); name {
			case "ended":
				a.ok()
			case "deleted hard":
				a.refused(http.StatusNotFound, "terminal session not found")
			default:
				a.refused(http.StatusGone, "terminal session is inactive")
				s.post("/api/sessions/"+c.id+"/restore", object{}).ok()
				if o := c.state(); o["live"] != false || o["end_offset"].(float64) < 4 {
					t.Errorf("%s, restored: %v", name, o)
				}
			}
		}
	})
}

// TestTerminalEnvironment: programs know where they are, and none of the server's secrets.
func TestTerminalEnvironment(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host, withKey("canary-server-key"), withEnv("ANTHROPIC_API_KEY=canary-a", "ANTON_OPENAI_API_KEY=canary-b", "AWS_SECRET_ACCESS_KEY=canary-c",
			"ANTHILL_LOG_LEVEL=info", "MY_TOKEN=canary-d", "LANG=C.UTF-8"))
		parent := "" // with a pty it is the server itself, whose environment its user can read
		if strings.HasSuffix(t.Name(), "tmux") {
			parent = "cat /proc/$PPID/environ | tr '\\0' '\\n';"
		}
		c := s.terminal("env", "sh", "-c", "env; tr '\\0' '\\n' < /proc/$$/environ;"+parent+" echo over")
		c.shows("over")
		got := string(c.printed())
		if strings.Contains(got, "canary") {
			t.Error("a secret is there")
		}
		for _, want := range []string{"ANT_SESSION_ID=" + c.id, "ANT_SESSION=env", "ANT_SERVER_URL=" + s.url, "ANT_SERVER=" + s.url, "LANG=C.UTF-8", "TERM=", "HOME=" + s.user} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in %s", want, got)
			}
		}
	})
}

// TestTerminalCap: as many terminals run as may, through whatever door.
func TestTerminalCap(t *testing.T) {
	t.Parallel()
	s := start(t, withEnv("ANT_MAX_ACTIVE_AGENTS=3"))
	client, ctx := antv1.NewTerminalsServiceClient(s.dial()), s.call()
	var ids []string
	for i := range 12 {
		ids = append(ids, str(s.post("/api/sessions", object{"name": "t" + strconv.Itoa(i), "type": "terminal"}).created(), "id"))
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	started := 0
	for i, id := range ids {
		all.Go(func() {
			ok := false
			switch i % 3 {
			case 0:
				a, err := s.try(http.MethodPost, "/api/sessions/"+id+"/terminal/start", object{})
				ok = err == nil && a.status == http.StatusOK
			case 1:
				a, err := s.try(http.MethodPost, "/api/sessions/"+id+"/terminal/input", object{"data": "x"})
				ok = err == nil && a.status == http.StatusOK
			default:
				_, err := client.StartTerminal(ctx, &antv1.StartTerminalRequest{SessionId: id})
				ok = err == nil
			}
			if ok {
				mu.Lock()
				started++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	h := s.get("/api/health").ok()["resources"].(object)
	if started != 3 || h["activeSessionCount"] != 3.0 || h["atCap"] != true || h["canSpawn"] != false || len(list(h, "sessions")) != 3 {
		t.Fatalf("%d started: %v", started, h)
	}
	for _, p := range list(h, "sessions") {
		if p["pid"].(float64) <= 1 || p["rssMb"].(float64) <= 0 {
			t.Errorf("process: %v", p)
		}
	}
	s.post("/api/sessions", object{"name": "one more", "type": "terminal", "start": true}).refused(http.StatusTooManyRequests, "")
	if live, _ := s.sessions(); len(live) != 24 {
		t.Errorf("%d sessions: the refused one was made", len(live))
	}
	s.delete("/api/sessions/" + str(list(h, "sessions")[0], "sessionId") + "/terminal").ok()
	s.post("/api/sessions", object{"name": "one more", "type": "terminal", "start": true, "cols": 100, "rows": 40}).created()
}

// TestTerminalsOfOthers: tmux servers and sessions that are not ours stay as they are.
func TestTerminalsOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tmux := func(args ...string) string {
		t.Helper()
		c := exec.Command("tmux", args...)
		c.Env = append(os.Environ(), "TMUX_TMPDIR="+dir, "TMUX=")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	tmux("-f", "/dev/null", "new-session", "-d", "-s", "mine", "sleep", "1000")
	t.Cleanup(func() { tmux("kill-server") })
	tmux("new-session", "-d", "-s", "anthill", "sleep", "1000")
	const format = "#{session_name} #{pane_pid} #{window_layout} #{session_created}"
	before := tmux("list-panes", "-a", "-F", format) + tmux("show-options", "-g") + tmux("list-clients")
	s := start(t, withEnv("TMUX_TMPDIR="+dir), withArgs("--terminal-host", "tmux"))
	a, b := s.terminal("mine"), s.terminal("anthill", "sh", "-c", "tmux ls; echo; sleep 1000")
	a.typed("echo o''k\r")
	a.shows("ok")
	s.kill()
	s.restart()
	s.discard("/api/sessions/" + a.id + "?hard=true")
	s.delete(b.path).ok()
	s.stop()
	if now := tmux("list-panes", "-a", "-F", format) + tmux("show-options", "-g") + tmux("list-clients"); now != before {
		t.Errorf("before:\n%s\nnow:\n%s", before, now)
	}
	s.restart()
}

// TestTerminalNamesAreData: no name is taken for a command, an option or a path.
func TestTerminalNamesAreData(t *testing.T) {
	t.Parallel()
	s := start(t)
	mark := filepath.Join(s.user, "pwned")
	for i, name := range []string{"$(touch " + mark + ")", ";touch " + mark, "`touch " + mark + "`", "--help", "-t x", "a'b\"c", "../../x", "#{pane_pid}"} {
		dir := filepath.Join(s.user, strings.ReplaceAll(name, "/", "_"))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		id := str(s.post("/api/sessions", object{"name": name, "type": "terminal", "root_dir": dir, "start": true}).created(), "id")
		c := &terminal{s, id, "/api/sessions/" + id + "/terminal"}
		c.typed(`printf '<%s>\n' "$ANT_SESSION" "$PWD"; echo do''ne` + strconv.Itoa(i) + "\r")
		c.shows("done" + strconv.Itoa(i))
		if got := string(c.printed()); !strings.Contains(got, "<"+name+">") || !strings.Contains(got, "<"+dir+">") {
			t.Errorf("%s: %q", name, got)
		}
		s.discard("/api/sessions/" + id + "?hard=true")
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a name was run")
	}
	c := s.terminal("argv", "printf", "%s\\n", "$(id)", "; ls", "--")
	c.ended()
	if got := string(c.printed()); got != "$(id)\r\n; ls\r\n--\r\n" {
		t.Errorf("arguments: %q", got)
	}
	for _, bad := range []object{{"command": []string{""}}, {"command": []string{"-x"}}, {"command": []string{"no-such-program"}}, {"cwd": "relative"}, {"cwd": "/no/such/folder"},
		{"cols": 0, "rows": 10}, {"cols": 10}, {"cols": 1001, "rows": 10}, {"command": []string{"a\x00b"}}} {
		s.post(c.path+"/start", bad).refused(http.StatusBadRequest, "")
	}
	s.post("/api/sessions", object{"name": "nowhere", "type": "terminal", "root_dir": "/no/such/folder", "start": true}).refused(http.StatusBadRequest, "")
	s.post("/api/sessions", object{"name": "nowhere", "type": "chat", "start": true}).refused(http.StatusBadRequest, "")
	s.post("/api/sessions", object{"name": "nowhere", "type": "terminal"}).created()
}

// TestTerminalOutputIsHarmless: what a program prints reaches no log, name or
// event raw, and nothing that we do with it types anything.
func TestTerminalOutputIsHarmless(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host option) {
		s := start(t, host, withArgs("--log-level", "debug"))
		c := s.terminal("hostile", "sh", "-c", `stty raw -echo; printf '\033]0;ti\001t\177le\033\\\033]52;c;c2VjcmV0\007\033]52;c;?\007\033]133;C\007\033]7;file:///x\001y\007\033[?1049h\033[2J\033]133;D;\007`+
			`\033Pq#0\033\\\033[999999999;999999999H\033]8;;javascript:1\007l\033]8;;\007shown'; exec cat > typed`)
		c.shows("shown")
		for _, path := range []string{c.path, c.path + "/screen", c.path + "/events", c.path + "/history", "/api/sessions/" + c.id + "/run-events", "/api/sessions/" + c.id + "/status", "/api/health"} {
			if body := string(s.get(path).body); controls.MatchString(body) || strings.Contains(body, "c2VjcmV0") && !strings.Contains(path, "raw") {
				t.Errorf("%s: %s", path, body)
			}
		}
		typed := func() int64 {
			info, err := os.Stat(filepath.Join(s.user, "typed"))
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		before := typed() // what tmux, as the terminal, has answered to the program
		for range 3 {
			s.get(c.path + "/history?raw=1").ok()
			s.get(c.path + "/screen").ok()
		}
		c.typed("end")
		s.eventually("it is typed", func() bool { return typed() >= before+3 })
		if n := typed(); n != before+3 {
			t.Errorf("%d bytes were typed, not 3", n-before)
		}
		s.stop()
		if log := s.stderr.String(); strings.ContainsAny(log, "\x1b\x01\x7f") {
			t.Errorf("the log has control characters: %q", log)
		}
	})
}

// controls are escapes of JSON for control characters but line feeds and tabs.
var controls = regexp.MustCompile(`\\u00(0[0-8bcef]|1[0-9a-f]|7f|[89][0-9a-f])|\x7f`)
