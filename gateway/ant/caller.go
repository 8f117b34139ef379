package ant

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"anthill/gateway/ws"
	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

// Limits of one socket.
const (
	channelsMax = 1000 // rooms joined
	roomIDMax   = 128  // characters
	handleMax   = 128
	sizeMax     = 1000 // columns and rows of a terminal
	colsUsual   = 120  // of a terminal whose client says none
	rowsUsual   = 30
	pingEvery   = 10 * time.Second
	nowWithin   = 10 * time.Second // for the calls that a frame leads to
)

// caller is the client at the other end of a socket: what it joined, and who it
// says it is there. Frames are taken one after the other; what a join has missed
// is read beside them.
type caller struct {
	h      *Handler
	socket *ws.Socket
	ctx    context.Context // of calls in its name
	grant  *antv1.Grant
	id     string // of this connection, for presence
	all    uint64 // seq after which it hears what goes to everyone
	pinged time.Time

	last    context.Context // of what is typed: it goes on for a moment after the socket
	release context.CancelFunc

	printing sync.Mutex // one terminal prints at a time
	printed  []byte     // the buffer for it

	mu      sync.Mutex
	lines   map[string]*line   // to terminals
	joined  map[string]string  // channels joined: the handle there, or ""
	behind  map[string]*cursor // those of them that are not live yet
	reading chan struct{}      // closed when the reader of behind has ended; nil: none runs
}

// cursor is how far a channel has been read.
type cursor struct {
	seq   uint64
	epoch uint32
}

func newCaller(ctx context.Context, h *Handler, socket *ws.Socket, grant *antv1.Grant) *caller {
	c := &caller{h: h, socket: socket, ctx: ctx, grant: grant, id: rand.Text(), joined: map[string]string{}, behind: map[string]*cursor{}, lines: map[string]*line{}}
	c.last, c.release = lasting(ctx)
	return c
}

// greet sends the first frame. With its seq and epoch a client can resume even
// if nothing ever came.
func (c *caller) greet() {
	c.send(struct {
		Type  string `json:"type"`
		Build string `json:"buildId"`
		Seq   uint64 `json:"seq"`
		Epoch uint32 `json:"epoch"`
	}{"build_id", c.h.sockets.build, c.grant.Seq, c.grant.Epoch})
	if c.grant.All {
		c.all = c.h.sockets.relay.enter(c.socket)
	} else {
		c.h.sockets.relay.begin()
	}
}

// watch closes the socket when the caller may no longer call.
func (c *caller) watch() {
	stream, err := c.h.sockets.access.WatchCaller(c.ctx, &antonv1.WatchCallerRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	if c.ctx.Err() != nil {
		return // the socket has ended
	}
	reason := endOf(err)
	c.send(struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}{"closed", reason})
	c.socket.Close(ws.PolicyBroken, reason)
}

// close leaves everything. The socket has ended.
func (c *caller) close() {
	c.mu.Lock()
	joined, reading := maps.Clone(c.joined), c.reading
	clear(c.behind) // nothing is joined any more
	c.mu.Unlock()
	c.h.sockets.relay.leave(c.socket, append(slices.Collect(maps.Keys(joined)), everyone)...)
	for room, handle := range joined {
		c.present(room, handle, true)
	}
	if reading != nil {
		<-reading
	}
	c.hangUp()
}

func (c *caller) send(v any) { c.socket.Send(ws.Text(encode(v)), 0) }

// frame is what a client sends. compat: what is no such object, or of an unknown
// type, is ignored (ant.md 2).
type frame struct {
	Type      string          `json:"type"`
	SessionID string          `json:"sessionId"`
	Handle    string          `json:"handle"`
	Since     *uint64         `json:"since"`
	Epoch     uint32          `json:"epoch"`
	SpawnPTY  bool            `json:"spawnPty"`
	Cols      json.RawMessage `json:"cols"`
	Rows      json.RawMessage `json:"rows"`
	Cwd       string          `json:"cwd"`
	Data      string          `json:"data"`
	Offset    *uint64         `json:"offset"` // better: of output, to come back with
}

