package mcp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

const roomsMax = 200 // in one answer

type listRoomsIn struct {
	Matching string `json:"matching,omitempty" jsonschema:"only rooms whose name or handle has this in it, in whatever case"`
}

type listRoomsOut struct {
	Rooms     []room `json:"rooms"`
	Truncated bool   `json:"truncated" jsonschema:"there are more: narrow them down with matching"`
}

type room struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"type" jsonschema:"chat, terminal or agent"`
	Handle  string `json:"handle,omitempty"`
	Status  string `json:"status"`
	Changed string `json:"changed" jsonschema:"RFC 3339"`
}

func addRooms(t *tools, s *sdk.Server, o offer) {
	addTool(s, tool{name: "list_rooms", title: "List rooms", reads: true,
		description: fmt.Sprintf("Lists the rooms you may read: id, name, type and handle; %d at most. Other tools take a room by any of id, @handle and name.", roomsMax)},
		func(ctx context.Context, _ request, in listRoomsIn) (out listRoomsOut, text string, err error) {
			list, err := t.rooms(ctx, o)
			if err != nil {
				return out, "", err
			}
			out.Rooms = []room{}
			wanted := strings.ToLower(in.Matching)
			for _, s := range list {
				if strings.Contains(strings.ToLower(s.Name+" "+s.GetHandle()), wanted) {
					out.Rooms = append(out.Rooms, room{s.Id, s.Name, s.Type, s.GetHandle(), s.Status, isoTime(s.UpdatedAt)})
				}
			}
			n := fit(out.Rooms[:min(len(out.Rooms), roomsMax)])
			out.Rooms, out.Truncated = out.Rooms[:n], n < len(out.Rooms)
			var b strings.Builder
			fmt.Fprintf(&b, "Rooms: %d", n)
			for _, r := range out.Rooms {
				fmt.Fprintf(&b, "\n%s  %s  %s  %s", r.ID, r.Type, oneLine(r.Name, 200), r.Handle)
			}
			return out, b.String(), nil
		})
}

// rooms are those of the caller.
func (t *tools) rooms(ctx context.Context, o offer) ([]*antv1.Session, error) {
	if o.guest {
		s, err := t.find(ctx, "")
		return []*antv1.Session{s}, err
	}
	list, err := t.sessions.ListSessions(ctx, &antv1.ListSessionsRequest{})
	return list.GetSessions(), err
}

// find is a room by id, @handle or name; without any, the only one that a room
// token is for.
func (t *tools) find(ctx context.Context, ref string) (*antv1.Session, error) {
	if ref == "" {
		c, err := t.access.GetCaller(ctx, &antonv1.GetCallerRequest{})
		if err != nil {
			return nil, err
		}
		if ref = c.RoomId; ref == "" {
			return nil, errors.New("say which room: list_rooms shows them")
		}
	}
	s, err := t.sessions.GetSession(ctx, &antv1.GetSessionRequest{Id: ref})
	if status.Code(err) != codes.NotFound {
		return s, err
	}
	list, listErr := t.sessions.ListSessions(ctx, &antv1.ListSessionsRequest{})
	if listErr != nil {
		return nil, err
	}
	for _, s := range list.Sessions {
		if strings.EqualFold(s.Name, ref) {
			return s, nil
		}
	}
	return nil, err
}

// roomOf makes a schema's room one that must be given, except for guests.
func roomOf(s *jsonschema.Schema, o offer) {
	if o.guest {
		drop(s, "as")
		s.Properties["room"].Description = "may be left out: your token is for one room"
		return
	}
	filled(s, "room")
	s.Required = append(s.Required, "room")
}

// whoami is who does something: what the call says, or what the door was told.
// Guests are themselves, which is seen to elsewhere.
func whoami(ctx context.Context, o offer, as string) (string, error) {
	if as == "" {
		as = callOf(ctx).as
	}
	if as == "" && !o.guest {
		return "", errors.New("say who you are: pass as, such as @claude")
	}
	return as, nil
}
