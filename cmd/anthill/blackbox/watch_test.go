package blackbox

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
)

type watch struct {
	t *testing.T
	grpc.ServerStreamingClient[antonv1.ConversationEvent]
}

func (s *server) watch(seq uint64, epoch uint32) watch {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	s.t.Cleanup(cancel)
	st, err := antonv1.NewConversationsServiceClient(s.dial()).WatchConversations(ctx,
		&antonv1.WatchConversationsRequest{Seq: seq, Epoch: epoch})
	if err != nil {
		s.t.Fatal(err)
	}
	return watch{s.t, st}
}

// next is the next event; the call's context bounds the wait.
func (w watch) next() *antonv1.ConversationEvent {
	w.t.Helper()
	ev, err := w.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return ev
}

// until collects the events up to the first that satisfies ok.
func (w watch) until(ok func(*antonv1.ConversationEvent) bool) (all []*antonv1.ConversationEvent) {
	w.t.Helper()
	for {
		ev := w.next()
		all = append(all, ev)
		if ok(ev) {
			return all
		}
	}
}

func deleted(ev *antonv1.ConversationEvent) bool { return ev.GetDeleted() != nil }

// snapshot is the first event, which must be one.
func (w watch) snapshot(truncated bool, ids ...string) *antonv1.ConversationEvent {
	w.t.Helper()
	ev := w.next()
	var got []string
	for _, c := range ev.GetSnapshot().GetConversations() {
		got = append(got, c.Id)
	}
	if ev.GetSnapshot() == nil || ev.Truncated != truncated || !slices.Equal(got, ids) {
		w.t.Fatalf("first event %v, want a snapshot of %v, truncated %v", ev, ids, truncated)
	}
	return ev
}

// describe is an event on one line, without what changes from run to run.
func describe(ev *antonv1.ConversationEvent) string {
	switch e := ev.Event.(type) {
	case *antonv1.ConversationEvent_TurnStarted:
		return "started " + e.TurnStarted.ConversationId
	case *antonv1.ConversationEvent_TurnEnded:
		return "ended " + e.TurnEnded.ConversationId + " " + e.TurnEnded.Status
	case *antonv1.ConversationEvent_TurnDeleted:
		return "turn deleted " + e.TurnDeleted.ConversationId
	case *antonv1.ConversationEvent_Deleted:
		return "deleted " + e.Deleted.ConversationId
	case *antonv1.ConversationEvent_Changed:
		return "changed " + e.Changed.ConversationId
	}
	return fmt.Sprint(ev)
}

// Done when (3): the first thing a subscriber gets is the present state, then
// what follows it, without a gap; a cursor that is gone is said to be gone.
func TestWatchConversations(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	s.watch(0, 0).snapshot(false)
	s.ask(object{"input": "q", "conversation": "first"}).turn()

	w := s.watch(0, 0)
	snap := w.snapshot(false, "first")
	if c := snap.GetSnapshot().Conversations[0]; c.Turns != 1 || c.Title != "q" || c.Project != "general" || c.Running {
		t.Errorf("conversation in the snapshot: %v", c)
	}
	s.ask(object{"input": "q", "conversation": "second"}).turn()
	s.patch("/v1/conversations/second", object{"title": "Renamed"}).ok()
	s.delete("/v1/conversations/first/turns/0").ok()
	s.delete("/v1/conversations/first").ok()
	all := w.until(deleted)
	want := []string{"started second", "ended second completed", "changed second", "turn deleted first", "changed first", "deleted first"}
	var got []string
	for i, ev := range all {
		got = append(got, describe(ev))
		if ev.Seq != snap.Seq+uint64(i)+1 || ev.Epoch != snap.Epoch || ev.Truncated {
			t.Errorf("event %d after %d/%d is %d/%d", i, snap.Seq, snap.Epoch, ev.Seq, ev.Epoch)
		}
		if c := ev.GetChanged(); c != nil && c.ConversationId == "second" && c.Conversation.GetTitle() != "Renamed" {
			t.Errorf("changed: %v", c)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}

	// A cursor resumes right behind it, also after a restart.
	resume := func() {
		t.Helper()
		for i := range all {
			from := snap.Seq
			if i > 0 {
				from = all[i-1].Seq
			}
			w := s.watch(from, snap.Epoch)
			for _, wantEv := range all[i:] {
				if ev := w.next(); ev.Seq != wantEv.Seq || ev.Epoch != wantEv.Epoch || describe(ev) != describe(wantEv) {
					t.Errorf("resumed after %d: %v, want %v", from, ev, wantEv)
				}
			}
		}
	}
	resume()
	last := all[len(all)-1]
	s.watch(last.Seq, last.Epoch+7).snapshot(true, "second")
	s.watch(last.Seq+1000, last.Epoch).snapshot(true, "second")
	s.stop()
	s.restart()
	resume()
	w = s.watch(last.Seq, last.Epoch)
	s.patch("/v1/conversations/second", object{"title": "After"}).ok()
	if ev := w.next(); ev.Seq != last.Seq+1 || describe(ev) != "changed second" {
		t.Errorf("after the restart: %v", ev)
	}
}

// Readers that come at any moment, and one that reads nothing for long, all see
// the same changes without a gap.
func TestWatchConversationsUnderLoad(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	slow := s.watch(0, 0)
	slow.snapshot(false)
	var watches []watch
	const n = 12
	for i := range n {
		watches = append(watches, s.watch(0, 0))
		s.ask(object{"input": "q", "conversation": fmt.Sprintf("c%d", i)}).turn()
	}
	s.delete("/v1/conversations/c0").ok()
	all := slow.until(deleted)
	if len(all) != 2*n+1 {
		t.Errorf("%d events, want %d", len(all), 2*n+1)
	}
	for i, w := range watches {
		first := w.next()
		if first.GetSnapshot() == nil {
			t.Fatalf("watch %d begins with %v", i, first)
		}
		next := first.Seq + 1
		for _, ev := range w.until(deleted) {
			if ev.Seq != next {
				t.Fatalf("watch %d: event %d, want %d", i, ev.Seq, next)
			}
			next++
		}
		if next != all[len(all)-1].Seq+1 {
			t.Errorf("watch %d ends before %d", i, next)
		}
	}
}
