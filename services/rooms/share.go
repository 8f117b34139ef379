package rooms

import (
	"context"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
)

// GetShare implements antv1.ShareServiceServer.
func (r *Room) GetShare(ctx context.Context, q *antv1.GetShareRequest) (*antv1.Share, error) {
	var room *Session
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		room, err = r.readable(rd, q.SessionId)
		return err
	})
	if err != nil {
		return nil, err
	}
	// By id: a handle may mean another room tomorrow.
	at := " --server " + quoted(r.opt.Address()) + " " + quoted(room.ID)
	commands := map[string]string{
		"join":   "anthill tail" + at,
		"read":   "anthill tail --last 50 --json" + at,
		"post":   "anthill post" + at + " TEXT",
		"invite": "anthill invite" + at,
	}
	return &antv1.Share{SessionId: room.ID, SessionName: room.Name, SessionType: room.Type, Commands: commands, QuickJoin: commands["join"]}, nil
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
