package services

import (
	"context"
	"path/filepath"
	"time"

	"anthill/services/files"
	"anthill/services/internal/store"
	"anthill/services/sessions"
)

// openFiles opens the room of files over the folder of uploads.
func openFiles(ctx context.Context, c Config, main store.DB, s *sessions.Room) (*files.Room, error) {
	return files.Open(ctx, files.Options{DB: main, Dir: filepath.Join(c.Home, "uploads"), Sessions: filesFor{s},
		Now: time.Now, NewID: rowID, Log: c.Log})
}

// filesFor shows sessions to the room of files.
type filesFor struct{ room *sessions.Room }

// Find implements files.Sessions.
func (f filesFor) Find(rd store.Reader, ref string) (*files.Session, error) {
	s, err := f.room.Find(rd, ref)
	if err != nil || s == nil {
		return nil, err
	}
	return &files.Session{ID: s.ID, Archived: s.Archived, Deleted: s.Deleted}, nil
}
