// Package paste puts a message into an agent's screen as a transaction: it is pasted, seen whole on the emulated
// screen, submitted, and taken up, or the input is left as it was found and the receipt says why.
//
// The text is written once. Enter alone is pressed again when it was swallowed. Nothing is cut: what the input cannot
// take whole goes into a file, and the message names it. Nothing is written while a prompt is open, and nothing to a
// program that no driver knows, unless the sender asked for raw text.
//
// A caller that keeps each step as it is told knows after a crash what may have happened: what was not yet told to be
// pasting was not written, and for what was not yet told to be submitted Enter was not pressed. [Sender.Recover] cleans
// up after the rest.
package paste

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/screen"
)

// State is how far a message has come.
type State string

// A message goes through these in order, and ends in Taken, in Submitted if it was raw, or in Failed.
const (
	Queued    State = "queued"
	Pasting   State = "pasting"   // the text is about to be written
	Seen      State = "seen"      // it stands in the input, whole
	Submitted State = "submitted" // Enter is about to be pressed; raw: it was
	Taken     State = "taken"
	Failed    State = "failed"
)

// Reason is why a message failed. The list is closed.
type Reason string

const (
	Empty       Reason = "empty"       // there is nothing in it that could be seen
	Controls    Reason = "controls"    // raw text with control characters
	NoAgent     Reason = "no_agent"    // no driver knows what runs there
	ModalOpen   Reason = "modal_open"  // the agent asks something
	Working     Reason = "busy"        // the agent takes no message while it works
	NotReady    Reason = "not_ready"   // no input is shown
	Draft       Reason = "draft"       // something stands in the input already
	Dead        Reason = "dead"        // the program has ended
	NotSeen     Reason = "not_seen"    // the text did not appear whole
	Swallowed   Reason = "swallowed"   // Enter did nothing, again and again
	Interrupted Reason = "interrupted" // a prompt opened, or the sender gave up, before it was submitted
	Unconfirmed Reason = "unconfirmed" // it was submitted, but what became of it cannot be seen
	NoFile      Reason = "no_file"     // it has to go as a file, which could not be written
	Restarted   Reason = "restarted"   // the server stopped before anything was written
)

// How a message went.
const (
	Pasted = "paste"
	Typed  = "typed"
	Filed  = "file"
)

// Step is a state and when it was reached.
type Step struct {
	State State
	At    time.Time
}

// Receipt is what became of a message.
type Receipt struct {
	Length  int    // bytes of the message
	SHA256  string // of the message, in hex: of the file, when it went as one
	How     string // Pasted, Typed or Filed; "" when nothing was written
	File    string // its path, when it went as one
	Head    string // the beginning of what stands in the input; see Left
	Steps   []Step
	Reason  Reason // of a failure
	Presses int    // of Enter
	Clean   bool   // after a failure: nothing of the message is left in the input, as far as can be seen
}

// State is the last one reached.
func (r Receipt) State() State { return r.Steps[len(r.Steps)-1].State }

// Terminal is the program's side. Write hands bytes to it, in order, and fails when they cannot reach it or ctx ends.
type Terminal interface {
	Write(ctx context.Context, p []byte) error
	Done() <-chan struct{} // closed when the program has ended
}

// Screen is what the program shows. *screen.Screen is one.
type Screen interface {
	Snapshot() screen.Snapshot
	Wait(ctx context.Context, seen uint64) error
}

// Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Options are what a Sender needs. Folder may be "": then what cannot be pasted fails.
type Options struct {
	Terminal Terminal // whoever calls sees to it that nobody else types meanwhile
	Screen   Screen
	Clock    Clock
	Folder   string        // where messages go as files; an absolute path that the agent may read
	Ready    time.Duration // how long an input that is not shown is waited for; 0: 1 s
	Appear   time.Duration // how long a text may take to appear; 0: 10 s
	Take     time.Duration // how long it may take to be taken up after the last Enter; 0: 10 s
	Settle   time.Duration // how long a key that clears the input may take to be seen; 0: 2 s
	Still    time.Duration // how long an input must be seen empty: half a picture shows that too; 0: 50 ms
	Half     time.Duration // how long if the end of the input is not shown; 0: 1 s
}

// Message is what to send.
type Message struct {
	Text string
	Raw  bool // the sender asked for it to be typed into whatever runs, and Enter pressed
}

