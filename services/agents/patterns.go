package agents

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/screen"
)

// patterns find questions of programs that no driver knows.
type patterns struct {
	list     []*regexp.Regexp
	window   int // rows with text, from the bottom
	interval time.Duration
}

// look is what the screen says of a program that no driver knows. Without patterns
// that is nothing.
func (p *patterns) look(snap screen.Snapshot) driver.State {
	st := driver.State{State: driver.Unknown, ContextUsed: -1, ContextRemaining: -1}
	if p == nil {
		return st
	}
	rows, at := p.find(snap)
	if at < 0 {
		return st
	}
	sum := sha256.Sum256([]byte("pattern\x00" + oneLine(rows[at])))
	st.State, st.Label = driver.Idle, "Response needed"
	st.Prompt = &driver.Prompt{Class: driver.FreeText, Question: plain(strings.TrimSpace(rows[at])), Text: plain(strings.Join(rows, "\n")),
		Digest: hex.EncodeToString(sum[:12]), ApplicationCursor: snap.ApplicationCursor}
	return st
}

// patternEye remembers which question of a program that no driver knows was seen.
type patternEye struct {
	digest string
	raised time.Time
}

// resume takes up a question that was on the screen before.
func (e *patternEye) resume(digest string) { e.digest = digest }

// track gives each asking a fingerprint of its own. count is the generation of the
// terminal's newest prompt, and rises with each new one. One that comes too soon is
// not seen yet.
func (e *patternEye) track(p *patterns, st *driver.State, count *uint64, now time.Time) {
	if st.Prompt == nil || p == nil {
		e.digest = ""
		return
	}
	if digest := st.Prompt.Digest; digest != e.digest {
		if now.Sub(e.raised) < p.interval {
			st.Prompt = nil
			return
		}
		*count++
		e.digest, e.raised = digest, now
	}
	st.Prompt.Fingerprint = fmt.Sprintf("%s-%d", e.digest, *count)
}

// find returns the rows of the window, and the one that a pattern fits; -1: none does.
// The cursor stands in it or right below: where it is further down, the program went on.
func (p *patterns) find(snap screen.Snapshot) (rows []string, at int) {
	at = -1
	for i := len(snap.Lines) - 1; i >= 0 && len(rows) < p.window; i-- {
		text := snap.Lines[i].Text()
		if strings.TrimSpace(text) == "" {
			continue
		}
		rows = append(rows, text)
		if at < 0 && i >= snap.Cursor.Row-1 && slices.ContainsFunc(p.list, func(re *regexp.Regexp) bool { return re.MatchString(text) }) {
			at = len(rows) - 1
		}
	}
	slices.Reverse(rows)
	if at >= 0 {
		at = len(rows) - 1 - at
	}
	return rows, at
}
