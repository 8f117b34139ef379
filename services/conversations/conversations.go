package conversations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/mcp"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	listDefault = 200
	listMax     = 1000
)

func conversationByID(rd store.Reader, id string) (*conversation, error) {
	if id == "" {
		return nil, nil
	}
	c, err := conversations.Get(rd, key.Key(nil).Str(id))
	if c != nil && c.Copied {
		return nil, err
	}
	return c, err
}

func convPrefix(c *conversation) key.Key { return key.Key(nil).Str(c.Key) }

// appendEvent adds an event to the log of conversations and keeps it bounded.
func appendEvent(tx store.Tx, ev *antonv1.ConversationEvent) uint64 {
	b, err := proto.Marshal(ev)
	if err != nil {
		panic(fmt.Sprintf("encode conversation event: %v", err)) // ids are valid UTF-8 by then
	}
	seq := tx.Append(topic, b)
	tx.Trim(topic, topicKeep)
	return seq
}

func changed(tx store.Tx, id string) uint64 {
	return appendEvent(tx, &antonv1.ConversationEvent{Event: &antonv1.ConversationEvent_Changed{
		Changed: &antonv1.ConversationChanged{ConversationId: id}}})
}

// view shows a conversation; nil if it is not there for anyone, or its project
// is being deleted.
func (r *Room) view(rd store.Reader, c *conversation) (*antonv1.Conversation, error) {
	if c.Copied {
		return nil, nil
	}
	p, err := r.opt.Projects.ByID(rd, c.ProjectID)
	if err != nil || p == nil {
		return nil, err
	}
	v := &antonv1.Conversation{Id: c.ID, Title: c.Title, Turns: int32(c.Turns), Preview: c.Preview,
		CreatedAt: isoTime(c.Created), UpdatedAt: isoTime(c.Updated),
		Project: p.Name, ProjectPath: p.Path, Running: c.Running != "", Metadata: c.Metadata,
		Queued: int32(c.Queued), Ephemeral: r.opt.Ephemeral}
	if f := c.Forked; f != nil {
		v.ForkedFrom = &antonv1.ForkOrigin{ConversationId: f.ConvID, Turn: int32(f.Turn), TurnId: f.TurnID}
	}
	if len(c.MCP.Allow)+len(c.MCP.Deny) > 0 {
		v.Mcp = &antonv1.McpRule{Allow: c.MCP.Allow, Deny: c.MCP.Deny}
	}
	for _, m := range c.Muted {
		v.DisabledConnections = append(v.DisabledConnections, &antonv1.Connection{Engine: m.Engine, Name: m.Name})
	}
	return v, nil
}

// isoTime is how the reference prints times (anton.md 1.3), in the form of
// "2006-01-02T15:04:05.000000+00:00". Lists print hundreds, so it is not left
// to time.Format.
func isoTime(ms int64) string {
	t := time.UnixMilli(ms).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	out := []byte("0000-00-00T00:00:00.000000+00:00")
	for _, f := range [...]struct{ at, digits, value int }{{0, 4, year}, {5, 2, int(month)}, {8, 2, day},
		{11, 2, hour}, {14, 2, minute}, {17, 2, second}, {20, 3, int(ms % 1000)}} {
		for i, v := f.digits-1, f.value; i >= 0; i, v = i-1, v/10 {
			out[f.at+i] = byte('0' + v%10)
		}
	}
	return string(out)
}

// ListConversations implements antonv1.ConversationsServiceServer.
func (r *Room) ListConversations(ctx context.Context, q *antonv1.ListConversationsRequest) (*antonv1.ListConversationsResponse, error) {
	limit := listDefault
	if q.Limit != nil {
		limit = int(*q.Limit)
	}
	if limit < 1 || limit > listMax {
		return nil, fault.BadField("value_error", fmt.Sprintf("Input should be between 1 and %d", listMax), "limit")
	}
	out := &antonv1.ListConversationsResponse{}
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		out.Project, out.Conversations = q.Project, nil
		rows := conversations.ScanIndex(rd, "activity", store.ScanOptions{Reverse: true})
		if q.Project != "all" {
			p, err := r.opt.Projects.ByName(rd, q.Project)
			if err != nil || p == nil {
				return err
			}
			out.Project = p.Name
			rows = conversations.ScanIndex(rd, "project",
				store.ScanOptions{Prefix: key.Key(nil).Str(p.ID), Reverse: true})
		}
		for c, err := range rows {
			if err != nil {
				return err
			}
			if len(out.Conversations) == limit {
				return nil
			}
			v, err := r.view(rd, c)
			if err != nil {
				return err
			}
			if v != nil {
				out.Conversations = append(out.Conversations, v)
			}
		}
		return nil
	})
	return out, err
}

