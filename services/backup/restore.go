package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

// DefaultMaxBytes bounds what a restored backup may hold, uncompressed.
const DefaultMaxBytes = 64 << 30

// RestoreOptions say what is replaced by what.
type RestoreOptions struct {
	Home        string // absolute; made if absent
	ProjectsDir string // absolute
	Replace     bool   // put aside what is there, instead of refusing
	MaxBytes    int64  // 0: DefaultMaxBytes
	Schema      int    // newest layout that this program knows
	Now         func() time.Time
	Log         *slog.Logger
}

// Restored says what a restore did.
type Restored struct {
	Created time.Time // the moment that the backup shows
	Anthill string    // version that made it
	Files   int       // of projects
	Aside   []string  // where the former data is, if there was any
}

// ErrNotEmpty means that there is something to lose.
var ErrNotEmpty = errors.New("the data directory is not empty")

// Restore puts a backup in the place of a home that no process holds. The
// archive is laid out beside it and checked entirely before anything is
// touched; then a few renames, which a crash cannot cut in two: Finish completes
// them. Errors: store.ErrInUse, ErrNotEmpty, ErrArchive, store.ErrNewer.
func Restore(ctx context.Context, r io.Reader, o RestoreOptions) (_ Restored, err error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if err := os.MkdirAll(o.Home, 0o700); err != nil {
		return Restored{}, fmt.Errorf("make the data directory: %w", err)
	}
	held, err := Hold(o.Home, 0)
	if err != nil {
		return Restored{}, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if err := Finish(o.Home); err != nil {
		return Restored{}, err
	}
	// A link to a folder kept elsewhere stays a link.
	if real, err := filepath.EvalSymlinks(o.ProjectsDir); err == nil {
		o.ProjectsDir = real
	}
	there, err := occupied(o)
	if err != nil {
		return Restored{}, err
	}
	if there != "" && !o.Replace {
		return Restored{}, fmt.Errorf("%w: there is %s", ErrNotEmpty, there)
	}
	s, err := prepare(o)
	if err != nil {
		return Restored{}, err
	}
	u, err := s.fill(ctx, r, o)
	if err != nil {
		return Restored{}, errors.Join(err, s.drop())
	}
	if err := s.commit(o.Home); err != nil {
		return Restored{}, err
	}
	err = Finish(o.Home)
	return Restored{Created: u.Created, Anthill: u.Anthill, Files: len(u.known) - 2, Aside: s.asides()}, err
}

// occupied names something that a restore would replace; "" if there is nothing.
func occupied(o RestoreOptions) (string, error) {
	for _, name := range []string{mainName, bulkName} {
		path := filepath.Join(o.Home, filepath.FromSlash(name))
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return path, nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	d, err := os.Open(o.ProjectsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer d.Close() //nolint:errcheck // it was only read
	names, err := d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(o.ProjectsDir, names[0]), nil
}

// swap is what is to be renamed: it is written down before the first rename.
type swap struct {
	Stage         string `json:"stage"`          // holds the new store and uploads
	ProjectsStage string `json:"projects_stage"` // becomes Projects
	Projects      string `json:"projects"`
	Aside         string `json:"aside"`          // gets the old store
	ProjectsAside string `json:"projects_aside"` // gets the old projects
}

const (
	stagePrefix = ".restore-"
	// projectsStage stands beside the projects folder, where other homes may have
	// theirs: a part of the name is this home's.
	projectsStage = ".anthill-restore-"
)

func projectsPrefix(home string) string {
	sum := sha256.Sum256([]byte(home))
	return projectsStage + hex.EncodeToString(sum[:6]) + "-"
}

// prepare makes the folders for a restore, where a rename is enough to move them
// into place, and removes those of earlier tries.
func prepare(o RestoreOptions) (_ *swap, err error) {
	beside := filepath.Dir(o.ProjectsDir)
	if err := os.MkdirAll(beside, 0o755); err != nil {
		return nil, err
	}
	if err := errors.Join(sweep(o.Home, stagePrefix), sweep(beside, projectsPrefix(o.Home))); err != nil {
		return nil, err
	}
	aside := filepath.Join(o.Home, backupsDir, "replaced-"+o.Now().UTC().Format("20060102T150405.000Z"))
	s := &swap{Projects: o.ProjectsDir, Aside: aside, ProjectsAside: filepath.Join(aside, projectsName)}
	if info, err := os.Stat(o.ProjectsDir); err == nil {
		same, err := sameDisk(info, beside)
		if err == nil && !same {
			err = fmt.Errorf("the projects folder %s is a disk of its own, which cannot be replaced as a whole: "+
				"restore to another folder with --projects-dir, such as one on that disk", o.ProjectsDir)
		}
		if err != nil {
			return nil, err
		}
		if same, err = sameDisk(info, o.Home); err != nil {
			return nil, err
		} else if !same {
			s.ProjectsAside = o.ProjectsDir + "." + filepath.Base(aside)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.Stage, err = os.MkdirTemp(o.Home, stagePrefix); err != nil {
		return nil, err
	}
	if s.ProjectsStage, err = os.MkdirTemp(beside, projectsPrefix(o.Home)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.Stage))
	}
	return s, os.Chmod(s.ProjectsStage, 0o755)
}

func sameDisk(info fs.FileInfo, dir string) (bool, error) {
	other, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	a, okA := info.Sys().(*syscall.Stat_t)
	b, okB := other.Sys().(*syscall.Stat_t)
	return okA && okB && a.Dev == b.Dev, nil
}

// fill lays the archive out and makes sure that its stores open.
func (s *swap) fill(ctx context.Context, r io.Reader, o RestoreOptions) (_ *unpacker, err error) {
	to := stage{homeDir: s.Stage, projectsDir: s.ProjectsStage, free: freeBytes}
	if to.home, err = os.OpenRoot(s.Stage); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.home.Close()) }()
	if to.projects, err = os.OpenRoot(s.ProjectsStage); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.projects.Close()) }()
	// It takes the place of what is there even if the archive has none.
	if err := to.home.Mkdir(uploadsName, 0o700); err != nil {
		return nil, err
	}
	u, err := unpack(ctx, r, to, o.MaxBytes)
	if err != nil {
		return nil, err
	}
	for name, limits := range map[string]store.Limits{mainName: store.MainLimits, bulkName: store.BulkLimits} {
		if err := renew(ctx, filepath.Join(s.Stage, filepath.FromSlash(name)), limits, o); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// renew opens a restored store, which must be one that this program can read,
// and ends the cursors that clients still hold: they may point at what the
// backup lacks.
func renew(ctx context.Context, path string, limits store.Limits, o RestoreOptions) (err error) {
	db, err := bolt.Open(bolt.Options{Path: path, Limits: limits, Logger: o.Log})
	if errors.Is(err, store.ErrCorrupt) {
		return bad("%s: %w", filepath.Base(path), err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	schema, err := store.Schema(ctx, db)
	if err != nil {
		return err
	}
	if schema > o.Schema {
		return fmt.Errorf("%w: its layout is %d and this program knows %d: restore it with the program that made it", store.ErrNewer, schema, o.Schema)
	}
	return db.RenewEpochs(ctx)
}

func freeBytes(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}

func (s *swap) drop() error {
	return errors.Join(os.RemoveAll(s.Stage), os.RemoveAll(s.ProjectsStage))
}
