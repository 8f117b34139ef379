package terminals

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/terminal"
)

const (
	frameMost = 64 << 10             // bytes of one TerminalOutput
	linger    = 4 * time.Millisecond // how long output is joined when there is much of it
	burst     = 16                   // keys that are answered at once nevertheless, in that time
	small     = 512                  // bytes of such an answer at most
	inputMost = 1 << 20              // bytes of one input
	inputFor  = 10 * time.Second     // how long input that was received may take when its sender has gone
)

var (
	errNotOpened = fault.New(fault.Invalid, "NOT_OPENED", "The first message must be open")
	errOpened    = fault.New(fault.Precondition, "ALREADY_OPENED", "Only the first message can be open")
	errNotLive   = fault.New(fault.Precondition, "TERMINAL_NOT_LIVE", "No terminal runs")
	errInput     = fault.New(fault.Invalid, "INPUT_TOO_LARGE", "An input has at most %d MiB", inputMost>>20)
	errStranger  = fault.New(fault.Denied, "WRONG_ROOM", "Token does not authorise this room")
)

// attachStream is what one connection is made of.
type attachStream = grpc.BidiStreamingServer[antv1.AttachTerminalRequest, antv1.AttachTerminalResponse]

// AttachTerminal implements antv1.TerminalsServiceServer.
func (r *Room) AttachTerminal(stream attachStream) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return errNotOpened
	}
	if err != nil {
		return err
	}
	a, err := r.admit(ctx, stream, first.GetOpen())
	if err != nil {
		return err
	}
	defer a.leave()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	stop := context.AfterFunc(r.base, func() { end(errStopping) })
	defer stop()
	go a.listen(end)
	if err := a.show(ctx); !errors.Is(err, errSaidAll) && !errors.Is(context.Cause(ctx), errSaidAll) {
		return err
	}
	return nil
}

var (
	errSaidAll  = errors.New("terminals: the client has nothing more to say, and wants no output")
	errStopping = fault.New(fault.Unavailable, "STOPPING", "The server is stopping.").RetryAfter(2 * time.Second)
)

// attachment is one connection. One goroutine shows, another listens.
type attachment struct {
	*Room
	stream  attachStream
	open    *antv1.AttachOpen
	id      string // of the session
	viewer  *viewer
	refused error       // what was wrong with the size
	notes   chan string // typed, to be noted

	sending sync.Mutex // one sends at a time

	// Of the goroutine that shows.
	at      int64  // offset of the next byte of the terminal that is not read yet; negative: what is shown comes first
	held    []byte // the beginning of a character, before at
	lost    bool   // bytes before the next ones are not kept
	window  time.Time
	frames  int // small ones since window began
	ahead   *terminal.Chunk
	told    *antv1.TerminalHealth
	sized   size  // as it was told
	watched *seat // the last one; it may have ended
}

// admit lets a viewer in. What is to be shown is settled by then.
func (r *Room) admit(ctx context.Context, stream attachStream, open *antv1.AttachOpen) (*attachment, error) {
	if open == nil {
		return nil, errNotOpened
	}
	if open.SessionId == "" {
		return nil, fault.BadField("missing", "Field required", "open", "session_id")
	}
	s, err := r.find(ctx, open.SessionId)
	if who := caller.From(ctx); who.Scoped() && (s == nil || s.ID != who.Room) {
		return nil, errStranger
	}
	if err != nil {
		return nil, err
	}
	a := &attachment{Room: r, stream: stream, open: open, id: s.ID, at: -1}
	if open.From != nil {
		h, err := r.engine.History(ctx, s.ID)
		if err != nil {
			return nil, err
		}
		_, end, err := h.Bounds()
		if err != nil {
			return nil, err
		}
		a.at = min(int64(min(*open.From, math.MaxInt64)), end)
	}
	var own size
	if open.Size != nil {
		own = size{int(open.Size.Cols), int(open.Size.Rows)}
		if a.refused = own.check(); a.refused != nil {
			own = size{}
		}
	}
	a.viewer = r.audiences.enter(s.ID, own)
	return a, nil
}

// leave gives the terminal the size of those who stay.
func (a *attachment) leave() {
	a.viewer.leave()
	if err := a.fit(a.id); err != nil && !errors.Is(err, terminal.ErrGone) && a.base.Err() == nil {
		a.opt.Log.Warn("a terminal has not got the size of its viewers", "terminal", a.id, "error", err)
	}
}

