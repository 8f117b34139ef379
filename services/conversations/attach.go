package conversations

import (
	"context"
	"fmt"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

const (
	attachedMax   = 20        // attachments of one request
	attachedBytes = 256 << 10 // of their texts together that a model is shown
)

// attach puts the attachments that a request names behind the last thing that
// the user says in it.
func (r *Room) attach(ctx context.Context, a *asked, convID string) error {
	if len(a.attachments) == 0 {
		return nil
	}
	last := -1
	for i, m := range a.messages {
		if m.Role == agent.RoleUser {
			last = i
		}
	}
	switch {
	case len(a.attachments) > attachedMax:
		return fault.BadField("too_long", fmt.Sprintf("At most %d attachments in one request", attachedMax), "attachment_ids")
	case last < 0:
		return fault.BadField("value_error", "Attachments come with a message of the user", "attachment_ids")
	case r.opt.Attachments == nil:
		return fault.BadField("unsupported", "Attachments are not supported here", "attachment_ids")
	}
	project, err := r.projectOf(ctx, convID, a.project)
	if err != nil {
		return err
	}
	files, err := r.opt.Attachments.Attached(ctx, project, convID, a.attachments)
	if err != nil {
		return err
	}
	m := &a.messages[last]
	m.Parts = m.Content()
	left := attachedBytes
	for _, f := range files {
		p := showAttached(f, left)
		left -= len(p.Text)
		m.Parts = append(m.Parts, p)
	}
	return nil
}

// showAttached is an attachment as a model sees it, in at most about left bytes.
func showAttached(f Attached, left int) agent.Part {
	if len(f.Image) > 0 {
		return agent.Part{Image: &agent.Image{MIME: f.MIME, Data: f.Image}}
	}
	text, note := f.Text, ""
	switch {
	case f.Problem != "":
		note = f.Problem
	case len(text) > max(left, 0):
		text, note = clip(text, max(left, 0)), "The file goes on."
	case f.Truncated:
		note = "The file goes on."
	}
	if note != "" {
		note = fmt.Sprintf(" note=%q", note)
	}
	return agent.Part{Text: fmt.Sprintf("<file name=%q path=%q%s>\n%s\n</file>", f.Name, f.Path, note, strings.TrimRight(text, "\n"))}
}

// projectOf is the project of a conversation, or the one that was named if
// there is no such conversation yet.
func (r *Room) projectOf(ctx context.Context, convID, project string) (id string, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, convID)
		if err != nil {
			return err
		}
		if c != nil {
			id = c.ProjectID
			return nil
		}
		p, err := r.opt.Projects.ByName(rd, project)
		if err != nil {
			return err
		}
		if p == nil {
			return noProject(project)
		}
		id = p.ID
		return nil
	})
	return id, err
}
