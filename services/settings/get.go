package settings

import (
	"context"

	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
)

// untested: this version asks no provider whether a key works.
const untested = "untested"

// GetSettings tells what is in force. Of a key it tells only that it is set.
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
		s.Providers = append(s.Providers, &antonv1.SettingsProvider{Type: a.kind, ApiKey: mask(a.key),
			IsDefault: a.isDefault, BaseUrl: withoutPassword(a.base), Name: a.name})
	}
	for name, o := range p.ModelOverrides {
		s.ModelOverrides[name] = &antonv1.ModelOverride{ProviderType: o.Kind, Model: o.Model}
	}
	for _, k := range kinds {
		s.ProviderTypeLabels[k.name] = k.label
		s.RecommendedModels[k.name] = texts(k.models...)
		s.RecommendedPair[k.name] = texts(k.pair[:]...)
		s.ProviderStatus[k.name] = untested
	}
	return s, nil
}

func texts(list ...string) *structpb.ListValue {
	out := &structpb.ListValue{Values: make([]*structpb.Value, len(list))}
	for i, s := range list {
		out.Values[i] = structpb.NewStringValue(s)
	}
	return out
}
