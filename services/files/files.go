// Package files is what files a room has: references to files wherever they are,
// and attachments, whose bytes are kept here.
//
// Calls enter by FilesService. The path of a reference is text that is never
// opened. Bytes are named by their SHA-256 and on disk before the row that leads
// to them; equal ones are kept once, until nothing leads to them. A file's own
// name is for people and never becomes one on this server's disk.
package files

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// Session is what this room needs to know of one.
type Session struct {
	ID                string
	Archived, Deleted bool
}

// Sessions answers from inside a transaction.
type Sessions interface {
	// Find looks a session up by id or handle; by id also archived and softly
	// deleted ones. Nil: there is none.
	Find(r store.Reader, ref string) (*Session, error)
}

// Options open the room.
type Options struct {
	DB       store.DB
	Dir      string // of the contents; made if absent
	Sessions Sessions
	Now      func() time.Time
	NewID    func() string // 21 characters fit for a path
	Log      *slog.Logger
}

// Room serves FilesService. Safe for concurrent use.
type Room struct {
	antv1.UnimplementedFilesServiceServer
	opt      Options
	contents *contents
}

// Open makes the room and removes what a crash left of uploads and removals.
func Open(ctx context.Context, o Options) (*Room, error) {
	c, err := openContents(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of uploads: %w", err)
	}
	r := &Room{opt: o, contents: c}
	if err := r.contents.sweep(func(hash string) (bool, error) { return r.referred(ctx, hash) }); err != nil {
		return nil, errors.Join(fmt.Errorf("remove what is left of uploads: %w", err), c.close())
	}
	return r, nil
}

// Close lets go of the folder. No call may be under way.
func (r *Room) Close(context.Context) error { return r.contents.close() }

// Register adds the room's service to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antv1.RegisterFilesServiceServer(s, r) }

// readable finds a room that exists, whatever its state.
func (r *Room) readable(rd store.Reader, ref string) (*Session, error) {
	s, err := r.opt.Sessions.Find(rd, ref)
	if err == nil && s == nil {
		err = wire.ErrNoSession
	}
	return s, err
}

// writable finds a room that takes changes.
func (r *Room) writable(rd store.Reader, ref string) (*Session, error) {
	s, err := r.readable(rd, ref)
	if err == nil {
		err = wire.Writable(s.Deleted, s.Archived)
	}
	return s, err
}

const (
	refsMax  = 10_000   // references of a room
	filesMax = 10_000   // attachments of one
	bytesMax = 10 << 30 // of them together
	pageMax  = 1000
	nameMax  = 256 // bytes of who it was
)

func pageLimit(asked *int32) (int, error) {
	if asked == nil {
		return pageMax, nil
	}
	if *asked < 1 || *asked > pageMax {
		return 0, fault.BadField("value_error", "limit is 1 to 1000", "limit")
	}
	return int(*asked), nil
}

func checkWho(field, name string) error {
	if len(name) > nameMax {
		return fault.BadField("value_error", field+" is too long: use 256 bytes at most", field)
	}
	return nil
}

// deleteBatch rows, with their index entries, fit into a transaction.
const deleteBatch = 20

// DeleteSession removes the files of a room, which reads as gone already.
// Idempotent; it may be called again after a failure or a restart.
func (r *Room) DeleteSession(ctx context.Context, id string) error {
	if err := r.deleteRefs(ctx, id); err != nil {
		return err
	}
	if err := r.deleteAttachments(ctx, id); err != nil {
		return err
	}
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		_, err := totals.Delete(tx, roomKey(id))
		return err
	})
}
