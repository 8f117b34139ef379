package agent

import "strings"

const (
	redacted    = "[redacted]"
	secretLeast = 8 // bytes; what is shorter is no secret, and occurs by chance
)

// redactor takes secrets out of a text that comes in pieces: a server that sends
// back the key it was called with must not get it into a history or a stream.
type redactor struct {
	secrets []string
	held    string // end of what came that may be the beginning of a secret
}

func newRedactor(secrets []string) *redactor {
	r := &redactor{}
	for _, s := range secrets {
		if len(s) >= secretLeast {
			r.secrets = append(r.secrets, s)
		}
	}
	return r
}

// whole redacts a text that is complete.
func (r *redactor) whole(s string) string {
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	return s
}

// next takes the next piece and returns what can be shown.
func (r *redactor) next(piece string) string {
	if len(r.secrets) == 0 {
		return piece
	}
	text := r.whole(r.held + piece)
	keep := begun(text, r.secrets)
	r.held = text[len(text)-keep:]
	return text[:len(text)-keep]
}

// begun is the length of the end of text that may be the beginning of a word.
func begun(text string, words []string) int {
	keep := 0
	for _, w := range words {
		for n := min(len(w)-1, len(text)); n > keep; n-- {
			if strings.HasSuffix(text, w[:n]) {
				keep = n
			}
		}
	}
	return keep
}

// rest is what was held back, at the end.
func (r *redactor) rest() string {
	s := r.held
	r.held = ""
	return s
}