// take handles one frame.
func (c *caller) take(message []byte) {
	var f frame
	if json.Unmarshal(message, &f) != nil {
		return
	}
	if !c.grant.All && f.SessionID != "" && f.SessionID != c.grant.SessionId {
		c.foreign(f)
		return
	}
	switch f.Type {
	case "presence_ping":
		c.ping()
		return
	case "join_session", "leave_session", "check_health", "terminal_resize", "terminal_input":
		if !idLike(f.SessionID) {
			return
		}
	default:
		return
	}
	switch f.Type {
	case "join_session":
		c.join(f)
	case "leave_session":
		c.leave(f.SessionID)
	case "check_health":
		c.health(f.SessionID)
	case "terminal_resize", "terminal_input":
		c.terminal(f)
	}
}

// idLike says whether a text could be the id of a session.
func idLike(id string) bool {
	return id != "" && len(id) <= roomIDMax && strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) < 0
}

// liveness says how the terminal of a session is. compat: ant.md 2.2.
type liveness struct {
	Type        string `json:"type"`
	SessionID   string `json:"sessionId"`
	Alive       bool   `json:"alive"`
	Unavailable bool   `json:"unavailable,omitempty"`
}

// refused tells the client that a frame had no effect.
func (c *caller) refused(code string, f frame, message string) {
	c.send(struct {
		Type      string `json:"type"`
		Error     string `json:"error"`
		SessionID string `json:"sessionId"`
		Requested string `json:"requested"`
		Message   string `json:"message"`
	}{"error", code, f.SessionID, f.Type, message})
}

// foreign refuses a guest what is not of its room. compat: ant.md 2.1.
func (c *caller) foreign(f frame) {
	c.send(struct {
		Type      string `json:"type"`
		Error     string `json:"error"`
		Scope     string `json:"scope"`
		Requested string `json:"requested"`
		Message   string `json:"message"`
	}{"error", "token_room_mismatch", c.grant.SessionId, f.SessionID, "Token does not authorise this room"})
}

// sizeOf reads a size, and refuses one that no terminal has. better: ant.md 2.1.
func (c *caller) sizeOf(f frame) (cols, rows int32, ok bool) {
	size := [2]int32{colsUsual, rowsUsual}
	for i, raw := range []json.RawMessage{f.Cols, f.Rows} {
		if raw == nil {
			continue
		}
		n := int32(0)
		if json.Unmarshal(raw, &n) != nil || n < 1 || n > sizeMax {
			c.refused("invalid_size", f, "cols and rows must be whole numbers from 1 to 1000")
			return 0, 0, false
		}
		size[i] = n
	}
	return size[0], size[1], true
}

// join lets a client follow a room: from now on, or from a cursor on. A room
// that does not exist has no events.
func (c *caller) join(f frame) {
	handle := f.Handle
	if len(handle) > handleMax {
		c.refused("invalid_handle", f, "a handle has at most 128 characters")
		handle = ""
	}
	c.mu.Lock()
	old, again := c.joined[f.SessionID]
	full := !again && len(c.joined) >= channelsMax
	if !full && (handle != "" || !again) {
		c.joined[f.SessionID] = handle
	}
	c.mu.Unlock()
	if full {
		c.refused("too_many_rooms", f, "one socket follows at most 1000 rooms")
		return
	}
	defer c.terminal(f)
	if handle != "" {
		if old != "" && old != handle {
			c.present(f.SessionID, old, true)
		}
		c.present(f.SessionID, handle, false)
	}
	if again && f.Since == nil {
		return // it is live, or will be
	}
	c.mu.Lock() // so that who catches up does not join meanwhile
	c.h.sockets.relay.leave(c.socket, f.SessionID)
	delete(c.behind, f.SessionID)
	c.mu.Unlock()
	c.follow(f.SessionID, f.Since, f.Epoch)
}

// follow reads the first page behind a cursor at once, so that what happens after
// this frame is not missed; a room with more to read goes on beside the frames.
func (c *caller) follow(channel string, since *uint64, epoch uint32) {
	if !c.socket.Wait() {
		return
	}
	page, err := c.read([]string{channel}, since, epoch)
	if err != nil {
		c.broken()
		return
	}
	at := &cursor{page.Seq, page.Epoch}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range page.Events {
		if e.GetResync() != nil {
			e.SessionId = channel
		}
		c.pass(channel, e)
	}
	if page.End && c.h.sockets.relay.join(c.socket, channel, at.seq) {
		return
	}
	c.behind[channel] = at
	if c.reading == nil {
		c.reading = make(chan struct{})
		go c.catchUp(c.reading)
	}
}

