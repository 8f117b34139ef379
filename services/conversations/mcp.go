package conversations

import (
	"context"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/mcp"
	"anthill/services/internal/store"
)

// checkMCP refuses patterns that make no sense.
func checkMCP(q *antonv1.McpRule) error {
	for _, f := range []struct {
		name     string
		patterns []string
	}{{"allow", q.GetAllow()}, {"deny", q.GetDeny()}} {
		if wrong := mcp.Check(f.patterns); wrong != "" {
			return fault.BadField("value_error", wrong, "mcp", f.name)
		}
	}
	return nil
}

// MCP is what a conversation says of the tools of servers, and its project.
func (r *Room) MCP(ctx context.Context, convID string) (projectID string, rule mcp.Rule, err error) {
	in := front{r}.of(ctx, convID)
	err = in.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, convID)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		projectID, rule = c.ProjectID, c.MCP
		return nil
	})
	return projectID, rule, err
}
