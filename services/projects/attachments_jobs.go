package projects

import (
	"context"
	"fmt"
	"sync"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	attachmentWorkers = 2
	settleWait        = 5 * time.Second
	lookAgain         = time.Minute
)

// jobs are the attachments that somebody is busy with. Whoever holds the claim
// on one is alone with its files.
type jobs struct {
	mu      sync.Mutex
	claimed map[string]*claim
	failed  map[string]int // attempts so far
	wake    chan struct{}
}

type claim struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it is given up
}

func newJobs() *jobs {
	return &jobs{claimed: map[string]*claim{}, failed: map[string]int{}, wake: make(chan struct{}, 1)}
}

// signal says that there may be something to do.
func (j *jobs) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// claim makes the caller the only one who is busy with an attachment, until it
// calls release. If somebody else is, busy is closed when that ends.
func (j *jobs) claim(ctx context.Context, id string) (held context.Context, release func(), busy <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.claimed[id]; c != nil {
		return nil, nil, c.done
	}
	c := &claim{done: make(chan struct{})}
	held, c.cancel = context.WithCancel(ctx)
	j.claimed[id] = c
	return held, func() {
		j.mu.Lock()
		delete(j.claimed, id)
		j.mu.Unlock()
		c.cancel()
		close(c.done)
		j.signal()
	}, nil
}

// interrupt ends what is being done with an attachment.
func (j *jobs) interrupt(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.claimed[id]; c != nil {
		c.cancel()
	}
}

func (j *jobs) busy(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.claimed[id] != nil
}

// count notes an attempt that failed, or with ok that none counts any more, and
// says how many there were.
func (j *jobs) count(id string, ok bool) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ok {
		delete(j.failed, id)
		return 0
	}
	j.failed[id]++
	return j.failed[id]
}

func (j *jobs) failures(id string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed[id]
}

// startAttachments takes up what the last run left undone.
func (r *Room) startAttachments(ctx context.Context) error {
	cutOff := func(a *attachment) bool { return a.Status == statusReceiving }
	err := r.each(ctx, byUnfinished, string(statusReceiving), cutOff, tombstone)
	if isFull(err) { // readers work on; the next start finds them again
		r.opt.Log.WarnContext(ctx, "broken uploads stay until the next start: the disk is full")
	} else if err != nil {
		return fmt.Errorf("clear away broken uploads: %w", err)
	}
	for range attachmentWorkers {
		r.spawnIn(&r.attendants, r.work)
	}
	return nil
}

// work does what is unfinished, one thing after the other, until the room closes.
func (r *Room) work(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.jobs.wake:
		case <-again.C:
		}
		for {
			id, err := r.nextUnfinished(ctx)
			if err != nil && ctx.Err() == nil {
				r.opt.Log.WarnContext(ctx, "unfinished attachments cannot be looked up", "error", err)
				again.Reset(lookAgain)
			}
			if id == "" {
				break
			}
			r.jobs.signal() // there may be another one, for another worker
			r.bringToEnd(ctx, id)
		}
	}
}

// nextUnfinished is one that nobody is busy with; "" if there is none.
func (r *Room) nextUnfinished(ctx context.Context) (id string, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		id = ""
		for _, s := range unfinished {
			for a, err := range attachments.ScanIndex(rd, byUnfinished, store.ScanOptions{Prefix: key.Of(string(s))}) {
				if err != nil {
					return err
				}
				if !r.jobs.busy(a.ID) {
					id = a.ID
					return nil
				}
			}
		}
		return nil
	})
	return id, err
}

// finishNow does what is unfinished about an attachment before it returns, if
// that does not take long; else a worker does.
func (r *Room) finishNow(ctx context.Context, id string) {
	r.jobs.interrupt(id)
	timer := time.NewTimer(settleWait)
	defer timer.Stop()
	for {
		busy := r.bringToEnd(context.WithoutCancel(ctx), id)
		if busy == nil {
			return
		}
		select {
		case <-busy:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// bringToEnd claims an attachment and does what its state asks for. After a
// failure it keeps the claim for a while, and then leaves it to the workers. If
// somebody else is busy with it, busy is closed when that ends.
func (r *Room) bringToEnd(ctx context.Context, id string) (busy <-chan struct{}) {
	held, release, busy := r.jobs.claim(ctx, id)
	if busy != nil {
		return busy
	}
	err := r.advance(held, id)
	if err == nil || held.Err() != nil {
		r.jobs.count(id, true)
		release()
		return nil
	}
	failed := r.jobs.count(id, false)
	r.opt.Log.WarnContext(ctx, "attachment not finished yet", "attachment", id, "attempt", failed, "error", err)
	waiting := r.spawn(func(ctx context.Context) {
		defer release()
		timer := time.NewTimer(r.opt.retry(failed - 1))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-held.Done(): // somebody wants it now
		case <-ctx.Done():
		}
	})
	if !waiting {
		release()
	}
	return nil
}

// advance does what the state of an attachment asks for. The caller holds the claim.
func (r *Room) advance(ctx context.Context, id string) error {
	var a *attachment
	err := r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		a, err = attachmentByID(rd, id)
		return err
	})
	if err != nil || a == nil {
		return err
	}
	switch {
	case a.Status == statusDeleting:
		if err := r.removeFiles(ctx, a); err != nil {
			return err
		}
		return r.dropAttachment(ctx, a)
	case a.Status == statusMoving:
		_, err := r.completeMove(ctx, a)
		return err
	case a.Rehome != "":
		return r.rehome(ctx, a)
	case a.Status == statusProcessing:
		return r.readText(ctx, a)
	}
	return nil
}

func (r *Room) dropAttachment(ctx context.Context, a *attachment) error {
	return r.update(ctx, func(tx store.Tx) error {
		_, err := attachments.Delete(tx, key.Key(nil).Uint(a.Seq))
		return err
	})
}

// DeleteSession deletes the attachments of a conversation: they read as gone
// when it returns, and their files are removed behind it, also across a restart.
// Idempotent.
func (r *Room) DeleteSession(ctx context.Context, session string) error {
	// An upload under way is there for nobody; it ends by itself.
	return r.each(ctx, bySession, session, (*attachment).visible, tombstone)
}

// dropAttachments forgets the attachments of a deleted project, whose files go
// with its folder.
func (r *Room) dropAttachments(ctx context.Context, projectID string) error {
	all := func(*attachment) bool { return true }
	return r.each(ctx, byProject, projectID, all, func(tx store.Tx, a *attachment) error {
		_, err := attachments.Delete(tx, key.Key(nil).Uint(a.Seq))
		return err
	})
}

// each changes the attachments under an index key that are wanted, some in each
// transaction, until none is left. Who is busy with one stops.
func (r *Room) each(ctx context.Context, index, k string, wanted func(*attachment) bool, change func(store.Tx, *attachment) error) error {
	for {
		var ids []string
		err := r.opt.DB.View(ctx, func(rd store.Reader) error {
			ids = nil
			for a, err := range attachments.ScanIndex(rd, index, store.ScanOptions{Prefix: key.Of(k)}) {
				if err != nil {
					return err
				}
				if wanted(a) {
					ids = append(ids, a.ID)
				}
				if len(ids) == publishBatch {
					break
				}
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		err = r.update(ctx, func(tx store.Tx) error {
			for _, id := range ids {
				a, err := attachmentByID(tx, id)
				if err == nil && a != nil && wanted(a) {
					err = change(tx, a)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			r.jobs.interrupt(id)
		}
		r.jobs.signal()
	}
}
