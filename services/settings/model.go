package settings

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// Model says who answers, and whether it can.
type Model struct {
	// Provider is the engine: offline, openai, openai-compatible or anthropic;
	// when it is none of them, Ready is false.
	Provider string
	Model    string // the name to ask for; never empty
	BaseURL  string // root of the API, without a slash at the end; empty for offline
	APIKey   string `json:"-"` // secret; may be empty for openai-compatible
	Ready    bool
	Problem  string // what to do about it, for people; empty if Ready
	Label    string // of the provider, for people
}

// String leaves the key out.
func (m Model) String() string {
	key := "no key"
	if m.APIKey != "" {
		key = "with key"
	}
	return fmt.Sprintf("%s %s at %q (%s, ready %t)", m.Provider, m.Model, m.BaseURL, key, m.Ready)
}

// Format leaves the key out under every verb.
func (m Model) Format(s fmt.State, _ rune) {
	fmt.Fprint(s, m.String())
}

// LogValue leaves the key out.
func (m Model) LogValue() slog.Value {
	return slog.GroupValue(slog.String("provider", m.Provider), slog.String("model", m.Model),
		slog.String("base_url", m.BaseURL), slog.Bool("key", m.APIKey != ""), slog.Bool("ready", m.Ready))
}

// Model returns who answers a turn that begins now. A configuration that cannot
// work is told by Ready and Problem; no error is returned but that of ctx.
func (r *Room) Model(ctx context.Context) (Model, error) { return r.model(ctx, planning) }

// CodingModel returns who writes code in a turn that begins now; see Model.
func (r *Room) CodingModel(ctx context.Context) (Model, error) { return r.model(ctx, coding) }

func (r *Room) model(ctx context.Context, of role) (Model, error) {
	if err := ctx.Err(); err != nil {
		return Model{}, err
	}
	e, err := r.env()
	return told(e.model(of), err), nil
}

// told is m, or why it cannot be known: the choice stands in the file, and
// guessing at it could end at a provider that nobody chose.
func told(m Model, fileErr error) Model {
	if fileErr != nil {
		m.Ready, m.Problem = false, "The settings file cannot be read: "+fileErr.Error()
	}
	return m
}

// role is one of the two uses of a model.
type role struct {
	name            string
	provider, model string // their names in the environment
	index           int    // in kind.pair
}

var (
	planning = role{"planning", envPlanningProvider, envPlanningModel, 0}
	coding   = role{"coding", envCodingProvider, envCodingModel, 1}
	roles    = []role{planning, coding}
)

// provider is the chosen provider of a role as it is spelled there: an engine
// or a kind. Coding follows planning until it is set.
func (e env) provider(of role) string {
	name := strings.ToLower(e.get(of.provider))
	switch {
	case name != "":
		return name
	case of == coding:
		return e.provider(planning)
	}
	return offline
}

// modelName is the model of a role for a provider of the given kind.
func (e env) modelName(of role, k kind) string {
	if name := e.get(of.model); name != "" {
		return name
	}
	if of == coding && e.get(envCodingProvider) == "" {
		// A model that was chosen by name surely exists where it is asked for.
		if name := e.get(envPlanningModel); name != "" {
			return name
		}
	}
	if name := k.pair[of.index]; name != "" {
		return name
	}
	return anyModel
}

// endpoint is one place that can be asked, and the key it takes.
type endpoint struct{ kind, base, key string }

// endpoint returns where a role's model is asked. The kind of a provider that
// nobody knows is its name.
func (e env) endpoint(of role) endpoint {
	switch name := e.provider(of); name {
	case openai, compatible:
		if base := e.get(envCodingBaseURL); of == coding && base != "" {
			return endpoint{e.kindAt(base, name), base, e.keyAt(base)}
		}
		return e.shared(name)
	case gemini:
		key := e.keyAt(geminiAPI)
		if key == "" && e.get(envOpenAIBaseURL) == "" {
			key = e.get(envOpenAIKey)
		}
		return endpoint{gemini, geminiAPI, key}
	case minds:
		return endpoint{minds, e.getOr(envMindsURL, mindsAPI), e.get(envMindsKey)}
	case anthropic:
		return endpoint{anthropic, e.getOr(envAnthropicBaseURL, anthropicAPI), e.get(envAnthropicKey)}
	default:
		return endpoint{kind: name}
	}
}

