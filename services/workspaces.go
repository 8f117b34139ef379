package services

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"anthill/services/conversations"
	"anthill/services/internal/agent"
	"anthill/services/internal/agent/files"
	"anthill/services/internal/mcp"
	"anthill/services/internal/workspace"
	"anthill/services/memory"
	"anthill/services/projects"
	"anthill/services/scratchpads"
)

// instructionsMax bounds what a project's own instructions take of a prompt.
const instructionsMax = 64 << 10

// Open implements conversations.Projects: what an agent can reach in a turn.
func (p projectsFor) Open(ctx context.Context, o conversations.Opening) (conversations.Workspace, func(), error) {
	folder, err := p.room.Folder(ctx, o.ProjectID)
	if err != nil {
		return conversations.Workspace{}, nil, err
	}
	w := conversations.Workspace{Tools: append(files.Tools(folder), agent.Ask()), Instructions: p.instructions(folder, o.ProjectID)}
	w.Tools = append(w.Tools, p.web...)
	w.Tools = append(w.Tools, p.memory.Tools(memory.Turn{ProjectID: o.ProjectID, ConversationID: o.ConversationID, TurnID: o.TurnID})...)
	if known := p.remembered(ctx, o.ProjectID); known != "" {
		w.Instructions = strings.TrimSpace(w.Instructions + "\n\n" + known)
	}
	servers := p.elsewhere(ctx, folder, o, &w)
	if o.ConversationID == "" { // nothing of the turn is kept: nowhere to keep a pad or to credit an artifact to
		return w, func() { servers.Close(); p.closeFolder(folder, o.ProjectID) }, nil
	}
	w.Tools = append(w.Tools, p.pads.Tool(scratchpads.ToolOptions{ProjectID: o.ProjectID, ConversationID: o.ConversationID,
		Pictures: true})) // a model that cannot see is asked without
	w.Tools = append(w.Tools, p.room.ArtifactTools(folder)...)
	finish, err := p.room.TrackArtifacts(ctx, folder)
	if err != nil {
		p.log.Warn("artifacts cannot be looked at", "project", o.ProjectID, "error", err)
	}
	return w, func() {
		servers.Close()
		if finish != nil {
			turn := projects.ArtifactTurn{Conversation: o.ConversationID, Title: o.Title, Index: o.Turn, Summary: o.Question}
			// Also when the turn was stopped: what it made is there.
			if _, err := finish(context.WithoutCancel(ctx), turn); err != nil {
				p.log.Warn("artifacts were not credited to their turn", "project", o.ProjectID, "error", err)
			}
		}
		p.closeFolder(folder, o.ProjectID)
	}, nil
}

// elsewhere adds what the servers of the project's file offer.
func (p projectsFor) elsewhere(ctx context.Context, folder *workspace.Folder, o conversations.Opening, w *conversations.Workspace) *mcp.Lease {
	if o.Bare {
		return &mcp.Lease{}
	}
	lease := p.servers.Open(ctx, mcp.Project{ID: o.ProjectID, Folder: folder}, o.MCP)
	w.Tools, w.Secrets = append(w.Tools, lease.Tools...), lease.Secrets
	return lease
}

// instructions are the project's own. A turn can do without; the log has the
// reason why they could not be read.
func (p projectsFor) instructions(folder *workspace.Folder, projectID string) string {
	text, err := folder.ReadFile(".anton/anton.md", instructionsMax)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.log.Warn("project instructions could not be read", "project", projectID, "error", err)
	}
	return string(text)
}

// remembered is what memory and skills add to the prompt. A turn can do without,
// too.
func (p projectsFor) remembered(ctx context.Context, projectID string) string {
	text, err := p.memory.Prompt(ctx, projectID)
	if err != nil {
		p.log.Warn("memory could not be read", "project", projectID, "error", err)
	}
	return text
}

func (p projectsFor) closeFolder(folder *workspace.Folder, projectID string) {
	if err := folder.Close(); err != nil {
		p.log.Warn("close project folder", "project", projectID, "error", err)
	}
}

// Attached implements conversations.Attachments.
func (p projectsFor) Attached(ctx context.Context, projectID, conversationID string, ids []string) ([]conversations.Attached, error) {
	list, err := p.room.AttachmentsFor(ctx, projectID, conversationID, ids)
	if err != nil {
		return nil, err
	}
	out := make([]conversations.Attached, len(list))
	for i, a := range list {
		out[i] = conversations.Attached{Name: a.Name, Path: a.Path, Text: a.Text, Truncated: a.Truncated, Image: a.Image, MIME: a.MIME}
		switch a.Status {
		case "processing":
			out[i].Problem = "The file is still being read: use the tools to look at it."
		case "failed":
			out[i].Problem = a.Reason
		}
	}
	return out, nil
}

// DeleteConversation implements conversations.Dependents.
func (p projectsFor) DeleteConversation(ctx context.Context, id string) error {
	return errors.Join(p.pads.DeleteConversation(ctx, id), p.room.DeleteSession(ctx, id))
}

// MoveConversation implements conversations.Dependents.
func (p projectsFor) MoveConversation(ctx context.Context, id, projectID string) error {
	return errors.Join(p.pads.MoveConversation(ctx, id, projectID), p.room.MoveSession(ctx, id, projectID))
}
