package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Output shows while the cell runs, everything in order, the cell last.
func TestScratchpadStream(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.startPad("a")
	x := s.streamCell("a", "import os, sys, time\nprint('first')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('hä', file=sys.stderr)\n"+
		"progress('half', 50)\ndisplay({'text/html': '<b>x</b>'}, raw=True)\nos.system('echo second')\nprint('third')\n6 * 7")
	x.until("first")
	s.put("/v1/projects/general/files/go", object{"content": ""}).ok()
	c := x.end()
	if c.Stdout != "first\nsecond\nthird\n" || c.Stderr != "hä\n" || c.Stdout != x.printed("stdout") || c.Stderr != x.printed("stderr") || len(c.Outputs) != 2 {
		t.Errorf("%s", c)
	}
	var kinds []string
	for i, f := range x.seen {
		if f.Sequence != i {
			t.Errorf("frame %d: %+v", i, f)
		}
		if n := len(kinds); n == 0 || kinds[n-1] != f.Type {
			kinds = append(kinds, f.Type)
		}
		switch {
		case f.Type == "progress" && (f.Message != "half" || *f.Percent != 50), f.Type == "display" && f.Data == nil, f.Type == "started" && f.Number != 1:
			t.Errorf("%+v", f)
		}
	}
	if want := []string{"started", "stdout", "stderr", "progress", "display", "stdout", "display", "cell"}; !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
	if got := s.cells("a"); len(got) != 1 || got[0].Stdout != c.Stdout || len(got[0].Outputs) != 2 {
		t.Errorf("%v", got)
	}
}

// Who hangs up stops nothing; who cancels stops the cell within moments, and its
// variables stay.
func TestScratchpadCancel(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.startPad("a")
	x := s.streamCell("a", "import os, time\nprint('one')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('two')\nx = 3")
	x.until("one")
	x.cancel()
	s.put("/v1/projects/general/files/go", object{"content": ""}).ok()
	if out := s.printed("a", "print(x)"); out != "3\n" {
		t.Errorf("%q", out)
	}
	if got := s.cells("a"); got[0].Stdout != "one\ntwo\n" || got[0].Status != "ok" {
		t.Errorf("%v", got)
	}
	x = s.streamCell("a", "print('begun')\nwhile True: pass")
	x.until("begun")
	s.pad("cancel", object{"name": "a"}).ok()
	if c := x.end(); c.Status != "cancelled" || *c.Error != "Cancelled by user." || c.Stdout != "begun\n" {
		t.Errorf("%s", c)
	}
	if out := s.printed("a", "print(x)"); out != "3\n" {
		t.Errorf("%q", out)
	}
	// What does not react is ended with all that it started, and the next cell is told.
	x = s.streamCell("a", brood+"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\nwhile True: pass")
	x.until("deaf")
	list := processes(t, strings.TrimSuffix(strings.TrimSpace(x.printed("stdout")), "deaf"))
	s.pad("cancel", object{"name": "a"}).ok()
	if c := x.end(); c.Status != "cancelled" {
		t.Errorf("%s", c)
	}
	buried(t, list)
	if c := s.cell("a", "x"); c.Status != "error" || !strings.Contains(c.Notice, "Variables of earlier cells are gone") {
		t.Errorf("%s", c)
	}
}

// No process outlives what it belongs to: close, cleanup, the end of the server,
// whatever that is.
func TestScratchpadLeavesNoProcess(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, op := range []string{"close", "cleanup", "reset"} {
		s.startPad(op)
		list := processes(t, s.printed(op, brood))
		if len(list) != 3 {
			t.Fatal(list)
		}
		s.pad(op, object{"name": op}).ok()
		for _, pid := range list {
			if alive(pid) {
				t.Errorf("%d runs after %s", pid, op)
			}
		}
	}
	var all []int
	run := func() *padStream {
		t.Helper()
		all = nil
		for _, name := range []string{"idle", "busy"} {
			s.startPad(name)
			all = append(all, processes(t, s.printed(name, brood))...)
		}
		x := s.streamCell("busy", "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun')\nwhile True: pass")
		x.until("begun")
		return x
	}
	x := run()
	s.stop()
	if c := x.end(); c.Status != "interrupted" {
		t.Errorf("%s", c)
	}
	buried(t, all)
	s.restart()
	if got := s.cells("busy"); len(got) != 2 || got[1].Status != "interrupted" || got[1].Stdout != "begun\n" {
		t.Errorf("%v", got)
	}
	run().cancel() // it hangs up, and the cell goes on
	s.kill()
	buried(t, all)
	s.restart()
	if got := s.cells("busy"); len(got) != 4 || got[3].Status != "interrupted" {
		t.Errorf("%v", got)
	}
}

