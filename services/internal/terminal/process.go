package terminal

import (
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

// family returns the processes of a terminal: those of its session, and what
// descends from them. pid leads the session.
func family(all map[int]procStat, pid int) []procStat {
	children := map[int][]int{}
	var todo []int
	for _, s := range all {
		children[s.parent] = append(children[s.parent], s.pid)
		if s.session == pid || s.pid == pid {
			todo = append(todo, s.pid)
		}
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
		if s := all[next]; s.state != 'Z' {
			found = append(found, s)
		}
		todo = append(todo, children[next]...)
	}
	return found
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

// endProcesses ends all that runs in a terminal: HUP (and CONT, for who is stopped), and KILL after the grace. It
// returns when none is left, or ctx ends.
func endProcesses(ctx context.Context, pid int, done <-chan struct{}, grace time.Duration) {
	before := family(readStats(), pid)
	signalAll(before, syscall.SIGHUP)
	signalAll(before, syscall.SIGCONT)
	if len(before) == 0 { // no /proc here, or nothing left
		_ = syscall.Kill(-pid, syscall.SIGHUP)
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := stillThere(before, pid)
		select {
		case <-done:
			if len(left) == 0 {
				return
			}
		default:
		}
		select {
		case <-deadline.C:
			signalAll(left, syscall.SIGKILL)
			if len(before) == 0 {
				_ = syscall.Kill(-pid, syscall.SIGKILL)
			}
			deadline.Reset(50 * time.Millisecond) // what they started meanwhile
		case <-tick.C:
		case <-ctx.Done():
			signalAll(left, syscall.SIGKILL)
			return
		}
	}
}

// stillThere are those of before that live, and what is in the session now.
func stillThere(before []procStat, pid int) []procStat {
	all := readStats()
	left := family(all, pid)
	for _, s := range before {
		if now, ok := all[s.pid]; ok && now.started == s.started && now.state != 'Z' && now.session != pid {
			left = append(left, family(all, s.pid)...)
		}
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

// sample measures terminals by the pid of their program, once for all.
func (s *sampler) sample(pids map[string]int, now time.Time) map[string]Usage {
	all := readStats()
	elapsed := now.Sub(s.at).Seconds()
	usage := make(map[string]Usage, len(pids))
	for id, pid := range pids {
		u := Usage{Pid: pid}
		var ticks int64
		for _, p := range family(all, pid) {
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
