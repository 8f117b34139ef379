package conversations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/events"
	"anthill/services/internal/store"
)

const (
	// deltaGap is the least time between two text events: what arrives faster
	// is joined, so a fast model costs no more events than a slow one.
	deltaGap = 5 * time.Millisecond
	// progressGap spaces progress frames of the same kind.
	progressGap = 250 * time.Millisecond
	// contentMax bounds the text in one event, in bytes.
	contentMax = 65_536
)

// recorder writes a turn's events: it is the agent's Sink, and it keeps the
// grammar of the stream (what is opened is closed, in order).
type recorder struct {
	room *Room
	rec  *turnRecord
	log  *events.Live
	ctx  context.Context

	// Of a turn that is not stored: where its events go, instead of a log.
	send func(*antonv1.ResponseEvent) error
	next int32

	mu       sync.Mutex // the delta timer writes too
	fold     *fold
	buffered []byte // text or reasoning of the open item, not yet an event
	lastOut  time.Time
	timer    *time.Timer
	closed   bool  // nothing may be sent any more
	err      error // of the timer's write

	rows         uint64 // rows of history written
	said         int    // bytes of text that are in history
	lastProgress map[string]time.Time
}

func newRecorder(ctx context.Context, r *Room, t *turnRecord, log *events.Live) *recorder {
	return &recorder{room: r, rec: t, log: log, ctx: ctx, fold: newFold(t),
		lastProgress: map[string]time.Time{}}
}

// emit appends one event. Callers hold mu.
func (c *recorder) emit(ev *antonv1.ResponseEvent) error {
	if ev.AtMs == 0 {
		ev.AtMs = float64(c.room.now())
	}
	if c.send != nil {
		ev.SequenceNumber = c.next
		c.next++
		c.fold.apply(ev)
		return c.send(ev)
	}
	err := c.log.Append(c.ctx, func(seq uint64) []byte { return encodeEvent(ev, seq) })
	if err == nil {
		c.fold.apply(ev)
	}
	return err
}

// encodeEvent is the stored form of ev, which must not be rendered yet.
func encodeEvent(ev *antonv1.ResponseEvent, seq uint64) []byte {
	ev.SequenceNumber = int32(seq)
	b, err := proto.Marshal(ev)
	if err != nil { // only invalid UTF-8 can do this, and every text is checked on its way in
		b, err = proto.Marshal(&antonv1.ResponseEvent{SequenceNumber: ev.SequenceNumber, AtMs: ev.AtMs})
		if err != nil {
			panic(fmt.Sprintf("encode event: %v", err))
		}
	}
	return b
}

// begin writes the two events every stream starts with.
func (c *recorder) begin(o *antonv1.RequestOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.emit(createdEvent(c.rec, o)); err != nil {
		return err
	}
	return c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_InProgress{
		InProgress: &antonv1.ResponseInProgress{}}})
}

func createdEvent(t *turnRecord, o *antonv1.RequestOptions) *antonv1.ResponseEvent {
	return &antonv1.ResponseEvent{AtMs: float64(t.Created), Event: &antonv1.ResponseEvent_Created{
		Created: &antonv1.ResponseCreated{Model: t.Model, Options: o}}}
}

// Text implements agent.Sink.
func (c *recorder) Text(delta string) error { return c.stream(messageItem, delta) }

// Reasoning implements agent.Sink.
func (c *recorder) Reasoning(delta string) error { return c.stream(reasoningItem, delta) }

func (c *recorder) stream(kind itemKind, delta string) error {
	if delta == "" {
		return nil
	}
	delta = strings.ToValidUTF8(delta, "\uFFFD")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if open := c.open(); open == nil || open.kind != kind {
		if err := c.closeOpen(statusCompleted); err != nil {
			return err
		}
		if err := c.openItem(kind, "", ""); err != nil {
			return err
		}
	}
	c.buffered = append(c.buffered, delta...)
	if c.timer != nil {
		return nil
	}
	if wait := deltaGap - time.Since(c.lastOut); wait > 0 {
		c.timer = time.AfterFunc(wait, c.late)
		return nil
	}
	return c.writeDelta()
}

// late writes what a burst left behind.
func (c *recorder) late() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = nil
	if c.closed {
		return
	}
	if err := c.writeDelta(); err != nil && c.err == nil && !errors.Is(err, events.ErrSealed) {
		c.err = err
	}
}

// stopTimer is for the end: what is buffered is written by closeOpen.
func (c *recorder) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *recorder) writeDelta() error {
	if len(c.buffered) == 0 {
		return nil
	}
	rest := string(c.buffered)
	c.buffered = c.buffered[:0]
	i := int32(len(c.fold.items) - 1)
	for rest != "" {
		delta := clip(rest, contentMax)
		rest = rest[len(delta):]
		ev := &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_OutputTextDelta{
			OutputTextDelta: &antonv1.OutputTextDelta{OutputIndex: i, Delta: delta}}}
		if c.fold.items[i].kind == reasoningItem {
			ev = &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ReasoningDelta{
				ReasoningDelta: &antonv1.ReasoningDelta{OutputIndex: i, Delta: delta}}}
		}
		if err := c.emit(ev); err != nil {
			return err
		}
	}
	c.lastOut = time.Now()
	return nil
}

