package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/ant"
	antv1 "anthill/gen/ant/v1"
)

type tailFlags struct {
	server string
	last   int32
	since  uint64
	json   bool
}

func newTail(v *viper.Viper) *cobra.Command {
	var f tailFlags
	c := &cobra.Command{
		Use:   "tail ROOM",
		Short: "Follow a room",
		Long: `Show the last messages of a room and then each new one, until Ctrl-C. ROOM is
an id, a @handle or a name. When the server goes away, this waits for it and
goes on where it was: no message is missed or shown twice.`,
		Example: `  anthill tail @planning
  anthill tail -n 0 --json planning | jq .content`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			if f.last < 0 || f.last > 1000 {
				return errors.New("--last must be a number from 0 to 1000")
			}
			conn, err := connect(cfg, f.server)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is left to lose
			t := &tail{conn: conn, json: f.json, out: c.OutOrStdout(), notes: c.ErrOrStderr(), names: map[string]string{}, shown: map[string]bool{}}
			if c.Flags().Changed("since") {
				t.since = &f.since
			}
			err = t.run(c.Context(), args[0], f.last)
			if c.Context().Err() != nil {
				return nil // Ctrl-C is how one leaves
			}
			return err
		},
	}
	c.Flags().StringVar(&f.server, "server", "", serverUsage)
	c.Flags().Int32VarP(&f.last, "last", "n", 20, "how many messages of the past to show first")
	c.Flags().Uint64Var(&f.since, "since", 0, "instead, every event after this `SEQ`")
	c.Flags().BoolVar(&f.json, "json", false, "print every event as one line of JSON, as on /ws")
	c.ValidArgsFunction = complete(v, &f.server, roomNames)
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions, "last": cobra.NoFileCompletions, "since": cobra.NoFileCompletions})
	return c
}

// roomNames are the rooms that there are, by handle if they have one.
func roomNames(ctx context.Context, c *client) (out []cobra.Completion, err error) {
	list, err := antv1.NewSessionsServiceClient(c).ListSessions(ctx, &antv1.ListSessionsRequest{})
	for _, s := range list.GetSessions() {
		if s.GetHandle() != "" {
			out = append(out, describedAs(s.GetHandle(), s.Name))
		} else {
			out = append(out, describedAs(s.Name, s.Type))
		}
	}
	return out, err
}

