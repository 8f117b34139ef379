package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	antonv1 "anthill/gen/anton/v1"
)

const (
	// progressEvery is how long a client that asked for progress hears nothing at
	// most: many give a call up that is silent for a minute.
	progressEvery = 10 * time.Second
	progressMax   = 300 // bytes of what is told
	stopWithin    = 10 * time.Second
)

type askIn struct {
	Question     string `json:"question" jsonschema:"what to ask or to have done"`
	Conversation string `json:"conversation,omitempty" jsonschema:"id of the conversation to go on in; a new one if left out"`
	Project      string `json:"project,omitempty" jsonschema:"name of the project of a new conversation; the active one if left out"`
	Model        string `json:"model,omitempty" jsonschema:"model instead of the configured one"`
	Key          string `json:"key,omitempty" jsonschema:"the same question with the same key runs once, within a day: give one to be able to try again"`
}

type askOut struct {
	Conversation string `json:"conversation" jsonschema:"id: pass it to go on"`
	Response     string `json:"response" jsonschema:"id of the turn's response"`
	Status       string `json:"status" jsonschema:"completed, or incomplete with reason"`
	Reason       string `json:"reason,omitempty" jsonschema:"why it is incomplete"`
	Answer       string `json:"answer"`
	Truncated    bool   `json:"truncated" jsonschema:"the answer is longer than what is shown"`
}

func addAsk(t *tools, s *sdk.Server) {
	addTool(s, tool{name: "ask", title: "Ask the agent",
		description: "Runs one turn of this server's agent, which has tools and files of its own, and returns its answer. It may take minutes and tells of its progress; cancelling the call stops the turn. One turn runs in a conversation at a time.",
		schema:      func(in *jsonschema.Schema) { filled(in, "question") }}, t.ask)
}

// ask follows a turn. Who hangs up stops nothing; who cancels stops the turn.
func (t *tools) ask(ctx context.Context, r request, in askIn) (out askOut, text string, err error) {
	defer keepAlive(ctx)()
	following, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	stream, err := t.responses.CreateResponse(following, &antonv1.CreateResponseRequest{Conversation: in.Conversation, Project: in.Project,
		Model: in.Model, IdempotencyKey: in.Key, Input: []*antonv1.InputItem{{Role: "user", Text: in.Question}}})
	if err != nil {
		return out, "", err
	}
	turn := &turn{tools: t, request: r}
	events := make(chan event)
	go receive(following, stream, events)
	beat := time.NewTicker(progressEvery)
	defer beat.Stop()
	ended := ctx.Done()
	var late <-chan time.Time // set once the turn is to stop
	for {
		select {
		case e := <-events:
			switch {
			case errors.Is(e.err, io.EOF):
				return out, "", errors.New("the turn has no end: see read_conversation")
			case e.err != nil:
				return out, "", e.err
			case late != nil:
				return out, "", t.stop(following, e.ResponseId)
			}
			if over, err := turn.note(ctx, e.ResponseEvent); over || err != nil {
				return turn.out, turn.tell(), err
			}
		case <-beat.C:
			turn.progress(ctx, "working")
		case <-ended:
			if !cancelled(ctx) {
				return out, "", errGone
			}
			if turn.id != "" {
				return out, "", t.stop(following, turn.id)
			}
			ended, late = nil, time.After(stopWithin) // it has not begun: its first event names it
		case <-late:
			return out, "", context.Canceled
		}
	}
}

// stop ends a turn that its caller cancelled.
func (t *tools) stop(ctx context.Context, response string) error {
	ctx, done := context.WithTimeout(ctx, stopWithin)
	defer done()
	if _, err := t.responses.StopResponse(ctx, &antonv1.StopResponseRequest{ResponseId: response}); err != nil {
		return err
	}
	return errors.New("the turn was stopped")
}

// event is one message of a stream, or its end.
type event struct {
	*antonv1.ResponseEvent
	err error
}

func receive(ctx context.Context, stream interface {
	Recv() (*antonv1.ResponseEvent, error)
}, to chan<- event) {
	for {
		e, err := stream.Recv()
		select {
		case to <- event{e, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// turn is what is known of a turn that runs.
type turn struct {
	tools   *tools
	request request
	id      string // of its response
	steps   float64
	told    string
	out     askOut
}

// note takes in an event; over says that it was the last.
func (u *turn) note(ctx context.Context, e *antonv1.ResponseEvent) (over bool, err error) {
	u.id = e.ResponseId
	switch {
	case e.GetThought() != nil:
		th := e.GetThought()
		text := th.Message
		if text == "" {
			text = th.ToolName
		}
		if text == "" {
			text = th.Content
		}
		u.progress(ctx, oneLine(text, progressMax))
	case e.GetCompleted() != nil:
		u.end(e, e.GetCompleted().Response)
		return true, nil
	case e.GetIncomplete() != nil:
		u.end(e, e.GetIncomplete().Response)
		u.out.Status, u.out.Reason = "incomplete", e.GetIncomplete().Reason
		return true, nil
	case e.GetFailed() != nil:
		return true, fmt.Errorf("the turn failed: %s (conversation %s)", e.GetFailed().GetError().GetMessage(), e.ConversationId)
	}
	return false, nil
}

func (u *turn) end(e *antonv1.ResponseEvent, r *antonv1.Response) {
	answer, cut := cutText(r.GetOutputText())
	u.out = askOut{Conversation: e.ConversationId, Response: e.ResponseId, Status: "completed", Answer: answer, Truncated: cut}
}

func (u *turn) tell() string {
	if u.out.Status != "incomplete" {
		return u.out.Answer
	}
	return u.out.Answer + "\n(incomplete: " + u.out.Reason + ")"
}

// progress tells the client how it goes on, if it wants to know and has not been
// told the same. A client that has gone is nobody's error.
func (u *turn) progress(ctx context.Context, text string) {
	if u.request.token == nil || text == "" || text == u.told && text != "working" {
		return
	}
	u.told = text
	u.steps++
	_ = u.request.session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: u.request.token, Progress: u.steps, Message: text})
}
