package kernel

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a running worker.
type process struct {
	engine  *Engine
	guarded *guarded
	place   Place
	model   Model
	note    string // its file among the leftovers
	version string
	pid     int           // leader of the group; 0 before it said so
	hello   chan struct{} // closed once it has
	exited  chan struct{} // closed once nothing of it runs and all it wrote was read
	queue   chan []byte   // to the worker
	asking  chan struct{} // tokens of the calls of the model under way

	requests, events *os.File
	stdout, stderr   *stream

	mu    sync.Mutex // orders what arrives
	cell  *recording // where it goes; nil between cells
	late  [2][]byte  // what came between cells: it shows with the next one
	done  chan doneFrame
	ctx   context.Context // of the cell
	sign  time.Time       // when it was last heard of
	calls int             // of the model, by this cell

	cells   int // that it was given; of the kernel's holder
	readers sync.WaitGroup
	models  sync.WaitGroup
}

// stream is one of the two pipes that code writes to.
type stream struct {
	file   *os.File
	conn   syscall.RawConn
	stderr bool
}

const (
	lateMost  = 32 << 10 // bytes kept of each stream between cells
	drainMost = 1 << 20  // more than fits into a pipe
)

// spawn starts a worker and waits until it has said hello.
func (e *Engine) spawn(ctx context.Context, py *interpreter, at Place, model Model) (*process, error) {
	p := &process{engine: e, place: at, model: model, hello: make(chan struct{}), exited: make(chan struct{}),
		queue: make(chan []byte, 256), asking: make(chan struct{}, modelsAtOnce), sign: time.Now()}
	if err := p.start(py); err != nil {
		return nil, err
	}
	timer := time.NewTimer(e.opt.Times.Start)
	defer timer.Stop()
	var why error
	select {
	case <-p.hello:
		return p, nil
	case <-p.exited:
		why = fmt.Errorf("it ended at once: %s", p.ended())
	case <-timer.C:
		why = errors.New("it did not answer in time")
	case <-ctx.Done():
		why = context.Cause(ctx)
	}
	p.stop(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	return nil, fmt.Errorf("kernel: start the worker: %w; it wrote: %s", why, strings.ToValidUTF8(string(p.late[1]), "\uFFFD"))
}

// start makes the pipes and begins to read.
func (p *process) start(py *interpreter) (err error) {
	var theirs [4]*os.File // requests, events, stdout, stderr
	var ours [4]*os.File
	defer func() {
		for _, f := range theirs {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
		if err != nil {
			for _, f := range ours {
				if f != nil {
					err = errors.Join(err, f.Close())
				}
			}
		}
	}()
	for i := range theirs {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("kernel: make a pipe: %w", err)
		}
		if theirs[i], ours[i] = w, r; i == 0 {
			theirs[i], ours[i] = r, w
		}
		if err := blocking(theirs[i]); err != nil {
			return fmt.Errorf("kernel: prepare a pipe: %w", err)
		}
	}
	p.requests, p.events = ours[0], ours[1]
	if p.stdout, err = newStream(ours[2], false); err != nil {
		return err
	}
	if p.stderr, err = newStream(ours[3], true); err != nil {
		return err
	}
	program := []string{envPython(p.place.Env), filepath.Join(p.engine.opt.Dir, workerProgram), "4", "5"}
	p.guarded, err = p.engine.guard(py, program, p.place.Dir, p.engine.environ(p.place), theirs[2], theirs[3], theirs[0], theirs[1])
	if err != nil {
		return err
	}
	p.note = p.engine.remember(p.guarded, 0)
	p.readers.Go(func() { p.follow(p.stdout) })
	p.readers.Go(func() { p.follow(p.stderr) })
	p.readers.Go(p.listen)
	go p.tell()
	go p.wait()
	return nil
}

func newStream(f *os.File, stderr bool) (*stream, error) {
	conn, err := f.SyscallConn()
	return &stream{f, conn, stderr}, err
}

// wait closes exited when everything is over.
func (p *process) wait() {
	<-p.guarded.gone
	if pid := p.group(); p.guarded.killed && pid != 0 {
		kill(pid)
	}
	read := make(chan struct{})
	go func() { p.readers.Wait(); close(read) }()
	select {
	case <-read:
	case <-time.After(time.Second): // somebody outside of the guard's reach has the other end
	}
	for _, f := range []*os.File{p.requests, p.events, p.stdout.file, p.stderr.file} {
		_ = f.Close() // nothing more is written or read
	}
	<-read
	p.engine.forget(p.note)
	close(p.exited)
}

// whenOver runs fn once the process is over.
func (p *process) whenOver(fn func()) {
	go func() { <-p.exited; fn() }()
}

func (p *process) over() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// ended says how it ended, once it is over.
func (p *process) ended() string { return ending(p.guarded.code) }

// stop ends the process and all it started; nothing is left when it returns.
func (p *process) stop(grace time.Duration) {
	_ = p.requests.Close() // the worker ends by it, if it can
	p.guarded.end(grace)
	<-p.exited
	p.models.Wait()
}

// interrupt raises KeyboardInterrupt in the cell.
func (p *process) interrupt() {
	if pid := p.group(); pid != 0 && !p.over() {
		interrupt(pid)
	}
}

// group is the worker's process group; 0 before it is known.
func (p *process) group() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// quiet is how long nothing was heard of the process.
func (p *process) quiet() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.sign)
}

