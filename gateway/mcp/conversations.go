package mcp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	antonv1 "anthill/gen/anton/v1"
)

const (
	conversationsMax   = 100
	conversationsUsual = 30
	itemsMax           = 100
	itemsUsual         = 20
	toolTextMax        = 500 // bytes of the arguments of a tool, and of its output
)

type listConversationsIn struct {
	Project string `json:"project,omitempty" jsonschema:"name of a project; all for every project; the active one if left out"`
	Limit   int    `json:"limit,omitempty" jsonschema:"how many conversations at most"`
}

type listConversationsOut struct {
	Conversations []conversation `json:"conversations" jsonschema:"newest activity first"`
	Truncated     bool           `json:"truncated" jsonschema:"fewer than asked for, so that the answer stays small"`
}

type conversation struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Project string `json:"project"`
	Turns   int32  `json:"turns"`
	Preview string `json:"preview,omitempty"`
	Updated string `json:"updated" jsonschema:"RFC 3339"`
	Running bool   `json:"running" jsonschema:"a turn runs in it now"`
}

type readConversationIn struct {
	Conversation string `json:"conversation" jsonschema:"id of the conversation"`
	Limit        int    `json:"limit,omitempty" jsonschema:"how many items at most"`
	Before       string `json:"before,omitempty" jsonschema:"id of an item: the last ones before it; without it, the newest"`
}

type readConversationOut struct {
	Conversation string `json:"conversation"`
	Items        []item `json:"items" jsonschema:"oldest first"`
	More         bool   `json:"more" jsonschema:"there are earlier ones: go on with the id of the first item as before"`
	Truncated    bool   `json:"truncated" jsonschema:"fewer items than asked for, or shortened ones, so that the answer stays small"`
}

type item struct {
	ID   string `json:"id"`
	Who  string `json:"who" jsonschema:"user, assistant, system, developer, or tool: what a tool of the agent was given and answered"`
	Text string `json:"text"`
	Cut  bool   `json:"cut,omitempty" jsonschema:"the text is longer than what is shown"`
}

func addConversations(t *tools, s *sdk.Server, o offer) {
	if o.guest {
		return
	}
	addTool(s, tool{name: "list_conversations", title: "List conversations", reads: true,
		description: "Lists conversations with the agent of this server.",
		schema:      func(in *jsonschema.Schema) { between(in, "limit", 1, conversationsMax, conversationsUsual) }}, t.listConversations)
	addTool(s, tool{name: "read_conversation", title: "Read a conversation", reads: true,
		description: "Reads what was asked and answered in a conversation. The answer stays below 64 KiB; truncated and more say what is left.",
		schema: func(in *jsonschema.Schema) {
			filled(in, "conversation")
			between(in, "limit", 1, itemsMax, itemsUsual)
		}}, t.readConversation)
	addAsk(t, s)
}

func (t *tools) listConversations(ctx context.Context, _ request, in listConversationsIn) (out listConversationsOut, text string, err error) {
	limit := int32(in.Limit)
	list, err := t.conversations.ListConversations(ctx, &antonv1.ListConversationsRequest{Limit: &limit, Project: in.Project})
	if err != nil {
		return out, "", err
	}
	out.Conversations = []conversation{}
	for _, c := range list.Conversations {
		out.Conversations = append(out.Conversations, conversation{c.Id, clip(c.Title, 400), c.Project, c.Turns, clip(c.Preview, 400), c.UpdatedAt, c.Running})
	}
	n := fit(out.Conversations)
	out.Conversations, out.Truncated = out.Conversations[:n], n < len(out.Conversations)
	var b strings.Builder
	fmt.Fprintf(&b, "Conversations: %d", n)
	for _, c := range out.Conversations {
		fmt.Fprintf(&b, "\n%s  %s  %s, turns: %d", c.ID, c.Updated, oneLine(c.Title, 400), c.Turns)
	}
	return out, b.String(), nil
}

func (t *tools) readConversation(ctx context.Context, _ request, in readConversationIn) (out readConversationOut, text string, err error) {
	limit := int32(in.Limit)
	page, err := t.conversations.ListItems(ctx, &antonv1.ListItemsRequest{Id: in.Conversation, After: in.Before, Limit: &limit, Order: "desc"})
	if err != nil {
		return out, "", err
	}
	out = readConversationOut{Conversation: in.Conversation, Items: []item{}, More: page.HasMore}
	for _, it := range page.Data {
		row := item{ID: it.Id}
		row.Who, row.Text = tellItem(it)
		row.Text, row.Cut = cutText(row.Text)
		out.Items, out.Truncated = append(out.Items, row), out.Truncated || row.Cut
	}
	if n := fit(out.Items); n < len(out.Items) {
		out.Items, out.Truncated, out.More = out.Items[:n], true, true
	}
	slices.Reverse(out.Items)
	var b strings.Builder
	fmt.Fprintf(&b, "Items of %s: %d", oneLine(in.Conversation, 200), len(out.Items))
	for _, it := range out.Items {
		fmt.Fprintf(&b, "\n%s (%s):\n  %s", it.Who, it.ID, indent(it.Text))
	}
	return out, b.String(), nil
}

// tellItem is whose an item is, and what it says.
func tellItem(it *antonv1.Item) (who, text string) {
	if out := it.GetOutput(); out != nil {
		switch {
		case out.GetMessage() != nil:
			return "assistant", out.GetMessage().Text
		case out.GetReasoning() != nil:
			return "assistant", "(thinks) " + out.GetReasoning().Text
		case out.GetTool() != nil:
			v := out.GetTool()
			return "tool", tellCall(v.Name, v.Arguments, v.Output+v.Error)
		case out.GetCode() != nil:
			v := out.GetCode()
			return "tool", tellCall("scratchpad "+v.Pad, v.Code, v.Logs)
		case out.GetFunctionCall() != nil:
			v := out.GetFunctionCall()
			return "tool", tellCall(v.Name, v.Arguments, "")
		}
		return "assistant", ""
	}
	in := it.GetInput()
	switch {
	case in.GetFunctionCall() != nil:
		return "tool", tellCall(in.FunctionCall.Name, in.FunctionCall.Arguments, "")
	case in.GetFunctionCallOutput() != nil:
		return "tool", clip(in.FunctionCallOutput.Output, toolTextMax)
	case len(in.GetContent()) == 0:
		return in.GetRole(), in.GetText()
	}
	var parts []string
	for _, p := range in.Content {
		switch {
		case p.Image != nil:
			parts = append(parts, "(a picture)")
		case p.File != nil:
			parts = append(parts, "(the file "+p.File.Filename+")")
		default:
			parts = append(parts, p.Text)
		}
	}
	return in.Role, strings.Join(parts, "\n")
}

func tellCall(name, arguments, output string) string {
	text := name + "\n" + clip(arguments, toolTextMax)
	if output != "" {
		text += "\n→ " + clip(output, toolTextMax)
	}
	return text
}
