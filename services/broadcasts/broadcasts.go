// Package broadcasts is the room that tells what happens in all others: it
// serves EventsService over the feed.
//
// A guest of one room hears of that room only; access has seen to it that nothing
// else is asked for. What a caller may follow is also told by GetGrant, for a door
// that shares one stream among many callers. The room writes and keeps nothing.
package broadcasts

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/events"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// Limits of a request.
const (
	roomsMax = 1000
	idMax    = 128 // characters of a room's id
	limitMax = 1000
)

// Rooms are those that events are of.
type Rooms interface {
	// Resolve finds a room by its id or @handle. The id is empty if there is none.
	Resolve(r store.Reader, ref string) (id string, live bool, err error)
}

// Options for New.
type Options struct {
	DB    store.DB
	Feed  *feed.Feed // the caller closes it
	Rooms Rooms
}

// Room serves EventsService.
type Room struct {
	antv1.UnimplementedEventsServiceServer
	opt  Options
	feed *feed.Feed
}

// New makes the room.
func New(o Options) *Room { return &Room{opt: o, feed: o.Feed} }

// Register adds EventsService to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antv1.RegisterEventsServiceServer(s, r) }

// Subscribe implements antv1.EventsServiceServer.
func (r *Room) Subscribe(q *antv1.SubscribeRequest, s grpc.ServerStreamingServer[antv1.Event]) error {
	filter, err := r.filterOf(s.Context(), q.SessionIds, q.All, q.Sessions)
	if err != nil {
		return err
	}
	return r.feed.Follow(s.Context(), cursorOf(q.Since, q.Epoch), filter, func(list []*antv1.Event) error {
		for _, e := range list {
			if err := s.Send(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// ListEvents implements antv1.EventsServiceServer.
func (r *Room) ListEvents(ctx context.Context, q *antv1.ListEventsRequest) (*antv1.EventPage, error) {
	filter, err := r.filterOf(ctx, q.SessionIds, q.All, q.Sessions)
	if err != nil {
		return nil, err
	}
	if q.Limit < 0 || q.Limit > limitMax {
		return nil, fault.BadField("value_error", "limit must be from 1 to 1000", "limit")
	}
	since := cursorOf(q.Since, q.Epoch)
	if since == nil {
		at, err := r.feed.Head(ctx)
		if err != nil {
			return nil, err
		}
		return &antv1.EventPage{Seq: at.Seq, Epoch: at.Epoch, End: true}, nil
	}
	page, err := r.feed.Read(ctx, *since, filter, int(q.Limit))
	if err != nil {
		return nil, err
	}
	return &antv1.EventPage{Events: page.Events, Seq: page.At.Seq, Epoch: page.At.Epoch, End: page.End}, nil
}

// GetGrant implements antv1.EventsServiceServer.
func (r *Room) GetGrant(ctx context.Context, _ *antv1.GetGrantRequest) (*antv1.Grant, error) {
	at, err := r.feed.Head(ctx)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	return &antv1.Grant{All: !c.Scoped(), SessionId: c.Room, Revocable: c.ID != "", Seq: at.Seq, Epoch: at.Epoch}, nil
}

// Relay implements antv1.EventsServiceServer.
func (r *Room) Relay(_ *antv1.RelayRequest, s grpc.ServerStreamingServer[antv1.EventBatch]) error {
	return r.feed.Follow(s.Context(), nil, feed.Filter{All: true, Sessions: true}, func(list []*antv1.Event) error {
		batch := &antv1.EventBatch{Events: list}
		for _, e := range list {
			batch.Seq, batch.Epoch = max(batch.Seq, e.Seq), max(batch.Epoch, e.Epoch)
		}
		return s.Send(batch)
	})
}

// filterOf is what a request asks for.
func (r *Room) filterOf(ctx context.Context, ids []string, all, sessions bool) (feed.Filter, error) {
	if len(ids) > roomsMax {
		return feed.Filter{}, fault.BadField("value_error", "at most 1000 rooms", "session_ids")
	}
	f := feed.Filter{Guest: caller.From(ctx).Scoped(), All: all, Sessions: sessions, Rooms: make(map[string]bool, len(ids))}
	for _, id := range ids {
		if id == "" || len(id) > idMax {
			return feed.Filter{}, fault.BadField("value_error", "not the id of a room", "session_ids")
		}
		f.Rooms[id] = true
	}
	return f, r.resolve(ctx, f.Rooms)
}

// resolve adds the rooms whose handles are in a set.
func (r *Room) resolve(ctx context.Context, rooms map[string]bool) error {
	var handles []string
	for ref := range rooms {
		if strings.HasPrefix(ref, "@") {
			handles = append(handles, ref)
		}
	}
	if handles == nil {
		return nil
	}
	return r.opt.DB.View(ctx, func(rd store.Reader) error {
		for _, h := range handles {
			id, _, err := r.opt.Rooms.Resolve(rd, h)
			if err != nil {
				return err
			}
			rooms[id] = id != ""
		}
		return nil
	})
}

// cursorOf is nil for a request that names none.
func cursorOf(since *uint64, epoch uint32) *events.Cursor {
	if since == nil {
		return nil
	}
	return &events.Cursor{Seq: *since, Epoch: epoch}
}
