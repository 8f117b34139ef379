package conversations

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	previewLen = 60
	titleLen   = 50
	titleMax   = 160
	inputMax   = 8 << 20   // bytes of text in one request
	promptMax  = 128 << 10 // bytes of instructions
	metaMax    = 16

	optionsKept = 64 << 10 // bytes of RequestOptions that a turn's record keeps
)

// idPattern is what a caller may choose as the id of a conversation.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._~-]{0,127}$`)

// asked is a request once it is known to be good.
type asked struct {
	*given
	convID       string // empty: mint one
	project      string
	model        string
	instructions string
	metadata     map[string]string
	maxTokens    *int32
	temperature  *float64
	topP         *float64
	muted        []muting
	hasMuted     bool
	options      *antonv1.RequestOptions
	after        *turnRecord // of previous_response_id; nil if there is none
	once         *onceKey    // nil: the request has none
	attachments  []string    // ids
	whenBusy     string      // reject, queue or steer; empty is reject
	entry        *queued     // of a request that has waited; nil for others
	id           string      // of the turn, without its prefix; empty: mint one
	unattended   bool        // nobody is there whom the agent could ask
	request      *antonv1.CreateResponseRequest
}

// check refuses what is wrong in the request itself, or in what it refers to.
func (r *Room) check(ctx context.Context, q *antonv1.CreateResponseRequest) (*asked, error) {
	a := &asked{convID: q.Conversation, project: q.Project, model: q.Model, metadata: q.Metadata,
		instructions: strings.TrimSpace(q.Instructions), maxTokens: q.MaxOutputTokens, temperature: q.Temperature,
		topP: q.TopP, hasMuted: q.HasDisabledConnections, options: q.Options, attachments: q.AttachmentIds,
		whenBusy: q.WhenBusy, request: q}
	if a.options == nil {
		a.options = &antonv1.RequestOptions{}
	}
	if strings.HasPrefix(a.convID, "tmp-") {
		a.convID = ""
	}
	if a.convID != "" && !idPattern.MatchString(a.convID) {
		return nil, fault.BadField("value_error",
			"An id has 1 to 128 letters, digits, '.', '_', '~' or '-'", "conversation")
	}
	if len(a.instructions) > promptMax {
		return nil, fault.BadField("too_long", fmt.Sprintf("Instructions have up to %d KiB", promptMax>>10), "instructions")
	}
	err := a.checkOptions()
	if err == nil {
		err = checkRequestOptions(a.options, a.convID)
	}
	if err != nil {
		return nil, err
	}
	for _, c := range q.DisabledConnections {
		a.muted = append(a.muted, muting{Engine: c.Engine, Name: c.Name})
	}
	if err := checkMuted(a.muted); err != nil {
		return nil, err
	}
	if a.given, err = r.readItems(ctx, q.Input, "input"); err != nil {
		return nil, err
	}
	if !a.asks {
		return nil, fault.New(fault.Invalid, "NO_USER_MESSAGE", "No user message in input")
	}
	if err := a.checkWhenBusy(); err != nil {
		return nil, err
	}
	if a.once, err = readOnceKey(q); err != nil {
		return nil, err
	}
	if id := a.options.PreviousResponseId; id != "" {
		if a.after, err = r.turnOf(ctx, id); err != nil {
			return nil, err
		}
		if a.after == nil {
			return nil, a.noPrevious()
		}
	}
	return a, r.checkOutputs(ctx, a)
}

// checkOutputs refuses the output of a call that no model has made.
func (r *Room) checkOutputs(ctx context.Context, a *asked) error {
	made, answered := a.calls()
	if !slices.ContainsFunc(answered, func(id string) bool { return !made[id] }) {
		return nil
	}
	convKey, upTo := "", uint64(math.MaxUint64)
	if a.after != nil {
		convKey, upTo = a.after.ConvKey, a.after.Ordinal
	} else if err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, a.convID)
		if c != nil {
			convKey = c.Key
		}
		return err
	}); err != nil {
		return err
	}
	past, err := r.messagesUpTo(ctx, convKey, upTo)
	if err != nil {
		return err
	}
	earlier, _ := (&given{messages: past}).calls()
	for _, id := range answered {
		if !made[id] && !earlier[id] {
			return fault.New(fault.Invalid, "NO_TOOL_CALL", "No tool call found for function call output with call_id %s.", id).
				With("param", "input")
		}
	}
	return nil
}

