package agents

import (
	"context"
	"errors"
	"sync"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/screen"
)

const (
	lookPause   = 50 * time.Millisecond // between two looks while a program prints
	lookIdle    = 5 * time.Second       // between two looks at a screen that does not change
	lookRetry   = time.Second           // when the store refused
	steadyFor   = 60 * time.Millisecond // what is seen for this long is not half a picture
	blindFor    = 3 * time.Second       // a prompt that is not seen, nor anything else of the agent, has gone
	staleAfter  = 30 * time.Second      // an answered prompt that still stands is asked again
	settleAfter = 5 * time.Second       // what a prompt may take to leave after keys of an earlier process
)

// agent is a terminal that runs, and what is known of the program in it.
type agent struct {
	room     *Room
	id       string
	terminal *terminal.Terminal
	screen   *screen.Screen
	kick     chan struct{} // receives when somebody wants a look
	over     chan struct{} // closed when nobody watches any more

	looking sync.Mutex // guards what follows, and is held for a look
	track   *driver.Tracker
	tracked *driver.Driver // that of track
	pattern patternEye
	count   uint64 // generation of the newest prompt
	shown   *shown // the prompt that is, or was last, on the screen; nil: none
	blind   time.Time
	drawn   bool // something has been on the screen
	sight   sight
	busy    bool // an answer is being given: the screen is left to it
	found   detection
	tell    telling

	mu     sync.Mutex // guards what others read
	known  *driver.Driver
	last   driver.State
	seen   time.Time // when last was
	output time.Time
	end    int64
}

// sight is what the screen shows besides details: a prompt, by its digest, or none. A
// program draws in pieces, so it counts once it has stood for a moment.
type sight struct {
	steady string // that counts
	now    string
	since  time.Time
}

// nothing is the sight of an agent that asks nothing; that of a screen on which
// nothing of an agent is seen is empty.
const nothing = "nothing"

func sightOf(st driver.State, sure bool) string {
	switch {
	case st.Prompt != nil:
		return st.Prompt.Digest
	case sure:
		return nothing
	}
	return ""
}

// stands says whether a sight counts.
func (s *sight) stands(seen string, now time.Time) bool {
	if seen != s.now {
		s.now, s.since = seen, now
	}
	if seen != s.steady && now.Sub(s.since) >= steadyFor {
		s.steady = seen
	}
	return seen == s.steady
}

// shown is what the watcher remembers of a stored prompt.
type shown struct {
	id, fingerprint, digest string
	answered                time.Time // zero: not yet, as far as is known
	left                    time.Time // when an answer of an earlier process is given up; zero: there is none
}

// Watch follows the program of a terminal until it has ended.
func (r *Room) Watch(t *terminal.Terminal, s *screen.Screen) {
	a := &agent{room: r, id: t.ID(), terminal: t, screen: s, kick: make(chan struct{}, 1), over: make(chan struct{}),
		end: t.End(), last: driver.State{State: driver.Unknown}}
	r.mu.Lock()
	before := r.agents[a.id]
	r.agents[a.id] = a
	r.mu.Unlock()
	if !r.begin(func() { a.watch(before) }) {
		close(a.over)
	}
}

// look makes the watcher look, without waiting for it.
func (a *agent) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// watch looks whenever the screen has changed: at once after a silence, and now and
// then while a program prints.
func (a *agent) watch(before *agent) {
	defer close(a.over)
	if before != nil {
		<-before.over // what it watched is settled
	}
	ctx, stop := context.WithCancel(a.room.base)
	defer stop()
	if !a.resume(ctx) {
		return
	}
	a.room.opt.Rooms.Wake()
	changed := make(chan struct{})
	var waiter sync.WaitGroup
	defer waiter.Wait()
	defer stop()
	waiter.Go(func() {
		for at := uint64(0); a.screen.Wait(ctx, at) == nil; {
			at = a.screen.Version()
			select {
			case changed <- struct{}{}:
			case <-ctx.Done():
			}
		}
	})
	for {
		next := a.look()
		select {
		case <-a.room.opt.after(lookPause):
		case <-a.terminal.Done():
		case <-ctx.Done():
			return
		}
		select {
		case <-changed:
		case <-a.kick:
		case <-a.room.opt.after(next):
		case <-a.terminal.Done():
			a.leaveTerminal()
			return
		case <-ctx.Done():
			return
		}
	}
}

