// Package driver knows agent CLIs by their screens: which one runs, what it is doing, what it asks, and which keys
// answer it.
//
// Each CLI is one YAML file, embedded or in the user's folder; docs/drivers.md describes it. Nothing here types, and
// nothing here remembers, except a Tracker, which tells one prompt from the next with the same words.
package driver

import (
	"path"
	"slices"
	"strings"

	"anthill/services/internal/terminal/screen"
)

// Driver is one CLI, as its file says. It never changes once loaded.
type Driver struct {
	Name      string      `yaml:"name"`      // of the file too: claude-code
	Label     string      `yaml:"label"`     // for people: Claude Code
	Describes string      `yaml:"describes"` // the version whose screens these are
	Aliases   []string    `yaml:"aliases"`
	Commands  []string    `yaml:"commands"`  // base names of the program
	Titles    []Pattern   `yaml:"titles"`    // of the window
	Recognise [][]Pattern `yaml:"recognise"` // screens: all patterns of one of these
	Frame     string      `yaml:"frame"`     // characters that frame rows, taken off both ends
	Input     Input       `yaml:"input"`
	Chrome    []Pattern   `yaml:"chrome"` // rows that may stand below a prompt
	Busy      []Line      `yaml:"busy"`
	Errors    []Line      `yaml:"errors"`
	Status    Status      `yaml:"status"`
	Prompts   []Rule      `yaml:"prompts"`
	Paste     Paste       `yaml:"paste"`
}

// Line is a row that tells something by being there.
type Line struct {
	Row    Pattern `yaml:"row"`
	Within int     `yaml:"within"` // among this many rows with text, from the bottom; 0: anywhere
	Is     string  `yaml:"is"`     // what it tells; otherwise the first group of Row
}

// Status says where values stand; the first line that is found counts.
type Status struct {
	Model            []Line `yaml:"model"`
	ContextUsed      []Line `yaml:"context_used"`      // percent
	ContextRemaining []Line `yaml:"context_remaining"` // percent
	PermissionMode   []Line `yaml:"permission_mode"`
	Activity         []Line `yaml:"activity"`
	Workspace        []Line `yaml:"workspace"`
	Branch           []Line `yaml:"branch"`
}

// Input is the box or line that takes a person's text.
type Input struct {
	Row         Pattern   `yaml:"row"`         // its first row; the first group is the text
	Above       Pattern   `yaml:"above"`       // the row above it, if set
	End         []Pattern `yaml:"end"`         // the first row below its text
	Within      int       `yaml:"within"`      // among this many rows with text, from the bottom; 0: anywhere
	Placeholder []Pattern `yaml:"placeholder"` // texts that are shown while it is empty
	Dim         bool      `yaml:"dim"`         // dim text in it is a placeholder
	Cursor      bool      `yaml:"cursor"`      // the cursor stands in it: for programs that work line by line
}

// Rule is one kind of prompt.
type Rule struct {
	Name     string          `yaml:"name"`
	Class    string          `yaml:"class"`
	Subclass string          `yaml:"subclass"`
	Head     Pattern         `yaml:"head"`     // the row where it begins
	Title    Pattern         `yaml:"title"`    // a row of it; the first group
	Question Pattern         `yaml:"question"` // a paragraph of it, above the options
	Foot     Pattern         `yaml:"foot"`     // a paragraph below the options
	Require  []Pattern       `yaml:"require"`  // rows that must be in it
	Reject   []Pattern       `yaml:"reject"`   // rows that must not
	Options  Options         `yaml:"options"`
	Command  []Field         `yaml:"command"`
	File     []Field         `yaml:"file"`
	Tool     []Field         `yaml:"tool"`
	Choose   string          `yaml:"choose"` // how an option is taken: down, right, number, key
	Answers  map[string]Deed `yaml:"answers"`
}

// Options says what a prompt's choices look like.
type Options struct {
	Kind   string   `yaml:"kind"`   // numbered, listed, chips, line, none
	Row    Pattern  `yaml:"row"`    // groups mark, index, key and label
	Labels []string `yaml:"labels"` // of chips, in order; of a line, with Keys
	Keys   []string `yaml:"keys"`
	Free   bool     `yaml:"unmarked"` // none of them need be marked as selected
}

// Field is where a value of a prompt stands: the first group of a row, or the paragraph after a row.
type Field struct {
	Row   Pattern `yaml:"row"`
	After Pattern `yaml:"after"`
}

// Deed is how an answer is given: an option by its label, or keys; then the text, then more keys.
type Deed struct {
	Option Pattern  `yaml:"option"`
	Keys   []string `yaml:"keys"`
	Text   bool     `yaml:"text"`
	Then   []string `yaml:"then"`
}

// Paste is how a message is put into the input. Times are in milliseconds.
type Paste struct {
	Burst       int       `yaml:"burst"`        // an Enter sooner than this after text counts as text
	Retry       int       `yaml:"retry"`        // an Enter that did nothing is pressed again after this
	Tries       int       `yaml:"tries"`        // how often Enter is pressed at most
	Max         int       `yaml:"max"`          // bytes that it takes in one paste; longer messages go as a file
	MaxRows     int       `yaml:"max_rows"`     // rows of text that its box shows whole, when it has no placeholder
	Placeholder []Pattern `yaml:"placeholder"`  // stands for a long paste; groups lines and chars are checked
	Newline     []string  `yaml:"newline"`      // keys for a line break where paste is not bracketed
	Clear       []string  `yaml:"clear"`        // keys that empty the input
	Guard       Pattern   `yaml:"guard"`        // a message that would not be taken as text, as one that runs a command: goes as a file
	WhileBusy   bool      `yaml:"while_busy"`   // it takes a message while it works
	FileMention string    `yaml:"file_mention"` // how a message names a file: "@{path}"
}

// Hint is what is known of a terminal besides its screen.
type Hint struct {
	Name    string // a driver's name or alias that somebody chose; it decides
	Command string // the program in the foreground, with or without its path and arguments
}

// Detect is the driver for what runs in a terminal, nil when none is known. A chosen name decides, even when nothing
// fits it; then the command, the title of the window, and the screen.
func (s *Set) Detect(snap screen.Snapshot, hint Hint) *Driver {
	if hint.Name != "" {
		return s.Get(hint.Name)
	}
	if d := s.ByCommand(hint.Command); d != nil {
		return d
	}
	for _, d := range s.drivers {
		for _, p := range d.Titles {
			if snap.Title != "" && p.Match(snap.Title) {
				return d
			}
		}
	}
	for _, d := range s.drivers {
		v := d.view(snap)
		for _, all := range d.Recognise {
			if v.hasAll(all) {
				return d
			}
		}
	}
	return nil
}

// ByCommand is the driver of a program, given with or without its path and arguments; nil when it is not known.
func (s *Set) ByCommand(command string) *Driver {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil
	}
	name := path.Base(words[0])
	for _, d := range s.drivers {
		if slices.Contains(d.Commands, name) {
			return d
		}
	}
	return nil
}
