package terminals

import (
	"context"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
)

// GetTerminal implements antv1.TerminalsServiceServer.
func (r *Room) GetTerminal(ctx context.Context, q *antv1.GetTerminalRequest) (*antv1.Terminal, error) {
	s, err := r.find(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	return r.view(ctx, s.ID)
}

// StartTerminal implements antv1.TerminalsServiceServer.
func (r *Room) StartTerminal(ctx context.Context, q *antv1.StartTerminalRequest) (*antv1.Terminal, error) {
	asked, err := sizeOf(q.Cols, q.Rows)
	if err != nil {
		return nil, err
	}
	if err := checkSpawn(q.Cwd, q.Command); err != nil {
		return nil, err
	}
	s, err := r.run(ctx, q.SessionId, spawn{cols: asked.cols, rows: asked.rows, cwd: q.Cwd, command: q.Command})
	if err != nil {
		return nil, err
	}
	return r.view(ctx, s.t.ID())
}

// Limits of what is run.
const (
	cwdMax      = 4096 // bytes
	commandMax  = 1000 // arguments
	argumentMax = 64 << 10
)

// checkSpawn refuses what cannot be run.
func checkSpawn(cwd string, command []string) error {
	switch {
	case cwd != "" && (!filepath.IsAbs(cwd) || len(cwd) > cwdMax):
		return fault.BadField("value_error", "cwd must be an absolute path of at most 4096 bytes", "cwd")
	case len(command) > commandMax:
		return fault.BadField("value_error", "a command has at most 1000 arguments", "command")
	}
	total := 0
	for _, a := range command {
		total += len(a)
	}
	if total > argumentMax {
		return fault.BadField("value_error", "a command has at most 64 KiB", "command")
	}
	return nil
}

// EndTerminal implements antv1.TerminalsServiceServer.
func (r *Room) EndTerminal(ctx context.Context, q *antv1.EndTerminalRequest) (*antv1.Terminal, error) {
	s, err := r.find(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	if err := r.End(ctx, s.ID); err != nil {
		return nil, callers(err)
	}
	return r.view(ctx, s.ID)
}

// view shows a terminal.
func (r *Room) view(ctx context.Context, id string) (*antv1.Terminal, error) {
	v := &antv1.Terminal{SessionId: id, Host: r.engine.Host(), Persistent: r.engine.Persistent()}
	h, err := r.engine.History(ctx, id)
	if err != nil {
		return nil, err
	}
	first, end, err := h.Bounds()
	if err != nil {
		return nil, err
	}
	v.FirstOffset, v.EndOffset = float64(first), float64(end)
	if s := r.seat(id); s != nil {
		cols, rows := s.t.Size()
		v.Live, v.Pid, v.Cols, v.Rows = true, proto.Int32(int32(s.t.Pid())), int32(cols), int32(rows)
		v.Title, v.Cwd, v.Command = s.t.Title(), s.t.Cwd(), s.t.Command()
		return v, nil
	}
	if x, ok := r.engine.LastExit(id); ok {
		v.ExitCode, v.ExitSignal, v.EndedAt = proto.Int32(int32(x.Code)), int32(x.Signal), proto.String(stamp(x.Ended))
	}
	return v, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// GetTerminalScreen implements antv1.TerminalsServiceServer.
func (r *Room) GetTerminalScreen(ctx context.Context, q *antv1.GetTerminalScreenRequest) (*antv1.TerminalScreen, error) {
	of, err := r.find(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	s := r.seat(of.ID)
	if s == nil {
		return nil, errNotLive
	}
	s.shown.wait(ctx, s.t.End())
	snap, offset := s.shown.snapshot(s.screen)
	v := &antv1.TerminalScreen{SessionId: of.ID, Cols: int32(snap.Cols), Rows: int32(snap.Rows),
		CursorRow: int32(snap.Cursor.Row), CursorCol: int32(snap.Cursor.Col), Alternate: snap.Alternate,
		Title: s.t.Title(), Offset: float64(offset)}
	for _, row := range snap.Lines {
		v.Lines = append(v.Lines, row.Text())
	}
	return v, nil
}
