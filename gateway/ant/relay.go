package ant

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	"anthill/gateway/ws"
	antv1 "anthill/gen/ant/v1"
)

// everyone is the channel of what goes to all sockets.
const everyone = ""

// relay shares one stream of all events among the sockets of this process. A
// socket joins a channel with the seq up to which it has seen it, and then gets
// each later event once. Every event is encoded once, if anybody wants it.
type relay struct {
	events antv1.EventsServiceClient
	secret string
	log    *slog.Logger
	start  sync.Once
	done   chan struct{} // closed when the stream has ended for good
	ctx    context.Context
	stop   context.CancelFunc

	mu       sync.Mutex
	up       chan struct{} // closed while the stream runs
	isUp     bool
	at       uint64 // events up to here have been handed on
	channels map[string]map[*ws.Socket]uint64
}

func newRelay(events antv1.EventsServiceClient, secret string, log *slog.Logger) *relay {
	ctx, stop := context.WithCancel(context.Background())
	return &relay{events: events, secret: secret, log: log, done: make(chan struct{}), ctx: ctx, stop: stop,
		up: make(chan struct{}), channels: map[string]map[*ws.Socket]uint64{}}
}

// close ends the stream and waits for it.
func (r *relay) close() {
	r.start.Do(func() { close(r.done) }) // it never ran
	r.stop()
	<-r.done
}

// begin starts the stream, when the first socket comes, and waits until it runs.
func (r *relay) begin() {
	r.start.Do(func() { go r.run() })
	select {
	case <-r.running():
	case <-r.done:
	case <-time.After(patience):
	}
}

// patience is how long a socket waits for the stream before it goes on without.
const patience = 5 * time.Second

// again is how long the relay waits after its stream broke.
const again = 500 * time.Millisecond

func (r *relay) run() {
	defer close(r.done)
	for {
		err := r.follow()
		r.down()
		if r.ctx.Err() != nil {
			return
		}
		r.log.Error("the relay of events broke", "error", err)
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(again):
		}
	}
}

// linger is how soon after a batch the next is handed on. When events come all
// the time they go out once in this time, many in one write for each socket;
// after a pause, at once.
const linger = time.Millisecond

// follow hands on events until the stream breaks.
func (r *relay) follow() error {
	stream, err := r.events.Relay(metadata.AppendToOutgoingContext(r.ctx, "x-anthill-relay", r.secret), &antv1.RelayRequest{})
	if err != nil {
		return err
	}
	last := time.Time{}
	for {
		batch, err := stream.Recv()
		if err != nil {
			return err
		}
		time.Sleep(linger - time.Since(last)) // not at all if that is over
		r.handOn(batch)
		last = time.Now()
	}
}

// down cuts all sockets when events may have been missed: they come back with
// their cursors.
func (r *relay) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isUp {
		return
	}
	r.isUp, r.up = false, make(chan struct{})
	if r.ctx.Err() != nil {
		return // the server stops, and tells them so
	}
	for s := range r.channels[everyone] {
		s.Close(ws.TryAgainLater, "events were interrupted: come back and resume")
	}
}

// handOn gives a batch to those who want it, in order: what goes to the same
// channel, and is kept or not, together.
func (r *relay) handOn(batch *antv1.EventBatch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := batch.Events
	for len(list) > 0 {
		channel, n := channelOf(list[0]), 1
		for n < len(list) && channelOf(list[n]) == channel && (list[n].Seq == 0) == (list[0].Seq == 0) {
			n++
		}
		if list[0].GetReady() != nil {
			r.ready(list[0].Seq)
		} else if members := r.channels[channel]; len(members) > 0 {
			send(members, list[:n])
		}
		list = list[n:]
	}
	r.at = max(r.at, batch.Seq)
}

// ready is called with mu held.
func (r *relay) ready(at uint64) {
	r.at = at
	if !r.isUp {
		r.isUp = true
		close(r.up)
	}
}

// channelOf is who gets an event.
func channelOf(e *antv1.Event) string {
	switch v := e.Event.(type) {
	case *antv1.Event_SessionsChanged:
		if v.SessionsChanged.Everyone {
			return everyone
		}
		return sessionsChannel
	case *antv1.Event_SessionActivity, *antv1.Event_AgentStatusUpdated, *antv1.Event_SessionNeedsInput, *antv1.Event_SessionInputResolved,
		*antv1.Event_PromptDetected, *antv1.Event_PromptBridgeResolved, *antv1.Event_SessionIdleAttention, *antv1.Event_SessionStallDetected,
		*antv1.Event_AttentionUpdated:
		return everyone
	}
	return e.SessionId
}

// send gives events of the log, or announcements, to the members of their
// channel: joined, but for those who have seen a part.
func send(members map[*ws.Socket]uint64, list []*antv1.Event) {
	frames, seqs := make([]ws.Frame, 0, len(list)), make([]uint64, 0, len(list))
	for _, e := range list {
		if payload := Render(e); payload != nil {
			frames, seqs = append(frames, ws.Text(payload)), append(seqs, e.Seq)
		}
	}
	if len(frames) == 0 {
		return
	}
	all, first, last := ws.Join(frames), seqs[0], seqs[len(seqs)-1]
	for s, after := range members {
		switch {
		case last == 0 && stays(list):
			s.Send(all, 0)
		case last == 0:
			s.Offer(all)
		case after < first:
			s.Send(all, last)
		default:
			for i, f := range frames {
				if seqs[i] > after {
					s.Send(f, seqs[i])
				}
			}
		}
	}
}

// stays says whether announcements are about what does not pass by itself.
func stays(list []*antv1.Event) bool {
	return slices.ContainsFunc(list, func(e *antv1.Event) bool { return e.GetSessionHealth() != nil })
}

// join adds a socket that has seen a channel up to a seq. It is refused while
// the relay is further than that: then there is more to read.
func (r *relay) join(s *ws.Socket, channel string, after uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isUp || r.at > after {
		return false
	}
	r.add(s, channel, after)
	return true
}

// enter adds a socket to what goes to everyone, from now on. It returns the seq
// after which it is told.
func (r *relay) enter(s *ws.Socket) uint64 {
	r.begin()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(s, everyone, r.at)
	return r.at
}

func (r *relay) add(s *ws.Socket, channel string, after uint64) {
	if r.channels[channel] == nil {
		r.channels[channel] = map[*ws.Socket]uint64{}
	}
	r.channels[channel][s] = after
}

func (r *relay) leave(s *ws.Socket, channels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range channels {
		delete(r.channels[c], s)
		if len(r.channels[c]) == 0 {
			delete(r.channels, c)
		}
	}
}

// running returns a channel that is closed while the relay is up.
func (r *relay) running() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}
