package terminals

import (
	"slices"
	"time"

	antv1 "anthill/gen/ant/v1"
)

const (
	measureEvery = 15 * time.Second
	freshFor     = time.Second // a load between two samples that are closer says little
	stallCPU     = 80.0        // per cent of one processor
	stallFor     = 60 * time.Second
)

// load is what a terminal uses.
type load struct {
	pid     int
	cpu     float64 // per cent of one processor
	rss     uint64
	end     int64     // of its output when it was measured
	silent  time.Time // since when nothing was printed, as far as samples say
	stalled bool
}

// Process is what runs in a terminal.
type Process struct {
	PID     int
	CPU     float64 // per cent of one processor
	RSS     uint64  // bytes
	Stalled bool    // it works hard and has been silent for long
}

// Processes returns what runs, by session, as it was measured within the last second.
func (r *Room) Processes() map[string]Process {
	r.sample()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]Process, len(r.seats))
	for id, s := range r.seats {
		l := r.loads[id]
		out[id] = Process{PID: s.t.Pid(), CPU: l.cpu, RSS: l.rss, Stalled: l.stalled}
	}
	return out
}

// measure measures all terminals now and then, until the room closes.
func (r *Room) measure() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.base.Done():
			return
		}
		r.mu.Lock()
		idle := len(r.seats) == 0
		r.mu.Unlock()
		if !idle {
			r.sample()
		}
	}
}

// sample measures what runs, unless that was done just now, and tells of those
// that stall.
func (r *Room) sample() {
	now := r.opt.Now()
	r.mu.Lock()
	if now.Sub(r.measured).Abs() < freshFor {
		r.mu.Unlock()
		return
	}
	r.measured = now
	r.mu.Unlock()
	usage := r.engine.Sample()
	var stalled []*antv1.Event
	r.mu.Lock()
	for id, u := range usage {
		s := r.seats[id]
		if s == nil {
			continue
		}
		l := r.loads[id]
		if end := s.t.End(); end != l.end || l.silent.IsZero() {
			l.end, l.silent = end, now
		}
		l.pid, l.cpu, l.rss = u.Pid, u.CPU, uint64(max(u.RSS, 0))
		was := l.stalled
		if l.stalled = l.cpu >= stallCPU && now.Sub(l.silent) >= stallFor; l.stalled && !was {
			stalled = append(stalled, &antv1.Event{SessionId: id, Event: &antv1.Event_SessionStallDetected{
				SessionStallDetected: &antv1.SessionStallDetected{CpuPct: l.cpu, SilentSinceMs: float64(l.silent.UnixMilli())}}})
		}
		r.loads[id] = l
	}
	r.mu.Unlock()
	for _, e := range stalled {
		r.announce(e)
	}
}

// Running are the ids of the sessions whose terminals run, sorted.
func (r *Room) Running() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for id := range r.seats {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
