package terminal

import (
	"context"
	"fmt"

	"github.com/fsnotify/fsnotify"
)

// watch returns a channel that receives after something in a folder has changed, until ctx ends. It never does
// when there is an error.
func watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		err = w.Add(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("terminal: watch files: %w", err)
	}
	changed := make(chan struct{}, 1)
	go func() {
		defer w.Close()
		for {
			select {
			case <-w.Events:
			case <-w.Errors: // events were lost
			case <-ctx.Done():
				return
			}
			notify(changed)
		}
	}()
	return changed, nil
}

func notify(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default: // it will look anyway
	}
}
