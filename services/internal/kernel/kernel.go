// Package kernel runs Python for scratchpads: one long-lived process for each,
// with packages of its own, whose variables stay from cell to cell.
//
// Rooms enter through Open and Engine.Kernel. What a cell prints, shows and
// reports comes as Events while it runs, in the order in which it happened. Code
// in cells is not trusted: what it prints is never taken for a message to the
// server, what it leaves is bounded, it sees none of the server's environment but
// a short list, and nothing that it starts outlives its kernel. It runs with the
// rights of the server's user: this is no sandbox. Nothing is stored here, and
// nothing here knows a project.
package kernel

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"anthill/services/internal/fault"
)

// MaxLive is how many processes an Engine has at once unless it is told otherwise.
const MaxLive = 5

// Options open an engine.
type Options struct {
	Dir    string                      // of the engine's own files; made with mode 0700
	Python string                      // name or path of the interpreter; empty: python3
	Getenv func(string) (string, bool) // the environment that children get a part of; nil: that of the process
	Max    int                         // processes at once; 0: MaxLive
	Log    *slog.Logger
	Times  Times  // zero: the contract's
	Limits Limits // zero: the defaults
}

// Times bound what runs. Zero fields take their defaults.
type Times struct {
	Total   time.Duration // of a cell without an estimate; 120 s
	Silence time.Duration // between two signs of life of its process; 30 s
	Grace   time.Duration // from an interrupt to the end of the process; 2 s
	Install time.Duration // of one installation; 120 s
	Start   time.Duration // until a new process answers; 60 s
}

// Longest times of a cell, whatever was estimated (agent-core.md 8).
const (
	totalMost   = time.Hour
	silenceMost = 60 * time.Second
)

// window is how long a cell may run, and how long its process may be silent.
func (t Times) window(estimate time.Duration) (total, silence time.Duration) {
	if estimate <= 0 {
		return t.Total, t.Silence
	}
	estimate = min(estimate, totalMost)
	return min(max(2*estimate, estimate+30*time.Second), totalMost), min(max(estimate/2, t.Silence), silenceMost)
}

func (t Times) orDefaults() Times {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&t.Total, 120 * time.Second}, {&t.Silence, 30 * time.Second}, {&t.Grace, 2 * time.Second},
		{&t.Install, 120 * time.Second}, {&t.Start, 60 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return t
}

//go:embed python
var programs embed.FS

// Names of the programs, in the engine's directory.
const (
	guardProgram  = "guard.py"
	workerProgram = "worker.py"
)

// Engine runs kernels. Safe for concurrent use.
type Engine struct {
	opt     Options
	closing chan struct{}
	reaping sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	kernels map[*Kernel]bool
	live    map[*Kernel]*process    // those that have a process, or (nil) are about to
	clock   uint64                  // grows with every use of a kernel
	python  *interpreter            // once it was found
	envs    map[string]*environment // by path
}

// Open makes an engine. What an earlier one of the same directory left running
// is ended. Python is looked for only when it is needed.
func Open(o Options) (*Engine, error) {
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.Python == "" {
		o.Python = "python3"
	}
	if o.Max <= 0 {
		o.Max = MaxLive
	}
	o.Times, o.Limits = o.Times.orDefaults(), o.Limits.orDefaults()
	e := &Engine{opt: o, closing: make(chan struct{}), kernels: map[*Kernel]bool{}, live: map[*Kernel]*process{}, envs: map[string]*environment{}}
	if err := os.MkdirAll(e.running(), 0o700); err != nil {
		return nil, fmt.Errorf("kernel: make the directory: %w", err)
	}
	for _, name := range []string{guardProgram, workerProgram} {
		text, err := programs.ReadFile("python/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(o.Dir, name), text, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("kernel: write %s: %w", name, err)
		}
	}
	e.reapLeftovers()
	return e, nil
}

// running is the directory of the notes about processes that run.
func (e *Engine) running() string { return filepath.Join(e.opt.Dir, "running") }