// shared is the endpoint that ANTON_OPENAI_* tells for engine openai or
// openai-compatible. Without an address the latter is MindsHub, if that has a key.
func (e env) shared(engine string) endpoint {
	base, key := e.get(envOpenAIBaseURL), e.get(envOpenAIKey)
	mindsKey, mindsURL := e.get(envMindsKey), e.getOr(envMindsURL, mindsAPI)
	switch {
	case engine == openai:
		return endpoint{openai, e.getOr(envOpenAIBaseURL, openaiAPI), key}
	case base == "" && mindsKey != "":
		return endpoint{minds, mindsURL, mindsKey}
	case within(base, mindsURL):
		// better: a key of another provider that was left in the shared slot
		// is not sent to MindsHub.
		if mindsKey != "" {
			key = mindsKey
		}
		return endpoint{minds, base, key}
	}
	return endpoint{e.kindAt(base, engine), base, key}
}

// kindAt recognises the kind of provider by its address.
func (e env) kindAt(base, engine string) string {
	switch {
	case engine == openai, within(base, openaiAPI):
		return openai
	case within(base, geminiAPI):
		return gemini
	case within(base, e.getOr(envMindsURL, mindsAPI)):
		return minds
	}
	return compatible
}

// keyAt finds the key that was given for an address, so that no provider is
// ever sent the key of another.
func (e env) keyAt(base string) string {
	if within(base, e.getOr(envMindsURL, mindsAPI)) {
		return e.get(envMindsKey)
	}
	for _, k := range []string{openai, compatible, gemini} {
		if a := e.account(k); a.key != "" && apiRoot(a.address()) == apiRoot(base) {
			return a.key
		}
	}
	return ""
}

// engineOf is the engine that a provider's name stands for.
func engineOf(name string) string {
	if name == gemini || name == minds {
		return compatible
	}
	return name
}

// model resolves a role.
func (e env) model(of role) Model {
	name, at := e.provider(of), e.endpoint(of)
	k, known := kindOf(at.kind)
	m := Model{Provider: engineOf(name), Model: e.modelName(of, k), APIKey: at.key, Label: k.label}
	switch {
	case !known:
		// better: the reference takes an unknown provider for a ready one.
		m.Problem = fmt.Sprintf("Unknown provider %q in %s. Choose one of %s.", name, of.provider, strings.Join(kindNames(), ", "))
	case name == offline:
	case name == anthropic:
		m.BaseURL = strings.TrimSuffix(strings.TrimRight(at.base, "/"), "/v1")
		m.Problem = "This version cannot call Anthropic Messages yet. Choose openai-compatible or offline."
		if at.key == "" {
			m.Problem = configure(envAnthropicKey, k)
		}
	default:
		m.Problem = e.problemOf(of, name, at, k)
		if m.Problem == "" {
			m.BaseURL = apiRoot(at.base)
		}
	}
	m.Ready = m.Problem == ""
	return m
}

// problemOf says what an OpenAI-shaped endpoint lacks.
func (e env) problemOf(of role, name string, at endpoint, k kind) string {
	addressIn, keyIn := envOpenAIBaseURL, envOpenAIKey
	if sharesSlot(at.kind) && e.owner() != at.kind {
		keyIn = parkedKey[at.kind]
	}
	if at.kind == minds {
		keyIn = envMindsKey
		if at.base != e.get(envOpenAIBaseURL) {
			addressIn = envMindsURL
		}
	}
	if of == coding && at.base != "" && at.base == e.get(envCodingBaseURL) {
		addressIn = envCodingBaseURL
	}
	switch {
	case at.base == "":
		return configure(addressIn, k)
	case at.key == "" && (name == openai || at.kind != compatible):
		return configure(keyIn, k)
	case strings.ContainsFunc(at.key, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return keyIn + " contains characters that no key has. Paste it again."
	}
	if wrong := checkURL(at.base); wrong != "" {
		return addressIn + " " + wrong + "."
	}
	return ""
}

func configure(name string, k kind) string {
	return fmt.Sprintf("Configure %s for %s.", name, k.label)
}
