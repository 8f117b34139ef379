package sessions

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

// SetHandle implements antv1.SessionsServiceServer. compat: a display name that is
// not given is taken away; a handle that is not given stays (better: clients that
// name a session have no mind to make it unreachable).
func (r *Room) SetHandle(ctx context.Context, q *antv1.SetHandleRequest) (out *antv1.SetHandleResponse, err error) {
	handle, err := checkHandle(q.Handle)
	if err != nil {
		return nil, err
	}
	display := strings.TrimSpace(q.DisplayName)
	if display != "" {
		if display, err = checkName(display); err != nil {
			return nil, invalid("display_name", "must have 200 characters at most, none of them a control character")
		}
	}
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		rec, err := changeable(tx, q.Id)
		if err != nil {
			return err
		}
		if q.Handle != nil {
			rec.Handle = handle
		}
		rec.DisplayName, rec.Updated = display, r.opt.Now().UnixNano()
		if err := put(tx, rec); err != nil {
			return err
		}
		out = &antv1.SetHandleResponse{Handle: wire.OrNull(rec.Handle), DisplayName: wire.OrNull(display)}
		if err := r.listChanged(tx); err != nil {
			return err
		}
		return r.emit(tx, rec.ID, &antv1.Event{Event: &antv1.Event_HandleUpdated{
			HandleUpdated: &antv1.HandleUpdated{Handle: out.Handle, DisplayName: out.DisplayName}}})
	})
	return out, err
}

// cliFlags are the agent programs by the names that clients use.
var cliFlags = map[string]string{
	"claude-code": "claude-code", "codex-cli": "codex-cli", "gemini-cli": "gemini-cli", "copilot-cli": "copilot-cli",
	"qwen-cli": "qwen-cli", "hermes-acp": "hermes-acp", "ollama": "ollama", "perspective": "perspective", "msty": "msty",
	"lm-studio": "lm-studio", "llamafile": "llamafile", "llm": "llm", "pi": "pi", "lemonade": "lemonade", "mlx-lm": "mlx-lm",
	"copilot": "copilot-cli", "qwen": "qwen-cli",
	"aider": "aider", "goose": "goose", "opencode": "opencode", "amp": "amp", "cursor": "cursor",
}

// SetCliFlag implements antv1.SessionsServiceServer.
func (r *Room) SetCliFlag(ctx context.Context, q *antv1.SetCliFlagRequest) (out *antv1.SetCliFlagResponse, err error) {
	text, given, err := textOf("cli_flag", q.CliFlag)
	if err != nil {
		return nil, err
	}
	slug, known := cliFlags[text]
	if given && !known {
		return nil, fault.New(fault.Invalid, "INVALID_CLI_FLAG", "Invalid cli_flag: %q", text)
	}
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		rec, err := changeable(tx, q.Id)
		if err != nil {
			return err
		}
		out = &antv1.SetCliFlagResponse{Id: rec.ID, CliFlag: wire.OrNull(slug)}
		return r.flag(tx, rec, slug)
	})
	return out, err
}

// SetCLIFlag notes which agent was seen in a session, unless somebody has said
// which it is, and tells of it. It is three writes. The name is a driver's.
func (r *Room) SetCLIFlag(tx store.Tx, id, driver string) error {
	rec, err := byID(tx, id)
	if err != nil || rec == nil || !rec.live() || rec.CLIFlag != "" {
		return err
	}
	return r.flag(tx, rec, driver)
}

func (r *Room) flag(tx store.Tx, rec *record, slug string) error {
	rec.CLIFlag, rec.Meta, rec.Updated = slug, withDriver(rec.Meta, slug), r.opt.Now().UnixNano()
	if err := put(tx, rec); err != nil {
		return err
	}
	return r.emit(tx, rec.ID, &antv1.Event{Event: &antv1.Event_CliFlagUpdated{
		CliFlagUpdated: &antv1.CliFlagUpdated{CliFlag: wire.OrNull(slug)}}})
}

// withDriver says in the metadata what the flag says (compat: ant.md 1.1). It may
// pass the bound on what callers give by the few bytes of a slug.
func withDriver(meta, slug string) string {
	object := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(meta), &object) != nil {
		return meta // never stored
	}
	delete(object, "agent_driver")
	if slug != "" {
		object["agent_driver"] = json.RawMessage(`"` + slug + `"`)
	}
	b, err := json.Marshal(object)
	if err != nil {
		return meta
	}
	return string(b)
}

// OrderSessions implements antv1.SessionsServiceServer.
func (r *Room) OrderSessions(ctx context.Context, q *antv1.OrderSessionsRequest) (*antv1.OrderSessionsResponse, error) {
	switch {
	case q.Reset_ && len(q.Ids) > 0:
		return nil, invalid("ids", "must not be given together with reset")
	case !q.Reset_ && len(q.Ids) == 0:
		return nil, invalid("ids", "must be a list of session ids")
	case len(q.Ids) > orderMax:
		return nil, invalid("ids", "must be 5000 at most")
	}
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		var ids []string
		if !q.Reset_ {
			if err := checkOrder(tx, q.Ids); err != nil {
				return err
			}
			before, err := orders.Get(tx, key.Of(orderID))
			if err != nil {
				return err
			}
			if ids, err = ordered(tx, q.Ids, before); err != nil {
				return err
			}
		}
		if err := orders.Put(tx, &order{IDs: ids}); err != nil {
			return err
		}
		return r.listChanged(tx)
	})
	if err != nil {
		return nil, err
	}
	return &antv1.OrderSessionsResponse{Ok: true, Ids: q.Ids, Reset_: q.Reset_}, nil
}

const (
	shownMax = 20 // wrong ids that an error names
	idMax    = 64 // bytes of each of them
)

// checkOrder refuses ids that no live session has, and those given twice.
func checkOrder(rd store.Reader, ids []string) error {
	var bad []string
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		rec, err := byID(rd, id)
		if err != nil {
			return err
		}
		if (rec == nil || !rec.live() || seen[id]) && len(bad) < shownMax {
			bad = append(bad, id[:min(len(id), idMax)])
		}
		seen[id] = true
	}
	if bad == nil {
		return nil
	}
	names, err := json.Marshal(bad)
	if err != nil {
		return err
	}
	return fault.New(fault.Invalid, "INVALID_ORDER", "ids must be those of live sessions, each once").With("invalid_ids", string(names))
}

// ordered are the new ids first, then those that were in order before and are
// still live, as many as one row holds.
func ordered(rd store.Reader, ids []string, before *order) ([]string, error) {
	out := slices.Clone(ids)
	if before == nil {
		return out, nil
	}
	named := make(map[string]bool, len(ids))
	for _, id := range ids {
		named[id] = true
	}
	for _, id := range before.IDs {
		if len(out) == orderMax {
			break
		}
		rec, err := byID(rd, id)
		if err != nil {
			return nil, err
		}
		if rec != nil && rec.live() && !named[id] {
			out = append(out, id)
		}
	}
	return out, nil
}
