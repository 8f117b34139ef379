package settings

import (
	"context"

	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
)

// GetSettings tells what is in force, and which model servers of this machine
// answer. Of a key it tells only that it is set.
func (r *Room) GetSettings(ctx context.Context, _ *antonv1.GetSettingsRequest) (*antonv1.Settings, error) {
	p, err := r.preferences(ctx)
	if err != nil {
		return nil, err
	}
	e, err := r.env()
	m := told(e.model(planning), err)
	s := &antonv1.Settings{
		PlanningProvider: e.provider(planning),
		PlanningModel:    m.Model,
		CodingProvider:   e.provider(coding),
		CodingModel:      e.model(coding).Model,
		OpenaiBaseUrl:    withoutPassword(e.get(envOpenAIBaseURL)),
		AnthropicApiKey:  e.masked(envAnthropicKey),
		OpenaiApiKey:     e.masked(envOpenAIKey),
		MindsApiKey:      e.masked(envMindsKey),

		MindsUrl:              withoutPassword(e.getOr(envMindsURL, mindsAPI)),
		MindsMindName:         e.get(envMindsMindName),
		MindsDatasource:       e.get(envMindsDatasource),
		MindsDatasourceEngine: e.get(envMindsDatasourceEngine),
		MindsSslVerify:        e.bool(envMindsSSLVerify, true),
		PublishUrl:            withoutPassword(e.getOr(envPublishURL, publishAPI)),
		MemoryEnabled:         e.bool(envMemoryEnabled, true),
		MemoryMode:            e.getOr(envMemoryMode, "autopilot"),
		EpisodicMemory:        e.bool(envEpisodicMemory, true),
		ProactiveDashboards:   e.bool(envProactiveDashboards, false),

		ConfigReady:       m.Ready,
		ConfigError:       m.Problem,
		CompatConfigReady: m.Ready,
		CompatConfigError: m.Problem,
		ProviderLabel:     m.Label,

		Greeting:      p.Greeting,
		Tone:          p.Tone,
		DefaultModel:  m.Model,
		AutoPin:       p.AutoPin,
		ShowDots:      p.ShowDots,
		ShowCounters:  p.ShowCounters,
		AccentVariant: p.AccentVariant,
		UiUpdateMode:  e.getOr(envUIUpdateMode, "manual"),

		ModelMode:          p.ModelMode,
		ModelOverrides:     map[string]*antonv1.ModelOverride{},
		ProviderTypes:      kindNames(),
		ProviderTypeLabels: map[string]string{},
		RecommendedModels:  map[string]*structpb.ListValue{},
		RecommendedPair:    map[string]*structpb.ListValue{},
		ProviderStatus:     map[string]string{},
	}
	for _, a := range e.accounts(p) {
		s.Providers = append(s.Providers, e.viewAccount(a))
	}
	for name, o := range p.ModelOverrides {
		s.ModelOverrides[name] = &antonv1.ModelOverride{ProviderType: o.Kind, Model: o.Model}
	}
	for _, k := range kinds {
		s.ProviderTypeLabels[k.name] = k.label
		s.RecommendedModels[k.name] = texts(k.models...)
		s.RecommendedPair[k.name] = texts(k.pair[:]...)
		s.ProviderStatus[k.name] = p.ProviderStatus[k.name].of(e.account(k.name))
	}
	for _, l := range r.finder.Servers(ctx) {
		s.LocalProviders = append(s.LocalProviders, &antonv1.LocalProvider{Type: l.Kind, Label: l.Label, BaseUrl: l.Root, Models: l.Models})
		s.RecommendedModels[l.Kind] = texts(l.Models...)
	}
	return s, nil
}

func (e env) viewAccount(a account) *antonv1.SettingsProvider {
	v := &antonv1.SettingsProvider{Type: a.kind, ApiKey: mask(a.key), IsDefault: a.isDefault,
		BaseUrl: withoutPassword(a.base), Name: a.name}
	if a.kind == minds {
		v.MindsUrl = new(withoutPassword(a.address()))
		v.MindsMindName = new(e.get(envMindsMindName))
		v.MindsDatasource = new(e.get(envMindsDatasource))
		v.MindsDatasourceEngine = new(e.get(envMindsDatasourceEngine))
		v.MindsSslVerify = new(e.bool(envMindsSSLVerify, true))
	}
	return v
}

func texts(list ...string) *structpb.ListValue {
	out := &structpb.ListValue{Values: make([]*structpb.Value, len(list))}
	for i, s := range list {
		out.Values[i] = structpb.NewStringValue(s)
	}
	return out
}
