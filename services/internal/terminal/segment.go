package terminal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A recording is a folder of segments, each named after the offset of its first
// byte. They only grow at the end of the last one. Where one does not begin at
// the end of the one before it, bytes are missing. Beside each lie marks: when
// its bytes were written.
const (
	segmentSuffix = ".seg"
	marksSuffix   = ".times"
	closedName    = "closed" // exists when nothing more will be recorded
	exitName      = "exit"   // Exit as JSON
	specName      = "spec"   // note as JSON

	markSize  = 16                     // offset and milliseconds, big endian
	markEvery = 100 * time.Millisecond // precision of times
)

// segment is a file of a recording.
type segment struct {
	start int64
	size  int64
}

func (s segment) end() int64 { return s.start + s.size }

func segmentPath(dir string, start int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", start)+segmentSuffix)
}

func marksPath(dir string, start int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", start)+marksSuffix)
}

// segments lists the segments of a recording in order; none if dir is missing.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("terminal: list segments: %w", err)
	}
	var found []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok || len(name) != 20 || !e.Type().IsRegular() {
			continue
		}
		start, err := strconv.ParseInt(name, 10, 64)
		if err != nil || start < 0 {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		found = append(found, segment{start, info.Size()})
	}
	slices.SortFunc(found, func(a, b segment) int { return int(min(1, max(-1, a.start-b.start))) })
	return found, nil
}

// segmentWriter appends to a recording. A disk that is full costs the bytes that
// do not fit, never a wait: their place stays free, so readers see the gap.
type segmentWriter struct {
	dir    string
	rotate int64 // a segment this large is followed by another
	keep   int64 // bytes of segments that are kept when nobody takes them away
	now    func() time.Time

	file, marks *os.File
	start, end  int64 // of the open segment; end is where the next byte goes
	marked      time.Time
	retry       time.Time // when a full disk is tried again
}

// openSegments goes on with the recording in dir, or begins it. An offset stays free when the
// former writer ended without saying so: nobody knows what it missed.
func openSegments(dir string, rotate, keep int64, now func() time.Time) (*segmentWriter, error) {
	w := &segmentWriter{dir: dir, rotate: rotate, keep: keep, now: now}
	have, err := segments(dir)
	if err != nil {
		return nil, err
	}
	if from, err := os.ReadFile(filepath.Join(dir, beginName)); err == nil {
		if w.end, err = strconv.ParseInt(strings.TrimSpace(string(from)), 10, 64); err != nil {
			return nil, fmt.Errorf("terminal: read where the recording begins: %w", err)
		}
	}
	if n := len(have); n > 0 && have[n-1].end() > w.end {
		w.end = have[n-1].end() + 1
	}
	return w, w.open()
}

// beginName holds the offset at which the recorder begins, in decimal.
const beginName = "begin"

// open starts the segment at end.
func (w *segmentWriter) open() error {
	file, err := os.OpenFile(segmentPath(w.dir, w.end), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("terminal: open a segment: %w", err)
	}
	// Marks are only about times: a recording without them is still whole.
	marks, err := os.OpenFile(marksPath(w.dir, w.end), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		marks = nil
	}
	w.file, w.marks, w.start, w.marked = file, marks, w.end, time.Time{}
	return nil
}

func (w *segmentWriter) closeSegment() {
	if w.file == nil {
		return
	}
	_ = w.file.Close() // every write was checked
	if w.marks != nil {
		_ = w.marks.Close() // only times are lost
	}
	if info, err := os.Stat(segmentPath(w.dir, w.start)); err == nil && info.Size() == 0 {
		removeSegment(w.dir, w.start)
	}
	w.file, w.marks = nil, nil
}

func removeSegment(dir string, start int64) {
	_ = os.Remove(segmentPath(dir, start)) // tried again with the next one
	_ = os.Remove(marksPath(dir, start))
}

