package settings

import (
	"context"
	"slices"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
)

// Agent is the name under which the agent with its configured model is asked
// for; compat: the reference's.
const Agent = "anton"

// ListModels lists the names that a request can ask for: the agent, the
// configured models, those recommended for the providers that are set up, and
// those of the model servers of this machine that answer now.
func (r *Room) ListModels(ctx context.Context, _ *antonv1.ListModelsRequest) (*antonv1.ListModelsResponse, error) {
	p, err := r.preferences(ctx)
	if err != nil {
		return nil, err
	}
	e, fileErr := r.env()
	if fileErr != nil {
		r.log.WarnContext(ctx, "settings: models are listed without the settings file", "err", fileErr)
	}
	list := &antonv1.ListModelsResponse{Object: "list"}
	add := func(owner string, names ...string) {
		for _, name := range names {
			if !slices.ContainsFunc(list.Data, func(m *antonv1.Model) bool { return m.Id == name }) {
				list.Data = append(list.Data, &antonv1.Model{Id: name, Object: "model",
					Created: float64(r.opened.Unix()), OwnedBy: owner})
			}
		}
	}
	add(Agent, Agent)
	for _, of := range roles {
		if m := e.model(of); m.Model != anyModel {
			add(e.endpoint(of).kind, m.Model)
		}
	}
	for _, a := range e.accounts(p) {
		if k, _ := kindOf(a.kind); a.key != "" || keyless(a.kind) {
			add(k.name, k.models...)
		}
	}
	for _, s := range r.finder.Servers(ctx) {
		for _, m := range s.Models {
			add(s.Kind, s.Kind+"/"+m)
		}
	}
	return list, nil
}

// GetModel returns one of the list.
func (r *Room) GetModel(ctx context.Context, req *antonv1.GetModelRequest) (*antonv1.Model, error) {
	list, err := r.ListModels(ctx, &antonv1.ListModelsRequest{})
	if err != nil {
		return nil, err
	}
	for _, m := range list.Data {
		if m.Id == req.Model {
			return m, nil
		}
	}
	return nil, fault.Missing("MODEL_NOT_FOUND", "The model '%s' does not exist", cut(req.Model, 200)).With("param", "model")
}
