package kernel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A note names the processes of a worker, so that what a crash of the server left
// is found when it starts again. Normally nothing is: the guard ends it all.

// seen is a process at a time: a later one with the same id started later.
type seen struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

func see(pid int) seen { return seen{pid, startOf(pid)} }

// runs says whether it is still the same process.
func (s seen) runs() bool { return s.PID > 1 && s.Start != "" && startOf(s.PID) == s.Start }

// leftover is a guard and its worker.
type leftover struct {
	Guard  seen   `json:"guard"`
	Worker seen   `json:"worker"`
	Mark   string `json:"mark"`
}

// remember writes a note about a guard and its worker (0: not known yet) and
// returns its name.
func (e *Engine) remember(g *guarded, worker int) string {
	guard := g.cmd.Process.Pid
	name := filepath.Join(e.running(), strconv.Itoa(guard)+".json")
	text, err := json.Marshal(leftover{see(guard), see(worker), g.mark})
	if err == nil {
		err = os.WriteFile(name, text, 0o600)
	}
	if err != nil {
		e.opt.Log.Warn("a process could not be noted", "pid", guard, "error", err)
	}
	return name
}

func (e *Engine) forget(note string) {
	if err := os.Remove(note); err != nil && !os.IsNotExist(err) {
		e.opt.Log.Warn("the note about a process stays", "error", err)
	}
}

// reapLeftovers ends the processes of all notes, in the background.
func (e *Engine) reapLeftovers() {
	notes, err := filepath.Glob(filepath.Join(e.running(), "*.json"))
	if err != nil {
		return // the pattern is fine
	}
	for _, note := range notes {
		var l leftover
		text, err := os.ReadFile(note)
		if err == nil {
			err = json.Unmarshal(text, &l)
		}
		if err != nil {
			e.opt.Log.Warn("the note about a process cannot be read", "note", note, "error", err)
		}
		e.reaping.Go(func() { e.reap(note, l) })
	}
}

// reap ends what is surely the same as it was noted. A guard that runs is given
// time: it alone finds everything that its worker started.
func (e *Engine) reap(note string, l leftover) {
	deadline := time.NewTimer(3 * e.opt.Times.Grace)
	defer deadline.Stop()
	for wait := l.Guard.runs(); wait; {
		again := time.NewTimer(50 * time.Millisecond)
		select {
		case <-again.C:
			wait = l.Guard.runs()
		case <-deadline.C:
			wait = false
		case <-e.closing: // the next start finds the note
			again.Stop()
			return
		}
		again.Stop()
	}
	for _, s := range []seen{l.Worker, l.Guard} {
		if s.runs() {
			e.opt.Log.Info("ending what an earlier server left running", "pid", s.PID)
			kill(s.PID)
		}
	}
	hunt(l.Mark)
	e.forget(note)
}

// marked is the variable in the environment of a program behind a guard by which
// what it started is known when the guard is gone: killed by the code, say.
const marked = "ANTHILL_SCRATCHPAD="

// hunt ends the processes that have a mark in their environment, where there is a
// /proc to find them in. Those that were started meanwhile are found, too.
func hunt(mark string) {
	if mark == "" {
		return
	}
	for range 100 {
		names, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return // the pattern is fine
		}
		found := false
		for _, name := range names {
			pid, err := strconv.Atoi(filepath.Base(name))
			if err != nil || pid == os.Getpid() {
				continue
			}
			p, err := os.FindProcess(pid) // before it is looked at: the number may be given to another
			if err != nil {
				continue
			}
			env, err := os.ReadFile(filepath.Join(name, "environ")) // one that has ended has none
			if err == nil && slices.Contains(strings.Split(string(env), "\x00"), marked+mark) {
				found = true
				_ = p.Kill() // it may have ended by now
			}
			_ = p.Release() // it was only looked at
		}
		if !found {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startOf tells when a process began, and in which life of the machine; empty if
// it does not run, or leads no group of its own.
func startOf(pid int) string {
	if pid <= 1 {
		return ""
	}
	if runtime.GOOS != "linux" {
		out, err := exec.Command("ps", "-o", "pgid=,lstart=", "-p", strconv.Itoa(pid)).Output()
		group, start, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
		if err != nil || !ok || group != strconv.Itoa(pid) {
			return ""
		}
		return strings.Join(strings.Fields(start), " ")
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is a name in parentheses and may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 || string(fields[2]) != strconv.Itoa(pid) { // the group, and behind it the start
		return ""
	}
	return string(bytes.TrimSpace(boot)) + " " + string(fields[19])
}
