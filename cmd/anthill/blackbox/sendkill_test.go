package blackbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
)

// Done when: the server is killed in the middle of sends; nothing is submitted twice,
// and what receipts and deliveries say afterwards is true.
func TestKillInTheMiddleOfSends(t *testing.T) {
	t.Parallel()
	n := 1
	if soak {
		n = 15
	}
	for range n {
		killInTheMiddleOfSends(t)
	}
}

func killInTheMiddleOfSends(t *testing.T) {
	modes := []fakeMode{{name: "one", faults: `{"slow":20,"burst":60}`, burst: 80}, {name: "two", faults: `{"slow":5,"swallow":true}`, burst: 40, retry: 150}}
	s := start(t, withFakes(modes...))
	room := s.chat("plan")
	var agents []*agentTerminal
	for _, m := range modes {
		a := s.agentIn(m)
		s.post(room+"/participants", object{"session_id": a.id}).created()
		a.ready()
		agents = append(agents, a)
	}
	posted := map[string]bool{} // ids of messages that have an answer
	for round := range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var all sync.WaitGroup
		for i, a := range agents {
			c := a.sends()
			all.Go(func() { // what is sent until the server is gone
				for j := 0; ctx.Err() == nil; j++ {
					text := fmt.Sprintf("send %d %d %d %s", round, i, j, strings.Repeat("word ", (j%3)*100))
					if _, err := c.SendToTerminal(ctx, &antv1.SendToTerminalRequest{SessionId: a.id, Text: text}); err != nil {
						return
					}
				}
			})
		}
		for j := range 3 {
			o := s.postAs(room, "@james", fmt.Sprintf("@everyone message %d %d.", round, j))
			posted[str(o, "id")] = true
		}
		<-time.After(time.Duration(20+rand.IntN(400)) * time.Millisecond) // another moment each time
		s.kill()
		cancel()
		all.Wait()
		s.restart()
	}
	// All that was posted arrives, or its delivery says that it is not known to have.
	for id := range posted {
		for _, a := range agents {
			s.eventually("the delivery is over", func() bool {
				last := ""
				for _, d := range s.get(room + "/messages/" + id + "/deliveries").ok()["deliveries"].([]any) {
					if d := d.(object); d["targetId"] == a.id {
						last = str(d, "state")
					}
				}
				return last == "delivered" || last == "failed"
			})
		}
	}
	for _, a := range agents {
		a.truthful(posted)
	}
}

// truthful compares what a fake was told with all receipts.
func (a *agentTerminal) truthful(posted map[string]bool) {
	a.t.Helper()
	var list *antv1.ListTerminalSendsResponse
	a.eventually("all sends are over", func() (over bool) {
		var err error
		if list, err = a.sends().ListTerminalSends(a.call(), &antv1.ListTerminalSendsRequest{SessionId: a.id, Limit: new(int32(200))}); err != nil {
			a.t.Fatal(err)
		}
		return !slices.ContainsFunc(list.Sends, func(v *antv1.TerminalSend) bool { return v.State != "taken" && v.State != "failed" })
	})
	heard := map[string]int{}
	for _, r := range a.told() {
		if heard[r.SHA256]++; heard[r.SHA256] > 1 {
			a.t.Errorf("%s was told twice: %s", a.mode.name, r.Start)
		}
	}
	states := map[string]int{}
	delivered, known := map[string]bool{}, map[string]bool{}
	for _, v := range list.Sends {
		states[v.State+"/"+v.GetReason()]++
		switch {
		case v.State == "taken":
			if heard[v.Sha256] != 1 {
				a.t.Errorf("%s: said to be taken, heard %d times: %v", a.mode.name, heard[v.Sha256], v)
			}
			if delivered[v.GetMessageId()] && v.GetMessageId() != "" {
				a.t.Errorf("%s: message %s was taken twice", a.mode.name, v.GetMessageId())
			}
			delivered[v.GetMessageId()], known[v.Sha256] = true, true
		case v.GetReason() == "unconfirmed":
			known[v.Sha256] = true
		}
	}
	for _, r := range a.told() {
		if !known[r.SHA256] {
			a.t.Errorf("%s: was told what no receipt says to be submitted: %s", a.mode.name, r.Start)
		}
	}
	missing := 0
	for id := range posted {
		if !delivered[id] {
			missing++
		}
	}
	a.t.Logf("%s: %d heard, receipts %v, %d of %d messages not known to be delivered", a.mode.name, len(heard), states, missing, len(posted))
	if missing > states["failed/unconfirmed"] {
		a.t.Errorf("%s: %d messages are lost, %d receipts are unconfirmed", a.mode.name, missing, states["failed/unconfirmed"])
	}
}
