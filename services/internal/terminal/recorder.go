package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"anthill/services/internal/terminal/launcher"
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
	if lock, err := launcher.Lock(dir); err == nil { // else the launcher waits for less long
		defer lock.Close()
	}
	w, err := openSegments(dir, segmentBytes, keep, time.Now)
	if err != nil && w == nil {
		return err
	}
	news := openAnnouncer(dir)
	f := markFilter{write: w.write, seen: func() { launcher.Seen(dir) }}
	if token := launcher.Token(dir); token != "" {
		f.mark = launcher.Mark(token)
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := in.Read(buf)
		f.pass(buf[:n])
		news.tell()
		if n >= floodBytes {
			time.Sleep(floodPause) // fewer, larger writes leave tmux more of the processor
		}
		if err == nil {
			continue
		}
		f.flush()
		closed := w.close()
		news.tell()
		if errors.Is(err, io.EOF) {
			return closed
		}
		return errors.Join(fmt.Errorf("terminal: read from the terminal: %w", err), closed)
	}
}

// markFilter takes the launcher's mark out of what a terminal prints, in pieces cut anywhere.
type markFilter struct {
	mark  []byte // empty: none is expected
	held  []byte // the beginning of a mark, or of something else
	write func([]byte)
	seen  func()
}

// pass writes p but for marks and what may be the beginning of one.
func (f *markFilter) pass(p []byte) {
	if len(f.held) > 0 {
		p = append(f.held, p...)
		f.held = nil
	}
	if len(f.mark) > 0 {
		for i := bytes.Index(p, f.mark); i >= 0; i = bytes.Index(p, f.mark) {
			if i > 0 {
				f.write(p[:i])
			}
			f.seen()
			p = p[i+len(f.mark):]
		}
		for n := min(len(f.mark)-1, len(p)); n > 0; n-- {
			if bytes.HasSuffix(p, f.mark[:n]) {
				f.held = bytes.Clone(f.mark[:n])
				p = p[:len(p)-n]
				break
			}
		}
	}
	if len(p) > 0 {
		f.write(p)
	}
}

// flush writes what is held: nothing more comes.
func (f *markFilter) flush() {
	if len(f.held) > 0 {
		f.write(f.held)
		f.held = nil
	}
}
