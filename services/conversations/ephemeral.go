package conversations

import (
	"context"

	"anthill/services/internal/store"
	"anthill/services/internal/store/memory"
)

// Bounds of what is in memory alone: beyond the first, conversations that
// nobody has gone on with for the longest time end.
const (
	ephemeralMost  = 64
	ephemeralBytes = 128 << 20 // in each of the two stores
)

// openEphemeral opens a room whose stores are in memory. It knows the projects
// of the other one, and nothing of it is kept elsewhere.
func openEphemeral(ctx context.Context, o Options) (*Room, error) {
	o.Projects = elsewhere{Projects: o.Projects, db: o.Main}
	o.Main = memory.Open(memory.Options{Limits: store.MainLimits, Most: ephemeralBytes})
	o.Bulk = memory.Open(memory.Options{Limits: store.BulkLimits, Most: ephemeralBytes})
	o.Ephemeral, o.Memory = true, nil
	return Open(ctx, o)
}

// elsewhere are projects that are in another store than the conversations.
type elsewhere struct {
	Projects
	db store.DB
}

// ByName implements Projects.
func (e elsewhere) ByName(_ store.Reader, name string) (p *Project, err error) {
	err = e.db.View(context.Background(), func(rd store.Reader) error {
		p, err = e.Projects.ByName(rd, name)
		return err
	})
	return p, err
}

// ByID implements Projects.
func (e elsewhere) ByID(_ store.Reader, id string) (p *Project, err error) {
	err = e.db.View(context.Background(), func(rd store.Reader) error {
		p, err = e.Projects.ByID(rd, id)
		return err
	})
	return p, err
}

// Open implements Projects: tools that keep something of a conversation are not
// for one that leaves nothing.
func (e elsewhere) Open(ctx context.Context, o Opening) (Workspace, func(), error) {
	o.ConversationID, o.TurnID, o.Title = "", "", ""
	return e.Projects.Open(ctx, o)
}

// makeRoom ends the conversation that was left alone for the longest time, if
// there are as many as there can be.
func (r *Room) makeRoom(ctx context.Context) error {
	oldest, n := "", 0
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		oldest, n = "", 0
		for c, err := range conversations.ScanIndex(rd, "activity", store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if n++; oldest == "" && c.Running == "" && !c.Copied {
				oldest = c.ID
			}
		}
		return nil
	})
	if err != nil || n < ephemeralMost || oldest == "" {
		return err
	}
	_, err = r.remove(ctx, oldest)
	return err
}
