package terminal

import (
	"context"
	"io"
	"sync"
	"time"
)

// Memory of one terminal: the newest bytes, for readers that keep up. It is
// given back when the terminal is quiet.
const (
	windowBytes = 256 << 10 // kept at least, while there is output
	windowMost  = 2 * windowBytes
	readMost    = 256 << 10 // bytes of one Chunk
	quietAfter  = 10 * time.Second
)

// Chunk is a piece of a terminal's output.
type Chunk struct {
	Offset    int64 // of its first byte in all that the terminal ever printed
	Data      []byte
	Truncated bool // bytes before Offset, that the reader had asked for, are not kept
}

// End is the offset behind the chunk.
func (c Chunk) End() int64 { return c.Offset + int64(len(c.Data)) }

// recording is all that one terminal printed: the newest bytes in memory, more
// in segments, the rest in the store. Offsets are absolute and never reused.
type recording struct {
	history *history // sealed chunks; it is asked without the lock

	mu      sync.Mutex
	window  []byte // ends at end
	end     int64
	fed     time.Time // when the last bytes came
	over    bool      // nothing more comes
	changed chan struct{}

	finished chan struct{} // closed with over
}

func newRecording(h *history, end int64) *recording {
	return &recording{history: h, end: end, changed: make(chan struct{}), finished: make(chan struct{})}
}

// append adds bytes that begin at an offset: end, or a later one where some are missing.
func (r *recording) append(at int64, p []byte, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at != r.end {
		r.window = r.window[:0]
	}
	r.end, r.fed = at+int64(len(p)), now
	if len(p) >= windowBytes {
		p = p[len(p)-windowBytes:]
		r.window = r.window[:0]
	}
	if len(r.window)+len(p) > windowMost {
		keep := windowBytes - len(p)
		r.window = append(r.window[:0], r.window[len(r.window)-keep:]...)
	}
	r.window = append(r.window, p...)
	r.wake()
}

// finish says that nothing more comes.
func (r *recording) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.over = true
		close(r.finished)
		r.wake()
	}
}

// wake is called with the lock held.
func (r *recording) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// relax gives the memory of a quiet terminal back.
func (r *recording) relax(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.fed) >= quietAfter {
		r.window = nil
	}
}

func (r *recording) bounds() (end int64, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end, r.over
}

// Reader follows the output of a terminal from an offset on: what is kept,
// then what comes, without a gap or anything twice. Not safe for concurrent use.
type Reader struct {
	recording *recording
	at        int64
}

// Offset is that of the next byte.
func (r *Reader) Offset() int64 { return r.at }

// Next returns what comes next, at most 256 KiB of it. It blocks until there is
// something; io.EOF: the terminal has ended and all was read. However slow the reader is,
// it holds nothing up: what left the memory is read from disk, and what is not
// kept any more is left out (Truncated).
func (r *Reader) Next(ctx context.Context) (Chunk, error) {
	for {
		if ctx.Err() != nil { // also when there is always more
			return Chunk{}, context.Cause(ctx)
		}
		c, changed := r.recent()
		if len(c.Data) > 0 {
			return c, nil
		}
		if changed != nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return Chunk{}, context.Cause(ctx)
			}
		}
		if r.at < 0 || !r.finished() {
			c, err := r.kept(ctx)
			if err != nil || len(c.Data) > 0 {
				return c, err
			}
			continue
		}
		return Chunk{}, io.EOF
	}
}

func (r *Reader) finished() bool {
	end, over := r.recording.bounds()
	return over && r.at >= end
}

// recent reads from memory. With neither data nor a channel to wait for, the
// bytes are on disk, or there are no more.
func (r *Reader) recent() (Chunk, <-chan struct{}) {
	rec := r.recording
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if r.at >= rec.end {
		r.at = rec.end // nobody can have read more
		if rec.over {
			return Chunk{}, nil
		}
		return Chunk{}, rec.changed
	}
	start := rec.end - int64(len(rec.window))
	if r.at < start || r.at < 0 {
		return Chunk{}, nil
	}
	from := rec.window[r.at-start:]
	c := Chunk{Offset: r.at, Data: append([]byte(nil), from[:min(len(from), readMost)]...)}
	r.at = c.End()
	return c, nil
}

// kept reads from disk. Without data, memory has what is next.
func (r *Reader) kept(ctx context.Context) (Chunk, error) {
	end, _ := r.recording.bounds()
	data, at, err := r.recording.history.read(ctx, max(r.at, 0), end, readMost)
	if err != nil {
		return Chunk{}, err
	}
	c := Chunk{Offset: at, Data: data, Truncated: r.at >= 0 && at > r.at || r.at < 0 && at > 0}
	if len(data) == 0 {
		at = min(at, end)
	}
	r.at = at + int64(len(data))
	return c, nil
}
