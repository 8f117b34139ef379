package terminals

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/screen"
)

// A screen is drawn at about 10 MB/s, output can come five times as fast, and the processors have better things to
// do. So a screen that is farBehind leaves out what would have scrolled past anyway: it takes only the modes from it
// and, once the output is calm, or at the latest after floodFor or when somebody wants to see it, draws the last
// tailBytes from the beginning of a line.
const (
	farBehind  = 256 << 10
	tailBytes  = 128 << 10 // about what is kept above a screen
	drawStep   = 32 << 10  // drawn at once: who looks waits no longer than that takes
	calmAfter  = 20 * time.Millisecond
	floodFor   = 500 * time.Millisecond
	floodPause = 5 * time.Millisecond // between two looks at a flood
	showLimit  = time.Second          // how long somebody waits for a screen that is behind
)

// shown is how far a screen has come with the output of its terminal. The zero value is at the beginning.
type shown struct {
	mu     sync.Mutex
	offset int64         // what is before is drawn, or was left out
	wanted int64         // somebody waits for what is before
	drawn  chan struct{} // closed when offset rises; nil: nobody waits
	over   bool          // nothing more comes
	sizes  []sizing      // not there yet, in order
}

// sizing is a size that a terminal has from an offset on.
type sizing struct {
	at int64
	to size
}

// wait waits until everything before an offset is drawn, for a second at most.
func (s *shown) wait(ctx context.Context, offset int64) {
	ctx, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	for {
		s.mu.Lock()
		if s.over || s.offset >= offset {
			s.mu.Unlock()
			return
		}
		s.wanted = max(s.wanted, offset)
		if s.drawn == nil {
			s.drawn = make(chan struct{})
		}
		drawn := s.drawn
		s.mu.Unlock()
		select {
		case <-drawn:
		case <-ctx.Done():
			return
		}
	}
}

// snapshot is the screen, and the offset of what it does not show yet.
func (s *shown) snapshot(of *screen.Screen) (screen.Snapshot, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of.Snapshot(), s.offset
}

// resize gives the screen the size that its terminal has from an offset on.
func (s *shown) resize(of *screen.Screen, at int64, to size) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes = append(s.sizes, sizing{at, to})
	s.settle(of)
}

// settle does the sizes whose time has come.
func (s *shown) settle(of *screen.Screen) {
	for len(s.sizes) > 0 && s.sizes[0].at <= s.offset {
		of.Resize(s.sizes[0].to.cols, s.sizes[0].to.rows)
		s.sizes = s.sizes[1:]
	}
}

// rise says how far the screen is now.
func (s *shown) rise(offset int64) {
	s.offset = offset
	if s.drawn != nil {
		close(s.drawn)
		s.drawn = nil
	}
}

func (s *shown) want() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted
}

// finish says that nothing more comes.
func (s *shown) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.rise(s.offset)
}

// follow draws the output of a terminal on its screen, until all is drawn or the room closes. It is not in the way
// of any byte: it reads the recording, as viewers do.
func (r *Room) follow(s *seat) {
	defer s.shown.finish()
	f := &follower{seat: s, closing: r.base.Done()}
	err := f.run(r.base)
	f.note(true)
	if err != nil && !errors.Is(err, io.EOF) && r.base.Err() == nil {
		r.opt.Log.Error("a screen does not follow its terminal any more", "terminal", s.t.ID(), "error", err)
	}
}

// follower draws one screen.
type follower struct {
	*seat
	closing <-chan struct{} // of the room
	reader  *terminal.Reader
	flood   bool // output was left out just now, and more came at once
	noted   screenNote
	asOf    time.Time // when it was noted
}

func (f *follower) run(ctx context.Context) error {
	if err := f.begin(ctx); err != nil {
		return err
	}
	for {
		c, err := f.next(ctx)
		limit := int64(farBehind)
		if f.flood {
			limit = drawStep
		}
		if err == nil && f.t.End()-c.End() > limit {
			err = f.leaveOut(ctx, c)
		} else if err == nil {
			f.draw(c)
		}
		if err != nil {
			return err
		}
		f.note(false)
	}
}

// next is what comes next. What is noted is brought up to date meanwhile.
func (f *follower) next(ctx context.Context) (terminal.Chunk, error) {
	if f.modes() != f.noted.Modes {
		c, err := f.within(ctx, noteEvery)
		if !errors.Is(err, errCalm) {
			return c, err
		}
		f.note(true)
	}
	return f.reader.Next(ctx)
}

// errCalm says that nothing came for a while.
var errCalm = errors.New("terminals: nothing comes")

// within is what comes next, if it comes soon.
func (f *follower) within(ctx context.Context, d time.Duration) (terminal.Chunk, error) {
	soon, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c, err := f.reader.Next(soon)
	if err != nil && soon.Err() != nil && ctx.Err() == nil {
		err = errCalm
	}
	return c, err
}

// draw draws a piece of output, in steps, as long as the room is open.
func (f *follower) draw(c terminal.Chunk) {
	for data, at := c.Data, c.Offset; len(data) > 0; {
		select {
		case <-f.closing:
			return
		default:
		}
		f.shown.mu.Lock()
		n := min(len(data), drawStep)
		if len(f.shown.sizes) > 0 {
			n = min(n, int(max(f.shown.sizes[0].at-at, 1)))
		}
		_, _ = f.screen.Write(data[:n]) // it never fails
		data, at = data[n:], at+int64(n)
		f.shown.rise(at)
		f.shown.settle(f.screen)
		f.shown.mu.Unlock()
	}
}

