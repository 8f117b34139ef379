package scratchpads

import (
	"context"
	"errors"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/kernel"
)

// asker answers the code of a scratchpad that calls get_llm().
type asker struct {
	room *Room
	pad  *pad
}

const secretLeast = 8 // bytes; what is shorter occurs by chance

// Complete implements kernel.Model. What it returns, errors too, is for code to
// see: no key is in it, and nothing that a provider wrote but its answer.
func (a asker) Complete(ctx context.Context, q kernel.Prompt) (string, error) {
	if a.room.opt.Model == nil {
		return "", errors.New("no model is configured for scratchpads")
	}
	a.pad.mu.Lock()
	coding := a.pad.coding
	a.pad.mu.Unlock()
	m, err := a.room.opt.Model(ctx, coding)
	if err != nil {
		return "", a.told(ctx, err)
	}
	req := agent.Request{Model: m.Name, System: q.System, MaxTokens: q.MaxTokens,
		Messages: []agent.Message{{Role: agent.RoleUser, Text: q.Text}}}
	if q.Schema != nil {
		req.Format = &agent.Format{Name: "answer", Schema: q.Schema}
	}
	answer, err := m.Provider.Stream(ctx, req, func(agent.Delta) error { return nil })
	if err != nil {
		return "", a.told(ctx, err)
	}
	text := answer.Text
	for _, s := range append([]string{coding.APIKey}, m.Secrets...) {
		if len(s) >= secretLeast {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	return text, nil
}

// told is the part of an error that is meant for people.
func (a asker) told(ctx context.Context, err error) error {
	var failed *agent.Error
	var f *fault.Error
	switch {
	case errors.As(err, &failed):
		return errors.New(failed.Message)
	case errors.As(err, &f):
		return errors.New(f.Message)
	case ctx.Err() != nil:
		return errors.New("the cell was stopped")
	}
	id := a.room.opt.NewID("err_")
	a.room.opt.Log.ErrorContext(ctx, "a model could not be asked for code", "id", id, "error", err)
	return errors.New("the model could not be asked: internal error " + id)
}
