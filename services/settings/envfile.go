package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"anthill/services/internal/fault"
)

const (
	maxEnvFile = 1 << 20
	// settled is how old a change must be before the file's times can be
	// trusted to show the next one: file systems stamp coarsely.
	settled = 2 * time.Second
	// rewrites bounds how often a write starts over because somebody else wrote.
	rewrites = 5
	tempMark = ".anthill-"
)

// envFile is a dotenv file shared with people and other programs.
type envFile struct {
	path    string
	now     func() time.Time
	cached  atomic.Pointer[reading]
	writing sync.Mutex
}

// reading is one look at the file. Its values are never changed.
type reading struct {
	info    fs.FileInfo
	values  map[string]string
	trusted bool
}

// assignment sets a name, or deletes it if the value is empty.
type assignment struct{ name, value string }

// values returns the assignments on disk: none if there is no file. The file is
// parsed again only when it changed.
func (f *envFile) values() (map[string]string, error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if c := f.cached.Load(); c != nil && c.trusted && sameState(c.info, info) {
		return c.values, nil
	}
	src, info, err := readEnv(f.path)
	if err != nil {
		return nil, err
	}
	if info == nil { // removed in between
		return nil, nil
	}
	c := &reading{info: info, values: parseDocument(src).values()}
	c.trusted = f.now().Sub(info.ModTime()) > settled
	f.cached.Store(c)
	return c.values, nil
}

// edit changes assignments and leaves every other byte alone. change is handed
// what is on disk at this moment; it runs again if somebody else writes
// meanwhile. Once the new contents are safe beside the file, commit runs, once;
// then they take the file's place in one step. An error of either comes back as
// it is and leaves the file as it was.
func (f *envFile) edit(change func(map[string]string) ([]assignment, error), commit func() error) error {
	f.writing.Lock()
	defer f.writing.Unlock()

	committed := false
	for try := 1; ; try++ {
		// A link to a file kept elsewhere stays a link.
		path, err := filepath.EvalSymlinks(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			path = f.path
		} else if err != nil {
			return err
		}
		src, before, err := readEnv(path)
		if err != nil {
			return err
		}
		doc := parseDocument(src)
		changes, err := change(doc.values())
		if err != nil {
			return err
		}
		for _, a := range changes {
			if a.value == "" {
				doc.remove(a.name)
			} else {
				doc.set(a.name, a.value)
			}
		}
		after := doc.bytes()
		if len(after) > maxEnvFile && len(after) > len(src) {
			return fault.New(fault.Invalid, "SETTINGS_TOO_LARGE", "The settings file would grow beyond 1 MiB, and could not be read any more.")
		}
		if bytes.Equal(src, after) {
			if committed {
				return nil
			}
			return commit()
		}
		temp, err := f.stage(path, after)
		if err != nil {
			return err
		}
		if !committed {
			if err := commit(); err != nil {
				return errors.Join(err, os.Remove(temp))
			}
			committed = true
		}
		if changedSince(path, before) && try < rewrites {
			if err := os.Remove(temp); err != nil {
				return err
			}
			continue
		}
		if err := os.Rename(temp, path); err != nil {
			return errors.Join(err, os.Remove(temp))
		}
		return syncDir(filepath.Dir(path))
	}
}

// stage writes the new contents to disk beside the file, for the owner's eyes only.
func (f *envFile) stage(path string, contents []byte) (temp string, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	// Only the folder that is known to be ours is closed to others, not
	// whatever folder a file was put into.
	if info, err := os.Stat(dir); err == nil && filepath.Base(dir) == ".anton" && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return "", err
		}
	}
	t, err := os.CreateTemp(dir, filepath.Base(path)+tempMark+"*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = t.Write(contents)
	if err == nil {
		err = t.Sync()
	}
	err = errors.Join(err, t.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(t.Name()))
	}
	return t.Name(), nil
}

// sweep removes what a write left behind when the process was killed in it.
func (f *envFile) sweep() error {
	dir, mark := filepath.Dir(f.path), filepath.Base(f.path)+tempMark
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), mark) {
			continue
		}
		info, err := e.Info()
		if err == nil && f.now().Sub(info.ModTime()) > time.Minute { // a younger one may be in use
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// readEnv returns the file's bytes and state; no info if there is no file.
func readEnv(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would block
		return nil, nil, fmt.Errorf("%s: not a regular file", path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	info, err = file.Stat()
	var src []byte
	if err == nil {
		src, err = io.ReadAll(io.LimitReader(file, maxEnvFile+1))
	}
	if err == nil && len(src) > maxEnvFile {
		err = fmt.Errorf("%s: larger than 1 MiB", path)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, nil, err
	}
	return src, info, nil
}

func sameState(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// changedSince says whether the file is not in the state that was read (nil: absent).
func changedSince(path string, before fs.FileInfo) bool {
	now, err := os.Stat(path)
	if err != nil {
		return before != nil || !errors.Is(err, fs.ErrNotExist)
	}
	return before == nil || !sameState(before, now)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
