// Command fakeagent plays an agent CLI for the tests: it draws the screens of
// Claude Code, Codex or Gemini, or of a program that nobody knows, reacts to keys
// as they do, and notes each key and each decision.
//
//	fakeagent claude|codex|gemini|tally LOG [trust]
//
// What is submitted to it is obeyed: "run COMMAND" asks for permission, "choose A|B"
// offers a choice, "name" asks for a text, "wait" works until Esc, "quit" ends it;
// all else it only repeats.
// Its log has one JSON object a line; see note.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 || styles[args[0]].name == "" {
		return fmt.Errorf("usage: fakeagent claude|codex|gemini|tally LOG [trust]")
	}
	log, err := os.OpenFile(args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := term.MakeRaw(int(os.Stdin.Fd())); err != nil {
		return err
	}
	a := &agent{style: styles[args[0]], log: json.NewEncoder(log)}
	fmt.Print("\x1b[?2004h") // pastes are to be told from keys
	a.note(note{Event: "started"})
	if len(args) > 2 {
		a.ask("trust", "", a.style.trust, a.style.trusted)
	}
	a.draw()
	return a.serve(keys(os.Stdin))
}

// note is one line of the log.
type note struct {
	Event string `json:"event"`           // started, key, text, submitted, shown, decided or interrupted
	Key   string `json:"key,omitempty"`   // enter, esc, up, …, or the character
	Text  string `json:"text,omitempty"`  // pasted, submitted or given as an answer
	What  string `json:"what,omitempty"`  // of a prompt: permission, choice, text or trust
	About string `json:"about,omitempty"` // the command, or what is asked
	Label string `json:"label,omitempty"` // of the option that was taken
	Index int    `json:"index"`           // its place, from 0; -1: aborted
}

// agent is the program: it waits for a message, works, or asks.
type agent struct {
	style style
	log   *json.Encoder

	said    []string // the conversation
	input   string   // what stands in the box
	working time.Time
	then    func() // what its work leads to
	prompt  *prompt
}

// prompt is what it asks.
type prompt struct {
	what, about string
	options     []string
	at          int // the marked one
}

func (a *agent) note(n note) {
	if err := a.log.Encode(n); err != nil {
		panic(err)
	}
}

// serve takes keys until quit or the end of the terminal.
func (a *agent) serve(in <-chan key) error {
	ticks := time.NewTicker(80 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case k, ok := <-in:
			if !ok {
				return nil
			}
			if a.take(k) {
				return nil
			}
			a.draw()
		case now := <-ticks.C:
			if a.then != nil {
				if now.After(a.working) {
					then := a.then
					a.then = nil
					then()
				}
				a.draw() // while it works something turns
			}
		}
	}
}

// take reacts to a key, and says whether the program ends by it.
func (a *agent) take(k key) (quit bool) {
	if k.text != "" {
		a.note(note{Event: "text", Text: k.text})
	} else {
		a.note(note{Event: "key", Key: k.name})
	}
	switch {
	case a.prompt != nil && a.prompt.what != "text":
		a.decide(k)
	case k.text != "":
		a.input += k.text
	case utf8.RuneCountInString(k.name) == 1:
		a.input += k.name
	case k.name == "space":
		a.input += " "
	case k.name == "backspace" && a.input != "":
		_, n := utf8.DecodeLastRuneInString(a.input)
		a.input = a.input[:len(a.input)-n]
	case k.name == "ctrl-u":
		a.input = ""
	case k.name == "esc" || k.name == "ctrl-c":
		a.interrupt()
	case k.name == "enter" && a.prompt != nil:
		text := a.input
		a.input = ""
		a.end(note{Text: text}, "named "+text)
	case k.name == "enter":
		return a.submit()
	}
	return false
}

// interrupt is Esc or Ctrl-C where nothing is to be chosen.
func (a *agent) interrupt() {
	a.input = ""
	if a.prompt != nil {
		a.end(note{Index: -1}, "no name")
		return
	}
	if a.then != nil {
		a.then = nil
		a.note(note{Event: "interrupted"})
		a.say("interrupted")
	}
}

// submit obeys what stands in the box. While it works it takes nothing.
func (a *agent) submit() (quit bool) {
	text := strings.TrimSpace(a.input)
	if text == "" || a.then != nil {
		return false
	}
	a.input = ""
	a.note(note{Event: "submitted", Text: text})
	a.say("> " + text)
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "quit":
		return true
	case "run":
		a.work(func() { a.ask("permission", rest, a.style.permission, 0) })
	case "choose":
		a.work(func() { a.ask("choice", "Which one shall it be?", strings.Split(rest, "|"), 0) })
	case "name":
		a.work(func() { a.ask("text", "Name of the tally", nil, 0) })
	case "wait": // until it is interrupted
		a.working, a.then = time.Now().Add(time.Hour), func() {}
	default:
		a.work(func() { a.say(a.style.bullet + "You said: " + text) })
	}
	return false
}

func (a *agent) say(text string) { a.said = append(a.said, strings.Split(text, "\n")...) }

// work takes a while, and then something happens.
func (a *agent) work(then func()) { a.working, a.then = time.Now().Add(150*time.Millisecond), then }

func (a *agent) ask(what, about string, options []string, at int) {
	a.prompt = &prompt{what: what, about: about, options: options, at: at}
	a.note(note{Event: "shown", What: what, About: about})
}

// decide is a key while options are shown.
func (a *agent) decide(k key) {
	p := a.prompt
	switch {
	case k.name == "up":
		p.at = (p.at + len(p.options) - 1) % len(p.options)
	case k.name == "down":
		p.at = (p.at + 1) % len(p.options)
	case k.name == "enter" && a.style.marks != [2]string{}:
		a.chosen(p.at)
	case k.name == "esc":
		a.end(note{Index: -1}, "aborted")
	case len(k.name) == 1:
		if i := a.style.shortcut(k.name, p); i >= 0 {
			a.chosen(i)
		}
	}
}

func (a *agent) chosen(i int) {
	label := a.prompt.options[i]
	a.end(note{Index: i, Label: label}, "took: "+label)
}

// end notes a decision and goes on with the work.
func (a *agent) end(n note, said string) {
	n.Event, n.What, n.About = "decided", a.prompt.what, a.prompt.about
	a.prompt = nil
	a.note(n)
	a.say(a.style.bullet + said)
	a.work(func() { a.say(a.style.bullet + "That was all.") })
}