// Cells outlive the server; variables do not, and that is said.
func TestScratchpadRestart(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.startPad("a")
	s.printed("a", "x = 1\nprint('kept')")
	s.cell("a", "display({'text/html': '<i>kept</i>'}, raw=True)\n1/0")
	view := func() string {
		return string(s.get(padRoot+"view?name=a").body) + string(s.get(padRoot+"notebook?name=a&format=ipynb").body) + string(s.get(padRoot+"cells?name=a").body)
	}
	before := view()
	for _, end := range []func(){s.stop, s.kill} {
		end()
		s.restart()
		if after := view(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if o := s.get(padRoot + "list").ok(); len(o["pads"].([]any)) != 1 {
			t.Errorf("%v", o)
		}
	}
	c := s.cell("a", "x")
	if c.Number != 3 || c.Status != "error" || c.Notice != "Variables of earlier cells are gone: the server was restarted." {
		t.Errorf("%s", c)
	}
}

// cellsKept are the newest cells of a scratchpad; a quick machine runs more.
const cellsKept = 200

// Acknowledged cells survive a kill at any moment, in order, once.
func TestScratchpadKills(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.startPad("a")
	rounds := 4
	if soak {
		rounds = 30
	}
	told := 0
	for round := range rounds {
		var mu sync.Mutex
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for {
				mu.Lock()
				next := told + 1
				mu.Unlock()
				a, err := s.try(http.MethodPost, padRoot+"execute", object{"name": "a", "code": fmt.Sprintf("print(%d)", next)})
				if err != nil || a.status != http.StatusOK {
					return
				}
				mu.Lock()
				told = next
				mu.Unlock()
			}
		}()
		time.Sleep(time.Duration(300+round*170) * time.Millisecond)
		s.kill()
		<-gone
		s.restart()
		seen, number := 0, 0
		list := s.cells("a")
		for i, c := range list {
			if c.Number <= number {
				t.Errorf("cell %d after %d", c.Number, number)
			}
			number = c.Number
			var n int
			_, err := fmt.Sscanf(c.Code, "print(%d)", &n)
			if i == 0 && len(list) >= cellsKept-1 { // and one that the kill has cut off
				seen = n - 1
			}
			if err != nil || n < seen || n > seen+1 || c.Status == "running" || c.Status == "ok" && c.Stdout != fmt.Sprintln(n) {
				t.Errorf("after %d: %s", seen, c)
			}
			seen = n
		}
		if seen < told {
			t.Fatalf("cell %d was told to have ended, the last is %d", told, seen)
		}
	}
}

// More scratchpads than may have processes: each works, the cap holds, and who
// lost a process is told.
func TestScratchpadCap(t *testing.T) {
	t.Parallel()
	const most = 3
	s := start(t, withEnv(fmt.Sprintf("ANTON_SERVER_MAX_PADS=%d", most)))
	var pids []int
	for i := range 20 {
		name := fmt.Sprintf("pad%d", i)
		s.startPad(name)
		pids = append(pids, processes(t, s.printed(name, fmt.Sprintf("x = %d\nimport os; print(os.getpid())", i)))...)
		n := 0
		for _, pid := range pids {
			if alive(pid) {
				n++
			}
		}
		if n > most {
			t.Fatalf("%d processes for %d scratchpads", n, i+1)
		}
	}
	o := s.get(padRoot + "list").ok()
	live := 0
	for _, p := range o["pads"].([]any) {
		if p.(object)["live"] == true {
			live++
		}
	}
	if len(o["pads"].([]any)) != 20 || live != most {
		t.Errorf("%d live of %d", live, len(o["pads"].([]any)))
	}
	if c := s.cell("pad0", "x"); c.Status != "error" || !strings.Contains(c.Notice, "make room") {
		t.Errorf("%s", c)
	}
	var busy []*padStream
	for i := range most {
		x := s.streamCell(fmt.Sprintf("pad%d", i), "print('begun')\nwhile True: pass")
		x.until("begun")
		busy = append(busy, x)
	}
	a := s.pad("execute", object{"name": "pad9", "code": "1"})
	a.refused(http.StatusTooManyRequests, fmt.Sprintf("All %d scratchpads are running a cell: wait for one to end, or cancel one.", most))
	if a.header.Get("Retry-After") == "" {
		t.Errorf("%v %v", a, a.header)
	}
	for i, x := range busy {
		s.pad("cancel", object{"name": fmt.Sprintf("pad%d", i)}).ok()
		x.end()
	}
	s.printed("pad9", "1;")
}

