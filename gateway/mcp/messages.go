package mcp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	antv1 "anthill/gen/ant/v1"
)

const (
	messagesMax   = 200
	messagesUsual = 50
	waitMax       = 60 // seconds
	waitUsual     = 30
)

type readMessagesIn struct {
	Room    string `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	Limit   int    `json:"limit,omitempty" jsonschema:"how many messages at most"`
	After   string `json:"after,omitempty" jsonschema:"id of a message: those that follow it, oldest first. Without after and before: the newest"`
	Before  string `json:"before,omitempty" jsonschema:"id of a message: the last ones before it"`
	Bounded bool   `json:"bounded,omitempty" jsonschema:"only what agents are to know: nothing from before the room's last break"`
}

type messagesOut struct {
	Room      string    `json:"room" jsonschema:"id of the room"`
	Messages  []message `json:"messages" jsonschema:"oldest first"`
	More      bool      `json:"more" jsonschema:"there are more in that direction: go on with the id of the last message as after, or of the first as before"`
	Truncated bool      `json:"truncated" jsonschema:"fewer messages than asked for, or shortened ones, so that the answer stays small"`
	TimedOut  bool      `json:"timed_out,omitempty" jsonschema:"nothing came in the time given: wait again with the same after"`
}

type message struct {
	ID      string `json:"id"`
	Author  string `json:"author"`
	Role    string `json:"role"`
	At      string `json:"at" jsonschema:"RFC 3339"`
	Text    string `json:"text"`
	Cut     bool   `json:"cut,omitempty" jsonschema:"the text is longer than what is shown"`
	ReplyTo string `json:"reply_to,omitempty"`
	Target  string `json:"target,omitempty"`
	Type    string `json:"type,omitempty"`
	Pinned  bool   `json:"pinned,omitempty"`
}

type postMessageIn struct {
	Room    string `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	Text    string `json:"text" jsonschema:"at most 1 MiB; @handle in it wakes an agent, @everyone wakes nobody in particular"`
	ReplyTo string `json:"reply_to,omitempty" jsonschema:"id of the message of this room that it answers"`
	Target  string `json:"target,omitempty" jsonschema:"@handle of the only one whom it is for"`
	Key     string `json:"key,omitempty" jsonschema:"the same text with the same key is posted once, within a day: give one to be able to try again"`
	As      string `json:"as,omitempty" jsonschema:"who you are, such as @claude; may be left out if your connection says it"`
}

type postMessageOut struct {
	ID       string     `json:"id"`
	Room     string     `json:"room" jsonschema:"id of the room"`
	Author   string     `json:"author"`
	At       string     `json:"at" jsonschema:"RFC 3339"`
	Replayed bool       `json:"replayed,omitempty" jsonschema:"it had been posted before, with the same key"`
	Woke     []delivery `json:"woke" jsonschema:"whom it wakes, and how far that is"`
}

type delivery struct {
	Who   string `json:"who"`
	State string `json:"state" jsonschema:"delivered, or why not yet: queued, retained, held, working, expired, failed"`
	Why   string `json:"why,omitempty"`
}

type waitIn struct {
	Room    string `json:"room,omitempty" jsonschema:"id, @handle or name of the room"`
	After   string `json:"after,omitempty" jsonschema:"id of the last message you saw; without it, what comes from now on"`
	Seconds int    `json:"seconds,omitempty" jsonschema:"how long to wait at most"`
}

func addMessages(t *tools, s *sdk.Server, o offer) {
	addTool(s, tool{name: "read_messages", title: "Read messages", reads: true,
		description: "Reads messages of a room, with author and time: the newest, those after a message, or those before one. The answer stays below 64 KiB; truncated and more say what is left.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			between(in, "limit", 1, messagesMax, messagesUsual)
		}}, t.readMessages)
	addTool(s, tool{name: "wait_for_messages", title: "Wait for messages", reads: true,
		description: "Waits until somebody has posted into a room after the message you name, and returns what they posted; after the time given it returns nothing, with timed_out.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			between(in, "seconds", 1, waitMax, waitUsual)
		}}, t.wait)
	if !o.write {
		return
	}
	addTool(s, tool{name: "post_message", title: "Post a message",
		description: "Posts a message into a room and returns its id, and whom it wakes.",
		schema: func(in *jsonschema.Schema) {
			roomOf(in, o)
			filled(in, "text")
		}}, func(ctx context.Context, _ request, in postMessageIn) (postMessageOut, string, error) {
		return t.post(ctx, o, in)
	})
}

