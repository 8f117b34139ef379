package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"anthill/services/internal/store"
)

const lockName = ".lock"

// lockRetry is how often a held home is tried again.
const lockRetry = 20 * time.Millisecond

// Hold takes a home for this process: to serve it, to copy it while nobody does,
// or to replace it. It tries for as long as wait, then fails with store.ErrInUse.
// Closing the file lets the home go, and so does the end of the process.
func Hold(home string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(home, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("hold the data directory: %w", err)
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(lockRetry) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("hold the data directory: %w", err), f.Close())
		case !time.Now().Before(deadline):
			return nil, errors.Join(store.ErrInUse, f.Close())
		}
	}
}

// Held says whether some process holds a home. It changes nothing there.
func Held(home string) (bool, error) {
	f, err := os.Open(filepath.Join(home, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // it was not even read
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