// write records p, or what of it the disk takes.
func (w *segmentWriter) write(p []byte) {
	now := w.now()
	if w.file == nil {
		wait := now.Before(w.retry)
		if !wait && w.open() != nil {
			wait, w.retry = true, now.Add(markEvery)
		}
		if wait {
			w.end += int64(len(p))
			return
		}
	}
	if now.Sub(w.marked) >= markEvery {
		w.mark(now)
	}
	n, err := w.file.Write(p)
	w.end += int64(len(p))
	if err != nil || n < len(p) {
		w.closeSegment()
		w.retry = now.Add(markEvery)
		return
	}
	if w.end-w.start >= w.rotate {
		w.closeSegment()
		w.prune()
		if w.open() != nil {
			w.retry = now.Add(markEvery)
		}
	}
}

// mark notes when the next byte is written.
func (w *segmentWriter) mark(now time.Time) {
	w.marked = now
	if w.marks == nil {
		return
	}
	var m [markSize]byte
	binary.BigEndian.PutUint64(m[:], uint64(w.end))
	binary.BigEndian.PutUint64(m[8:], uint64(now.UnixMilli()))
	_, _ = w.marks.Write(m[:]) // only a time is lost
}

// prune removes the oldest segments that are too much.
func (w *segmentWriter) prune() {
	have, err := segments(w.dir)
	if err != nil {
		return
	}
	var total int64
	for _, s := range have {
		total += s.size
	}
	for _, s := range have {
		if total <= w.keep || s.start >= w.start {
			return
		}
		removeSegment(w.dir, s.start)
		total -= s.size
	}
}

// close says that nothing more comes.
func (w *segmentWriter) close() error {
	w.closeSegment()
	if err := os.WriteFile(filepath.Join(w.dir, closedName), strconv.AppendInt(nil, w.end, 10), 0o600); err != nil {
		return fmt.Errorf("terminal: close the recording: %w", err)
	}
	return nil
}

// mark is a moment of a recording: bytes from offset on were written at ms or later.
type mark struct {
	offset, ms int64
}

// readMarks returns the marks of a segment in order; a torn last one is left out.
func readMarks(dir string, start int64) []mark {
	data, err := os.ReadFile(marksPath(dir, start))
	if err != nil {
		return nil
	}
	var marks []mark
	for ; len(data) >= markSize; data = data[markSize:] {
		marks = append(marks, mark{int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint64(data[8:]))})
	}
	return marks
}

// tail reads a recording from an offset on, across segments.
type tail struct {
	dir   string
	file  *os.File
	start int64 // of the open segment
	at    int64 // of the next byte
}

// read returns the next bytes that are there, and the offset of the first of
// them, which is above the last end where bytes are missing. n is 0 when there
// is nothing more now.
func (t *tail) read(buf []byte) (n int, at int64, err error) {
	for {
		if t.file != nil {
			n, err := t.file.ReadAt(buf, t.at-t.start)
			if n > 0 {
				at, t.at = t.at, t.at+int64(n)
				return n, at, nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, t.at, fmt.Errorf("terminal: read a segment: %w", err)
			}
		}
		moved, err := t.next()
		if err != nil || !moved {
			return 0, t.at, err
		}
	}
}

// complete says whether more of the recording is to be found in another segment.
func (t *tail) complete() bool { return t.file != nil && t.at-t.start >= segmentBytes }

// next moves to the segment that has the next byte, once the open one is
// complete and read.
func (t *tail) next() (bool, error) {
	have, err := segments(t.dir)
	if err != nil {
		return false, err
	}
	for i, s := range have {
		last := i == len(have)-1
		if t.file != nil && s.start <= t.start || s.end() <= t.at && !last || t.file == nil && last && s.end() < t.at {
			continue
		}
		if t.file != nil {
			// There is a later one, so this one is complete; what it got
			// since we looked comes first.
			if info, err := t.file.Stat(); err == nil && t.start+info.Size() > t.at {
				return true, nil
			}
		}
		f, err := os.Open(segmentPath(t.dir, s.start))
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return false, fmt.Errorf("terminal: open a segment: %w", err)
		}
		t.close()
		t.file, t.start, t.at = f, s.start, max(t.at, s.start)
		return true, nil
	}
	return false, nil
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // only read
		t.file = nil
	}
}