// Close ends every process; cells that run end with cause. No kernel starts one
// afterwards. It waits until ctx ends at most.
func (e *Engine) Close(ctx context.Context, cause *Cause) error {
	e.mu.Lock()
	if !e.closed {
		close(e.closing)
	}
	e.closed = true
	var all []*Kernel
	for k := range e.kernels {
		all = append(all, k)
	}
	e.mu.Unlock()
	failed := make([]error, len(all))
	var wg sync.WaitGroup
	for i, k := range all {
		wg.Go(func() { failed[i] = k.Stop(ctx, cause) })
	}
	wg.Wait()
	e.reaping.Wait()
	return errors.Join(failed...)
}

// Place is where a kernel runs: both are absolute paths.
type Place struct {
	Dir string // working directory of its code; must exist
	Env string // of its packages, a virtual environment; made when needed
}

// Kernel is one scratchpad's Python. It has a process from its first cell on,
// unless that is taken away: to make room, by a crash, by the end of the server.
// Then the next cell gets a new one and is told so. Calls are carried out one
// after the other, except Stop, which ends the one that is under way.
type Kernel struct {
	engine *Engine
	model  Model

	turn chan struct{} // a token that the call under way holds

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the call under way

	// Of the holder of the turn.
	process *process
	gone    string // why variables of earlier cells are gone; told with the next one

	used uint64 // of the engine's clock, under its lock
}

// Kernel makes a kernel, without a process yet. gone says why variables of
// earlier cells are gone, if there were any; empty: there were none. model
// answers code that asks; nil: nobody does. The caller stops it in the end.
func (e *Engine) Kernel(model Model, gone string) *Kernel {
	k := &Kernel{engine: e, model: model, gone: gone, turn: make(chan struct{}, 1)}
	e.know(k, true)
	return k
}

// Live says whether the kernel has a process.
func (k *Kernel) Live() bool { return k.Python() != "" }

// Python is the version of the process; empty: there is none.
func (k *Kernel) Python() string {
	k.engine.mu.Lock()
	defer k.engine.mu.Unlock()
	if p := k.engine.live[k]; p != nil && !p.over() {
		return p.version
	}
	return ""
}

// take waits for the kernel's turn. ctx of the call ends also by Stop; free ends
// the turn.
func (k *Kernel) take(ctx context.Context) (call context.Context, free func(), err error) {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	call, cancel := context.WithCancelCause(ctx)
	k.mu.Lock()
	k.cancel = cancel
	k.mu.Unlock()
	k.touch()
	return call, func() {
		k.mu.Lock()
		k.cancel = nil
		k.mu.Unlock()
		cancel(nil)
		k.touch()
		<-k.turn
	}, nil
}

func (k *Kernel) touch() {
	k.engine.mu.Lock()
	defer k.engine.mu.Unlock()
	k.engine.clock++
	k.used = k.engine.clock
}

// Stop ends the process, and with cause what runs in it; nothing of the kernel
// is left when it returns nil. The kernel may be used again: its next cell gets a
// new process and, if cause has a Lost, is told that variables are gone.
func (k *Kernel) Stop(ctx context.Context, cause *Cause) error {
	for {
		k.mu.Lock()
		if k.cancel != nil {
			k.cancel(cause)
		}
		k.mu.Unlock()
		// A call that waited may have had its turn first: it is ended, too.
		again := time.NewTimer(50 * time.Millisecond)
		select {
		case k.turn <- struct{}{}:
			again.Stop()
			k.end(cause.Lost, stopGrace)
			if cause.Lost == "" {
				k.gone = ""
			}
			<-k.turn
			return nil
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("kernel: stop: %w", ctx.Err())
		}
	}
}

// Forget stops the kernel for good: unless it fails, it never has a process again.
func (k *Kernel) Forget(ctx context.Context, cause *Cause) error {
	k.engine.know(k, false)
	err := k.Stop(ctx, cause)
	if err != nil {
		k.engine.know(k, true)
	}
	return err
}

