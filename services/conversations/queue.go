package conversations

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	queueMax    = 20      // requests that wait in one conversation
	queuedText  = 4 << 10 // bytes of what the user says that a list shows
	queuePrefix = "queue_"

	// bodyOfRequest is the number of the body that holds a request which waits.
	bodyOfRequest = math.MaxUint32
)

// Values of when_busy.
const (
	whenReject = "reject"
	whenQueue  = "queue"
	whenSteer  = "steer"
)

// Reasons why a request does not begin by itself.
const (
	heldCancelled = "cancelled" // the turn before it was stopped
	heldAnswer    = "answer"    // the agent waits for an answer, or for results of calls
	heldRefused   = "refused"   // it could not begin
)

// queued is a request that waits for its turn. The request itself is a body in
// the bulk store. Its id and those of the turn and response that it becomes
// share all but the prefix.
type queued struct {
	ID      string `json:"id"`
	ConvKey string `json:"conv_key"`
	ConvID  string `json:"conv_id"`
	N       uint64 `json:"n"` // grows in the conversation
	Steer   bool   `json:"steer,omitempty"`
	Held    string `json:"held,omitempty"`
	Problem string `json:"problem,omitempty"`
	Text    string `json:"text"`
	Created int64  `json:"created"` // ms
	Once    string `json:"once,omitempty"`

	Unattended bool `json:"unattended,omitempty"` // as in asked
}

func (e *queued) turnID() string { return turnPrefix + strings.TrimPrefix(e.ID, queuePrefix) }

func (e *queued) responseID() string { return responsePrefix + strings.TrimPrefix(e.ID, queuePrefix) }

func (e *queued) mode() string {
	if e.Steer {
		return whenSteer
	}
	return whenQueue
}

var queue = store.NewTable(store.TableOptions[queued]{
	Name: "conversation_queue",
	Key:  func(e *queued) key.Key { return key.Key(nil).Str(e.ConvKey).Uint(e.N) },
	Indexes: []store.Index[queued]{
		{Name: "id", Unique: true, Keys: func(e *queued) []key.Key { return []key.Key{key.Key(nil).Str(e.ID)} }},
	},
})

func (e *queued) key() key.Key { return key.Key(nil).Str(e.ConvKey).Uint(e.N) }

// queueOf lists what waits in a conversation in the order of its turns: what
// the user said to the turn that runs first, held ones last.
func queueOf(rd store.Reader, convKey string) ([]*queued, error) {
	var ranks [3][]*queued
	for e, err := range queue.Scan(rd, store.ScanOptions{Prefix: key.Key(nil).Str(convKey)}) {
		if err != nil {
			return nil, err
		}
		switch {
		case e.Held != "":
			ranks[2] = append(ranks[2], e)
		case e.Steer:
			ranks[0] = append(ranks[0], e)
		default:
			ranks[1] = append(ranks[1], e)
		}
	}
	return append(append(ranks[0], ranks[1]...), ranks[2]...), nil
}

// checkWhenBusy refuses what cannot wait, or cannot be said in between.
func (a *asked) checkWhenBusy() error {
	switch a.whenBusy {
	case "", whenReject:
		return nil
	case whenQueue, whenSteer:
	default:
		return fault.BadField("literal_error", "Input should be 'reject', 'queue' or 'steer'", "when_busy")
	}
	if !stored(a.options) {
		return fault.BadField("value_error", "Only a response that is stored can wait", "when_busy")
	}
	if a.whenBusy == whenSteer {
		for _, m := range a.messages {
			if m.Role != agent.RoleUser {
				return fault.BadField("value_error", "Only what the user says can steer a turn", "when_busy")
			}
		}
	}
	return nil
}

// errIdle says that nothing runs any more for a request to wait for.
var errIdle = errors.New("conversations: nothing to wait for")

// waits says that a request has been put in the queue.
type waits struct {
	entry *queued
	until *waiting
}

func (w *waits) Error() string { return "conversations: the request waits as " + w.entry.ID }

// enqueue makes a request wait. It answers *waits, or errIdle if the
// conversation is free by now.
func (r *Room) enqueue(ctx context.Context, a *asked, rec *turnRecord) error {
	body, err := proto.Marshal(a.request)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	e := &queued{ID: queuePrefix + strings.TrimPrefix(rec.ID, turnPrefix), ConvID: rec.ConvID, Steer: a.whenBusy == whenSteer,
		Text: clip(saidBy(a.messages), queuedText), Created: r.now(), Unattended: a.unattended}
	if a.once != nil {
		e.Once = a.once.Key
	}
	if err := r.putBody(ctx, rec.ID, bodyOfRequest, body); err != nil {
		return err
	}
	until := r.awaited(e.ID)
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		if err := r.claim(tx, a.once, rec.ID); err != nil {
			return err
		}
		c, err := conversationByID(tx, rec.ConvID)
		if err != nil {
			return err
		}
		if c == nil {
			return errIdle
		}
		list, err := queueOf(tx, c.Key)
		switch {
		case err != nil:
			return err
		case c.Running == "" && (len(list) == 0 || list[0].Held != ""):
			return errIdle
		case len(list) >= queueMax:
			return fault.New(fault.Exhausted, "QUEUE_FULL", "%d requests wait in this conversation already: take one back, or try again later.", queueMax)
		}
		e.ConvKey, e.N = c.Key, 0
		for _, other := range list {
			e.N = max(e.N, other.N+1)
		}
		c.Queued = len(list) + 1
		changed(tx, c.ID)
		if err := queue.Put(tx, e); err != nil {
			return err
		}
		return conversations.Put(tx, c)
	})
	if err != nil {
		r.settle(e.ID, nil, err)
		return errors.Join(err, r.dropRequest(context.WithoutCancel(ctx), rec.ID))
	}
	r.wakeQueue() // the turn may have ended just now
	return &waits{entry: e, until: until}
}