func (a *asked) checkOptions() error {
	if a.maxTokens != nil && *a.maxTokens < 1 {
		return fault.BadField("greater_than_equal", "Input should be greater than or equal to 1", "max_output_tokens")
	}
	if v := a.temperature; v != nil && (math.IsNaN(*v) || *v < 0 || *v > 2) {
		return fault.BadField("value_error", "Input should be between 0 and 2", "temperature")
	}
	if v := a.topP; v != nil && (math.IsNaN(*v) || *v < 0 || *v > 1) {
		return fault.BadField("value_error", "Input should be between 0 and 1", "top_p")
	}
	return checkMetadata(a.metadata)
}

func checkMetadata(m map[string]string) error {
	if len(m) > metaMax {
		return fault.BadField("too_long", "At most 16 pairs are kept", "metadata")
	}
	for k, v := range m {
		if len(k) > 64 || len(v) > 512 {
			return fault.BadField("too_long", "Keys have up to 64 characters, values up to 512", "metadata", k)
		}
	}
	return nil
}

func checkMuted(muted []muting) error {
	for i, m := range muted {
		switch {
		case m.Engine == "" || len(m.Engine) > 120:
			return fault.BadField("value_error", "An engine has 1 to 120 characters", "disabled_connections", fmt.Sprint(i), "engine")
		case m.Name == "" || len(m.Name) > 200:
			return fault.BadField("value_error", "A name has 1 to 200 characters", "disabled_connections", fmt.Sprint(i), "name")
		}
	}
	if len(muted) > 200 {
		return fault.BadField("too_long", "At most 200 connections can be muted", "disabled_connections")
	}
	return nil
}

// begin makes what was asked durable and starts its turn. A request that began
// one before is answered with *repeated, one that waits for another turn with
// *waits.
func (r *Room) begin(ctx context.Context, a *asked) (*turn, error) {
	m, err := r.opt.Model(ctx, a.model)
	if err != nil {
		return nil, err
	}
	t, turnCtx, err := r.reserve(a, m)
	if err != nil {
		return nil, err
	}
	var input row
	if err = r.attach(ctx, a, t.rec.ConvID); err == nil {
		input, err = r.stage(ctx, t.rec, 0, a.messages)
	}
	for err == nil {
		var busy string
		busy, err = r.commitBegin(ctx, a, t.rec, input)
		switch {
		case errors.Is(err, errTaken):
			t.rec.ConvID, err = r.mintConversation(), nil
			continue
		case errors.Is(err, errMovedOn):
			if t.rec.ConvID, err = r.fork(ctx, a.after, r); errors.Is(err, errNoConversation) {
				err = a.noPrevious()
			}
			continue
		case err == nil && busy != "", errors.Is(err, errQueueAhead):
			if err = r.takeOver(ctx, busy, t.rec.ConvID); isBusy(err) && a.mayWait() {
				if err = r.enqueue(ctx, a, t.rec); errors.Is(err, errIdle) {
					err = nil
				}
			}
			continue
		}
		break
	}
	if err != nil {
		r.unreserve(t)
		if a.after != nil && t.rec.ConvID != "" && t.rec.ConvID != a.after.ConvID { // the copy that nobody has seen
			err = errors.Join(err, r.dropCopy(context.WithoutCancel(ctx), t.rec.ConvID))
		}
		if input.Body { // a crash here leaves it to the sweep at the next start
			err = errors.Join(err, store.DeleteRange(context.WithoutCancel(ctx), r.opt.Bulk, store.Prefix(bodyPrefix(t.rec.ID, 0))))
		}
		return nil, err
	}
	r.mu.Lock()
	t.started = true
	r.mu.Unlock()
	go r.run(turnCtx, t, m)
	return t, nil
}