// resume takes up the prompt that an earlier process saw. False: the room closes.
func (a *agent) resume(ctx context.Context) bool {
	for {
		err := a.load(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			a.room.opt.Log.Error("what an agent asked cannot be read", "terminal", a.id, "error", err)
		}
		select {
		case <-a.room.opt.after(lookRetry):
		case <-a.terminal.Done():
			return true
		case <-ctx.Done():
			return false
		}
	}
}

func (a *agent) load(ctx context.Context) error {
	var p *prompt
	err := a.room.opt.DB.Update(ctx, func(tx store.Tx) (err error) {
		if p, err = newest(tx, a.id); err != nil || p == nil {
			return err
		}
		if p.Status == promptAnswering && !p.Claim.Pressed { // no key was pressed: it counts for nobody
			p.Status, p.Claim = promptPending, nil
			return prompts.Put(tx, p)
		}
		return nil
	})
	if err != nil || p == nil {
		return err
	}
	a.looking.Lock()
	defer a.looking.Unlock()
	a.count = p.Generation
	if p.Status == promptGone || p.Left {
		return nil
	}
	a.shown = &shown{id: p.ID, fingerprint: p.Fingerprint, digest: p.Digest}
	switch p.Status {
	case promptAnswered:
		a.shown.answered = time.Unix(0, p.Claim.At)
	case promptAnswering:
		a.shown.left = a.room.opt.Now().Add(settleAfter)
	}
	return nil
}

// look looks at the screen and does what follows from it. It returns when to look
// again if nothing changes.
func (a *agent) look() time.Duration {
	a.looking.Lock()
	defer a.looking.Unlock()
	now := a.room.opt.Now()
	snap := a.screen.Snapshot()
	again := a.detect(snap, now)
	st, sure, steady := a.see(snap, now)
	a.note(st, now)
	if !steady {
		again = min(again, steadyFor)
	} else if !a.busy {
		d, err := a.follow(st, sure, now)
		if err != nil && !errors.Is(err, context.Canceled) {
			a.room.opt.Log.Error("what an agent asks is not noted", "terminal", a.id, "error", err)
			d = lookRetry
		}
		again = min(again, d)
	}
	return min(again, a.announce(st, now))
}

// see is what the screen says: sure that something of the agent is on it, and steady
// that it is not half a picture. Prompts have a fingerprint only then. The caller
// holds looking.
func (a *agent) see(snap screen.Snapshot, now time.Time) (st driver.State, sure, steady bool) {
	a.drawn = a.drawn || snap.Text() != ""
	p := a.room.patterns.Load()
	if a.tracked == nil {
		st, sure = p.look(snap), p != nil
	} else {
		st = a.tracked.Look(snap)
		sure = st.State != driver.Unknown
	}
	if steady = a.sight.stands(sightOf(st, sure), now); !steady {
		return st, sure, false
	}
	if a.tracked == nil {
		a.pattern.track(p, &st, &a.count, now)
	} else {
		st = a.track.Track(st)
		a.count = a.track.Generation()
	}
	if st.Prompt != nil {
		a.blind = time.Time{}
	}
	return st, sure, true
}

// glance is a look that only says what is seen.
func (a *agent) glance() (st driver.State, sure, steady bool) {
	a.looking.Lock()
	defer a.looking.Unlock()
	return a.see(a.screen.Snapshot(), a.room.opt.Now())
}

