package memory

import (
	"regexp"
	"strings"
)

// secretLeast is the length below which a configured key is not looked for.
const secretLeast = 8 // bytes

// keyShaped are texts that are keys by their form.
var keyShaped = regexp.MustCompile(`\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}|` +
	`\bglpat-[A-Za-z0-9_-]{16,}|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bA(?:KIA|SIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}|\bant_[a-z]+_[A-Za-z0-9_-]{16,}|` +
	`\bAGE-SECRET-KEY-1[0-9A-Z]{20,}|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*-----|$)|` +
	`\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]{3,}@`)

// told are sentences that give a secret away.
var told = regexp.MustCompile(`(?i)\b(?:pass(?:word|wd|phrase|code)|secret|api[ _-]?key|access[ _-]?(?:key|token)|auth[ _-]?token|bearer|pin(?: code)?)\b["']?\s*(?:is|are|=|:|→|->)\s*["']?[^\s"']{4,}`)

const removed = "[redacted]"

// veil knows the secrets of a moment.
type veil []string

// veil reads them; it is for one use, such as a turn's prompt.
func (r *Room) veil() veil { return r.opt.Secrets() }

// tells says that an agent's words give a secret away, or did before they were
// redacted.
func (r *Room) tells(words string) bool {
	return r.secret(words) || told.MatchString(words) || strings.Contains(words, removed)
}

// secret says that a text holds one by its form, or is of this server.
func (r *Room) secret(text string) bool { return r.veil().over(text) != text }

// over is a text without secrets.
func (v veil) over(text string) string {
	for _, s := range v {
		if len(s) >= secretLeast {
			text = strings.ReplaceAll(text, s, removed)
		}
	}
	return keyShaped.ReplaceAllString(text, removed)
}
