package settings

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
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
	envTermsConsent        = "ANTON_TERMS_CONSENT"

	// How long a provider may be silent, as "90s" or seconds: before its answer,
	// and within it.
	envFirstByte = "ANTON_PROVIDER_FIRST_BYTE_TIMEOUT"
	envIdle      = "ANTON_PROVIDER_IDLE_TIMEOUT"
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
	local   func(kind string) string // root of a model server of this machine; nil: there are none
}

func (e env) get(name string) string {
	if v := e.own(name); v != "" {
		return v
	}
	if old, ok := legacyNames[name]; ok {
		return e.own(old)
	}
	return ""
}

// own is get without legacy names.
func (e env) own(name string) string {
	if v := e.processValue(name); v != "" {
		return v
	}
	return e.file[name]
}

// overlaid is e as if these assignments had been made, and nothing of the
// process stood against them.
func (e env) overlaid(edits []assignment) env {
	given := map[string]bool{}
	file := withEdits(e.file, edits)
	for _, a := range edits {
		given[a.name] = true
	}
	process := e.process
	e.file = file
	e.process = func(name string) (string, bool) {
		if given[name] || process == nil {
			return "", false
		}
		return process(name)
	}
	return e
}

func (e env) localRoot(kind string) string {
	if e.local == nil {
		return ""
	}
	return e.local(kind)
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

// duration reads a time limit: 0 if it is not set; ok is false if it is no
// limit that could be kept.
func (e env) duration(name string) (d time.Duration, ok bool) {
	text := e.get(name)
	if text == "" {
		return 0, true
	}
	d, err := time.ParseDuration(text)
	if seconds, notSeconds := strconv.ParseFloat(text, 64); notSeconds == nil {
		d, err = 0, nil
		if seconds <= longest.Seconds() {
			d = time.Duration(seconds * float64(time.Second))
		}
	}
	return d, err == nil && d > 0 && d <= longest
}

const longest = 24 * time.Hour

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

// versioned finds the version in a path, which not every server has at its end.
var versioned = regexp.MustCompile(`/v\d[^/]*(/|$)`)

// apiRoot is where a kind's API begins, its version included, without a slash at
// the end. Addresses are given with or without /v1, or copied with the whole
// path of an operation.
func apiRoot(kind, s string) string {
	s = strings.TrimRight(s, "/")
	for _, call := range []string{"/chat/completions", "/responses", "/messages"} {
		s = strings.TrimRight(strings.TrimSuffix(s, call), "/")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || versioned.MatchString(u.Path):
		return s
	case kind == minds:
		return s + "/api/v1"
	}
	return s + "/v1"
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
