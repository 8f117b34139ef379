package conversations

import (
	"context"
	"errors"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// steerThought is the role of the frame that says that the turn has taken in
// what the user said meanwhile.
const steerThought = "thought.steered"

// Boundary hands the agent what the user has said to the running turn. Each
// request leaves the queue in the transaction that makes it a part of the turn.
func (c *recorder) Boundary(ctx context.Context) ([]agent.Message, error) {
	var waits []*queued
	err := c.room.opt.Main.View(ctx, func(rd store.Reader) error {
		waits = nil
		list, err := queueOf(rd, c.rec.ConvKey)
		for _, e := range list {
			if e.Steer && e.Held == "" {
				waits = append(waits, e)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var said []agent.Message
	for _, e := range waits {
		more, err := c.takeIn(ctx, e)
		if f := new(fault.Error); errors.As(err, &f) {
			continue // it becomes the next turn, or is told then what is wrong with it
		}
		if err != nil {
			return nil, err
		}
		said = append(said, more...)
	}
	return said, nil
}

// takeIn makes a request a part of the turn: its messages, without the rest.
func (c *recorder) takeIn(ctx context.Context, e *queued) ([]agent.Message, error) {
	r := c.room
	a, err := r.askedBy(ctx, e)
	if err == nil {
		err = r.attach(ctx, a, e.ConvID)
	}
	if err != nil {
		return nil, err
	}
	rows := make([]row, len(a.messages))
	for i, m := range a.messages {
		if rows[i], err = r.stage(ctx, c.rec, c.rows+1+uint64(i), []agent.Message{m}); err != nil {
			return nil, err
		}
	}
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		conv, err := conversationByID(tx, e.ConvID)
		if err != nil {
			return err
		}
		if conv == nil || conv.Key != e.ConvKey {
			return errTakenBack
		}
		now, err := leaveQueue(tx, conv, e.ID)
		if err != nil {
			return err
		}
		if now == nil || now.Held != "" {
			return errTakenBack
		}
		if err := r.leadOn(tx, e.Once, c.rec.ID); err != nil {
			return err
		}
		for _, w := range rows {
			if err := putRow(tx, w); err != nil {
				return err
			}
		}
		changed(tx, conv.ID)
		return conversations.Put(tx, conv)
	})
	if err != nil {
		return nil, err
	}
	c.rows += uint64(len(rows))
	r.settle(e.ID, c.rec, nil)
	if err := r.dropRequest(ctx, e.turnID()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range a.messages {
		if err := c.think(&antonv1.Thought{ThoughtRole: steerThought, Content: headlineOf(m), QueueId: e.ID}); err != nil {
			return nil, err
		}
	}
	return a.messages, nil
}

// leadOn makes the idempotency key of a request lead to the turn that took it in.
func (r *Room) leadOn(tx store.Tx, once, turnID string) error {
	if once == "" {
		return nil
	}
	k, err := onceKeys.Get(tx, key.Key(nil).Str(once))
	if err != nil || k == nil {
		return err
	}
	k.TurnID = turnID
	return onceKeys.Put(tx, k)
}
