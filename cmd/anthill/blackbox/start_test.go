package blackbox

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	antonv1 "anthill/gen/anton/v1"
)

// Done when (5): an address beyond this machine needs a key, and a refusal says why.
func TestStartRefusesToBeReachableWithoutAKey(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	env := []string{"HOME=" + home, "ANTHILL_HOME=" + filepath.Join(home, "data")}
	for _, args := range [][]string{
		{"--host", "0.0.0.0"}, {"--host", "::"}, {"--host", ""}, {"--host", "192.0.2.1"}, {"--host", "example.com"},
		{"--listen", "0.0.0.0:0"}, {"--listen", ":0"}, {"--listen", "127.0.0.1:0,[::]:0"},
	} {
		out, errs, code := command(t, env, "", append([]string{"serve", "--port", "0"}, args...)...)
		if code == 0 || out != "" || !strings.Contains(errs, "without a key") || !strings.Contains(errs, "ANT_API_KEY") {
			t.Errorf("serve %q: code %d, stdout %q, stderr %q", args, code, out, errs)
		}
	}
	_, errs, code := command(t, append(env, "ANTON_SERVER_HOST=0.0.0.0", "ANTON_SERVER_PORT=0"), "", "serve")
	if code == 0 || !strings.Contains(errs, "without a key") {
		t.Errorf("by environment: code %d, %q", code, errs)
	}
	if _, err := os.Stat(filepath.Join(home, "data")); !os.IsNotExist(err) {
		t.Errorf("a refused start left a home behind: %v", err)
	}
	s := start(t, withKey("a-long-secret"), withArgs("--host", "0.0.0.0", "--listen", "127.0.0.1:0"))
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://127.0.0.1:" + port
	s.get("/v1/projects").ok()
	s.url = s.urls[1]
	s.get("/v1/projects").ok()
}

// Done when (5): a second start on the same home says who holds it.
func TestStartTwice(t *testing.T) {
	t.Parallel()
	s := start(t)
	pid := fmt.Sprint(s.cmd.Process.Pid)
	fastest := time.Hour
	for range 3 { // the machine may be busy; once is enough
		began := time.Now()
		out, errs, code := command(t, s.environ(), "", "serve", "--port", "0")
		fastest = min(fastest, time.Since(began))
		if code == 0 || out != "" || !strings.Contains(errs, pid) || !strings.Contains(errs, s.home) || !strings.Contains(errs, s.url) {
			t.Fatalf("second start: code %d, stdout %q, stderr %q, want process id %s", code, out, errs, pid)
		}
		if fastest < 2*time.Second {
			break
		}
	}
	if fastest >= 2*time.Second {
		t.Errorf("it took %v to say so", fastest)
	}
	s.ask(object{"input": "hello"}).turn()
	_, taken, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	_, errs, code := command(t, []string{"HOME=" + other}, "", "serve", "--port", taken)
	if code == 0 || !strings.Contains(errs, s.addr) {
		t.Errorf("a taken port: code %d, %q", code, errs)
	}
}

