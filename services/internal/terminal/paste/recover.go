package paste

import (
	"context"
	"strings"
	"unicode/utf8"

	"anthill/services/internal/terminal/driver"
)

const headMax = 2 << 10 // bytes of Head: about what a screen shows

// head is the beginning of a text, of whole characters.
func head(text string) string {
	if len(text) <= headMax {
		return text
	}
	n := headMax
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// Left is what a stop of the server left of a message.
type Left struct {
	State State  // the last one that was told: Pasting, Seen or Submitted
	Head  string // of the receipt
}

// Recover looks what became of a message that was under way when the server stopped. taken: it was submitted and taken
// up. clean: nothing of it is left in the input, as far as can be seen; what is left of it is taken out, unless
// something else stands there. Nothing is submitted.
func (s *Sender) Recover(ctx context.Context, d *driver.Driver, l Left) (taken, clean bool) {
	if d == nil {
		return false, false
	}
	t := &sending{Sender: s, driver: d, shown: l.Head}
	if l.State == Submitted {
		if _, ok := t.stays(ctx, t.Take, t.taken); ok {
			return true, true
		}
	}
	t.open = l.State == Pasting && t.Screen.Snapshot().BracketedPaste
	st, part := t.until(ctx, t.Settle, func(st driver.State) bool { return st.Prompt != nil || t.part(st) })
	if part && st.Prompt == nil || t.open && empty(st) {
		t.clean()
		return false, t.receipt.Clean
	}
	return false, empty(st)
}

// part says whether the input shows some of the message and nothing else.
func (t *sending) part(st driver.State) bool {
	if !st.Input.Shown || st.Input.Empty {
		return false
	}
	stands, head := squash(st.Input.Text), squash(t.shown)
	if strings.HasPrefix(head, stands) || len(t.shown) > headMax-utf8.UTFMax && strings.HasPrefix(stands, head) {
		return true
	}
	for _, p := range t.driver.Paste.Placeholder {
		if _, all := p.Whole(strings.Join(strings.Fields(st.Input.Text), " ")); all {
			return true
		}
	}
	return false
}
