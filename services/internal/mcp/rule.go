package mcp

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a rule.
const (
	patternsMax = 100
	patternMax  = 200 // characters
)

// Rule says which tools are allowed. A pattern is the name of a server, of a tool
// as server/tool, or of a tool as models know it; * in it stands for any
// characters. What is denied is not allowed, whatever else is.
type Rule struct {
	Allow []string `json:"allow,omitempty"` // empty: all
	Deny  []string `json:"deny,omitempty"`
}

// Check says what is wrong with a list of patterns, in words for people; empty
// if nothing is.
func Check(patterns []string) string {
	if len(patterns) > patternsMax {
		return fmt.Sprintf("At most %d patterns", patternsMax)
	}
	for _, p := range patterns {
		if strings.TrimSpace(p) == "" || utf8.RuneCountInString(p) > patternMax || strings.ContainsFunc(p, unicode.IsControl) {
			return fmt.Sprintf("A pattern has 1 to %d characters, such as 'server', 'server/tool' or 'server/get_*'", patternMax)
		}
	}
	return ""
}

// allows says whether a tool of a server may be used; name is what models know.
func (r Rule) allows(server, tool, name string) bool {
	hit := func(pattern string) bool {
		return matches(pattern, server) || matches(pattern, server+"/"+tool) || matches(pattern, name)
	}
	return !slices.ContainsFunc(r.Deny, hit) && (len(r.Allow) == 0 || slices.ContainsFunc(r.Allow, hit))
}

// matches is linear in the text for each star of a pattern.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return true
}
