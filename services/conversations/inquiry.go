package conversations

import (
	"context"
	"errors"
	"fmt"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Spawned is a conversation that is made for somebody else of the house.
type Spawned struct {
	Project  string // by name; empty, or gone: the active one
	Title    string
	Metadata map[string]string
}

// Spawn makes a conversation, and tells of it. It is about six writes of the transaction.
func (r *Room) Spawn(tx store.Tx, s Spawned) (id string, err error) {
	p, err := r.opt.Projects.ByName(tx, s.Project)
	if err == nil && p == nil {
		p, err = r.opt.Projects.ByName(tx, "")
	}
	if err != nil {
		return "", err
	}
	if p == nil {
		return "", noProject(s.Project)
	}
	for id == "" {
		minted := r.mintConversation()
		switch err := free(tx, minted); {
		case err == nil:
			id = minted
		case !errors.Is(err, errTaken):
			return "", err
		}
	}
	c := &conversation{ID: id, Key: r.opt.NewID(""), ProjectID: p.ID, Created: r.now(), Updated: r.now(),
		Title: headline(s.Title, titleMax, ""), Metadata: s.Metadata}
	c.Activity = changed(tx, id)
	return id, conversations.Put(tx, c)
}

// Exists says whether a conversation is there.
func (r *Room) Exists(rd store.Reader, id string) (bool, error) {
	c, err := conversationByID(rd, id)
	if err != nil || c == nil {
		return false, err
	}
	v, err := r.view(rd, c)
	return v != nil, err
}

// Inquiry is something that is asked of a conversation where nobody watches the turn:
// the agent has no tool to ask back.
type Inquiry struct {
	ID           string // as NewID makes them, without a prefix: names the turn and its response
	Conversation string
	Instructions string   // for the turn
	Input        []string // what the user says; the last is the question
	Metadata     map[string]string
}

// Inquire begins the turn of an inquiry, or puts it into the queue of its conversation. As
// long as what an ID has led to is there, it is taken once.
func (r *Room) Inquire(ctx context.Context, q Inquiry) error {
	known, err := r.known(ctx, q.ID)
	if err != nil || known {
		return err
	}
	request := &antonv1.CreateResponseRequest{Conversation: q.Conversation, Instructions: q.Instructions, Metadata: q.Metadata, WhenBusy: whenQueue}
	for _, text := range q.Input {
		request.Input = append(request.Input, &antonv1.InputItem{Role: "user", Text: text})
	}
	a, err := r.check(ctx, request)
	if err != nil {
		return err
	}
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		there, err := r.Exists(rd, q.Conversation)
		if err == nil && !there {
			err = errNoConversation
		}
		return err
	})
	if err != nil {
		return err
	}
	a.id, a.unattended = q.ID, true
	_, err = r.begin(ctx, a)
	if errors.As(err, new(*waits)) {
		return nil
	}
	return err
}

// known says whether an inquiry has a turn, or waits for it.
func (r *Room) known(ctx context.Context, id string) (bool, error) {
	e, err := r.queuedAs(ctx, responsePrefix+id) // first, since it becomes a turn
	if err != nil || e != nil {
		return e != nil, err
	}
	t, err := r.turnOf(ctx, responsePrefix+id)
	return t != nil, err
}

// Inquired is how the turn of an inquiry has ended.
type Inquired struct {
	ConversationID, ProjectID string
	Turn                      int // 0-based place in the conversation
	Response                  *antonv1.Response
}

// Inquired waits until the turn of an inquiry has ended; begun is called if it runs by
// then. Errors: QUEUE_HELD while it does not begin by itself; REFUSED if it could not
// begin, and waits no more; RESPONSE_NOT_FOUND and the like if it was taken back or
// deleted.
func (r *Room) Inquired(ctx context.Context, id string, begun func()) (*Inquired, error) {
	rec, err := r.turnOrQueued(ctx, responsePrefix+id)
	if err != nil {
		return nil, r.refusedFor(ctx, id, err)
	}
	if t := r.liveTurn(rec.ID); t != nil {
		begun()
		select {
		case <-t.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if rec, err = r.mustTurnOf(ctx, rec.ResponseID); err != nil {
		return nil, err
	}
	if rec.Status == statusRunning { // its end could not be stored
		if err := r.takeOver(ctx, rec.ID, rec.ConvID); err != nil {
			return nil, err
		}
	}
	out := &Inquired{ConversationID: rec.ConvID}
	if out.Response, err = r.response(ctx, rec); err != nil {
		return nil, err
	}
	return out, r.opt.Main.View(ctx, func(rd store.Reader) error {
		out.ProjectID, out.Turn = "", 0
		c, err := conversationByID(rd, rec.ConvID)
		if err != nil || c == nil {
			return err
		}
		out.ProjectID = c.ProjectID
		for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: convPrefix(c)}) {
			if err != nil {
				return err
			}
			if t.Ordinal >= rec.Ordinal {
				break
			}
			out.Turn++
		}
		return nil
	})
}

// refusedFor is why an inquiry has no turn. One that could not begin is taken out of the
// queue: who asked is told, and nobody is there to resume it.
func (r *Room) refusedFor(ctx context.Context, id string, err error) error {
	var e *queued
	if look := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		e, err = queue.Lookup(rd, "id", key.Key(nil).Str(queuePrefix+id))
		return err
	}); look != nil {
		return look
	}
	if e == nil || e.Held != heldRefused {
		return err
	}
	if _, err := r.withdraw(ctx, e.responseID()); err != nil {
		return fmt.Errorf("take back what could not begin: %w", err)
	}
	return fault.New(fault.Precondition, "REFUSED", "%s", e.Problem)
}
