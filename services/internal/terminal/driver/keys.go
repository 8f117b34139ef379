package driver

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Answer is what a person decided. Type is one of approve, deny, select, text, confirm, retry and abort.
type Answer struct {
	Type  string
	Index int    // select: of the option, from 0
	Text  string // text
	Yes   bool   // confirm
}

var (
	// ErrNotOffered is an answer that the prompt does not take.
	ErrNotOffered = errors.New("the prompt does not offer this answer")
	// ErrUnsure is a prompt whose selected option cannot be seen, so that the way to another is not known.
	ErrUnsure = errors.New("which option is selected cannot be seen")
	// ErrText is a text that cannot be typed as an answer: empty, with line breaks or other controls, or too long.
	ErrText = errors.New("this text cannot be typed as an answer")
)

const maxAnswer = 4096 // bytes of a text

var keys = map[string]string{
	"enter": "\r", "esc": "\x1b", "tab": "\t", "shift-tab": "\x1b[Z", "space": " ", "backspace": "\x7f", "newline": "\n",
	"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D",
}

// known says which key is none.
func known(list []string) error {
	for _, k := range list {
		if _, err := key(k, false); err != nil {
			return err
		}
	}
	return nil
}

// key is what a terminal sends for a key: a name, ctrl-x, or one printed character.
func key(name string, application bool) ([]byte, error) {
	if s, ok := keys[name]; ok {
		if application && len(s) == 3 && s[1] == '[' && s[2] <= 'D' {
			s = "\x1bO" + s[2:]
		}
		return []byte(s), nil
	}
	if c, ok := strings.CutPrefix(name, "ctrl-"); ok && len(c) == 1 && c[0] >= 'a' && c[0] <= 'z' {
		return []byte{c[0] & 0x1f}, nil
	}
	if r, n := utf8.DecodeRuneInString(name); n == len(name) && n > 0 && unicode.IsPrint(r) {
		return []byte(name), nil
	}
	return nil, fmt.Errorf("%q is no key", name)
}

// Press is what keys of a driver's file send, one entry a key, to be written with a pause between them.
func Press(names []string, applicationCursor bool) [][]byte {
	var out [][]byte
	for _, name := range names {
		if b, err := key(name, applicationCursor); err == nil { // they were checked when the file was read
			out = append(out, b)
		}
	}
	return out
}

// Keys is what answers a prompt: one entry a key or a text, to be written in this order with a pause between them.
// The prompt must be the one that is on the screen now. An answer that it does not take is ErrNotOffered; nothing is
// ever answered by the next best.
func (d *Driver) Keys(p *Prompt, a Answer) ([][]byte, error) {
	for i := range d.Prompts {
		if d.Prompts[i].Name == p.Rule {
			return d.Prompts[i].keys(p, a)
		}
	}
	return nil, ErrNotOffered
}

// Answers are the types of answers that a prompt takes, in the order of their declaration in Answer.
func (d *Driver) Answers(p *Prompt) []string {
	var all []string
	for _, a := range []Answer{{Type: deedApprove}, {Type: deedDeny}, {Type: deedSelect}, {Type: deedText, Text: "x"},
		{Type: deedConfirm, Yes: true}, {Type: deedRetry}, {Type: deedAbort}} {
		if _, err := d.Keys(p, a); err == nil || errors.Is(err, ErrUnsure) {
			all = append(all, a.Type)
		}
	}
	return all
}

func (r *Rule) keys(p *Prompt, a Answer) ([][]byte, error) {
	if a.Type == deedSelect {
		if a.Index < 0 || a.Index >= len(p.Options) || r.Choose == "" {
			return nil, ErrNotOffered
		}
		return r.choose(p, a.Index)
	}
	name := a.Type
	if name == deedConfirm {
		if name = deedDeny; a.Yes {
			name = deedApprove
		}
	}
	deed, ok := r.Answers[name]
	if !ok {
		return nil, ErrNotOffered
	}
	if a.Type == deedText && (a.Text == "" || len(a.Text) > maxAnswer || !utf8.ValidString(a.Text) || strings.ContainsFunc(a.Text, unicode.IsControl)) {
		return nil, ErrText
	}
	var out [][]byte
	if deed.Option.Set() {
		at := -1
		for i, o := range p.Options {
			if at < 0 && deed.Option.Match(o.Label) {
				at = i
			}
		}
		if at < 0 {
			return nil, ErrNotOffered
		}
		way, err := r.choose(p, at)
		if err != nil {
			return nil, err
		}
		out = way
	}
	out = append(out, Press(deed.Keys, p.ApplicationCursor)...)
	if deed.Text {
		out = append(out, []byte(a.Text))
	}
	return append(out, Press(deed.Then, p.ApplicationCursor)...), nil
}

// choose is the way from the selected option to another.
func (r *Rule) choose(p *Prompt, to int) ([][]byte, error) {
	o := p.Options[to]
	selected := -1
	for i := range p.Options {
		if p.Options[i].Selected {
			selected = i
		}
	}
	var way []string
	switch r.Choose {
	case chooseNumber:
		if o.Number == 0 || o.Number > 9 {
			return nil, ErrNotOffered
		}
		way = []string{fmt.Sprint(o.Number)}
	case chooseKey:
		if o.Key == "" {
			return nil, ErrNotOffered
		}
		way = []string{o.Key}
	default:
		if selected < 0 {
			return nil, ErrUnsure
		}
		step, back := "down", "up"
		if r.Choose == chooseRight {
			step, back = "right", "left"
		}
		for range to - selected {
			way = append(way, step)
		}
		for range selected - to {
			way = append(way, back)
		}
		way = append(way, "enter")
	}
	return Press(way, p.ApplicationCursor), nil
}
