package terminals

import (
	"context"
	"errors"
	"strings"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/screen"
)

// seat is a terminal that runs.
type seat struct {
	t      *terminal.Terminal
	screen *screen.Screen
	shown  shown
}

// seat is that of a session; nil: nothing runs.
func (r *Room) seat(id string) *seat {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seats[id]
}

// Get returns the terminal of a session and its screen, while it runs.
func (r *Room) Get(id string) (*terminal.Terminal, *screen.Screen, bool) {
	s := r.seat(id)
	if s == nil {
		return nil, nil, false
	}
	return s.t, s.screen, true
}

// find returns the session of a terminal, archived and deleted ones too.
func (r *Room) find(ctx context.Context, ref string) (s *Session, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		s, err = r.opt.Sessions.Find(rd, ref)
		return err
	})
	if err == nil && (s == nil || !s.Terminal) {
		err = errNoTerminal
	}
	return s, err
}

// findActive is find for those who do something with it.
func (r *Room) findActive(ctx context.Context, ref string) (*Session, error) {
	s, err := r.find(ctx, ref)
	if err == nil && !s.active() {
		err = errInactive
	}
	return s, err
}

// spawn says how to run a terminal. 0 x 0: the default.
type spawn struct {
	cols, rows int
	cwd        string
	command    []string
}

