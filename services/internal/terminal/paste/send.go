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
	t.receipt.How = how
	t.step(Pasting)
	why := t.put(ctx)
	if why == NotSeen && t.receipt.Clean && t.receipt.How != Filed && t.file() {
		why = t.put(ctx) // the input does not show such a text whole: as a file it does
	}
	if why != "" {
		return t.fail(why)
	}
	t.step(Seen)
	if why := t.submit(ctx); why != "" {
		return t.fail(why)
	}
	t.step(Taken)
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
	// An input that is being drawn anew comes back at once.
	st, _ := t.until(ctx, t.Ready, func(st driver.State) bool { return st.Prompt != nil || st.Input.Shown })
	switch {
	case t.dead():
		return Dead
	case ctx.Err() != nil:
		return Interrupted
	case st.Prompt != nil:
		return ModalOpen
	case st.State == driver.Busy && !t.driver.Paste.WhileBusy:
		return Working
	case !st.Input.Shown:
		return NotReady
	case !st.Input.Empty:
		return Draft
	}
	return ""
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

// write hands the text to the program: between the marks of a paste where it asked for them.
func (t *sending) write(ctx context.Context) Reason {
	var b strings.Builder
	snap := t.Screen.Snapshot()
	switch {
	case snap.BracketedPaste:
		b.WriteString("\x1b[200~" + strings.ReplaceAll(t.shown, "\n", "\r") + "\x1b[201~")
	default:
		newline := slices.Concat(driver.Press(t.driver.Paste.Newline, snap.ApplicationCursor)...)
		b.WriteString(strings.ReplaceAll(t.shown, "\n", string(newline)))
	}
	if err := t.hand(ctx, []byte(b.String())); err != nil {
		if t.dead() {
			return Dead
		}
		if ctx.Err() != nil {
			return Interrupted
		}
		return NotSeen
	}
	return ""
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
		return t.before(ctx)
	}
	for press := range p.Tries {
		st := t.driver.Look(t.Screen.Snapshot())
		switch {
		case t.dead(), ctx.Err() != nil && press == 0, st.Prompt != nil && press == 0:
			return t.before(ctx)
		case st.Prompt != nil || !t.whole(st):
			// Something else than the text is there: Enter would answer that. See what becomes of it.
		default:
			if err := t.hand(ctx, []byte("\r")); err != nil {
				return t.before(ctx)
			}
			t.receipt.Presses++
			if press == 0 {
				t.step(Submitted)
			}
		}
		most := time.Duration(p.Retry) * time.Millisecond
		if press == p.Tries-1 {
			most = t.Take
		}
		if _, ok := t.until(ctx, most, t.taken); ok {
			return ""
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

// before is a failure before or between presses of Enter.
func (t *sending) before(ctx context.Context) Reason {
	t.clean()
	if t.dead() {
		return Dead
	}
	return Interrupted
}

// taken says whether the program has the message: its input is empty again. A prompt that opened over the input, with
// the message in what was said above, shows it too.
func (t *sending) taken(st driver.State) bool {
	if t.receipt.Presses == 0 {
		return false
	}
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
	for range snap.Rows + 4 {
		st, ok := t.until(ctx, t.Settle, func(st driver.State) bool { return st.Prompt != nil || st.Input.Shown })
		switch {
		case !ok || t.dead() || st.Prompt != nil || len(keys) == 0:
			return // another key would go to whatever is open
		case st.Input.Empty:
			t.receipt.Clean = true
			return
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
	t.step(Pasting)
	if t.hand(ctx, []byte(t.text+"\r")) != nil {
		t.receipt.Clean = false
		if t.dead() {
			return t.fail(Dead)
		}
		return t.fail(Interrupted)
	}
	t.receipt.Presses = 1
	t.step(Submitted)
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
