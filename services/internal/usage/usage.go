// Package usage measures what processes use: this one and all those under it.
//
// Nothing here runs by itself: somebody asks, and gets what was used since they
// last asked.
package usage

import (
	"os"
	"time"
)

// Load is what one or several processes use.
type Load struct {
	CPU float64 // percent of one processor
	RSS uint64  // bytes of memory
}

func (l Load) plus(m Load) Load { return Load{l.CPU + m.CPU, l.RSS + m.RSS} }

// Sample is a measurement.
type Sample struct {
	At       time.Time
	Total    Load // of this process and all under it
	loads    map[int]Load
	children map[int][]int
}

// Tree is the load of a process and of all under it; zero if it is not under
// this one.
func (s Sample) Tree(pid int) Load {
	sum, known := s.loads[pid]
	if !known {
		return Load{}
	}
	for _, c := range s.children[pid] {
		sum = sum.plus(s.Tree(c))
	}
	return sum
}

// process is one of those that run on this machine.
type process struct {
	pid, parent int
	cpu, age    time.Duration // used so far, and running since
	rss         uint64
}

// Probe remembers the measurement before. It is not safe for concurrent use.
type Probe struct {
	list func() ([]process, error)
	self int
	at   time.Time
	seen map[int]process
}

// New returns a probe of the process that it is called in.
func New() *Probe { return &Probe{list: list, self: os.Getpid()} }

// Measure says what is used now. The CPU time of a process counts since the last
// call, or since the process began.
func (p *Probe) Measure(now time.Time) (Sample, error) {
	all, err := p.list()
	if err != nil {
		return Sample{}, err
	}
	s := Sample{At: now, loads: map[int]Load{}, children: map[int][]int{}}
	byPID := make(map[int]process, len(all))
	for _, one := range all {
		byPID[one.pid] = one
		if one.pid != p.self { // a loop of parents cannot be entered from above
			s.children[one.parent] = append(s.children[one.parent], one.pid)
		}
	}
	seen := map[int]process{}
	var enter func(pid int)
	enter = func(pid int) {
		one, ok := byPID[pid]
		if !ok {
			return
		}
		seen[pid] = one
		s.loads[pid] = Load{CPU: p.share(one, now), RSS: one.rss}
		s.Total = s.Total.plus(s.loads[pid])
		for _, c := range s.children[pid] {
			enter(c)
		}
	}
	enter(p.self)
	p.at, p.seen = now, seen
	return s, nil
}

// share is the percentage of one processor that a process has used lately.
func (p *Probe) share(one process, now time.Time) float64 {
	used, during := one.cpu, one.age
	// A process that is younger than the last measurement has taken over a pid.
	if before, ok := p.seen[one.pid]; ok && one.age >= before.age && one.cpu >= before.cpu {
		used, during = one.cpu-before.cpu, now.Sub(p.at)
	}
	if during <= 0 {
		return 0
	}
	return 100 * used.Seconds() / during.Seconds()
}