// show tells of the terminal, from one program to the next, until the stream ends.
func (a *attachment) show(ctx context.Context) error {
	problems := []error{a.refused}
	for first := true; ; first = false {
		woken := a.viewer.woken() // before we look
		session, err := a.find(ctx, a.id)
		if err != nil {
			return err
		}
		unavailable := session.Archived || session.Deleted
		s := a.seat(a.id)
		if first && s == nil && a.open.Spawn && !unavailable {
			var failed error
			if s, failed = a.begin(ctx); failed != nil {
				problems = append(problems, failed)
			}
		}
		if s != nil && s == a.watched {
			s = nil // it has ended, and will be gone in a moment
		}
		if err := a.health(&antv1.TerminalHealth{Alive: s != nil, Unavailable: unavailable, Host: a.engine.Host()}); err != nil {
			return err
		}
		for _, problem := range problems {
			if err := a.refuse(problem); err != nil {
				return err
			}
		}
		problems = nil
		if s != nil {
			a.watched = s
			if err := a.watch(ctx, s); err != nil {
				return err
			}
			continue
		}
		if err := a.catchUp(ctx); err != nil {
			return err
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// begin runs a terminal as this viewer wants it.
func (a *attachment) begin(ctx context.Context) (*seat, error) {
	if err := checkSpawn(a.open.Cwd, nil); err != nil {
		return nil, err
	}
	want := a.audiences.ruling(a.id)
	return a.run(ctx, a.id, spawn{cols: want.cols, rows: want.rows, cwd: a.open.Cwd})
}

// watch shows one program to its end.
func (a *attachment) watch(ctx context.Context, s *seat) error {
	if err := a.refuse(a.fit(a.id)); err != nil {
		return err
	}
	sizes, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.tellSizes(sizes, s)
	}()
	err := a.output(ctx, s)
	stop()
	<-ended
	if err != nil {
		return err
	}
	x := s.t.Exit()
	if err := a.send(&antv1.AttachTerminalResponse{Message: &antv1.AttachTerminalResponse_Exit{
		Exit: &antv1.TerminalExit{Code: int32(x.Code), Signal: int32(x.Signal)}}}); err != nil {
		return err
	}
	return a.health(&antv1.TerminalHealth{Host: a.engine.Host()})
}

// output shows what a program prints, until it has ended.
func (a *attachment) output(ctx context.Context, s *seat) error {
	if !a.open.InputOnly {
		if err := a.read(ctx, s); err != nil {
			return err
		}
	}
	select {
	case <-s.t.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tellSizes tells the size of a terminal, and whenever it is another one.
func (a *attachment) tellSizes(ctx context.Context, s *seat) {
	for {
		woken := a.viewer.woken()
		cols, rows := s.t.Size()
		if now := (size{cols, rows}); now != a.sized && !now.none() {
			a.sized = now
			if a.send(&antv1.AttachTerminalResponse{Message: &antv1.AttachTerminalResponse_Size{
				Size: &antv1.TerminalSize{Cols: int32(cols), Rows: int32(rows)}}}) != nil {
				return // the stream ends, which the others see too
			}
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return
		}
	}
}

// read shows the output of one program: first what it shows, unless the viewer knows better, then all that comes.
func (a *attachment) read(ctx context.Context, s *seat) error {
	if a.at < 0 {
		data, offset := s.replay(ctx)
		a.at = offset
		if len(data) > 0 {
			if err := a.sendOutput(&antv1.TerminalOutput{Data: data, Offset: uint64(offset), Replay: true}); err != nil {
				return err
			}
		}
	}
	reader := s.t.Reader(a.at)
	for {
		c, err := a.next(ctx, reader, s.t)
		if errors.Is(err, io.EOF) {
			return a.flush()
		}
		if err == nil {
			err = a.pass(c)
		}
		if err != nil {
			return err
		}
	}
}

// catchUp shows what is kept of a terminal that does not run.
func (a *attachment) catchUp(ctx context.Context) error {
	if a.at < 0 || a.open.InputOnly {
		return nil
	}
	h, err := a.engine.History(ctx, a.id)
	if err != nil {
		return err
	}
	for {
		c, err := h.Read(ctx, a.at, 0)
		if err != nil {
			return err
		}
		if len(c.Data) == 0 {
			return a.flush()
		}
		if err := a.pass(c); err != nil {
			return err
		}
	}
}

// next is what is printed next. When a viewer gets many small pieces they are joined; the first ones, and those that
// answer to typing, are not held up.
func (a *attachment) next(ctx context.Context, reader *terminal.Reader, t *terminal.Terminal) (terminal.Chunk, error) {
	if c := a.ahead; c != nil {
		a.ahead = nil
		return *c, nil
	}
	c, err := reader.Next(ctx)
	if now := time.Now(); now.Sub(a.window) > linger {
		a.window, a.frames = now, 0
		return c, err
	}
	if a.frames++; err != nil || a.frames <= burst && len(c.Data) <= small {
		return c, err
	}
	for time.Since(a.window) < linger && t.End()-c.Offset < frameMost && ctx.Err() == nil {
		pause(ctx, time.Millisecond)
	}
	if t.End() == c.End() || len(c.Data) >= frameMost {
		return c, nil
	}
	more, err := reader.Next(ctx) // it is there
	switch {
	case err != nil:
	case more.Offset == c.End():
		c.Data = append(c.Data, more.Data...)
	default:
		a.ahead = &more
	}
	return c, nil // an error comes again
}

// pass sends output on in frames that end where a character does.
func (a *attachment) pass(c terminal.Chunk) error {
	if c.Truncated {
		a.lost, a.held = true, nil
	}
	data, at := append(slices.Clip(a.held), c.Data...), c.Offset-int64(len(a.held))
	a.held, a.at = nil, c.End()
	for len(data) > 0 {
		n := terminal.WholeRunes(data[:min(len(data), frameMost)])
		if n == 0 { // the rest of a character will come
			a.held = data
			return nil
		}
		if err := a.sendOutput(&antv1.TerminalOutput{Data: data[:n:n], Offset: uint64(at), Truncated: a.lost}); err != nil {
			return err
		}
		data, at, a.lost = data[n:], at+int64(n), false
	}
	return nil
}

// flush sends the beginning of a character whose rest does not come.
func (a *attachment) flush() error {
	if len(a.held) == 0 {
		return nil
	}
	held := a.held
	a.held = nil
	return a.sendOutput(&antv1.TerminalOutput{Data: held, Offset: uint64(a.at) - uint64(len(held)), Truncated: a.lost})
}

func (a *attachment) sendOutput(o *antv1.TerminalOutput) error {
	return a.send(&antv1.AttachTerminalResponse{Message: &antv1.AttachTerminalResponse_Output{Output: o}})
}

// health tells how the terminal is, if that is news.
func (a *attachment) health(h *antv1.TerminalHealth) error {
	if t := a.told; t != nil && t.Alive == h.Alive && t.Unavailable == h.Unavailable {
		return nil
	}
	a.told = &antv1.TerminalHealth{Alive: h.Alive, Unavailable: h.Unavailable}
	return a.send(&antv1.AttachTerminalResponse{Message: &antv1.AttachTerminalResponse_Health{Health: h}})
}

// send must not be given a message that is used again.
func (a *attachment) send(m *antv1.AttachTerminalResponse) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	return a.stream.Send(m)
}

// refuse tells why something had no effect; nil: it had.
func (a *attachment) refuse(err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	switch {
	case errors.As(err, &f):
	case errors.Is(err, terminal.ErrGone):
		f = errNotLive
	case a.base.Err() != nil:
		f = errStopping
	default:
		a.opt.Log.Error("input into a terminal failed", "terminal", a.id, "error", err)
		f = fault.New(fault.Unavailable, "TERMINAL_FAILED", "The terminal could not take it")
	}
	return a.send(&antv1.AttachTerminalResponse{Message: &antv1.AttachTerminalResponse_Refusal{
		Refusal: &antv1.AttachRefusal{Reason: f.Reason, Message: f.Message}}})
}

// listen takes what the client says, in order. What was received has its effect, also when the client goes then.
func (a *attachment) listen(end context.CancelCauseFunc) {
	ctx, cancel := context.WithCancel(a.base)
	defer cancel()
	a.notes = make(chan string, 64)
	defer close(a.notes)
	go func() { // what is typed next does not wait for it
		for text := range a.notes {
			a.noteInput(a.base, a.id, text, "attach")
		}
	}()
	stop := context.AfterFunc(a.stream.Context(), func() { time.AfterFunc(inputFor, cancel) })
	defer stop()
	for {
		m, err := a.stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && !a.open.InputOnly:
			return // it listens on
		case errors.Is(err, io.EOF):
			end(errSaidAll)
			return
		case err != nil:
			end(err)
			return
		}
		if err := a.refuse(a.take(ctx, m)); err != nil {
			end(err)
			return
		}
	}
}

// take does one thing that the client wants.
func (a *attachment) take(ctx context.Context, m *antv1.AttachTerminalRequest) error {
	switch m := m.Message.(type) {
	case *antv1.AttachTerminalRequest_Input:
		return a.typed(ctx, m.Input)
	case *antv1.AttachTerminalRequest_Resize:
		s := size{int(m.Resize.GetCols()), int(m.Resize.GetRows())}
		if err := s.check(); err != nil {
			return err
		}
		a.viewer.resize(s)
		return a.fit(a.id)
	case *antv1.AttachTerminalRequest_Open:
		return errOpened
	}
	return nil // a later version's
}

// typed hands input to the terminal.
func (a *attachment) typed(ctx context.Context, data []byte) error {
	if len(data) > inputMost {
		return errInput
	}
	if len(data) == 0 {
		return nil
	}
	for again := false; ; again = true {
		s, err := a.live(ctx)
		if err != nil {
			return err
		}
		if a.viewer.active() {
			if err := a.fit(a.id); err != nil && !errors.Is(err, terminal.ErrGone) {
				return err
			}
		}
		err = s.t.Write(ctx, data)
		if errors.Is(err, terminal.ErrGone) && a.open.Spawn && !again {
			err = a.awaitEnd(ctx, s) // it has just ended: the next one is meant
			if err == nil {
				continue
			}
		}
		if err == nil && len(data) > 1 {
			a.notes <- string(data)
		}
		return err
	}
}

// live returns what runs, or runs it if this viewer may.
func (a *attachment) live(ctx context.Context) (*seat, error) {
	if s := a.seat(a.id); s != nil {
		return s, nil
	}
	if !a.open.Spawn {
		return nil, errNotLive
	}
	return a.begin(ctx)
}

// awaitEnd waits until an ended terminal is gone.
func (a *attachment) awaitEnd(ctx context.Context, s *seat) error {
	for {
		woken := a.viewer.woken()
		if a.seat(a.id) != s {
			return nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
