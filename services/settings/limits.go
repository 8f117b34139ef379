package settings

import (
	"fmt"
	"math"
	"strconv"

	"anthill/services/internal/fault"
)

// Limits bound a turn (agent-core.md 1).
type Limits struct {
	MaxTokens     int // that one call of a model may answer with; 0: the provider's own limit
	Rounds        int // calls of the model that may ask for tools
	Continuations int // times that an answer cut short by MaxTokens is carried on
	Tokens        int // of the whole turn, in and out
	NudgeAt       int // failures of one tool in a row before the model is told to change course
	Errors        int // failures of one tool in a row before it is off
}

// limitNames are the names in the environment, with what holds without them.
var limitNames = []struct {
	name                 string
	least, most, without int
	in                   func(*Limits) *int
}{
	{"ANTON_MAX_TOKENS", 1, 1 << 20, 0, func(l *Limits) *int { return &l.MaxTokens }},
	{"ANTON_MAX_TOOL_ROUNDS", 1, 1000, 25, func(l *Limits) *int { return &l.Rounds }},
	{"ANTON_MAX_CONTINUATIONS", 0, 100, 3, func(l *Limits) *int { return &l.Continuations }},
	{"ANTON_MAX_TURN_TOKENS", 0, math.MaxInt32, 1_250_000, func(l *Limits) *int { return &l.Tokens }},
	{"ANTON_RESILIENCE_NUDGE_AT", 1, 100, 2, func(l *Limits) *int { return &l.NudgeAt }},
	{"ANTON_MAX_CONSECUTIVE_ERRORS", 1, 100, 5, func(l *Limits) *int { return &l.Errors }},
}

// Limits are those of a turn that begins now. A name that holds no number is an
// error in words for people.
func (r *Room) Limits() (Limits, error) {
	e, err := r.env()
	if err != nil {
		return Limits{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "The settings file cannot be read.").Because(err)
	}
	var l Limits
	for _, n := range limitNames {
		at := n.in(&l)
		*at = n.without
		s := e.get(n.name)
		if s == "" {
			continue
		}
		v, err := strconv.Atoi(s)
		if err != nil || v < n.least || v > n.most {
			return Limits{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "%s", fmt.Sprintf("%s must be a number from %d to %d.", n.name, n.least, n.most))
		}
		*at = v
	}
	if l.Tokens == 0 { // compat: 0 turns it off
		l.Tokens = math.MaxInt
	}
	return l, nil
}
