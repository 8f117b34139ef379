package settings

import (
	"net/url"
	"strings"
	"unicode"
)

// Names of the settings file and the environment.
const (
	envPlanningProvider = "ANTON_PLANNING_PROVIDER"
	envPlanningModel    = "ANTON_PLANNING_MODEL"
	envCodingProvider   = "ANTON_CODING_PROVIDER"
	envCodingModel      = "ANTON_CODING_MODEL"
	envCodingBaseURL    = "ANTON_CODING_BASE_URL" // where coding is not done at ANTON_OPENAI_BASE_URL

	envAnthropicKey     = "ANTON_ANTHROPIC_API_KEY"
	envAnthropicBaseURL = "ANTHROPIC_BASE_URL"
	envOpenAIKey        = "ANTON_OPENAI_API_KEY"
	envOpenAIBaseURL    = "ANTON_OPENAI_BASE_URL"

	envMindsKey              = "ANTON_MINDS_API_KEY"
	envMindsURL              = "ANTON_MINDS_URL"
	envMindsMindName         = "ANTON_MINDS_MIND_NAME"
	envMindsDatasource       = "ANTON_MINDS_DATASOURCE"
	envMindsDatasourceEngine = "ANTON_MINDS_DATASOURCE_ENGINE"
	envMindsSSLVerify        = "ANTON_MINDS_SSL_VERIFY"

	envPublishURL          = "ANTON_PUBLISH_URL"
	envMemoryEnabled       = "ANTON_MEMORY_ENABLED"
	envMemoryMode          = "ANTON_MEMORY_MODE"
	envEpisodicMemory      = "ANTON_EPISODIC_MEMORY"
	envProactiveDashboards = "ANTON_PROACTIVE_DASHBOARDS"
	envUIUpdateMode        = "UI_UPDATE_MODE"
)

// legacyNames are read when the proper name is nowhere set.
var legacyNames = map[string]string{
	envAnthropicKey: "ANTHROPIC_API_KEY",
	envOpenAIKey:    "OPENAI_API_KEY",
}

// env answers what a name is set to: by the process, else by the settings
// file, else under its legacy name in either. Empty is unset.
type env struct {
	process func(string) (string, bool) // nil: the file alone
	file    map[string]string
}

func (e env) get(name string) string {
	if v := e.processValue(name); v != "" {
		return v
	}
	if v := e.file[name]; v != "" {
		return v
	}
	if old, ok := legacyNames[name]; ok {
		if v := e.processValue(old); v != "" {
			return v
		}
		return e.file[old]
	}
	return ""
}

func (e env) processValue(name string) string {
	if e.process == nil {
		return ""
	}
	v, _ := e.process(name)
	return strings.ToValidUTF8(strings.TrimSpace(v), "\ufffd")
}

func (e env) getOr(name, otherwise string) string {
	if v := e.get(name); v != "" {
		return v
	}
	return otherwise
}

func (e env) bool(name string, otherwise bool) bool {
	switch strings.ToLower(e.get(name)) {
	case "1", "true", "yes", "on":
		return true
	case "0", "false", "no", "off":
		return false
	}
	return otherwise
}

// masked shows that a key is set, and nothing of it.
func (e env) masked(name string) string { return mask(e.get(name)) }

// kept is what stands for a key in both directions: set, and leave it as it is.
const kept = "***"

func mask(key string) string {
	if key == "" {
		return ""
	}
	return kept
}

// checkURL says what keeps s from being the address of a server, or "".
func checkURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "must be an http:// or https:// URL"
	case u.User != nil:
		return "must not contain a user name or password"
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "must not contain a query or a fragment"
	}
	return ""
}

// apiRoot is where an OpenAI-shaped API begins, without a slash at the end.
// Addresses are given with or without /v1, or copied with the whole path of an
// operation; one with a path of its own is taken by its word.
func apiRoot(s string) string {
	s = strings.TrimRight(s, "/")
	s = strings.TrimRight(strings.TrimSuffix(s, "/chat/completions"), "/")
	if u, err := url.Parse(s); err == nil && u.Path == "" {
		s += "/v1"
	}
	return s
}

// within says whether an address lies at or below root. Both are URLs.
func within(address, root string) bool {
	a, errA := url.Parse(address)
	r, errR := url.Parse(root)
	if errA != nil || errR != nil || a.Host == "" {
		return false
	}
	path := strings.TrimSuffix(strings.TrimRight(r.Path, "/"), "/v1")
	return strings.EqualFold(a.Scheme, r.Scheme) && strings.EqualFold(a.Host, r.Host) &&
		(path == "" || a.Path == path || strings.HasPrefix(a.Path, path+"/"))
}

// withoutPassword makes an address written by hand fit to be shown.
func withoutPassword(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		return u.Redacted()
	} else if err != nil && strings.Contains(s, "@") {
		return kept
	}
	return s
}

// breaksLine says whether s holds a character that ends a line somewhere: a
// control character, or a separator that some readers split lines at.
func breaksLine(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool {
		return unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp)
	})
}
