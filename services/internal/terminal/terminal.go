package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Terminal is one that runs, or has just ended. Safe for concurrent use.
type Terminal struct {
	id      string
	engine  *Engine
	history *history
	record  *recording
	proc    Process
	writer  *segmentWriter // of a host that does not record by itself
	news    *os.File       // of its start and what is recorded; nil: the host does not record by itself
	input   chan struct{}  // held by whose input is written; waiting is in order
	work    sync.WaitGroup
	marker  string        // in the environment of what runs in it
	over    chan struct{} // closed when it has ended and all is recorded

	resizing sync.Mutex // one at a time

	mu     sync.Mutex // guards what follows; events are told without it
	parser markParser
	parsed int64 // the parser has seen the bytes below
	safe   int64 // where the parser was last between two sequences
	marks  markState
	cols   int
	rows   int
}

const (
	sealAfter  = 250 * time.Millisecond // how long bytes are in segments alone
	sealRetry  = 5 * time.Second        // when the store refused
	lookEvery  = time.Second            // for changes that no notice came of
	closeLimit = 5 * time.Second        // how long the recorder may take to finish
)

func (e *Engine) newTerminal(id string, h *history) (*Terminal, error) {
	state := h.now()
	t := &Terminal{id: id, engine: e, history: h, record: newRecording(h, state.Sealed),
		input: make(chan struct{}, 1), over: make(chan struct{})}
	t.parser.markState, t.parsed, t.safe, t.marks = state.Marks, state.Parsed, state.Parsed, state.Marks
	t.parser.onBlock = func(b Block) { e.opt.Tell(Event{ID: id, Block: &b}) }
	t.parser.onCwd = func(dir string) { e.opt.Tell(Event{ID: id, Cwd: &dir}) }
	t.parser.onTitle = func(title string) { e.opt.Tell(Event{ID: id, Title: &title}) }
	if !e.host.Persistent() {
		return t, nil
	}
	var err error
	if t.news, err = openNews(h.dir); err != nil {
		return nil, err
	}
	return t, nil
}

// recordingTo is where the host puts what the program prints.
func (t *Terminal) recordingTo() Recording {
	return Recording{Dir: t.history.dir, Sink: t.sink, News: t.news}
}

// sink records what a host that cannot do it by itself has read.
func (t *Terminal) sink(p []byte) {
	if t.writer == nil {
		w, err := openSegments(t.history.dir, segmentBytes, t.engine.opt.Keep, time.Now)
		if w == nil {
			t.engine.opt.Log.Error("a terminal is not recorded", "terminal", t.id, "error", err)
			return
		}
		t.writer = w
	}
	at := t.writer.end
	t.writer.write(p)
	t.feed(at, p, time.Now())
}

// abandon undoes newTerminal.
func (t *Terminal) abandon() {
	if t.news != nil {
		_ = t.news.Close() // only read
	}
}

// begin starts what goes on while the terminal runs.
func (t *Terminal) begin() {
	if t.engine.host.Persistent() {
		t.work.Go(t.follow)
	}
	t.work.Go(t.keep)
	go t.await()
}

// await carries out the end of the program.
func (t *Terminal) await() {
	select {
	case <-t.proc.Done():
	case <-t.engine.base.Done():
		return
	}
	e, exit := t.engine, t.proc.Exit()
	if err := writeJSON(t.history.dir, exitName, exit); err != nil {
		e.opt.Log.Warn("the end of a terminal is not noted", "terminal", t.id, "error", err)
	}
	if exit.Code < 0 && exit.Signal == 0 { // the host lost it: nothing of it may stay
		f := familyOf(t.proc, t.marker)
		f.spare = 0
		f.end(e.base, t.proc.Done(), time.Second)
	}
	if err := t.proc.Release(context.WithoutCancel(e.base)); err != nil {
		e.opt.Log.Warn("a terminal that ended is still in its host", "terminal", t.id, "error", err)
	}
	if !e.host.Persistent() {
		if t.writer != nil {
			if err := t.writer.close(); err != nil {
				e.opt.Log.Warn("a recording is not closed", "terminal", t.id, "error", err)
			}
		}
		t.record.finish()
	}
	t.work.Wait() // all is read and sealed
	if _, over := t.record.bounds(); !over {
		return // the engine closes
	}
	e.mu.Lock()
	delete(e.terminals, t.id)
	e.mu.Unlock()
	close(t.over)
	e.opt.Tell(Event{ID: t.id, Exit: &exit})
}

