package conversations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/events"
	"anthill/services/internal/store"
)

// Reasons of an incomplete response.
const (
	reasonCancelled   = "cancelled"
	reasonInterrupted = "interrupted"
	reasonMaxTokens   = "max_output_tokens"
	reasonFilter      = "content_filter"
	reasonCut         = "stream_cut"
)

// turn is one that runs now.
type turn struct {
	rec    *turnRecord
	asked  *asked
	log    *events.Live
	cancel context.CancelCauseFunc
	done   chan struct{} // closed once it is sealed, or given up

	started bool // stored; guarded by Room.mu
}

// run asks the model and seals the turn, whatever happens. It is the only
// writer of the turn's log.
func (r *Room) run(ctx context.Context, t *turn, m Model) {
	defer r.turns.Done()
	defer close(t.done)
	defer t.cancel(nil)
	rec := newRecorder(ctx, r, t.rec, t.log)
	out, err := r.ask(ctx, rec, t.asked, m)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	end := r.ending(t.rec, out, err)
	t.rec.Used = out.Used
	// The end must be written also when the turn was stopped.
	r.finish(context.WithoutCancel(ctx), rec, end)
	r.mu.Lock()
	delete(r.live, t.rec.ID)
	r.mu.Unlock()
	r.wakeQueue()
	if end.status == statusCompleted && m.Learn {
		r.learn(t, m)
	}
}

// ask runs the agent over the conversation's history.
func (r *Room) ask(ctx context.Context, rec *recorder, a *asked, m Model) (agent.Outcome, error) {
	if err := rec.begin(a.options); err != nil {
		return agent.Outcome{}, err
	}
	messages, err := r.messagesUpTo(ctx, rec.rec.ConvKey, rec.rec.Ordinal)
	if err != nil {
		return agent.Outcome{}, err
	}
	if !stored(a.options) {
		messages = append(messages, a.messages...)
	}
	w, done, err := r.workspace(ctx, rec.rec, a)
	if err != nil {
		return agent.Outcome{}, err
	}
	defer done()
	if a.unattended {
		w.Tools = slices.DeleteFunc(w.Tools, func(t agent.Tool) bool { return t.Spec().Name == agent.AskTool })
	}
	short, err := r.compactionOf(ctx, rec.rec, a, m)
	if err != nil {
		return agent.Outcome{}, err
	}
	run := agent.Options{Provider: m.Provider, History: messages, Tools: w.Tools, Secrets: slices.Concat(m.Secrets, w.Secrets), Limits: m.Limits, Log: r.opt.Log,
		Compaction: short, Verify: m.Verify && !bare(a.options),
		Request: agent.Request{Model: m.Name, MaxTokens: m.MaxTokens, System: systemPrompt(basePrompt, w.Instructions, a.instructions),
			Temperature: a.temperature, TopP: a.topP}}
	if bare(a.options) {
		run.Request.System = systemPrompt(a.instructions)
	}
	if a.maxTokens != nil {
		run.Request.MaxTokens = int(*a.maxTokens)
	}
	if a.maxTokens != nil || bare(a.options) { // who limits the answer is told that it was cut
		run.Limits.Continuations = 0
	}
	if rec.send == nil {
		run.Boundary = rec.Boundary
	}
	apply(a.options, &run)
	return agent.Run(ctx, run, rec)
}

// messagesUpTo is the history that a model sees: all turns of a conversation up
// to the one with this ordinal.
func (r *Room) messagesUpTo(ctx context.Context, convKey string, ordinal uint64) ([]agent.Message, error) {
	if convKey == "" {
		return nil, nil
	}
	past, err := r.history(ctx, convKey, nil)
	if err != nil {
		return nil, err
	}
	var messages []agent.Message
	for _, t := range past {
		if t.ordinal > ordinal {
			break
		}
		messages = append(messages, t.input...)
		messages = append(messages, t.messages...)
	}
	return messages, nil
}

