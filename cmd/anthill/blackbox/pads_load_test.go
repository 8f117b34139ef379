package blackbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// crew is how many conversations run a cell at the same moment.
const crew = 50

// What the README promises at ANTON_SERVER_MAX_PADS, in bytes. Measured were 340 MiB
// of the server, 71 of them when the cells show nothing, and 14 of a scratchpad.
const (
	serverMost = 100<<20 + crew*(8<<20)
	padMost    = 32 << 20 // with its guard
)

// shift is the cell of worker n: it leaves processes that ignore every signal
// that they can, one of them in a session of its own and orphaned, one without the
// environment and the folder that it came from; shows more than is kept of it, says
// that it is there, and works until it may go. Its last line is n squared.
const shift = `
import os, subprocess, time
n, much = %d, %d
ignore = "trap '' HUP INT QUIT TERM; "
stay = "echo $$; exec sleep 1000"
def leave(line, **options):
    child = subprocess.Popen(["sh", "-c", ignore + line], stdout=subprocess.PIPE, **options)
    return int(child.stdout.readline())
left = [os.getpid(), leave(stay), leave("sh -c '%%s' & exit 0" %% stay, start_new_session=True),
        leave("cd / && exec env -i PATH=\"$PATH\" sh -c '%%s'" %% stay, start_new_session=True)]
with open("here-%%d.part" %% n, "w") as f:
    f.write(" ".join(map(str, left)))
print("x" * much)
display({"text/html": "y" * much}, raw=True)
os.rename("here-%%d.part" %% n, "here-%%d" %% n)
while not os.path.exists("go"):
    time.sleep(0.1)
n * n
`

// shifts plays a model: whoever is asked to work has the scratchpad do it, and
// passes on what that says.
func shifts(c *call) {
	var n int
	if _, err := fmt.Sscanf(c.asked(), "work %d", &n); err != nil {
		c.say("Work?")
		return
	}
	if last := c.Messages[len(c.Messages)-1]; last.Role == "tool" {
		c.say(last.text())
		return
	}
	much := 1_500_000 // more than is kept of what is printed, and most of what is of displays
	if raceOn {
		much = 1000 // memory is not looked at then
	}
	args, err := json.Marshal(object{"action": "exec", "name": "main", "code": fmt.Sprintf(shift, n, much), "estimated_execution_time_seconds": 300})
	if err != nil {
		c.t.Error(err)
	}
	c.tool(0, fmt.Sprintf("call_%d_%d", n, len(c.Messages)), "scratchpad", string(args)).finish("tool_calls")
}

func worker(n int) string { return fmt.Sprintf("worker-%d", n) }