func (t *tools) readMessages(ctx context.Context, _ request, in readMessagesIn) (out messagesOut, text string, err error) {
	if in.After != "" && in.Before != "" {
		return out, "", errors.New("give after or before, not both")
	}
	s, err := t.find(ctx, in.Room)
	if err != nil {
		return out, "", err
	}
	limit := int32(in.Limit)
	q := &antv1.ListMessagesRequest{SessionId: s.Id, Limit: &limit}
	if in.Bounded {
		q.AgentContext = "1"
	}
	switch {
	case in.After != "":
		q.Since = &in.After
	case in.Before != "":
		q.Before = &in.Before
	}
	page, err := t.messages.ListMessages(ctx, q)
	if err != nil {
		return out, "", err
	}
	// Beside the newest ones there are more if there are older ones.
	more := page.HasMore || in.After == "" && page.Older != ""
	out = t.page(ctx, s.Id, page.Messages, in.After != "", more)
	return out, tellMessages(s.Name, out), nil
}

// page are messages as an answer: from the first on if it goes forward, else up
// to the last.
func (t *tools) page(ctx context.Context, room string, list []*antv1.Message, forward, more bool) messagesOut {
	out := messagesOut{Room: room, Messages: []message{}, More: more}
	names := t.names(ctx, room, list)
	for _, m := range list {
		text, cut := cutText(m.Content)
		row := message{ID: m.Id, Author: m.Role, Role: m.Role, At: isoTime(m.CreatedAt), Text: text, Cut: cut,
			ReplyTo: m.GetReplyTo(), Target: m.GetTarget(), Pinned: m.Pinned != 0}
		if id := m.GetSenderId(); id != "" {
			row.Author = id
			if name := names[id]; name != "" {
				row.Author = name
			}
		}
		if m.MsgType != "message" {
			row.Type = m.MsgType
		}
		out.Messages, out.Truncated = append(out.Messages, row), out.Truncated || cut
	}
	if !forward {
		slices.Reverse(out.Messages)
	}
	if n := fit(out.Messages); n < len(out.Messages) {
		out.Messages, out.Truncated, out.More = out.Messages[:n], true, true
	}
	if !forward {
		slices.Reverse(out.Messages)
	}
	return out
}

// names are those of senders that are not handles already; without an answer ids
// are shown.
func (t *tools) names(ctx context.Context, room string, list []*antv1.Message) map[string]string {
	if !slices.ContainsFunc(list, func(m *antv1.Message) bool {
		return m.GetSenderId() != "" && !strings.HasPrefix(m.GetSenderId(), "@")
	}) {
		return nil
	}
	people, err := t.participants.ListParticipants(ctx, &antv1.ListParticipantsRequest{RoomId: room})
	if err != nil {
		return nil
	}
	names := map[string]string{}
	for _, p := range people.All {
		if names[p.Id] = p.GetHandle(); names[p.Id] == "" {
			names[p.Id] = p.Name
		}
	}
	return names
}