// retrack begins to follow prompts anew; the one that is shown stays the same one.
func (a *agent) retrack(d *driver.Driver) {
	a.tracked, a.track = d, nil
	digest := ""
	if a.shown != nil {
		digest = a.shown.digest
	}
	if d != nil {
		a.track = driver.NewTracker(d, a.count)
		a.track.Resume(digest)
	}
	a.pattern.resume(digest)
}

// follow stores what is asked anew, and what no longer is. It returns when to look again.
func (a *agent) follow(st driver.State, sure bool, now time.Time) (time.Duration, error) {
	s, p := a.shown, st.Prompt
	switch {
	case p != nil && s != nil && s.fingerprint == p.Fingerprint:
		return a.stands(now)
	case p != nil:
		if s != nil {
			if err := a.leave("another question"); err != nil {
				return 0, err
			}
		}
		return lookIdle, a.raise(p)
	case s == nil:
		return lookIdle, nil
	case sure:
		return lookIdle, a.leave("moved_on")
	case !a.drawn:
		return lookIdle, nil // a screen that nothing has been drawn on
	}
	if a.blind.IsZero() {
		a.blind = now
	}
	if left := blindFor - now.Sub(a.blind); left > 0 {
		return left, nil
	}
	err := a.leave("moved_on")
	if err == nil {
		a.retrack(a.tracked) // if it comes again it is asked again
	}
	return lookIdle, err
}

// stands is a prompt that is still on the screen.
func (a *agent) stands(now time.Time) (time.Duration, error) {
	s := a.shown
	switch {
	case !s.left.IsZero():
		if left := s.left.Sub(now); left > 0 {
			return left, nil
		}
		s.left = time.Time{} // what was pressed, if it was, had no effect
		return lookIdle, a.room.release(a.room.base, s.id)
	case !s.answered.IsZero() && a.tracked != nil:
		if left := staleAfter - now.Sub(s.answered); left > 0 {
			return left, nil
		}
		if err := a.leave("answered"); err != nil {
			return 0, err
		}
		a.retrack(a.tracked)
		return lookPause, nil
	}
	return lookIdle, nil
}

// leave notes that the prompt is no longer on the screen.
func (a *agent) leave(why string) error {
	err := a.room.left(a.room.base, a.shown.id, why)
	if err == nil {
		a.shown, a.blind = nil, time.Time{}
		a.room.opt.Rooms.Wake()
	}
	return err
}

// leaveTerminal is called when the program has ended.
func (a *agent) leaveTerminal() {
	r := a.room
	r.mu.Lock()
	if r.agents[a.id] == a {
		delete(r.agents, a.id)
	}
	r.mu.Unlock()
	for {
		a.looking.Lock()
		var err error
		if a.shown != nil && !a.busy {
			err = a.leave("terminal_ended")
		}
		waits := a.busy
		a.looking.Unlock()
		if err == nil && !waits {
			return
		}
		if err != nil && r.base.Err() == nil {
			r.opt.Log.Error("what an agent asked is not settled", "terminal", a.id, "error", err)
		}
		select {
		case <-a.kick:
		case <-r.opt.after(lookRetry):
		case <-r.base.Done():
			return
		}
	}
}

// note keeps what others ask for.
func (a *agent) note(st driver.State, now time.Time) {
	end := a.terminal.End()
	a.mu.Lock()
	before, driven := a.last, a.known
	a.last, a.seen, a.known = st, now, a.tracked
	if end > a.end {
		a.end, a.output = end, now
	}
	a.mu.Unlock()
	if driven == nil && a.tracked != nil || st.State == driver.Ready && before.State != driver.Ready ||
		before.Prompt != nil && st.Prompt == nil {
		a.room.opt.Rooms.Wake()
	}
}

// driver is nil where none is known.
func (a *agent) driver() *driver.Driver {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// state is what the screen said last.
func (a *agent) state() driver.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// lastOutput is zero where nothing was printed since the watch began.
func (a *agent) lastOutput() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.output
}
