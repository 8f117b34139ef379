package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal"
	"anthill/services/internal/terminal/driver"
)

const (
	keyPause    = 50 * time.Millisecond // between two keys
	turnLimit   = 20 * time.Second      // for the turn to type
	redrawLimit = 2 * time.Second       // for a screen on which nothing of the agent is seen
	leaveLimit  = 10 * time.Second      // for a prompt to leave after its keys
	unseenLimit = time.Second           // for it to come back to a screen on which nothing of the agent is seen
	againLimit  = time.Second / 2       // for which the same words stand that are another question
)

// Where answers come from.
const (
	sourceAttention = "attention"
	sourceMessage   = "agent_response"
	sourceBridge    = "prompt_bridge"
	sourceExpiry    = "expiry"
)

// answerer is who answers, and how.
type answerer struct {
	by, source, message, justification string
	once                               string // what a repetition has, too; empty: nothing is one
	// choose reads the answer, for the prompt as it is stored.
	choose func(*prompt) (decision, error)
	status string // that the prompt gets; empty: answered
}

var (
	errTurn    = fault.New(fault.Unavailable, "TERMINAL_BUSY", "something else is being typed into the terminal: nothing was answered, try again").RetryAfter(time.Second)
	errClosing = fault.New(fault.Unavailable, "SHUTTING_DOWN", "the server is going down: nothing was answered")
	errUnsure  = fault.New(fault.Unavailable, "PROMPT_UNCLEAR", "which option is selected cannot be seen: nothing was typed, try again").RetryAfter(time.Second)
	errCut     = fault.New(fault.Precondition, "PROMPT_GONE", "another prompt came while the keys of the answer were pressed: the rest of them was not")
	errDead    = fault.New(fault.Precondition, "PROMPT_GONE", "the program that asked has ended: nothing was typed")
)

// answer answers a prompt, once: whose answer is first claims it before a key is
// pressed. When the caller hangs up what was begun goes on.
func (r *Room) answer(ctx context.Context, id string, w answerer) (*prompt, error) {
	p, d, err := r.claim(ctx, id, w)
	if err != nil || p.repeats(w) {
		return p, err
	}
	type outcome struct {
		p   *prompt
		err error
	}
	done := make(chan outcome, 1)
	begun := r.begin(func() {
		p, err := r.give(context.WithoutCancel(ctx), p, d, w)
		done <- outcome{p, err}
	})
	if !begun {
		return nil, errors.Join(errClosing, r.release(context.WithoutCancel(ctx), id))
	}
	select {
	case o := <-done:
		return o.p, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// claim makes the answer the one that counts, if it is the first.
func (r *Room) claim(ctx context.Context, id string, w answerer) (p *prompt, d decision, err error) {
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		if p, err = loadPrompt(tx, id); err != nil {
			return err
		}
		if p == nil {
			return errNoPrompt
		}
		if p.repeats(w) {
			return nil
		}
		if err := p.over(); err != nil {
			return err
		}
		if d, err = w.choose(p); err != nil {
			return err
		}
		p.Status = promptAnswering
		p.Claim = &claim{By: w.by, Source: w.source, Answer: d.shown, Justification: w.justification, Message: w.message,
			Once: w.once, At: r.opt.Now().UnixNano()}
		return prompts.Put(tx, p)
	})
	return p, d, err
}

// repeats says that an answer was given already, by whoever gives it again.
func (p *prompt) repeats(w answerer) bool {
	return p.Status == promptAnswered && w.once != "" && p.Claim.Once == w.once
}

// give presses the keys of a claimed answer, and says what became of it. An answer
// of which no key was pressed is given back.
func (r *Room) give(ctx context.Context, p *prompt, d decision, w answerer) (*prompt, error) {
	a := r.agent(p.Terminal)
	if a == nil {
		return nil, errors.Join(r.left(ctx, p.ID, "terminal_ended"), errDead)
	}
	defer a.resign()
	if !a.occupy(p) {
		return nil, errors.Join(r.left(ctx, p.ID, "moved_on"), errPromptGone)
	}
	err := r.press(ctx, a, p, d)
	switch {
	case errors.Is(err, errPromptGone), errors.Is(err, errDead), errors.Is(err, errCut):
		return nil, errors.Join(r.release(ctx, p.ID), r.left(ctx, p.ID, "moved_on"), err)
	case err != nil:
		return nil, errors.Join(r.release(ctx, p.ID), err)
	}
	return r.finish(ctx, a, p.ID, d, w)
}

// occupy takes the screen from the watcher, as long as the prompt is the one that
// is shown. It waits for its look.
func (a *agent) occupy(p *prompt) bool {
	a.looking.Lock()
	defer a.looking.Unlock()
	if a.shown == nil || a.shown.id != p.ID {
		return false
	}
	a.busy = true
	return true
}

// resign gives the screen back.
func (a *agent) resign() {
	a.looking.Lock()
	a.busy = false
	a.looking.Unlock()
	a.wake()
}

// press presses the keys while nobody else types, if the prompt is on the screen. After
// an error no key was pressed, or the prompt is gone.
func (r *Room) press(ctx context.Context, a *agent, p *prompt, d decision) error {
	wait, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	defer context.AfterFunc(r.base, cancel)()
	input, err := a.terminal.Input(wait)
	switch {
	case errors.Is(err, terminal.ErrGone):
		return errDead
	case err != nil:
		return errTurn
	}
	defer input.Release()
	seen, err := a.stillAsked(wait, p)
	if err != nil {
		return err
	}
	keys, err := a.keys(seen, d)
	if err != nil {
		return err
	}
	if err := r.pressing(ctx, p.ID); err != nil {
		return err
	}
	if _, err := a.stillAsked(wait, p); err != nil {
		return err // it left while that was noted
	}
	for i, k := range keys {
		if i > 0 {
			<-r.opt.after(keyPause)
			if d.Type != toText && a.asksElse(ctx, p) {
				return errCut
			}
		}
		if err := input.Write(ctx, k); errors.Is(err, terminal.ErrGone) && i == 0 {
			return errDead
		} else if err != nil {
			r.opt.Log.Warn("keys of an answer were not taken", "terminal", a.id, "error", err)
			return nil
		}
	}
	return nil
}