// tellMessages shows each message behind a line of its own, and its lines indented,
// so that none can pass for another's.
func tellMessages(name string, out messagesOut) string {
	if out.TimedOut {
		return "No new messages."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Messages of %s: %d", oneLine(name, 200), len(out.Messages))
	if out.More {
		b.WriteString("; there are more")
	}
	for _, m := range out.Messages {
		fmt.Fprintf(&b, "\n[%s] %s (%s):\n  %s", m.At, oneLine(m.Author, 200), m.ID, indent(m.Text))
		if m.Cut {
			b.WriteString(" (cut)")
		}
	}
	return b.String()
}

func (t *tools) post(ctx context.Context, o offer, in postMessageIn) (out postMessageOut, text string, err error) {
	as, err := whoami(ctx, o, in.As)
	if err != nil {
		return out, "", err
	}
	s, err := t.find(ctx, in.Room)
	if err != nil {
		return out, "", err
	}
	// Callers are programs: the brakes on agents that wake agents hold for them.
	m, err := t.messages.PostMessage(ctx, &antv1.PostMessageRequest{SessionId: s.Id, Role: "assistant", Content: &in.Text,
		SenderId: as, Target: in.Target, ReplyTo: in.ReplyTo, IdempotencyKey: in.Key})
	if err != nil {
		return out, "", err
	}
	out = postMessageOut{ID: m.Id, Room: m.SessionId, Author: m.GetSenderId(), At: isoTime(m.CreatedAt), Replayed: m.Replayed, Woke: []delivery{}}
	for _, d := range m.Deliveries {
		if d.Adapter == "ws-broadcast" {
			continue // the room gets every message, which goes without saying
		}
		who := d.GetHandle()
		if who == "" {
			who = d.TargetId
		}
		out.Woke = append(out.Woke, delivery{who, d.State, d.GetError()})
	}
	out.Woke = out.Woke[:fit(out.Woke)]
	text = fmt.Sprintf("Posted as %s: %s", oneLine(out.Author, 200), out.ID)
	for _, d := range out.Woke {
		text += fmt.Sprintf("\n%s: %s %s", oneLine(d.Who, 200), d.State, oneLine(d.Why, 400))
	}
	return out, text, nil
}

// wait follows the room first and reads then, so that nothing falls in between.
func (t *tools) wait(ctx context.Context, _ request, in waitIn) (out messagesOut, text string, err error) {
	s, err := t.find(ctx, in.Room)
	if err != nil {
		return out, "", err
	}
	defer keepAlive(ctx)()
	errTime := errors.New("time is up")
	// No deadline of the context: a server would keep it too, and end the stream first.
	watch, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer time.AfterFunc(time.Duration(in.Seconds)*time.Second, func() { cancel(errTime) }).Stop()
	stream, err := t.events.Subscribe(watch, &antv1.SubscribeRequest{SessionIds: []string{s.Id}})
	if err == nil {
		_, err = stream.Recv() // it is ready
	}
	if err != nil {
		return out, "", err
	}
	after := in.After
	if after == "" {
		if after, err = t.newest(ctx, s.Id); err != nil {
			return out, "", err
		}
	}
	limit := int32(messagesMax)
	for {
		q := &antv1.ListMessagesRequest{SessionId: s.Id, Limit: &limit}
		if after != "" {
			q.Since = &after
		}
		page, err := t.messages.ListMessages(ctx, q)
		if err != nil {
			return out, "", err
		}
		if len(page.Messages) > 0 {
			out = t.page(ctx, s.Id, page.Messages, true, page.HasMore)
			return out, tellMessages(s.Name, out), nil
		}
		switch err := next(stream, s.Id); {
		case errors.Is(context.Cause(watch), errTime):
			out = messagesOut{Room: s.Id, Messages: []message{}, TimedOut: true}
			return out, tellMessages(s.Name, out), nil
		case err != nil:
			return out, "", err
		}
	}
}

// newest is the id of a room's last message, or "".
func (t *tools) newest(ctx context.Context, room string) (string, error) {
	one := int32(1)
	page, err := t.messages.ListMessages(ctx, &antv1.ListMessagesRequest{SessionId: room, Limit: &one})
	if err != nil || len(page.Messages) == 0 {
		return "", err
	}
	return page.Messages[0].Id, nil
}

// next returns when a message may have come.
func next(stream interface{ Recv() (*antv1.Event, error) }, room string) error {
	for {
		e, err := stream.Recv()
		switch {
		case err != nil:
			return err
		case e.GetMessageCreated() != nil && e.SessionId == room, e.GetResync() != nil:
			return nil
		case e.GetSessionDeleted() != nil && e.SessionId == room:
			return errors.New("the room was deleted")
		}
	}
}
