package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// procStat is what /proc says of a process.
type procStat struct {
	pid, parent, group, session, foreground int
	state                                   byte
	ticks                                   int64 // of processor time, of its ended children not
	started                                 int64 // ticks since boot: with pid it names a process for ever
	pages                                   int64 // resident
}

// readStat reads /proc/PID/stat; false: there is no such process.
func readStat(pid int) (procStat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, false
	}
	close := strings.LastIndexByte(string(data), ')') // the name may have blanks and parentheses
	if close < 0 {
		return procStat{}, false
	}
	f := strings.Fields(string(data[close+1:]))
	if len(f) < 22 {
		return procStat{}, false
	}
	n := func(i int) int64 { v, _ := strconv.ParseInt(f[i], 10, 64); return v } // the kernel writes numbers
	return procStat{pid: pid, state: f[0][0], parent: int(n(1)), group: int(n(2)), session: int(n(3)), foreground: int(n(5)),
		ticks: n(11) + n(12), started: n(19), pages: n(21)}, true
}

// readStats reads all processes.
func readStats() map[int]procStat {
	all := map[int]procStat{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return all
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if s, ok := readStat(pid); ok {
				all[pid] = s
			}
		}
	}
	return all
}

// family are the processes of one terminal.
type family struct {
	leader int    // of its session; 0: not known
	spare  int    // a launcher: it ends by itself when nothing else is left; 0: none
	marker string // K=V in the environment of what was started there; empty: none
}

// familyOf is that of a process in a host.
func familyOf(p Process, marker string) family {
	f := family{leader: p.Leader(), marker: marker}
	if f.leader != p.Pid() {
		f.spare = f.leader
	}
	return f
}

// has says whether a process is in the session.
func (f family) has(s procStat) bool {
	return f.leader > 1 && (s.session == f.leader || s.pid == f.leader)
}

// members returns those in its session and what descends from them, but for the launcher.
func (f family) members(all map[int]procStat) []procStat {
	var first []int
	for _, s := range all {
		if f.has(s) {
			first = append(first, s.pid)
		}
	}
	return f.descendants(all, first)
}

// descendants returns processes and all that descends from them, but for the launcher and zombies.
func (f family) descendants(all map[int]procStat, todo []int) []procStat {
	children := map[int][]int{}
	for _, s := range all {
		children[s.parent] = append(children[s.parent], s.pid)
	}
	seen := map[int]bool{}
	var found []procStat
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[next] {
			continue
		}
		seen[next] = true
		if s := all[next]; s.state != 'Z' && s.pid != f.spare {
			found = append(found, s)
		}
		todo = append(todo, children[next]...)
	}
	return found
}

// everyone are the members, and those of our user that left the session and have
// the marker in their environment. It reads the environments of all.
func (f family) everyone(all map[int]procStat) []procStat {
	var first []int
	for _, s := range all {
		if f.has(s) || f.marked(s.pid) {
			first = append(first, s.pid)
		}
	}
	return f.descendants(all, first)
}

// marked says whether a process of our user was started with the marker.
func (f family) marked(pid int) bool {
	if f.marker == "" || pid == os.Getpid() {
		return false
	}
	dir := fmt.Sprintf("/proc/%d", pid)
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Getuid() {
		return false
	}
	data, err := os.ReadFile(dir + "/environ")
	return err == nil && bytes.Contains(append([]byte{0}, data...), []byte("\x00"+f.marker+"\x00"))
}

// alive says whether the very process that s was read of still runs.
func (s procStat) alive() bool {
	now, ok := readStat(s.pid)
	return ok && now.started == s.started && now.state != 'Z'
}

// signalAll signals those that are the processes they were.
func signalAll(procs []procStat, sig syscall.Signal) {
	for _, s := range procs {
		if s.pid > 1 && s.alive() {
			_ = syscall.Kill(s.pid, sig) // it may have ended since
		}
	}
}

// After the grace: what was started meanwhile is looked for this often, and a launcher
// that does not end gets so long.
const (
	endEvery    = 50 * time.Millisecond
	launcherFor = 3 * time.Second
)

// end ends all that runs in a terminal: HUP (and CONT, for who is stopped), and KILL after the grace. It
// returns when none is left and done is closed, or ctx ends.
func (f family) end(ctx context.Context, done <-chan struct{}, grace time.Duration) {
	before := f.everyone(readStats())
	signalAll(before, syscall.SIGHUP)
	signalAll(before, syscall.SIGCONT)
	blind := len(before) == 0 && f.leader > 1 // no /proc here, or nothing left
	if blind {
		_ = syscall.Kill(-f.leader, syscall.SIGHUP)
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for patience := launcherFor; ; {
		left := f.left(before)
		if len(left) == 0 {
			select {
			case <-done:
				return
			default:
			}
		}
		select {
		case <-deadline.C:
			signalAll(left, syscall.SIGKILL)
			if blind {
				_ = syscall.Kill(-f.leader, syscall.SIGKILL)
			}
			if patience -= endEvery; patience <= 0 && f.spare > 1 && !closed(done) {
				_ = syscall.Kill(f.spare, syscall.SIGKILL) // done is not closed: the pid is still its own
			}
			deadline.Reset(endEvery)
		case <-tick.C:
		case <-ctx.Done():
			signalAll(left, syscall.SIGKILL)
			return
		}
	}
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// left are those of before that live, and who belongs to them now.
func (f family) left(before []procStat) []procStat {
	all := readStats()
	left := f.members(all)
	for _, s := range before {
		if now, ok := all[s.pid]; ok && now.started == s.started && now.state != 'Z' && !f.has(now) {
			left = append(left, f.descendants(all, []int{s.pid})...)
		}
	}
	if len(left) == 0 {
		left = f.everyone(all)
	}
	return left
}

// lookPath finds a program on a PATH that is not ours; names with a slash count from dir.
func lookPath(name, path, dir string) (string, error) {
	if strings.ContainsRune(name, '/') {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return exec.LookPath(name)
	}
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return found, nil
		}
	}
	return "", errors.New("not found")
}

// Usage is what the processes of a terminal take.
type Usage struct {
	Pid       int
	CPU       float64 // per cent of one processor since the sample before; 0 in the first
	RSS       int64   // bytes; shared pages count for each process
	Processes int
}

// sampler remembers what the last sample saw.
type sampler struct {
	at    time.Time
	ticks map[int]procStat
}

const ticksPerSecond = 100 // of /proc, whatever the kernel uses inside

// sample measures terminals, once for all.
func (s *sampler) sample(procs map[string]Process, now time.Time) map[string]Usage {
	all := readStats()
	elapsed := now.Sub(s.at).Seconds()
	usage := make(map[string]Usage, len(procs))
	for id, proc := range procs {
		u := Usage{Pid: proc.Pid()}
		var ticks int64
		for _, p := range familyOf(proc, "").members(all) {
			u.RSS += p.pages * int64(os.Getpagesize())
			u.Processes++
			if old, ok := s.ticks[p.pid]; ok && old.started == p.started {
				ticks += p.ticks - old.ticks
			}
		}
		if !s.at.IsZero() && elapsed > 0 {
			u.CPU = float64(ticks) / ticksPerSecond / elapsed * 100
		}
		usage[id] = u
	}
	s.at, s.ticks = now, all
	return usage
}
