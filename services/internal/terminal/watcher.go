package terminal

import (
	"fmt"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// watcher wakes whoever follows a file that another process writes.
type watcher struct {
	fs *fsnotify.Watcher

	mu   sync.Mutex
	wake map[string]chan struct{} // by folder
	done sync.WaitGroup
}

func openWatcher() (*watcher, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("terminal: watch files: %w", err)
	}
	w := &watcher{fs: fs, wake: map[string]chan struct{}{}}
	w.done.Go(w.run)
	return w, nil
}

func (w *watcher) run() {
	for {
		select {
		case e, ok := <-w.fs.Events:
			if !ok {
				return
			}
			w.tell(filepath.Dir(e.Name))
		case _, ok := <-w.fs.Errors: // events were lost: everybody looks
			if !ok {
				return
			}
			w.tellAll()
		}
	}
}

func (w *watcher) tell(dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	notify(w.wake[dir])
}

func (w *watcher) tellAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, wake := range w.wake {
		notify(wake)
	}
}

func notify(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default: // not watched (nil), or it will look anyway
	}
}

// add returns a channel that receives after something in a folder has changed.
// Without a watch (their number is limited by the system) it never does:
// followers look now and then by themselves.
func (w *watcher) add(dir string) (<-chan struct{}, error) {
	wake := make(chan struct{}, 1)
	w.mu.Lock()
	w.wake[dir] = wake
	w.mu.Unlock()
	return wake, w.fs.Add(dir)
}

func (w *watcher) remove(dir string) {
	w.mu.Lock()
	delete(w.wake, dir)
	w.mu.Unlock()
	_ = w.fs.Remove(dir) // it may be gone
}

func (w *watcher) close() {
	_ = w.fs.Close() // nothing is written by it
	w.done.Wait()
}