// reserve takes a place among the running turns. The turn is known as live
// before it is stored, so nobody can take it for one that a crash left.
func (r *Room) reserve(a *asked, m Model) (*turn, context.Context, error) {
	id := a.id
	if id == "" {
		id = r.opt.NewID("")
	}
	if a.entry != nil {
		id = strings.TrimPrefix(a.entry.ID, queuePrefix)
	}
	rec := &turnRecord{ID: turnPrefix + id, ResponseID: responsePrefix + id, Status: statusRunning,
		Model: m.Name, Instructions: a.instructions, Metadata: a.metadata, MaxTokens: a.maxTokens,
		Temperature: a.temperature, TopP: a.topP, Created: r.now(), ConvID: a.convID}
	if b, err := proto.Marshal(a.options); err == nil && len(b) <= optionsKept {
		rec.Options = b // what is larger a crash in the first 100 ms forgets; see writeCreated
	}
	switch {
	case a.after != nil:
		rec.ConvID = a.after.ConvID
	case a.convID == "" && stored(a.options):
		rec.ConvID = r.mintConversation()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closing:
		return nil, nil, fault.New(fault.Unavailable, "STOPPING", "The server is stopping: ask again in a moment.").RetryAfter(2 * time.Second)
	case len(r.live) >= r.opt.MaxTurns:
		return nil, nil, fault.New(fault.Exhausted, "OVERLOADED",
			"%d turns run already: try again when one has ended.", len(r.live)).RetryAfter(5 * time.Second)
	}
	t := &turn{rec: rec, asked: a, done: make(chan struct{}),
		log: events.NewLive(r.opt.Bulk, logPrefix(rec.ID), 0, firstReserve)}
	var ctx context.Context
	ctx, t.cancel = context.WithCancelCause(r.base)
	r.live[rec.ID] = t
	r.turns.Add(1)
	return t, ctx, nil
}

// minted runs f with ids for a new conversation until one is not taken.
func (r *Room) minted(f func(id string) error) (id string, err error) {
	for err = errTaken; errors.Is(err, errTaken); {
		id = r.mintConversation()
		err = f(id)
	}
	return id, err
}

// free says whether an id can be used for a new conversation.
func free(rd store.Reader, id string) error {
	c, err := conversations.Get(rd, key.Key(nil).Str(id))
	if err == nil && c != nil {
		err = errTaken
	}
	return err
}

// mintConversation makes an id in the form that clients make them (anton.md 2).
func (r *Room) mintConversation() string {
	id := r.opt.NewID("")
	return r.opt.Now().UTC().Format("20060102_150405_") + id[len(id)-6:]
}

func (r *Room) unreserve(t *turn) {
	t.cancel(nil)
	t.log.Abandon()
	close(t.done)
	r.mu.Lock()
	delete(r.live, t.rec.ID)
	r.mu.Unlock()
	r.turns.Done()
}

// commitBegin stores the turn and what was asked. If the conversation runs
// another turn it changes nothing and names that turn.
func (r *Room) commitBegin(ctx context.Context, a *asked, rec *turnRecord, input row) (busy string, err error) {
	newKey := r.opt.NewID("")
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		busy = ""
		if err := r.claim(tx, a.once, rec.ID); err != nil {
			return err
		}
		c, err := conversations.Get(tx, key.Key(nil).Str(rec.ConvID))
		if err != nil {
			return err
		}
		if err := a.inTurn(tx, c); err != nil {
			return err
		}
		switch {
		case a.after != nil && (c == nil || !c.Copied):
			if err := a.stillNewest(tx, c); err != nil {
				return err
			}
			if busy = c.Running; busy != "" {
				return nil
			}
		case a.after != nil:
			c.Copied = false // from here on it is seen
		case c != nil && c.Copied:
			return errTaken // a copy under way that the caller cannot mean
		case c == nil:
			if c, err = r.newConversation(tx, a, rec.ConvID, newKey); err != nil {
				return err
			}
		case a.convID == "":
			return errTaken // a minted id that exists
		case c.Running != "":
			busy = c.Running
			return nil
		}
		if err := a.leave(tx, c); err != nil {
			return err
		}
		rec.ConvKey, rec.Ordinal = c.Key, c.NextTurn
		c.NextTurn++
		c.Turns++
		c.Running = rec.ID
		c.Updated = rec.Created
		c.name(a.question)
		if a.hasMuted {
			c.Muted = a.muted
		}
		c.Activity = appendEvent(tx, &antonv1.ConversationEvent{Event: &antonv1.ConversationEvent_TurnStarted{
			TurnStarted: &antonv1.TurnStarted{ConversationId: c.ID, TurnId: rec.ID, ResponseId: rec.ResponseID}}})
		w := input
		w.ConvKey, w.Ordinal = c.Key, rec.Ordinal
		if err := putRow(tx, w); err != nil {
			return err
		}
		if err := turns.Put(tx, rec); err != nil {
			return err
		}
		return conversations.Put(tx, c)
	})
	return busy, err
}

var (
	errTaken   = errors.New("conversations: minted id exists")
	errMovedOn = errors.New("conversations: the conversation went on after the response")

	errQueueAhead = errors.New("conversations: other requests have waited for longer")
)