// saidBy is all that the user says in messages.
func saidBy(ms []agent.Message) string {
	var said []string
	for _, m := range ms {
		if text := headlineOf(m); m.Role == agent.RoleUser && text != "" {
			said = append(said, text)
		}
	}
	return strings.Join(said, "\n\n")
}

// dropRequest removes the request of an entry that is gone.
func (r *Room) dropRequest(ctx context.Context, turnID string) error {
	return store.DeleteRange(ctx, r.opt.Bulk, store.Prefix(bodyPrefix(turnID, bodyOfRequest)))
}

// requestOf reads the request that waits as an entry; nil if it is gone.
func (r *Room) requestOf(ctx context.Context, e *queued) (*antonv1.CreateResponseRequest, error) {
	b, err := r.readBody(ctx, e.turnID(), bodyOfRequest)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	q := &antonv1.CreateResponseRequest{}
	if err := proto.Unmarshal(b, q); err != nil {
		return nil, fmt.Errorf("decode request %s: %w", e.ID, err)
	}
	return q, nil
}

// leaveQueue takes an entry out of the queue, for its turn, for the turn that it
// steers, or for good; false if it is not in it any more.
func leaveQueue(tx store.Tx, c *conversation, id string) (*queued, error) {
	e, err := queue.Lookup(tx, "id", key.Key(nil).Str(id))
	if err != nil || e == nil || e.ConvKey != c.Key {
		return nil, err
	}
	c.Queued = max(0, c.Queued-1)
	_, err = queue.Delete(tx, e.key())
	return e, err
}

// holdQueue keeps what waits from beginning by itself. What was to steer the
// turn that ended is a request like any other from here on.
func holdQueue(tx store.Tx, convKey, reason string) error {
	list, err := queueOf(tx, convKey)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Held != "" {
			continue
		}
		e.Held, e.Steer = reason, false
		if err := queue.Put(tx, e); err != nil {
			return err
		}
	}
	return nil
}

// releaseQueue ends the holds that are for a reason, or all with "".
func releaseQueue(tx store.Tx, convKey, reason string) error {
	list, err := queueOf(tx, convKey)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Held == "" || reason != "" && e.Held != reason {
			continue
		}
		e.Held, e.Problem = "", ""
		if err := queue.Put(tx, e); err != nil {
			return err
		}
	}
	return nil
}

// emptyQueue removes what waits in a conversation that is deleted, and tells
// those who wait for it.
func (r *Room) emptyQueue(ctx context.Context, convKey string) error {
	var gone []*queued
	err := r.opt.Main.Update(ctx, func(tx store.Tx) (err error) {
		if gone, err = queueOf(tx, convKey); err != nil {
			return err
		}
		for _, e := range gone {
			if _, err := queue.Delete(tx, e.key()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range gone {
		r.settle(e.ID, nil, errNoConversation)
		if err := r.dropRequest(ctx, e.turnID()); err != nil {
			return err
		}
	}
	return nil
}

// ListQueue implements antonv1.ConversationsServiceServer.
func (r *Room) ListQueue(ctx context.Context, q *antonv1.ListQueueRequest) (*antonv1.ListQueueResponse, error) {
	out := &antonv1.ListQueueResponse{ConversationId: q.Id}
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		out.Queue = nil
		c, err := conversationByID(rd, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		list, err := queueOf(rd, c.Key)
		for _, e := range list {
			out.Queue = append(out.Queue, &antonv1.QueuedRequest{QueueId: e.ID, ResponseId: e.responseID(), Mode: e.mode(),
				Text: e.Text, CreatedAt: isoTime(e.Created), Held: e.Held, Problem: e.Problem})
		}
		return err
	})
	return out, err
}

// TakeBackQueued implements antonv1.ConversationsServiceServer.
func (r *Room) TakeBackQueued(ctx context.Context, q *antonv1.TakeBackQueuedRequest) (*antonv1.TakeBackQueuedResponse, error) {
	noSuch := fault.Missing("NOT_QUEUED", "No request with id '%s' waits: it was taken back, or has begun.", q.QueueId)
	var e *queued
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		e, err = queue.Lookup(rd, "id", key.Key(nil).Str(q.QueueId))
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &antonv1.TakeBackQueuedResponse{ConversationId: q.Id, QueueId: q.QueueId, Removed: true}
	if e != nil { // its words are read before they are gone
		request, err := r.requestOf(ctx, e)
		if err != nil {
			return nil, err
		}
		if out.Text = e.Text; request != nil {
			if g, err := r.readItems(ctx, request.Input, "input"); err == nil {
				out.Text = saidBy(g.messages)
			}
		}
	}
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversationByID(tx, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		gone, err := leaveQueue(tx, c, q.QueueId)
		if err != nil {
			return err
		}
		if gone == nil {
			return noSuch
		}
		changed(tx, c.ID)
		return conversations.Put(tx, c)
	})
	if err != nil {
		return nil, err
	}
	r.settle(q.QueueId, nil, errTakenBack)
	return out, r.dropRequest(context.WithoutCancel(ctx), e.turnID())
}

// ResumeQueue implements antonv1.ConversationsServiceServer.
func (r *Room) ResumeQueue(ctx context.Context, q *antonv1.ResumeQueueRequest) (*antonv1.ListQueueResponse, error) {
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversationByID(tx, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		changed(tx, c.ID)
		return releaseQueue(tx, c.Key, "")
	})
	if err != nil {
		return nil, err
	}
	defer r.wakeQueue()
	return r.ListQueue(ctx, &antonv1.ListQueueRequest{Id: q.Id})
}
