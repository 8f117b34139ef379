package conversations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/store"
	"anthill/services/internal/store/memory"
)

// notebook is a Memory that hands on what it is given.
type notebook chan Learned

func (n notebook) Learn(_ context.Context, l Learned) error {
	n <- l
	return errors.New("this is for the log alone")
}

// A turn that has ended teaches what a model finds in it, with its provenance,
// and is over before anybody looks.
func TestTurnsTeach(t *testing.T) {
	ended := make(chan struct{})
	p := &script{answer: func(ctx context.Context, q agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
		text := "Tabs it is."
		if strings.HasPrefix(q.System, "You look back at one turn") {
			<-ended // the turn does not wait for it
			text = `{"entries":[{"text":"Indents with tabs.","kind":"always","scope":"project","topic":"style"}]}`
		}
		return agent.Completion{Text: text, Finish: agent.FinishStop}, emit(agent.Delta{Text: text})
	}}
	book := make(notebook, 1)
	var n atomic.Int64
	r, err := Open(t.Context(), Options{Main: memory.Open(memory.Options{}), Bulk: memory.Open(memory.Options{Limits: store.BulkLimits}),
		Projects: oneProject{}, Memory: book, Now: time.Now, NewID: func(p string) string { return fmt.Sprintf("%s%012d", p, n.Add(1)) }, Log: slog.New(slog.DiscardHandler),
		Model: func(context.Context, string) (Model, error) { return Model{Provider: p, Name: "m", Learn: true}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *antonv1.CreateResponseRequest) {
		q.Input = []*antonv1.InputItem{{Role: "user", Text: "I want tabs"}}
		_, err := collect(t, func(c *collector) error { return front{r}.CreateResponse(q, c) })
		if err != nil {
			t.Fatal(err)
		}
	}
	ask(&antonv1.CreateResponseRequest{Conversation: "e", Ephemeral: true}) // teaches nothing
	ask(&antonv1.CreateResponseRequest{Conversation: "c"})
	close(ended)
	l := <-book
	if l.ConversationID != "c" || l.ProjectID != "p1" || !strings.HasPrefix(l.TurnID, turnPrefix) || len(l.Lessons) != 1 || l.Lessons[0].Text != "Indents with tabs." {
		t.Errorf("learnt %+v", l)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(book) != 0 {
		t.Errorf("learnt also %+v", <-book)
	}
}