// findRoom is a room by id, @handle or name.
func findRoom(ctx context.Context, c *client, ref string) (*antv1.Session, error) {
	rooms := antv1.NewSessionsServiceClient(c)
	room, err := rooms.GetSession(c.with(ctx), &antv1.GetSessionRequest{Id: ref})
	if status.Code(err) != codes.NotFound {
		return room, c.explainNil(err)
	}
	list, err := rooms.ListSessions(c.with(ctx), &antv1.ListSessionsRequest{})
	if err != nil {
		return nil, c.explain(err)
	}
	for _, s := range list.Sessions {
		if strings.EqualFold(s.Name, ref) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("there is no room %q: give its id, its @handle or its name", ref)
}

// explainNil is explain for an error that may be nil.
func (c *client) explainNil(err error) error {
	if err == nil {
		return nil
	}
	return c.explain(err)
}

// tail shows one room.
type tail struct {
	conn       *client
	json       bool
	out, notes io.Writer
	since      *uint64 // where to begin, instead of with the past
	room       string
	seq        uint64 // of the last event seen, and its epoch
	epoch      uint32
	shown      map[string]bool   // messages of the past
	names      map[string]string // of senders
}

// run returns when the room or ctx ends, or when the server refuses.
func (t *tail) run(ctx context.Context, ref string, last int32) error {
	room, err := findRoom(ctx, t.conn, ref)
	if err != nil {
		return err
	}
	t.room = room.Id
	if t.since != nil {
		t.seq = *t.since
		return t.follow(ctx)
	}
	// The cursor first: what comes meanwhile is in the past shown, or behind the cursor, or both.
	grant, err := antv1.NewEventsServiceClient(t.conn).GetGrant(t.conn.with(ctx), &antv1.GetGrantRequest{})
	if err != nil {
		return t.conn.explain(err)
	}
	t.seq, t.epoch = grant.Seq, grant.Epoch
	if last > 0 {
		if err := t.past(ctx, last); err != nil {
			return err
		}
	}
	return t.follow(ctx)
}

// past shows the newest messages.
func (t *tail) past(ctx context.Context, last int32) error {
	page, err := antv1.NewMessagesServiceClient(t.conn).ListMessages(t.conn.with(ctx), &antv1.ListMessagesRequest{SessionId: t.room, Limit: &last})
	if err != nil {
		return t.conn.explain(err)
	}
	for _, m := range page.Messages {
		t.shown[m.Id] = true
		err := t.show(ctx, &antv1.Event{SessionId: t.room, Event: &antv1.Event_MessageCreated{MessageCreated: &antv1.MessageCreated{
			Id: m.Id, Role: m.Role, Content: m.Content, Format: m.Format, Status: m.Status, SenderId: m.SenderId, Target: m.Target,
			ReplyTo: m.ReplyTo, MsgType: m.MsgType, Meta: m.Meta, CreatedAt: m.CreatedAt}}})
		if err != nil {
			return err
		}
	}
	return nil
}

// Pauses between attempts to come back.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// follow shows what comes, over as many streams as it takes.
func (t *tail) follow(ctx context.Context) error {
	pause := firstPause
	for {
		heard, err := t.listen(ctx)
		switch code := status.Code(err); {
		case ctx.Err() != nil, err == nil:
			return ctx.Err()
		case code != codes.Unavailable && code != codes.Canceled && !errors.Is(err, io.EOF):
			return t.conn.explain(err)
		}
		if heard {
			pause = firstPause
			if _, err := fmt.Fprintln(t.notes, "the server is gone; waiting for it"); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(pause*2, lastPause)
		if c, ok := t.conn.ClientConnInterface.(interface{ ResetConnectBackoff() }); ok {
			c.ResetConnectBackoff() // the pauses are ours
		}
	}
}

// listen shows the events of one stream; heard says that it had any. A nil error
// is the end of the room.
func (t *tail) listen(ctx context.Context) (heard bool, err error) {
	stream, err := antv1.NewEventsServiceClient(t.conn).Subscribe(t.conn.with(ctx), &antv1.SubscribeRequest{
		SessionIds: []string{t.room}, Since: &t.seq, Epoch: t.epoch})
	if err != nil {
		return false, err
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			return heard, err
		}
		heard = true
		if e.Seq != 0 {
			t.seq, t.epoch = e.Seq, e.Epoch
		}
		if e.SessionId != t.room && e.GetResync() == nil || t.shown[e.GetMessageCreated().GetId()] {
			continue
		}
		if err := t.show(ctx, e); err != nil {
			return heard, status.Error(codes.Aborted, err.Error())
		}
		if e.GetSessionDeleted() != nil {
			_, err := fmt.Fprintln(t.notes, "the room was deleted")
			return heard, err
		}
	}
}

// show prints an event, or for people the message that it is.
func (t *tail) show(ctx context.Context, e *antv1.Event) error {
	if t.json {
		b := ant.Render(e)
		if b == nil {
			return nil
		}
		_, err := fmt.Fprintf(t.out, "%s\n", b)
		return err
	}
	if e.GetResync() != nil {
		_, err := fmt.Fprintln(t.notes, "older messages are no longer in the log of events: see the room's history")
		return err
	}
	m := e.GetMessageCreated()
	if m == nil {
		return nil
	}
	text := strings.ReplaceAll(strings.TrimRight(printable(m.Content), "\n"), "\n", "\n    ")
	_, err := fmt.Fprintf(t.out, "%s  %s: %s\n", localTime(m.CreatedAt), printable(t.sender(ctx, m)), text)
	return err
}

// localTime is a time of the API as clocks here show it.
func localTime(utc string) string {
	at, err := time.ParseInLocation(time.DateTime, utc, time.UTC)
	if err != nil {
		return utc
	}
	return at.Local().Format(time.DateTime)
}

// sender is who posted, by name if the room knows one.
func (t *tail) sender(ctx context.Context, m *antv1.MessageCreated) string {
	id := m.GetSenderId()
	if id == "" {
		return m.Role
	}
	if _, known := t.names[id]; !known && !strings.HasPrefix(id, "@") {
		t.names[id] = id
		t.learnNames(ctx)
	}
	if name := t.names[id]; name != "" {
		return name
	}
	return id
}

// learnNames asks who is in the room; without an answer ids are shown.
func (t *tail) learnNames(ctx context.Context) {
	list, err := antv1.NewParticipantsServiceClient(t.conn).ListParticipants(t.conn.with(ctx), &antv1.ListParticipantsRequest{RoomId: t.room})
	if err != nil {
		return
	}
	for _, p := range list.All {
		switch {
		case p.GetHandle() != "":
			t.names[p.Id] = p.GetHandle()
		case p.Name != "":
			t.names[p.Id] = p.Name
		}
	}
}
