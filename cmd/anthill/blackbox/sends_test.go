package blackbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

// Done when: fakes that misbehave get messages of 1 byte to 256 KiB; what they record
// equals the receipts: none lost, none twice, none said to be taken that was not.
func TestSendsToAgentsThatMisbehave(t *testing.T) {
	t.Parallel()
	modes := []fakeMode{
		{name: "well"},
		{name: "burst", faults: `{"burst":120}`, burst: 150},
		{name: "slow", faults: `{"slow":60}`},
		{name: "swallow", faults: `{"swallow":true}`, retry: 150},
		{name: "plain", faults: `{"plain":true}`},
		{name: "alternate", faults: `{"alternate":true,"slow":5}`},
		{name: "torn", faults: `{"torn":true}`},
		{name: "mixed", faults: `{"alternate":true,"slow":30,"burst":60,"swallow":true,"torn":true}`, burst: 80, retry: 200},
	}
	s := start(t, withFakes(modes...))
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := s.with(t).agentIn(m)
			a.run()
			c := a.sends()
			r := rand.New(rand.NewPCG(7, uint64(len(m.name))))
			for i, text := range letters(rounds(), r) {
				v := a.send(c, text)
				if v.State != "taken" {
					t.Fatalf("message %d of %d bytes: %v\n%s", i, len(text), v, a.screen())
				}
				all := a.told()
				if len(all) != i+1 {
					t.Fatalf("message %d of %d bytes: the fake has %d messages", i, len(text), len(all))
				}
				if got := all[i]; got.SHA256 != v.Sha256 || got.Length != len(text) || got.File != (v.GetHow() == "file") {
					t.Errorf("message %d of %d bytes: %v, the fake has %d, %s…", i, len(text), v, got.Length, got.Start[:min(40, len(got.Start))])
				}
			}
		})
	}
}

// A program that dies in the middle of a message: the receipt says so, nothing was
// submitted, and the next one that runs there gets the next message.
func TestSendsToAnAgentThatDies(t *testing.T) {
	t.Parallel()
	mode := fakeMode{name: "dies", faults: `{"dies":20000}`}
	s := start(t, withFakes(mode))
	a := s.agentIn(mode)
	a.run()
	c := a.sends()
	r := rand.New(rand.NewPCG(7, 7))
	taken := 0
	n := 10
	if soak {
		n = 200
	}
	for i := range n {
		text := composed(20+r.IntN(1000), r)
		large := i%2 == 1
		if large {
			text = strings.Repeat("too much for it ", 1500+r.IntN(3000))
		}
		v := a.send(c, text)
		switch {
		case large && (v.State != "failed" || v.GetReason() != "dead" || v.Presses != 0):
			t.Errorf("message %d: %v", i, v)
		case !large && v.State != "taken":
			t.Errorf("message %d: %v", i, v)
		}
		if !large {
			taken++
		}
		if all := a.told(); len(all) != taken || !large && all[taken-1].SHA256 != v.Sha256 {
			t.Fatalf("message %d: the fake has %v", i, all)
		}
		if large {
			a.eventually("the terminal has ended", func() bool {
				v, err := antv1.NewTerminalsServiceClient(a.dial()).GetTerminal(a.call(), &antv1.GetTerminalRequest{SessionId: a.id})
				return err == nil && !v.Live
			})
			_, err := c.SendToTerminal(a.call(), &antv1.SendToTerminalRequest{SessionId: a.id, Text: "x"})
			if reason, _ := reasonOf(err); reason != "TERMINAL_NOT_LIVE" {
				t.Errorf("to a dead terminal: %v", err)
			}
			a.run()
		}
	}
}

