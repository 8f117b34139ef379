package settings

import (
	"strconv"
	"strings"

	"anthill/services/internal/fault"
)

// Behaviour is how a turn deals with a long history, and which calls of a model
// there are beside its own.
type Behaviour struct {
	Window    int     // tokens that the model takes; 0: by its name
	Threshold float64 // share of it from which older messages are left out of requests
	Aux       bool    // calls beside the turn's own are allowed at all
	Verify    bool    // a model is asked whether the work is done
	Learn     bool    // a model is asked what a turn teaches
}

const (
	windowLeast = 1_000
	windowMost  = 100_000_000
)

// Behaviour of a turn that begins now. What holds no value of its kind is an
// error in words for people.
func (r *Room) Behaviour() (Behaviour, error) {
	e, err := r.env()
	if err != nil {
		return Behaviour{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "The settings file cannot be read.").Because(err)
	}
	b := Behaviour{Threshold: 0.7, Aux: true}
	if s := e.get("ANTON_CONTEXT_WINDOW"); s != "" {
		if b.Window, err = strconv.Atoi(s); err != nil || b.Window < windowLeast || b.Window > windowMost {
			return Behaviour{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "ANTON_CONTEXT_WINDOW must be a number from %d to %d.", windowLeast, windowMost)
		}
	}
	if s := e.get("ANTON_CONTEXT_PRESSURE_THRESHOLD"); s != "" {
		if b.Threshold, err = strconv.ParseFloat(s, 64); err != nil || !(b.Threshold >= 0.1 && b.Threshold <= 1) {
			return Behaviour{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "ANTON_CONTEXT_PRESSURE_THRESHOLD must be a number from 0.1 to 1.")
		}
	}
	for _, f := range []struct {
		name string
		in   *bool
	}{{"ANTON_AUX_LLM", &b.Aux}, {"ANTON_COMPLETION_VERIFIER", &b.Verify}, {"ANTON_BACKGROUND_LEARNING", &b.Learn}} {
		switch strings.ToLower(e.get(f.name)) {
		case "":
		case "on", "true", "1", "yes":
			*f.in = true
		case "off", "false", "0", "no":
			*f.in = false
		default:
			return Behaviour{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "%s must be on or off.", f.name)
		}
	}
	b.Verify, b.Learn = b.Verify && b.Aux, b.Learn && b.Aux
	return b, nil
}
