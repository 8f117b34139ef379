package terminal

import (
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"
)

// Sizes of recordings.
const (
	segmentBytes = 4 << 20   // of one segment
	defaultKeep  = 128 << 20 // of the history of one terminal
)

// A read this large is no echo of a key: more follows, and is gathered for a moment.
const (
	floodBytes = 2 << 10
	floodPause = 2 * time.Millisecond
)

// Record writes what comes from in to the recording in dir until in ends. It is
// the work of the process that tmux starts for each terminal, which outlives the
// server: `anthill terminal-recorder DIR KEEP`. A disk that is full does not stop it: in is read
// to its end, and what could not be written is a gap of its exact length.
// Beyond keep bytes (0: 128 MiB) the oldest segments are dropped.
func Record(dir string, keep int64, in io.Reader) error {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE) // its life is that of the pipe
	if keep <= 0 {
		keep = defaultKeep
	}
	w, err := openSegments(dir, segmentBytes, keep, time.Now)
	if err != nil && w == nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			w.write(buf[:n])
		}
		if n >= floodBytes {
			time.Sleep(floodPause) // fewer, larger writes leave tmux more of the processor
		}
		if errors.Is(err, io.EOF) {
			return w.close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("terminal: read from the terminal: %w", err), w.close())
		}
	}
}
