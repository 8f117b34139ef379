package feed_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// runs stand in for the room that keeps evidence.
type runs map[feed.RunRef]string

// RunEvents implements feed.RunEvents.
func (r runs) RunEvents(_ context.Context, refs []feed.RunRef) ([]*antv1.RunEvent, error) {
	out := make([]*antv1.RunEvent, len(refs))
	for i, ref := range refs {
		if text, ok := r[ref]; ok {
			out[i] = &antv1.RunEvent{Id: ref.ID, SessionId: ref.Room, Text: text}
		}
	}
	return out, nil
}

// The log keeps the numbers of run events; what is gone is not told of again, and
// its neighbours are none the worse for it.
func TestRunEventsAreReadWhenTheyAreTold(t *testing.T) {
	b := open(t)
	kept := runs{}
	if err := b.feed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.feed = feed.Open(feed.Options{DB: b.db, Messages: b.messages, RunEvents: kept, Log: slog.New(slog.DiscardHandler)})
	b.set("r", "m", "text")
	for id := range uint32(40) { // more than are looked up at once
		kept[feed.RunRef{Room: "r", ID: id + 1}] = fmt.Sprint("secret ", id+1)
		b.add(&antv1.Event{SessionId: "r", Event: &antv1.Event_RunEventCreated{RunEventCreated: &antv1.RunEventCreated{
			Event: &antv1.RunEvent{Id: id + 1, SessionId: "r", Text: "secret"}}}})
	}
	b.add(created("r", "m"))
	delete(kept, feed.RunRef{Room: "r", ID: 3})
	page, err := b.feed.Read(t.Context(), events.Cursor{}, everything, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := 1
	for _, e := range page.Events[:len(page.Events)-1] {
		if want == 3 {
			want++
		}
		if got := e.GetRunEventCreated().GetEvent(); int(got.GetId()) != want || got.GetText() != fmt.Sprint("secret ", want) || int(e.Seq) != want {
			t.Fatalf("event %d is %v, want %d", e.Seq, got, want)
		}
		want++
	}
	if last := page.Events[len(page.Events)-1]; want != 41 || last.GetMessageCreated().GetContent() != "text" || !page.End {
		t.Errorf("ends at %d with %v", want, last)
	}
	err = b.db.View(t.Context(), func(r store.Reader) error {
		entries, _ := r.Log(feed.Topic, 0, 100)
		for _, e := range entries {
			if strings.Contains(string(e.Event), "secret") {
				t.Fatal("the log keeps what an event says")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The text of a question is that of its message, and goes with it.
func TestAsksGoWithTheirMessage(t *testing.T) {
	b := open(t)
	b.set("r", "m", "Which?")
	ask := &antv1.PostedAsk{Id: "a", MessageId: proto.String("m"), Body: "Which?"}
	b.add(&antv1.Event{SessionId: "r", Event: &antv1.Event_AskCreated{AskCreated: &antv1.AskCreated{Ask: ask}}},
		&antv1.Event{SessionId: "r", Event: &antv1.Event_AskUpdated{AskUpdated: &antv1.AskUpdated{Ask: ask}}},
		&antv1.Event{SessionId: "r", Event: &antv1.Event_AskCreated{AskCreated: &antv1.AskCreated{Ask: &antv1.PostedAsk{Id: "b"}}}})
	told := func() (n int) {
		page, err := b.feed.Read(t.Context(), events.Cursor{}, everything, 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Events)
	}
	if n := told(); n != 3 {
		t.Errorf("%d are told", n)
	}
	b.remove("r", "m")
	if n := told(); n != 1 {
		t.Errorf("%d are told of a message that is gone", n)
	}
}
