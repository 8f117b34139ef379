package settings

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
)

const (
	maxValue    = 4096 // bytes of a value in the settings file
	maxText     = 500  // characters of a preference
	maxAccounts = 32
)

// patch is a request that was found to be right, in terms of the room.
type patch struct {
	sets     []assignment // in the order of the request; an empty value deletes
	roleSets bool         // sets names a provider or a model
	prefs    map[string]json.RawMessage
	names    []string // of prefs, in the order of the request

	hasProviders bool
	providers    []accountPatch
}

// accountPatch is an entry of providers; nil leaves what is there.
type accountPatch struct {
	kind      string
	isDefault bool
	name      string
	key, base *string
	minds     []assignment
}

// parsePatch checks a request. Bad values are faults that name the field.
func parsePatch(req *antonv1.UpdateSettingsRequest) (*patch, error) {
	b := &patcher{patch: patch{prefs: map[string]json.RawMessage{}}}
	// compat: with providers, the fields of a single one do not count (anton.md 6).
	b.hasProviders = req.Providers != nil
	if b.hasProviders {
		b.accounts(req.Providers)
	} else {
		b.provider("planningProvider", envPlanningProvider, req.PlanningProvider)
		b.value("planningModel", envPlanningModel, req.PlanningModel)
		b.provider("codingProvider", envCodingProvider, req.CodingProvider)
		b.value("codingModel", envCodingModel, req.CodingModel)
		b.roleSets = len(b.sets) > 0
		if req.CodingProvider != nil {
			b.assign(envCodingBaseURL, "") // it belonged to the one before
		}
		b.url("openaiBaseUrl", envOpenAIBaseURL, req.OpenaiBaseUrl)
		b.key("anthropicApiKey", envAnthropicKey, req.AnthropicApiKey)
		b.key("openaiApiKey", envOpenAIKey, req.OpenaiApiKey)
		b.key("mindsApiKey", envMindsKey, req.MindsApiKey)
		b.url("mindsUrl", envMindsURL, req.MindsUrl)
		b.value("mindsMindName", envMindsMindName, req.MindsMindName)
		b.value("mindsDatasource", envMindsDatasource, req.MindsDatasource)
		b.value("mindsDatasourceEngine", envMindsDatasourceEngine, req.MindsDatasourceEngine)
		b.flag(envMindsSSLVerify, req.MindsSslVerify)
	}
	b.url("publishUrl", envPublishURL, req.PublishUrl)
	b.flag(envMemoryEnabled, req.MemoryEnabled)
	b.choice("memoryMode", envMemoryMode, req.MemoryMode, "autopilot", "copilot", "off")
	b.flag(envEpisodicMemory, req.EpisodicMemory)
	b.flag(envProactiveDashboards, req.ProactiveDashboards)
	b.choice("uiUpdateMode", envUIUpdateMode, req.UiUpdateMode, "manual", "auto")

	b.text("greeting", req.Greeting)
	b.text("tone", req.Tone)
	b.boolean("autoPin", req.AutoPin)
	b.boolean("showDots", req.ShowDots)
	b.boolean("showCounters", req.ShowCounters)
	b.text("accentVariant", req.AccentVariant)
	if m := req.ModelMode; m != nil {
		if *m != modeDefault && *m != modeCustom {
			b.fail(badChoice("modelMode", modeDefault, modeCustom))
		}
		b.pref("modelMode", *m)
	}
	if req.ModelOverrides != nil {
		b.overrides(req.ModelOverrides)
	}
	if req.ProviderStatus != nil {
		b.statuses(req.ProviderStatus)
	}
	if b.err != nil {
		return nil, b.err
	}
	return &b.patch, nil
}

// patcher builds a patch and remembers the first fault.
type patcher struct {
	patch
	err error
}

func (b *patcher) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *patcher) assign(name, value string) {
	b.sets = append(b.sets, assignment{name, value})
}

// clean checks one value for the settings file and takes the blanks off its ends.
func (b *patcher) clean(value string, path ...string) string {
	switch {
	case breaksLine(value):
		b.fail(fault.New(fault.Invalid, "INVALID_VALUE", "%s must not contain line breaks or control characters.", strings.Join(path, ".")))
	case len(value) > maxValue:
		b.fail(fault.New(fault.Invalid, "INVALID_VALUE", "%s is longer than %d bytes.", strings.Join(path, "."), maxValue))
	}
	return strings.TrimSpace(value)
}

