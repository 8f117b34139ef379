package agents

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/paste"
)

// Injection is a message of a room for a terminal.
type Injection struct {
	ID       string // the same when it comes again: it arrives once
	Terminal string
	Room     string
	Message  string // id; empty for a digest
	Sender   string
	Text     string
	// Raw: the text is a person's own, for whatever runs in the terminal. Else it is
	// for an agent, and nothing of it is typed where none is seen.
	Raw bool
}

// Undelivered says why a message did not get into a terminal, and what is to be done.
type Undelivered struct {
	Reason string // stable, UPPER_SNAKE_CASE
	Words  string // for people
	Final  bool   // it must not be tried again
	Waits  bool   // nothing was tried: it waits for the agent
}

func (u *Undelivered) Error() string { return u.Words }

// undelivered is each reason of a receipt, as rooms see it. What is not Final had
// not been submitted.
var undelivered = map[paste.Reason]Undelivered{
	paste.Empty:       {"EMPTY", "there is nothing in the message that could be seen in a terminal", true, false},
	paste.Controls:    {"CONTROLS", "the text has line breaks or control characters, and no agent runs in the terminal that takes them as text", true, false},
	paste.NoAgent:     {"NO_AGENT", "no agent that is known runs in the terminal: nothing is typed into a plain shell; it waits for an agent", false, true},
	paste.ModalOpen:   {"MODAL_OPEN", "the agent asks something: the message waits for the answer", false, true},
	paste.Working:     {"TERMINAL_BUSY", "the agent works and takes no message meanwhile: it waits", false, true},
	paste.NotReady:    {"NOT_READY", "the agent shows no input: the message waits for it", false, true},
	paste.Draft:       {"DRAFT", "somebody has begun to write in the agent's input: the message waits", false, true},
	paste.Restarted:   {"RESTARTED", "the server was restarted before the message was begun", false, true},
	paste.Dead:        {"TERMINAL_DEAD", "the program in the terminal ended before it had the message", false, false},
	paste.NotSeen:     {"NOT_SEEN", "the message did not appear whole in the agent's input, and was taken back", false, false},
	paste.Interrupted: {"INTERRUPTED", "a question or a restart came between before the message was submitted; it was taken back", false, false},
	paste.NoFile:      {"NO_FILE", "the message has to go as a file, which could not be written", false, false},
	paste.Swallowed:   {"SWALLOWED", "the agent did not react to Enter; the message was taken back", true, false},
	paste.Unconfirmed: {"UNCONFIRMED", "the message was submitted, but what became of it cannot be seen; it is not sent again", true, false},
}

// why is the reason as an error.
func why(p paste.Reason) error {
	u, ok := undelivered[p]
	if !ok {
		u = undelivered[paste.Unconfirmed]
	}
	return &u
}

// Live says whether a program runs in a terminal and takes text.
func (r *Room) Live(id string) bool { return r.agent(id) != nil }

// workingAfter is how long an unknown program counts as working after its last output.
const workingAfter = 10 * time.Second

// Working says whether the agent in a terminal is busy. Of a program that no driver
// knows its output tells; a shell that waits for a command does not work.
func (r *Room) Working(id string) bool {
	a := r.agent(id)
	if a == nil || a.atPrompt() {
		return false
	}
	if a.driver() != nil {
		return a.state().State == driver.Busy
	}
	last := a.lastOutput()
	return !last.IsZero() && r.opt.Now().Sub(last) < workingAfter
}

// present is the driver of the agent that has the terminal at this moment. The last picture of
// one that has ended is none.
func (a *agent) present() *driver.Driver {
	if a.atPrompt() {
		return nil
	}
	return a.driver()
}

// shells wait for commands.
var shells = []string{"sh", "bash", "dash", "ash", "zsh", "fish", "ksh", "mksh", "csh", "tcsh"}

// atPrompt says that a shell, and no program of its, has the terminal, as far as the system tells.
func (a *agent) atPrompt() bool { return interactive(foreground(a.terminal.Pid())) }

// interactive says whether a command line is that of a shell that reads commands from its terminal.
func interactive(argv []string) bool {
	if len(argv) == 0 || !slices.Contains(shells, strings.TrimPrefix(path.Base(argv[0]), "-")) {
		return false
	}
	for i := 1; i < len(argv); i++ {
		switch s := argv[i]; {
		case s == "-i":
			return true
		case s == "-c", !strings.HasPrefix(s, "-"):
			return false
		case s == "--rcfile", s == "--init-file":
			i++
		}
	}
	return true
}

// Deliver puts a message into a terminal, as a transaction with its agent. It returns nil
// once the agent took it up; an *Undelivered says what else became of it. When ctx
// ends, what was begun goes on, and the next call with the same ID waits for it.
func (r *Room) Deliver(ctx context.Context, i Injection) error {
	o := order{Terminal: i.Terminal, Key: "i:" + i.ID, Message: i.Message, Room: i.Room, Sender: i.Sender, Text: i.Text,
		Personal: i.Raw, Again: true, Source: "chat_injection"}
	old, err := r.sendByKey(ctx, o)
	if err != nil {
		return err
	}
	if old == nil || old.over() && old.repeatable() {
		if err := r.waitsFor(i); err != nil { // no row is made of each look
			return err
		}
	}
	old, j, err := r.enqueue(ctx, o)
	switch {
	case errors.Is(err, errNotLive), errors.Is(err, errSendsQueued):
		return &Undelivered{Reason: "TERMINAL_NOT_LIVE", Words: err.Error(), Waits: true}
	case err != nil:
		return err
	case j != nil:
		if old, err = j.wait(ctx); err != nil {
			return err
		}
	case !old.over(): // left by an earlier run, and looked at now
		r.runSends(i.Terminal)
		return &Undelivered{Reason: "TERMINAL_BUSY", Words: "what became of it when the server stopped is being looked at", Waits: true}
	}
	if old.arrived() {
		return nil
	}
	return old.why()
}

// why is the error for the rooms. What may have been submitted is never sent again.
func (s *send) why() error {
	if s.Presses > 0 && s.Reason != string(paste.Swallowed) {
		return why(paste.Unconfirmed)
	}
	return why(paste.Reason(s.Reason))
}

// repeatable says that one that failed can be sent again: nothing was submitted.
func (s *send) repeatable() bool {
	var u *Undelivered
	return s.State == string(paste.Failed) && errors.As(s.why(), &u) && !u.Final
}

// waitsFor says what a message has to wait for; nil: it can be sent now.
func (r *Room) waitsFor(i Injection) error {
	a := r.agent(i.Terminal)
	if a == nil {
		return &Undelivered{Reason: "TERMINAL_NOT_LIVE", Words: "the terminal is not live: it gets the message when it is", Waits: true}
	}
	d := a.present()
	if d == nil {
		if i.Raw {
			return nil
		}
		return why(paste.NoAgent)
	}
	switch st := d.Look(a.screen.Snapshot()); {
	case st.Prompt != nil:
		return why(paste.ModalOpen)
	case st.State == driver.Busy && !d.Paste.WhileBusy:
		return why(paste.Working)
	case !st.Input.Shown:
		return why(paste.NotReady)
	case !st.Input.Empty:
		return why(paste.Draft)
	}
	return nil
}
