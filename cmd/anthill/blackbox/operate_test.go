package blackbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

type findings []struct{ Name, Status, Detail, Fix string }

// status is "ok", "warn" or "fail", the worst of what was found under a name.
func (fs findings) status(name string) string {
	worst := ""
	for _, f := range fs {
		if f.Name == name && (worst == "" || f.Status == "fail" || f.Status == "warn" && worst == "ok") {
			worst = f.Status
		}
	}
	return worst
}

// doctor runs anthill doctor and reads what it finds.
func doctor(t *testing.T, env []string, args ...string) (findings, int) {
	t.Helper()
	out, errs, code := command(t, env, "", append([]string{"doctor", "--json"}, args...)...)
	var found struct{ Findings findings }
	if err := json.Unmarshal([]byte(out), &found); err != nil || errs != "" {
		t.Fatalf("doctor: %v, %q, %q", err, out, errs)
	}
	failed := false
	for _, f := range found.Findings {
		failed = failed || f.Status == "fail"
		if f.Name == "" || f.Detail == "" || f.Status != "ok" && f.Status != "warn" && f.Status != "fail" || f.Status != "ok" && f.Fix == "" {
			t.Errorf("finding %+v", f)
		}
	}
	if failed != (code == 1) || code > 1 {
		t.Errorf("exit code %d for %+v", code, found.Findings)
	}
	return found.Findings, code
}

