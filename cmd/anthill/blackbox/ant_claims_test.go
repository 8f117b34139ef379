package blackbox

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
)

// Done when: one holds a task, who renews, gives it back, or is relieved of it.
func TestAntTaskLease(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	codex := s.newSession("codex", "terminal")
	path := room + "/tasks/" + str(s.task(room, "t"), "id")
	lease := func(what string, row object, by any, claim float64) {
		t.Helper()
		row = row["task"].(object)
		if row["claimed_by"] != by || row["claim"] != claim || (row["claimed_until"] == nil) != (by == nil) {
			t.Errorf("%s: held by %v until %v with %v, want %v with %v", what, row["claimed_by"], row["claimed_until"], row["claim"], by, claim)
		}
	}
	held := func(what string, a answer, by string, claim float64) {
		t.Helper()
		o := a.refused(http.StatusConflict, "")
		if o["claimed_by"] != by || o["claim"] != claim || !rowTime.MatchString(str(o, "claimed_until")) ||
			!strings.Contains(str(o, "error"), by) || !strings.Contains(str(o, "error"), str(o, "claimed_until")) {
			t.Errorf("%s: %v", what, o)
		}
	}
	lease("claimed", s.post(path+"/claim", object{"by": codex["id"], "lease_seconds": 600}).ok(), "@codex", 1)
	lease("looked at", s.get(path).ok(), "@codex", 1)
	lease("renewed under another name", s.post(path+"/claim", object{"by": "@codex", "lease_seconds": 1200}).ok(), "@codex", 1)
	held("another", s.post(path+"/claim", object{"by": "@ann"}), "@codex", 1)
	held("another releases", s.post(path+"/release", object{"by": "@ann"}), "@codex", 1)
	held("a wrong number", s.post(path+"/release", object{"by": "@codex", "claim": 2}), "@codex", 1)
	held("a wrong number changes", s.patch(path, object{"status": "review", "claim": 2}), "@codex", 1)
	lease("the right number changes", s.patch(path, object{"status": "review", "claim": 1}).ok(), "@codex", 1)
	lease("taken over", s.post(path+"/claim", object{"by": "@ann", "force": true}).ok(), "@ann", 2)
	held("whoever had it", s.post(path+"/claim", object{"by": "@codex"}), "@ann", 2)
	held("what it changes", s.patch(path, object{"status": "complete", "claim": 1}), "@ann", 2)
	lease("renewed without the @", s.post(path+"/claim", object{"by": "ann"}).ok(), "ann", 2)
	lease("released", s.post(path+"/release", object{"by": "@ann", "claim": 2}).ok(), nil, 2)
	lease("released again", s.post(path+"/release", object{"by": "@ann", "claim": 2}).ok(), nil, 2)
	lease("claimed again", s.post(path+"/claim", object{"by": "@ann"}).ok(), "@ann", 3)
	lease("completed", s.patch(path, object{"status": "complete"}).ok(), nil, 3)
	s.post(path+"/claim", object{"by": "@ann"}).refused(http.StatusConflict, "The task is complete: give it another status to claim it")
	s.patch(path, object{"status": "open"}).ok()
	lease("opened", s.post(path+"/claim", object{"by": "@bob"}).ok(), "@bob", 4)
	lease("released by force", s.post(path+"/release", object{"force": true}).ok(), nil, 4)
	s.post(path+"/claim", object{"by": "@bob"}).ok()
	s.delete(path).ok()
	lease("deleted", s.get(path).ok(), nil, 5)
	s.post(path+"/claim", object{"by": "@ann"}).refused(http.StatusConflict, "The task is deleted: give it another status to claim it")
}

// claims is what came of many claims of one task.
type claims struct {
	mu      sync.Mutex
	winners map[string]bool // acknowledged, ever
	holders map[string]bool // named to others
	unsure  map[string]bool // the answer was lost
	answers chan struct{}
	begun   chan struct{} // the claims of a claimAll are on their way
}

// say notes an answer: the holder it names is the caller, another, or unknown.
func (c *claims) say(t *testing.T, name, holder string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unsure, name)
	switch {
	case err != nil:
		c.unsure[name] = true
		return // the server is gone: no answer
	case holder == name:
		c.winners[name] = true
	case holder == "":
		t.Errorf("%s was answered neither yes nor who holds it", name)
	default:
		c.holders[holder] = true
	}
	c.answers <- struct{}{}
}