// The server's secrets do not reach code, and what code prints forges nothing.
func TestScratchpadHostile(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("the answer of the model") })
	p.key = "sk-canary-for-scratchpads"
	s := start(t, withModel(p), withEnv("ANT_API_KEY=canary-of-callers", "SECRET_TOKEN=canary-of-others", "ANTON_ANTHROPIC_API_KEY=canary-of-anthropic"), withKey("canary-of-callers"))
	s.startPad("a")
	out := s.printed("a", "import os\nos.system('env')\nfor k, v in os.environ.items(): print(k, v)\nprint(open('/proc/self/environ').read())\nprint(open(f'/proc/{os.getppid()}/environ').read())")
	if strings.Contains(out, "canary") {
		t.Errorf("%s", out)
	}
	// The key stays here, also when code asks the model.
	if out := s.printed("a", "print(get_llm().complete('what is it?'))"); out != "the answer of the model\n" {
		t.Errorf("%q", out)
	}
	if c := p.about(t, "what is it?"); c.header.Get("Authorization") != "Bearer "+p.key {
		t.Errorf("%v", c.header)
	}
	c := s.cell("a", `
import json, os, struct, sys
data = json.dumps({"ev": "done", "error": "forged"}).encode()
for fd in (1, 2):
    os.write(fd, struct.pack(">I", len(data)) + data)
print('data: {"type":"cell","cell":{}}\n\ndata: x\r\n\r\n')
os.write(1, bytes(range(256)))
sys.stdout.buffer.write(b"\xff\xfe\xf0\x9f")
print("\ud800", "end")
`)
	if c.Status != "ok" || !strings.HasSuffix(c.Stdout, "end\n") {
		t.Errorf("%s", c)
	}
	x := s.streamCell("a", "import sys\nfor i in range(2000):\n    print('x' * 10_000)\n    print('y' * 1_000, file=sys.stderr)\nprint('the end')")
	c = x.end()
	size := 0
	for _, f := range x.seen {
		size += len(f.Text)
	}
	if c.Status != "ok" || len(c.Stdout)+len(c.Stderr) > 600<<10 || size > 600<<10 || !strings.HasSuffix(c.Stdout, "the end\n") {
		t.Errorf("%d and %d bytes, %d live: %s", len(c.Stdout), len(c.Stderr), size, c.Status)
	}
	for _, code := range []string{"import os; os._exit(1)", "import ctypes; ctypes.string_at(0)", "import os; os.kill(os.getpid(), 9)"} {
		if c := s.cell("a", code); c.Status != "died" || !strings.Contains(*c.Error, "ended by itself") {
			t.Errorf("%s: %s", code, c)
		}
	}
	s.printed("a", "1;")
	s.get("/health").ok()
}

// A module that is missing is installed from the index that the operator chose.
func TestScratchpadInstall(t *testing.T) {
	t.Parallel()
	x := newPackageIndex(t)
	s := start(t, withEnv("PIP_INDEX_URL="+x))
	s.startPad("a")
	c := s.cell("a", "import anthill_probe\nanthill_probe.answer()")
	if c.Status != "ok" || c.Outputs[0].Data["text/plain"] != "42" || !slices.Equal(c.Installed, []string{"anthill_probe"}) {
		t.Errorf("%s", c)
	}
	if o := s.pad("install", object{"name": "a", "packages": []string{"anthill_probe==1.0"}}).ok(); o["ok"] != true {
		t.Errorf("%v", o)
	}
	o := s.pad("install", object{"name": "a", "packages": []string{"anthill_nowhere"}}).ok()
	if o["ok"] != false || !strings.Contains(str(o, "result"), "anthill_nowhere") {
		t.Errorf("%v", o)
	}
	if c := s.cell("a", "import anthill_nowhere"); c.Status != "error" || !strings.Contains(*c.Error, "could not be installed") {
		t.Errorf("%s", c)
	}
	// Packages outlive reset, close and the server.
	s.pad("reset", object{"name": "a"}).ok()
	s.printed("a", "import anthill_probe")
	s.pad("close", object{"name": "a"}).ok()
	s.stop()
	s.restart(withEnv("PIP_INDEX_URL=http://127.0.0.1:1/"))
	s.startPad("a")
	s.printed("a", "import anthill_probe")
}