var noLocalModels = []string{"ANTON_OLLAMA_URL=off", "ANTON_LMSTUDIO_URL=off"}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func TestDoctorWithoutAServer(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	base := append([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "ANTON_SERVER_PORT=" + freePort(t)}, noLocalModels...)
	check := func(what string, found findings, want map[string]string) {
		t.Helper()
		for name, status := range want {
			if got := found.status(name); got != status {
				t.Errorf("%s: %s is %q, want %q: %+v", what, name, got, status, found)
			}
		}
	}
	found, code := doctor(t, base)
	check("a fresh machine", found, map[string]string{"version": "ok", "configuration": "ok", "data directory": "ok", "port": "ok", "web pages": "ok",
		"model provider": "warn", "local models": "ok", "TLS": ""})
	if code != 0 {
		t.Errorf("a fresh machine: code %d", code)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("the doctor left %v, %v", left, err)
	}
	found, _ = doctor(t, append(base, "PATH="+t.TempDir()))
	check("no programs", found, map[string]string{"tmux": "warn", "python3": "warn"})

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	found, _ = doctor(t, append(base, "ANTON_SERVER_PORT="+other.URL[strings.LastIndex(other.URL, ":")+1:]))
	check("another program on the port", found, map[string]string{"port": "fail"})
	found, _ = doctor(t, base, "--host", "192.0.2.1", "--config", os.DevNull)
	check("an address of nobody, without a key", found, map[string]string{"configuration": "fail"})
	found, _ = doctor(t, append(base, "ANT_API_KEY=DOCTOR-CANARY"), "--host", "192.0.2.1")
	check("an address of nobody", found, map[string]string{"port": "fail"})

	data := filepath.Join(home, "data")
	writeFile(t, filepath.Join(data, "config.yaml"), "api-key: DOCTOR-CANARY\n")
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(data, "config.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	found, _ = doctor(t, append(base, "ANTHILL_HOME="+data))
	check("open to others", found, map[string]string{"data directory": "warn", "configuration": "warn"})
	if strings.Contains(fmt.Sprint(found), "CANARY") {
		t.Errorf("the key is shown: %+v", found)
	}
	writeFile(t, filepath.Join(data, "config.yaml"), "port: [\n")
	found, _ = doctor(t, append(base, "ANTHILL_HOME="+data))
	check("a broken file", found, map[string]string{"configuration": "fail"})
	found, _ = doctor(t, append(base, "ANTHILL_ALLOWED_ORIGINS=nonsense"))
	check("a bad origin", found, map[string]string{"web pages": "fail"})

	dir := t.TempDir()
	expired := newCertificate(t, dir, time.Now().Add(-time.Hour), "localhost")
	found, _ = doctor(t, append(base, expired.env()...))
	check("an expired certificate", found, map[string]string{"TLS": "fail"})
	found, _ = doctor(t, append(base, newCertificate(t, dir, time.Now().Add(24*time.Hour), "localhost").env()...))
	check("one that ends soon", found, map[string]string{"TLS": "warn"})
	found, _ = doctor(t, append(base, newCertificate(t, dir, time.Now().Add(1000*time.Hour), "localhost").env()...))
	check("a good one", found, map[string]string{"TLS": "ok"})
	found, _ = doctor(t, append(base, "ANT_TLS_CERT="+filepath.Join(dir, "cert.pem"), "ANT_TLS_KEY="+filepath.Join(dir, "none.pem")))
	check("without its key", found, map[string]string{"TLS": "fail"})
}

func TestDoctorWithAServer(t *testing.T) {
	t.Parallel()
	const key = "sk-DOCTORCANARY-0123456789"
	p := newProvider(t, nil)
	p.key = key
	s := start(t, withModel(p), withKey(apiKey), withEnv(noLocalModels...))
	env := append(s.environ(), "ANTON_SERVER_PORT="+s.addr[strings.LastIndex(s.addr, ":")+1:])
	found, code := doctor(t, env, "--no-probe")
	text := fmt.Sprint(found)
	if code != 0 || found.status("port") != "ok" || found.status("model provider") != "ok" || !strings.Contains(text, fmt.Sprint(s.cmd.Process.Pid)) ||
		!strings.Contains(text, "is served by anthill") || !strings.Contains(text, s.url) {
		t.Errorf("%d %+v", code, found)
	}
	out, _, code := command(t, env, "", "doctor", "--no-probe")
	if code != 0 || !regexp.MustCompile(`(?m)^ok +server +process \d+ serves http`).MatchString(out) {
		t.Errorf("%d %s", code, out)
	}
	if strings.Contains(text+out, key) || strings.Contains(text+out, apiKey) {
		t.Errorf("a key is shown: %s", text)
	}
	if found, code := doctor(t, append(env, "ANT_API_KEY="), "--no-probe"); code != 1 || found.status("model provider") != "fail" || !strings.Contains(fmt.Sprint(found), "ANT_API_KEY") {
		t.Errorf("without the key: %d %+v", code, found)
	}
}

// modelServer plays a provider that can be asked for its models.
func modelServer(t *testing.T, key string) *httptest.Server {
	t.Helper()
	h := http.NewServeMux()
	h.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		if key != "" && r.Header.Get("Authorization") != "Bearer "+key {
			http.Error(w, `{"error":{"message":"bad key"}}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := io.WriteString(w, `{"object":"list","data":[{"id":"small","object":"model"},{"id":"large","object":"model"}]}`); err != nil {
			t.Error(err)
		}
	})
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestConfigureByFlags(t *testing.T) {
	t.Parallel()
	const key = "sk-CONFIGURECANARY-0123456789"
	m := modelServer(t, key)
	s := start(t, withEnv(noLocalModels...))
	provider := func() string {
		t.Helper()
		h := s.get("/health").ok()
		return fmt.Sprint(h["provider"], " ", h["model"], " ", h["config_ready"])
	}
	out, errs, code := command(t, s.environ(), key+"\n", "configure", "--provider", "openai-compatible", "--base-url", m.URL, "--model", "large", "--key-stdin")
	if code != 0 || provider() != "openai-compatible large true" || !strings.Contains(out, "It works") {
		t.Errorf("configure: code %d, %q, %q, %s", code, out, errs, provider())
	}
	if strings.Contains(out+errs, key) {
		t.Errorf("the key is shown: %q, %q", out, errs)
	}
	if found, code := doctor(t, s.environ(), "--port", "0"); code != 0 || found.status("model provider") != "ok" || strings.Contains(fmt.Sprint(found), key) {
		t.Errorf("the doctor finds %d %+v", code, found)
	}
	// Another model, the same provider and key.
	if out, errs, code := command(t, s.environ(), "", "configure", "--model", "small"); code != 0 || provider() != "openai-compatible small true" {
		t.Errorf("another model: code %d, %q, %q, %s", code, out, errs, provider())
	}
	out, errs, code = command(t, s.environ(), "wrong\n", "configure", "--key-stdin")
	if code == 0 || !strings.Contains(errs, "does not work") || strings.Contains(out+errs, "wrong") {
		t.Errorf("a wrong key: code %d, %q, %q", code, out, errs)
	}
	if found, code := doctor(t, s.environ(), "--port", "0"); code != 1 || found.status("model provider") != "fail" {
		t.Errorf("the doctor finds %d %+v", code, found)
	}
	if out, errs, code := command(t, s.environ(), "wrong\n", "configure", "--key-stdin", "--no-probe"); code != 0 {
		t.Errorf("not asked: code %d, %q, %q", code, out, errs)
	}
	for what, args := range map[string][]string{
		"unknown": {"--provider", "nobody"}, "bad address": {"--provider", "openai-compatible", "--base-url", "ftp://x"}, "key as an argument": {"--key", key}, "nothing": nil,
	} {
		if out, errs, code := command(t, s.environ(), "", append([]string{"configure"}, args...)...); code == 0 || errs == "" {
			t.Errorf("%s: code %d, %q, %q", what, code, out, errs)
		}
	}
	if _, errs, code := command(t, s.environ(), "", "configure", "--provider", "openai", "--key-stdin"); code == 0 || !strings.Contains(errs, "no key") {
		t.Errorf("an empty key: %d %q", code, errs)
	}
	// Without a server the same file is written, and the next server goes by it.
	s.stop()
	if out, errs, code := command(t, s.environ(), key, "configure", "--provider", "openai-compatible", "--model", "large", "--key-stdin"); code != 0 || !strings.Contains(out, "It works") {
		t.Errorf("without a server: code %d, %q, %q", code, out, errs)
	}
	if info, err := os.Stat(filepath.Join(s.user, ".anton", ".env")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	s.restart()
	if got := provider(); got != "openai-compatible large true" {
		t.Errorf("after the restart: %s", got)
	}
	// What the environment sets stays in force, and is said.
	s.stop()
	s.restart(withEnv("ANTON_PLANNING_PROVIDER=offline"))
	if out, errs, code := command(t, s.environ(), "", "configure", "--provider", "openai-compatible", "--no-probe"); code == 0 || !strings.Contains(errs, "ANTON_PLANNING_PROVIDER") {
		t.Errorf("against the environment: code %d, %q, %q", code, out, errs)
	}
}

// At a terminal the key is typed unseen, and servers of this machine are offered.
func TestConfigureAtATerminal(t *testing.T) {
	t.Parallel()
	const key = "sk-TYPEDCANARY-0123456789"
	local, remote := modelServer(t, ""), modelServer(t, key)
	s := start(t, withEnv("ANTON_LMSTUDIO_URL="+local.URL, "ANTON_OLLAMA_URL=off"))
	s.offered("lmstudio/small", true)
	talk := func(steps ...string) (seen string, code int) {
		t.Helper()
		cmd := exec.Command(binary, "configure")
		cmd.Env = s.environ()
		terminal, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer terminal.Close()
		var out output
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 4096)
			for {
				n, err := terminal.Read(buf)
				if _, failed := out.Write(buf[:n]); err != nil || failed != nil {
					return // a terminal without its program ends in an error
				}
			}
		}()
		at := 0
		for i := 0; i < len(steps); i += 2 {
			s.eventually("it asks "+steps[i], func() bool {
				n := strings.Index(out.String()[at:], steps[i])
				if n >= 0 {
					at += n + len(steps[i])
				}
				return n >= 0
			})
			if _, err := io.WriteString(terminal, steps[i+1]+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		<-done
		if err := cmd.Wait(); err != nil {
			code = cmd.ProcessState.ExitCode()
		}
		return out.String(), code
	}
	seen, code := talk("Number or name [8]:", "LM Studio", "Model [small]:", "large")
	if code != 0 || !strings.Contains(seen, "runs here, with 2 models") || !strings.Contains(seen, "It works") {
		t.Errorf("LM Studio: %d %q", code, seen)
	}
	if h := s.get("/health").ok(); h["model"] != "large" || h["config_ready"] != true {
		t.Errorf("%v", h)
	}
	seen, code = talk("Number or name", "99", "There is no", "OpenAI-compatible", "Address", remote.URL, "not shown while you type", key, "Model", "large")
	if code != 0 || !strings.Contains(seen, "It works") || strings.Contains(seen, key) {
		t.Errorf("OpenAI-compatible: %d %q", code, seen)
	}
	if h := s.get("/health").ok(); h["provider"] != "openai-compatible" || h["config_ready"] != true {
		t.Errorf("%v", h)
	}
	// The key that is set stays; Ctrl-C changes nothing.
	seen, code = talk("Number or name [5]:", "", "Address of its API ["+remote.URL, "", "Enter keeps", "", "Model [large]:", "small")
	if code != 0 || !strings.Contains(seen, "It works") {
		t.Errorf("the same again: %d %q", code, seen)
	}
	if seen, code := talk("Number or name", "\x03"); code != 130 {
		t.Errorf("Ctrl-C: %d %q", code, seen)
	}
	if seen, code := talk("Number or name", "5", "Address", "", "Key", "\x03"); code != 130 {
		t.Errorf("Ctrl-C at the key: %d %q", code, seen)
	}
	if h := s.get("/health").ok(); h["model"] != "small" || h["config_ready"] != true {
		t.Errorf("%v", h)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey), withEnv(noLocalModels...))
	s.post("/v1/projects", object{"name": "travel"}).ok()
	s.ask(object{"input": "hello", "conversation": "trip"}).turn()
	s.patch("/v1/conversations/trip", object{"title": "To\tNaxos"}).ok()
	env := append(s.environ(), "ANTON_SERVER_PORT="+s.addr[strings.LastIndex(s.addr, ":")+1:])
	complete := func(env []string, args ...string) []string {
		t.Helper()
		out, _, code := command(t, env, "", append([]string{"__complete"}, args...)...)
		if code != 0 {
			t.Errorf("%q: code %d, %q", args, code, out)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		return lines[:len(lines)-1] // the last is a directive
	}
	has := func(list []string, want string) bool {
		return strings.Contains("\n"+strings.Join(list, "\n")+"\n", "\n"+want+"\n")
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"ask", "--conversation", ""}, "trip\tTo Naxos"}, {[]string{"ask", "-c", "tr"}, "trip\tTo Naxos"},
		{[]string{"ask", "--project", "tra"}, "travel\t" + filepath.Join(s.projects(), "travel")},
		{[]string{"ask", "--server", s.addr, "--project", "gen"}, "general\t" + filepath.Join(s.projects(), "general")},
		{[]string{"configure", "--provider", "oll"}, "ollama\tOllama"}, {[]string{"ask", "--model", "ant"}, "anton\tanton"},
		{[]string{"--log-level", ""}, "debug"}, {[]string{"ba"}, "backup\tWrite everything the server keeps into one file"},
		{[]string{"restore", ""}, "tgz"},
	} {
		if got := complete(env, tc.args...); !has(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.args, got, tc.want)
		}
	}
	if got := complete(env, "ask", "--conversation", "zz"); len(got) > 0 {
		t.Errorf("what was typed does not count: %q", got)
	}
	// Without a server, or the key, nothing is offered and nothing is said.
	for what, env := range map[string][]string{"no server": append(env, "ANTON_SERVER_PORT="+freePort(t)), "no key": append(env, "ANT_API_KEY="),
		"bad configuration": append(env, "ANTON_SERVER_PORT=nonsense")} {
		if got := complete(env, "ask", "--conversation", ""); len(got) > 0 {
			t.Errorf("%s: %q", what, got)
		}
	}
	for shell, want := range map[string]string{"bash": "__start_anthill", "zsh": "#compdef anthill", "fish": "complete -c anthill", "powershell": "Register-ArgumentCompleter"} {
		out, errs, code := command(t, env, "", "completion", shell)
		if code != 0 || errs != "" || !strings.Contains(out, want) {
			t.Errorf("completion %s: code %d, %d bytes, %q", shell, code, len(out), errs)
		}
		if path, err := exec.LookPath(shell); err == nil && shell != "powershell" {
			check := exec.Command(path, "-n")
			check.Stdin = bytes.NewReader([]byte(out))
			if said, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s does not understand it: %v %s", shell, err, said)
			}
		}
	}
}
