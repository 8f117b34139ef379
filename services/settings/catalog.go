package settings

import (
	"slices"

	"anthill/services/internal/agent/probe"
)

// Kinds of provider, as people choose them. Four of them are also engines: what
// ANTON_PLANNING_PROVIDER and ANTON_CODING_PROVIDER usually name. The others are
// endpoints of the OpenAI-compatible engine; Ollama and LM Studio are those of
// this machine.
const (
	offline    = "offline"
	anthropic  = "anthropic"
	openai     = "openai"
	compatible = "openai-compatible"
	gemini     = "gemini"
	minds      = "minds-cloud"
	ollama     = probe.Ollama
	lmstudio   = probe.LMStudio
)

const (
	openaiAPI    = "https://api.openai.com/v1"
	geminiAPI    = "https://generativelanguage.googleapis.com/v1beta/openai"
	anthropicAPI = "https://api.anthropic.com"
	mindsAPI     = "https://api.mindshub.ai"
	publishAPI   = "https://4nton.ai"

	// anyModel is the name sent when none was chosen and none can be
	// recommended; servers with one model take any name.
	anyModel = "default"
)

// kind describes a kind of provider.
type kind struct {
	name, label string
	models      []string  // to choose from; none: the user names one
	pair        [2]string // planning, coding; empty: nothing to recommend
}

// kinds is in the order in which they are offered.
var kinds = []kind{
	{minds, "MindsHub",
		[]string{"latest:sonnet", "latest:opus", "latest:haiku", "latest:gpt", "latest:gpt-mini", "latest:gemini",
			"latest:gemini-flash", "latest:deepseek", "latest:qwen", "latest:kimi"},
		[2]string{"latest:sonnet", "latest:haiku"}},
	{anthropic, "Anthropic",
		[]string{"claude-sonnet-4-6", "claude-opus-4-6", "claude-haiku-4-5-20251001"},
		[2]string{"claude-sonnet-4-6", "claude-haiku-4-5-20251001"}},
	{openai, "OpenAI",
		[]string{"gpt-5.4", "gpt-5.4-mini", "o3", "o4-mini"},
		[2]string{"gpt-5.4", "gpt-5.4-mini"}},
	{gemini, "Gemini",
		[]string{"gemini-2.5-pro", "gemini-2.5-flash"},
		[2]string{"gemini-2.5-pro", "gemini-2.5-flash"}},
	{compatible, "OpenAI-compatible", []string{}, [2]string{}},
	{ollama, "Ollama", []string{}, [2]string{}},
	{lmstudio, "LM Studio", []string{}, [2]string{}},
	{offline, "Offline (built in)", []string{"offline"}, [2]string{"offline", "offline"}},
}

// kindOf returns the kind of that name; ok is false if there is none.
func kindOf(name string) (k kind, ok bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{name: name, label: name}, false
	}
	return kinds[i], true
}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// isLocal says whether a kind is a model server of this machine.
func isLocal(kind string) bool { return kind == ollama || kind == lmstudio }

// keyless says whether a kind works without a key.
func keyless(kind string) bool { return kind == compatible || kind == offline || isLocal(kind) }

// sharesSlot says whether a kind keeps its key and address in ANTON_OPENAI_*
// while it is the one in use.
func sharesSlot(kind string) bool {
	return kind == openai || kind == compatible || kind == gemini
}
