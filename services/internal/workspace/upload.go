package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
)

const (
	fileMode = 0o644
	dirMode  = 0o755
)

// Upload is a file that is being written. It shows up under its name on Commit,
// whole, or not at all. Not safe for concurrent use.
type Upload struct {
	folder *Folder
	name   string // clean
	part   string
	file   *os.File
	left   int64
	fresh  bool  // folders above it were created as well
	err    error // the first failed write; Commit refuses after it
}

// CreateUpload starts a file of at most limit bytes and creates the folders
// above it. The caller ends it with Commit or Abort. An existing file stays
// readable until Commit replaces it.
func (f *Folder) CreateUpload(name string, limit int64) (*Upload, error) {
	clean, err := Clean(name)
	if err != nil {
		return nil, err
	}
	mode, err := f.modeFor(clean)
	if err != nil {
		return nil, err
	}
	dir := path.Dir(clean)
	_, missing := f.root.Stat(dir)
	if err := f.root.MkdirAll(dir, dirMode); err != nil {
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s: a file stands where a folder is needed: %w", clean, ErrPath)
		}
		return nil, wrap(clean, err)
	}
	part := path.Join(dir, partName())
	file, err := f.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, wrap(clean, err)
	}
	return &Upload{folder: f, name: clean, part: part, file: file, left: limit, fresh: missing != nil}, nil
}

// modeFor keeps the mode of a file that is about to be replaced, so that a
// script stays executable.
func (f *Folder) modeFor(clean string) (fs.FileMode, error) {
	info, err := f.root.Lstat(clean)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fileMode, nil
	case err != nil:
		return 0, wrap(clean, err)
	case info.IsDir():
		return 0, fmt.Errorf("%s: %w", clean, ErrIsDir)
	case info.Mode().IsRegular():
		return info.Mode().Perm(), nil
	}
	return fileMode, nil
}

// Write adds p, or fails with ErrTooLarge before it writes past the limit.
func (u *Upload) Write(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	if int64(len(p)) > u.left {
		u.err = fmt.Errorf("%s: %w", u.name, ErrTooLarge)
		return 0, u.err
	}
	n, err := u.file.Write(p)
	u.left -= int64(n)
	if err != nil {
		u.err = wrap(u.name, err)
	}
	return n, u.err
}

// Commit puts the file under its name. When it returns nil the bytes and the
// name are on disk. After a failed write it only cleans up and fails.
func (u *Upload) Commit() error {
	if u.err != nil {
		return errors.Join(u.err, u.Abort())
	}
	if err := u.file.Sync(); err != nil {
		return errors.Join(wrap(u.name, err), u.Abort())
	}
	if err := u.file.Close(); err != nil {
		return errors.Join(wrap(u.name, err), u.folder.root.Remove(u.part))
	}
	if err := u.folder.root.Rename(u.part, u.name); err != nil {
		return errors.Join(wrap(u.name, err), u.folder.root.Remove(u.part))
	}
	dir := path.Dir(u.name)
	// A new folder is only safe once the one above it is synced, too.
	for ; u.fresh && dir != "."; dir = path.Dir(dir) {
		if err := u.folder.syncDir(dir); err != nil {
			return err
		}
	}
	return u.folder.syncDir(dir)
}

// Abort drops what was written. After Commit it does nothing.
func (u *Upload) Abort() error {
	if err := u.file.Close(); errors.Is(err, fs.ErrClosed) {
		return nil
	} else if err != nil {
		return errors.Join(wrap(u.name, err), u.folder.root.Remove(u.part))
	}
	return u.folder.root.Remove(u.part)
}
