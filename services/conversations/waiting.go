package conversations

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// queueHeader tells a caller of CreateResponse that its request waits.
const queueHeader = "queue-id"

var (
	errTakenBack = fault.New(fault.Conflict, "TAKEN_BACK", "The request was taken back before it began.")
	errHeld      = fault.New(fault.Conflict, "QUEUE_HELD",
		"The turn before it was stopped: the request stays in the queue until it is taken back, or the queue is resumed.")
	errStopping = fault.New(fault.Unavailable, "STOPPING",
		"The server is stopping. The request stays in the queue and begins after the next start.").RetryAfter(2 * time.Second)
)

// waiting is a request whose caller wants to know what becomes of it.
type waiting struct {
	done chan struct{} // closed once rec or err is set
	rec  *turnRecord   // the turn that it became, or that took it in
	err  error
}

// awaited is the waiting for an entry, made if need be.
func (r *Room) awaited(id string) *waiting {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiting[id]
	if w == nil {
		w = &waiting{done: make(chan struct{})}
		r.waiting[id] = w
	}
	return w
}

// settle tells those who wait for an entry what became of it.
func (r *Room) settle(id string, rec *turnRecord, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.waiting[id]; w != nil {
		w.rec, w.err = rec, err
		close(w.done)
		delete(r.waiting, id)
	}
}

// settleAll is for the end: what waits goes on waiting without its callers.
func (r *Room) settleAll(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, w := range r.waiting {
		w.err = err
		close(w.done)
		delete(r.waiting, id)
	}
}

// settleHeld tells those who wait for what a stopped turn left behind.
func (r *Room) settleHeld(ctx context.Context, convKey string) {
	var list []*queued
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		list, err = queueOf(rd, convKey)
		return err
	})
	if err != nil { // they hear of it when the queue changes next, or hang up
		r.opt.Log.Warn("callers were not told that their requests are held", "error", err)
	}
	for _, e := range list {
		if e.Held == heldCancelled {
			r.settle(e.ID, nil, errHeld)
		}
	}
}

// awaitedAgain is the waiting for an entry that another call has made; nil if it
// has left the queue by now.
func (r *Room) awaitedAgain(ctx context.Context, e *queued) (*waiting, error) {
	w := r.awaited(e.ID) // first, so that nothing is missed
	now, err := r.queuedAs(ctx, e.responseID())
	switch {
	case err != nil:
		return nil, err
	case now == nil:
		r.settle(e.ID, nil, errTakenBack)
		return nil, nil
	case now.Held == heldCancelled || now.Held == heldRefused:
		return nil, errHeld
	}
	return w, nil
}

// await follows the turn that comes of an entry, once one does. Who hangs up
// leaves the entry where it is.
func (r *Room) await(e *queued, w *waiting, s grpc.ServerStreamingServer[antonv1.ResponseEvent], background bool) error {
	if err := s.SendHeader(metadata.Pairs(queueHeader, e.ID)); err != nil {
		return err
	}
	if background { // it is answered at once
		return s.Send(queuedEvent(e))
	}
	select {
	case <-w.done:
	case <-s.Context().Done():
		return s.Context().Err()
	}
	if w.err != nil {
		return w.err
	}
	return r.follow(s.Context(), w.rec, r.liveTurn(w.rec.ID), 0, s.Send)
}

// queuedEvent shows a response that waits for its turn.
func queuedEvent(e *queued) *antonv1.ResponseEvent {
	return &antonv1.ResponseEvent{AtMs: float64(e.Created), ConversationId: e.ConvID, ResponseId: e.responseID(),
		Event: &antonv1.ResponseEvent_Created{Created: &antonv1.ResponseCreated{Response: queuedResponse(e)}}}
}

func queuedResponse(e *queued) *antonv1.Response {
	return &antonv1.Response{Id: e.responseID(), ConversationId: e.ConvID, CreatedAt: float64(e.Created / 1000),
		Status: "queued", Options: &antonv1.RequestOptions{Background: true}}
}

// queuedAs finds the entry that is to become a response; nil if there is none.
func (r *Room) queuedAs(ctx context.Context, responseID string) (e *queued, err error) {
	if len(responseID) < len(responsePrefix) {
		return nil, nil
	}
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		e, err = queue.Lookup(rd, "id", key.Key(nil).Str(queuePrefix+responseID[len(responsePrefix):]))
		return err
	})
	return e, err
}

