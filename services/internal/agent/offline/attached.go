package offline

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/files"
)

// attached is a file that came with a message: its text is in the message, and
// the file itself in the project.
type attached struct {
	name, path string
	note       string // what there is to say of the text; empty if it is all there
	text       string
}

// attachments are where the project keeps files that came with messages. What
// is said to be elsewhere was written by hand.
const attachments = ".anton/uploads/"

var attachedHead = regexp.MustCompile(`^<file name=("(?:[^"\\\n]|\\.)*") path=("(?:[^"\\\n]|\\.)*")(?: note=("(?:[^"\\\n]|\\.)*"))?>\n`)

// readAttached takes apart what the conversation makes of an attachment.
func readAttached(part string) (a attached, ok bool) {
	m := attachedHead.FindStringSubmatch(part)
	body, closed := strings.CutSuffix(part, "\n</file>")
	if m == nil || !closed || len(body) < len(m[0])-1 {
		return attached{}, false
	}
	for i, field := range []*string{&a.name, &a.path, &a.note} {
		if m[i+1] == "" {
			continue
		}
		text, err := strconv.Unquote(m[i+1])
		if err != nil {
			return attached{}, false
		}
		*field = text
	}
	if len(body) > len(m[0]) {
		a.text = body[len(m[0]):]
	}
	return a, strings.HasPrefix(a.path, attachments) && !slices.Contains(strings.Split(a.path, "/"), "..")
}

// document is what is known of an attachment from the message alone.
func (a attached) document() document {
	return document{name: a.name, text: a.text, whole: a.note == ""}
}

// attachedTo are the files that came with a message.
func attachedTo(m agent.Message) (list []attached) {
	for _, p := range m.Parts {
		if a, ok := readAttached(p.Text); ok {
			list = append(list, a)
		}
	}
	return list
}

// pick finds the attachments that a message means, and the names that are left
// to look for in the project. What was attached to an earlier message is meant
// by its name, or when something is to be done and nothing else is there to do
// it to.
func (t *talk) pick(w wish) (list []attached, names []string) {
	for _, name := range w.names {
		if a, ok := named(name, t.attached); ok {
			list = append(list, a)
		} else if a, ok := named(name, t.attachedBefore()); ok {
			list = append(list, a)
		} else {
			names = append(names, name)
		}
	}
	if !slices.ContainsFunc(list, func(a attached) bool { return slices.Contains(t.attached, a) }) {
		list = append(slices.Clone(t.attached), list...)
	}
	if len(w.names) == 0 && len(list) == 0 && w.back {
		for _, m := range slices.Backward(t.earlier) {
			if list = attachedTo(m); len(list) > 0 {
				break
			}
		}
	}
	var once []attached
	for _, a := range list {
		if !slices.ContainsFunc(once, func(o attached) bool { return o.path == a.path }) {
			once = append(once, a)
		}
	}
	return once[:min(len(once), maxNames)], names
}

// attachedBefore are the files that came with earlier messages, the newest first.
func (t *talk) attachedBefore() (list []attached) {
	for _, m := range slices.Backward(t.earlier) {
		list = append(list, attachedTo(m)...)
	}
	return list
}

func named(name string, list []attached) (attached, bool) {
	for _, a := range list {
		if name == a.path || !strings.Contains(name, "/") && files.Same(name, a.name) {
			return a, true
		}
	}
	return attached{}, false
}
