package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"anthill/services/internal/store"

	"go.etcd.io/bbolt"
)

// job is one call of Update.
type job struct {
	ctx   context.Context
	fn    func(store.Tx) error
	state atomic.Int32
	done  chan struct{} // one value, once the fields below are final

	err      error
	panicked *panicError // fn panicked: the caller goes on with it
	exited   bool        // fn called runtime.Goexit: so does the caller
	topics   []string    // fn appended to these
}

// States of a job. The writer takes it from queued to running, or its caller
// from queued to dropped, whoever comes first.
const (
	queued = iota
	running
	dropped
)

// panicError carries a panic from the writer to the caller, with its stack.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// jobs are reused, except dropped ones, which the writer may still see.
var jobs = sync.Pool{New: func() any { return &job{done: make(chan struct{}, 1)} }}

// Update implements store.DB.
func (d *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := d.failure.Load(); err != nil {
		return *err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	j := jobs.Get().(*job)
	j.ctx, j.fn = ctx, fn
	j.state.Store(queued)
	alone, ok := d.writer.submit(j)
	if !ok {
		return store.ErrClosed
	}
	if alone {
		d.writer.runAlone(j)
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(queued, dropped) {
			return ctx.Err()
		}
		<-j.done
	}
	err, panicked, exited := j.err, j.panicked, j.exited
	*j = job{done: j.done}
	jobs.Put(j)
	switch {
	case panicked != nil:
		panic(panicked)
	case exited:
		runtime.Goexit()
	}
	return err
}

// writer runs all jobs, one batch after the other, on a goroutine of its own. A
// caller that comes while there is nothing to do and nobody to wait for runs its
// job itself, which saves two switches between goroutines.
type writer struct {
	db     *DB
	gather time.Duration
	timer  *time.Timer   // the goroutine's
	signal chan struct{} // queue has reached want, a job alone has ended, or closed
	done   chan struct{} // the goroutine has ended

	mu       sync.Mutex
	queue    []*job
	want     int  // length of the queue at which to signal; 0: never
	expected int  // callers that were about when the last batch ended
	asleep   bool // the goroutine waits and expects nobody
	alone    bool // a caller runs its own job
	closed   bool
}

func newWriter(d *DB, gather time.Duration) *writer {
	w := &writer{
		db:     d,
		gather: gather,
		timer:  time.NewTimer(time.Hour),
		signal: make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	w.timer.Stop()
	go w.run()
	return w
}

// submit queues j, or says that its caller shall run it alone.
func (w *writer) submit(j *job) (alone, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return false, false
	case w.asleep && !w.alone && len(w.queue) == 0:
		w.alone = true
		return true, true
	}
	w.queue = append(w.queue, j)
	if len(w.queue) == w.want && !w.alone {
		w.notify()
	}
	return false, true
}

// runAlone runs one job on its caller's goroutine.
func (w *writer) runAlone(j *job) {
	defer func() { // even if the job calls runtime.Goexit
		w.mu.Lock()
		defer w.mu.Unlock()
		w.alone = false
		if len(w.queue) > 0 || w.closed {
			w.notify()
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	w.runBatch([]*job{j})
}

// close lets the queued jobs finish and waits for the end.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.notify()
	w.mu.Unlock()
	<-w.done
}

func (w *writer) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *writer) notify() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *writer) run() {
	ended := false
	defer func() {
		if ended {
			close(w.done)
		} else {
			go w.run() // a job called runtime.Goexit (as t.FailNow does): only this goroutine is lost
		}
	}()
	debug.SetPanicOnFault(true)
	var spare []*job
	for {
		batch := w.take(spare)
		if batch == nil {
			ended = true
			return
		}
		w.runBatch(batch)
		clear(batch)
		spare = batch[:0]
	}
}

// take waits for jobs and returns all that are queued, or nil after close.
//
// A caller that was just answered often writes again at once. So if more than
// one was about, a batch waits for as many to come back, but only for a moment.
// One caller alone never waits.
func (w *writer) take(spare []*job) []*job {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.alone || len(w.queue) == 0 {
		if w.closed && !w.alone {
			return nil
		}
		w.asleep = w.expected <= 1
		w.await(1, nil)
		w.asleep = false
	}
	if w.expected > 1 && len(w.queue) < w.expected && w.gather > 0 && !w.closed {
		w.timer.Reset(w.gather)
		w.await(w.expected, w.timer.C)
		w.timer.Stop()
	}
	batch := w.queue
	w.queue = spare
	return batch
}

// await releases mu until the queue has n jobs, the timeout, or another signal.
func (w *writer) await(n int, timeout <-chan time.Time) {
	select {
	case <-w.signal: // left over
	default:
	}
	w.want = n
	w.mu.Unlock()
	select {
	case <-w.signal:
	case <-timeout:
	}
	w.mu.Lock()
	w.want = 0
}

// batchBytes is how much a batch writes before it is committed even though jobs
// are left; it bounds memory and the time to the first answer.
const batchBytes = 8 << 20

