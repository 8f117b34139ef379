package agent

import (
	"errors"
	"strings"
)

// errStop ends an answer at a stop sequence.
var errStop = errors.New("agent: stop sequence")

// stopper finds the first stop sequence in a text that comes in pieces.
type stopper struct {
	sequences []string
	held      string // end of what came that may be the beginning of one
}

// next takes the next piece and returns what comes before a stop sequence; hit
// says that there is one.
func (s *stopper) next(piece string) (show string, hit bool) {
	if len(s.sequences) == 0 {
		return piece, false
	}
	text := s.held + piece
	s.held = ""
	first := -1
	for _, q := range s.sequences {
		if i := strings.Index(text, q); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		return text[:first], true
	}
	keep := begun(text, s.sequences)
	s.held = text[len(text)-keep:]
	return text[:len(text)-keep], false
}

// rest is what was held back, at the end.
func (s *stopper) rest() string {
	rest := s.held
	s.held = ""
	return rest
}