// run returns what runs in a terminal, or runs it. Two that ask at once get the
// same. Errors are for callers.
func (r *Room) run(ctx context.Context, ref string, how spawn) (*seat, error) {
	of, err := r.findActive(ctx, ref)
	if err != nil {
		return nil, err
	}
	for {
		running, mine, wait, err := r.reserve(of.ID)
		switch {
		case err != nil:
			return nil, err
		case running != nil:
			return running, nil
		case mine:
			return r.start(ctx, of, how)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// reserve takes the place of a terminal that is about to start: mine. Otherwise it
// runs, or somebody else starts it, which is over when wait is closed.
func (r *Room) reserve(id string) (running *seat, mine bool, wait <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.seats[id] != nil:
		return r.seats[id], false, nil, nil
	case r.starting[id] != nil:
		return nil, false, r.starting[id], nil
	}
	if err := r.full(); err != nil {
		return nil, false, nil, err
	}
	r.starting[id] = make(chan struct{})
	return nil, true, nil, nil
}

// start runs a terminal whose place is reserved.
func (r *Room) start(ctx context.Context, of *Session, how spawn) (*seat, error) {
	defer func() {
		r.mu.Lock()
		close(r.starting[of.ID])
		delete(r.starting, of.ID)
		r.mu.Unlock()
	}()
	t, err := r.launch(ctx, of, how)
	if err != nil {
		return nil, err
	}
	s := r.sit(t)
	// It may have been archived meanwhile; from now on whoever does that finds it.
	if _, err := r.findActive(context.WithoutCancel(ctx), of.ID); err != nil {
		return nil, errors.Join(err, s.t.Kill(context.WithoutCancel(ctx), endGrace))
	}
	cols, rows := t.Size()
	r.happened(of.ID, "started", map[string]any{"cols": cols, "rows": rows, "pid": t.Pid(), "host": r.engine.Host()})
	r.evidence(Event{Session: of.ID, Source: "terminal", Trust: "high", Kind: "system", Text: "terminal started",
		Payload: map[string]any{"tmux_kind": "session-created", "host": r.engine.Host(), "cwd": how.cwd}})
	return s, nil
}

func (r *Room) launch(ctx context.Context, of *Session, how spawn) (*terminal.Terminal, error) {
	address := r.opt.Address()
	spec := terminal.Spec{Argv: how.command, Dir: how.cwd, Cols: how.cols, Rows: how.rows, Env: map[string]string{
		"ANT_SESSION_ID": of.ID, "ANT_SESSION": of.Name, "ANT_SERVER": address, "ANT_SERVER_URL": address}}
	if spec.Dir == "" {
		spec.Dir = of.RootDir
	}
	for {
		t, err := r.engine.Start(ctx, of.ID, spec)
		if !errors.Is(err, terminal.ErrExists) {
			return t, callers(err)
		}
		if old, ok := r.engine.Get(of.ID); ok { // it has ended, and is being put away
			select {
			case <-old.Done():
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// callers turns an error of the engine into one for callers.
func callers(err error) error {
	switch {
	case errors.Is(err, terminal.ErrInvalid):
		return fault.New(fault.Invalid, "TERMINAL_REFUSED", "%s", strings.TrimPrefix(err.Error(), terminal.ErrInvalid.Error()+": ")).Because(err)
	case errors.Is(err, terminal.ErrGone):
		return errNotLive
	case errors.Is(err, terminal.ErrClosed):
		return fault.New(fault.Unavailable, "STOPPING", "The server stops: try again when it is back")
	}
	return err
}

// sit gives a terminal that runs its seat, until it has ended.
func (r *Room) sit(t *terminal.Terminal) *seat {
	cols, rows := t.Size()
	if cols == 0 || rows == 0 {
		cols, rows = 120, 30
	}
	s := &seat{t: t, screen: screen.New(cols, rows)}
	r.mu.Lock()
	r.seats[t.ID()] = s
	watcher := r.watcher
	r.mu.Unlock()
	r.workers.Go(func() { r.follow(s) })
	r.workers.Go(func() { r.attend(s) })
	r.workers.Go(func() { r.outlive(s) })
	if watcher != nil {
		watcher.Watch(t, s.screen)
	}
	r.audiences.changed(t.ID())
	r.announce(&antv1.Event{SessionId: t.ID(), Event: &antv1.Event_SessionHealth{SessionHealth: &antv1.SessionHealth{Alive: true}}})
	return s
}

// rise takes the seat of a terminal that has ended, if it still has it.
func (r *Room) rise(s *seat) {
	id := s.t.ID()
	r.mu.Lock()
	seated := r.seats[id] == s
	if seated {
		delete(r.seats, id)
		delete(r.loads, id)
	}
	r.mu.Unlock()
	if !seated {
		return
	}
	r.audiences.changed(id)
	r.announce(&antv1.Event{SessionId: id, Event: &antv1.Event_SessionHealth{SessionHealth: &antv1.SessionHealth{}}})
}

// activeEvery is how often the activity of a terminal is told at most.
const activeEvery = 10 * time.Second

// outlive sees the end of a terminal.
func (r *Room) outlive(s *seat) {
	select {
	case <-s.t.Done():
		r.rise(s)
	case <-r.base.Done():
	}
}

// attend tells that something is printed, until the terminal has ended.
func (r *Room) attend(s *seat) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-rest.C:
		case <-r.base.Done():
			return
		}
		if _, err := s.t.Reader(s.t.End()).Next(r.base); err != nil {
			return
		}
		r.active(s.t.ID())
		rest.Reset(activeEvery)
	}
}

// active notes that something happens in a session.
func (r *Room) active(id string) {
	now := r.opt.Now()
	err := r.opt.DB.Update(r.base, func(tx store.Tx) error { return r.opt.Sessions.Touch(tx, id, now) })
	if err != nil && r.base.Err() == nil {
		r.opt.Log.Warn("the activity of a terminal is not noted", "terminal", id, "error", err)
	}
	r.announce(&antv1.Event{SessionId: id, Event: &antv1.Event_SessionActivity{SessionActivity: &antv1.SessionActivity{
		LastActivity: now.UTC().Format("2006-01-02T15:04:05.000Z07:00"), ActivitySource: "terminal_line"}}})
}

// End ends what runs in a terminal, if anything does, and returns when nothing of
// it is left. A start that is under way is ended, too.
func (r *Room) End(ctx context.Context, id string) error {
	r.mu.Lock()
	starting := r.starting[id]
	r.mu.Unlock()
	if starting != nil {
		select {
		case <-starting:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s := r.seat(id)
	if t, ok := r.engine.Get(id); ok {
		if err := t.Kill(ctx, endGrace); err != nil {
			return err
		}
	}
	if s != nil {
		r.rise(s)
	}
	return nil
}

// Check says why a terminal could not be started now, before there is a session for it.
func (r *Room) Check(cols, rows *int32) error {
	if _, err := sizeOf(cols, rows); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full()
}

// full says that no more terminals may run. It is called with mu held.
func (r *Room) full() error {
	if r.opt.Max == 0 || len(r.seats)+len(r.starting) < r.opt.Max {
		return nil
	}
	return fault.New(fault.Exhausted, "TERMINAL_CAP",
		"%d terminals run already, as many as may (ANT_MAX_ACTIVE_AGENTS): end one first", r.opt.Max)
}

// Start runs the terminal of a session.
func (r *Room) Start(ctx context.Context, id string, cols, rows *int32) error {
	asked, err := sizeOf(cols, rows)
	if err == nil {
		_, err = r.run(ctx, id, spawn{cols: asked.cols, rows: asked.rows})
	}
	return err
}

// sizeOf reads a size that both are given of, or none.
func sizeOf(cols, rows *int32) (size, error) {
	switch {
	case cols == nil && rows == nil:
		return size{}, nil
	case cols == nil || rows == nil:
		return size{}, errSize
	}
	s := size{int(*cols), int(*rows)}
	return s, s.check()
}
