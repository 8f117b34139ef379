package services

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path"
	"slices"
	"strings"

	"anthill/services/conversations"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/projects"
	"anthill/services/rooms"
)

// coworkerProject is where the conversations of rooms are.
const coworkerProject = "general"

// coworkersFor lets conversations answer in rooms.
type coworkersFor struct {
	room     *conversations.Room
	projects *projects.Room
	log      *slog.Logger
}

// Spawn implements rooms.Coworkers.
func (c coworkersFor) Spawn(tx store.Tx, room, title string) (string, error) {
	return c.room.Spawn(tx, conversations.Spawned{Project: coworkerProject, Title: title, Metadata: map[string]string{"room_id": room}})
}

// Exists implements rooms.Coworkers.
func (c coworkersFor) Exists(rd store.Reader, conversation string) (bool, error) {
	return c.room.Exists(rd, conversation)
}

// Working implements rooms.Coworkers.
func (c coworkersFor) Working(conversation string) bool {
	return slices.Contains(c.room.Running(), conversation)
}

// Ask implements rooms.Coworkers.
func (c coworkersFor) Ask(ctx context.Context, q rooms.Inquiry) error {
	return undelivered(c.room.Inquire(ctx, conversations.Inquiry{ID: q.ID, Conversation: q.Conversation, Instructions: q.Instructions,
		Input: []string{q.Said, q.Text}, Metadata: map[string]string{"room_id": q.Room, "message_id": q.Message, "asked_by": q.From}}))
}

// Answer implements rooms.Coworkers.
func (c coworkersFor) Answer(ctx context.Context, id string, begun func()) (*rooms.Reply, error) {
	end, err := c.room.Inquired(ctx, id, begun)
	if err != nil {
		return nil, undelivered(err)
	}
	res := end.Response
	reply := &rooms.Reply{Conversation: end.ConversationID, Response: res.Id, Status: res.Status, Text: res.OutputText}
	switch {
	case res.Error != nil:
		reply.Problem = "I could not answer: " + res.Error.Message
	case res.Status != "completed":
		reply.Problem = unfinished(res.IncompleteReason)
	}
	made, err := c.projects.TurnArtifacts(ctx, end.ProjectID, end.ConversationID, end.Turn)
	if err != nil { // the answer is worth more than its links
		c.log.Warn("artifacts of a turn could not be looked at", "response", res.Id, "error", err)
	}
	for _, a := range made {
		reply.Made = append(reply.Made, rooms.Made{Title: a.Title, URL: artifactURL(a)})
	}
	return reply, nil
}

// unfinished says why a turn has not come to its end.
func unfinished(reason string) string {
	switch reason {
	case "interrupted":
		return "I was interrupted: the server stopped while I was at work. Mention me again to go on."
	case "cancelled":
		return "I was stopped. Mention me again to go on."
	case "max_output_tokens":
		return "(My answer was cut: it reached the limit of its length.)"
	case "content_filter":
		return "(My answer was cut: the model's provider filtered it.)"
	}
	return "(My answer was cut: the connection to the model was lost.)"
}

// artifactURL leads to the file that stands for an artifact, or to what is known of one
// without files.
func artifactURL(a projects.TurnArtifact) string {
	if a.Primary == "" {
		return "/v1/artifacts/" + url.PathEscape(a.Slug) + "?project=" + url.QueryEscape(a.Project)
	}
	parts := strings.Split(path.Join(".anton/artifacts", a.Slug, a.Primary), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return "/v1/projects/" + url.PathEscape(a.Project) + "/files-raw/" + strings.Join(parts, "/")
}

// undelivered says to the rooms what is to be done about an error of the conversations:
// what has no place now waits, and what is refused is told.
func undelivered(err error) error {
	f := new(fault.Error)
	if !errors.As(err, &f) {
		return err
	}
	u := &rooms.Undelivered{Reason: f.Reason, Words: f.Message}
	u.Waits = f.Kind == fault.Unavailable || f.Kind == fault.Exhausted || f.Reason == "QUEUE_HELD" || f.Reason == "CONVERSATION_BUSY"
	if u.Final = !u.Waits; !u.Final {
		return u
	}
	switch f.Reason {
	case "TAKEN_BACK", "RESPONSE_NOT_FOUND":
		u.Words = "I will not answer this: it was taken back."
	case "CONVERSATION_NOT_FOUND":
		u.Words = "I will not answer this: my conversation was deleted. Mention me again to begin another."
	default:
		u.Words = "I could not answer: " + f.Message
	}
	return u
}
