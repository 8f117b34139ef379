package driver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"anthill/services/internal/terminal/screen"
)

// States, as clients know them. Idle is an agent that waits for a person's decision; see Label and Prompt.
const (
	Ready   = "ready"
	Busy    = "busy"
	Idle    = "idle"
	Failed  = "error"
	Unknown = "unknown"
)

const (
	maxValue = 200      // bytes of a value of the status
	maxLabel = 500      // bytes of an option, a title or a question
	maxBody  = 16 << 10 // bytes of a prompt's text
)

// State is what an agent is doing, as its screen says. Strings are "" and percentages are -1 where it does not say.
type State struct {
	State            string // Ready, Busy, Idle, Failed or Unknown
	Label            string // Available, Working, Menu, Permission, Response needed or ""
	Activity         string
	Model            string
	ContextUsed      int // percent
	ContextRemaining int // percent
	PermissionMode   string
	Workspace        string
	Branch           string
	Prompt           *Prompt // what it waits for; nil for nothing
	Input            Box
}

// Box is the input: whether it is shown, and the text in it.
type Box struct {
	Shown bool
	Whole bool   // the row that ends it is there, too; a picture that is being drawn may lack it
	Empty bool   // nothing but a placeholder is in it
	Text  string // with line feeds where its rows end, which need not be where the text's lines end
	Rows  int
}

// Prompt is a question that the agent waits with. Texts have no control characters, and characters that would hide or
// turn text are written out.
type Prompt struct {
	Driver, Rule      string // the driver, and which of its prompts this is
	Class, Subclass   string
	Title, Question   string
	Text              string // all of it, row by row
	Command           string // that would be run
	File              string // that would be changed or read
	Tool              string // that would be used
	Options           []Option
	Digest            string // of what is asked: the same for the same question asked again
	Fingerprint       string // of this asking of it; set by a Tracker
	ApplicationCursor bool   // how the terminal takes arrow keys now
}

// Option is one choice.
type Option struct {
	Index    int // from 0
	Number   int // as shown; 0 without
	Key      string
	Label    string
	Detail   string
	Selected bool
}

// Look says what the agent is doing. It is a pure function of the screen.
func (d *Driver) Look(snap screen.Snapshot) State {
	v := d.view(snap)
	st := State{
		State: Unknown, Model: v.value(d.Status.Model), PermissionMode: v.value(d.Status.PermissionMode),
		Workspace: v.value(d.Status.Workspace), Branch: v.value(d.Status.Branch), Activity: v.value(d.Status.Activity),
		ContextUsed: percent(v.value(d.Status.ContextUsed)), ContextRemaining: percent(v.value(d.Status.ContextRemaining)),
	}
	if st.ContextUsed < 0 && st.ContextRemaining >= 0 {
		st.ContextUsed = 100 - st.ContextRemaining
	} else if st.ContextRemaining < 0 && st.ContextUsed >= 0 {
		st.ContextRemaining = 100 - st.ContextUsed
	}
	st.Input = d.box(v)
	for i := range d.Prompts {
		if p := d.prompt(v, &d.Prompts[i]); p != nil {
			p.ApplicationCursor = snap.ApplicationCursor
			st.Prompt, st.State, st.Label = p, Idle, label(p)
			return st
		}
	}
	switch {
	case v.any(d.Busy):
		st.State, st.Label = Busy, "Working"
	case v.any(d.Errors):
		st.State = Failed
	case st.Input.Shown:
		st.State, st.Label = Ready, "Available"
	}
	return st
}

func label(p *Prompt) string {
	switch {
	case p.Class == Permission || p.Class == ToolAuth || p.Subclass == SubclassTrust:
		return "Permission"
	case p.Class == MultiChoice:
		return "Menu"
	}
	return "Response needed"
}

// percent reads a whole number from 0 to 100, -1 for none.
func percent(s string) int {
	whole, _, _ := strings.Cut(s, ".")
	n, err := strconv.Atoi(whole)
	if err != nil || n < 0 || n > 100 {
		return -1
	}
	return n
}