// What is refused leaves the line clean, and nothing reaches a question or a draft.
func TestSendsThatAreRefused(t *testing.T) {
	t.Parallel()
	modes := []fakeMode{{name: "deaf", faults: `{"deaf":true}`, retry: 50}, {name: "modal", faults: `{"modal":true}`}, {name: "working", faults: `{"working":true}`}, {name: "draft"}}
	s := start(t, withFakes(modes...))
	t.Run("deaf", func(t *testing.T) {
		t.Parallel()
		a := s.with(t).agentIn(modes[0])
		a.run()
		if v := a.send(a.sends(), "do you hear me"); v.State != "failed" || v.GetReason() != "swallowed" || !v.Clean || v.Presses != 4 {
			t.Errorf("%v", v)
		}
		if len(a.told()) != 0 || !a.blank() {
			t.Errorf("told %v\n%s", a.told(), a.screen())
		}
	})
	t.Run("modal", func(t *testing.T) {
		t.Parallel()
		a := s.with(t).agentIn(modes[1])
		a.run()
		c := a.sends()
		for i := range 10 {
			v := a.send(c, "hello")
			if v.State != "failed" || v.GetReason() != "modal_open" || v.How != nil || v.Presses != 0 || !v.Clean {
				t.Errorf("%v", v)
			}
			a.signal(syscall.SIGUSR2)
			a.shows("ready")
			if v := a.send(c, fmt.Sprint("hello ", i)); v.State != "taken" {
				t.Errorf("%v", v)
			}
			a.signal(syscall.SIGUSR2)
			a.shows("May I")
		}
		for _, r := range a.lines() {
			if r.Stray != "" {
				t.Errorf("the question got the key %q", r.Stray)
			}
		}
		if len(a.told()) != 10 {
			t.Errorf("told %v", a.told())
		}
	})
	t.Run("working", func(t *testing.T) {
		t.Parallel()
		a := s.with(t).agentIn(modes[2])
		a.run()
		if v := a.send(a.sends(), "hello"); v.State != "failed" || v.GetReason() != "busy" || v.How != nil {
			t.Errorf("%v", v)
		}
		a.signal(syscall.SIGUSR1)
		a.eventually("it is ready", func() bool { return !strings.Contains(a.screen(), "Working") })
		if v := a.send(a.sends(), "hello"); v.State != "taken" {
			t.Errorf("%v", v)
		}
	})
	t.Run("draft", func(t *testing.T) {
		t.Parallel()
		a := s.with(t).agentIn(modes[3])
		a.run()
		c := a.sends()
		if v := a.send(c, "first"); v.State != "taken" {
			t.Fatal(v)
		}
		if v := a.send(c, " \n\t "); v.State != "failed" || v.GetReason() != "empty" || v.How != nil {
			t.Errorf("blanks: %v", v)
		}
		typing := antv1.NewTerminalsServiceClient(a.dial())
		if _, err := typing.SendTerminalInput(a.call(), &antv1.SendTerminalInputRequest{SessionId: a.id, Data: "my own words"}); err != nil {
			t.Fatal(err)
		}
		a.shows("> my own words")
		if v := a.send(c, "second"); v.State != "failed" || v.GetReason() != "draft" || v.How != nil {
			t.Errorf("%v", v)
		}
		if got := a.screen(); !strings.Contains(got, "> my own words\n") {
			t.Errorf("the draft is\n%s", got)
		}
		if len(a.told()) != 1 {
			t.Errorf("told %v", a.told())
		}
	})
}

// A plain shell is not an agent: what is sent is not typed, unless it is raw.
func TestSendsToAShell(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("shell", "terminal"), "id")
	terminals, c := antv1.NewTerminalsServiceClient(s.dial()), antv1.NewSendsServiceClient(s.dial())
	refused := func(what, reason string, q *antv1.SendToTerminalRequest) {
		t.Helper()
		_, err := c.SendToTerminal(s.call(), q)
		if got, _ := reasonOf(err); got != reason {
			t.Errorf("%s: %v, want %s", what, err, reason)
		}
	}
	refused("not started", "TERMINAL_NOT_LIVE", &antv1.SendToTerminalRequest{SessionId: id, Text: "x"})
	refused("nothing there", "TERMINAL_NOT_FOUND", &antv1.SendToTerminalRequest{SessionId: "none", Text: "x"})
	refused("a chat", "TERMINAL_NOT_FOUND", &antv1.SendToTerminalRequest{SessionId: str(s.newSession("talk", "chat"), "id"), Text: "x"})
	refused("no text", "INVALID_FIELD", &antv1.SendToTerminalRequest{SessionId: id})
	refused("too much", "INVALID_FIELD", &antv1.SendToTerminalRequest{SessionId: id, Text: strings.Repeat("x", 1<<20+1)})
	refused("a long key", "INVALID_FIELD", &antv1.SendToTerminalRequest{SessionId: id, Text: "x", IdempotencyKey: strings.Repeat("k", 257)})
	refused("a long sender", "INVALID_FIELD", &antv1.SendToTerminalRequest{SessionId: id, Text: "x", SenderId: strings.Repeat("k", 257)})
	if _, err := terminals.StartTerminal(s.call(), &antv1.StartTerminalRequest{SessionId: id, Command: []string{"/bin/sh", "-i"}}); err != nil {
		t.Fatal(err)
	}
	made := s.user + "/made"
	v, err := c.SendToTerminal(s.call(), &antv1.SendToTerminalRequest{SessionId: id, Text: "touch " + made})
	if err != nil || v.State != "failed" || v.GetReason() != "no_agent" || !v.Clean || v.How != nil {
		t.Errorf("%v, %v", v, err)
	}
	v, err = c.SendToTerminal(s.call(), &antv1.SendToTerminalRequest{SessionId: id, Text: "touch " + made + "\n", Raw: true})
	if err != nil || v.State != "failed" || v.GetReason() != "controls" {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("a shell has executed what was sent to an agent")
	}
	v, err = c.SendToTerminal(s.call(), &antv1.SendToTerminalRequest{SessionId: id, Text: "touch " + made, Raw: true})
	if err != nil || v.State != "submitted" || v.GetHow() != "typed" || !v.Raw {
		t.Errorf("%v, %v", v, err)
	}
	s.eventually("the shell executes it", func() bool { _, err := os.Stat(made); return err == nil })

	if _, err := c.GetTerminalSend(s.call(), &antv1.GetTerminalSendRequest{SessionId: id, SendId: "none"}); err == nil {
		t.Error("a send that is none")
	}
	for _, limit := range []int32{0, -1, 201} {
		_, err := c.ListTerminalSends(s.call(), &antv1.ListTerminalSendsRequest{SessionId: id, Limit: new(limit)})
		wantCode(t, fmt.Sprint("limit ", limit), err, codes.InvalidArgument)
	}
	// One that is archived takes nothing.
	s.patch("/api/sessions/"+id, object{"archived": true}).ok()
	refused("archived", "TERMINAL_INACTIVE", &antv1.SendToTerminalRequest{SessionId: id, Text: "x"})
}