// begin hands a cell to the worker. What it does goes to r until finish.
func (p *process) begin(ctx context.Context, c Cell, r *recording, beat time.Duration) <-chan doneFrame {
	done := make(chan doneFrame, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	p.cell, p.done, p.ctx, p.calls, p.sign = r, done, ctx, 0, time.Now()
	for i, late := range p.late {
		if len(late) > 0 {
			r.print(i == 1, late)
		}
		p.late[i] = nil
	}
	p.cells++
	p.send(request{Op: "cell", Number: c.Number, Code: c.Code, Beat: min(beat, 10*time.Second).Seconds()})
	return done
}

func (p *process) finish() {
	p.mu.Lock()
	p.cell, p.done = nil, nil
	p.mu.Unlock()
	p.models.Wait() // their context has ended
}

// send queues a request. A worker that reads nothing any more is ended.
func (p *process) send(r request) {
	data, err := r.encode()
	if err == nil {
		select {
		case p.queue <- data:
			return
		default:
		}
	}
	p.abandon()
}

// abandon lets worker and guard end by themselves.
func (p *process) abandon() {
	_ = p.requests.Close() // it may be closed
	_ = p.guarded.control.Close()
}

// tell writes what is queued, until the process is over.
func (p *process) tell() {
	for {
		select {
		case data := <-p.queue:
			if _, err := p.requests.Write(data); err != nil {
				return
			}
		case <-p.exited:
			return
		}
	}
}

// follow reads a stream to its end.
func (p *process) follow(s *stream) {
	buf := make([]byte, 32<<10)
	_ = s.conn.Read(func(fd uintptr) bool { // it fails only when the pipe is closed
		for {
			p.mu.Lock()
			n, err := p.take(s, int(fd), buf)
			p.mu.Unlock()
			switch {
			case errors.Is(err, syscall.EAGAIN):
				return false
			case n <= 0:
				return true
			}
		}
	})
}

// take reads from a stream once, under the lock: what was read is passed on
// before anything that came later is.
func (p *process) take(s *stream, fd int, buf []byte) (n int, err error) {
	for {
		if n, err = syscall.Read(fd, buf); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if n <= 0 {
		return n, err
	}
	p.sign = time.Now()
	if p.cell != nil {
		p.cell.print(s.stderr, buf[:n])
		return n, nil
	}
	i := 0
	if s.stderr {
		i = 1
	}
	p.late[i] = append(p.late[i], buf[:min(n, lateMost-len(p.late[i]))]...)
	return n, nil
}

// drain reads what is in the streams now: it was written before the frame that
// is to be handled next.
func (p *process) drain() {
	buf := make([]byte, 32<<10)
	for _, s := range []*stream{p.stdout, p.stderr} {
		_ = s.conn.Control(func(fd uintptr) { // it fails only when the pipe is closed
			for read := 0; read < drainMost; {
				n, err := p.take(s, int(fd), buf)
				if n <= 0 || err != nil {
					return
				}
				read += n
			}
		})
	}
}

// listen handles frames until the worker says no more.
func (p *process) listen() {
	r := bufio.NewReaderSize(p.events, 64<<10)
	for {
		f, err := readFrame(r)
		if errors.Is(err, errFrame) {
			p.engine.opt.Log.Warn("a scratchpad sent what is no frame: it is ended", "error", err)
		}
		if err != nil {
			p.abandon()                   // it ends, or is without a way to speak to us
			_, _ = io.Copy(io.Discard, r) // until it has it must not wait for us
			return
		}
		p.mu.Lock()
		p.drain()
		p.sign = time.Now()
		p.handle(f)
		p.mu.Unlock()
	}
}

// handle carries out one frame. The lock is held.
func (p *process) handle(f frame) {
	switch f.Ev {
	case "hello":
		if p.pid == 0 && f.PID > 1 {
			p.pid, p.version = f.PID, f.Version
			p.engine.forget(p.note)
			p.note = p.engine.remember(p.guarded, p.pid)
			close(p.hello)
		}
	case "model":
		p.ask(f)
		return // it is answered later
	case "done":
		if p.done != nil {
			p.done <- f.doneFrame
			p.done = nil
		}
	}
	if p.cell != nil {
		switch f.Ev {
		case "display":
			p.cell.display(Output{Kind: f.Kind, Data: f.Data})
		case "progress":
			p.cell.progress(f.Message, f.Percent)
		case "log":
			p.cell.log(f.Text)
		}
	}
	if f.ID != 0 {
		p.send(request{Op: "answer", ID: f.ID})
	}
}

// ask passes a question of the code on to the model. The lock is held.
func (p *process) ask(f frame) {
	p.calls++
	switch {
	case p.cell == nil:
		p.send(request{Op: "answer", ID: f.ID, Error: "No cell is running: the model can only be asked by one that is."})
		return
	case p.model == nil:
		p.send(request{Op: "answer", ID: f.ID, Error: "No model is configured for scratchpads."})
		return
	case p.calls > modelCalls:
		p.send(request{Op: "answer", ID: f.ID, Error: fmt.Sprintf("One cell may ask the model %d times.", modelCalls)})
		return
	}
	ctx := p.ctx
	p.models.Go(func() {
		select {
		case p.asking <- struct{}{}:
			defer func() { <-p.asking }()
		case <-ctx.Done():
			return
		}
		answer := request{Op: "answer", ID: f.ID}
		text, err := p.model.Complete(ctx, Prompt{Text: f.Prompt, System: f.System, MaxTokens: max(f.MaxTokens, 0), Schema: f.Schema})
		if ctx.Err() != nil { // the cell is being stopped, and says so itself
			return
		}
		if answer.Text = text; err != nil {
			answer.Error = err.Error()
		}
		p.send(answer)
	})
}

// What one cell may ask of the model.
const (
	modelsAtOnce = 4
	modelCalls   = 1000
)

// Model answers code that runs in a scratchpad. The code never sees its key.
type Model interface {
	// Complete answers a prompt. The text of an error is shown to the code.
	Complete(ctx context.Context, p Prompt) (string, error)
}

// Prompt is a question of code.
type Prompt struct {
	Text      string
	System    string
	MaxTokens int             // 0: the model's default
	Schema    json.RawMessage // JSON Schema that the answer must follow; nil: plain text
}
