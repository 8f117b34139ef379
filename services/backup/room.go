// Package backup is the room that puts everything the server keeps into one
// file, and gets it back.
//
// A running server streams a backup by BackupService; the command line makes one
// of a home that nobody serves, and restores. The stores are copied as of one
// moment while writers go on, so what was acknowledged before is in it. Keys are
// not: the settings file stays out. What comes back is checked as a whole before
// anything is touched, never overwrites, and is there entirely or not at all,
// whenever the machine fails.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

// Options open the room.
type Options struct {
	Main, Bulk  *bolt.DB
	Home        string // copies are made in its folder for backups
	ProjectsDir string
	Version     string // of the program
	Now         func() time.Time
	Log         *slog.Logger
}

// Room serves BackupService. Safe for concurrent use.
type Room struct {
	antonv1.UnimplementedBackupServiceServer
	opt Options
	one sync.Mutex // held while a backup is made
}

// Open makes the room and removes what a crash left of a backup or restore. The
// caller holds the home.
func Open(o Options) *Room {
	r := &Room{opt: o}
	err := errors.Join(sweep(filepath.Join(o.Home, backupsDir), spoolPrefix), sweep(o.Home, stagePrefix),
		sweep(filepath.Dir(o.ProjectsDir), projectsPrefix(o.Home)))
	if err != nil {
		o.Log.Warn("leftovers of an interrupted backup or restore stay", "error", err)
	}
	return r
}

// Register adds BackupService to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antonv1.RegisterBackupServiceServer(s, r) }

// Close waits for a backup that is being made.
func (r *Room) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() { r.one.Lock(); defer r.one.Unlock(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// chunk is how much of the file travels in one message.
const chunk = 256 << 10

// CreateBackup implements antonv1.BackupServiceServer.
func (r *Room) CreateBackup(_ *antonv1.CreateBackupRequest, s grpc.ServerStreamingServer[antonv1.CreateBackupResponse]) error {
	w := &messages{s: s}
	sum, err := r.Write(s.Context(), w)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return err
	}
	return s.Send(&antonv1.CreateBackupResponse{Part: &antonv1.CreateBackupResponse_Summary{Summary: sum}})
}

// messages sends what is written in chunks, each made anew.
type messages struct {
	s   grpc.ServerStreamingServer[antonv1.CreateBackupResponse]
	buf []byte
}

func (m *messages) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if m.buf == nil {
			m.buf = make([]byte, 0, chunk)
		}
		n := min(len(p), chunk-len(m.buf))
		m.buf, p = append(m.buf, p[:n]...), p[n:]
		if len(m.buf) == chunk {
			if err := m.flush(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

func (m *messages) flush() error {
	if len(m.buf) == 0 {
		return nil
	}
	data := m.buf
	m.buf = nil
	return m.s.Send(&antonv1.CreateBackupResponse{Part: &antonv1.CreateBackupResponse_Data{Data: data}})
}

const (
	backupsDir  = "backups"
	spoolPrefix = ".spool-"
)

// Write writes a backup as of now. The stores are copied to the disk first, so
// that a slow w keeps nothing of theirs. FAILED_PRECONDITION BACKUP_RUNNING,
// RESOURCE_EXHAUSTED DISK_FULL.
func (r *Room) Write(ctx context.Context, w io.Writer) (_ *antonv1.BackupSummary, err error) {
	if !r.one.TryLock() {
		return nil, fault.New(fault.Precondition, "BACKUP_RUNNING", "Another backup is being made: wait for it to end.").
			RetryAfter(10 * time.Second)
	}
	defer r.one.Unlock()
	dir := filepath.Join(r.opt.Home, backupsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, full(fmt.Errorf("backup: %w", err))
	}
	spool, err := os.MkdirTemp(dir, spoolPrefix)
	if err != nil {
		return nil, full(fmt.Errorf("backup: %w", err))
	}
	defer func() {
		if failed := os.RemoveAll(spool); failed != nil {
			r.opt.Log.Warn("the copies of a backup stay", "folder", spool, "error", failed)
		}
	}()
	m := manifest{Format: formatName, Version: formatVersion, Anthill: r.opt.Version}
	if m.Schema, err = store.Schema(ctx, r.opt.Main); err != nil {
		return nil, err
	}
	if m.Created, err = r.copyStores(ctx, spool); err != nil {
		return nil, full(err)
	}
	p := newPacker(ctx, w, spool, m.Created)
	if err := p.note(manifestName, m); err != nil {
		return nil, full(err)
	}
	for _, name := range []string{mainName, bulkName} {
		if err := p.addCopy(name, filepath.Join(spool, filepath.Base(name))); err != nil {
			return nil, full(err)
		}
	}
	if err := p.addUploads(filepath.Join(r.opt.Home, uploadsName)); err != nil {
		return nil, full(err)
	}
	if err := p.addProjects(r.opt.ProjectsDir); err != nil {
		return nil, full(err)
	}
	if err := p.close(); err != nil {
		return nil, full(err)
	}
	return &antonv1.BackupSummary{CreatedAt: m.Created.Format(time.RFC3339), Version: m.Anthill, Files: int32(p.files),
		Bytes: float64(p.bytes), Skipped: p.Skipped, SkippedCount: int32(p.skipped)}, nil
}

// copyStores copies both stores as of the moment that it returns.
func (r *Room) copyStores(ctx context.Context, spool string) (at time.Time, err error) {
	main, bulk, err := bolt.Together(r.opt.Main, r.opt.Bulk)
	if err != nil {
		return at, err
	}
	at = r.opt.Now().UTC().Truncate(time.Second)
	for name, s := range map[string]*bolt.Snapshot{mainName: main, bulkName: bulk} {
		err = errors.Join(err, copyStore(ctx, filepath.Join(spool, filepath.Base(name)), s), s.Close())
	}
	return at, err
}

func copyStore(ctx context.Context, path string, s *bolt.Snapshot) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return s.Copy(ctx, f)
}

// addCopy writes a file that nobody else touches, and removes it.
func (p *packer) addCopy(name, path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return p.add(name, info.Mode(), p.now, info.Size(), f)
}

// full names a full disk, which the caller can do something about.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Exhausted, "DISK_FULL",
			"There is no space for a copy of the stores in the data directory: free some and try again.").Because(err)
	}
	return err
}

// sweep removes the folders of a name that begins so.
func sweep(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range entries {
		if len(e.Name()) > len(prefix) && e.Name()[:len(prefix)] == prefix {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