// open is the item that events go to now, or nil.
func (c *recorder) open() *foldItem {
	if n := len(c.fold.items); n > 0 && c.fold.items[n-1].open {
		return c.fold.items[n-1]
	}
	return nil
}

func (c *recorder) openItem(kind itemKind, name, callID string) error {
	i := int32(len(c.fold.items))
	item := &antonv1.OutputItem{Status: statusRunning}
	var part *antonv1.ResponseEvent
	switch kind {
	case messageItem:
		item.Item = &antonv1.OutputItem_Message{Message: &antonv1.MessageItem{}}
		part = &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ContentPartAdded{
			ContentPartAdded: &antonv1.ContentPartAdded{OutputIndex: i}}}
	case reasoningItem:
		item.Item = &antonv1.OutputItem_Reasoning{Reasoning: &antonv1.ReasoningItem{}}
		part = &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ReasoningPartAdded{
			ReasoningPartAdded: &antonv1.ReasoningPartAdded{OutputIndex: i}}}
	case toolItem:
		item.Item = &antonv1.OutputItem_Tool{Tool: &antonv1.ToolItem{Name: name, CallId: callID}}
	case codeItem:
		item.Item = &antonv1.OutputItem_Code{Code: &antonv1.CodeItem{Pad: name, CallId: callID}}
	case callItem:
		item.Item = &antonv1.OutputItem_FunctionCall{FunctionCall: &antonv1.FunctionCallItem{Name: name, CallId: callID}}
	}
	err := c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_OutputItemAdded{
		OutputItemAdded: &antonv1.OutputItemAdded{OutputIndex: i, Item: item}}})
	if err != nil || part == nil {
		return err
	}
	return c.emit(part)
}

// closeOpen ends the open item, if any. Callers hold mu.
func (c *recorder) closeOpen(status string) error {
	if err := c.writeDelta(); err != nil {
		return err
	}
	it := c.open()
	if it == nil {
		return nil
	}
	i := int32(len(c.fold.items) - 1)
	var closers []*antonv1.ResponseEvent
	switch it.kind {
	case messageItem:
		closers = append(closers,
			&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_OutputTextDone{
				OutputTextDone: &antonv1.OutputTextDone{OutputIndex: i}}},
			&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ContentPartDone{
				ContentPartDone: &antonv1.ContentPartDone{OutputIndex: i}}})
	case reasoningItem:
		closers = append(closers,
			&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ReasoningDone{
				ReasoningDone: &antonv1.ReasoningDone{OutputIndex: i}}},
			&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ReasoningPartDone{
				ReasoningPartDone: &antonv1.ReasoningPartDone{OutputIndex: i}}})
	case callItem:
		closers = append(closers, &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_FunctionArgumentsDone{
			FunctionArgumentsDone: &antonv1.FunctionArgumentsDone{OutputIndex: i}}})
	case codeItem:
		if it.output == "" && status == statusIncomplete {
			closers = append(closers, &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_CodeCompleted{
				CodeCompleted: &antonv1.CodeCompleted{OutputIndex: i, Logs: "interrupted"}}})
		}
	case toolItem:
		if status == statusIncomplete {
			closers = append(closers, &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_ToolFailed{
				ToolFailed: &antonv1.ToolFailed{OutputIndex: i, Error: "interrupted"}}})
		}
	}
	closers = append(closers, itemDone(i, status))
	for _, ev := range closers {
		if err := c.emit(ev); err != nil {
			return err
		}
	}
	return nil
}

func itemDone(i int32, status string) *antonv1.ResponseEvent {
	return &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_OutputItemDone{
		OutputItemDone: &antonv1.OutputItemDone{OutputIndex: i,
			Item: &antonv1.OutputItem{Status: status}}}}
}

// History implements agent.Sink.
func (c *recorder) History(m agent.Message) error {
	if err := c.writeRow(c.ctx, m); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Role == agent.RoleAssistant {
		c.said += len(m.Text)
	}
	return nil
}

// writeRow puts one more message into the history that models see.
func (c *recorder) writeRow(ctx context.Context, m agent.Message) error {
	if c.send != nil {
		return nil
	}
	n := c.rows + 1
	w, err := c.room.stage(ctx, c.rec, n, []agent.Message{m})
	if err != nil {
		return err
	}
	if err := c.room.opt.Main.Update(ctx, func(tx store.Tx) error { return putRow(tx, w) }); err != nil {
		return err
	}
	c.rows = n
	return nil
}

// unsaid is the text that was shown but is not in history: what a turn had
// said when it was stopped in the middle.
func (c *recorder) unsaid() string {
	var all strings.Builder
	for _, it := range c.fold.items {
		if it.kind == messageItem {
			all.WriteString(it.text.String())
		}
	}
	return all.String()[min(c.said, all.Len()):]
}
