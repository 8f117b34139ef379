package services

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/evidence"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal"
	"anthill/services/sessions"
	"anthill/services/terminals"
)

// openTerminals takes up the terminals that a former process left.
func (s *Services) openTerminals(ctx context.Context, c Config, main, bulk store.DB) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	host := c.TerminalHost
	if host == "auto" {
		host = ""
	}
	s.terminals, err = terminals.Open(ctx, terminals.Options{DB: main, Sessions: terminalsFor{s.sessions}, Evidence: evidenceOf{s.evidence},
		Engine: terminal.Options{Dir: filepath.Join(c.Home, "terminals"), Bulk: bulk, Host: host, Recorder: []string{self, RecorderCommand}, Keep: c.TerminalKeep},
		Now:    time.Now, Address: s.own.reachable, Max: c.MaxActive, Log: c.Log})
	if err != nil {
		return err
	}
	s.closeFirst("terminals", s.terminals.Close)
	s.sessions.JoinTerminals(terminalsOf{s.terminals})
	return nil
}

// terminalsFor shows sessions to the terminals.
type terminalsFor struct{ room *sessions.Room }

// Find implements terminals.Sessions.
func (f terminalsFor) Find(rd store.Reader, ref string) (*terminals.Session, error) {
	s, err := f.room.Find(rd, ref)
	if err != nil || s == nil {
		return nil, err
	}
	return &terminals.Session{ID: s.ID, Name: s.Name, Terminal: s.Type == sessions.Terminal, RootDir: s.RootDir, Archived: s.Archived, Deleted: s.Deleted}, nil
}

// Touch implements terminals.Sessions.
func (f terminalsFor) Touch(tx store.Tx, id string, at time.Time) error {
	return f.room.Touch(tx, id, at)
}

// evidenceOf notes what terminals tell.
type evidenceOf struct{ room *evidence.Room }

// Append implements terminals.Evidence.
func (e evidenceOf) Append(ctx context.Context, v terminals.Event) (*antv1.RunEvent, error) {
	out, err := evidenceEvent(v.Session, v.At, v.Source, v.Trust, v.Kind, v.Text, v.Payload, v.RawRef, v.Key)
	if err != nil {
		return nil, err
	}
	return e.room.Append(ctx, out)
}

// evidenceEvent encodes what rooms give as values.
func evidenceEvent(session string, at time.Time, source, trust, kind, text string, payload, rawRef any, key string) (evidence.Event, error) {
	out := evidence.Event{Session: session, At: at, Source: source, Trust: trust, Kind: kind, Text: text, Key: key}
	for to, v := range map[*json.RawMessage]any{&out.Payload: payload, &out.RawRef: rawRef} {
		if v == nil {
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			return out, fmt.Errorf("encode an event: %w", err)
		}
		*to = b
	}
	return out, nil
}

// terminalsOf are the terminals of sessions.
type terminalsOf struct{ room *terminals.Room }

// Check implements sessions.Terminals.
func (t terminalsOf) Check(cols, rows *int32) error { return t.room.Check(cols, rows) }

// Start implements sessions.Terminals.
func (t terminalsOf) Start(ctx context.Context, id string, cols, rows *int32) error {
	return t.room.Start(ctx, id, cols, rows)
}

// End implements sessions.Terminals.
func (t terminalsOf) End(ctx context.Context, id string) error { return t.room.End(ctx, id) }

// Processes implements sessions.Terminals.
func (t terminalsOf) Processes() map[string]sessions.Process {
	out := map[string]sessions.Process{}
	for id, p := range t.room.Processes() {
		out[id] = sessions.Process(p)
	}
	return out
}
