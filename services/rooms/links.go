package rooms

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

const (
	linksMax        = 200 // of a room, in either direction
	linkTitleMax    = 200 // characters
	linkSettingsMax = 2 << 10
	spawnedNameMax  = 190 // characters: a number may follow
	discussion      = "Discussion: "
)

// relationships that a link can be (ant.md 1.4), the default first.
var relationships = []string{"discussion_of", "promoted_summary_for", "spawned_from", "follows_up"}

// link leads from one room to another.
type link struct {
	ID           string `json:"id"`
	Source       string `json:"source"`
	Target       string `json:"target"`
	Relationship string `json:"relationship"`
	Title        string `json:"title,omitempty"`
	By           string `json:"by,omitempty"`
	Settings     string `json:"settings"` // a JSON object
	At           int64  `json:"at"`       // ns
}

// links are unique by the store: of two who make the same one, one does.
var links = store.NewTable(store.TableOptions[link]{
	Name: "ant_link",
	Key:  func(l *link) key.Key { return key.Key(nil).Str(l.ID) },
	Indexes: []store.Index[link]{
		{Name: "pair", Unique: true, Keys: func(l *link) []key.Key {
			return []key.Key{key.Key(nil).Str(l.Source).Str(l.Target).Str(l.Relationship)}
		}},
		{Name: "source", Keys: func(l *link) []key.Key { return []key.Key{key.Key(nil).Str(l.Source).Int(l.At)} }},
		{Name: "target", Keys: func(l *link) []key.Key { return []key.Key{key.Key(nil).Str(l.Target).Int(l.At)} }},
	},
})

// linksOf are the links of a room, by the index source or target, in the order in
// which they were made.
func linksOf(rd store.Reader, index, room string, limit int) ([]*link, error) {
	return collect(links.ScanIndex(rd, index, store.ScanOptions{Prefix: key.Key(nil).Str(room), Limit: limit}))
}

// ListLinks implements antv1.LinksServiceServer.
func (r *Room) ListLinks(ctx context.Context, q *antv1.ListLinksRequest) (*antv1.ListLinksResponse, error) {
	var out *antv1.ListLinksResponse
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		out = &antv1.ListLinksResponse{}
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		from, err := linksOf(rd, "source", room.ID, linksMax)
		if err != nil {
			return err
		}
		for _, l := range from {
			s, err := r.opt.Sessions.Find(rd, l.Target)
			if err != nil {
				return err
			}
			if s != nil { // else the link is about to be removed
				out.Outgoing = append(out.Outgoing, &antv1.OutgoingLink{Id: l.ID, SourceRoomId: l.Source, TargetRoomId: l.Target, Relationship: l.Relationship,
					Title: wire.OrNull(l.Title), CreatedBy: wire.OrNull(l.By), CreatedAt: wire.Time(l.At), Settings: l.Settings, TargetName: s.Name, TargetType: s.Type})
			}
		}
		to, err := linksOf(rd, "target", room.ID, linksMax)
		if err != nil {
			return err
		}
		for _, l := range to {
			s, err := r.opt.Sessions.Find(rd, l.Source)
			if err != nil {
				return err
			}
			if s != nil {
				out.Incoming = append(out.Incoming, &antv1.IncomingLink{Id: l.ID, SourceRoomId: l.Source, TargetRoomId: l.Target, Relationship: l.Relationship,
					Title: wire.OrNull(l.Title), CreatedBy: wire.OrNull(l.By), CreatedAt: wire.Time(l.At), Settings: l.Settings, SourceName: s.Name, SourceType: s.Type})
			}
		}
		return nil
	})
	return out, err
}

// CreateLink implements antv1.LinksServiceServer.
func (r *Room) CreateLink(ctx context.Context, q *antv1.CreateLinkRequest) (*antv1.CreateLinkResponse, error) {
	wanted, err := readLink(q)
	if err != nil {
		return nil, err
	}
	wanted.ID = r.opt.NewID()
	if q.TargetRoomId == "" {
		return r.spawn(ctx, q, wanted)
	}
	var out *antv1.CreateLinkResponse
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		source, err := r.linkable(tx, q.SessionId, "Source")
		if err != nil {
			return err
		}
		target, err := r.linkable(tx, q.TargetRoomId, "Target")
		if err != nil {
			return err
		}
		if source.ID == target.ID {
			return fault.New(fault.Invalid, "SELF_LINK", "A room cannot be linked to itself")
		}
		l := *wanted
		l.Source, l.Target = source.ID, target.ID
		if err := r.addLink(tx, &l); err != nil {
			return err
		}
		out = l.created()
		return nil
	})
	return out, err
}

// readLink checks a request as far as it can be checked by itself.
func readLink(q *antv1.CreateLinkRequest) (*link, error) {
	l := &link{Relationship: orElse(q.Relationship, relationships[0]), Title: strings.TrimSpace(q.Title), By: q.CreatedBy}
	switch {
	case !slices.Contains(relationships, l.Relationship):
		return nil, fault.BadField("value_error", "relationship is "+strings.Join(relationships, ", "), "relationship")
	case utf8.RuneCountInString(l.Title) > linkTitleMax || strings.ContainsFunc(l.Title, unicode.IsControl):
		return nil, fault.BadField("value_error", "title has 200 characters at most, none of them a control character", "title")
	}
	if err := checkName("createdBy", l.By, nameMax); err != nil {
		return nil, err
	}
	var err error
	l.Settings, err = linkSettings(q.Settings, q.InheritContext == nil || *q.InheritContext)
	return l, err
}