// skip takes a piece of output without drawing it.
func (f *follower) skip(data []byte, end int64) {
	f.shown.mu.Lock()
	defer f.shown.mu.Unlock()
	f.screen.Skip(data)
	f.shown.offset = end // not risen: there is nothing to see
	f.shown.settle(f.screen)
}

// leaveOut goes through a flood and draws its end.
func (f *follower) leaveOut(ctx context.Context, c terminal.Chunk) error {
	began := time.Now()
	land := f.drawAll // as long as nothing was left out
	var tail []byte
	for {
		tail = append(tail, c.Data...)
		end := c.End()
		if cut := len(tail) - tailBytes; cut > tailBytes { // seldom: what is left is moved
			f.skip(tail[:cut], end-tailBytes)
			tail, land = append(tail[:0], tail[cut:]...), f.land
		}
		enough := time.Since(began) > floodFor || f.shown.want() > end-int64(len(tail))
		if enough && f.t.End()-end <= farBehind {
			f.flood = true
			land(tail, end)
			return nil
		}
		pause(ctx, floodPause)
		var err error
		if c, err = f.within(ctx, calmAfter); err != nil {
			f.flood = false
			land(tail, end)
			if errors.Is(err, errCalm) {
				return nil
			}
			return err
		}
	}
}

// pause waits a moment.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// land draws again, from the beginning of a line if there is one.
func (f *follower) land(tail []byte, end int64) {
	if cut := len(tail) - tailBytes; cut > 0 {
		f.skip(tail[:cut], end-tailBytes)
		tail = tail[cut:]
	}
	if i := bytes.IndexByte(tail, '\n'); i >= 0 {
		f.skip(tail[:i+1], end-int64(len(tail)-i-1))
		tail = tail[i+1:]
	}
	f.drawAll(tail, end)
}

// drawAll draws output that goes up to an offset.
func (f *follower) drawAll(data []byte, end int64) {
	f.draw(terminal.Chunk{Offset: end - int64(len(data)), Data: data})
}

// begin brings the screen to where the terminal is. One that just began is drawn from its first byte. One that a
// former process of ours followed too is drawn from a while ago, with the modes that were noted; what tmux shows
// decides about the text.
func (f *follower) begin(ctx context.Context) error {
	begin, end := f.t.Begin(), f.t.End()
	note, known := readNote(f.t.Folder())
	known = known && note.Pid == f.t.Pid() && note.Offset >= begin && note.Offset <= end
	from := begin
	if end-begin > tailBytes {
		from = end - tailBytes
	}
	since := max(begin, from-skimBytes)
	if known {
		f.screen.SetModes(note.Modes)
		since = min(note.Offset, from)
	}
	f.reader = f.t.Reader(since)
	for f.reader.Offset() < from {
		c, err := f.next(ctx)
		if err != nil {
			return err
		}
		if c.End() <= from {
			f.skip(c.Data, c.End())
			continue
		}
		f.skip(c.Data[:max(0, from-c.Offset)], from)
		f.land(c.Data[max(0, from-c.Offset):], c.End())
	}
	if known {
		return f.compare(ctx)
	}
	f.note(true)
	return nil
}

const skimBytes = 16 << 20 // gone through for modes when none were noted

// compare puts what the host of the terminal shows on the screen, if that is known of a moment.
func (f *follower) compare(ctx context.Context) error {
	for range 5 {
		end := f.t.End()
		for f.reader.Offset() < end {
			c, err := f.next(ctx)
			if err != nil {
				return err
			}
			f.draw(c)
		}
		s, err := f.t.Screen(ctx)
		if err != nil || s.Data == nil {
			return nil //nolint:nilerr // the terminal has ended, or nobody knows: what was recorded is shown
		}
		if f.reader.Offset() != f.t.End() {
			continue
		}
		f.shown.mu.Lock()
		cols, rows := f.t.Size()
		if cols > 0 && rows > 0 {
			f.screen.Resize(cols, rows)
		}
		now := f.screen.Snapshot()
		host := screen.New(now.Cols, now.Rows)
		_, _ = host.Write(s.Data)
		f.screen.Show(host.Snapshot())
		f.shown.mu.Unlock()
		return nil
	}
	return nil // it prints all the time: what it prints is shown
}

// screenNote is what is kept of a screen for the next process, beside the recording.
type screenNote struct {
	Pid    int          `json:"pid"`
	Offset int64        `json:"offset"`
	Modes  screen.Modes `json:"modes"`
}

const (
	noteName  = "screen.json"
	noteEvery = 250 * time.Millisecond
	noteBytes = 4 << 20 // of output, after which it is noted anew
)

func readNote(dir string) (n screenNote, ok bool) {
	data, err := os.ReadFile(filepath.Join(dir, noteName))
	return n, err == nil && json.Unmarshal(data, &n) == nil
}

func (f *follower) modes() screen.Modes { return f.screen.Modes() }

// note keeps the modes when they have changed, and how far they were looked for. A note that cannot be written costs
// the next process a longer look.
func (f *follower) note(now bool) {
	f.shown.mu.Lock()
	n := screenNote{f.t.Pid(), f.shown.offset, f.screen.Modes()}
	f.shown.mu.Unlock()
	changed, far := n.Modes != f.noted.Modes, n.Offset-f.noted.Offset >= noteBytes
	if !now && (!changed && !far || time.Since(f.asOf) < noteEvery) || n == f.noted {
		return
	}
	f.noted, f.asOf = n, time.Now()
	data, err := json.Marshal(n)
	if err != nil {
		return
	}
	path := filepath.Join(f.t.Folder(), noteName)
	if os.WriteFile(path+".new", data, 0o600) == nil {
		_ = os.Rename(path+".new", path)
	}
}