// Done when (5): flag, environment, file, default, in this order.
func TestStartConfiguration(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	data := filepath.Join(home, ".anthill")
	base := []string{"HOME=" + home}
	config := func(env []string, args ...string) map[string]string {
		t.Helper()
		out, errs, code := command(t, append(base, env...), "", append([]string{"config"}, args...)...)
		if code != 0 {
			t.Fatalf("config %q: code %d, %s", args, code, errs)
		}
		got := map[string]string{}
		for line := range strings.Lines(out) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
			got[k] = v
		}
		return got
	}
	check := func(what string, got map[string]string, want ...string) {
		t.Helper()
		for i := 0; i < len(want); i += 2 {
			if got[want[i]] != want[i+1] {
				t.Errorf("%s: %s is %q, want %q", what, want[i], got[want[i]], want[i+1])
			}
		}
	}
	check("defaults", config(nil), "listen", "[127.0.0.1:26866]", "home", data, "projects-dir", filepath.Join(data, "projects"),
		"log-level", "info", "api-key", `""`, "provider-settings", filepath.Join(home, ".anton", ".env"))
	writeFile(t, filepath.Join(data, "config.yaml"),
		"host: 127.0.0.2\nport: 1001\nlisten: [\"127.0.0.1:6458\"]\nprojects-dir: /file/projects\nlog-level: warn\napi-key: FILESECRET-abc\nallowed-hosts: [a.example, b.example]\n")
	got := config(nil)
	check("file", got, "listen", "[127.0.0.2:1001, 127.0.0.1:6458]", "projects-dir", "/file/projects", "log-level", "warn",
		"api-key", `"***"`, "allowed-hosts", "[a.example, b.example]")
	env := []string{"ANTON_SERVER_HOST=127.0.0.3", "ANTON_SERVER_PORT=1002", "ANTHILL_LISTEN=127.0.0.1:6459", "ANTON_PROJECTS_DIR=/env/projects",
		"ANTHILL_LOG_LEVEL=error", "ANT_API_KEY=ENVSECRET-abc", "ANTHILL_ALLOWED_HOSTS=c.example", "VITE_RENDERER_URL=http://r.example:1/"}
	check("environment", config(env), "listen", "[127.0.0.3:1002, 127.0.0.1:6459]", "projects-dir", "/env/projects", "log-level", "error",
		"api-key", `"***"`, "allowed-hosts", "[c.example]", "allowed-origins", "[http://r.example:1]")
	check("flags", config(env, "--host", "127.0.0.4", "--port", "1003", "--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2", "--projects-dir", "/flag/projects",
		"--log-level", "debug", "--allowed-hosts", "d.example"), "listen", "[127.0.0.4:1003, 127.0.0.1:1, 127.0.0.1:2]",
		"projects-dir", "/flag/projects", "log-level", "debug", "allowed-hosts", "[d.example]")
	out, errs, _ := command(t, append(base, env...), "", "config")
	if strings.Contains(out+errs, "SECRET-") {
		t.Errorf("a secret is printed: %s%s", out, errs)
	}
	other := filepath.Join(home, "other.yaml")
	writeFile(t, other, "port: 1004\n")
	check("--config", config(nil, "--config", other), "listen", "[127.0.0.1:1004]")
	check("ANTHILL_CONFIG", config([]string{"ANTHILL_CONFIG=" + other}), "listen", "[127.0.0.1:1004]")
	for what, args := range map[string][]string{
		"no such file": {"config", "--config", filepath.Join(home, "missing.yaml")}, "bad port": {"config", "--port", "99999"},
		"no port": {"config", "--port", "x"}, "unknown flag": {"config", "--nonsense"}, "bad level": {"serve", "--port", "0", "--log-level", "loud"},
		"unknown command": {"dance"}, "bad listen": {"config", "--listen", "nonsense"},
	} {
		if _, errs, code := command(t, append(base, "ANT_API_KEY=k"), "", args...); code == 0 || errs == "" {
			t.Errorf("%s: code %d, %q", what, code, errs)
		}
	}
}

// Done when (5): what is said is what was asked for, also about refusals.
func TestStartLogLevel(t *testing.T) {
	t.Parallel()
	s := start(t, withArgs("--log-level", "error"))
	s.do(http.MethodGet, "/v1/projects", nil, headers("Origin", "http://evil.example")).refused(http.StatusForbidden, "")
	s.do(http.MethodGet, "/v1/projects", nil, headers("Host", "evil.example")).refused(http.StatusForbidden, "")
	s.do(http.MethodPost, "/v1/projects", "x", headers("Content-Type", "text/plain")).refused(http.StatusUnsupportedMediaType, "")
	s.post("/v1/projects", "{").refused(http.StatusUnprocessableEntity, "")
	s.stop()
	if errs := launchLine.ReplaceAllString(s.stderr.String(), ""); strings.TrimSpace(errs) != "" { // the link is no log
		t.Errorf("log level error lets through: %s", errs)
	}
}

