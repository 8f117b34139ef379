package bolt

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"anthill/services/internal/store"
)

// lockRetry is how often a held lock is tried again.
const lockRetry = 20 * time.Millisecond

// openFile opens and locks the file and checks it before bbolt maps it: bbolt
// trusts what it reads. It says whether the file is new.
func openFile(path string, flag int, mode os.FileMode, timeout time.Duration, log *slog.Logger) (_ *os.File, isNew bool, err error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := lock(f, timeout); err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if info.Mode().Perm()&0o077 != 0 { // such as a restored backup
		if err := f.Chmod(mode); err != nil {
			return nil, false, err
		}
	}
	if info.Size() == 0 {
		return f, true, nil
	}
	warning, err := check(f, info.Size())
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if warning != "" {
		log.Warn(warning)
	}
	return f, false, nil
}

// lock takes the same lock as bbolt will on the same descriptor, so that the
// check before it reads a file that nobody writes.
func lock(f *os.File, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(lockRetry) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock: %w", err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: stop that process, or use another data folder", store.ErrInUse)
		}
	}
}

func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
