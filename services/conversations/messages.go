package conversations

import (
	"context"
	"errors"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// ListMessages implements antonv1.ConversationsServiceServer. A running turn
// shows its user message; its answer comes by the stream.
func (r *Room) ListMessages(ctx context.Context, q *antonv1.ListMessagesRequest) (*antonv1.ListMessagesResponse, error) {
	var convKey string
	var recs []*turnRecord
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		convKey = c.Key
		recs, err = turnsOf(rd, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	past, err := r.history(ctx, convKey, nil)
	if err != nil {
		return nil, err
	}
	inputs := map[uint64][]agent.Message{}
	for _, p := range past {
		inputs[p.ordinal] = p.input
	}
	out := &antonv1.ListMessagesResponse{Id: q.Id}
	for _, t := range recs {
		if t.Given {
			out.Messages = append(out.Messages, viewGiven(t, inputs[t.Ordinal])...)
			continue
		}
		out.Messages = append(out.Messages, &antonv1.ConversationMessage{Role: "user",
			Content: lastUserText(inputs[t.Ordinal]), TurnId: t.ID, StartedAt: float64(t.Created)})
		if t.Status == statusRunning {
			continue
		}
		answer := &antonv1.ConversationMessage{Role: "assistant", TurnId: t.ID,
			StartedAt: float64(t.Created), Status: t.Status}
		err := r.follow(ctx, t, nil, 0, func(ev *antonv1.ResponseEvent) error {
			answer.Events = append(answer.Events, ev)
			return nil
		})
		if errors.Is(err, errNoResponse) { // deleted meanwhile
			out.Messages = out.Messages[:len(out.Messages)-1]
			continue
		}
		if err != nil {
			return nil, err
		}
		answer.Content = finalText(answer.Events)
		out.Messages = append(out.Messages, answer)
	}
	return out, nil
}

// viewGiven shows items that a client added as what was said.
func viewGiven(t *turnRecord, ms []agent.Message) []*antonv1.ConversationMessage {
	var out []*antonv1.ConversationMessage
	for _, m := range ms {
		v := &antonv1.ConversationMessage{Role: string(m.Role), Content: m.Text, TurnId: t.ID, StartedAt: float64(t.Created)}
		switch {
		case m.Role == agent.RoleUser:
			out = append(out, v)
		case m.Role == agent.RoleAssistant && m.Text != "":
			v.Status = t.Status
			out = append(out, v)
		}
	}
	return out
}

// turnsOf lists the turns of a conversation, oldest first.
func turnsOf(rd store.Reader, c *conversation) ([]*turnRecord, error) {
	var out []*turnRecord
	for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: convPrefix(c)}) {
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func lastUserText(ms []agent.Message) string {
	for i := len(ms) - 1; i >= 0; i-- {
		if ms[i].Role == agent.RoleUser && strings.TrimSpace(ms[i].Text) != "" {
			return ms[i].Text
		}
	}
	return ""
}

func finalText(evs []*antonv1.ResponseEvent) string {
	if len(evs) == 0 {
		return ""
	}
	switch e := evs[len(evs)-1].Event.(type) {
	case *antonv1.ResponseEvent_Completed:
		return e.Completed.Response.GetOutputText()
	case *antonv1.ResponseEvent_Incomplete:
		return e.Incomplete.Response.GetOutputText()
	case *antonv1.ResponseEvent_Failed:
		return e.Failed.Response.GetOutputText()
	}
	return ""
}

// DeleteTurn implements antonv1.ConversationsServiceServer. A turn owns the
// calls it made and their results, so what is left stays pair-valid.
func (r *Room) DeleteTurn(ctx context.Context, q *antonv1.DeleteTurnRequest) (*antonv1.DeleteTurnResponse, error) {
	if q.TurnIndex < 0 {
		return nil, fault.New(fault.Invalid, "INVALID_TURN_INDEX", "turn_index must be 0 or greater")
	}
	id, err := r.stopTurnAt(ctx, q)
	if err != nil {
		return nil, err
	}
	gone, err := r.dropTurn(ctx, q.Id, id, false)
	if err != nil {
		return nil, err
	}
	return &antonv1.DeleteTurnResponse{ConversationId: q.Id, TurnIndex: q.TurnIndex,
		RemovedCount: gone.messages, RemainingMessages: gone.messagesLeft}, nil
}

// droppedTurn says what went with a turn and what is left.
type droppedTurn struct {
	wasFirst               bool
	first                  *turnRecord // of the turns that are left
	turnsLeft              int
	messages, messagesLeft int32
}

// dropTurn deletes a turn that has ended and, if emptied is set, with its last
// turn the conversation.
func (r *Room) dropTurn(ctx context.Context, convID, id string, emptied bool) (d droppedTurn, err error) {
	job := r.opt.NewID("del_")
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		d = droppedTurn{}
		c, err := conversationByID(tx, convID)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoTurn
		}
		recs, err := turnsOf(tx, c)
		if err != nil {
			return err
		}
		var gone *turnRecord
		for i, t := range recs {
			if t.ID == id {
				gone, d.wasFirst, d.messages = t, i == 0, int32(t.Messages)
				continue
			}
			if d.first == nil {
				d.first = t
			}
			d.turnsLeft++
			d.messagesLeft += int32(t.Messages)
		}
		if gone == nil { // somebody else deleted it
			return errNoTurn
		}
		if gone.Status == statusRunning {
			return fault.New(fault.Precondition, "CONVERSATION_BUSY", "The turn could not be stopped: try again.")
		}
		if emptied && d.turnsLeft == 0 {
			return dropConversation(tx, c, job)
		}
		if _, err := turns.Delete(tx, turnKey(gone.ConvKey, gone.Ordinal)); err != nil {
			return err
		}
		if err := deletions.Put(tx, &deletion{ID: job, ConvKey: gone.ConvKey, TurnID: gone.ID, Ordinal: gone.Ordinal}); err != nil {
			return err
		}
		if err := forgetCompaction(tx, c.Key); err != nil {
			return err
		}
		c.Turns = d.turnsLeft
		appendEvent(tx, &antonv1.ConversationEvent{Event: &antonv1.ConversationEvent_TurnDeleted{
			TurnDeleted: &antonv1.TurnDeleted{ConversationId: c.ID, TurnId: gone.ID}}})
		return conversations.Put(tx, c)
	})
	if err != nil {
		return d, err
	}
	r.wakeWorker()
	if d.wasFirst && (d.turnsLeft > 0 || !emptied) {
		return d, r.refreshPreview(ctx, convID, d.first)
	}
	return d, nil
}

