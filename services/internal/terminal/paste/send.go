package paste

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/screen"
)

// send is the transaction.
func (t *sending) send(ctx context.Context) Receipt {
	if why := t.refuse(ctx); why != "" {
		return t.fail(why)
	}
	how, ok := t.plan(t.Screen.Snapshot())
	if !ok {
		return t.fail(NoFile)
	}
	t.receipt.How, t.receipt.Head = how, head(t.shown)
	if t.step(Pasting) != nil {
		return t.fail(Interrupted)
	}
	why := t.put(ctx)
	if why == NotSeen && t.receipt.Clean && t.receipt.How != Filed && t.file() {
		// The input does not show such a text whole: as a file it does.
		t.receipt.Head = head(t.shown)
		if t.step(Pasting) != nil {
			return t.fail(Interrupted)
		}
		why = t.put(ctx)
	}
	if why != "" {
		return t.fail(why)
	}
	if t.step(Seen) != nil {
		t.clean()
		return t.fail(Interrupted)
	}
	if why := t.submit(ctx); why != "" {
		return t.fail(why)
	}
	_ = t.step(Taken) // so it is, told or not
	return t.receipt
}

// refuse says why nothing may be written now, "" if it may.
func (t *sending) refuse(ctx context.Context) Reason {
	switch {
	case t.dead():
		return Dead
	case t.driver == nil:
		return NoAgent
	case squash(t.text) == "":
		return Empty
	}
	// An input that is being drawn anew comes back at once, with what is in it.
	st, _ := t.stays(ctx, t.Ready, func(st driver.State) bool {
		return st.Prompt != nil || t.works(st) || st.Input.Shown && st.Input.Empty
	})
	switch {
	case t.dead():
		return Dead
	case ctx.Err() != nil:
		return Interrupted
	case st.Prompt != nil:
		return ModalOpen
	case t.works(st):
		return Working
	case !st.Input.Shown:
		return NotReady
	case !st.Input.Empty:
		return Draft
	}
	return ""
}

// works says that the agent is at work and takes nothing meanwhile.
func (t *sending) works(st driver.State) bool {
	return st.State == driver.Busy && !t.driver.Paste.WhileBusy
}

// plan decides how the message goes.
func (t *sending) plan(snap screen.Snapshot) (string, bool) {
	p := t.driver.Paste
	lines := strings.Split(t.text, "\n")
	rows := 0
	for _, l := range lines {
		rows += 1 + utf8.RuneCountInString(l)/max(snap.Cols-8, 1)
	}
	typed := !snap.BracketedPaste
	switch {
	case !utf8.ValidString(t.text), strings.ContainsFunc(t.text, hidden), len(t.text) > p.Max, p.Guard.Match(t.text),
		typed && (len(lines) > 1 && len(p.Newline) == 0 || strings.Contains(t.text, "\t")),
		(typed || len(p.Placeholder) == 0) && rows > p.MaxRows:
		return Filed, t.file()
	case typed:
		t.shown = t.text
		return Typed, true
	}
	t.shown = t.text
	return Pasted, true
}