// workspace opens the folder of a turn's project: of its conversation, or of the
// project that was named if there is none.
func (r *Room) workspace(ctx context.Context, rec *turnRecord, a *asked) (w Workspace, done func(), err error) {
	o := Opening{Question: a.question, Bare: bare(a.options)}
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, rec.ConvID)
		if err != nil {
			return err
		}
		if c != nil {
			o.ProjectID, o.ConversationID, o.TurnID, o.Title, o.Turn = c.ProjectID, c.ID, rec.ID, c.Title, c.Turns-1
			o.MCP = c.MCP
			return nil
		}
		p, err := r.opt.Projects.ByName(rd, a.project)
		if err != nil {
			return err
		}
		if p == nil {
			return noProject(a.project)
		}
		o.ProjectID = p.ID
		return nil
	})
	if err != nil {
		return w, nil, err
	}
	if w, done, err = r.opt.Projects.Open(ctx, o); err != nil {
		return w, nil, fmt.Errorf("open project folder: %w", err)
	}
	return w, done, nil
}

// basePrompt tells a model who it is. It stays the same from turn to turn, so
// that providers can cache it.
const basePrompt = `You are Anton, a coworker who works in a project folder together with the user.
Use your tools to look at the files you need before you answer about them; never guess what a file says.
Compute with Python in the scratchpad rather than in your head; what a cell defines is there in the next one.
Put results that the user will want to look at again into an artifact.
Ask the user only when the work cannot go on without the answer.
Answer in the language of the user, briefly and to the point, in Markdown where it helps.
When something cannot be done with your tools, say so and say what would be needed.`

func systemPrompt(parts ...string) string {
	var all []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			all = append(all, p)
		}
	}
	return strings.Join(all, "\n\n")
}

// ending is how a turn ends: its last event and what the record says.
type ending struct {
	event          *antonv1.ResponseEvent
	status, reason string
	itemStatus     string // of an item that is still open
	hold           string // why what waits does not begin now; empty: it does
}

// ending turns what came of a turn into its end.
func (r *Room) ending(t *turnRecord, out agent.Outcome, err error) ending {
	u := &antonv1.Usage{InputTokens: int32(out.Usage.InputTokens), CachedTokens: int32(out.Usage.CachedTokens),
		OutputTokens: int32(out.Usage.OutputTokens), ReasoningTokens: int32(out.Usage.ReasoningTokens)}
	var provider *agent.Error
	switch {
	case err == nil && out.Finish == agent.FinishLength:
		return incomplete(reasonMaxTokens, u)
	case err == nil && out.Finish == agent.FinishFilter:
		return incomplete(reasonFilter, u)
	case err == nil && out.Finish == agent.FinishCut:
		return incomplete(reasonCut, u)
	case err == nil:
		end := ending{status: statusCompleted, itemStatus: statusCompleted, event: &antonv1.ResponseEvent{
			Event: &antonv1.ResponseEvent_Completed{Completed: &antonv1.ResponseCompleted{Usage: u}}}}
		if out.Asked || out.Finish == agent.FinishTools {
			end.hold = heldAnswer
		}
		return end
	case errors.Is(err, errCancelled):
		return incomplete(reasonCancelled, u)
	case errors.Is(err, errInterrupted):
		return incomplete(reasonInterrupted, u)
	}
	e := &antonv1.ResponseError{Code: "anton_error", Message: "An unexpected error occurred"}
	switch {
	case errors.As(err, &provider):
		e = &antonv1.ResponseError{Code: provider.Code, Message: provider.Message}
	case errors.Is(err, store.ErrFull):
		e = &antonv1.ResponseError{Code: "storage_full", Message: "The disk is full: free some space and ask again."}
	}
	r.opt.Log.Warn("turn failed", "turn", t.ID, "code", e.Code, "error", err)
	return ending{status: statusFailed, reason: e.Code, itemStatus: statusIncomplete,
		event: &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_Failed{
			Failed: &antonv1.ResponseFailed{Error: e, Usage: u}}}}
}