// runBatch runs jobs in one bbolt transaction, commits it and answers them.
// Jobs that it did not get to go back to the head of the queue.
func (w *writer) runBatch(batch []*job) {
	d := w.db
	var tx *bbolt.Tx
	err := d.begin(&tx)
	ran, changed, size := 0, false, 0
	finished := false
	defer func() {
		if !finished { // the last job that ran called runtime.Goexit
			tx.Rollback()
			last := batch[ran-1]
			last.exited = true
			last.done <- struct{}{}
			w.putBack(append(batch[:ran-1:ran-1], batch[ran:]...))
		}
	}()

	if err == nil {
		t := &txn{limits: d.limits}
		t.tx, t.epoch = tx, d.epoch.Load()
		for ran < len(batch) && err == nil && size < batchBytes {
			j := batch[ran]
			ran++
			if !j.state.CompareAndSwap(queued, running) {
				continue // dropped
			}
			if j.err = guarded(func() error { t.reset(); return nil }); j.err == nil {
				j.err = j.call(t)
			}
			if j.err == nil && t.pending {
				changed = true
				size += t.bytes
				j.topics = t.topics
				err = guarded(t.apply)
			}
		}
	}
	switch {
	case tx == nil:
		ran = len(batch)
		for _, j := range batch {
			j.state.CompareAndSwap(queued, running)
		}
	case err == nil && changed:
		txid := tx.ID()
		if err = guarded(tx.Commit); err != nil {
			err = d.commitFailed(err, tx, txid)
		} else {
			d.commits.Add(1)
		}
	case err == nil:
		tx.Rollback()
	default:
		err = d.stop(err, tx)
	}
	finished = true
	w.putBack(batch[ran:])
	w.answer(batch[:ran], err)
}

// begin starts a transaction, unless writing has stopped.
func (d *DB) begin(tx **bbolt.Tx) error {
	if err := d.failure.Load(); err != nil {
		return *err
	}
	err := guarded(func() (err error) {
		*tx, err = d.bolt.Begin(true)
		return err
	})
	if err != nil {
		return d.stop(err, nil)
	}
	return nil
}

// call runs the job's function.
func (j *job) call(t *txn) (err error) {
	defer func() {
		t.over = true
		if r := recover(); r != nil {
			if isFault(r) {
				err = fmt.Errorf("%w: %v", store.ErrCorrupt, r)
				return
			}
			j.panicked = &panicError{r, debug.Stack()}
			err = j.panicked
		}
	}()
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if err := j.fn(t); err != nil {
		return err
	}
	return t.err
}

// answer ends jobs. Those that had succeeded share the outcome of the commit.
func (w *writer) answer(batch []*job, err error) {
	committed := uint64(0)
	var topics []string
	for _, j := range batch {
		switch {
		case j.err != nil:
		case err != nil:
			j.err = err
		default:
			committed++
			topics = append(topics, j.topics...)
		}
	}
	w.db.updates.Add(committed)
	w.mu.Lock()
	w.expected = len(batch) + len(w.queue)
	w.mu.Unlock()
	for _, j := range batch {
		if j.state.Load() == running {
			j.done <- struct{}{}
		}
	}
	w.db.wakes.wake(topics)
}

// putBack queues jobs before all others.
func (w *writer) putBack(batch []*job) {
	if len(batch) == 0 {
		return
	}
	for _, j := range batch {
		j.err, j.panicked, j.topics = nil, nil, nil
		j.state.CompareAndSwap(running, queued)
	}
	w.mu.Lock()
	w.queue = append(append([]*job{}, batch...), w.queue...)
	w.mu.Unlock()
}

// commitFailed says what a failed commit means. Without space nothing was
// changed, and a later commit may succeed. Any other failure ends writing: after
// a failed sync nobody knows what is on disk.
func (d *DB) commitFailed(err error, tx *bbolt.Tx, txid int) error {
	if isFull(err) && !d.landed(txid) {
		d.log.Error("no space left, writes are refused until there is some", "err", err)
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return d.stop(err, tx)
}

// landed says whether readers see transaction txid: then its last page was
// written and only the sync after it failed.
func (d *DB) landed(txid int) bool {
	tx, err := d.bolt.Begin(false)
	if err != nil {
		return true
	}
	defer tx.Rollback()
	return tx.ID() >= txid
}

// stop ends writing for good and returns the error that every write gets.
func (d *DB) stop(cause error, tx *bbolt.Tx) error {
	err := fmt.Errorf("%w: %w", store.ErrReadOnly, cause)
	d.failure.Store(&err)
	d.log.Error("writing stopped; reads go on, a restart is needed to write again", "err", cause)
	if tx == nil {
		d.stuck = errors.Is(cause, store.ErrCorrupt) // Begin panicked with the lock held
	} else {
		d.stuck = guarded(func() error { tx.Rollback(); return nil }) != nil
	}
	return err
}

// isFull says whether the file could not grow. bbolt passes some of these
// errors on as text only.
func isFull(err error) bool {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.HasSuffix(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
