package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// swapName is the file that stands in a home while its data is exchanged.
const swapName = "restore.json"

// commit writes down what is to be renamed. Once it is on disk the restore has
// happened, whatever comes: Finish goes on from any point.
func (s *swap) commit(home string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp := filepath.Join(s.Stage, swapName)
	if err := writeSynced(temp, b); err != nil {
		return errors.Join(err, s.drop())
	}
	if err := os.Rename(temp, filepath.Join(home, swapName)); err != nil {
		return errors.Join(err, s.drop())
	}
	return syncPath(home)
}

// Finish completes a restore that was cut off in its renames. Whoever opens a
// home calls it first, holding the home.
func Finish(home string) error {
	path := filepath.Join(home, swapName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var s swap
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("an unfinished restore cannot be read: %s: %w", path, err)
	}
	if err := s.run(home); err != nil {
		return fmt.Errorf("finish a restore: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return errors.Join(syncPath(home), os.RemoveAll(s.Stage))
}

// asides are the folders that got something.
func (s *swap) asides() (list []string) {
	for _, dir := range []string{s.Aside, s.ProjectsAside} {
		if _, err := os.Lstat(dir); err == nil && (dir == s.Aside || filepath.Dir(dir) != s.Aside) {
			list = append(list, dir)
		}
	}
	return list
}

// run does what is not done yet: a new part that is still staged has not taken
// its place.
func (s *swap) run(home string) error {
	if err := exchange(filepath.Join(s.Stage, "store"), filepath.Join(home, "store"), filepath.Join(s.Aside, "store")); err != nil {
		return err
	}
	if err := exchange(filepath.Join(s.Stage, uploadsName), filepath.Join(home, uploadsName), filepath.Join(s.Aside, uploadsName)); err != nil {
		return err
	}
	return exchange(s.ProjectsStage, s.Projects, s.ProjectsAside)
}

// exchange moves next to place, and what is there to aside.
func exchange(next, place, aside string) error {
	if _, err := os.Lstat(next); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// An empty folder need not be kept.
	if err := syscall.Rmdir(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(aside), 0o700); err != nil {
			return err
		}
		if err := os.Rename(place, aside); err != nil {
			return err
		}
		if err := syncPath(filepath.Dir(aside)); err != nil {
			return err
		}
	}
	if err := os.Rename(next, place); err != nil {
		return err
	}
	return syncPath(filepath.Dir(place))
}

func writeSynced(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