// linkSettings are settings as text, with whether the context is inherited.
func linkSettings(v *structpb.Value, inherit bool) (string, error) {
	wrong := fault.BadField("value_error", "settings must be a JSON object, of 2 KiB at most", "settings")
	object := map[string]json.RawMessage{}
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
	case *structpb.Value_StructValue:
		b, err := json.Marshal(k.StructValue.AsMap())
		if err != nil || json.Unmarshal(b, &object) != nil {
			return "", wrong
		}
	case *structpb.Value_StringValue:
		if json.Unmarshal([]byte(k.StringValue), &object) != nil || object == nil {
			return "", wrong
		}
	default:
		return "", wrong
	}
	object["inheritContext"] = json.RawMessage("false")
	if inherit {
		object["inheritContext"] = json.RawMessage("true")
	}
	text, err := encodeMeta(object)
	if err == nil && len(text) > linkSettingsMax {
		err = wrong
	}
	return text, err
}

// linkable finds a chat that takes changes. side is what it is of the link.
func (r *Room) linkable(rd store.Reader, ref, side string) (*Session, error) {
	s, err := r.writable(rd, ref)
	switch {
	case errors.Is(err, wire.ErrNoSession):
		return nil, fault.Missing("SESSION_NOT_FOUND", "%s room not found", side)
	case err != nil:
		return nil, err
	case s.Type != typeChat:
		return nil, fault.New(fault.Invalid, "NOT_A_CHAT", "%s room is not a chat", side)
	}
	return s, nil
}

// addLink stores a link and tells its source of it: four writes and an event.
func (r *Room) addLink(tx store.Tx, l *link) error {
	l.At = r.opt.Now().UnixNano()
	for index, room := range map[string]string{"source": l.Source, "target": l.Target} {
		have, err := linksOf(tx, index, room, linksMax)
		if err != nil {
			return err
		}
		if len(have) == linksMax {
			return fault.New(fault.Precondition, "LINKS_FULL", "A room has %d links in one direction at most: remove one first.", linksMax)
		}
	}
	err := links.Put(tx, l)
	if errors.Is(err, store.ErrUnique) {
		return fault.New(fault.Conflict, "LINK_EXISTS", "Room link already exists").Because(err)
	}
	if err != nil {
		return err
	}
	return r.linkEvent(tx, l, &antv1.Event{Event: &antv1.Event_RoomLinkCreated{RoomLinkCreated: &antv1.RoomLinkCreated{
		LinkId: l.ID, TargetRoomId: l.Target, Relationship: l.Relationship, Title: wire.OrNull(l.Title)}}})
}

func (r *Room) linkEvent(tx store.Tx, l *link, e *antv1.Event) error {
	e.SessionId, e.AtMs = l.Source, float64(r.opt.Now().UnixMilli())
	return feed.Append(tx, e)
}

func (l *link) created() *antv1.CreateLinkResponse {
	return &antv1.CreateLinkResponse{Id: l.ID, SourceRoomId: l.Source, TargetRoomId: l.Target, Relationship: l.Relationship}
}

// DeleteLink implements antv1.LinksServiceServer.
func (r *Room) DeleteLink(ctx context.Context, q *antv1.DeleteLinkRequest) (*antv1.DeleteLinkResponse, error) {
	if q.LinkId == "" {
		return nil, fault.New(fault.Invalid, "LINK_ID_REQUIRED", "linkId required")
	}
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		l, err := links.Get(tx, key.Key(nil).Str(q.LinkId))
		if err != nil {
			return err
		}
		if l == nil || l.Source != room.ID {
			return fault.Missing("LINK_NOT_FOUND", "Room link not found")
		}
		return r.dropLink(tx, l)
	})
	if err != nil {
		return nil, err
	}
	return &antv1.DeleteLinkResponse{Ok: true}, nil
}

func (r *Room) dropLink(tx store.Tx, l *link) error {
	if _, err := links.Delete(tx, key.Key(nil).Str(l.ID)); err != nil {
		return err
	}
	return r.linkEvent(tx, l, &antv1.Event{Event: &antv1.Event_RoomLinkDeleted{RoomLinkDeleted: &antv1.RoomLinkDeleted{LinkId: l.ID}}})
}

// linksBatch links, with their index entries and events, fit into a transaction.
const linksBatch = 10

// deleteLinks removes all links of a room that is deleted for good. Rooms that
// were linked to it are told.
func (r *Room) deleteLinks(ctx context.Context, room string) error {
	for _, index := range []string{"source", "target"} {
		for n := linksBatch; n == linksBatch; {
			err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
				list, err := linksOf(tx, index, room, linksBatch)
				if err != nil {
					return err
				}
				n = len(list)
				for _, l := range list {
					if err := r.dropLink(tx, l); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
