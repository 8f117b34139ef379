package blackbox

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Clients that open sessions and calls and go away leave nothing behind.
func TestMCPServerAbandoned(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("quiet")
	wait := rpc("tools/call", object{"name": "wait_for_messages", "arguments": object{"room": room, "seconds": 60}})
	abandon := func() {
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				initialize := rpc("initialize", object{"protocolVersion": legacy, "capabilities": object{}, "clientInfo": object{"name": "x", "version": "1"}})
				a, err := s.try(http.MethodPost, "/mcp", initialize)
				if err != nil {
					t.Error(err)
					return
				}
				req, err := s.request(ctx, http.MethodPost, "/mcp", wait, headers("Mcp-Session-Id", a.header.Get("Mcp-Session-Id")))
				if err != nil {
					t.Error(err)
					return
				}
				time.AfterFunc(20*time.Millisecond, cancel) // long enough to begin, most of the time
				if res, err := s.http.Do(req); err == nil {
					_ = res.Body.Close() // refused, as too many
				}
			})
		}
		all.Wait()
	}
	for range 10 { // as many as may be served at once, and as many again
		abandon()
	}
	before := s.resident()
	for range 20 {
		abandon()
	}
	s.eventually("calls are served", func() bool {
		return s.do(http.MethodPost, "/mcp", rpc("tools/list", object{})).status == http.StatusOK
	})
	most := int64(100 << 20)
	if raceOn {
		most *= 5 // so much more does the detector take
	}
	if grown := s.resident() - before; grown > most {
		t.Errorf("1000 abandoned sessions took %d MiB", grown>>20)
	}
}

// resident is what the process has in memory now, in bytes.
func (s *server) resident() int64 {
	s.t.Helper()
	out, err := exec.Command("ps", "-o", "rss=", "-p", fmt.Sprint(s.cmd.Process.Pid)).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var kib int64
	if _, err := fmt.Sscan(string(out), &kib); err != nil {
		s.t.Fatal(err)
	}
	return kib << 10
}

// The command ends with its input, with the server, and where there is none.
func TestMCPServerCommandEnds(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	env := []string{"HOME=" + s.user, "PATH=/usr/bin:/bin", "ANT_API_KEY=" + apiKey}
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}` + "\n"

	if out, errs, code := command(t, env, "", "mcp", "--server", s.addr); out != "" || errs != "" || code != 0 {
		t.Errorf("without input: %d, %q, %q", code, out, errs)
	}
	for what, bad := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no server":     {env, []string{"--server", "127.0.0.1:1"}, "no server answers"},
		"no key":        {env[:2], []string{"--server", s.addr}, "wants a key"},
		"a wrong key":   {append(env[:2:2], "ANT_API_KEY=wrong"), []string{"--server", s.addr}, "wants a key"},
		"a wrong token": {env, []string{"--server", s.addr, "--token", "ant_t_wrong"}, "key"},
		"an argument":   {env, []string{"x"}, "unknown command"},
	} {
		if out, errs, code := command(t, bad.env, "", append([]string{"mcp"}, bad.args...)...); out != "" || code != 1 || !strings.Contains(errs, bad.want) {
			t.Errorf("%s: %d, %q, %q", what, code, out, errs)
		}
	}
	for _, garbage := range []string{"garbage\n", "{}\n", "[]\n", "null\n", `{"jsonrpc":"2.0","id":1,"method":7}` + "\n", strings.Repeat("[", 1<<20) + "\n", "\x00\xff\n", `{"jsonrpc":"2.0","id":1,"method":"nothing"}` + "\n"} {
		out, errs, _ := command(t, env, hello+garbage, "mcp", "--server", s.addr)
		for line := range strings.Lines(out) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: it prints %s (%s)", clip([]byte(garbage)), line, errs)
			}
		}
	}

	c := exec.Command(binary, "mcp", "--server", s.addr)
	var errs output
	c.Env, c.Stderr = env, &errs
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte(hello + `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n" +
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"wait_for_messages","arguments":{"room":"` + s.chatRoom("r") + `","seconds":60}}}` + "\n")); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("no answer")
	}
	s.kill()
	for lines.Scan() {
		if !json.Valid(lines.Bytes()) {
			t.Errorf("it prints %s", lines.Text())
		}
	}
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "the server at "+s.addr+" is gone") {
		t.Errorf("without its server: %v, %q", err, errs.String())
	}
}

// A server that stops waits for nobody who waits.
func TestMCPServerStops(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.chatRoom("r")
	for name, connect := range s.agents() {
		a := connect("@x", nil)
		a.use("list_rooms", object{})
		go func() {
			_, err := a.CallTool(context.Background(), &mcp.CallToolParams{Name: "wait_for_messages", Arguments: object{"room": "r", "seconds": 60}})
			_ = err // an error or a result with one, as it comes
			_ = name
		}()
	}
	s.stop()
}
