package blackbox

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// fakeMCP is the program that plays servers (see fakemcp), built once, beside the program under test.
var fakeMCP = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "fakemcp")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "anthill/cmd/anthill/blackbox/fakemcp").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fakemcp: %w\n%s", err, out)
	}
	return path, nil
})

const (
	entrySecret  = "entry-secret-4711"
	serverSecret = "server-secret-0815"
)

// mcpBench is a server with a model that calls what it is told to call.
type mcpBench struct {
	*server
	p   *provider
	log string // of the fake
}

// newMCPBench starts one. A question "use NAME {…}" calls a tool, with its result
// in the next request.
func newMCPBench(t *testing.T, with ...option) *mcpBench {
	p := newProvider(t, func(c *call) {
		last := c.Messages[len(c.Messages)-1]
		if words := strings.SplitN(last.text(), " ", 3); last.Role == "user" && len(words) == 3 && words[0] == "use" {
			c.tool(0, fmt.Sprintf("call_%d", len(c.Messages)), words[1], words[2]).finish("tool_calls")
			return
		}
		c.say("Done.")
	})
	b := &mcpBench{p: p, log: filepath.Join(t.TempDir(), "fake.log")}
	b.server = start(t, append([]option{withModel(p), withEnv("ANTHILL_TEST_SECRET="+serverSecret, "TERM=dumb")}, with...)...)
	return b
}

// fake is the entry of a fake in a mode.
func (b *mcpBench) fake(mode string) object {
	b.t.Helper()
	path, err := fakeMCP()
	if err != nil {
		b.t.Fatal(err)
	}
	return object{"command": path, "args": []string{b.log, mode}, "env": object{"FAKE_TOKEN": entrySecret}}
}

// configure writes the file of a project.
func (b *mcpBench) configure(project string, servers object) {
	b.t.Helper()
	raw, err := json.Marshal(object{"mcpServers": servers})
	if err != nil {
		b.t.Fatal(err)
	}
	handWritten(b.t, filepath.Join(b.projects(), project, ".anton", "mcp.json"), string(raw))
}

// use has the model call a tool. It returns what it was offered of servers, and
// the call as it was answered to the model.
func (b *mcpBench) use(conversation, tool, args string) (offered []string, result string, tn *turn) {
	b.t.Helper()
	tn = b.ask(object{"input": "use " + tool + " " + args, "conversation": conversation}).turn()
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	c := b.p.seen[len(b.p.seen)-1]
	for _, m := range c.Messages {
		if m.Role == "tool" {
			result = m.text()
		}
	}
	for _, name := range c.toolNames() {
		if strings.HasPrefix(name, "mcp__") {
			offered = append(offered, name)
		}
	}
	return offered, result, tn
}

type mcpServer struct {
	Name, Project, Transport, Command, URL, State, Problem string
	Tools                                                  []struct {
		Name, Tool, Title, Description string
		Allowed                        bool
	}
}

// mcpServers is GET /v1/settings/mcp, by name.
func (b *mcpBench) mcpServers(query string) map[string]mcpServer {
	b.t.Helper()
	a := b.get("/v1/settings/mcp" + query)
	a.ok()
	if strings.Contains(string(a.body), entrySecret) {
		b.t.Errorf("the list tells a secret: %s", a.body)
	}
	out := map[string]mcpServer{}
	for _, s := range decode[struct{ Servers []mcpServer }](b.t, a.body).Servers {
		out[s.Name] = s
	}
	return out
}

// noted waits until the log of the fake has a line that begins so, often enough.
func (b *mcpBench) noted(what string, times int) (lines []string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%q is noted %d times", what, times), func() bool {
		lines = nil
		raw, err := os.ReadFile(b.log)
		if err != nil && !os.IsNotExist(err) {
			b.t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			if strings.HasPrefix(line, what) {
				lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, what)))
			}
		}
		return len(lines) >= times
	})
	return lines
}

// gone waits until a process is.
func (b *mcpBench) gone(pid string) {
	b.t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		b.t.Fatal(err)
	}
	b.eventually("process "+pid+" is gone", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
		return syscall.Kill(n, 0) != nil || err == nil && strings.Contains(string(stat), ") Z ") // nobody here reaps orphans
	})
}

// quiet says that no request to the model, no event and no line of the log has a
// secret.
func (b *mcpBench) quiet() {
	b.t.Helper()
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	for i, c := range b.p.seen {
		for _, secret := range []string{entrySecret, serverSecret, b.p.key} {
			if strings.Contains(string(c.body), secret) {
				b.t.Errorf("request %d to the model has %q", i, secret)
			}
		}
	}
}