// follow reads what the recorder writes, until the terminal has ended or the engine closes.
func (t *Terminal) follow() {
	stop := context.AfterFunc(t.engine.base, func() { _ = t.news.Close() }) // only read
	defer func() {
		if stop() {
			_ = t.news.Close()
		}
	}()
	from := t.record.end // nothing else changes it
	t.reparse(from)
	tail := tail{dir: t.history.dir, at: from}
	defer tail.close()
	buf := make([]byte, readMost)
	var limit time.Time // for the recorder, once the program has ended
	caughtUp := false
	var marks []mark
	opened := int64(-1)
	for t.engine.base.Err() == nil { // what comes later is read by the next process
		n, at, err := tail.read(buf)
		if n == 0 && exists(filepath.Join(t.history.dir, closedName)) {
			if n, at, err = tail.read(buf); n == 0 { // what came before that is all
				t.record.finish()
				return
			}
		}
		if err != nil {
			t.engine.opt.Log.Error("a recording cannot be read", "terminal", t.id, "error", err)
		}
		if n > 0 {
			when := time.Now()
			if !caughtUp {
				if opened != tail.start {
					opened, marks = tail.start, readMarks(tail.dir, tail.start)
				}
				if written := timeAt(marks, at); !written.IsZero() {
					when = written
				}
			}
			t.feed(at, buf[:n], when)
			switch {
			case n == len(buf) || tail.complete():
				continue
			case n >= floodBytes:
				t.pause(floodPause) // false: it is seen above
				continue
			}
		}
		caughtUp = true
		if closed(t.proc.Done()) {
			if limit.IsZero() {
				limit = time.Now().Add(closeLimit)
			}
			if time.Now().After(limit) { // the recorder died
				t.record.finish()
				return
			}
		}
		await(t.news, lookEvery)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// reparse gives the parser what is sealed and that it has not seen.
func (t *Terminal) reparse(end int64) {
	for t.parsed < end {
		data, at, err := t.history.read(t.engine.base, t.parsed, end, readMost)
		if err != nil || len(data) == 0 {
			break
		}
		t.parse(at, data, time.Now())
	}
	t.mu.Lock()
	t.parsed = max(t.parsed, end)
	t.mu.Unlock()
}

// feed takes bytes that were recorded. They can be read before an event names them.
func (t *Terminal) feed(at int64, p []byte, when time.Time) {
	t.record.append(at, p, time.Now())
	t.parse(at, p, when)
}

// parse gives the parser what it has not seen of p.
func (t *Terminal) parse(at int64, p []byte, when time.Time) {
	end := at + int64(len(p))
	t.mu.Lock()
	seen := t.parsed
	t.mu.Unlock()
	if end <= seen {
		return
	}
	if at < seen {
		p, at = p[seen-at:], seen
	}
	t.parser.feed(at, p, when) // this goroutine's alone
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parsed = end
	if s, ok := t.parser.snapshot(); ok {
		t.safe, t.marks = end, s
	}
}

// note writes what the parser knows beside what is sealed.
func (t *Terminal) note(s *sealState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Parsed, s.Marks = t.safe, t.marks
}

func (t *Terminal) parsedEnd() int64 {
	end, _ := t.record.bounds()
	return end
}

// keep seals what is recorded, until the terminal has ended or the engine closes.
func (t *Terminal) keep() {
	failed := false
	for {
		t.record.mu.Lock()
		end, over, changed := t.record.end, t.record.over, t.record.changed
		t.record.mu.Unlock()
		if sealed := t.history.now().Sealed; end > sealed {
			wait := sealAfter
			if failed {
				wait = sealRetry
			}
			if !over && !t.pause(wait) {
				return
			}
			end, over = t.record.bounds()
			err := t.history.seal(t.engine.base, end, t.note)
			if err == nil {
				failed = false
				if t.history.now().Sealed > sealed {
					continue
				}
			} // else the rest could not be recorded, and never will be
			if err != nil && !failed && t.engine.base.Err() == nil {
				t.engine.opt.Log.Error("a history is not sealed", "terminal", t.id, "error", err)
			}
			if failed = err != nil; failed && !over {
				continue
			}
			// It stays in segments, and is sealed when the engine opens again.
		}
		if over {
			return
		}
		quiet := time.NewTimer(quietAfter)
		select {
		case <-changed:
		case <-quiet.C:
			t.record.relax(time.Now())
			select {
			case <-changed:
			case <-t.engine.base.Done():
			}
		case <-t.engine.base.Done():
		}
		quiet.Stop()
		if t.engine.base.Err() != nil {
			return
		}
	}
}

// pause waits, but not beyond the end; false: the engine closes.
func (t *Terminal) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.record.finished:
		return true
	case <-t.engine.base.Done():
		return false
	}
}

