package agents

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// Limits of what callers send.
const (
	sendTextMax = 1 << 20 // bytes
	sendNameMax = 256     // bytes of a key or a sender
	sendsPage   = 50      // of a list
	sendsMost   = 200
)

var (
	errNoSend      = fault.Missing("SEND_NOT_FOUND", "send not found")
	errNoTerminal  = fault.Missing("TERMINAL_NOT_FOUND", "terminal session not found")
	errInactive    = fault.New(fault.Precondition, "TERMINAL_INACTIVE", "terminal session is inactive")
	errNotLive     = fault.New(fault.Precondition, "TERMINAL_NOT_LIVE", "nothing runs in the terminal: start it first")
	errKeyReused   = fault.New(fault.Conflict, "IDEMPOTENCY_KEY_REUSED", "This idempotency key came with another text before: use a new key for a new text.")
	errSendsQueued = fault.New(fault.Exhausted, "SENDS_QUEUED", "Too many texts wait for this terminal already: try again when they are through.").RetryAfter(5 * time.Second)
)

// SendToTerminal implements antv1.SendsServiceServer. When the caller hangs up, the
// send goes on.
func (r *Room) SendToTerminal(ctx context.Context, q *antv1.SendToTerminalRequest) (*antv1.TerminalSend, error) {
	switch {
	case q.Text == "" || len(q.Text) > sendTextMax:
		return nil, fault.BadField("value_error", fmt.Sprintf("text has from 1 to %d bytes", sendTextMax), "text")
	case len(q.IdempotencyKey) > sendNameMax:
		return nil, fault.BadField("value_error", fmt.Sprintf("idempotency_key is too long: use %d bytes at most", sendNameMax), "idempotency_key")
	case len(q.SenderId) > sendNameMax:
		return nil, fault.BadField("value_error", fmt.Sprintf("sender_id is too long: use %d bytes at most", sendNameMax), "sender_id")
	}
	s, err := r.sendTerminal(ctx, q.SessionId)
	switch {
	case err != nil:
		return nil, err
	case s.Archived || s.Deleted:
		return nil, errInactive
	}
	o := order{Terminal: s.ID, Sender: caller.From(ctx).As(q.SenderId), Text: q.Text, Raw: q.Raw, Source: "api_send"}
	if q.IdempotencyKey != "" {
		o.Key = "k:" + q.IdempotencyKey
	}
	row, err := r.sendOrder(ctx, o)
	if err != nil {
		return nil, err
	}
	return row.view(), nil
}

// sendTerminal finds a terminal in any state.
func (r *Room) sendTerminal(ctx context.Context, ref string) (s *Session, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		s, err = r.opt.Sessions.Find(rd, ref)
		if err == nil && (s == nil || s.Type != "terminal") {
			err = errNoTerminal
		}
		return err
	})
	return s, err
}

// sendOrder carries an order out, or waits for the one with its key, and returns how it ended.
func (r *Room) sendOrder(ctx context.Context, o order) (*send, error) {
	old, job, err := r.enqueue(ctx, o)
	if err != nil {
		return nil, err
	}
	if old != nil && (old.SHA256 != digestOf(o.Text) || old.Asked != o.Raw) {
		return nil, errKeyReused
	}
	if job == nil {
		return old, nil
	}
	return job.wait(ctx)
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// ListTerminalSends implements antv1.SendsServiceServer.
func (r *Room) ListTerminalSends(ctx context.Context, q *antv1.ListTerminalSendsRequest) (*antv1.ListTerminalSendsResponse, error) {
	limit := sendsPage
	if q.Limit != nil {
		limit = int(*q.Limit)
	}
	if limit < 1 || limit > sendsMost {
		return nil, fault.BadField("value_error", fmt.Sprintf("limit is from 1 to %d", sendsMost), "limit")
	}
	s, err := r.sendTerminal(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	var out *antv1.ListTerminalSendsResponse
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antv1.ListTerminalSendsResponse{}
		for row, err := range sendRows.Scan(rd, store.ScanOptions{Prefix: ofTerminal(s.ID), Reverse: true, Limit: limit}) {
			if err != nil {
				return err
			}
			out.Sends = append(out.Sends, row.view())
		}
		return nil
	})
	return out, err
}

// GetTerminalSend implements antv1.SendsServiceServer.
func (r *Room) GetTerminalSend(ctx context.Context, q *antv1.GetTerminalSendRequest) (*antv1.TerminalSend, error) {
	s, err := r.sendTerminal(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	var row *send
	err = r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		row, err = sendRows.Lookup(rd, "id", ofTerminal(s.ID).Str(q.SendId))
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case row == nil:
		return nil, errNoSend
	}
	return row.view(), nil
}
