package rooms

import (
	"context"
	"errors"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// lookAgain is how often the room looks for what has become due by itself.
const lookAgain = 5 * time.Second

// work does what the room owes: retained deliveries, errands of coworkers, ends of
// focus, members that are being copied, events of questions, removals. It
// reads everything from the store, so it goes on where an earlier run stopped.
func (r *Room) work() {
	defer r.workers.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.base.Done():
			return
		case <-r.wake:
		case <-timer.C:
		}
		err := errors.Join(r.sweepBodies(r.base), r.sweepReads(r.base), r.tellAllUntold(r.base), r.copyAllMembers(r.base),
			r.endFocuses(r.base), r.deliverAll(r.base), r.runErrands(r.base))
		if err != nil && r.base.Err() == nil {
			r.opt.Log.Warn("work on rooms failed, will be tried again", "error", err)
		}
		timer.Reset(r.rest())
	}
}

// rest is how long nothing is due.
func (r *Room) rest() time.Duration {
	wait := lookAgain
	err := r.opt.Main.View(r.base, func(rd store.Reader) error {
		for m, err := range members.ScanIndex(rd, "focus", store.ScanOptions{Limit: 1}) {
			if err != nil {
				return err
			}
			wait = min(wait, time.Unix(0, m.Focus.Expires).Sub(r.opt.Now()))
		}
		return nil
	})
	if err != nil {
		return lookAgain
	}
	return max(wait, 10*time.Millisecond)
}

// deliverAll goes through the terminals that are owed something: what has expired
// is given up, those that are live get the rest. It does not wait for them.
func (r *Room) deliverAll(ctx context.Context) error {
	all := store.Prefix(key.Of("ant_owed"))
	for start := all.Start; ; {
		terminal, due := "", false
		err := r.opt.Main.View(ctx, func(rd store.Reader) error {
			terminal, due = "", false
			for k := range rd.Scan(store.Range{Start: start, End: all.End}) {
				p := key.Parse(k)
				p.Str()
				terminal = p.Str()
				if err := p.Err(); err != nil {
					return err
				}
				o, err := firstOwed(rd, terminal, 0, false)
				due = o != nil && o.due(r.opt.Now().UnixNano(), r.live(terminal))
				return err
			}
			return nil
		})
		if err != nil || terminal == "" {
			return err
		}
		start = store.Prefix(owedTo(terminal)).End
		if due {
			r.deliverSoon(terminal)
		}
	}
}

// deliverSoon gives a terminal what it is owed, without waiting: one that takes long
// keeps nobody else waiting.
func (r *Room) deliverSoon(terminal string) {
	r.soon("deliver/"+terminal, func(ctx context.Context) error { return r.deliver(ctx, terminal) })
}

// soon does something behind any request, once more if it is asked for meanwhile. What
// fails is tried again by [Room.work].
func (r *Room) soon(job string, do func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, under := r.jobs[job]; under {
		r.jobs[job] = true
		return
	}
	r.jobs[job] = false
	r.workers.Go(func() {
		for again := true; again; {
			if err := do(r.base); err != nil && r.base.Err() == nil {
				r.opt.Log.Warn("work on rooms failed, will be tried again", "job", job, "error", err)
			}
			r.mu.Lock()
			if again = r.jobs[job] && r.base.Err() == nil; again {
				r.jobs[job] = false
			} else {
				delete(r.jobs, job)
			}
			r.mu.Unlock()
		}
	})
}