// Sender sends into one terminal, one message at a time.
type Sender struct{ Options }

// New makes a Sender.
func New(o Options) *Sender {
	for at, otherwise := range map[*time.Duration]time.Duration{&o.Ready: time.Second, &o.Appear: 10 * time.Second, &o.Take: 10 * time.Second,
		&o.Settle: 2 * time.Second, &o.Still: 50 * time.Millisecond, &o.Half: time.Second} {
		if *at == 0 {
			*at = otherwise
		}
	}
	return &Sender{o}
}

// Send puts a message into the agent that d describes; d is nil where none is known. It blocks until the message is
// taken up or has failed, which the receipt tells, and calls tell, if it is not nil, with the receipt so far at each
// step, before what the step announces is done. An error of tell before Enter is pressed ends the message, as the end
// of ctx does: the input is cleaned first.
func (s *Sender) Send(ctx context.Context, d *driver.Driver, m Message, tell func(Receipt) error) Receipt {
	sum := sha256.Sum256([]byte(m.Text))
	t := &sending{Sender: s, driver: d, text: m.Text, tell: tell, receipt: Receipt{Length: len(m.Text), SHA256: hex.EncodeToString(sum[:]), Clean: true}}
	if t.step(Queued) != nil {
		return t.fail(Interrupted)
	}
	if m.Raw {
		return t.raw(ctx)
	}
	return t.send(ctx)
}

// sending is one message on its way.
type sending struct {
	*Sender
	driver  *driver.Driver
	text    string // of the message
	shown   string // what goes into the input: the text, or the mention of the file
	open    bool   // the mark that ends a paste may be missing
	tell    func(Receipt) error
	receipt Receipt
}

func (t *sending) step(state State) error {
	t.receipt.Steps = append(t.receipt.Steps, Step{state, t.Clock.Now()})
	if t.tell == nil {
		return nil
	}
	told := t.receipt
	told.Steps = slices.Clone(told.Steps)
	return t.tell(told)
}

// fail is the end of a message that did not arrive. That it cannot be told does not change it.
func (t *sending) fail(why Reason) Receipt {
	t.receipt.Reason = why
	_ = t.step(Failed)
	return t.receipt
}

func (t *sending) dead() bool {
	select {
	case <-t.Terminal.Done():
		return true
	default:
		return false
	}
}

// hand writes to the program, for as long as it lives and no longer than a text may take to appear.
func (t *sending) hand(ctx context.Context, p []byte) error {
	ctx, cancel := t.bound(ctx, t.Appear)
	defer cancel()
	return t.Terminal.Write(ctx, p)
}

// bound is a context that also ends with the program, and after most.
func (t *sending) bound(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	late := t.Clock.After(most)
	go func() {
		select {
		case <-late:
		case <-t.Terminal.Done():
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, cancel
}

// until waits until the screen satisfies a condition, for at most so long. It says whether it does, with the last look.
func (t *sending) until(ctx context.Context, most time.Duration, ok func(driver.State) bool) (driver.State, bool) {
	ctx, cancel := t.bound(ctx, most)
	defer cancel()
	for {
		snap := t.Screen.Snapshot()
		st := t.driver.Look(snap)
		if ok(st) {
			return st, true
		}
		if t.Screen.Wait(ctx, snap.Version) != nil {
			st = t.driver.Look(t.Screen.Snapshot()) // what came at the last moment counts
			return st, ok(st)
		}
	}
}

// stays is until for what half a picture could show, too: it must be so for a while, which may be the last of its time.
func (t *sending) stays(ctx context.Context, most time.Duration, ok func(driver.State) bool) (driver.State, bool) {
	begun, cancel := t.bound(ctx, most)
	defer cancel()
	for {
		st, found := t.until(begun, most, ok)
		if !found {
			return st, false
		}
		still, half := t.Still, st.Prompt == nil && st.Input.Shown && !st.Input.Whole
		if half {
			still = t.Half
		}
		if st, ended := t.until(ctx, still, func(st driver.State) bool { return !ok(st) || half && st.Input.Whole }); !ended {
			return st, true
		}
	}
}

// pause waits; false means that ctx ended or the program did.
func (t *sending) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-t.Clock.After(d):
		return true
	case <-t.Terminal.Done():
	case <-ctx.Done():
	}
	return false
}