// stillAsked is the prompt as it is on the screen now.
func (a *agent) stillAsked(ctx context.Context, p *prompt) (*driver.Prompt, error) {
	limit := a.room.opt.after(redrawLimit)
	for {
		at := a.screen.Version()
		st, sure, steady := a.glance()
		switch {
		case steady && st.Prompt != nil && st.Prompt.Fingerprint == p.Fingerprint:
			return st.Prompt, nil
		case steady && (st.Prompt != nil || sure), !a.changes(ctx, at, limit):
			return nil, errPromptGone
		}
	}
}

// changes waits until the screen has changed, or has stood long enough to be no half
// picture; false: the limit came first, or the program has ended.
func (a *agent) changes(ctx context.Context, at uint64, limit <-chan time.Time) bool {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan error, 1)
	go func() { changed <- a.screen.Wait(wait, at) }()
	select {
	case err := <-changed:
		return err == nil
	case <-a.room.opt.after(steadyFor):
		cancel()
		<-changed
		return true
	case <-limit:
	case <-a.terminal.Done():
	case <-a.room.base.Done():
	}
	cancel()
	<-changed
	return false
}

// keys are what answers the prompt that is seen.
func (a *agent) keys(seen *driver.Prompt, d decision) ([][]byte, error) {
	a.looking.Lock()
	defer a.looking.Unlock()
	if a.tracked == nil {
		if d.bare {
			return [][]byte{[]byte(d.Text)}, nil
		}
		return [][]byte{[]byte(d.Text), {'\r'}}, nil
	}
	keys, err := a.tracked.Keys(seen, d.Answer)
	switch {
	case errors.Is(err, driver.ErrUnsure):
		return nil, errUnsure
	case errors.Is(err, driver.ErrText):
		return nil, checkText("")
	case err != nil:
		return nil, fault.New(fault.Invalid, "UNKNOWN_CHOICE", "the prompt does not take this answer as it is now").Because(err)
	}
	if n := len(keys); d.bare && n > 1 && string(keys[n-1]) == "\r" {
		keys = keys[:n-1]
	}
	return keys, nil
}

// asksElse says that the screen shows another prompt, once it is not half a picture.
func (a *agent) asksElse(ctx context.Context, p *prompt) bool {
	limit := a.room.opt.after(redrawLimit)
	for {
		at := a.screen.Version()
		st, _, steady := a.glance()
		switch {
		case st.Prompt != nil && st.Prompt.Digest == p.Digest, steady && st.Prompt == nil:
			return false
		case steady:
			return true
		case !a.changes(ctx, at, limit):
			return false
		}
	}
}

// pressing notes that keys may have been pressed: after a crash nobody can tell.
func (r *Room) pressing(ctx context.Context, id string) error {
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		p, err := loadPrompt(tx, id)
		switch {
		case err != nil:
			return err
		case p == nil || p.Status != promptAnswering:
			return errPromptGone
		}
		p.Claim.Pressed = true
		return prompts.Put(tx, p)
	})
}

// finish waits until the prompt has left, and stores the answer.
func (r *Room) finish(ctx context.Context, a *agent, id string, d decision, w answerer) (p *prompt, err error) {
	left := d.bare || a.leaves(ctx)
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		if p, err = loadPrompt(tx, id); err != nil {
			return err
		}
		if p == nil {
			return errNoPrompt // its terminal was deleted meanwhile
		}
		p.Status, p.Left = orElse(w.status, promptAnswered), left && !d.bare
		return r.resolve(tx, p, "")
	})
	if err != nil {
		return nil, fmt.Errorf("store an answer: %w", err)
	}
	a.looking.Lock()
	defer a.looking.Unlock()
	if a.shown != nil && a.shown.id == id {
		a.shown.answered = r.opt.Now()
		if p.Left {
			a.shown = nil
			a.retrack(a.tracked) // the same words are another question from now on
		}
	}
	return p, nil
}

// leaves waits until the prompt that is shown has left the screen; false: it stays. The
// same words behind a moment in which the agent asked nothing are another question.
func (a *agent) leaves(ctx context.Context) bool {
	limit := a.room.opt.after(leaveLimit)
	var unseen, again <-chan time.Time
	fingerprint := a.shownAs()
	free := false
	for {
		at := a.screen.Version()
		st, sure, steady := a.glance()
		until := limit
		switch {
		case steady && st.Prompt == nil && sure, steady && st.Prompt != nil && st.Prompt.Fingerprint != fingerprint:
			return true
		case st.Prompt == nil && sure:
			free, unseen, again = true, nil, nil
		case st.Prompt == nil:
			if again = nil; unseen == nil {
				unseen = a.room.opt.after(unseenLimit)
			}
			until = unseen
		case steady && free:
			if unseen = nil; again == nil {
				again = a.room.opt.after(againLimit)
			}
			until = again
		default:
			unseen = nil
		}
		if !a.changes(ctx, at, until) {
			return st.Prompt == nil || again != nil || ended(a.terminal)
		}
	}
}

func ended(t *terminal.Terminal) bool {
	select {
	case <-t.Done():
		return true
	default:
		return false
	}
}

func (a *agent) shownAs() string {
	a.looking.Lock()
	defer a.looking.Unlock()
	if a.shown == nil {
		return ""
	}
	return a.shown.fingerprint
}
