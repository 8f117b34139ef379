package mcp

import (
	"cmp"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	hidden      = "[redacted]"
	secretLeast = 8 // bytes; what is shorter occurs by chance
)

// telling are names of what is likely to be a secret, and placing those of where
// something is.
var (
	telling = regexp.MustCompile(`(?i)key|token|secret|pass|pwd|auth|cred|cookie|private|bearer|dsn|session`)
	placing = regexp.MustCompile(`(?i)(?:path|file|dir|home|root|url|host|name)$`)
	// plain are values that are none: switches, words, paths, addresses.
	plain = regexp.MustCompile(`^(?:[A-Za-z][A-Za-z ,._-]*|[0-9.,:]*|(?:~|\.{0,2})/[^?\s]*|https?://[^/?#@\s]+(?:/[A-Za-z/._-]*)?)$`)
	// token is the part of an address's path that may be one.
	token = regexp.MustCompile(`^[A-Za-z0-9_.~%=-]{16,}$`)
)

// secretsOf are the values of an entry that nobody gets to see, whether or not
// the entry is valid.
func secretsOf(raw json.RawMessage) []string {
	var in struct {
		Env, Headers map[string]any
		Args         []any
		URL          any
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil
	}
	for name, to := range map[string]any{"env": &in.Env, "headers": &in.Headers, "args": &in.Args, "url": &in.URL} {
		_ = json.Unmarshal(fields[name], to) // what is of another type has none
	}
	var out []string
	add := func(s string) {
		if len(s) >= secretLeast {
			out = append(out, s)
		}
	}
	for name, v := range in.Env {
		if s, ok := v.(string); ok && private(name, s) {
			add(s)
		}
	}
	for _, v := range in.Headers {
		if s, ok := v.(string); ok {
			add(s)
			_, credentials, _ := strings.Cut(strings.TrimSpace(s), " ") // Bearer …
			add(credentials)
		}
	}
	for i, v := range in.Args {
		s, _ := v.(string)
		if name, value, ok := strings.Cut(s, "="); ok && telling.MatchString(name) {
			add(value)
		} else if next := i + 1; strings.HasPrefix(s, "-") && telling.MatchString(s) && next < len(in.Args) {
			value, _ := in.Args[next].(string)
			add(value)
		}
	}
	if s, ok := in.URL.(string); ok {
		for _, part := range privateParts(s) {
			add(part)
		}
	}
	return longestFirst(out)
}

// private says whether the value of a variable may be a secret.
func private(name, value string) bool {
	if plain.MatchString(value) {
		return telling.MatchString(name) && !placing.MatchString(name)
	}
	return true
}

// privateParts are those of an address: password, query, and what in its path
// looks like a token.
func privateParts(address string) []string {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	var out []string
	if password, ok := u.User.Password(); ok {
		out = append(out, password)
	}
	for _, values := range u.Query() {
		out = append(out, values...)
	}
	if u.RawQuery != "" {
		out = append(out, u.RawQuery)
	}
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		if tokenLike(part) {
			out = append(out, part)
		}
	}
	return out
}

func tokenLike(s string) bool {
	return token.MatchString(s) && strings.ContainsAny(s, "0123456789")
}

// shown is an address without its private parts.
func shown(u *url.URL) string {
	if u == nil {
		return ""
	}
	parts := strings.Split(u.EscapedPath(), "/")
	for i, p := range parts {
		if tokenLike(p) {
			parts[i] = "***"
		}
	}
	s := u.Scheme + "://" + u.Host + strings.Join(parts, "/")
	if u.RawQuery != "" {
		s += "?***"
	}
	return s
}

func longestFirst(list []string) []string {
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(list)
}

// redact takes secrets out of a text.
func redact(text string, secrets ...[]string) string {
	for _, list := range secrets {
		for _, s := range list {
			if len(s) >= secretLeast {
				text = strings.ReplaceAll(text, s, hidden)
			}
		}
	}
	return text
}