func (b *patcher) cleanURL(value string, path ...string) string {
	value = b.clean(value, path...)
	if value != "" {
		if wrong := checkURL(value); wrong != "" {
			b.fail(fault.BadField("url_parsing", "Value "+wrong, path...))
		}
	}
	return value
}

func (b *patcher) value(field, name string, v *string) {
	if v != nil {
		b.assign(name, b.clean(*v, field))
	}
}

func (b *patcher) url(field, name string, v *string) {
	if v != nil {
		b.assign(name, b.cleanURL(*v, field))
	}
}

func (b *patcher) key(field, name string, v *string) {
	if v != nil && *v != kept {
		b.assign(name, b.clean(*v, field))
	}
}

func (b *patcher) flag(name string, v *bool) {
	if v != nil {
		b.assign(name, strconv.FormatBool(*v))
	}
}

func (b *patcher) provider(field, name string, v *string) {
	if v == nil {
		return
	}
	value := b.clean(*v, field)
	if value != "" {
		b.known(value, field)
	}
	b.assign(name, value)
}

func (b *patcher) known(kind string, path ...string) {
	if _, ok := kindOf(kind); !ok {
		b.fail(fault.New(fault.Invalid, "UNKNOWN_PROVIDER", "Unknown provider %q in %s. Choose one of %s.",
			cut(kind, 64), strings.Join(path, "."), strings.Join(kindNames(), ", ")))
	}
}

func (b *patcher) choice(field, name string, v *string, options ...string) {
	if v == nil {
		return
	}
	if *v != "" && !slices.Contains(options, *v) {
		b.fail(badChoice(field, options...))
	}
	b.assign(name, *v)
}

func (b *patcher) pref(name string, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		b.fail(fmt.Errorf("settings: encode %s: %w", name, err))
	}
	b.prefs[name] = raw
	b.names = append(b.names, name)
}

func (b *patcher) text(field string, v *string) {
	if v == nil {
		return
	}
	if utf8.RuneCountInString(*v) > maxText {
		b.fail(fault.BadField("string_too_long", fmt.Sprintf("String should have at most %d characters", maxText), field))
	}
	b.pref(field, *v)
}

func (b *patcher) boolean(field string, v *bool) {
	if v != nil {
		b.pref(field, *v)
	}
}

func (b *patcher) overrides(s *structpb.Struct) {
	out := map[string]override{}
	for _, of := range roles { // other names are unknown keys
		at := []string{"modelOverrides", of.name}
		v := s.GetFields()[of.name]
		if isNull(v) {
			continue
		}
		fields, ok := b.object(v, at...)
		if !ok {
			continue
		}
		o := override{
			Kind:  b.clean(b.str(fields, "providerType", at), under(at, "providerType")...),
			Model: b.clean(b.str(fields, "model", at), under(at, "model")...),
		}
		if o.Kind == "" { // compat: half an override is none
			continue
		}
		b.known(o.Kind, under(at, "providerType")...)
		out[of.name] = o
	}
	b.pref("modelOverrides", out)
}

// statuses takes over what a client knows of providers.
func (b *patcher) statuses(s *structpb.Struct) {
	out := map[string]tested{}
	for name, v := range s.GetFields() {
		_, known := kindOf(name)
		if status := v.GetStringValue(); known && (status == statusOK || status == statusFail || status == untested) {
			out[name] = tested{Status: status}
		}
	}
	b.pref("providerStatus", out)
}

// accounts reads the list of providers. Of two of a kind the later counts.
func (b *patcher) accounts(list *structpb.ListValue) {
	if len(list.GetValues()) > maxAccounts {
		b.fail(fault.BadField("too_long", fmt.Sprintf("List should have at most %d items", maxAccounts), "providers"))
		return
	}
	for i, v := range list.GetValues() {
		at := []string{"providers", strconv.Itoa(i)}
		fields, ok := b.object(v, at...)
		if !ok {
			continue
		}
		a := b.account(fields, at)
		b.providers = slices.DeleteFunc(b.providers, func(x accountPatch) bool { return x.kind == a.kind })
		b.providers = append(b.providers, a)
	}
}