// GetConversation implements antonv1.ConversationsServiceServer.
func (r *Room) GetConversation(ctx context.Context, q *antonv1.GetConversationRequest) (*antonv1.Conversation, error) {
	var v *antonv1.Conversation
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		v, err = r.view(rd, c)
		return err
	})
	if err == nil && v == nil {
		err = errNoConversation
	}
	return v, err
}

// UpdateConversation implements antonv1.ConversationsServiceServer.
func (r *Room) UpdateConversation(ctx context.Context, q *antonv1.UpdateConversationRequest) (*antonv1.Conversation, error) {
	if q.Title == nil && q.Project == nil && q.DisabledConnections == nil && q.Mcp == nil {
		return nil, fault.New(fault.Invalid, "NOTHING_TO_UPDATE", "No valid fields to update")
	}
	muted, err := mutedFrom(q.DisabledConnections)
	if err == nil {
		err = checkMCP(q.Mcp)
	}
	if err != nil {
		return nil, err
	}
	var v *antonv1.Conversation
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversationByID(tx, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		if q.Title != nil {
			if title := strings.Join(strings.Fields(*q.Title), " "); title != "" {
				c.Title = headline(title, titleMax, "")
			}
		}
		if q.Project != nil {
			p, err := r.opt.Projects.ByName(tx, *q.Project)
			if err != nil {
				return err
			}
			if p == nil || *q.Project == "" {
				return noProject(*q.Project)
			}
			if err := r.moveTo(tx, c, p.ID); err != nil {
				return err
			}
		}
		if q.DisabledConnections != nil {
			c.Muted = muted
		}
		if q.Mcp != nil {
			c.MCP = mcp.Rule{Allow: q.Mcp.Allow, Deny: q.Mcp.Deny}
		}
		changed(tx, c.ID)
		if err := conversations.Put(tx, c); err != nil {
			return err
		}
		v, err = r.view(tx, c)
		return err
	})
	if err == nil && v == nil {
		err = errNoConversation
	}
	if err == nil && q.Project != nil {
		r.carryAlong(context.WithoutCancel(ctx), v.Id)
	}
	return v, err
}

// mutedFrom reads objects {engine, name}.
func mutedFrom(list *structpb.ListValue) ([]muting, error) {
	var out []muting
	for i, v := range list.GetValues() {
		s := v.GetStructValue()
		if s == nil {
			return nil, fault.BadField("model_attributes_type",
				"Input should be a valid object", "disabled_connections", fmt.Sprint(i))
		}
		out = append(out, muting{Engine: s.Fields["engine"].GetStringValue(), Name: s.Fields["name"].GetStringValue()})
	}
	return out, checkMuted(out)
}

// CreateConversation implements antonv1.ConversationsServiceServer.
func (r *Room) CreateConversation(ctx context.Context, q *antonv1.CreateConversationRequest) (*antonv1.Conversation, error) {
	if err := checkMetadata(q.Metadata); err != nil {
		return nil, err
	}
	parts, err := r.readGiven(ctx, q.Items)
	if err != nil {
		return nil, err
	}
	newKey := r.opt.NewID("")
	id, err := r.minted(func(id string) error {
		return r.opt.Main.Update(ctx, func(tx store.Tx) error {
			if err := free(tx, id); err != nil {
				return err
			}
			p, err := r.opt.Projects.ByName(tx, q.Project)
			if err != nil {
				return err
			}
			if p == nil {
				return noProject(q.Project)
			}
			c := &conversation{ID: id, Key: newKey, ProjectID: p.ID, Created: r.now(), Updated: r.now(), Metadata: q.Metadata}
			c.Activity = changed(tx, id)
			return conversations.Put(tx, c)
		})
	})
	if err != nil {
		return nil, err
	}
	if _, err := r.addGiven(ctx, id, parts); err != nil {
		_, gone := r.remove(context.WithoutCancel(ctx), id)
		return nil, errors.Join(err, gone)
	}
	return r.GetConversation(ctx, &antonv1.GetConversationRequest{Id: id})
}

// SetConversationMetadata implements antonv1.ConversationsServiceServer.
func (r *Room) SetConversationMetadata(ctx context.Context, q *antonv1.SetConversationMetadataRequest) (*antonv1.Conversation, error) {
	if err := checkMetadata(q.Metadata); err != nil {
		return nil, err
	}
	var v *antonv1.Conversation
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		c, err := conversationByID(tx, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		c.Metadata = q.Metadata
		changed(tx, c.ID)
		if err := conversations.Put(tx, c); err != nil {
			return err
		}
		v, err = r.view(tx, c)
		return err
	})
	if err == nil && v == nil {
		err = errNoConversation
	}
	return v, err
}