// hidden is a character that an input would not take as text.
func hidden(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// file writes the message and makes what goes into the input the mention of it.
func (t *sending) file() bool {
	name, err := t.save()
	if err != nil {
		return false
	}
	t.receipt.How, t.receipt.File = Filed, name
	t.shown = "A message for you is in the file " + strings.ReplaceAll(t.driver.Paste.FileMention, "{path}", name) + " , please read it whole and act on it."
	return true
}

// put writes the text and waits until it is seen whole. If it is not, the input is cleaned.
func (t *sending) put(ctx context.Context) Reason {
	if why := t.write(ctx); why != "" {
		t.clean()
		return why
	}
	st, ok := t.until(ctx, t.Appear, func(st driver.State) bool { return st.Prompt != nil || t.whole(st) })
	if ok && st.Prompt == nil {
		return ""
	}
	why := NotSeen
	switch {
	case t.dead():
		why = Dead
	case st.Prompt != nil, ctx.Err() != nil:
		why = Interrupted
	}
	t.clean()
	return why
}

// The marks around a paste.
const (
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// write hands the text to the program: between the marks of a paste where it asked for them. Else it is typed, and no
// key for a line break is pressed before the first line is seen in the input: in a shell that would execute it.
func (t *sending) write(ctx context.Context) Reason {
	snap := t.Screen.Snapshot()
	if snap.BracketedPaste {
		return t.insert(ctx, pasteBegin+strings.ReplaceAll(t.shown, "\n", "\r")+pasteEnd, true)
	}
	first, rest, more := strings.Cut(t.shown, "\n")
	for more && squash(first) == "" { // which could not be seen
		var next string
		next, rest, more = strings.Cut(rest, "\n")
		first += "\n" + next
	}
	newline := string(slices.Concat(driver.Press(t.driver.Paste.Newline, snap.ApplicationCursor)...))
	if why := t.insert(ctx, strings.ReplaceAll(first, "\n", newline), false); why != "" || !more {
		return why
	}
	_, seen := t.until(ctx, t.Appear, func(st driver.State) bool { return st.Prompt == nil && squash(st.Input.Text) == squash(first) })
	switch {
	case t.dead():
		return Dead
	case ctx.Err() != nil:
		return Interrupted
	case !seen:
		return NotSeen
	}
	return t.insert(ctx, newline+strings.ReplaceAll(rest, "\n", newline), false)
}

// insert writes a part of the text; marked: between the marks of a paste.
func (t *sending) insert(ctx context.Context, text string, marked bool) Reason {
	if t.hand(ctx, []byte(text)) == nil {
		return ""
	}
	t.open = marked
	t.pause(ctx, t.Settle) // what takes nothing has ended, mostly, which is heard of in a moment
	switch {
	case t.dead():
		return Dead
	case ctx.Err() != nil:
		return Interrupted
	}
	return NotSeen
}

// whole says whether the input shows all of the text, or the placeholder that stands for it.
func (t *sending) whole(st driver.State) bool {
	if !st.Input.Shown || st.Input.Empty {
		return false
	}
	if squash(st.Input.Text) == squash(t.shown) {
		return true
	}
	for _, p := range t.driver.Paste.Placeholder {
		if m, all := p.Whole(strings.Join(strings.Fields(st.Input.Text), " ")); all && t.counted(m) {
			return true
		}
	}
	return false
}

// counted checks the numbers in a placeholder. Programs count line breaks or lines.
func (t *sending) counted(m map[string]string) bool {
	breaks := strings.Count(t.shown, "\n")
	if n, err := strconv.Atoi(m["lines"]); err == nil && n != breaks && n != breaks+1 {
		return false
	}
	n, err := strconv.Atoi(m["chars"])
	return err != nil || n == utf8.RuneCountInString(t.shown) || n == len(t.shown)
}

// submit presses Enter once the program takes it as such, and again while it is swallowed, until the text is taken up.
func (t *sending) submit(ctx context.Context) Reason {
	p := t.driver.Paste
	if !t.pause(ctx, time.Duration(p.Burst)*time.Millisecond) {
		return t.giveUp()
	}
	st, whole := t.until(ctx, t.Settle, func(st driver.State) bool { return st.Prompt != nil || t.whole(st) })
	switch {
	case !whole && !t.dead() && ctx.Err() == nil:
		t.clean()
		return NotSeen
	case !whole, st.Prompt != nil, t.step(Submitted) != nil:
		return t.giveUp()
	}
	for press := range p.Tries {
		// If something else than the text is there by now, Enter would answer that.
		if st := t.driver.Look(t.Screen.Snapshot()); press == 0 || st.Prompt == nil && t.whole(st) {
			t.receipt.Presses++
			_ = t.hand(context.WithoutCancel(ctx), []byte("\r")) // what came of it is seen
		}
		most := time.Duration(p.Retry) * time.Millisecond
		if press == p.Tries-1 {
			most = t.Take
		}
		if _, ok := t.stays(context.WithoutCancel(ctx), most, t.taken); ok {
			return ""
		}
		if t.dead() {
			break
		}
	}
	switch st := t.driver.Look(t.Screen.Snapshot()); {
	case t.dead():
		t.receipt.Clean = false
		return Dead
	case st.Prompt == nil && t.whole(st):
		t.clean()
		return Swallowed
	}
	t.receipt.Clean = false
	return Unconfirmed
}

// giveUp ends a message before Enter was pressed.
func (t *sending) giveUp() Reason {
	t.clean()
	if t.dead() {
		return Dead
	}
	return Interrupted
}

// taken says whether the program has the message: its input is empty again. A prompt that opened over the input, with
// the message in what was said above, shows it too.
func (t *sending) taken(st driver.State) bool {
	if st.Prompt == nil {
		return st.Input.Shown && st.Input.Empty
	}
	start := []rune(squash(t.shown))
	start = start[:min(len(start), 40)]
	return len(start) >= 8 && strings.Contains(squash(t.Screen.Snapshot().Text()), string(start)) && !strings.Contains(squash(st.Prompt.Text), string(start))
}

// clean takes what is left of the text out of the input, and says in the receipt whether that could be seen. It does
// not end with the sender's context: the line is not the sender's.
func (t *sending) clean() {
	ctx := context.Background()
	t.receipt.Clean = false
	snap := t.Screen.Snapshot()
	keys := driver.Press(t.driver.Paste.Clear, snap.ApplicationCursor)
	if st := t.driver.Look(snap); st.Prompt == nil {
		if t.open {
			_ = t.hand(ctx, []byte(pasteEnd)) // else the keys would be text
		}
		if empty(st) {
			_ = t.hand(ctx, []byte(lineKill)) // it may stand where the driver does not look, as in a shell
		}
	}
	for range snap.Rows + 4 {
		st, ok := t.until(ctx, t.Settle, func(st driver.State) bool { return st.Prompt != nil || st.Input.Shown })
		if ok && empty(st) && !t.dead() {
			if _, ok = t.stays(ctx, t.Still, empty); ok {
				t.receipt.Clean = true
				return
			}
			st, ok = t.until(ctx, t.Settle, func(st driver.State) bool { return st.Prompt != nil || st.Input.Shown })
		}
		if !ok || t.dead() || st.Prompt != nil || len(keys) == 0 {
			return // another key would go to whatever is open
		}
		for _, k := range keys {
			if t.hand(ctx, k) != nil {
				return
			}
		}
		before := st.Input
		t.until(ctx, t.Settle, func(st driver.State) bool { return st.Prompt != nil || st.Input != before })
	}
}

// lineKill is ctrl-u, which takes back a line nearly everywhere, and does nothing to an empty one.
const lineKill = "\x15"

func empty(st driver.State) bool { return st.Prompt == nil && st.Input.Shown && st.Input.Empty }

// rawPause is between a raw text and its Enter: programs that draw take an Enter sooner than this for a part of the text.
const rawPause = 150 * time.Millisecond

// raw types a text into whatever runs. Whether it was taken up cannot be known.
func (t *sending) raw(ctx context.Context) Receipt {
	switch {
	case t.dead():
		return t.fail(Dead)
	case t.text == "":
		return t.fail(Empty)
	case !utf8.ValidString(t.text) || strings.ContainsFunc(t.text, func(r rune) bool { return hidden(r) || r == '\n' }):
		return t.fail(Controls)
	}
	t.receipt.How = Typed
	if t.step(Pasting) != nil || ctx.Err() != nil {
		return t.fail(Interrupted)
	}
	// From here on it is carried through: half a line must not stay.
	ctx = context.WithoutCancel(ctx)
	if t.hand(ctx, []byte(t.text)) != nil || !t.pause(ctx, rawPause) || t.hand(ctx, []byte("\r")) != nil {
		t.receipt.Clean = false
		if t.dead() {
			return t.fail(Dead)
		}
		return t.fail(Unconfirmed)
	}
	t.receipt.Presses = 1
	_ = t.step(Submitted) // so it is, told or not
	return t.receipt
}

// squash is a text without white space: rows of an input are wrapped and indented.
func squash(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}