func (b *patcher) account(fields map[string]*structpb.Value, at []string) accountPatch {
	if isNull(fields["type"]) {
		b.fail(fault.BadField("missing", "Field required", under(at, "type")...))
		return accountPatch{}
	}
	a := accountPatch{kind: b.str(fields, "type", at), isDefault: b.truth(fields, "isDefault", at)}
	b.known(a.kind, under(at, "type")...)
	a.name = b.clean(b.str(fields, "name", at), under(at, "name")...)
	if v := b.str(fields, "apiKey", at); !isNull(member(fields, "apiKey")) && v != kept {
		v = b.clean(v, under(at, "apiKey")...)
		a.key = &v
	}
	baseField := "baseUrl"
	if a.kind == minds && !isNull(member(fields, "mindsUrl")) {
		baseField = "mindsUrl"
	}
	// Where the others are is no matter of the settings.
	takesBase := a.kind == anthropic || a.kind == openai || a.kind == compatible || a.kind == minds
	if v := b.str(fields, baseField, at); !isNull(member(fields, baseField)) && takesBase {
		if v = b.cleanURL(v, under(at, baseField)...); a.kind == minds && v == mindsAPI {
			v = "" // it holds by itself
		}
		a.base = &v
	}
	if a.kind != minds {
		return a
	}
	for _, f := range []struct{ field, name string }{
		{"mindsMindName", envMindsMindName},
		{"mindsDatasource", envMindsDatasource},
		{"mindsDatasourceEngine", envMindsDatasourceEngine},
	} {
		if v := b.str(fields, f.field, at); !isNull(member(fields, f.field)) {
			a.minds = append(a.minds, assignment{f.name, b.clean(v, under(at, f.field)...)})
		}
	}
	if v := b.truth(fields, "mindsSslVerify", at); !isNull(member(fields, "mindsSslVerify")) {
		verify := assignment{name: envMindsSSLVerify} // that it is verified holds by itself
		if !v {
			verify.value = "false"
		}
		a.minds = append(a.minds, verify)
	}
	return a
}

func (b *patcher) object(v *structpb.Value, path ...string) (map[string]*structpb.Value, bool) {
	if _, ok := v.GetKind().(*structpb.Value_StructValue); !ok {
		b.fail(fault.BadField("dict_type", "Input should be a valid dictionary", path...))
		return nil, false
	}
	return v.GetStructValue().GetFields(), true
}

// str is a text field of an object; empty if it is absent or null.
func (b *patcher) str(fields map[string]*structpb.Value, name string, at []string) string {
	v := member(fields, name)
	if _, ok := v.GetKind().(*structpb.Value_StringValue); !ok && !isNull(v) {
		b.fail(fault.BadField("string_type", "Input should be a valid string", under(at, name)...))
	}
	return v.GetStringValue()
}

func (b *patcher) truth(fields map[string]*structpb.Value, name string, at []string) bool {
	v := member(fields, name)
	if _, ok := v.GetKind().(*structpb.Value_BoolValue); !ok && !isNull(v) {
		b.fail(fault.BadField("bool_type", "Input should be a valid boolean", under(at, name)...))
	}
	return v.GetBoolValue()
}

// member finds a field by its camelCase name, or spelled in snake_case.
func member(fields map[string]*structpb.Value, camel string) *structpb.Value {
	if v, ok := fields[camel]; ok {
		return v
	}
	var snake strings.Builder
	for _, c := range camel {
		if unicode.IsUpper(c) {
			snake.WriteByte('_')
		}
		snake.WriteRune(unicode.ToLower(c))
	}
	return fields[snake.String()]
}

// under is the path of a field of an object.
func under(at []string, field string) []string { return append(slices.Clone(at), field) }

// isNull says whether a value is absent or null.
func isNull(v *structpb.Value) bool {
	if v.GetKind() == nil {
		return true
	}
	_, null := v.GetKind().(*structpb.Value_NullValue)
	return null
}

func badChoice(field string, options ...string) error {
	return fault.BadField("literal_error", "Input should be '"+strings.Join(options, "' or '")+"'", field)
}

// cut shortens a text for a message.
func cut(s string, runes int) string {
	if r := []rune(s); len(r) > runes {
		return string(r[:runes]) + "…"
	}
	return s
}
