package blackbox

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const repository = "../../.."

// readmeBlocks are the shell blocks of the README, in order.
func readmeBlocks(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(repository + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestReadmeCommands runs every shell block of the README as it stands, on a
// fresh home; only the port is another one.
func TestReadmeCommands(t *testing.T) {
	home := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "ANTHILL_HOME="+home+"/data", "ANTON_SERVER_PORT="+strconv.Itoa(port))
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOPATH"} { // HOME is another one below
		out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(out)))
	}
	env = append(env, "HOME="+home)

	// What a block must print; blocks without an entry must only succeed.
	wants := map[string]string{
		"curl -sN": "07:30", "ask --conversation": "ferry", "--help": "anthill serve",
		"planningProvider": `"configReady":true`, "grpcurl": `"trip"`, "/mcp": "kitchen", "@anton When": "leaves Piraeus at 07:30",
	}
	served := false
	for _, block := range readmeBlocks(t) {
		switch strings.TrimSpace(block) {
		case "make test": // this is it
			continue
		case "make run":
			runServer(t, env)
			served = true
			continue
		}
		if !served {
			t.Fatalf("the README uses the server before it is started:\n%s", block)
		}
		script := strings.ReplaceAll(block, "localhost:26866", fmt.Sprintf("localhost:%d", port))
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
		cmd.Dir, cmd.Env = repository, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v:\n%s\n%s", err, block, out)
		}
		for mark, want := range wants {
			if strings.Contains(block, mark) {
				delete(wants, mark)
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in the output of\n%s\n%s", want, block, out)
				}
			}
		}
	}
	if len(wants) > 0 {
		t.Errorf("the README has no block with %v", wants)
	}
}

// runServer runs `make run` until the test ends, and returns once it serves.
func runServer(t *testing.T, env []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "make", "run")
	cmd.Dir, cmd.Env = repository, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // make, go run and the server
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if cmd.Wait() == nil {
			t.Error("make run ended by itself")
		}
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "listening on") {
			return
		}
	}
	t.Fatal("make run never served")
}
