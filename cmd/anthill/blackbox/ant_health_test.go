package blackbox

import (
	"testing"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
)

func antHealthRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	h, err := antv1.NewHealthServiceClient(conn).GetHealth(e.s.call(), &antv1.GetHealthRequest{})
	alike(e, e.call("GET /api/health", nil), h, err)
}

func TestAntHealth(t *testing.T) {
	t.Parallel()
	s := start(t, withEnv("ANT_MAX_ACTIVE_AGENTS=3"))
	o := s.get("/api/health").ok()
	if o["status"] != "ok" || str(o, "version") == "" {
		t.Errorf("%v", o)
	}
	r, _ := o["resources"].(object)
	if cpu, ok := r["totalCpuPct"].(float64); !ok || cpu < 0 {
		t.Errorf("totalCpuPct %v", r["totalCpuPct"])
	}
	if rss, ok := r["totalRssMb"].(float64); !ok || rss < 5 || rss > 4096 {
		t.Errorf("totalRssMb %v", r["totalRssMb"])
	}
	if r["activeSessionCount"] != 0.0 || r["maxActiveSessions"] != 3.0 || r["atCap"] != false || r["canSpawn"] != true {
		t.Errorf("%v", r)
	}
	for _, list := range []string{"stalledSessions", "sessions"} {
		if l, ok := r[list].([]any); !ok || len(l) != 0 {
			t.Errorf("%s %v", list, r[list])
		}
	}
	at, err := time.Parse(time.RFC3339, str(r, "sampledAt"))
	if err != nil || time.Since(at).Abs() > patience {
		t.Errorf("sampledAt %v: %v", r["sampledAt"], err)
	}
	for _, bad := range []string{"-1", "many", "1e9"} {
		if _, errs, code := command(t, append(s.environ(), "ANT_MAX_ACTIVE_AGENTS="+bad), "", "config"); code == 0 {
			t.Errorf("a cap of %s is taken: %s", bad, errs)
		}
	}
}
