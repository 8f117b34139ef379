package sessions

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/usage"
)

// GetHealth implements antv1.HealthServiceServer.
func (r *Room) GetHealth(context.Context, *antv1.GetHealthRequest) (*antv1.Health, error) {
	live := map[string]Process{}
	if t := r.running(); t != nil {
		live = t.Processes()
	}
	out := &antv1.HealthResources{ActiveSessionCount: int32(len(live)), MaxActiveSessions: int32(r.opt.MaxActive)}
	out.AtCap = r.opt.MaxActive > 0 && len(live) >= r.opt.MaxActive
	out.CanSpawn = !out.AtCap
	s, ok := r.meter.sample()
	if ok {
		out.TotalCpuPct, out.TotalRssMb = s.Total.CPU, megabytes(s.Total.RSS)
		out.SampledAt = proto.String(s.At.UTC().Format(time.RFC3339Nano))
	}
	for _, id := range slices.Sorted(maps.Keys(live)) {
		p := live[id]
		out.Sessions = append(out.Sessions, &antv1.SessionResources{SessionId: id, Pid: int32(p.PID), CpuPct: p.CPU, RssMb: megabytes(p.RSS)})
		if p.Stalled {
			out.StalledSessions = append(out.StalledSessions, id)
		}
		if p.PID > 0 && s.Tree(p.PID).RSS == 0 { // not under this process: it is not in its total
			out.TotalCpuPct, out.TotalRssMb = out.TotalCpuPct+p.CPU, out.TotalRssMb+megabytes(p.RSS)
		}
	}
	return &antv1.Health{Status: "ok", Version: r.opt.Version, Resources: out}, nil
}

func megabytes(n uint64) float64 { return float64(n) / (1 << 20) }

// freshFor is how long a sample is good: a load between two samples that are
// closer says little.
const freshFor = time.Second

// meter measures this process and those under it when somebody asks.
type meter struct {
	now func() time.Time

	mu    sync.Mutex
	probe *usage.Probe
	last  usage.Sample
}

func newMeter(now func() time.Time) *meter { return &meter{now: now, probe: usage.New()} }

// sample is false where processes cannot be measured.
func (m *meter) sample() (usage.Sample, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if !m.last.At.IsZero() && now.Sub(m.last.At).Abs() < freshFor {
		return m.last, true
	}
	s, err := m.probe.Measure(now)
	if err != nil {
		return usage.Sample{}, false
	}
	m.last = s
	return s, true
}