// Receipts can be read, in order; a key sends once; every state is an event; and what was
// taken is evidence.
func TestSendsAreReceipts(t *testing.T) {
	t.Parallel()
	mode := fakeMode{name: "well"}
	s := start(t, withFakes(mode))
	a := s.agentIn(mode)
	a.run()
	c := a.sends()
	first := a.send(c, "hello there")
	states := func(v *antv1.TerminalSend) (out []string) {
		for _, step := range v.Steps {
			out = append(out, step.State)
		}
		return out
	}
	if got := fmt.Sprint(states(first)); got != "[queued pasting seen submitted taken]" || first.GetHow() != "paste" || first.Presses != 1 {
		t.Errorf("%v", first)
	}
	got, err := c.GetTerminalSend(s.call(), &antv1.GetTerminalSendRequest{SessionId: a.handle, SendId: first.Id})
	if err != nil || got.String() != first.String() {
		t.Errorf("%v, %v, want %v", got, err, first)
	}

	// Eight at once, each with one key and three tries.
	var all sync.WaitGroup
	ids := make([]string, 24)
	for i := range ids {
		all.Go(func() {
			v, err := c.SendToTerminal(s.call(), &antv1.SendToTerminalRequest{SessionId: a.id, Text: fmt.Sprint("at once ", i%8), IdempotencyKey: fmt.Sprint("key ", i%8), SenderId: "@ann"})
			if err != nil || v.State != "taken" || v.GetSenderId() != "@ann" {
				t.Errorf("%v, %v", v, err)
				return
			}
			ids[i] = v.Id
		})
	}
	all.Wait()
	for i, id := range ids {
		if id != ids[i%8] {
			t.Errorf("key %d was sent as %s and %s", i%8, id, ids[i%8])
		}
	}
	_, err = c.SendToTerminal(s.call(), &antv1.SendToTerminalRequest{SessionId: a.id, Text: "other", IdempotencyKey: "key 1"})
	if reason, _ := reasonOf(err); reason != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("another text with a key: %v", err)
	}
	list, err := c.ListTerminalSends(s.call(), &antv1.ListTerminalSendsRequest{SessionId: a.id, Limit: new(int32(200))})
	if err != nil {
		t.Fatal(err)
	}
	var receipts, recorded []string
	for _, v := range slices.Backward(list.Sends) {
		if v.State == "taken" {
			receipts = append(receipts, v.Sha256)
		}
	}
	for _, r := range a.told() {
		recorded = append(recorded, r.SHA256)
	}
	if !slices.Equal(receipts, recorded) || len(recorded) != 9 {
		t.Errorf("receipts %v, recorded %v", receipts, recorded)
	}

	// The log of events has every state, in order.
	seen := map[string][]string{}
	stream, err := antv1.NewEventsServiceClient(s.dial()).Subscribe(s.call(), &antv1.SubscribeRequest{SessionIds: []string{a.id}, Since: new(uint64(0))})
	if err != nil {
		t.Fatal(err)
	}
	for len(seen[ids[7]]) < 5 || len(seen[first.Id]) < 5 {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if v := e.GetTerminalSendUpdated().GetSend(); v != nil {
			seen[v.Id] = append(seen[v.Id], v.State)
		}
	}
	if got := fmt.Sprint(seen[first.Id]); got != "[queued pasting seen submitted taken]" {
		t.Errorf("events: %s", got)
	}

	// Evidence.
	runs, err := antv1.NewRunEventsServiceClient(s.dial()).ListRunEvents(s.call(), &antv1.ListRunEventsRequest{SessionId: a.id, Kind: "prompt", Since: "0"})
	if err != nil {
		t.Fatal(err)
	}
	mine := 0
	for _, e := range runs.Events {
		if strings.Contains(e.Payload, `"api_send"`) {
			mine++
			if e.Text == "hello there" && (!strings.Contains(e.Payload, first.Sha256) || !strings.Contains(e.Payload, first.Id)) {
				t.Errorf("%v", e)
			}
		}
	}
	if mine != 9 {
		t.Errorf("%d run events of sends, want 9", mine)
	}
}