func (e *Engine) know(k *Kernel, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known {
		e.kernels[k] = true
	} else {
		delete(e.kernels, k)
	}
}

// stopGrace is how long a process that is idle, or was interrupted, may take to
// end by itself: to write what its code keeps in buffers.
const stopGrace = 500 * time.Millisecond

// end ends the process, if there is one. The holder of the turn calls it.
func (k *Kernel) end(lost string, grace time.Duration) {
	p := k.process
	if p == nil {
		return
	}
	k.process = nil
	if p.cells > 0 && lost != "" {
		k.gone = lost
	}
	p.stop(grace)
}

// Reasons for variables to be gone, as half sentences.
const (
	lostToRoom  = "its process was closed to make room for another scratchpad"
	lostToMove  = "its project was moved to another folder"
	lostToCause = "its process had to be ended"
)

// ready returns the process, started anew if there is none.
func (k *Kernel) ready(ctx context.Context, at Place) (*process, error) {
	if p := k.process; p != nil {
		switch {
		case p.over():
			k.end("its process ended by itself: "+p.ended(), 0)
		case p.place != at:
			k.end(lostToMove, stopGrace)
		default:
			return p, nil
		}
	}
	if err := k.engine.reserve(k); err != nil {
		return nil, err
	}
	p, err := k.engine.launch(ctx, at, k.model)
	k.engine.mu.Lock()
	if err != nil {
		delete(k.engine.live, k)
	} else {
		k.engine.live[k] = p
		p.whenOver(func() { k.engine.freed(k, p) })
	}
	k.engine.mu.Unlock()
	k.process = p
	return p, err
}

// freed gives the place of a process back.
func (e *Engine) freed(k *Kernel, p *process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[k] == p {
		delete(e.live, k)
	}
}

// reserve finds a place for a process of k, by closing the one that was not used
// for the longest time if it must.
func (e *Engine) reserve(k *Kernel) error {
	for {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return fault.New(fault.Unavailable, "STOPPING", "The server is stopping.").RetryAfter(2 * time.Second)
		}
		if !e.kernels[k] {
			e.mu.Unlock()
			return fault.New(fault.Precondition, "SCRATCHPAD_CLOSED", "The scratchpad was closed.")
		}
		if len(e.live) < e.opt.Max {
			e.live[k] = nil
			e.mu.Unlock()
			return nil
		}
		idle := e.idlest()
		e.mu.Unlock()
		if idle == nil {
			return fault.New(fault.Exhausted, "SCRATCHPADS_BUSY",
				"All %d scratchpads are running a cell: wait for one to end, or cancel one.", e.opt.Max).RetryAfter(5 * time.Second)
		}
		idle.end(lostToRoom, stopGrace)
		<-idle.turn
	}
}

// idlest takes the turn of the kernel with a process that nobody used for the
// longest time; nil if all are in use.
func (e *Engine) idlest() *Kernel {
	tried := map[*Kernel]bool{}
	for {
		var found *Kernel
		for k := range e.live {
			if !tried[k] && (found == nil || k.used < found.used) {
				found = k
			}
		}
		if found == nil {
			return nil
		}
		select {
		case found.turn <- struct{}{}:
			return found
		default:
			tried[found] = true
		}
	}
}

// Remove deletes the packages of a place. Nothing may run there.
func (e *Engine) Remove(ctx context.Context, at Place) error {
	free, err := e.lockEnv(ctx, at)
	if err != nil {
		return err
	}
	defer free()
	return removeEnv(at)
}

func removeEnv(at Place) error {
	root, err := os.OpenRoot(at.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kernel: open the folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing was written through it
	name, err := filepath.Rel(at.Dir, at.Env)
	if err == nil {
		err = root.RemoveAll(name)
	}
	if err != nil {
		return fmt.Errorf("kernel: remove packages: %w", err)
	}
	return nil
}
