package settings

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Model says who answers, and whether it can.
type Model struct {
	// Provider is the engine: offline, openai, openai-compatible or anthropic;
	// when it is none of them, Ready is false.
	Provider string
	Model    string // the name to ask for; never empty
	BaseURL  string // root of the API, version included, without a slash at the end; empty for offline
	APIKey   string `json:"-"` // secret; may be empty for openai-compatible
	Insecure bool   // the user does not want the server's certificate verified
	// FirstByte and Idle bound the provider's silence before and within its
	// answer; 0: the engine's own limits.
	FirstByte, Idle time.Duration

	Ready   bool
	Problem string // what to do about it, for people; empty if Ready
	Label   string // of the provider, for people
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

// Secrets are the keys of all providers: what must never be shown, whoever says it.
func (r *Room) Secrets() []string {
	e, err := r.env()
	if err != nil {
		r.log.Warn("settings: the settings file cannot be read", "err", err) // those of the process are known
	}
	var out []string
	for _, name := range secretNames {
		if v := e.get(name); v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

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
	case e.own(envAnthropicKey) != "":
		return anthropic // compat: the default of anton.md 6, where somebody has set it up
	}
	return offline
}

// modelName is the model of a role for a provider of the given kind.
func (e env) modelName(of role, k kind) string {
	name := e.get(of.model)
	if name == "" && of == coding && e.get(envCodingProvider) == "" {
		// A model that was chosen by name surely exists where it is asked for.
		name = e.get(envPlanningModel)
	}
	if isLocal(k.name) {
		name = strings.TrimPrefix(name, k.name+"/") // as it stands in the list of models
	}
	return cmp.Or(name, k.pair[of.index], anyModel)
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
	case ollama, lmstudio:
		return endpoint{name, e.localRoot(name), ""}
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
		if a := e.account(k); a.key != "" && apiRoot(k, a.address()) == apiRoot(k, base) {
			return a.key
		}
	}
	return ""
}

// engineOf is the engine that a provider's name stands for.
func engineOf(name string) string {
	if name == gemini || name == minds || isLocal(name) {
		return compatible
	}
	return name
}

// chosen is how the choice of a kind is written: by its engine, which says it all
// together with the address; those of this machine have none written down.
func chosen(kind string) string {
	if isLocal(kind) {
		return kind
	}
	return engineOf(kind)
}

// model resolves a role.
func (e env) model(of role) Model {
	name, at := e.provider(of), e.endpoint(of)
	k, known := kindOf(at.kind)
	m := Model{Provider: engineOf(name), Model: e.modelName(of, k), APIKey: at.key, Label: k.label}
	var impatient string
	m.FirstByte, m.Idle, impatient = e.patience()
	switch {
	case !known:
		// better: the reference takes an unknown provider for a ready one.
		m.Problem = fmt.Sprintf("Unknown provider %q in %s. Choose one of %s.", name, of.provider, strings.Join(kindNames(), ", "))
	case name == offline:
	default:
		m.Problem = e.problemOf(of, at, k)
		if m.Problem == "" {
			m.BaseURL, m.Insecure = apiRoot(at.kind, at.base), e.insecure(at.kind)
			m.Problem = impatient
		}
	}
	m.Ready = m.Problem == ""
	return m
}

// insecure says whether the user wants no certificate verified: a choice that
// exists for MindsHub alone.
func (e env) insecure(kind string) bool { return kind == minds && !e.bool(envMindsSSLVerify, true) }

// patience is how long providers may be silent.
func (e env) patience() (firstByte, idle time.Duration, problem string) {
	firstByte, okFirst := e.duration(envFirstByte)
	idle, okIdle := e.duration(envIdle)
	const wrong = " must be a duration such as 90s, or a number of seconds, of up to a day."
	switch {
	case !okFirst:
		return 0, 0, envFirstByte + wrong
	case !okIdle:
		return 0, 0, envIdle + wrong
	}
	return firstByte, idle, ""
}

// problemOf says what an endpoint lacks to be asked by a role.
func (e env) problemOf(of role, at endpoint, k kind) string {
	addressIn, keyIn := e.names(of, at)
	switch {
	case at.base == "" && isLocal(at.kind):
		return k.label + " is not looked for on this machine: " + addressIn + " holds no http address."
	case at.base == "":
		return configure(addressIn, k)
	case at.key == "" && !keyless(at.kind):
		return configure(keyIn, k)
	case strings.ContainsFunc(at.key, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return keyIn + " contains characters that no key has. Paste it again."
	case isLocal(at.kind) && e.modelName(of, k) == anyModel:
		return configure(of.model, k)
	}
	if wrong := checkURL(at.base); wrong != "" {
		return addressIn + " " + wrong + "."
	}
	return ""
}

// names are those under which an endpoint's address and key are configured.
func (e env) names(of role, at endpoint) (address, key string) {
	address, key = envOpenAIBaseURL, envOpenAIKey
	switch {
	case at.kind == anthropic:
		return envAnthropicBaseURL, envAnthropicKey
	case at.kind == ollama:
		return "ANTON_OLLAMA_URL", ""
	case at.kind == lmstudio:
		return "ANTON_LMSTUDIO_URL", ""
	case at.kind == minds:
		key = envMindsKey
		if at.base != e.get(envOpenAIBaseURL) {
			address = envMindsURL
		}
	case sharesSlot(at.kind) && e.owner() != at.kind:
		key = parkedKey[at.kind]
	}
	if of == coding && at.base != "" && at.base == e.get(envCodingBaseURL) {
		address = envCodingBaseURL
	}
	return address, key
}

func configure(name string, k kind) string {
	return fmt.Sprintf("Configure %s for %s.", name, k.label)
}