// inTurn says whether a request may begin in a conversation before those that
// wait there.
func (a *asked) inTurn(rd store.Reader, c *conversation) error {
	if c == nil || c.Copied || c.Queued == 0 && a.entry == nil {
		return nil
	}
	list, err := queueOf(rd, c.Key)
	switch {
	case err != nil:
		return err
	case a.entry != nil && c.Key != a.entry.ConvKey: // it goes on in a copy, see leave
		return nil
	case a.entry != nil && (len(list) == 0 || list[0].ID != a.entry.ID || list[0].Held != ""):
		return errTakenBack // or held, or another one is first now
	case a.entry == nil && len(list) > 0 && list[0].Held == "" && c.Running == "":
		return errQueueAhead
	}
	return nil
}

// leave takes the request of a turn that begins out of the queue. A turn that
// did not wait may be the answer that those which wait were held for.
func (a *asked) leave(tx store.Tx, c *conversation) error {
	if a.entry == nil {
		if c.Queued == 0 {
			return nil
		}
		return releaseQueue(tx, c.Key, heldAnswer)
	}
	from := c
	if c.Key != a.entry.ConvKey { // a copy
		var err error
		if from, err = conversationByID(tx, a.entry.ConvID); err != nil {
			return err
		}
		if from == nil || from.Key != a.entry.ConvKey {
			return errTakenBack
		}
	}
	e, err := leaveQueue(tx, from, a.entry.ID)
	if err != nil {
		return err
	}
	if e == nil || e.Held != "" {
		return errTakenBack
	}
	if from != c {
		return conversations.Put(tx, from)
	}
	return nil
}

// mayWait says whether a request rather waits than be refused.
func (a *asked) mayWait() bool {
	return a.entry == nil && (a.whenBusy == whenQueue || a.whenBusy == whenSteer)
}

func isBusy(err error) bool {
	f := new(fault.Error)
	return errors.As(err, &f) && f.Reason == "CONVERSATION_BUSY"
}

func (a *asked) noPrevious() error {
	return fault.New(fault.Invalid, "PREVIOUS_RESPONSE_NOT_FOUND", "Previous response with id '%s' not found.",
		a.options.PreviousResponseId).With("param", "previous_response_id")
}

// stillNewest says whether a conversation can go on right behind the response
// that was named; if not, a copy of it can.
func (a *asked) stillNewest(rd store.Reader, c *conversation) error {
	if c == nil || c.Key != a.after.ConvKey {
		return a.noPrevious()
	}
	named, err := turns.Get(rd, turnKey(c.Key, a.after.Ordinal))
	if err != nil {
		return err
	}
	if named == nil {
		return a.noPrevious()
	}
	for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: convPrefix(c), Reverse: true, Limit: 1}) {
		if err != nil {
			return err
		}
		if t.Ordinal != a.after.Ordinal {
			return errMovedOn
		}
	}
	return nil
}

func (r *Room) newConversation(tx store.Tx, a *asked, id, newKey string) (*conversation, error) {
	p, err := r.opt.Projects.ByName(tx, a.project)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, noProject(a.project)
	}
	return &conversation{ID: id, Key: newKey, ProjectID: p.ID, Created: r.now()}, nil
}

// takeOver deals with a turn that holds the conversation: one that runs makes
// the caller wait; one that no longer does is sealed.
func (r *Room) takeOver(ctx context.Context, turnID, convID string) error {
	if turnID == "" || r.liveTurn(turnID) != nil {
		return busy(convID)
	}
	var rec *turnRecord
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		rec, err = turns.Lookup(rd, "id", key.Key(nil).Str(turnID))
		return err
	})
	if err != nil {
		return err
	}
	if rec == nil || rec.Status != statusRunning { // it ended just now
		return nil
	}
	return r.sealOrphan(ctx, rec)
}

// busy says where to attach to the turn that runs.
func busy(convID string) error {
	tail := "/v1/responses/tail?conversation_id=" + url.QueryEscape(convID) + "&from_seq=0"
	return fault.New(fault.Precondition, "CONVERSATION_BUSY",
		"A turn is running in this conversation. Attach to it with GET %s, or stop it with POST /v1/responses/cancel.", tail).
		With("attach", tail).RetryAfter(time.Second)
}

func (r *Room) liveTurn(id string) *turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[id]
}

// headline is the beginning of a text on one line.
func headline(text string, n int, more string) string {
	s := strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + more
}