// stopTurnAt finds the turn at a position and stops it if it runs.
func (r *Room) stopTurnAt(ctx context.Context, q *antonv1.DeleteTurnRequest) (id string, err error) {
	var rec *turnRecord
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		rec = nil
		c, err := conversationByID(rd, q.Id)
		if err != nil || c == nil {
			return err
		}
		i := int32(0)
		for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: convPrefix(c)}) {
			if err != nil {
				return err
			}
			if i == q.TurnIndex {
				rec = t
				return nil
			}
			i++
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if rec == nil {
		return "", errNoTurn
	}
	if rec.Status == statusRunning {
		if _, err := r.cancelTurn(ctx, q.Id); err != nil {
			return "", err
		}
	}
	return rec.ID, nil
}

// refreshPreview takes a conversation's preview from the turn that is now its
// first. better: the reference keeps the preview of what was deleted.
func (r *Room) refreshPreview(ctx context.Context, convID string, first *turnRecord) error {
	preview := ""
	if first != nil {
		past, err := r.history(ctx, first.ConvKey, &first.Ordinal)
		if err != nil {
			return err
		}
		for _, p := range past {
			preview = headline(lastUserText(p.input), previewLen, "")
		}
	}
	return r.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversationByID(tx, convID)
		if err != nil || c == nil {
			return err
		}
		c.Preview = preview
		changed(tx, c.ID)
		return conversations.Put(tx, c)
	})
}
