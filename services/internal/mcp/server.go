package mcp

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// retryGap is how long a server that did not come up is left alone.
const retryGap = 10 * time.Second

// server is one entry of a project's file, with its connection if there is one.
// It is entered by want, which a turn calls for what it holds.
type server struct {
	engine *Engine
	entry  entry
	dir    string // of the project

	mu      sync.Mutex // may be taken when the engine's is held, never the other way round
	refs    int        // turns that hold it
	retired bool       // nobody is going to hold it any more
	now     *attempt
	conn    *connection
	stale   bool   // it said that its tools are others now
	failed  bool   // the last attempt to connect
	problem string // of the last connection, empty if it ended as it should
	note    string // about its tools
	tried   time.Time
	tools   []tool
	idle    *time.Timer
}

// attempt is to connect to a server, or to ask it for its tools again.
type attempt struct {
	began   time.Time
	over    chan struct{}
	patient bool // it is worth waiting for
}

func newServer(e *Engine, p Project, entry entry) *server {
	return &server{engine: e, entry: entry, dir: p.Folder.Dir()}
}

func (s *server) is(e entry, dir string) bool { return s.dir == dir && s.entry.same(e) }

func (s *server) usable() bool { return s.entry.problem == "" && !s.entry.disabled }

// acquire holds the server for a turn, release gives it back.
func (s *server) acquire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs++; s.idle != nil {
		s.idle.Stop()
	}
}

func (s *server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs--; s.refs > 0 {
		return
	}
	s.rest()
}

// rest lets go of a connection that no turn uses: now, or after a while. The lock
// is held.
func (s *server) rest() {
	if s.retired {
		s.drop()
		return
	}
	if s.idle != nil {
		s.idle.Stop()
	}
	s.idle = time.AfterFunc(s.engine.opt.Idle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refs == 0 {
			s.drop()
		}
	})
}

// retire lets go of the server once no turn holds it.
func (s *server) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired = true; s.idle != nil {
		s.idle.Stop()
	}
	if s.refs == 0 {
		s.drop()
	}
}

// drop ends the connection, behind the caller's back. The lock is held.
func (s *server) drop() {
	if s.conn != nil {
		s.conn.end()
		s.conn = nil
	}
}

// want sees to it that the server is connected and its tools are known. It
// returns what ends when that is so or has failed; nil if there is nothing to
// wait for, or no use in it.
func (s *server) want() <-chan struct{} {
	a := s.attempt()
	if a == nil || !a.patient || time.Since(a.began) >= s.engine.opt.Patience {
		return nil
	}
	return a.over
}

// attempt is the one that is under way, which begins if there is need; nil if
// there is none, or if it is too soon.
func (s *server) attempt() *attempt {
	s.mu.Lock()
	a := s.now
	begins := a == nil && (s.stale || s.conn == nil) && !(s.conn == nil && s.failed && time.Since(s.tried) < retryGap)
	if begins {
		a = &attempt{began: time.Now(), over: make(chan struct{}), patient: !s.failed}
		s.now = a
	}
	s.mu.Unlock()
	if begins && !s.engine.run(s.try) {
		s.settle(nil, false, found{}, errClosed)
	}
	return a
}

// found is what a server says that it has.
type found struct {
	tools []tool
	note  string
}

// try connects if that is needed, asks for the tools, and then looks after the
// connection that it made until that ends.
func (s *server) try() {
	ctx, cancel := context.WithTimeout(s.engine.base, s.engine.opt.Start)
	defer cancel()
	s.mu.Lock()
	c, made := s.conn, false
	s.stale = false
	s.mu.Unlock()
	var err error
	if c == nil {
		c, err = s.connect(ctx)
		made = err == nil
	}
	var f found
	if err == nil {
		f, err = s.list(ctx, c)
	}
	if made && err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errSlow
	}
	s.settle(c, made, f, err)
	if made {
		s.tend(c)
	}
}

var errSlow = errors.New("it did not answer in time")

// settle ends the attempt, which may have made the connection.
func (s *server) settle(c *connection, made bool, f found, err error) {
	problem := ""
	if err != nil {
		problem = s.words(c, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.now.over)
	s.now, s.tried, s.failed = nil, time.Now(), err != nil
	if s.problem = problem; problem != "" {
		s.engine.opt.Log.Warn("a server for tools cannot be used", "server", s.entry.name, "dir", s.dir, "problem", problem)
		if c != nil {
			c.end()
		}
		s.conn = nil
		return
	}
	if s.tools, s.note = f.tools, f.note; made {
		s.conn = c
	}
	if s.refs == 0 { // the turn that wanted it did not wait
		s.rest()
	}
}

// tend waits for a connection to end, and frees all that it took.
func (s *server) tend(c *connection) {
	over := make(chan error, 1)
	s.engine.work.Go(func() { over <- c.session.Wait() })
	select {
	case <-c.quit:
	case <-s.engine.base.Done():
	case err := <-over:
		s.lost(c, err)
		c.close()
		return
	}
	c.close()
	<-over
}

// lost notes that a connection has ended without being told to.
func (s *server) lost(c *connection, err error) {
	if err == nil {
		err = errEnded
	}
	s.mu.Lock()
	if s.conn == c { // the next turn begins anew, while it is found out what happened
		s.conn, s.problem = nil, errEnded.Error()
	}
	s.mu.Unlock()
	problem := s.words(c, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil && s.now == nil {
		s.problem = problem
	}
}

var errEnded = errors.New("it ended the connection")

// connection is that to the server, which is connected to if it is not now. It
// waits for that, and fails with why there is none.
func (s *server) connection(ctx context.Context) (*connection, error) {
	for range 3 {
		s.mu.Lock()
		c := s.conn
		s.mu.Unlock()
		if c != nil {
			return c, nil
		}
		a := s.attempt()
		if a == nil {
			break
		}
		select {
		case <-a.over:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem == "" {
		return nil, errEnded
	}
	return nil, errors.New(s.problem)
}

// forget lets go of a connection that has turned out to be of no use.
func (s *server) forget(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		s.drop()
	}
}

// changed notes that the server has other tools now.
func (s *server) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
}

// known are the tools of which the server told last.
func (s *server) known() []tool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tools)
}

func (s *server) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil
}

// status is how the server is. One that is connected is asked for its tools
// again if they are others now, for the next to know.
func (s *server) status() Status {
	st := Status{Name: s.entry.name, Transport: s.entry.transport, Command: redact(s.entry.command, s.entry.secrets), URL: shown(s.entry.url)}
	s.mu.Lock()
	asks := s.conn != nil && s.stale
	switch {
	case s.entry.problem != "":
		st.State, st.Problem = Failed, redact(s.entry.problem, s.entry.secrets)
	case s.entry.disabled:
		st.State = Disabled
	case s.conn != nil:
		st.State, st.Problem = Connected, s.note
	case s.now != nil:
		st.State = Starting
	case s.problem != "":
		st.State, st.Problem = Failed, s.problem
	default:
		st.State = Idle
	}
	s.mu.Unlock()
	if asks {
		s.attempt()
	}
	return st
}