// turnOrQueued is the turn of a response, once it has begun.
func (r *Room) turnOrQueued(ctx context.Context, responseID string) (*turnRecord, error) {
	e, err := r.queuedAs(ctx, responseID) // first, since it becomes a turn
	if err != nil {
		return nil, err
	}
	if e == nil {
		return r.mustTurnOf(ctx, responseID)
	}
	until, err := r.awaitedAgain(ctx, e)
	if err != nil {
		return nil, err
	}
	if until == nil { // it has begun just now
		return r.mustTurnOf(ctx, responseID)
	}
	select {
	case <-until.done:
		return until.rec, until.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// withdraw takes a response back that has not begun; nil if there is none.
func (r *Room) withdraw(ctx context.Context, responseID string) (*queued, error) {
	e, err := r.queuedAs(ctx, responseID)
	if err != nil || e == nil {
		return nil, err
	}
	_, err = r.TakeBackQueued(ctx, &antonv1.TakeBackQueuedRequest{Id: e.ConvID, QueueId: e.ID})
	if f := new(fault.Error); errors.As(err, &f) && f.Kind == fault.NotFound { // it has begun just now
		return nil, nil
	}
	return e, err
}

func (r *Room) wakeQueue() {
	select {
	case r.queueWork <- struct{}{}:
	default:
	}
}

// queueLoop begins the turns of what waits, until the room closes. It is woken
// by the end of each turn and by whoever changes a queue.
func (r *Room) queueLoop() {
	defer r.workers.Done()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-r.base.Done():
			return
		case <-r.queueWork:
		case <-retry.C:
		}
		if err := r.startQueued(r.base); err != nil && r.base.Err() == nil {
			r.opt.Log.Warn("what waits could not begin, will be tried again", "error", err)
			retry.Reset(10 * time.Second)
		}
	}
}

// startQueued begins what can begin: in each conversation where no turn runs the
// first that waits.
func (r *Room) startQueued(ctx context.Context) error {
	var next []*queued
	var running []*conversation
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		next, running = nil, nil
		seen := map[string]bool{}
		for e, err := range queue.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if seen[e.ConvKey] {
				continue
			}
			seen[e.ConvKey] = true
			list, err := queueOf(rd, e.ConvKey)
			if err != nil {
				return err
			}
			c, err := conversationByID(rd, e.ConvID)
			switch {
			case err != nil:
				return err
			case c == nil || c.Key != e.ConvKey:
			case c.Running != "":
				running = append(running, c)
			case list[0].Held == "":
				next = append(next, list[0])
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range running { // a turn whose end could not be stored holds it back
		if r.liveTurn(c.Running) != nil {
			continue
		}
		err := r.takeOver(ctx, c.Running, c.ID)
		if f := new(fault.Error); err != nil && !errors.As(err, &f) {
			return err
		}
		r.wakeQueue()
	}
	for _, e := range next {
		if err := r.startOne(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// startOne begins the turn of an entry. What stands in the way for good holds it
// and is told to whoever waits.
func (r *Room) startOne(ctx context.Context, e *queued) error {
	t, err := r.beginQueued(ctx, e)
	f := new(fault.Error)
	switch {
	case err == nil:
		r.settle(e.ID, t.rec, nil)
		return r.dropRequest(ctx, t.rec.ID)
	case errors.Is(err, errTakenBack):
		return nil
	case !errors.As(err, &f):
		return err
	case f.Reason == "CONVERSATION_BUSY", f.Reason == "OVERLOADED", f.Reason == "STOPPING":
		return nil // the end of a turn wakes us again, or the next start does
	}
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		now, err := queue.Lookup(tx, "id", key.Key(nil).Str(e.ID))
		if err != nil || now == nil {
			return err
		}
		now.Held, now.Problem, now.Steer = heldRefused, f.Message, false
		changed(tx, now.ConvID)
		return queue.Put(tx, now)
	})
	if err == nil {
		r.settle(e.ID, nil, f)
		r.wakeQueue() // for what comes behind it
	}
	return err
}

// beginQueued begins the turn of an entry, as its request asked for.
func (r *Room) beginQueued(ctx context.Context, e *queued) (*turn, error) {
	a, err := r.askedBy(ctx, e)
	if err != nil {
		return nil, err
	}
	return r.begin(ctx, a)
}

// askedBy is the request of an entry, checked again: what it refers to may be gone.
func (r *Room) askedBy(ctx context.Context, e *queued) (*asked, error) {
	q, err := r.requestOf(ctx, e)
	if err != nil {
		return nil, err
	}
	if q == nil {
		return nil, errTakenBack
	}
	a, err := r.check(ctx, q)
	if err != nil {
		return nil, err
	}
	if a.after == nil {
		a.convID = e.ConvID
	}
	a.entry, a.once, a.unattended = e, nil, e.Unattended
	return a, nil
}
