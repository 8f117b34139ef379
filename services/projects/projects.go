// Package projects is the room of projects: folders that scope conversations,
// the files in them, what people attach to a conversation, and what the agent
// makes for them.
//
// Calls enter by its gRPC services; other rooms ask it which project a name
// or an id means, inside their own transactions, for a project's folder, and for
// the attachments and artifacts of a turn.
// Record and folder change together: what is to be done to a folder is stored
// first, and what a crash cut off is finished when the room opens. No path here
// leads out of a project's folder, no symlink is taken for a project, and
// nothing of a project that was deleted is ever handed out again.
package projects

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/documents"
	"anthill/services/internal/store"
)

// Conversations is what deleting a project needs of the room that keeps them.
type Conversations interface {
	// DeleteProject deletes all conversations of a project and stops their
	// turns. It is asked again after a failure or a restart.
	DeleteProject(ctx context.Context, projectID string) error
}

// Options open the room.
type Options struct {
	DB  store.DB
	Dir string // absolute; created if absent; its folders are the projects
	Now func() time.Time
	// NewID mints an id that begins with prefix and is fit for a file name.
	NewID func(prefix string) string
	Log   *slog.Logger
	// Conversations may be nil until Join; deletions are finished only then.
	Conversations Conversations
	// Read reads the text of an attachment, as documents.Process does.
	Read func(ctx context.Context, name string, file *os.File) (documents.Text, error)

	retry func(attempt int) time.Duration // between attempts at a deletion; nil: 1 s, doubling up to 1 min
}

// Room serves ProjectsService, ProjectFilesService, AttachmentsService and
// ArtifactsService. Safe for concurrent use.
type Room struct {
	opt  Options
	base context.Context // of the room's goroutines
	stop context.CancelFunc

	// folders is held for writing by whoever changes which folder belongs to
	// which record, and for reading by whoever goes from one to the other.
	folders sync.RWMutex

	// uploads is held while the folder of an attachment is made and first used,
	// and while an empty one is removed.
	uploads sync.Mutex
	jobs    *jobs

	artifacts sync.Mutex // held while the metadata of one is read and written

	mu            sync.Mutex
	closed        bool
	conversations Conversations
	joined        chan struct{} // closed once conversations is set
	workers       sync.WaitGroup
	attendants    sync.WaitGroup // of attachments: they run until the room closes
}

// Open finishes what a crash cut off, makes sure of the general project, adopts
// folders made by hand and takes up unfinished deletions.
func Open(ctx context.Context, o Options) (*Room, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("projects: folder %q is not absolute", o.Dir)
	}
	if o.retry == nil {
		o.retry = backoff
	}
	r := &Room{opt: o, joined: make(chan struct{}), jobs: newJobs()}
	r.base, r.stop = context.WithCancel(context.Background())
	if o.Conversations != nil {
		r.Join(o.Conversations)
	}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("projects: open: %w", err), r.Close(ctx))
	}
	return r, nil
}

func (r *Room) start(ctx context.Context) error {
	if err := os.MkdirAll(r.opt.Dir, dirMode); err != nil {
		return err
	}
	r.folders.Lock()
	defer r.folders.Unlock()
	r.settle(ctx)
	if err := r.ensureGeneral(ctx); err != nil {
		return err
	}
	if err := r.adopt(ctx); err != nil {
		return err
	}
	var present, deleted []string
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		for rec, err := range records.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			switch {
			case rec.live():
				present = append(present, rec.ID)
			case rec.Intent.Act == actDelete:
				deleted = append(deleted, rec.ID)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range deleted {
		r.purgeLater(id)
	}
	r.spawn(func(ctx context.Context) { r.sweep(ctx, present) })
	return r.startAttachments(ctx)
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antonv1.RegisterProjectsServiceServer(s, projectsService{room: r})
	antonv1.RegisterProjectFilesServiceServer(s, filesService{room: r, max: filesMax})
	antonv1.RegisterAttachmentsServiceServer(s, attachmentsService{room: r})
	antonv1.RegisterArtifactsServiceServer(s, artifactsService{room: r})
}

// Join tells the room who keeps the conversations. The first one stays.
func (r *Room) Join(c Conversations) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conversations == nil && c != nil {
		r.conversations = c
		close(r.joined)
	}
}

// Close stops the room's goroutines and waits for them until ctx ends. What is
// unfinished is taken up when the room is opened again.
func (r *Room) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	idle := make(chan struct{})
	go func() { r.workers.Wait(); r.attendants.Wait(); close(idle) }()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("projects: close: %w", ctx.Err())
	}
}

// spawn runs fn in a goroutine of the room; false if the room is closed.
func (r *Room) spawn(fn func(ctx context.Context)) bool { return r.spawnIn(&r.workers, fn) }

func (r *Room) spawnIn(group *sync.WaitGroup, fn func(ctx context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	group.Add(1)
	go func() {
		defer group.Done()
		fn(r.base)
	}()
	return true
}

// staleAfter is older than any upload that still runs.
const staleAfter = 24 * time.Hour

// sweep removes what writes that a crash cut off left in the projects.
func (r *Room) sweep(ctx context.Context, ids []string) {
	for _, id := range ids {
		if ctx.Err() != nil {
			return
		}
		if err := r.sweepOne(ctx, id); err != nil {
			r.opt.Log.WarnContext(ctx, "leftovers of cut-off writes stay", "project", id, "error", err)
		}
	}
}

func (r *Room) sweepOne(ctx context.Context, id string) error {
	p, ok, err := r.ByID(ctx, id)
	if err != nil || !ok || !isDir(p.Path) {
		return err
	}
	f, err := r.Folder(ctx, id)
	if err != nil {
		return err
	}
	return errors.Join(f.RemoveStale(staleAfter), f.Close())
}
