package terminals

import (
	"context"
	"errors"
	"fmt"

	"anthill/services/internal/fault"
	"anthill/services/internal/terminal"
)

// tell is called by the engine, from where output is read: what it tells is noted
// elsewhere. A program that makes more events than can be noted is held up.
func (r *Room) tell(e terminal.Event) {
	select {
	case r.told <- e:
	case <-r.base.Done():
	}
}

// note notes what the engine tells, until the room closes.
func (r *Room) note() {
	for {
		select {
		case e := <-r.told:
			r.noteEvent(e)
			continue
		default:
		}
		select {
		case e := <-r.told:
			r.noteEvent(e)
		case <-r.base.Done():
			return
		}
	}
}

func (r *Room) noteEvent(e terminal.Event) {
	switch {
	case e.Block != nil:
		r.evidence(blockEvent(e.ID, e.Block))
	case e.Title != nil:
		r.happened(e.ID, "title", map[string]any{"title": *e.Title})
	case e.Cwd != nil:
		r.happened(e.ID, "cwd", map[string]any{"cwd": *e.Cwd})
	case e.Exit != nil:
		r.happened(e.ID, "exit", map[string]any{"code": e.Exit.Code, "signal": int(e.Exit.Signal)})
		r.evidence(Event{Session: e.ID, At: e.Exit.Ended, Source: "terminal", Trust: "high", Kind: "system", Text: exitText(*e.Exit),
			Payload: map[string]any{"tmux_kind": "exit", "code": e.Exit.Code, "signal": int(e.Exit.Signal)},
			Key:     fmt.Sprintf("exit-%d", e.Exit.Ended.UnixMilli())})
	}
}

func exitText(x terminal.Exit) string {
	if x.Signal != 0 {
		return fmt.Sprintf("terminal ended by signal %d", int(x.Signal))
	}
	return fmt.Sprintf("terminal ended with code %d", x.Code)
}

// blockEvent is a command that a shell ran (ant.md 4.4).
func blockEvent(id string, b *terminal.Block) Event {
	var code any
	if b.ExitCode >= 0 {
		code = b.ExitCode
	}
	return Event{Session: id, At: b.Ended, Source: "terminal", Trust: "medium", Kind: "command_block", Text: b.Command,
		Payload: map[string]any{"command": b.Command, "exit_code": code, "cwd": b.Cwd, "duration_ms": b.Duration().Milliseconds(),
			"started_at": stamp(b.Started), "ended_at": stamp(b.Ended), "osc133": true},
		RawRef: map[string]any{"start_byte": b.Start, "end_byte": b.End},
		Key:    fmt.Sprintf("block-%d", b.Start)} // after a crash it may be told again
}

// evidence notes a run event. It must not hold up what it is evidence of.
func (r *Room) evidence(e Event) {
	_, err := r.opt.Evidence.Append(context.WithoutCancel(r.base), e)
	var known *fault.Error
	if errors.As(err, &known) && known.Kind == fault.NotFound {
		return // its session is deleted for good
	}
	if err != nil {
		r.opt.Log.Warn("an event of a terminal is not noted", "terminal", e.Session, "kind", e.Kind, "error", err)
	}
}
