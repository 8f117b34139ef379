package mcp

import (
	"context"
	"fmt"
	"html"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

const (
	hitsMax    = 50
	hitsUsual  = 20
	snippetMax = 600
)

type searchIn struct {
	Query string `json:"query" jsonschema:"words that must all be there; double quotes keep a phrase together; at most 1000 characters"`
	Room  string `json:"room,omitempty" jsonschema:"id, @handle or name of a room: messages of that room alone"`
	Limit int    `json:"limit,omitempty" jsonschema:"how many of each kind at most"`
}

type searchOut struct {
	Messages      []messageHit      `json:"messages" jsonschema:"of rooms, newest first"`
	Conversations []conversationHit `json:"conversations" jsonschema:"best first"`
	Partial       bool              `json:"partial,omitempty" jsonschema:"there may be more"`
}

type messageHit struct {
	Room    string `json:"room" jsonschema:"id of the room"`
	ID      string `json:"id"`
	Author  string `json:"author"`
	At      string `json:"at" jsonschema:"RFC 3339"`
	Snippet string `json:"snippet"`
}

type conversationHit struct {
	Conversation string `json:"conversation" jsonschema:"id, for read_conversation and ask"`
	Title        string `json:"title"`
	Project      string `json:"project,omitempty"`
	Updated      string `json:"updated,omitempty" jsonschema:"RFC 3339"`
	Snippet      string `json:"snippet"`
}

func addSearch(t *tools, s *sdk.Server, o offer) {
	description := "Finds messages of rooms, and conversations by title and by what was said in them; with room, messages of that room alone."
	if o.guest {
		description = "Finds messages of your room."
	}
	addTool(s, tool{name: "search", title: "Search", reads: true, description: description,
		schema: func(in *jsonschema.Schema) {
			filled(in, "query")
			between(in, "limit", 1, hitsMax, hitsUsual)
			if o.guest {
				in.Properties["room"].Description = "may be left out: your token is for one room"
			}
		}}, func(ctx context.Context, _ request, in searchIn) (searchOut, string, error) {
		return t.search(ctx, o, in)
	})
}

func (t *tools) search(ctx context.Context, o offer, in searchIn) (out searchOut, text string, err error) {
	out = searchOut{Messages: []messageHit{}, Conversations: []conversationHit{}}
	limit := int32(in.Limit)
	var found *antv1.SearchMessagesResponse
	if in.Room != "" || o.guest {
		var s *antv1.Session
		if s, err = t.find(ctx, in.Room); err != nil {
			return out, "", err
		}
		found, err = t.found.SearchRoom(ctx, &antv1.SearchRoomRequest{SessionId: s.Id, Q: in.Query, Limit: &limit})
	} else {
		found, err = t.found.SearchMessages(ctx, &antv1.SearchMessagesRequest{Q: in.Query, Limit: &limit})
	}
	if err != nil {
		return out, "", err
	}
	out.Partial = found.Partial
	for _, m := range found.Results {
		author := m.GetSenderId()
		if author == "" {
			author = m.Role
		}
		out.Messages = append(out.Messages, messageHit{m.SessionId, m.Id, author, isoTime(m.CreatedAt), plain(m.Snippet)})
	}
	if in.Room == "" && !o.guest {
		if err := t.searchConversations(ctx, in.Query, limit, &out); err != nil {
			return out, "", err
		}
	}
	n, m := fit(out.Messages), fit(out.Conversations)
	out.Partial = out.Partial || n < len(out.Messages) || m < len(out.Conversations)
	out.Messages, out.Conversations = out.Messages[:n], out.Conversations[:m]
	return out, tellHits(out), nil
}

func (t *tools) searchConversations(ctx context.Context, query string, limit int32, out *searchOut) error {
	list, err := t.said.Search(ctx, &antonv1.SearchRequest{Q: query, Limit: &limit, Kinds: []string{"task"}})
	if err != nil {
		return err
	}
	out.Partial = out.Partial || list.Partial
	for _, c := range list.Results {
		out.Conversations = append(out.Conversations, conversationHit{c.SessionId, clip(c.Title, 400), c.Project, c.UpdatedAt, plain(c.Snippet)})
	}
	return nil
}

// plain is a snippet without the HTML that it is made for.
func plain(snippet string) string {
	s := strings.NewReplacer("<mark>", "", "</mark>", "").Replace(snippet)
	return clip(html.UnescapeString(s), snippetMax)
}

func tellHits(out searchOut) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Messages: %d, conversations: %d", len(out.Messages), len(out.Conversations))
	for _, m := range out.Messages {
		fmt.Fprintf(&b, "\n[%s] %s in room %s (%s): %s", m.At, oneLine(m.Author, 200), m.Room, m.ID, oneLine(m.Snippet, snippetMax))
	}
	for _, c := range out.Conversations {
		fmt.Fprintf(&b, "\nconversation %s, %s: %s", c.Conversation, oneLine(c.Title, 400), oneLine(c.Snippet, snippetMax))
	}
	return b.String()
}
