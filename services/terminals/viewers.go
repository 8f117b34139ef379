package terminals

import (
	"context"
	"slices"
	"sync"
	"time"

	"anthill/services/internal/fault"
	"anthill/services/internal/terminal"
)

// audiences are those who look at terminals, by session, whether anything runs there or not. The zero value is empty.
type audiences struct {
	mu sync.Mutex
	of map[string]*audience
}

// audience are the viewers of one terminal. It has the size of the viewer that was last active and has one.
type audience struct {
	sizing sync.Mutex // one sets the size at a time

	viewers []*viewer     // the last active one last
	woken   chan struct{} // closed when something has changed
}

// viewer is one connection.
type viewer struct {
	all      *audiences
	id       string // of the session
	audience *audience
	size     size // 0 x 0: none of its own
}

// size is in characters.
type size struct{ cols, rows int }

func (s size) none() bool { return s == size{} }

var errSize = fault.New(fault.Invalid, "INVALID_SIZE", "cols and rows must be whole numbers from 1 to %d", terminal.MaxSide)

func (s size) check() error {
	if s.cols < 1 || s.rows < 1 || s.cols > terminal.MaxSide || s.rows > terminal.MaxSide {
		return errSize
	}
	return nil
}

// enter adds a viewer, who is active by that.
func (a *audiences) enter(id string, s size) *viewer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[string]*audience{}
	}
	if a.of[id] == nil {
		a.of[id] = &audience{woken: make(chan struct{})}
	}
	v := &viewer{all: a, id: id, audience: a.of[id], size: s}
	v.audience.viewers = append(v.audience.viewers, v)
	return v
}

func (v *viewer) leave() {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	v.audience.viewers = slices.DeleteFunc(v.audience.viewers, func(other *viewer) bool { return other == v })
	if len(v.audience.viewers) == 0 {
		delete(v.all.of, v.id)
	}
}

// active notes that a viewer did something, and says whether the size may be another one by that.
func (v *viewer) active() bool {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	list := v.audience.viewers
	if v.size.none() || list[len(list)-1] == v {
		return false
	}
	i := slices.Index(list, v)
	copy(list[i:], list[i+1:])
	list[len(list)-1] = v
	return true
}

// resize gives a viewer another size.
func (v *viewer) resize(s size) {
	v.all.mu.Lock()
	v.size = s
	v.all.mu.Unlock()
	v.active()
}

// woken is closed when something changes from now on.
func (v *viewer) woken() <-chan struct{} {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	return v.audience.woken
}

// changed wakes the viewers of a session: its terminal began or ended, has another size, or may not run any more.
func (a *audiences) changed(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if of := a.of[id]; of != nil {
		close(of.woken)
		of.woken = make(chan struct{})
	}
}

// get returns those who look at a terminal; nil: nobody does.
func (a *audiences) get(id string) *audience {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of[id]
}

// ruling is the size that a terminal should have; none: its viewers do not mind.
func (a *audiences) ruling(id string) size {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.of[id]
	if of == nil {
		return size{}
	}
	for _, v := range slices.Backward(of.viewers) {
		if !v.size.none() {
			return v.size
		}
	}
	return size{}
}

// fitLimit bounds the time that a new size may take.
const fitLimit = 10 * time.Second

// fit gives the terminal of a session, if it runs, the size that its viewers want.
func (r *Room) fit(id string) error {
	of := r.audiences.get(id)
	if of == nil {
		return nil
	}
	of.sizing.Lock()
	defer of.sizing.Unlock()
	s, want := r.seat(id), r.audiences.ruling(id)
	if s == nil || want.none() {
		return nil
	}
	if cols, rows := s.t.Size(); want == (size{cols, rows}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.base, fitLimit)
	defer cancel()
	at := s.t.End() // what comes from here on may know the new size
	if err := s.t.Resize(ctx, want.cols, want.rows); err != nil {
		return err
	}
	s.shown.resize(s.screen, at, want)
	r.audiences.changed(id)
	return nil
}
