package settings

import (
	"context"
	"slices"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent/probe"
	"anthill/services/internal/fault"
)

// What ValidateSettings finds.
const (
	validOK     = "ok"
	validNeeds  = "needs_config"
	validFailed = "failed"
)

// ValidateSettings says whether turns would be answered by the configuration in
// force, or by that of the request; nothing is saved. First what is missing is
// told, then the provider is asked.
func (r *Room) ValidateSettings(ctx context.Context, req *antonv1.ValidateSettingsRequest) (*antonv1.ValidateSettingsResponse, error) {
	e, fileErr := r.env()
	if fileErr == nil {
		var err error
		if e, err = r.supposed(ctx, e, req); err != nil {
			return nil, err
		}
	}
	if req.Provider != "" {
		return r.validateOne(ctx, e, req)
	}
	m := told(e.model(planning), fileErr)
	resp := &antonv1.ValidateSettingsResponse{Status: validOK, Provider: m.Provider, Model: m.Model,
		ConfigReady: m.Ready, CompatConfigReady: m.Ready, ConfigError: m.Problem, CompatConfigError: m.Problem}
	if !m.Ready {
		resp.Status, resp.Detail = validNeeds, m.Problem
		return resp, nil
	}
	var o outcome
	if k, _ := kindOf(e.endpoint(planning).kind); k.name == offline {
		o = r.try(ctx, e, account{kind: offline})
	} else {
		bounded, cancel := context.WithTimeout(ctx, probeFor)
		defer cancel()
		o = r.ask(bounded, k, probe.Target{Root: m.BaseURL, Key: m.APIKey, Insecure: m.Insecure})
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	resp.Status, resp.Detail = o.verdict(m.Model)
	return resp, nil
}

// verdict is a status, and what people should know.
func (o outcome) verdict(model string) (status, detail string) {
	switch {
	case !o.ok:
		return validFailed, o.detail
	case model != anyModel && len(o.models) > 0 && !lists(o.models, model):
		// Not a failure: aliases work without being listed.
		return validOK, o.detail + " It does not list the model " + cut(model, 100) + "."
	}
	return validOK, o.detail
}

// lists says whether a model is among those that a provider lists, which some
// do with a folder before or a tag behind the name.
func lists(models []string, model string) bool {
	return slices.ContainsFunc(models, func(m string) bool {
		return m == model || m == "models/"+model || m == model+":latest"
	})
}

// supposed is the configuration as if the fields of the request had been put,
// and nothing of the process stood against them.
func (r *Room) supposed(ctx context.Context, e env, req *antonv1.ValidateSettingsRequest) (env, error) {
	p, err := parsePatch(&antonv1.UpdateSettingsRequest{
		PlanningProvider: req.PlanningProvider, PlanningModel: req.PlanningModel, OpenaiBaseUrl: req.OpenaiBaseUrl,
		AnthropicApiKey: req.AnthropicApiKey, OpenaiApiKey: req.OpenaiApiKey, MindsApiKey: req.MindsApiKey,
		MindsUrl: req.MindsUrl, MindsSslVerify: req.MindsSslVerify,
		Providers: req.Providers, ModelMode: req.ModelMode, ModelOverrides: req.ModelOverrides,
	})
	if err != nil {
		return e, err
	}
	before, err := r.preferences(ctx)
	if err != nil {
		return e, err
	}
	edits, _, err := r.plan(p, r.over(e.file, nil), before)
	if err != nil {
		return e, err
	}
	return e.overlaid(edits), nil
}

// validateOne validates the provider that a request names instead of the
// configured one.
func (r *Room) validateOne(ctx context.Context, e env, req *antonv1.ValidateSettingsRequest) (*antonv1.ValidateSettingsResponse, error) {
	a, ok := e.named(req.Provider, req.ApiKey, req.BaseUrl)
	if !ok {
		return nil, fault.New(fault.Invalid, "UNKNOWN_PROVIDER", "Unknown provider %q. Choose one of %s.",
			cut(req.Provider, 64), strings.Join(kindNames(), ", "))
	}
	o, err := r.check(ctx, e, a)
	if err != nil {
		return nil, err
	}
	resp := &antonv1.ValidateSettingsResponse{Provider: engineOf(a.kind), Model: req.Model, ConfigReady: true, CompatConfigReady: true}
	resp.Status, resp.Detail = o.verdict(req.Model)
	if !o.ok && o.lacking {
		resp.Status, resp.ConfigReady, resp.CompatConfigReady = validNeeds, false, false
		resp.ConfigError, resp.CompatConfigError = o.detail, o.detail
	}
	return resp, nil
}

// ValidateProvider asks one provider whether it takes a key. Whatever comes of
// it is an answer.
func (r *Room) ValidateProvider(ctx context.Context, req *antonv1.ValidateProviderRequest) (*antonv1.ValidateProviderResponse, error) {
	e, err := r.env()
	if err != nil {
		return nil, unreadable(err)
	}
	a, ok := e.named(req.GetProvider(), req.GetApiKey(), req.BaseUrl)
	if !ok {
		return &antonv1.ValidateProviderResponse{Error: "Unknown provider. Choose one of " + strings.Join(kindNames(), ", ") + "."}, nil
	}
	o, err := r.check(ctx, e, a)
	if err != nil {
		return nil, err
	}
	if !o.ok {
		return &antonv1.ValidateProviderResponse{Error: o.detail}, nil
	}
	return &antonv1.ValidateProviderResponse{Ok: true}, nil
}

// named is the account that a request describes. A key of "***" is the stored
// one; without an address it is at the stored one, or the kind's own.
func (e env) named(name, key, base string) (account, bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "minds" {
		name = minds
	}
	k, ok := kindOf(name)
	a := e.account(k.name)
	if a.stored = key == kept; !a.stored {
		a.key = strings.TrimSpace(key)
	}
	if base = strings.TrimSpace(base); base != "" && k.name != gemini && !isLocal(k.name) {
		a.base = base
	}
	if k.name == compatible && a.base == "" && a.key != "" {
		a.base = openaiAPI // compat: the reference's default for this one
	}
	return a, ok
}

// check is try within its time, for an address that somebody typed.
func (r *Room) check(ctx context.Context, e env, a account) (outcome, error) {
	if wrong := checkURL(a.address()); a.kind != offline && a.address() != "" && wrong != "" {
		return outcome{brief: "bad address", detail: "The base URL " + wrong + ".", lacking: true}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	return r.try(bounded, e, a), ctx.Err()
}