// work begins turns that run shifts, and waits until all of these are there.
// pids are the processes that they have or left.
func (s *server) work(from, to int) (turns []*stream, pids []int) {
	s.t.Helper()
	folder := filepath.Join(s.projects(), "general")
	for n := range crew {
		if err := os.RemoveAll(filepath.Join(folder, fmt.Sprintf("here-%d", n))); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(folder, "go")); err != nil {
		s.t.Fatal(err)
	}
	for n := from; n < to; n++ {
		turns = append(turns, s.ask(object{"input": fmt.Sprintf("work %d", n), "conversation": worker(n)}))
	}
	deadline := time.Now().Add(2 * patience)
	for n := from; n < to; n++ {
		for {
			text, err := os.ReadFile(filepath.Join(folder, fmt.Sprintf("here-%d", n)))
			if err == nil {
				pids = append(pids, processes(s.t, string(text))...)
				break
			}
			if time.Now().After(deadline) {
				s.t.Fatalf("worker %d does not come: %v; its turn: %s", n, err, turns[n-from].outline())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	mourned(s.t, pids)
	if len(pids) != 4*(to-from) {
		s.t.Fatalf("%d processes of %d shifts", len(pids), to-from)
	}
	return turns, pids
}

// dismiss lets the shifts end, and reads their turns to the end.
func (s *server) dismiss(from int, turns []*stream) {
	s.t.Helper()
	s.put("/v1/projects/general/files/go", object{"content": ""}).ok()
	for i, st := range turns {
		tn := st.turn()
		if want := fmt.Sprintf("[result]\n%d", (from+i)*(from+i)); tn.end.Type != "response.completed" || !strings.HasSuffix(tn.text, want) {
			s.t.Errorf("worker %d: %s %q", from+i, tn.end.Type, tn.text)
		}
	}
}

// belongings are the processes beside the server whose command, environment or
// folder names its home.
func (s *server) belongings() (list []string) {
	s.t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	home := filepath.Dir(s.home)
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() || pid == s.cmd.Process.Pid || !alive(pid) {
			continue
		}
		folder, _ := os.Readlink(filepath.Join(name, "cwd")) // it may have ended by now
		command, _ := os.ReadFile(filepath.Join(name, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(name, "environ"))
		if bytes.Contains(append(append(command, env...), folder...), []byte(home)) {
			list = append(list, fmt.Sprintf("%d %q", pid, command))
		}
	}
	return list
}

// mourned ends processes when the test ends: what a broken program leaves would
// stay for long.
func mourned(t *testing.T, pids []int) {
	t.Cleanup(func() {
		for _, pid := range pids {
			if alive(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may end by itself now
			}
		}
	})
}

// desert fails the test if anything that ran for the server still does.
func (s *server) desert(what string, pids []int) {
	s.t.Helper()
	buried(s.t, pids)
	deadline := time.Now().Add(patience)
	for {
		list := s.belongings()
		if len(list) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("after %s there still run:\n%s", what, strings.Join(list, "\n"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// proportional is the memory of processes, in bytes: what several share is
// counted in parts.
func proportional(t *testing.T, pids []int) (sum int64) {
	t.Helper()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var kib int64
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
				sum += kib << 10
			}
		}
	}
	return sum
}

// parent is the process that started another.
func parent(t *testing.T, pid int) (ppid int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %c %d", new(rune), &ppid); err != nil {
		t.Fatal(err)
	}
	return ppid
}

// Done when: 50 conversations with running cells in parallel stay within stated
// memory, and no process survives close, cleanup, server stop, or kill -9 of the
// server.
func TestFiftyConversationsRunCells(t *testing.T) {
	p := newProvider(t, shifts)
	s := start(t, withModel(p), withEnv("ANTON_SERVER_MAX_PADS="+strconv.Itoa(crew)))
	turns, pids := s.work(0, crew)
	for n := range crew {
		o := s.get(padRoot + "list?conversation=" + worker(n)).ok()
		if list := o["pads"].([]any); len(list) != 1 || list[0].(object)["running"] != true {
			t.Errorf("worker %d: %v", n, list)
		}
	}
	// Those of the pads themselves, and their guards.
	var pads []int
	for i := 0; i < len(pids); i += 4 {
		pads = append(pads, pids[i], parent(t, pids[i]))
	}
	each, peak := proportional(t, pads)/crew, s.peakMemory(t)
	t.Logf("%d running cells: the server has %d MiB at most, each scratchpad %d MiB", crew, peak>>20, each>>20)
	if each > padMost || peak > serverMost && !raceOn {
		t.Error("that is more than is promised")
	}
	// There is no place for one more, which is said, and nobody loses a variable for it.
	refused := fmt.Sprintf("All %d scratchpads are running a cell: wait for one to end, or cancel one.", crew)
	s.startPadRefused("more", refused)
	if tn := s.ask(object{"input": fmt.Sprintf("work %d", crew), "conversation": worker(crew)}).turn(); tn.end.Type != "response.completed" || !strings.Contains(tn.text, refused) {
		t.Errorf("one more: %s %q", tn.end.Type, tn.text)
	}
	s.dismiss(0, turns)
	// Now there is: the one that was not used for the longest time makes room.
	s.startPad("more")
	s.printed("more", "1;")
	closed := 0
	for n := range crew {
		if o := s.get(padRoot + "list?conversation=" + worker(n)).ok(); o["pads"].([]any)[0].(object)["live"] != true {
			closed++
		}
	}
	if closed != 1 {
		t.Errorf("%d scratchpads made room for one", closed)
	}

	for n := range crew {
		op := []string{"close", "cleanup"}[n%2]
		s.pad(op, object{"name": "main", "conversation": worker(n)}).ok()
		for _, pid := range pids[4*n : 4*n+4] {
			if alive(pid) {
				t.Errorf("%d runs after %s", pid, op)
			}
		}
	}
	s.pad("cleanup", object{"name": "more"}).ok()
	s.desert("close and cleanup", pids)
	// Ends of the server, with cells that have ended and cells that run.
	const few = 6
	for what, end := range map[string]func(){"SIGTERM": s.stop, "kill -9": s.kill} {
		turns, pids := s.work(0, few)
		s.dismiss(0, turns)
		_, more := s.work(few, 2*few)
		end()
		s.desert(what, append(pids, more...))
		s.restart()
		for n := range 2 * few {
			if o := s.get("/v1/conversations/" + worker(n)).ok(); o["running"] != false {
				t.Errorf("%s: %v", what, o)
			}
		}
	}
	if peak := s.peakMemory(t); peak > serverMost && !raceOn {
		t.Errorf("after all that the server has %d MiB", peak>>20)
	}
}

// Whoever of start, execute, close and cleanup comes first: each is told the truth,
// and a scratchpad that is closed in the end has no process.
func TestScratchpadRaces(t *testing.T) {
	t.Parallel()
	s := start(t, withEnv("ANTON_SERVER_MAX_PADS=20"))
	s.startPad("a")
	rounds := 6
	if soak {
		rounds = 60
	}
	for range rounds {
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				for _, op := range [][]string{{"start", "execute"}, {"close"}, {"start", "reset"}, {"cleanup"}}[i%4] {
					a, err := s.try(http.MethodPost, padRoot+op, object{"name": "a", "code": "1"})
					if err != nil || a.status != http.StatusOK && a.status != http.StatusNotFound && a.status != http.StatusConflict {
						t.Errorf("%s: %v %v", op, a, err)
					}
				}
			})
		}
		all.Wait()
	}
	s.startPad("a")
	s.printed("a", "1;")
	s.pad("close", object{"name": "a"}).ok()
	if list := s.belongings(); len(list) > 0 {
		t.Errorf("there still run:\n%s", strings.Join(list, "\n"))
	}
}

// Code that kills the process which watches over it leaves nothing either.
func TestScratchpadKillsItsGuard(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.startPad("a")
	c := s.cell("a", brood+"import signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1000)")
	if c.Status != "died" {
		t.Errorf("%s", c)
	}
	left := processes(t, c.Stdout)
	mourned(t, left)
	s.desert("the end of the guard", left)
	s.printed("a", "1;")
}

// startPadRefused starts a scratchpad that there is no place for.
func (s *server) startPadRefused(name, detail string) {
	s.t.Helper()
	s.pad("start", object{"name": name}).refused(http.StatusTooManyRequests, detail)
}