// claimAll lets everybody claim a task at once, half over REST and half over gRPC.
// It returns when all have an answer or none is to come.
func (c *claims) claimAll(s *server, conns []antv1.TasksServiceClient, room, id string, names []string) {
	begin := make(chan struct{})
	var ready, all sync.WaitGroup
	for i, name := range names {
		ready.Add(1)
		all.Go(func() {
			// The connection is there before the race begins.
			_, err := conns[i/2%len(conns)].GetTask(s.call(), &antv1.GetTaskRequest{SessionId: room, TaskId: id})
			ready.Done()
			if err != nil {
				s.t.Errorf("%s finds no task: %v", name, err)
			}
			<-begin
			if i%2 == 0 {
				holder, err := claimByREST(s, room, id, name)
				c.say(s.t, name, holder, err)
				return
			}
			holder, err := claimByGRPC(s, conns[i/2%len(conns)], room, id, name)
			c.say(s.t, name, holder, err)
		})
	}
	ready.Wait()
	close(begin)
	c.begun <- struct{}{}
	all.Wait()
}

// taskClients are clients over connections of their own.
func (s *server) taskClients() (list []antv1.TasksServiceClient) {
	s.t.Helper()
	for range 4 {
		list = append(list, antv1.NewTasksServiceClient(s.dial()))
	}
	return list
}

func claimByREST(s *server, room, id, name string) (holder string, err error) {
	a, err := s.try(http.MethodPost, "/api/sessions/"+room+"/tasks/"+id+"/claim", object{"by": name})
	if err != nil {
		return "", err
	}
	o := a.object()
	if a.status == http.StatusOK {
		return str(o, "task", "claimed_by"), nil
	}
	if a.status == http.StatusServiceUnavailable {
		return "", fmt.Errorf("%v", a)
	}
	return str(o, "claimed_by"), nil
}

func claimByGRPC(s *server, c antv1.TasksServiceClient, room, id, name string) (holder string, err error) {
	got, err := c.ClaimTask(s.call(), &antv1.ClaimTaskRequest{SessionId: room, TaskId: id, By: name})
	if err == nil {
		return got.Task.GetClaimedBy(), nil
	}
	if status.Code(err) != codes.AlreadyExists {
		return "", err
	}
	_, meta := reasonOf(err)
	return meta["claimed_by"], nil
}

// Done when: 64 concurrent claims of one task have exactly one winner, across a
// kill -9: whoever was told so still holds it, and nobody else was ever told so.
func TestAntTaskHasOneHolderAcrossAKill(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	var names []string
	for i := range 64 {
		names = append(names, fmt.Sprintf("@w%d", i))
	}
	rounds := []int{64, 0, 1, 2, 16, 40} // answers before the server is killed
	if soak {
		rounds = slices.Repeat(rounds, 10)
	}
	for _, after := range rounds {
		id := str(s.task("/api/sessions/"+room, "the only one"), "id")
		c := &claims{winners: map[string]bool{}, holders: map[string]bool{}, unsure: map[string]bool{}, answers: make(chan struct{}, 256), begun: make(chan struct{}, 2)}
		conns, done := s.taskClients(), make(chan struct{})
		go func() {
			defer close(done)
			c.claimAll(s, conns, room, id, names)
		}()
		<-c.begun
		for range after {
			select {
			case <-c.answers:
			case <-done:
			}
		}
		s.kill()
		<-done
		acknowledged := slices.Collect(maps.Keys(c.winners))
		s.restart()
		row := s.get("/api/sessions/" + room + "/tasks/" + id).ok()["task"].(object)
		if len(acknowledged) > 1 || len(acknowledged) == 1 && row["claimed_by"] != acknowledged[0] {
			t.Fatalf("killed after %d answers: %v were told that they hold it, %v does", after, acknowledged, row["claimed_by"])
		}
		// Those without an answer ask again, and so does everybody else.
		unsure := len(c.unsure)
		c.claimAll(s, s.taskClients(), room, id, names)
		row = s.get("/api/sessions/" + room + "/tasks/" + id).ok()["task"].(object)
		if len(c.unsure) > 0 || len(c.winners) != 1 || !c.winners[str(row, "claimed_by")] || row["claim"] != 1.0 {
			t.Fatalf("killed after %d answers: %v held it, %v does, with claim %v; %d have no answer", after, c.winners, row["claimed_by"], row["claim"], len(c.unsure))
		}
		if len(c.holders) != 1 || !c.holders[str(row, "claimed_by")] {
			t.Fatalf("killed after %d answers: others were told of %v, %v holds it", after, c.holders, row["claimed_by"])
		}
		t.Logf("killed after %d answers: %d without one; %v", after, unsure, row["claimed_by"])
	}
}
