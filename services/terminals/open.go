package terminals

import (
	"context"
	"errors"
	"fmt"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal"
)

// Open takes up the terminals that a former process left running, and ends those
// of sessions that have none any more.
func Open(ctx context.Context, o Options) (*Room, error) {
	r := &Room{opt: o, told: make(chan terminal.Event, 64), seats: map[string]*seat{}, starting: map[string]chan struct{}{},
		typed: map[string]typed{}, loads: map[string]load{}}
	r.base, r.stop = context.WithCancel(context.Background())
	r.workers.Go(r.note)
	o.Engine.Tell, o.Engine.Log = r.tell, o.Log
	var err error
	if r.engine, err = terminal.Open(ctx, o.Engine); err != nil {
		r.stop()
		r.workers.Wait()
		return nil, err
	}
	if err := r.takeUp(ctx); err != nil {
		return nil, errors.Join(err, r.Close(context.WithoutCancel(ctx)))
	}
	r.workers.Go(r.measure)
	return r, nil
}

// takeUp seats what runs, if it may.
func (r *Room) takeUp(ctx context.Context) error {
	known, active := map[string]bool{}, map[string]bool{}
	look := func(id string) (err error) {
		return r.opt.DB.View(ctx, func(rd store.Reader) error {
			s, err := r.opt.Sessions.Find(rd, id)
			known[id] = s != nil && s.ID == id && s.Terminal
			active[id] = known[id] && s.active()
			return err
		})
	}
	var failed error
	err := r.engine.Reap(ctx, func(id string) bool {
		if err := look(id); err != nil {
			failed = errors.Join(failed, err)
			return true
		}
		return known[id]
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("terminals: take up: %w", err)
	}
	for _, id := range r.engine.Running() {
		t, ok := r.engine.Get(id)
		if !ok {
			continue
		}
		r.sit(t)
		if !active[id] {
			if err := r.End(ctx, id); err != nil {
				return fmt.Errorf("terminals: end %s: %w", id, err)
			}
		}
	}
	return nil
}

// JoinFeed gives the room its listeners.
func (r *Room) JoinFeed(a Announcer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.announcer = a
}

// JoinWatcher tells w of the terminals that run, and of each that will.
func (r *Room) JoinWatcher(w Watcher) {
	r.mu.Lock()
	r.watcher = w
	var all []*seat
	for _, s := range r.seats {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		w.Watch(s.t, s.screen)
	}
}

// announce tells of what is not kept.
func (r *Room) announce(e *antv1.Event) {
	r.mu.Lock()
	a := r.announcer
	r.mu.Unlock()
	if a != nil {
		e.AtMs = float64(r.opt.Now().UnixMilli())
		a.Announce(e)
	}
}

// Close lets go of the terminals: those of tmux live on.
func (r *Room) Close(ctx context.Context) error {
	err := r.engine.Close(ctx) // what it tells meanwhile is noted
	r.stop()
	idle := make(chan struct{})
	go func() { r.workers.Wait(); close(idle) }()
	select {
	case <-idle:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("terminals: close: %w", ctx.Err()))
	}
}

// DeleteSession ends the terminal of a session that is deleted for good, and
// forgets what it printed. Idempotent.
func (r *Room) DeleteSession(ctx context.Context, id string) error {
	if err := r.End(ctx, id); err != nil {
		return err
	}
	if err := r.engine.Forget(ctx, id); err != nil && !errors.Is(err, terminal.ErrInvalid) {
		return err // an id that no terminal can have has nothing
	}
	r.mu.Lock()
	delete(r.typed, id)
	delete(r.loads, id)
	r.mu.Unlock()
	return forgetEvents(ctx, r.opt.DB, id)
}

// endGrace is how long programs have to go after a hang-up.
const endGrace = 2 * time.Second