// catchUp reads the log once for all channels that are behind, until each has
// met the relay. It ends when there are none, or with the socket.
func (c *caller) catchUp(done chan struct{}) {
	defer close(done)
	for c.socket.Wait() {
		c.mu.Lock()
		asked := maps.Clone(c.behind)
		if len(asked) == 0 {
			c.reading = nil
			c.mu.Unlock()
			return
		}
		var from *cursor
		for _, at := range asked {
			if from == nil || at.seq < from.seq {
				from = at
			}
		}
		since, epoch := from.seq, from.epoch
		c.mu.Unlock()
		page, err := c.read(slices.Collect(maps.Keys(asked)), &since, epoch)
		if err != nil {
			c.broken()
			return
		}
		if c.passPage(page, asked) {
			continue
		}
		// All is read and the relay is not that far: it is being started.
		select {
		case <-c.h.sockets.relay.running():
		case <-c.socket.Over():
		}
	}
}

// passPage sends a page to the channels it was asked for, and says whether there
// is more to do at once. Those that were left or joined anew meanwhile have
// another cursor, or none.
func (c *caller) passPage(page *antv1.EventPage, asked map[string]*cursor) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(asked, func(channel string, at *cursor) bool { return c.behind[channel] != at })
	for _, e := range page.Events {
		if e.GetResync() != nil { // the log was trimmed meanwhile
			c.resync(e, asked)
			continue
		}
		channel := channelOf(e)
		if channel == everyone {
			channel = sessionsChannel
		}
		if at := asked[channel]; at != nil && e.Seq > at.seq {
			c.pass(channel, e)
		}
	}
	for channel, at := range asked {
		at.seq, at.epoch = max(at.seq, page.Seq), page.Epoch
		if page.End && c.h.sockets.relay.join(c.socket, channel, at.seq) {
			delete(c.behind, channel)
		}
	}
	return !page.End || len(c.behind) == 0
}

// resync tells the channels that have lost events.
func (c *caller) resync(e *antv1.Event, asked map[string]*cursor) {
	for channel, at := range asked {
		if at.seq < e.Seq {
			c.pass(channel, &antv1.Event{Seq: e.Seq, Epoch: e.Epoch, SessionId: channel, Event: e.Event})
		}
	}
}

// pass sends an event of the past to who reads a channel, unless it is told to
// everyone and was live already.
func (c *caller) pass(channel string, e *antv1.Event) {
	switch to := channelOf(e); {
	case e.GetResync() != nil, to == channel:
	case channel == sessionsChannel && e.GetSessionsChanged() != nil && e.Seq <= c.all:
	default:
		return
	}
	if payload := Render(e); payload != nil {
		c.socket.Send(ws.Text(payload), e.Seq)
	}
}

// read returns a page of channels.
func (c *caller) read(channels []string, since *uint64, epoch uint32) (*antv1.EventPage, error) {
	q := &antv1.ListEventsRequest{Since: since, Epoch: epoch}
	for _, ch := range channels {
		if ch == sessionsChannel {
			q.Sessions = true
		} else {
			q.SessionIds = append(q.SessionIds, ch)
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, nowWithin)
	defer cancel()
	return c.h.sockets.events.ListEvents(ctx, q)
}

// broken ends a socket whose events cannot be read: it loses nothing by coming back.
func (c *caller) broken() {
	c.socket.Close(ws.TryAgainLater, "events could not be read: come back and resume")
}

func (c *caller) leave(channel string) {
	c.hideTerminal(channel)
	c.mu.Lock()
	handle := c.joined[channel]
	delete(c.joined, channel)
	delete(c.behind, channel)
	c.h.sockets.relay.leave(c.socket, channel)
	c.mu.Unlock()
	c.present(channel, handle, true)
}

// ping says that the person is still there, wherever the socket joined as one.
func (c *caller) ping() {
	if time.Since(c.pinged) < pingEvery {
		return
	}
	c.pinged = time.Now()
	c.mu.Lock()
	joined := maps.Clone(c.joined)
	c.mu.Unlock()
	for room, handle := range joined {
		c.present(room, handle, false)
	}
}

// present tells a room who is there. A room that does not exist has nobody.
func (c *caller) present(room, handle string, left bool) {
	if handle == "" || strings.HasPrefix(room, "__") {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), nowWithin)
	defer cancel()
	_, err := c.h.sockets.people.SetPresence(ctx, &antv1.SetPresenceRequest{SessionId: room, Handle: handle, Connection: c.id, Left: left})
	if err != nil {
		c.h.log.Debug("presence", "error", err)
	}
}
