// Package exports writes rooms as files: Markdown to read, JSON to keep and to
// take elsewhere, a zip of both with what belongs to them.
//
// Calls enter by ExportsService. A room is read in pages and written as it is
// read, so that memory does not grow with it and no reader of the store lives
// long; what is posted meanwhile may be in the file. Nothing is read but what
// the rooms joined here show of a session; settings and keys are not among it.
package exports

import (
	"context"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
)

// Sessions finds rooms.
type Sessions interface {
	// GetSession returns NotFound for one that does not exist; ids and handles are taken.
	GetSession(context.Context, *antv1.GetSessionRequest) (*antv1.Session, error)
}

// Messages pages through those of a room.
type Messages interface {
	ListMessages(context.Context, *antv1.ListMessagesRequest) (*antv1.ListMessagesResponse, error)
}

// List is something that a room has many of, other than messages.
type List struct {
	Name string // of the member in JSON, such as "tasks"
	// Title of the part in Markdown; empty: it is not in there.
	Title string
	// Each hands on all of them, in their order, until emit fails.
	Each func(ctx context.Context, room string, emit func(proto.Message) error) error
	// Line is one of them on one line, as plain text. Not needed without a title.
	Line func(proto.Message) string
}

// Upload is a file of a room.
type Upload struct {
	ID, Name string
	At       time.Time
	// Copy writes its content.
	Copy func(ctx context.Context, w io.Writer) error
}

// Options open the room.
type Options struct {
	Sessions Sessions
	Messages Messages
	Lists    []List
	// Uploads hands on those of a room; nil: there are none.
	Uploads func(ctx context.Context, room string, emit func(Upload) error) error

	ObsidianVault string // directory; empty: not configured
	OpenSlideDir  string
	Now           func() time.Time
	Version       string // of the program
	Log           *slog.Logger
}

// Room serves ExportsService. Safe for concurrent use.
type Room struct {
	antv1.UnimplementedExportsServiceServer
	opt Options
}

// Open makes the room. There is nothing to close.
func Open(o Options) *Room { return &Room{opt: o} }

// Register adds the room's service to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antv1.RegisterExportsServiceServer(s, r) }

// document opens a room to be written.
func (r *Room) document(ctx context.Context, ref string) (*document, error) {
	s, err := r.opt.Sessions.GetSession(ctx, &antv1.GetSessionRequest{Id: ref})
	if err != nil {
		return nil, err
	}
	return &document{Options: &r.opt, ctx: ctx, session: s, at: r.opt.Now().UTC()}, nil
}

// document is a room that is being written.
type document struct {
	*Options
	ctx      context.Context
	session  *antv1.Session
	at       time.Time
	messages float64 // written
}

// beginning is before every message.
const beginning = "1970-01-01"

// eachMessage hands on all messages, the oldest first.
func (d *document) eachMessage(emit func(*antv1.Message) error) error {
	since := beginning
	q := &antv1.ListMessagesRequest{SessionId: d.session.Id, Since: &since, Limit: proto.Int32(500)}
	for {
		page, err := d.Messages.ListMessages(d.ctx, q)
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if err := emit(m); err != nil {
				return err
			}
			d.messages++
		}
		if !page.HasMore {
			return nil
		}
		q = &antv1.ListMessagesRequest{SessionId: d.session.Id, Cursor: page.Newer, Limit: q.Limit}
	}
}

// lastMessages are the newest ones, the oldest first.
func (d *document) lastMessages(n int32) ([]*antv1.Message, error) {
	page, err := d.Messages.ListMessages(d.ctx, &antv1.ListMessagesRequest{SessionId: d.session.Id, Limit: &n})
	return page.GetMessages(), err
}

func badFormat(format string) error {
	return fault.BadField("value_error", "format is markdown, json or zip, not "+format, "format")
}
