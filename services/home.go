package services

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/backup"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

// holdFor is how long a home may still be held by a process that is ending.
const holdFor = time.Second

// hold takes the home and completes what a crash cut off of a restore.
func (s *Services) hold(home string) error {
	held, err := backup.Hold(home, holdFor)
	if errors.Is(err, store.ErrInUse) {
		return inUse(home, ownerPath(home))
	}
	if err != nil {
		return err
	}
	s.closeFirst("home", func(context.Context) error { return held.Close() })
	return backup.Finish(home)
}

func ownerPath(home string) string { return filepath.Join(home, "store", "owner.json") }

// Holder is the process that holds a home.
type Holder struct {
	PID       int
	Addresses []string // URLs that it serves; none yet while it starts
}

// HolderOf says who holds a home; nil if nobody does.
func HolderOf(home string) (*Holder, error) {
	held, err := backup.Held(home)
	if err != nil || !held {
		return nil, err
	}
	var o ownerFile
	b, err := os.ReadFile(ownerPath(home))
	if err != nil || json.Unmarshal(b, &o) != nil {
		return &Holder{}, nil // it is just starting, or restoring
	}
	return &Holder{PID: o.PID, Addresses: o.Addresses}, nil
}

// ErrNoData means that a home holds nothing yet.
var ErrNoData = errors.New("there is no data")

// Backup writes a backup of a home that no process serves.
func Backup(ctx context.Context, c Config, w io.Writer) (_ *antonv1.BackupSummary, err error) {
	if size(filepath.Join(c.Home, "store", "main.db")) == 0 {
		return nil, fmt.Errorf("%w in %s", ErrNoData, c.Home)
	}
	s := &Services{}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	if err := s.hold(c.Home); err != nil {
		return nil, err
	}
	open := func(name string, limits store.Limits) (*bolt.DB, error) {
		db, err := bolt.Open(bolt.Options{Path: filepath.Join(c.Home, "store", name), Limits: limits, Logger: c.Log})
		if err == nil {
			s.closeFirst(name, func(context.Context) error { return db.Close() })
		}
		return db, err
	}
	main, err := open("main.db", store.MainLimits)
	if err != nil {
		return nil, err
	}
	bulk, err := open("bulk.db", store.BulkLimits)
	if err != nil {
		return nil, err
	}
	return backup.Open(backup.Options{Main: main, Bulk: bulk, Home: c.Home, ProjectsDir: c.ProjectsDir,
		Version: c.Version, Now: time.Now, Log: c.Log}).Write(ctx, w)
}

// Restored says what a restore did.
type Restored = backup.Restored

// ErrNotEmpty means that a restore would replace something.
var ErrNotEmpty = backup.ErrNotEmpty

// Restore puts a backup in the place of a home that no process serves. Unless
// replace is set it fails with ErrNotEmpty if that has data already; maxBytes
// bounds what the backup may hold (0: backup.DefaultMaxBytes).
func Restore(ctx context.Context, c Config, r io.Reader, replace bool, maxBytes int64) (Restored, error) {
	out, err := backup.Restore(ctx, r, backup.RestoreOptions{Home: c.Home, ProjectsDir: c.ProjectsDir, Replace: replace,
		MaxBytes: maxBytes, Schema: migrations[len(migrations)-1].Version, Now: time.Now, Log: c.Log})
	if errors.Is(err, store.ErrInUse) {
		return out, inUse(c.Home, ownerPath(c.Home))
	}
	return out, err
}
