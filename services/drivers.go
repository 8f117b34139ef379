package services

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"anthill/services/agents"
	"anthill/services/internal/terminal/driver"
)

// driversDir is the user's folder of drivers.
func driversDir(home string) string { return filepath.Join(home, "drivers") }

// DriverProblems says, one line each, which drivers in the user's folder cannot be used.
func DriverProblems(home string) (lines []string) {
	_, problems := driver.Load(driversDir(home))
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return lines
}

// loadDrivers reads the drivers, and says what cannot be used.
func loadDrivers(home string, log *slog.Logger) *driver.Set {
	set, problems := driver.Load(driversDir(home))
	for _, p := range problems {
		log.Warn("a driver cannot be used", "file", p.File, "line", p.Line, "reason", p.Reason)
	}
	return set
}

// driversSettle is how long the folder has to be left alone before it is read: an
// editor writes more than once.
const driversSettle = 300 * time.Millisecond

// followDrivers reads the drivers again when the user's folder changes, until it is
// closed. Where none can be watched they are read at start alone.
func followDrivers(home string, room *agents.Room, log *slog.Logger) (stop func(context.Context) error) {
	w, err := watchFolder(driversDir(home))
	if err != nil {
		log.Warn("the folder of drivers is not watched: a change needs a restart", "error", err)
		return func(context.Context) error { return nil }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var settled <-chan time.Time
		for {
			select {
			case _, more := <-w.Events:
				if !more {
					return
				}
				settled = time.After(driversSettle)
			case err, more := <-w.Errors:
				if !more {
					return
				}
				log.Warn("the folder of drivers: changes may be missed", "error", err)
			case <-settled:
				settled = nil
				room.SetDrivers(loadDrivers(home, log))
			}
		}
	}()
	return func(context.Context) error {
		err := w.Close()
		<-done
		return err
	}
}

// watchFolder makes a folder if there is none, and watches it.
func watchFolder(dir string) (*fsnotify.Watcher, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(dir); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}