// ID is that of the terminal.
func (t *Terminal) ID() string { return t.id }

// Pid is that of the program.
func (t *Terminal) Pid() int { return t.proc.Pid() }

// Size is what was asked for last; 0 x 0 if that is not known.
func (t *Terminal) Size() (cols, rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cols, t.rows
}

// Title and Cwd are what the program said last, cleaned.
func (t *Terminal) Title() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marks.Title
}

// Cwd is where the shell says it is; empty: it does not say.
func (t *Terminal) Cwd() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marks.Cwd
}

// Command is what the shell runs now; empty: nothing, or it does not say.
func (t *Terminal) Command() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.marks.Phase != 'C' {
		return ""
	}
	return t.marks.Command
}

// End is the offset behind the newest byte.
func (t *Terminal) End() int64 {
	end, _ := t.record.bounds()
	return end
}

// Done is closed when the program has ended and all that it printed is recorded.
func (t *Terminal) Done() <-chan struct{} { return t.over }

// Exit says how the program ended; only after Done.
func (t *Terminal) Exit() Exit { return t.proc.Exit() }

// Reader follows the output from an offset on; negative: from the oldest byte kept.
func (t *Terminal) Reader(from int64) *Reader { return &Reader{recording: t.record, at: from} }

// Resize sets the size, 1 to 1000 each.
func (t *Terminal) Resize(ctx context.Context, cols, rows int) error {
	if err := checkSize(cols, rows); err != nil {
		return err
	}
	if t.gone() {
		return ErrGone
	}
	t.resizing.Lock()
	defer t.resizing.Unlock()
	t.mu.Lock()
	same := t.cols == cols && t.rows == rows
	t.mu.Unlock()
	if same {
		return nil
	}
	if err := t.proc.Resize(ctx, cols, rows); err != nil {
		return err
	}
	t.mu.Lock()
	t.cols, t.rows = cols, rows
	t.mu.Unlock()
	if n, err := readNote(t.history.dir); err == nil { // for who takes it up
		n.Cols, n.Rows = cols, rows
		if err := writeJSON(t.history.dir, specName, n); err != nil {
			t.engine.opt.Log.Warn("the size of a terminal is not noted", "terminal", t.id, "error", err)
		}
	}
	return nil
}

func (t *Terminal) gone() bool { return closed(t.proc.Done()) }

// Interrupt sends SIGINT to what runs in the foreground, whatever the terminal
// makes of a Ctrl-C.
func (t *Terminal) Interrupt() error { return t.Signal(syscall.SIGINT) }

// Signal signals the process group in the foreground.
func (t *Terminal) Signal(sig syscall.Signal) error {
	if t.gone() {
		return ErrGone
	}
	group := t.proc.Leader()
	if s, ok := readStat(group); ok && s.foreground > 1 {
		group = s.foreground
	}
	if err := syscall.Kill(-group, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("terminal: signal: %w", err)
	}
	return nil
}

// Kill ends the terminal and all that runs in it: HUP, and KILL after the
// grace. When it returns nil nothing of it is left.
func (t *Terminal) Kill(ctx context.Context, grace time.Duration) error {
	if !t.gone() {
		familyOf(t.proc, t.marker).end(ctx, t.proc.Done(), grace)
	}
	return t.wait(ctx)
}

// wait waits until the terminal is over.
func (t *Terminal) wait(ctx context.Context) error {
	select {
	case <-t.over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.engine.base.Done():
		return ErrClosed
	}
}

// Screen is what a terminal shows.
type Screen struct {
	Data       []byte // clears and draws it; nil: the host does not know what is shown
	Offset     int64  // all output before it is drawn; a little of what follows may be, too
	Cols, Rows int
}

// Screen returns what is shown now. It does not need the history.
func (t *Terminal) Screen(ctx context.Context) (Screen, error) {
	s := Screen{Offset: t.End()}
	var err error
	if s.Data, err = t.proc.Screen(ctx); err != nil {
		return Screen{}, err
	}
	s.Cols, s.Rows = t.Size()
	return s, nil
}

// Folder is where the terminal is recorded.
func (t *Terminal) Folder() string { return t.history.dir }