// Done when (5): what is kept is the owner's alone, whatever the umask.
func TestStartKeepsDataPrivate(t *testing.T) {
	t.Parallel()
	s := start(t, after("umask 000"))
	s.put("/v1/settings", object{"greeting": "hello", "planningModel": "x"}).ok()
	s.put("/v1/projects/general/files/a.txt", object{"content": "x"}).ok()
	s.ask(object{"input": "hello"}).turn()
	mode := func(path string, want os.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	mode(s.home, 0o700)
	mode(filepath.Join(s.user, ".anton"), 0o700)
	mode(filepath.Join(s.user, ".anton", ".env"), 0o600)
	mode(filepath.Join(s.home, "store"), 0o700)
	files := 0
	err := filepath.WalkDir(filepath.Join(s.home, "store"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files++
			mode(path, 0o600)
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files of the store, %v", files, err)
	}
}

// Done when (4): SIGTERM in mid-turn ends streams truthfully, and the turn is kept.
func TestStartStopDuringATurn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "count", "conversation": "stopped"})
	c := p.next()
	play(c, st, "One, ", "two")
	readers := []*stream{st}
	for range 12 {
		r := s.tail("stopped", 0)
		r.untilText("two")
		readers = append(readers, r)
	}
	rpc, err := antonv1.NewResponsesServiceClient(s.dial()).TailResponse(s.call(), &antonv1.TailResponseRequest{ConversationId: "stopped"})
	if err != nil {
		t.Fatal(err)
	}
	w := s.watch(0, 0) // has no end of its own, and must not keep the program alive
	w.snapshot(false, "stopped")
	s.stop()
	for i, r := range readers {
		tn := r.turn()
		if tn.end.Type != "response.incomplete" || tn.final.reason() != "interrupted" || tn.text != "One, two" {
			t.Errorf("reader %d: %q, then %s", i, tn.text, tn.end.data)
		}
	}
	all, err := receive(rpc)
	if err != nil || all[len(all)-1].GetIncomplete().GetReason() != "interrupted" {
		t.Errorf("gRPC: %v, last of %d events %v", err, len(all), all[max(0, len(all)-1):])
	}
	s.restart()
	sameFrames(t, "tail after the restart", s.tail("stopped", 0).rest(), st.seen)
	ms := messages(t, s, "stopped")
	if len(ms) != 2 || ms[1].Content != "One, two" || ms[1].Status != "incomplete" {
		t.Errorf("stored %+v", ms)
	}
}

// A turn that ends soon enough after SIGTERM ends well, and new ones are refused meanwhile.
func TestStartStopLetsATurnEnd(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "count", "conversation": "ending"})
	c := p.next()
	play(c, st, "One, ")
	go c.say("two")
	s.stop()
	if tn := st.turn(); tn.text != "One, two" || tn.end.Type != "response.completed" {
		t.Errorf("%q, then %s", tn.text, tn.end.data)
	}
}

// Connections that say nothing, or not all, do not keep the program alive.
func TestStartStopWithHalfOpenConnections(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, begun := range []string{"", "G", "PRI", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /health HTTP/1.1\r\n", "GET /health HTTP/1.1\r\nHost: " + s.addr + "\r\n",
		"POST /v1/responses HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"POST /v1/responses HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"inp"} {
		for range 4 {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, begun); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 8 { // idle, after an answer
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /health HTTP/1.1\r\nHost: "+s.addr+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
	}
	s.get("/health").ok()
	s.stop()
}

// Done when (2): a damaged store is refused with a word, and kept.
func TestStartWithADamagedStore(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 3 {
		s.ask(object{"input": "hello", "conversation": fmt.Sprintf("c%d", i)}).turn()
	}
	s.stop()
	path := filepath.Join(s.home, "store", "main.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"three pages": good[:3*4096], "100 bytes": good[:100], "empty": {}, "one byte less than a page": good[:4095],
		"text": []byte(strings.Repeat("this is no store\n", 1000)), "zeros": make([]byte, len(good)),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		p := spawn(t, s.environ(), "", "serve", "--port", "0")
		line := p.line()
		if strings.HasPrefix(line, "anthill ") {
			t.Errorf("%s: it starts", name)
			p.terminate(t)
		} else {
			p.wait(t, patience)
		}
		errs := p.stderr.String()
		if p.cmd.ProcessState.ExitCode() == 0 || !strings.Contains(errs, "main.db") || strings.Contains(errs, "goroutine ") || strings.Contains(errs, "panic") {
			t.Errorf("%s: code %d, stderr %q", name, p.cmd.ProcessState.ExitCode(), errs)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, bad) {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart()
	if got := conversations(t, s, "?project=all"); len(got) != 3 {
		t.Errorf("conversations after the repair: %v", got)
	}
	if tn := checkTurn(t, s.stream(http.MethodGet, "/v1/responses/tail?conversation_id=c0", nil).rest()); tn.text == "" {
		t.Error("the bulk store lost its events")
	}
}
