// Package workspace is one folder on disk, a project's, seen from inside: every
// path is relative to it, slash-separated, and cannot lead out of it.
//
// Rooms and tools enter through Open. No symlink is followed out of the folder,
// no device, pipe or hard-linked file is read, and no reader ever sees a
// half-written file: writes land by rename.
package workspace

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// Errors of this package. Match with errors.Is; a missing file is
// fs.ErrNotExist.
var (
	ErrPath     = errors.New("workspace: path is not allowed")
	ErrTooLarge = errors.New("workspace: file is larger than allowed")
	ErrIsDir    = errors.New("workspace: path is a folder")
	ErrNotEmpty = errors.New("workspace: folder is not empty")
	ErrSpecial  = errors.New("workspace: not a plain file") // device, pipe, socket, or a file with a second hard link
)

// Files being written carry these around a random name until they are whole.
const (
	partPrefix = ".anthill-"
	partSuffix = ".part"
)

// Folder is an open folder. Safe for concurrent use; the last rename wins.
type Folder struct {
	dir  string
	root *os.Root
}

// Open opens an existing folder. The caller closes it.
func Open(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("workspace: open folder: %w", err)
	}
	return &Folder{dir: dir, root: root}, nil
}

// Dir is the folder as it was given to Open.
func (f *Folder) Dir() string { return f.dir }

// Close releases the folder; files already open stay usable.
func (f *Folder) Close() error { return f.root.Close() }

// Stat describes a file or folder. Size is in bytes.
func (f *Folder) Stat(name string) (fs.FileInfo, error) {
	clean, err := Clean(name)
	if err != nil {
		return nil, err
	}
	info, err := f.root.Stat(clean)
	if err != nil {
		return nil, wrap(clean, err)
	}
	return info, nil
}

// OpenReader opens a plain file for reading and seeking. The caller closes it.
func (f *Folder) OpenReader(name string) (io.ReadSeekCloser, fs.FileInfo, error) {
	clean, err := Clean(name)
	if err != nil {
		return nil, nil, err
	}
	// Without O_NONBLOCK, opening a pipe would wait for a writer.
	file, err := f.root.OpenFile(clean, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, wrap(clean, err)
	}
	// The open file is judged, not the name: the name may mean another by now.
	info, err := file.Stat()
	if err == nil {
		err = plain(clean, info)
	}
	if err != nil {
		return nil, nil, errors.Join(wrap(clean, err), file.Close())
	}
	return file, info, nil
}

// ReadFile returns the whole content of a plain file of at most limit bytes,
// else ErrTooLarge.
func (f *Folder) ReadFile(name string, limit int64) (data []byte, err error) {
	file, info, err := f.OpenReader(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %w", name, ErrTooLarge)
	}
	// The file may grow while it is read.
	data, err = io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, wrap(name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w", name, ErrTooLarge)
	}
	return data, nil
}

// WriteFile replaces or creates a file and the folders above it. When it
// returns nil the content is on disk; on an error the old file is untouched.
func (f *Folder) WriteFile(name string, data []byte) error {
	up, err := f.CreateUpload(name, int64(len(data)))
	if err != nil {
		return err
	}
	if _, err := up.Write(data); err != nil {
		return errors.Join(err, up.Abort())
	}
	return up.Commit()
}

// Remove deletes a file or an empty folder. A symlink is removed, not what it
// points to.
func (f *Folder) Remove(name string) error {
	clean, err := Clean(name)
	if err != nil {
		return err
	}
	if err := f.root.Remove(clean); err != nil {
		if errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("%s: %w", clean, ErrNotEmpty)
		}
		return wrap(clean, err)
	}
	return f.syncDir(path.Dir(clean))
}

// RemoveStale deletes what writes that were cut off by a crash left behind, if
// it is older than age. Run it when nothing else writes, such as at the start.
func (f *Folder) RemoveStale(age time.Duration) error {
	before := time.Now().Add(-age)
	var failed []error
	err := fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return unreadable(d, err)
		}
		if !d.Type().IsRegular() || !isPart(d.Name()) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return unreadable(d, err)
		}
		if info.ModTime().Before(before) {
			failed = append(failed, f.root.Remove(name))
		}
		return nil
	})
	return errors.Join(append(failed, err)...)
}

// syncDir makes a rename or removal in the folder survive a power loss.
func (f *Folder) syncDir(name string) error {
	dir, err := f.root.Open(name)
	if err != nil {
		return wrap(name, err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func partName() string { return partPrefix + strings.ToLower(rand.Text()) + partSuffix }

func isPart(base string) bool {
	return strings.HasPrefix(base, partPrefix) && strings.HasSuffix(base, partSuffix)
}

// plain refuses everything whose bytes may not belong to the folder.
func plain(name string, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return fmt.Errorf("%s: %w", name, ErrIsDir)
	case !info.Mode().IsRegular() || links(info) > 1:
		return fmt.Errorf("%s: %w", name, ErrSpecial)
	}
	return nil
}

// wrap names the path and turns the refusals of os.Root into ErrPath.
func wrap(name string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, ErrIsDir), errors.Is(err, ErrSpecial), errors.Is(err, fs.ErrClosed):
		return err
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%s: %w", name, ErrIsDir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist) // a file stands where a folder is asked for
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("%s: %w", name, ErrPath)
	case errors.Is(err, syscall.ENXIO): // a socket cannot be opened
		return fmt.Errorf("%s: %w", name, ErrSpecial)
	case errors.As(err, &errno), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w", name, err)
	}
	// What did not come from the system is os.Root saying that the path leads out.
	var refused *fs.PathError
	if errors.As(err, &refused) {
		return fmt.Errorf("%s: %w", name, ErrPath)
	}
	return fmt.Errorf("%s: %w", name, err)
}
