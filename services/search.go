package services

import (
	"context"
	"path/filepath"
	"time"

	"anthill/services/conversations"
	"anthill/services/internal/index"
	"anthill/services/internal/store"
	"anthill/services/projects"
	"anthill/services/rooms"
	"anthill/services/search"
)

// openSearch opens the room that finds what the others keep. Its files are beside
// the store: no backup takes them, and any start makes them again.
func openSearch(c Config, main store.DB, r *rooms.Room, conv *conversations.Room, p *projects.Room) *search.Room {
	return search.Open(search.Options{Dir: filepath.Join(c.Home, "search"), DB: main,
		Messages: r.Texts(), Conversations: conversationTexts{conv.Texts()}, Projects: projectNames{p}, Log: c.Log})
}

// conversationTexts shows conversations to the search.
type conversationTexts struct{ conversations.Texts }

// Read implements search.Conversations.
func (t conversationTexts) Read(ctx context.Context, refs []index.Ref) ([]*search.Said, error) {
	found, err := t.Texts.Read(ctx, refs)
	out := make([]*search.Said, len(found))
	for i, f := range found {
		if f != nil {
			out[i] = &search.Said{Conversation: f.Conversation, TurnID: f.TurnID, Text: f.Text, At: time.UnixMilli(f.At)}
			for _, l := range f.Lines {
				out[i].Lines = append(out[i].Lines, search.Line(l))
			}
		}
	}
	return out, err
}

// projectNames shows projects to the search.
type projectNames struct{ room *projects.Room }

// List implements search.Projects.
func (p projectNames) List(ctx context.Context) ([]search.Project, error) {
	list, err := p.room.List(ctx)
	out := make([]search.Project, len(list))
	for i, f := range list {
		out[i] = search.Project{ID: f.ID, Name: f.Name, Path: f.Path}
	}
	return out, err
}