func incomplete(reason string, u *antonv1.Usage) ending {
	status, hold := statusIncomplete, ""
	if reason == reasonCancelled {
		status, hold = statusCancelled, heldCancelled
	}
	return ending{status: status, reason: reason, hold: hold, itemStatus: statusIncomplete,
		event: &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_Incomplete{
			Incomplete: &antonv1.ResponseIncomplete{Reason: reason, Usage: u}}}}
}

// sealTries bounds how long a turn tries to write its end to a store that
// refuses; after that the next start, or the next turn, seals it.
const (
	sealTries = 5
	sealPause = 200 * time.Millisecond
)

// finish writes the end of a turn to its log and record. If the store refuses,
// readers are told that the stream ended and the turn stays to be sealed.
func (r *Room) finish(ctx context.Context, rec *recorder, end ending) {
	var err error
	for try := range sealTries {
		if try > 0 {
			time.Sleep(sealPause)
		}
		if err = r.seal(ctx, rec, end); err == nil {
			return
		}
		if !errors.Is(err, store.ErrFull) {
			break
		}
	}
	r.opt.Log.Error("turn could not be sealed", "turn", rec.rec.ID, "error", err)
	rec.log.Abandon()
}

// seal closes what is open, keeps the text said so far in history, and ends
// log and record, in this order.
func (r *Room) seal(ctx context.Context, rec *recorder, end ending) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.ctx = ctx
	rec.stopTimer()
	if err := rec.closeOpen(end.itemStatus); err != nil {
		return err
	}
	if text := rec.unsaid(); text != "" {
		if err := rec.writeRow(ctx, agent.Message{Role: agent.RoleAssistant, Text: text}); err != nil {
			return err
		}
		rec.said += len(text)
	}
	end.event.AtMs = float64(r.now())
	var last int32
	return rec.log.Seal(ctx, func(seq uint64) []byte {
		last = int32(seq)
		return encodeEvent(end.event, seq)
	}, func(ctx context.Context) error {
		return r.endRecord(ctx, rec.rec, end, last)
	})
}

// endRecord is the transaction that ends a turn. The turn may be gone already.
func (r *Room) endRecord(ctx context.Context, t *turnRecord, end ending, last int32) error {
	now := r.now()
	past, err := r.history(ctx, t.ConvKey, &t.Ordinal)
	if err != nil {
		return err
	}
	messages := 0
	for _, p := range past {
		messages += len(p.input) + len(p.messages)
	}
	held := false
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		held = false
		rec, err := turns.Get(tx, turnKey(t.ConvKey, t.Ordinal))
		if err != nil || rec == nil {
			return err
		}
		rec.Status, rec.Reason, rec.Ended, rec.LastSeq, rec.Messages = end.status, end.reason, now, last, messages
		rec.Used = t.Used
		if err := turns.Put(tx, rec); err != nil {
			return err
		}
		c, err := conversationByID(tx, t.ConvID)
		if err != nil || c == nil || c.Key != t.ConvKey {
			return err
		}
		if c.Running == t.ID {
			c.Running = ""
			if held = end.hold != "" && c.Queued > 0; held {
				if err := holdQueue(tx, c.Key, end.hold); err != nil {
					return err
				}
			}
		}
		c.Updated = now
		c.Activity = appendEvent(tx, &antonv1.ConversationEvent{Event: &antonv1.ConversationEvent_TurnEnded{
			TurnEnded: &antonv1.TurnEnded{ConversationId: c.ID, TurnId: t.ID, ResponseId: t.ResponseID, Status: end.status}}})
		return conversations.Put(tx, c)
	})
	if err == nil && held && end.hold == heldCancelled {
		r.settleHeld(ctx, t.ConvKey)
	}
	return err
}
