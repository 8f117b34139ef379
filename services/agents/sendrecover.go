package agents

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/paste"
)

// filesKept is how long a message that went as a file can be read.
const filesKept = 30 * 24 * time.Hour

// loadSends finds what the last run left under way. What was not begun is over; the
// rest is looked at by RecoverSends, or before something is sent to its terminal.
func (r *Room) loadSends(ctx context.Context) error {
	left, err := r.openSends(ctx)
	if err != nil {
		return err
	}
	for _, s := range left {
		if s.State == string(paste.Queued) {
			s.fail(paste.Restarted, r.opt.Now())
			if err := r.keepSend(*s, ""); err != nil {
				return err
			}
			continue
		}
		r.sends.mu.Lock()
		q := r.sends.of(s.Terminal)
		q.left = append(q.left, s)
		r.sends.mu.Unlock()
	}
	return r.sweepFiles()
}

func (r *Room) openSends(ctx context.Context) (left []*send, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		left = nil
		for s, err := range sendRows.ScanIndex(rd, "open", store.ScanOptions{}) {
			if err != nil {
				return err
			}
			left = append(left, s)
		}
		return nil
	})
	return left, err
}

// sweepFiles removes messages that went as files long ago, and those that a crash cut.
func (r *Room) sweepFiles() error {
	if r.opt.Folder == "" {
		return nil
	}
	if err := os.MkdirAll(r.opt.Folder, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(r.opt.Folder)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		info, stale := e.Info()
		if stale != nil || !info.Mode().IsRegular() || r.opt.Now().Sub(info.ModTime()) < filesKept {
			continue
		}
		if failed := root.Remove(e.Name()); failed != nil && !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// RecoverSends looks what became of texts that were under way when the last run
// ended. It is called once, when it is known which terminals run, and returns at once.
func (r *Room) RecoverSends() {
	r.sends.mu.Lock()
	var terminals []string
	for id, q := range r.sends.queue {
		if len(q.left) > 0 {
			terminals = append(terminals, id)
		}
	}
	r.sends.mu.Unlock()
	for _, id := range terminals {
		r.runSends(id)
	}
}

// recoverLeft ends what was left in a terminal. What was submitted, as far as can be
// known, is never sent again, and nothing is submitted here.
func (r *Room) recoverLeft(id string, left []*send) {
	a := r.agent(id)
	for _, s := range left {
		arrived, clean, head := false, false, s.Head
		if a != nil && !s.Raw {
			arrived, clean = r.lookAfter(a, s)
		}
		if r.base.Err() != nil {
			return // the next start looks
		}
		s.Clean = clean
		switch {
		case arrived:
			s.step(paste.Taken, r.opt.Now())
		case s.Raw || s.State == string(paste.Submitted):
			s.Presses = max(s.Presses, 1) // perhaps
			s.fail(paste.Unconfirmed, r.opt.Now())
		case a == nil:
			s.fail(paste.Dead, r.opt.Now())
		default:
			s.fail(paste.Interrupted, r.opt.Now())
		}
		r.insist(&job{row: *s, order: order{Terminal: id, Text: head}})
	}
	r.opt.Rooms.Wake()
}

// lookAfter sees what a text has left on an agent's screen.
func (r *Room) lookAfter(a *agent, s *send) (arrived, clean bool) {
	input, err := a.terminal.Input(r.base)
	if err != nil {
		return false, false
	}
	defer input.Release()
	var d *driver.Driver
	if s.Driver != "" {
		d = r.opt.Drivers.Get(s.Driver)
	}
	return r.typist(a, input).Recover(r.base, d, paste.Left{State: paste.State(s.State), Head: s.Head})
}
