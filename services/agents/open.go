package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/terminal/driver"
)

// Open takes up what an earlier process left. Terminals are given by Watch; once
// all that still run were given, Settle is called.
func Open(ctx context.Context, o Options) (*Room, error) {
	if o.after == nil {
		o.after = time.After
	}
	r := &Room{opt: o, agents: map[string]*agent{}, expiring: make(chan struct{}, 1), posting: make(chan struct{}, 1)}
	r.base, r.stop = context.WithCancel(context.Background())
	r.drivers.Store(o.Drivers)
	if err := errors.Join(r.loadPatterns(ctx), r.loadSends(ctx)); err != nil {
		r.stop()
		return nil, err
	}
	r.workers.Go(r.expire)
	r.workers.Go(r.postHooks)
	return r, nil
}

// SetDrivers replaces the drivers, such as when the user's folder has changed.
func (r *Room) SetDrivers(s *driver.Set) {
	r.drivers.Store(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.agents {
		a.wake()
	}
}

// JoinFeed gives the room its listeners.
func (r *Room) JoinFeed(a Announcer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.announcer = a
}

func (r *Room) announce(e *antv1.Event) {
	r.mu.Lock()
	a := r.announcer
	r.mu.Unlock()
	if a != nil {
		e.AtMs = float64(r.opt.Now().UnixMilli())
		a.Announce(e)
	}
}

// agent is that of a terminal that runs, or nil.
func (r *Room) agent(id string) *agent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.agents[id]
}

// begin runs fn as one of the room's workers; false: the room closes.
func (r *Room) begin(fn func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.workers.Go(fn)
	return true
}

// Close stops watching, and waits for answers that are being given until ctx ends.
// What agents ask stays asked.
func (r *Room) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	idle := make(chan struct{})
	go func() { r.workers.Wait(); close(idle) }()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("agents: close: %w", ctx.Err())
	}
}