// box finds the input: the lowest one, since those above are in what was said.
func (d *Driver) box(v view) Box {
	left := d.Input.Within
	for i := len(v.lines) - 1; i >= 0; i-- {
		l := v.lines[i]
		if !l.gap() {
			if left--; d.Input.Within > 0 && left < 0 {
				break
			}
		}
		if _, ok := l.match(d.Input.Row); !ok || d.Input.Above.Set() && (i == 0 || !d.Input.Above.Match(v.lines[i-1].raw)) {
			continue
		}
		end := i + 1
		for end < len(v.lines) && !d.ends(v.lines[end]) {
			end++
		}
		if d.Input.Cursor && (v.cursor.Row < i || v.cursor.Row >= end) {
			continue
		}
		box := d.content(v.lines[i:end])
		box.Whole = end < len(v.lines) || len(d.Input.End) == 0
		return box
	}
	return Box{}
}

func (d *Driver) ends(l line) bool {
	for _, p := range d.Input.End {
		if p.Match(l.raw) || p.Match(l.text) {
			return true
		}
	}
	return false
}

// content reads the text out of the input's rows.
func (d *Driver) content(rows []line) Box {
	text := func(of func(line) string) string {
		first, ok := d.Input.Row.group(of(rows[0]))
		if !ok { // its first row has no text of this kind
			first = ""
		}
		out := []string{strings.TrimSpace(first)}
		for _, l := range rows[1:] {
			out = append(out, strings.TrimSpace(of(l)))
		}
		return strings.TrimSpace(strings.Join(out, "\n"))
	}
	box := Box{Shown: true, Rows: len(rows), Text: text(func(l line) string {
		if d.Input.Row.Match(l.text) || !d.Input.Row.Match(l.raw) {
			return l.text
		}
		return l.raw
	})}
	if d.Input.Dim && text(func(l line) string { return l.bare }) == "" {
		box.Text = ""
	}
	for _, p := range d.Input.Placeholder {
		if p.Match(box.Text) {
			box.Text = ""
		}
	}
	box.Empty = box.Text == ""
	return box
}

// digest is what makes one prompt another. White space, which option is selected and rows outside do not.
func (p *Prompt) digest() string {
	h := sha256.New()
	part := func(s string) { fmt.Fprintf(h, "%s\x00", strings.Join(strings.Fields(s), "")) }
	for _, s := range []string{p.Driver, p.Rule, p.Title, p.Question, p.Command, p.File, p.Tool} {
		part(s)
	}
	for _, o := range p.Options {
		part(o.Label)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// Tracker looks at one terminal again and again and gives each asking of a prompt a fingerprint of its own. It is for
// one goroutine.
type Tracker struct {
	driver     *Driver
	generation uint64
	digest     string // of the prompt that is on the screen, "" for none
}

// NewTracker follows a terminal whose last known generation is given: 0, or what Generation said before a restart.
func NewTracker(d *Driver, generation uint64) *Tracker {
	return &Tracker{driver: d, generation: generation}
}

// Resume takes up the prompt that was open when Generation was read, so that it keeps its fingerprint.
func (t *Tracker) Resume(digest string) { t.digest = digest }

// Generation counts the prompts seen; it rises with each.
func (t *Tracker) Generation() uint64 { return t.generation }

// Look is Driver.Look with the fingerprint. It stays while the same prompt is on the screen. A screen that is being
// redrawn, on which neither prompt nor input nor work is seen, does not end a prompt.
func (t *Tracker) Look(snap screen.Snapshot) State { return t.Track(t.driver.Look(snap)) }

// Track is Look for what Driver.Look said of the screen. Whoever may see a screen that is half drawn leaves that out.
func (t *Tracker) Track(st State) State {
	switch {
	case st.Prompt != nil:
		if st.Prompt.Digest != t.digest {
			t.generation++
			t.digest = st.Prompt.Digest
		}
		st.Prompt.Fingerprint = fmt.Sprintf("%s-%d", t.digest, t.generation)
	case st.State != Unknown:
		t.digest = ""
	}
	return st
}
